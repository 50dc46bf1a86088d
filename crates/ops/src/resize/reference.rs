//! Bilinear resizing in double precision: a weighted sum of four elements.

use crate::Dims;

pub(super) fn forward(from: Dims, to: Dims, x: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    each(from, to, |i, o, weight| out[o] += weight * x[i]);
}

pub(super) fn backward(from: Dims, to: Dims, g: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    each(from, to, |i, o, weight| out[i] += weight * g[o]);
}

/// Calls `f` with input index, output index and weight of every term.
fn each(from: Dims, to: Dims, mut f: impl FnMut(usize, usize, f64)) {
    for n in 0..to.n {
        for y in 0..to.h {
            for x in 0..to.w {
                for (i, wi) in taps(from.h, to.h, y) {
                    for (j, wj) in taps(from.w, to.w, x) {
                        for c in 0..to.c {
                            let source = ((n * from.h + i) * from.w + j) * from.c + c;
                            f(source, ((n * to.h + y) * to.w + x) * to.c + c, wi * wj);
                        }
                    }
                }
            }
        }
    }
}

/// Input elements and weights of output element `o`.
fn taps(from: usize, to: usize, o: usize) -> [(usize, f64); 2] {
    let at = ((o as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
    let low = at.floor();
    let high = (low + 1.0).min(from as f64 - 1.0);
    [(low as usize, 1.0 - (at - low)), (high as usize, at - low)]
}
