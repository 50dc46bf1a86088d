//! Two-dimensional convolution (cross-correlation, as in every deep-learning framework).

mod cpu;
pub(crate) mod device;
mod direct;
mod fourier;
mod geometry;
mod lanes;
mod reference;
mod room;
mod tiles;
mod version;
mod winograd;

pub use geometry::Padding;
pub use version::{UnknownVersion, Version};

use crate::conformance::{Case, InputKind};
use crate::{Backward, Dims, Forward, Init, Op, ParamSpec, ShapeError};
pub(crate) use geometry::Geometry;

/// How weight and bias of a convolution are initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvInit {
    /// PyTorch's default: weight and bias uniform within `±1/√(in · k²)`.
    PyTorchDefault,
    /// Weight normal with standard deviation `√(2 / (out · k²))` (He et al. 2015, *Delving deep
    /// into rectifiers*, equation 14), bias uniform within `±1/√(in · k²)`.
    KaimingNormalFanOut,
}

/// `y[n, oy, ox, o] = bias[o] + Σ weight[o, i, ky, kx] · x[n, oy·s + ky − p, ox·s + kx − p, i]`.
///
/// Parameters: `weight` of shape `[out, in, k, k]` and, when `bias` is set, `bias` of shape
/// `[out]`. The output has `⌊(extent + 2p − k) / s⌋ + 1` rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Number of output channels.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Distance between neighbouring output positions, in input positions.
    pub stride: usize,
    /// What lies around the input, and how much of it.
    pub padding: Padding,
    /// Whether a learned constant is added to each output channel.
    pub bias: bool,
    /// Initialisation.
    pub init: ConvInit,
}

impl Conv2d {
    const NAME: &'static str = "conv2d";

    fn geometry(&self, inputs: &[Dims]) -> Result<Geometry, ShapeError> {
        ShapeError::expect_inputs(Self::NAME, inputs, 1)?;
        let refuse = |why: String| Err(ShapeError::new(Self::NAME, inputs, why));
        if self.out_channels == 0 || self.kernel == 0 || self.stride == 0 {
            return refuse(format!(
                "expected at least 1 output channel, kernel and stride, found {}, {} and {}",
                self.out_channels, self.kernel, self.stride
            ));
        }
        let (input, pad) = (inputs[0], self.padding.width());
        if input.is_empty() {
            return refuse("expected a non-empty input".into());
        }
        let shortest = input.h.min(input.w);
        if matches!(self.padding, Padding::Reflect(_)) && pad >= shortest {
            return refuse(format!(
                "reflection padding of {pad} needs more than {pad} rows and columns, found {shortest}"
            ));
        }
        if shortest + 2 * pad < self.kernel {
            return refuse(format!(
                "a kernel of {k}×{k} does not fit {shortest} rows or columns padded by {pad}",
                k = self.kernel
            ));
        }
        Ok(Geometry::new(
            input,
            self.out_channels,
            self.kernel,
            self.stride,
            self.padding,
        ))
    }

    /// The geometry of shapes that [`Op::output`] accepted.
    fn accepted(&self, inputs: &[Dims]) -> Geometry {
        self.geometry(inputs).expect("shapes were accepted before")
    }
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn attributes(&self) -> String {
        let mut text = format!("{k}×{k}", k = self.kernel);
        if self.stride != 1 {
            text += &format!(" s{}", self.stride);
        }
        match self.padding {
            Padding::Zero(0) => {}
            Padding::Zero(p) => text += &format!(" p{p}"),
            Padding::Reflect(p) => text += &format!(" reflect {p}"),
        }
        text
    }

    fn algorithm(&self, inputs: &[Dims]) -> Option<&'static str> {
        let geometry = self.geometry(inputs).ok()?;
        Some(cpu::Algorithm::new(&geometry).name(&geometry))
    }

    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError> {
        Ok(self.geometry(inputs)?.output)
    }

    fn params(&self, inputs: &[Dims]) -> Vec<ParamSpec> {
        let area = self.kernel * self.kernel;
        let bound = 1.0 / ((inputs[0].c * area) as f32).sqrt();
        let default = Init::Uniform { bound };
        let weight = match self.init {
            ConvInit::PyTorchDefault => default,
            ConvInit::KaimingNormalFanOut => Init::Normal {
                std: (2.0 / (self.out_channels * area) as f32).sqrt(),
            },
        };
        let mut params = vec![ParamSpec {
            name: "weight",
            shape: vec![self.out_channels, inputs[0].c, self.kernel, self.kernel],
            init: weight,
        }];
        if self.bias {
            params.push(ParamSpec {
                name: "bias",
                shape: vec![self.out_channels],
                init: default,
            });
        }
        params
    }

    fn flops(&self, inputs: &[Dims]) -> u64 {
        self.geometry(inputs).map_or(0, |g| g.flops())
    }

    fn scratch_len(&self, inputs: &[Dims], threads: usize) -> usize {
        self.geometry(inputs)
            .map_or(0, |g| cpu::scratch_len(&g, threads))
    }

    fn forward(&self, cx: Forward<'_, f32>) {
        let geometry = self.accepted(cx.input_dims);
        let bias = self.bias.then(|| cx.params[1]);
        cpu::forward(
            &geometry,
            cx.inputs[0],
            cx.params[0],
            bias,
            cx.output,
            cx.scratch,
        );
    }

    fn backward(&self, cx: Backward<'_, f32>) {
        let geometry = self.accepted(cx.input_dims);
        if let Some(input_grad) = &mut cx.input_grads[0] {
            cpu::backward_input(
                &geometry,
                cx.output_grad,
                cx.params[0],
                input_grad,
                cx.scratch,
            );
        }
        if let Some([weight, bias @ ..]) = cx.param_grads {
            cpu::backward_weight(&geometry, cx.inputs[0], cx.output_grad, weight, cx.scratch);
            if let [bias] = bias {
                cpu::bias_gradient(&geometry, cx.output_grad, bias, cx.scratch);
            }
        }
    }

    fn reference_forward(&self, cx: Forward<'_, f64>) {
        let geometry = self.accepted(cx.input_dims);
        let bias = self.bias.then(|| cx.params[1]);
        reference::forward(&geometry, cx.inputs[0], cx.params[0], bias, cx.output);
    }

    fn reference_backward(&self, cx: Backward<'_, f64>) {
        reference::backward(&self.accepted(cx.input_dims), cx);
    }
}

/// Shapes on which convolutions are checked.
pub fn cases() -> Vec<Case> {
    use Padding::{Reflect, Zero};
    let case = |input: Dims, out: usize, kernel: usize, stride: usize, padding: Padding| {
        let op = Conv2d {
            out_channels: out,
            kernel,
            stride,
            padding,
            bias: out.is_multiple_of(2),
            init: ConvInit::PyTorchDefault,
        };
        let name = format!("conv2d {input}→{out} {}", op.attributes());
        Case::new(name, op, &[input]).input(InputKind::Normal)
    };
    let dims = Dims::new;
    vec![
        case(dims(1, 5, 5, 1), 1, 1, 1, Zero(0)),
        case(dims(3, 6, 5, 7), 4, 1, 2, Zero(0)),
        case(dims(2, 1, 1, 40), 24, 1, 1, Zero(0)),
        case(dims(2, 9, 7, 3), 16, 3, 1, Zero(1)),
        case(dims(5, 8, 8, 16), 16, 3, 1, Zero(1)),
        case(dims(2, 7, 8, 33), 47, 3, 1, Zero(1)),
        case(dims(2, 5, 9, 6), 5, 3, 1, Zero(0)),
        case(dims(2, 5, 6, 6), 5, 3, 1, Zero(3)),
        case(dims(3, 8, 9, 12), 20, 3, 2, Zero(1)),
        case(dims(2, 10, 11, 3), 8, 7, 2, Zero(3)),
        case(dims(1, 2, 3, 4), 6, 5, 3, Zero(4)),
        case(dims(3, 4, 4, 130), 64, 3, 1, Zero(1)),
        case(dims(2, 9, 8, 4), 10, 9, 1, Reflect(4)),
        case(dims(2, 8, 9, 32), 3, 9, 1, Reflect(4)),
        case(dims(3, 7, 8, 34), 34, 3, 1, Reflect(1)),
        case(dims(3, 7, 6, 10), 18, 3, 1, Reflect(1)),
        case(dims(2, 8, 8, 11), 13, 3, 2, Reflect(1)),
        case(dims(1, 5, 4, 9), 2, 3, 1, Reflect(3)),
        case(dims(1, 32, 32, 16), 8, 3, 1, Zero(1)),
        case(dims(40, 3, 3, 20), 12, 3, 1, Zero(1)),
        case(dims(2, 6, 9, 48), 34, 3, 1, Zero(0)),
        case(dims(1, 4, 5, 40), 64, 3, 1, Zero(3)),
        case(dims(9, 4, 8, 33), 41, 3, 1, Reflect(3)),
        case(dims(1, 15, 12, 32), 48, 3, 1, Zero(1)),
        case(dims(3, 6, 5, 17), 4, 5, 1, Zero(2)),
        case(dims(2, 5, 6, 8), 2, 3, 1, Zero(0)),
        case(dims(1, 4, 4, 9), 2, 3, 1, Zero(5)),
        case(dims(3, 16, 18, 20), 17, 9, 1, Reflect(4)),
        case(dims(2, 17, 24, 4), 32, 9, 1, Reflect(4)),
        case(dims(2, 16, 16, 33), 3, 9, 1, Reflect(4)),
        case(dims(2, 14, 25, 18), 20, 5, 1, Zero(2)),
        case(dims(1, 22, 20, 16), 16, 7, 1, Zero(0)),
        case(dims(3, 16, 15, 32), 48, 3, 2, Zero(1)),
        case(dims(80, 8, 7, 32), 16, 3, 2, Reflect(1)),
        case(dims(2, 17, 18, 64), 32, 3, 2, Zero(0)),
        case(dims(67, 1, 1, 48), 40, 3, 1, Zero(1)),
        case(dims(65, 2, 2, 40), 52, 3, 1, Zero(1)),
        case(dims(130, 3, 3, 17), 33, 3, 1, Zero(1)),
        case(dims(66, 4, 4, 24), 48, 3, 2, Zero(1)),
        case(dims(3, 5, 6, 20), 35, 3, 2, Zero(1)),
        case(dims(7, 9, 7, 20), 50, 1, 2, Zero(0)),
        case(dims(70, 2, 2, 33), 20, 1, 2, Zero(0)),
        case(dims(3, 7, 9, 40), 18, 1, 1, Zero(0)),
        case(dims(2, 5, 6, 4), 6, 1, 1, Zero(1)),
        case(dims(3, 12, 10, 3), 24, 3, 1, Zero(1)),
        case(dims(2, 11, 13, 1), 16, 7, 2, Zero(3)),
        case(dims(2, 9, 10, 2), 12, 5, 2, Reflect(2)),
        case(dims(65, 4, 4, 32), 32, 3, 1, Zero(1)),
        // Results wider than a tile of a device's kernels, and operands of whole steps of their depth.
        case(dims(2, 6, 5, 64), 136, 3, 1, Zero(1)),
        case(dims(3, 5, 4, 96), 160, 1, 1, Zero(0)),
        case(dims(2, 7, 6, 64), 97, 1, 2, Zero(0)),
        case(dims(2, 5, 6, 96), 128, 3, 2, Reflect(1)),
        case(dims(1, 7, 7, 32), 64, 5, 3, Zero(2)),
        // Channels that a device pads to fours or to half steps of depth, and few of the output (or of the input,
        // for its gradient): some as the only tile of a row of tiles, some as its last.
        case(dims(1, 4, 5, 129), 131, 3, 1, Reflect(1)),
        case(dims(1, 6, 5, 131), 130, 3, 2, Reflect(1)),
        case(dims(2, 5, 4, 130), 129, 1, 2, Zero(0)),
        case(dims(2, 4, 4, 131), 16, 3, 2, Zero(1)),
        case(dims(2, 8, 7, 3), 64, 3, 1, Zero(1)),
        case(dims(2, 9, 8, 64), 1, 3, 2, Reflect(1)),
        case(dims(1, 5, 4, 144), 80, 3, 1, Zero(1)),
        case(dims(1, 4, 5, 64), 192, 1, 1, Zero(0)),
        // Phases of the input of several strides, some without taps, positions, or both; channels of half a step of
        // a device's depth, and others.
        case(dims(2, 8, 9, 16), 16, 4, 2, Zero(1)),
        case(dims(3, 9, 8, 6), 20, 4, 2, Zero(2)),
        case(dims(2, 10, 10, 16), 32, 7, 2, Zero(3)),
        case(dims(2, 10, 11, 20), 16, 3, 3, Zero(1)),
        case(dims(2, 11, 9, 5), 10, 4, 3, Zero(2)),
        case(dims(1, 12, 10, 16), 16, 7, 3, Zero(2)),
        case(dims(2, 8, 10, 16), 48, 1, 3, Zero(0)),
        case(dims(2, 5, 6, 16), 16, 1, 2, Zero(1)),
        case(dims(2, 11, 10, 16), 16, 4, 3, Reflect(2)),
        case(dims(3, 2, 7, 4), 16, 2, 5, Zero(0)),
        case(dims(9, 10, 12, 16), 16, 3, 2, Zero(0)),
        case(dims(1, 2, 301, 4), 6, 1, 300, Zero(0)),
        // Twenty partial sums of a device's weight gradient.
        case(dims(5, 32, 32, 3), 5, 3, 1, Zero(1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(kernel: usize, stride: usize, padding: Padding) -> Conv2d {
        Conv2d {
            out_channels: 2,
            kernel,
            stride,
            padding,
            bias: true,
            init: ConvInit::PyTorchDefault,
        }
    }

    #[test]
    fn output_extents() {
        let extents = |conv: Conv2d, h, w| {
            let output = conv.output(&[Dims::new(4, h, w, 3)]).unwrap();
            (output.n, output.h, output.w, output.c)
        };
        assert_eq!(
            extents(conv(3, 1, Padding::Zero(1)), 32, 30),
            (4, 32, 30, 2)
        );
        assert_eq!(extents(conv(3, 2, Padding::Zero(1)), 7, 8), (4, 4, 4, 2));
        assert_eq!(extents(conv(7, 2, Padding::Zero(3)), 64, 5), (4, 32, 3, 2));
        assert_eq!(extents(conv(9, 1, Padding::Reflect(4)), 5, 6), (4, 5, 6, 2));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let input = [Dims::new(1, 4, 6, 3)];
        let why = |conv: Conv2d| conv.output(&input).unwrap_err().to_string();
        assert!(why(conv(9, 1, Padding::Reflect(4))).contains("found 4"));
        assert!(why(conv(7, 1, Padding::Zero(1))).contains("does not fit"));
        assert!(why(conv(3, 0, Padding::Zero(1))).contains("stride"));
        let none = conv(3, 1, Padding::Zero(1)).output(&[]).unwrap_err();
        assert!(none.to_string().contains("expected 1 input"));
    }

    #[test]
    fn scratch_stays_small() {
        let conv = |out_channels, kernel, padding| Conv2d {
            out_channels,
            ..conv(kernel, 1, padding)
        };
        let mebibytes = |conv: Conv2d, input: Dims| {
            conv.scratch_len(&[input], 2) as f64 * 4.0 / f64::from(1 << 20)
        };
        let wide = mebibytes(conv(512, 3, Padding::Zero(1)), Dims::new(256, 4, 4, 512));
        assert!(wide < 64.0, "{wide}");
        let large = mebibytes(conv(32, 9, Padding::Reflect(4)), Dims::new(256, 64, 64, 4));
        assert!(large < 16.0, "{large}");
    }

    #[test]
    fn initial_scale() {
        let input = [Dims::new(1, 8, 8, 4)];
        let params = conv(3, 1, Padding::Zero(1)).params(&input);
        assert_eq!(params[0].shape, [2, 4, 3, 3]);
        assert_eq!(params[0].init, Init::Uniform { bound: 1.0 / 6.0 });
        assert_eq!(params[1].init, Init::Uniform { bound: 1.0 / 6.0 });
        let kaiming = Conv2d {
            init: ConvInit::KaimingNormalFanOut,
            ..conv(3, 1, Padding::Zero(1))
        };
        assert_eq!(
            kaiming.params(&input)[0].init,
            Init::Normal { std: 1.0 / 3.0 }
        );
    }
}
