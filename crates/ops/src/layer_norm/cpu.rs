//! Layer normalisation on the CPU, one position after the other.

use super::EPSILON;
use rayon::prelude::*;

/// Positions of a task: single ones are too little work.
const ROWS: usize = 64;

/// Mean and reciprocal standard deviation of a position, from sums in double precision.
fn moments(x: &[f32]) -> [f32; 2] {
    let count = x.len() as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let squares = x.iter().map(|&x| (f64::from(x) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / count + EPSILON).sqrt();
    [mean as f32, (1.0 / deviation) as f32]
}

/// The output, and the moments of every position for the backward pass.
pub(super) fn forward(x: &[f32], params: &[&[f32]], out: &mut [f32], saved: &mut [f32]) {
    let (weight, bias) = (params[0], params[1]);
    let c = weight.len();
    let rows = out.par_chunks_exact_mut(c).zip(x.par_chunks_exact(c));
    let rows = rows.zip(saved.par_chunks_exact_mut(2));
    rows.with_min_len(ROWS).for_each(|((out, x), saved)| {
        let [mean, scale] = moments(x);
        saved.copy_from_slice(&[mean, scale]);
        let affine = weight.iter().zip(bias);
        for ((out, &x), (&w, &b)) in out.iter_mut().zip(x).zip(affine) {
            *out = (x - mean) * scale * w + b;
        }
    });
}

/// `dx = (g − mean(g) − x̂ mean(g x̂)) / σ` with `g = dy · weight`.
pub(super) fn input_grad(x: &[f32], weight: &[f32], saved: &[f32], dy: &[f32], dx: &mut [f32]) {
    let c = weight.len();
    let inputs = x.par_chunks_exact(c).zip(dy.par_chunks_exact(c));
    let inputs = inputs.zip(saved.par_chunks_exact(2));
    let rows = dx.par_chunks_exact_mut(c).zip(inputs);
    rows.with_min_len(ROWS).for_each(|(dx, ((x, dy), saved))| {
        let (mean, scale) = (saved[0], saved[1]);
        let (mut sum, mut along) = (0.0, 0.0);
        for ((&x, &dy), &w) in x.iter().zip(dy).zip(weight) {
            sum += dy * w;
            along += dy * w * (x - mean) * scale;
        }
        let (sum, along) = (sum / c as f32, along / c as f32);
        for (((dx, &x), &dy), &w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
            *dx = (dy * w - sum - (x - mean) * scale * along) * scale;
        }
    });
}

/// Adds `Σ dy x̂` and `Σ dy` over all positions, each channel by sums in double precision in the order
/// of the positions.
pub(super) fn param_grads(x: &[f32], saved: &[f32], dy: &[f32], grads: &mut [&mut [f32]]) {
    let [weight, bias] = grads else {
        return;
    };
    let c = weight.len();
    let channels = weight.par_iter_mut().zip(bias.par_iter_mut()).enumerate();
    channels.for_each(|(k, (weight, bias))| {
        let (mut along, mut sum) = (0.0, 0.0);
        let rows = x.chunks_exact(c).zip(dy.chunks_exact(c));
        for ((x, dy), saved) in rows.zip(saved.chunks_exact(2)) {
            along += f64::from(dy[k] * (x[k] - saved[0]) * saved[1]);
            sum += f64::from(dy[k]);
        }
        *weight += along as f32;
        *bias += sum as f32;
    });
}
