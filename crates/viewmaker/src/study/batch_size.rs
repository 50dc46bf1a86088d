//! What a batch knows of the whole: NT-Xent over batches of growing size against NT-Xent over all data.
//!
//! With unit embeddings `z` of two views of N examples, temperature t, and the partner `p(i)` of row i,
//!
//! `L_B = mean_i[ log( e_ip + Σ_{k ∈ batch of i, k ≠ i, p(i)} e_ik ) − z_i·z_p(i)/t ]`, `e_ik = exp(z_i·z_k/t)`
//!
//! is NT-Xent (Chen et al., SimCLR, ICML 2020, equation 1) over batches of B examples, and `L_N` the
//! objective of all data at once. `L_B < L_N`, because a batch has fewer negatives. The *weighted*
//! objective counts each negative `(N − 1)/(B − 1)` times, so that the sum in the logarithm is right on
//! average over the batches; the logarithm then still makes it too small on average (Jensen), and this
//! remaining gap is what small batches get wrong about the objective itself.
//!
//! Source of the question: Chen et al., *Why do We Need Large Batchsizes in Contrastive Learning? A
//! Gradient-Bias Perspective* (NeurIPS 2022).

use crate::eval::spread::{Spread, mean_and_deviation};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;
use viewmaker_ops::random::Philox;

/// Stream of the generator; the step is the batch size.
const STREAM: u32 = 0x25;

/// The objective at one batch size, over random divisions of the data into batches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AtSize {
    /// Examples of a batch.
    pub batch: usize,
    /// Batches of one division; examples that do not fill a batch are left out.
    pub batches: usize,
    /// `L_B`, mean over the batches of each division.
    pub objective: Spread,
    /// `L_N − L_B`.
    pub gap: Spread,
    /// The weighted objective.
    pub weighted: Spread,
    /// `L_N` minus the weighted objective: not negative on average.
    pub weighted_gap: Spread,
    /// Standard deviation of `L_B` over the batches of the first division; `None` for one batch.
    pub batch_std: Option<f64>,
}

/// The objective by batch size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchSizeStudy {
    /// Examples, N.
    pub examples: usize,
    /// Length of an embedding.
    pub dim: usize,
    /// Temperature t.
    pub temperature: f64,
    /// Seeds of the divisions.
    pub seeds: Vec<u64>,
    /// `L_N`, the objective of all data.
    pub full: f64,
    /// Growing batches.
    pub sizes: Vec<AtSize>,
}

/// Embeddings of two views of the same examples.
pub struct Pairs {
    /// Unit rows in double precision: N of the first view, then N of the second.
    unit: Vec<f64>,
    dim: usize,
    temperature: f64,
}

impl Pairs {
    /// From embeddings `[N, dim]` of each view, which need not be normalised; the temperature is
    /// positive.
    pub fn new([first, second]: [&[f32]; 2], dim: usize, temperature: f64) -> Self {
        let unit = |row: &[f32]| {
            let norm = row
                .iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt();
            let norm = if norm > 0.0 { norm } else { 1.0 };
            row.iter()
                .map(|x| f64::from(*x) / norm)
                .collect::<Vec<f64>>()
        };
        let rows = first.chunks(dim.max(1)).chain(second.chunks(dim.max(1)));
        Self {
            unit: rows.flat_map(unit).collect(),
            dim,
            temperature,
        }
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.unit.len() / (2 * self.dim.max(1))
    }

    /// True without examples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Measures the objective for batches of every one of `sizes`, each from 2 to [`Pairs::len`], over
    /// one random division of the data for every seed. `progress` hears of every size that is done.
    pub fn study(
        &self,
        sizes: &[usize],
        seeds: &[u64],
        mut progress: impl FnMut(usize),
    ) -> BatchSizeStudy {
        let everything: Vec<usize> = (0..self.len()).collect();
        let [full, _] = self.objectives(&everything);
        let sizes = sizes.iter().enumerate().map(|(number, &batch)| {
            let at = self.at_size(batch, seeds, full);
            progress(number + 1);
            at
        });
        BatchSizeStudy {
            examples: self.len(),
            dim: self.dim,
            temperature: self.temperature,
            seeds: seeds.to_vec(),
            full,
            sizes: sizes.collect(),
        }
    }

    fn at_size(&self, batch: usize, seeds: &[u64], full: f64) -> AtSize {
        let mut means = [Vec::new(), Vec::new()];
        let mut batch_std = None;
        for seed in seeds {
            let mut order: Vec<usize> = (0..self.len()).collect();
            order.shuffle(&mut Philox::new(*seed, STREAM, batch as u32).sequence());
            // Ascending in each batch, so that the batch of everything is summed up like everything.
            order.chunks_mut(batch).for_each(<[usize]>::sort_unstable);
            let values: Vec<[f64; 2]> = order
                .chunks_exact(batch)
                .map(|examples| self.objectives(examples))
                .collect();
            for (means, which) in means.iter_mut().zip([0, 1]) {
                let of: Vec<f64> = values.iter().map(|value| value[which]).collect();
                let (mean, deviation) = mean_and_deviation(&of).unwrap_or((f64::NAN, None));
                means.push(mean);
                if which == 0 && *seed == seeds[0] {
                    batch_std = deviation;
                }
            }
        }
        let [plain, weighted] = means;
        let gap = |values: &[f64]| Spread::of(values.iter().map(|value| full - value).collect());
        AtSize {
            batch,
            batches: self.len() / batch,
            gap: gap(&plain),
            weighted_gap: gap(&weighted),
            objective: Spread::of(plain),
            weighted: Spread::of(weighted),
            batch_std,
        }
    }

    /// The objective of a batch of examples, and the weighted one.
    fn objectives(&self, examples: &[usize]) -> [f64; 2] {
        let (all, batch) = (self.len() as f64, examples.len() as f64);
        let weight = ((all - 1.0) / (batch - 1.0)).ln();
        let rows: Vec<usize> = examples
            .iter()
            .copied()
            .chain(examples.iter().map(|example| example + self.len()))
            .collect();
        // Collected first: the order of the sums must not depend on the number of threads.
        let losses: Vec<[f64; 2]> = (0..rows.len())
            .into_par_iter()
            .map(|i| self.row_losses(&rows, i, weight))
            .collect();
        [0, 1].map(|which| losses.iter().map(|loss| loss[which]).sum::<f64>() / rows.len() as f64)
    }

    /// Both losses of row number `i` of a batch; `weight` is the logarithm of how often a negative
    /// counts.
    fn row_losses(&self, rows: &[usize], i: usize, weight: f64) -> [f64; 2] {
        let partner = (i + rows.len() / 2) % rows.len();
        let logit = |k: usize| self.dot(rows[i], rows[k]) / self.temperature;
        let positive = logit(partner);
        let negatives: Vec<f64> = (0..rows.len())
            .filter(|k| *k != i && *k != partner)
            .map(logit)
            .collect();
        let most = negatives.iter().copied().fold(positive, f64::max);
        let sum: f64 = negatives.iter().map(|logit| (logit - most).exp()).sum();
        let own = (positive - most).exp();
        [1.0, weight.exp()].map(|weight| most - positive + (own + weight * sum).ln())
    }

    fn dot(&self, a: usize, b: usize) -> f64 {
        let row = |i: usize| &self.unit[i * self.dim..(i + 1) * self.dim];
        row(a).iter().zip(row(b)).map(|(a, b)| a * b).sum()
    }
}

/// Doubling batch sizes from 2 to half of `examples`, and all of them.
pub fn doubling_sizes(examples: usize) -> Vec<usize> {
    let doubling = std::iter::successors(Some(2), |size| Some(size * 2));
    let mut sizes: Vec<usize> = doubling.take_while(|size| 2 * size <= examples).collect();
    sizes.push(examples);
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::{AsArray, Cpu, TensorFromVec};
    use viewmaker_objective::ntxent::ntxent;

    fn views(count: usize, dim: usize) -> [Vec<f32>; 2] {
        let random = Philox::new(1, 2, 3);
        let first: Vec<f32> = (0..count * dim)
            .map(|i| random.uniform(i as u64) - 0.3)
            .collect();
        let nudge = |(i, x): (usize, &f32)| x + 0.2 * random.uniform((i + 10_000) as u64);
        let second = first.iter().enumerate().map(nudge).collect();
        [first, second]
    }

    fn pairs(count: usize, dim: usize) -> Pairs {
        let [first, second] = views(count, dim);
        Pairs::new([&first, &second], dim, 0.2)
    }

    #[test]
    fn the_objective_of_all_data_is_nt_xent() {
        let [first, second] = views(9, 5);
        let tensor = |rows: &[f32]| {
            let rows: Vec<f64> = rows.iter().map(|x| f64::from(*x)).collect();
            Cpu::default().tensor_from_vec(rows, (9, 5))
        };
        let expected = ntxent(tensor(&first), tensor(&second), 0.2)
            .unwrap()
            .array();
        let study = pairs(9, 5).study(&[9], &[0], |_| {});
        assert!(
            (study.full - expected).abs() < 1e-12,
            "{} {expected}",
            study.full
        );
        // One batch of everything: no gap, and nothing to weight.
        let at = &study.sizes[0];
        assert_eq!((at.gap.mean, at.weighted_gap.mean), (0.0, 0.0));
        assert_eq!((at.batches, at.batch_std), (1, None));
    }

    #[test]
    fn over_all_batches_the_weighted_sum_is_right_and_its_logarithm_too_small() {
        // Every batch of two of five examples: the mean over all batches of a row's weighted sum is
        // the sum over all data, so the mean of the losses is below the loss of the mean.
        let pairs = pairs(5, 4);
        let everything: Vec<usize> = (0..5).collect();
        let [full, _] = pairs.objectives(&everything);
        let mut losses = Vec::new();
        for a in 0..5 {
            for b in a + 1..5 {
                losses.push(pairs.objectives(&[a, b]));
            }
        }
        let mean =
            |which: usize| losses.iter().map(|l| l[which]).sum::<f64>() / losses.len() as f64;
        assert!(
            mean(0) < mean(1) && mean(1) < full,
            "{} {} {full}",
            mean(0),
            mean(1)
        );
        let weighted_sum = |i: usize, b: usize| {
            let [_, weighted] = pairs.row_losses(&[i, b, i + 5, b + 5], 0, 4f64.ln());
            let positive = pairs.dot(i, i + 5) / 0.2;
            (weighted + positive).exp()
        };
        let [all, _] = pairs.row_losses(&(0..10).collect::<Vec<_>>(), 2, 0.0);
        let all = (all + pairs.dot(2, 7) / 0.2).exp();
        let others = [0, 1, 3, 4].map(|b| weighted_sum(2, b));
        assert!((others.iter().sum::<f64>() / 4.0 - all).abs() < 1e-9 * all);
    }

    #[test]
    fn gaps_shrink_with_the_batch_and_do_not_depend_on_threads() {
        let study = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| pairs(64, 6).study(&doubling_sizes(64), &[0, 1, 2], |_| {}))
        };
        let one = study(1);
        assert_eq!(one, study(3));
        let gaps: Vec<f64> = one.sizes.iter().map(|at| at.gap.mean).collect();
        assert!(gaps.windows(2).all(|pair| pair[1] < pair[0]), "{gaps:?}");
        let weighted: Vec<f64> = one.sizes.iter().map(|at| at.weighted_gap.mean).collect();
        assert!(
            weighted[0] > weighted[4] && weighted.iter().all(|gap| *gap > -1e-3),
            "{weighted:?}"
        );
        assert!(one.sizes[0].batch_std.is_some() && one.sizes[0].objective.std.is_some());
    }

    #[test]
    fn sizes_double_and_end_with_everything() {
        assert_eq!(doubling_sizes(100), [2, 4, 8, 16, 32, 100]);
        assert_eq!(doubling_sizes(64), [2, 4, 8, 16, 32, 64]);
        assert_eq!(doubling_sizes(2), [2]);
    }
}
