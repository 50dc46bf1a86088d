//! Nearest ×2 upsampling in double precision.

use crate::Dims;

pub(super) fn forward(from: Dims, to: Dims, x: &[f64], out: &mut [f64]) {
    each(from, to, |i, o| out[o] = x[i]);
}

pub(super) fn backward(from: Dims, to: Dims, g: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    each(from, to, |i, o| out[i] += g[o]);
}

/// Calls `f` with the input index and the output index of every element of the output.
fn each(from: Dims, to: Dims, mut f: impl FnMut(usize, usize)) {
    for n in 0..to.n {
        for y in 0..to.h {
            for x in 0..to.w {
                for c in 0..to.c {
                    let i = ((n * from.h + y / 2) * from.w + x / 2) * from.c + c;
                    f(i, ((n * to.h + y) * to.w + x) * to.c + c);
                }
            }
        }
    }
}
