//! Operands are brought together piece by piece.

use super::{HALF, Line, Outer, WIDTH, balanced, finish, most_rows, panels, with_rows};
use crate::panels::room::Room;
use pulp::Simd;

/// Columns of `b` that are brought together at a time.
const COLUMNS: usize = 256;
/// Rows that are summed before sums are stored: with that many columns, half of a second-level cache.
const DEPTH: usize = 256;
/// Rows of results whose part of `a` is brought together at a time.
const GROUP: usize = 96;

/// Where a row begins in both operands.
type Row = (usize, usize);

/// Computes a product.
#[inline(always)]
pub(super) fn run<S: Simd>(simd: S, mut product: Outer<'_>) {
    let rows = rows(&product);
    if rows.is_empty() && !product.add {
        let results = product.to.chunks_mut(product.to_step).take(product.height);
        results.for_each(|to| to[..product.columns].fill(0.0));
    }
    let depth = DEPTH.min(rows.len()).max(1);
    let mut room = Room::new(depth * (COLUMNS.min(product.columns) + GROUP));
    for piece in rows.chunks(depth) {
        for first in (0..product.columns).step_by(COLUMNS) {
            add_piece(simd, &mut product, piece, first, &mut room);
        }
        product.add = true;
    }
}

/// All rows in order.
fn rows(product: &Outer<'_>) -> Vec<Row> {
    let (a_step, b_step) = (product.a_step, product.b_step);
    let of_line = |line: &Line| {
        let Line { a, b, count } = *line;
        (0..count).map(move |row| (a + row * a_step, b + row * b_step))
    };
    product.lines.iter().flat_map(of_line).collect()
}

/// Adds the products of some rows to at most [`COLUMNS`] columns from `first` on.
#[inline(always)]
fn add_piece<S: Simd>(
    simd: S,
    product: &mut Outer<'_>,
    piece: &[Row],
    first: usize,
    room: &mut [f32],
) {
    let (depth, columns) = (piece.len(), COLUMNS.min(product.columns - first));
    let (b_room, a_room) = room.split_at_mut(depth * columns);
    for panel in panels(columns) {
        let to = &mut b_room[panel.start * depth..panel.end * depth];
        let from = &product.b[first + panel.start..];
        let rows = piece.iter().map(|row| row.1);
        match panel.len() {
            WIDTH => gather::<WIDTH>(from, rows, to),
            _ => gather::<HALF>(from, rows, to),
        }
    }
    for group in (0..product.height).step_by(GROUP) {
        let height = GROUP.min(product.height - group);
        for rows in balanced(height, most_rows::<S>()) {
            let from = &product.a[group + rows.start..];
            let to = &mut a_room[rows.start * depth..rows.end * depth];
            with_rows!(rows.len(), gather_rows::<S, _, WIDTH>(from, piece, to));
        }
        for panel in panels(columns) {
            let b = &b_room[panel.start * depth..panel.end * depth];
            for rows in balanced(height, most_rows::<S>()) {
                let a = &a_room[rows.start * depth..rows.end * depth];
                let at = (group + rows.start) * product.to_step + first + panel.start;
                let (to, how) = (&mut product.to[at..], (product.to_step, product.add));
                match panel.len() {
                    WIDTH => with_rows!(rows.len(), block::<S, _, WIDTH>(simd, a, b, to, how)),
                    _ => with_rows!(rows.len(), block::<S, _, HALF>(simd, a, b, to, how)),
                }
            }
        }
    }
}

/// Copies the first `W` elements of every row.
#[inline(always)]
fn gather<const W: usize>(from: &[f32], rows: impl Iterator<Item = usize>, to: &mut [f32]) {
    for (to, row) in to.as_chunks_mut::<W>().0.iter_mut().zip(rows) {
        *to = *from[row..]
            .first_chunk()
            .expect("an operand of a product is too short");
    }
}

/// Copies the first `M` elements of every row of `a`.
#[expect(
    clippy::extra_unused_type_parameters,
    reason = "what the macro calls has all three parameters"
)]
#[inline(always)]
fn gather_rows<S: Simd, const M: usize, const W: usize>(
    from: &[f32],
    rows: &[Row],
    to: &mut [f32],
) {
    gather::<M>(from, rows.iter().map(|row| row.0), to);
}

/// `M` rows and one panel of results.
#[inline(always)]
fn block<S: Simd, const M: usize, const W: usize>(
    simd: S,
    a: &[f32],
    b: &[f32],
    to: &mut [f32],
    (step, add): (usize, bool),
) {
    let (a, b) = (a.as_chunks::<M>().0, b.as_chunks::<W>().0);
    if W / S::F32_LANES >= 2 {
        for pair in 0..W / S::F32_LANES / 2 {
            let sums = sum::<S, M, W, 2>(simd, a, b, pair);
            finish(simd, sums, add, &mut to[2 * pair * S::F32_LANES..], step);
        }
    } else {
        let sums = sum::<S, M, W, 1>(simd, a, b, 0);
        finish(simd, sums, add, to, step);
    }
}

/// Sums the outer products of `M` elements and the registers `V · at..` of a panel.
#[inline(always)]
fn sum<S: Simd, const M: usize, const W: usize, const V: usize>(
    simd: S,
    a: &[[f32; M]],
    b: &[[f32; W]],
    at: usize,
) -> [[S::f32s; V]; M] {
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for (a, b) in a.iter().zip(b) {
        // No panic may leave this loop: it would keep the sums out of the registers.
        let Some(registers) = S::as_simd_f32s(b).0.as_chunks::<V>().0.get(at) else {
            break;
        };
        for m in 0..M {
            let factor = simd.splat_f32s(a[m]);
            for v in 0..V {
                sums[m][v] = simd.mul_add_e_f32s(factor, registers[v], sums[m][v]);
            }
        }
    }
    sums
}
