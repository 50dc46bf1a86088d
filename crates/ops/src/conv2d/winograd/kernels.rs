//! Between weights and their 36 transformed matrices.

use super::super::geometry::Geometry;
use super::tiles::{SlabsMut, groups, load, run, store};
use super::transform::{Kernel, KernelAdjoint, Lanes, MOST_LANES, PRODUCTS, TAPS, both};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;
use std::array::from_fn;

/// Rows of the transformed matrices that one task computes.
const ROWS: usize = 16;
/// Elements of one kernel.
const AREA: usize = TAPS * TAPS;

/// Which channels count the rows of a transformed matrix; the other ones count its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// `[36][in][out]`, for outputs.
    In,
    /// `[36][out][in]`, for input gradients.
    Out,
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

/// Transforms all weights.
pub(super) fn transform(g: &Geometry, weight: &[f32], rows: Rows, transformed: &mut [f32]) {
    let (ci, co) = (g.input.c, g.output.c);
    let (columns, row_step, column_step) = match rows {
        Rows::In => (co, AREA, ci * AREA),
        Rows::Out => (ci, ci * AREA, AREA),
    };
    let tasks = blocks(slabs(transformed, ci * co, 0), ROWS * columns);
    let tasks = tasks.enumerate().par_bridge();
    tasks.for_each(|(block, mut to)| {
        run(TransformKernels {
            weight: &weight[block * ROWS * row_step..],
            columns,
            row_step,
            column_step,
            to: &mut to,
        });
    });
}

/// Transforms the kernels of some rows, from wherever they lie.
struct TransformKernels<'a, 'b> {
    weight: &'a [f32],
    columns: usize,
    /// Distances between the kernels of neighbouring rows and columns.
    row_step: usize,
    column_step: usize,
    to: &'a mut SlabsMut<'b>,
}

impl WithSimd for TransformKernels<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut taps = [[0.0; MOST_LANES]; AREA];
        for group in groups::<S>(self.columns) {
            for row in 0..self.to[0].len() / self.columns {
                let first = row * self.row_step + group.first * self.column_step;
                for lane in 0..S::F32_LANES {
                    let kernel = &self.weight[first + lane * self.column_step..][..AREA];
                    for (tap, w) in taps.iter_mut().zip(kernel) {
                        tap[lane] = *w;
                    }
                }
                let mut g = [[Lanes::zero(simd); TAPS]; TAPS];
                for y in 0..TAPS {
                    for x in 0..TAPS {
                        g[y][x] = Lanes::load(simd, &taps[y * TAPS + x]);
                    }
                }
                let u = both::<Kernel, _, _, _>(g);
                store(u, self.to, row * self.columns + group.first);
            }
        }
    }
}

/// Adds the gradients of weights whose transformed gradients are `[36][in][out]`.
pub(super) fn add_gradient(g: &Geometry, transformed: &[f32], weight_grad: &mut [f32]) {
    let mut slabs = transformed.chunks_exact(g.input.c * g.output.c);
    let slabs: [&[f32]; PRODUCTS] = from_fn(|_| slabs.next().unwrap_or_default());
    let tasks = weight_grad.par_chunks_mut(MOST_LANES * g.input.c * AREA);
    tasks.enumerate().for_each(|(block, to)| {
        run(AddGradient {
            geometry: g,
            slabs: &slabs,
            first: block * MOST_LANES,
            to,
        });
    });
}

/// Adds the gradients of the kernels of some output channels.
struct AddGradient<'a> {
    geometry: &'a Geometry,
    slabs: &'a [&'a [f32]; PRODUCTS],
    /// First output channel of `to`.
    first: usize,
    to: &'a mut [f32],
}

impl WithSimd for AddGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (ci, co) = (self.geometry.input.c, self.geometry.output.c);
        let mut taps = [[0.0; MOST_LANES]; AREA];
        let end = self.first + self.to.len() / (ci * AREA);
        for start in (self.first..end).step_by(S::F32_LANES) {
            // The last group begins earlier, so that it fills a register.
            let first = start.min(co - S::F32_LANES);
            for i in 0..ci {
                let u = load(simd, self.slabs, i * co + first);
                let w = both::<KernelAdjoint, _, _, _>(u);
                for y in 0..TAPS {
                    for x in 0..TAPS {
                        w[y][x].store(&mut taps[y * TAPS + x]);
                    }
                }
                for o in start..end.min(start + S::F32_LANES) {
                    let to = &mut self.to[((o - self.first) * ci + i) * AREA..][..AREA];
                    for (to, tap) in to.iter_mut().zip(&taps) {
                        *to += tap[o - first];
                    }
                }
            }
        }
    }
}
