//! The linear probe: multinomial logistic regression on frozen features by SGD, as in the paper.

use super::features::Features;
use crate::error::Result;
use crate::interrupt::Interrupt;
use rayon::prelude::*;
use serde::Serialize;
use viewmaker_ops::gemm::{Destination, Matrix, MatrixMut, multiply};
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
    /// `dim × classes`: a task of the gradient owns some features, which lie together.
    weights: Vec<f32>,
    biases: Vec<f32>,
    weight_momentum: Vec<f32>,
    bias_momentum: Vec<f32>,
}

const INIT_STREAM: u32 = 0x20;
const ORDER_STREAM: u32 = 0x21;

/// Rows that one task gathers and scores.
const ROWS: usize = 32;
/// Features whose gradient one task computes.
const FEATURES: usize = 256;

impl LinearClassifier {
    /// A classifier of vectors of length `dim` into `classes`, with PyTorch's initialisation.
    pub fn new(dim: usize, classes: usize, seed: u64) -> Self {
        let bound = 1.0 / (dim.max(1) as f32).sqrt();
        let mut drawn = vec![0.0; classes * dim + classes];
        Philox::new(seed, INIT_STREAM, 0).fill_uniform(&mut drawn);
        drawn.iter_mut().for_each(|p| *p = bound * (2.0 * *p - 1.0));
        let biases = drawn.split_off(classes * dim);
        // Drawn class by class.
        let weights = (0..dim)
            .flat_map(|i| (0..classes).map(move |k| (i, k)))
            .map(|(i, k)| drawn[k * dim + i]);
        Self {
            dim,
            classes,
            weights: weights.collect(),
            weight_momentum: vec![0.0; classes * dim],
            bias_momentum: vec![0.0; classes],
            biases,
        }
    }

    /// One pass over `train` in an order drawn from `(seed, epoch)`; returns the mean
    /// cross-entropy. The same bits on any number of threads.
    ///
    /// # Errors
    /// When it is interrupted: after a step.
    pub fn epoch(
        &mut self,
        train: &Features,
        probe: &LinearProbe,
        epoch: u64,
        interrupt: &Interrupt,
    ) -> Result<f64> {
        use rand::seq::SliceRandom;
        let mut order: Vec<usize> = (0..train.len()).collect();
        let mut rng = Philox::new(probe.seed, ORDER_STREAM, epoch as u32).sequence();
        order.shuffle(&mut rng);
        let drops = probe.milestones.iter().filter(|&&m| m <= epoch).count();
        let lr = probe.lr * 0.1f32.powi(drops as i32);
        let mut batch = Batch::default();
        let mut sum = 0.0;
        for rows in order.chunks(probe.batch_size.max(1)) {
            interrupt.check()?;
            batch.fill(self, train, rows);
            sum += batch.losses.iter().sum::<f64>();
            self.step(&batch, lr, probe);
        }
        Ok(sum / train.len().max(1) as f64)
    }

    /// One SGD step.
    fn step(&mut self, batch: &Batch, lr: f32, probe: &LinearProbe) {
        let (dim, classes, count) = (self.dim, self.classes, batch.losses.len());
        let x = Matrix::new(&batch.x, count, dim).transposed();
        let residuals = Matrix::new(&batch.residuals, count, classes);
        let update = |p: &mut f32, m: &mut f32, gradient: f32| {
            *m = probe.momentum * *m + gradient + probe.weight_decay * *p;
            *p -= lr * *m;
        };
        let piece = FEATURES * classes;
        let weights = self.weights.par_chunks_mut(piece);
        let momenta = self.weight_momentum.par_chunks_mut(piece);
        weights
            .zip(momenta)
            .enumerate()
            .for_each(|(index, (weights, momenta))| {
                let first = index * FEATURES;
                let features = weights.len() / classes;
                let mut gradient = vec![0.0; weights.len()];
                multiply(
                    MatrixMut::new(&mut gradient, features, classes),
                    Destination::Overwrite,
                    x.rows(first..first + features),
                    residuals,
                );
                for ((w, m), g) in weights.iter_mut().zip(momenta).zip(gradient) {
                    update(w, m, g);
                }
            });
        let biases = self.biases.iter_mut().zip(&mut self.bias_momentum);
        for (class, (b, m)) in biases.enumerate() {
            let column = batch.residuals[class..].iter().step_by(classes);
            update(b, m, column.sum());
        }
    }

    /// `count × classes` scores of the rows of `x`.
    fn scores(&self, x: &[f32], count: usize) -> Vec<f32> {
        let mut scores = self.biases.repeat(count);
        multiply(
            MatrixMut::new(&mut scores, count, self.classes),
            Destination::Accumulate,
            Matrix::new(x, count, self.dim),
            Matrix::new(&self.weights, self.dim, self.classes),
        );
        scores
    }

    /// Accuracy in `[0, 1]`; `None` for an empty set. Ties go to the class with the larger index.
    pub fn accuracy(&self, test: &Features) -> Option<f64> {
        let right = |(x, labels): (&[f32], &[u32])| {
            let scores = self.scores(x, labels.len());
            let best = scores
                .chunks(self.classes)
                .map(|scores| (0..self.classes).max_by(|&a, &b| scores[a].total_cmp(&scores[b])));
            best.zip(labels)
                .filter(|(best, label)| *best == Some(**label as usize))
                .count()
        };
        let rows = test.rows.par_chunks(ROWS * self.dim);
        let correct: usize = rows.zip(test.labels.par_chunks(ROWS)).map(right).sum();
        (!test.is_empty()).then(|| correct as f64 / test.len() as f64)
    }
}

/// The rows of a step, and what the classifier makes of them.
#[derive(Debug, Default)]
struct Batch {
    x: Vec<f32>,
    /// Softmax minus one-hot, over the number of rows: the gradient of the mean cross-entropy.
    residuals: Vec<f32>,
    /// Cross-entropy of each row.
    losses: Vec<f64>,
}

impl Batch {
    fn fill(&mut self, classifier: &LinearClassifier, train: &Features, rows: &[usize]) {
        let (dim, classes) = (classifier.dim, classifier.classes);
        // A last batch may be shorter; what lies in them is overwritten.
        self.x.resize(rows.len() * dim, 0.0);
        self.residuals.resize(rows.len() * classes, 0.0);
        self.losses.resize(rows.len(), 0.0);
        let scale = 1.0 / rows.len() as f32;
        let x = self.x.par_chunks_mut(ROWS * dim);
        let residuals = self.residuals.par_chunks_mut(ROWS * classes);
        let losses = self.losses.par_chunks_mut(ROWS);
        rows.par_chunks(ROWS)
            .zip(x.zip(residuals.zip(losses)))
            .for_each(|(rows, (x, (residuals, losses)))| {
                for (x, &row) in x.chunks_exact_mut(dim).zip(rows) {
                    x.copy_from_slice(train.row(row));
                }
                residuals.copy_from_slice(&classifier.scores(x, rows.len()));
                let each = residuals.chunks_exact_mut(classes).zip(losses);
                for ((scores, loss), &row) in each.zip(rows) {
                    *loss = residual(scores, train.labels[row] as usize, scale);
                }
            });
    }
}

/// Turns scores into softmax minus one-hot, times `scale`; returns the cross-entropy.
fn residual(scores: &mut [f32], label: usize, scale: f32) -> f64 {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let target = scores[label];
    let sum: f32 = scores.iter().map(|s| (s - max).exp()).sum();
    scores.iter_mut().for_each(|s| *s = (*s - max).exp() / sum);
    scores[label] -= 1.0;
    scores.iter_mut().for_each(|s| *s *= scale);
    f64::from(max - target) + f64::from(sum).ln()
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
        let never = Interrupt::never();
        let mut epoch = |epoch| classifier.epoch(&features, &probe, epoch, &never).unwrap();
        let first = epoch(0);
        let last = (1..probe.epochs)
            .map(&mut epoch)
            .fold(first, |_, loss| loss);
        assert!(last < 0.5 * first, "{first} → {last}");
        assert!(classifier.accuracy(&features) > Some(0.9));
    }

    #[test]
    fn a_step_follows_the_gradient_of_the_mean_cross_entropy() {
        let (dim, classes, count) = (FEATURES + 9, 3, ROWS + 5);
        let mut features = Features {
            dim,
            rows: vec![0.0; count * dim],
            labels: (0..count as u32).map(|i| i % 3).collect(),
            indices: (0..count).collect(),
        };
        Philox::new(1, 1, 0).fill_uniform(&mut features.rows);
        let probe = LinearProbe {
            epochs: 1,
            lr: 0.5,
            momentum: 0.9,
            weight_decay: 0.01,
            batch_size: count,
            milestones: vec![],
            seed: 0,
        };
        let start = LinearClassifier::new(dim, classes, 0);
        let mut after = start.clone();
        let loss = after
            .epoch(&features, &probe, 0, &Interrupt::never())
            .unwrap();
        let mean_loss = |change: &dyn Fn(&mut LinearClassifier)| {
            let mut at = start.clone();
            change(&mut at);
            let of_row = |i: usize| {
                let score = |k: usize| {
                    let weights = at.weights.iter().skip(k).step_by(classes);
                    let products = weights.zip(features.row(i));
                    products
                        .map(|(w, x)| f64::from(*w) * f64::from(*x))
                        .sum::<f64>()
                        + f64::from(at.biases[k])
                };
                let all: f64 = (0..classes).map(|k| score(k).exp()).sum();
                all.ln() - score(features.labels[i] as usize)
            };
            (0..count).map(of_row).sum::<f64>() / count as f64
        };
        assert!((loss - mean_loss(&|_| ())).abs() < 1e-5);
        // p − lr · (∂L/∂p + decay · p), by central differences.
        let expect =
            |p: f32, derivative: f64| f64::from(p) - 0.5 * (derivative + 0.01 * f64::from(p));
        let h = 1e-2;
        for at in [0, 1, 5, 3 * FEATURES - 1, 3 * FEATURES, 3 * dim - 1] {
            let moved = |by: f32| mean_loss(&|c| c.weights[at] += by);
            let derivative = (moved(h) - moved(-h)) / f64::from(2.0 * h);
            let (found, expected) = (after.weights[at], expect(start.weights[at], derivative));
            assert!((f64::from(found) - expected).abs() < 2e-5, "weight {at}");
        }
        for class in 0..classes {
            let moved = |by: f32| mean_loss(&|c| c.biases[class] += by);
            let derivative = (moved(h) - moved(-h)) / f64::from(2.0 * h);
            let (found, expected) = (after.biases[class], expect(start.biases[class], derivative));
            assert!((f64::from(found) - expected).abs() < 2e-5, "bias {class}");
        }
    }
}
