//! Robustness: an encoder and a probe that know clean pictures only, on corrupted ones.

use super::features::Features;
use super::frozen::Part;
use super::logistic::{Logistic, LogisticClassifier};
use super::{Evaluation, Layer};
use crate::error::{Error, Result};
use crate::progress::{TaskReport, Ui};
use serde::Serialize;
use std::sync::Arc;
use viewmaker_data::corruptions::{Corrupted, Corruption, SEVERITIES, corruptions};
use viewmaker_data::{Dataset, Draw, Subset};

/// Accuracies under one corruption.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorruptionAt {
    /// Name of the corruption.
    pub corruption: &'static str,
    /// Its family: noise, blur, weather or digital.
    pub family: &'static str,
    /// Accuracy at every severity, from 1 on.
    pub accuracies: Vec<f64>,
    /// Their mean.
    pub mean: f64,
}

/// What is left of an accuracy when pictures are corrupted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CorruptionsResult {
    /// Seed of the corruptions.
    pub seed: u64,
    /// Where the features were read.
    pub layer: Layer,
    /// Settings of the probe: logistic regression on clean training pictures.
    pub settings: Logistic,
    /// Clean training examples of the probe.
    pub train_examples: usize,
    /// Held-out examples that are corrupted.
    pub test_examples: usize,
    /// Accuracy on the same examples without corruption.
    pub clean: f64,
    /// Accuracies by corruption.
    pub corruptions: Vec<CorruptionAt>,
    /// Mean over corruptions and severities.
    pub mean: f64,
}

/// One picture under every corruption.
#[derive(Clone, Debug)]
pub struct Specimen {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// The picture itself.
    pub clean: Vec<f32>,
    /// Every corruption, with the picture at every severity.
    pub corrupted: Vec<(&'static str, Vec<Vec<f32>>)>,
}

impl Evaluation<'_> {
    /// Accuracy of a logistic regression, trained on frozen features of clean pictures, on held-out
    /// pictures under 15 corruptions at five severities; `None` without labels. Batch-norm statistics
    /// are those of clean pictures throughout.
    ///
    /// # Errors
    /// When the modality is not image, an example cannot be loaded, or the encoder has diverged.
    pub fn corruptions(&self, ui: &mut dyn Ui) -> Result<Option<CorruptionsResult>> {
        self.check_pictures()?;
        if self.splits.class_names.is_empty() {
            return Ok(None);
        }
        let how = self.extraction(Layer::Pooled)?;
        let settings = self.config.eval.logistic.settings();
        let mut statistics = None;
        let train = self.features(Part::Train, Layer::Pooled, &mut statistics, ui)?;
        if statistics.is_none() {
            // The features were known.
            statistics = self.clean_statistics()?;
        }
        let (classifier, _) = LogisticClassifier::fit(&train, settings, self.interrupt)?;
        let test = self.corruptible();
        let accuracy = |data: &Arc<dyn Dataset>| -> Result<Option<f64>> {
            let features: Features = self.embed(data, how, "", &mut crate::progress::SilentUi)?;
            Ok(classifier.accuracy(&features))
        };
        let Some(clean) = accuracy(&test)? else {
            return Ok(None);
        };
        let mut rows = Vec::new();
        for (number, corruption) in corruptions().iter().enumerate() {
            let mut accuracies = Vec::with_capacity(SEVERITIES);
            for severity in 1..=SEVERITIES {
                accuracies.extend(accuracy(&self.corrupted(&test, *corruption, severity))?);
            }
            ui.on_task(&TaskReport {
                task: "corruptions",
                done: number as u64 + 1,
                total: corruptions().len() as u64,
                detail: corruption.name,
            });
            rows.push(CorruptionAt {
                corruption: corruption.name,
                family: corruption.family,
                mean: mean(&accuracies),
                accuracies,
            });
        }
        drop(statistics);
        let means: Vec<f64> = rows.iter().map(|row| row.mean).collect();
        Ok(Some(CorruptionsResult {
            seed: self.config.seed,
            layer: Layer::Pooled,
            settings,
            train_examples: train.len(),
            test_examples: test.len(),
            clean,
            corruptions: rows,
            mean: mean(&means),
        }))
    }

    /// The first held-out picture under every corruption, as [`Evaluation::corruptions`] has it.
    ///
    /// # Errors
    /// As [`Evaluation::corruptions`].
    pub fn specimen(&self) -> Result<Specimen> {
        self.check_pictures()?;
        let test = self.corruptible();
        let load = |data: &Arc<dyn Dataset>| -> Result<Vec<f32>> {
            let mut picture = vec![0.0; data.shape().iter().product()];
            data.load(0, Draw::FIXED, &mut picture)?;
            Ok(picture)
        };
        let of = |corruption: &Corruption| {
            let severities = 1..=SEVERITIES;
            let pictures = severities.map(|s| load(&self.corrupted(&test, *corruption, s)));
            Ok((corruption.name, pictures.collect::<Result<_>>()?))
        };
        Ok(Specimen {
            shape: test.shape(),
            clean: load(&test)?,
            corrupted: corruptions().iter().map(of).collect::<Result<_>>()?,
        })
    }

    /// Whether [`Evaluation::corruptions`] is defined.
    ///
    /// # Errors
    /// When the modality is not image.
    pub fn check_pictures(&self) -> Result<()> {
        match self.config.modality.as_str() {
            "image" => Ok(()),
            other => Err(Error::usage(format!(
                "--probe corruptions: defined for images only; blur, weather and the like mean nothing \
                 for the spectrograms of the modality {other}"
            ))),
        }
    }

    /// The held-out examples that are corrupted.
    fn corruptible(&self) -> Arc<dyn Dataset> {
        let limit = match self.config.eval.corruptions.examples {
            0 => None,
            examples => Some(examples),
        };
        Subset::limited(Arc::clone(&self.splits.test), limit)
    }

    fn corrupted(
        &self,
        test: &Arc<dyn Dataset>,
        corruption: Corruption,
        severity: usize,
    ) -> Arc<dyn Dataset> {
        let seed = self.config.seed;
        Arc::new(Corrupted::new(Arc::clone(test), corruption, severity, seed))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
