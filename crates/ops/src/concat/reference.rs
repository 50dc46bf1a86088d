//! Concatenation in double precision.

use crate::Dims;

pub(super) fn forward(dims: &[Dims], inputs: &[&[f64]], out: &mut [f64]) {
    each(dims, |input, i, o| out[o] = inputs[input][i]);
}

pub(super) fn backward(dims: &[Dims], g: &[f64], grads: &mut [Option<&mut [f64]>]) {
    each(dims, |input, i, o| {
        if let Some(grad) = grads[input].as_deref_mut() {
            grad[i] = g[o];
        }
    });
}

/// Calls `f` with the number of the input, the index in it and the index in the output.
fn each(dims: &[Dims], mut f: impl FnMut(usize, usize, usize)) {
    let channels: usize = dims.iter().map(|d| d.c).sum();
    for place in 0..dims[0].n * dims[0].area() {
        let mut first = 0;
        for (input, d) in dims.iter().enumerate() {
            for k in 0..d.c {
                f(input, place * d.c + k, place * channels + first + k);
            }
            first += d.c;
        }
    }
}
