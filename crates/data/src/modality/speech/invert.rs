//! The sound of a view: the original recording, louder and quieter where the view changed its
//! spectrogram.
//!
//! A log-mel spectrogram has no phases and far fewer numbers than the sound, so nothing is inverted:
//! the *difference* of the two spectrograms is a gain for every band and frame, and a filter that
//! varies in time applies it to the original. An unchanged spectrogram gives the original back.

use super::Settings;
use crate::spectrum::{Padding, Stft, hz_to_mel};

/// Decibels of the spectrogram (it shows the *squared* power) for each decibel of amplitude gain.
const DB_PER_AMPLITUDE_DB: f64 = 2.0;
/// Gains are kept within ± this many dB of amplitude, whatever the view says.
const LARGEST_GAIN_DB: f64 = 40.0;
/// Seconds covered by one window of the time-varying filter: shorter than a phoneme, long enough to
/// tell harmonics apart.
const FILTER_SECONDS: f64 = 0.04;

/// The samples behind `original_db` changed as `view_db` differs from it; both are log-mel
/// spectrograms in dB, bands × frames in C order, of the same `settings`.
///
/// Finite for any input; values that are not finite count as no change.
///
/// # Panics
/// When the spectrograms differ in size or are no whole number of frames.
pub fn sound_of_view(
    settings: &Settings,
    samples: &[f32],
    original_db: &[f32],
    view_db: &[f32],
) -> Vec<f32> {
    let gains = Gains::new(settings, original_db, view_db);
    let n_fft = even(FILTER_SECONDS * f64::from(settings.sample_rate));
    let stft = Stft::new(n_fft, n_fft / 4, Padding::Zero);
    // One window of silence at the end lets frames overlap fully on the last samples, too.
    let mut padded = samples.to_vec();
    padded.resize(samples.len() + n_fft, 0.0);
    let mut spectrum = stft.spectrum(&padded);
    let hz_per_bin = f64::from(settings.sample_rate) / n_fft as f64;
    let places: Vec<Place> = (0..stft.bins())
        .map(|bin| gains.place_of(bin as f64 * hz_per_bin))
        .collect();
    let mut column = vec![0.0; settings.n_mels];
    for (t, frame) in spectrum.chunks_exact_mut(stft.bins()).enumerate() {
        gains.at(t * stft.hop(), &mut column);
        for (x, place) in frame.iter_mut().zip(&places) {
            *x *= place.between(&column);
        }
    }
    let sound = stft.inverse(&spectrum, padded.len());
    sound[..samples.len()].iter().map(|&x| x as f32).collect()
}

/// The even number next to `x`, at least 16.
fn even(x: f64) -> usize {
    2 * ((x / 2.0).round() as usize).max(8)
}

/// Amplitude gains in dB for every band and frame.
struct Gains {
    db: Vec<f64>,
    frames: usize,
    hop: usize,
    /// Mels from one band to the next; band `b` peaks at `(b + 1)·step`.
    step: f64,
    bands: usize,
}

/// A frequency between two bands.
struct Place {
    lower: usize,
    upper: usize,
    fraction: f64,
}

impl Place {
    /// The amplitude factor here, given the gain of every band in dB.
    fn between(&self, bands_db: &[f64]) -> f64 {
        let db = mix(bands_db[self.lower], bands_db[self.upper], self.fraction);
        10f64.powf(db / 20.0)
    }
}

impl Gains {
    fn new(settings: &Settings, original_db: &[f32], view_db: &[f32]) -> Self {
        assert_eq!(original_db.len(), view_db.len(), "spectrograms of one size");
        assert!(
            original_db.len().is_multiple_of(settings.n_mels),
            "whole frames"
        );
        let gain = |(&from, &to): (&f32, &f32)| {
            let change = (f64::from(to) - f64::from(from)) / DB_PER_AMPLITUDE_DB;
            let change = if change.is_finite() { change } else { 0.0 };
            change.clamp(-LARGEST_GAIN_DB, LARGEST_GAIN_DB)
        };
        Self {
            db: original_db.iter().zip(view_db).map(gain).collect(),
            frames: original_db.len() / settings.n_mels,
            hop: settings.hop_length,
            step: hz_to_mel(settings.fmax) / (settings.n_mels + 1) as f64,
            bands: settings.n_mels,
        }
    }

    /// Where a frequency lies between the bands; beyond the outermost it belongs to these.
    fn place_of(&self, hz: f64) -> Place {
        let band = (hz_to_mel(hz) / self.step - 1.0).clamp(0.0, (self.bands - 1) as f64);
        let lower = band as usize;
        Place {
            lower,
            upper: (lower + 1).min(self.bands - 1),
            fraction: band - lower as f64,
        }
    }

    /// Writes the gain of every band at a sample, linear in dB between the frames next to it.
    fn at(&self, sample: usize, column: &mut [f64]) {
        let frame = (sample as f64 / self.hop as f64).min((self.frames - 1) as f64);
        let before = frame as usize;
        let after = (before + 1).min(self.frames - 1);
        for (gain, row) in column.iter_mut().zip(self.db.chunks_exact(self.frames)) {
            *gain = mix(row[before], row[after], frame - before as f64);
        }
    }
}

fn mix(a: f64, b: f64, fraction: f64) -> f64 {
    a + (b - a) * fraction
}

#[cfg(test)]
mod tests {
    use super::super::LogMel;
    use super::*;
    use viewmaker_ops::random::Philox;

    fn settings() -> Settings {
        Settings {
            sample_rate: 8000,
            n_fft: 256,
            hop_length: 258,
            n_mels: 32,
            max_samples: 8000,
            fmax: 4000.0,
        }
    }

    fn noise(n: usize) -> Vec<f32> {
        let philox = Philox::new(1, 2, 3);
        (0..n as u64).map(|i| philox.uniform(i) - 0.5).collect()
    }

    fn db(samples: &[f32]) -> Vec<f32> {
        LogMel::new(&settings())
            .decibels(samples)
            .iter()
            .map(|&x| x as f32)
            .collect()
    }

    #[test]
    fn the_unchanged_view_sounds_as_the_original() {
        for length in [8000, 3001, 10] {
            let samples = noise(length);
            let spectrogram = db(&samples);
            let sound = sound_of_view(&settings(), &samples, &spectrogram, &spectrogram);
            assert_eq!(sound.len(), length);
            let error: f32 = samples
                .iter()
                .zip(&sound)
                .map(|(a, b)| (a - b).powi(2))
                .sum();
            let power: f32 = samples.iter().map(|a| a * a).sum();
            let snr = 10.0 * (power / error.max(1e-30)).log10();
            assert!(snr > 100.0, "{length} samples: {snr} dB");
        }
    }

    #[test]
    fn a_uniform_change_is_a_change_of_level() {
        let samples = noise(8000);
        let original = db(&samples);
        let view: Vec<f32> = original.iter().map(|x| x - 12.0).collect();
        let sound = sound_of_view(&settings(), &samples, &original, &view);
        let factor = 10f32.powf(-6.0 / 20.0);
        for (a, b) in samples.iter().zip(&sound) {
            assert!((a * factor - b).abs() < 1e-5);
        }
    }

    /// Bands above the middle are lowered: the spectrogram of the sound shows what the view asked.
    #[test]
    fn the_sound_has_the_spectrogram_of_the_view() {
        let samples = noise(8000);
        let original = db(&samples);
        let frames = LogMel::new(&settings()).frames();
        let mut view = original.clone();
        for x in &mut view[20 * frames..] {
            *x -= 30.0;
        }
        let got = db(&sound_of_view(&settings(), &samples, &original, &view));
        for (band, change) in [(5, 0.0), (10, 0.0), (25, -30.0), (30, -30.0)] {
            let mean: f32 = (0..frames)
                .map(|t| got[band * frames + t] - original[band * frames + t])
                .sum::<f32>()
                / frames as f32;
            assert!((mean - change).abs() < 3.0, "band {band}: {mean} dB");
        }
    }

    #[test]
    fn wild_views_stay_finite() {
        let samples = noise(4000);
        let original = db(&samples);
        for value in [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN] {
            let view = vec![value; original.len()];
            let sound = sound_of_view(&settings(), &samples, &original, &view);
            assert!(sound.iter().all(|x| x.is_finite()));
        }
        assert!(sound_of_view(&settings(), &[], &original, &original).is_empty());
    }
}
