//! Embeds a whole data set with a frozen encoder.

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::train::players::{NoiseRequest, Players, SeededNoise};
use std::sync::Arc;
use viewmaker_data::loader::Batches;
use viewmaker_data::{Dataset, Loader, Recipe};
use viewmaker_net::ValueId;

/// Feature vectors of the labelled examples of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Length of a vector.
    pub dim: usize,
    /// One row per example.
    pub rows: Vec<f32>,
    /// Class of each row.
    pub labels: Vec<u32>,
    /// Which example of the data set each row belongs to.
    pub indices: Vec<usize>,
}

impl Features {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when no example had a label.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.dim..(index + 1) * self.dim]
    }

    /// The rows with these numbers, in that order.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            dim: self.dim,
            rows: rows.iter().flat_map(|&i| self.row(i)).copied().collect(),
            labels: rows.iter().map(|&i| self.labels[i]).collect(),
            indices: rows.iter().map(|&i| self.indices[i]).collect(),
        }
    }

    /// The part of `predicted` classes, one a row, that are right; `None` without rows.
    pub fn accuracy_of(&self, predicted: &[u32]) -> Option<f64> {
        let pairs = self.labels.iter().zip(predicted);
        let right = pairs.filter(|(label, class)| label == class).count();
        (!self.is_empty()).then(|| right as f64 / self.len() as f64)
    }

    /// The row's largest component, of every row: the predicted classes where rows are scores of
    /// classes. Ties go to the smaller index.
    pub fn largest(&self) -> Vec<u32> {
        let best = |row: &[f32]| {
            let better = |best, k: usize| if row[k] > row[best] { k } else { best };
            (1..row.len()).fold(0, better) as u32
        };
        self.rows.chunks(self.dim.max(1)).map(best).collect()
    }

    /// Scales every row to length 1; rows of zeros stay.
    pub fn normalize(&mut self) {
        for row in self.rows.chunks_mut(self.dim.max(1)) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            if norm > 0.0 {
                row.iter_mut().for_each(|x| *x /= norm);
            }
        }
    }
}

/// How a data set is embedded.
#[derive(Clone, Copy, Debug)]
pub struct Extraction<'a> {
    /// The encoder's value that is read.
    pub value: ValueId,
    /// Examples per batch.
    pub batch_size: usize,
    /// Loader threads.
    pub workers: usize,
    /// Whether examples without a label are embedded, too; their class is 0 then.
    pub unlabelled: bool,
    /// Ends it after a batch.
    pub interrupt: &'a Interrupt,
}

impl Extraction<'_> {
    /// How many examples of `dataset` are embedded.
    fn rows_of(&self, dataset: &dyn Dataset) -> usize {
        let wanted = |&i: &usize| self.unlabelled || dataset.label(i).is_some();
        (0..dataset.len()).filter(wanted).count()
    }
}

/// Embeds every (labelled) example of `dataset`, without views.
///
/// # Errors
/// When an example cannot be loaded, a feature is not finite, or it is interrupted.
pub fn extract(
    players: &Players,
    dataset: &Arc<dyn Dataset>,
    how: Extraction<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Features> {
    let loader = loader(players, dataset, how)?;
    let total = dataset.len() as u64;
    let batches = loader.epoch(0);
    let mut progress = |done| progress(done, total);
    embed_batches(
        players,
        (&**dataset, batches),
        how,
        &mut progress,
        |x, _, _| Ok(x.to_vec()),
    )
}

/// The views of one epoch of a probe.
#[derive(Clone, Debug)]
pub struct FreshViews<'a> {
    /// What the loader does to the examples.
    pub recipe: Option<&'a Arc<Recipe>>,
    /// The noise of the network that makes the rest.
    pub noise: SeededNoise,
    /// Picks noise and random choices.
    pub epoch: u64,
}

/// Embeds one fresh view of every (labelled) example; the examples are those that evaluations see.
///
/// # Errors
/// When an example cannot be loaded, a feature is not finite, or it is interrupted.
pub fn extract_views(
    players: &Players,
    dataset: &Arc<dyn Dataset>,
    how: Extraction<'_>,
    views: FreshViews<'_>,
) -> Result<Features> {
    let FreshViews {
        recipe,
        mut noise,
        epoch,
    } = views;
    let mut loader = loader(players, dataset, how)?;
    if let Some(recipe) = recipe {
        loader = loader.with_views(Arc::clone(recipe), 1, noise.seed);
    }
    let batches = loader.epoch(epoch as u32);
    let quiet = &mut |_| {};
    embed_batches(
        players,
        (&**dataset, batches),
        how,
        quiet,
        |x, count, batch| {
            // Steps far beyond any training run, so that a probe never sees training's noise; the
            // configuration bounds the epochs.
            let step = u64::from(u32::MAX).wrapping_sub((epoch << 16) + batch);
            let request = NoiseRequest {
                step,
                pass: 0,
                view: 2,
                channel: 0,
            };
            Ok(players.views.apply_slice(x, count, &mut noise, request))
        },
    )
}

fn loader(players: &Players, dataset: &Arc<dyn Dataset>, how: Extraction<'_>) -> Result<Loader> {
    let loader = Loader::evaluation(Arc::clone(dataset), how.batch_size, how.workers)?;
    Ok(loader.shared_by_all_threads(players.encoder.machine().is_device()))
}

fn embed_batches(
    players: &Players,
    (dataset, batches): (&dyn Dataset, Batches),
    how: Extraction<'_>,
    progress: &mut dyn FnMut(u64),
    mut view: impl FnMut(&[f32], usize, u64) -> Result<Vec<f32>>,
) -> Result<Features> {
    let dim = players.encoder.net().dims(how.value, 1).example();
    let mut features = Features {
        dim,
        // Features before pooling take gigabytes: there is no room for a second copy while they grow.
        rows: Vec::with_capacity(how.rows_of(dataset) * dim),
        ..Features::default()
    };
    let mut done = 0;
    for (index, batch) in batches.enumerate() {
        how.interrupt.check()?;
        let batch = batch?;
        let count = batch.dims[0];
        let x = view(&batch.x, count, index as u64)?;
        let rows = players.encode(&x, count, how.value);
        let examples = batch.labels.iter().zip(&batch.indices);
        for (row, (label, index)) in rows.chunks(features.dim).zip(examples) {
            let unlabelled = how.unlabelled.then_some(0);
            if let Some(label) = label.or(unlabelled) {
                features.rows.extend_from_slice(row);
                features.labels.push(label);
                features.indices.push(*index);
            }
        }
        done += count as u64;
        progress(done);
    }
    players.check()?;
    if features.rows.iter().any(|x| !x.is_finite()) {
        return Err(Error::failure(
            "the encoder produced values that are not finite; its weights have diverged",
        ));
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_selected_and_compared() {
        let features = Features {
            dim: 2,
            rows: vec![0.0, 1.0, 2.0, 2.0, 5.0, 4.0],
            labels: vec![1, 0, 1],
            indices: vec![10, 11, 12],
        };
        let two = features.select(&[2, 0]);
        assert_eq!((two.row(0), two.row(1)), (&[5.0, 4.0][..], &[0.0, 1.0][..]));
        assert_eq!((two.labels, two.indices), (vec![1, 1], vec![12, 10]));
        assert_eq!(features.largest(), [1, 0, 0]);
        assert_eq!(features.accuracy_of(&features.largest()), Some(2.0 / 3.0));
        assert_eq!(Features::default().accuracy_of(&[]), None);
    }
}
