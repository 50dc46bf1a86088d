//! Limiting in double precision.

pub(super) fn forward(min: f32, max: f32, x: &[f64], out: &mut [f64]) {
    for i in 0..x.len() {
        out[i] = x[i].max(f64::from(min)).min(f64::from(max));
    }
}

pub(super) fn backward(min: f32, max: f32, x: &[f64], g: &[f64], out: &mut [f64]) {
    for i in 0..x.len() {
        let inside = x[i] >= f64::from(min) && x[i] <= f64::from(max);
        out[i] = if inside { g[i] } else { 0.0 };
    }
}
