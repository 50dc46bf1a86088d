//! Between activations and transformed tiles.
//!
//! Transformed tiles lie in 36 slabs, one for each product of a tile; a slab is a matrix with a row
//! per tile and a column per channel. Loops run over a register of channels at once and are compiled
//! for several instruction sets, the best of which is chosen at run time.

#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays are not always inlined, and only what is inlined is compiled \
              for the instruction set of the caller"
)]

use super::super::geometry::Geometry;
use super::super::lanes::Lanes;
use super::Layout;
use super::transform::{
    INPUTS, Input, InputAdjoint, OUTPUTS, Output, OutputAdjoint, PRODUCTS, both,
};
use crate::panels::padded;
use pulp::{Arch, Simd, WithSimd};
use std::array::from_fn;
use std::ops::Range;

/// The 36 slabs, to be written.
pub(super) type SlabsMut<'a> = [&'a mut [f32]; PRODUCTS];

/// How the outputs of a convolution are covered by tiles of 4 × 4.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    pub(super) geometry: Geometry,
    /// Rows of tiles in one example.
    pub(super) rows: usize,
    /// Tiles in a row.
    pub(super) columns: usize,
}

impl Tiles {
    pub(super) const fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            rows: geometry.output.h.div_ceil(OUTPUTS),
            columns: geometry.output.w.div_ceil(OUTPUTS),
        }
    }

    /// Tiles of one example.
    pub(super) const fn per_example(&self) -> usize {
        self.rows * self.columns
    }

    /// Tiles of the batch.
    pub(super) const fn count(&self) -> usize {
        self.geometry.output.n * self.per_example()
    }

    /// Example and first output row and column of a tile.
    const fn corner(&self, tile: usize) -> (usize, usize, usize) {
        let (example, tile) = (tile / self.per_example(), tile % self.per_example());
        let (row, column) = (tile / self.columns, tile % self.columns);
        (example, row * OUTPUTS, column * OUTPUTS)
    }

    /// Offsets of the rows, and of the columns in a row, of the inputs of a tile; `None` in the
    /// zero padding. Examples are counted from `first_example`.
    fn inputs(&self, tile: usize, first_example: usize) -> Offsets<INPUTS> {
        let g = &self.geometry;
        let (example, y, x) = self.corner(tile);
        let row = |row| ((example - first_example) * g.input.h + row) * g.input.w * g.input.c;
        Offsets {
            rows: from_fn(|i| g.input_row(y, i).map(row)),
            columns: from_fn(|i| g.input_column(x, i).map(|column| column * g.input.c)),
        }
    }

    /// The same for the outputs of a tile, of which some may lie outside. Rows are counted through
    /// the batch from `first_row`.
    fn outputs(&self, tile: usize, first_row: usize) -> Offsets<OUTPUTS> {
        let g = &self.geometry;
        let (example, y, x) = self.corner(tile);
        let row = |row| (example * g.output.h + row - first_row) * g.output.w * g.output.c;
        Offsets {
            rows: from_fn(|i| (y + i < g.output.h).then(|| row(y + i))),
            columns: from_fn(|i| (x + i < g.output.w).then(|| (x + i) * g.output.c)),
        }
    }
}

/// Transforms the inputs of some tiles.
pub(super) struct TransformInput<'a, 'b> {
    pub(super) tiles: &'a Tiles,
    pub(super) range: Range<usize>,
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut SlabsMut<'b>,
}

impl WithSimd for TransformInput<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let c = self.tiles.geometry.input.c;
        let step = padded(c);
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.inputs(tile, 0);
            for group in groups::<S>(c) {
                let d = offsets.load(simd, self.from, group.first);
                store(both::<Input, _, _, _>(d), self.to, t * step + group.first);
            }
        }
    }
}

/// Transforms the output gradients of some tiles, by the adjoint of [`FinishOutput`].
pub(super) struct TransformGrad<'a, 'b> {
    pub(super) tiles: &'a Tiles,
    pub(super) range: Range<usize>,
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut SlabsMut<'b>,
}

impl WithSimd for TransformGrad<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let c = self.tiles.geometry.output.c;
        let step = padded(c);
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.outputs(tile, 0);
            for group in groups::<S>(c) {
                let y = offsets.load(simd, self.from, group.first);
                let u = both::<OutputAdjoint, _, _, _>(y);
                store(u, self.to, t * step + group.first);
            }
        }
    }
}

/// Turns products into the outputs of some tiles.
pub(super) struct FinishOutput<'a> {
    pub(super) tiles: &'a Tiles,
    pub(super) range: Range<usize>,
    pub(super) from: &'a [f32],
    pub(super) layout: Layout,
    /// Where the range begins in `from`.
    pub(super) first_tile: usize,
    pub(super) bias: Option<&'a [f32]>,
    /// First row of `to`, counted through the batch.
    pub(super) first_row: usize,
    pub(super) to: &'a mut [f32],
}

impl WithSimd for FinishOutput<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let c = self.tiles.geometry.output.c;
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.outputs(tile, self.first_row);
            for group in groups::<S>(c) {
                let at = self.layout.at(self.first_tile + t, group.first);
                let m = load(simd, self.from, self.layout.slab, at);
                let y = both::<Output, _, _, _>(m);
                let bias = match self.bias {
                    Some(bias) => Lanes::load(simd, &bias[group.first..]),
                    None => Lanes::zero(simd),
                };
                for i in 0..OUTPUTS {
                    for j in 0..OUTPUTS {
                        if let Some(at) = offsets.at(i, j) {
                            (y[i][j] + bias).store(&mut self.to[at + group.first..]);
                        }
                    }
                }
            }
        }
    }
}

/// Adds the input gradients of some tiles, by the adjoint of [`TransformInput`].
pub(super) struct FinishInputGrad<'a> {
    pub(super) tiles: &'a Tiles,
    pub(super) range: Range<usize>,
    pub(super) from: &'a [f32],
    pub(super) layout: Layout,
    /// Where the range begins in `from`.
    pub(super) first_tile: usize,
    /// First example of `to`.
    pub(super) first_example: usize,
    pub(super) to: &'a mut [f32],
}

impl WithSimd for FinishInputGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let c = self.tiles.geometry.input.c;
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.inputs(tile, self.first_example);
            for group in groups::<S>(c) {
                let at = self.layout.at(self.first_tile + t, group.first);
                let v = load(simd, self.from, self.layout.slab, at);
                let d = both::<InputAdjoint, _, _, _>(v);
                // What overlaps with the group before has been added already.
                let fresh = Lanes::ones_after(simd, group.done);
                for i in 0..INPUTS {
                    for j in 0..INPUTS {
                        if let Some(at) = offsets.at(i, j) {
                            let to = &mut self.to[at + group.first..];
                            (Lanes::load(simd, to) + d[i][j] * fresh).store(to);
                        }
                    }
                }
            }
        }
    }
}

/// Runs a pass with the best instruction set of this machine.
pub(super) fn run(pass: impl WithSimd<Output = ()>) {
    Arch::new().dispatch(pass);
}

/// Where the positions of a tile lie.
struct Offsets<const N: usize> {
    rows: [Option<usize>; N],
    columns: [Option<usize>; N],
}

impl<const N: usize> Offsets<N> {
    /// Where position `(i, j)` begins; `None` outside.
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> Option<usize> {
        match (self.rows[i], self.columns[j]) {
            (Some(row), Some(column)) => Some(row + column),
            _ => None,
        }
    }

    /// Reads channels from `first` on of all positions; outside there are zeros.
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, from: &[f32], first: usize) -> [[Lanes<S>; N]; N] {
        let mut tile = [[Lanes::zero(simd); N]; N];
        for i in 0..N {
            for j in 0..N {
                if let Some(at) = self.at(i, j) {
                    tile[i][j] = Lanes::load(simd, &from[at + first..]);
                }
            }
        }
        tile
    }
}

/// Channels that are handled at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The first of them.
    pub(super) first: usize,
    /// How many of them the group before has handled already.
    pub(super) done: usize,
}

/// Cuts channels, at least as many as a register has, into groups that fill a register; the last
/// two may overlap.
#[inline(always)]
pub(super) fn groups<S: Simd>(channels: usize) -> impl Iterator<Item = Group> {
    let starts = (0..channels).step_by(S::F32_LANES);
    starts.map(move |start| {
        let first = start.min(channels - S::F32_LANES);
        let done = start - first;
        Group { first, done }
    })
}

/// Reads each slab, `slab` elements apart, at the same place.
#[inline(always)]
pub(super) fn load<S: Simd>(
    simd: S,
    from: &[f32],
    slab: usize,
    at: usize,
) -> [[Lanes<S>; INPUTS]; INPUTS] {
    let mut tile = [[Lanes::zero(simd); INPUTS]; INPUTS];
    for i in 0..INPUTS {
        for j in 0..INPUTS {
            tile[i][j] = Lanes::load(simd, &from[(i * INPUTS + j) * slab + at..]);
        }
    }
    tile
}

/// Writes each slab at the same place.
#[inline(always)]
pub(super) fn store<S: Simd>(tile: [[Lanes<S>; INPUTS]; INPUTS], to: &mut SlabsMut<'_>, at: usize) {
    for i in 0..INPUTS {
        for j in 0..INPUTS {
            tile[i][j].store(&mut to[i * INPUTS + j][at..]);
        }
    }
}
