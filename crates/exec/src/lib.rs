//! Runs networks: weights, forward and backward passes over a plan's arena, optimisers, and the
//! bridge that makes a whole network one operation on dfdx's tape.
//!
//! Everything here is f32, NHWC inside and NCHW at the edge. The crate knows no modality.
#![forbid(unsafe_code)]

mod arena;
mod holder;
mod layout;
mod order;
mod pass;
mod tower;
mod weights;

pub mod device;
pub mod optim;
pub mod profile;
pub mod reference;

pub use arena::Arena;
pub use device::{DevicePass, DeviceWeights, Machine};
pub use layout::{to_nchw, to_nhwc};
pub use order::Wanted;
pub use pass::{Feed, Pass};
pub use profile::{Part, Profile, Profiler};
pub use tower::{Call, Maps, Tower, TowerPass, Vectors};
pub use weights::{Tensor, Weights, WeightsError};
