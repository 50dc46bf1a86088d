//! The log power spectrogram of one channel.
//!
//! Source: Tamkin, Wu & Goodman, *Viewmaker networks* (ICLR 2021), appendix on wearable sensors,
//! with the constants of its published code.

use crate::ChannelStats;
use crate::spectrum::{Padding, Stft};

/// Added to every power before the logarithm, so that silence has a finite level (−13.8).
pub const POWER_OFFSET: f64 = 1e-6;

/// `ln(|STFT|² + 1e-6)`, with frames centred on every `hop`-th step, the signal mirrored beyond its
/// ends, and a periodic Hann window.
#[derive(Clone, Debug)]
pub struct LogPowerSpectrogram {
    stft: Stft,
}

impl LogPowerSpectrogram {
    /// Spectrograms of `n_fft / 2 + 1` rows with one column every `hop` steps.
    ///
    /// # Panics
    /// When `n_fft` or `hop` is 0.
    pub fn new(n_fft: usize, hop: usize) -> Self {
        Self::with_window(hann_f32(n_fft), hop)
    }

    /// As [`LogPowerSpectrogram::new`], with another window, which also sets `n_fft`.
    ///
    /// # Panics
    /// When the window is empty or `hop` is 0.
    pub fn with_window(window: Vec<f64>, hop: usize) -> Self {
        Self {
            stft: Stft::with_window(window, hop, Padding::Reflect),
        }
    }

    /// Rows: frequencies from 0 to half the sampling rate.
    pub fn rows(&self) -> usize {
        self.stft.bins()
    }

    /// Columns of a signal of `steps` steps.
    pub fn frames(&self, steps: usize) -> usize {
        self.stft.frames(steps)
    }

    /// The power `|STFT|²`, rows × frames in C order.
    pub fn power(&self, signal: &[f32]) -> Vec<f64> {
        let mut power = vec![0.0; self.rows() * self.frames(signal.len())];
        self.stft.power(signal, &mut power);
        power
    }

    /// Writes the logarithm of the power into `out`, rows × frames in C order.
    ///
    /// # Panics
    /// When `out` does not hold `rows() · frames(signal.len())` values.
    pub fn log_power(&self, signal: &[f32], out: &mut [f32]) {
        let power = self.power(signal);
        assert_eq!(out.len(), power.len(), "log_power: rows × frames");
        for (y, p) in out.iter_mut().zip(power) {
            *y = (p + POWER_OFFSET).ln() as f32;
        }
    }
}

/// The periodic Hann window as single precision gives it, step by step.
///
/// Next to a strong constant (gravity, heart rate) the second row and those above are what is left
/// of a near-perfect cancellation; there the rounding of the window decides the logarithm, and the
/// reference computes its window in single precision.
fn hann_f32(n: usize) -> Vec<f64> {
    let step = (std::f64::consts::TAU / n as f64) as f32;
    let value = |i: usize| {
        let cos = f64::from(i as f32 * step).cos() as f32;
        f64::from(0.5 - 0.5 * cos)
    };
    (0..n).map(value).collect()
}

/// Subtracts the mean of every channel and divides by its standard deviation, in place, on a
/// C × H × W array.
///
/// # Panics
/// When `spectrogram` cannot be divided into as many channels as `stats` has.
pub fn normalize(spectrogram: &mut [f32], stats: &ChannelStats) {
    let channels = stats.mean.len();
    assert_eq!(
        spectrogram.len() % channels.max(1),
        0,
        "normalize: whole channels"
    );
    let plane = spectrogram.len() / channels.max(1);
    let channels = spectrogram.chunks_exact_mut(plane.max(1));
    for ((channel, &mean), &std) in channels.zip(&stats.mean).zip(&stats.std) {
        for x in channel {
            *x = (*x - mean) / std;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_the_offset_as_power() {
        let spectrogram = LogPowerSpectrogram::new(63, 8);
        assert_eq!((spectrogram.rows(), spectrogram.frames(256)), (32, 32));
        let mut out = vec![0.0; 32 * 32];
        spectrogram.log_power(&[0.0; 256], &mut out);
        assert!(out.iter().all(|&y| y == POWER_OFFSET.ln() as f32));
    }

    #[test]
    fn the_window_is_hann_up_to_single_precision() {
        for (got, want) in hann_f32(63).into_iter().zip(crate::spectrum::hann(63)) {
            assert!((got - want).abs() < 4e-7, "{got} against {want}");
        }
    }

    #[test]
    fn a_tone_peaks_in_its_row() {
        let tone = |t: usize| (std::f64::consts::TAU * 10.0 / 63.0 * t as f64).sin() as f32;
        let signal: Vec<f32> = (0..256).map(tone).collect();
        let spectrogram = LogPowerSpectrogram::new(63, 8);
        let mut out = vec![0.0; 32 * 32];
        spectrogram.log_power(&signal, &mut out);
        for frame in 6..26 {
            let loudest =
                (0..32).max_by(|&a, &b| out[a * 32 + frame].total_cmp(&out[b * 32 + frame]));
            assert_eq!(loudest, Some(10), "frame {frame}");
        }
    }

    #[test]
    fn normalizing_works_by_channel() {
        let mut x = [1.0, 3.0, 10.0, 30.0];
        let stats = ChannelStats {
            mean: vec![2.0, 20.0],
            std: vec![1.0, 10.0],
        };
        normalize(&mut x, &stats);
        assert_eq!(x, [-1.0, 1.0, -1.0, 1.0]);
    }
}
