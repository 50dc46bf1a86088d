//! Which algorithm computes a convolution on the CPU.

use super::direct;
use super::fourier::Fourier;
use super::geometry::Geometry;
use super::winograd::{Strided, Winograd};
use crate::parallel::part;
use rayon::prelude::*;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Algorithm {
    /// 3×3 kernels at stride 1 on maps of some size.
    Winograd(Winograd),
    /// The same at stride 2.
    Strided(Strided),
    /// Large kernels at stride 1.
    Fourier(Fourier),
    /// Everything else.
    Direct,
}

impl Algorithm {
    /// The cheapest algorithm for outputs, by the number of products and transforms.
    pub(super) fn new(g: &Geometry) -> Self {
        Self::between(g, (g.input.c, g.output.c), Strided::new(g))
    }

    /// The same for input gradients.
    pub(super) fn of_input_gradient(g: &Geometry) -> Self {
        Self::between(g, (g.output.c, g.input.c), Strided::new(g))
    }

    /// The same for weight gradients.
    pub(super) fn of_weight_gradient(g: &Geometry) -> Self {
        let channels = (g.input.c, g.output.c);
        Self::between(g, channels, Strided::of_weight_gradient(g))
    }

    fn between(g: &Geometry, channels: (usize, usize), strided: Option<Strided>) -> Self {
        let (inner, outer) = channels;
        if let Some(winograd) = Winograd::new(g) {
            return Self::Winograd(winograd);
        }
        if let Some(strided) = strided {
            return Self::Strided(strided);
        }
        Fourier::new(g, inner, outer).map_or(Self::Direct, Self::Fourier)
    }

    /// What a summary calls it.
    pub(super) fn name(&self, g: &Geometry) -> &'static str {
        match self {
            Self::Winograd(_) | Self::Strided(_) => "winograd",
            Self::Fourier(_) => "fourier",
            Self::Direct => direct::name(g),
        }
    }

    /// Elements of working memory for outputs and input gradients, or for weight gradients.
    fn scratch_len(&self, g: &Geometry, threads: usize, of_weights: bool) -> usize {
        match self {
            Self::Winograd(winograd) => winograd.scratch_len(threads),
            // Its sums are nine times as large as the weights.
            Self::Strided(strided) if of_weights => strided.sums_scratch(),
            Self::Strided(strided) => strided.products_scratch(threads),
            Self::Fourier(fourier) => fourier.scratch_len(threads),
            Self::Direct => direct::scratch_len(g, threads),
        }
    }
}

/// Elements of working memory for all passes.
pub(super) fn scratch_len(g: &Geometry, threads: usize) -> usize {
    let passes = [
        (Algorithm::new(g), false),
        (Algorithm::of_input_gradient(g), false),
        (Algorithm::of_weight_gradient(g), true),
    ];
    let lens =
        passes.map(|(algorithm, of_weights)| algorithm.scratch_len(g, threads.max(1), of_weights));
    lens.into_iter()
        .fold(direct::TASKS * g.output.c, usize::max)
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
    match Algorithm::new(g) {
        Algorithm::Winograd(winograd) => winograd.forward(input, weight, bias, output, scratch),
        Algorithm::Strided(strided) => strided.forward(input, weight, bias, output, scratch),
        Algorithm::Fourier(fourier) => fourier.forward(input, weight, bias, output, scratch),
        Algorithm::Direct => direct::forward(g, input, weight, bias, output, scratch),
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
    match Algorithm::of_input_gradient(g) {
        Algorithm::Winograd(winograd) => {
            winograd.backward_input(output_grad, weight, input_grad, scratch)
        }
        Algorithm::Strided(strided) => {
            strided.backward_input(output_grad, weight, input_grad, scratch)
        }
        Algorithm::Fourier(fourier) => {
            fourier.backward_input(output_grad, weight, input_grad, scratch)
        }
        Algorithm::Direct => direct::backward_input(g, output_grad, weight, input_grad, scratch),
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
    match Algorithm::of_weight_gradient(g) {
        Algorithm::Winograd(winograd) => {
            winograd.backward_weight(input, output_grad, weight_grad, scratch)
        }
        Algorithm::Strided(strided) => {
            strided.backward_weight(input, output_grad, weight_grad, scratch)
        }
        Algorithm::Fourier(fourier) => {
            fourier.backward_weight(input, output_grad, weight_grad, scratch)
        }
        Algorithm::Direct => direct::backward_weight(g, input, output_grad, weight_grad, scratch),
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
