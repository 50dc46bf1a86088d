//! `to += aᵀ · b`.

use super::{HALF, WIDTH, balanced, most_rows, panels, rows::finish, with_rows};
use pulp::{Simd, WithSimd};

/// Rows of both operands that follow each other at fixed steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where the first row of `a` begins.
    pub a: usize,
    /// Where the first row of `b` begins.
    pub b: usize,
    /// How many rows.
    pub count: usize,
}

/// The sum over all rows of the outer products of a row of `a` and one of `b`.
pub struct Outer<'a> {
    /// The rows.
    pub lines: &'a [Line],
    /// Rows that hold at least `height` elements, `a_step` elements apart.
    pub a: &'a [f32],
    /// Elements from a row of `a` to the next one.
    pub a_step: usize,
    /// Rows of results: elements of a row of `a` that take part.
    pub height: usize,
    /// Rows that hold at least `columns` elements, `b_step` elements apart.
    pub b: &'a [f32],
    /// Elements from a row of `b` to the next one.
    pub b_step: usize,
    /// Columns of the result, a multiple of 16.
    pub columns: usize,
    /// Rows of results, `to_step` elements apart.
    pub to: &'a mut [f32],
    /// Elements from a row of results to the next one.
    pub to_step: usize,
    /// Whether the sum is added to what `to` holds, instead of replacing it.
    pub add: bool,
}

impl WithSimd for Outer<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for panel in panels(self.columns) {
            for rows in balanced(self.height, most_rows::<S>()) {
                let (first, column) = (rows.start, panel.start);
                if panel.len() == WIDTH {
                    with_rows!(
                        rows.len(),
                        block::<S, _, WIDTH>(simd, &mut self, first, column)
                    );
                } else {
                    with_rows!(
                        rows.len(),
                        block::<S, _, HALF>(simd, &mut self, first, column)
                    );
                }
            }
        }
    }
}

/// `M` rows and one panel of results.
#[inline(always)]
fn block<S: Simd, const M: usize, const W: usize>(
    simd: S,
    product: &mut Outer<'_>,
    first: usize,
    column: usize,
) {
    let (a, b) = (&product.a[first..], &product.b[column..]);
    let steps = (product.a_step, product.b_step);
    let to = &mut product.to[first * product.to_step + column..];
    let step = product.to_step;
    if W / S::F32_LANES >= 2 {
        for pair in 0..W / S::F32_LANES / 2 {
            let at = 2 * pair * S::F32_LANES;
            let sums = sum::<S, M, 2>(simd, product.lines, a, &b[at..], steps);
            finish(simd, sums, product.add, &mut to[at..], step);
        }
    } else {
        let sums = sum::<S, M, 1>(simd, product.lines, a, b, steps);
        finish(simd, sums, product.add, to, step);
    }
}

/// Sums outer products of `M` elements and `V` registers.
#[inline(always)]
fn sum<S: Simd, const M: usize, const V: usize>(
    simd: S,
    lines: &[Line],
    a: &[f32],
    b: &[f32],
    (a_step, b_step): (usize, usize),
) -> [[S::f32s; V]; M] {
    for line in lines {
        let last = line.count.saturating_sub(1);
        assert!(
            line.a + last * a_step + M <= a.len()
                && line.b + last * b_step + V * S::F32_LANES <= b.len(),
            "an operand of a product is too short"
        );
    }
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for line in lines {
        let (mut at, mut bt) = (line.a, line.b);
        // No panic may leave these loops: it would keep the sums out of the registers.
        for _ in 0..line.count {
            let (Some(a), Some(b)) = (a.get(at..), b.get(bt..)) else {
                break;
            };
            let registers = S::as_simd_f32s(b).0.first_chunk::<V>();
            let (Some(factors), Some(registers)) = (a.first_chunk::<M>(), registers) else {
                break;
            };
            for m in 0..M {
                let factor = simd.splat_f32s(factors[m]);
                for v in 0..V {
                    sums[m][v] = simd.mul_add_e_f32s(factor, registers[v], sums[m][v]);
                }
            }
            at += a_step;
            bt += b_step;
        }
    }
    sums
}
