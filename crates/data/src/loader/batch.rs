//! A batch and the buffers that batches share.

use crate::stats::check_finite;
use crate::views::{Moment, Recipe};
use crate::{DataError, Dataset, Draw};
use rayon::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Examples loaded together. Its buffer returns to the loader when it is dropped.
#[derive(Debug)]
pub struct Batch {
    /// Values, N × C × H × W in C order; where the loader makes views, the first of each example.
    pub x: Vec<f32>,
    /// The further views of each example, where the loader makes several: each as `x`.
    pub others: Vec<Vec<f32>>,
    /// N, C, H, W.
    pub dims: [usize; 4],
    /// Which examples of the data set these are.
    pub indices: Vec<usize>,
    /// Class of each example.
    pub labels: Vec<Option<u32>>,
    /// Recording or video of each example, where it is a moment of one.
    pub sequences: Vec<Option<usize>>,
    /// Text of each example; empty where the data have none.
    pub captions: Vec<String>,
    home: Option<Arc<Buffers>>,
}

impl Batch {
    /// The examples `indices` of `dataset` at `draw`, in that order, loaded by the calling thread.
    ///
    /// # Errors
    /// When an example cannot be loaded or holds a value that is not finite.
    pub fn of(dataset: &dyn Dataset, indices: &[usize], draw: Draw) -> Result<Self, DataError> {
        let loading = Loading {
            dataset,
            draw,
            making: None,
            shared: false,
        };
        loading.batch(indices, &Arc::default())
    }

    /// The views that the loader made of the examples, or the examples themselves as the only one.
    pub fn views(&self) -> Vec<&[f32]> {
        let all = std::iter::once(&self.x).chain(&self.others);
        all.map(Vec::as_slice).collect()
    }
}

/// How the examples of a batch are loaded.
pub(super) struct Loading<'a> {
    pub(super) dataset: &'a dyn Dataset,
    pub(super) draw: Draw,
    pub(super) making: Option<&'a Making>,
    /// By all threads of the program, instead of the calling one.
    pub(super) shared: bool,
}

impl Loading<'_> {
    /// The examples `indices`, in that order.
    pub(super) fn batch(
        &self,
        indices: &[usize],
        buffers: &Arc<Buffers>,
    ) -> Result<Batch, DataError> {
        let dataset = self.dataset;
        let [c, h, w] = dataset.shape();
        let len = indices.len() * c * h * w;
        let views = self.making.map_or(1, |making| making.count);
        let mut batch = Batch {
            x: buffers.take(len),
            others: (1..views).map(|_| buffers.take(len)).collect(),
            dims: [indices.len(), c, h, w],
            indices: indices.to_vec(),
            labels: indices.iter().map(|&i| dataset.label(i)).collect(),
            sequences: indices.iter().map(|&i| dataset.sequence(i)).collect(),
            captions: captions(dataset, indices),
            home: Some(Arc::clone(buffers)),
        };
        let views = std::iter::once(&mut batch.x).chain(&mut batch.others);
        for (view, values) in views.enumerate() {
            let load = |(&index, out): (&usize, &mut [f32])| self.example(index, view as u32, out);
            let example = c * h * w;
            if self.shared {
                let pairs = indices.par_iter().zip(values.par_chunks_exact_mut(example));
                let loaded: Vec<_> = pairs.map(load).collect();
                // The first error, whichever thread was the fastest.
                loaded.into_iter().collect::<Result<(), _>>()?;
            } else {
                let mut pairs = indices.iter().zip(values.chunks_exact_mut(example));
                pairs.try_for_each(load)?;
            }
        }
        Ok(batch)
    }

    /// One view of one example.
    fn example(&self, index: usize, view: u32, out: &mut [f32]) -> Result<(), DataError> {
        let (dataset, draw) = (self.dataset, self.draw);
        load_one(dataset, index, out, |out| match self.making {
            Some(making) => making.load(dataset, index, draw, view, out),
            None => dataset.load(index, draw, out),
        })
    }
}

/// The text of every example, empty where one has none; nothing where the data have no texts.
fn captions(dataset: &dyn Dataset, indices: &[usize]) -> Vec<String> {
    match indices.first().and_then(|&first| dataset.caption(first)) {
        Some(_) => {
            let text = |&index: &usize| dataset.caption(index).unwrap_or_default();
            indices.iter().map(text).collect()
        }
        None => Vec::new(),
    }
}

/// The views that a loader makes of every example.
#[derive(Clone, Debug)]
pub(super) struct Making {
    pub(super) recipe: Arc<Recipe>,
    /// The draw of their random choices.
    pub(super) draw: Draw,
    /// Views of each example, at least 1.
    pub(super) count: usize,
}

impl Making {
    fn load(
        &self,
        dataset: &dyn Dataset,
        index: usize,
        example: Draw,
        view: u32,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let moment = Moment {
            example,
            draw: self.draw,
            view,
        };
        self.recipe.load(dataset, index, moment, out)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.give(std::mem::take(&mut self.x));
            for view in self.others.drain(..) {
                home.give(view);
            }
        }
    }
}

/// Loads one example by `load`. A panic of a decoder becomes an error of that example: one odd file must not
/// leave the thread that waits for the batch waiting for ever.
fn load_one(
    dataset: &dyn Dataset,
    index: usize,
    out: &mut [f32],
    load: impl FnOnce(&mut [f32]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let loaded = catch_unwind(AssertUnwindSafe(|| load(out)));
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
    /// More than this many are freed: the prefetch queue and the batch in use seldom need more.
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
