//! Concatenation on the CPU: tasks of whole positions.

use crate::Dims;
use rayon::prelude::*;

/// Positions of one task.
const PIECE: usize = 256;

/// Writes the channels of all `inputs` one after the other; `channels` is their number together.
pub(super) fn forward(dims: &[Dims], channels: usize, inputs: &[&[f32]], out: &mut [f32]) {
    let pieces = out.par_chunks_mut(PIECE * channels).enumerate();
    pieces.for_each(|(piece, out)| {
        let mut first = 0;
        for (dims, x) in dims.iter().zip(inputs) {
            let c = dims.c;
            let x = x[piece * PIECE * c..].chunks_exact(c);
            for (out, x) in out.chunks_exact_mut(channels).zip(x) {
                out[first..first + c].copy_from_slice(x);
            }
            first += c;
        }
    });
}

/// Takes the `c` channels from `first` on out of `channels`.
pub(super) fn backward(first: usize, c: usize, channels: usize, g: &[f32], out: &mut [f32]) {
    let pieces = out
        .par_chunks_mut(PIECE * c)
        .zip(g.par_chunks(PIECE * channels));
    pieces.for_each(|(out, g)| {
        for (out, g) in out.chunks_exact_mut(c).zip(g.chunks_exact(channels)) {
            out.copy_from_slice(&g[first..first + c]);
        }
    });
}
