//! `to = from · panels`.

#![expect(
    clippy::needless_range_loop,
    reason = "iterators over arrays are not always inlined, and only what is inlined is compiled \
              for the instruction set of the caller"
)]

use super::{HALF, WIDTH, balanced, most_rows, panels, with_rows};
use pulp::{Simd, WithSimd};

/// The product of rows with a matrix packed as panels.
pub struct Rows<'a> {
    /// How many rows.
    pub count: usize,
    /// Elements of each run of a row.
    pub inner: usize,
    /// The runs that a row consists of: where it begins, and at which row of the panels.
    pub runs: &'a [(usize, usize)],
    /// The rows, `from_step` elements apart.
    pub from: &'a [f32],
    /// Elements from a row to the next one.
    pub from_step: usize,
    /// Panels of `height` rows that cover [`super::padded`] columns.
    pub panels: &'a [f32],
    /// Rows of a panel.
    pub height: usize,
    /// Columns, a multiple of 16.
    pub columns: usize,
    /// Rows of results, `to_step` elements apart.
    pub to: &'a mut [f32],
    /// Elements from a row of results to the next one.
    pub to_step: usize,
    /// Whether the product is added to what `to` holds, instead of replacing it.
    pub add: bool,
}

impl WithSimd for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for panel in panels(self.columns) {
            let packed = &self.panels[panel.start * self.height..panel.end * self.height];
            for rows in balanced(self.count, most_rows::<S>()) {
                let (first, column) = (rows.start, panel.start);
                if panel.len() == WIDTH {
                    with_rows!(
                        rows.len(),
                        block::<S, _, WIDTH>(simd, &mut self, packed, first, column)
                    );
                } else {
                    with_rows!(
                        rows.len(),
                        block::<S, _, HALF>(simd, &mut self, packed, first, column)
                    );
                }
            }
        }
    }
}

/// `M` rows through one panel.
#[inline(always)]
fn block<S: Simd, const M: usize, const W: usize>(
    simd: S,
    product: &mut Rows<'_>,
    panel: &[f32],
    first: usize,
    column: usize,
) {
    let mut rows = [panel; M];
    for m in 0..M {
        rows[m] = &product.from[(first + m) * product.from_step..];
    }
    let to = &mut product.to[first * product.to_step + column..];
    let (step, add) = (product.to_step, product.add);
    if W / S::F32_LANES >= 2 {
        for pair in 0..W / S::F32_LANES / 2 {
            let sums = sum::<S, M, W, 2>(simd, rows, product.runs, product.inner, panel, 2 * pair);
            finish(simd, sums, add, &mut to[2 * pair * S::F32_LANES..], step);
        }
    } else {
        let sums = sum::<S, M, W, 1>(simd, rows, product.runs, product.inner, panel, 0);
        finish(simd, sums, add, to, step);
    }
}

/// Sums the products of all runs of `M` rows with the registers `first..first + V` of a panel.
#[inline(always)]
fn sum<S: Simd, const M: usize, const W: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; M],
    runs: &[(usize, usize)],
    inner: usize,
    panel: &[f32],
    first: usize,
) -> [[S::f32s; V]; M] {
    for &(start, row) in runs {
        // The last row is the shortest one, for they all reach to the end of the operand.
        assert!(
            start + inner <= rows[M - 1].len() && (row + inner) * W <= panel.len(),
            "an operand of a product is too short"
        );
    }
    let panel = panel.as_chunks::<W>().0;
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    for &(start, row) in runs {
        // No panic may leave these loops: it would keep the sums out of the registers.
        let Some(panel) = panel.get(row..row + inner) else {
            break;
        };
        let mut run = rows;
        for m in 0..M {
            run[m] = rows[m].get(start..start + inner).unwrap_or_default();
        }
        sums = accumulate::<S, M, W, V>(simd, run, panel, first, sums);
    }
    sums
}

/// Adds the products of `M` rows with the registers `first..first + V` of each row of a panel.
#[inline(always)]
fn accumulate<S: Simd, const M: usize, const W: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; M],
    panel: &[[f32; W]],
    first: usize,
    mut sums: [[S::f32s; V]; M],
) -> [[S::f32s; V]; M] {
    let mut cut = rows;
    for m in 0..M {
        let Some(row) = rows[m].get(..panel.len()) else {
            return sums;
        };
        cut[m] = row;
    }
    for k in 0..panel.len() {
        let registers = S::as_simd_f32s(&panel[k]).0.get(first..first + V);
        let Some(registers) = registers.and_then(|r| r.first_chunk::<V>()) else {
            return sums;
        };
        for m in 0..M {
            let factor = simd.splat_f32s(cut[m][k]);
            for v in 0..V {
                sums[m][v] = simd.mul_add_e_f32s(factor, registers[v], sums[m][v]);
            }
        }
    }
    sums
}

/// Writes `M` rows of results, `step` elements apart.
#[inline(always)]
pub fn finish<S: Simd, const M: usize, const V: usize>(
    simd: S,
    sums: [[S::f32s; V]; M],
    add: bool,
    to: &mut [f32],
    step: usize,
) {
    for m in 0..M {
        let to = S::as_mut_simd_f32s(&mut to[m * step..][..V * S::F32_LANES]).0;
        for v in 0..V {
            to[v] = if add {
                simd.add_f32s(to[v], sums[m][v])
            } else {
                sums[m][v]
            };
        }
    }
}
