//! Views that are made while examples are loaded: by expert augmentations, by patches, and by
//! time. (A viewmaker's views are made later, by a network.)
//!
//! A [`Recipe`] makes them. What it makes of example `index` is a pure function of the [`Moment`]
//! (seed, epoch, number of the view) and of `index`, whatever thread makes it. Expert views change
//! an example at up to three levels: the *signal* of a recording, the *levels* (decibels before
//! they are limited and normalised), and the *example* that the network sees.
//!
//! A modality gets expert views by a folder here and a line in the registry below.

mod config;
mod crop;
mod image;
mod mask;
pub mod noise;
mod ordered;
mod patch;
mod recipe;
mod sensor;
mod speech;
mod temporal;

pub use config::{ExpertConfig, ViewsConfig};
pub use crop::Region;
pub use image::ImageExpert;
pub(crate) use image::mirrored;
pub use mask::SpectralMask;
pub use ordered::{FRAMES, Ordered};
pub use patch::PatchConfig;
pub use recipe::{Moment, Recipe, Stage};
pub use sensor::{SensorExpert, SensorMode};
pub use speech::{SpeechExpert, SpeechMode};
pub use temporal::{Near, TemporalConfig, Window};

use crate::DataError;
use crate::dataset::Signal;
use crate::random::Dice;
use std::sync::Arc;

/// Expert views of one modality. What is not implemented is not changed.
trait Expert: Send + Sync {
    /// Whether [`Expert::change_signal`] does anything: then examples are made from their signals.
    fn changes_signal(&self) -> bool {
        false
    }

    /// Changes the signal behind a spectrogram.
    fn change_signal(&self, _signal: &mut Signal, _dice: &mut Dice) {}

    /// Changes an example before its levels are limited and normalised.
    fn change_levels(&self, _levels: &mut [f32], _shape: [usize; 3], _dice: &mut Dice) {}

    /// Changes an example of `shape` channels, height, width as the network sees it.
    fn change_example(&self, _example: &mut [f32], _shape: [usize; 3], _dice: &mut Dice) {}
}

/// Makes the expert views of a modality.
type Build = fn(&ExpertConfig) -> Arc<dyn Expert>;

/// Expert views by the name of the modality.
static REGISTRY: &[(&str, Build)] = &[
    ("image", |config| Arc::new(config.image.clone())),
    ("speech", |config| Arc::new(config.speech.clone())),
    ("sensor", |config| Arc::new(config.sensor.clone())),
];

/// Checks that `value` lies in `[0, 1]`.
fn unit(key: &'static str, value: f32) -> Result<(), DataError> {
    at_most(key, value, 1.0)
}

/// Checks that `value` lies in `[0, most]`.
fn at_most(key: &'static str, value: f32, most: f32) -> Result<(), DataError> {
    match (0.0..=most).contains(&value) {
        true => Ok(()),
        false => {
            let why = format!("must lie between 0 and {most}");
            Err(DataError::option(key, value, why))
        }
    }
}

/// Checks that `value` lies between `least` and `most`.
fn whole(key: &'static str, value: usize, least: usize, most: usize) -> Result<(), DataError> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => {
            let why = format!("must lie between {least} and {most}");
            Err(DataError::option(key, value, why))
        }
    }
}

/// Checks a range within `[0, 1]`.
fn unit_range(key: &'static str, range: [f32; 2]) -> Result<(), DataError> {
    range_of(key, range, 0.0, 1.0)
}

/// Checks that a range ascends and lies within `[low, high]`.
fn range_of(key: &'static str, range: [f32; 2], low: f32, high: f32) -> Result<(), DataError> {
    let [from, to] = range;
    if from >= low && from <= to && to <= high {
        return Ok(());
    }
    let why = format!("must be two numbers from {low} to {high}, the smaller first");
    Err(DataError::option(key, format!("{range:?}"), why))
}

#[cfg(test)]
mod tests;
