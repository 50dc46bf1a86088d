//! What a representation is worth: probes on frozen features, and training that starts from them.

pub mod collapse;
pub mod corruptions;
pub mod features;
pub mod fewshot;
pub mod finetune;
mod frozen;
pub mod knn;
pub mod lbfgs;
pub mod linear;
pub mod logistic;
mod probe;
pub mod report;
pub mod spread;
mod statistics;
pub mod subjects;
pub mod subset;
pub mod transfer;
mod zero_shot;

use crate::config::Config;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::model;
use crate::progress::{TaskReport, Ui};
use crate::train::WORKERS;
use crate::train::players::{Players, SeededNoise, Views};
use features::{Extraction, Features, FreshViews, extract_views};
pub use frozen::{Frozen, KeptFeatures};
use knn::Knn;
use linear::{LinearClassifier, LinearProbe};
use logistic::{Fit, Logistic, LogisticClassifier};
pub use probe::Probe;
use serde::Serialize;
use std::sync::Arc;
use viewmaker_data::{Recipe, Splits, Subset};
pub use zero_shot::ZeroShotResult;

/// Examples embedded at once; the plan of an evaluation stays small.
const BATCH: usize = 128;

/// Which of the encoder's values a probe reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// The pooled features.
    Pooled,
    /// The map before pooling, flattened.
    Prepool,
}

impl Layer {
    /// Name of the value in the encoder.
    const fn output(self) -> &'static str {
        match self {
            Self::Pooled => "features",
            Self::Prepool => "prepool",
        }
    }
}

/// Result of a linear probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinearResult {
    /// Where the features were read.
    pub layer: Layer,
    /// Number of features.
    pub dim: usize,
    /// Accuracy on the test set, in `[0, 1]`.
    pub accuracy: f64,
    /// Accuracy on the (clean) training set, in `[0, 1]`.
    pub train_accuracy: f64,
    /// Mean cross-entropy of the last epoch.
    pub train_loss: f64,
    /// Training examples.
    pub train_examples: usize,
    /// Test examples.
    pub test_examples: usize,
    /// Settings of the probe.
    pub settings: LinearProbe,
    /// Whether it was trained on fresh views in every epoch instead of the examples.
    pub on_views: bool,
}

/// Result of the logistic regression.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogisticResult {
    /// Where the features were read.
    pub layer: Layer,
    /// Number of features.
    pub dim: usize,
    /// Accuracy on the test set, in `[0, 1]`.
    pub accuracy: f64,
    /// Accuracy on the training set, in `[0, 1]`.
    pub train_accuracy: f64,
    /// Training examples.
    pub train_examples: usize,
    /// Test examples.
    pub test_examples: usize,
    /// Settings of the regression.
    pub settings: Logistic,
    /// How the search for the weights ended.
    pub fit: Fit,
}

/// Result of the nearest-neighbour classifier.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KnnResult {
    /// Accuracy on the test set, in `[0, 1]`.
    pub accuracy: f64,
    /// Neighbours that voted.
    pub k: usize,
    /// Temperature of their weights.
    pub temperature: f32,
    /// Rows of the bank.
    pub bank_examples: usize,
    /// Test examples.
    pub test_examples: usize,
}

/// A part of 1 as per cent, without digits that say nothing: `0.01` is `1 %`.
pub fn percent_of(fraction: f64) -> String {
    format!("{} %", (fraction * 1e6).round() / 1e4)
}

/// Evaluates one encoder on one data source.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The encoder, and the views for probes that train on views.
    pub players: &'a Players,
    /// The data.
    pub splits: &'a Splits,
    /// Settings.
    pub config: &'a Config,
    /// Stops it: every measurement asks after a batch, a step or a block, and is lost then.
    pub interrupt: &'a Interrupt,
    /// Where features are kept for the probe that comes next; `None` where none does.
    pub kept: Option<&'a KeptFeatures>,
}

impl Evaluation<'_> {
    /// Accuracy of weighted nearest neighbours on the pooled features; `None` without labels.
    ///
    /// # Errors
    /// When an example cannot be loaded or the encoder has diverged.
    pub fn knn(&self, ui: &mut dyn Ui) -> Result<Option<KnnResult>> {
        if self.splits.class_names.is_empty() {
            return Ok(None);
        }
        self.knn_on(self.frozen(Layer::Pooled, ui)?)
    }

    /// [`Evaluation::knn`] on features that have been computed.
    fn knn_on(&self, frozen: Frozen) -> Result<Option<KnnResult>> {
        let mut bank = Arc::unwrap_or_clone(frozen.train);
        let mut test = Arc::unwrap_or_clone(frozen.test);
        bank.normalize();
        test.normalize();
        let knn = Knn {
            k: self.config.eval.knn_k,
            temperature: self.config.eval.knn_temperature,
        };
        let classes = self.splits.class_names.len();
        let accuracy = knn::accuracy(&bank, &test, classes, knn, self.interrupt)?;
        Ok(accuracy.map(|accuracy| KnnResult {
            accuracy,
            k: knn.k.min(bank.len()),
            temperature: knn.temperature,
            bank_examples: bank.len(),
            test_examples: test.len(),
        }))
    }

    /// Trains and tests a linear classifier on frozen features; `None` without labels.
    ///
    /// With `eval.linear_views`, every epoch trains on fresh views of the training set, as the
    /// paper does; testing never uses views.
    ///
    /// # Errors
    /// When an example cannot be loaded or the encoder has diverged.
    pub fn linear(&self, layer: Layer, ui: &mut dyn Ui) -> Result<Option<LinearResult>> {
        let classes = self.splits.class_names.len();
        if classes == 0 {
            return Ok(None);
        }
        let Frozen { train: clean, test } = self.frozen(layer, ui)?;
        let probe = self.probe();
        let recipe = self.config.recipe()?.map(Arc::new);
        let makes_views = recipe.is_some() || self.players.views.tower().is_some();
        let on_views = self.config.eval.linear_views && makes_views;
        let _statistics = match on_views {
            true => self.clean_statistics()?,
            false => None,
        };
        let mut classifier = LinearClassifier::new(clean.dim, classes, probe.seed);
        let mut train_loss = 0.0;
        for epoch in 0..probe.epochs {
            let views = match on_views {
                true => Some(self.embed_views(layer, recipe.as_ref(), epoch)?),
                false => None,
            };
            let train = views.as_ref().unwrap_or(&clean);
            train_loss = classifier.epoch(train, &probe, epoch, self.interrupt)?;
            ui.on_task(&TaskReport {
                task: "linear probe",
                done: epoch + 1,
                total: probe.epochs,
                detail: &format!("cross-entropy {train_loss:.3}"),
            });
        }
        let accuracies = classifier.accuracy(&test).zip(classifier.accuracy(&clean));
        Ok(accuracies.map(|(accuracy, train_accuracy)| LinearResult {
            layer,
            dim: clean.dim,
            accuracy,
            train_accuracy,
            train_loss,
            train_examples: clean.len(),
            test_examples: test.len(),
            settings: probe,
            on_views,
        }))
    }

    /// Fits a logistic regression to frozen features; `None` without labels.
    ///
    /// # Errors
    /// When an example cannot be loaded or the encoder has diverged.
    pub fn logistic(&self, layer: Layer, ui: &mut dyn Ui) -> Result<Option<LogisticResult>> {
        if self.splits.class_names.is_empty() {
            return Ok(None);
        }
        self.logistic_on(&self.frozen(layer, ui)?, layer)
    }

    /// [`Evaluation::logistic`] on features that have been computed.
    fn logistic_on(&self, frozen: &Frozen, layer: Layer) -> Result<Option<LogisticResult>> {
        let Frozen { train, test } = frozen;
        let settings = self.config.eval.logistic.settings();
        let (classifier, fit) = LogisticClassifier::fit(train, settings, self.interrupt)?;
        let accuracies = classifier.accuracy(test).zip(classifier.accuracy(train));
        Ok(accuracies.map(|(accuracy, train_accuracy)| LogisticResult {
            layer,
            dim: train.dim,
            accuracy,
            train_accuracy,
            train_examples: train.len(),
            test_examples: test.len(),
            settings,
            fit,
        }))
    }

    /// The same encoder with the weights that training started from, without views.
    ///
    /// # Errors
    /// When a device has no room for it.
    pub fn untrained(&self) -> Result<Players> {
        let encoder = &self.players.encoder;
        let seed = self.config.seed;
        Ok(Players {
            encoder: model::fresh_encoder(encoder.net(), seed, &encoder.machine())?,
            views: Views::None,
        })
    }

    /// This evaluation for other networks.
    fn of<'a>(&'a self, players: &'a Players) -> Evaluation<'a> {
        Evaluation {
            players,
            kept: None,
            ..*self
        }
    }

    /// Embeddings of two views of `examples` training examples (all, where there are fewer), spread
    /// evenly over the training set, as the run makes views; running statistics are those of the run.
    ///
    /// # Errors
    /// When an example cannot be loaded or the encoder has diverged.
    pub fn two_views(&self, examples: usize) -> Result<[Vec<f32>; 2]> {
        let recipe = self.config.recipe()?.map(Arc::new);
        let train = Subset::limited(Arc::clone(&self.splits.train), Some(examples));
        let how = Extraction {
            value: self.players.encoder.net().output(),
            unlabelled: true,
            ..self.extraction(Layer::Pooled)?
        };
        let view = |epoch| -> Result<Vec<f32>> {
            let views = FreshViews {
                recipe: recipe.as_ref(),
                noise: SeededNoise {
                    seed: self.config.seed,
                },
                epoch,
            };
            Ok(extract_views(self.players, &train, how, views)?.rows)
        };
        Ok([view(0)?, view(1)?])
    }

    fn probe(&self) -> LinearProbe {
        let section = &self.config.eval;
        LinearProbe {
            epochs: section.linear_epochs,
            lr: section.linear_lr,
            momentum: section.linear_momentum,
            weight_decay: section.linear_weight_decay,
            batch_size: section.linear_batch_size,
            milestones: section.linear_milestones.clone(),
            seed: self.config.seed,
        }
    }

    fn embed_views(
        &self,
        layer: Layer,
        recipe: Option<&Arc<Recipe>>,
        epoch: u64,
    ) -> Result<Features> {
        let how = self.extraction(layer)?;
        let seed = self.config.seed;
        let views = FreshViews {
            recipe,
            noise: SeededNoise { seed },
            epoch,
        };
        extract_views(self.players, &self.splits.train, how, views)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ViewSource, preset};
    use crate::pictures;
    use crate::train::Trainer;
    use viewmaker_exec::Machine;

    #[test]
    fn two_views_are_of_the_same_window() {
        let mut config = preset("sensor");
        config.data.options.embedded_train = 48;
        config.data.options.embedded_test = 24;
        config.train.batch_size = 8;
        config.views.source = ViewSource::None.into();
        let splits = pictures::open_data(&config).unwrap();
        let trainer = Trainer::new(&config, &splits, &Machine::Cpu).unwrap();
        let evaluation = Evaluation {
            players: trainer.players(),
            splits: &splits,
            config: &config,
            interrupt: &Interrupt::never(),
            kept: None,
        };
        let [first, second] = evaluation.two_views(16).unwrap();
        assert!(first.iter().any(|x| *x != 0.0));
        assert!(first == second, "without views, both are the example");
    }
}
