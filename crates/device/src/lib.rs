//! Devices that execute the kernels of `kernels/`: an NVIDIA card, found and loaded at run time, or
//! (feature `emulator`, for tests) the processor.
//!
//! This crate knows no operation. A [`Device`] gives [`Buffer`]s of 4-byte words; a [`Span`] is a range
//! of one; a [`Kernel`] names a function of a [`Source`] that is part of the program and is compiled
//! for the card at hand at its first [`launch`](Device::launch). A sequence of launches can be
//! [captured](Device::capture) and repeated as a [`Graph`].

mod buffer;
mod cuda;
mod device;
#[cfg(feature = "emulator")]
pub mod emulator;
mod error;
mod launch;
pub mod source;

pub use buffer::{Buffer, Span};
pub use cuda::nvrtc;
pub use device::{Device, Event, Graph};
pub use error::DeviceError;
pub use launch::{Args, Launch};
pub use source::{Kernel, Source};
