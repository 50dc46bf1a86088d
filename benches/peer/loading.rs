//! Our epoch of CIFAR-10: shuffled batches, loaded ahead, and the normalisation that the encoder's
//! first layer does.

use super::fixtures::Check;
use super::items::LoadingWork;
use super::worker::Task;
use viewmaker::error::{Error, Result};
use viewmaker::train::WORKERS;
use viewmaker_data::{Batch, DataConfig, Loader, modality};
use viewmaker_ops::normalize::Normalize;
use viewmaker_ops::{Dims, Forward, Mode, Op};

/// A loader and the buffers that a batch passes through.
pub struct Loading {
    loader: Loader,
    normalize: Normalize,
    epoch: u32,
    nhwc: Vec<f32>,
    batch: Vec<f32>,
}

impl Loading {
    /// Opens the record files.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn new(work: &LoadingWork) -> Result<Self> {
        let image = modality::by_name("image");
        let image = image.ok_or_else(|| Error::failure("there is no modality image"))?;
        let splits = image.open(Some(&work.folder), &DataConfig::default(), 0)?;
        Ok(Self {
            loader: Loader::training(splits.train, work.batch, WORKERS, 0)?,
            normalize: Normalize {
                mean: work.mean.clone(),
                std: work.std.clone(),
            },
            epoch: 0,
            nhwc: Vec::new(),
            batch: Vec::new(),
        })
    }

    /// Loads one epoch and shows each normalised batch to `look`.
    fn epoch(&mut self, look: &mut dyn FnMut(&[f32])) -> Result<()> {
        for batch in self.loader.epoch(self.epoch) {
            self.normalize(&batch?);
            look(&self.batch);
        }
        self.epoch += 1;
        Ok(())
    }

    fn normalize(&mut self, batch: &Batch) {
        let [n, c, h, w] = batch.dims;
        let dims = Dims::new(n, h, w, c);
        self.nhwc.resize(dims.len(), 0.0);
        self.batch.resize(dims.len(), 0.0);
        viewmaker_exec::to_nhwc(&batch.x, dims, &mut self.nhwc);
        self.normalize.forward(Forward {
            mode: Mode::Train,
            input_dims: &[dims],
            output_dims: dims,
            inputs: &[&self.nhwc],
            params: &[],
            state: &mut [],
            output: &mut self.batch,
            saved: &mut [],
            scratch: &mut [],
        });
    }
}

impl Task for Loading {
    fn check(&mut self) -> Result<Check> {
        let (mut count, mut sum, mut squares) = (0.0f64, 0.0f64, 0.0f64);
        self.epoch(&mut |batch| {
            count += batch.len() as f64;
            for &x in batch {
                sum += f64::from(x);
                squares += f64::from(x) * f64::from(x);
            }
        })?;
        // Orders differ between the sides, totals do not.
        let moments = vec![sum / count, (squares / count).sqrt()];
        Ok(Check::from([
            ("values of an epoch".into(), vec![count]),
            ("mean and root mean square".into(), moments),
        ]))
    }

    fn run(&mut self) -> Result<()> {
        self.epoch(&mut |batch| {
            std::hint::black_box(batch);
        })
    }
}
