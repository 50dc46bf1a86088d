//! The log-mel spectrogram in single precision: what data sets compute for every example.
//!
//! A transform in single precision is off by about 1e-7 of the loudest amplitude of its frame. What
//! the range of 80 dB keeps (of squared power: 40 dB of power) is thus right to 1e-3 dB, at half
//! the price of double precision.

use crate::spectrum::{MelFilters, SILENCE_DB, Stft};
use realfft::{RealFftPlanner, RealToComplex};
use rustfft::num_complex::Complex;
use std::fmt;
use std::sync::Arc;
use viewmaker_ops::contrastive::dot;

/// Mel power up to here has a square in single precision, and so has every step to it.
const LARGEST: f32 = 1e18;
/// Mel power whose square is the floor of decibels.
const FLOOR: f32 = 1e-5;

/// Plan, window and filters.
#[derive(Clone)]
pub(super) struct Single {
    window: Vec<f32>,
    transform: Arc<dyn RealToComplex<f32>>,
    /// First bin and weights of every band.
    filters: Vec<(usize, Vec<f32>)>,
}

impl fmt::Debug for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Single").finish_non_exhaustive()
    }
}

impl Single {
    /// The same transform and filters.
    pub(super) fn new(stft: &Stft, filters: &MelFilters) -> Self {
        let narrow = |x: &[f64]| x.iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let bands = 0..filters.n_mels();
        Self {
            window: narrow(stft.window()),
            transform: RealFftPlanner::new().plan_fft_forward(stft.n_fft()),
            filters: bands
                .map(|band| filters.weights(band))
                .map(|(first, weights)| (first, narrow(weights)))
                .collect(),
        }
    }

    /// Levels in dB without a limit of their range, bands × frames in C order, of a window of
    /// `length` samples: the first ones are `samples`, silence follows. `None` when they are too loud
    /// for single precision, or not finite.
    pub(super) fn levels(&self, stft: &Stft, samples: &[f32], length: usize) -> Option<Vec<f32>> {
        let frames = stft.frames(length);
        let mut out = vec![0.0; self.filters.len() * frames];
        let mut frame = self.transform.make_input_vec();
        let mut spectrum = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut power = vec![0.0; spectrum.len()];
        for t in 0..frames {
            if !self.windowed(stft, (samples, length), t, &mut frame) {
                (0..self.filters.len()).for_each(|band| out[band * frames + t] = SILENCE_DB);
                continue;
            }
            self.transform
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the buffers were made by this plan");
            for (p, x) in power.iter_mut().zip(&spectrum) {
                *p = Complex::norm_sqr(x);
            }
            for (band, (first, weights)) in self.filters.iter().enumerate() {
                let power = dot(&power[*first..*first + weights.len()], weights);
                if power > LARGEST || power.is_nan() {
                    return None;
                }
                out[band * frames + t] = level(power);
            }
        }
        Some(out)
    }

    /// Writes frame `t`, times the window, into `frame`; false, and nothing written, where it is silent.
    fn windowed(
        &self,
        stft: &Stft,
        (samples, length): (&[f32], usize),
        t: usize,
        frame: &mut [f32],
    ) -> bool {
        let first = stft.first_of(t);
        if let Ok(from) = usize::try_from(first)
            && from + frame.len() <= length
        {
            let held = samples.get(from..).unwrap_or_default();
            let sound = frame.iter_mut().zip(held).zip(&self.window);
            sound.for_each(|((y, x), w)| *y = x * w);
            let silence = frame.iter_mut().skip(held.len());
            silence.for_each(|y| *y = 0.0);
            return !held.is_empty();
        }
        for (i, (y, w)) in frame.iter_mut().zip(&self.window).enumerate() {
            let source = stft.source(length, first + i as isize);
            let sample = source.and_then(|at| samples.get(at));
            *y = sample.map_or(0.0, |x| x * w);
        }
        true
    }
}

/// The decibels of the square of mel power.
fn level(power: f32) -> f32 {
    if power <= FLOOR {
        return SILENCE_DB;
    }
    const FACTOR: f32 = (20.0 / std::f64::consts::LN_10) as f32;
    FACTOR * power.ln()
}
