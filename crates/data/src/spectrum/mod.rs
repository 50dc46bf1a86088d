//! Spectra of sampled signals: the short-time Fourier transform, mel filters, decibels.
//!
//! Everything is computed in `f64`: a log spectrogram magnifies the round-off of quiet bins. Speech,
//! which keeps only the loudest of them, has a transform in single precision beside this one.

mod decibel;
mod mel;
mod stft;

pub use decibel::{
    DYNAMIC_RANGE_DB, POWER_FLOOR, SILENCE_DB, limit_range, power_to_db, power_to_level,
};
pub use mel::{MelFilters, hz_to_mel, mel_to_hz};
pub use stft::{Padding, Stft, hann};
