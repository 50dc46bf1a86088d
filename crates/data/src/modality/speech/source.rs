//! Opening a source: files at a path, or the embedded recordings.

use super::config::SpeechConfig;
use super::decode::decode;
use super::layout::{self, Corpus};
use super::partition::{self, Partition};
use super::recordings::SoundFiles;
use super::settings::{PublishedStats, Settings, Window};
use super::spectrograms::Spectrograms;
use super::synth::{self, SpokenDigits};
use crate::dataset::evenly_spaced;
use crate::files::{classes, plural};
use crate::stats::channel_stats;
use crate::{ChannelStats, DataConfig, DataError, Dataset, Splits, Subset};
use std::path::Path;
use std::sync::Arc;

/// Files that are looked at to choose window and rate.
const SURVEYED: usize = 16;
/// Recordings mostly shorter than this many seconds are words.
const LONGEST_CLIP: f64 = 2.0;
/// Examples that the mean and the deviation are computed from.
const STATS_SAMPLE: usize = 1000;

/// The settings for the source at `path` (embedded for `None`).
pub(super) fn settings(path: Option<&Path>, config: &SpeechConfig) -> Result<Settings, DataError> {
    config.validate()?;
    match path {
        None => config.settings(Window::Clip, synth::RATE),
        Some(path) => settings_of(&layout::read(path, config.labels)?, config),
    }
}

fn settings_of(corpus: &Corpus, config: &SpeechConfig) -> Result<Settings, DataError> {
    let survey = Survey::of(corpus)?;
    let automatic = corpus
        .layout
        .window
        .unwrap_or(if survey.seconds < LONGEST_CLIP {
            Window::Clip
        } else {
            Window::Reference
        });
    config.settings(automatic, survey.rate)
}

/// What some of the files are like: their median length and rate.
struct Survey {
    seconds: f64,
    rate: u32,
}

impl Survey {
    fn of(corpus: &Corpus) -> Result<Self, DataError> {
        let mut seconds = Vec::new();
        let mut rates = Vec::new();
        for index in evenly_spaced(corpus.recordings.len(), SURVEYED) {
            let sound = decode(&corpus.recordings[index].path)?;
            seconds.push(sound.samples.len() as f64 / f64::from(sound.rate));
            rates.push(sound.rate);
        }
        seconds.sort_by(f64::total_cmp);
        rates.sort_unstable();
        Ok(Self {
            seconds: seconds.get(seconds.len() / 2).copied().unwrap_or(0.0),
            rate: rates.get(rates.len() / 2).copied().unwrap_or(synth::RATE),
        })
    }
}

/// Opens the recordings at a path.
pub(super) fn open(path: &Path, config: &DataConfig, seed: u64) -> Result<Splits, DataError> {
    config.validate()?;
    let corpus = layout::read(path, config.speech.labels)?;
    let settings = settings_of(&corpus, &config.speech)?;
    let Partition {
        entries,
        train,
        held_out,
        rule,
    } = partition::divide(path, &corpus, config.validation_fraction, seed)?;
    let recordings = SoundFiles::new(entries, settings.sample_rate);
    let raw = Spectrograms::new(Box::new(recordings), &settings, config.speech.cache_bytes());
    let published = corpus.layout.published;
    let about = format!("{}, {rule}{}", corpus.layout.name, corpus.left_out);
    Opened {
        raw,
        train,
        held_out,
        settings,
        published,
    }
    .splits(config, about, corpus.class_names)
}

/// Opens the embedded recordings.
pub(super) fn open_embedded(config: &DataConfig) -> Result<Splits, DataError> {
    config.validate()?;
    let settings = config.speech.settings(Window::Clip, synth::RATE)?;
    let (train, test) = (config.embedded_train, config.embedded_test);
    let digits = SpokenDigits::new(train, test, settings.sample_rate);
    let raw = Spectrograms::new(Box::new(digits), &settings, config.speech.cache_bytes());
    Opened {
        raw,
        train: (0..train).collect(),
        held_out: (train..train + test).collect(),
        settings,
        published: None,
    }
    .splits(
        config,
        "embedded spoken digits".to_owned(),
        synth::class_names(),
    )
}

/// Spectrograms with everything known that makes them [`Splits`].
struct Opened {
    raw: Spectrograms,
    train: Vec<usize>,
    held_out: Vec<usize>,
    settings: Settings,
    published: Option<PublishedStats>,
}

impl Opened {
    fn splits(
        self,
        config: &DataConfig,
        about: String,
        class_names: Vec<String>,
    ) -> Result<Splits, DataError> {
        let published = self
            .published
            .and_then(|corpus| self.settings.published_stats(corpus));
        let subset = |raw: &Spectrograms, stats: &ChannelStats, indices: &[usize]| {
            let all: Arc<dyn Dataset> = Arc::new(raw.normalized(stats.clone()));
            let part: Arc<dyn Dataset> = Arc::new(Subset::new(all, indices.to_vec()));
            Subset::limited(part, config.limit)
        };
        let identity = ChannelStats {
            mean: vec![0.0],
            std: vec![1.0],
        };
        let training = subset(&self.raw, &identity, &self.train);
        let stats = stats(&*training, &config.speech, published)?;
        let train = subset(&self.raw, &stats, &self.train);
        let test = subset(&self.raw, &stats, &self.held_out);
        let [_, bands, frames] = train.shape();
        let classes = classes(class_names.len());
        let description = format!(
            "speech: {about}; {} to train on, {} held out, {classes}; 1 × {bands} × {frames} \
             log-mel of {:.1} s at {} Hz, mean {:.3} dB, deviation {:.3} dB",
            plural(train.len(), "recording"),
            test.len(),
            self.settings.max_samples as f64 / f64::from(self.settings.sample_rate),
            self.settings.sample_rate,
            stats.mean[0],
            stats.std[0],
        );
        Ok(Splits {
            train,
            test,
            class_names,
            before_view: Some(stats),
            after_view: None,
            description,
        })
    }
}

/// Mean and deviation for the normalisation: as configured, else as published, else of the data.
pub(super) fn stats(
    training: &dyn Dataset,
    config: &SpeechConfig,
    published: Option<ChannelStats>,
) -> Result<ChannelStats, DataError> {
    if let (Some(mean), Some(std)) = (config.normalize_mean, config.normalize_std) {
        return Ok(ChannelStats {
            mean: vec![mean],
            std: vec![std],
        });
    }
    match published {
        Some(stats) => Ok(stats),
        None => channel_stats(training, STATS_SAMPLE),
    }
}
