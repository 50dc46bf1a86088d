//! Multinomial logistic regression on frozen features, by L-BFGS: a linear probe without learning
//! rate, epochs or seed.

use super::features::Features;
use super::lbfgs::{Stop, minimize};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use rayon::prelude::*;
use serde::Serialize;

/// Settings of the regression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Logistic {
    /// Weight λ ≥ 0 of the penalty `λ/2 · |W|²` beside the mean cross-entropy.
    pub l2: f64,
    /// Most iterations.
    pub max_iterations: u64,
    /// Largest component of the gradient at the end, positive.
    pub tolerance: f64,
}

/// How the search for the weights ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// Mean cross-entropy plus penalty.
    pub objective: f64,
    /// Largest component of the gradient.
    pub gradient: f64,
    /// Iterations.
    pub iterations: u64,
    /// Whether the gradient is within the tolerance.
    pub converged: bool,
}

/// A trained classifier.
#[derive(Clone, Debug)]
pub struct LogisticClassifier {
    scale: Scale,
    /// The classes that the training set has, ascending; others are never predicted.
    present: Vec<u32>,
    /// A row of weights for each of them, then their biases.
    params: Vec<f64>,
}

impl LogisticClassifier {
    /// Minimises over weights W and biases b, from zero,
    ///
    /// `mean_i[ log Σ_k exp(w_k·x_i + b_k) − w_y(i)·x_i − b_y(i) ] + λ/2 · Σ_k |w_k|²`
    ///
    /// where `x` are the features with mean 0 and standard deviation 1 in the training set (constant
    /// features are left out). The result has the same bits on any number of threads.
    ///
    /// Source: Hastie, Tibshirani & Friedman, *The Elements of Statistical Learning* (2nd edition,
    /// 2009), section 18.3.2, equations 18.10 and 18.11 with a mean instead of the sum.
    ///
    /// # Errors
    /// When it is interrupted: before the function is evaluated again.
    pub fn fit(train: &Features, settings: Logistic, interrupt: &Interrupt) -> Result<(Self, Fit)> {
        let scale = Scale::of(train);
        let mut present = train.labels.clone();
        present.sort_unstable();
        present.dedup();
        let problem = Problem {
            x: scale.apply(train),
            targets: train
                .labels
                .iter()
                .map(|label| present.partition_point(|class| class < label))
                .collect(),
            dim: train.dim,
            classes: present.len(),
            l2: settings.l2,
        };
        let stop = Stop {
            max_iterations: settings.max_iterations,
            tolerance: settings.tolerance,
        };
        let start = vec![0.0; present.len() * (train.dim + 1)];
        let minimum = minimize(start, stop, &mut |params, gradient| {
            interrupt.check()?;
            Ok::<_, Error>(problem.evaluate(params, gradient))
        })?;
        let fit = Fit {
            objective: minimum.value,
            gradient: minimum.gradient,
            iterations: minimum.iterations,
            converged: minimum.converged,
        };
        let params = minimum.x;
        let classifier = Self {
            scale,
            present,
            params,
        };
        Ok((classifier, fit))
    }

    /// Predicted class of every row; ties go to the class with the smaller index. Classes of a
    /// classifier that was trained on nothing are all 0.
    pub fn predict(&self, features: &Features) -> Vec<u32> {
        let x = self.scale.apply(features);
        let classes = self.present.len();
        let rows = x.par_chunks_exact(features.dim.max(1));
        rows.map(|row| {
            let scores = scores(&self.params, row, classes);
            let best = (1..classes).fold(0, |best, k| match scores[k] > scores[best] {
                true => k,
                false => best,
            });
            self.present.get(best).copied().unwrap_or(0)
        })
        .collect()
    }

    /// Accuracy in `[0, 1]`; `None` for an empty set.
    pub fn accuracy(&self, test: &Features) -> Option<f64> {
        test.accuracy_of(&self.predict(test))
    }
}

/// Mean and inverse standard deviation of every feature of a training set.
#[derive(Clone, Debug)]
struct Scale {
    mean: Vec<f64>,
    /// 0 for constant features.
    inverse: Vec<f64>,
}

impl Scale {
    fn of(train: &Features) -> Self {
        let count = train.len().max(1) as f64;
        let mut mean = vec![0.0; train.dim];
        for i in 0..train.len() {
            for (m, x) in mean.iter_mut().zip(train.row(i)) {
                *m += f64::from(*x) / count;
            }
        }
        let mut squares = vec![0.0; train.dim];
        for i in 0..train.len() {
            for ((s, m), x) in squares.iter_mut().zip(&mean).zip(train.row(i)) {
                *s += (f64::from(*x) - m).powi(2) / count;
            }
        }
        let inverse = squares.iter().zip(&mean).map(|(square, mean)| {
            // Rounding of single precision must not be blown up to a feature.
            let constant = square.sqrt() <= 1e-6 * mean.abs() || *square <= f64::MIN_POSITIVE;
            if constant { 0.0 } else { 1.0 / square.sqrt() }
        });
        Self {
            inverse: inverse.collect(),
            mean,
        }
    }

    /// The rows, standardised; kept in single precision, as the features are.
    fn apply(&self, features: &Features) -> Vec<f32> {
        let mut x = features.rows.clone();
        x.par_chunks_mut(features.dim.max(1)).for_each(|row| {
            for ((x, mean), inverse) in row.iter_mut().zip(&self.mean).zip(&self.inverse) {
                *x = ((f64::from(*x) - mean) * inverse) as f32;
            }
        });
        x
    }
}

/// `w_k·x + b_k` for every class.
fn scores(params: &[f64], row: &[f32], classes: usize) -> Vec<f64> {
    let (weights, biases) = params.split_at(classes * row.len());
    let rows = weights.chunks_exact(row.len().max(1)).zip(biases);
    rows.map(|(w, b)| b + dot(w, row)).collect()
}

/// A dot product in eight partial sums, which the compiler turns into vector code.
fn dot(a: &[f64], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest = a8.remainder().iter().zip(b8.remainder());
    let rest: f64 = rest.map(|(x, y)| x * f64::from(*y)).sum();
    for (x, y) in a8.zip(b8) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * f64::from(*y);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The function that is minimised.
struct Problem {
    /// Rows of `dim` standardised features.
    x: Vec<f32>,
    targets: Vec<usize>,
    dim: usize,
    classes: usize,
    l2: f64,
}

/// Features whose gradients one task adds up.
const BLOCK: usize = 32;

impl Problem {
    /// Value and gradient. Every sum has an order of its own, whatever the number of threads.
    fn evaluate(&self, params: &[f64], gradient: &mut [f64]) -> f64 {
        let (dim, classes) = (self.dim, self.classes);
        if classes == 0 {
            return 0.0;
        }
        let scale = 1.0 / self.targets.len() as f64;
        let rows = self.x.par_chunks_exact(dim.max(1)).zip(&self.targets);
        let scored: Vec<(Vec<f64>, f64)> = rows
            .map(|(row, target)| residual(scores(params, row, classes), *target))
            .collect();
        let loss: f64 = scored.iter().map(|(_, loss)| loss).sum();
        let weights = &params[..classes * dim];
        let penalty: f64 = weights.iter().map(|w| w * w).sum();
        let blocks: Vec<Vec<f64>> = (0..dim.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| self.block_gradient(block * BLOCK, &scored))
            .collect();
        for (block, sums) in blocks.iter().enumerate() {
            let width = sums.len() / classes;
            for (k, sums) in sums.chunks_exact(width).enumerate() {
                let at = k * dim + block * BLOCK;
                for (i, sum) in sums.iter().enumerate() {
                    gradient[at + i] = scale * sum + self.l2 * params[at + i];
                }
            }
        }
        for k in 0..classes {
            let sum: f64 = scored.iter().map(|(residual, _)| residual[k]).sum();
            gradient[classes * dim + k] = scale * sum;
        }
        scale * loss + 0.5 * self.l2 * penalty
    }

    /// `Σ_i residual_i[k] · x_i[first..]` for every class and the features of one block.
    fn block_gradient(&self, first: usize, scored: &[(Vec<f64>, f64)]) -> Vec<f64> {
        let width = BLOCK.min(self.dim - first);
        let mut sums = vec![0.0; self.classes * width];
        for (row, (residual, _)) in self.x.chunks_exact(self.dim).zip(scored) {
            let part = &row[first..first + width];
            for (sums, r) in sums.chunks_exact_mut(width).zip(residual) {
                for (sum, x) in sums.iter_mut().zip(part) {
                    *sum += r * f64::from(*x);
                }
            }
        }
        sums
    }
}

/// Softmax minus one-hot, and the cross-entropy.
fn residual(mut scores: Vec<f64>, target: usize) -> (Vec<f64>, f64) {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = scores[target];
    let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
    scores.iter_mut().for_each(|s| *s = (*s - most).exp() / sum);
    scores[target] -= 1.0;
    (scores, most - own + sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_ops::random::Philox;

    const SETTINGS: Logistic = Logistic {
        l2: 1e-3,
        max_iterations: 500,
        tolerance: 1e-8,
    };

    fn fitted(train: &Features, settings: Logistic) -> (LogisticClassifier, Fit) {
        LogisticClassifier::fit(train, settings, &Interrupt::never()).unwrap()
    }

    fn features(dim: usize, rows: Vec<f32>, labels: Vec<u32>) -> Features {
        Features {
            dim,
            indices: (0..labels.len()).collect(),
            rows,
            labels,
        }
    }

    /// Three overlapping clouds in `dim` dimensions.
    fn clouds(count: usize, dim: usize) -> Features {
        let random = Philox::new(4, 5, 6);
        let labels: Vec<u32> = (0..count as u32).map(|i| i % 3).collect();
        let rows = (0..count * dim).map(|i| {
            let centre = 0.6 * f32::from((i % dim) % 3 == (i / dim) % 3);
            centre + random.uniform(i as u64)
        });
        features(dim, rows.collect(), labels)
    }

    #[test]
    fn reaches_the_optimum_of_a_problem_solved_by_hand() {
        // One feature, −1 and 1 after standardising, one class on either side. By symmetry the two
        // weights are ∓w and the biases 0: log(1 + exp(−2w)) + λw² is least where
        // σ(−2w) = λw, which bisection solves.
        let train = features(1, vec![3.0, 5.0], vec![0, 1]);
        let settings = Logistic {
            l2: 0.1,
            ..SETTINGS
        };
        let (classifier, fit) = fitted(&train, settings);
        let (mut low, mut high) = (0.0f64, 10.0f64);
        for _ in 0..80 {
            let w = 0.5 * (low + high);
            match 1.0 / (1.0 + (2.0 * w).exp()) > 0.1 * w {
                true => low = w,
                false => high = w,
            }
        }
        assert!(fit.converged && fit.gradient <= 1e-8, "{fit:?}");
        let want = [-low, low, 0.0, 0.0];
        for (got, want) in classifier.params.iter().zip(want) {
            assert!((got - want).abs() < 1e-7, "{:?} {low}", classifier.params);
        }
        assert_eq!(classifier.accuracy(&train), Some(1.0));
    }

    #[test]
    fn the_gradient_is_that_of_the_value() {
        let train = clouds(20, 37);
        let problem = Problem {
            x: Scale::of(&train).apply(&train),
            targets: train.labels.iter().map(|l| *l as usize).collect(),
            dim: 37,
            classes: 3,
            l2: 0.3,
        };
        let params: Vec<f64> = (0..3 * 38).map(|i| ((i * i) % 11) as f64 * 0.05).collect();
        let mut gradient = vec![0.0; params.len()];
        problem.evaluate(&params, &mut gradient);
        for i in (0..params.len()).step_by(5) {
            let at = |shift: f64| {
                let mut moved = params.clone();
                moved[i] += shift;
                problem.evaluate(&moved, &mut vec![0.0; params.len()])
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - gradient[i]).abs() < 1e-8, "{i}: {slope}");
        }
    }

    #[test]
    fn the_same_bits_on_any_number_of_threads() {
        let train = clouds(150, 70);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| fitted(&train, SETTINGS))
        };
        let ((one, first), (three, _)) = (on(1), on(3));
        assert!(first.converged, "{first:?}");
        assert!(one.params == three.params);
        assert!(one.accuracy(&train) > Some(0.8));
    }

    #[test]
    fn absent_classes_and_constant_features_do_no_harm() {
        let train = features(2, vec![0.0, 7.0, 1.0, 7.0, 2.0, 7.0], vec![2, 5, 5]);
        let (classifier, fit) = fitted(&train, SETTINGS);
        assert!(fit.converged, "{fit:?}");
        assert_eq!(classifier.predict(&train), [2, 5, 5]);
        let one = features(1, vec![1.0, 2.0], vec![3, 3]);
        let (classifier, fit) = fitted(&one, SETTINGS);
        assert!(fit.converged && fit.objective == 0.0);
        assert_eq!(classifier.predict(&one), [3, 3]);
        let none = Features::default();
        let (classifier, _) = fitted(&none, SETTINGS);
        assert_eq!(classifier.accuracy(&none), None);
        let none = features(3, Vec::new(), Vec::new());
        assert!(fitted(&none, SETTINGS).1.converged);
    }
}
