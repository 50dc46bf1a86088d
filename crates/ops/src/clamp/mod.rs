//! Limits every element to `[min, max]`.
//!
//! The gradient passes where `min ≤ x ≤ max`, both bounds included, and is 0 elsewhere, as in
//! PyTorch.

mod cpu;
mod device;
mod reference;

use crate::conformance::{Case, InputKind};
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// `min(max(x, self.min), self.max)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clamp {
    /// Smallest value that comes out.
    pub min: f32,
    /// Largest value that comes out, at least `min`.
    pub max: f32,
}

impl Op for Clamp {
    fn name(&self) -> &'static str {
        "clamp"
    }

    fn attributes(&self) -> String {
        format!("[{}, {}]", self.min, self.max)
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        if self.min <= self.max {
            return Ok(inputs[0]);
        }
        let Self { min, max } = self;
        let why = format!("min must not exceed max, found {min} and {max}");
        Err(ShapeError::new(self.name(), inputs, why))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        2 * inputs[0].len() as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(self.min, self.max, cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::backward(self.min, self.max, cx.inputs[0], cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(self.min, self.max, cx.inputs[0], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            reference::backward(self.min, self.max, cx.inputs[0], cx.output_grad, grad);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let case = |name: &str, min: f32, max: f32, dims: Dims| {
        let kinks = InputKind::AwayFrom(vec![min, max]);
        Case::new(name, Clamp { min, max }, &[dims]).input(kinks)
    };
    vec![
        case("clamp [0, 1] 3×32×32", 0.0, 1.0, Dims::new(2, 32, 32, 3)),
        case(
            "clamp [-0.5, 0.25] 1×5×7",
            -0.5,
            0.25,
            Dims::new(1, 5, 7, 1),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_pass_the_gradient() {
        let x = [-0.1, 0.0, 0.5, 1.0, 1.1];
        let mut out = [0.0; 5];
        cpu::backward(0.0, 1.0, &x, &[2.0; 5], &mut out);
        assert_eq!(out, [0.0, 2.0, 2.0, 2.0, 0.0]);
        cpu::forward(0.0, 1.0, &x, &mut out);
        assert_eq!(out, [0.0, 0.0, 0.5, 1.0, 1.0]);
        cpu::forward(0.0, 1.0, &[f32::NAN; 5], &mut out);
        assert!(out.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn refuses_bounds_in_the_wrong_order() {
        for (min, max) in [(1.0, 0.0), (f32::NAN, 1.0), (0.0, f32::NAN)] {
            assert!(Clamp { min, max }.output(&[Dims::vector(1, 1)]).is_err());
        }
    }
}
