//! `to = from · panels`.

use super::{HALF, WIDTH, balanced, most_rows, panels, with_rows};
use pulp::{Simd, WithSimd};

/// The product of rows with a matrix packed as panels.
pub struct Rows<'a> {
    /// How many rows.
    pub count: usize,
    /// Elements of a row that take part: the rows of each panel.
    pub inner: usize,
    /// The rows, `from_step` elements apart.
    pub from: &'a [f32],
    /// Elements from a row to the next one.
    pub from_step: usize,
    /// Panels that cover [`super::padded`] columns.
    pub panels: &'a [f32],
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
            let packed = &self.panels[panel.start * self.inner..panel.end * self.inner];
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
        rows[m] = &product.from[(first + m) * product.from_step..][..product.inner];
    }
    let to = &mut product.to[first * product.to_step + column..];
    let step = product.to_step;
    if W / S::F32_LANES >= 2 {
        for pair in 0..W / S::F32_LANES / 2 {
            let zero = [[simd.splat_f32s(0.0); 2]; M];
            let sums = accumulate::<S, M, W, 2>(simd, rows, panel, 2 * pair, zero);
            let to = &mut to[2 * pair * S::F32_LANES..];
            finish(simd, sums, product.add, to, step);
        }
    } else {
        let zero = [[simd.splat_f32s(0.0); 1]; M];
        let sums = accumulate::<S, M, W, 1>(simd, rows, panel, 0, zero);
        finish(simd, sums, product.add, to, step);
    }
}

/// Adds the products of `M` rows with the registers `first..first + V` of each row of a panel.
#[inline(always)]
pub fn accumulate<S: Simd, const M: usize, const W: usize, const V: usize>(
    simd: S,
    rows: [&[f32]; M],
    panel: &[f32],
    first: usize,
    mut sums: [[S::f32s; V]; M],
) -> [[S::f32s; V]; M] {
    let panel = panel.as_chunks::<W>().0;
    let inner = panel.len();
    let mut cut = rows;
    for m in 0..M {
        cut[m] = &rows[m][..inner];
    }
    for k in 0..inner {
        let row = &S::as_simd_f32s(&panel[k]).0[first..];
        let row: &[S::f32s; V] = row.first_chunk().expect("a panel is too narrow");
        for m in 0..M {
            let factor = simd.splat_f32s(cut[m][k]);
            for v in 0..V {
                sums[m][v] = simd.mul_add_e_f32s(factor, row[v], sums[m][v]);
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
