//! Batches of an epoch in a deterministic order, loaded ahead by a pool of threads.
//!
//! The order depends on (seed, epoch) alone, an example on (seed, epoch, index): batches are the
//! same for any number of workers, and an epoch continued at batch `k` gives the batches that an
//! uninterrupted one would have given.

mod batch;
mod prefetch;

pub use batch::Batch;
pub use prefetch::Batches;

use crate::views::Recipe;
use crate::{DataError, Dataset, Draw, random};
use batch::{Buffers, Loading, Making};
use std::sync::Arc;
use viewmaker_ops::random::Philox;

/// Cuts a data set into batches.
#[derive(Clone)]
pub struct Loader {
    dataset: Arc<dyn Dataset>,
    batch_size: usize,
    workers: usize,
    order: Order,
    views: Option<Views>,
    shared: bool,
    buffers: Arc<Buffers>,
}

/// The views that are made of every example.
#[derive(Clone)]
struct Views {
    recipe: Arc<Recipe>,
    count: usize,
    seed: u64,
}

#[derive(Clone, Copy)]
enum Order {
    /// A new random order every epoch; a last incomplete batch is left out.
    Shuffled { seed: u64 },
    /// The order of the data set, every example once, at [`Draw::FIXED`].
    Sequential,
}

impl Loader {
    /// Batches for training: shuffled anew in every epoch, all of `batch_size` examples.
    ///
    /// `workers` threads load ahead; with 0 the thread that asks for a batch loads it.
    ///
    /// # Errors
    /// When the batch size is 0 or larger than the data set.
    pub fn training(
        dataset: Arc<dyn Dataset>,
        batch_size: usize,
        workers: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        check_batch_size(batch_size)?;
        if batch_size > dataset.len() {
            let why = format!(
                "larger than the data set: it has {0} training examples, and batches are full; write {0} or less",
                dataset.len()
            );
            return Err(DataError::option("train.batch_size", batch_size, why));
        }
        let order = Order::Shuffled { seed };
        Ok(Self::new(dataset, batch_size, workers, order))
    }

    /// Batches for evaluation: every example once, in order, at [`Draw::FIXED`]; the last batch may be
    /// smaller.
    ///
    /// # Errors
    /// When the batch size is 0.
    pub fn evaluation(
        dataset: Arc<dyn Dataset>,
        batch_size: usize,
        workers: usize,
    ) -> Result<Self, DataError> {
        check_batch_size(batch_size)?;
        Ok(Self::new(dataset, batch_size, workers, Order::Sequential))
    }

    fn new(dataset: Arc<dyn Dataset>, batch_size: usize, workers: usize, order: Order) -> Self {
        Self {
            dataset,
            batch_size,
            workers,
            order,
            views: None,
            shared: false,
            buffers: Arc::default(),
        }
    }

    /// Whether all threads of the program share the examples of a batch, instead of one worker loading it
    /// alone: for programs whose threads have nothing else to do. Batches are the same.
    pub fn shared_by_all_threads(self, shared: bool) -> Self {
        Self { shared, ..self }
    }

    /// Makes `count` views (at least 1) of every example by `recipe` instead of loading it as it is;
    /// their random choices are drawn from `seed`, anew in every epoch.
    pub fn with_views(mut self, recipe: Arc<Recipe>, count: usize, seed: u64) -> Self {
        self.views = Some(Views {
            recipe,
            count,
            seed,
        });
        self
    }

    /// The data set behind the batches.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// Number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        match self.order {
            Order::Shuffled { .. } => self.dataset.len() / self.batch_size,
            Order::Sequential => self.dataset.len().div_ceil(self.batch_size),
        }
    }

    /// The batches of epoch `epoch`.
    pub fn epoch(&self, epoch: u32) -> Batches {
        self.epoch_from(epoch, 0)
    }

    /// The batches of epoch `epoch` from number `first` on: how an interrupted epoch continues.
    pub fn epoch_from(&self, epoch: u32, first: usize) -> Batches {
        let job = Job {
            dataset: Arc::clone(&self.dataset),
            buffers: Arc::clone(&self.buffers),
            order: self.order_of(epoch),
            draw: match self.order {
                Order::Shuffled { seed } => Draw { seed, epoch },
                Order::Sequential => Draw::FIXED,
            },
            making: self.views.as_ref().map(|views| Making {
                recipe: Arc::clone(&views.recipe),
                draw: Draw {
                    seed: views.seed,
                    epoch,
                },
                count: views.count,
            }),
            batch_size: self.batch_size,
            batches: self.batches_per_epoch(),
            shared: self.shared,
        };
        Batches::start(Arc::new(job), first, self.workers)
    }

    fn order_of(&self, epoch: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        if let Order::Shuffled { seed } = self.order {
            random::shuffle(
                &mut order,
                &mut Philox::new(seed, random::SHUFFLE, epoch).sequence(),
            );
        }
        order
    }
}

fn check_batch_size(batch_size: usize) -> Result<(), DataError> {
    if batch_size == 0 {
        return Err(DataError::option(
            "train.batch_size",
            0,
            "must be at least 1",
        ));
    }
    Ok(())
}

/// Everything a worker needs to load a batch of one epoch.
struct Job {
    dataset: Arc<dyn Dataset>,
    buffers: Arc<Buffers>,
    order: Vec<usize>,
    draw: Draw,
    making: Option<Making>,
    batch_size: usize,
    batches: usize,
    shared: bool,
}

impl Job {
    fn load(&self, batch: usize) -> Result<Batch, DataError> {
        let first = batch * self.batch_size;
        let end = self.order.len().min(first + self.batch_size);
        let loading = Loading {
            dataset: &*self.dataset,
            draw: self.draw,
            making: self.making.as_ref(),
            shared: self.shared,
        };
        loading.batch(&self.order[first..end], &self.buffers)
    }
}

#[cfg(test)]
mod tests;
