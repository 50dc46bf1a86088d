//! Nearest ×2 upsampling on the CPU, one row per task.

use crate::Dims;
use rayon::prelude::*;

/// `out[i, j] = x[i / 2, j / 2]`.
pub(super) fn forward(from: Dims, to: Dims, x: &[f32], out: &mut [f32]) {
    let c = from.c;
    let rows = out.par_chunks_exact_mut(to.w * c).enumerate();
    rows.for_each(|(r, row)| {
        let source = (r / to.h * from.h + r % to.h / 2) * from.w * c;
        let source = x[source..].chunks_exact(c);
        for (pair, pixel) in row.chunks_mut(2 * c).zip(source) {
            for half in pair.chunks_exact_mut(c) {
                half.copy_from_slice(pixel);
            }
        }
    });
}

/// Every input position collects the gradients of its (up to four) copies.
pub(super) fn backward(from: Dims, to: Dims, g: &[f32], out: &mut [f32]) {
    let c = from.c;
    let rows = out.par_chunks_exact_mut(from.w * c).enumerate();
    rows.for_each(|(r, row)| {
        let (example, i) = (r / from.h, r % from.h);
        row.fill(0.0);
        for copy in 2 * i..to.h.min(2 * i + 2) {
            let copy = (example * to.h + copy) * to.w * c;
            let copy = g[copy..copy + to.w * c].chunks(2 * c);
            for (sum, pair) in row.chunks_exact_mut(c).zip(copy) {
                for half in pair.chunks_exact(c) {
                    for (sum, g) in sum.iter_mut().zip(half) {
                        *sum += g;
                    }
                }
            }
        }
    });
}
