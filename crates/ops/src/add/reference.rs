//! Addition in double precision.

pub(super) fn forward(a: &[f64], b: &[f64], out: &mut [f64]) {
    for i in 0..out.len() {
        out[i] = a[i] + b[i];
    }
}

pub(super) fn backward(g: &[f64], out: &mut [f64]) {
    out.copy_from_slice(g);
}
