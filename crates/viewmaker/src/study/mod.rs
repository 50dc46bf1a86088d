//! Measurements of objectives on frozen encoders.

pub mod batch_size;
