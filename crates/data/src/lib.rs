//! Modalities, file formats, data sets and deterministic loaders of viewmaker.
//!
//! A [`Modality`] turns a path (or nothing: the embedded data) into [`Splits`]: two disjoint
//! [`Dataset`]s of equally shaped examples, which a [`Loader`] reads batch by batch. The crate
//! knows nothing of networks.
#![forbid(unsafe_code)]

pub mod captions;
mod config;
pub mod corruptions;
mod dataset;
mod error;
mod random;

pub mod files;
pub mod loader;
pub mod modality;
pub mod spectrum;
pub mod split;
pub mod stats;
pub mod text;
pub mod views;

pub use config::DataConfig;
pub use dataset::{ChannelStats, Dataset, Draw, Fixed, Signal, Source, Splits, Subset, Waveform};
pub use error::DataError;
pub use loader::{Batch, Batches, Loader};
pub use modality::{Modality, Rendering, SpectrogramAxes};
pub use views::{Moment, Recipe, ViewsConfig};
