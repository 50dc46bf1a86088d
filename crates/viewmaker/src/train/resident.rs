//! Passes that stay on a device from the examples to the gradients.
//!
//! Where the networks run on a device, examples, noise, views and their gradients are there, too, for
//! every objective. A streaming loss of the embeddings is computed where they are; any other is computed
//! here of the embeddings alone (`leaves.rs`). Only a batch in chunks goes over the tape.

use super::learners::Learners;
use super::leaves::Rows;
use super::players::{NoiseRequest, NoiseSource};
use super::step::{Done, Learning, StepBatch, StepRates};
use super::step::{Upcoming, request, weight};
use viewmaker_device::DeviceError;
use viewmaker_exec::device::{Game, Noise, Play, ResidentPass};
use viewmaker_exec::{Part, Profiler};
use viewmaker_objective::ObjectiveError;
use viewmaker_objective::key_queue::KeyQueue;

/// The memory of passes that stay on a device, made when the first one does.
#[derive(Debug, Default)]
pub struct Resident {
    prepared: Option<Prepared>,
    off: bool,
}

/// A pass, and what the device knows of the objective.
#[derive(Debug)]
struct Prepared {
    pass: ResidentPass,
    /// Rows that had been written to the queue when the device last saw it.
    queue_written: u64,
    /// The step whose examples were sent before it began.
    sent: Option<u64>,
}

impl Resident {
    /// No pass stays on a device: all go over the tape, the reference for the others.
    pub fn off() -> Self {
        Self {
            off: true,
            ..Self::default()
        }
    }

    /// Whether a pass was computed this way.
    pub fn is_used(&self) -> bool {
        self.prepared.is_some()
    }

    /// Memory for `game`: that of the last pass, if it was made for the same.
    fn take(&mut self, game: Game) -> Result<Prepared, DeviceError> {
        let known = self.prepared.take();
        match known.filter(|known| known.pass.game().is_same(&game)) {
            Some(known) => Ok(known),
            // The old memory is free by now.
            None => Ok(Prepared {
                pass: ResidentPass::new(game)?,
                queue_written: 0,
                sent: None,
            }),
        }
    }
}

impl Prepared {
    /// Takes examples and noise of pass number `number` over a batch to the device.
    fn set_inputs(
        &mut self,
        batch: StepBatch<'_>,
        number: u32,
        noise: &mut dyn NoiseSource,
    ) -> Result<(), DeviceError> {
        // The viewmaker's own pass sees the examples of the encoder's.
        if number == 0 {
            if self.sent.take() != Some(batch.step) {
                for source in 0..self.pass.game().sources {
                    self.pass.send_examples(source, batch.example(source))?;
                }
            }
            self.pass.take_examples()?;
        }
        let views = self.pass.game().views.as_ref();
        let channels = views.map_or(0, |tower| tower.net().inputs().len() - 1);
        for view in 0..self.pass.game().made() {
            for channel in 0..channels {
                let request = NoiseRequest {
                    channel: channel as u32,
                    ..request(batch, number, view)
                };
                self.set_noise(noise, request)?;
            }
        }
        Ok(())
    }

    /// Sends the examples of the step after `batch`, where they are like its own.
    fn send_ahead(
        &mut self,
        batch: StepBatch<'_>,
        upcoming: &mut dyn Upcoming,
        profiler: &Profiler,
    ) -> Result<(), DeviceError> {
        let Some(next) = profiler.time(Part::Data, || upcoming.examples()) else {
            return Ok(());
        };
        let len = batch.example(0).len();
        let fits = next.len() == self.pass.game().sources;
        if !fits || next.iter().any(|examples| examples.len() != len) {
            return Ok(());
        }
        for (source, examples) in next.into_iter().enumerate() {
            self.pass.send_examples(source, examples)?;
        }
        self.sent = Some(batch.step + 1);
        Ok(())
    }

    /// Makes noise on the device if it can, else takes it there.
    fn set_noise(
        &mut self,
        source: &mut dyn NoiseSource,
        request: NoiseRequest,
    ) -> Result<(), DeviceError> {
        let (view, channel) = (request.view as usize, request.channel as usize);
        if let Some(philox) = source.philox(request) {
            return self.pass.set_noise(view, channel, Noise::Uniform(philox));
        }
        let mut numbers = vec![0.0; self.pass.noise_len(channel)];
        source.uniform(request, &mut numbers);
        self.pass.set_noise(view, channel, Noise::Given(&numbers))
    }

    /// Takes those rows of a queue to the device that are new there.
    fn set_queue(&mut self, queue: &KeyQueue) -> Result<(), DeviceError> {
        // Of another queue than the last one all rows are new.
        let new = queue.written().checked_sub(self.queue_written);
        for rows in queue.newest(new.unwrap_or(u64::MAX)) {
            let elements = rows.start * queue.columns()..rows.end * queue.columns();
            self.pass
                .set_constants(rows.start, &queue.rows()[elements])?;
        }
        self.queue_written = queue.written();
        Ok(())
    }
}

/// Why a pass has no result.
enum Failure {
    /// The device's, which is left with the encoder: its numbers are none.
    Device(DeviceError),
    /// The objective's.
    Objective(ObjectiveError),
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl Learners {
    /// What [`Learners::pass`] does, without the networks on the tape; `None` where they have to be. A
    /// failure of the device is left with the encoder, and its numbers are none.
    ///
    /// # Errors
    /// When the objective refuses the embeddings.
    pub(super) fn resident_pass(
        &mut self,
        batch: StepBatch<'_>,
        moment: (u32, Learning),
        rates: StepRates,
        (noise, upcoming): (&mut dyn NoiseSource, &mut dyn Upcoming),
    ) -> Option<Result<Done, ObjectiveError>> {
        let on_device = self.players.encoder.machine().is_device();
        if !on_device || rates.divides(batch) || self.resident.off {
            return None;
        }
        Some(match self.play(batch, moment, rates, (noise, upcoming)) {
            Ok(done) => Ok(done),
            Err(Failure::Objective(error)) => Err(error),
            Err(Failure::Device(error)) => {
                self.players.encoder.fail(error);
                Ok(Done {
                    loss: f32::NAN,
                    embeddings: Vec::new(),
                    targets: Vec::new(),
                    mean_distortion: f32::NAN,
                })
            }
        })
    }

    fn play(
        &mut self,
        batch: StepBatch<'_>,
        moment: (u32, Learning),
        rates: StepRates,
        (noise, upcoming): (&mut dyn NoiseSource, &mut dyn Upcoming),
    ) -> Result<Done, Failure> {
        let mut prepared = self.resident.take(self.game(batch, rates))?;
        prepared.set_inputs(batch, moment.0, noise)?;
        let strength = rates.perturbation.strength;
        prepared.pass.set_strength(strength)?;
        let done = match prepared.pass.game().contrast.is_some() {
            true => self.compared_there(&mut prepared, (batch, upcoming), moment.1, rates)?,
            false => self.compared_here(&mut prepared, (batch, upcoming), moment, rates)?,
        };
        self.resident.prepared = Some(prepared);
        Ok(done)
    }

    /// A pass whose loss the device computes.
    fn compared_there(
        &self,
        prepared: &mut Prepared,
        (batch, upcoming): (StepBatch<'_>, &mut dyn Upcoming),
        learning: Learning,
        rates: StepRates,
    ) -> Result<Done, DeviceError> {
        if let Some(queue) = self.objective.queue() {
            prepared.set_queue(queue)?;
        }
        let weight = weight(learning, rates);
        prepared.pass.run(play(learning), weight)?;
        prepared.send_ahead(batch, upcoming, &self.profiler())?;
        let seen = prepared.pass.read()?;
        Ok(Done {
            loss: weight * seen.loss,
            embeddings: seen.embeddings,
            targets: seen.targets,
            mean_distortion: seen.mean_distortion,
        })
    }

    /// A pass whose loss is computed here, of the embeddings.
    fn compared_here(
        &mut self,
        prepared: &mut Prepared,
        (batch, upcoming): (StepBatch<'_>, &mut dyn Upcoming),
        moment: (u32, Learning),
        rates: StepRates,
    ) -> Result<Done, Failure> {
        prepared.pass.embed()?;
        let seen = prepared.pass.read()?;
        let rows = Rows {
            embeddings: seen.embeddings,
            targets: seen.targets,
            predictions: Vec::new(),
        };
        let profiler = self.profiler();
        let (loss, gradients) = profiler
            .time(Part::Objective, || {
                self.loss_of(&rows, batch, moment, rates)
            })
            .map_err(Failure::Objective)?;
        if loss.is_finite() {
            prepared.pass.differentiate(&gradients, play(moment.1))?;
            prepared.send_ahead(batch, upcoming, &profiler)?;
        }
        Ok(Done {
            loss,
            embeddings: rows.embeddings,
            targets: rows.targets,
            mean_distortion: seen.mean_distortion,
        })
    }

    /// The networks and shapes of a pass.
    fn game(&self, batch: StepBatch<'_>, rates: StepRates) -> Game {
        let branches = self.objective.branches();
        let views = branches.views();
        let contrast = match branches.predictor {
            // It stands between the embeddings and the loss.
            true => None,
            false => self
                .objective
                .contrast(batch.dims[0], self.players.embedding_dim()),
        };
        Game {
            encoder: self.players.encoder.clone(),
            momentum_encoder: self.companions.momentum_encoder().cloned(),
            views: self.players.views.tower().cloned(),
            perturbed: rates.perturbation.count(views),
            online: branches.online.to_vec(),
            target: branches.target.to_vec(),
            contrast,
            batch: batch.dims[0],
            sources: match batch.examples.len() {
                1 => 1,
                _ => views,
            },
        }
    }
}

/// Who learns, as the device knows it.
fn play(learning: Learning) -> Play {
    Play {
        encoder: learning.wanted(),
        views: learning.traces_views(),
    }
}
