//! Output and input gradient where the transformed weights would not fit the last-level cache.

use super::kernels::{Order, transform_panel};
use super::tiles::{FinishInputGrad, FinishOutput, run};
use super::transform::PRODUCTS;
use super::{Layout, WIDE_TILES, Winograd};
use crate::panels::{Rows, WIDTH};
use crate::parallel::for_each_with_scratch;
use std::ops::Range;

/// Rows of transformed weights that exist at once: with 32 columns, 300 kB.
const PIECE: usize = 64;
/// Elements of the transformed weights of one task.
const LANE: usize = PRODUCTS * PIECE * WIDTH;

/// Tiles of one panel of channels: `[panel][36][tile][32]`.
const fn panel_layout(tiles: usize) -> Layout {
    Layout {
        slab: tiles * WIDTH,
        tile: WIDTH,
        panel: PRODUCTS * tiles * WIDTH,
    }
}

impl Winograd {
    /// Whole examples that are transformed together.
    fn wide_examples(&self) -> usize {
        let g = self.geometry();
        let example = self.tiles.per_example() * PRODUCTS * g.input.c.max(g.output.c);
        (WIDE_TILES / example).clamp(1, g.output.n)
    }

    pub(super) fn wide_scratch(&self, threads: usize) -> usize {
        let g = self.geometry();
        let tiles = self.wide_examples() * self.tiles.per_example();
        let side = |c| Layout::rows(tiles, c).len();
        let results = PRODUCTS * tiles * g.input.c.max(g.output.c);
        side(g.input.c).max(side(g.output.c)) + results + threads * LANE
    }

    /// Chunks of examples.
    fn wide_chunks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (n, step) = (self.geometry().output.n, self.wide_examples());
        (0..n)
            .step_by(step)
            .map(move |first| first..n.min(first + step))
    }

    pub(super) fn wide_forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        for examples in self.wide_chunks() {
            let range = self.tile_range(&examples);
            let from = Layout::rows(range.len(), g.input.c);
            let (x, rest) = scratch.split_at_mut(from.len());
            let (y, lanes) = rest.split_at_mut(PRODUCTS * range.len() * g.output.c);
            self.transform_inputs(input, range.clone(), x);
            self.panel_products(weight, Order::InOut, (x, from), y, lanes);
            let output = &mut output[examples.start * g.output.example()..];
            let output = &mut output[..examples.len() * g.output.example()];
            let strips = examples.start * self.tiles.rows..examples.end * self.tiles.rows;
            let tasks = self.tiles.output_blocks(strips, 1, output);
            let y = &*y;
            for_each_with_scratch(tasks, lanes, 1, |(strips, out), _| {
                let tiles = strips.start * self.tiles.columns..strips.end * self.tiles.columns;
                run(FinishOutput {
                    tiles: &self.tiles,
                    first_row: self.tiles.first_row(strips.start),
                    first_tile: tiles.start - range.start,
                    range: tiles,
                    from: y,
                    layout: panel_layout(range.len()),
                    bias,
                    to: out,
                });
            });
        }
    }

    pub(super) fn wide_backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        for examples in self.wide_chunks() {
            let range = self.tile_range(&examples);
            let from = Layout::rows(range.len(), g.output.c);
            let (y, rest) = scratch.split_at_mut(from.len());
            let (x, lanes) = rest.split_at_mut(PRODUCTS * range.len() * g.input.c);
            self.transform_grads(output_grad, range.clone(), y);
            self.panel_products(weight, Order::OutIn, (y, from), x, lanes);
            let size = g.input.example();
            let input_grad = &mut input_grad[examples.start * size..examples.end * size];
            let x = &*x;
            let tasks = examples.clone().zip(input_grad.chunks_exact_mut(size));
            for_each_with_scratch(tasks, lanes, 1, |(example, out), _| {
                let tiles = self.tile_range(&(example..example + 1));
                self.tiles.clear_for_sums(out);
                run(FinishInputGrad {
                    tiles: &self.tiles,
                    first_tile: tiles.start - range.start,
                    range: tiles,
                    from: x,
                    layout: panel_layout(range.len()),
                    first_example: example,
                    to: out,
                });
            });
        }
    }

    fn tile_range(&self, examples: &Range<usize>) -> Range<usize> {
        let each = self.tiles.per_example();
        examples.start * each..examples.end * each
    }

    /// All products of transformed tiles, panel after panel of the results.
    fn panel_products(
        &self,
        weight: &[f32],
        order: Order,
        (from, layout): (&[f32], Layout),
        to: &mut [f32],
        lanes: &mut [f32],
    ) {
        let g = self.geometry();
        let inner = order.rows(g);
        let tiles = layout.slab / layout.tile;
        let panels = to.chunks_exact_mut(PRODUCTS * tiles * WIDTH).enumerate();
        for_each_with_scratch(panels, lanes, LANE, |(panel, to), lane| {
            for first in (0..inner).step_by(PIECE) {
                let rows = first..inner.min(first + PIECE);
                let size = rows.len() * WIDTH;
                transform_panel(
                    g,
                    weight,
                    order,
                    panel,
                    rows.clone(),
                    &mut lane[..PRODUCTS * size],
                );
                let slabs = from
                    .chunks_exact(layout.slab)
                    .zip(to.chunks_exact_mut(tiles * WIDTH));
                for ((from, to), panels) in slabs.zip(lane.chunks_exact(size)) {
                    run(Rows {
                        count: tiles,
                        inner: rows.len(),
                        runs: &[(0, 0)],
                        from: &from[first..],
                        from_step: layout.tile,
                        panels,
                        height: rows.len(),
                        columns: WIDTH,
                        to,
                        to_step: WIDTH,
                        add: first > 0,
                    });
                }
            }
        });
    }
}
