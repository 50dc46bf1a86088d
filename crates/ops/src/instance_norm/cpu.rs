//! Instance normalisation on the CPU: every example is a group. Statistics and result of an example
//! are computed by one task, one after the other, so that the second pass finds it in the cache.

use super::InstanceNorm;
use crate::channel_norm::cpu::{
    Stats, gradient_means, input_gradient, inv_std, moments, normalise,
};
use crate::{Backward, Forward};
use rayon::prelude::*;

/// Normalises every example.
pub(super) fn forward(op: &InstanceNorm, cx: Forward<'_, f32>) {
    let dims = cx.input_dims[0];
    let (c, scratch) = (dims.c, InstanceNorm::example_scratch(dims));
    let (weight, bias) = (cx.params[0], cx.params[1]);
    let inputs = cx.inputs[0].par_chunks_exact(dims.example());
    let working = cx
        .saved
        .par_chunks_exact_mut(2 * c)
        .zip(cx.scratch.par_chunks_exact_mut(scratch));
    let examples = cx
        .output
        .par_chunks_exact_mut(dims.example())
        .zip(inputs.zip(working));
    examples.for_each(|(out, (x, (saved, scratch)))| {
        let (mean, inv) = saved.split_at_mut(c);
        let partials = scratch.len() - 2 * c;
        moments(x, c, &mut scratch[..partials], |i, m, variance| {
            mean[i] = m as f32;
            inv[i] = inv_std(variance, op.eps);
        });
        normalise(x, Stats::new(saved), weight, bias, out);
    });
}

/// Gradients with respect to input, scale and shift.
pub(super) fn backward(cx: Backward<'_, f32>) {
    let dims = cx.input_dims[0];
    let (c, scratch) = (dims.c, InstanceNorm::example_scratch(dims));
    let weight = cx.params[0];
    let inputs = cx.inputs[0]
        .par_chunks_exact(dims.example())
        .zip(cx.output_grad.par_chunks_exact(dims.example()));
    let working = cx
        .saved
        .par_chunks_exact(2 * c)
        .zip(cx.scratch.par_chunks_exact_mut(scratch));
    let examples = inputs.zip(working);
    match cx.input_grads[0].as_deref_mut() {
        Some(out) => {
            let out = out.par_chunks_exact_mut(dims.example());
            out.zip(examples)
                .for_each(|(out, ((x, g), (saved, scratch)))| {
                    let means = means(x, g, saved, scratch);
                    input_gradient(x, g, Stats::new(saved), weight, means, out);
                });
        }
        None => examples.for_each(|((x, g), (saved, scratch))| {
            means(x, g, saved, scratch);
        }),
    }
    if let Some([weight_grad, bias_grad]) = cx.param_grads {
        let examples = || cx.scratch.chunks_exact(scratch);
        let sum = |i: usize| examples().map(|s| f64::from(s[i])).sum::<f64>();
        let rows = dims.area() as f64;
        let means = scratch - 2 * c;
        for i in 0..c {
            weight_grad[i] += (rows * sum(means + c + i)) as f32;
            bias_grad[i] += (rows * sum(means + i)) as f32;
        }
    }
}

/// Leaves the means of `g` and of `g · x̂` of an example at the end of its scratch.
fn means<'a>(x: &[f32], g: &[f32], saved: &[f32], scratch: &'a mut [f32]) -> &'a [f32] {
    let (partials, means) = scratch.split_at_mut(scratch.len() - saved.len());
    gradient_means(x, g, Stats::new(saved), partials, means);
    means
}
