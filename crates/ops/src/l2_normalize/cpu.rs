//! Projection onto the unit sphere on the CPU, one row per task.
//!
//! A row is a few hundred numbers, so it is computed in double precision: squares of single
//! precision numbers neither overflow nor vanish there, which spares a scaling pass.

use rayon::prelude::*;

/// Rows of a task: single rows are too little work.
const ROWS: usize = 16;

/// `out = x / |x|` for each row of `c` elements; a zero row gives zeros.
pub(super) fn forward(c: usize, x: &[f32], out: &mut [f32]) {
    let rows = out.par_chunks_exact_mut(c).zip(x.par_chunks_exact(c));
    rows.with_min_len(ROWS).for_each(|(out, x)| {
        let length = dot(x, x).sqrt();
        let length = if length == 0.0 { 1.0 } else { length };
        for (out, &x) in out.iter_mut().zip(x) {
            *out = (f64::from(x) / length) as f32;
        }
    });
}

/// `out = (g − y ⟨y, g⟩) / |x|` for each row of `c` elements, saturated; rows shorter than the
/// smallest normal number give zeros.
pub(super) fn backward(c: usize, x: &[f32], g: &[f32], out: &mut [f32]) {
    const MAX: f64 = f32::MAX as f64;
    let inputs = x.par_chunks_exact(c).zip(g.par_chunks_exact(c));
    let rows = out.par_chunks_exact_mut(c).zip(inputs);
    rows.with_min_len(ROWS).for_each(|(out, (x, g))| {
        let length = dot(x, x).sqrt();
        if length < f64::from(f32::MIN_POSITIVE) {
            out.fill(0.0);
            return;
        }
        let along = dot(x, g) / length;
        for ((out, &x), &g) in out.iter_mut().zip(x).zip(g) {
            let grad = (f64::from(g) - f64::from(x) / length * along) / length;
            *out = grad.clamp(-MAX, MAX) as f32;
        }
    });
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum()
}
