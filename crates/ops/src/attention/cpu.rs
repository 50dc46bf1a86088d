//! Attention on the CPU, one example per task.
//!
//! Keys (and values, in the backward pass) of a head are transposed first, so that the scores of a
//! query against all positions are sums of whole rows.

use super::Geometry;
use crate::parallel::for_each_with_scratch;

/// The output, and the attention weights for the backward pass: heads × positions × positions of
/// every example.
pub(super) fn forward(
    g: Geometry,
    inputs: &[&[f32]],
    out: &mut [f32],
    saved: &mut [f32],
    scratch: &mut [f32],
) {
    let (c, positions) = (g.channels(), g.positions);
    let examples = out
        .chunks_exact_mut(positions * c)
        .zip(saved.chunks_exact_mut(g.weights()))
        .zip(inputs[0].chunks_exact(positions * 3 * c))
        .zip(inputs[1].chunks_exact(positions));
    for_each_with_scratch(examples, scratch, g.lane(), |task, lane| {
        let (((out, saved), qkv), present) = task;
        let keys = &mut lane[..g.width * positions];
        for (head, saved) in saved.chunks_exact_mut(positions * positions).enumerate() {
            let first = head * g.width;
            transpose(g, &qkv[c + first..], keys);
            for (i, p) in saved.chunks_exact_mut(positions).enumerate() {
                products(&qkv[i * 3 * c + first..][..g.width], keys, p);
                softmax(p, present, 1.0 / (g.width as f32).sqrt());
                let out = &mut out[i * c + first..][..g.width];
                out.fill(0.0);
                for (j, &p) in p.iter().enumerate() {
                    add_scaled(out, p, &qkv[j * 3 * c + 2 * c + first..][..g.width]);
                }
            }
        }
    });
}

/// The gradient with respect to queries, keys and values, from the weights that [`forward`] saved.
pub(super) fn backward(
    g: Geometry,
    qkv: &[f32],
    saved: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    scratch: &mut [f32],
) {
    let (c, positions) = (g.channels(), g.positions);
    let scale = 1.0 / (g.width as f32).sqrt();
    let examples = dx
        .chunks_exact_mut(positions * 3 * c)
        .zip(saved.chunks_exact(g.weights()))
        .zip(qkv.chunks_exact(positions * 3 * c))
        .zip(dy.chunks_exact(positions * c));
    for_each_with_scratch(examples, scratch, g.lane(), |task, lane| {
        let (((dx, saved), qkv), dy) = task;
        let (values, lane) = lane.split_at_mut(g.width * positions);
        let ds = &mut lane[..positions];
        dx.fill(0.0);
        for (head, saved) in saved.chunks_exact(positions * positions).enumerate() {
            let first = head * g.width;
            transpose(g, &qkv[2 * c + first..], values);
            for (i, p) in saved.chunks_exact(positions).enumerate() {
                let dy = &dy[i * c + first..][..g.width];
                products(dy, values, ds);
                let mean: f32 = p.iter().zip(&*ds).map(|(p, dp)| p * dp).sum();
                for (ds, p) in ds.iter_mut().zip(p) {
                    *ds = p * (*ds - mean) * scale;
                }
                for (j, (&ds, &p)) in ds.iter().zip(p).enumerate() {
                    let (key, query) = (j * 3 * c + c + first, i * 3 * c + first);
                    add_scaled(&mut dx[query..][..g.width], ds, &qkv[key..][..g.width]);
                    add_scaled(&mut dx[key..][..g.width], ds, &qkv[query..][..g.width]);
                    add_scaled(&mut dx[key + c..][..g.width], p, dy);
                }
            }
        }
    });
}

/// The rows of a head, which begin at `from`, as columns.
fn transpose(g: Geometry, from: &[f32], to: &mut [f32]) {
    for j in 0..g.positions {
        let row = &from[j * 3 * g.channels()..][..g.width];
        for (k, &x) in row.iter().enumerate() {
            to[k * g.positions + j] = x;
        }
    }
}

/// `out_j = row · column_j`.
fn products(row: &[f32], columns: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (&x, column) in row.iter().zip(columns.chunks_exact(out.len())) {
        add_scaled(out, x, column);
    }
}

fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

/// Scores to weights; absent positions get 0.
fn softmax(scores: &mut [f32], present: &[f32], scale: f32) {
    let seen = scores.iter().zip(present).filter(|(_, p)| **p > 0.0);
    let largest = seen.map(|(s, _)| *s).fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (score, &present) in scores.iter_mut().zip(present) {
        *score = match present > 0.0 {
            true => ((*score - largest) * scale).exp(),
            false => 0.0,
        };
        sum += *score;
    }
    if sum > 0.0 {
        scores.iter_mut().for_each(|score| *score /= sum);
    }
}
