//! The gradient of the input of a convolution.

use super::columns::scatter_add;
use super::cpu::{Correlation, Scratch, tile};
use super::geometry::{Geometry, Padding};
use super::weights;
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use crate::parallel::for_each_with_scratch;

/// How the gradient of the input is computed.
#[derive(Clone, Copy, Debug)]
pub(super) enum InputGradient {
    /// As a convolution of the output gradient with the turned kernel.
    Turned(Correlation),
    /// The same onto the padded input, one example at a time, whose border is then folded back.
    Folded(Correlation),
    /// As columns of gradients, added to the inputs they came from; this many positions at once
    /// and this many examples to a task.
    Scattered { tile: usize, group: usize },
}

impl InputGradient {
    /// Turned columns move `k² · out` elements per position and scattered ones `k² · in`, more than
    /// once; folding computes on the padded plane.
    pub(super) fn new(g: &Geometry) -> Self {
        let (ci, co) = (g.input.c, g.output.c);
        match (g.transposed(), g.padding) {
            (Some(t), Padding::Zero(_)) if g.is_pointwise() || co <= 2 * ci => {
                Self::Turned(Correlation::new(t))
            }
            (Some(t), Padding::Reflect(_)) if 4 * co <= ci => {
                let tile = tile(t.output.area(), t.fan_in());
                Self::Folded(Correlation { geometry: t, tile })
            }
            _ => {
                let tile = tile(g.positions(), g.fan_in());
                let group = (tile / g.output.area()).max(1);
                Self::Scattered { tile, group }
            }
        }
    }

    pub(super) fn scratch(&self, g: &Geometry) -> Scratch {
        match self {
            Self::Turned(correlation) => correlation.scratch(),
            Self::Folded(correlation) => Scratch {
                fixed: g.weights(),
                lane: correlation.geometry.output.example() + correlation.lane(),
            },
            Self::Scattered { tile, .. } => Scratch {
                fixed: g.weights(),
                lane: tile * g.fan_in(),
            },
        }
    }
}

/// The gradient of the input, overwritten.
pub(super) fn input_gradient(
    g: &Geometry,
    output_grad: &[f32],
    weight: &[f32],
    input_grad: &mut [f32],
    scratch: &mut [f32],
) {
    let (packed, lanes) = scratch.split_at_mut(g.weights());
    let how = InputGradient::new(g);
    match how {
        InputGradient::Turned(correlation) => {
            weights::pack_turned(g, weight, packed);
            correlation.batch(output_grad, packed, None, input_grad, lanes);
        }
        InputGradient::Folded(correlation) => {
            weights::pack_turned(g, weight, packed);
            let lane = how.scratch(g).lane;
            let examples = input_grad.chunks_exact_mut(g.input.example());
            for_each_with_scratch(examples.enumerate(), lanes, lane, |(n, out), lane| {
                let (plane, lane) = lane.split_at_mut(correlation.geometry.output.example());
                fold_example(g, &correlation, n, output_grad, packed, plane, lane);
                fold(g, plane, out);
            });
        }
        InputGradient::Scattered { tile, group } => {
            weights::pack_rows(g, weight, packed);
            let lane = how.scratch(g).lane;
            let groups = input_grad.chunks_mut(group * g.input.example());
            for_each_with_scratch(groups.enumerate(), lanes, lane, |(n, out), lane| {
                scatter_group(g, n * group, tile, output_grad, packed, out, lane);
            });
        }
    }
}

/// The gradient of the padded input of example `n`.
fn fold_example(
    g: &Geometry,
    correlation: &Correlation,
    n: usize,
    output_grad: &[f32],
    packed: &[f32],
    plane: &mut [f32],
    lane: &mut [f32],
) {
    let first = n * correlation.geometry.output.area();
    let tiles = plane.chunks_mut(correlation.tile * g.input.c);
    for (t, out) in tiles.enumerate() {
        let first = first + t * correlation.tile;
        correlation.one(first, output_grad, packed, None, out, lane);
    }
}

/// Adds every position of the padded `plane` to the input position it mirrors.
fn fold(g: &Geometry, plane: &[f32], input_grad: &mut [f32]) {
    let (c, w) = (g.input.c, g.input.w);
    let width = w + 2 * g.padding.width();
    input_grad.fill(0.0);
    for (y, row) in plane.chunks_exact(width * c).enumerate() {
        for (x, from) in row.chunks_exact(c).enumerate() {
            // At stride 1, tap 0 of output position `y` looks at padded position `y`.
            if let (Some(y), Some(x)) = (g.input_row(y, 0), g.input_column(x, 0)) {
                let to = &mut input_grad[(y * w + x) * c..][..c];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
    }
}

/// The input gradient of the examples from `example` on that `input_grad` has room for.
fn scatter_group(
    g: &Geometry,
    example: usize,
    tile: usize,
    output_grad: &[f32],
    packed: &[f32],
    input_grad: &mut [f32],
    lane: &mut [f32],
) {
    let (area, co) = (g.output.area(), g.output.c);
    let examples = input_grad.len() / g.input.example();
    let end = (example + examples) * area;
    let weights = Matrix::new(packed, co, g.fan_in());
    input_grad.fill(0.0);
    for first in (example * area..end).step_by(tile) {
        let positions = first..end.min(first + tile);
        let count = positions.len();
        let grad = Matrix::new(&output_grad[first * co..], count, co);
        let columns = MatrixMut::new(lane, count, g.fan_in());
        multiply(columns, Destination::Overwrite, grad, weights);
        scatter_add(g, lane, positions, example, input_grad);
    }
}
