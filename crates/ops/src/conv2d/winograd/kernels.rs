//! Between weights and their 36 transformed matrices, packed as panels.

use super::super::geometry::Geometry;
use super::super::lanes::{Lanes, MOST_LANES};
use super::tiles::{Products, Slabs, SlabsMut, run};
use super::transform::{Kernel, KernelAdjoint, PRODUCTS, Sink, Source, TAPS, both, zeros};
use crate::panels::{padded, panels};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::array::from_fn;
use std::ops::Range;

/// Rows of the transformed matrices that one task computes.
const ROWS: usize = 16;
/// Elements of one kernel.
const AREA: usize = TAPS * TAPS;

/// Which channels count the rows of a transformed matrix; the other ones count its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// For outputs.
    InOut,
    /// For input gradients.
    OutIn,
}

impl Order {
    /// Rows of a transformed matrix.
    pub(super) const fn rows(self, g: &Geometry) -> usize {
        match self {
            Self::InOut => g.input.c,
            Self::OutIn => g.output.c,
        }
    }

    /// Its columns that hold anything.
    const fn columns(self, g: &Geometry) -> usize {
        match self {
            Self::InOut => g.output.c,
            Self::OutIn => g.input.c,
        }
    }

    /// Elements of the weights between neighbouring rows and columns.
    const fn steps(self, g: &Geometry) -> (usize, usize) {
        match self {
            Self::InOut => (AREA, g.fan_in()),
            Self::OutIn => (g.fan_in(), AREA),
        }
    }
}

/// Cuts a buffer into 36 slabs of `len` elements each, `gap` elements apart.
pub(super) fn slabs(buffer: &mut [f32], len: usize, gap: usize) -> SlabsMut<'_> {
    let mut slabs = buffer.chunks_exact_mut(len + gap);
    from_fn(|_| &mut slabs.next().unwrap_or_default()[..len])
}

/// Blocks of `len` elements of all slabs side by side, one after the other.
pub(super) fn blocks(slabs: SlabsMut<'_>, len: usize) -> impl Iterator<Item = SlabsMut<'_>> {
    let mut rest = slabs.map(|slab| slab.chunks_mut(len));
    std::iter::from_fn(move || {
        let first = rest[0].next()?;
        let mut block = [const { None }; PRODUCTS];
        block[0] = Some(first);
        for (block, rest) in block.iter_mut().zip(&mut rest).skip(1) {
            *block = rest.next();
        }
        Some(block.map(Option::unwrap_or_default))
    })
}

/// Transforms all weights; returns the part of `transformed` that holds them.
pub(super) fn transform<'a>(
    g: &Geometry,
    weight: &[f32],
    order: Order,
    transformed: &'a mut [f32],
) -> &'a [f32] {
    let (rows, columns) = (order.rows(g), padded(order.columns(g)));
    let transformed = &mut transformed[..PRODUCTS * rows * columns];
    let mut rest = slabs(transformed, rows * columns, 0);
    let tasks = panels(columns).flat_map(|panel| {
        let width = panel.len();
        let cut = std::mem::replace(&mut rest, from_fn(|_| Default::default()));
        let cut = cut.map(|slab| slab.split_at_mut(rows * width));
        let mut heads: SlabsMut<'_> = from_fn(|_| Default::default());
        for (i, (head, tail)) in cut.into_iter().enumerate() {
            (heads[i], rest[i]) = (head, tail);
        }
        let pieces = blocks(heads, ROWS * width).enumerate();
        pieces.map(move |(index, to)| (panel.clone(), index * ROWS, to))
    });
    tasks.par_bridge().for_each(|(panel, first, mut to)| {
        let rows = first..first + to[0].len() / panel.len();
        run(TransformKernels::new(
            g, weight, order, panel, rows, &mut to,
        ));
    });
    transformed
}

/// Transforms some rows of the weights of one panel: `[36][row][32]`.
pub(super) fn transform_panel(
    g: &Geometry,
    weight: &[f32],
    order: Order,
    panel: usize,
    rows: Range<usize>,
    to: &mut [f32],
) {
    let panel = panels(order.columns(g)).nth(panel).unwrap_or_default();
    let mut to = slabs(to, rows.len() * panel.len(), 0);
    run(TransformKernels::new(
        g, weight, order, panel, rows, &mut to,
    ));
}

/// Kernels of a register of channels, tap by tap.
struct Taps<'a>(&'a [[f32; MOST_LANES]; AREA]);

impl<S: Simd> Source<S> for Taps<'_> {
    #[inline(always)]
    fn read(&self, simd: S, i: usize, j: usize) -> Lanes<S> {
        Lanes::load(simd, &self.0[i * TAPS + j])
    }
}

/// The same, to be written.
struct TapsMut<'a>(&'a mut [[f32; MOST_LANES]; AREA]);

impl<S: Simd> Sink<S> for TapsMut<'_> {
    #[inline(always)]
    fn write(&mut self, i: usize, j: usize, value: Lanes<S>) {
        value.store(&mut self.0[i * TAPS + j]);
    }
}

/// Transforms the kernels of some rows and of the columns of one panel.
struct TransformKernels<'a, 'b> {
    /// Begins with the kernel of the first row and column.
    weight: &'a [f32],
    rows: usize,
    /// Columns that hold kernels.
    columns: usize,
    /// Columns of the panel.
    width: usize,
    steps: (usize, usize),
    to: &'a mut SlabsMut<'b>,
}

impl<'a, 'b> TransformKernels<'a, 'b> {
    fn new(
        g: &Geometry,
        weight: &'a [f32],
        order: Order,
        panel: Range<usize>,
        rows: Range<usize>,
        to: &'a mut SlabsMut<'b>,
    ) -> Self {
        let steps = order.steps(g);
        Self {
            weight: &weight[rows.start * steps.0 + panel.start * steps.1..],
            rows: rows.len(),
            columns: panel.len().min(order.columns(g) - panel.start),
            width: panel.len(),
            steps,
            to,
        }
    }
}

impl WithSimd for TransformKernels<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (row_step, column_step) = self.steps;
        let mut between = zeros(simd);
        for column in (0..self.width).step_by(S::F32_LANES) {
            let lanes = S::F32_LANES.min(self.columns.saturating_sub(column));
            let mut taps = [[0.0; MOST_LANES]; AREA];
            for row in 0..self.rows {
                let first = row * row_step + column * column_step;
                for lane in 0..lanes {
                    let kernel = &self.weight[first + lane * column_step..][..AREA];
                    for (tap, w) in taps.iter_mut().zip(kernel) {
                        tap[lane] = *w;
                    }
                }
                let at = row * self.width + column;
                both::<Kernel, S, _, _>(
                    simd,
                    &mut between,
                    &Taps(&taps),
                    &mut Slabs { to: self.to, at },
                );
            }
        }
    }
}

/// Adds the gradients of weights whose transformed gradients are `[36][in][out, padded]`.
pub(super) fn add_gradient(g: &Geometry, transformed: &[f32], weight_grad: &mut [f32]) {
    let columns = padded(g.output.c);
    let tasks = weight_grad.par_chunks_mut(MOST_LANES * g.fan_in());
    tasks.enumerate().for_each(|(block, to)| {
        run(AddGradient {
            geometry: g,
            from: &transformed[block * MOST_LANES..],
            slab: g.input.c * columns,
            row: columns,
            inputs: 0..g.input.c,
            to,
        });
    });
}

/// The same for 32 output channels and some input channels: `[36][in][32]`, `slab` elements apart.
pub(super) fn add_panel_gradient(
    g: &Geometry,
    transformed: &[f32],
    slab: usize,
    inputs: Range<usize>,
    weight_grad: &mut [f32],
) {
    let tasks = weight_grad.chunks_mut(MOST_LANES * g.fan_in());
    tasks.enumerate().for_each(|(block, to)| {
        run(AddGradient {
            geometry: g,
            from: &transformed[block * MOST_LANES..],
            slab,
            row: crate::panels::WIDTH,
            inputs: inputs.clone(),
            to,
        });
    });
}

/// Adds the gradients of the kernels of some output channels.
struct AddGradient<'a> {
    geometry: &'a Geometry,
    /// Begins with the first input and output channel.
    from: &'a [f32],
    slab: usize,
    /// Elements between neighbouring input channels.
    row: usize,
    inputs: Range<usize>,
    /// Kernels of all input channels of at most [`MOST_LANES`] output channels.
    to: &'a mut [f32],
}

impl WithSimd for AddGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let fan_in = self.geometry.fan_in();
        let mut between = zeros(simd);
        let mut taps = [[0.0; MOST_LANES]; AREA];
        for (row, i) in self.inputs.enumerate() {
            for (index, to) in self.to.chunks_mut(S::F32_LANES * fan_in).enumerate() {
                let at = row * self.row + index * S::F32_LANES;
                let from = Products {
                    from: self.from,
                    slab: self.slab,
                    at,
                };
                both::<KernelAdjoint, S, _, _>(simd, &mut between, &from, &mut TapsMut(&mut taps));
                for (lane, to) in to.chunks_exact_mut(fan_in).enumerate() {
                    for (to, tap) in to[i * AREA..][..AREA].iter_mut().zip(&taps) {
                        *to += tap[lane];
                    }
                }
            }
        }
    }
}
