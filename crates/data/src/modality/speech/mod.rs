//! The modality `speech`: recordings become log-mel spectrograms.

pub mod augment;

mod config;
mod decode;
mod invert;
mod layout;
mod logmel;
mod partition;
mod recordings;
mod resample;
mod settings;
mod source;
mod spectrograms;
mod synth;

pub use config::{Labels, Preset, SpeechConfig};
pub use invert::sound_of_view;
pub use logmel::{LogMel, mel_power_to_db};
pub use settings::Settings;

use crate::modality::{Modality, Rendering, SpectrogramAxes};
use crate::{ChannelStats, DataConfig, DataError, Dataset, Splits, Waveform};
use recordings::{Entry, SoundFiles, Span};
use settings::Window;
use spectrograms::Spectrograms;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The modality `speech`.
pub struct Speech;

impl Modality for Speech {
    fn name(&self) -> &'static str {
        "speech"
    }

    fn about(&self) -> &'static str {
        "WAV and FLAC recordings (LibriSpeech, Speech Commands, Free Spoken Digit Dataset, a folder \
         per class, manifest.csv) as log-mel spectrograms; embedded: synthesised spoken digits"
    }

    fn resolve(&self, path: Option<&Path>, config: &DataConfig) -> Result<DataConfig, DataError> {
        let settings = source::settings(path, &config.speech)?;
        Ok(DataConfig {
            speech: config.speech.with_settings(&settings),
            ..config.clone()
        })
    }

    fn open(
        &self,
        path: Option<&Path>,
        config: &DataConfig,
        seed: u64,
    ) -> Result<Splits, DataError> {
        match path {
            None => source::open_embedded(config),
            Some(path) => source::open(path, config, seed),
        }
    }

    fn open_files(
        &self,
        files: &[PathBuf],
        config: &DataConfig,
        shape: [usize; 3],
        before_view: Option<&ChannelStats>,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let settings = settings_of_shape(&config.speech, shape, None)?;
        let entry = |path: &PathBuf| Entry {
            path: path.clone(),
            span: Span::Whole,
            label: None,
        };
        let entries = files.iter().map(entry).collect();
        let recordings = SoundFiles::new(entries, settings.sample_rate);
        let raw = Spectrograms::new(Box::new(recordings), &settings, config.speech.cache_bytes());
        let stats = match before_view {
            Some(stats) => stats.clone(),
            None => source::stats(&raw, &config.speech, None)?,
        };
        Ok(Arc::new(raw.normalized(stats)))
    }

    fn rendering(&self, config: &DataConfig) -> Rendering {
        let settings = config.speech.settings(Window::Clip, synth::RATE);
        let axes = settings.map(|settings| {
            let logmel = LogMel::new(&settings);
            let centres = logmel.filters().centres().iter();
            (
                settings.seconds_per_frame(),
                centres.map(|&hz| hz as f32).collect(),
            )
        });
        // Options that do not fit together have been refused when the data were opened.
        let (seconds_per_column, row_hz) = axes.unwrap_or_default();
        Rendering::Spectrogram(SpectrogramAxes {
            seconds_per_column,
            row_hz,
            value: "log mel power, standard deviations",
            channel_names: Vec::new(),
        })
    }

    fn sound_of_view(
        &self,
        config: &DataConfig,
        before_view: Option<&ChannelStats>,
        original: &Waveform,
        example: &[f32],
        view: &[f32],
    ) -> Result<Option<Waveform>, DataError> {
        let n_mels = config.speech.settings(Window::Clip, original.rate)?.n_mels;
        if example.len() != view.len() || n_mels == 0 || !example.len().is_multiple_of(n_mels) {
            let why = format!(
                "has {} values, its original {}; expected as many, in rows of {n_mels} bands",
                view.len(),
                example.len()
            );
            return Err(DataError::example("view", why));
        }
        let shape = [1, n_mels, example.len() / n_mels];
        let settings = settings_of_shape(&config.speech, shape, Some(original.rate))?;
        let scale = before_view.map_or(1.0, |stats| stats.std[0]);
        let db = |x: &[f32]| -> Vec<f32> { x.iter().map(|x| x * scale).collect() };
        let samples = sound_of_view(&settings, &original.samples, &db(example), &db(view));
        Ok(Some(Waveform {
            samples,
            rate: original.rate,
        }))
    }
}

/// The settings whose spectrograms have a given shape (and rate): those that the options say, with
/// the window that gives the shape where they leave it open.
fn settings_of_shape(
    config: &SpeechConfig,
    shape: [usize; 3],
    rate: Option<u32>,
) -> Result<Settings, DataError> {
    let mut found = [1, 0, 0];
    for window in [Window::Clip, Window::Reference] {
        let settings = config.settings(window, rate.unwrap_or(synth::RATE))?;
        let logmel = LogMel::new(&settings);
        found = [1, logmel.n_mels(), logmel.frames()];
        if found == shape && rate.is_none_or(|rate| rate == settings.sample_rate) {
            return Ok(settings);
        }
    }
    let why = format!(
        "spectrograms have the shape {found:?}, expected {shape:?}: use the options that the \
         network was trained with"
    );
    Err(DataError::option("data.speech.n_mels", config.n_mels, why))
}

#[cfg(test)]
mod tests;
