//! What a frozen encoder is worth on data that it has never seen.

use super::spread::Spread;
use super::{Evaluation, Frozen, KnnResult, Layer, LogisticResult};
use crate::error::Result;
use crate::model::{self, Networks};
use crate::progress::Ui;
use crate::train::players::{Players, Views};
use serde::Serialize;
use viewmaker_data::ChannelStats;

/// Accuracies on other data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TransferResult {
    /// Where mean and deviation of the examples come from: `data`, the other data themselves.
    pub statistics: &'static str,
    /// Nearest neighbours on the features of the run.
    pub knn: KnnResult,
    /// Logistic regression on the features of the run.
    pub logistic: LogisticResult,
    /// The same for the same encoder before training, over the seeds of its weights.
    pub untrained: Untrained,
}

/// Accuracies of encoders with fresh weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Untrained {
    /// Seeds of the weights.
    pub seeds: Vec<u64>,
    /// Nearest neighbours.
    pub knn: Spread,
    /// Logistic regression.
    pub logistic: Spread,
}

/// Encoders with fresh weights that the run is compared with.
const UNTRAINED: u64 = 3;

impl Evaluation<'_> {
    /// Probes the frozen encoder on the data of this evaluation, which are not those of the run.
    /// Examples are normalised with the statistics of these data (`statistics`, where they are
    /// normalised inside the encoder), so that the encoder gets them on the scale that it knows.
    /// `None` without labels.
    ///
    /// # Errors
    /// When an example cannot be loaded or the encoder has diverged.
    pub fn transfer(
        &self,
        statistics: Option<&ChannelStats>,
        ui: &mut dyn Ui,
    ) -> Result<Option<TransferResult>> {
        if self.splits.class_names.is_empty() {
            return Ok(None);
        }
        let shape = self.splits.train.shape();
        let net = Networks::build(self.config, shape, statistics)?.encoder;
        let machine = self.players.encoder.machine();
        let encoder = model::fresh_encoder(&net, self.config.seed, &machine)?;
        model::copy_backbone(&self.players.encoder, &encoder)?;
        let (Some(knn), Some(logistic)) = self.both(encoder, ui)? else {
            return Ok(None);
        };
        let seeds: Vec<u64> = (0..UNTRAINED).map(|i| self.config.seed + i).collect();
        let (mut by_knn, mut by_logistic) = (Vec::new(), Vec::new());
        for seed in &seeds {
            let (knn, logistic) = self.both(model::fresh_encoder(&net, *seed, &machine)?, ui)?;
            by_knn.extend(knn.map(|knn| knn.accuracy));
            by_logistic.extend(logistic.map(|logistic| logistic.accuracy));
        }
        Ok(Some(TransferResult {
            statistics: "data",
            knn,
            logistic,
            untrained: Untrained {
                seeds,
                knn: Spread::of(by_knn),
                logistic: Spread::of(by_logistic),
            },
        }))
    }

    /// Both probes on an encoder.
    fn both(
        &self,
        encoder: viewmaker_exec::Tower,
        ui: &mut dyn Ui,
    ) -> Result<(Option<KnnResult>, Option<LogisticResult>)> {
        let players = Players {
            encoder,
            views: Views::None,
        };
        let evaluation = self.of(&players);
        let frozen: Frozen = evaluation.frozen(Layer::Pooled, ui)?;
        let logistic = evaluation.logistic_on(&frozen, Layer::Pooled)?;
        Ok((evaluation.knn_on(frozen)?, logistic))
    }
}
