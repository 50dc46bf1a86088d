//! Noise on waveforms and spectrograms, as pure functions of their random numbers.
//!
//! Source: the published code of Tamkin, Wu & Goodman, *Viewmaker networks* (ICLR 2021).

use realfft::RealFftPlanner;
use rustfft::num_complex::Complex;
use std::ops::{AddAssign, Mul};

/// Standard deviation of the paper's spectral noise, in standard deviations of the data.
pub const SPECTRAL_NOISE: f32 = 0.25;

/// Adds `level · std[channel] · normal` to a C × H × W array, where `normal` holds standard normal
/// numbers of the same shape and `std` a standard deviation for each channel.
///
/// # Panics
/// When the lengths do not fit together.
pub fn add_spectral_noise<T>(spectrogram: &mut [T], level: T, std: &[T], normal: &[f32])
where
    T: Copy + From<f32> + Mul<Output = T> + AddAssign,
{
    assert_eq!(
        spectrogram.len(),
        normal.len(),
        "add_spectral_noise: one number per value"
    );
    assert_eq!(
        spectrogram.len() % std.len().max(1),
        0,
        "add_spectral_noise: whole channels"
    );
    let plane = (spectrogram.len() / std.len().max(1)).max(1);
    let channels = spectrogram
        .chunks_exact_mut(plane)
        .zip(normal.chunks_exact(plane));
    for ((channel, normal), &std) in channels.zip(std) {
        for (x, &n) in channel.iter_mut().zip(normal) {
            *x += level * std * T::from(n);
        }
    }
}

/// Silences everything outside `length` samples from `first` on; the number of samples stays.
pub fn crop_to_silence<T: Copy + Default>(samples: &mut [T], first: usize, length: usize) {
    let last = first.saturating_add(length);
    for (i, x) in samples.iter_mut().enumerate() {
        if i < first || i >= last {
            *x = T::default();
        }
    }
}

/// Adds the noise whose spectrum is real and given by its non-negative frequencies: the inverse
/// transform (scaled by 1/n) of `spectrum`, `n = 2·(spectrum.len() − 1)`; what exceeds the samples
/// is left out.
pub fn add_noise_of_spectrum(samples: &mut [f64], spectrum: &[f64]) {
    let Some(n) = spectrum
        .len()
        .checked_sub(1)
        .map(|half| 2 * half)
        .filter(|&n| n > 0)
    else {
        return;
    };
    let mut bins: Vec<_> = spectrum.iter().map(|&re| Complex::new(re, 0.0)).collect();
    let plan = RealFftPlanner::new().plan_fft_inverse(n);
    let mut noise = plan.make_output_vec();
    plan.process(&mut bins, &mut noise)
        .expect("the length was derived from the spectrum");
    for (x, e) in samples.iter_mut().zip(&noise) {
        *x += e / n as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cropping_keeps_the_length() {
        let mut x = [1.0; 5];
        crop_to_silence(&mut x, 1, 2);
        assert_eq!(x, [0.0, 1.0, 1.0, 0.0, 0.0]);
        crop_to_silence(&mut x, 2, usize::MAX);
        assert_eq!(x, [0.0, 0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn noise_of_one_frequency_is_a_cosine() {
        let mut x = [0.0; 8];
        add_noise_of_spectrum(&mut x, &[0.0, 4.0, 0.0, 0.0, 0.0]);
        for (i, x) in x.iter().enumerate() {
            let want = (std::f64::consts::TAU * i as f64 / 8.0).cos();
            assert!((x - want).abs() < 1e-12);
        }
        add_noise_of_spectrum(&mut x, &[]);
        add_noise_of_spectrum(&mut x, &[1.0]);
    }

    #[test]
    fn spectral_noise_scales_with_the_channel() {
        let mut x = [0.0; 4];
        add_spectral_noise(&mut x, 0.25, &[4.0, 8.0], &[1.0, -1.0, 1.0, 0.5]);
        assert_eq!(x, [1.0, -1.0, 2.0, 1.0]);
    }
}
