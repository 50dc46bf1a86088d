//! Instance normalisation on the CPU: every example is a group. Statistics and result of an example
//! are computed by one task, one after the other, so that the second pass finds it in the cache.

use super::InstanceNorm;
use crate::channel_norm::Tail;
use crate::channel_norm::cpu::{Group, InputGrads, Stats, inv_std, moments};
use crate::{Again, Backward, Dims, Forward};
use rayon::prelude::*;
use std::ops::Range;

/// Normalises every example and applies the tail.
pub(crate) fn forward(op: &InstanceNorm, tail: Tail, cx: Forward<'_, f32>) {
    let dims = cx.input_dims[0];
    let (c, scratch) = (dims.c, InstanceNorm::example_scratch(dims));
    let working = cx
        .saved
        .par_chunks_exact_mut(2 * c)
        .zip(cx.scratch.par_chunks_exact_mut(scratch));
    let examples = cx.output.par_chunks_exact_mut(dims.example()).zip(working);
    let (inputs, params) = (cx.inputs, cx.params);
    examples
        .enumerate()
        .for_each(|(n, (out, (saved, scratch)))| {
            let of = example(dims, n);
            let x = &inputs[0][of.clone()];
            let (mean, inv) = saved.split_at_mut(c);
            let partials = scratch.len() - 2 * c;
            moments(x, c, &mut scratch[..partials], |i, m, variance| {
                mean[i] = m as f32;
                inv[i] = inv_std(variance, op.eps);
            });
            let summand = inputs.get(1).map(|s| &s[of]);
            group(x, saved, params, tail).apply(summand, out);
        });
}

/// The output once more, with the statistics that the forward pass saved.
pub(crate) fn rebuild(tail: Tail, cx: Again<'_>) {
    let dims = cx.input_dims[0];
    let (inputs, params) = (cx.inputs, cx.params);
    let saved = cx.saved.par_chunks_exact(2 * dims.c);
    let examples = cx.output.par_chunks_exact_mut(dims.example()).zip(saved);
    examples.enumerate().for_each(|(n, (out, saved))| {
        let of = example(dims, n);
        let summand = inputs.get(1).map(|s| &s[of.clone()]);
        group(&inputs[0][of], saved, params, tail).apply(summand, out);
    });
}

fn example(dims: Dims, n: usize) -> Range<usize> {
    n * dims.example()..(n + 1) * dims.example()
}

fn group<'a>(x: &'a [f32], saved: &'a [f32], params: &[&'a [f32]], tail: Tail) -> Group<'a> {
    Group {
        x,
        stats: Stats::new(saved),
        weight: params[0],
        bias: params[1],
        tail,
    }
}

/// Gradients with respect to inputs, scale and shift.
pub(crate) fn backward(tail: Tail, cx: Backward<'_, f32>) {
    let dims = cx.input_dims[0];
    let (c, scratch) = (dims.c, InstanceNorm::example_scratch(dims));
    let (x, y, grad) = (cx.inputs[0], cx.output, cx.output_grad);
    let (saved, params) = (cx.saved, cx.params);
    let to = InputGrads::new(cx.input_grads).examples(dims);
    let means_wanted = cx.param_grads.is_some() || to.iter().any(|to| to.input.is_some());
    let tasks = cx.scratch.par_chunks_exact_mut(scratch).zip(to);
    tasks.enumerate().for_each(|(n, (scratch, to))| {
        let of = example(dims, n);
        let saved = &saved[2 * c * n..2 * c * (n + 1)];
        let group = group(&x[of.clone()], saved, params, tail);
        let y = match tail.reads_output() {
            true => &y[of.clone()],
            false => &[],
        };
        let grad = &grad[of];
        let (partials, means) = scratch.split_at_mut(scratch.len() - 2 * c);
        if means_wanted {
            group.gradient_means(y, grad, partials, means);
        }
        group.input_gradients(y, grad, means_wanted.then_some(&*means), to);
    });
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
