//! The run folder: everything a run leaves behind, in a form that survives a kill at any moment.
//!
//! ```text
//! runs/image-001/
//!   config.toml            the resolved configuration
//!   metrics.jsonl          one JSON object a line
//!   log.txt                what was said, with times
//!   summary.json           written when training has finished
//!   checkpoints/
//!     step-00000100/       encoder.safetensors, viewmaker.safetensors, …, checkpoint.json
//!     damaged-step-…/      what could not be read when the run went on
//!     best.json            which step scored best
//!   views/                 pictures
//! ```
//!
//! Every file is written beside its place, brought to the disk, and renamed, but for two that grow by
//! lines: `metrics.jsonl`, whose end beyond the latest checkpoint is dropped when a run goes on, and
//! `log.txt`, which nobody parses.

mod atomic;
mod checkpoint;
mod error;
mod folder;
mod metrics;
mod retention;
mod summary;
mod tensors;

pub use atomic::write_atomically;
pub use checkpoint::Checkpoint;
pub(crate) use checkpoint::fnv1a;
pub use error::RunError;
pub use folder::{Latest, RunDir, Unreadable};
pub use summary::RunSummary;
pub use tensors::{TensorMap, read_tensors, write_tensors};
