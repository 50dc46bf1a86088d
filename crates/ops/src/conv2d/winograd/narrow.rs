//! Output and input gradient where the transformed weights stay in the last-level cache.

use super::kernels::{self, Order, slabs};
use super::tiles::{FinishInputGrad, FinishOutput, run};
use super::transform::PRODUCTS;
use super::{GAP, Layout, Winograd};
use crate::panels::{Rows, padded};
use crate::parallel::for_each_with_scratch;

/// Elements of the transformed tiles of a block: most of a second-level cache of 1 MiB.
const BLOCK_ELEMENTS: usize = 160 << 10;
/// Bounds for the tiles of a block: below, weights would be read too often.
const BLOCK_TILES: (usize, usize) = (42, 84);

/// Tiles of a block for these numbers of channels.
pub(super) fn block(ci: usize, co: usize) -> usize {
    let width = PRODUCTS * (padded(ci) + padded(co));
    (BLOCK_ELEMENTS / width).clamp(BLOCK_TILES.0, BLOCK_TILES.1)
}

/// Cuts `count` into an even number of pieces of at most `most`: a few small examples should not be
/// one large piece and a small one. Returns the size of a piece.
fn even(count: usize, most: usize) -> usize {
    let pieces = count.div_ceil(most).next_multiple_of(2);
    count.div_ceil(pieces).max(1)
}

impl Winograd {
    /// Strips (rows of tiles) of a block of outputs.
    fn strips(&self) -> usize {
        let all = self.geometry().output.n * self.tiles.rows;
        even(all, (self.block / self.tiles.columns).max(1))
    }

    /// Examples of a block of input gradients.
    fn group(&self) -> usize {
        let most = (self.block / self.tiles.per_example()).max(1);
        even(self.geometry().output.n, most)
    }

    /// Elements of a lane: the transformed inputs and outputs of `tiles` tiles.
    fn lane(&self, tiles: usize) -> usize {
        let (input, output) = self.layouts(tiles);
        input.len() + output.len()
    }

    fn layouts(&self, tiles: usize) -> (Layout, Layout) {
        let g = self.geometry();
        (
            Layout::rows(tiles, g.input.c),
            Layout::rows(tiles, g.output.c),
        )
    }

    /// Elements of the transformed weights, the larger of both orders.
    fn weights(&self) -> usize {
        let (ci, co) = (self.geometry().input.c, self.geometry().output.c);
        PRODUCTS * (ci * padded(co)).max(co * padded(ci))
    }

    pub(super) fn narrow_scratch(&self, threads: usize) -> usize {
        let forward = self.lane(self.strips() * self.tiles.columns);
        let input = self.lane(self.block.max(self.tiles.per_example()).min(2 * self.block));
        self.weights() + threads * forward.max(input)
    }

    pub(super) fn narrow_forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (weights, lanes) = scratch.split_at_mut(self.weights());
        let weights = kernels::transform(g, weight, Order::InOut, weights);
        let (columns, strips) = (self.tiles.columns, self.strips());
        let lane = self.lane(strips * columns);
        let all = 0..g.output.n * self.tiles.rows;
        let tasks = self.tiles.output_blocks(all, strips, output);
        for_each_with_scratch(tasks, lanes, lane, |(strips, out), lane| {
            let tiles = strips.start * columns..strips.end * columns;
            let (from, to) = self.layouts(tiles.len());
            let (x, y) = lane.split_at_mut(from.len());
            let mut x_slabs = slabs(x, tiles.len() * from.tile, GAP);
            self.transform_input(input, tiles.clone(), &mut x_slabs);
            products(tiles.len(), (x, from, g.input.c), weights, (y, to));
            run(FinishOutput {
                tiles: &self.tiles,
                first_row: self.tiles.first_row(strips.start),
                range: tiles,
                from: y,
                layout: to,
                first_tile: 0,
                bias,
                to: out,
            });
        });
    }

    pub(super) fn narrow_backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (weights, lanes) = scratch.split_at_mut(self.weights());
        let weights = kernels::transform(g, weight, Order::OutIn, weights);
        // Tiles overlap in the input, so a task has whole examples.
        let (each, group) = (self.tiles.per_example(), self.group());
        let most = self.block.max(each).min(2 * self.block);
        let groups = input_grad.chunks_mut(group * g.input.example()).enumerate();
        for_each_with_scratch(groups, lanes, self.lane(most), |(n, out), lane| {
            let first = n * group;
            let end = (first + out.len() / g.input.example()) * each;
            self.tiles.clear_for_sums(out);
            for start in (first * each..end).step_by(most) {
                let tiles = start..end.min(start + most);
                let (to, from) = self.layouts(tiles.len());
                let (x, y) = lane.split_at_mut(to.len());
                let mut y_slabs = slabs(y, tiles.len() * from.tile, GAP);
                self.transform_grad(output_grad, tiles.clone(), &mut y_slabs);
                products(tiles.len(), (y, from, g.output.c), weights, (x, to));
                run(FinishInputGrad {
                    tiles: &self.tiles,
                    range: tiles,
                    from: x,
                    layout: to,
                    first_tile: 0,
                    first_example: first,
                    to: out,
                });
            }
        });
    }
}

/// Each slab of `from` times its matrix of `weights`.
fn products(
    tiles: usize,
    (from, from_layout, inner): (&[f32], Layout, usize),
    weights: &[f32],
    (to, to_layout): (&mut [f32], Layout),
) {
    let from = from.chunks_exact(from_layout.slab);
    let to = to.chunks_exact_mut(to_layout.slab);
    let weights = weights.chunks_exact(weights.len() / PRODUCTS);
    for ((from, to), panels) in from.zip(to).zip(weights) {
        run(Rows {
            count: tiles,
            inner,
            runs: &[(0, 0)],
            from,
            from_step: from_layout.tile,
            panels,
            height: inner,
            columns: to_layout.tile,
            to,
            to_step: to_layout.tile,
            add: false,
        });
    }
}
