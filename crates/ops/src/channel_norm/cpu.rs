//! Normalisation of one group on the CPU.
//!
//! Rows are cut into pieces whose number depends on the shape only; pieces are joined in their
//! order, so the bits do not depend on the number of threads.

use super::strip::{self, Join, Moments};
use rayon::prelude::*;

/// Elements of one piece, at least: small enough for the second-level cache.
const PIECE: usize = 16_384;
/// Pieces of a group, at most.
const PIECES: usize = 64;

/// Mean and reciprocal standard deviation `1 / √(σ² + ε)` of every channel.
#[derive(Clone, Copy)]
pub(crate) struct Stats<'a> {
    pub(crate) mean: &'a [f32],
    pub(crate) inv_std: &'a [f32],
}

impl<'a> Stats<'a> {
    /// Splits the two halves of `saved`.
    pub(crate) fn new(saved: &'a [f32]) -> Self {
        let (mean, inv_std) = saved.split_at(saved.len() / 2);
        Self { mean, inv_std }
    }
}

fn rows_of_piece(rows: usize, c: usize) -> usize {
    PIECE.div_ceil(c).max(rows.div_ceil(PIECES))
}

/// Elements of scratch that [`moments`] and [`gradient_means`] need for a group.
pub(crate) fn scratch_len(rows: usize, c: usize) -> usize {
    2 * c * rows.div_ceil(rows_of_piece(rows, c))
}

/// Calls `done` with each channel, its mean and its biased variance.
pub(crate) fn moments(
    x: &[f32],
    c: usize,
    scratch: &mut [f32],
    mut done: impl FnMut(usize, f64, f64),
) {
    let rows = x.len() / c;
    let piece = rows_of_piece(rows, c);
    // A piece leaves its means and, because variances may exceed the range of single precision, its
    // standard deviations.
    let pieces = x.par_chunks(piece * c).zip(scratch.par_chunks_mut(2 * c));
    pieces.for_each(|(x, partial)| {
        let (means, stds) = partial.split_at_mut(c);
        let rows = (x.len() / c) as f64;
        strip::moments(x, c, |channel, m| {
            means[channel] = m.mean as f32;
            stds[channel] = (m.squares / rows).sqrt() as f32;
        });
    });
    for channel in 0..c {
        let mut total = Moments::default();
        for (p, partial) in scratch.chunks_exact(2 * c).enumerate() {
            let (before, rows) = (p * piece, piece.min(rows - p * piece));
            let std = f64::from(partial[c + channel]);
            let partial = Moments {
                mean: f64::from(partial[channel]),
                squares: std * std * rows as f64,
            };
            total = Join::new(before, rows).join(total, partial);
        }
        done(channel, total.mean, total.squares / rows as f64);
    }
}

/// `1 / √(variance + eps)`.
pub(crate) fn inv_std(variance: f64, eps: f32) -> f32 {
    (1.0 / (variance + f64::from(eps)).sqrt()) as f32
}

/// `out = γ x̂ + β`.
pub(crate) fn normalise(
    x: &[f32],
    Stats { mean, inv_std }: Stats<'_>,
    weight: &[f32],
    bias: &[f32],
    out: &mut [f32],
) {
    let c = mean.len();
    let (inv_std, weight, bias) = (&inv_std[..c], &weight[..c], &bias[..c]);
    let piece = PIECE.div_ceil(c) * c;
    let pieces = out.par_chunks_mut(piece).zip(x.par_chunks(piece));
    pieces.for_each(|(out, x)| {
        for (out, x) in out.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for i in 0..c {
                out[i] = (x[i] - mean[i]) * inv_std[i] * weight[i] + bias[i];
            }
        }
    });
}

/// Writes the means of `g` and of `g · x̂` over the rows, `c` of either, into `means`.
pub(crate) fn gradient_means(
    x: &[f32],
    g: &[f32],
    stats: Stats<'_>,
    scratch: &mut [f32],
    means: &mut [f32],
) {
    let c = stats.mean.len();
    let rows = x.len() / c;
    let piece = rows_of_piece(rows, c) * c;
    let pieces = x.par_chunks(piece).zip(g.par_chunks(piece));
    let pieces = pieces.zip(scratch.par_chunks_mut(2 * c));
    pieces.for_each(|((x, g), partial)| {
        strip::gradient_sums((x, g), (stats.mean, stats.inv_std), |channel, [a, b]| {
            partial[channel] = a as f32;
            partial[c + channel] = b as f32;
        });
    });
    for (i, mean) in means.iter_mut().enumerate() {
        let partials = scratch.chunks_exact(2 * c);
        let sum: f64 = partials.map(|partial| f64::from(partial[i])).sum();
        *mean = (sum / rows as f64) as f32;
    }
}

/// `out = γ / √(σ² + ε) · (g − mean(g) − x̂ · mean(g x̂))`, the gradient with respect to `x` where
/// the statistics come from `x`.
pub(crate) fn input_gradient(
    x: &[f32],
    g: &[f32],
    Stats { mean, inv_std }: Stats<'_>,
    weight: &[f32],
    means: &[f32],
    out: &mut [f32],
) {
    let c = mean.len();
    let (inv_std, weight) = (&inv_std[..c], &weight[..c]);
    let (of_g, of_product) = (&means[..c], &means[c..2 * c]);
    let piece = PIECE.div_ceil(c) * c;
    let inputs = x.par_chunks(piece).zip(g.par_chunks(piece));
    let pieces = out.par_chunks_mut(piece).zip(inputs);
    pieces.for_each(|(out, (x, g))| {
        let rows = x.chunks_exact(c).zip(g.chunks_exact(c));
        for (out, (x, g)) in out.chunks_exact_mut(c).zip(rows) {
            for i in 0..c {
                let normal = (x[i] - mean[i]) * inv_std[i];
                let centred = g[i] - of_g[i] - normal * of_product[i];
                out[i] = centred * (inv_std[i] * weight[i]);
            }
        }
    });
}

/// `out = γ / √(σ² + ε) · g`, the gradient with respect to `x` where the statistics are constants.
pub(crate) fn scaled_gradient(g: &[f32], inv_std: &[f32], weight: &[f32], out: &mut [f32]) {
    let c = inv_std.len();
    let weight = &weight[..c];
    let piece = PIECE.div_ceil(c) * c;
    let pieces = out.par_chunks_mut(piece).zip(g.par_chunks(piece));
    pieces.for_each(|(out, g)| {
        for (out, g) in out.chunks_exact_mut(c).zip(g.chunks_exact(c)) {
            for i in 0..c {
                out[i] = g[i] * (inv_std[i] * weight[i]);
            }
        }
    });
}
