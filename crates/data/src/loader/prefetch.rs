//! The queue between the threads that load batches and the one that uses them.

use super::{Batch, Job};
use crate::DataError;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The batches of one epoch, in order.
///
/// An example that cannot be loaded gives an error in the place of its batch; the batches after it
/// can still be had. Dropping the iterator stops its threads.
pub struct Batches {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    job: Arc<Job>,
    /// Batches that may be finished or under way before the consumer needs them.
    ahead: usize,
    state: Mutex<State>,
    /// The consumer took a batch, or stopped: there is room for another.
    room: Condvar,
    /// A worker finished a batch.
    ready: Condvar,
}

struct State {
    /// Next batch that no worker has begun.
    unclaimed: usize,
    /// Next batch that the consumer gets.
    wanted: usize,
    /// Finished batches that were not yet taken.
    finished: BTreeMap<usize, Result<Batch, DataError>>,
    stopped: bool,
}

impl Batches {
    pub(super) fn start(job: Arc<Job>, first: usize, workers: usize) -> Self {
        let workers = workers.min(job.batches.saturating_sub(first));
        let shared = Arc::new(Shared {
            job,
            ahead: 2 * workers,
            state: Mutex::new(State {
                unclaimed: first,
                wanted: first,
                finished: BTreeMap::new(),
                stopped: false,
            }),
            room: Condvar::new(),
            ready: Condvar::new(),
        });
        // Where the system refuses a thread, the others do its work; where it refuses all, the
        // consumer loads its batches itself.
        let workers = (0..workers)
            .filter_map(|number| {
                let shared = Arc::clone(&shared);
                std::thread::Builder::new()
                    .name(format!("loader-{number}"))
                    .spawn(move || shared.work())
                    .ok()
            })
            .collect();
        Self { shared, workers }
    }

    /// Number of the batch that comes next.
    pub fn position(&self) -> usize {
        self.shared.lock().wanted
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let shared = &self.shared;
        let mut state = shared.lock();
        let wanted = state.wanted;
        if wanted >= shared.job.batches {
            return None;
        }
        state.wanted += 1;
        if self.workers.is_empty() {
            drop(state);
            return Some(shared.load(wanted));
        }
        shared.room.notify_one();
        loop {
            if let Some(batch) = state.finished.remove(&wanted) {
                return Some(batch);
            }
            state = wait(&shared.ready, state);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.shared.job.batches.saturating_sub(self.position());
        (left, Some(left))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches its panics, and there is nobody left to tell.
            drop(worker.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is a sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(batch) = self.claim() {
            let loaded = self.load(batch);
            self.lock().finished.insert(batch, loaded);
            self.ready.notify_one();
        }
    }

    /// The next batch to load, as soon as there is room for it; `None` at the end.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.unclaimed >= self.job.batches {
                return None;
            }
            if state.unclaimed < state.wanted + self.ahead {
                state.unclaimed += 1;
                return Some(state.unclaimed - 1);
            }
            state = wait(&self.room, state);
        }
    }

    fn load(&self, batch: usize) -> Result<Batch, DataError> {
        catch_unwind(AssertUnwindSafe(|| self.job.load(batch))).unwrap_or_else(|_| {
            let why = "loading it failed unexpectedly".to_owned();
            Err(DataError::example(format!("batch {batch}"), why))
        })
    }
}

fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    condition
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}
