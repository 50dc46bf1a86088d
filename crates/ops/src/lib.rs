//! Primitive operations of viewmaker.
//!
//! One folder per operation: its attributes and shape rule (`mod.rs`), its CPU kernels over slices
//! (`cpu.rs`) and a plain double-precision reference (`reference.rs`). Activations are NHWC,
//! parameters are in PyTorch's layout. The crate knows nothing of networks, data or dfdx.

pub mod conformance;
pub mod op;
pub mod random;

mod dims;

pub use dims::Dims;
pub use op::{Backward, Forward, Init, Mode, Op, ParamSpec, ShapeError, StateSpec};
