//! Reference numbers of the original implementation, and whether ours agree with them.
//!
//! A *group* is a folder with one `manifest.json` and one safetensors file per case. The manifest
//! says for every tensor what it is, what part it plays ([`Role`]) and how far from it a result
//! may lie ([`Tolerance`]). A test opens a [`Group`], walks its [`Case`]s, feeds the inputs to our
//! code and hands every result to a [`Report`], which fails when a number is off *or when a
//! reference tensor was never compared*.
//!
//! ```no_run
//! # fn ours(_: &[f32]) -> Vec<f32> { vec![] }
//! use viewmaker_golden::{Group, Report};
//!
//! let group = Group::open(viewmaker_golden::directory(), "losses")?;
//! for case in group.cases() {
//!     let mut report = Report::new(&case);
//!     let z = case.f32("in.z1")?;
//!     report.check("out", &ours(&z.data));
//!     report.finish()?;
//! }
//! # Ok::<(), viewmaker_golden::GoldenError>(())
//! ```
#![forbid(unsafe_code)]

mod case;
mod error;
mod fill;
mod report;
mod tolerance;

pub use case::{Array, Case, Group, Role, Spec, directory};
pub use error::GoldenError;
pub use fill::fill;
pub use report::{Report, Value};
pub use tolerance::{Tolerance, Verdict};
