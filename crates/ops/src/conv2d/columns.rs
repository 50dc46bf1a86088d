//! Between activations and the matrix whose rows hold what each output position looks at.

use super::geometry::{Geometry, Segment};
use std::ops::Range;

/// A rectangle of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taps {
    pub(super) rows: Range<usize>,
    pub(super) columns: Range<usize>,
}

impl Taps {
    /// The whole kernel of `geometry`.
    pub(super) const fn all(geometry: &Geometry) -> Self {
        Self {
            rows: 0..geometry.kernel,
            columns: 0..geometry.kernel,
        }
    }

    /// How many positions of the kernel it holds.
    pub(super) fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

/// Writes one row of `[ky][kx][channel]` per output position of `positions`.
pub(super) fn gather(
    geometry: &Geometry,
    input: &[f32],
    positions: Range<usize>,
    taps: &Taps,
    columns: &mut [f32],
) {
    let c = geometry.input.c;
    let run = taps.columns.len() * c;
    for segment in geometry.segments(positions) {
        for (k, tap) in taps.rows.clone().enumerate() {
            let rows = rows_of(&segment, taps.len() * c, k * run, run);
            let Some(line) = line(geometry, &segment, tap) else {
                rows.for_each(|(_, at)| columns[at].fill(0.0));
                continue;
            };
            let line = &input[line];
            for (ox, at) in rows {
                let out = &mut columns[at];
                if let Some(ix) = geometry.inside(ox, &taps.columns) {
                    out.copy_from_slice(&line[ix * c..][..run]);
                    continue;
                }
                for (out, tap) in out.chunks_exact_mut(c).zip(taps.columns.clone()) {
                    match geometry.input_column(ox, tap) {
                        Some(ix) => out.copy_from_slice(&line[ix * c..][..c]),
                        None => out.fill(0.0),
                    }
                }
            }
        }
    }
}

/// The adjoint of [`gather`] for the whole kernel: adds each row to the inputs it came from.
///
/// `input` begins with the example `first_example`.
pub(super) fn scatter_add(
    geometry: &Geometry,
    columns: &[f32],
    positions: Range<usize>,
    first_example: usize,
    input: &mut [f32],
) {
    let c = geometry.input.c;
    let taps = Taps::all(geometry);
    let run = geometry.kernel * c;
    for mut segment in geometry.segments(positions) {
        segment.example -= first_example;
        for tap in taps.rows.clone() {
            let Some(line) = line(geometry, &segment, tap) else {
                continue;
            };
            let line = &mut input[line];
            for (ox, at) in rows_of(&segment, taps.len() * c, tap * run, run) {
                let row = &columns[at];
                if let Some(ix) = geometry.inside(ox, &taps.columns) {
                    add(&mut line[ix * c..][..run], row);
                    continue;
                }
                for (row, tap) in row.chunks_exact(c).zip(taps.columns.clone()) {
                    if let Some(ix) = geometry.input_column(ox, tap) {
                        add(&mut line[ix * c..][..c], row);
                    }
                }
            }
        }
    }
}

/// Where the input row that kernel row `tap` looks at lies in the input.
fn line(geometry: &Geometry, segment: &Segment, tap: usize) -> Option<Range<usize>> {
    let row = geometry.input_row(segment.row, tap)?;
    let length = geometry.input.w * geometry.input.c;
    let start = (segment.example * geometry.input.h + row) * length;
    Some(start..start + length)
}

/// For each output column of `segment`, where `run` elements of its matrix row lie.
fn rows_of(
    segment: &Segment,
    width: usize,
    skip: usize,
    run: usize,
) -> impl Iterator<Item = (usize, Range<usize>)> {
    let first = segment.offset * width + skip;
    let columns = segment.columns.clone().enumerate();
    columns.map(move |(j, ox)| (ox, first + j * width..first + j * width + run))
}

fn add(out: &mut [f32], x: &[f32]) {
    for (o, x) in out.iter_mut().zip(x) {
        *o += x;
    }
}
