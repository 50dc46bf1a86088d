//! Sums over the rows of a piece, a strip of adjacent channels at a time.
//!
//! Rows are taken in short blocks. Inside a block, sums are in single precision; across blocks they
//! are in double precision. A block of a strip stays in the first-level cache, so that it can be read
//! twice and the variance be computed around the block's own mean: no cancellation, however far the
//! mean is from zero.
//!
//! The inner loops run over the channels of a strip with slices of one length: the shape that
//! compilers turn into vector code.

use super::cpu::Stats;
use super::rows::Sign;
use super::tail::Rectifier;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Rows of a block.
const BLOCK: usize = 32;
/// Channels of a strip, at most.
const STRIP: usize = 64;

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
    pub(super) fn new(rows: usize, more: usize) -> Self {
        let share = more as f64 / (rows + more) as f64;
        Self {
            share,
            between: rows as f64 * share,
        }
    }

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
    fn with_simd<S: Simd>(self, _: S) {
        let c = self.means.len();
        let count = (self.x.len() / c) as f64;
        for strip in strips(c) {
            let mut total = [Moments::default(); STRIP];
            let total = &mut total[..strip.len()];
            let mut rows = 0;
            for block in self.x.chunks(BLOCK * c) {
                add_moments(block, c, strip.clone(), rows, total);
                rows += block.len() / c;
            }
            let means = self.means[strip.clone()].iter_mut();
            for ((mean, std), total) in means.zip(&mut self.stds[strip]).zip(total) {
                *mean = total.mean as f32;
                *std = (total.squares / count).sqrt() as f32;
            }
        }
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

/// Joins the moments of a block to `total`, which covers `before` rows so far.
#[inline(always)]
fn add_moments(block: &[f32], c: usize, strip: Range<usize>, before: usize, total: &mut [Moments]) {
    let rows = block.len() / c;
    let mut buffers = [[0.0f32; STRIP]; 3];
    let [mean, sum, squares] = buffers.each_mut().map(|b| &mut b[..strip.len()]);
    for row in block.chunks_exact(c) {
        for (mean, x) in mean.iter_mut().zip(&row[strip.clone()]) {
            *mean += x;
        }
    }
    for mean in mean.iter_mut() {
        *mean /= rows as f32;
    }
    // Deviations sum to zero but for the rounding of `mean`, which they so correct.
    for row in block.chunks_exact(c) {
        let sums = sum.iter_mut().zip(squares.iter_mut());
        for ((sum, squares), (x, mean)) in sums.zip(row[strip.clone()].iter().zip(mean.iter())) {
            let off = x - mean;
            *sum += off;
            *squares += off * off;
        }
    }
    let join = Join::new(before, rows);
    let count = rows as f64;
    for (i, total) in total.iter_mut().enumerate() {
        let block = if squares[i].is_finite() {
            let sum = f64::from(sum[i]);
            Moments {
                mean: f64::from(mean[i]) + sum / count,
                squares: (f64::from(squares[i]) - sum * sum / count).max(0.0),
            }
        } else {
            wide_range_moments(block, c, strip.start + i)
        };
        *total = join.join(*total, block);
    }
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
