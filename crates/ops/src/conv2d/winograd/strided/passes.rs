//! Between activations and the slabs of transformed tiles.

use super::super::tiles::{Outputs, Sums, Tiles, groups};
use super::super::transform::{Sink, Source, both, zeros};
use super::maps::{INPUTS, Input, InputAdjoint, Output, OutputAdjoint, POINTS, SLABS};
use super::slabs::{Side, SlabsMut, place};
use crate::conv2d::lanes::Lanes;
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Transforms the inputs of some tiles.
pub(super) struct TransformInput<'a, 'b> {
    pub(super) tiles: &'a Tiles,
    pub(super) range: Range<usize>,
    pub(super) side: Side,
    pub(super) from: &'a [f32],
    pub(super) to: &'a mut SlabsMut<'b>,
}

impl WithSimd for TransformInput<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let c = self.tiles.geometry.input.c;
        let mut between = zeros(simd);
        for (tile, index) in self.range.enumerate() {
            let offsets = self.tiles.inputs::<INPUTS>(index, 0);
            let next = self.tiles.inputs::<INPUTS>(index + 1, 0);
            for group in groups::<S>(c) {
                next.prefetch(self.from, group.first);
                let from = offsets.channels(self.from, group.first);
                let mut to = InputSlabs {
                    side: self.side,
                    tile,
                    first: group.first,
                    to: &mut *self.to,
                };
                both::<Input, S, _, _>(simd, &mut between, &from, &mut to);
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
        let mut between = zeros(simd);
        for (tile, index) in self.range.enumerate() {
            let offsets = self.tiles.outputs(index, 0);
            let next = self.tiles.outputs(index + 1, 0);
            for group in groups::<S>(c) {
                next.prefetch(self.from, group.first);
                let from = offsets.channels(self.from, group.first);
                let mut to = OutputSlabs {
                    at: tile * c + group.first,
                    to: &mut *self.to,
                };
                both::<OutputAdjoint, S, _, _>(simd, &mut between, &from, &mut to);
            }
        }
    }
}

/// Turns products into the outputs of some tiles.
pub(super) struct FinishOutput<'a> {
    pub(super) tiles: &'a Tiles,
    pub(super) range: Range<usize>,
    pub(super) from: [&'a [f32]; SLABS],
    /// The tile that `from` begins with.
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
        for index in self.range {
            let offsets = self.tiles.outputs(index, self.first_row);
            let next = self.tiles.outputs(index + 1, self.first_row);
            for group in groups::<S>(c) {
                next.prefetch(self.to, group.first);
                let from = Products {
                    at: (index - self.first_tile) * c + group.first,
                    from: &self.from,
                };
                let mut to = Outputs {
                    offsets: &offsets,
                    first: group.first,
                    bias: match self.bias {
                        Some(bias) => Lanes::load(simd, &bias[group.first..]),
                        None => Lanes::zero(simd),
                    },
                    to: self.to,
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
    pub(super) side: Side,
    pub(super) from: [&'a [f32]; SLABS],
    /// The tile that `from` begins with.
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
        for index in self.range {
            let offsets = self.tiles.inputs::<INPUTS>(index, self.first_example);
            let next = self.tiles.inputs::<INPUTS>(index + 1, self.first_example);
            let shared = self.tiles.shared::<INPUTS>(index);
            for group in groups::<S>(c) {
                next.prefetch(self.to, group.first);
                let from = InputProducts {
                    side: self.side,
                    tile: index - self.first_tile,
                    first: group.first,
                    from: &self.from,
                };
                let mut to = Sums {
                    offsets: &offsets,
                    group,
                    fresh: Lanes::ones_after(simd, group.done),
                    shared,
                    to: self.to,
                };
                both::<InputAdjoint, S, _, _>(simd, &mut between, &from, &mut to);
            }
        }
    }
}

/// The transformed inputs of a tile, to be written.
struct InputSlabs<'a, 'b> {
    side: Side,
    tile: usize,
    first: usize,
    to: &'a mut SlabsMut<'b>,
}

impl<S: Simd> Sink<S> for InputSlabs<'_, '_> {
    #[inline(always)]
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>) {
        let (slab, block) = place(i, j);
        let at = self.tile * self.side.columns(slab) + block * self.side.channels + self.first;
        value.store(&mut self.to[slab][at..]);
    }
}

/// The same, to be read.
struct InputProducts<'a> {
    side: Side,
    tile: usize,
    first: usize,
    from: &'a [&'a [f32]; SLABS],
}

impl<S: Simd> Source<S> for InputProducts<'_> {
    #[inline(always)]
    fn read(&self, simd: S, i: usize, j: usize) -> Lanes<S> {
        let (slab, block) = place(i, j);
        let at = self.tile * self.side.columns(slab) + block * self.side.channels + self.first;
        Lanes::load(simd, &self.from[slab][at..])
    }
}

/// The same place of all output slabs, to be written.
struct OutputSlabs<'a, 'b> {
    at: usize,
    to: &'a mut SlabsMut<'b>,
}

impl<S: Simd> Sink<S> for OutputSlabs<'_, '_> {
    #[inline(always)]
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>) {
        value.store(&mut self.to[i * POINTS + j][self.at..]);
    }
}

/// The same, to be read.
struct Products<'a> {
    at: usize,
    from: &'a [&'a [f32]; SLABS],
}

impl<S: Simd> Source<S> for Products<'_> {
    #[inline(always)]
    fn read(&self, simd: S, i: usize, j: usize) -> Lanes<S> {
        Lanes::load(simd, &self.from[i * POINTS + j][self.at..])
    }
}
