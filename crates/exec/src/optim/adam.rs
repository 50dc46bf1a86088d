//! Adam and AdamW.

use super::device::Copies;
use super::{Optimizer, PIECE, export, import, used_ranges};
use crate::Tensor;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use viewmaker_device::{DeviceError, Span};
use viewmaker_net::Net;
use viewmaker_ops::device::update;

/// Adam (Kingma & Ba, ICLR 2015, algorithm 1) as in PyTorch: ε is added after the bias-corrected
/// square root. Weight decay is either part of the gradient (Adam) or, decoupled, shrinks the
/// weights before the step (AdamW: Loshchilov & Hutter, ICLR 2019, algorithm 2).
#[derive(Debug)]
pub struct Adam {
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
    decoupled: bool,
    ranges: Vec<Range<usize>>,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u64,
    on_device: Copies,
}

impl Adam {
    /// For the parameters of `net`; betas in `[0, 1)`, `eps` > 0, `weight_decay` ≥ 0.
    pub fn new(net: &Net, betas: [f32; 2], eps: f32, weight_decay: f32, decoupled: bool) -> Self {
        Self {
            betas,
            eps,
            weight_decay,
            decoupled,
            ranges: used_ranges(net),
            first: vec![0.0; net.param_len()],
            second: vec![0.0; net.param_len()],
            steps: 0,
            on_device: Copies::default(),
        }
    }

    /// The factors of the next step, which is counted.
    fn next_step(&mut self, lr: f32) -> Factors {
        self.steps += 1;
        let [b1, b2] = self.betas;
        // Corrections in double precision: 1 − β₂ᵗ loses half its digits in f32 at small t.
        let exponent = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let correction1 = 1.0 - f64::from(b1).powi(exponent);
        let (decay, shrink) = match self.decoupled {
            true => (0.0, 1.0 - lr * self.weight_decay),
            false => (self.weight_decay, 1.0),
        };
        Factors {
            step: (f64::from(lr) / correction1) as f32,
            correction2: (1.0 - f64::from(b2).powi(exponent)).sqrt() as f32,
            decay,
            shrink,
        }
    }
}

/// What a step multiplies with.
struct Factors {
    /// The rate over the first bias correction.
    step: f32,
    /// Root of the second bias correction.
    correction2: f32,
    /// Weight decay as part of the gradient.
    decay: f32,
    /// Factor on the weights.
    shrink: f32,
}

impl Optimizer for Adam {
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        let Factors {
            step,
            correction2,
            decay: coupled,
            shrink,
        } = self.next_step(lr);
        let ([b1, b2], eps) = (self.betas, self.eps);
        for range in &self.ranges {
            let w = params[range.clone()].par_chunks_mut(PIECE);
            let g = grads[range.clone()].par_chunks(PIECE);
            let m = self.first[range.clone()].par_chunks_mut(PIECE);
            let v = self.second[range.clone()].par_chunks_mut(PIECE);
            w.zip(g).zip(m.zip(v)).for_each(|((w, g), (m, v))| {
                for ((w, g), (m, v)) in w.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
                    let g = g + coupled * *w;
                    *m = b1 * *m + (1.0 - b1) * g;
                    *v = b2 * *v + (1.0 - b2) * g * g;
                    *w = shrink * *w - step * *m / (v.sqrt() / correction2 + eps);
                }
            });
        }
    }

    fn device_step(&mut self, params: &Span, grads: &Span, lr: f32) -> Result<(), DeviceError> {
        let buffers = self
            .on_device
            .beside(params, &[&self.first, &self.second])?;
        let (first, second) = (buffers[0].all(), buffers[1].all());
        let factors = self.next_step(lr);
        let step = update::Adam {
            rate: factors.step,
            betas: self.betas,
            correction: factors.correction2,
            eps: self.eps,
            decay: factors.decay,
            shrink: factors.shrink,
        };
        for range in &self.ranges {
            let part = |of: &Span| of.slice(range.clone());
            let moments = [&part(&first), &part(&second)];
            step.step(&part(params), &part(grads), moments)?;
        }
        Ok(())
    }

    fn state(&self, net: &Net) -> Result<BTreeMap<String, Tensor>, DeviceError> {
        let mut state = BTreeMap::new();
        let (mut first, mut second) = (self.first.clone(), self.second.clone());
        self.on_device.fetch(&mut [&mut first, &mut second])?;
        export(net, "adam_m", &first, &mut state);
        export(net, "adam_v", &second, &mut state);
        // Two halves of 24 bits: each is exact in f32.
        let data = vec![(self.steps >> 24) as f32, (self.steps & 0xff_ffff) as f32];
        let shape = vec![2];
        state.insert("#adam_step".to_string(), Tensor { shape, data });
        Ok(state)
    }

    fn load_state(&mut self, net: &Net, state: &BTreeMap<String, Tensor>) -> Result<(), String> {
        self.on_device.forget();
        import(net, "adam_m", &mut self.first, state)?;
        import(net, "adam_v", &mut self.second, state)?;
        let steps = state.get("#adam_step").map(|t| t.data.as_slice());
        let Some(&[high, low]) = steps else {
            return Err("#adam_step".to_string());
        };
        self.steps = ((high as u64) << 24) | low as u64;
        Ok(())
    }
}
