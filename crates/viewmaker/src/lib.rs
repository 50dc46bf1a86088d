//! Learned views for contrastive learning: everything behind the `viewmaker` command.
//!
//! What the user typed becomes a [`config::Config`]; a trainer turns it into a run folder
//! ([`run`]) while a [`progress::Ui`] shows how far it is; [`render`] draws what was learned.
#![forbid(unsafe_code)]

pub mod ablate;
pub mod bench;
pub mod cli;
pub mod config;
pub mod error;
pub mod eval;
pub mod interrupt;
pub mod machine;
pub mod model;
pub mod pictures;
pub mod progress;
pub mod render;
pub mod run;
pub mod study;
pub mod train;
pub mod trained;

pub use error::{Error, Result};
