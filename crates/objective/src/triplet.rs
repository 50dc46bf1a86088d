//! The triplet loss, and the choice of its negatives.

use crate::config::Mining;
use crate::key_queue::KeyQueue;
use crate::objective::{BatchInfo, Branches, Embeddings, Loss, Memory, NamedTensor, Objective};
use crate::objective::{Outputs, Seen, Setup, expect_seen, expect_views, wrong_state};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, bounded, check_shapes, l2_normalize, row_distances};
use crate::{ObjectiveConfig, ObjectiveError};
use dfdx::prelude::*;
use rayon::prelude::*;
use viewmaker_ops::random::Philox;

const NAME: &str = "triplet";

/// Separates the draws of random negatives from every other use of random numbers.
const NEGATIVES: u32 = 0x7472_6970;

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "Triplet margin loss on unit embeddings, with mining of negatives",
    equation: "mean_i max(0, |u_i − v_i|² − |u_i − n_i|² + margin)",
    paper: "Schroff, Kalenichenko & Philbin, FaceNet, CVPR 2015, section 3.1",
    branches: Branches::TWO_VIEWS,
    game: "through anchor, positive and mined negative (not through a queue); at most 4 + margin",
    options: &["margin", "mining", "queue"],
    defaults: &[],
    build: |entry, config, setup| Ok(Box::new(Triplets::new(entry, config, setup)?)),
};

/// `mean_i max(0, |a_i − p_i|² − |a_i − n_i|² + margin)` on embeddings as they are.
///
/// `anchor`, `positive`, `negative`: `[N, D]`, N ≥ 1. Range: 0 and up.
///
/// Source: Schroff, Kalenichenko & Philbin, *FaceNet: A Unified Embedding for Face Recognition and
/// Clustering* (CVPR 2015), section 3.1.
pub fn triplet<E: Real, T: Tape<E, Cpu>>(
    anchor: Matrix<E, T>,
    positive: Matrix<E, T>,
    negative: Matrix<E, T>,
    margin: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let shapes = [*anchor.shape(), *positive.shape(), *negative.shape()];
    check_shapes(NAME, &shapes, 1)?;
    let (a, p, n) = (bounded(anchor), bounded(positive), bounded(negative));
    let near = row_distances(a.with_empty_tape(), p);
    let far = row_distances(a, n);
    Ok((near - far + E::of(margin)).relu().mean())
}

/// [`triplet`] on embeddings of unit length. Range: from 0 to `4 + margin`.
pub fn triplet_unit<E: Real, T: Tape<E, Cpu>>(
    anchor: Matrix<E, T>,
    positive: Matrix<E, T>,
    negative: Matrix<E, T>,
    margin: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let [a, p, n] = [anchor, positive, negative].map(l2_normalize);
    triplet(a, p, n, margin)
}

/// [`triplet_unit`] with anchors from the first view, positives from the second, and negatives as
/// configured: of the second view, or of a queue of earlier second views.
#[derive(Debug)]
struct Triplets {
    entry: &'static Entry,
    margin: f64,
    mining: Mining,
    seed: u64,
    queue: Option<KeyQueue>,
}

impl Triplets {
    fn new(
        entry: &'static Entry,
        config: &ObjectiveConfig,
        setup: &Setup,
    ) -> Result<Self, ObjectiveError> {
        let queue = match config.mining {
            Mining::HardestQueue => Some(KeyQueue::new(
                config.queue,
                setup.embedding_dim,
                setup.seed,
            )?),
            Mining::Random | Mining::SemiHard | Mining::Hardest => None,
        };
        Ok(Self {
            entry,
            margin: config.margin,
            mining: config.mining,
            seed: setup.seed,
            queue,
        })
    }

    /// The negative of every anchor. Those of the batch are on the tape of `positives`, those of the
    /// queue are constants.
    fn negatives(
        &self,
        anchors: &[f32],
        positives: Embeddings,
        batch: &BatchInfo<'_>,
    ) -> Embeddings {
        let device = positives.device().clone();
        let (rows, columns) = *positives.shape();
        let values = positives.as_vec();
        if let Some(queue) = &self.queue {
            let own = |i: usize, k: usize| queue.owners()[k] == batch.indices.get(i).copied();
            let chosen = mine(
                Mining::Hardest,
                anchors,
                &values,
                queue.rows(),
                columns,
                own,
            );
            let rows_of = chosen
                .iter()
                .map(|k| &queue.rows()[k * columns..][..columns]);
            let negatives = rows_of.collect::<Vec<_>>().concat();
            return device
                .tensor_from_vec(negatives, (rows, columns))
                .leaky_traced();
        }
        let chosen = match self.mining {
            Mining::Random => random_others(rows, Philox::new(self.seed, NEGATIVES, batch.pass)),
            mining => mine(mining, anchors, &values, &values, columns, |i, k| i == k),
        };
        positives.gather(device.tensor_from_vec(chosen, (rows,)))
    }
}

/// For every example another one, uniformly.
fn random_others(rows: usize, draws: Philox) -> Vec<usize> {
    let other = |i: usize| {
        let word = draws.block(i as u64)[0];
        // Maps 32 random bits to one of rows − 1; the bias is below rows/2³².
        let step = ((u64::from(word) * (rows as u64 - 1)) >> 32) as usize;
        (i + 1 + step) % rows
    };
    (0..rows).map(other).collect()
}

/// The candidate that `mining` chooses for every anchor, among those that are not its own.
///
/// All matrices have `columns` columns; row i of `positives` belongs to row i of `anchors`.
fn mine(
    mining: Mining,
    anchors: &[f32],
    positives: &[f32],
    candidates: &[f32],
    columns: usize,
    own: impl Fn(usize, usize) -> bool + Sync,
) -> Vec<usize> {
    let rows = anchors
        .par_chunks(columns)
        .zip(positives.par_chunks(columns));
    rows.enumerate()
        .map(|(i, (anchor, positive))| {
            let near = squared_distance(anchor, positive);
            let others = candidates.chunks(columns).enumerate();
            let others = others.filter(|(k, _)| !own(i, *k));
            let others = others.map(|(k, row)| (k, squared_distance(anchor, row)));
            choose(mining, near, others)
        })
        .collect()
}

/// The nearest candidate, or with [`Mining::SemiHard`] the nearest that is farther than the
/// positive, or else the farthest. The first of equal ones; 0 without candidates.
fn choose(mining: Mining, near: f64, others: impl Iterator<Item = (usize, f64)>) -> usize {
    let (mut nearest, mut semi_hard, mut farthest) = (None, None, None);
    let closer = |best: &Option<(usize, f64)>, d: f64| best.is_none_or(|(_, b)| d < b);
    for (k, d) in others {
        if closer(&nearest, d) {
            nearest = Some((k, d));
        }
        if d > near && closer(&semi_hard, d) {
            semi_hard = Some((k, d));
        }
        if farthest.is_none_or(|(_, b)| d > b) {
            farthest = Some((k, d));
        }
    }
    let chosen = match mining {
        Mining::SemiHard => semi_hard.or(farthest),
        Mining::Random | Mining::Hardest | Mining::HardestQueue => nearest,
    };
    chosen.map_or(0, |(k, _)| k)
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
    squares.sum()
}

impl Objective for Triplets {
    fn name(&self) -> &'static str {
        self.entry.name
    }

    fn branches(&self) -> Branches {
        let memory = match self.queue {
            Some(_) => Memory::Queue,
            None => Memory::None,
        };
        Branches {
            memory,
            ..self.entry.branches
        }
    }

    fn loss(&mut self, outputs: Outputs, batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError> {
        let [z1, z2] = expect_views(NAME, outputs.embeddings)?;
        let least = if self.queue.is_some() { 1 } else { 2 };
        check_shapes(NAME, &[*z1.shape(), *z2.shape()], least)?;
        let (u, v) = (l2_normalize(z1), l2_normalize(z2));
        let negatives = self.negatives(&u.as_vec(), v.with_empty_tape(), batch);
        triplet(u, v, negatives, self.margin)
    }

    fn finish_step(
        &mut self,
        seen: &Seen<'_>,
        batch: &BatchInfo<'_>,
    ) -> Result<(), ObjectiveError> {
        let Some(queue) = &mut self.queue else {
            return Ok(());
        };
        let [_, positives] = expect_seen(NAME, seen.embeddings)?;
        queue.enqueue_of(positives, batch.indices)
    }

    fn queue(&self) -> Option<&KeyQueue> {
        self.queue.as_ref()
    }

    fn state(&self) -> Vec<NamedTensor> {
        self.queue.as_ref().map_or_else(Vec::new, KeyQueue::state)
    }

    fn load_state(&mut self, state: &[NamedTensor]) -> Result<(), ObjectiveError> {
        match (&mut self.queue, state) {
            (Some(queue), state) => queue.load_state(NAME, state),
            (None, []) => Ok(()),
            (None, state) => Err(wrong_state(NAME, "no state", state)),
        }
    }
}
