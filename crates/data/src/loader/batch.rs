//! A batch and the buffers that batches share.

use crate::stats::check_finite;
use crate::{DataError, Dataset, Draw};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Examples loaded together. Its buffer returns to the loader when it is dropped.
#[derive(Debug)]
pub struct Batch {
    /// Values, N × C × H × W in C order.
    pub x: Vec<f32>,
    /// N, C, H, W.
    pub dims: [usize; 4],
    /// Which examples of the data set these are.
    pub indices: Vec<usize>,
    /// Class of each example.
    pub labels: Vec<Option<u32>>,
    home: Option<Arc<Buffers>>,
}

impl Batch {
    /// The examples `indices` of `dataset` at `draw`, in that order, loaded by the calling thread.
    ///
    /// # Errors
    /// When an example cannot be loaded or holds a value that is not finite.
    pub fn of(dataset: &dyn Dataset, indices: &[usize], draw: Draw) -> Result<Self, DataError> {
        Self::load(dataset, indices, draw, &Arc::default())
    }

    pub(super) fn load(
        dataset: &dyn Dataset,
        indices: &[usize],
        draw: Draw,
        buffers: &Arc<Buffers>,
    ) -> Result<Self, DataError> {
        let [c, h, w] = dataset.shape();
        let mut batch = Self {
            x: buffers.take(indices.len() * c * h * w),
            dims: [indices.len(), c, h, w],
            indices: indices.to_vec(),
            labels: indices.iter().map(|&i| dataset.label(i)).collect(),
            home: Some(Arc::clone(buffers)),
        };
        for (&index, out) in indices.iter().zip(batch.x.chunks_exact_mut(c * h * w)) {
            load_one(dataset, index, draw, out)?;
        }
        Ok(batch)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give(std::mem::take(&mut self.x));
        }
    }
}

/// Loads one example. A panic of a decoder becomes an error of that example: one odd file must not
/// leave the thread that waits for the batch waiting for ever.
fn load_one(
    dataset: &dyn Dataset,
    index: usize,
    draw: Draw,
    out: &mut [f32],
) -> Result<(), DataError> {
    let loaded = catch_unwind(AssertUnwindSafe(|| dataset.load(index, draw, out)));
    loaded.unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        let why = format!("loading it failed: {what}");
        Err(DataError::example(dataset.origin(index), why))
    })?;
    check_finite(dataset, index, out)
}

/// Buffers of batches that were dropped.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<f32>>>);

impl Buffers {
    /// More than this many are freed: the prefetch queue and the batch in use need no more.
    const KEPT: usize = 32;

    fn take(&self, len: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = free.pop().unwrap_or_default();
        drop(free);
        buffer.resize(len, 0.0);
        buffer
    }

    fn give(&self, buffer: Vec<f32>) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.capacity() > 0 && free.len() < Self::KEPT {
            free.push(buffer);
        }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
