//! The distortion budget in double precision.

use super::{Budget, EPSILON, Norm};

pub(super) fn forward(op: &Budget, example: usize, y: &[f64], out: &mut [f64]) {
    let budget = f64::from(op.distortion_budget);
    for (out, y) in out.chunks_mut(example).zip(y.chunks(example)) {
        let t: Vec<f64> = y.iter().map(|y| y.tanh()).collect();
        let size = op.norm.measure(t.iter().copied());
        for i in 0..example {
            out[i] = t[i] * budget / (size + EPSILON);
        }
    }
}

pub(super) fn backward(op: &Budget, example: usize, y: &[f64], g: &[f64], out: &mut [f64]) {
    let budget = f64::from(op.distortion_budget);
    let examples = y.chunks(example).zip(g.chunks(example));
    for (out, (y, g)) in out.chunks_mut(example).zip(examples) {
        let t: Vec<f64> = y.iter().map(|y| y.tanh()).collect();
        let size = op.norm.measure(t.iter().copied());
        let along: f64 = t.iter().zip(g).map(|(t, g)| t * g).sum();
        let largest = t.iter().position(|t| t.abs() == size);
        for i in 0..example {
            let size_by_t = match op.norm {
                _ if t[i] == 0.0 => 0.0,
                Norm::L1 => t[i].signum() / example as f64,
                Norm::L2 => t[i] / size / example as f64,
                Norm::Linf if largest == Some(i) => t[i].signum(),
                Norm::Linf => 0.0,
            };
            let direct = g[i] * budget / (size + EPSILON);
            let through_size = -along * budget / (size + EPSILON).powi(2) * size_by_t;
            out[i] = (direct + through_size) / y[i].cosh().powi(2);
        }
    }
}
