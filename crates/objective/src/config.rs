//! The settings of an objective.

use crate::ObjectiveError;
use crate::objective::MOST_VIEWS;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Largest number of noise rows per example, and of rows of a queue.
const MOST_NEGATIVES: usize = 1 << 20;

/// Largest hidden layer of a predictor.
const WIDEST_PREDICTOR: usize = 1 << 16;

/// Most tasks of a batch.
const MOST_TASKS: usize = 1 << 16;

/// Which objective, and its settings; the defaults are the viewmaker paper's, or those of the paper
/// that the setting comes from where nothing else is said.
///
/// Settings that an objective has no use for are ignored by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectiveConfig {
    /// A name of the [registry](mod@crate::registry).
    pub name: String,
    /// Temperature, 1e-4 to 1e4.
    pub temperature: f64,
    /// What `infonce` compares embeddings by.
    pub distance: Distance,
    /// Width σ of the weights of `dclw`, 1e-2 to 1e4.
    pub sigma: f64,
    /// Margin of `triplet`, 0 to 1e4.
    pub margin: f64,
    /// Where `triplet` takes its negatives from.
    pub mining: Mining,
    /// Rows of a queue, 1 to 2²⁰. MoCo's paper has 65,536, for a data set of a million.
    pub queue: usize,
    /// Noise rows per example of `instdisc`, and negatives of each of two moments of `tcn`: 1 to 2²⁰.
    pub negatives: usize,
    /// What a memory bank keeps of an old row, 0 to 1.
    pub bank_momentum: f64,
    /// What a momentum encoder keeps of itself in a step, 0 to 1. The papers' 0.99 to 0.999 are for
    /// hundreds of thousands of steps.
    pub encoder_momentum: f64,
    /// Course of `encoder_momentum`.
    pub momentum_schedule: MomentumSchedule,
    /// Classes of a task of `protonet`, each an example of the batch: 2 to 2²⁰.
    pub ways: usize,
    /// Support views of each class, 1 to 32.
    pub shots: usize,
    /// Query views of each class, 1 to 32.
    pub queries: usize,
    /// Tasks made of a batch, 1 to 2¹⁶.
    pub tasks: usize,
    /// Weight of the mean ℓ1 norm of the embeddings in `tcn`, 0 to 1e4.
    pub l1: f64,
    /// Weight of the mean ℓ2 norm of the embeddings in `tcn`, 0 to 1e4.
    pub l2: f64,
    /// Width of a predictor's hidden layer, 1 to 2¹⁶.
    pub predictor_hidden: usize,
    /// Use the streaming kernel where there is one: the same loss without the N×N matrix.
    pub fused: bool,
}

/// What two embeddings are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Distance {
    /// Negative cosine similarity.
    Cosine,
    /// Euclidean distance of the embeddings as they are.
    Euclidean,
}

/// Where the negative of a triplet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mining {
    /// Any other example of the batch.
    Random,
    /// The nearest of those in the batch that are farther than the positive.
    SemiHard,
    /// The nearest in the batch.
    Hardest,
    /// The nearest in a queue of earlier batches.
    HardestQueue,
}

/// Course of a momentum over training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MomentumSchedule {
    /// Always the same (MoCo).
    Constant,
    /// Half a cosine up to 1 at the last step (BYOL, MoCo v3).
    Cosine,
}

impl MomentumSchedule {
    /// The momentum at `step` (from 0) of `steps`, from `base` on; in `[base, 1]`.
    ///
    /// Cosine: `1 − (1 − base)·(cos(πk/K) + 1)/2`. Source: Grill et al., *Bootstrap Your Own
    /// Latent* (NeurIPS 2020), implementation details.
    pub fn at(self, base: f64, step: u64, steps: u64) -> f64 {
        match self {
            Self::Constant => base,
            Self::Cosine => {
                let progress = (step as f64 / steps.max(1) as f64).min(1.0);
                1.0 - (1.0 - base) * ((std::f64::consts::PI * progress).cos() + 1.0) / 2.0
            }
        }
    }
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            name: "viewmaker-simclr".to_owned(),
            temperature: 0.07,
            distance: Distance::Cosine,
            sigma: 0.5,
            margin: 0.2,
            mining: Mining::SemiHard,
            queue: 1024,
            negatives: 4096,
            bank_momentum: 0.5,
            encoder_momentum: 0.99,
            momentum_schedule: MomentumSchedule::Constant,
            ways: 16,
            shots: 1,
            queries: 1,
            tasks: 4,
            l1: 1e-5,
            l2: 1e-5,
            predictor_hidden: 256,
            fused: true,
        }
    }
}

impl ObjectiveConfig {
    /// Checks every number against its range.
    pub fn validate(&self) -> Result<(), ObjectiveError> {
        in_range("temperature", self.temperature, 1e-4..=1e4)?;
        in_range("sigma", self.sigma, 1e-2..=1e4)?;
        in_range("margin", self.margin, 0.0..=1e4)?;
        in_range("queue", self.queue, 1..=MOST_NEGATIVES)?;
        in_range("negatives", self.negatives, 1..=MOST_NEGATIVES)?;
        in_range("bank_momentum", self.bank_momentum, 0.0..=1.0)?;
        in_range("encoder_momentum", self.encoder_momentum, 0.0..=1.0)?;
        in_range("ways", self.ways, 2..=MOST_NEGATIVES)?;
        in_range("shots", self.shots, 1..=MOST_VIEWS / 2)?;
        in_range("queries", self.queries, 1..=MOST_VIEWS / 2)?;
        in_range("l1", self.l1, 0.0..=1e4)?;
        in_range("l2", self.l2, 0.0..=1e4)?;
        in_range("tasks", self.tasks, 1..=MOST_TASKS)?;
        in_range(
            "predictor_hidden",
            self.predictor_hidden,
            1..=WIDEST_PREDICTOR,
        )
    }
}

fn in_range<T: PartialOrd + std::fmt::Debug>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ObjectiveError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ObjectiveError::Setting {
        field,
        expected: format!("{:?} to {:?}", range.start(), range.end()),
        found: format!("{value:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_goes_from_the_base_to_one() {
        let at = |step| MomentumSchedule::Cosine.at(0.96, step, 100);
        assert!((at(0) - 0.96).abs() < 1e-12);
        assert!((at(50) - 0.98).abs() < 1e-12);
        assert!((at(100) - 1.0).abs() < 1e-12);
        assert_eq!(at(1000), at(100));
        assert!((0..100).all(|step| at(step) < at(step + 1)));
        assert_eq!(MomentumSchedule::Constant.at(0.9, 70, 100), 0.9);
        assert!(MomentumSchedule::Cosine.at(0.9, 0, 0).is_finite());
    }
}
