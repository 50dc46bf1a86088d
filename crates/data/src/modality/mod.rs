//! The modality registry: one folder per modality, one line here.

pub mod image;
pub mod sensor;
pub mod speech;

use crate::{ChannelStats, DataConfig, DataError, Dataset, Splits, Waveform};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every modality, in the order of the help text.
static REGISTRY: &[&dyn Modality] = &[&image::Image, &speech::Speech, &sensor::Sensor];

/// Every modality that `--modality` accepts.
pub fn registry() -> &'static [&'static dyn Modality] {
    REGISTRY
}

/// The modality called `name`.
pub fn by_name(name: &str) -> Option<&'static dyn Modality> {
    REGISTRY.iter().copied().find(|m| m.name() == name)
}

/// A kind of data: how its files become equally shaped examples, and how these are shown.
pub trait Modality: Send + Sync {
    /// Value of `--modality`.
    fn name(&self) -> &'static str;

    /// One line of help: the formats that are understood.
    fn about(&self) -> &'static str;

    /// `config` with every value that was left to the data replaced by what the data at `path`
    /// decide (the rate of the recordings, say), so that a run can be repeated on other data.
    ///
    /// # Errors
    /// As [`Modality::open`].
    fn resolve(&self, _path: Option<&Path>, config: &DataConfig) -> Result<DataConfig, DataError> {
        Ok(config.clone())
    }

    /// Opens the source at `path`, or the embedded data for `None`.
    ///
    /// `seed` decides which examples are held out where the source has no official test set.
    /// The embedded data are the same for every seed.
    ///
    /// # Errors
    /// When an option is invalid, or the path holds nothing in a known format, or too little.
    fn open(
        &self,
        path: Option<&Path>,
        config: &DataConfig,
        seed: u64,
    ) -> Result<Splits, DataError>;

    /// Opens single files as unlabelled examples, in the order given, for looking at their views.
    ///
    /// `before_view` is what [`Splits::before_view`] was for the data that the network was trained
    /// on, so that the examples arrive on the same scale; `shape` is the shape the network expects.
    ///
    /// # Errors
    /// When a file cannot be read as an example of that shape.
    fn open_files(
        &self,
        files: &[PathBuf],
        config: &DataConfig,
        shape: [usize; 3],
        before_view: Option<&ChannelStats>,
    ) -> Result<Arc<dyn Dataset>, DataError>;

    /// How examples are drawn.
    fn rendering(&self, config: &DataConfig) -> Rendering;

    /// The sound of a view: `original` with its magnitudes changed as the network changed
    /// `example` (what [`Dataset::load`] made of `original`) into `view`, and its phases kept.
    /// `None` where examples are not speech.
    ///
    /// # Errors
    /// When the arguments do not fit together.
    fn sound_of_view(
        &self,
        _config: &DataConfig,
        _before_view: Option<&ChannelStats>,
        _original: &Waveform,
        _example: &[f32],
        _view: &[f32],
    ) -> Result<Option<Waveform>, DataError> {
        Ok(None)
    }
}

/// How examples of a modality are drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Rendering {
    /// A picture: one channel is grey, three are RGB; 0 is black, 1 is full intensity.
    Image,
    /// One spectrogram a channel, with scales.
    Spectrogram(SpectrogramAxes),
}

/// What the axes and values of a spectrogram mean.
#[derive(Clone, Debug, PartialEq)]
pub struct SpectrogramAxes {
    /// Time between neighbouring columns, in seconds.
    pub seconds_per_column: f32,
    /// Centre frequency of every row in Hz, ascending: row 0 is the lowest frequency.
    pub row_hz: Vec<f32>,
    /// What a value is and its unit, for the legend: `log mel power, standard deviations`.
    pub value: &'static str,
    /// Name of every channel; empty where there is only one or they are unknown.
    pub channel_names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (i, modality) in registry().iter().enumerate() {
            let found = by_name(modality.name()).map(Modality::name);
            assert_eq!(found, Some(modality.name()));
            assert!(!modality.about().is_empty());
            assert!(registry()[..i].iter().all(|m| m.name() != modality.name()));
        }
        assert!(by_name("smell").is_none());
    }
}
