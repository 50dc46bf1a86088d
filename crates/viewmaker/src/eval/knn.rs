//! Weighted nearest-neighbour classification on frozen features.

use super::features::Features;
use crate::error::Result;
use crate::interrupt::Interrupt;
use rayon::prelude::*;
use std::cmp::Ordering;
use viewmaker_ops::gemm::{Destination, Matrix, MatrixMut, multiply};

/// How neighbours vote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knn {
    /// Neighbours that vote, at least 1.
    pub k: usize,
    /// Temperature of the weights, positive.
    pub temperature: f32,
}

/// Accuracy in `[0, 1]` of classifying `test` by its neighbours in `bank`: each of the `k` rows
/// with the largest cosine votes for its class with weight exp(cosine / temperature) (Wu et al.,
/// *Unsupervised Feature Learning via Non-Parametric Instance Discrimination*, CVPR 2018, section
/// 3.4). Ties go to the class with the smaller index.
///
/// Rows must be normalised. `None` when either set is empty.
///
/// # Errors
/// When it is interrupted.
pub fn accuracy(
    bank: &Features,
    test: &Features,
    classes: usize,
    knn: Knn,
    interrupt: &Interrupt,
) -> Result<Option<f64>> {
    if bank.is_empty() || test.is_empty() {
        return Ok(None);
    }
    let correct = test
        .rows
        .par_chunks(QUERIES * test.dim)
        .zip(test.labels.par_chunks(QUERIES))
        .map(|(queries, labels)| -> Result<usize> {
            interrupt.check()?;
            let predicted = predict_all(bank, queries, classes, knn);
            Ok(predicted.iter().zip(labels).filter(|(a, b)| a == b).count())
        })
        .sum::<Result<usize>>()?;
    Ok(Some(correct as f64 / test.len() as f64))
}

/// Queries that one task compares with the bank: one product instead of as many passes over it.
const QUERIES: usize = 32;
/// Rows of the bank that are compared at a time, so that few cosines are kept.
const ROWS: usize = 1024;

/// The class of every query.
fn predict_all(bank: &Features, queries: &[f32], classes: usize, knn: Knn) -> Vec<u32> {
    let dim = bank.dim;
    let count = queries.len() / dim;
    let k = knn.k.clamp(1, bank.len());
    let mut nearest = vec![Nearest::new(k); count];
    let mut cosines = vec![0.0; count * ROWS];
    for (tile, rows) in bank.rows.chunks(ROWS * dim).enumerate() {
        let width = rows.len() / dim;
        multiply(
            MatrixMut::new(&mut cosines, count, width),
            Destination::Overwrite,
            Matrix::new(queries, count, dim),
            Matrix::new(rows, width, dim).transposed(),
        );
        for (nearest, cosines) in nearest.iter_mut().zip(cosines.chunks_exact(width)) {
            nearest.offer(cosines, tile * ROWS);
        }
    }
    nearest
        .into_iter()
        .map(|nearest| vote(bank, &nearest.sorted(), classes, knn.temperature))
        .collect()
}

/// The nearest rows among those offered so far.
#[derive(Clone, Debug)]
struct Nearest {
    k: usize,
    /// Up to `2k` candidates `(cosine, row)`, which hold the `k` nearest.
    candidates: Vec<(f32, usize)>,
    /// No row with less is among the `k` nearest.
    least: f32,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self {
            k,
            candidates: Vec::with_capacity(2 * k),
            least: f32::NEG_INFINITY,
        }
    }

    /// The larger cosine first, then the smaller row.
    fn order(a: &(f32, usize), b: &(f32, usize)) -> Ordering {
        b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
    }

    /// Takes the cosines of the rows from `first` on.
    fn offer(&mut self, cosines: &[f32], first: usize) {
        for (i, &cosine) in cosines.iter().enumerate() {
            if cosine >= self.least {
                self.candidates.push((cosine, first + i));
                if self.candidates.len() == 2 * self.k {
                    self.shrink();
                }
            }
        }
    }

    fn shrink(&mut self) {
        self.candidates
            .select_nth_unstable_by(self.k - 1, Self::order);
        self.candidates.truncate(self.k);
        self.least = self.candidates[self.k - 1].0;
    }

    /// The `k` nearest, or all when fewer were offered. The order of votes must not depend on how they were
    /// selected.
    fn sorted(mut self) -> Vec<(f32, usize)> {
        self.candidates.sort_unstable_by(Self::order);
        self.candidates.truncate(self.k);
        self.candidates
    }
}

fn vote(bank: &Features, neighbours: &[(f32, usize)], classes: usize, temperature: f32) -> u32 {
    let mut votes = vec![0.0f64; classes];
    let best = neighbours[0].0;
    for &(cosine, i) in neighbours {
        let weight = f64::from((cosine - best) / temperature).exp();
        votes[bank.labels[i] as usize] += weight;
    }
    let winner = (0..classes)
        .rev()
        .max_by(|&a, &b| votes[a].total_cmp(&votes[b]));
    winner.unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_ops::random::Philox;

    fn accuracy(bank: &Features, test: &Features, classes: usize, knn: Knn) -> Option<f64> {
        super::accuracy(bank, test, classes, knn, &Interrupt::never()).unwrap()
    }

    fn features(rows: &[[f32; 2]], labels: &[u32]) -> Features {
        let mut features = Features {
            dim: 2,
            rows: rows.concat(),
            labels: labels.to_vec(),
            indices: (0..labels.len()).collect(),
        };
        features.normalize();
        features
    }

    #[test]
    fn weights_can_overrule_the_majority() {
        let bank = features(&[[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]], &[0, 1, 1]);
        let test = features(&[[1.0, 0.05]], &[0]);
        let sharp = Knn {
            k: 3,
            temperature: 0.05,
        };
        let flat = Knn {
            k: 3,
            temperature: 100.0,
        };
        assert_eq!(accuracy(&bank, &test, 2, sharp), Some(1.0));
        assert_eq!(accuracy(&bank, &test, 2, flat), Some(0.0));
    }

    #[test]
    fn agrees_with_sorting_every_cosine() {
        let (classes, dim) = (7, 19);
        let random = |rows: usize, stream: u32| {
            let mut features = Features {
                dim,
                rows: vec![0.0; rows * dim],
                labels: (0..rows as u32).map(|i| i * i % classes).collect(),
                indices: (0..rows).collect(),
            };
            Philox::new(5, stream, 0).fill_uniform(&mut features.rows);
            features.rows.iter_mut().for_each(|x| *x -= 0.5);
            // Rows that are as near as others, also in another tile.
            let first = features.rows[..3 * dim].to_vec();
            features.rows[(rows - 3) * dim..].copy_from_slice(&first);
            features.normalize();
            features
        };
        let (bank, test) = (random(2 * ROWS + 77, 1), random(QUERIES + 5, 2));
        for k in [1, 2, 10, 500, 5000] {
            let knn = Knn {
                k,
                temperature: 0.2,
            };
            let right = |i: &usize| {
                let dot = |row: &[f32]| {
                    let pairs = row.iter().zip(test.row(*i));
                    pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                let mut all: Vec<(f64, usize)> =
                    (0..bank.len()).map(|j| (dot(bank.row(j)), j)).collect();
                all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                let mut votes = vec![0.0; classes as usize];
                for (cosine, j) in all.into_iter().take(k) {
                    votes[bank.labels[j] as usize] += (cosine / 0.2).exp();
                }
                let best = (0..votes.len()).max_by(|&a, &b| votes[a].total_cmp(&votes[b]));
                best == Some(test.labels[*i] as usize)
            };
            let expected = (0..test.len()).filter(right).count() as f64 / test.len() as f64;
            let accuracy = accuracy(&bank, &test, classes as usize, knn);
            assert_eq!(accuracy, Some(expected), "k = {k}");
        }
    }

    #[test]
    fn k_larger_than_the_bank_and_empty_sets() {
        let bank = features(&[[1.0, 0.0]], &[0]);
        let test = features(&[[0.0, 1.0]], &[0]);
        let knn = Knn {
            k: 200,
            temperature: 0.1,
        };
        assert_eq!(accuracy(&bank, &test, 1, knn), Some(1.0));
        assert_eq!(accuracy(&bank, &Features::default(), 1, knn), None);
    }
}
