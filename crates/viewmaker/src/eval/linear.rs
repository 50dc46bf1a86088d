//! The linear probe: multinomial logistic regression on frozen features by SGD, as in the paper.

use super::features::{Features, dot};
use rayon::prelude::*;
use serde::Serialize;
use viewmaker_ops::random::Philox;

/// Settings of the probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinearProbe {
    /// Passes over the training features.
    pub epochs: u64,
    /// Learning rate.
    pub lr: f32,
    /// Momentum in `[0, 1)`.
    pub momentum: f32,
    /// Weight decay ≥ 0.
    pub weight_decay: f32,
    /// Rows per step.
    pub batch_size: usize,
    /// Epochs at which the learning rate drops to a tenth.
    pub milestones: Vec<u64>,
    /// Seed of initialisation and order.
    pub seed: u64,
}

/// A linear classifier in training.
#[derive(Clone, Debug)]
pub struct LinearClassifier {
    dim: usize,
    classes: usize,
    // `classes × dim` weights followed by `classes` biases.
    params: Vec<f32>,
    momentum: Vec<f32>,
}

const INIT_STREAM: u32 = 0x20;
const ORDER_STREAM: u32 = 0x21;

impl LinearClassifier {
    /// A classifier of vectors of length `dim` into `classes`, with PyTorch's initialisation.
    pub fn new(dim: usize, classes: usize, seed: u64) -> Self {
        let bound = 1.0 / (dim.max(1) as f32).sqrt();
        let mut params = vec![0.0; classes * dim + classes];
        Philox::new(seed, INIT_STREAM, 0).fill_uniform(&mut params);
        params
            .iter_mut()
            .for_each(|p| *p = bound * (2.0 * *p - 1.0));
        Self {
            dim,
            classes,
            momentum: vec![0.0; params.len()],
            params,
        }
    }

    /// One pass over `train` in an order drawn from `(seed, epoch)`; returns the mean
    /// cross-entropy.
    pub fn epoch(&mut self, train: &Features, probe: &LinearProbe, epoch: u64) -> f64 {
        use rand::seq::SliceRandom;
        let mut order: Vec<usize> = (0..train.len()).collect();
        let mut rng = Philox::new(probe.seed, ORDER_STREAM, epoch as u32).sequence();
        order.shuffle(&mut rng);
        let drops = probe.milestones.iter().filter(|&&m| m <= epoch).count();
        let lr = probe.lr * 0.1f32.powi(drops as i32);
        let mut sum = 0.0;
        for rows in order.chunks(probe.batch_size.max(1)) {
            sum += self.step(train, rows, lr, probe);
        }
        sum / train.len().max(1) as f64
    }

    /// One SGD step; returns the summed cross-entropy of the rows.
    fn step(&mut self, train: &Features, rows: &[usize], lr: f32, probe: &LinearProbe) -> f64 {
        let scored: Vec<(Vec<f32>, f64)> = rows
            .par_iter()
            .map(|&i| self.residual(train.row(i), train.labels[i]))
            .collect();
        let loss = scored.iter().map(|(_, loss)| loss).sum();
        let (dim, scale) = (self.dim, 1.0 / rows.len() as f32);
        let (weights, biases) = self.params.split_at_mut(self.classes * dim);
        let (weight_momentum, bias_momentum) = self.momentum.split_at_mut(self.classes * dim);
        let per_class = weights.par_chunks_mut(dim).zip(biases);
        let momenta = weight_momentum.par_chunks_mut(dim).zip(bias_momentum);
        per_class
            .zip(momenta)
            .enumerate()
            .for_each(|(class, ((w, b), (mw, mb)))| {
                let mut grad: Vec<f32> = w.iter().map(|w| probe.weight_decay * w).collect();
                let mut bias_grad = probe.weight_decay * *b;
                for (&i, (residual, _)) in rows.iter().zip(&scored) {
                    let r = residual[class] * scale;
                    bias_grad += r;
                    for (g, x) in grad.iter_mut().zip(train.row(i)) {
                        *g += r * x;
                    }
                }
                for ((w, m), g) in w.iter_mut().zip(mw).zip(grad) {
                    *m = probe.momentum * *m + g;
                    *w -= lr * *m;
                }
                *mb = probe.momentum * *mb + bias_grad;
                *b -= lr * *mb;
            });
        loss
    }

    /// Softmax minus one-hot, and the cross-entropy.
    fn residual(&self, row: &[f32], label: u32) -> (Vec<f32>, f64) {
        let mut scores = self.scores(row);
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let target = scores[label as usize];
        let sum: f32 = scores.iter().map(|s| (s - max).exp()).sum();
        scores.iter_mut().for_each(|s| *s = (*s - max).exp() / sum);
        scores[label as usize] -= 1.0;
        (scores, f64::from(max - target) + f64::from(sum).ln())
    }

    fn scores(&self, row: &[f32]) -> Vec<f32> {
        let (weights, biases) = self.params.split_at(self.classes * self.dim);
        let rows = weights.chunks(self.dim.max(1)).zip(biases);
        rows.map(|(w, b)| dot(w, row) + b).collect()
    }

    /// Accuracy in `[0, 1]`; `None` for an empty set.
    pub fn accuracy(&self, test: &Features) -> Option<f64> {
        let correct = (0..test.len())
            .into_par_iter()
            .filter(|&i| {
                let scores = self.scores(test.row(i));
                let best = (0..self.classes).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
                best == Some(test.labels[i] as usize)
            })
            .count();
        (!test.is_empty()).then(|| correct as f64 / test.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_what_is_separable() {
        let mut features = Features {
            dim: 2,
            ..Features::default()
        };
        for i in 0..60u32 {
            let angle = i as f32 / 60.0 * std::f32::consts::TAU;
            let (x, y) = (angle.cos(), angle.sin());
            features.rows.extend([x, y]);
            features
                .labels
                .push(u32::from(x > 0.0) + 2 * u32::from(y > 0.0));
        }
        let probe = LinearProbe {
            epochs: 60,
            lr: 0.5,
            momentum: 0.9,
            weight_decay: 0.0,
            batch_size: 16,
            milestones: vec![40],
            seed: 3,
        };
        let mut classifier = LinearClassifier::new(2, 4, probe.seed);
        let first = classifier.epoch(&features, &probe, 0);
        let last = (1..probe.epochs)
            .map(|epoch| classifier.epoch(&features, &probe, epoch))
            .fold(first, |_, loss| loss);
        assert!(last < 0.5 * first, "{first} → {last}");
        assert!(classifier.accuracy(&features) > Some(0.9));
    }
}
