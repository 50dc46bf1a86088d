//! Operations on a device: what their launches read and write, as spans of its memory.
//!
//! The counterpart of [`Forward`](crate::Forward) and [`Backward`](crate::Backward) with the same
//! meaning: outputs and input gradients are overwritten, parameter gradients are added to, and what an
//! operation says it does not read may be gone. Launches return before they are done; a device
//! executes them in their order.

pub mod distortion;
mod random;
pub mod strength;
pub mod update;

use crate::conv2d::Version;
use crate::{Dims, Mode};
use std::fmt;
use std::str::FromStr;
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::ELEMENTWISE};

static ADD: Kernel = Kernel::new(&ELEMENTWISE, "add");

/// How convolutions and fully connected layers multiply on a device. Storage, sums and everything else
/// are in single precision either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Operands in single precision.
    #[default]
    F32,
    /// Operands rounded to 10 bits behind the point, products on tensor cores: from compute capability 8.0 on.
    Tf32,
    /// Operands rounded to bfloat16, which has 7, products on tensor cores: from compute capability 8.0 on.
    Bf16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];
    /// Oldest compute capability whose tensor cores multiply TF32 and bfloat16.
    pub const TENSOR_CORES: (i32, i32) = (8, 0);

    /// The name used in configurations: `f32`, `tf32` or `bf16`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether `device` can compute in it. The emulator can.
    pub fn runs_on(self, device: &Device) -> bool {
        let able = |capability| self == Self::F32 || capability >= Self::TENSOR_CORES;
        device.capability().is_none_or(able)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of the precisions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision `{0}`: expected f32, tf32 or bf16")]
pub struct UnknownPrecision(pub String);

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|p| p.name() == name);
        found.ok_or_else(|| UnknownPrecision(name.to_owned()))
    }
}

/// What a forward computation reads and writes.
#[derive(Debug)]
pub struct Forward<'a> {
    /// Where it is computed.
    pub device: &'a Device,
    /// How products are computed.
    pub precision: Precision,
    /// The kernels of convolutions and fully connected layers, whatever the precision: for measuring and
    /// for tests. `None` leaves them to precision and shapes.
    pub convolution: Option<Version>,
    /// Training or evaluation.
    pub mode: Mode,
    /// Shapes of the inputs.
    pub input_dims: &'a [Dims],
    /// Shape of the output.
    pub output_dims: Dims,
    /// The inputs, NHWC.
    pub inputs: &'a [Span],
    /// The parameters in the order of [`Op::params`](crate::Op::params), in PyTorch's layout.
    pub params: &'a [Span],
    /// The state in the order of [`Op::state`](crate::Op::state).
    pub state: &'a [Span],
    /// The output, NHWC; every element is written.
    pub output: &'a Span,
    /// What the backward pass will need: [`Op::saved_len`](crate::Op::saved_len) elements.
    pub saved: &'a Span,
    /// Working memory of [`OnDevice::device_scratch_len`] elements.
    pub scratch: &'a Span,
}

/// What a backward computation reads and writes.
#[derive(Debug)]
pub struct Backward<'a> {
    /// Where it is computed.
    pub device: &'a Device,
    /// How products are computed.
    pub precision: Precision,
    /// The kernels of convolutions and fully connected layers, whatever the precision: for measuring and
    /// for tests. `None` leaves them to precision and shapes.
    pub convolution: Option<Version>,
    /// Mode of the forward pass that is differentiated.
    pub mode: Mode,
    /// Shapes of the inputs.
    pub input_dims: &'a [Dims],
    /// Shape of the output.
    pub output_dims: Dims,
    /// The inputs of the forward pass; empty where the operation does not read them.
    pub inputs: &'a [Span],
    /// The parameters.
    pub params: &'a [Span],
    /// The output of the forward pass; empty where the operation does not read it.
    pub output: &'a Span,
    /// What the forward pass saved.
    pub saved: &'a Span,
    /// Gradient of the loss with respect to the output.
    pub output_grad: &'a Span,
    /// Gradients with respect to the inputs, overwritten; `None` where nobody asks for it.
    pub input_grads: &'a [Option<Span>],
    /// Gradients with respect to the parameters, added to; `None` when the parameters are frozen.
    pub param_grads: Option<&'a [Span]>,
    /// Working memory of [`OnDevice::device_scratch_len`] elements.
    pub scratch: &'a Span,
}

/// What computing an output a second time reads and writes.
#[derive(Debug)]
pub struct Again<'a> {
    /// Where it is computed.
    pub device: &'a Device,
    /// Shapes of the inputs.
    pub input_dims: &'a [Dims],
    /// Shape of the output.
    pub output_dims: Dims,
    /// The inputs of the forward pass.
    pub inputs: &'a [Span],
    /// The parameters, as they were then.
    pub params: &'a [Span],
    /// What the forward pass saved.
    pub saved: &'a Span,
    /// The output; every element is written.
    pub output: &'a Span,
}

/// How an operation is computed on a device.
///
/// There are no default bodies for what computes: an operation without kernels does not compile.
pub trait OnDevice {
    /// Elements of working memory, the larger of forward and backward.
    fn device_scratch_len(&self, _inputs: &[Dims]) -> usize {
        0
    }

    /// Launches what computes the output.
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError>;

    /// Launches what computes the gradients.
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError>;
}

/// `out = a + b`; `out` may be one of them.
///
/// # Errors
/// When the kernel does not compile or start.
///
/// # Panics
/// When lengths differ.
pub fn add(device: &Device, a: &Span, b: &Span, out: &Span) -> Result<(), DeviceError> {
    assert!(
        a.len() == out.len() && b.len() == out.len(),
        "lengths differ"
    );
    let args = Args::new().span(a).span(b).span(out).u64(out.len() as u64);
    // SAFETY: the kernel touches `out.len()` elements of each span, which they have.
    unsafe { device.launch(&ADD, Launch::over(out.len()), args) }
}

/// Launches `kernel`, which takes maps of one shape to maps of another: `from` to `to`, or
/// the gradient of `to` back. Both shapes are those of the forward pass.
pub(crate) fn resample(
    device: &Device,
    kernel: &'static Kernel,
    (input, output): (Dims, Dims),
    from: &Span,
    to: &Span,
) -> Result<(), DeviceError> {
    let args = Args::new().span(from).span(to);
    let args = args.i32(int(input.h)).i32(int(input.w)).i32(int(input.c));
    let args = args.i32(int(output.h)).i32(int(output.w));
    let n = int(to.len());
    // SAFETY: one thread an element of `to`; the elements of `from` that it reads lie in the map of
    // the same example, which has the other extents.
    unsafe { device.launch(kernel, Launch::over(to.len()), args.u64(n as u64)) }
}

/// A count as kernels take it.
///
/// # Panics
/// When it does not fit: 2³¹ elements are more than any card's memory holds of activations beside
/// their gradients.
pub(crate) fn int(count: usize) -> i32 {
    i32::try_from(count).expect("fewer than 2^31 elements")
}

/// Rows of a share, so that sums over `rows` of `columns` give every multiprocessor something to do.
///
/// A function of the shapes alone: the same sums on every card.
pub(crate) fn share(rows: usize, columns: usize, groups: usize) -> usize {
    const BLOCKS: usize = 528;
    const FEWEST: usize = 64;
    let others = (groups * columns.div_ceil(32)).max(1);
    let shares = (BLOCKS / others).clamp(1, rows.div_ceil(FEWEST).max(1));
    rows.div_ceil(shares).max(1)
}
