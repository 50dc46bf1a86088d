//! Contrastive losses in streaming form: forward, and forward with backward.

use super::Spread;
use crate::error::{Error, Result};
use serde::Serialize;
use std::time::Instant;
use viewmaker_device::{Device, DeviceError};
use viewmaker_ops::contrastive::{Contrast, ContrastError, OnDevice, Version};
use viewmaker_ops::random::Philox;

/// A loss by its name: the geometry for `[z1; z2]` with so many pairs, components, and a temperature.
type Form = fn(usize, usize, f32) -> Result<Contrast, ContrastError>;

/// The losses that have a streaming form on every device.
pub const LOSSES: &[(&str, Form)] = &[
    ("viewmaker-simclr", Contrast::viewmaker_simclr),
    ("ntxent", Contrast::ntxent),
    ("dcl", Contrast::dcl),
    ("infonce", Contrast::infonce),
];

/// One loss of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Work {
    /// Name in [`LOSSES`].
    pub loss: &'static str,
    /// Embeddings of both views together; an even number.
    pub embeddings: usize,
    /// Components of an embedding.
    pub dim: usize,
    /// Temperature.
    pub temperature: f32,
    /// Measured repetitions, after one that is not counted.
    pub repeats: usize,
}

/// What a measurement found.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was computed.
    #[serde(flatten)]
    pub work: Work,
    /// Name of the device.
    pub device: String,
    /// Version of the kernels, where a device has several.
    pub kernels: Option<String>,
    /// Seconds of a forward pass.
    pub forward: Spread,
    /// Seconds of a forward and a backward pass.
    pub both: Spread,
    /// Floating-point operations that similarities take in one forward pass.
    pub flops: u64,
    /// The loss, to compare devices by.
    pub value: f32,
}

impl Work {
    fn contrast(&self) -> Result<Contrast> {
        let form = LOSSES.iter().find(|(name, _)| *name == self.loss);
        let (_, form) = form.ok_or_else(|| Error::usage(format!("no loss {}", self.loss)))?;
        form(self.embeddings / 2, self.dim, self.temperature)
            .map_err(|error| Error::usage(error.to_string()))
    }

    /// Two views that have something in common: the second is the first and as much noise.
    fn embeddings(&self) -> Vec<f32> {
        let half = self.embeddings / 2 * self.dim;
        let mut z = vec![0.0; 2 * half];
        Philox::new(0, 1, 0).fill_uniform(&mut z);
        z.iter_mut().for_each(|x| *x -= 0.5);
        let (first, second) = z.split_at_mut(half);
        second.iter_mut().zip(first).for_each(|(y, x)| *y += *x);
        z
    }

    /// Measures on the processor.
    ///
    /// # Errors
    /// When the sizes make no loss.
    pub fn on_cpu(&self) -> Result<Measured> {
        let (contrast, z) = (self.contrast()?, self.embeddings());
        let mut grad = vec![0.0; z.len()];
        let (mut forward, mut both, mut value) = (Vec::new(), Vec::new(), 0.0);
        for repeat in 0..=self.repeats {
            let start = Instant::now();
            let (loss, saved) = contrast.forward(&z);
            let middle = start.elapsed();
            contrast.backward(&saved, 1.0, &mut grad);
            let end = start.elapsed();
            value = loss;
            if repeat > 0 {
                forward.push(middle.as_secs_f64());
                both.push(end.as_secs_f64());
            }
        }
        self.measured("cpu".to_owned(), None, (&forward, &both), value)
    }

    /// Measures one version of the kernels on a device, by the device's own clock.
    ///
    /// # Errors
    /// When the sizes make no loss, or the device fails.
    pub fn on_device(&self, device: &Device, version: Version) -> Result<Measured> {
        let contrast = self.contrast()?;
        let failed = |error: DeviceError| Error::failure(error.to_string());
        let (forward, both, value) = self.times(contrast, device, version).map_err(failed)?;
        let kernels = Some(format!("{version:?}").to_lowercase());
        self.measured(device.name().to_owned(), kernels, (&forward, &both), value)
    }

    fn times(
        &self,
        contrast: Contrast,
        device: &Device,
        version: Version,
    ) -> Result<(Vec<f64>, Vec<f64>, f32), DeviceError> {
        let z = self.embeddings();
        let on_device = OnDevice::new(contrast, device, version)?;
        let (input, grad, loss) = (
            device.alloc(z.len())?.all(),
            device.alloc(z.len())?.all(),
            device.alloc(1)?.all(),
        );
        device.upload(&input, &z)?;
        let (mut forward, mut both) = (Vec::new(), Vec::new());
        for repeat in 0..=self.repeats {
            let start = device.event()?;
            on_device.forward(&input, &loss)?;
            let middle = device.event()?;
            on_device.backward(1.0, &grad)?;
            let end = device.event()?;
            if repeat > 0 {
                forward.push(middle.since(&start)?.as_secs_f64());
                both.push(end.since(&start)?.as_secs_f64());
            }
        }
        let mut value = [0.0];
        device.download(&loss, &mut value)?;
        Ok((forward, both, value[0]))
    }

    fn measured(
        &self,
        device: String,
        kernels: Option<String>,
        (forward, both): (&[f64], &[f64]),
        value: f32,
    ) -> Result<Measured> {
        let spread = |times| Spread::of(times).ok_or_else(|| Error::usage("no repeats"));
        Ok(Measured {
            work: self.clone(),
            device,
            kernels,
            forward: spread(forward)?,
            both: spread(both)?,
            flops: self.contrast()?.flops(),
            value,
        })
    }
}
