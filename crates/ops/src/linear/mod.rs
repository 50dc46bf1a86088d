//! Fully connected layer.

mod cpu;
mod device;
mod reference;

use crate::conformance::Case;
use crate::{Backward, Dims, Forward, Init, Op, ParamSpec, Reads, ShapeError};

/// `y[n, o] = bias[o] + Σ weight[o, i] · x[n, i]` on vectors.
///
/// Parameters: `weight` of shape `[out, in]` and, when `bias` is set, `bias` of shape `[out]`, both
/// initialised as PyTorch does: uniform within `±1/√in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Length of the output vector.
    pub out_features: usize,
    /// Whether a learned constant is added to each output.
    pub bias: bool,
}

impl Linear {
    const NAME: &'static str = "linear";
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        ShapeError::expect_inputs(Self::NAME, inputs, 1)?;
        let refuse = |why: &str| Err(ShapeError::new(Self::NAME, inputs, why));
        if self.out_features == 0 {
            return refuse("expected at least 1 output feature, found 0");
        }
        if !inputs[0].is_vector() {
            return refuse("expected vectors; flatten or pool the maps before");
        }
        if inputs[0].is_empty() {
            return refuse("expected a non-empty input");
        }
        Ok(Dims::vector(inputs[0].n, self.out_features))
    }

    fn params(&self, inputs: &[Dims]) -> Vec<ParamSpec> {
        let (input, output) = (inputs[0].c, self.out_features);
        let init = Init::Uniform {
            bound: 1.0 / (input as f32).sqrt(),
        };
        let weight = ParamSpec {
            name: "weight",
            shape: vec![output, input],
            init,
        };
        let bias = self.bias.then(|| ParamSpec {
            name: "bias",
            shape: vec![output],
            init,
        });
        std::iter::once(weight).chain(bias).collect()
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        2 * inputs[0].len() as u64 * self.out_features as u64
    }

    fn backward_reads(&self) -> Reads {
        Reads::INPUTS
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        let bias = self.bias.then(|| cx.params[1]);
        cpu::forward(
            cx.input_dims[0],
            cx.inputs[0],
            cx.params[0],
            bias,
            cx.output,
        );
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let input = cx.input_dims[0];
        if let Some(input_grad) = &mut cx.input_grads[0] {
            cpu::backward_input(input, cx.output_grad, cx.params[0], input_grad);
        }
        if let Some([weight, bias @ ..]) = cx.param_grads {
            cpu::backward_weight(input, cx.inputs[0], cx.output_grad, weight);
            if let [bias] = bias {
                cpu::backward_bias(cx.output_grad, bias);
            }
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        let bias = self.bias.then(|| cx.params[1]);
        reference::forward(
            cx.input_dims[0].c,
            cx.inputs[0],
            cx.params[0],
            bias,
            cx.output,
        );
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        reference::backward(cx);
    }
}

/// Shapes on which linear layers are checked.
pub fn cases() -> Vec<Case> {
    let case = |n: usize, input: usize, output: usize| {
        let op = Linear {
            out_features: output,
            bias: output.is_multiple_of(2),
        };
        let name = format!("linear {n}×[{input}]→{output}");
        Case::new(name, op, &[Dims::vector(n, input)])
    };
    vec![
        case(1, 1, 1),
        case(1, 37, 10),
        case(7, 65, 9),
        case(64, 130, 48),
        case(3, 300, 2),
        case(150, 20, 12),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_maps() {
        let linear = Linear {
            out_features: 10,
            bias: true,
        };
        let error = linear.output(&[Dims::new(2, 4, 4, 8)]).unwrap_err();
        assert!(error.to_string().contains("flatten"), "{error}");
        assert_eq!(
            linear.output(&[Dims::vector(2, 8)]),
            Ok(Dims::vector(2, 10))
        );
    }
}
