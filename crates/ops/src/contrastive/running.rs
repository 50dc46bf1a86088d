//! A running maximum and sum for every query (Milakov & Gimelshein, 2018), for any temperature.
//!
//! Work is cut into blocks of rows; a block is one task, and no two tasks write the same element, so
//! the bits do not depend on the number of threads.

use super::exp::{exp, sum_exp};
use super::{Contrast, Group, Saved};
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a block, and columns of a tile: a tile of logits stays in the first-level cache.
const BLOCK: usize = 64;
const TILE: usize = 128;

/// Log-sum-exp of all keys but the positive, for every query.
pub(super) fn log_sums(contrast: &Contrast, unit: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; contrast.queries()];
    for group in &contrast.groups {
        let blocks = sums[group.queries.clone()]
            .par_chunks_mut(BLOCK)
            .enumerate();
        blocks.for_each_init(Scratch::new, |scratch, (block, out)| {
            let first = group.queries.start + block * BLOCK;
            query_block(contrast, unit, group, first, out, scratch);
        });
    }
    sums
}

/// Gradient of the sum of all queries' losses, times t, with respect to the trained unit rows.
pub(super) fn unit_gradient(contrast: &Contrast, saved: &Saved, grad: &mut [f32]) {
    let blocks = grad.par_chunks_mut(BLOCK * contrast.dim).enumerate();
    blocks.for_each_init(Scratch::new, |scratch, (block, grad)| {
        block_gradient(contrast, saved, block * BLOCK, grad, scratch);
    });
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

/// The queries of a group from `first` on.
fn query_block(
    contrast: &Contrast,
    unit: &[f32],
    group: &Group,
    first: usize,
    out: &mut [f64],
    scratch: &mut Scratch,
) {
    let rows = first..first + out.len();
    let mut running = vec![(f32::NEG_INFINITY, 0.0_f64); out.len()];
    for columns in tiles(group.keys.clone()) {
        let tile = Tile {
            rows: rows.clone(),
            columns,
        };
        tile.logits(contrast, unit, &mut scratch.logits);
        for query in rows.clone() {
            let left_out = [
                contrast.positives.key(query),
                Some(query).filter(|_| contrast.excludes(query, query)),
            ];
            for key in left_out.into_iter().flatten() {
                let at = tile.position(query, key);
                set(&mut scratch.logits, at, f32::NEG_INFINITY);
            }
        }
        let width = tile.columns.len();
        for (state, row) in running.iter_mut().zip(scratch.logits.chunks(width)) {
            absorb(state, row);
        }
    }
    for (out, (largest, sum)) in out.iter_mut().zip(running) {
        *out = f64::from(largest) + sum.ln();
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

/// Gradient of the sum of all queries' losses, times t, with respect to the unit rows of a block.
///
/// A row gets `Σ_j w_j u_j` over all rows j: as a query from its keys, as a key from the queries.
fn block_gradient(
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
        let groups = || contrast.groups.iter();
        let asks =
            |group: &&Group| meets(&rows, &group.queries) && meets(&tile.columns, &group.keys);
        let asked =
            |group: &&Group| meets(&rows, &group.keys) && meets(&tile.columns, &group.queries);
        if !groups().any(|group| asks(&group) || asked(&group)) {
            continue;
        }
        let (m, n) = (rows.len(), tile.columns.len());
        tile.logits(contrast, &saved.unit, &mut scratch.logits);
        scratch.weights[..m * n].fill(0.0);
        for group in groups().filter(asks) {
            query_weights(contrast, saved, group, &tile, scratch);
        }
        for group in groups().filter(asked) {
            key_weights(contrast, saved, group, &tile, scratch);
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

/// What lies in both, not nothing.
fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// Rows of the tile are queries of the group, columns are keys: softmax minus the positive.
fn query_weights(
    contrast: &Contrast,
    saved: &Saved,
    group: &Group,
    tile: &Tile,
    scratch: &mut Scratch,
) {
    let width = tile.columns.len();
    let queries = common(&tile.rows, &group.queries);
    let keys = from(common(&tile.columns, &group.keys), tile.columns.start);
    for query in queries.clone() {
        let log_sum = saved.log_sum[query] as f32;
        let at = (query - tile.rows.start) * width;
        let logits = &scratch.logits[at..][keys.clone()];
        let weights = &mut scratch.weights[at..][keys.clone()];
        for (w, x) in weights.iter_mut().zip(logits) {
            *w = exp(x - log_sum);
        }
    }
    for query in queries {
        let position = |key| tile.position(query, key);
        correct(contrast, saved, query, position, &mut scratch.weights);
    }
}

/// Columns of the tile are queries of the group, rows are keys.
fn key_weights(
    contrast: &Contrast,
    saved: &Saved,
    group: &Group,
    tile: &Tile,
    scratch: &mut Scratch,
) {
    let width = tile.columns.len();
    let queries = common(&tile.columns, &group.queries);
    let columns = from(queries.clone(), tile.columns.start);
    let log_sums = &saved.log_sum[queries.clone()];
    scratch.reverse[..tile.rows.len() * width].fill(0.0);
    for row in common(&tile.rows, &group.keys) {
        let at = (row - tile.rows.start) * width;
        let logits = &scratch.logits[at..][columns.clone()];
        let weights = &mut scratch.reverse[at..][columns.clone()];
        for ((w, x), log_sum) in weights.iter_mut().zip(logits).zip(log_sums) {
            *w = exp(x - *log_sum as f32);
        }
    }
    for query in queries {
        let position = |key| tile.position(key, query);
        correct(contrast, saved, query, position, &mut scratch.reverse);
    }
    let weights = scratch.weights.iter_mut().zip(&scratch.reverse);
    weights.for_each(|(w, reverse)| *w += reverse);
}

/// A range, counted from `origin`.
const fn from(range: Range<usize>, origin: usize) -> Range<usize> {
    range.start - origin..range.end - origin
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
    if let Some(positive) = contrast.positives.key(query) {
        set(weights, position(positive), saved.positive_weight[query]);
    }
}
