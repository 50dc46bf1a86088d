//! Momentum contrast: one key per query, negatives from a queue of earlier keys.

use crate::key_queue::KeyQueue;
use crate::objective::{BatchInfo, Branches, Loss, Memory, NamedTensor, Objective, Outputs, Seen};
use crate::objective::{expect_seen, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_shapes, check_temperature, cross_entropy};
use crate::tensor::{l2_normalize, row_dots};
use crate::{ObjectiveConfig, ObjectiveError, fused};
use dfdx::prelude::*;
use viewmaker_ops::contrastive::Contrast;

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: "moco-v2",
    title: "MoCo v2: keys of a momentum encoder, negatives from a queue of earlier keys",
    equation: "−mean_i log( exp(q_i·k_i/t) / (exp(q_i·k_i/t) + Σ_n exp(q_i·queue_n/t)) )",
    paper: "He et al., MoCo, CVPR 2020, eq. 1; Chen, Fan, Girshick & He, MoCo v2, 2020",
    branches: Branches {
        online: &[0],
        target: &[1],
        memory: Memory::Queue,
        ..Branches::ONE_VIEW
    },
    game: "through the query, the first view; keys are constants",
    options: &[
        "temperature",
        "queue",
        "encoder_momentum",
        "momentum_schedule",
        "fused",
    ],
    defaults: &["objective.temperature=0.2", "encoder.projection=mlp"],
    build: |entry, config, setup| {
        Ok(Box::new(MomentumContrast {
            entry,
            queue: KeyQueue::new(config.queue, setup.embedding_dim, setup.seed)?,
            config: config.clone(),
        }))
    },
};

/// [`moco`] with its queue.
#[derive(Debug)]
struct MomentumContrast {
    entry: &'static Entry,
    config: ObjectiveConfig,
    queue: KeyQueue,
}

impl Objective for MomentumContrast {
    fn name(&self) -> &'static str {
        self.entry.name
    }

    fn branches(&self) -> Branches {
        self.entry.branches
    }

    fn loss(&mut self, outputs: Outputs, _batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError> {
        let [q] = expect_views(self.entry.name, outputs.embeddings)?;
        let [key] = expect_views(self.entry.name, outputs.targets)?;
        let t = self.config.temperature;
        if self.config.fused {
            return fused::moco(q, key, &self.queue, t);
        }
        let queue = self.queue.tensor(q.device());
        moco(q, key, queue, t)
    }

    fn contrast(&self, examples: usize, dim: usize) -> Option<Contrast> {
        let streams = self.config.fused && dim == self.queue.columns();
        let temperature = self.config.temperature as f32;
        let contrast = || Contrast::moco(examples, self.queue.len(), dim, temperature);
        // What makes no loss is refused, in words, by the loss itself.
        streams.then(contrast)?.ok()
    }

    fn queue(&self) -> Option<&KeyQueue> {
        Some(&self.queue)
    }

    fn finish_step(
        &mut self,
        seen: &Seen<'_>,
        batch: &BatchInfo<'_>,
    ) -> Result<(), ObjectiveError> {
        let [keys] = expect_seen(self.entry.name, seen.targets)?;
        self.queue.enqueue_of(keys, batch.indices)
    }

    fn state(&self) -> Vec<NamedTensor> {
        self.queue.state()
    }

    fn load_state(&mut self, state: &[NamedTensor]) -> Result<(), ObjectiveError> {
        self.queue.load_state(self.entry.name, state)
    }
}

/// Cross-entropy of `[u_i·k_i, u_i·queue^T] / t` against its first column, with
/// `u = q/|q|` and `k = key/|key|`; no gradient flows into keys or queue.
///
/// `q`, `key`: `[N, D]`, N ≥ 1; `queue`: `[K, D]` of unit rows. Range: from 0 to
/// `2/t + log(K + 1)`.
///
/// Source: He, Fan, Wu, Xie & Girshick, *Momentum Contrast for Unsupervised Visual Representation
/// Learning* (CVPR 2020), equation 1 and algorithm 1.
pub fn moco<E: Real, T: Tape<E, Cpu>>(
    q: Matrix<E, T>,
    key: Matrix<E>,
    queue: Matrix<E>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let rows = q.shape().0;
    check_keys(*q.shape(), *key.shape(), queue.shape().1)?;
    check_temperature("moco", temperature)?;
    let (u, key) = (l2_normalize(q), l2_normalize(key));
    let positive = row_dots(u.with_empty_tape(), key).reshape_like(&(rows, 1));
    let negative = u.matmul(queue.permute());
    let logits = (positive, negative).concat_along(Axis::<1>) / E::of(temperature);
    Ok(cross_entropy(logits, vec![0; rows]))
}

/// Checks that there is a key for every query, and as wide a queue.
pub(crate) fn check_keys(
    q: (usize, usize),
    key: (usize, usize),
    queue_columns: usize,
) -> Result<(), ObjectiveError> {
    check_shapes("moco", &[q, key], 1)?;
    if queue_columns == q.1 {
        return Ok(());
    }
    let expected = format!("a queue of {} columns", q.1);
    let found = queue_columns.to_string();
    Err(ObjectiveError::input("moco", expected, found))
}
