//! Contrastive losses in a streaming form: forward and backward without the N×N matrix.
//!
//! All embeddings lie in one matrix `z` of `rows × dim`, as they come from the encoder. Its first
//! rows are the *queries*; each looks at a range of rows, its *keys*. With `u = z/|z|`, positives `P(i)` of
//! query i and temperature t, the loss is
//!
//! `mean_i[ log Σ_{k ∈ keys(i), not excluded for i} exp(u_i·u_k/t) − mean_{p ∈ P(i)} u_i·u_p/t ] + offset`
//!
//! which covers the viewmaker's SimCLR, NT-Xent, decoupled contrastive learning, InfoNCE, MoCo, CLIP
//! and supervised contrastive learning (see the constructors of [`Contrast`]). Logits are computed tile by
//! tile and never kept: the forward pass holds a running maximum and sum for every query (Milakov &
//! Gimelshein, *Online normalizer calculation for softmax*, 2018), the backward pass computes the tiles
//! again. Memory is O(rows · dim). [`Sampled`] is the relative with negatives drawn from a memory bank.
//!
//! This is not an [`Op`](crate::Op) of network graphs: it starts from embeddings and ends in one number.

mod cpu;
mod device;
mod exp;
mod fixed;
mod losses;
mod positives;
mod reference;
mod running;
mod sampled;
mod tournament;

#[cfg(test)]
mod cuda_tests;
#[cfg(test)]
mod family_tests;
#[cfg(test)]
mod nan_tests;
#[cfg(test)]
mod split_tests;
#[cfg(test)]
mod tests;

pub use device::{OnDevice, Version};
pub use reference::{reference_gradient, reference_loss};
pub use reference::{reference_sampled, reference_scale_gradient};
pub use sampled::{Sampled, dot};

use positives::Positives;
use std::ops::Range;

/// Which keys a query does not look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// It looks at all of them, itself included.
    Nothing,
    /// Itself.
    Itself,
    /// Itself and its positive.
    ItselfAndPositive,
}

/// A set of rows that does not make a loss.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contrastive loss: {0}")]
pub struct ContrastError(String);

/// Geometry and settings of one loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    rows: usize,
    dim: usize,
    /// The rows that get a gradient are the first; the others are constants.
    trained: usize,
    /// One after the other from row 0 on; together they are all queries.
    groups: Vec<Group>,
    positives: Positives,
    excluded: Excluded,
    temperature: f32,
    offset: f64,
}

/// Queries that look at the same keys, and these keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    queries: Range<usize>,
    keys: Range<usize>,
}

/// What the forward pass keeps for the backward pass: O(rows · dim).
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// Unit rows, `[rows, dim]`.
    unit: Vec<f32>,
    /// 1/|z| of every row; 0 for rows without a direction.
    inverse_length: Vec<f32>,
    /// Logarithm of the denominator of every query.
    log_sum: Vec<f64>,
    /// Weight of every query's positives in the gradient: softmax − 1 for a single one, which counts
    /// in the denominator.
    positive_weight: Vec<f32>,
}

impl Contrast {
    fn excludes(&self, query: usize, key: usize) -> bool {
        match self.excluded {
            Excluded::Nothing => false,
            Excluded::Itself => key == query,
            Excluded::ItselfAndPositive => key == query || self.positives.key(query) == Some(key),
        }
    }

    fn queries(&self) -> usize {
        self.groups.last().map_or(0, |group| group.queries.end)
    }

    /// Queries that the mean is taken over; 1 where there are none.
    fn counted(&self) -> usize {
        self.positives.counted(self.queries())
    }

    /// Number of rows of `z`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Width of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows that get a gradient: the first ones.
    pub fn trained(&self) -> usize {
        self.trained
    }

    /// Floating-point operations of one forward pass.
    pub fn flops(&self) -> u64 {
        let pairs = self.groups.iter().map(|g| g.queries.len() * g.keys.len());
        2 * (pairs.sum::<usize>() * self.dim) as u64
    }

    /// The loss of `z` (`rows × dim`) and what its gradient will need. Finite for every finite `z`:
    /// rows without a direction (largest component below 1e-19) count as zero.
    ///
    /// # Panics
    /// When `z` does not have `rows · dim` elements.
    pub fn forward(&self, z: &[f32]) -> (f32, Saved) {
        assert_eq!(z.len(), self.rows * self.dim, "elements of z");
        cpu::forward(self, z)
    }

    /// The gradient with respect to the trained rows of `z`, times `loss_grad`; `grad` is overwritten.
    ///
    /// # Panics
    /// When `grad` does not have `trained · dim` elements or `saved` is of another geometry.
    pub fn backward(&self, saved: &Saved, loss_grad: f32, grad: &mut [f32]) {
        self.gradient(saved, loss_grad, grad);
    }

    /// [`Self::backward`], and the derivative with respect to the logarithm of the scale 1/t, times
    /// `loss_grad`.
    ///
    /// # Panics
    /// As [`Self::backward`], and where some rows are constants.
    pub fn backward_with_scale(&self, saved: &Saved, loss_grad: f32, grad: &mut [f32]) -> f32 {
        assert_eq!(self.trained, self.rows, "trained rows");
        // The gradient of a row u holds Σ w u_k of its keys as of its queries, so that the products
        // u·gradient of all rows count every logit's w u_i·u_k/t twice.
        (0.5 * self.gradient(saved, loss_grad, grad)) as f32
    }

    fn gradient(&self, saved: &Saved, loss_grad: f32, grad: &mut [f32]) -> f64 {
        assert_eq!(grad.len(), self.trained * self.dim, "elements of grad");
        assert_eq!(saved.unit.len(), self.rows * self.dim, "elements of saved");
        assert_eq!(saved.log_sum.len(), self.queries(), "queries of saved");
        cpu::backward(self, saved, loss_grad, grad)
    }
}
