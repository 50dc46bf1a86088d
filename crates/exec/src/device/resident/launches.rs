//! What a pass launches, directly or as a graph.

use super::{ResidentPass, View};
use crate::device::DeviceWeights;
use crate::device::game::Play;
use crate::{Part, Tower, Wanted};
use viewmaker_device::{DeviceError, Span};
use viewmaker_net::ValueId;
use viewmaker_ops::Mode;

/// Launches that follow each other without the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// From the examples to the embeddings.
    Embed,
    /// From the gradients of the embeddings to those of the parameters.
    Differentiate(Play),
    /// Both, with the loss in between; the bits of the factor on all gradients.
    Whole(Play, u32),
}

impl Stretch {
    const fn embeds(self) -> bool {
        matches!(self, Self::Embed | Self::Whole(..))
    }

    const fn play(self) -> Option<Play> {
        match self {
            Self::Embed => None,
            Self::Differentiate(play) | Self::Whole(play, _) => Some(play),
        }
    }
}

/// The weights of all networks, up to date on the device.
struct Weights<'a> {
    encoder: &'a DeviceWeights,
    momentum_encoder: Option<&'a DeviceWeights>,
    views: Option<&'a DeviceWeights>,
}

impl ResidentPass {
    /// Launches a stretch; the running statistics of who embeds move.
    pub(super) fn launch(&mut self, stretch: Stretch) -> Result<(), DeviceError> {
        if let Some(play) = stretch.play() {
            assert!(!play.views || play.encoder != Wanted::Params, "{play:?}");
        }
        self.follow_profiler();
        let encoder = self.game.encoder.clone();
        let (follower, views) = (self.game.momentum_encoder.clone(), self.game.views.clone());
        let mut encoder = encoder.holder();
        let mut follower = follower.as_ref().map(Tower::holder);
        let mut views = views.as_ref().map(Tower::holder);
        let (encoder, mut follower, views) = (
            encoder.device_weights()?,
            follower.as_mut().map(|h| h.device_weights()).transpose()?,
            views.as_mut().map(|h| h.device_weights()).transpose()?,
        );
        let weights = Weights {
            encoder,
            momentum_encoder: follower.as_deref(),
            views: views.as_deref(),
        };
        self.execute(&weights, stretch)?;
        if stretch.embeds() {
            encoder.device_changed();
            if let Some(follower) = &mut follower {
                follower.device_changed();
            }
        }
        Ok(())
    }

    /// The first time launch by launch, so that everything is compiled; then as a graph.
    fn execute(&mut self, weights: &Weights<'_>, stretch: Stretch) -> Result<(), DeviceError> {
        if self.profiler.is_on() {
            return self.enqueue(weights, stretch);
        }
        let key = (stretch, self.blended);
        let Some(index) = self.graphs.iter().position(|(known, _)| *known == key) else {
            self.enqueue(weights, stretch)?;
            self.graphs.push((key, None));
            return Ok(());
        };
        let graph = match self.graphs[index].1.take() {
            Some(graph) => graph,
            None => {
                let device = self.device.clone();
                device.capture(|| self.enqueue(weights, stretch))?
            }
        };
        self.graphs[index].1.insert(graph).launch()
    }

    fn enqueue(&mut self, weights: &Weights<'_>, stretch: Stretch) -> Result<(), DeviceError> {
        if stretch.embeds() {
            self.embed_views(weights)?;
        }
        if let Stretch::Whole(_, loss_grad) = stretch {
            self.compare(f32::from_bits(loss_grad))?;
        }
        if let Some(play) = stretch.play() {
            // As a tape would: the last view first.
            for slot in (0..self.game.online.len()).rev() {
                self.differentiate_view(weights, play, slot)?;
            }
        }
        Ok(())
    }

    /// From the examples to the embeddings of all views, and the mean distortion.
    fn embed_views(&mut self, weights: &Weights<'_>) -> Result<(), DeviceError> {
        for view in 0..self.views.len() {
            self.embed_view(weights, view)?;
        }
        if self.game.made() == 0 {
            return Ok(());
        }
        let out = self.results.span(1..2);
        let profiler = self.profiler.clone();
        profiler.time(Part::Distortion, || {
            self.distortion.finish(&out)?;
            self.settle()
        })
    }

    /// The loss, and its gradient with respect to the embeddings.
    fn compare(&self, loss_grad: f32) -> Result<(), DeviceError> {
        let Some(of) = &self.loss else {
            unreachable!("asked before");
        };
        let (z, loss) = (
            self.results.span(super::HEAD..self.results.len()),
            self.results.span(0..1),
        );
        self.profiler.time(Part::Objective, || {
            of.forward(&z, &loss)?;
            of.backward(loss_grad, &self.row_grads.all())?;
            self.settle()
        })
    }

    /// From the examples to the embeddings of one view, by whichever encoders embed it.
    fn embed_view(&mut self, weights: &Weights<'_>, view: usize) -> Result<(), DeviceError> {
        let seen = self.make_view(weights, view)?;
        let slot = |of: &[usize]| of.iter().position(|number| *number == view);
        if let (Some(pass), Some(slot)) = (&mut self.views[view].embedded, slot(&self.game.online))
        {
            let (input, output) = ends(&self.game.encoder);
            self.device.copy(&seen, &pass.place(input))?;
            pass.compute(weights.encoder, Mode::Train)?;
            let z = pass.place(output);
            self.device.copy(&z, &self.rows(slot))?;
        }
        let follower = self.game.momentum_encoder.as_ref();
        if let (Some(tower), Some(weights), Some(pass), Some(slot)) = (
            follower,
            weights.momentum_encoder,
            &mut self.target,
            slot(&self.game.target),
        ) {
            let (input, output) = ends(tower);
            self.device.copy(&seen, &pass.place(input))?;
            pass.compute(weights, Mode::Train)?;
            let z = pass.place(output);
            self.device
                .copy(&z, &self.rows(self.game.online.len() + slot))?;
        }
        Ok(())
    }

    /// What is seen of the examples in one view, until the next one is made.
    fn make_view(&mut self, weights: &Weights<'_>, view: usize) -> Result<Span, DeviceError> {
        let x = self.examples[view % self.examples.len()].all();
        let (Some(pass), Some(tower), Some(weights)) =
            (&mut self.views[view].made, &self.game.views, weights.views)
        else {
            return Ok(x);
        };
        let (input, output) = ends(tower);
        self.device.copy(&x, &pass.place(input))?;
        pass.compute(weights, Mode::Train)?;
        let mut seen = pass.place(output);
        if self.blended {
            let blend = self.spare.all();
            self.strength.blend(&seen, &x, &blend)?;
            seen = blend;
        }
        self.profiler.time(Part::Distortion, || {
            self.distortion.add(view, &seen, &x)?;
            self.settle()
        })?;
        Ok(seen)
    }

    /// From the gradient of one online view's embeddings to those of the parameters.
    fn differentiate_view(
        &mut self,
        weights: &Weights<'_>,
        play: Play,
        slot: usize,
    ) -> Result<(), DeviceError> {
        let (input, output) = ends(&self.game.encoder);
        let each = self.game.batch * self.dim;
        let z_grad = self.row_grads.span(slot * each..(slot + 1) * each);
        let View { made, embedded } = &mut self.views[self.game.online[slot]];
        let made = made.as_mut().filter(|_| play.views);
        // Nobody asks for the gradient of an example.
        let wanted = match (play.encoder, &made) {
            (Wanted::Inputs, None) => return Ok(()),
            (Wanted::Both, None) => Wanted::Params,
            (wanted, _) => wanted,
        };
        let Some(embedded) = embedded else {
            unreachable!("an online view");
        };
        self.device.copy(&z_grad, &embedded.grad_place(output))?;
        embedded.differentiate(weights.encoder, output, wanted)?;
        let (Some(made), Some(tower), Some(weights)) = (made, &self.game.views, weights.views)
        else {
            return Ok(());
        };
        let grad = embedded.grad_place(input);
        let (_, output) = ends(tower);
        match self.blended {
            true => self.strength.weaken(&grad, &made.grad_place(output))?,
            false => self.device.copy(&grad, &made.grad_place(output))?,
        }
        made.differentiate(weights, output, Wanted::Params)
    }

    /// The rows of one view among online and then target views.
    fn rows(&self, slot: usize) -> Span {
        let each = self.game.batch * self.dim;
        let start = super::HEAD + slot * each;
        self.results.span(start..start + each)
    }
}

/// First input and output of a network.
fn ends(tower: &Tower) -> (ValueId, ValueId) {
    (tower.net().inputs()[0], tower.net().output())
}
