//! One adversarial training step.
//!
//! The encoder minimises the contrastive loss L, the viewmaker minimises −w·L. In the
//! *alternating* schedule of the reference each batch is processed twice: the encoder steps on one
//! set of views, then the viewmaker steps on fresh views seen through the updated encoder. In the
//! *simultaneous* schedule one forward and one backward pass serve both.

use super::players::{Embeddings, Examples, Fixed, NoiseRequest, NoiseSource, Players, Views};
use crate::config::Update;
use dfdx::prelude::{
    AsArray, Backward, Cpu, OwnedTape, PutTape, SplitTape, Tensor, TensorFromVec, Trace,
};
use viewmaker_exec::{Maps, Part, Profiler, Wanted, optim::Optimizer};
use viewmaker_objective::{BatchInfo, Objective, ObjectiveError};

/// A batch as a step sees it.
#[derive(Clone, Copy, Debug)]
pub struct StepBatch<'a> {
    /// One slice of NCHW data per source of views; both views of a batch usually share one.
    pub examples: [&'a [f32]; 2],
    /// Batch, channels, height, width.
    pub dims: [usize; 4],
    /// Position of each example in the training set.
    pub indices: &'a [usize],
    /// Step, from 0.
    pub step: u64,
}

/// Settings of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepRates {
    /// Order of the players.
    pub update: Update,
    /// Weight w of the viewmaker's loss.
    pub viewmaker_loss_weight: f32,
    /// Learning rate of the encoder at this step.
    pub encoder_lr: f32,
    /// Learning rate of the viewmaker at this step; `None` while it is frozen.
    pub viewmaker_lr: Option<f32>,
}

/// What a step reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepOutcome {
    /// Loss that the encoder's pass differentiated.
    pub encoder_loss: f32,
    /// Loss that the viewmaker's pass differentiated; `None` when the viewmaker did not learn.
    pub viewmaker_loss: Option<f32>,
    /// Mean |δ| over the encoder's views.
    pub mean_distortion: f32,
    /// Embeddings of each pass and view, for inspection.
    pub embeddings: Vec<Vec<Vec<f32>>>,
}

/// Everything that learns.
pub struct Learners<'a> {
    /// The players.
    pub players: &'a Players,
    /// The encoder's optimiser.
    pub encoder_optimizer: &'a mut dyn Optimizer,
    /// The viewmaker's optimiser, if there is a viewmaker.
    pub viewmaker_optimizer: Option<&'a mut dyn Optimizer>,
    /// The objective, with its memory bank or queue.
    pub objective: &'a mut dyn Objective,
}

impl Learners<'_> {
    /// Runs one step.
    ///
    /// # Errors
    /// When the objective refuses the embeddings.
    pub fn step(
        &mut self,
        batch: StepBatch<'_>,
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutcome, ObjectiveError> {
        let learning = match (&self.players.views, &self.viewmaker_optimizer) {
            (Views::Learned(_), Some(_)) => rates.viewmaker_lr,
            _ => None,
        };
        match (learning, rates.update) {
            (Some(lr), Update::Simultaneous) => self.both(batch, rates, lr, noise),
            (Some(lr), Update::Alternating) => {
                let mut report = self.encoder_pass(batch, rates, noise)?;
                self.viewmaker_pass(batch, rates, lr, noise, &mut report)?;
                Ok(report)
            }
            (None, _) => self.encoder_pass(batch, rates, noise),
        }
    }

    /// Views without a gradient, loss, encoder step.
    fn encoder_pass(
        &mut self,
        batch: StepBatch<'_>,
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutcome, ObjectiveError> {
        let count = self.objective.views();
        let views: Vec<Fixed> = (0..count)
            .map(|view| {
                let x = example_tensor(batch, view);
                self.players.views.apply(x, noise, request(batch, 0, view))
            })
            .collect();
        let profiler = self.profiler();
        let mean_distortion = profiler.time(Part::Distortion, || mean_distortion(&views, batch));
        self.zero_encoder();
        let z = views
            .iter()
            .map(|view| self.players.embed(view.leaky_trace(), Wanted::Params))
            .collect();
        let (loss, embeddings) = self.differentiate(z, batch, 0, 1.0)?;
        self.step_encoder(rates.encoder_lr);
        Ok(StepOutcome {
            encoder_loss: loss,
            viewmaker_loss: None,
            mean_distortion,
            embeddings: vec![embeddings],
        })
    }

    /// Fresh views through the updated, frozen encoder; viewmaker step.
    fn viewmaker_pass(
        &mut self,
        batch: StepBatch<'_>,
        rates: StepRates,
        lr: f32,
        noise: &mut dyn NoiseSource,
        report: &mut StepOutcome,
    ) -> Result<(), ObjectiveError> {
        self.zero_viewmaker();
        let z = self.traced_views(batch, 1, noise);
        let z = z
            .into_iter()
            .map(|view| self.players.embed(view, Wanted::Inputs))
            .collect();
        let weight = -rates.viewmaker_loss_weight;
        let (loss, embeddings) = self.differentiate(z, batch, 1, weight)?;
        self.step_viewmaker(lr);
        report.viewmaker_loss = Some(loss);
        report.embeddings.push(embeddings);
        Ok(())
    }

    /// One forward and backward pass for both players.
    fn both(
        &mut self,
        batch: StepBatch<'_>,
        rates: StepRates,
        lr: f32,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutcome, ObjectiveError> {
        self.zero_encoder();
        self.zero_viewmaker();
        let views = self.traced_views(batch, 0, noise);
        let fixed: Vec<Fixed> = views.iter().map(|v| v.retaped()).collect();
        let profiler = self.profiler();
        let mean_distortion = profiler.time(Part::Distortion, || mean_distortion(&fixed, batch));
        let z = views
            .into_iter()
            .map(|view| self.players.embed(view, Wanted::Both))
            .collect();
        let (loss, embeddings) = self.differentiate(z, batch, 0, 1.0)?;
        self.step_encoder(rates.encoder_lr);
        // The viewmaker's gradient is exactly −w times the encoder's.
        let weight = -rates.viewmaker_loss_weight;
        if let Some(tower) = self.players.views.tower() {
            profiler.time(Part::Optimizer, || tower.scale_grads(weight));
        }
        self.step_viewmaker(lr);
        Ok(StepOutcome {
            encoder_loss: loss,
            viewmaker_loss: Some(weight * loss),
            mean_distortion,
            embeddings: vec![embeddings],
        })
    }

    fn traced_views(
        &self,
        batch: StepBatch<'_>,
        pass: u32,
        noise: &mut dyn NoiseSource,
    ) -> Vec<Examples<OwnedTape<f32, Cpu>>> {
        (0..self.objective.views())
            .map(|view| {
                let x = example_tensor(batch, view).leaky_traced();
                self.players
                    .views
                    .apply(x, noise, request(batch, pass, view))
            })
            .collect()
    }

    /// Computes `weight · loss`, runs the tape backward, and lets the objective see the
    /// embeddings.
    fn differentiate(
        &mut self,
        z: Vec<Embeddings<OwnedTape<f32, Cpu>>>,
        batch: StepBatch<'_>,
        pass: u32,
        weight: f32,
    ) -> Result<(f32, Vec<Vec<f32>>), ObjectiveError> {
        let profiler = self.profiler();
        profiler.time(Part::Objective, || {
            self.objective_step(z, batch, pass, weight)
        })
    }

    fn objective_step(
        &mut self,
        z: Vec<Embeddings<OwnedTape<f32, Cpu>>>,
        batch: StepBatch<'_>,
        pass: u32,
        weight: f32,
    ) -> Result<(f32, Vec<Vec<f32>>), ObjectiveError> {
        let embeddings: Vec<Vec<f32>> = z.iter().map(|z| z.as_vec()).collect();
        let info = BatchInfo {
            indices: batch.indices,
            // Every batch has two passes at most; no other pass of the run has this number.
            pass: (2 * batch.step) as u32 + pass,
        };
        let loss = self.objective.loss(z, &info)? * weight;
        let (value, tape) = loss.split_tape();
        let result = value.array();
        if result.is_finite() {
            value.put_tape(tape).backward();
        }
        self.objective.observe(&embeddings, &info)?;
        Ok((result, embeddings))
    }

    fn step_encoder(&mut self, lr: f32) {
        let optimizer = &mut self.encoder_optimizer;
        let encoder = &self.players.encoder;
        encoder.profiler().time(Part::Optimizer, || {
            encoder.update(|params, grads| optimizer.step(params, grads, lr));
        });
    }

    fn step_viewmaker(&mut self, lr: f32) {
        if let (Some(tower), Some(optimizer)) =
            (self.players.views.tower(), &mut self.viewmaker_optimizer)
        {
            tower.profiler().time(Part::Optimizer, || {
                tower.update(|params, grads| optimizer.step(params, grads, lr));
            });
        }
    }

    fn zero_encoder(&self) {
        let encoder = &self.players.encoder;
        self.profiler()
            .time(Part::Optimizer, || encoder.zero_grads());
    }

    fn zero_viewmaker(&self) {
        if let Some(tower) = self.players.views.tower() {
            self.profiler().time(Part::Optimizer, || tower.zero_grads());
        }
    }

    fn profiler(&self) -> Profiler {
        self.players.encoder.profiler()
    }
}

fn request(batch: StepBatch<'_>, pass: u32, view: usize) -> NoiseRequest {
    NoiseRequest {
        step: batch.step,
        pass,
        view: view as u32,
        channel: 0,
    }
}

fn example_tensor(batch: StepBatch<'_>, view: usize) -> Tensor<Maps, f32, Cpu> {
    let [n, c, h, w] = batch.dims;
    Cpu::default().tensor_from_vec(batch.examples[view % 2].to_vec(), (n, c, h, w))
}

/// Mean absolute difference between views and examples.
fn mean_distortion(views: &[Fixed], batch: StepBatch<'_>) -> f32 {
    let (mut sum, mut count) = (0.0f64, 0usize);
    for (view, tensor) in views.iter().enumerate() {
        let pairs = tensor.as_vec().into_iter().zip(batch.examples[view % 2]);
        sum += pairs.map(|(v, x)| f64::from((v - x).abs())).sum::<f64>();
        count += batch.examples[view % 2].len();
    }
    (sum / count.max(1) as f64) as f32
}
