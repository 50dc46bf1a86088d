//! The sections of the probes below `eval`.

use crate::eval::fewshot::{Episodes, Nearness};
use crate::eval::logistic::Logistic;
use serde::{Deserialize, Serialize};

/// The section `eval.logistic`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogisticSection {
    /// Weight λ of the penalty λ/2 · |W|² beside the mean cross-entropy.
    pub l2: f64,
    /// Most iterations.
    pub max_iterations: u64,
    /// Largest component of the gradient at the end.
    pub tolerance: f64,
}

impl LogisticSection {
    /// What the regression is given.
    pub fn settings(&self) -> Logistic {
        Logistic {
            l2: self.l2,
            max_iterations: self.max_iterations,
            tolerance: self.tolerance,
        }
    }
}

/// The section `eval.finetune`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneSection {
    /// Parts of the labels of every class.
    pub fractions: Vec<f64>,
    /// Repetitions, each with a seed of its own.
    pub seeds: u64,
    /// Steps of every training.
    pub steps: u64,
    /// Examples of a step.
    pub batch_size: usize,
    /// Learning rate of AdamW at the first step.
    pub lr: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// The section `eval.fewshot`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewshotSection {
    /// Classes of an episode.
    pub ways: usize,
    /// Labelled examples of each class; one kind of episode for every number.
    pub shots: Vec<usize>,
    /// Classified examples of each class.
    pub queries: usize,
    /// Number of episodes.
    pub episodes: usize,
    /// What nearness means.
    pub distance: Nearness,
}

impl FewshotSection {
    /// The episodes with `shots` labelled examples of each class.
    pub fn episodes_of(&self, shots: usize, seed: u64) -> Episodes {
        Episodes {
            ways: self.ways,
            shots,
            queries: self.queries,
            episodes: self.episodes,
            distance: self.distance,
            seed,
        }
    }
}

/// The section `eval.corruptions`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorruptionsSection {
    /// Held-out examples that are corrupted, spread evenly; 0: all.
    pub examples: usize,
}

/// The section `eval.subjects`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectsSection {
    /// Numbers of subjects that the probe is trained on.
    pub counts: Vec<usize>,
    /// Draws of subjects for each number.
    pub repeats: usize,
}
