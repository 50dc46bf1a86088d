//! Stochastic gradient descent with momentum.

use super::device::Copies;
use super::{Optimizer, PIECE, export, import, used_ranges};
use crate::Tensor;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;
use viewmaker_device::{DeviceError, Span};
use viewmaker_net::Net;
use viewmaker_ops::device::update;

/// SGD as in PyTorch: `d = g + weight_decay·w`, `buf = d` at the first step and
/// `momentum·buf + d` afterwards, `w ← w − lr·buf`.
#[derive(Debug)]
pub struct Sgd {
    momentum: f32,
    weight_decay: f32,
    ranges: Vec<Range<usize>>,
    buffer: Vec<f32>,
    started: bool,
    on_device: Copies,
}

impl Sgd {
    /// For the parameters of `net`; `momentum` in `[0, 1)`, `weight_decay` ≥ 0 on every parameter.
    pub fn new(net: &Net, momentum: f32, weight_decay: f32) -> Self {
        Self {
            momentum,
            weight_decay,
            ranges: used_ranges(net),
            buffer: vec![0.0; net.param_len()],
            started: false,
            on_device: Copies::default(),
        }
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32) {
        // The buffer starts at zero, so that the first step needs no special case.
        let (momentum, decay) = (self.momentum, self.weight_decay);
        for range in &self.ranges {
            let w = params[range.clone()].par_chunks_mut(PIECE);
            let g = grads[range.clone()].par_chunks(PIECE);
            let buf = self.buffer[range.clone()].par_chunks_mut(PIECE);
            w.zip(g).zip(buf).for_each(|((w, g), buf)| {
                for ((w, g), buf) in w.iter_mut().zip(g).zip(buf) {
                    *buf = momentum * *buf + (g + decay * *w);
                    *w -= lr * *buf;
                }
            });
        }
        self.started = true;
    }

    fn device_step(&mut self, params: &Span, grads: &Span, lr: f32) -> Result<(), DeviceError> {
        let buffer = self.on_device.beside(params, &[&self.buffer])?[0].all();
        let step = update::Sgd {
            rate: lr,
            momentum: self.momentum,
            decay: self.weight_decay,
        };
        for range in &self.ranges {
            let part = |of: &Span| of.slice(range.clone());
            step.step(&part(params), &part(grads), &part(&buffer))?;
        }
        self.started = true;
        Ok(())
    }

    fn state(&self, net: &Net) -> Result<BTreeMap<String, Tensor>, DeviceError> {
        let mut state = BTreeMap::new();
        if self.started {
            let mut buffer = self.buffer.clone();
            self.on_device.fetch(&mut [&mut buffer])?;
            export(net, "sgd_momentum", &buffer, &mut state);
        }
        Ok(state)
    }

    fn load_state(&mut self, net: &Net, state: &BTreeMap<String, Tensor>) -> Result<(), String> {
        self.started = !state.is_empty();
        self.on_device.forget();
        match self.started {
            true => import(net, "sgd_momentum", &mut self.buffer, state),
            false => {
                self.buffer.fill(0.0);
                Ok(())
            }
        }
    }
}
