//! Triangular filters on Slaney's mel scale.
//!
//! Source: Slaney, *Auditory Toolbox, version 2* (Interval Technical Report 1998-010): linear below
//! 1000 Hz, logarithmic above. Each filter has unit area over frequency, so that white noise gives
//! the same level in every band.

const HZ_PER_LINEAR_MEL: f64 = 200.0 / 3.0;
const CORNER_HZ: f64 = 1000.0;
const CORNER_MEL: f64 = CORNER_HZ / HZ_PER_LINEAR_MEL;
/// Frequency ratio of `LOG_MELS` mels above the corner.
const LOG_RATIO: f64 = 6.4;
const LOG_MELS: f64 = 27.0;

/// The mel value of a frequency in Hz.
pub fn hz_to_mel(hz: f64) -> f64 {
    if hz < CORNER_HZ {
        hz / HZ_PER_LINEAR_MEL
    } else {
        CORNER_MEL + (hz / CORNER_HZ).ln() / (LOG_RATIO.ln() / LOG_MELS)
    }
}

/// The frequency in Hz of a mel value.
pub fn mel_to_hz(mel: f64) -> f64 {
    if mel < CORNER_MEL {
        mel * HZ_PER_LINEAR_MEL
    } else {
        CORNER_HZ * (LOG_RATIO.ln() / LOG_MELS * (mel - CORNER_MEL)).exp()
    }
}

/// The positive weights of one filter: neighbouring bins from `first` on.
#[derive(Clone, Debug, PartialEq)]
struct Filter {
    first: usize,
    weights: Vec<f64>,
}

/// A bank of triangular filters from the bins of a power spectrum to mel bands.
#[derive(Clone, Debug, PartialEq)]
pub struct MelFilters {
    bins: usize,
    centres: Vec<f64>,
    filters: Vec<Filter>,
}

impl MelFilters {
    /// `n_mels` filters between 0 Hz and `fmax` Hz over the `n_fft/2 + 1` bins of signals at
    /// `sample_rate` Hz.
    ///
    /// Where bands are narrower than a bin a filter may be empty; its power is then 0.
    pub fn new(sample_rate: f64, n_fft: usize, n_mels: usize, fmax: f64) -> Self {
        let bins = n_fft / 2 + 1;
        let highest = hz_to_mel(fmax);
        let step = highest / (n_mels + 1) as f64;
        // The last corner exactly: whether the last bin lies below it must not hang on round-off.
        let corners: Vec<f64> = (0..=n_mels)
            .map(|i| step * i as f64)
            .chain([highest])
            .map(mel_to_hz)
            .collect();
        let hz_per_bin = sample_rate / n_fft as f64;
        let filters = corners
            .windows(3)
            .map(|c| triangle([c[0], c[1], c[2]], hz_per_bin, bins))
            .collect();
        Self {
            bins,
            centres: corners[1..=n_mels].to_vec(),
            filters,
        }
    }

    /// Number of bands.
    pub fn n_mels(&self) -> usize {
        self.filters.len()
    }

    /// Number of spectrum bins the filters read.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Frequency in Hz at which each filter peaks, rising.
    pub fn centres(&self) -> &[f64] {
        &self.centres
    }

    /// Power of band `mel` given the power of every bin.
    ///
    /// # Panics
    /// When there is no such band or `power` has fewer than [`MelFilters::bins`] values.
    pub fn band(&self, mel: usize, power: &[f64]) -> f64 {
        let filter = &self.filters[mel];
        let bins = &power[filter.first..filter.first + filter.weights.len()];
        bins.iter().zip(&filter.weights).map(|(p, w)| p * w).sum()
    }

    /// The first bin with a positive weight and the weights from there on; empty for an empty
    /// filter.
    ///
    /// # Panics
    /// When there is no such band.
    pub fn weights(&self, mel: usize) -> (usize, &[f64]) {
        let filter = &self.filters[mel];
        (filter.first, &filter.weights)
    }
}

/// The triangle over `[low, peak, high]` Hz with unit area, sampled at the bins.
fn triangle([low, peak, high]: [f64; 3], hz_per_bin: f64, bins: usize) -> Filter {
    let weight = |bin: usize| {
        let hz = bin as f64 * hz_per_bin;
        let rising = (hz - low) / (peak - low);
        let falling = (high - hz) / (high - peak);
        rising.min(falling).max(0.0)
    };
    let height = 2.0 / (high - low);
    let first = (0..bins).find(|&k| weight(k) > 0.0);
    let weights = first.map_or_else(Vec::new, |first| {
        (first..bins)
            .map(weight)
            .take_while(|&w| w > 0.0)
            .map(|w| w * height)
            .collect()
    });
    Filter {
        first: first.unwrap_or(0),
        weights,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_has_its_published_values() {
        assert!((hz_to_mel(1000.0) - 15.0).abs() < 1e-12);
        assert!((hz_to_mel(6400.0) - 42.0).abs() < 1e-12);
        for hz in [0.0, 60.0, 999.0, 1000.0, 4321.0] {
            assert!((mel_to_hz(hz_to_mel(hz)) - hz).abs() < 1e-9);
        }
    }

    #[test]
    fn white_noise_gives_equal_bands() {
        let filters = MelFilters::new(16_000.0, 16_384, 20, 8000.0);
        let flat = vec![1.0; filters.bins()];
        let area = 16_384.0 / 16_000.0;
        for mel in 0..20 {
            let power = filters.band(mel, &flat);
            assert!((power / area - 1.0).abs() < 0.01, "band {mel}: {power}");
        }
    }

    #[test]
    fn a_tone_lands_in_its_band() {
        let filters = MelFilters::new(8000.0, 512, 16, 4000.0);
        for (mel, &hz) in filters.centres().iter().enumerate() {
            let mut power = vec![0.0; filters.bins()];
            power[(hz / 8000.0 * 512.0).round() as usize] = 1.0;
            let loudest = (0..16)
                .max_by(|&a, &b| filters.band(a, &power).total_cmp(&filters.band(b, &power)));
            assert_eq!(loudest, Some(mel));
        }
    }

    #[test]
    fn bands_narrower_than_a_bin_are_empty_not_wrong() {
        let filters = MelFilters::new(16_000.0, 64, 100, 8000.0);
        let flat = vec![1.0; filters.bins()];
        assert!((0..100).any(|m| filters.weights(m).1.is_empty()));
        assert!((0..100).all(|m| filters.band(m, &flat).is_finite()));
    }
}
