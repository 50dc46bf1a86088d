//! The streaming kernels: what is common to both ways of summing.
//!
//! - [`fixed`]: embeddings of unit length have logits of at most 1/t, which is subtracted from all of
//!   them before the exponential. Tiles then serve both of their blocks of rows. For temperatures at
//!   which no exponential becomes subnormal, which is all that training uses.
//! - [`running`]: a running maximum and sum for every query. For any temperature; the simpler one, and
//!   the measure of the other.

use super::{Contrast, Saved, fixed, positives, running};
use rayon::prelude::*;

pub(super) fn forward(contrast: &Contrast, z: &[f32]) -> (f32, Saved) {
    let (unit, inverse_length) = normalise(z, contrast.dim);
    let others = match fixed::serves(contrast) {
        true => fixed::log_sums(contrast, &unit),
        false => running::log_sums(contrast, &unit),
    };
    finish(contrast, unit, inverse_length, &others)
}

/// The loss from the log-sum-exp of all keys but the positive, for every query.
pub(super) fn finish(
    contrast: &Contrast,
    unit: Vec<f32>,
    inverse_length: Vec<f32>,
    others: &[f64],
) -> (f32, Saved) {
    let queries = positives::outcomes(contrast, &unit, others);
    // One addition after the other, in double precision: the order is fixed and the error small.
    let total: f64 = queries.iter().map(|query| query.loss).sum();
    let loss = total / contrast.counted() as f64 + contrast.offset;
    let saved = Saved {
        log_sum: queries.iter().map(|query| query.log_sum).collect(),
        positive_weight: queries.iter().map(|query| query.positive_weight).collect(),
        unit,
        inverse_length,
    };
    (loss as f32, saved)
}

/// Writes the gradient, and gives the sum of the products u·g of all trained unit rows and the gradients
/// with respect to them: what the projection takes away.
pub(super) fn backward(
    contrast: &Contrast,
    saved: &Saved,
    loss_grad: f32,
    grad: &mut [f32],
) -> f64 {
    match fixed::serves(contrast) {
        true => fixed::unit_gradient(contrast, saved, grad),
        false => running::unit_gradient(contrast, saved, grad),
    }
    positives::attract(contrast, saved, grad);
    let scale =
        f64::from(loss_grad) / (contrast.counted() as f64 * f64::from(contrast.temperature));
    let rows = grad.par_chunks_mut(contrast.dim).enumerate();
    let along: Vec<f64> = rows
        .map(|(row, grad)| {
            let unit = &saved.unit[row * contrast.dim..][..contrast.dim];
            project(unit, scale * f64::from(saved.inverse_length[row]), grad)
        })
        .collect();
    scale * along.iter().sum::<f64>()
}

/// What the forward pass finds out about one query.
#[derive(Clone, Copy, Default)]
pub(super) struct Query {
    pub(super) loss: f64,
    pub(super) log_sum: f64,
    pub(super) positive_weight: f32,
}

impl Query {
    /// From the logit of the positive and the log-sum-exp of all *other* keys. Their difference
    /// keeps its accuracy where the textbook's `softmax − 1` is all round-off: when the positive
    /// is far ahead.
    pub(super) fn new(positive: f64, others: f64, positive_counts: bool) -> Self {
        let lead = positive - others;
        if !positive_counts {
            return Self {
                loss: -lead,
                log_sum: others,
                positive_weight: -1.0,
            };
        }
        let loss = (-lead.abs()).exp().ln_1p() + (-lead).max(0.0);
        Self {
            loss,
            log_sum: positive + loss,
            positive_weight: -(1.0 + lead.exp()).recip() as f32,
        }
    }

    /// Its denominator is infinite, so that none of its keys gets a weight.
    pub(super) const fn that_does_not_count() -> Self {
        Self {
            loss: 0.0,
            log_sum: f64::INFINITY,
            positive_weight: 0.0,
        }
    }
}

/// Rows of unit length, and 1/|z| of each.
pub(super) fn normalise(z: &[f32], dim: usize) -> (Vec<f32>, Vec<f32>) {
    let mut unit = vec![0.0; z.len()];
    let inverse_length = unit
        .par_chunks_mut(dim)
        .zip(z.par_chunks(dim))
        .map(|(unit, row)| {
            let inverse = inverse_length(row);
            for (u, x) in unit.iter_mut().zip(row) {
                *u = (f64::from(*x) * inverse) as f32;
            }
            inverse as f32
        })
        .collect();
    (unit, inverse_length)
}

/// 1/|row|; 0 if the row has no direction. In double precision no square overflows.
pub(super) fn inverse_length(row: &[f32]) -> f64 {
    let largest = row.iter().map(|x| x.abs()).fold(0.0, f32::max);
    let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
    if largest < f32::MIN_POSITIVE.sqrt() && !squares.is_nan() {
        0.0
    } else {
        squares.sqrt().recip()
    }
}

/// From the gradient with respect to `u = z/|z|` to the one with respect to z:
/// `(g − u(u·g))/|z|`, times the rest of `scale`. Gives `u·g`.
pub(super) fn project(unit: &[f32], scale: f64, grad: &mut [f32]) -> f64 {
    let along: f64 = unit
        .iter()
        .zip(&*grad)
        .map(|(u, g)| f64::from(*u) * f64::from(*g))
        .sum();
    for (g, u) in grad.iter_mut().zip(unit) {
        *g = (scale * (f64::from(*g) - f64::from(*u) * along)) as f32;
    }
    along
}
