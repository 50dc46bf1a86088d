//! Rectifiers on the CPU. Comparisons are written so that not a number passes through.

use crate::elementwise;

/// `out = max(x, 0)`.
pub(super) fn relu(x: &[f32], out: &mut [f32]) {
    elementwise::map(x, out, |x| if x <= 0.0 { 0.0 } else { x });
}

/// `out = x > 0 ? x : slope · x`.
pub(super) fn leaky_relu(slope: f32, x: &[f32], out: &mut [f32]) {
    elementwise::map(x, out, |x| if x > 0.0 { x } else { slope * x });
}

/// `out = x ≤ 0 ? 0 : g`.
pub(super) fn relu_backward(x: &[f32], g: &[f32], out: &mut [f32]) {
    elementwise::zip_map(x, g, out, |x, g| if x <= 0.0 { 0.0 } else { g });
}

/// `out = x > 0 ? g : slope · g`.
pub(super) fn leaky_relu_backward(slope: f32, x: &[f32], g: &[f32], out: &mut [f32]) {
    elementwise::zip_map(x, g, out, |x, g| if x > 0.0 { g } else { slope * g });
}
