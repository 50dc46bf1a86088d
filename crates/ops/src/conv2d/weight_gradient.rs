//! The gradients of weight and bias of a convolution.

use super::columns::Taps;
use super::cpu::{PARTIAL_ELEMENTS, Scratch, TASKS, columns, tile};
use super::geometry::Geometry;
use super::weights;
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use crate::parallel::{for_each_with_scratch, part};
use rayon::prelude::*;
use std::ops::Range;

/// How the gradient of the weights is cut: each of `parts` ranges of tiles has partial sums of its
/// own, and so has each block of `taps` kernel positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct WeightGradient {
    tile: usize,
    parts: usize,
    blocks: usize,
    /// Kernel positions of a block: a row of the kernel, or a single one.
    taps: usize,
}

impl WeightGradient {
    pub(super) fn new(g: &Geometry) -> Self {
        let (k, weights) = (g.kernel, g.weights());
        let tile = tile(g.positions(), k * g.input.c);
        let tiles = g.positions().div_ceil(tile);
        let most = (PARTIAL_ELEMENTS / weights).clamp(1, tiles);
        let parts = |blocks| TASKS.div_ceil(blocks).min(most);
        let taps = if parts(k) * k < TASKS / 2 { 1 } else { k };
        let blocks = k * k / taps;
        Self {
            tile,
            parts: parts(blocks),
            blocks,
            taps,
        }
    }

    pub(super) fn scratch(&self, g: &Geometry) -> Scratch {
        Scratch {
            fixed: self.parts * g.weights(),
            lane: self.tile * self.taps * g.input.c,
        }
    }

    /// The `index`-th block of the kernel.
    fn block(&self, g: &Geometry, index: usize) -> Taps {
        let first = index * self.taps;
        let (row, column) = (first / g.kernel, first % g.kernel);
        Taps {
            rows: row..row + 1,
            columns: column..column + self.taps,
        }
    }

    /// The positions of one part.
    fn positions(&self, g: &Geometry, index: usize) -> Range<usize> {
        let tiles = part(g.positions().div_ceil(self.tile), self.parts, index);
        tiles.start * self.tile..g.positions().min(tiles.end * self.tile)
    }
}

/// The gradient of the weights, added to.
pub(super) fn weight_gradient(
    g: &Geometry,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
    scratch: &mut [f32],
) {
    let how = WeightGradient::new(g);
    let (partial, lanes) = scratch.split_at_mut(how.parts * g.weights());
    let sums = partial.chunks_exact_mut(g.weights() / how.blocks);
    let lane = how.scratch(g).lane;
    for_each_with_scratch(sums.enumerate(), lanes, lane, |(task, sum), lane| {
        let (p, block) = (task / how.blocks, task % how.blocks);
        let (positions, taps) = (how.positions(g, p), how.block(g, block));
        weight_partial(g, how.tile, positions, &taps, input, output_grad, sum, lane);
    });
    weights::add_partials(g, partial, weight_grad);
}

/// The gradient of the bias, added to: sums over fixed pieces of the batch, then over the pieces.
pub(super) fn bias_gradient(
    g: &Geometry,
    output_grad: &[f32],
    bias_grad: &mut [f32],
    scratch: &mut [f32],
) {
    let co = g.output.c;
    let partial = &mut scratch[..TASKS * co];
    let sums = partial.par_chunks_exact_mut(co).enumerate();
    sums.for_each(|(p, sum)| {
        let positions = part(g.positions(), TASKS, p);
        sum.fill(0.0);
        for grad in output_grad[positions.start * co..positions.end * co].chunks_exact(co) {
            sum.iter_mut().zip(grad).for_each(|(s, g)| *s += g);
        }
    });
    for sum in partial.chunks_exact(co) {
        bias_grad.iter_mut().zip(sum).for_each(|(b, s)| *b += s);
    }
}

/// Sums `columnsᵀ · output_grad` over `positions` for some taps.
#[expect(
    clippy::too_many_arguments,
    reason = "one loop with all it reads and writes"
)]
fn weight_partial(
    g: &Geometry,
    tile: usize,
    positions: Range<usize>,
    taps: &Taps,
    input: &[f32],
    output_grad: &[f32],
    sum: &mut [f32],
    lane: &mut [f32],
) {
    let (ci, co) = (g.input.c, g.output.c);
    let mut destination = Destination::Overwrite;
    for first in positions.clone().step_by(tile) {
        let range = first..positions.end.min(first + tile);
        let grad = Matrix::new(&output_grad[first * co..], range.len(), co);
        let columns = columns(g, input, range, taps, lane);
        let sum = MatrixMut::new(sum, taps.len() * ci, co);
        multiply(sum, destination, columns.transposed(), grad);
        destination = Destination::Accumulate;
    }
}
