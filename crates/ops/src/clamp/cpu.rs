//! Limiting on the CPU; not a number passes through.

use crate::elementwise;

/// `out = x` limited to `[min, max]`.
pub(super) fn forward(min: f32, max: f32, x: &[f32], out: &mut [f32]) {
    elementwise::map(x, out, |x| {
        let x = if x < min { min } else { x };
        if x > max { max } else { x }
    });
}

/// `out = g` where `min ≤ x ≤ max`, 0 elsewhere.
pub(super) fn backward(min: f32, max: f32, x: &[f32], g: &[f32], out: &mut [f32]) {
    let inside = move |x: f32| (x >= min) & (x <= max);
    elementwise::zip_map(x, g, out, |x, g| if inside(x) { g } else { 0.0 });
}
