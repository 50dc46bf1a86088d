//! Convolution with 3×3 kernels at stride 2 by Winograd's method: 81 products for 16 outputs instead
//! of 144.
//!
//! Chunk after chunk of whole examples is transformed, multiplied and transformed back, each by all
//! threads; a chunk is what the last-level cache holds. [`maps`] says where the 81 products come
//! from, [`slabs`] how they are arranged as 25 matrix products.

mod kernels;
mod maps;
mod passes;
mod slabs;

use super::tiles::{Tiles, run};
use super::transform::TAPS;
use crate::conv2d::direct::pack::Order;
use crate::conv2d::geometry::Geometry;
use crate::panels::{Line, Outer, Rows, WIDTH};
use crate::parallel::for_each_with_scratch;
use kernels::Weights;
use maps::{INPUTS, SLABS};
use passes::{FinishInputGrad, FinishOutput, TransformGrad, TransformInput};
use rayon::prelude::*;
use slabs::Side;
use std::ops::Range;

/// Values of a tile or kernel.
const VALUES: usize = INPUTS * INPUTS;
/// Elements of the transformed tiles of a chunk on both sides, at least.
const CHUNK_ELEMENTS: usize = 1 << 20;
/// Elements of sums that the last-level cache keeps.
const CACHED_SUMS: usize = 4 << 20;
/// Tiles that one task transforms.
const TILES: usize = 8;

/// A convolution that this algorithm computes.
#[derive(Clone, Copy, Debug)]
pub(in crate::conv2d) struct Strided {
    tiles: Tiles,
    /// Examples of a chunk.
    examples: usize,
}

impl Strided {
    /// For outputs and input gradients; `None` where the direct algorithm is better.
    pub(in crate::conv2d) fn new(g: &Geometry) -> Option<Self> {
        Self::with_kernel_cost(g, 1500)
    }

    /// For weight gradients, whose sums are nine times the weights and may not stay in the cache.
    pub(in crate::conv2d) fn of_weight_gradient(g: &Geometry) -> Option<Self> {
        let cached = VALUES * g.input.c * g.output.c <= CACHED_SUMS;
        Self::with_kernel_cost(g, if cached { 1500 } else { 8000 })
    }

    /// Compares with the products of the direct algorithm, when transforming a kernel takes as long as
    /// `kernel` of them.
    fn with_kernel_cost(g: &Geometry, kernel: usize) -> Option<Self> {
        /// The same for a value of a tile.
        const TILE: usize = 9;
        const MULTIPLE: usize = 16;
        let (ci, co) = (g.input.c, g.output.c);
        let whole = ci.is_multiple_of(WIDTH) && co.is_multiple_of(MULTIPLE);
        if g.kernel != TAPS || g.stride != 2 || !whole {
            return None;
        }
        let tiles = Tiles::new(*g).count();
        let products = tiles * VALUES * ci * co;
        let cost = products + tiles * VALUES * TILE * (ci + co) + kernel * ci * co;
        (cost * 10 <= g.positions() * g.weights() * 9).then(|| Self::always(g))
    }

    fn always(g: &Geometry) -> Self {
        let (ci, co) = (g.input.c, g.output.c);
        let tiles = Tiles::new(*g);
        let example = tiles.per_example() * (VALUES * ci + SLABS * co);
        // Where weights do not stay in the cache, they should be read for many tiles.
        let elements = CHUNK_ELEMENTS.max(VALUES * ci * co / 3);
        let most = (elements / example).max(1);
        let examples = g.output.n.div_ceil(g.output.n.div_ceil(most));
        Self { tiles, examples }
    }

    fn geometry(&self) -> &Geometry {
        &self.tiles.geometry
    }

    fn sides(&self, tiles: usize) -> (Side, Side) {
        let g = self.geometry();
        let side = |channels, input| Side {
            tiles,
            channels,
            input,
        };
        (side(g.input.c, true), side(g.output.c, false))
    }

    /// Elements of the transformed tiles of a chunk on both sides.
    fn tiles_len(&self) -> usize {
        let (x, y) = self.sides(self.examples * self.tiles.per_example());
        x.len() + y.len()
    }

    /// Elements of working memory for outputs and input gradients.
    pub(in crate::conv2d) fn products_scratch(&self, threads: usize) -> usize {
        let g = self.geometry();
        kernels::packed_len(g) + threads * kernels::matrix_len(g) + self.tiles_len()
    }

    /// The same for weight gradients.
    pub(in crate::conv2d) fn sums_scratch(&self) -> usize {
        kernels::sums_len(self.geometry()) + self.tiles_len()
    }

    /// Chunks of examples.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, step) = (self.geometry().output.n, self.examples);
        let starts = (0..n).step_by(step);
        starts.map(move |first| first..n.min(first + step))
    }

    fn tile_range(&self, examples: &Range<usize>) -> Range<usize> {
        let each = self.tiles.per_example();
        examples.start * each..examples.end * each
    }

    /// The output of a batch.
    pub(in crate::conv2d) fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (packed, scratch) = scratch.split_at_mut(kernels::packed_len(g));
        let weights = Weights::new(g, weight, Order::InOut, packed);
        for examples in self.chunks() {
            let range = self.tile_range(&examples);
            let (x_side, y_side) = self.sides(range.len());
            let (x, rest) = scratch.split_at_mut(x_side.len());
            let (y, lanes) = rest.split_at_mut(y_side.len());
            self.transform_inputs(input, range.clone(), x_side, x);
            products(
                (x_side, x),
                weights,
                (y_side, y),
                (lanes, kernels::matrix_len(g)),
            );
            let strips = examples.start * self.tiles.rows..examples.end * self.tiles.rows;
            let output = &mut output[examples.start * g.output.example()..];
            let tasks = self.tiles.output_blocks(strips, 1, output);
            let from = y_side.slabs(y);
            for_each_with_scratch(tasks, lanes, 1, |(strips, to), _| {
                let columns = self.tiles.columns;
                run(FinishOutput {
                    tiles: &self.tiles,
                    first_row: self.tiles.first_row(strips.start),
                    range: strips.start * columns..strips.end * columns,
                    from,
                    first_tile: range.start,
                    bias,
                    to,
                });
            });
        }
    }

    /// The gradient of the input, overwritten.
    pub(in crate::conv2d) fn backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (packed, scratch) = scratch.split_at_mut(kernels::packed_len(g));
        let weights = Weights::new(g, weight, Order::OutIn, packed);
        for examples in self.chunks() {
            let range = self.tile_range(&examples);
            let (x_side, y_side) = self.sides(range.len());
            let (x, rest) = scratch.split_at_mut(x_side.len());
            let (y, lanes) = rest.split_at_mut(y_side.len());
            self.transform_grads(output_grad, range.clone(), y_side, y);
            products(
                (y_side, y),
                weights,
                (x_side, x),
                (lanes, kernels::matrix_len(g)),
            );
            let size = g.input.example();
            let input_grad = &mut input_grad[examples.start * size..examples.end * size];
            let tasks = examples.clone().zip(input_grad.chunks_exact_mut(size));
            let from = x_side.slabs(x);
            for_each_with_scratch(tasks, lanes, 1, |(example, to), _| {
                self.tiles.clear_for_sums(to);
                run(FinishInputGrad {
                    tiles: &self.tiles,
                    range: self.tile_range(&(example..example + 1)),
                    side: x_side,
                    from,
                    first_tile: range.start,
                    first_example: example,
                    to,
                });
            });
        }
    }

    /// The gradient of the weights, added to.
    pub(in crate::conv2d) fn backward_weight(
        &self,
        input: &[f32],
        output_grad: &[f32],
        weight_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (sums, scratch) = scratch.split_at_mut(kernels::sums_len(g));
        let mut sums = kernels::split(g, sums);
        for examples in self.chunks() {
            let range = self.tile_range(&examples);
            let (x_side, y_side) = self.sides(range.len());
            let (x, rest) = scratch.split_at_mut(x_side.len());
            let y = &mut rest[..y_side.len()];
            self.transform_inputs(input, range.clone(), x_side, x);
            self.transform_grads(output_grad, range, y_side, y);
            add_sums((x_side, x), (y_side, y), &mut sums, examples.start > 0);
        }
        kernels::add_gradient(g, sums.map(|sums| &*sums), weight_grad);
    }

    fn transform_inputs(&self, from: &[f32], range: Range<usize>, side: Side, to: &mut [f32]) {
        let starts = range.clone().step_by(TILES);
        let tasks = starts.zip(side.pieces(to, TILES)).par_bridge();
        tasks.for_each(|(start, mut to)| {
            run(TransformInput {
                tiles: &self.tiles,
                range: start..range.end.min(start + TILES),
                side,
                from,
                to: &mut to,
            });
        });
    }

    fn transform_grads(&self, from: &[f32], range: Range<usize>, side: Side, to: &mut [f32]) {
        let starts = range.clone().step_by(TILES);
        let tasks = starts.zip(side.pieces(to, TILES)).par_bridge();
        tasks.for_each(|(start, mut to)| {
            run(TransformGrad {
                tiles: &self.tiles,
                range: start..range.end.min(start + TILES),
                from,
                to: &mut to,
            });
        });
    }
}

/// Each slab of `from` times its matrix of weights, made for it in a lane of its own: one task each.
fn products(
    (from_side, from): (Side, &[f32]),
    weights: Weights<'_>,
    (to_side, to): (Side, &mut [f32]),
    (lanes, lane): (&mut [f32], usize),
) {
    let (from, to) = (from_side.slabs(from), to_side.split(to));
    let tasks = to.into_iter().enumerate();
    for_each_with_scratch(tasks, lanes, lane, |(slab, to), lane| {
        let (inner, columns) = (from_side.columns(slab), to_side.columns(slab));
        run(Rows {
            count: from_side.tiles,
            inner,
            runs: &[(0, 0)],
            from: from[slab],
            from_step: inner,
            panels: weights.matrix(slab, lane),
            height: inner,
            columns,
            to,
            to_step: columns,
            add: false,
        });
    });
}

/// Sums of the outer products of both sides: one task for each slab.
fn add_sums(
    (x_side, x): (Side, &[f32]),
    (y_side, y): (Side, &[f32]),
    sums: &mut [&mut [f32]; SLABS],
    add: bool,
) {
    let (x, y) = (x_side.slabs(x), y_side.slabs(y));
    let tasks = sums.par_iter_mut().enumerate().with_max_len(1);
    tasks.for_each(|(slab, to)| {
        let (a_step, b_step) = (x_side.columns(slab), y_side.columns(slab));
        run(Outer {
            lines: &[Line {
                a: 0,
                b: 0,
                count: x_side.tiles,
            }],
            a: x[slab],
            a_step,
            height: a_step,
            b: y[slab],
            b_step,
            columns: b_step,
            to,
            to_step: b_step,
            add,
        });
    });
}

#[cfg(test)]
mod tests;
