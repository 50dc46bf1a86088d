//! Fine-tuning of the whole network with few labels, against the same network from scratch and against
//! a linear probe on the same labels.

mod train;

use super::features::Features;
use super::logistic::{Logistic, LogisticClassifier};
use super::spread::Spread;
use super::subset::stratified;
use super::{Evaluation, Frozen, Layer};
use crate::error::Result;
use crate::model;
use crate::progress::{TaskReport, Ui};
use serde::Serialize;
use std::sync::Arc;
use train::Training;
use viewmaker_data::{Dataset, Fixed, Subset};
use viewmaker_exec::Tower;

/// Settings of the supervised training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finetuning {
    /// Steps of every training, whatever the number of labels.
    pub steps: u64,
    /// Examples of a step; all there are, where there are fewer.
    pub batch_size: usize,
    /// Learning rate of AdamW at the first step; it falls to 0 along half a cosine.
    pub lr: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Settings of the linear probe.
    pub linear: Logistic,
}

/// Accuracies at one number of labels, over repetitions with different seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FinetuneAt {
    /// Part of the labels of every class.
    pub fraction: f64,
    /// Labelled training examples.
    pub examples: usize,
    /// The whole network, from the weights of the run.
    pub finetuned: Spread,
    /// The whole network, from fresh weights.
    pub scratch: Spread,
    /// Logistic regression on the frozen pooled features.
    pub linear: Spread,
}

/// What fine-tuning gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FinetuneResult {
    /// Seeds of the repetitions: subset, fresh weights, order of the examples.
    pub seeds: Vec<u64>,
    /// All labelled training examples.
    pub train_examples: usize,
    /// Test examples.
    pub test_examples: usize,
    /// Settings of the training.
    pub settings: Finetuning,
    /// Accuracies by number of labels.
    pub fractions: Vec<FinetuneAt>,
}

/// Accuracies of one repetition.
struct Accuracies {
    examples: usize,
    finetuned: f64,
    scratch: f64,
    linear: f64,
}

impl Evaluation<'_> {
    /// Trains on parts of the labels, with `eval.finetune.seeds` repetitions each; `None` without
    /// labels. Subsets are stratified; every training sees the same labelled examples, without
    /// augmentation (sensor windows and ends of recordings are those that evaluations see), and ends
    /// after the same number of steps.
    ///
    /// # Errors
    /// When an example cannot be loaded, or a training diverges.
    pub fn finetune(&self, ui: &mut dyn Ui) -> Result<Option<FinetuneResult>> {
        if self.splits.class_names.is_empty() {
            return Ok(None);
        }
        let section = &self.config.eval.finetune;
        let settings = Finetuning {
            steps: section.steps,
            batch_size: section.batch_size,
            lr: section.lr,
            weight_decay: section.weight_decay,
            linear: self.config.eval.logistic.settings(),
        };
        let seeds: Vec<u64> = (0..section.seeds).map(|i| self.config.seed + i).collect();
        let frozen = self.frozen(Layer::Pooled, ui)?;
        let mut fractions = Vec::new();
        for (number, &fraction) in section.fractions.iter().enumerate() {
            let mut all = Vec::new();
            for (repetition, &seed) in seeds.iter().enumerate() {
                all.push(self.repetition(&frozen, &settings, fraction, seed)?);
                ui.on_task(&TaskReport {
                    task: "fine-tuning",
                    done: (number * seeds.len() + repetition + 1) as u64,
                    total: (section.fractions.len() * seeds.len()) as u64,
                    detail: &format!("{} of the labels", super::percent_of(fraction)),
                });
            }
            fractions.push(FinetuneAt::of(fraction, &all));
        }
        Ok(Some(FinetuneResult {
            seeds,
            train_examples: frozen.train.len(),
            test_examples: frozen.test.len(),
            settings,
            fractions,
        }))
    }

    /// All three methods on one subset.
    fn repetition(
        &self,
        frozen: &Frozen,
        settings: &Finetuning,
        fraction: f64,
        seed: u64,
    ) -> Result<Accuracies> {
        let rows = stratified(&frozen.train.labels, fraction, seed);
        let labelled = frozen.train.select(&rows);
        let (linear, _) = LogisticClassifier::fit(&labelled, settings.linear, self.interrupt)?;
        let [scratch, finetuned] = self.starts(seed)?.map(|tower| {
            let training = Training {
                settings,
                seed,
                interrupt: self.interrupt,
            };
            self.train_and_test(&training, tower, &labelled)
        });
        Ok(Accuracies {
            examples: labelled.len(),
            finetuned: finetuned?,
            scratch: scratch?,
            linear: linear.accuracy(&frozen.test).unwrap_or(f64::NAN),
        })
    }

    /// The classifier with fresh weights, and with those of the run below its last layer.
    fn starts(&self, seed: u64) -> Result<[Tower; 2]> {
        let shape = self.splits.train.shape();
        let classes = self.splits.class_names.len();
        let net = model::classifier(self.config, shape, self.splits.after_view.as_ref(), classes)?;
        let machine = self.players.encoder.machine();
        let scratch = model::fresh_encoder(&net, seed, &machine)?;
        let pretrained = model::fresh_encoder(&net, seed, &machine)?;
        model::copy_backbone(&self.players.encoder, &pretrained)?;
        Ok([scratch, pretrained])
    }

    fn train_and_test(
        &self,
        training: &Training<'_>,
        tower: Tower,
        labelled: &Features,
    ) -> Result<f64> {
        let fixed: Arc<dyn Dataset> = Arc::new(Fixed::new(Arc::clone(&self.splits.train)));
        let subset = Arc::new(Subset::new(fixed, labelled.indices.clone()));
        training.run(&tower, subset)?;
        training.accuracy(tower, &self.splits.test)
    }
}

impl FinetuneAt {
    fn of(fraction: f64, repetitions: &[Accuracies]) -> Self {
        let spread =
            |read: fn(&Accuracies) -> f64| Spread::of(repetitions.iter().map(read).collect());
        Self {
            fraction,
            examples: repetitions.first().map_or(0, |first| first.examples),
            finetuned: spread(|a| a.finetuned),
            scratch: spread(|a| a.scratch),
            linear: spread(|a| a.linear),
        }
    }
}
