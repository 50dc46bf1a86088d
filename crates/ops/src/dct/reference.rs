//! Cosine transforms in double precision: products with the matrices that define them.

use crate::Dims;
use std::f64::consts::PI;

/// Element `(k, n)` of the DCT-II of `size` numbers.
pub(super) fn forward(size: usize, k: usize, n: usize) -> f64 {
    2.0 * (PI * k as f64 * (2 * n + 1) as f64 / (2 * size) as f64).cos()
}

/// Element `(n, k)` of its inverse.
pub(super) fn inverse(size: usize, n: usize, k: usize) -> f64 {
    let half = if k == 0 { 0.5 } else { 1.0 };
    half / size as f64 * (PI * k as f64 * (2 * n + 1) as f64 / (2 * size) as f64).cos()
}

/// Multiplies columns and rows of every channel by the matrix `matrix(size, out, in)`.
pub(super) fn apply(
    Dims { n, h, w, c }: Dims,
    x: &[f64],
    out: &mut [f64],
    matrix: impl Fn(usize, usize, usize) -> f64,
) {
    let table = |size: usize| -> Vec<Vec<f64>> {
        let row = |o| (0..size).map(|i| matrix(size, o, i)).collect();
        (0..size).map(row).collect()
    };
    let (rows, columns) = (table(h), table(w));
    let at = |b: usize, y: usize, x: usize, k: usize| ((b * h + y) * w + x) * c + k;
    let mut half = vec![0.0; x.len()];
    for b in 0..n {
        for k in 0..c {
            for i in 0..h {
                for j in 0..w {
                    half[at(b, i, j, k)] = (0..h).map(|y| rows[i][y] * x[at(b, y, j, k)]).sum();
                }
            }
            for i in 0..h {
                for j in 0..w {
                    let terms = (0..w).map(|x| columns[j][x] * half[at(b, i, x, k)]);
                    out[at(b, i, j, k)] = terms.sum();
                }
            }
        }
    }
}
