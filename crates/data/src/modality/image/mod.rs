//! The modality `image`.

mod config;

pub use config::ImageConfig;
