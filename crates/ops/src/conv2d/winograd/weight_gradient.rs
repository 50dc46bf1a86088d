//! The gradient of the weights: sums over tiles of outer products, transformed back.
//!
//! Chunk after chunk, all threads transform its tiles; then every task adds to sums that are its
//! own, so the order of additions never changes.

use super::kernels::{add_gradient, add_panel_gradient};
use super::tiles::run;
use super::transform::PRODUCTS;
use super::{Layout, WIDE_TILES, Winograd};
use crate::panels::{Line, Outer, WIDTH, padded};
use crate::parallel::for_each_with_scratch;
use rayon::prelude::*;
use std::ops::Range;

/// Elements of the transformed tiles of a chunk where sums are kept.
const CHUNK_ELEMENTS: usize = 3 << 19;
/// Input channels of a block of sums in the wide form.
const BLOCK: usize = 64;

/// Tiles of a chunk.
pub(super) fn chunk(tiles: usize, ci: usize, co: usize, wide: bool) -> usize {
    let width = PRODUCTS * (padded(ci) + padded(co));
    let elements = if wide { 2 * WIDE_TILES } else { CHUNK_ELEMENTS };
    let most = (elements / width).max(64);
    tiles.div_ceil(tiles.div_ceil(most))
}

impl Winograd {
    pub(super) fn weight_scratch(&self, threads: usize) -> usize {
        let g = self.geometry();
        let (ci, co) = (g.input.c, g.output.c);
        let sums = match self.wide {
            true => threads * PRODUCTS * BLOCK * WIDTH,
            false => PRODUCTS * ci * padded(co),
        };
        sums + Layout::rows(self.chunk, ci).len() + Layout::rows(self.chunk, co).len()
    }

    /// The gradient of the weights, added to.
    pub(in super::super) fn backward_weight(
        &self,
        input: &[f32],
        output_grad: &[f32],
        weight_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = self.geometry();
        let (ci, co) = (g.input.c, g.output.c);
        let size = PRODUCTS * ci * padded(co);
        for start in (0..self.tiles.count()).step_by(self.chunk) {
            let tiles = start..self.tiles.count().min(start + self.chunk);
            let x_len = Layout::rows(tiles.len(), ci).len();
            let (x, rest) = scratch.split_at_mut(x_len);
            let (y, rest) = rest.split_at_mut(Layout::rows(tiles.len(), co).len());
            self.transform_inputs(input, tiles.clone(), x);
            self.transform_grads(output_grad, tiles.clone(), y);
            if self.wide {
                self.wide_sums(&tiles, x, y, weight_grad, rest);
                continue;
            }
            // The sums lie at the end, where no chunk reaches.
            let at = rest.len() - size;
            let sums = &mut rest[at..];
            self.narrow_sums(&tiles, x, y, sums, start > 0);
            if tiles.end == self.tiles.count() {
                add_gradient(g, sums, weight_grad);
            }
        }
    }

    /// One task for each of the 36 products.
    fn narrow_sums(&self, tiles: &Range<usize>, x: &[f32], y: &[f32], sums: &mut [f32], add: bool) {
        let (ci, co) = (self.geometry().input.c, self.geometry().output.c);
        let (a, b) = (Layout::rows(tiles.len(), ci), Layout::rows(tiles.len(), co));
        let slabs = x.par_chunks_exact(a.slab).zip(y.par_chunks_exact(b.slab));
        let sums = sums.par_chunks_exact_mut(ci * b.tile);
        sums.zip(slabs).with_max_len(1).for_each(|(to, (x, y))| {
            run(Outer {
                lines: &[whole(tiles)],
                a: x,
                a_step: a.tile,
                height: ci,
                b: y,
                b_step: b.tile,
                columns: b.tile,
                to,
                to_step: b.tile,
                add,
            });
        });
    }

    /// One task for each panel of output channels; its sums are transformed back while they are
    /// in the cache.
    fn wide_sums(
        &self,
        tiles: &Range<usize>,
        x: &[f32],
        y: &[f32],
        weight_grad: &mut [f32],
        lanes: &mut [f32],
    ) {
        let g = self.geometry();
        let (a, b) = (
            Layout::rows(tiles.len(), g.input.c),
            Layout::rows(tiles.len(), g.output.c),
        );
        let panels = weight_grad.chunks_exact_mut(WIDTH * g.fan_in()).enumerate();
        let lane = PRODUCTS * BLOCK * WIDTH;
        for_each_with_scratch(panels, lanes, lane, |(panel, weight_grad), sums| {
            for first in (0..g.input.c).step_by(BLOCK) {
                let height = BLOCK.min(g.input.c - first);
                let slabs = x.chunks_exact(a.slab).zip(y.chunks_exact(b.slab));
                for ((x, y), to) in slabs.zip(sums.chunks_exact_mut(BLOCK * WIDTH)) {
                    run(Outer {
                        lines: &[whole(tiles)],
                        a: &x[first..],
                        a_step: a.tile,
                        height,
                        b: &y[panel * WIDTH..],
                        b_step: b.tile,
                        columns: WIDTH,
                        to,
                        to_step: WIDTH,
                        add: false,
                    });
                }
                add_panel_gradient(g, sums, BLOCK * WIDTH, first..first + height, weight_grad);
            }
        });
    }
}

/// All tiles of a slab.
fn whole(tiles: &Range<usize>) -> Line {
    Line {
        a: 0,
        b: 0,
        count: tiles.len(),
    }
}
