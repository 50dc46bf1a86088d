//! Convolution with 3×3 kernels at stride 1 by Winograd's F(4×4, 3×3): a quarter of the products.
//!
//! Tiles of 4×4 outputs and the 6×6 inputs they look at are transformed, multiplied (36 small
//! matrix products over channels) and transformed back. A block of tiles stays in the second-level
//! cache from one end to the other. The gradients are the exact adjoints, so they handle every
//! padding by the same index map as the output.

mod kernels;
mod tiles;
mod transform;

use super::geometry::Geometry;
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use crate::parallel::for_each_with_scratch;
use kernels::{Rows, blocks, slabs};
use rayon::prelude::*;
use std::ops::Range;
use tiles::{FinishInputGrad, FinishOutput, SlabsMut, Tiles, TransformGrad, TransformInput, run};
use transform::{OUTPUTS, PRODUCTS};

/// Elements between two slabs, so that one tile's 36 results do not share a cache set.
const GAP: usize = 16;
/// Elements of the transformed tiles of a block.
const BLOCK_ELEMENTS: usize = 160 << 10;
/// Bounds for the tiles of a block: below, products become inefficient.
const BLOCK_TILES: (usize, usize) = (32, 96);
/// Elements of the transformed tiles from which a part of the weight gradient is summed.
const CHUNK_ELEMENTS: usize = 3 << 19;

/// A convolution that this algorithm computes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Winograd {
    tiles: Tiles,
    /// Tiles in a block.
    block: usize,
    /// Tiles in a chunk of the weight gradient.
    chunk: usize,
}

impl Winograd {
    /// `None` where the plain algorithm is better.
    pub(super) fn new(g: &Geometry) -> Option<Self> {
        let (ci, co) = (g.input.c, g.output.c);
        if g.kernel != transform::TAPS || g.stride != 1 || ci.min(co) < 16 {
            return None;
        }
        let tiles = Tiles::new(*g);
        // A transform costs about as much as this many products per channel.
        const TRANSFORM: usize = 24;
        let cost = PRODUCTS * tiles.count() * (ci * co + TRANSFORM * (ci + co));
        if cost * 5 > g.positions() * g.weights() * 4 {
            return None;
        }
        let width = PRODUCTS * (ci + co);
        let (low, high) = BLOCK_TILES;
        let chunk = (CHUNK_ELEMENTS / width).max(2 * low);
        let chunks = tiles.count().div_ceil(chunk);
        Some(Self {
            tiles,
            block: (BLOCK_ELEMENTS / width).clamp(low, high),
            chunk: tiles.count().div_ceil(chunks),
        })
    }

    fn geometry(&self) -> &Geometry {
        &self.tiles.geometry
    }

    /// Elements of the transformed weights.
    fn weights(&self) -> usize {
        PRODUCTS * self.geometry().input.c * self.geometry().output.c
    }

    /// Strips (rows of tiles) of a block of outputs.
    fn strips(&self) -> usize {
        (self.block / self.tiles.columns).max(1)
    }

    /// Elements of a lane: the transformed inputs and outputs of `tiles` tiles.
    fn lane(&self, tiles: usize) -> usize {
        let g = self.geometry();
        PRODUCTS * (tiles * (g.input.c + g.output.c) + 2 * GAP)
    }

    /// Elements of working memory for all passes.
    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        let forward = threads * self.lane(self.strips() * self.tiles.columns);
        let input = threads * self.lane(self.block);
        self.weights() + forward.max(input).max(self.lane(self.chunk))
    }

    /// Cuts a lane into the slabs of `tiles` transformed inputs and those of as many outputs.
    fn split<'a>(&self, lane: &'a mut [f32], tiles: usize) -> (SlabsMut<'a>, SlabsMut<'a>) {
        let inputs = tiles * self.geometry().input.c;
        let (input, output) = lane.split_at_mut(PRODUCTS * (inputs + GAP));
        let outputs = tiles * self.geometry().output.c;
        (slabs(input, inputs, GAP), slabs(output, outputs, GAP))
    }

    /// The output of a batch.
    pub(super) fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (weights, lanes) = scratch.split_at_mut(self.weights());
        kernels::transform(g, weight, Rows::In, weights);
        let columns = self.tiles.columns;
        let lane = self.lane(self.strips() * columns);
        for_each_with_scratch(
            self.output_blocks(output),
            lanes,
            lane,
            |(strips, out), lane| {
                let tiles = strips.start * columns..strips.end * columns;
                let (mut from, mut to) = self.split(lane, tiles.len());
                self.transform_input(input, tiles.clone(), &mut from);
                products(tiles.len(), &from, weights, &mut to);
                let row = self.first_row(strips.start);
                run(FinishOutput {
                    tiles: &self.tiles,
                    range: tiles,
                    from: &to,
                    bias,
                    first_row: row,
                    to: out,
                });
            },
        );
    }

    /// First output row of a strip, counted through the batch.
    fn first_row(&self, strip: usize) -> usize {
        let (example, strip) = (strip / self.tiles.rows, strip % self.tiles.rows);
        example * self.geometry().output.h + strip * OUTPUTS
    }

    /// Blocks of strips with the outputs they cover.
    fn output_blocks<'a>(
        &self,
        output: &'a mut [f32],
    ) -> impl Iterator<Item = (Range<usize>, &'a mut [f32])> {
        let g = self.geometry();
        let width = g.output.w * g.output.c;
        let (strips, count) = (g.output.n * self.tiles.rows, self.strips());
        let mut rest = output;
        (0..strips).step_by(count).map(move |start| {
            let end = strips.min(start + count);
            let rows = self.first_row(end) - self.first_row(start);
            let (block, after) = std::mem::take(&mut rest).split_at_mut(rows * width);
            rest = after;
            (start..end, block)
        })
    }

    /// The gradient of the input, overwritten.
    pub(super) fn backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (weights, lanes) = scratch.split_at_mut(self.weights());
        kernels::transform(g, weight, Rows::Out, weights);
        // Tiles overlap in the input, so a task has whole examples.
        let each = self.tiles.per_example();
        let group = (self.block / each).max(1);
        let groups = input_grad.chunks_mut(group * g.input.example()).enumerate();
        for_each_with_scratch(groups, lanes, self.lane(self.block), |(n, out), lane| {
            let first = n * group;
            let end = (first + out.len() / g.input.example()) * each;
            out.fill(0.0);
            for start in (first * each..end).step_by(self.block) {
                let tiles = start..end.min(start + self.block);
                let (mut to, mut from) = self.split(lane, tiles.len());
                self.transform_grad(output_grad, tiles.clone(), &mut from);
                products(tiles.len(), &from, weights, &mut to);
                run(FinishInputGrad {
                    tiles: &self.tiles,
                    range: tiles,
                    from: &to,
                    first_example: first,
                    to: out,
                });
            }
        });
    }

    /// The gradient of the weights, added to.
    ///
    /// Chunk after chunk: all threads transform its tiles, then each of the 36 products is summed
    /// by one thread, so that the order of additions never changes.
    pub(super) fn backward_weight(
        &self,
        input: &[f32],
        output_grad: &[f32],
        weight_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (ci, co) = (g.input.c, g.output.c);
        let (sums, lane) = scratch.split_at_mut(self.weights());
        let mut destination = Destination::Overwrite;
        for start in (0..self.tiles.count()).step_by(self.chunk) {
            let tiles = start..self.tiles.count().min(start + self.chunk);
            let count = tiles.len();
            let (mut x, mut y) = self.split(lane, count);
            self.transform_chunk(tiles, input, output_grad, &mut x, &mut y);
            let sums = sums.par_chunks_exact_mut(ci * co);
            sums.zip(x.par_iter().zip(&y)).for_each(|(sum, (x, y))| {
                let x = Matrix::new(x, count, ci).transposed();
                let y = Matrix::new(y, count, co);
                multiply(MatrixMut::new(sum, ci, co), destination, x, y);
            });
            destination = Destination::Accumulate;
        }
        kernels::add_gradient(g, sums, weight_grad);
    }

    fn transform_input(&self, from: &[f32], range: Range<usize>, to: &mut SlabsMut<'_>) {
        let tiles = &self.tiles;
        run(TransformInput {
            tiles,
            range,
            from,
            to,
        });
    }

    fn transform_grad(&self, from: &[f32], range: Range<usize>, to: &mut SlabsMut<'_>) {
        let tiles = &self.tiles;
        run(TransformGrad {
            tiles,
            range,
            from,
            to,
        });
    }

    /// Transforms inputs and output gradients of a chunk of tiles on all threads.
    fn transform_chunk(
        &self,
        tiles: Range<usize>,
        input: &[f32],
        output_grad: &[f32],
        x: &mut SlabsMut<'_>,
        y: &mut SlabsMut<'_>,
    ) {
        const TILES: usize = 8;
        let (ci, co) = (self.geometry().input.c, self.geometry().output.c);
        let x = blocks(x.each_mut().map(|s| &mut **s), TILES * ci);
        let y = blocks(y.each_mut().map(|s| &mut **s), TILES * co);
        let starts = tiles.clone().step_by(TILES);
        let tasks = starts.zip(x.zip(y)).par_bridge();
        tasks.for_each(|(start, (mut x, mut y))| {
            let block = start..tiles.end.min(start + TILES);
            self.transform_input(input, block.clone(), &mut x);
            self.transform_grad(output_grad, block, &mut y);
        });
    }
}

/// Each slab of `from` times its matrix of `weights`.
fn products(tiles: usize, from: &SlabsMut<'_>, weights: &[f32], to: &mut SlabsMut<'_>) {
    let weights = weights.chunks_exact(weights.len() / PRODUCTS);
    for ((from, to), weights) in from.iter().zip(to).zip(weights) {
        let (inner, outer) = (from.len() / tiles, to.len() / tiles);
        let from = Matrix::new(from, tiles, inner);
        let weights = Matrix::new(weights, inner, outer);
        multiply(
            MatrixMut::new(to, tiles, outer),
            Destination::Overwrite,
            from,
            weights,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::geometry::Padding;
    use super::*;
    use crate::Dims;
    use crate::random::Philox;

    /// Output, input gradient and weight gradient.
    fn all(winograd: &Winograd) -> [Vec<f32>; 3] {
        let g = winograd.geometry();
        let random = |stream, len| {
            let mut out = vec![0.0; len];
            Philox::new(8, stream, 0).fill_uniform(&mut out);
            out
        };
        let (x, w) = (random(0, g.input.len()), random(1, g.weights()));
        let dy = random(2, g.output.len());
        let mut scratch = vec![f32::NAN; winograd.scratch_len(3)];
        let [mut y, mut dx] = [g.output.len(), g.input.len()].map(|n| vec![f32::NAN; n]);
        let mut dw = vec![0.0; w.len()];
        winograd.forward(&x, &w, None, &mut y, &mut scratch);
        winograd.backward_input(&dy, &w, &mut dx, &mut scratch);
        winograd.backward_weight(&x, &dy, &mut dw, &mut scratch);
        [y, dx, dw]
    }

    #[test]
    fn blocks_and_chunks_do_not_matter() {
        let g = Geometry::new(Dims::new(3, 15, 12, 36), 32, 3, 1, Padding::Reflect(1));
        let whole = Winograd::new(&g).expect("worth it");
        let want = all(&whole);
        for (block, chunk) in [(1, 1), (4, 5), (7, 11)] {
            let cut = Winograd {
                block,
                chunk,
                ..whole
            };
            for (got, want) in all(&cut).iter().zip(&want) {
                let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
                for (g, w) in got.iter().zip(want) {
                    assert!((g - w).abs() <= 2e-6 * largest, "{g} {w}");
                }
            }
        }
    }
}
