//! Bilinear resizing on the CPU, one row per task.

use crate::Dims;
use rayon::prelude::*;
use std::ops::Range;

/// How one axis is resampled.
#[derive(Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    /// Input elements per output element.
    scale: f64,
}

/// The two input elements that an output element reads.
struct Taps {
    low: usize,
    high: usize,
    /// Weight of `high`; `low` has the rest.
    weight: f32,
}

impl Axis {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        Self { from, to, scale }
    }

    fn taps(&self, o: usize) -> Taps {
        let at = ((o as f64 + 0.5) * self.scale - 0.5).max(0.0);
        let low = (at as usize).min(self.from - 1);
        Taps {
            low,
            high: (low + 1).min(self.from - 1),
            weight: (at - low as f64) as f32,
        }
    }

    /// Output elements among which are all that read input element `i`, one spare on either side
    /// against rounding.
    fn readers(&self, i: usize) -> Range<usize> {
        let o = |at: f64| (at + 0.5) / self.scale - 0.5;
        // Casts to unsigned saturate at 0.
        let first = (o(i as f64 - 1.0).floor() - 1.0) as usize;
        let end = (o(i as f64 + 1.0).ceil() + 2.0) as usize;
        first.min(self.to)..end.min(self.to)
    }
}

/// Resizes every example of `x`.
pub(super) fn forward(from: Dims, to: Dims, x: &[f32], out: &mut [f32]) {
    let (rows, columns) = (Axis::new(from.h, to.h), Axis::new(from.w, to.w));
    let c = from.c;
    let line = from.w * c;
    let tasks = out.par_chunks_exact_mut(to.w * c).enumerate();
    tasks.for_each(|(r, out)| {
        let example = r / to.h * from.h;
        let row = rows.taps(r % to.h);
        let low = &x[(example + row.low) * line..][..line];
        let high = &x[(example + row.high) * line..][..line];
        for (j, out) in out.chunks_exact_mut(c).enumerate() {
            let column = columns.taps(j);
            let at = |line: &[f32], k: usize| {
                let (left, right) = (line[column.low * c + k], line[column.high * c + k]);
                (1.0 - column.weight) * left + column.weight * right
            };
            for (k, out) in out.iter_mut().enumerate() {
                *out = (1.0 - row.weight) * at(low, k) + row.weight * at(high, k);
            }
        }
    });
}

/// Each task owns one row of the input's gradient and visits the rows of the output that read it,
/// so that sums have one order.
pub(super) fn backward(from: Dims, to: Dims, g: &[f32], out: &mut [f32]) {
    let (rows, columns) = (Axis::new(from.h, to.h), Axis::new(from.w, to.w));
    let c = from.c;
    let tasks = out.par_chunks_exact_mut(from.w * c).enumerate();
    tasks.for_each(|(r, out)| {
        let (example, i) = (r / from.h, r % from.h);
        out.fill(0.0);
        for o in rows.readers(i) {
            let Taps { low, high, weight } = rows.taps(o);
            let mut share = 0.0;
            if low == i {
                share += 1.0 - weight;
            }
            if high == i {
                share += weight;
            }
            if share > 0.0 {
                let g = &g[(example * to.h + o) * to.w * c..][..to.w * c];
                scatter_row(columns, c, share, g, out);
            }
        }
    });
}

/// Adds `share` times the gradient `g` of one output row to the columns it was read from.
fn scatter_row(columns: Axis, c: usize, share: f32, g: &[f32], out: &mut [f32]) {
    for (j, g) in g.chunks_exact(c).enumerate() {
        let Taps { low, high, weight } = columns.taps(j);
        let mut add = |at: usize, weight: f32| {
            for (out, g) in out[at * c..][..c].iter_mut().zip(g) {
                *out += weight * g;
            }
        };
        add(low, share * (1.0 - weight));
        add(high, share * weight);
    }
}
