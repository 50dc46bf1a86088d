//! Rectifiers: `ReLU(x) = max(x, 0)` and leaky ReLU, `x` where positive and `slope · x` elsewhere.
//!
//! At `x = 0` the derivative is the one of the negative side, 0 or `slope`, as in PyTorch. Not a
//! number stays not a number.

mod cpu;
mod device;
mod reference;

use crate::conformance::{Case, InputKind};
use crate::{Backward, Dims, Follower, Forward, Op, Reads, ShapeError};

/// An element-wise non-linearity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// `max(x, 0)`.
    #[default]
    Relu,
    /// `x` where positive, `slope · x` elsewhere.
    LeakyRelu {
        /// Derivative for `x ≤ 0`; any finite number, usually 0.01 or 0.2.
        slope: f32,
    },
}

impl Op for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
        }
    }

    fn attributes(&self) -> String {
        match self {
            Self::Relu => String::new(),
            Self::LeakyRelu { slope } => format!("slope {slope}"),
        }
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        match self {
            Self::LeakyRelu { slope } if !slope.is_finite() => {
                let why = format!("slope must be finite, found {slope}");
                Err(ShapeError::new(self.name(), inputs, why))
            }
            _ => Ok(inputs[0]),
        }
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        inputs[0].len() as u64
    }

    fn follower(&self) -> Option<Follower> {
        Some(Follower::Activation(*self))
    }

    fn backward_reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        match *self {
            Self::Relu => cpu::relu(cx.inputs[0], cx.output),
            Self::LeakyRelu { slope } => cpu::leaky_relu(slope, cx.inputs[0], cx.output),
        }
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let Some(grad) = cx.input_grads[0].as_deref_mut() else {
            return;
        };
        match *self {
            Self::Relu => cpu::relu_backward(cx.inputs[0], cx.output_grad, grad),
            Self::LeakyRelu { slope } => {
                cpu::leaky_relu_backward(slope, cx.inputs[0], cx.output_grad, grad);
            }
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(self.slope(), cx.inputs[0], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            reference::backward(self.slope(), cx.inputs[0], cx.output_grad, grad);
        }
    }
}

impl Activation {
    fn slope(&self) -> f64 {
        match *self {
            Self::Relu => 0.0,
            Self::LeakyRelu { slope } => f64::from(slope),
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let kink = || InputKind::AwayFrom(vec![0.0]);
    let leaky = |slope| Activation::LeakyRelu { slope };
    let maps = [Dims::new(2, 5, 7, 3)];
    let large = [Dims::new(3, 32, 32, 16)];
    vec![
        Case::new("relu 3×5×7", Activation::Relu, &maps).input(kink()),
        Case::new("relu 16×32×32", Activation::Relu, &large).input(kink()),
        Case::new("leaky_relu 0.01", leaky(0.01), &maps).input(kink()),
        Case::new("leaky_relu 0.2 vector", leaky(0.2), &[Dims::vector(1, 1)]).input(kink()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_belongs_to_the_negative_side() {
        let x = [-1.0, -0.0, 0.0, 2.0, f32::NAN];
        let mut y = [0.0; 5];
        cpu::relu(&x, &mut y);
        assert_eq!(y[..4], [0.0, 0.0, 0.0, 2.0]);
        assert!(y[4].is_nan());
        cpu::relu_backward(&x[..4], &[3.0; 4], &mut y[..4]);
        assert_eq!(y[..4], [0.0, 0.0, 0.0, 3.0]);
        cpu::leaky_relu_backward(0.5, &x[..4], &[3.0; 4], &mut y[..4]);
        assert_eq!(y[..4], [1.5, 1.5, 1.5, 3.0]);
    }

    #[test]
    fn refuses_a_slope_that_is_not_finite() {
        let op = Activation::LeakyRelu { slope: f32::NAN };
        assert!(op.output(&[Dims::vector(1, 1)]).is_err());
        assert!(Activation::Relu.output(&[]).is_err());
    }
}
