//! Convolution on the CPU: small matrix products over tiles of output positions.
//!
//! A tile is a fixed number of output positions, counted through the batch. Its columns (what each
//! position looks at) are written to scratch that stays in the second-level cache and multiplied by
//! the weights, which are brought into the order `[ky][kx][in][out]` once per call. The columns of
//! the whole batch never exist.

use super::columns::{Taps, gather, scatter_add};
use super::geometry::{Geometry, Padding};
use super::narrow::Narrow;
use super::weights;
use super::winograd::Winograd;
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use crate::parallel::{for_each_with_scratch, part};
use rayon::prelude::*;
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
struct Scratch {
    fixed: usize,
    lane: usize,
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
fn columns<'a>(
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
struct Correlation {
    geometry: Geometry,
    tile: usize,
}

impl Correlation {
    fn new(geometry: Geometry) -> Self {
        let tile = tile(geometry.positions(), geometry.fan_in());
        Self { geometry, tile }
    }

    fn lane(&self) -> usize {
        if self.geometry.is_pointwise() {
            1
        } else {
            self.tile * self.geometry.fan_in()
        }
    }

    fn scratch(&self) -> Scratch {
        Scratch {
            fixed: self.geometry.weights(),
            lane: self.lane(),
        }
    }

    /// The whole batch on all threads; `weights` are `[ky][kx][in][out]`.
    fn batch(
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
    fn one(
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

/// How the gradient of the input is computed.
#[derive(Clone, Copy, Debug)]
enum InputGradient {
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
    fn new(g: &Geometry) -> Self {
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

    fn scratch(&self, g: &Geometry) -> Scratch {
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
pub(super) fn backward_input(
    g: &Geometry,
    output_grad: &[f32],
    weight: &[f32],
    input_grad: &mut [f32],
    scratch: &mut [f32],
) {
    if let Some(winograd) = Winograd::new(g) {
        return winograd.backward_input(output_grad, weight, input_grad, scratch);
    }
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

/// How the gradient of the weights is cut: each of `parts` ranges of tiles has partial sums of its
/// own, and so has each block of `taps` kernel positions.
#[derive(Clone, Copy, Debug)]
struct WeightGradient {
    tile: usize,
    parts: usize,
    blocks: usize,
    /// Kernel positions of a block: a row of the kernel, or a single one.
    taps: usize,
}

impl WeightGradient {
    fn new(g: &Geometry) -> Self {
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

    fn scratch(&self, g: &Geometry) -> Scratch {
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
pub(super) fn backward_bias(
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
