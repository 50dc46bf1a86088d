//! Cosine transforms of one line through a complex FFT of the same length (Makhoul 1980), two real
//! lines at a time: one as the real, one as the imaginary part.

use num_complex::Complex;
use rustfft::{Fft, FftPlanner};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Twiddle factors and FFTs for lines of one length.
pub(super) struct Line {
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// `e^{−iπk/(2N)}`.
    twiddles: Vec<Complex<f32>>,
}

/// Weights of a transform: `all` for every coefficient and, on top, `first` for coefficient 0.
#[derive(Clone, Copy)]
pub(super) struct Weights {
    pub(super) all: f32,
    pub(super) first: f32,
}

impl Line {
    /// The tables for lines of `len`, made once per process.
    pub(super) fn of(len: usize) -> Arc<Self> {
        static LINES: LazyLock<Mutex<HashMap<usize, Arc<Line>>>> = LazyLock::new(Mutex::default);
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(len).or_insert_with(|| Arc::new(Self::new(len)));
        Arc::clone(line)
    }

    fn new(len: usize) -> Self {
        let mut planner = FftPlanner::new();
        let angle = |k: usize| -std::f64::consts::PI * k as f64 / (2 * len) as f64;
        let twiddle = |k| {
            let (sin, cos) = angle(k).sin_cos();
            Complex::new(cos as f32, sin as f32)
        };
        Self {
            forward: planner.plan_fft_forward(len),
            inverse: planner.plan_fft_inverse(len),
            twiddles: (0..len).map(twiddle).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.twiddles.len()
    }

    /// Complex numbers of working memory beside the line itself.
    pub(super) fn scratch_len(&self) -> usize {
        let forward = self.forward.get_inplace_scratch_len();
        forward.max(self.inverse.get_inplace_scratch_len())
    }

    /// Where element `n` stands in the order the FFT wants: even elements first, then the odd ones
    /// backwards.
    fn slot(&self, n: usize) -> usize {
        if n.is_multiple_of(2) {
            n / 2
        } else {
            self.len() - 1 - n / 2
        }
    }

    /// DCT-II, `2 w[k] Σ_n x[n] cos(πk(2n+1)/(2N))`, of the two lines that `read` gives as one
    /// complex number per element; `write` takes the coefficients likewise.
    pub(super) fn analyse(
        &self,
        weights: Weights,
        buffer: &mut [Complex<f32>],
        mut read: impl FnMut(usize) -> Complex<f32>,
        mut write: impl FnMut(usize, Complex<f32>),
    ) {
        let len = self.len();
        let (values, scratch) = buffer.split_at_mut(len);
        for n in 0..len {
            values[self.slot(n)] = read(n);
        }
        self.forward.process_with_scratch(values, scratch);
        for (k, twiddle) in self.twiddles.iter().enumerate() {
            let value = values[k];
            let mirror = values[if k == 0 { 0 } else { len - k }].conj();
            let weight = weights.of(k);
            write(
                k,
                Complex {
                    re: weight * (twiddle * (value + mirror)).re,
                    im: weight * (twiddle * (value - mirror)).im,
                },
            );
        }
    }

    /// DCT-III, `w[0] X[0]/2 + Σ_{k≥1} w[k] X[k] cos(πk(2n+1)/(2N))`, in the same manner.
    pub(super) fn synthesise(
        &self,
        weights: Weights,
        buffer: &mut [Complex<f32>],
        mut read: impl FnMut(usize) -> Complex<f32>,
        mut write: impl FnMut(usize, Complex<f32>),
    ) {
        let len = self.len();
        let (values, scratch) = buffer.split_at_mut(len);
        for (k, twiddle) in self.twiddles.iter().enumerate() {
            let value = read(k) * weights.of(k);
            let mirror = match k {
                0 => Complex::default(),
                _ => read(len - k) * weights.all,
            };
            let pair = Complex::new(value.re + mirror.im, value.im - mirror.re);
            values[k] = twiddle.conj() * pair * 0.5;
        }
        self.inverse.process_with_scratch(values, scratch);
        for n in 0..len {
            write(n, values[self.slot(n)]);
        }
    }
}

impl Weights {
    fn of(self, k: usize) -> f32 {
        if k == 0 {
            self.all * self.first
        } else {
            self.all
        }
    }
}
