//! Primitive operations of viewmaker.
//!
//! One folder per operation: its attributes and shape rule (`mod.rs`), its CPU kernels over slices
//! (`cpu.rs`), the launches of its kernels on a device (`device.rs`) and a plain double-precision
//! reference (`reference.rs`). Activations are NHWC, parameters are in PyTorch's layout. The crate
//! knows nothing of networks, data or dfdx.

pub mod activation;
pub mod add;
pub mod attention;
pub mod batch_norm;
pub mod budget;
pub mod clamp;
pub mod concat;
pub mod conformance;
pub mod contrastive;
pub mod conv2d;
pub mod dct;
pub mod device;
pub mod flatten;
pub mod fused_norm;
pub mod gemm;
pub mod instance_norm;
pub mod l2_normalize;
pub mod layer_norm;
pub mod linear;
pub mod normalize;
pub mod op;
pub mod parallel;
pub mod pool;
pub mod random;
pub mod resize;
pub mod upsample;

mod channel_norm;
mod dims;
mod elementwise;
mod panels;
mod prefetch;
mod simd;

pub use dims::Dims;
pub use op::{
    Again, Backward, Follower, Forward, Init, Mode, Op, ParamSpec, Reads, Rebuild, ShapeError,
    StateSpec,
};
