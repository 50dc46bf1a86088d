//! Convolution on maps so small that most taps of most positions lie in the zero padding.
//!
//! Activations are brought into the order `[position][example][channel]`. A row of products is an
//! example, and only pairs of positions that a tap really connects are computed: on a map of one
//! position that is one tap of nine. There are more weights than activations, so each is touched once:
//! a task packs a piece of one panel and takes all positions of some examples through it while it
//! lies in the second-level cache.

use super::super::geometry::{Geometry, Padding};
use super::pack::{Order, Slots, Source};
use super::{Runs, run as dispatch};
use crate::panels::{Line, Outer, Rows, WIDTH, padded, panels};
use crate::parallel::for_each_with_scratch;
use rayon::prelude::*;
use std::ops::Range;

/// Examples of one block of results.
const EXAMPLES: usize = 64;
/// Blocks of one task, for which its weights are packed once.
const BLOCKS: usize = 4;
/// Rows of weights, of all taps, that are packed at once: with 32 columns 74 kB.
const PIECE: usize = 576;
/// Rows of sums of one task of the weight gradient.
const ROWS: usize = 64;

/// One tap that connects an input with an output position.
#[derive(Clone, Copy, Debug)]
struct Link {
    input: usize,
    output: usize,
    /// Position in the list of packed taps.
    slot: usize,
}

/// A convolution of few positions.
#[derive(Clone, Debug)]
pub(super) struct Few {
    geometry: Geometry,
    slots: Slots,
    links: Vec<Link>,
}

impl Few {
    /// `None` where most taps meet the input and rows of outputs fill a block of products.
    pub(super) fn new(g: &Geometry) -> Option<Self> {
        let area = g.kernel * g.kernel;
        if !matches!(g.padding, Padding::Zero(_)) || g.output.area() > 16 || area == 1 {
            return None;
        }
        let mut links = Vec::new();
        let mut slots: Vec<usize> = Vec::new();
        for (output, tap) in (0..g.output.area()).flat_map(|o| (0..area).map(move |t| (o, t))) {
            let row = g.input_row(output / g.output.w, tap / g.kernel);
            let column = g.input_column(output % g.output.w, tap % g.kernel);
            let (Some(row), Some(column)) = (row, column) else {
                continue;
            };
            let known = slots.iter().position(|&t| t == tap);
            let slot = known.unwrap_or(slots.len());
            if known.is_none() {
                slots.push(tap);
            }
            links.push(Link {
                input: row * g.input.w + column,
                output,
                slot,
            });
        }
        /// Output columns from which on an example is worth a product of its own.
        const COLUMNS: usize = 4;
        let sparse = links.len() * 5 <= g.output.area() * area * 3;
        (sparse || g.output.w < COLUMNS).then_some(Self {
            geometry: *g,
            slots: Slots(slots),
            links,
        })
    }

    /// Elements between examples: one more line than channels need, so that neighbouring examples
    /// do not share a cache set.
    const fn step(channels: usize) -> usize {
        padded(channels) + 16
    }

    /// Elements of all inputs and of all outputs in the order of this module.
    fn lens(&self) -> (usize, usize) {
        let (x, y) = (self.geometry.input, self.geometry.output);
        (
            x.n * x.area() * Self::step(x.c),
            y.n * y.area() * Self::step(y.c),
        )
    }

    /// Elements of the sums of the weights' gradients.
    fn sums(&self) -> usize {
        let (ci, co) = (self.geometry.input.c, self.geometry.output.c);
        self.slots.0.len() * ci * padded(co)
    }

    /// Elements of the weights that a task packs at once.
    fn lane(&self) -> usize {
        self.slots.0.len() * self.piece() * WIDTH
    }

    /// Channels whose weights are packed at once.
    fn piece(&self) -> usize {
        (PIECE / self.slots.0.len().max(1)).max(1)
    }

    /// Elements of the results, panel after panel.
    const fn results(&self, area: usize, columns: usize) -> usize {
        area * self.geometry.input.n * padded(columns)
    }

    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        let (x, y) = self.lens();
        self.sums().max(threads * self.lane()) + x + y
    }

    pub(super) fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&[f32]>,
        output: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        let (x, rest) = scratch.split_at_mut(self.lens().0);
        let (y, lanes) = rest.split_at_mut(self.results(g.output.area(), g.output.c));
        by_position(input, g.input.area(), g.input.c, x);
        let side = Side {
            from: x,
            inner: g.input.c,
            weights: Source::new(g, weight, Order::InOut),
            columns: g.output.c,
            area: g.output.area(),
        };
        self.products(&side, |link| (link.input, link.output), y, lanes);
        self.by_example(y, (g.output.area(), g.output.c), bias, output);
    }

    pub(super) fn backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        let (y, rest) = scratch.split_at_mut(self.lens().1);
        let (x, lanes) = rest.split_at_mut(self.results(g.input.area(), g.input.c));
        by_position(output_grad, g.output.area(), g.output.c, y);
        let side = Side {
            from: y,
            inner: g.output.c,
            weights: Source::new(g, weight, Order::OutIn),
            columns: g.input.c,
            area: g.input.area(),
        };
        self.products(&side, |link| (link.output, link.input), x, lanes);
        self.by_example(x, (g.input.area(), g.input.c), None, input_grad);
    }

    /// For every position of `to`, the sum over its links of `from` times weights:
    /// `[panel][block of examples][position][example][column]`.
    fn products(
        &self,
        side: &Side<'_>,
        ends: impl Fn(&Link) -> (usize, usize) + Sync,
        to: &mut [f32],
        lanes: &mut [f32],
    ) {
        let n = self.geometry.input.n;
        let panels = panels(side.columns).zip(to.chunks_mut(side.area * n * WIDTH));
        let tasks = panels.flat_map(|(panel, to)| {
            let groups = to.chunks_mut(side.area * BLOCKS * EXAMPLES * panel.len());
            let numbered = groups.enumerate();
            numbered.map(move |(group, to)| (panel.clone(), group * BLOCKS, to))
        });
        for_each_with_scratch(
            tasks,
            lanes,
            self.lane(),
            |(panel, first_block, to), lane| {
                for first in (0..side.inner).step_by(self.piece()) {
                    let rows = first..side.inner.min(first + self.piece());
                    let lane = &mut lane[..self.slots.0.len() * rows.len() * panel.len()];
                    side.weights
                        .pack_piece(&panel, rows.clone(), &self.slots, lane);
                    let blocks = to.chunks_mut(side.area * EXAMPLES * panel.len());
                    for (block, to) in blocks.enumerate() {
                        let first_example = (first_block + block) * EXAMPLES;
                        self.piece_products(side, &ends, (first_example, &rows), lane, to);
                    }
                }
            },
        );
    }

    /// The part that some channels of `from` have in one block of results.
    fn piece_products(
        &self,
        side: &Side<'_>,
        ends: &impl Fn(&Link) -> (usize, usize),
        (first_example, rows): (usize, &Range<usize>),
        weights: &[f32],
        to: &mut [f32],
    ) {
        let height = self.slots.0.len() * rows.len();
        let (width, step) = (weights.len() / height, Self::step(side.inner));
        let count = to.len() / (side.area * width);
        for (position, to) in to.chunks_exact_mut(count * width).enumerate() {
            let links = self.links.iter().map(|link| (ends(link), link.slot));
            let runs: Runs = links
                .filter(|((_, to), _)| *to == position)
                .map(|((from, _), slot)| {
                    let first = from * self.geometry.input.n + first_example;
                    (first * step + rows.start, slot * rows.len())
                })
                .collect();
            dispatch(Rows {
                count,
                inner: rows.len(),
                runs: &runs,
                from: side.from,
                from_step: step,
                panels: weights,
                height,
                columns: width,
                to,
                to_step: width,
                add: rows.start > 0,
            });
        }
    }

    /// Brings results back into the order of activations.
    fn by_example(
        &self,
        results: &[f32],
        (area, c): (usize, usize),
        bias: Option<&[f32]>,
        to: &mut [f32],
    ) {
        let n = self.geometry.input.n;
        let examples = to.par_chunks_exact_mut(area * c).enumerate();
        examples.for_each(|(example, to)| {
            let (block, within) = (example / EXAMPLES, example % EXAMPLES);
            let count = EXAMPLES.min(n - block * EXAMPLES);
            for (position, to) in to.chunks_exact_mut(c).enumerate() {
                for panel in panels(c) {
                    let (width, held) = (panel.len(), panel.end.min(c) - panel.start);
                    let row = (block * EXAMPLES * area + position * count + within) * width;
                    let from = &results[panel.start * area * n + row..][..held];
                    let to = &mut to[panel.start..][..held];
                    to.copy_from_slice(from);
                    if let Some(bias) = bias {
                        let bias = &bias[panel.start..];
                        to.iter_mut().zip(bias).for_each(|(to, bias)| *to += bias);
                    }
                }
            }
        });
    }

    /// The gradient of the weights, added to.
    pub(super) fn backward_weight(
        &self,
        input: &[f32],
        output_grad: &[f32],
        weight_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        let (n, ci, columns) = (g.input.n, g.input.c, padded(g.output.c));
        let (sums, rest) = scratch.split_at_mut(self.sums());
        let (x, rest) = rest.split_at_mut(self.lens().0);
        let y = &mut rest[..self.lens().1];
        by_position(input, g.input.area(), ci, x);
        by_position(output_grad, g.output.area(), g.output.c, y);
        let (a_step, b_step) = (Self::step(ci), Self::step(g.output.c));
        let (x, y) = (&*x, &*y);
        let taps = sums.par_chunks_exact_mut(ci * columns).enumerate();
        taps.for_each(|(slot, sums)| {
            let links = self.links.iter().filter(|link| link.slot == slot);
            let lines: Vec<Line> = links
                .map(|link| Line {
                    a: link.input * n * a_step,
                    b: link.output * n * b_step,
                    count: n,
                })
                .collect();
            let blocks = sums.par_chunks_mut(ROWS * columns).enumerate();
            blocks.for_each(|(block, to)| {
                dispatch(Outer {
                    lines: &lines,
                    a: &x[block * ROWS..],
                    a_step,
                    height: to.len() / columns,
                    b: y,
                    b_step,
                    columns,
                    to,
                    to_step: columns,
                    add: false,
                });
            });
        });
        self.add(sums, weight_grad);
    }

    /// Adds sums `[slot][in][out, padded]` to the gradient, a cache line of output channels at once.
    fn add(&self, sums: &[f32], weight_grad: &mut [f32]) {
        const LINE: usize = 16;
        let g = &self.geometry;
        let (ci, area, columns) = (g.input.c, g.kernel * g.kernel, padded(g.output.c));
        let blocks = weight_grad.par_chunks_mut(LINE * ci * area).enumerate();
        blocks.for_each(|(block, to)| {
            let count = to.len() / (ci * area);
            for i in 0..ci {
                for (slot, &tap) in self.slots.0.iter().enumerate() {
                    let row = &sums[(slot * ci + i) * columns + block * LINE..][..count];
                    for (o, sum) in row.iter().enumerate() {
                        to[(o * ci + i) * area + tap] += sum;
                    }
                }
            }
        });
    }
}

/// What is multiplied and what comes of it.
struct Side<'a> {
    from: &'a [f32],
    /// Channels of `from`.
    inner: usize,
    weights: Source<'a>,
    /// Channels of the result.
    columns: usize,
    /// Positions of the result.
    area: usize,
}

/// Copies `[example][position][channel]` to `[position][example][channel, padded]`.
fn by_position(from: &[f32], area: usize, c: usize, to: &mut [f32]) {
    let step = Few::step(c);
    let n = from.len() / (area * c);
    let positions = to.par_chunks_exact_mut(n * step).take(area).enumerate();
    positions.for_each(|(position, to)| {
        let examples = from[position * c..].chunks(area * c);
        for (to, from) in to.chunks_exact_mut(step).zip(examples) {
            to[..c].copy_from_slice(&from[..c]);
            to[c..].fill(0.0);
        }
    });
}
