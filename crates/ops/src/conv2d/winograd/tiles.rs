//! Between activations and transformed tiles.
//!
//! Transformed tiles lie in 36 slabs, one for each product of a tile; a slab is a matrix with a row
//! per tile and a column per channel. Loops run over a register of channels at once and are compiled
//! for several instruction sets, the best of which is chosen at run time.

use super::super::geometry::{Geometry, Padding};
use super::super::lanes::{Lanes, MOST_LANES};
use super::Layout;
use super::transform::{
    INPUTS, Input, InputAdjoint, OUTPUTS, Output, OutputAdjoint, PRODUCTS, Sink, Source, TAPS,
    both, zeros,
};
use crate::panels::padded;
use crate::prefetch::prefetch;
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
    pub(super) fn inputs<const N: usize>(&self, tile: usize, first_example: usize) -> Offsets<N> {
        let g = &self.geometry;
        let (example, y, x) = self.corner(tile);
        let row = |row| ((example - first_example) * g.input.h + row) * g.input.w * g.input.c;
        Offsets {
            rows: from_fn(|i| g.input_row(y, i).map(row)),
            columns: from_fn(|i| g.input_column(x, i).map(|column| column * g.input.c)),
        }
    }

    /// Rows and columns at the beginning of a tile's inputs that tiles before it look at as well.
    /// Reflections may come back to any input.
    pub(super) const fn shared<const N: usize>(&self, tile: usize) -> [usize; 2] {
        let overlap = N - OUTPUTS * self.geometry.stride;
        if let Padding::Reflect(_) = self.geometry.padding {
            return [N; 2];
        }
        let (_, y, x) = self.corner(tile);
        [
            if y > 0 { overlap } else { 0 },
            if x > 0 { overlap } else { 0 },
        ]
    }

    /// First output row of a strip (row of tiles), both counted through the batch.
    pub(super) const fn first_row(&self, strip: usize) -> usize {
        let (example, strip) = (strip / self.rows, strip % self.rows);
        example * self.geometry.output.h + strip * OUTPUTS
    }

    /// Blocks of `strips` rows of tiles with the outputs they cover, from strip `range.start` on.
    pub(super) fn output_blocks(
        self,
        range: Range<usize>,
        strips: usize,
        output: &mut [f32],
    ) -> impl Iterator<Item = (Range<usize>, &mut [f32])> {
        let width = self.geometry.output.w * self.geometry.output.c;
        let mut rest = output;
        range.clone().step_by(strips).map(move |start| {
            let end = range.end.min(start + strips);
            let rows = self.first_row(end) - self.first_row(start);
            let (block, after) = std::mem::take(&mut rest).split_at_mut(rows * width);
            rest = after;
            (start..end, block)
        })
    }

    /// Input gradients are sums where padding reflects, zero where no tile looks, and otherwise written
    /// before they are added to.
    pub(super) fn clear_for_sums(&self, input_grad: &mut [f32]) {
        let g = &self.geometry;
        let covered = |tiles: usize, extent: usize| {
            tiles * OUTPUTS * g.stride + TAPS - g.stride >= extent + g.padding.width()
        };
        let all = covered(self.rows, g.input.h) && covered(self.columns, g.input.w);
        if !all || matches!(g.padding, Padding::Reflect(_)) {
            input_grad.fill(0.0);
        }
    }

    /// Offsets of the outputs of a tile, of which some may lie outside. Rows are counted through the
    /// batch from `first_row`.
    pub(super) fn outputs(&self, tile: usize, first_row: usize) -> Offsets<OUTPUTS> {
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
        let mut between = zeros(simd);
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.inputs::<INPUTS>(tile, 0);
            let next = self.tiles.inputs::<INPUTS>(tile + 1, 0);
            for group in groups::<S>(c) {
                next.prefetch(self.from, group.first);
                let (from, at) = (
                    offsets.channels(self.from, group.first),
                    t * step + group.first,
                );
                both::<Input, S, _, _>(simd, &mut between, &from, &mut Slabs { to: self.to, at });
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
        let mut between = zeros(simd);
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.outputs(tile, 0);
            let next = self.tiles.outputs(tile + 1, 0);
            for group in groups::<S>(c) {
                next.prefetch(self.from, group.first);
                let (from, at) = (
                    offsets.channels(self.from, group.first),
                    t * step + group.first,
                );
                both::<OutputAdjoint, S, _, _>(
                    simd,
                    &mut between,
                    &from,
                    &mut Slabs { to: self.to, at },
                );
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
        let mut between = zeros(simd);
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.outputs(tile, self.first_row);
            let next = self.tiles.outputs(tile + 1, self.first_row);
            for group in groups::<S>(c) {
                next.prefetch(self.to, group.first);
                let at = self.layout.at(self.first_tile + t, group.first);
                let bias = match self.bias {
                    Some(bias) => Lanes::load(simd, &bias[group.first..]),
                    None => Lanes::zero(simd),
                };
                let mut to = Outputs {
                    offsets: &offsets,
                    first: group.first,
                    bias,
                    to: self.to,
                };
                let from = Products {
                    from: self.from,
                    slab: self.layout.slab,
                    at,
                };
                both::<Output, S, _, _>(simd, &mut between, &from, &mut to);
            }
        }
    }
}

/// Input gradients of the tiles of whole examples in order, by the adjoint of [`TransformInput`].
/// Where padding reflects they are added, elsewhere what `to` held is overwritten.
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
        let mut between = zeros(simd);
        for (t, tile) in self.range.enumerate() {
            let offsets = self.tiles.inputs::<INPUTS>(tile, self.first_example);
            let shared = self.tiles.shared::<INPUTS>(tile);
            let next = self.tiles.inputs::<INPUTS>(tile + 1, self.first_example);
            for group in groups::<S>(c) {
                next.prefetch(self.to, group.first);
                let at = self.layout.at(self.first_tile + t, group.first);
                let mut to = Sums {
                    offsets: &offsets,
                    group,
                    // What overlaps with the group before has been added already.
                    fresh: Lanes::ones_after(simd, group.done),
                    shared,
                    to: self.to,
                };
                let from = Products {
                    from: self.from,
                    slab: self.layout.slab,
                    at,
                };
                both::<InputAdjoint, S, _, _>(simd, &mut between, &from, &mut to);
            }
        }
    }
}

/// Runs a pass with the best instruction set of this machine.
pub(super) fn run(pass: impl WithSimd<Output = ()>) {
    Arch::new().dispatch(pass);
}

/// Where the positions of a tile lie.
pub(super) struct Offsets<const N: usize> {
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

    /// Asks for the channels from `first` on of all positions.
    #[inline(always)]
    pub(super) fn prefetch(&self, from: &[f32], first: usize) {
        for i in 0..N {
            for j in 0..N {
                if let Some(at) = self.at(i, j) {
                    prefetch(from, at + first);
                }
            }
        }
    }

    /// The channels from `first` on of all positions.
    #[inline(always)]
    pub(super) const fn channels<'a>(&'a self, from: &'a [f32], first: usize) -> Channels<'a, N> {
        Channels {
            offsets: self,
            from,
            first,
        }
    }
}

/// A register of channels of the positions of a tile; outside there are zeros.
pub(super) struct Channels<'a, const N: usize> {
    offsets: &'a Offsets<N>,
    from: &'a [f32],
    first: usize,
}

impl<S: Simd, const N: usize> Source<S> for Channels<'_, N> {
    #[inline(always)]
    fn read(&self, simd: S, i: usize, j: usize) -> Lanes<S> {
        match self.offsets.at(i, j) {
            Some(at) => Lanes::load(simd, &self.from[at + self.first..]),
            None => Lanes::zero(simd),
        }
    }
}

/// Outputs of a tile, of which some may lie outside.
pub(super) struct Outputs<'a, S: Simd> {
    pub(super) offsets: &'a Offsets<OUTPUTS>,
    pub(super) first: usize,
    pub(super) bias: Lanes<S>,
    pub(super) to: &'a mut [f32],
}

impl<S: Simd> Sink<S> for Outputs<'_, S> {
    #[inline(always)]
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>) {
        if let Some(at) = self.offsets.at(i, j) {
            (value + self.bias).store(&mut self.to[at + self.first..]);
        }
    }
}

/// Input gradients of a tile, which overlap with those of its neighbours.
pub(super) struct Sums<'a, S: Simd, const N: usize> {
    pub(super) offsets: &'a Offsets<N>,
    pub(super) group: Group,
    /// One for channels that belong to this register.
    pub(super) fresh: Lanes<S>,
    /// Rows and columns at the beginning of the tile that already hold something.
    pub(super) shared: [usize; 2],
    pub(super) to: &'a mut [f32],
}

impl<S: Simd, const N: usize> Sink<S> for Sums<'_, S, N> {
    #[inline(always)]
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>) {
        let Some(at) = self.offsets.at(i, j) else {
            return;
        };
        let (to, done) = (&mut self.to[at + self.group.first..], self.group.done);
        if i < self.shared[0] || j < self.shared[1] {
            (self.fresh.load_like(to) + value * self.fresh).store(to);
        } else if done == 0 {
            value.store(to);
        } else {
            let mut whole = [0.0; MOST_LANES];
            value.store(&mut whole);
            to[done..S::F32_LANES].copy_from_slice(&whole[done..S::F32_LANES]);
        }
    }
}

/// The same place of all slabs, `slab` elements apart.
pub(super) struct Products<'a> {
    pub(super) from: &'a [f32],
    pub(super) slab: usize,
    pub(super) at: usize,
}

impl<S: Simd> Source<S> for Products<'_> {
    #[inline(always)]
    fn read(&self, simd: S, i: usize, j: usize) -> Lanes<S> {
        Lanes::load(simd, &self.from[(i * INPUTS + j) * self.slab + self.at..])
    }
}

/// The same place of all slabs, to be written.
pub(super) struct Slabs<'a, 'b> {
    pub(super) to: &'a mut SlabsMut<'b>,
    pub(super) at: usize,
}

impl<S: Simd> Sink<S> for Slabs<'_, '_> {
    #[inline(always)]
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>) {
        value.store(&mut self.to[i * INPUTS + j][self.at..]);
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
