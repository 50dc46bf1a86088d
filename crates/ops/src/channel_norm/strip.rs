//! Sums over the rows of a piece, a strip of adjacent channels at a time.
//!
//! Rows are taken in short blocks. Inside a block, sums are in single precision; across blocks they
//! are in double precision. A block of a strip stays in the first-level cache, so that it can be read
//! twice and the variance be computed around the block's own mean: no cancellation, however far the
//! mean is from zero.
//!
//! The inner loops run over the channels of a strip with slices of one length: the shape that
//! compilers turn into vector code.

use std::ops::Range;

/// Rows of a block.
const BLOCK: usize = 32;
/// Channels of a strip, at most.
const STRIP: usize = 64;

/// Mean and sum of squared deviations over some rows.
#[derive(Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) mean: f64,
    pub(super) squares: f64,
}

/// Joins the moments of two sets of rows (Chan, Golub & LeVeque 1983, equation 2.1).
pub(super) struct Join {
    share: f64,
    between: f64,
}

impl Join {
    /// Joins the moments over `rows` rows, possibly none, with those over `more` rows.
    pub(super) fn new(rows: usize, more: usize) -> Self {
        let share = more as f64 / (rows + more) as f64;
        Self {
            share,
            between: rows as f64 * share,
        }
    }

    pub(super) fn join(&self, a: Moments, b: Moments) -> Moments {
        let step = b.mean - a.mean;
        Moments {
            mean: a.mean + step * self.share,
            squares: a.squares + b.squares + step * step * self.between,
        }
    }
}

/// Calls `done` with each channel and its moments over the rows of `x`.
pub(super) fn moments(x: &[f32], c: usize, mut done: impl FnMut(usize, Moments)) {
    for strip in strips(c) {
        let first = strip.start;
        let mut total = [Moments::default(); STRIP];
        let total = &mut total[..strip.len()];
        let mut rows = 0;
        for block in x.chunks(BLOCK * c) {
            add_moments(block, c, strip.clone(), rows, total);
            rows += block.len() / c;
        }
        for (i, moments) in total.iter().enumerate() {
            done(first + i, *moments);
        }
    }
}

/// Calls `done` with each channel and its sums of `g` and of `g · x̂` over the rows.
pub(super) fn gradient_sums(
    (x, g): (&[f32], &[f32]),
    (mean, inv_std): (&[f32], &[f32]),
    mut done: impl FnMut(usize, [f64; 2]),
) {
    let c = mean.len();
    for strip in strips(c) {
        let first = strip.start;
        let stats = (&mean[strip.clone()], &inv_std[strip.clone()]);
        let mut total = [[0.0f64; 2]; STRIP];
        let total = &mut total[..strip.len()];
        for (x, g) in x.chunks(BLOCK * c).zip(g.chunks(BLOCK * c)) {
            add_products(x, g, strip.clone(), stats, c, total);
        }
        for (i, sums) in total.iter().enumerate() {
            done(first + i, *sums);
        }
    }
}

fn strips(c: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..c).step_by(STRIP);
    starts.map(move |first| first..c.min(first + STRIP))
}

/// Joins the moments of a block to `total`, which covers `before` rows so far.
fn add_moments(block: &[f32], c: usize, strip: Range<usize>, before: usize, total: &mut [Moments]) {
    let rows = block.len() / c;
    let mut buffers = [[0.0f32; STRIP]; 3];
    let [mean, sum, squares] = buffers.each_mut().map(|b| &mut b[..strip.len()]);
    for row in block.chunks_exact(c) {
        for (mean, x) in mean.iter_mut().zip(&row[strip.clone()]) {
            *mean += x;
        }
    }
    for mean in mean.iter_mut() {
        *mean /= rows as f32;
    }
    // Deviations sum to zero but for the rounding of `mean`, which they so correct.
    for row in block.chunks_exact(c) {
        let sums = sum.iter_mut().zip(squares.iter_mut());
        for ((sum, squares), (x, mean)) in sums.zip(row[strip.clone()].iter().zip(mean.iter())) {
            let off = x - mean;
            *sum += off;
            *squares += off * off;
        }
    }
    let join = Join::new(before, rows);
    let count = rows as f64;
    for (i, total) in total.iter_mut().enumerate() {
        let block = if squares[i].is_finite() {
            let sum = f64::from(sum[i]);
            Moments {
                mean: f64::from(mean[i]) + sum / count,
                squares: (f64::from(squares[i]) - sum * sum / count).max(0.0),
            }
        } else {
            wide_range_moments(block, c, strip.start + i)
        };
        *total = join.join(*total, block);
    }
}

/// Moments of one channel of a block whose squares overflow single precision.
#[cold]
fn wide_range_moments(block: &[f32], c: usize, channel: usize) -> Moments {
    let values = || block.chunks_exact(c).map(|row| f64::from(row[channel]));
    let rows = (block.len() / c) as f64;
    let mean = values().sum::<f64>() / rows;
    Moments {
        mean,
        squares: values().map(|x| (x - mean) * (x - mean)).sum(),
    }
}

/// Adds the sums of `g` and `g · x̂` over a block to `total`.
fn add_products(
    x: &[f32],
    g: &[f32],
    strip: Range<usize>,
    (mean, inv_std): (&[f32], &[f32]),
    c: usize,
    total: &mut [[f64; 2]],
) {
    let mut buffers = [[0.0f32; STRIP]; 2];
    let [of_g, of_product] = buffers.each_mut().map(|b| &mut b[..strip.len()]);
    for (x, g) in x.chunks_exact(c).zip(g.chunks_exact(c)) {
        let sums = of_g.iter_mut().zip(of_product.iter_mut());
        let values = x[strip.clone()].iter().zip(&g[strip.clone()]);
        let stats = mean.iter().zip(inv_std);
        for (((of_g, of_product), (x, g)), (mean, inv_std)) in sums.zip(values).zip(stats) {
            *of_g += g;
            *of_product += g * ((x - mean) * inv_std);
        }
    }
    for (total, (a, b)) in total.iter_mut().zip(of_g.iter().zip(of_product.iter())) {
        total[0] += f64::from(*a);
        total[1] += f64::from(*b);
    }
}
