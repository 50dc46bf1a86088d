//! From samples to the log-mel spectrogram of the paper.
//!
//! Source: Tamkin, Wu & Goodman, *Viewmaker Networks* (ICLR 2021), appendix on speech, as its code
//! computes it: silence is appended **before** the transform, and the mel *power* is squared once
//! more before the conversion to decibels, so that the range of 80 dB covers 40 dB of power.

use super::Settings;
use super::single::Single;
use crate::spectrum::{DYNAMIC_RANGE_DB, MelFilters, Padding, Stft, power_to_db, power_to_level};
use std::borrow::Cow;

/// Computes log-mel spectrograms of one setting. One serves all threads.
#[derive(Clone, Debug)]
pub struct LogMel {
    stft: Stft,
    filters: MelFilters,
    single: Single,
    samples: usize,
}

impl LogMel {
    /// The spectrogram of `settings`, with the signal mirrored at the ends of the window.
    pub fn new(settings: &Settings) -> Self {
        Self::with_padding(settings, Padding::Reflect)
    }

    /// The spectrogram of `settings` with another continuation beyond the ends of the window.
    pub fn with_padding(settings: &Settings, padding: Padding) -> Self {
        let Settings {
            sample_rate,
            n_fft,
            hop_length,
            n_mels,
            max_samples,
            fmax,
        } = *settings;
        let stft = Stft::new(n_fft, hop_length, padding);
        let filters = MelFilters::new(f64::from(sample_rate), n_fft, n_mels, fmax);
        Self {
            single: Single::new(&stft, &filters),
            stft,
            filters,
            samples: max_samples,
        }
    }

    /// Mel bands.
    pub fn n_mels(&self) -> usize {
        self.filters.n_mels()
    }

    /// Frames.
    pub fn frames(&self) -> usize {
        self.stft.frames(self.samples)
    }

    /// Samples of the window that one spectrogram covers.
    pub fn window(&self) -> usize {
        self.samples
    }

    /// Mel filters.
    pub fn filters(&self) -> &MelFilters {
        &self.filters
    }

    /// Mel power, bands × frames in C order, of the first [`LogMel::window`] samples; fewer are
    /// followed by silence.
    pub fn mel_power<T: Copy + Default + Into<f64>>(&self, samples: &[T]) -> Vec<f64> {
        let window = match samples.get(..self.samples) {
            Some(window) => Cow::Borrowed(window),
            None => {
                let mut window = samples.to_vec();
                window.resize(self.samples, T::default());
                Cow::Owned(window)
            }
        };
        let frames = self.frames();
        let mut out = vec![0.0; self.n_mels() * frames];
        let mut power = vec![0.0; self.stft.bins()];
        self.stft.for_each_frame(&window, |t, spectrum| {
            for (p, x) in power.iter_mut().zip(spectrum) {
                *p = x.norm_sqr();
            }
            for band in 0..self.n_mels() {
                out[band * frames + t] = self.filters.band(band, &power);
            }
        });
        out
    }

    /// The log-mel spectrogram in dB without a limit of its range, bands × frames in C order.
    pub fn levels<T: Copy + Default + Into<f64>>(&self, samples: &[T]) -> Vec<f64> {
        let mut values = self.mel_power(samples);
        square(&mut values);
        power_to_level(&mut values);
        values
    }

    /// The same in single precision, right to 1e-3 dB within [`DYNAMIC_RANGE_DB`] of the loudest:
    /// what data sets compute for every example.
    pub fn single_levels(&self, samples: &[f32]) -> Vec<f32> {
        let window = &samples[..samples.len().min(self.samples)];
        let single = self.single.levels(&self.stft, window, self.samples);
        single.unwrap_or_else(|| self.levels(window).iter().map(|&x| x as f32).collect())
    }

    /// The log-mel spectrogram in dB, bands × frames in C order.
    pub fn decibels<T: Copy + Default + Into<f64>>(&self, samples: &[T]) -> Vec<f64> {
        let mut values = self.mel_power(samples);
        mel_power_to_db(&mut values);
        values
    }
}

/// Turns mel power into the decibels of its square, at most 80 dB below the loudest.
pub fn mel_power_to_db(values: &mut [f64]) {
    square(values);
    power_to_db(values, DYNAMIC_RANGE_DB);
}

fn square(values: &mut [f64]) {
    for p in values {
        *p *= *p;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectrum::limit_range;

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

    #[test]
    fn a_tone_is_a_horizontal_line_and_silence_the_floor() {
        let logmel = LogMel::new(&settings());
        assert_eq!((logmel.n_mels(), logmel.frames()), (32, 32));
        let hz = logmel.filters().centres()[12];
        let step = std::f64::consts::TAU * hz / 8000.0;
        let tone: Vec<f64> = (0..4000).map(|i| (step * f64::from(i)).sin()).collect();
        let db = logmel.decibels(&tone);
        let loudest = db.iter().copied().fold(f64::MIN, f64::max);
        for t in 0..14 {
            let column: Vec<f64> = (0..32).map(|m| db[m * 32 + t]).collect();
            let peak = (0..32).max_by(|&a, &b| column[a].total_cmp(&column[b]));
            assert_eq!(peak, Some(12), "frame {t}");
        }
        assert!((0..32).all(|m| db[m * 32 + 20] == loudest - 80.0));
    }

    #[test]
    fn doubling_the_level_adds_twelve_decibels() {
        let logmel = LogMel::new(&settings());
        let quiet: Vec<f64> = (0..8000)
            .map(|i| (f64::from(i) * 0.3).sin() * 0.1)
            .collect();
        let loud: Vec<f64> = quiet.iter().map(|x| 2.0 * x).collect();
        let (a, b) = (logmel.decibels(&quiet), logmel.decibels(&loud));
        for (a, b) in a.iter().zip(&b) {
            assert!((b - a - 40.0 * 2f64.log10()).abs() < 1e-9);
        }
    }

    /// Ends that are mirrored, silence behind the end, a quiet and a very loud signal.
    #[test]
    fn single_precision_is_right_to_a_thousandth_of_a_decibel() {
        let logmel = LogMel::new(&settings());
        let noise = viewmaker_ops::random::Philox::new(3, 1, 0);
        for (len, factor) in [
            (8000, 1.0),
            (9001, 1.0),
            (3000, 0.3),
            (8000, 1e-3),
            (8000, 1e30),
        ] {
            let sound = |i: usize| {
                let tone = (i as f32 * 0.4).sin() * (1.0 + (i as f32 * 3e-3).cos());
                factor * (tone + 0.02 * (noise.uniform(i as u64) - 0.5))
            };
            let samples: Vec<f32> = (0..len).map(sound).collect();
            let mut got = logmel.single_levels(&samples);
            let mut want: Vec<f32> = logmel.levels(&samples).iter().map(|&x| x as f32).collect();
            limit_range(&mut got, DYNAMIC_RANGE_DB as f32);
            limit_range(&mut want, DYNAMIC_RANGE_DB as f32);
            let differences = got.iter().zip(&want).map(|(g, w)| (g - w).abs());
            let off = differences.fold(0.0, f32::max);
            assert!(off < 1e-3, "{len} samples × {factor}: {off} dB");
        }
        assert!(logmel.single_levels(&[]).iter().all(|&x| x == -100.0));
        assert_eq!(logmel.single_levels(&[0.0; 10]), logmel.single_levels(&[]));
    }

    #[test]
    fn only_the_window_counts() {
        let logmel = LogMel::new(&settings());
        let long: Vec<f64> = (0..9000).map(|i| (f64::from(i) * 0.7).cos()).collect();
        assert_eq!(logmel.decibels(&long), logmel.decibels(&long[..8000]));
    }
}
