//! Fixed normalisation on the CPU: tasks of whole positions.

use rayon::prelude::*;

/// Elements of one task, roughly.
const PIECE: usize = 4096;

/// `out = (x − mean) / std` per channel.
pub(super) fn forward(mean: &[f32], std: &[f32], x: &[f32], out: &mut [f32]) {
    let c = mean.len();
    let piece = PIECE.div_ceil(c) * c;
    let pieces = out.par_chunks_mut(piece).zip(x.par_chunks(piece));
    pieces.for_each(|(out, x)| {
        for (out, x) in out.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
            for i in 0..c {
                out[i] = (x[i] - mean[i]) / std[i];
            }
        }
    });
}

/// `out = g / std` per channel.
pub(super) fn backward(std: &[f32], g: &[f32], out: &mut [f32]) {
    let c = std.len();
    let piece = PIECE.div_ceil(c) * c;
    let pieces = out.par_chunks_mut(piece).zip(g.par_chunks(piece));
    pieces.for_each(|(out, g)| {
        for (out, g) in out.chunks_exact_mut(c).zip(g.chunks_exact(c)) {
            for i in 0..c {
                out[i] = g[i] / std[i];
            }
        }
    });
}
