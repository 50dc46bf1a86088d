//! Conversion between sample rates by a polyphase windowed sinc.
//!
//! Source: Smith, *Digital Audio Resampling Home Page* (CCRMA, 2002), with a Kaiser window. The
//! filters of all phases are computed once per pair of rates; each output sample is one scalar
//! product, so the result does not depend on how the work is divided.

use std::f64::consts::PI;

/// Zero crossings of the sinc on each side: how steep the filter is.
const CROSSINGS: f64 = 32.0;
/// Kaiser's β: side lobes about 80 dB down.
const BETA: f64 = 8.0;
/// Cut-off as a part of the lower of the two Nyquist frequencies; the transition band lies above.
const ROLL_OFF: f64 = 0.945;

/// Converts signals from one sample rate to another.
#[derive(Clone, Debug)]
pub(crate) struct Resampler {
    /// Output samples per period of phases.
    up: usize,
    /// Input samples per period of phases.
    down: usize,
    /// Input samples on each side of the output instant that are weighted.
    reach: usize,
    /// One filter of `2·reach + 1` weights for each phase.
    filters: Vec<f32>,
}

impl Resampler {
    /// A converter from `from` Hz to `to` Hz (both positive).
    pub(crate) fn new(from: u32, to: u32) -> Self {
        let divisor = greatest_common_divisor(from, to).max(1);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        let cutoff = ROLL_OFF * (f64::from(to) / f64::from(from)).min(1.0);
        let width = CROSSINGS / cutoff;
        let reach = width.ceil() as usize;
        let filters = (0..up)
            .flat_map(|phase| {
                let offset = (phase * down % up) as f64 / up as f64;
                let weights: Vec<f64> = (0..=2 * reach)
                    .map(|tap| kernel(tap as f64 - reach as f64 - offset, cutoff, width))
                    .collect();
                // Weights that sum to 1 keep a constant signal exactly constant.
                let sum: f64 = weights.iter().sum();
                weights.into_iter().map(move |w| (w / sum) as f32)
            })
            .collect();
        Self {
            up,
            down,
            reach,
            filters,
        }
    }

    /// The signal at the new rate, `⌈len·to/from⌉` samples; silence is assumed beyond the ends.
    pub(crate) fn convert(&self, samples: &[f32]) -> Vec<f32> {
        if self.up == self.down {
            return samples.to_vec();
        }
        let taps = 2 * self.reach + 1;
        let length = (samples.len() * self.up).div_ceil(self.down);
        (0..length)
            .map(|i| {
                let centre = i * self.down / self.up;
                let phase = i % self.up;
                let filter = &self.filters[phase * taps..(phase + 1) * taps];
                let skipped = self.reach.saturating_sub(centre);
                let from = centre + skipped - self.reach;
                let inside = samples.get(from..).unwrap_or_default();
                inside
                    .iter()
                    .zip(&filter[skipped..])
                    .map(|(&x, &w)| f64::from(x) * f64::from(w))
                    .sum::<f64>() as f32
            })
            .collect()
    }
}

/// The windowed sinc at distance `x` (in input samples) with `cutoff` relative to the input's
/// Nyquist frequency, zero from `width` on.
fn kernel(x: f64, cutoff: f64, width: f64) -> f64 {
    let edge = 1.0 - (x / width).powi(2);
    if edge <= 0.0 {
        return 0.0;
    }
    let angle = PI * cutoff * x;
    let sinc = if angle.abs() < 1e-9 {
        1.0
    } else {
        angle.sin() / angle
    };
    sinc * bessel_i0(BETA * edge.sqrt())
}

/// The modified Bessel function of order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut sum, mut term, mut k) = (1.0, 1.0, 1.0);
    while term > 1e-17 * sum {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32, seconds: f64) -> Vec<f32> {
        let step = 2.0 * PI * hz / f64::from(rate);
        let length = (seconds * f64::from(rate)) as usize;
        (0..length)
            .map(|i| (step * i as f64).sin() as f32)
            .collect()
    }

    /// Largest difference away from the ends, where silence is assumed.
    fn worst(a: &[f32], b: &[f32]) -> f32 {
        let inside = a.len() / 10..a.len() * 9 / 10;
        a[inside.clone()]
            .iter()
            .zip(&b[inside])
            .fold(0.0, |w, (x, y)| w.max((x - y).abs()))
    }

    #[test]
    fn tones_keep_their_frequency_and_level() {
        for (from, to) in [
            (8000, 16_000),
            (44_100, 16_000),
            (22_050, 16_000),
            (48_000, 8000),
        ] {
            for hz in [100.0, 1000.0, 3300.0] {
                let got = Resampler::new(from, to).convert(&tone(hz, from, 0.2));
                let want = tone(hz, to, 0.2);
                assert!(got.len().abs_diff(want.len()) <= 1);
                let error = worst(&want, &got);
                assert!(error < 1e-3, "{from} to {to}, {hz} Hz: {error}");
            }
        }
    }

    #[test]
    fn what_the_new_rate_cannot_hold_is_removed() {
        let got = Resampler::new(48_000, 8000).convert(&tone(6000.0, 48_000, 0.2));
        assert!(worst(&got, &vec![0.0; got.len()]) < 1e-3);
    }

    #[test]
    fn equal_rates_change_nothing_and_short_signals_work() {
        let x = tone(440.0, 16_000, 0.01);
        assert_eq!(Resampler::new(16_000, 16_000).convert(&x), x);
        assert_eq!(Resampler::new(8000, 16_000).convert(&[1.0]).len(), 2);
        assert_eq!(Resampler::new(48_000, 8000).convert(&[1.0]).len(), 1);
        assert!(Resampler::new(48_000, 8000).convert(&[]).is_empty());
    }
}
