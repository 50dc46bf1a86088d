//! Weights as panels. PyTorch's order is `[out][in][ky][kx]`.

use super::super::geometry::Geometry;
use crate::panels::{WIDTH, padded, panels};
use rayon::prelude::*;

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
    let area = g.kernel * g.kernel;
    let (rows, columns, steps) = match order {
        Order::InOut => (g.input.c, g.output.c, (area, g.fan_in())),
        Order::OutIn => (g.output.c, g.input.c, (g.fan_in(), area)),
    };
    let height = slots.0.len() * rows;
    let mut rest = &mut packed[..height * padded(columns)];
    let tasks = panels(columns).map(|panel| {
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(height * panel.len());
        rest = tail;
        (panel, head)
    });
    tasks.par_bridge().for_each(|(panel, to)| {
        let held = panel.len().min(columns - panel.start);
        let taps = slots.0.chunks(BLOCK).enumerate();
        for (chunk, taps) in taps {
            let step = (BLOCK / taps.len()).min(rows);
            for first in (0..rows).step_by(step) {
                let block = first..rows.min(first + step);
                let kernel = |row: usize, lane: usize| {
                    let at = row * steps.0 + (panel.start + lane) * steps.1;
                    &weight[at..at + area]
                };
                let mut room = [[0.0; WIDTH]; BLOCK];
                for lane in 0..held {
                    gather(
                        &mut room,
                        lane,
                        taps,
                        block.clone().map(|row| kernel(row, lane)),
                    );
                }
                for (slot, from) in room.chunks(block.len()).take(taps.len()).enumerate() {
                    let at = (chunk * BLOCK + slot) * rows + first;
                    let to = &mut to[at * panel.len()..][..block.len() * panel.len()];
                    for (to, from) in to.chunks_exact_mut(panel.len()).zip(from) {
                        to.copy_from_slice(&from[..panel.len()]);
                    }
                }
            }
        }
    });
}

/// Rows of a panel that are made at once. They are made in memory of their own: rows of one tap and
/// the next one lie a power of two apart in the panel, where few sets of the first-level cache would
/// have to hold all of them.
const BLOCK: usize = 72;

/// Writes one column: the taps of some kernels, `[tap][kernel]`.
#[inline(always)]
fn gather<'a>(
    to: &mut [[f32; WIDTH]; BLOCK],
    lane: usize,
    taps: &[usize],
    kernels: impl ExactSizeIterator<Item = &'a [f32]>,
) {
    let count = kernels.len();
    for (row, kernel) in kernels.enumerate() {
        for (to, &tap) in to[row..].iter_mut().step_by(count).zip(taps) {
            to[lane] = kernel[tap];
        }
    }
}
