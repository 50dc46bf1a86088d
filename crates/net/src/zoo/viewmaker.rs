//! The viewmaker network: Tamkin, Wu & Goodman, *Viewmaker Networks: Learning Views for
//! Unsupervised Representation Learning* (ICLR 2021), section 3 and appendix.
//!
//! An image-to-image network in the form of Johnson et al. (2016) reads the input beside a channel
//! of noise, proposes a perturbation, and the budget rescales it: view = x + δ with mean |δ| = ε.

use crate::{Net, NetBuilder, NetError, ValueId};
use viewmaker_ops::{
    Dims,
    activation::Activation,
    add::Add,
    budget::{Budget, Norm},
    clamp::Clamp,
    concat::Concat,
    conv2d::{Conv2d, ConvInit, Padding},
    dct::Dct2,
    instance_norm::InstanceNorm,
    resize::Resize,
    upsample::Upsample,
};

/// Residual blocks that every viewmaker stores, used or not, as the reference does.
pub const STORED_RES_BLOCKS: usize = 5;

/// The smallest height and width: reflection padding of the 9×9 convolutions needs 5, and the
/// residual blocks at a quarter of the resolution need 2.
const MIN_SIZE: usize = 5;

/// Nonlinearity of the five convolution stages; residual blocks always use ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonlinearity {
    /// max(x, 0).
    Relu,
    /// Slope 0.01 below zero.
    LeakyRelu,
}

/// What a viewmaker is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewmakerConfig {
    /// Channels, height, width of the examples; any size from 5×5 on.
    pub input: [usize; 3],
    /// Channels of the three resolutions; the paper uses 32, 64, 128.
    pub widths: [usize; 3],
    /// Residual blocks in use, 0 to 5; the paper uses 3.
    pub num_res_blocks: usize,
    /// Distortion budget ε > 0: the norm of the perturbation per element.
    pub distortion_budget: f32,
    /// Norm of the budget; the paper uses ℓ1.
    pub norm: Norm,
    /// Nonlinearity of the convolution stages.
    pub activation: Nonlinearity,
    /// Clamp views to `[0, 1]`.
    pub clamp: bool,
    /// Perturb the coefficients of the un-normalised DCT-II instead of the signal.
    pub frequency_domain: bool,
    /// Run the network on the input resized to this height and width, and resize the
    /// perturbation back.
    pub downsample_to: Option<[usize; 2]>,
}

/// Builds a viewmaker.
///
/// Inputs: `x`, then `noise.0` (one channel at the network's resolution) and `noise.1` …
/// `noise.R` (one channel at a quarter of it), uniform in `[0, 1)`. Output: `view`, shaped like
/// `x`. Also declared: `delta`, the perturbation in the domain of the budget.
///
/// # Errors
/// When an option is out of range or the input is smaller than 5×5.
pub fn viewmaker(config: &ViewmakerConfig) -> Result<Net, NetError> {
    let mut b = NetBuilder::new("viewmaker");
    validate(&b, config)?;
    let x = b.input("x", config.input)?;
    let mut y = x;
    if let Some([height, width]) = config.downsample_to {
        y = b.apply("resize", Resize { height, width }, &[y])?;
    }
    if config.frequency_domain {
        y = b.apply("dct", Dct2 { inverse: false }, &[y])?;
    }
    let y = generator(&mut b, config, y)?;
    let budget = Budget {
        distortion_budget: config.distortion_budget,
        norm: config.norm,
    };
    let delta = b.apply("budget", budget, &[y])?;
    let mut shift = delta;
    if config.frequency_domain {
        shift = b.apply("idct", Dct2 { inverse: true }, &[shift])?;
    }
    if config.downsample_to.is_some() {
        let [_, height, width] = config.input;
        shift = b.apply("resize_back", Resize { height, width }, &[shift])?;
    }
    let view = close_view(&mut b, x, shift, config.clamp)?;
    b.output("view", view);
    b.output("delta", delta);
    Ok(b.finish())
}

/// Adds the perturbation and clamps where asked.
pub(super) fn close_view(
    b: &mut NetBuilder,
    x: ValueId,
    delta: ValueId,
    clamp: bool,
) -> Result<ValueId, NetError> {
    let view = b.apply("add", Add, &[x, delta])?;
    match clamp {
        true => b.apply("clamp", Clamp { min: 0.0, max: 1.0 }, &[view]),
        false => Ok(view),
    }
}

fn validate(b: &NetBuilder, config: &ViewmakerConfig) -> Result<(), NetError> {
    if config.num_res_blocks > STORED_RES_BLOCKS {
        let why = format!("must be 0 to {STORED_RES_BLOCKS}");
        return Err(b.option("viewmaker.num_res_blocks", config.num_res_blocks, why));
    }
    if config.widths.contains(&0) {
        let widths = format!("{:?}", config.widths);
        return Err(b.option("viewmaker.widths", widths, "must be three positive numbers"));
    }
    if let Err(why) = check_budget(config.distortion_budget) {
        return Err(b.option("viewmaker.distortion_budget", config.distortion_budget, why));
    }
    let [height, width] = config
        .downsample_to
        .unwrap_or([config.input[1], config.input[2]]);
    if height < MIN_SIZE || width < MIN_SIZE {
        let why = format!("a viewmaker needs at least {MIN_SIZE}×{MIN_SIZE} positions");
        return Err(b.option("input size", format!("{height}×{width}"), why));
    }
    Ok(())
}

/// The range of the distortion budget.
pub(super) fn check_budget(budget: f32) -> Result<(), &'static str> {
    match budget.is_finite() && budget > 0.0 {
        true => Ok(()),
        false => Err("must be a positive number"),
    }
}

/// The layers between the input and tanh; returns the value that the reference calls `y_pixels`.
fn generator(
    b: &mut NetBuilder,
    config: &ViewmakerConfig,
    x: ValueId,
) -> Result<ValueId, NetError> {
    let stage = Stage {
        activation: config.activation,
    };
    let [w0, w1, w2] = config.widths;
    let full = b.dims(x);
    let x = append_noise(b, 0, x)?;
    let y = stage.apply(b, "conv1", "in1", conv(w0, 9, 1), x)?;
    let y = stage.apply(b, "conv2", "in2", conv(w1, 3, 2), y)?;
    let half = b.dims(y);
    let mut y = stage.apply(b, "conv3", "in3", conv(w2, 3, 2), y)?;
    for block in 1..=config.num_res_blocks {
        let noisy = append_noise(b, block, y)?;
        y = residual_block(b, block, noisy)?;
    }
    reserve_unused_blocks(b, config, b.dims(y))?;
    let y = upsample(b, "deconv1", half, y)?;
    let y = stage.apply(b, "deconv1", "in4", conv(w1, 3, 1), y)?;
    let y = upsample(b, "deconv2", full, y)?;
    let y = stage.apply(b, "deconv2", "in5", conv(w0, 3, 1), y)?;
    b.apply("deconv3.conv2d", conv(full.c, 9, 1), &[y])
}

/// Reflection padding keeps the size of stride 1 and halves it, rounding up, for stride 2.
fn conv(out_channels: usize, kernel: usize, stride: usize) -> Conv2d {
    Conv2d {
        out_channels,
        kernel,
        stride,
        padding: Padding::Reflect(kernel / 2),
        bias: true,
        init: ConvInit::PyTorchDefault,
    }
}

/// Convolution, affine instance norm, nonlinearity.
struct Stage {
    activation: Nonlinearity,
}

impl Stage {
    fn apply(
        &self,
        b: &mut NetBuilder,
        name: &str,
        norm: &str,
        conv: Conv2d,
        x: ValueId,
    ) -> Result<ValueId, NetError> {
        let y = b.apply(&format!("{name}.conv2d"), conv, &[x])?;
        let y = b.apply(norm, InstanceNorm::default(), &[y])?;
        let activation = match self.activation {
            Nonlinearity::Relu => Activation::Relu,
            Nonlinearity::LeakyRelu => Activation::LeakyRelu { slope: 0.01 },
        };
        b.apply(&format!("{norm}.act"), activation, &[y])
    }
}

/// Concatenates one channel of noise after the existing ones.
fn append_noise(b: &mut NetBuilder, index: usize, x: ValueId) -> Result<ValueId, NetError> {
    let Dims { h, w, .. } = b.dims(x);
    let noise = b.input(&format!("noise.{index}"), [1, h, w])?;
    b.apply(&format!("concat.{index}"), Concat, &[x, noise])
}

/// x + IN(conv(ReLU(IN(conv(x))))), without activation after the sum.
fn residual_block(b: &mut NetBuilder, index: usize, x: ValueId) -> Result<ValueId, NetError> {
    let name = |part: &str| format!("res{index}.{part}");
    let channels = b.dims(x).c;
    let y = b.apply(&name("conv1.conv2d"), conv(channels, 3, 1), &[x])?;
    let y = b.apply(&name("in1"), InstanceNorm::default(), &[y])?;
    let y = b.apply(&name("relu"), Activation::Relu, &[y])?;
    let y = b.apply(&name("conv2.conv2d"), conv(channels, 3, 1), &[y])?;
    let y = b.apply(&name("in2"), InstanceNorm::default(), &[y])?;
    b.apply(&format!("res{index}"), Add, &[y, x])
}

/// Keeps the `state_dict` complete: blocks beyond `num_res_blocks` are stored but not used.
fn reserve_unused_blocks(
    b: &mut NetBuilder,
    config: &ViewmakerConfig,
    mut dims: Dims,
) -> Result<(), NetError> {
    for index in config.num_res_blocks + 1..=STORED_RES_BLOCKS {
        dims.c = config.widths[2] + index;
        for half in 1..=2 {
            let conv_name = format!("res{index}.conv{half}.conv2d");
            b.reserve(&conv_name, &conv(dims.c, 3, 1), dims)?;
            b.reserve(
                &format!("res{index}.in{half}"),
                &InstanceNorm::default(),
                dims,
            )?;
        }
    }
    Ok(())
}

fn upsample(b: &mut NetBuilder, name: &str, to: Dims, x: ValueId) -> Result<ValueId, NetError> {
    let op = Upsample {
        height: to.h,
        width: to.w,
    };
    b.apply(&format!("{name}.upsample"), op, &[x])
}
