//! The distortion budget on the CPU, one example per task.

use super::{Budget, EPSILON, Norm};
use rayon::prelude::*;

/// `out = tanh(y) · ε / (m + 1e-4)` for every example of `example` elements.
pub(super) fn forward(op: &Budget, example: usize, y: &[f32], out: &mut [f32]) {
    let examples = out
        .par_chunks_exact_mut(example)
        .zip(y.par_chunks_exact(example));
    examples.for_each(|(out, y)| {
        for (out, y) in out.iter_mut().zip(y) {
            *out = y.tanh();
        }
        let size = op.norm.measure(out.iter().copied().map(f64::from));
        let scale = scale(op, size) as f32;
        for out in out {
            *out *= scale;
        }
    });
}

/// Gradient with respect to `y`; `tanh` is computed again rather than kept.
pub(super) fn backward(op: &Budget, example: usize, y: &[f32], g: &[f32], out: &mut [f32]) {
    let inputs = y.par_chunks_exact(example).zip(g.par_chunks_exact(example));
    let examples = out.par_chunks_exact_mut(example).zip(inputs);
    examples.for_each(|(out, (y, g))| {
        for (t, y) in out.iter_mut().zip(y) {
            *t = y.tanh();
        }
        let size = op.norm.measure(out.iter().copied().map(f64::from));
        let along: f64 = out
            .iter()
            .zip(g)
            .map(|(&t, &g)| f64::from(t) * f64::from(g))
            .sum();
        let scale = scale(op, size);
        // ∂L/∂m
        let size_grad = -along * scale / (size + EPSILON);
        tanh_gradient(op.norm, size, scale, size_grad, g, out);
        for (out, &y) in out.iter_mut().zip(y) {
            *out *= sech_squared(y);
        }
    });
}

fn scale(op: &Budget, size: f64) -> f64 {
    f64::from(op.distortion_budget) / (size + EPSILON)
}

/// Replaces `t` by the gradient with respect to it.
fn tanh_gradient(norm: Norm, size: f64, scale: f64, size_grad: f64, g: &[f32], t: &mut [f32]) {
    let share = size_grad / t.len() as f64;
    let (scale, elements) = (scale as f32, t.iter_mut().zip(g));
    match norm {
        Norm::L1 => {
            let share = share as f32;
            for (t, g) in elements {
                *t = scale * g + share * sign(*t);
            }
        }
        Norm::L2 => {
            // The size is 0 only where every t is.
            let per_size = if size > 0.0 { 1.0 / size } else { 0.0 };
            for (t, g) in elements {
                *t = scale * g + (share * (f64::from(*t) * per_size)) as f32;
            }
        }
        Norm::Linf => {
            let first = t.iter().position(|t| f64::from(t.abs()) == size);
            let at_first = first.map(|i| (i, size_grad as f32 * sign(t[i])));
            for (t, g) in t.iter_mut().zip(g) {
                *t = scale * g;
            }
            if let Some((i, grad)) = at_first {
                t[i] += grad;
            }
        }
    }
}

/// −1, 0 or 1; `f32::signum` has no zero.
fn sign(t: f32) -> f32 {
    f32::from(i8::from(t > 0.0) - i8::from(t < 0.0))
}

/// `1 − tanh²(y)` without the cancellation that formula suffers where `tanh` is close to ±1.
fn sech_squared(y: f32) -> f32 {
    let e = (-2.0 * y.abs()).exp();
    4.0 * e / ((1.0 + e) * (1.0 + e))
}
