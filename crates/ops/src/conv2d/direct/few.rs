//! Convolution on maps so small that most taps of most positions lie in the zero padding.
//!
//! Activations are brought into the order `[position][example][channel]`. A row of products is an
//! example, and only pairs of positions that a tap really connects are computed: on a map of one
//! position that is one tap of nine.

use super::super::geometry::{Geometry, Padding};
use super::pack::{Order, Slots, pack};
use super::{Product, Runs, run as dispatch};
use crate::panels::{Line, Outer, padded};
use crate::parallel::for_each_with_scratch;
use rayon::prelude::*;

/// Examples of one task.
const EXAMPLES: usize = 32;
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
    /// `None` where most taps meet the input.
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
        (links.len() * 5 <= g.output.area() * area * 3).then_some(Self {
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

    /// Elements of packed weights, or of their gradients, in either order.
    fn weights(&self) -> usize {
        let (ci, co) = (self.geometry.input.c, self.geometry.output.c);
        self.slots.0.len() * (ci * padded(co)).max(co * padded(ci))
    }

    pub(super) fn scratch_len(&self, threads: usize) -> usize {
        let (x, y) = self.lens();
        let most = padded(self.geometry.input.c.max(self.geometry.output.c));
        self.weights() + x + y + threads.max(1) * EXAMPLES * most
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
        let (panels, rest) = scratch.split_at_mut(self.weights());
        let (x, lanes) = rest.split_at_mut(self.lens().0);
        pack(g, weight, Order::InOut, &self.slots, panels);
        by_position(input, g.input.area(), g.input.c, x);
        let side = Side {
            from: x,
            positions: g.input.area(),
            inner: g.input.c,
            panels,
            columns: g.output.c,
            area: g.output.area(),
            bias,
        };
        self.products(&side, |link| (link.input, link.output), output, lanes);
    }

    pub(super) fn backward_input(
        &self,
        output_grad: &[f32],
        weight: &[f32],
        input_grad: &mut [f32],
        scratch: &mut [f32],
    ) {
        let g = &self.geometry;
        let (panels, rest) = scratch.split_at_mut(self.weights());
        let (y, lanes) = rest.split_at_mut(self.lens().1);
        pack(g, weight, Order::OutIn, &self.slots, panels);
        by_position(output_grad, g.output.area(), g.output.c, y);
        let side = Side {
            from: y,
            positions: g.output.area(),
            inner: g.output.c,
            panels,
            columns: g.input.c,
            area: g.input.area(),
            bias: None,
        };
        self.products(&side, |link| (link.output, link.input), input_grad, lanes);
    }

    /// For every position of `to`, the sum over its links of `from` times weights.
    fn products(
        &self,
        side: &Side<'_>,
        ends: impl Fn(&Link) -> (usize, usize) + Sync,
        to: &mut [f32],
        lanes: &mut [f32],
    ) {
        let n = self.geometry.input.n;
        let example = side.area * side.columns;
        let step = Self::step(side.inner);
        let lane = EXAMPLES * padded(side.columns);
        let tasks = to.chunks_mut(EXAMPLES * example).enumerate();
        for_each_with_scratch(tasks, lanes, lane, |(task, to), line| {
            let first = task * EXAMPLES;
            for position in 0..side.area {
                let links = self.links.iter().map(|link| (ends(link), link.slot));
                let runs: Runs = links
                    .filter(|((_, to), _)| *to == position)
                    .map(|((from, _), slot)| ((from * n + first) * step, slot * side.inner))
                    .collect();
                let product = Product {
                    count: to.len() / example,
                    inner: side.inner,
                    runs: &runs,
                    from: side.from,
                    from_step: step,
                    panels: side.panels,
                    height: self.slots.0.len() * side.inner,
                    columns: side.columns,
                };
                let to = &mut to[position * side.columns..];
                product.write(to, example, side.bias, line);
            }
        });
        debug_assert_eq!(side.from.len(), side.positions * n * step);
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
        let (sums, rest) = scratch.split_at_mut(self.weights());
        let (x, rest) = rest.split_at_mut(self.lens().0);
        let y = &mut rest[..self.lens().1];
        by_position(input, g.input.area(), ci, x);
        by_position(output_grad, g.output.area(), g.output.c, y);
        let (a_step, b_step) = (Self::step(ci), Self::step(g.output.c));
        let sums = &mut sums[..self.slots.0.len() * ci * columns];
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

    /// Adds sums `[slot][in][out, padded]` to the gradient.
    fn add(&self, sums: &[f32], weight_grad: &mut [f32]) {
        let g = &self.geometry;
        let (ci, area, columns) = (g.input.c, g.kernel * g.kernel, padded(g.output.c));
        let kernels = weight_grad.par_chunks_exact_mut(ci * area).enumerate();
        kernels.with_min_len(16).for_each(|(o, kernel)| {
            for (slot, &tap) in self.slots.0.iter().enumerate() {
                let rows = sums[slot * ci * columns..].chunks_exact(columns);
                let taps = kernel[tap..].iter_mut().step_by(area);
                taps.zip(rows).for_each(|(to, row)| *to += row[o]);
            }
        });
    }
}

/// What is multiplied and where it goes.
struct Side<'a> {
    from: &'a [f32],
    /// Positions of `from`.
    positions: usize,
    /// Channels of `from`.
    inner: usize,
    panels: &'a [f32],
    /// Channels of the result.
    columns: usize,
    /// Positions of the result.
    area: usize,
    bias: Option<&'a [f32]>,
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
