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

#[cfg(test)]
mod tests {
    use super::super::LogMel;
    use super::super::config::SpeechConfig;
    use super::super::settings::Window;
    use super::voice::Voice;
    use super::*;
    use crate::random::Dice;

    const TRAIN: usize = 1000;
    const TEST: usize = 300;

    fn nearest_neighbour_accuracy(spectrograms: &[Vec<f64>]) -> f64 {
        let (train, test) = spectrograms.split_at(TRAIN);
        let distance =
            |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum() };
        let right = test.iter().enumerate().filter(|(i, x)| {
            let nearest = (0..TRAIN)
                .min_by(|&a, &b| distance(&train[a], x).total_cmp(&distance(&train[b], x)));
            nearest.is_some_and(|n| SpokenDigits::digit(n) == SpokenDigits::digit(TRAIN + i))
        });
        right.count() as f64 / test.len() as f64
    }

    /// Raw spectrograms are told apart by voice, noise and position; without these, by the digit.
    #[test]
    fn nuisance_dominates_distances_but_digits_can_be_told_apart() {
        let digits = SpokenDigits::new(TRAIN, TEST, RATE);
        let settings = SpeechConfig::default()
            .settings(Window::Clip, RATE)
            .unwrap();
        let logmel = LogMel::new(&settings);
        let recorded: Vec<_> = (0..TRAIN + TEST)
            .map(|i| logmel.decibels(&digits.samples(i).unwrap()))
            .collect();
        let clean: Vec<_> = (0..TRAIN + TEST)
            .map(|i| {
                let (philox, voices) = digits.philox(i);
                let mut dice = Dice::new(&philox);
                let mut voice = Voice::new(dice.pick(voices)).on_occasion(&mut dice);
                voice.pace = 1.0;
                let word = digits::WORDS[SpokenDigits::digit(i)];
                let mut samples = formant::speak(word, &voice, &mut dice);
                samples.iter_mut().for_each(|x| *x += 1e-3 * dice.white());
                logmel.decibels(&samples)
            })
            .collect();
        let [raw, clean] = [recorded, clean].map(|s| nearest_neighbour_accuracy(&s));
        println!("nearest neighbour: {raw:.3} as they are, {clean:.3} clean and aligned");
        assert!((0.15..0.5).contains(&raw), "{raw}");
        assert!(clean > raw + 0.3, "{clean} against {raw}");
    }

    #[test]
    fn recordings_fill_their_second_and_stay_below_full_scale() {
        let digits = SpokenDigits::new(50, 50, RATE);
        for i in 0..100 {
            let samples = digits.samples(i).unwrap();
            assert_eq!(samples.len(), SAMPLES);
            assert!(samples.iter().all(|x| x.abs() <= 1.0));
            assert!(noise::rms(&samples) > 0.01);
        }
        assert_eq!(
            SpokenDigits::new(1, 1, 16_000).samples(0).unwrap().len(),
            16_000
        );
    }
}
