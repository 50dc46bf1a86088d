//! Weights as panels. PyTorch's order is `[out][in][ky][kx]`.

use super::super::geometry::Geometry;
use crate::panels::{WIDTH, padded, panels};
use crate::prefetch::prefetch;
use rayon::prelude::*;
use std::ops::Range;

/// Which channels count the rows of the panels; the other ones count their columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Order {
    /// For outputs.
    InOut,
    /// For input gradients.
    OutIn,
}

/// Which taps are packed, as `ky · k + kx`, in the order in which they follow each other.
#[derive(Clone, Debug)]
pub(in super::super) struct Slots(pub(super) Vec<usize>);

impl Slots {
    /// All taps in their own order.
    pub(in super::super) fn all(g: &Geometry) -> Self {
        Self((0..g.kernel * g.kernel).collect())
    }
}

/// Packs `[tap][row channel]` rows of panels; columns beyond the channels are zero.
pub(in super::super) fn pack(
    g: &Geometry,
    weight: &[f32],
    order: Order,
    slots: &Slots,
    packed: &mut [f32],
) {
    let source = Source::new(g, weight, order);
    let height = slots.0.len() * source.rows;
    let mut rest = &mut packed[..height * padded(source.columns)];
    let tasks = panels(source.columns).map(|panel| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(height * panel.len());
        rest = tail;
        (panel, head)
    });
    tasks
        .par_bridge()
        .for_each(|(panel, to)| source.pack_piece(&panel, 0..source.rows, slots, to));
}

/// Rows of a panel that are made at once. They are made in memory of their own: rows of one tap and
/// the next one lie a power of two apart in the panel, where few sets of the first-level cache would
/// have to hold all of them.
const BLOCK: usize = 72;
/// How far ahead kernels are asked for: those of a column, or of a row, begin on a page of their own, and
/// no processor guesses which comes next.
const AHEAD: usize = 4;
/// Elements of a cache line.
const LINE: usize = 16;

/// Weights as a matrix of kernels.
pub(super) struct Source<'a> {
    weight: &'a [f32],
    /// Elements of a kernel.
    area: usize,
    rows: usize,
    columns: usize,
    /// Elements from a row to the next one, and from a column.
    steps: (usize, usize),
}

impl<'a> Source<'a> {
    /// All weights, `[out][in][ky][kx]`.
    pub(super) fn new(g: &Geometry, weight: &'a [f32], order: Order) -> Self {
        let area = g.kernel * g.kernel;
        let (rows, columns, steps) = match order {
            Order::InOut => (g.input.c, g.output.c, (area, g.fan_in())),
            Order::OutIn => (g.output.c, g.input.c, (g.fan_in(), area)),
        };
        Self {
            weight,
            area,
            rows,
            columns,
            steps,
        }
    }

    /// Packs some rows of one panel, `[tap][row]`.
    pub(super) fn pack_piece(
        &self,
        panel: &Range<usize>,
        rows: Range<usize>,
        slots: &Slots,
        to: &mut [f32],
    ) {
        let chunks = to.chunks_mut(BLOCK * rows.len() * panel.len());
        for (taps, to) in slots.0.chunks(BLOCK).zip(chunks) {
            self.pack_taps(panel, &rows, taps, to);
        }
    }

    /// Where a kernel begins.
    const fn at(&self, row: usize, column: usize) -> usize {
        row * self.steps.0 + column * self.steps.1
    }

    /// Packs at most [`BLOCK`] taps.
    fn pack_taps(&self, panel: &Range<usize>, all: &Range<usize>, taps: &[usize], to: &mut [f32]) {
        let mut room = [[0.0; WIDTH]; BLOCK];
        let step = (BLOCK / taps.len()).min(all.len()).max(1);
        for first in all.clone().step_by(step) {
            let rows = first..all.end.min(first + step);
            let columns = panel.start..panel.end.min(self.columns);
            // In the order in which kernels lie in memory.
            if self.steps.0 < self.steps.1 {
                for column in columns.clone() {
                    self.ask_for(self.at(rows.start, column + AHEAD), rows.len());
                    for row in rows.clone() {
                        let to = (row - rows.start, column - panel.start);
                        self.place((row, column), taps, to, rows.len(), &mut room);
                    }
                }
            } else {
                for row in rows.clone() {
                    self.ask_for(self.at(row + AHEAD, columns.start), columns.len());
                    for column in columns.clone() {
                        let to = (row - rows.start, column - panel.start);
                        self.place((row, column), taps, to, rows.len(), &mut room);
                    }
                }
            }
            for (tap, from) in room.chunks(rows.len()).take(taps.len()).enumerate() {
                let at = (tap * all.len() + first - all.start) * panel.len();
                let to = &mut to[at..][..rows.len() * panel.len()];
                for (to, from) in to.chunks_exact_mut(panel.len()).zip(from) {
                    to.copy_from_slice(&from[..panel.len()]);
                }
            }
        }
    }

    /// Asks for `count` kernels that follow each other.
    fn ask_for(&self, first: usize, count: usize) {
        let lines = (first..first + count * self.area).step_by(LINE);
        lines.for_each(|at| prefetch(self.weight, at));
    }

    /// Writes one kernel to `(row, lane)` of every tap's `rows` rows.
    #[inline(always)]
    fn place(
        &self,
        (row, column): (usize, usize),
        taps: &[usize],
        to: (usize, usize),
        rows: usize,
        room: &mut [[f32; WIDTH]; BLOCK],
    ) {
        let kernel = &self.weight[self.at(row, column)..][..self.area];
        for (line, &tap) in room[to.0..].iter_mut().step_by(rows).zip(taps) {
            line[to.1] = kernel[tap];
        }
    }
}
