//! The distortion budget: rescales a raw perturbation so that its size is a given number.
//!
//! For every example `δ = t · ε / (m + 1e-4)` with `t = tanh(y)` and `m` the size of `t` over all
//! its elements: the mean of `|t|` for the ℓ1 budget of the paper (Tamkin, Wu & Goodman, *Viewmaker
//! networks*, ICLR 2021, section 3.2), the root mean square for ℓ2, the largest `|t|` for ℓ∞.
//! It is a rescaling onto the sphere, not a projection into the ball: unless `y` is (almost) zero
//! the budget is used up, and with ℓ1 and ℓ2 single elements may exceed `ε` by far.
//!
//! With `s = ε / (m + 1e-4)` the gradient is
//! `∂L/∂t = s g − ⟨g, t⟩ s / (m + 1e-4) · ∂m/∂t` and `∂t/∂y = 1 − t²`, where `∂m/∂t` is
//! `sign(t)/N`, `t/(N m)`, or the sign at the first largest `|t|` and 0 elsewhere.

mod cpu;
mod device;
mod norm;
mod reference;

pub use norm::{Norm, UnknownNorm};

use crate::conformance::{Case, InputKind};
use crate::{Backward, Dims, Forward, Op, Reads, ShapeError};

/// Added to the size before dividing, as in the authors' implementation.
pub const EPSILON: f64 = 1e-4;

/// Rescales `tanh(y)` per example to the size `distortion_budget`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// The size `ε` of every example's output; finite and positive, 0.05 in most published runs.
    pub distortion_budget: f32,
    /// How the size is measured.
    pub norm: Norm,
}

impl Op for Budget {
    fn name(&self) -> &'static str {
        "budget"
    }

    fn attributes(&self) -> String {
        format!("{} {}", self.norm, self.distortion_budget)
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(self.name(), inputs, 1)?;
        let budget = self.distortion_budget;
        if budget.is_finite() && budget > 0.0 {
            return Ok(inputs[0]);
        }
        let why = format!("the distortion budget must be finite and positive, found {budget}");
        Err(ShapeError::new(self.name(), inputs, why))
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        // A tanh is about a dozen operations.
        15 * inputs[0].len() as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        cpu::forward(self, cx.input_dims[0].example(), cx.inputs[0], cx.output);
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let example = cx.input_dims[0].example();
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            cpu::backward(self, example, cx.inputs[0], cx.output_grad, grad);
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        reference::forward(self, cx.input_dims[0].example(), cx.inputs[0], cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        let example = cx.input_dims[0].example();
        if let Some(grad) = cx.input_grads[0].as_deref_mut() {
            reference::backward(self, example, cx.inputs[0], cx.output_grad, grad);
        }
    }
}

/// Cases of the conformance list.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for norm in Norm::ALL {
        let op = |distortion_budget| Budget {
            distortion_budget,
            norm,
        };
        // |t| has a kink at 0, the largest |t| jumps where two are equal.
        let kinks = match norm {
            Norm::L1 => InputKind::AwayFrom(vec![0.0]),
            Norm::L2 => InputKind::Normal,
            Norm::Linf => InputKind::Uniform {
                low: 0.1,
                high: 1.5,
            },
        };
        let images = [Dims::new(2, 32, 32, 3)];
        let odd = [Dims::new(1, 5, 7, 1)];
        cases.push(
            Case::new(format!("budget {norm} 3×32×32"), op(0.05), &images).input(kinks.clone()),
        );
        cases.push(Case::new(format!("budget {norm} 1×5×7"), op(2.0), &odd).input(kinks.clone()));
        let single = [Dims::vector(2, 1)];
        cases.push(Case::new(format!("budget {norm} single"), op(0.3), &single).input(kinks));
    }
    cases
}

#[cfg(test)]
mod tests;
