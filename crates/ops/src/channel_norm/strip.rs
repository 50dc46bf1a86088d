//! Sums over the rows of a piece, a strip of adjacent channels at a time.
//!
//! Rows are taken in short blocks. Inside a block, sums are in single precision; across blocks they
//! are in double precision. A block of a strip stays in the first-level cache, so that it can be read
//! twice and the variance be computed around the block's own mean: no cancellation, however far the
//! mean is from zero.
//!
//! A strip is held in registers, which does not change the bits.

use super::cpu::Stats;
use super::rows::Sign;
use super::tail::Rectifier;
use pulp::{Scalar, Simd, WithSimd};
use std::array::from_fn;
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
    fn with_simd<S: Simd>(self, simd: S) {
        match self.stats.mean.len() < S::F32_LANES {
            true => self.run(Scalar),
            false => self.run(simd),
        }
    }
}

impl<R: Rectifier> GradientSums<'_, R> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let c = self.stats.mean.len();
        let wide = REGISTERS * S::F32_LANES;
        let mut first = 0;
        while first + wide <= c {
            self.strip::<S, REGISTERS>(simd, first);
            first += wide;
        }
        while first < c {
            self.strip::<S, 1>(simd, first.min(c - S::F32_LANES));
            first += S::F32_LANES;
        }
    }

    /// The `N` registers of channels from `first` on.
    #[inline(always)]
    fn strip<S: Simd, const N: usize>(&mut self, simd: S, first: usize) {
        let (c, lanes) = (self.stats.mean.len(), S::F32_LANES);
        let width = N * lanes;
        let mut total = [[0.0f64; STRIP]; 2];
        for start in (0..self.x.len()).step_by(BLOCK * c) {
            let end = self.x.len().min(start + BLOCK * c);
            let sums = match self.sign {
                Sign::Output(y) => {
                    let sign = |_: usize, at, _| load::<S>(y, at);
                    self.block::<S, N>(simd, start + first..end, first, sign)
                }
                Sign::Input([scale, shift]) => {
                    let registers = |of: &[f32]| -> [S::f32s; N] {
                        from_fn(|r| load::<S>(of, first + r * lanes))
                    };
                    let (scale, shift) = (registers(scale), registers(shift));
                    // Rounded twice, as in the forward pass.
                    let sign = |r: usize, _, normal| {
                        simd.add_f32s(simd.mul_f32s(normal, scale[r]), shift[r])
                    };
                    self.block::<S, N>(simd, start + first..end, first, sign)
                }
            };
            for (total, sums) in total.iter_mut().zip(sums) {
                let mut buffer = [0.0f32; STRIP];
                for (r, sum) in sums.into_iter().enumerate() {
                    store::<S>(&mut buffer, r * lanes, sum);
                }
                for (total, sum) in total[..width].iter_mut().zip(&buffer) {
                    *total += f64::from(*sum);
                }
            }
        }
        for (sums, total) in self.sums.chunks_exact_mut(c).zip(&total) {
            for (sum, total) in sums[first..first + width].iter_mut().zip(total) {
                *sum = *total as f32;
            }
        }
    }

    /// Sums over the rows that begin in `rows`. `sign` gives what has the sign that the rectifier
    /// saw, for a register, its place and its `x̂`.
    #[inline(always)]
    fn block<S: Simd, const N: usize>(
        &self,
        simd: S,
        rows: Range<usize>,
        first: usize,
        sign: impl Fn(usize, usize, S::f32s) -> S::f32s,
    ) -> [[S::f32s; N]; 2] {
        let (c, lanes) = (self.stats.mean.len(), S::F32_LANES);
        let mean: [S::f32s; N] = from_fn(|r| load::<S>(self.stats.mean, first + r * lanes));
        let inv_std: [S::f32s; N] = from_fn(|r| load::<S>(self.stats.inv_std, first + r * lanes));
        let mut sums = [[simd.splat_f32s(0.0); N]; 2];
        for row in rows.step_by(c) {
            for r in 0..N {
                let at = row + r * lanes;
                let off = simd.sub_f32s(load::<S>(self.x, at), mean[r]);
                let normal = simd.mul_f32s(off, inv_std[r]);
                let grad = load::<S>(self.grad, at);
                let g = self.rectifier.gradients(simd, sign(r, at, normal), grad);
                sums[0][r] = simd.add_f32s(sums[0][r], g);
                sums[1][r] = simd.add_f32s(sums[1][r], simd.mul_f32s(g, normal));
            }
        }
        sums
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
