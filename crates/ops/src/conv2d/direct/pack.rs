//! Weights as panels. PyTorch's order is `[out][in][ky][kx]`.

use super::super::geometry::Geometry;
use crate::panels::{padded, panels};
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
    // Weights are read in the order in which they lie; what is written of a block of rows stays in
    // the first-level cache.
    const ROWS: usize = 8;
    tasks.par_bridge().for_each(|(panel, to)| {
        let (width, held) = (panel.len(), panel.len().min(columns - panel.start));
        if held < width {
            to.fill(0.0);
        }
        for first in (0..rows).step_by(ROWS) {
            let block = first..rows.min(first + ROWS);
            for (lane, row) in (0..held).flat_map(|lane| block.clone().map(move |row| (lane, row)))
            {
                let at = row * steps.0 + (panel.start + lane) * steps.1;
                let kernel = &weight[at..at + area];
                for (slot, &tap) in slots.0.iter().enumerate() {
                    to[(slot * rows + row) * width + lane] = kernel[tap];
                }
            }
        }
    });
}
