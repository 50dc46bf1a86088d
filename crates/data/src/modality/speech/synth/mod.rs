//! The embedded recordings: spoken digits from a small formant synthesiser.
//!
//! Ten classes, said by voices that differ in pitch, vocal tract and pace, through microphones that
//! differ in tone, somewhere in a second of background noise. All of these change a spectrogram more
//! than the digit does. The held-out digits are said by voices that the training set does not have.

mod digits;
mod formant;
mod noise;
mod scene;
mod voice;

use super::resample::Resampler;
use super::spectrograms::Recordings;
use crate::{DataError, random};
use viewmaker_ops::random::Philox;

/// Sample rate of the synthesiser in Hz.
pub(super) const RATE: u32 = 8000;
/// Samples of a recording: one second.
pub(super) const SAMPLES: usize = RATE as usize;
/// Voices of the training set and, after them, of the held-out set.
const TRAINING_VOICES: usize = 32;
const HELD_OUT_VOICES: usize = 8;
/// Seed of all embedded recordings: they are the same in every run.
const SEED: u64 = 0x5370_6f6b_656e;

/// Synthesised digits: some to train on, then some held out.
pub(super) struct SpokenDigits {
    train: usize,
    test: usize,
    resampler: Resampler,
}

/// Names of the classes: the digits as figures.
pub(super) fn class_names() -> Vec<String> {
    (0..digits::WORDS.len()).map(|d| d.to_string()).collect()
}

impl SpokenDigits {
    /// `train` recordings to train on and `test` held out, at `rate` Hz.
    pub(super) fn new(train: usize, test: usize, rate: u32) -> Self {
        Self {
            train,
            test,
            resampler: Resampler::new(RATE, rate),
        }
    }

    fn digit(index: usize) -> usize {
        index % digits::WORDS.len()
    }

    /// The numbers behind recording `index`; a recording does not depend on how many there are.
    fn philox(&self, index: usize) -> (Philox, std::ops::Range<usize>) {
        let (step, place, voices) = if index < self.train {
            (0, index, 0..TRAINING_VOICES)
        } else {
            (
                1,
                index - self.train,
                TRAINING_VOICES..TRAINING_VOICES + HELD_OUT_VOICES,
            )
        };
        let [low, high, ..] = Philox::new(SEED, random::SPOKEN_DIGITS, step).block(place as u64);
        let seed = u64::from(high) << 32 | u64::from(low);
        (Philox::new(seed, random::SPOKEN_DIGITS, step), voices)
    }
}

impl Recordings for SpokenDigits {
    fn len(&self) -> usize {
        self.train + self.test
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(Self::digit(index) as u32)
    }

    fn origin(&self, index: usize) -> String {
        format!("embedded spoken digit {index}")
    }

    fn samples(&self, index: usize) -> Result<Vec<f32>, DataError> {
        let (philox, voices) = self.philox(index);
        let word = digits::WORDS[Self::digit(index)];
        Ok(self
            .resampler
            .convert(&scene::record(word, voices, &philox)))
    }
}
