//! The numbers of a spectrogram, all decided.

use super::SpeechConfig;
use crate::{ChannelStats, DataError};

/// Upper end of the highest band where the sample rate allows it, in Hz.
const HIGHEST_HZ: f64 = 8000.0;
/// The sample rate of the paper, the highest that is chosen without being asked for.
const REFERENCE_RATE: u32 = 16_000;
/// The window of the paper: what gives 224 × 224 at a hop of 672.
const REFERENCE_SAMPLES: usize = 150_526;
const REFERENCE_N_FFT: usize = 2048;
/// Bands and hop of the paper's input sizes.
const REFERENCE_HOPS: [(usize, usize); 4] = [(32, 4800), (64, 2360), (112, 1344), (224, 672)];

/// The two kinds of recordings that a window can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// Sentences: the paper's window of 9.4 s.
    Reference,
    /// Words: one second.
    Clip,
}

/// How a recording becomes a log-mel spectrogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Samples per second.
    pub sample_rate: u32,
    /// Points of the Fourier transform and its window.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop_length: usize,
    /// Mel bands.
    pub n_mels: usize,
    /// Samples of the window that an example covers.
    pub max_samples: usize,
    /// Upper end of the highest band in Hz.
    pub fmax: f64,
}

impl Settings {
    /// The given values of `config`; those that are 0 follow from `window`, and from the `rate` in
    /// Hz of the recordings.
    pub(super) fn resolve(
        config: &SpeechConfig,
        window: Window,
        rate: u32,
    ) -> Result<Self, DataError> {
        let or = |given: usize, otherwise: usize| if given == 0 { otherwise } else { given };
        let sample_rate = match (config.sample_rate, window) {
            (0, Window::Reference) => REFERENCE_RATE,
            (0, Window::Clip) => rate.min(REFERENCE_RATE),
            (given, _) => given,
        };
        let (max_samples, n_fft, n_mels) = match window {
            Window::Reference => (REFERENCE_SAMPLES, REFERENCE_N_FFT, 64),
            Window::Clip => (sample_rate as usize, sample_rate as usize * 4 / 125, 32),
        };
        let n_mels = or(config.n_mels, n_mels);
        let max_samples = match config.max_samples {
            // A little less than the window where that is what gives a square.
            0 if square_hop(max_samples, n_mels).is_err() => max_samples / n_mels * n_mels - 1,
            given => or(given, max_samples),
        };
        let settings = Self {
            sample_rate,
            n_fft: or(config.n_fft, n_fft),
            hop_length: match config.hop_length {
                0 => square_hop(max_samples, n_mels)?,
                given => given,
            },
            n_mels,
            max_samples,
            fmax: highest(config.fmax, sample_rate)?,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), DataError> {
        if self.max_samples < self.n_fft {
            let why = format!(
                "longer than an example: data.speech.max_samples is {}",
                self.max_samples
            );
            return Err(DataError::option("data.speech.n_fft", self.n_fft, why));
        }
        if self.max_samples < self.hop_length {
            let why = format!(
                "larger than an example: data.speech.max_samples is {}",
                self.max_samples
            );
            return Err(DataError::option(
                "data.speech.hop_length",
                self.hop_length,
                why,
            ));
        }
        Ok(())
    }

    /// Whether these are the paper's numbers, at any of its input sizes.
    fn is_reference(&self) -> bool {
        let size = (self.n_mels, self.hop_length);
        (self.sample_rate, self.max_samples, self.n_fft)
            == (REFERENCE_RATE, REFERENCE_SAMPLES, REFERENCE_N_FFT)
            && self.fmax == HIGHEST_HZ
            && REFERENCE_HOPS.contains(&size)
    }

    /// The published statistics of a data set at the paper's settings; `None` at others.
    pub(super) fn published_stats(&self, corpus: PublishedStats) -> Option<ChannelStats> {
        let (mean, std) = match corpus {
            PublishedStats::LibriSpeech => (-22.924, 12.587),
            PublishedStats::SpeechCommands => (-46.847, 19.151),
        };
        self.is_reference().then(|| ChannelStats {
            mean: vec![mean],
            std: vec![std],
        })
    }

    /// Seconds from one frame to the next.
    pub(super) fn seconds_per_frame(&self) -> f32 {
        self.hop_length as f32 / self.sample_rate as f32
    }
}

/// Data sets whose mean and deviation the paper's code states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PublishedStats {
    LibriSpeech,
    SpeechCommands,
}

/// The hop that gives `n_mels` frames of `samples` samples: the paper's where it has one, else the
/// smallest.
fn square_hop(samples: usize, n_mels: usize) -> Result<usize, DataError> {
    if samples == REFERENCE_SAMPLES
        && let Some((_, hop)) = REFERENCE_HOPS.iter().find(|(bands, _)| *bands == n_mels)
    {
        return Ok(*hop);
    }
    let hop = samples / n_mels + 1;
    if samples / hop + 1 == n_mels {
        return Ok(hop);
    }
    let why =
        format!("no hop gives {n_mels} frames of {samples} samples: set data.speech.hop_length");
    Err(DataError::option("data.speech.max_samples", samples, why))
}

fn highest(fmax: f64, sample_rate: u32) -> Result<f64, DataError> {
    let nyquist = f64::from(sample_rate) / 2.0;
    if fmax == 0.0 {
        return Ok(nyquist.min(HIGHEST_HZ));
    }
    if !(fmax >= 100.0 && fmax <= nyquist) {
        let why = format!("must lie between 100 Hz and half the sample rate, {nyquist} Hz");
        return Err(DataError::option("data.speech.fmax", fmax, why));
    }
    Ok(fmax)
}

#[cfg(test)]
mod tests {
    use super::super::LogMel;
    use super::*;

    fn resolved(window: Window, rate: u32, change: impl FnOnce(&mut SpeechConfig)) -> Settings {
        let mut config = SpeechConfig::default();
        change(&mut config);
        config.settings(window, rate).unwrap()
    }

    #[test]
    fn reference_sizes_have_the_reference_hops() {
        for (n_mels, hop) in REFERENCE_HOPS {
            let settings = resolved(Window::Reference, 44_100, |c| c.n_mels = n_mels);
            assert_eq!((settings.hop_length, settings.sample_rate), (hop, 16_000));
            let logmel = LogMel::new(&settings);
            assert_eq!((logmel.n_mels(), logmel.frames()), (n_mels, n_mels));
            let stats = settings
                .published_stats(PublishedStats::LibriSpeech)
                .unwrap();
            assert_eq!((stats.mean[0], stats.std[0]), (-22.924, 12.587));
        }
    }

    #[test]
    fn clips_are_square_at_any_rate_and_size() {
        for rate in [8000, 11_025, 16_000, 44_100] {
            for n_mels in [16, 32, 33, 64, 100] {
                let settings = resolved(Window::Clip, rate, |c| c.n_mels = n_mels);
                let logmel = LogMel::new(&settings);
                assert_eq!(
                    (logmel.n_mels(), logmel.frames()),
                    (n_mels, n_mels),
                    "{settings:?}"
                );
                assert_eq!(
                    settings.published_stats(PublishedStats::SpeechCommands),
                    None
                );
            }
        }
        let settings = resolved(Window::Clip, 44_100, |_| ());
        assert_eq!((settings.sample_rate, settings.n_fft), (16_000, 512));
    }

    #[test]
    fn values_that_do_not_fit_together_are_errors() {
        let message =
            |config: SpeechConfig| config.settings(Window::Clip, 8000).unwrap_err().to_string();
        let long_fft = message(SpeechConfig {
            n_fft: 16_384,
            ..Default::default()
        });
        assert!(
            long_fft.starts_with("data.speech.n_fft = 16384"),
            "{long_fft}"
        );
        let dense = message(SpeechConfig {
            max_samples: 300,
            n_mels: 200,
            ..Default::default()
        });
        assert!(
            dense.starts_with("data.speech.max_samples = 300"),
            "{dense}"
        );
        let high = message(SpeechConfig {
            fmax: 4001.0,
            ..Default::default()
        });
        assert!(high.ends_with("half the sample rate, 4000 Hz"), "{high}");
    }
}
