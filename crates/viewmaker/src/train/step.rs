//! One adversarial training step.
//!
//! The encoder minimises the contrastive loss L, the viewmaker minimises −w·L. In the
//! *alternating* schedule of the reference each batch is processed twice: the encoder steps on one
//! set of views, then the viewmaker steps on fresh views seen through the updated encoder. In the
//! *simultaneous* schedule one forward and one backward pass serve both.
//!
//! Nothing here knows an objective: its [`Branches`](viewmaker_objective::Branches) say which views
//! go through which networks.

use super::learners::Learners;
use super::perturbation::{Perturbation, mean_distortion};
use super::players::{Embeddings, Examples, NoiseRequest, NoiseSource, Views};
use crate::config::Update;
use dfdx::prelude::{
    AsArray, Backward, Cpu, Gradients, NoneTape, OwnedTape, PutTape, SplitTape, Tensor,
    TensorFromVec, Trace,
};
use viewmaker_exec::{Maps, Part, Profiler, Wanted};
use viewmaker_objective::{BatchInfo, Loss, ObjectiveError, Outputs, Seen};

/// A batch as a step sees it.
#[derive(Clone, Copy, Debug)]
pub struct StepBatch<'a> {
    /// What the views are made of, NCHW: one slice a view, or one that all views share. Always the
    /// whole batch, also where this is a part of it.
    pub examples: &'a [&'a [f32]],
    /// Number of the first example of this part in `examples`.
    pub first: usize,
    /// Batch, channels, height, width.
    pub dims: [usize; 4],
    /// Position of each example in the training set.
    pub indices: &'a [usize],
    /// Class of each example, where it is known.
    pub labels: &'a [Option<u32>],
    /// Recording or video of each example, where it is a moment of one.
    pub sequences: &'a [Option<usize>],
    /// The page of each example's text, one after the other; empty where there are no texts.
    pub texts: &'a [f32],
    /// Step, from 0.
    pub step: u64,
}

/// Who knows the examples of the next step.
pub trait Upcoming {
    /// These examples, as [`StepBatch::examples`] will have them; `None` where no step follows.
    fn examples(&mut self) -> Option<Vec<&[f32]>>;
}

/// Nobody knows them.
struct Unknown;

impl Upcoming for Unknown {
    fn examples(&mut self) -> Option<Vec<&[f32]>> {
        None
    }
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
    /// What a momentum encoder keeps of itself in this step.
    pub encoder_momentum: f32,
    /// Examples whose activations are kept at once; 0: all.
    pub chunk: usize,
    /// Which views are perturbed, and how much of the perturbation is applied.
    pub perturbation: Perturbation,
}

impl StepRates {
    /// Whether `batch` is computed in several chunks.
    pub(super) fn divides(self, batch: StepBatch<'_>) -> bool {
        (1..batch.dims[0]).contains(&self.chunk)
    }
}

impl<'a> StepBatch<'a> {
    /// What view number `view` is made of.
    pub(super) fn example(&self, view: usize) -> &'a [f32] {
        let [n, c, h, w] = self.dims;
        let all = self.examples[view % self.examples.len()];
        &all[self.first * c * h * w..][..n * c * h * w]
    }
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
    /// Embeddings of each pass and online view, for inspection.
    pub embeddings: Vec<Vec<Vec<f32>>>,
}

/// Who learns from a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learning {
    Encoder,
    Viewmaker,
    Both,
}

impl Learning {
    /// What the encoder's backward pass has to produce.
    pub(super) const fn wanted(self) -> Wanted {
        match self {
            Self::Encoder => Wanted::Params,
            Self::Viewmaker => Wanted::Inputs,
            Self::Both => Wanted::Both,
        }
    }

    pub(super) const fn traces_views(self) -> bool {
        !matches!(self, Self::Encoder)
    }
}

/// Values of a pass.
pub(super) struct Done {
    pub(super) loss: f32,
    pub(super) embeddings: Vec<Vec<f32>>,
    pub(super) targets: Vec<Vec<f32>>,
    pub(super) mean_distortion: f32,
}

impl Done {
    fn seen(&self) -> Seen<'_> {
        Seen {
            embeddings: &self.embeddings,
            targets: &self.targets,
        }
    }
}

impl Learners {
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
        self.step_before(&mut Unknown, batch, rates, noise)
    }

    /// [`Learners::step`] where the next one is known: a device is sent its examples while it computes.
    ///
    /// # Errors
    /// When the objective refuses the embeddings.
    pub fn step_before(
        &mut self,
        next: &mut dyn Upcoming,
        batch: StepBatch<'_>,
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> Result<StepOutcome, ObjectiveError> {
        let viewmaker_lr = match (&self.players.views, &self.viewmaker_optimizer) {
            (Views::Learned(_), Some(_)) => rates.viewmaker_lr,
            _ => None,
        };
        let weight = -rates.viewmaker_loss_weight;
        let learning = match (viewmaker_lr, rates.update) {
            (Some(_), Update::Simultaneous) => Learning::Both,
            _ => Learning::Encoder,
        };
        // Whatever runs last has the most to do beside.
        let has_second = viewmaker_lr.is_some() && learning != Learning::Both;
        let first = match has_second {
            true => self.pass(batch, (0, learning), rates, (noise, &mut Unknown))?,
            false => self.pass(batch, (0, learning), rates, (noise, next))?,
        };
        self.step_encoder(rates);
        let mut outcome = StepOutcome {
            encoder_loss: first.loss,
            viewmaker_loss: None,
            mean_distortion: first.mean_distortion,
            embeddings: Vec::new(),
        };
        let mut second_embeddings = None;
        match viewmaker_lr {
            Some(lr) if learning == Learning::Both => {
                // The viewmaker's gradient is exactly −w times the encoder's.
                if let Some(tower) = self.players.views.tower() {
                    self.profiler()
                        .time(Part::Optimizer, || tower.scale_grads(weight));
                }
                self.step_viewmaker(lr);
                outcome.viewmaker_loss = Some(weight * first.loss);
            }
            Some(lr) => {
                // Fresh views through the updated, frozen encoder.
                let moment = (1, Learning::Viewmaker);
                let second = self.pass(batch, moment, rates, (noise, next))?;
                self.step_viewmaker(lr);
                outcome.viewmaker_loss = Some(second.loss);
                second_embeddings = Some(second.embeddings);
            }
            None => {}
        }
        let info = info(batch, 0);
        self.objective.finish_step(&first.seen(), &info)?;
        outcome.embeddings.push(first.embeddings);
        outcome.embeddings.extend(second_embeddings);
        Ok(outcome)
    }

    /// Forward and backward pass number `pass` of a step; the gradients of whoever learns lie in its
    /// tower afterwards.
    fn pass(
        &mut self,
        batch: StepBatch<'_>,
        moment: (u32, Learning),
        rates: StepRates,
        (noise, next): (&mut dyn NoiseSource, &mut dyn Upcoming),
    ) -> Result<Done, ObjectiveError> {
        self.zero_grads(moment.1);
        let done = match self.resident_pass(batch, moment, rates, (noise, next)) {
            Some(done) => done?,
            None if rates.divides(batch) => self.cached_pass(batch, moment, rates, noise)?,
            None => self.whole_pass(batch, moment, rates, noise)?,
        };
        let info = info(batch, moment.0);
        let profiler = self.profiler();
        profiler.time(Part::Objective, || {
            self.objective.observe(&done.seen(), &info)
        })?;
        Ok(done)
    }

    /// A pass over all examples at once, on the tape.
    fn whole_pass(
        &mut self,
        batch: StepBatch<'_>,
        (pass, learning): (u32, Learning),
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> Result<Done, ObjectiveError> {
        let views = self.objective.branches().views();
        let views: Vec<_> = (0..views)
            .map(|view| self.view(batch, view, (pass, learning), rates.perturbation, noise))
            .collect();
        let profiler = self.profiler();
        let mean_distortion = profiler.time(Part::Distortion, || {
            mean_distortion(&views, batch, rates.perturbation)
        });
        let (mut outputs, targets) = self.outputs(views, learning.wanted());
        self.add_texts(&mut outputs, batch, learning);
        let embeddings = outputs.embeddings.iter().map(|z| z.as_vec()).collect();
        let loss = profiler.time(Part::Objective, || {
            let loss = self.objective.loss(outputs, &info(batch, pass))?;
            Ok(differentiate(loss, weight(learning, rates)).0)
        })?;
        Ok(Done {
            loss,
            embeddings,
            targets,
            mean_distortion,
        })
    }

    /// View number `view`: on the viewmaker's tape if the viewmaker learns from it, else on a tape of
    /// its own.
    pub(super) fn view(
        &self,
        batch: StepBatch<'_>,
        view: usize,
        (pass, learning): (u32, Learning),
        perturbation: Perturbation,
        noise: &mut dyn NoiseSource,
    ) -> Examples<OwnedTape<f32, Cpu>> {
        let x = example_tensor(batch, view);
        let request = request(batch, pass, view);
        let online = self.objective.branches().online.contains(&view);
        if online && learning.traces_views() {
            return perturbation.apply(&self.players, x.leaky_traced(), noise, request);
        }
        let fixed = perturbation.apply(&self.players, x, noise, request);
        fixed.leaky_traced()
    }

    /// What the networks make of the views, and the values of the targets.
    fn outputs(
        &self,
        views: Vec<Examples<OwnedTape<f32, Cpu>>>,
        wanted: Wanted,
    ) -> (Outputs, Vec<Vec<f32>>) {
        let branches = self.objective.branches();
        let target = |view: &usize| self.companions.target(&views[*view].retaped::<NoneTape>());
        let targets: Vec<_> = branches.target.iter().filter_map(target).collect();
        let values = targets.iter().map(|z| z.as_vec()).collect();
        let mut outputs = Outputs {
            targets,
            ..Outputs::default()
        };
        let numbered = views.into_iter().enumerate();
        for (_, view) in numbered.filter(|(number, _)| branches.online.contains(number)) {
            let z: Embeddings<_> = self.players.embed(view, wanted);
            let (z, prediction) = self.companions.predict(z, wanted);
            outputs.embeddings.push(z);
            outputs.predictions.extend(prediction);
        }
        (outputs, values)
    }

    /// Adds the texts of a batch to what a loss is computed of: constants for the viewmaker.
    pub(super) fn add_texts(
        &self,
        outputs: &mut Outputs,
        batch: StepBatch<'_>,
        learning: Learning,
    ) {
        if let Some(text) = self.companions.text() {
            let learns = learning != Learning::Viewmaker;
            let (z, log_scale) = text.outputs(batch.texts, batch.dims[0], learns);
            outputs.texts = Some(z);
            outputs.log_scale = Some(log_scale);
        }
    }

    fn step_encoder(&mut self, rates: StepRates) {
        let optimizer = &mut self.encoder_optimizer;
        let companions = &mut self.companions;
        let (encoder, lr) = (&self.players.encoder, rates.encoder_lr);
        encoder.profiler().time(Part::Optimizer, || {
            encoder.optimize(&mut **optimizer, lr);
            companions.step(encoder, lr, rates.encoder_momentum);
        });
    }

    fn step_viewmaker(&mut self, lr: f32) {
        if let (Some(tower), Some(optimizer)) =
            (self.players.views.tower(), &mut self.viewmaker_optimizer)
        {
            tower.profiler().time(Part::Optimizer, || {
                tower.optimize(&mut **optimizer, lr);
            });
        }
    }

    /// Sets the gradients of whoever learns to zero.
    fn zero_grads(&self, learning: Learning) {
        self.profiler().time(Part::Optimizer, || {
            if let Some(tower) = self.players.views.tower() {
                tower.zero_grads();
            }
            if learning != Learning::Viewmaker {
                self.players.encoder.zero_grads();
                self.companions.zero_grads();
            }
        });
    }

    pub(super) fn profiler(&self) -> Profiler {
        self.players.encoder.profiler()
    }
}

/// The factor on the loss for whoever learns.
pub(super) fn weight(learning: Learning, rates: StepRates) -> f32 {
    match learning {
        Learning::Encoder | Learning::Both => 1.0,
        Learning::Viewmaker => -rates.viewmaker_loss_weight,
    }
}

/// The loss times `weight`, and its gradients where it is finite.
pub(super) fn differentiate(loss: Loss, weight: f32) -> (f32, Option<Gradients<f32, Cpu>>) {
    let (value, tape) = (loss * weight).split_tape();
    let loss = value.array();
    let gradients = || value.put_tape(tape).backward();
    (loss, loss.is_finite().then(gradients))
}

pub(super) fn info(batch: StepBatch<'_>, pass: u32) -> BatchInfo<'_> {
    BatchInfo {
        indices: batch.indices,
        labels: batch.labels,
        sequences: batch.sequences,
        // Every batch has two passes at most; no other pass of the run has this number.
        pass: (2 * batch.step) as u32 + pass,
    }
}

pub(super) fn request(batch: StepBatch<'_>, pass: u32, view: usize) -> NoiseRequest {
    NoiseRequest {
        step: batch.step,
        pass,
        view: view as u32,
        channel: 0,
    }
}

pub(super) fn example_tensor(batch: StepBatch<'_>, view: usize) -> Tensor<Maps, f32, Cpu> {
    let [n, c, h, w] = batch.dims;
    Cpu::default().tensor_from_vec(batch.example(view).to_vec(), (n, c, h, w))
}
