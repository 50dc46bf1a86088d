//! Passes that stay on a device from the examples to the gradients.
//!
//! Where the networks run on a device, a streaming loss compares the embeddings of all views, and every
//! view is what the viewmaker makes of an example with the whole budget, or the example itself, a pass
//! needs no tape. Everything else goes over the tape, with the same results.

use super::players::{NoiseRequest, NoiseSource, Views};
use super::step::{Done, Learners, Learning, Perturbation, StepBatch, StepRates};
use super::step::{request, weight};
use viewmaker_device::DeviceError;
use viewmaker_exec::Machine;
use viewmaker_exec::device::{Game, Noise, Play, ResidentPass};
use viewmaker_ops::contrastive::Contrast;

/// The memory of passes that stay on a device, made when the first one does.
#[derive(Debug, Default)]
pub struct Resident(Option<ResidentPass>);

impl Resident {
    /// Whether a pass was computed this way.
    pub fn is_used(&self) -> bool {
        self.0.is_some()
    }

    /// Memory for `game`: that of the last pass, if it was made for the same.
    fn prepare(&mut self, game: Game) -> Result<&mut ResidentPass, DeviceError> {
        let known = self.0.take();
        let pass = match known.filter(|known| known.game().is_same(&game)) {
            Some(pass) => pass,
            // The old memory is free by now.
            None => ResidentPass::new(game)?,
        };
        Ok(self.0.insert(pass))
    }
}

impl Learners<'_> {
    /// What [`Learners::pass`] does, without the tape; `None` where it needs one. A failure of the device
    /// is left with the encoder, and its numbers are none.
    pub(super) fn resident_pass(
        &mut self,
        batch: StepBatch<'_>,
        moment: (u32, Learning),
        rates: StepRates,
        noise: &mut dyn NoiseSource,
    ) -> Option<Done> {
        let contrast = self.resident_loss(batch, rates)?;
        let done = self.play(batch, moment, rates, noise, contrast);
        Some(done.unwrap_or_else(|error| {
            self.players.encoder.fail(error);
            Done {
                loss: f32::NAN,
                embeddings: Vec::new(),
                targets: Vec::new(),
                mean_distortion: f32::NAN,
            }
        }))
    }

    /// The loss, where a pass can stay on the device.
    fn resident_loss(&self, batch: StepBatch<'_>, rates: StepRates) -> Option<Contrast> {
        let players = self.players;
        let on_device = matches!(players.encoder.machine(), Machine::Device(..));
        let whole = !(1..batch.dims[0]).contains(&rates.chunk);
        let views = match players.views {
            Views::Learned(_) => rates.perturbation == Perturbation::FULL,
            Views::Noise(_) => false,
            Views::None => true,
        };
        let branches = self.objective.branches();
        let all_online = branches.online.len() == branches.views();
        match on_device && whole && views && all_online {
            true => self
                .objective
                .contrast(batch.dims[0], players.embedding_dim()),
            false => None,
        }
    }

    fn play(
        &mut self,
        batch: StepBatch<'_>,
        (pass, learning): (u32, Learning),
        rates: StepRates,
        noise: &mut dyn NoiseSource,
        contrast: Contrast,
    ) -> Result<Done, DeviceError> {
        let views = self.objective.branches().views();
        let sources = match batch.examples.len() {
            1 => 1,
            _ => views,
        };
        let viewmaker = self.players.views.tower().cloned();
        let channels = viewmaker
            .as_ref()
            .map(|tower| tower.net().inputs().len() - 1);
        let resident = self.resident.prepare(Game {
            encoder: self.players.encoder.clone(),
            viewmaker,
            contrast,
            batch: batch.dims[0],
            sources,
        })?;
        // The viewmaker's own pass sees the examples of the encoder's.
        if pass == 0 {
            for source in 0..sources {
                resident.set_examples(source, batch.example(source))?;
            }
        }
        for view in 0..views {
            for channel in 0..channels.unwrap_or(0) {
                let request = NoiseRequest {
                    channel: channel as u32,
                    ..request(batch, pass, view)
                };
                set_noise(resident, noise, request)?;
            }
        }
        let weight = weight(learning, rates);
        let measured = resident.run(Play {
            encoder: learning.wanted(),
            viewmaker: learning.traces_views(),
            loss_grad: weight,
        })?;
        Ok(Done {
            loss: weight * measured.loss,
            embeddings: resident.embeddings()?,
            targets: Vec::new(),
            mean_distortion: measured.mean_distortion,
        })
    }
}

/// Makes noise on the device if it can, else takes it there.
fn set_noise(
    resident: &mut ResidentPass,
    source: &mut dyn NoiseSource,
    request: NoiseRequest,
) -> Result<(), DeviceError> {
    let (view, channel) = (request.view as usize, request.channel as usize);
    if let Some(philox) = source.philox(request) {
        return resident.set_noise(view, channel, Noise::Uniform(philox));
    }
    let mut numbers = vec![0.0; resident.noise_len(channel)];
    source.uniform(request, &mut numbers);
    resident.set_noise(view, channel, Noise::Given(&numbers))
}
