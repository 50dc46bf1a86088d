//! Projection of every vector onto the unit sphere: `y = x / |x|`.
//!
//! There is no epsilon: every row that is not zero comes out with length 1, from the smallest
//! denormal to the largest finite numbers. A zero row gives zeros.
//!
//! The gradient is `(g − y ⟨y, g⟩) / |x|`. It has no bound near zero; for rows whose length is below
//! the smallest normal number (about 1.2e-38) it is defined as 0, and elsewhere it saturates at the
//! largest finite number.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// `x / |x|` for every vector of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L2Normalize;

impl Op for L2Normalize {
    fn name(&self) -> &'static str {
        "l2_normalize"
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        if inputs[0].is_vector() {
            return Ok(inputs[0]);
        }
        let why = "expected one vector per example, found a map";
        Err(ShapeError::new(self.name(), inputs, why))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        3 * inputs[0].len() as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(cx.input_dims[0].c, cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::backward(cx.input_dims[0].c, cx.inputs[0], cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(cx.input_dims[0].c, cx.inputs[0], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            reference::backward(cx.input_dims[0].c, cx.inputs[0], cx.output_grad, grad);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let case = |n, c| {
        let name = format!("l2_normalize {n} of {c}");
        Case::new(name, L2Normalize, &[Dims::vector(n, c)])
    };
    vec![case(1, 2), case(2, 7), case(33, 128)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(x: &[f32], g: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut y, mut gx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        cpu::forward(x.len(), x, &mut y);
        cpu::backward(x.len(), x, g, &mut gx);
        (y, gx)
    }

    #[test]
    fn length_is_one_at_every_scale() {
        for scale in [1e-45, 1e-42, 1e-38, 1e-20, 1.0, 1e20, 1e30, 1e38] {
            let x = [3.0 * scale, -2.0 * scale, 0.0, scale];
            let (y, gx) = run(&x, &[10.0, 1.0, -5.0, 2.0]);
            let length: f64 = y.iter().map(|&y| f64::from(y).powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-6, "{scale}: {length}");
            assert!(gx.iter().all(|g| g.is_finite()), "{scale}: {gx:?}");
        }
    }

    #[test]
    fn zero_stays_zero() {
        let (y, gx) = run(&[0.0; 3], &[1.0, 2.0, 3.0]);
        assert_eq!(y, [0.0; 3]);
        assert_eq!(gx, [0.0; 3]);
    }

    #[test]
    fn nan_is_not_hidden() {
        for x in [[f32::NAN, 0.0, 0.0], [1.0, f32::NAN, 2.0], [f32::NAN; 3]] {
            let (y, gx) = run(&x, &[1.0, 2.0, 3.0]);
            assert!(y.iter().chain(&gx).all(|x| x.is_nan()), "{y:?} {gx:?}");
        }
    }

    #[test]
    fn refuses_maps() {
        assert!(L2Normalize.output(&[Dims::new(1, 2, 1, 3)]).is_err());
    }
}
