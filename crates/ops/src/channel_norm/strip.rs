//! Sums over the rows of a piece, a strip of adjacent channels at a time.
//!
//! Rows are taken in short blocks. Inside a block, sums are in single precision; across blocks they
//! are in double precision. A block of a strip stays in the first-level cache, so that it can be read
//! twice and the variance be computed around the block's own mean: no cancellation, however far the
//! mean is from zero.
//!
//! Moments hold a strip in registers; sums of gradients have inner loops over the channels of a strip
//! with slices of one length, the shape that compilers turn into vector code. Neither changes the
//! bits.

use super::cpu::Stats;
use super::rows::Sign;
use super::tail::Rectifier;
use pulp::{Scalar, Simd, WithSimd};
use std::ops::Range;

/// Rows of a block.
const BLOCK: usize = 32;
/// Registers of a strip, where a row has as many: as many sums are under way at once.
const REGISTERS: usize = 4;
/// Channels of a strip, at most.
const STRIP: usize = REGISTERS * 16;

/// Mean and sum of squared deviations over some rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) squares: f64,
}

/// Joins the moments of two sets of rows (Chan, Golub & LeVeque 1983, equation 2.1).
pub(super) struct Join {
    share: f64,
    between: f64,
}

impl Join {
    /// Joins the moments over `rows` rows, possibly none, with those over `more` rows.
    #[inline(always)]
    pub(super) fn new(rows: usize, more: usize) -> Self {
        let share = more as f64 / (rows + more) as f64;
        Self {
            share,
            between: rows as f64 * share,
        }
    }

    #[inline(always)]
    pub(super) fn join(&self, a: Moments, b: Moments) -> Moments {
        let step = b.mean - a.mean;
        Moments {
            mean: a.mean + step * self.share,
            squares: a.squares + b.squares + step * step * self.between,
        }
    }
}

/// Moments of each channel over the rows of `x`: means into `means`, and the standard deviations
/// into `stds`.
pub(super) struct ChannelMoments<'a> {
    pub(super) x: &'a [f32],
    pub(super) means: &'a mut [f32],
    pub(super) stds: &'a mut [f32],
}

impl WithSimd for ChannelMoments<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // A row that fills no register is taken channel by channel.
        match self.means.len() < S::F32_LANES {
            true => self.run(Scalar),
            false => self.run(simd),
        }
    }
}

impl ChannelMoments<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let c = self.means.len();
        let wide = REGISTERS * S::F32_LANES;
        let mut first = 0;
        while first + wide <= c {
            self.strip::<S, REGISTERS>(simd, first);
            first += wide;
        }
        while first < c {
            // The last register begins earlier, so that it is full.
            self.strip::<S, 1>(simd, first.min(c - S::F32_LANES));
            first += S::F32_LANES;
        }
    }

    /// The `N` registers of channels from `first` on.
    #[inline(always)]
    fn strip<S: Simd, const N: usize>(&mut self, simd: S, first: usize) {
        let c = self.means.len();
        let width = N * S::F32_LANES;
        let mut total = StripMoments::default();
        let mut rows = 0;
        for block in self.x.chunks(BLOCK * c) {
            let moments = block_moments::<S, N>(simd, block, c, first);
            let more = block.len() / c;
            total.join(&moments, width, Join::new(rows, more));
            rows += more;
        }
        let count = rows as f64;
        let means = self.means[first..first + width].iter_mut();
        let stds = self.stds[first..first + width].iter_mut();
        let totals = total.mean.iter().zip(&total.squares);
        for ((mean, std), (of_mean, squares)) in means.zip(stds).zip(totals) {
            *mean = *of_mean as f32;
            *std = (squares / count).sqrt() as f32;
        }
    }
}

/// Moments of the channels of a strip.
struct StripMoments {
    mean: [f64; STRIP],
    squares: [f64; STRIP],
}

impl Default for StripMoments {
    fn default() -> Self {
        Self {
            mean: [0.0; STRIP],
            squares: [0.0; STRIP],
        }
    }
}

impl StripMoments {
    /// Joins the first `width` channels.
    #[inline(always)]
    fn join(&mut self, more: &Self, width: usize, join: Join) {
        for i in 0..width.min(STRIP) {
            let [a, b] = [&*self, more].map(|of| Moments {
                mean: of.mean[i],
                squares: of.squares[i],
            });
            let joined = join.join(a, b);
            (self.mean[i], self.squares[i]) = (joined.mean, joined.squares);
        }
    }
}

/// The moments of one block.
#[inline(always)]
fn block_moments<S: Simd, const N: usize>(
    simd: S,
    block: &[f32],
    c: usize,
    first: usize,
) -> StripMoments {
    let rows = block.len() / c;
    let lanes = S::F32_LANES;
    let at = |row: usize, r: usize| row * c + first + r * lanes;
    let zero = simd.splat_f32s(0.0);
    let mut mean: [S::f32s; N] = [zero; N];
    for row in 0..rows {
        for (r, mean) in mean.iter_mut().enumerate() {
            *mean = simd.add_f32s(*mean, load::<S>(block, at(row, r)));
        }
    }
    let count = simd.splat_f32s(rows as f32);
    let mean = mean.map(|sum| simd.div_f32s(sum, count));
    // Deviations sum to zero but for the rounding of `mean`, which they so correct.
    let (mut sum, mut squares) = ([zero; N], [zero; N]);
    for row in 0..rows {
        for r in 0..N {
            let off = simd.sub_f32s(load::<S>(block, at(row, r)), mean[r]);
            sum[r] = simd.add_f32s(sum[r], off);
            squares[r] = simd.add_f32s(squares[r], simd.mul_f32s(off, off));
        }
    }
    let mut buffers = [[0.0f32; STRIP]; 3];
    for (buffer, from) in buffers.iter_mut().zip([mean, sum, squares]) {
        for (r, value) in from.into_iter().enumerate() {
            store::<S>(buffer, r * lanes, value);
        }
    }
    let [mean, sum, squares] = &buffers;
    let count = rows as f64;
    let mut moments = StripMoments::default();
    for i in 0..N * lanes {
        let sum = f64::from(sum[i]);
        moments.mean[i] = f64::from(mean[i]) + sum / count;
        moments.squares[i] = (f64::from(squares[i]) - sum * sum / count).max(0.0);
    }
    for (i, _) in squares.iter().enumerate().filter(|(_, s)| !s.is_finite()) {
        let wide = wide_range_moments(block, c, first + i);
        (moments.mean[i], moments.squares[i]) = (wide.mean, wide.squares);
    }
    moments
}

/// Moments of one channel of a block whose squares overflow single precision.
#[cold]
fn wide_range_moments(block: &[f32], c: usize, channel: usize) -> Moments {
    let values = || block.chunks_exact(c).map(|row| f64::from(row[channel]));
    let rows = (block.len() / c) as f64;
    let mean = values().sum::<f64>() / rows;
    Moments {
        mean,
        squares: values().map(|x| (x - mean) * (x - mean)).sum(),
    }
}

/// Sums of `g` (into the first half of `sums`) and of `g · x̂` (into the second) of each channel,
/// where `g` is the gradient behind the rectifier.
pub(super) struct GradientSums<'a, R> {
    pub(super) x: &'a [f32],
    pub(super) grad: &'a [f32],
    pub(super) stats: Stats<'a>,
    pub(super) sign: Sign<'a>,
    pub(super) rectifier: R,
    pub(super) sums: &'a mut [f32],
}

impl<R: Rectifier> WithSimd for GradientSums<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.sign {
            Sign::Output(y) => self.with_sign::<true>(y, [&[], &[]]),
            Sign::Input(affine) => {
                let x = self.x;
                self.with_sign::<false>(x, affine);
            }
        }
    }
}

impl<R: Rectifier> GradientSums<'_, R> {
    #[inline(always)]
    fn with_sign<const OUTPUT: bool>(self, y: &[f32], affine: [&[f32]; 2]) {
        let c = self.stats.mean.len();
        let (of_g, of_product) = self.sums.split_at_mut(c);
        let block = BLOCK * c;
        for strip in strips(c) {
            let mut total = [[0.0f64; 2]; STRIP];
            let total = &mut total[..strip.len()];
            let blocks = self.x.chunks(block).zip(self.grad.chunks(block));
            for ((x, g), y) in blocks.zip(y.chunks(block)) {
                let block = Block {
                    x,
                    g,
                    y,
                    stats: self.stats,
                    affine,
                    rectifier: self.rectifier,
                };
                block.add_products::<OUTPUT>(strip.clone(), total);
            }
            for (i, total) in strip.zip(total) {
                of_g[i] = total[0] as f32;
                of_product[i] = total[1] as f32;
            }
        }
    }
}

#[inline(always)]
fn strips(c: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..c).step_by(STRIP);
    starts.map(move |first| first..c.min(first + STRIP))
}

/// Some rows of what the sums over gradients read.
struct Block<'a, R> {
    x: &'a [f32],
    g: &'a [f32],
    y: &'a [f32],
    stats: Stats<'a>,
    affine: [&'a [f32]; 2],
    rectifier: R,
}

impl<R: Rectifier> Block<'_, R> {
    /// Adds the sums of `g` and `g · x̂` of a strip to `total`.
    #[inline(always)]
    fn add_products<const OUTPUT: bool>(&self, strip: Range<usize>, total: &mut [[f64; 2]]) {
        let (c, n) = (self.stats.mean.len(), strip.len());
        let of_strip = |x: &'_ [f32]| -> [f32; STRIP] {
            let mut out = [0.0; STRIP];
            out[..n].copy_from_slice(&x[strip.clone()]);
            out
        };
        let (mean, inv_std) = (of_strip(self.stats.mean), of_strip(self.stats.inv_std));
        let [scale, shift] = match OUTPUT {
            true => [[0.0; STRIP]; 2],
            false => self.affine.map(of_strip),
        };
        let (mean, inv_std) = (&mean[..n], &inv_std[..n]);
        let (scale, shift) = (&scale[..n], &shift[..n]);
        let mut buffers = [[0.0f32; STRIP]; 2];
        let [of_g, of_product] = buffers.each_mut().map(|b| &mut b[..n]);
        let rows = self.x.chunks_exact(c).zip(self.g.chunks_exact(c));
        for ((x, g), y) in rows.zip(self.y.chunks_exact(c)) {
            let (x, g, y) = (&x[strip.clone()], &g[strip.clone()], &y[strip.clone()]);
            let (x, g, y) = (&x[..n], &g[..n], &y[..n]);
            for i in 0..n {
                let normal = (x[i] - mean[i]) * inv_std[i];
                let argument = if OUTPUT {
                    y[i]
                } else {
                    normal * scale[i] + shift[i]
                };
                let g = self.rectifier.gradient(argument, g[i]);
                of_g[i] += g;
                of_product[i] += g * normal;
            }
        }
        for (total, (a, b)) in total.iter_mut().zip(of_g.iter().zip(of_product.iter())) {
            total[0] += f64::from(*a);
            total[1] += f64::from(*b);
        }
    }
}

/// The elements from `at` on.
#[inline(always)]
fn load<S: Simd>(from: &[f32], at: usize) -> S::f32s {
    S::as_simd_f32s(&from[at..at + S::F32_LANES]).0[0]
}

/// Writes the elements from `at` on.
#[inline(always)]
fn store<S: Simd>(to: &mut [f32], at: usize, value: S::f32s) {
    S::as_mut_simd_f32s(&mut to[at..at + S::F32_LANES]).0[0] = value;
}
