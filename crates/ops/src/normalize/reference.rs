//! Fixed normalisation in double precision.

pub(super) fn forward(mean: &[f32], std: &[f32], x: &[f64], out: &mut [f64]) {
    for i in 0..x.len() {
        let c = i % mean.len();
        out[i] = (x[i] - f64::from(mean[c])) / f64::from(std[c]);
    }
}

pub(super) fn backward(std: &[f32], g: &[f64], out: &mut [f64]) {
    for i in 0..g.len() {
        out[i] = g[i] / f64::from(std[i % std.len()]);
    }
}
