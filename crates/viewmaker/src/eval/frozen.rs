//! Features of a frozen encoder, kept where several probes read them.

use super::features::{Extraction, Features, extract};
use super::statistics::clean_statistics;
use super::{BATCH, Evaluation, Layer, WORKERS};
use crate::error::{Error, Result};
use crate::progress::{TaskReport, Ui};
use crate::train::statistics::KeptStatistics;
use std::cell::OnceCell;
use std::sync::Arc;
use viewmaker_data::Dataset;

/// Labelled features of both sets.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// Features of the training set.
    pub train: Arc<Features>,
    /// Features of the held-out examples.
    pub test: Arc<Features>,
}

/// Pooled features of one encoder and its data, from the first probe that computes them on. Features
/// before pooling take gigabytes, and are not kept.
#[derive(Debug, Default)]
pub struct KeptFeatures {
    train: OnceCell<Arc<Features>>,
    test: OnceCell<Arc<Features>>,
}

/// A part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Test,
}

impl Evaluation<'_> {
    /// Features of all labelled examples, with the batch-norm statistics that evaluations use.
    pub(super) fn frozen(&self, layer: Layer, ui: &mut dyn Ui) -> Result<Frozen> {
        let mut statistics = None;
        Ok(Frozen {
            train: self.features(Part::Train, layer, &mut statistics, ui)?,
            test: self.features(Part::Test, layer, &mut statistics, ui)?,
        })
    }

    /// Features of the held-out examples alone, otherwise as [`Evaluation::frozen`].
    pub(super) fn frozen_test(&self, layer: Layer, ui: &mut dyn Ui) -> Result<Arc<Features>> {
        self.features(Part::Test, layer, &mut None, ui)
    }

    /// Features of one part. Where they must be computed, `statistics` are estimated first, unless they
    /// have been.
    pub(super) fn features(
        &self,
        part: Part,
        layer: Layer,
        statistics: &mut Option<KeptStatistics>,
        ui: &mut dyn Ui,
    ) -> Result<Arc<Features>> {
        let (dataset, task) = match part {
            Part::Train => (&self.splits.train, "embedding the training set"),
            Part::Test => (&self.splits.test, "embedding the test set"),
        };
        let kept = self.kept.filter(|_| layer == Layer::Pooled);
        let kept = kept.map(|kept| match part {
            Part::Train => &kept.train,
            Part::Test => &kept.test,
        });
        if let Some(known) = kept.and_then(OnceCell::get) {
            return Ok(Arc::clone(known));
        }
        if statistics.is_none() {
            *statistics = self.clean_statistics()?;
        }
        let features = Arc::new(self.embed(dataset, self.extraction(layer)?, task, ui)?);
        if let Some(kept) = kept {
            kept.get_or_init(|| Arc::clone(&features));
        }
        Ok(features)
    }

    /// Gives the encoder the batch-norm statistics of clean examples until the guard is dropped; `None`
    /// where the run wants its own.
    pub(super) fn clean_statistics(&self) -> Result<Option<KeptStatistics>> {
        match self.config.eval.clean_statistics {
            true => clean_statistics(self.players, &self.splits.train, self.interrupt).map(Some),
            false => Ok(None),
        }
    }

    pub(super) fn extraction(&self, layer: Layer) -> Result<Extraction<'_>> {
        let value = self.players.encoder.net().value(layer.output());
        Ok(Extraction {
            value: value.map_err(|error| Error::failure(error.to_string()))?,
            batch_size: BATCH,
            workers: WORKERS,
            unlabelled: false,
            interrupt: self.interrupt,
        })
    }

    pub(super) fn embed(
        &self,
        dataset: &Arc<dyn Dataset>,
        how: Extraction<'_>,
        task: &str,
        ui: &mut dyn Ui,
    ) -> Result<Features> {
        extract(self.players, dataset, how, &mut |done, total| {
            ui.on_task(&TaskReport {
                task,
                done,
                total,
                detail: "",
            });
        })
    }
}
