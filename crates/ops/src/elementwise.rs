//! Element-wise kernels: fixed pieces of contiguous elements, computed in parallel.

use rayon::prelude::*;

/// Elements of one piece: large enough to hide the cost of a task, small enough for the first-level
/// cache.
const PIECE: usize = 4096;

/// `out[i] = f(x[i])`.
pub(crate) fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    let pieces = out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE));
    pieces.for_each(|(out, x)| {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = f(x);
        }
    });
}

/// `out[i] = f(a[i], b[i])`.
pub(crate) fn zip_map(a: &[f32], b: &[f32], out: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    let inputs = a.par_chunks(PIECE).zip(b.par_chunks(PIECE));
    let pieces = out.par_chunks_mut(PIECE).zip(inputs);
    pieces.for_each(|(out, (a, b))| {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = f(a, b);
        }
    });
}

/// `out[i] = x[i]`.
pub(crate) fn copy(x: &[f32], out: &mut [f32]) {
    let pieces = out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE));
    pieces.for_each(|(out, x)| out.copy_from_slice(x));
}
