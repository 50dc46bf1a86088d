//! Compares the reference gradients with central differences of the reference output.

use super::run::{reference_forward, widen, widen_one};
use super::{Case, Measure, Results, Sample};
use crate::random::Philox;

/// Half-width of a difference; exact numbers around 1 lose about `ε · |loss| / STEP`.
const STEP: f64 = 1e-5;
/// Elements of one tensor that are looked at, at most and at least.
const SAMPLES: (u64, u64) = (3, 40);
/// Floating-point operations spent on one tensor, roughly.
const BUDGET: u64 = 40_000_000;

/// One measure per input and parameter.
pub(super) fn check(case: &Case, sample: &Sample, want: &Results<f64>) -> Vec<Measure> {
    let cotangent = widen_one(&sample.output_grad);
    let dot = |y: &[f64]| y.iter().zip(&cotangent).map(|(y, g)| y * g).sum::<f64>();
    // Summands of the loss, for the round-off of the differences.
    let size: f64 = want
        .output
        .iter()
        .zip(&cotangent)
        .map(|(y, g)| (y * g).abs())
        .sum();
    let (mut inputs, mut params) = (widen(&sample.inputs), widen(&sample.params));
    let mut measures = Vec::new();

    for (t, grad) in want.gradients.inputs.iter().enumerate() {
        let grad = grad.as_deref().unwrap_or_default();
        let loss = |x: f64, i: usize| {
            inputs[t][i] += x;
            let loss = dot(&reference_forward(case, sample, &inputs, &params).0);
            inputs[t][i] = f64::from(sample.inputs[t][i]);
            loss
        };
        let what = format!("difference quotient of input {t}");
        measures.push(compare(case, what, size, grad, loss));
    }
    for (t, grad) in want.gradients.params.iter().enumerate() {
        let grad = grad.as_deref().unwrap_or_default();
        let loss = |x: f64, i: usize| {
            params[t][i] += x;
            let loss = dot(&reference_forward(case, sample, &inputs, &params).0);
            params[t][i] = f64::from(sample.params[t][i]);
            loss
        };
        let what = format!("difference quotient of parameter {t}");
        measures.push(compare(case, what, size, grad, loss));
    }
    measures
}

fn compare(
    case: &Case,
    what: String,
    size: f64,
    grad: &[f64],
    mut loss: impl FnMut(f64, usize) -> f64,
) -> Measure {
    let largest = grad.iter().fold(0.0f64, |m, g| m.max(g.abs()));
    let cost = 2 * case.op.flops(&case.inputs).max(1);
    let count = (BUDGET / cost).clamp(SAMPLES.0, SAMPLES.1);
    let random = Philox::new(0xD1FF, grad.len() as u32, 0);
    let all = grad.len() as u64 <= count;
    let pick = |k: u64| match all {
        true => k as usize,
        false => random.word(k) as usize % grad.len(),
    };
    let mut error = 0.0f64;
    for i in (0..count.min(grad.len() as u64)).map(pick) {
        let slope = (loss(STEP, i) - loss(-STEP, i)) / (2.0 * STEP);
        error = error.max((slope - grad[i]).abs());
    }
    Measure {
        what,
        error,
        allowed: 1e-6 * largest + 1e-9 * (1.0 + size),
    }
}
