//! Attention in double precision.

use super::Geometry;

/// The attention weights of query `i` of head `head`, and 0 for absent positions.
fn weights(g: Geometry, qkv: &[f64], present: &[f64], head: usize, i: usize) -> Vec<f64> {
    let at = |position: usize, part: usize, c: usize| {
        qkv[position * 3 * g.channels() + part * g.channels() + head * g.width + c]
    };
    let score = |j: usize| -> f64 {
        let products = (0..g.width).map(|c| at(i, 0, c) * at(j, 1, c));
        products.sum::<f64>() / (g.width as f64).sqrt()
    };
    let scores: Vec<f64> = (0..g.positions).map(score).collect();
    let seen = |j: &usize| present[*j] > 0.0;
    let largest = (0..g.positions).filter(seen).map(|j| scores[j]);
    let largest = largest.fold(f64::NEG_INFINITY, f64::max);
    let exp = |j: usize| {
        if seen(&j) {
            (scores[j] - largest).exp()
        } else {
            0.0
        }
    };
    let exps: Vec<f64> = (0..g.positions).map(exp).collect();
    let sum: f64 = exps.iter().sum();
    let share = |x: f64| if sum > 0.0 { x / sum } else { 0.0 };
    exps.into_iter().map(share).collect()
}

pub(super) fn forward(g: Geometry, inputs: &[&[f64]], out: &mut [f64]) {
    let c = g.channels();
    let examples = out.chunks_mut(g.positions * c).enumerate();
    for (n, out) in examples {
        let qkv = &inputs[0][n * g.positions * 3 * c..][..g.positions * 3 * c];
        let present = &inputs[1][n * g.positions..][..g.positions];
        for head in 0..g.heads {
            for i in 0..g.positions {
                let p = weights(g, qkv, present, head, i);
                for k in head * g.width..(head + 1) * g.width {
                    let values = (0..g.positions).map(|j| p[j] * qkv[j * 3 * c + 2 * c + k]);
                    out[i * c + k] = values.sum();
                }
            }
        }
    }
}

pub(super) fn backward(g: Geometry, inputs: &[&[f64]], dy: &[f64], dx: &mut [f64]) {
    let (c, scale) = (g.channels(), 1.0 / (g.width as f64).sqrt());
    dx.fill(0.0);
    for (n, dx) in dx.chunks_mut(g.positions * 3 * c).enumerate() {
        let qkv = &inputs[0][n * g.positions * 3 * c..][..g.positions * 3 * c];
        let present = &inputs[1][n * g.positions..][..g.positions];
        let dy = &dy[n * g.positions * c..][..g.positions * c];
        for head in 0..g.heads {
            let channels = head * g.width..(head + 1) * g.width;
            for i in 0..g.positions {
                let p = weights(g, qkv, present, head, i);
                let dp: Vec<f64> = (0..g.positions)
                    .map(|j| {
                        channels
                            .clone()
                            .map(|k| dy[i * c + k] * qkv[j * 3 * c + 2 * c + k])
                            .sum()
                    })
                    .collect();
                let mean: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                for j in 0..g.positions {
                    let ds = p[j] * (dp[j] - mean) * scale;
                    for k in channels.clone() {
                        dx[i * 3 * c + k] += ds * qkv[j * 3 * c + c + k];
                        dx[j * 3 * c + c + k] += ds * qkv[i * 3 * c + k];
                        dx[j * 3 * c + 2 * c + k] += p[j] * dy[i * c + k];
                    }
                }
            }
        }
    }
}
