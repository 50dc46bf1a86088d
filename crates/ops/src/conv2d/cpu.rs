//! Which algorithm computes a convolution on the CPU.

use super::direct;
use super::geometry::Geometry;
use super::winograd::Winograd;
use crate::parallel::part;
use rayon::prelude::*;

/// Elements of working memory for all passes.
pub(super) fn scratch_len(g: &Geometry, threads: usize) -> usize {
    let passes = match Winograd::new(g) {
        Some(winograd) => winograd.scratch_len(threads.max(1)),
        None => direct::scratch_len(g, threads),
    };
    passes.max(direct::TASKS * g.output.c)
}

/// The output of a batch.
pub(super) fn forward(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    scratch: &mut [f32],
) {
    match Winograd::new(g) {
        Some(winograd) => winograd.forward(input, weight, bias, output, scratch),
        None => direct::forward(g, input, weight, bias, output, scratch),
    }
}

/// The gradient of the input, overwritten.
pub(super) fn backward_input(
    g: &Geometry,
    output_grad: &[f32],
    weight: &[f32],
    input_grad: &mut [f32],
    scratch: &mut [f32],
) {
    match Winograd::new(g) {
        Some(winograd) => winograd.backward_input(output_grad, weight, input_grad, scratch),
        None => direct::backward_input(g, output_grad, weight, input_grad, scratch),
    }
}

/// The gradient of the weights, added to.
pub(super) fn backward_weight(
    g: &Geometry,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
    scratch: &mut [f32],
) {
    match Winograd::new(g) {
        Some(winograd) => winograd.backward_weight(input, output_grad, weight_grad, scratch),
        None => direct::backward_weight(g, input, output_grad, weight_grad, scratch),
    }
}

/// The gradient of the bias, added to: sums over fixed pieces of the batch, then over the pieces.
pub(super) fn bias_gradient(
    g: &Geometry,
    output_grad: &[f32],
    bias_grad: &mut [f32],
    scratch: &mut [f32],
) {
    let co = g.output.c;
    let partial = &mut scratch[..direct::TASKS * co];
    let sums = partial.par_chunks_exact_mut(co).enumerate();
    sums.for_each(|(p, sum)| {
        let positions = part(g.positions(), direct::TASKS, p);
        sum.fill(0.0);
        for grad in output_grad[positions.start * co..positions.end * co].chunks_exact(co) {
            sum.iter_mut().zip(grad).for_each(|(s, g)| *s += g);
        }
    });
    for sum in partial.chunks_exact(co) {
        bias_grad.iter_mut().zip(sum).for_each(|(b, s)| *b += s);
    }
}
