//! Noise-contrastive estimation against rows of a memory bank, without an `[N, K, dim]` gather.

use super::cpu::{normalise, project};
use super::exp::{exp, sum_exp};
use rayon::prelude::*;

/// Examples against a bank of unit rows. With `u = z/|z|` and temperature t the loss is
///
/// `mean_i[ log Σ_k exp(u_i·bank[noise_ik]/t) − log K − u_i·bank[positive_i]/t ]`
///
/// The bank is a constant.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'a> {
    /// `[rows, dim]`.
    pub bank: &'a [f32],
    /// Width of a row.
    pub dim: usize,
    /// Row of the bank for each of the N examples.
    pub positives: &'a [usize],
    /// K rows of the bank for each example, `[N, K]`.
    pub noise: &'a [usize],
    /// Temperature, positive.
    pub temperature: f32,
}

impl<'a> Sampled<'a> {
    fn row(&self, index: usize) -> &'a [f32] {
        &self.bank[index * self.dim..][..self.dim]
    }

    /// Number of noise rows of one example.
    fn draws(&self) -> usize {
        self.noise.len() / self.positives.len()
    }

    /// The loss of `z` (`[N, dim]`) and its gradient. Same bits for any number of threads.
    ///
    /// # Panics
    /// When the lengths do not agree, there are no examples or no noise, or a row is outside of
    /// the bank.
    pub fn loss_and_gradient(&self, z: &[f32]) -> (f32, Vec<f32>) {
        let examples = self.positives.len();
        assert_eq!(z.len(), examples * self.dim, "elements of z");
        assert!(self.draws() > 0, "no noise");
        assert_eq!(self.noise.len(), examples * self.draws(), "noise rows");
        let (unit, inverse_length) = normalise(z, self.dim);
        let scale = 1.0 / (examples as f64 * f64::from(self.temperature));
        let mut grad = vec![0.0; z.len()];
        let losses: Vec<f64> = grad
            .par_chunks_mut(self.dim)
            .zip(unit.par_chunks(self.dim))
            .enumerate()
            .map_init(
                || vec![0.0; self.draws()],
                |logits, (i, (grad, u))| {
                    let loss = self.example(i, u, logits, grad);
                    project(u, scale * f64::from(inverse_length[i]), grad);
                    loss
                },
            )
            .collect();
        let loss = losses.iter().sum::<f64>() / examples as f64;
        (loss as f32, grad)
    }

    /// The loss of one example, and its gradient with respect to `u/t`.
    fn example(&self, i: usize, u: &[f32], logits: &mut [f32], grad: &mut [f32]) -> f64 {
        let noise = &self.noise[i * self.draws()..][..self.draws()];
        let positive = self.row(self.positives[i]);
        let scale = self.temperature.recip();
        for (logit, k) in logits.iter_mut().zip(noise) {
            *logit = scale * dot(u, self.row(*k));
        }
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum = sum_exp(logits, largest);
        for (logit, k) in logits.iter().zip(noise) {
            let weight = exp(logit - largest) / sum;
            for (g, x) in grad.iter_mut().zip(self.row(*k)) {
                *g += weight * x;
            }
        }
        for (g, x) in grad.iter_mut().zip(positive) {
            *g -= x;
        }
        let log_mean = f64::from(largest) + (f64::from(sum) / self.draws() as f64).ln();
        log_mean - f64::from(scale * dot(u, positive))
    }
}

/// Dot product with sixteen running sums, which compilers turn into vector registers. The order of
/// additions depends on the length only.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
