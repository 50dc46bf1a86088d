//! The short-time Fourier transform and its inverse by overlap-add.

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::num_complex::Complex;
use std::fmt;
use std::sync::Arc;

/// What lies beyond the ends of the signal when frames are centred on their samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: frame `t` starts at sample `t·hop`, and only whole frames count.
    None,
    /// Frames are centred on samples `t·hop`; zeros lie beyond the ends.
    Zero,
    /// Frames are centred on samples `t·hop`; the signal is mirrored about its first and last
    /// sample (which are not repeated), as often as it takes.
    Reflect,
}

/// The periodic Hann window of `n` points, `½ − ½·cos(2πi/n)`.
pub fn hann(n: usize) -> Vec<f64> {
    let step = std::f64::consts::TAU / n as f64;
    (0..n)
        .map(|i| 0.5 - 0.5 * (step * i as f64).cos())
        .collect()
}

/// A short-time Fourier transform of one window length and hop, of any length, even or odd.
///
/// The plan is immutable: one `Stft` serves all threads.
#[derive(Clone)]
pub struct Stft {
    hop: usize,
    padding: Padding,
    window: Vec<f64>,
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
}

impl fmt::Debug for Stft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stft")
            .field("n_fft", &self.n_fft())
            .field("hop", &self.hop)
            .field("padding", &self.padding)
            .finish_non_exhaustive()
    }
}

impl Stft {
    /// A transform with a periodic Hann window of `n_fft` points every `hop` samples.
    ///
    /// # Panics
    /// When `n_fft` or `hop` is 0.
    pub fn new(n_fft: usize, hop: usize, padding: Padding) -> Self {
        Self::with_window(hann(n_fft), hop, padding)
    }

    /// A transform with the given window every `hop` samples.
    ///
    /// # Panics
    /// When the window is empty or `hop` is 0.
    pub fn with_window(window: Vec<f64>, hop: usize, padding: Padding) -> Self {
        assert!(!window.is_empty(), "the window has no points");
        assert!(hop > 0, "frames do not advance: the hop is 0");
        let mut planner = RealFftPlanner::new();
        Self {
            hop,
            padding,
            forward: planner.plan_fft_forward(window.len()),
            inverse: planner.plan_fft_inverse(window.len()),
            window,
        }
    }

    /// Points of the window and of the transform.
    pub fn n_fft(&self) -> usize {
        self.window.len()
    }

    /// Samples from one frame to the next.
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// Frequencies of a frame, `n_fft/2 + 1`: 0 to half the sample rate.
    pub fn bins(&self) -> usize {
        self.n_fft() / 2 + 1
    }

    /// Frames of a signal of `samples` samples.
    pub fn frames(&self, samples: usize) -> usize {
        match (samples + 2 * self.margin()).checked_sub(self.n_fft()) {
            Some(rest) => rest / self.hop + 1,
            None => 0,
        }
    }

    /// The weights of a frame.
    pub fn window(&self) -> &[f64] {
        &self.window
    }

    /// The first sample of frame `t`, counted from the first true one.
    pub(crate) fn first_of(&self, t: usize) -> isize {
        (t * self.hop) as isize - self.margin() as isize
    }

    /// Samples that padding adds at each end.
    fn margin(&self) -> usize {
        match self.padding {
            Padding::None => 0,
            Padding::Zero | Padding::Reflect => self.n_fft() / 2,
        }
    }

    /// Calls `each` with the number and the spectrum ([`Stft::bins`] values) of every frame.
    pub fn for_each_frame<T, F>(&self, samples: &[T], mut each: F)
    where
        T: Copy + Into<f64>,
        F: FnMut(usize, &[Complex<f64>]),
    {
        let mut frame = self.forward.make_input_vec();
        let mut spectrum = self.forward.make_output_vec();
        let mut scratch = self.forward.make_scratch_vec();
        for t in 0..self.frames(samples.len()) {
            self.windowed(samples, t, &mut frame);
            self.forward
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .expect("the buffers were made by this plan");
            each(t, &spectrum);
        }
    }

    /// Writes `|X|²` into `out`, bins × frames in C order.
    ///
    /// # Panics
    /// When `out` does not hold `bins() · frames(samples.len())` values.
    pub fn power<T: Copy + Into<f64>>(&self, samples: &[T], out: &mut [f64]) {
        let frames = self.frames(samples.len());
        assert_eq!(out.len(), self.bins() * frames, "power: bins × frames");
        self.for_each_frame(samples, |t, spectrum| {
            for (k, x) in spectrum.iter().enumerate() {
                out[k * frames + t] = x.norm_sqr();
            }
        });
    }

    /// The complex spectrum, frames × bins in C order.
    pub fn spectrum<T: Copy + Into<f64>>(&self, samples: &[T]) -> Vec<Complex<f64>> {
        let mut out = Vec::with_capacity(self.bins() * self.frames(samples.len()));
        self.for_each_frame(samples, |_, spectrum| out.extend_from_slice(spectrum));
        out
    }

    /// The signal of `samples` samples whose spectrum is closest to `spectrum` (frames × bins) in
    /// the least-squares sense: windowed overlap-add divided by the overlapped squared windows.
    ///
    /// Source: Griffin & Lim, *Signal estimation from modified short-time Fourier transform*
    /// (1984), equation 6. Samples that no frame covers are 0.
    ///
    /// # Panics
    /// When `spectrum` does not hold `frames(samples) · bins()` values.
    pub fn inverse(&self, spectrum: &[Complex<f64>], samples: usize) -> Vec<f64> {
        let frames = self.frames(samples);
        assert_eq!(
            spectrum.len(),
            frames * self.bins(),
            "inverse: frames × bins"
        );
        let mut sum = vec![0.0; samples + 2 * self.margin()];
        let mut weight = vec![0.0; sum.len()];
        let mut bins = self.inverse.make_input_vec();
        let mut frame = self.inverse.make_output_vec();
        let mut scratch = self.inverse.make_scratch_vec();
        for (t, values) in spectrum.chunks_exact(self.bins()).enumerate() {
            bins.copy_from_slice(values);
            self.make_hermitian(&mut bins);
            self.inverse
                .process_with_scratch(&mut bins, &mut frame, &mut scratch)
                .expect("the buffers were made by this plan");
            let at = t * self.hop;
            for (i, (&x, &w)) in frame.iter().zip(&self.window).enumerate() {
                sum[at + i] += x * w;
                weight[at + i] += w * w;
            }
        }
        let scale = 1.0 / self.n_fft() as f64;
        let inside = self.margin()..self.margin() + samples;
        sum[inside.clone()]
            .iter()
            .zip(&weight[inside])
            .map(|(&x, &w)| if w > 1e-10 { x * scale / w } else { 0.0 })
            .collect()
    }

    /// A real signal has real values at frequency 0 and at half the sample rate; a modified
    /// spectrum may have lost that by round-off.
    fn make_hermitian(&self, bins: &mut [Complex<f64>]) {
        bins[0].im = 0.0;
        if self.n_fft().is_multiple_of(2)
            && let Some(last) = bins.last_mut()
        {
            last.im = 0.0;
        }
    }

    /// Writes frame `t`, times the window, into `frame`.
    fn windowed<T: Copy + Into<f64>>(&self, samples: &[T], t: usize, frame: &mut [f64]) {
        let first = self.first_of(t);
        if let Ok(from) = usize::try_from(first)
            && let Some(inside) = samples.get(from..from + frame.len())
        {
            for ((y, &x), &w) in frame.iter_mut().zip(inside).zip(&self.window) {
                *y = x.into() * w;
            }
            return;
        }
        for (i, (y, &w)) in frame.iter_mut().zip(&self.window).enumerate() {
            *y = self.padded(samples, first + i as isize) * w;
        }
    }

    /// Sample `i` of the padded signal, counted from the first true sample.
    fn padded<T: Copy + Into<f64>>(&self, samples: &[T], i: isize) -> f64 {
        let source = self.source(samples.len(), i);
        source.map_or(0.0, |at| samples[at].into())
    }

    /// Which of `len` samples lies at `i` of the padded signal, counted from the first true sample;
    /// `None` where there is a zero.
    pub(crate) fn source(&self, len: usize, i: isize) -> Option<usize> {
        let last = len as isize - 1;
        let at = if (0..=last).contains(&i) {
            i
        } else if last < 0 || self.padding != Padding::Reflect {
            return None;
        } else if last == 0 {
            0
        } else {
            let folded = i.rem_euclid(2 * last);
            folded.min(2 * last - folded)
        };
        usize::try_from(at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_ops::random::Philox;

    fn noise(n: usize) -> Vec<f64> {
        let philox = Philox::new(5, 0, 0);
        (0..n as u64)
            .map(|i| f64::from(philox.uniform(i)) - 0.5)
            .collect()
    }

    /// `|Σ w[n]·x[n]·exp(−2πikn/N)|²` as the definition says.
    fn direct(frame: &[f64], k: usize) -> f64 {
        let n = frame.len();
        let step = -std::f64::consts::TAU * k as f64 / n as f64;
        let sum: Complex<f64> = frame
            .iter()
            .zip(hann(n))
            .enumerate()
            .map(|(i, (&x, w))| Complex::from_polar(x * w, step * i as f64))
            .sum();
        sum.norm_sqr()
    }

    fn mirrored(x: &[f64], margin: usize) -> Vec<f64> {
        let front = x[1..=margin].iter().rev();
        let back = x[x.len() - 1 - margin..x.len() - 1].iter().rev();
        front.chain(x).chain(back).copied().collect()
    }

    #[test]
    fn power_equals_the_definition_for_even_and_odd_lengths() {
        for (n_fft, hop, len) in [(16, 5, 40), (63, 32, 200), (7, 3, 9)] {
            let x = noise(len);
            let stft = Stft::new(n_fft, hop, Padding::Reflect);
            let frames = stft.frames(len);
            let mut power = vec![0.0; stft.bins() * frames];
            stft.power(&x, &mut power);
            let padded = mirrored(&x, n_fft / 2);
            for t in 0..frames {
                for k in 0..stft.bins() {
                    let want = direct(&padded[t * hop..t * hop + n_fft], k);
                    let got = power[k * frames + t];
                    assert!((got - want).abs() < 1e-11, "n_fft {n_fft} t {t} k {k}");
                }
            }
        }
    }

    #[test]
    fn frame_counts_are_those_of_the_reference_settings() {
        for (hop, frames) in [(2360, 64), (4800, 32), (1344, 112), (672, 224)] {
            assert_eq!(
                Stft::new(2048, hop, Padding::Reflect).frames(150_526),
                frames
            );
        }
        assert_eq!(Stft::new(63, 32, Padding::Reflect).frames(1000), 32);
        assert_eq!(Stft::new(63, 32, Padding::None).frames(62), 0);
        assert_eq!(Stft::new(63, 32, Padding::None).frames(95), 2);
    }

    #[test]
    fn reflection_folds_signals_shorter_than_the_margin() {
        let stft = Stft::new(8, 4, Padding::Reflect);
        let x = [1.0, 2.0, 3.0];
        let got: Vec<f64> = (-4..7).map(|i| stft.padded(&x, i)).collect();
        assert_eq!(got, [1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0]);
        assert_eq!(stft.padded(&[4.0], -3), 4.0);
        assert_eq!(stft.padded::<f64>(&[], -3), 0.0);
    }

    #[test]
    fn inverse_undoes_the_transform() {
        for (n_fft, hop) in [(64, 16), (63, 15)] {
            for padding in [Padding::Zero, Padding::Reflect] {
                let x = noise(500);
                let stft = Stft::new(n_fft, hop, padding);
                let y = stft.inverse(&stft.spectrum(&x), x.len());
                let covered = (stft.frames(x.len()) - 1) * hop;
                for i in 0..covered {
                    assert!((x[i] - y[i]).abs() < 1e-12, "n_fft {n_fft}, sample {i}");
                }
            }
        }
    }
}
