//! The streaming kernels.
//!
//! Work is cut into blocks of rows; a block is one task, and no two tasks write the same element, so
//! the bits do not depend on the number of threads.

use super::exp::{exp, sum_exp};
use super::{Contrast, Saved};
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a block, and columns of a tile: a tile of logits stays in the first-level cache.
const BLOCK: usize = 64;
const TILE: usize = 128;

pub(super) fn forward(contrast: &Contrast, z: &[f32]) -> (f32, Saved) {
    let (unit, inverse_length) = normalise(z, contrast.dim);
    let mut queries = vec![Query::default(); contrast.queries()];
    queries.par_chunks_mut(BLOCK).enumerate().for_each_init(
        Scratch::new,
        |scratch, (block, out)| {
            query_block(contrast, &unit, block * BLOCK, out, scratch);
        },
    );
    // One addition after the other, in double precision: the order is fixed and the error small.
    let total: f64 = queries.iter().map(|query| query.loss).sum();
    let loss = total / contrast.queries() as f64 + contrast.offset;
    let saved = Saved {
        unit,
        inverse_length,
        log_sum: queries.iter().map(|query| query.log_sum).collect(),
        positive_weight: queries.iter().map(|query| query.positive_weight).collect(),
    };
    (loss as f32, saved)
}

/// What the forward pass finds out about one query.
#[derive(Clone, Copy, Default)]
struct Query {
    loss: f64,
    log_sum: f32,
    positive_weight: f32,
}

impl Query {
    /// From the logit of the positive and the log-sum-exp of all *other* keys. Their difference
    /// keeps its accuracy where the textbook's `softmax − 1` is all round-off: when the positive
    /// is far ahead.
    fn new(positive: f64, others: f64, positive_counts: bool) -> Self {
        let lead = positive - others;
        if !positive_counts {
            return Self {
                loss: -lead,
                log_sum: others as f32,
                positive_weight: -1.0,
            };
        }
        let loss = (-lead.abs()).exp().ln_1p() + (-lead).max(0.0);
        Self {
            loss,
            log_sum: (positive + loss) as f32,
            positive_weight: -(1.0 + lead.exp()).recip() as f32,
        }
    }
}

/// Rows of unit length, and 1/|z| of each.
pub(super) fn normalise(z: &[f32], dim: usize) -> (Vec<f32>, Vec<f32>) {
    let mut unit = vec![0.0; z.len()];
    let inverse_length = unit
        .par_chunks_mut(dim)
        .zip(z.par_chunks(dim))
        .map(|(unit, row)| {
            let inverse = inverse_length(row);
            for (u, x) in unit.iter_mut().zip(row) {
                *u = (f64::from(*x) * inverse) as f32;
            }
            inverse as f32
        })
        .collect();
    (unit, inverse_length)
}

/// 1/|row|; 0 if the row has no direction. In double precision no square overflows.
pub(super) fn inverse_length(row: &[f32]) -> f64 {
    let largest = row.iter().map(|x| x.abs()).fold(0.0, f32::max);
    let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
    if largest < f32::MIN_POSITIVE.sqrt() && !squares.is_nan() {
        0.0
    } else {
        squares.sqrt().recip()
    }
}

fn positive_logit(contrast: &Contrast, unit: &[f32], query: usize) -> f64 {
    let row = |i: usize| &unit[i * contrast.dim..][..contrast.dim];
    let pairs = row(query).iter().zip(row(contrast.positives[query]));
    let dot: f64 = pairs.map(|(u, k)| f64::from(*u) * f64::from(*k)).sum();
    dot / f64::from(contrast.temperature)
}

/// Working memory of one thread.
struct Scratch {
    logits: Vec<f32>,
    weights: Vec<f32>,
    reverse: Vec<f32>,
}

impl Scratch {
    fn new() -> Self {
        let tile = || vec![0.0; BLOCK * TILE];
        Self {
            logits: tile(),
            weights: tile(),
            reverse: tile(),
        }
    }
}

/// A block of rows against a tile of columns, both rows of `z`.
struct Tile {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Tile {
    /// Computes the logits of the tile, `[rows, columns]`.
    fn logits(&self, contrast: &Contrast, unit: &[f32], out: &mut [f32]) {
        let (m, n, d) = (self.rows.len(), self.columns.len(), contrast.dim);
        let lhs = Matrix::new(&unit[self.rows.start * d..], m, d);
        let rhs = Matrix::new(&unit[self.columns.start * d..], n, d).transposed();
        multiply(MatrixMut::new(out, m, n), Destination::Overwrite, lhs, rhs);
        let scale = contrast.temperature.recip();
        for x in &mut out[..m * n] {
            *x *= scale;
        }
    }

    /// Position of a pair of rows of `z` in the tile.
    fn position(&self, row: usize, column: usize) -> Option<usize> {
        let inside = self.rows.contains(&row) && self.columns.contains(&column);
        inside.then(|| (row - self.rows.start) * self.columns.len() + column - self.columns.start)
    }
}

fn tiles(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(TILE)
        .map(move |start| start..end.min(start + TILE))
}

/// The queries from `first` on.
fn query_block(
    contrast: &Contrast,
    unit: &[f32],
    first: usize,
    out: &mut [Query],
    scratch: &mut Scratch,
) {
    let rows = first..first + out.len();
    let mut running = vec![(f32::NEG_INFINITY, 0.0_f64); out.len()];
    for columns in tiles(contrast.keys.clone()) {
        let tile = Tile {
            rows: rows.clone(),
            columns,
        };
        tile.logits(contrast, unit, &mut scratch.logits);
        for query in rows.clone() {
            set(
                &mut scratch.logits,
                tile.position(query, contrast.positives[query]),
                f32::NEG_INFINITY,
            );
            if contrast.excludes(query, query) {
                set(
                    &mut scratch.logits,
                    tile.position(query, query),
                    f32::NEG_INFINITY,
                );
            }
        }
        let width = tile.columns.len();
        for (state, row) in running.iter_mut().zip(scratch.logits.chunks(width)) {
            absorb(state, row);
        }
    }
    for ((out, query), (largest, sum)) in out.iter_mut().zip(rows).zip(running) {
        let others = f64::from(largest) + sum.ln();
        let counts = !contrast.excludes(query, contrast.positives[query]);
        *out = Query::new(positive_logit(contrast, unit, query), others, counts);
    }
}

fn set(matrix: &mut [f32], at: Option<usize>, value: f32) {
    if let Some(at) = at {
        matrix[at] = value;
    }
}

/// Adds a row of logits to a running maximum and the sum of exponentials relative to it.
fn absorb((largest, sum): &mut (f32, f64), logits: &[f32]) {
    let top = logits
        .iter()
        .fold(*largest, |top, x| if *x > top { *x } else { top });
    if top == f32::NEG_INFINITY && logits.iter().all(|x| *x == top) {
        return;
    }
    *sum = *sum * f64::from(*largest - top).exp() + f64::from(sum_exp(logits, top));
    *largest = top;
}

pub(super) fn backward(contrast: &Contrast, saved: &Saved, loss_grad: f32, grad: &mut [f32]) {
    let scale =
        f64::from(loss_grad) / (contrast.queries() as f64 * f64::from(contrast.temperature));
    grad.par_chunks_mut(BLOCK * contrast.dim)
        .enumerate()
        .for_each_init(Scratch::new, |scratch, (block, grad)| {
            let first = block * BLOCK;
            unit_gradient(contrast, saved, first, grad, scratch);
            for (row, grad) in (first..).zip(grad.chunks_mut(contrast.dim)) {
                let unit = &saved.unit[row * contrast.dim..][..contrast.dim];
                project(unit, scale * f64::from(saved.inverse_length[row]), grad);
            }
        });
}

/// Gradient of the sum of all queries' losses, times t, with respect to the unit rows of a block.
///
/// A row gets `Σ_j w_j u_j` over all rows j: as a query from its keys, as a key from the queries.
fn unit_gradient(
    contrast: &Contrast,
    saved: &Saved,
    first: usize,
    grad: &mut [f32],
    scratch: &mut Scratch,
) {
    let dim = contrast.dim;
    let rows = first..first + grad.len() / dim;
    grad.fill(0.0);
    for columns in tiles(0..contrast.rows) {
        let tile = Tile {
            rows: rows.clone(),
            columns,
        };
        let as_queries =
            meets(&rows, &(0..contrast.queries())) && meets(&tile.columns, &contrast.keys);
        let as_keys =
            meets(&rows, &contrast.keys) && meets(&tile.columns, &(0..contrast.queries()));
        if !as_queries && !as_keys {
            continue;
        }
        let (m, n) = (rows.len(), tile.columns.len());
        tile.logits(contrast, &saved.unit, &mut scratch.logits);
        scratch.weights[..m * n].fill(0.0);
        if as_queries {
            query_weights(contrast, saved, &tile, scratch);
        }
        if as_keys {
            key_weights(contrast, saved, &tile, scratch);
        }
        multiply(
            MatrixMut::new(grad, m, dim),
            Destination::Accumulate,
            Matrix::new(&scratch.weights, m, n),
            Matrix::new(&saved.unit[tile.columns.start * dim..], n, dim),
        );
    }
}

fn meets(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Columns of the tile that lie in `range`, counted from the tile's first.
fn columns_in(tile: &Tile, range: &Range<usize>) -> Range<usize> {
    let start = tile.columns.start.max(range.start) - tile.columns.start;
    let end = tile
        .columns
        .end
        .min(range.end)
        .saturating_sub(tile.columns.start);
    start..end.max(start)
}

/// Rows of the tile are queries, columns are keys: softmax minus the positive.
fn query_weights(contrast: &Contrast, saved: &Saved, tile: &Tile, scratch: &mut Scratch) {
    let (width, keys) = (tile.columns.len(), columns_in(tile, &contrast.keys));
    let queries = tile.rows.start..tile.rows.end.min(contrast.queries());
    for (i, query) in queries.clone().enumerate() {
        let log_sum = saved.log_sum[query];
        let logits = &scratch.logits[i * width..][keys.clone()];
        let weights = &mut scratch.weights[i * width..][keys.clone()];
        for (w, x) in weights.iter_mut().zip(logits) {
            *w = exp(x - log_sum);
        }
    }
    for query in queries {
        correct(
            contrast,
            saved,
            query,
            |key| tile.position(query, key),
            &mut scratch.weights,
        );
    }
}

/// Columns of the tile are queries, rows are keys.
fn key_weights(contrast: &Contrast, saved: &Saved, tile: &Tile, scratch: &mut Scratch) {
    let (width, columns) = (
        tile.columns.len(),
        columns_in(tile, &(0..contrast.queries())),
    );
    let queries = tile.columns.start + columns.start..tile.columns.start + columns.end;
    let log_sums = &saved.log_sum[queries.clone()];
    scratch.reverse[..tile.rows.len() * width].fill(0.0);
    for (i, row) in tile.rows.clone().enumerate() {
        if !contrast.keys.contains(&row) {
            continue;
        }
        let logits = &scratch.logits[i * width..][columns.clone()];
        let weights = &mut scratch.reverse[i * width..][columns.clone()];
        for ((w, x), log_sum) in weights.iter_mut().zip(logits).zip(log_sums) {
            *w = exp(x - log_sum);
        }
    }
    for query in queries {
        correct(
            contrast,
            saved,
            query,
            |key| tile.position(key, query),
            &mut scratch.reverse,
        );
    }
    for (w, reverse) in scratch.weights.iter_mut().zip(&scratch.reverse) {
        *w += reverse;
    }
}

/// Puts in the weights of `query` itself and of its positive, for which the softmax does not do.
fn correct(
    contrast: &Contrast,
    saved: &Saved,
    query: usize,
    position: impl Fn(usize) -> Option<usize>,
    weights: &mut [f32],
) {
    if contrast.excludes(query, query) {
        set(weights, position(query), 0.0);
    }
    let positive = contrast.positives[query];
    set(weights, position(positive), saved.positive_weight[query]);
}

/// From the gradient with respect to `u = z/|z|` to the one with respect to z:
/// `(g − u(u·g))/|z|`, times the rest of `scale`.
pub(super) fn project(unit: &[f32], scale: f64, grad: &mut [f32]) {
    let along: f64 = unit
        .iter()
        .zip(&*grad)
        .map(|(u, g)| f64::from(*u) * f64::from(*g))
        .sum();
    for (g, u) in grad.iter_mut().zip(unit) {
        *g = (scale * (f64::from(*g) - f64::from(*u) * along)) as f32;
    }
}
