//! Sound files as recordings of one sample rate, decoded when asked for.

use super::decode::decode;
use super::resample::Resampler;
use super::spectrograms::Recordings;
use crate::DataError;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The part of a file that is a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Whole,
    FirstHalf,
    SecondHalf,
}

/// A recording in a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub path: PathBuf,
    pub span: Span,
    pub label: Option<u32>,
}

/// The recordings in some files, brought to one sample rate.
pub(super) struct SoundFiles {
    entries: Vec<Entry>,
    rate: u32,
    /// The converter for every rate met so far.
    resamplers: Mutex<BTreeMap<u32, Arc<Resampler>>>,
}

impl SoundFiles {
    pub(super) fn new(entries: Vec<Entry>, rate: u32) -> Self {
        Self {
            entries,
            rate,
            resamplers: Mutex::default(),
        }
    }

    fn resampler(&self, from: u32) -> Arc<Resampler> {
        let mut known = self
            .resamplers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Resampler::new(from, self.rate));
        Arc::clone(known.entry(from).or_insert_with(make))
    }
}

impl Recordings for SoundFiles {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.entries[index].label
    }

    fn file(&self, index: usize) -> Option<PathBuf> {
        Some(self.entries[index].path.clone())
    }

    fn origin(&self, index: usize) -> String {
        let entry = &self.entries[index];
        let part = match entry.span {
            Span::Whole => "",
            Span::FirstHalf => " (first half)",
            Span::SecondHalf => " (second half)",
        };
        format!("{}{part}", entry.path.display())
    }

    fn samples(&self, index: usize) -> Result<Vec<f32>, DataError> {
        let entry = &self.entries[index];
        let mut sound = decode(&entry.path)?;
        let half = sound.samples.len() / 2;
        match entry.span {
            Span::Whole => {}
            Span::FirstHalf => sound.samples.truncate(half.max(1)),
            Span::SecondHalf => drop(sound.samples.drain(..half)),
        }
        if sound.rate == self.rate {
            return Ok(sound.samples);
        }
        Ok(self.resampler(sound.rate).convert(&sound.samples))
    }
}
