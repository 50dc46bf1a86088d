//! The orders in which kernels read weights. PyTorch's is `[out][in][ky][kx]`.

use super::geometry::Geometry;
use rayon::prelude::*;

/// Output channels handled together: one cache line.
const LINE: usize = 16;

/// `[ky][kx][in][out]`.
pub(super) fn pack(g: &Geometry, weight: &[f32], packed: &mut [f32]) {
    let (ci, co, area) = (g.input.c, g.output.c, g.kernel * g.kernel);
    let taps = packed.par_chunks_exact_mut(ci * co);
    taps.enumerate().for_each(|(tap, packed)| {
        for first in (0..co).step_by(LINE) {
            let line = first..co.min(first + LINE);
            for (i, row) in packed.chunks_exact_mut(co).enumerate() {
                for (p, o) in row[line.clone()].iter_mut().zip(line.clone()) {
                    *p = weight[(o * ci + i) * area + tap];
                }
            }
        }
    });
}

/// `[ky][kx][out][in]` of the kernel turned by 180°.
pub(super) fn pack_turned(g: &Geometry, weight: &[f32], packed: &mut [f32]) {
    let (ci, co, area) = (g.input.c, g.output.c, g.kernel * g.kernel);
    let taps = packed.par_chunks_exact_mut(ci * co);
    taps.enumerate().for_each(|(turned, packed)| {
        let from = weight.iter().skip(area - 1 - turned).step_by(area);
        packed.iter_mut().zip(from).for_each(|(p, w)| *p = *w);
    });
}

/// Adds a gradient in the order of [`pack_turned`] to `grad`.
pub(super) fn add_turned(g: &Geometry, turned: &[f32], grad: &mut [f32]) {
    let (ci, co, area) = (g.input.c, g.output.c, g.kernel * g.kernel);
    for (tap, from) in turned.chunks_exact(ci * co).rev().enumerate() {
        let to = grad.iter_mut().skip(tap).step_by(area);
        to.zip(from).for_each(|(to, from)| *to += from);
    }
}

/// `[out][ky][kx][in]`.
pub(super) fn pack_rows(g: &Geometry, weight: &[f32], packed: &mut [f32]) {
    let (ci, area) = (g.input.c, g.kernel * g.kernel);
    let rows = packed.par_chunks_exact_mut(area * ci);
    rows.zip(weight.par_chunks_exact(area * ci))
        .for_each(|(packed, weight)| {
            for (tap, packed) in packed.chunks_exact_mut(ci).enumerate() {
                let from = weight[tap..].iter().step_by(area);
                packed.iter_mut().zip(from).for_each(|(p, w)| *p = *w);
            }
        });
}

/// Adds the sum of all partial gradients, each `[ky][kx][in][out]`, first to last, to `grad`.
pub(super) fn add_partials(g: &Geometry, partials: &[f32], grad: &mut [f32]) {
    let (ci, co, area) = (g.input.c, g.output.c, g.kernel * g.kernel);
    let lines = grad.par_chunks_mut(LINE * ci * area);
    lines.enumerate().for_each(|(index, grad)| {
        let first = index * LINE;
        let count = grad.len() / (ci * area);
        for (tap, i) in (0..area).flat_map(|tap| (0..ci).map(move |i| (tap, i))) {
            let mut sum = [0.0f32; LINE];
            for partial in partials.chunks_exact(g.weights()) {
                let row = &partial[(tap * ci + i) * co + first..][..count];
                sum.iter_mut().zip(row).for_each(|(s, r)| *s += r);
            }
            for (o, s) in sum[..count].iter().enumerate() {
                grad[(o * ci + i) * area + tap] += s;
            }
        }
    });
}
