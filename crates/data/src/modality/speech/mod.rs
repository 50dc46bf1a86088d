//! The modality `speech`: recordings become log-mel spectrograms.

mod config;
mod decode;
mod invert;
mod layout;
mod logmel;
mod partition;
mod recordings;
mod resample;
mod settings;
mod single;
mod source;
mod spectrograms;
mod synth;

pub use config::{Labels, Preset, SpeechConfig};
pub use invert::sound_of_view;
pub use logmel::{LogMel, mel_power_to_db};
pub(crate) use resample::Resampler;
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
        let fits = |_: &Settings, logmel: &LogMel| shape_of(logmel) == shape;
        let settings = settings_where(&config.speech, synth::RATE, fits).ok_or_else(|| {
            let why = format!(
                "the options data.speech.* do not give spectrograms of the shape {shape:?}: use \
                 those that the network was trained with"
            );
            DataError::option("data.speech.n_mels", config.speech.n_mels, why)
        })?;
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
        let settings = settings_where(&config.speech, synth::RATE, |_, _| true);
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
        let fits = |settings: &Settings, logmel: &LogMel| {
            settings.sample_rate == original.rate
                && shape_of(logmel).iter().product::<usize>() == example.len()
        };
        let settings = settings_where(&config.speech, original.rate, fits)
            .filter(|_| example.len() == view.len())
            .ok_or_else(|| {
                let why = format!(
                    "{} values at {} Hz, and {} of the original, are no spectrograms of the options \
                     data.speech.*",
                    view.len(),
                    original.rate,
                    example.len()
                );
                DataError::example("view", why)
            })?;
        let scale = before_view.map_or(1.0, |stats| stats.std[0]);
        let db = |x: &[f32]| -> Vec<f32> { x.iter().map(|x| x * scale).collect() };
        let samples = sound_of_view(&settings, &original.samples, &db(example), &db(view));
        Ok(Some(Waveform {
            samples,
            rate: original.rate,
        }))
    }
}

/// The first settings that suit `fits`: where the options leave the window open, either may be meant.
fn settings_where(
    config: &SpeechConfig,
    rate: u32,
    fits: impl Fn(&Settings, &LogMel) -> bool,
) -> Option<Settings> {
    [Window::Clip, Window::Reference]
        .into_iter()
        .filter_map(|window| config.settings(window, rate).ok())
        .find(|settings| fits(settings, &LogMel::new(settings)))
}

/// Shape of the examples: channels, bands, frames.
fn shape_of(logmel: &LogMel) -> [usize; 3] {
    [1, logmel.n_mels(), logmel.frames()]
}

#[cfg(test)]
mod tests;
