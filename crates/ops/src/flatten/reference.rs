//! Flattening in double precision.

use crate::Dims;

pub(super) fn forward(dims: Dims, x: &[f64], out: &mut [f64]) {
    each(dims, |nhwc, nchw| out[nchw] = x[nhwc]);
}

pub(super) fn backward(dims: Dims, g: &[f64], out: &mut [f64]) {
    each(dims, |nhwc, nchw| out[nhwc] = g[nchw]);
}

/// Calls `f` with both indices of every element.
fn each(Dims { n, h, w, c }: Dims, mut f: impl FnMut(usize, usize)) {
    for b in 0..n {
        for y in 0..h {
            for x in 0..w {
                for k in 0..c {
                    f(((b * h + y) * w + x) * c + k, ((b * c + k) * h + y) * w + x);
                }
            }
        }
    }
}
