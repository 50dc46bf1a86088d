//! Two-dimensional discrete cosine transform over height and width of every channel, not
//! normalised, and its exact inverse (Ahmed, Natarajan & Rao 1974):
//!
//! - DCT-II along an axis of `N`: `X[k] = 2 Σ_n x[n] cos(πk(2n+1)/(2N))`;
//! - inverse: `x[n] = (X[0]/2 + Σ_{k≥1} X[k] cos(πk(2n+1)/(2N))) / N`.
//!
//! Both are linear, so the gradients are the adjoint transforms: each is the other one with other
//! weights.

mod cpu;
mod device;
mod line;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};
use cpu::Transform;

/// 2-D DCT-II of every channel, or its inverse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dct2 {
    /// From coefficients to the signal instead of from the signal to coefficients.
    pub inverse: bool,
}

impl Op for Dct2 {
    fn name(&self) -> &'static str {
        if self.inverse { "idct2" } else { "dct2" }
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        if inputs[0].area() > 0 {
            return Ok(inputs[0]);
        }
        let why = "extents must be at least 1";
        Err(ShapeError::new(self.name(), inputs, why))
    }

    /// A real transform of `N` numbers is about `2.5 N log₂ N + 6 N` operations.
    fn flops(&self, inputs: &[Dims]) -> u64 {
        let per_element = |n: usize| 2.5 * (n as f64).log2() + 6.0;
        let Dims { h, w, .. } = inputs[0];
        (inputs[0].len() as f64 * (per_element(h) + per_element(w))) as u64
    }

    fn scratch_len(&self, inputs: &[Dims], threads: usize) -> usize {
        threads.clamp(1, inputs[0].n.max(1)) * cpu::task_scratch(inputs[0])
    }

    fn backward_reads(&self) -> Reads {
        Reads::NOTHING
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        let transform = if self.inverse {
            Transform::Inverse
        } else {
            Transform::Forward
        };
        let dims = cx.input_dims[0];
        cpu::transform(transform, dims, cx.inputs[0], cx.output, cx.scratch);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let transform = if self.inverse {
            Transform::InverseAdjoint
        } else {
            Transform::ForwardAdjoint
        };
        let dims = cx.input_dims[0];
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::transform(transform, dims, cx.output_grad, grad, cx.scratch);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        let dims = cx.input_dims[0];
        if self.inverse {
            reference::apply(dims, cx.inputs[0], cx.output, reference::inverse);
        } else {
            reference::apply(dims, cx.inputs[0], cx.output, reference::forward);
        }
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        let dims = cx.input_dims[0];
        let Some(grad) = cx.input_grads[0].as_deref_mut() else {
            return;
        };
        // The adjoint swaps the two indices of the matrix.
        if self.inverse {
            let adjoint = |size, k, n| reference::inverse(size, n, k);
            reference::apply(dims, cx.output_grad, grad, adjoint);
        } else {
            let adjoint = |size, n, k| reference::forward(size, k, n);
            reference::apply(dims, cx.output_grad, grad, adjoint);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let shapes = [
        Dims::new(2, 32, 32, 3),
        Dims::new(3, 30, 34, 1),
        Dims::new(1, 7, 5, 2),
        Dims::new(2, 64, 64, 1),
        Dims::new(1, 13, 1, 3),
        Dims::new(2, 1, 2, 1),
        Dims::vector(2, 3),
    ];
    let both = [false, true];
    let all = both.iter().flat_map(|&inverse| {
        let op = Dct2 { inverse };
        let case = move |dims: Dims| Case::new(format!("{} {dims}", op.name()), op, &[dims]);
        shapes.map(case)
    });
    all.map(|case| case.forward(1e-7, 2e-6).backward(1e-7, 2e-6))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(transform: Transform, dims: Dims, x: &[f32]) -> Vec<f32> {
        let mut out = vec![f32::NAN; x.len()];
        let mut scratch = vec![f32::NAN; cpu::task_scratch(dims)];
        cpu::transform(transform, dims, x, &mut out, &mut scratch);
        out
    }

    #[test]
    fn inverse_undoes() {
        for size in [1, 2, 3, 5, 7, 16, 30, 34, 101] {
            let dims = Dims::new(1, size, size + 1, 2);
            let x: Vec<f32> = (0..dims.len()).map(|i| (i as f32 * 0.7).sin()).collect();
            let back = run(Transform::Inverse, dims, &run(Transform::Forward, dims, &x));
            let error = x.iter().zip(&back).map(|(a, b)| (a - b).abs());
            assert!(error.fold(0.0, f32::max) < 2e-6, "{size}");
        }
    }

    /// A constant has one coefficient: `4 h w` times its value.
    #[test]
    fn constant_has_one_coefficient() {
        let dims = Dims::new(1, 4, 6, 1);
        let out = run(Transform::Forward, dims, &[0.5; 24]);
        assert!((out[0] - 48.0).abs() < 1e-5);
        assert!(out[1..].iter().all(|x| x.abs() < 1e-5), "{out:?}");
    }
}
