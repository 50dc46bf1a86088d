//! Which views are perturbed, how much of a perturbation is applied, and how far views are from examples.

use super::players::{Examples, NoiseRequest, NoiseSource, Players};
use super::step::StepBatch;
use crate::config::Perturbs;
use dfdx::prelude::{Cpu, Tape};
use rayon::prelude::*;

/// How perturbations are applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perturbation {
    /// Which views are perturbed; the others are the examples themselves.
    pub perturbs: Perturbs,
    /// Factor on every perturbation, in `(0, 1]`: the warm-up of the budget.
    pub strength: f32,
}

impl Perturbation {
    /// All views, with the whole budget.
    pub const FULL: Self = Self {
        perturbs: Perturbs::Both,
        strength: 1.0,
    };

    /// How many of `views` views are perturbed: the first ones.
    pub(super) fn count(self, views: usize) -> usize {
        match self.perturbs {
            Perturbs::Both => views,
            Perturbs::First => views.min(1),
        }
    }

    fn applies_to(self, view: usize) -> bool {
        view < self.count(view + 1)
    }

    /// The view of every example that `request` asks for.
    pub(super) fn apply<T: Tape<f32, Cpu>>(
        self,
        players: &Players,
        x: Examples<T>,
        noise: &mut dyn NoiseSource,
        request: NoiseRequest,
    ) -> Examples<T> {
        if !self.applies_to(request.view as usize) {
            return x;
        }
        if self.strength == 1.0 {
            return players.views.apply(x, noise, request);
        }
        // A point between example and view: within the scaled budget, and clamped where the view is.
        let original: Examples<T> = x.retaped();
        let view = players.views.apply(x, noise, request);
        view * self.strength + original * (1.0 - self.strength)
    }
}

/// Mean absolute difference between perturbed views and examples.
pub(super) fn mean_distortion<T: Tape<f32, Cpu>>(
    views: &[Examples<T>],
    batch: StepBatch<'_>,
    perturbation: Perturbation,
) -> f32 {
    const PIECE: usize = 1 << 14;
    let (mut sum, mut count) = (0.0f64, 0usize);
    let numbered = views.iter().enumerate();
    for (view, tensor) in numbered.filter(|(view, _)| perturbation.applies_to(*view)) {
        let seen = tensor.as_vec();
        let pieces = seen
            .par_chunks(PIECE)
            .zip(batch.example(view).par_chunks(PIECE));
        let pieces: Vec<f64> = pieces.map(|(v, x)| distance(v, x)).collect();
        // In order, so that the sum does not depend on the number of threads.
        sum += pieces.iter().sum::<f64>();
        count += seen.len();
    }
    (sum / count.max(1) as f64) as f32
}

/// Sum of absolute differences.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum()
}
