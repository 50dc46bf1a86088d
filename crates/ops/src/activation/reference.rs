//! Rectifiers in double precision; slope 0 is ReLU.

pub(super) fn forward(slope: f64, x: &[f64], out: &mut [f64]) {
    for i in 0..x.len() {
        out[i] = if x[i] > 0.0 { x[i] } else { slope * x[i] };
    }
}

pub(super) fn backward(slope: f64, x: &[f64], g: &[f64], out: &mut [f64]) {
    for i in 0..x.len() {
        out[i] = if x[i] > 0.0 { g[i] } else { slope * g[i] };
    }
}
