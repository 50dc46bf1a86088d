//! Transposition of each example on the CPU, in square tiles so that both sides stay in cache.

use rayon::prelude::*;

const TILE: usize = 16;

/// Transposes each `rows × columns` example of `x` into `columns × rows`.
pub(super) fn transpose(rows: usize, columns: usize, x: &[f32], out: &mut [f32]) {
    let example = rows * columns;
    let examples = out
        .par_chunks_exact_mut(example)
        .zip(x.par_chunks_exact(example));
    examples.for_each(|(out, x)| {
        for r0 in (0..rows).step_by(TILE) {
            for c0 in (0..columns).step_by(TILE) {
                for c in c0..columns.min(c0 + TILE) {
                    for r in r0..rows.min(r0 + TILE) {
                        out[c * rows + r] = x[r * columns + c];
                    }
                }
            }
        }
    });
}
