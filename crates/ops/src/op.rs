//! What every primitive operation answers: its shapes, its parameters, its cost, and how to
//! compute it forward and backward.
//!
//! An operation never allocates while it computes: outputs, saved values and scratch are slices
//! of an arena that a plan has laid out beforehand. The contexts below carry those slices together
//! with the geometry, so that a device path can take the same geometry with device slices.

use crate::Dims;
use crate::activation::Activation;
use crate::device::{self, OnDevice};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use viewmaker_device::DeviceError;

/// Whether a network is being trained or used; batch normalisation is the one that cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Statistics come from the batch, and running statistics move.
    Train,
    /// Running statistics are used and nothing is written to the state.
    Eval,
}

/// How a parameter is filled before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Half-width of the interval.
        bound: f32,
    },
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Every element the same.
    Constant(f32),
}

/// One trainable tensor of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Last component of the name: `weight` or `bias`.
    pub name: &'static str,
    /// Shape as in PyTorch: `[out, in, kh, kw]`, `[out, in]` or `[channels]`.
    pub shape: Vec<usize>,
    /// Initial values.
    pub init: Init,
}

/// One tensor that training moves but no gradient does (running statistics).
#[derive(Clone, Debug, PartialEq)]
pub struct StateSpec {
    /// Last component of the name, for example `running_mean`.
    pub name: &'static str,
    /// Shape; `[]` is a scalar.
    pub shape: Vec<usize>,
    /// Initial value of every element.
    pub init: f32,
}

/// An operation refused its inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{op}: {why} (inputs: {})", fmt_dims(.inputs))]
pub struct ShapeError {
    /// Name of the operation.
    pub op: &'static str,
    /// What was expected and what was found.
    pub why: String,
    /// The shapes it was given.
    pub inputs: Vec<Dims>,
}

fn fmt_dims(dims: &[Dims]) -> String {
    let shown: Vec<String> = dims.iter().map(Dims::to_string).collect();
    shown.join(", ")
}

impl ShapeError {
    /// An error of `op` for `inputs`.
    pub fn new(op: &'static str, inputs: &[Dims], why: impl Into<String>) -> Self {
        Self {
            op,
            why: why.into(),
            inputs: inputs.to_vec(),
        }
    }

    /// Checks the number of inputs of `op`.
    pub fn expect_inputs(op: &'static str, inputs: &[Dims], count: usize) -> Result<(), Self> {
        if inputs.len() == count {
            return Ok(());
        }
        let why = format!("expected {count} input(s), found {}", inputs.len());
        Err(Self::new(op, inputs, why))
    }
}

/// What a forward computation reads and writes.
///
/// `T` is `f32` in kernels and `f64` in references.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// Training or evaluation.
    pub mode: Mode,
    /// Shapes of the inputs.
    pub input_dims: &'a [Dims],
    /// Shape of the output.
    pub output_dims: Dims,
    /// The inputs, NHWC.
    pub inputs: &'a [&'a [T]],
    /// The parameters in the order of [`Op::params`], in PyTorch's layout.
    pub params: &'a [&'a [T]],
    /// The state in the order of [`Op::state`].
    pub state: &'a mut [&'a mut [T]],
    /// The output, NHWC; every element is written.
    pub output: &'a mut [T],
    /// What the backward pass will need: [`Op::saved_len`] elements.
    pub saved: &'a mut [T],
    /// Working memory of [`Op::scratch_len`] elements; its content is undefined before and after.
    pub scratch: &'a mut [T],
}

/// What a backward computation reads and writes.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// Mode of the forward pass that is differentiated.
    pub mode: Mode,
    /// Shapes of the inputs.
    pub input_dims: &'a [Dims],
    /// Shape of the output.
    pub output_dims: Dims,
    /// The inputs of the forward pass.
    pub inputs: &'a [&'a [T]],
    /// The parameters.
    pub params: &'a [&'a [T]],
    /// The state, read only.
    pub state: &'a [&'a [T]],
    /// The output of the forward pass.
    pub output: &'a [T],
    /// What the forward pass saved.
    pub saved: &'a [T],
    /// Gradient of the loss with respect to the output.
    pub output_grad: &'a [T],
    /// Gradients with respect to the inputs, **overwritten**; `None` where nobody asks for it.
    pub input_grads: &'a mut [Option<&'a mut [T]>],
    /// Gradients with respect to the parameters, **added to** (two views of one batch share
    /// them); `None` when the parameters are frozen.
    pub param_grads: Option<&'a mut [&'a mut [T]]>,
    /// Working memory of [`Op::scratch_len`] elements.
    pub scratch: &'a mut [T],
}

/// What computing an output a second time reads and writes.
#[derive(Debug)]
pub struct Again<'a> {
    /// Shapes of the inputs.
    pub input_dims: &'a [Dims],
    /// Shape of the output.
    pub output_dims: Dims,
    /// The inputs of the forward pass.
    pub inputs: &'a [&'a [f32]],
    /// The parameters, as they were then.
    pub params: &'a [&'a [f32]],
    /// What the forward pass saved.
    pub saved: &'a [f32],
    /// The output, NHWC; every element is written.
    pub output: &'a mut [f32],
}

/// An operation whose output is cheaper to compute again for the backward pass than to keep: one
/// pass over memory and no sums.
pub trait Rebuild {
    /// Writes the output of the forward pass, bit by bit, without touching any state.
    fn rebuild(&self, cx: Again<'_>);

    /// Launches what does the same on a device.
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    fn device_rebuild(&self, cx: &device::Again<'_>) -> Result<(), DeviceError>;
}

/// Which values of the forward pass the backward pass of an operation reads: the others are not
/// kept, and it finds empty slices in their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// How many of the inputs, counted from the first.
    pub inputs: usize,
    /// The output.
    pub output: bool,
}

impl Reads {
    /// Neither inputs nor output.
    pub const NOTHING: Self = Self {
        inputs: 0,
        output: false,
    };

    /// All inputs.
    pub const INPUTS: Self = Self {
        inputs: usize::MAX,
        output: false,
    };
}

/// What an operation is to the one before it, where both can be computed in one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Follower {
    /// Adds a second value of the same shape.
    Add,
    /// Applies a rectifier.
    Activation(Activation),
}

/// A primitive operation.
///
/// Implementations are small value types that hold only attributes (kernel size, slope …); shapes
/// arrive as arguments. Kernels assume that [`Op::output`] accepted the shapes.
///
/// Kernels run inside the caller's rayon pool and must give the same bits for any number of
/// threads: work is cut into pieces whose number depends on the geometry only, and reductions
/// across pieces run in a fixed order.
///
/// Tools that look for one kind of operation in a graph (benchmarks, exports) cast to [`Any`].
pub trait Op: OnDevice + Any + fmt::Debug + Send + Sync {
    /// The name used in summaries and errors, for example `conv2d`.
    fn name(&self) -> &'static str;

    /// Attributes in a few words for the summary, for example `3×3 s2 reflect`.
    fn attributes(&self) -> String {
        String::new()
    }

    /// Which of several algorithms computes the output for these inputs, where there is a choice.
    fn algorithm(&self, _inputs: &[Dims]) -> Option<&'static str> {
        None
    }

    /// Shape of the output for these inputs.
    fn output(&self, inputs: &[Dims]) -> Result<Dims, ShapeError>;

    /// Trainable parameters for these inputs.
    fn params(&self, _inputs: &[Dims]) -> Vec<ParamSpec> {
        Vec::new()
    }

    /// State for these inputs.
    fn state(&self, _inputs: &[Dims]) -> Vec<StateSpec> {
        Vec::new()
    }

    /// Floating-point operations of one forward pass; a multiply-add counts as two.
    fn flops(&self, inputs: &[Dims]) -> u64;

    /// Elements kept from the forward to the backward pass beside inputs and output.
    fn saved_len(&self, _inputs: &[Dims]) -> usize {
        0
    }

    /// Elements of working memory, the larger of forward and backward, on `threads` threads.
    fn scratch_len(&self, _inputs: &[Dims], _threads: usize) -> usize {
        0
    }

    /// What [`Op::backward`] reads of the forward pass.
    fn backward_reads(&self) -> Reads {
        Reads {
            inputs: usize::MAX,
            output: true,
        }
    }

    /// How the output is computed a second time; `None` where it is kept instead.
    fn rebuilder(&self) -> Option<&dyn Rebuild> {
        None
    }

    /// What this operation is to one before it; `None` where nothing can absorb it.
    fn follower(&self) -> Option<Follower> {
        None
    }

    /// This operation and then `next` as one, where that is cheaper: same bits, same parameters
    /// and state. With [`Follower::Add`] the other summand becomes the last input.
    fn fuse(&self, _next: Follower) -> Option<Arc<dyn Op>> {
        None
    }

    /// Computes the output on the CPU.
    fn forward(&self, cx: Forward<'_, f32>);

    /// Computes the gradients on the CPU.
    fn backward(&self, cx: Backward<'_, f32>);

    /// The output by the plainest possible code in double precision; `saved` and `scratch` are
    /// empty.
    fn reference_forward(&self, cx: Forward<'_, f64>);

    /// The gradients by the plainest possible code in double precision; `saved` and `scratch` are
    /// empty.
    fn reference_backward(&self, cx: Backward<'_, f64>);
}
