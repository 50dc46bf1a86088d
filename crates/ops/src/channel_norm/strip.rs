//! Sums over the rows of a piece for a strip of adjacent channels.
//!
//! Rows are taken in short blocks. Inside a block, sums are in single precision and in registers;
//! across blocks they are in double precision. A block is read twice in a row and so only once from
//! memory, which lets the variance be computed around the block's own mean: no cancellation, however
//! far the mean is from zero.

use std::array::from_fn;

/// Rows of a block.
const BLOCK: usize = 32;
/// Channels of a wide strip: four vectors of four, or one of sixteen.
const WIDE: usize = 16;

/// Mean and sum of squared deviations of some rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) rows: f64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Moments {
    /// Joins the moments of two sets of rows (Chan, Golub & LeVeque 1983, equation 2.1).
    pub(super) fn join(self, other: Self) -> Self {
        let rows = self.rows + other.rows;
        let step = other.mean - self.mean;
        Self {
            rows,
            mean: self.mean + step * (other.rows / rows),
            squares: self.squares + other.squares + step * step * (self.rows * other.rows / rows),
        }
    }
}

/// Calls `done` with each channel and its moments over the rows of `x`.
pub(super) fn moments(x: &[f32], c: usize, mut done: impl FnMut(usize, Moments)) {
    each_strip(c, |first, width| match width {
        WIDE => emit(first, moments_of::<WIDE>(x, c, first), &mut done),
        4 => emit(first, moments_of::<4>(x, c, first), &mut done),
        _ => emit(first, moments_of::<1>(x, c, first), &mut done),
    });
}

/// Calls `done` with each channel and its sums of `g` and of `g · x̂` over the rows.
pub(super) fn gradient_sums(
    (x, g): (&[f32], &[f32]),
    (mean, inv_std): (&[f32], &[f32]),
    mut done: impl FnMut(usize, [f64; 2]),
) {
    let (c, stats) = (mean.len(), (mean, inv_std));
    each_strip(c, |first, width| match width {
        WIDE => emit(first, sums_of::<WIDE>(x, g, stats, first), &mut done),
        4 => emit(first, sums_of::<4>(x, g, stats, first), &mut done),
        _ => emit(first, sums_of::<1>(x, g, stats, first), &mut done),
    });
}

/// Cuts `c` channels into strips of 16, 4 and 1.
fn each_strip(c: usize, mut f: impl FnMut(usize, usize)) {
    let mut first = 0;
    while first < c {
        let width = match c - first {
            WIDE.. => WIDE,
            4.. => 4,
            _ => 1,
        };
        f(first, width);
        first += width;
    }
}

fn emit<T: Copy, const W: usize>(first: usize, of: [T; W], done: &mut impl FnMut(usize, T)) {
    for (i, value) in of.into_iter().enumerate() {
        done(first + i, value);
    }
}

/// The strip `first .. first + W` of every row.
fn strip<const W: usize>(block: &[f32], c: usize, first: usize) -> impl Iterator<Item = [f32; W]> {
    let rows = block.chunks_exact(c);
    rows.map(move |row| from_fn(|i| row[first..first + W][i]))
}

fn moments_of<const W: usize>(x: &[f32], c: usize, first: usize) -> [Moments; W] {
    let mut total = [Moments::default(); W];
    for block in x.chunks(BLOCK * c) {
        let rows = (block.len() / c) as f32;
        let mut mean = [0.0f32; W];
        for x in strip::<W>(block, c, first) {
            for i in 0..W {
                mean[i] += x[i];
            }
        }
        for mean in &mut mean {
            *mean /= rows;
        }
        // Deviations sum to zero but for the rounding of `mean`, which they so correct.
        let (mut sum, mut squares) = ([0.0f32; W], [0.0f32; W]);
        for x in strip::<W>(block, c, first) {
            for i in 0..W {
                let off = x[i] - mean[i];
                sum[i] += off;
                squares[i] += off * off;
            }
        }
        for i in 0..W {
            let block = if squares[i].is_finite() {
                let (rows, sum) = (f64::from(rows), f64::from(sum[i]));
                Moments {
                    rows,
                    mean: f64::from(mean[i]) + sum / rows,
                    squares: (f64::from(squares[i]) - sum * sum / rows).max(0.0),
                }
            } else {
                wide_range_moments(block, c, first + i)
            };
            total[i] = total[i].join(block);
        }
    }
    total
}

/// Moments of one channel of a block whose squares overflow single precision.
#[cold]
fn wide_range_moments(block: &[f32], c: usize, channel: usize) -> Moments {
    let values = || block.chunks_exact(c).map(|row| f64::from(row[channel]));
    let rows = (block.len() / c) as f64;
    let mean = values().sum::<f64>() / rows;
    Moments {
        rows,
        mean,
        squares: values().map(|x| (x - mean) * (x - mean)).sum(),
    }
}

fn sums_of<const W: usize>(
    x: &[f32],
    g: &[f32],
    (mean, inv_std): (&[f32], &[f32]),
    first: usize,
) -> [[f64; 2]; W] {
    let c = mean.len();
    let mean: [f32; W] = from_fn(|i| mean[first + i]);
    let inv_std: [f32; W] = from_fn(|i| inv_std[first + i]);
    let mut total = [[0.0f64; 2]; W];
    for (x, g) in x.chunks(BLOCK * c).zip(g.chunks(BLOCK * c)) {
        let (mut of_g, mut of_product) = ([0.0f32; W], [0.0f32; W]);
        for (x, g) in strip::<W>(x, c, first).zip(strip::<W>(g, c, first)) {
            for i in 0..W {
                of_g[i] += g[i];
                of_product[i] += g[i] * ((x[i] - mean[i]) * inv_std[i]);
            }
        }
        for i in 0..W {
            total[i][0] += f64::from(of_g[i]);
            total[i][1] += f64::from(of_product[i]);
        }
    }
    total
}
