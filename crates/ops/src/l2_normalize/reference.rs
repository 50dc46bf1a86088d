//! Projection onto the unit sphere in double precision.

pub(super) fn forward(c: usize, x: &[f64], out: &mut [f64]) {
    for row in 0..x.len() / c {
        let of = row * c..(row + 1) * c;
        let length = x[of.clone()].iter().map(|x| x * x).sum::<f64>().sqrt();
        for i in of {
            out[i] = if length == 0.0 { 0.0 } else { x[i] / length };
        }
    }
}

pub(super) fn backward(c: usize, x: &[f64], g: &[f64], out: &mut [f64]) {
    for row in 0..x.len() / c {
        let of = row * c..(row + 1) * c;
        let length = of.clone().map(|i| x[i] * x[i]).sum::<f64>().sqrt();
        let along = of.clone().map(|i| x[i] * g[i]).sum::<f64>() / length;
        for i in of {
            out[i] = if length < f64::from(f32::MIN_POSITIVE) {
                0.0
            } else {
                (g[i] - x[i] / length * along) / length
            };
        }
    }
}
