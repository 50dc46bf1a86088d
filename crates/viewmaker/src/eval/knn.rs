//! Weighted nearest-neighbour classification on frozen features.

use super::features::{Features, dot};
use rayon::prelude::*;

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
pub fn accuracy(bank: &Features, test: &Features, classes: usize, knn: Knn) -> Option<f64> {
    if bank.is_empty() || test.is_empty() {
        return None;
    }
    let correct = (0..test.len())
        .into_par_iter()
        .filter(|&i| predict(bank, test.row(i), classes, knn) == test.labels[i])
        .count();
    Some(correct as f64 / test.len() as f64)
}

fn predict(bank: &Features, query: &[f32], classes: usize, knn: Knn) -> u32 {
    let k = knn.k.clamp(1, bank.len());
    let mut cosines: Vec<(f32, usize)> = (0..bank.len())
        .map(|i| (dot(bank.row(i), query), i))
        .collect();
    let nearest_first =
        |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    cosines.select_nth_unstable_by(k - 1, nearest_first);
    let neighbours = &mut cosines[..k];
    // The order of summation must not depend on the selection algorithm.
    neighbours.sort_unstable_by(nearest_first);
    let mut votes = vec![0.0f64; classes];
    let best = neighbours[0].0;
    for &(cosine, i) in neighbours.iter() {
        let weight = f64::from((cosine - best) / knn.temperature).exp();
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
