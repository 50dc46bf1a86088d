//! Addition on the CPU.

use crate::elementwise;

/// `out = a + b`.
pub(super) fn forward(a: &[f32], b: &[f32], out: &mut [f32]) {
    elementwise::zip_map(a, b, out, |a, b| a + b);
}

/// The gradient of either input is the gradient of the output.
pub(super) fn backward(g: &[f32], out: &mut [f32]) {
    elementwise::copy(g, out);
}
