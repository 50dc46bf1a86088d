//! Layer normalisation in double precision.

use super::EPSILON;

/// The normalised channels of a position, and what they were divided by.
fn normalized(x: &[f64]) -> (Vec<f64>, f64) {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let deviation = (variance + EPSILON).sqrt();
    (
        x.iter().map(|x| (x - mean) / deviation).collect(),
        deviation,
    )
}

pub(super) fn forward(x: &[f64], params: &[&[f64]], out: &mut [f64]) {
    let c = params[0].len();
    for row in 0..x.len() / c {
        let (y, _) = normalized(&x[row * c..(row + 1) * c]);
        for k in 0..c {
            out[row * c + k] = y[k] * params[0][k] + params[1][k];
        }
    }
}

pub(super) fn backward(
    x: &[f64],
    weight: &[f64],
    dy: &[f64],
    mut dx: Option<&mut [f64]>,
    mut params: Option<&mut [&mut [f64]]>,
) {
    let c = weight.len();
    for row in 0..x.len() / c {
        let (y, deviation) = normalized(&x[row * c..(row + 1) * c]);
        let dy = &dy[row * c..(row + 1) * c];
        let g: Vec<f64> = (0..c).map(|k| dy[k] * weight[k]).collect();
        let mean = g.iter().sum::<f64>() / c as f64;
        let along = g.iter().zip(&y).map(|(g, y)| g * y).sum::<f64>() / c as f64;
        for k in 0..c {
            if let Some(dx) = dx.as_deref_mut() {
                dx[row * c + k] = (g[k] - mean - y[k] * along) / deviation;
            }
            if let Some(params) = params.as_deref_mut() {
                params[0][k] += dy[k] * y[k];
                params[1][k] += dy[k];
            }
        }
    }
}
