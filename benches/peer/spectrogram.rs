//! Our way from sound files to normalised log-mel spectrograms.

use super::fixtures::{Check, probe};
use super::items::SpectrogramWork;
use super::steps::Task as StepTask;
use super::worker::Task;
use std::sync::Arc;
use viewmaker::config::Update;
use viewmaker::error::{Error, Result};
use viewmaker_data::{ChannelStats, Dataset, Draw, modality};

/// Files as a data set that remembers nothing.
pub struct Spectrograms {
    dataset: Arc<dyn Dataset>,
    example: Vec<f32>,
}

impl Spectrograms {
    /// The files with the options of the paper's configuration.
    ///
    /// # Errors
    /// When the options do not fit the shape.
    pub fn new(work: &SpectrogramWork) -> Result<Self> {
        let speech = modality::by_name("speech");
        let speech = speech.ok_or_else(|| Error::failure("there is no modality speech"))?;
        let mut options = StepTask::Speech.config(Update::Simultaneous)?.data.options;
        // Every epoch but the first would cost nothing.
        options.speech.cache_mib = 0;
        let stats = ChannelStats {
            mean: vec![work.mean],
            std: vec![work.std],
        };
        let shape = StepTask::Speech.input();
        Ok(Self {
            dataset: speech.open_files(&work.files, &options, shape, Some(&stats))?,
            example: vec![0.0; shape.iter().product()],
        })
    }

    fn load(&mut self, index: usize) -> Result<()> {
        Ok(self.dataset.load(index, Draw::FIXED, &mut self.example)?)
    }
}

impl Task for Spectrograms {
    fn check(&mut self) -> Result<Check> {
        let mut check = Check::new();
        for (name, index) in [("first", 0), ("last", self.dataset.len() - 1)] {
            self.load(index)?;
            check.insert(format!("{name} spectrogram"), probe(&self.example));
        }
        Ok(check)
    }

    fn run(&mut self) -> Result<()> {
        (0..self.dataset.len()).try_for_each(|index| self.load(index))
    }
}
