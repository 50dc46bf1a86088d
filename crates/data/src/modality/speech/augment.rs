//! The hand-made views that the paper compares with, as pure functions of their random numbers.

use realfft::RealFftPlanner;
use rustfft::num_complex::Complex;

/// Rows and columns of a spectrogram that a mask removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Number of bands.
    pub bands: usize,
    /// First band.
    pub first_band: usize,
    /// Number of frames.
    pub frames: usize,
    /// First frame.
    pub first_frame: usize,
}

/// Sets whole bands and whole frames of a power spectrogram (`bands × frames` with `frames` columns)
/// to 0. Parts of the mask that lie outside are ignored.
///
/// Source: Park et al., *SpecAugment* (2019), without time warping.
///
/// # Panics
/// When `frames` is 0 or does not divide the length of `power`.
pub fn mask_power(power: &mut [f64], frames: usize, mask: &Mask) {
    assert!(
        frames > 0 && power.len().is_multiple_of(frames),
        "whole rows"
    );
    let bands = mask.first_band..mask.first_band + mask.bands;
    let columns = mask.first_frame..mask.first_frame + mask.frames;
    for (band, row) in power.chunks_exact_mut(frames).enumerate() {
        for (frame, p) in row.iter_mut().enumerate() {
            if bands.contains(&band) || columns.contains(&frame) {
                *p = 0.0;
            }
        }
    }
}

/// Adds `0.25·std` times standard normal numbers to a spectrogram in dB, where `std` is the standard
/// deviation that the spectrogram will be divided by.
pub fn add_spectral_noise(db: &mut [f64], normal: &[f32], std: f64) {
    const LEVEL: f64 = 0.25;
    for (x, &n) in db.iter_mut().zip(normal) {
        *x += LEVEL * std * f64::from(n);
    }
}

/// Silences everything outside `length` samples from `first` on; the number of samples stays.
pub fn crop_to_silence(samples: &mut [f64], first: usize, length: usize) {
    let last = first.saturating_add(length);
    for (i, x) in samples.iter_mut().enumerate() {
        if i < first || i >= last {
            *x = 0.0;
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
    fn masks_cover_rows_and_columns_and_stop_at_the_edge() {
        let mut power = vec![1.0; 12];
        let mask = Mask {
            bands: 1,
            first_band: 1,
            frames: 9,
            first_frame: 3,
        };
        mask_power(&mut power, 4, &mask);
        assert_eq!(power, [1., 1., 1., 0., 0., 0., 0., 0., 1., 1., 1., 0.]);
    }

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
    fn spectral_noise_has_a_quarter_of_the_deviation() {
        let mut db = [10.0, 20.0];
        add_spectral_noise(&mut db, &[1.0, -2.0], 8.0);
        assert_eq!(db, [12.0, 16.0]);
    }
}
