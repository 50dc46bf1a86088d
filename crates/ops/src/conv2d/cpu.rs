//! Convolution on the CPU: small matrix products over tiles of output positions.
//!
//! A tile is a fixed number of output positions, counted through the batch. Its columns (what each
//! position looks at) are written to scratch that stays in the second-level cache and multiplied by
//! the weights, which are brought into the order `[ky][kx][in][out]` once per call. The columns of
//! the whole batch never exist.

use super::columns::{Taps, gather};
use super::geometry::Geometry;
use super::input_gradient::{InputGradient, input_gradient};
use super::narrow::Narrow;
use super::weight_gradient::{WeightGradient, weight_gradient};
use super::weights;
use super::winograd::Winograd;
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use crate::parallel::for_each_with_scratch;
use std::ops::Range;

/// Elements of columns that a tile may have: with the weights of a common layer they fit a
/// second-level cache of 1 MiB.
const TILE_ELEMENTS: usize = 160 << 10;
/// Bounds for the positions of a tile: below, products become inefficient.
const TILE_POSITIONS: (usize, usize) = (64, 512);
/// Tasks that every pass is cut into where the batch is large enough.
pub(super) const TASKS: usize = 16;
/// Elements of all partial sums of a weight gradient together.
pub(super) const PARTIAL_ELEMENTS: usize = 2 << 20;

/// Working memory: one fixed part and one lane for each thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scratch {
    pub(super) fixed: usize,
    pub(super) lane: usize,
}

/// Elements of working memory for all passes.
pub(super) fn scratch_len(g: &Geometry, threads: usize) -> usize {
    let passes = [
        Correlation::new(*g).scratch(),
        InputGradient::new(g).scratch(g),
        WeightGradient::new(g).scratch(g),
    ];
    let total = |s: Scratch| s.fixed + threads.max(1) * s.lane;
    let plain = passes.into_iter().map(total).max().unwrap_or(0);
    let winograd = Winograd::new(g).map_or(0, |w| w.scratch_len(threads.max(1)));
    let narrow = Narrow::new(g).map_or(0, |n| n.scratch_len(threads.max(1)));
    plain.max(winograd).max(narrow).max(TASKS * g.output.c)
}

/// Positions per tile for columns of `width` elements.
pub(super) fn tile(positions: usize, width: usize) -> usize {
    let (low, high) = TILE_POSITIONS;
    let cached = (TILE_ELEMENTS / width).clamp(low, high);
    let share = positions.div_ceil(TASKS).max(low / 2);
    cached.min(share).next_multiple_of(16)
}

/// The columns of `positions`: gathered into `lane`, or the input itself where that is the same.
pub(super) fn columns<'a>(
    g: &Geometry,
    input: &'a [f32],
    positions: Range<usize>,
    taps: &Taps,
    lane: &'a mut [f32],
) -> Matrix<'a> {
    let (rows, width) = (positions.len(), taps.len() * g.input.c);
    if g.is_pointwise() {
        return Matrix::new(&input[positions.start * width..], rows, width);
    }
    gather(g, input, positions, taps, lane);
    Matrix::new(lane, rows, width)
}

/// `output = bias + columns · weights`, tile by tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation {
    pub(super) geometry: Geometry,
    pub(super) tile: usize,
}

impl Correlation {
    pub(super) fn new(geometry: Geometry) -> Self {
        let tile = tile(geometry.positions(), geometry.fan_in());
        Self { geometry, tile }
    }

    pub(super) fn lane(&self) -> usize {
        if self.geometry.is_pointwise() {
            1
        } else {
            self.tile * self.geometry.fan_in()
        }
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch {
            fixed: self.geometry.weights(),
            lane: self.lane(),
        }
    }

    /// The whole batch on all threads; `weights` are `[ky][kx][in][out]`.
    pub(super) fn batch(
        &self,
        input: &[f32],
        weights: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        lanes: &mut [f32],
    ) {
        let tiles = output.chunks_mut(self.tile * self.geometry.output.c);
        for_each_with_scratch(tiles.enumerate(), lanes, self.lane(), |(t, out), lane| {
            self.one(t * self.tile, input, weights, bias, out, lane);
        });
    }

    /// The positions from `first` on that `output` has room for.
    pub(super) fn one(
        &self,
        first: usize,
        input: &[f32],
        weights: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        lane: &mut [f32],
    ) {
        let g = &self.geometry;
        let count = output.len() / g.output.c;
        let destination = match bias {
            None => Destination::Overwrite,
            Some(bias) => {
                for position in output.chunks_exact_mut(bias.len()) {
                    position.copy_from_slice(bias);
                }
                Destination::Accumulate
            }
        };
        let columns = columns(g, input, first..first + count, &Taps::all(g), lane);
        let weights = Matrix::new(weights, g.fan_in(), g.output.c);
        let output = MatrixMut::new(output, count, g.output.c);
        multiply(output, destination, columns, weights);
    }
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
    if let Some(winograd) = Winograd::new(g) {
        return winograd.forward(input, weight, bias, output, scratch);
    }
    if let Some(narrow) = Narrow::new(g) {
        return narrow.forward(input, weight, bias, output, scratch);
    }
    let (packed, lanes) = scratch.split_at_mut(g.weights());
    weights::pack(g, weight, packed);
    Correlation::new(*g).batch(input, packed, bias, output, lanes);
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
        None => input_gradient(g, output_grad, weight, input_grad, scratch),
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
    if let Some(winograd) = Winograd::new(g) {
        return winograd.backward_weight(input, output_grad, weight_grad, scratch);
    }
    if let Some(narrow) = Narrow::new(g) {
        return narrow.backward_weight(input, output_grad, weight_grad, scratch);
    }
    weight_gradient(g, input, output_grad, weight_grad, scratch);
}
