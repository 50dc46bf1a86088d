//! Contrastive losses in streaming form: forward, and forward with backward.

use super::{Spread, clock};
use crate::error::{Error, Result};
use serde::Serialize;
use std::time::Instant;
use viewmaker_device::{Device, DeviceError};
use viewmaker_ops::contrastive::{Contrast, ContrastError, OnDevice, Version};
use viewmaker_ops::random::Philox;

/// A loss, and how a number of embeddings is divided for it.
#[derive(Debug)]
pub struct Loss {
    /// What it is called.
    pub name: &'static str,
    /// Its geometry for so many embeddings, components, and a temperature.
    form: fn(usize, usize, f32) -> Result<Contrast, ContrastError>,
    /// How many embeddings there are for each pair of an embedding and its partner.
    per_pair: usize,
    /// Whether a backward pass differentiates with respect to the scale 1/t as well.
    learned_scale: bool,
}

/// The losses that have a streaming form on every device. Most are of two views, one half of the
/// embeddings each; in addition:
///
/// - `moco-v2`: a quarter (rounded down) are queries, as many are their keys, and the rest, half of all, is the
///   queue; keys and queue are constants.
/// - `clip`: the scale is learned, so that a backward pass has its derivative, too.
/// - `supcon`: every four successive examples are of one class, which has eight embeddings in both views; the
///   last class may be smaller.
pub const LOSSES: &[Loss] = &[
    Loss::of_views("viewmaker-simclr", |n, dim, t| {
        Contrast::viewmaker_simclr(n / 2, dim, t)
    }),
    Loss::of_views("ntxent", |n, dim, t| Contrast::ntxent(n / 2, dim, t)),
    Loss::of_views("dcl", |n, dim, t| Contrast::dcl(n / 2, dim, t)),
    Loss::of_views("infonce", |n, dim, t| Contrast::infonce(n / 2, dim, t)),
    Loss {
        per_pair: 4,
        ..Loss::of_views("moco-v2", |n, dim, t| {
            Contrast::moco(n / 4, n - 2 * (n / 4), dim, t)
        })
    },
    Loss {
        learned_scale: true,
        ..Loss::of_views("clip", |n, dim, t| Contrast::clip(n / 2, dim, t))
    },
    Loss::of_views("supcon", |n, dim, t| Contrast::supcon(&classes(n), dim, t)),
];

impl Loss {
    const fn of_views(
        name: &'static str,
        form: fn(usize, usize, f32) -> Result<Contrast, ContrastError>,
    ) -> Self {
        Self {
            name,
            form,
            per_pair: 2,
            learned_scale: false,
        }
    }
}

/// The class of every one of `embeddings` of two views.
fn classes(embeddings: usize) -> Vec<usize> {
    const EXAMPLES: usize = 4;
    let examples = embeddings / 2;
    (0..embeddings).map(|i| i % examples / EXAMPLES).collect()
}

/// The name of a version on the command line and in results: `v1`, `v2` …
pub fn kernels(version: Version) -> String {
    format!("{version:?}").to_lowercase()
}

/// One loss of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Work {
    /// Name in [`LOSSES`].
    pub loss: &'static str,
    /// All embeddings together; an even number, 4 at least.
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
    /// Seconds of a forward pass; on a device, of one of several in a graph.
    pub forward: Spread,
    /// Seconds of a forward and a backward pass.
    pub both: Spread,
    /// Floating-point operations that similarities take in one forward pass.
    pub flops: u64,
    /// The loss, to compare devices by.
    pub value: f32,
}

impl Work {
    fn loss(&self) -> Result<&'static Loss> {
        let loss = LOSSES.iter().find(|loss| loss.name == self.loss);
        loss.ok_or_else(|| Error::usage(format!("no loss {}", self.loss)))
    }

    /// Whether the sizes make a loss.
    ///
    /// # Errors
    /// When they do not, or there is no such loss.
    pub fn check(&self) -> Result<()> {
        self.contrast().map(drop)
    }

    fn contrast(&self) -> Result<Contrast> {
        (self.loss()?.form)(self.embeddings, self.dim, self.temperature)
            .map_err(|error| Error::usage(error.to_string()))
    }

    /// Rows whose partners have something in common with them, being the same and as much noise.
    fn embeddings(&self) -> Result<Vec<f32>> {
        let pairs = self.embeddings / self.loss()?.per_pair * self.dim;
        let mut z = vec![0.0; self.embeddings * self.dim];
        Philox::new(0, 1, 0).fill_uniform(&mut z);
        z.iter_mut().for_each(|x| *x -= 0.5);
        let (first, others) = z.split_at_mut(pairs);
        others.iter_mut().zip(first).for_each(|(y, x)| *y += *x);
        Ok(z)
    }

    /// Measures on the processor.
    ///
    /// # Errors
    /// When the sizes make no loss.
    pub fn on_cpu(&self) -> Result<Measured> {
        let (contrast, z) = (self.contrast()?, self.embeddings()?);
        let learned_scale = self.loss()?.learned_scale;
        let mut grad = vec![0.0; contrast.trained() * contrast.dim()];
        let (mut forward, mut both, mut value) = (Vec::new(), Vec::new(), 0.0);
        for repeat in 0..=self.repeats {
            let start = Instant::now();
            let (loss, saved) = contrast.forward(&z);
            let middle = start.elapsed();
            if learned_scale {
                contrast.backward_with_scale(&saved, 1.0, &mut grad);
            } else {
                contrast.backward(&saved, 1.0, &mut grad);
            }
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
        let failed = |error: DeviceError| Error::failure(error.to_string());
        let (contrast, z) = (self.contrast()?, self.embeddings()?);
        let learned_scale = self.loss()?.learned_scale;
        let grad = contrast.trained() * contrast.dim();
        let on_device = OnDevice::new(contrast, device, version).map_err(failed)?;
        let times = self.times(device, &on_device, (&z, grad), learned_scale);
        let (forward, both, value) = times.map_err(failed)?;
        let kernels = Some(kernels(version));
        self.measured(device.name().to_owned(), kernels, (&forward, &both), value)
    }

    /// Seconds of forward passes and of both passes, and the loss.
    fn times(
        &self,
        device: &Device,
        on_device: &OnDevice,
        (z, grad): (&[f32], usize),
        learned_scale: bool,
    ) -> Result<(Vec<f64>, Vec<f64>, f32), DeviceError> {
        let (input, grad) = (device.alloc(z.len())?.all(), device.alloc(grad)?.all());
        let (loss, of_scale) = (device.alloc(1)?.all(), device.alloc(1)?.all());
        device.upload(&input, z)?;
        let forward = || on_device.forward(&input, &loss);
        let both = || {
            forward()?;
            match learned_scale {
                true => on_device.backward_with_scale(1.0, &grad, &of_scale),
                false => on_device.backward(1.0, &grad),
            }
        };
        let both = clock::seconds(device, self.repeats, both)?;
        let forward = clock::seconds(device, self.repeats, forward)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_ops::contrastive::reference_loss;

    fn works(embeddings: usize) -> impl Iterator<Item = Work> {
        LOSSES.iter().map(move |loss| Work {
            loss: loss.name,
            embeddings,
            dim: 6,
            temperature: 0.5,
            repeats: 1,
        })
    }

    #[test]
    fn every_loss_divides_all_embeddings() {
        for embeddings in [4, 6, 10, 24] {
            for work in works(embeddings) {
                let contrast = work.contrast().unwrap();
                assert_eq!(contrast.rows(), embeddings, "{work:?}");
                let constants = if work.loss == "moco-v2" {
                    embeddings - embeddings / 4
                } else {
                    0
                };
                assert_eq!(contrast.trained(), embeddings - constants, "{work:?}");
            }
        }
        assert_eq!(classes(12), [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn cuda_losses_have_the_values_of_the_reference() {
        for work in works(10) {
            let z = work.embeddings().unwrap();
            let wide: Vec<f64> = z.iter().map(|x| f64::from(*x)).collect();
            let want = reference_loss(&work.contrast().unwrap(), &wide);
            let mut found = vec![work.on_cpu().unwrap()];
            for device in Device::present() {
                let versions = Version::ALL.into_iter().filter(|v| v.runs_on(&device));
                found.extend(versions.map(|version| work.on_device(&device, version).unwrap()));
            }
            for measured in found {
                // Logits of up to 2, of components rounded to 8 bits in the version on tensor cores.
                let off = (f64::from(measured.value) - want).abs();
                assert!(off < 1e-2, "{measured:?} instead of {want}");
                assert!(measured.flops > 0, "{measured:?}");
            }
        }
    }
}
