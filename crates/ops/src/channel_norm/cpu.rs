//! Normalisation of one group on the CPU.
//!
//! Rows are cut into pieces whose number depends on the shape only; pieces are joined in their
//! order, so the bits do not depend on the number of threads.

use super::rows::{Apply, Sign, Spread};
use super::strip::{ChannelMoments, GradientSums, Join, Moments};
use super::tail::{Tail, with_rectifier};
use crate::{Dims, simd};
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
        simd::run(ChannelMoments { x, means, stds });
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

/// One group, normalised with known statistics: what its passes have in common.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) stats: Stats<'a>,
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) tail: Tail,
}

/// Gradients of a group's input and, behind a sum, of the other summand.
#[derive(Default)]
pub(crate) struct InputGrads<'a> {
    pub(crate) input: Option<&'a mut [f32]>,
    pub(crate) summand: Option<&'a mut [f32]>,
}

impl<'a> InputGrads<'a> {
    /// Of an operation whose first input is normalised and whose second, if any, is added.
    pub(crate) fn new(grads: &'a mut [Option<&mut [f32]>]) -> Self {
        let mut grads = grads.iter_mut().map(|grad| grad.as_deref_mut());
        Self {
            input: grads.next().flatten(),
            summand: grads.next().flatten(),
        }
    }

    /// Those of each example.
    pub(crate) fn examples(self, dims: Dims) -> Vec<Self> {
        let inputs = optional_pieces(self.input, dims.example(), dims.n);
        let summands = optional_pieces(self.summand, dims.example(), dims.n);
        let pairs = inputs.into_iter().zip(summands);
        pairs
            .map(|(input, summand)| Self { input, summand })
            .collect()
    }
}

impl Group<'_> {
    /// Elements of a piece of the passes that need no sums.
    fn piece(&self) -> usize {
        let c = self.stats.mean.len();
        PIECE.div_ceil(c) * c
    }

    /// `out = tail(γ x̂ + β)`; `summand` is read if the tail has one.
    pub(crate) fn apply(&self, summand: Option<&[f32]>, out: &mut [f32]) {
        let piece = self.piece();
        let summand = summand.filter(|_| self.tail.add);
        let pieces = out.par_chunks_mut(piece).zip(self.x.par_chunks(piece));
        with_rectifier!(self.tail, rectifier => {
            pieces.enumerate().for_each(|(index, (out, x))| {
                let summand = summand.map(|s| &s[index * piece..][..x.len()]);
                simd::run(Apply {
                    x,
                    stats: self.stats,
                    affine: [self.weight, self.bias],
                    summand,
                    rectifier,
                    out,
                });
            });
        });
    }

    /// Where the sign behind the rectifier is found for the piece from `first` on.
    fn sign<'a>(&'a self, y: &'a [f32], first: usize, len: usize) -> Sign<'a> {
        match self.tail.reads_output() {
            true => Sign::Output(&y[first..first + len]),
            false => Sign::Input([self.weight, self.bias]),
        }
    }

    /// Writes the means of `g` and of `g · x̂` over the rows, `c` of either, into `means`; `g` is
    /// the gradient before the tail, `grad` the one behind it and `y` the output.
    pub(crate) fn gradient_means(
        &self,
        y: &[f32],
        grad: &[f32],
        scratch: &mut [f32],
        means: &mut [f32],
    ) {
        let c = self.stats.mean.len();
        let rows = self.x.len() / c;
        let piece = rows_of_piece(rows, c) * c;
        let pieces = self.x.par_chunks(piece).zip(grad.par_chunks(piece));
        let pieces = pieces.zip(scratch.par_chunks_mut(2 * c)).enumerate();
        with_rectifier!(self.tail, rectifier => {
            pieces.for_each(|(index, ((x, grad), sums))| {
                simd::run(GradientSums {
                    x,
                    grad,
                    stats: self.stats,
                    sign: self.sign(y, index * piece, x.len()),
                    rectifier,
                    sums,
                });
            });
        });
        for (i, mean) in means.iter_mut().enumerate() {
            let partials = scratch.chunks_exact(2 * c);
            let sum: f64 = partials.map(|partial| f64::from(partial[i])).sum();
            *mean = (sum / rows as f64) as f32;
        }
    }

    /// The gradients of the inputs. `means` are those of [`Self::gradient_means`], or `None` where
    /// the statistics are constants.
    pub(crate) fn input_gradients(
        &self,
        y: &[f32],
        grad: &[f32],
        means: Option<&[f32]>,
        to: InputGrads<'_>,
    ) {
        let piece = self.piece();
        let count = self.x.len().div_ceil(piece);
        let inputs = optional_pieces(to.input, piece, count);
        let summands = optional_pieces(to.summand, piece, count);
        let pieces = self.x.par_chunks(piece).zip(grad.par_chunks(piece));
        let pieces = pieces.zip(inputs.into_par_iter().zip(summands));
        with_rectifier!(self.tail, rectifier => {
            pieces.enumerate().for_each(|(index, ((x, grad), (input_grad, summand_grad)))| {
                simd::run(Spread {
                    x,
                    grad,
                    stats: self.stats,
                    weight: self.weight,
                    means,
                    sign: self.sign(y, index * piece, x.len()),
                    rectifier,
                    input_grad,
                    summand_grad,
                });
            });
        });
    }
}

/// The pieces of a buffer, or as many times nothing.
fn optional_pieces(
    buffer: Option<&mut [f32]>,
    piece: usize,
    count: usize,
) -> Vec<Option<&mut [f32]>> {
    match buffer {
        Some(buffer) => buffer.chunks_mut(piece).map(Some).collect(),
        None => std::iter::repeat_with(|| None).take(count).collect(),
    }
}
