//! 2-D cosine transforms on the CPU: columns, then rows, in place, one example after the other in
//! each task.

use super::line::{Line, Weights};
use crate::Dims;
use crate::parallel::for_each_with_scratch;
use num_complex::Complex;

/// The four linear maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transform {
    /// DCT-II.
    Forward,
    /// Transpose of [`Transform::Forward`].
    ForwardAdjoint,
    /// Inverse of [`Transform::Forward`].
    Inverse,
    /// Transpose of [`Transform::Inverse`].
    InverseAdjoint,
}

impl Transform {
    fn weights(self, len: usize) -> Weights {
        let len = len as f32;
        let (all, first) = match self {
            Self::Forward => (1.0, 1.0),
            // 2 Σ_k g[k] cos(…): the halved coefficient 0 counts twice.
            Self::ForwardAdjoint => (2.0, 2.0),
            Self::Inverse => (1.0 / len, 1.0),
            // (1/N) Σ_n g[n] cos(…), half of it for coefficient 0.
            Self::InverseAdjoint => (0.5 / len, 0.5),
        };
        Weights { all, first }
    }

    fn is_analysis(self) -> bool {
        matches!(self, Self::Forward | Self::InverseAdjoint)
    }
}

/// Elements of scratch for one task.
pub(super) fn task_scratch(dims: Dims) -> usize {
    let complex = |len: usize| len + Line::of(len).scratch_len();
    2 * complex(dims.h).max(complex(dims.w))
}

/// Transforms every channel of every example; `scratch` holds [`task_scratch`] elements for each task
/// that may run at once.
pub(super) fn transform(
    transform: Transform,
    dims: Dims,
    x: &[f32],
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let (rows, columns) = (Line::of(dims.h), Line::of(dims.w));
    let row = dims.w * dims.c;
    let examples = out.chunks_exact_mut(dims.example());
    let examples = examples.zip(x.chunks_exact(dims.example()));
    for_each_with_scratch(
        examples,
        scratch,
        task_scratch(dims),
        |(out, x), scratch| {
            let buffer: &mut [Complex<f32>] = bytemuck::cast_slice_mut(scratch);
            out.copy_from_slice(x);
            along(transform, &rows, out, row, row, |q| q, buffer);
            let start = |q: usize| q / dims.c * row + q % dims.c;
            along(
                transform,
                &columns,
                out,
                dims.h * dims.c,
                dims.c,
                start,
                buffer,
            );
        },
    );
}

/// Transforms `count` lines in place; line `q` starts at `start(q)` and has its elements `stride`
/// apart.
fn along(
    transform: Transform,
    line: &Line,
    data: &mut [f32],
    count: usize,
    stride: usize,
    start: impl Fn(usize) -> usize,
    buffer: &mut [Complex<f32>],
) {
    let weights = transform.weights(line.len());
    for q in (0..count).step_by(2) {
        let first = start(q);
        // An odd line out is its own partner.
        let second = start((q + 1).min(count - 1));
        let cells = std::cell::Cell::from_mut(&mut *data).as_slice_of_cells();
        let read = |n: usize| {
            let at = n * stride;
            Complex::new(cells[first + at].get(), cells[second + at].get())
        };
        let write = |n: usize, value: Complex<f32>| {
            let at = n * stride;
            cells[first + at].set(value.re);
            cells[second + at].set(value.im);
        };
        if transform.is_analysis() {
            line.analyse(weights, buffer, read, write);
        } else {
            line.synthesise(weights, buffer, read, write);
        }
    }
}
