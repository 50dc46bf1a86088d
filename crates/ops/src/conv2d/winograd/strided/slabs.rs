//! Where transformed tiles and weights lie: a slab, which is a matrix, for each of the 25 points.
//!
//! A row of an input slab is a tile; its columns are the channels of all values that belong to the
//! point, one *block* of channels for each. Four values belong to a point of two numbers (even or odd
//! rows, even or odd columns), two to a number and ∞, one to ∞ twice.

use super::maps::{INPUTS, POINTS, SLABS, point};
use crate::panels::padded;
use std::array::from_fn;

/// Elements between two slabs, so that the values of one tile do not share a cache set.
const GAP: usize = 16;

/// The slabs of one side, to be written.
pub(super) type SlabsMut<'a> = [&'a mut [f32]; SLABS];

/// Where the value of a row and of a column belongs: its slab, and its block there.
pub(super) const fn place(row: usize, column: usize) -> (usize, usize) {
    let ((y, odd_row), (x, odd_column)) = (point(row), point(column));
    let slab = y * POINTS + x;
    (slab, odd_row as usize * filters(x) + odd_column as usize)
}

/// Blocks of an input slab.
pub(super) const fn blocks(slab: usize) -> usize {
    filters(slab / POINTS) * filters(slab % POINTS)
}

/// Filters of one dimension that do not vanish at a point.
const fn filters(point: usize) -> usize {
    if point < POINTS - 1 { 2 } else { 1 }
}

/// The values of a tile in the order of slabs and blocks: the row and the column of each.
pub(super) fn values(slab: usize) -> impl Iterator<Item = (usize, usize)> {
    let all = (0..INPUTS).flat_map(|row| (0..INPUTS).map(move |column| (row, column)));
    let mut of_slab: Vec<_> = all.filter(|&(y, x)| place(y, x).0 == slab).collect();
    of_slab.sort_by_key(|&(y, x)| place(y, x).1);
    of_slab.into_iter()
}

/// The slabs of transformed inputs or outputs of some tiles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) tiles: usize,
    pub(super) channels: usize,
    /// Whether points have blocks.
    pub(super) input: bool,
}

impl Side {
    /// Columns of a slab.
    pub(super) const fn columns(&self, slab: usize) -> usize {
        let blocks = if self.input { blocks(slab) } else { 1 };
        blocks * padded(self.channels)
    }

    /// Elements of a slab and the gap behind it.
    const fn step(&self, slab: usize) -> usize {
        self.tiles * self.columns(slab) + GAP
    }

    /// Elements of all slabs.
    pub(super) fn len(&self) -> usize {
        (0..SLABS).map(|slab| self.step(slab)).sum()
    }

    /// All slabs, to be written.
    pub(super) fn split<'a>(&self, buffer: &'a mut [f32]) -> SlabsMut<'a> {
        let mut rest = buffer;
        from_fn(|slab| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(self.step(slab));
            rest = tail;
            &mut head[..self.tiles * self.columns(slab)]
        })
    }

    /// All slabs.
    pub(super) fn slabs<'a>(&self, buffer: &'a [f32]) -> [&'a [f32]; SLABS] {
        let mut rest = buffer;
        from_fn(|slab| {
            let (head, tail) = rest.split_at(self.step(slab));
            rest = tail;
            &head[..self.tiles * self.columns(slab)]
        })
    }

    /// Pieces of `tiles` tiles of all slabs, one after the other.
    pub(super) fn pieces<'a>(
        &self,
        buffer: &'a mut [f32],
        tiles: usize,
    ) -> impl Iterator<Item = SlabsMut<'a>> {
        let columns: [usize; SLABS] = from_fn(|slab| self.columns(slab));
        let mut rest = self.split(buffer);
        let count = self.tiles.div_ceil(tiles);
        (0..count).map(move |_| {
            from_fn(|slab| {
                let all = std::mem::take(&mut rest[slab]);
                let (head, tail) = all.split_at_mut(all.len().min(tiles * columns[slab]));
                rest[slab] = tail;
                head
            })
        })
    }
}
