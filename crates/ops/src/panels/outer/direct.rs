//! Operands are read as they lie in memory.

use super::{HALF, Line, Outer, WIDTH, balanced, finish, most_rows, panels, with_rows};
use pulp::Simd;

/// Computes a product.
#[inline(always)]
pub(super) fn run<S: Simd>(simd: S, mut product: Outer<'_>) {
    for panel in panels(product.columns) {
        for rows in balanced(product.height, most_rows::<S>()) {
            let (first, column) = (rows.start, panel.start);
            if panel.len() == WIDTH {
                with_rows!(
                    rows.len(),
                    block::<S, _, WIDTH>(simd, &mut product, first, column)
                );
            } else {
                with_rows!(
                    rows.len(),
                    block::<S, _, HALF>(simd, &mut product, first, column)
                );
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
