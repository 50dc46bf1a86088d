//! Runs networks: weights, forward and backward passes over a plan's arena, optimisers, and the
//! bridge that makes a whole network one operation on dfdx's tape.
//!
//! Everything here is f32, NHWC inside and NCHW at the edge. The crate knows no modality.
#![forbid(unsafe_code)]

mod arena;
mod layout;
mod pass;
mod tower;
mod weights;

pub mod optim;
pub mod profile;
pub mod reference;

pub use arena::Arena;
pub use layout::{to_nchw, to_nhwc};
pub use pass::{Feed, Pass, Wanted};
pub use profile::{Part, Profile, Profiler};
pub use tower::{Call, Maps, Tower, Vectors};
pub use weights::{Tensor, Weights, WeightsError};
