//! Contrastive objectives, written as dfdx tensor code on embeddings.
//!
//! One file per loss or tight family; each reads like its paper, takes embeddings as they come from an
//! encoder (`[N, D]`, not normalised) and gets its gradient from dfdx's tape. All losses are
//! finite for every finite input.
//!
//! Training code does not call them by name: [`registry::build`] turns a configured name into an
//! [`Objective`].
#![forbid(unsafe_code)]

pub mod byol;
pub mod clip;
pub mod dclw;
pub mod fused;
pub mod infonce;
pub mod instdisc;
pub mod key_queue;
pub mod memory_bank;
pub mod moco;
pub mod moco_v3;
pub mod npair;
pub mod ntxent;
pub mod protonet;
pub mod pull;
pub mod registry;
pub mod simsiam;
pub mod supcon;
pub mod tcn;
pub mod tensor;
pub mod triplet;
pub mod viewmaker_simclr;

mod config;
mod error;
mod objective;

pub use config::{Distance, Mining, MomentumSchedule, ObjectiveConfig};
pub use error::ObjectiveError;
pub use objective::{BatchInfo, Branches, Embeddings, Loss, MOST_VIEWS, Memory};
pub use objective::{NamedTensor, Objective};
pub use objective::{Outputs, Seen, Setup};
pub use registry::{Entry, build, registry};
