//! Sums and gradients with one shift for all logits, every tile used for both of its blocks.
//!
//! With `e_ij = exp((u_i·u_j − 1)/t)` the denominator of query i is `exp(1/t) · Σ_j e_ij`, and the row
//! u_i of the gradient receives `Σ_j w_ij u_j` with `w_ij = e_ij (1/D_i + 1/D_j)`: the first summand for
//! i as a query, the second for i as a key. Both e and w are symmetric, so that a tile of two blocks of
//! rows costs one product of logits and one exponential for what would be two tiles. Where only one of
//! the blocks asks the other, its summand is left out.
//!
//! The positives and the excluded keys of a tile are few; they are computed one by one.

use super::exp::exp;
use super::tournament::{Block, Tournament};
use super::{Contrast, Saved};
use crate::panels::{HALF, Line, Outer, Rows, padded, panels};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::ops::Range;

/// The lowest temperature: no exponential is below exp(−2/t), which must be a normal number with
/// room for its reciprocal.
const LOWEST_TEMPERATURE: f32 = 0.025;

/// Rows of a tile that are computed at a time: whole blocks of the products' kernels.
const STRIP: usize = 96;

/// Whether the loss can be computed with one shift.
pub(super) fn serves(contrast: &Contrast) -> bool {
    contrast.temperature >= LOWEST_TEMPERATURE
}

/// Log-sum-exp of all keys but the positive, for every query.
pub(super) fn log_sums(contrast: &Contrast, unit: &[f32]) -> Vec<f64> {
    let tournament = Tournament::new(contrast);
    let operands = Operands::new(&tournament, unit, contrast.dim);
    let mut sums = vec![0.0f64; contrast.trained];
    tournament.play(&mut sums, 1, Scratch::default, |scratch, a, b| {
        let blocks = [a.0, b.as_ref().map_or(a.0, |b| b.0)];
        let mut to_b = b.map(|(_, sums)| sums);
        let meeting = Meeting::new(contrast, &tournament, &operands, blocks);
        for strip in meeting.strips() {
            let at = strip.start - meeting.a.rows.start;
            let to_a = &mut a.1[at..at + strip.len()];
            meeting.add_sums(&strip, scratch, to_a, to_b.as_deref_mut());
        }
    });
    sums.truncate(contrast.queries());
    let shift = f64::from(contrast.temperature).recip();
    sums.iter().map(|sum| shift + sum.ln()).collect()
}

/// Gradient of the sum of all queries' losses, times t, with respect to the trained unit rows.
pub(super) fn unit_gradient(contrast: &Contrast, saved: &Saved, grad: &mut [f32]) {
    let tournament = Tournament::new(contrast);
    let operands = Operands::new(&tournament, &saved.unit, contrast.dim).with_values(&tournament);
    let inverse_sums = inverse_sums(contrast, saved);
    let width = operands.width;
    let mut sums = vec![0.0f32; contrast.trained * width];
    tournament.play(&mut sums, width, Scratch::default, |scratch, a, b| {
        let blocks = [a.0, b.as_ref().map_or(a.0, |b| b.0)];
        let mut to_b = b.map(|(_, sums)| sums);
        let meeting = Meeting::new(contrast, &tournament, &operands, blocks);
        for strip in meeting.strips() {
            let at = (strip.start - meeting.a.rows.start) * width;
            let to_a = &mut a.1[at..at + strip.len() * width];
            meeting.weigh(&strip, saved, &inverse_sums, scratch);
            meeting.add_gradients(&strip, scratch, to_a, to_b.as_deref_mut());
        }
    });
    let rows = grad
        .par_chunks_mut(contrast.dim)
        .zip(sums.par_chunks(width));
    rows.for_each(|(grad, sum)| grad.copy_from_slice(&sum[..contrast.dim]));
}

/// 1/D of every query, the exponentials shifted by 1/t; 0 for other rows.
fn inverse_sums(contrast: &Contrast, saved: &Saved) -> Vec<f32> {
    let shift = f64::from(contrast.temperature).recip();
    let queries = saved.log_sum.iter().map(|log_sum| {
        let inverse = (shift - log_sum).exp() as f32;
        // A query without any key but its positive weighs nothing else.
        if inverse == f32::INFINITY {
            0.0
        } else {
            inverse
        }
    });
    let others = std::iter::repeat_n(0.0, contrast.rows - contrast.queries());
    queries.chain(others).collect()
}

/// The unit rows in the forms that products want.
struct Operands {
    /// Rows of `width` elements, the last ones zero.
    rows: Vec<f32>,
    width: usize,
    /// For every block, panels of its rows as columns: `[dim, 32]` each.
    columns: Vec<Vec<f32>>,
    /// For every block, panels of its rows as rows: `[rows, 32]` each.
    values: Vec<Vec<f32>>,
}

impl Operands {
    fn new(tournament: &Tournament, unit: &[f32], dim: usize) -> Self {
        let width = padded(dim);
        let mut rows = vec![0.0; unit.len() / dim * width];
        let pairs = rows.par_chunks_mut(width).zip(unit.par_chunks(dim));
        pairs.for_each(|(to, from)| to[..dim].copy_from_slice(from));
        let columns = |block: &Block| {
            let unit = &unit[block.rows.start * dim..block.rows.end * dim];
            transposed_panels(unit, dim)
        };
        Self {
            columns: tournament.blocks.par_iter().map(columns).collect(),
            rows,
            width,
            values: Vec::new(),
        }
    }

    /// Also with the panels that gradients are summed from.
    fn with_values(self, tournament: &Tournament) -> Self {
        let values = |block: &Block| {
            let rows = &self.rows[block.rows.start * self.width..block.rows.end * self.width];
            let mut values = Vec::with_capacity(rows.len());
            for panel in panels(self.width) {
                for row in rows.chunks_exact(self.width) {
                    values.extend_from_slice(&row[panel.clone()]);
                }
            }
            values
        };
        let values = tournament.blocks.par_iter().map(values).collect();
        Self { values, ..self }
    }
}

/// Panels whose columns are these rows.
fn transposed_panels(rows: &[f32], dim: usize) -> Vec<f32> {
    let count = rows.len() / dim;
    let mut out = vec![0.0; padded(count) * dim];
    for panel in panels(count) {
        let width = panel.len();
        let to = &mut out[panel.start * dim..panel.end * dim];
        for (column, row) in panel.clone().zip(rows[panel.start * dim..].chunks(dim)) {
            for (k, x) in row.iter().enumerate() {
                to[k * width + column - panel.start] = *x;
            }
        }
    }
    out
}

/// Working memory of one thread.
#[derive(Default)]
struct Scratch {
    /// A strip of similarities, then of exponentials or weights.
    tile: Vec<f32>,
    row_sums: Vec<f32>,
    column_sums: Vec<f32>,
    /// What becomes of the entries that are computed one by one.
    special: Vec<(usize, f32)>,
}

/// Two blocks of rows, or one with itself.
struct Meeting<'a> {
    contrast: &'a Contrast,
    operands: &'a Operands,
    a: &'a Block,
    b: &'a Block,
    /// Index of the second block.
    second: usize,
    alone: bool,
    /// Whether queries of the first ask keys of the second, and the other way round.
    a_asks: bool,
    b_asks: bool,
}

impl<'a> Meeting<'a> {
    fn new(
        contrast: &'a Contrast,
        tournament: &'a Tournament,
        operands: &'a Operands,
        [first, second]: [usize; 2],
    ) -> Self {
        let (a, b) = (&tournament.blocks[first], &tournament.blocks[second]);
        Self {
            contrast,
            operands,
            a,
            b,
            second,
            alone: first == second,
            a_asks: a.asks(b),
            b_asks: b.asks(a),
        }
    }

    fn strips(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let end = self.a.rows.end;
        let starts = self.a.rows.clone().step_by(STRIP);
        starts.map(move |start| start..end.min(start + STRIP))
    }

    /// Elements from one row of a tile to the next: one more line than it needs, so that the rows do
    /// not share a few sets of the cache.
    fn step(&self) -> usize {
        padded(self.b.rows.len()) + HALF
    }

    /// Columns of a tile.
    fn columns(&self) -> usize {
        padded(self.b.rows.len())
    }

    /// The cosines of a strip of rows of the first block with the second.
    fn similarities(&self, strip: &Range<usize>, tile: &mut Vec<f32>) {
        let (step, width) = (self.step(), self.operands.width);
        tile.resize(strip.len() * step, 0.0);
        run(Rows {
            count: strip.len(),
            inner: self.contrast.dim,
            runs: &[(0, 0)],
            from: &self.operands.rows[strip.start * width..strip.end * width],
            from_step: width,
            panels: &self.operands.columns[self.second],
            height: self.contrast.dim,
            columns: self.columns(),
            to: tile,
            to_step: step,
            add: false,
        });
    }

    /// The entries of a strip that are the positive of one of their rows, or excluded. An entry may
    /// come twice.
    fn special(&self, strip: &Range<usize>) -> impl Iterator<Item = (usize, usize)> {
        let contrast = self.contrast;
        let queries = |rows: Range<usize>| rows.start..rows.end.min(contrast.queries());
        let positive = |i: usize| contrast.positives.key(i).map(|p| (i, p));
        let of_a = queries(strip.clone()).filter_map(positive);
        let of_b = queries(self.b.rows.clone()).filter_map(positive);
        let of_b = of_b.map(|(j, p)| (p, j));
        let diagonal = strip.clone().map(|i| (i, i)).filter(|_| self.alone);
        let inside = |(i, j): &(usize, usize)| strip.contains(i) && self.b.rows.contains(j);
        of_a.chain(of_b).chain(diagonal).filter(inside)
    }

    /// Where a pair of rows lies in the tile of a strip.
    fn position(&self, strip: &Range<usize>, (i, j): (usize, usize)) -> usize {
        (i - strip.start) * self.step() + j - self.b.rows.start
    }

    fn exponential(&self, similarity: f32) -> f32 {
        exp((similarity - 1.0) * self.contrast.temperature.recip())
    }

    /// Whether `key` counts among the *other* keys of `query`.
    fn is_other(&self, query: usize, key: usize) -> bool {
        self.contrast.positives.key(query) != Some(key) && !self.contrast.excludes(query, key)
    }

    /// Adds the exponentials of a strip to the sums of its rows and, in a meeting of two, to those of
    /// the second block.
    fn add_sums(
        &self,
        strip: &Range<usize>,
        scratch: &mut Scratch,
        to_a: &mut [f64],
        mut to_b: Option<&mut [f64]>,
    ) {
        self.similarities(strip, &mut scratch.tile);
        // Their logits become so low that their exponentials are 0.
        scratch.special.clear();
        for pair in self.special(strip) {
            let at = self.position(strip, pair);
            let similarity = std::mem::replace(&mut scratch.tile[at], f32::NEG_INFINITY);
            if similarity == f32::NEG_INFINITY {
                continue;
            }
            let (i, j) = pair;
            let e = f64::from(self.exponential(similarity));
            if self.a_asks && self.is_other(i, j) {
                to_a[i - strip.start] += e;
            }
            if let Some(sums) = to_b.as_deref_mut()
                && self.b_asks
                && self.is_other(j, i)
            {
                sums[j - self.b.rows.start] += e;
            }
        }
        let columns = self.b.rows.len();
        scratch.row_sums.clear();
        scratch.row_sums.resize(strip.len(), 0.0);
        scratch.column_sums.clear();
        scratch.column_sums.resize(columns, 0.0);
        run(Sums {
            tile: &scratch.tile,
            step: self.step(),
            factor: self.contrast.temperature.recip(),
            rows: &mut scratch.row_sums,
            columns: &mut scratch.column_sums,
        });
        let add = |to: &mut [f64], from: &[f32]| {
            to.iter_mut()
                .zip(from)
                .for_each(|(t, f)| *t += f64::from(*f));
        };
        if self.a_asks {
            add(to_a, &scratch.row_sums);
        }
        if let Some(to_b) = to_b.filter(|_| self.b_asks) {
            add(to_b, &scratch.column_sums);
        }
    }

    /// The weight of the rows of a pair in each other's gradient, one by one.
    fn weight(
        &self,
        (i, j): (usize, usize),
        similarity: f32,
        saved: &Saved,
        inverse_sums: &[f32],
    ) -> f32 {
        let as_query = |query: usize, key: usize| {
            if self.contrast.positives.key(query) == Some(key) {
                saved.positive_weight[query]
            } else if self.contrast.excludes(query, key) {
                0.0
            } else {
                self.exponential(similarity) * inverse_sums[query]
            }
        };
        let of_a = if self.a_asks { as_query(i, j) } else { 0.0 };
        let of_b = if self.b_asks { as_query(j, i) } else { 0.0 };
        of_a + of_b
    }

    /// Leaves the weights of a strip in the scratch.
    fn weigh(
        &self,
        strip: &Range<usize>,
        saved: &Saved,
        inverse_sums: &[f32],
        scratch: &mut Scratch,
    ) {
        self.similarities(strip, &mut scratch.tile);
        scratch.special.clear();
        for pair in self.special(strip) {
            let at = self.position(strip, pair);
            let weight = self.weight(pair, scratch.tile[at], saved, inverse_sums);
            scratch.special.push((at, weight));
        }
        run(Weights {
            tile: &mut scratch.tile,
            step: self.step(),
            factor: self.contrast.temperature.recip(),
            rows: &inverse_sums[strip.clone()],
            columns: &inverse_sums[self.b.rows.clone()],
            asks: (self.a_asks, self.b_asks),
        });
        for &(at, weight) in &scratch.special {
            scratch.tile[at] = weight;
        }
    }

    /// Adds the weighted rows of each block to the gradients of the other.
    fn add_gradients(
        &self,
        strip: &Range<usize>,
        scratch: &Scratch,
        to_a: &mut [f32],
        to_b: Option<&mut [f32]>,
    ) {
        let (step, width, columns) = (self.step(), self.operands.width, self.b.rows.len());
        run(Rows {
            count: strip.len(),
            inner: columns,
            runs: &[(0, 0)],
            from: &scratch.tile,
            from_step: step,
            panels: &self.operands.values[self.second],
            height: columns,
            columns: width,
            to: to_a,
            to_step: width,
            add: true,
        });
        let Some(to_b) = to_b.filter(|_| self.b.trained) else {
            // Constants, or a block alone: its tile holds both (i, j) and (j, i).
            return;
        };
        run(Outer {
            lines: &[Line {
                a: 0,
                b: 0,
                count: strip.len(),
            }],
            a: &scratch.tile,
            a_step: step,
            height: columns,
            b: &self.operands.rows[strip.start * width..strip.end * width],
            b_step: width,
            columns: width,
            to: to_b,
            to_step: width,
            add: true,
        });
    }
}

fn run(kernel: impl WithSimd<Output = ()>) {
    Arch::new().dispatch(kernel);
}

/// Exponentials at a time: one row of sums that stays in registers.
const LANES: usize = HALF;

/// Sums of the exponentials of a tile along its rows and along its columns.
struct Sums<'a> {
    tile: &'a [f32],
    step: usize,
    factor: f32,
    rows: &'a mut [f32],
    columns: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let factor = self.factor;
        let (column_chunks, last_columns) = self.columns.as_chunks_mut::<LANES>();
        for (row, sum) in self.tile.chunks_exact(self.step).zip(self.rows) {
            let mut sums = [0.0f32; LANES];
            let (chunks, rest) = row.as_chunks::<LANES>();
            for (chunk, columns) in chunks.iter().zip(column_chunks.iter_mut()) {
                for lane in 0..LANES {
                    let e = exp((chunk[lane] - 1.0) * factor);
                    sums[lane] += e;
                    columns[lane] += e;
                }
            }
            let tail = chunks.get(column_chunks.len()).map_or(rest, |c| &c[..]);
            let mut last = 0.0;
            for (x, column) in tail.iter().zip(last_columns.iter_mut()) {
                let e = exp((x - 1.0) * factor);
                last += e;
                *column += e;
            }
            *sum += sums.iter().sum::<f32>() + last;
        }
    }
}

/// Turns similarities into weights: `e_ij (1/D_i + 1/D_j)`, a summand only where it is asked for.
struct Weights<'a> {
    tile: &'a mut [f32],
    step: usize,
    factor: f32,
    rows: &'a [f32],
    columns: &'a [f32],
    asks: (bool, bool),
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let factor = self.factor;
        for (row, &inverse) in self.tile.chunks_exact_mut(self.step).zip(self.rows) {
            let inverse = if self.asks.0 { inverse } else { 0.0 };
            let pairs = row.iter_mut().zip(self.columns);
            if self.asks.1 {
                pairs.for_each(|(x, column)| *x = exp((*x - 1.0) * factor) * (inverse + column));
            } else {
                pairs.for_each(|(x, _)| *x = exp((*x - 1.0) * factor) * inverse);
            }
        }
    }
}
