//! Modalities, file formats, data sets and deterministic loaders of viewmaker.
//!
//! A modality turns a path (or nothing: the embedded data) into [`Splits`]: two disjoint
//! [`Dataset`]s of equally shaped examples. The crate knows nothing of networks.
#![forbid(unsafe_code)]

mod dataset;
mod error;

pub mod modality;

pub use dataset::{ChannelStats, Dataset, Draw, Splits, Waveform};
pub use error::DataError;
