//! Convolution with 3×3 kernels at stride 1 by Winograd's F(4×4, 3×3): a quarter of the products.
//!
//! Tiles of 4×4 outputs and the 6×6 inputs they look at are transformed, multiplied (36 small
//! matrix products over channels) and transformed back. The gradients are the exact adjoints, so
//! they handle every padding by the same index map as the output.
//!
//! Transformed tiles lie in 36 *slabs*, one for each product: a matrix with a row per tile and a
//! column per channel. Which tiles are transformed together depends on the weights:
//!
//! - [`narrow`]: transformed weights are small enough for the last-level cache. A block of tiles
//!   stays in the second-level cache from one end to the other.
//! - [`wide`]: they are not (512 channels: 38 MB), or tiles are few. All tiles are transformed first;
//!   then each task transforms the weights of one panel of channels piece by piece and uses every piece
//!   at once.

mod kernels;
mod narrow;
mod strided;
mod tiles;
mod transform;
mod weight_gradient;
mod wide;

use super::geometry::Geometry;
use crate::panels::{WIDTH, padded};
use kernels::{blocks, slabs};
use rayon::prelude::*;
use std::ops::Range;
pub(super) use strided::Strided;
use tiles::{SlabsMut, Tiles, TransformGrad, TransformInput, run};
use transform::PRODUCTS;

/// Elements between two slabs, so that one tile's 36 values do not share a cache set.
const GAP: usize = 16;
/// Elements of the transformed weights from which on they are never whole.
const WIDE_WEIGHTS: usize = 4 << 20;
/// The same where tiles are so few that a weight is hardly used twice.
const SEVERAL_WEIGHTS: usize = 1 << 20;
/// Elements of one side's transformed tiles that exist at once where all tiles come first.
const WIDE_TILES: usize = 5 << 20;

/// A convolution that this algorithm computes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Winograd {
    tiles: Tiles,
    /// Tiles in a block of the narrow form.
    block: usize,
    /// Tiles that are transformed together in the wide form and for weight gradients.
    chunk: usize,
    wide: bool,
}

/// Where the transformed values of a tile lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Elements from a slab to the next one.
    slab: usize,
    /// Elements from a tile to the next one.
    tile: usize,
    /// Elements from 32 channels to the next 32.
    panel: usize,
}

impl Layout {
    /// Tiles of all channels side by side.
    const fn rows(count: usize, channels: usize) -> Self {
        let tile = padded(channels);
        Self {
            slab: count * tile + GAP,
            tile,
            panel: WIDTH,
        }
    }

    /// Where `channel` of `tile` lies in the first slab.
    #[inline(always)]
    const fn at(&self, tile: usize, channel: usize) -> usize {
        tile * self.tile + channel / WIDTH * self.panel + channel % WIDTH
    }

    /// Elements of all slabs.
    const fn len(&self) -> usize {
        PRODUCTS * self.slab
    }
}

impl Winograd {
    /// `None` where the direct algorithm is better.
    pub(in super::super) fn new(g: &Geometry) -> Option<Self> {
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
        let whole = ci.is_multiple_of(WIDTH) && co.is_multiple_of(WIDTH);
        let transformed = PRODUCTS * ci * co;
        let huge = whole && transformed > WIDE_WEIGHTS;
        let outweigh = transformed > SEVERAL_WEIGHTS && 2 * tiles.count() <= ci.min(co);
        Some(Self {
            tiles,
            block: narrow::block(ci, co),
            chunk: weight_gradient::chunk(tiles.count(), ci, co, huge),
            wide: huge || whole && outweigh,
        })
    }

    fn geometry(&self) -> &Geometry {
        &self.tiles.geometry
    }

    /// Elements of working memory for all passes.
    pub(in super::super) fn scratch_len(&self, threads: usize) -> usize {
        let output = match self.wide {
            true => self.wide_scratch(threads),
            false => self.narrow_scratch(threads),
        };
        output.max(self.weight_scratch(threads))
    }

    /// The output of a batch.
    pub(in super::super) fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        match self.wide {
            true => self.wide_forward(input, weight, bias, output, scratch),
            false => self.narrow_forward(input, weight, bias, output, scratch),
        }
    }

    /// The gradient of the input, overwritten.
    pub(in super::super) fn backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        match self.wide {
            true => self.wide_backward_input(output_grad, weight, input_grad, scratch),
            false => self.narrow_backward_input(output_grad, weight, input_grad, scratch),
        }
    }

    fn transform_input(&self, from: &[f32], range: Range<usize>, to: &mut SlabsMut<'_>) {
        run(TransformInput {
            tiles: &self.tiles,
            range,
            from,
            to,
        });
    }

    fn transform_grad(&self, from: &[f32], range: Range<usize>, to: &mut SlabsMut<'_>) {
        run(TransformGrad {
            tiles: &self.tiles,
            range,
            from,
            to,
        });
    }

    /// Transforms the inputs of many tiles on all threads.
    fn transform_inputs(&self, from: &[f32], range: Range<usize>, to: &mut [f32]) {
        let channels = self.geometry().input.c;
        for_tiles(range, channels, to, |range, to| {
            self.transform_input(from, range, to);
        });
    }

    /// Transforms the output gradients of many tiles on all threads.
    fn transform_grads(&self, from: &[f32], range: Range<usize>, to: &mut [f32]) {
        let channels = self.geometry().output.c;
        for_tiles(range, channels, to, |range, to| {
            self.transform_grad(from, range, to);
        });
    }
}

/// Calls `transform` for pieces of a range of tiles and of the slabs they belong to.
fn for_tiles(
    range: Range<usize>,
    channels: usize,
    to: &mut [f32],
    transform: impl Fn(Range<usize>, &mut SlabsMut<'_>) + Sync,
) {
    const TILES: usize = 8;
    let width = padded(channels);
    let slabs = slabs(to, range.len() * width, GAP);
    let starts = range.clone().step_by(TILES);
    let tasks = starts.zip(blocks(slabs, TILES * width)).par_bridge();
    tasks.for_each(|(start, mut to)| {
        transform(start..range.end.min(start + TILES), &mut to);
    });
}

#[cfg(test)]
mod tests;
