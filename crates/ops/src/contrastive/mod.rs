//! Contrastive losses in a streaming form: forward and backward without the N×N matrix.
//!
//! All embeddings lie in one matrix `z` of `rows × dim`, as they come from the encoder. Its first
//! rows are the *queries*; a range of its rows are the *keys*. With `u = z/|z|`, positive key `p(i)`
//! of query i and temperature t, the loss is
//!
//! `mean_i[ log Σ_{k ∈ keys, not excluded for i} exp(u_i·u_k/t) − u_i·u_p(i)/t ] + offset`
//!
//! which covers the viewmaker's SimCLR, NT-Xent, decoupled contrastive learning and InfoNCE (see the
//! constructors of [`Contrast`]). Logits are computed tile by tile and never kept: the forward
//! pass holds a running maximum and sum for every query (Milakov & Gimelshein, *Online
//! normalizer calculation for softmax*, 2018), the backward pass computes the tiles again. Memory
//! is O(rows · dim). [`Sampled`] is the relative with negatives drawn from a memory bank.
//!
//! This is not an [`Op`](crate::Op) of network graphs: it starts from embeddings and ends in one number.

mod cpu;
mod device;
mod exp;
mod fixed;
mod reference;
mod running;
mod sampled;
mod tournament;

#[cfg(test)]
mod cuda_tests;
#[cfg(test)]
mod tests;

pub use device::{OnDevice, Version};
pub use reference::{reference_gradient, reference_loss, reference_sampled};
pub use sampled::{Sampled, dot};

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
    positives: Vec<usize>,
    keys: Range<usize>,
    excluded: Excluded,
    temperature: f32,
    offset: f64,
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
    /// Weight of every query's positive in the gradient: softmax − 1.
    positive_weight: Vec<f32>,
}

impl Contrast {
    /// The general form: query i is row i, its positive is row `positives[i]`, `keys` are rows.
    ///
    /// # Errors
    /// When there are no queries, a row is out of range, a query is left without any key, or the
    /// temperature is not between 1e-4 and 1e4.
    pub fn new(
        (rows, dim): (usize, usize),
        positives: Vec<usize>,
        keys: Range<usize>,
        excluded: Excluded,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        let contrast = Self {
            rows,
            dim,
            positives,
            keys,
            excluded,
            temperature,
            offset: 0.0,
        };
        contrast.check()?;
        Ok(contrast)
    }

    /// The viewmaker's SimCLR on `z = [z1; z2]` of 2·`pairs` rows: queries are the rows of the first
    /// view, keys all rows, nothing is excluded, the offset is −log 2N.
    pub fn viewmaker_simclr(
        pairs: usize,
        dim: usize,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        let rows = 2 * pairs;
        let positives = (pairs..rows).collect();
        let all = Self::new(
            (rows, dim),
            positives,
            0..rows,
            Excluded::Nothing,
            temperature,
        )?;
        Ok(Self {
            offset: -(rows as f64).ln(),
            ..all
        })
    }

    /// NT-Xent on `z = [z1; z2]`: every row asks for its partner among all others.
    pub fn ntxent(pairs: usize, dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        Self::both_ways(pairs, dim, Excluded::Itself, temperature)
    }

    /// Decoupled contrastive learning on `z = [z1; z2]`, at least two pairs.
    pub fn dcl(pairs: usize, dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        Self::both_ways(pairs, dim, Excluded::ItselfAndPositive, temperature)
    }

    /// InfoNCE on `z = [z1; z2]`: rows of the first view look for theirs in the second.
    pub fn infonce(pairs: usize, dim: usize, temperature: f32) -> Result<Self, ContrastError> {
        let rows = 2 * pairs;
        let positives = (pairs..rows).collect();
        Self::new(
            (rows, dim),
            positives,
            pairs..rows,
            Excluded::Nothing,
            temperature,
        )
    }

    fn both_ways(
        pairs: usize,
        dim: usize,
        excluded: Excluded,
        temperature: f32,
    ) -> Result<Self, ContrastError> {
        let rows = 2 * pairs;
        let positives = (pairs..rows).chain(0..pairs).collect();
        Self::new((rows, dim), positives, 0..rows, excluded, temperature)
    }

    fn check(&self) -> Result<(), ContrastError> {
        let fail = |why: String| Err(ContrastError(why));
        let (rows, keys) = (self.rows, &self.keys);
        if self.positives.is_empty() || self.positives.len() > rows || self.dim == 0 {
            let queries = self.positives.len();
            return fail(format!(
                "{queries} queries in a matrix of {rows} × {}",
                self.dim
            ));
        }
        if keys.is_empty() || keys.end > rows {
            return fail(format!("keys {keys:?} of {rows} rows"));
        }
        if !(1e-4..=1e4).contains(&self.temperature) {
            let found = self.temperature;
            return fail(format!(
                "expected a temperature from 1e-4 to 1e4, found {found}"
            ));
        }
        for (query, positive) in self.positives.iter().enumerate() {
            if !keys.contains(positive) {
                return fail(format!("positive {positive} of query {query} is not a key"));
            }
            let left_out = keys
                .clone()
                .take(3)
                .filter(|k| self.excludes(query, *k))
                .count();
            if left_out == keys.len().min(3) {
                return fail(format!("no key is left for query {query}"));
            }
        }
        Ok(())
    }

    fn excludes(&self, query: usize, key: usize) -> bool {
        match self.excluded {
            Excluded::Nothing => false,
            Excluded::Itself => key == query,
            Excluded::ItselfAndPositive => key == query || key == self.positives[query],
        }
    }

    fn queries(&self) -> usize {
        self.positives.len()
    }

    /// Number of rows of `z`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Width of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Floating-point operations of one forward pass.
    pub fn flops(&self) -> u64 {
        2 * (self.queries() * self.keys.len() * self.dim) as u64
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

    /// The gradient with respect to `z`, times `loss_grad`; `grad` is overwritten.
    ///
    /// # Panics
    /// When `grad` does not have `rows · dim` elements or `saved` is of another geometry.
    pub fn backward(&self, saved: &Saved, loss_grad: f32, grad: &mut [f32]) {
        assert_eq!(grad.len(), self.rows * self.dim, "elements of grad");
        assert_eq!(saved.unit.len(), grad.len(), "elements of saved");
        assert_eq!(saved.log_sum.len(), self.queries(), "queries of saved");
        cpu::backward(self, saved, loss_grad, grad);
    }
}
