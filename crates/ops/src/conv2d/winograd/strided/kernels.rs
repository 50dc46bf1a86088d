//! Between weights and their transformed matrices, packed as panels.

use super::VALUES;
use super::maps::{KernelAdjoint, SLABS, tap};
use super::slabs::{blocks, place, values};
use crate::conv2d::direct::pack::{Order, Slots, pack};
use crate::conv2d::geometry::Geometry;
use crate::conv2d::lanes::{Lanes, MOST_LANES};
use crate::conv2d::winograd::transform::{Sink, Source, TAPS, both, zeros};
use crate::panels::{padded, panels};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::array::from_fn;

/// Elements of one kernel.
const AREA: usize = TAPS * TAPS;

/// Blocks of the largest slab.
const MOST_BLOCKS: usize = 4;

/// Elements of the packed weights.
pub(super) const fn packed_len(g: &Geometry) -> usize {
    AREA * g.input.c * padded(g.output.c)
}

/// Elements of the largest matrix of a slab.
pub(super) const fn matrix_len(g: &Geometry) -> usize {
    MOST_BLOCKS * g.input.c * padded(g.output.c)
}

/// Elements of the sums of all slabs.
pub(super) const fn sums_len(g: &Geometry) -> usize {
    VALUES * g.input.c * padded(g.output.c)
}

/// Sums of all slabs.
pub(super) fn split<'a>(g: &Geometry, sums: &'a mut [f32]) -> [&'a mut [f32]; SLABS] {
    let mut rest = sums;
    from_fn(|slab| {
        let len = blocks(slab) * g.input.c * padded(g.output.c);
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(len);
        rest = tail;
        head
    })
}

/// Weights packed as panels, tap by tap, from which the matrix of any slab is soon made. All of them
/// together would be nine times as large.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weights<'a> {
    geometry: &'a Geometry,
    order: Order,
    packed: &'a [f32],
}

impl<'a> Weights<'a> {
    /// Packs weights into `packed`.
    pub(super) fn new(
        geometry: &'a Geometry,
        weight: &[f32],
        order: Order,
        packed: &'a mut [f32],
    ) -> Self {
        pack(geometry, weight, order, &Slots::all(geometry), packed);
        Self {
            geometry,
            order,
            packed,
        }
    }

    /// The matrix of a slab as panels: its blocks are rows (in [`Order::InOut`]) or columns (in
    /// [`Order::OutIn`]). Every panel of a block is a sum of at most four panels of taps.
    pub(super) fn matrix<'b>(&self, slab: usize, to: &'b mut [f32]) -> &'b [f32] {
        let g = self.geometry;
        let (rows, columns) = match self.order {
            Order::InOut => (g.input.c, g.output.c),
            Order::OutIn => (g.output.c, g.input.c),
        };
        for (block, (y, x)) in values(slab).enumerate() {
            let (down, across) = (tap(y), tap(x));
            let factors: [f32; AREA] = from_fn(|t| down[t / TAPS] * across[t % TAPS]);
            for panel in panels(columns) {
                let len = rows * panel.len();
                // Blocks follow each other in the rows of a panel, or panel after panel.
                let at = match self.order {
                    Order::InOut => panel.start * blocks(slab) * rows + block * len,
                    Order::OutIn => (block * columns + panel.start) * rows,
                };
                Arch::new().dispatch(Combine {
                    factors,
                    from: &self.packed[panel.start * AREA * rows..panel.end * AREA * rows],
                    to: &mut to[at..at + len],
                });
            }
        }
        &to[..blocks(slab) * g.input.c * padded(g.output.c)]
    }
}

/// `to = Σ factor · tap` over the taps whose factor is not zero; they follow each other in `from`.
struct Combine<'a> {
    factors: [f32; AREA],
    from: &'a [f32],
    to: &'a mut [f32],
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let len = self.to.len();
        let mut add = false;
        for (factor, from) in self.factors.into_iter().zip(self.from.chunks_exact(len)) {
            if factor == 0.0 {
                continue;
            }
            let factor = simd.splat_f32s(factor);
            let (to, _) = S::as_mut_simd_f32s(self.to);
            for (to, from) in to.iter_mut().zip(S::as_simd_f32s(from).0) {
                *to = match add {
                    true => simd.mul_add_e_f32s(factor, *from, *to),
                    false => simd.mul_f32s(factor, *from),
                };
            }
            add = true;
        }
    }
}

/// Adds the gradients of weights whose transformed gradients are `[blocks · in][out, padded]` for
/// each slab.
pub(super) fn add_gradient(g: &Geometry, sums: [&[f32]; SLABS], weight_grad: &mut [f32]) {
    let tasks = weight_grad.par_chunks_mut(MOST_LANES * g.fan_in());
    tasks.enumerate().for_each(|(block, to)| {
        Arch::new().dispatch(AddGradient {
            geometry: g,
            sums: &sums,
            first: block * MOST_LANES,
            to,
        });
    });
}

/// Adds the gradients of the kernels of some output channels.
struct AddGradient<'a> {
    geometry: &'a Geometry,
    sums: &'a [&'a [f32]; SLABS],
    first: usize,
    /// Kernels of all input channels of at most [`MOST_LANES`] output channels.
    to: &'a mut [f32],
}

impl WithSimd for AddGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (fan_in, inputs) = (self.geometry.fan_in(), self.geometry.input.c);
        let mut between = zeros(simd);
        let mut taps = [[0.0; MOST_LANES]; AREA];
        for input in 0..inputs {
            for (index, to) in self.to.chunks_mut(S::F32_LANES * fan_in).enumerate() {
                let from = Values {
                    sums: self.sums,
                    inputs,
                    input,
                    columns: padded(self.geometry.output.c),
                    first: self.first + index * S::F32_LANES,
                };
                both::<KernelAdjoint, S, _, _>(simd, &mut between, &from, &mut Taps(&mut taps));
                for (lane, to) in to.chunks_exact_mut(fan_in).enumerate() {
                    let to = &mut to[input * AREA..][..AREA];
                    for (to, tap) in to.iter_mut().zip(&taps) {
                        *to += tap[lane];
                    }
                }
            }
        }
    }
}

/// The transformed gradients of one input channel.
struct Values<'a> {
    sums: &'a [&'a [f32]; SLABS],
    inputs: usize,
    input: usize,
    columns: usize,
    first: usize,
}

impl<S: Simd> Source<S> for Values<'_> {
    #[inline(always)]
    fn read(&self, simd: S, i: usize, j: usize) -> Lanes<S> {
        let (slab, block) = place(i, j);
        let row = block * self.inputs + self.input;
        Lanes::load(simd, &self.sums[slab][row * self.columns + self.first..])
    }
}

/// Kernels of a register of channels, tap by tap.
struct Taps<'a>(&'a mut [[f32; MOST_LANES]; AREA]);

impl<S: Simd> Sink<S> for Taps<'_> {
    #[inline(always)]
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>) {
        value.store(&mut self.0[i * TAPS + j]);
    }
}
