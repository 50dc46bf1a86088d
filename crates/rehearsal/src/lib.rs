//! A rehearsal of CUDA without a card: a strict stand-in for `libcuda` and `libnvrtc`, for tests.
//!
//! The shared library of this crate exports the functions of NVIDIA's that `crates/device` calls, by their
//! names; a program that finds it as `libcuda.so` (see [`run`]) takes the path that it would take on a
//! card, and kernels are executed by the emulator. Where a card leaves freedom, the stand-in uses it
//! against the caller:
//!
//! - Streams are lazy: work is done when somebody waits for it, and not before. Page-locked memory is
//!   read then, and copies to the host arrive then.
//! - New memory is NaN. Every range and every pointer must lie inside one living allocation, and nothing may
//!   be written beside one.
//! - Handles are given once: one that was destroyed, or is of another kind or context, is an error. So is a
//!   call without a current context.
//! - Inside a capture nothing waits, allocates or frees, also where a card in mode `RELAXED` would let it.
//! - Errors of execution stay: every later call of the context answers with them.
//! - What is alive when a context ends is named on standard error (`still alive: …`).
//!
//! What it does not know: how long anything takes, caches, races between blocks, limits of registers and of
//! static shared memory. `VIEWMAKER_REHEARSAL_CARDS` (a number; 0 is a driver without a card),
//! `…_CAPABILITY` (`6.1`; 9.0 without it), `…_MEMORY` (bytes; 2 GiB without it) make other cards, and
//! `…_REPORT` has the number of kernels, graphs and copies printed when a context ends.

#![allow(non_snake_case, reason = "exported functions have NVIDIA's names")]

mod capture;
mod context;
mod copies;
mod errors;
mod event;
mod graph;
mod harness;
mod image;
mod limits;
mod memory;
mod module;
mod nvrtc;
mod state;
mod stream;
mod work;

pub use harness::{folder, library_path, prepare, run};
