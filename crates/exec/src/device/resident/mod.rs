//! A pass of the contrastive game that stays on a device, from the examples to all gradients.
//!
//! A [`Tower`] takes and gives host memory, because dfdx's tape lives there. Between examples and
//! embeddings, and between their gradients, nothing has to be seen by the host: examples are uploaded
//! once, noise is made in its place, views and gradients go from network to network on the device. Where
//! a streaming loss compares the embeddings, it is computed there, too, and a pass is one stretch of
//! launches; any other loss is the host's, and a pass is two stretches with the embeddings and their
//! gradients in between. From its second time on, a stretch is one captured graph.

mod launches;

use super::game::{Game, Noise, Play, Seen};
use super::{DevicePass, Machine};
use crate::{Part, Profiler, Tower, layout};
use launches::Stretch;
use std::fmt;
use viewmaker_device::{Buffer, Device, DeviceError, Graph, Span};
use viewmaker_net::{Purpose, ValueId};
use viewmaker_ops::Dims;
use viewmaker_ops::contrastive::{OnDevice, Version};
use viewmaker_ops::device::Precision;
use viewmaker_ops::device::distortion::Distortion;
use viewmaker_ops::device::strength::Strength;
use viewmaker_ops::flatten::device::{Matrices, transpose};

/// Words before the rows of embeddings, so that these are aligned: the loss, the distortion, and nothing.
const HEAD: usize = 16;

/// The networks' passes over one view.
#[derive(Debug)]
struct View {
    made: Option<DevicePass>,
    embedded: Option<DevicePass>,
}

/// A pass over a batch that stays on a device, its memory, and its graphs: from the examples through the
/// networks and the loss to the gradients of those who learn.
pub struct ResidentPass {
    game: Game,
    device: Device,
    /// Of one array of examples.
    dims: Dims,
    /// Components of an embedding.
    dim: usize,
    /// Room for one array of examples, whatever is in it.
    spare: Buffer,
    /// Every array of examples as it was sent, NCHW: of the next pass, while this one runs.
    sent: Vec<Buffer>,
    /// Every array of examples, NHWC.
    examples: Vec<Buffer>,
    views: Vec<View>,
    /// The momentum encoder's, for one view after the other.
    target: Option<DevicePass>,
    loss: Option<OnDevice>,
    distortion: Distortion,
    strength: Strength,
    /// Whether less than the whole of every perturbation is applied.
    blended: bool,
    /// [`HEAD`], the rows of online and target views, and the loss's constants.
    results: Buffer,
    row_grads: Buffer,
    graphs: Vec<((Stretch, bool), Option<Graph>)>,
    /// The encoder's.
    profiler: Profiler,
}

impl ResidentPass {
    /// Memory for the passes of `game`, in which all of every perturbation is applied.
    ///
    /// # Errors
    /// When the device has too little.
    ///
    /// # Panics
    /// When the encoder is not on a device, there are target views and no momentum encoder, the loss
    /// trains other rows than those of the online views, or there are neither 1 nor as many arrays of
    /// examples as views.
    pub fn new(game: Game) -> Result<Self, DeviceError> {
        let Machine::Device(device, precision) = game.encoder.machine() else {
            panic!("{} is not on a device", game.encoder.net().name());
        };
        let count = game.view_count();
        assert!(
            game.sources == 1 || game.sources == count,
            "arrays of examples"
        );
        let net = game.encoder.net();
        let (dims, dim) = (
            net.dims(net.inputs()[0], game.batch),
            net.dims(net.output(), 1).len(),
        );
        let (trained, seen) = (game.online.len(), game.online.len() + game.target.len());
        let rows = match &game.contrast {
            None => seen * game.batch,
            Some(contrast) => {
                assert_eq!(contrast.trained(), trained * game.batch, "trained rows");
                assert_eq!(contrast.dim(), dim, "components of a row");
                assert!(contrast.rows() >= seen * game.batch, "rows");
                contrast.rows()
            }
        };
        let loss = game.contrast.clone().map(|contrast| {
            let version = version(precision, contrast.rows(), &device);
            OnDevice::new(contrast, &device, version)
        });
        let arrays = || {
            let arrays = (0..game.sources).map(|_| device.alloc(dims.len()));
            arrays.collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            spare: device.alloc(dims.len())?,
            sent: arrays()?,
            examples: arrays()?,
            views: (0..count)
                .map(|view| View::new(&game, view))
                .collect::<Result<_, _>>()?,
            target: match game.target.is_empty() {
                true => None,
                false => Some(target_pass(&game)?),
            },
            loss: loss.transpose()?,
            distortion: Distortion::new(&device, game.made(), dims.len())?,
            strength: Strength::new(&device)?,
            blended: false,
            results: device.alloc(HEAD + rows * dim)?,
            row_grads: device.alloc(trained * game.batch * dim)?,
            graphs: Vec::new(),
            profiler: Profiler::default(),
            dims,
            dim,
            device,
            game,
        })
    }

    /// What it was made for.
    pub fn game(&self) -> &Game {
        &self.game
    }

    /// Sends the examples of `source` to the device, also while a pass runs;
    /// [`ResidentPass::take_examples`] uses them.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When there is no such source, or the number of elements is another.
    pub fn send_examples(&mut self, source: usize, nchw: &[f32]) -> Result<(), DeviceError> {
        self.follow_profiler();
        let to = self.sent[source].all();
        self.profiler.time(Part::Layout, || {
            self.device.upload(&to, nchw)?;
            self.settle()
        })
    }

    /// What was sent last for every source becomes the examples, until it is called again.
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    pub fn take_examples(&mut self) -> Result<(), DeviceError> {
        self.follow_profiler();
        self.profiler.time(Part::Layout, || {
            for (sent, to) in self.sent.iter().zip(&self.examples) {
                self.reorder(self.dims, &sent.all(), &to.all())?;
            }
            self.settle()
        })
    }

    /// Elements of a channel of noise for all examples.
    ///
    /// # Panics
    /// When there is no such channel.
    pub fn noise_len(&self, channel: usize) -> usize {
        self.noise_input(channel).1.len()
    }

    /// The input that a channel of noise is for.
    fn noise_input(&self, channel: usize) -> (ValueId, Dims) {
        let Some(tower) = &self.game.views else {
            panic!("noise without a network that makes views of it");
        };
        let input = tower.net().inputs()[1 + channel];
        (input, tower.net().dims(input, self.game.batch))
    }

    /// Makes the noise of a view for the next pass; there are as many channels as the network has
    /// inputs beside the examples, numbered from 0.
    ///
    /// # Errors
    /// When the driver or the kernel fails.
    ///
    /// # Panics
    /// When no such view is made, there is no such channel, or given numbers are too many or too few.
    pub fn set_noise(
        &mut self,
        view: usize,
        channel: usize,
        noise: Noise<'_>,
    ) -> Result<(), DeviceError> {
        let (input, dims) = self.noise_input(channel);
        let Some(pass) = &self.views[view].made else {
            panic!("noise for view {view}, which is the example");
        };
        let place = pass.place(input);
        let same = layout::is_the_same(dims);
        self.profiler.time(Part::Noise, || {
            let to = match same {
                true => place.clone(),
                false => self.spare.span(0..dims.len()),
            };
            match noise {
                Noise::Uniform(philox) => philox.fill_uniform_on(&to)?,
                Noise::Given(numbers) => self.device.upload(&to, numbers)?,
            }
            if !same {
                self.reorder(dims, &to, &place)?;
            }
            self.settle()
        })
    }

    /// From NCHW to NHWC.
    fn reorder(&self, dims: Dims, from: &Span, to: &Span) -> Result<(), DeviceError> {
        if layout::is_the_same(dims) {
            return self.device.copy(from, to);
        }
        let of = Matrices {
            examples: dims.n,
            rows: dims.c,
            columns: dims.area(),
        };
        transpose(&self.device, of, from, to)
    }

    /// From now on every view is `strength` times what was made plus the rest of the example; 1 is all
    /// of it.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn set_strength(&mut self, strength: f32) -> Result<(), DeviceError> {
        self.blended = strength != 1.0;
        match self.blended {
            true => self.strength.set(strength),
            false => Ok(()),
        }
    }

    /// Takes constants of the loss to the device: its rows from number `first` behind those of the views.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn set_constants(&mut self, first: usize, rows: &[f32]) -> Result<(), DeviceError> {
        let start = self.seen().end + first * self.dim;
        let place = self.results.span(start..start + rows.len());
        self.device.upload(&place, rows)
    }

    /// Computes embeddings and loss, and adds the gradients of whoever learns, times `loss_grad`, to those
    /// of its tower; returns before that is done. Examples and noise must have been set; examples stay,
    /// noise is gone afterwards.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When the game has no loss for the device, or the views are to learn and the encoder's input gradients
    /// are not wanted.
    pub fn run(&mut self, play: Play, loss_grad: f32) -> Result<(), DeviceError> {
        assert!(self.loss.is_some(), "{self:?} has no loss");
        self.launch(Stretch::Whole(play, loss_grad.to_bits()))
    }

    /// Computes the embeddings alone; [`ResidentPass::differentiate`] does the rest. Examples and noise must
    /// have been set. Returns before it is done.
    ///
    /// # Errors
    /// When the device fails.
    pub fn embed(&mut self) -> Result<(), DeviceError> {
        self.launch(Stretch::Embed)
    }

    /// Adds the gradients of whoever learns to those of its tower, from the gradients with respect to what
    /// [`ResidentPass::embed`] gave for the online views, `[batch, D]` each; returns before that is done.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When the gradients have another shape, or the views are to learn and the encoder's input gradients
    /// are not wanted.
    pub fn differentiate(&mut self, grads: &[Vec<f32>], play: Play) -> Result<(), DeviceError> {
        self.device.upload(&self.row_grads.all(), &grads.concat())?;
        self.launch(Stretch::Differentiate(play))
    }

    /// Where the results are that the host reads.
    fn seen(&self) -> std::ops::Range<usize> {
        let views = self.game.online.len() + self.game.target.len();
        0..HEAD + views * self.game.batch * self.dim
    }

    /// What came of the last [`ResidentPass::run`] or [`ResidentPass::embed`]; waits for it.
    ///
    /// # Errors
    /// When the driver or an earlier kernel fails.
    pub fn read(&self) -> Result<Seen, DeviceError> {
        let seen = self.seen();
        let mut all = vec![0.0; seen.len()];
        self.device.download(&self.results.span(seen), &mut all)?;
        let (head, rows) = all.split_at(HEAD);
        let views = rows.chunks_exact(self.game.batch * self.dim);
        let mut embeddings: Vec<_> = views.map(<[f32]>::to_vec).collect();
        let targets = embeddings.split_off(self.game.online.len());
        Ok(Seen {
            loss: head[0],
            mean_distortion: head[1],
            embeddings,
            targets,
        })
    }

    /// Asks the encoder for its profiler; no other handle may hold the tower's insides.
    fn follow_profiler(&mut self) {
        self.profiler = self.game.encoder.profiler();
        let views = self.views.iter_mut();
        let passes = views.flat_map(|view| view.made.iter_mut().chain(&mut view.embedded));
        for pass in passes.chain(&mut self.target) {
            pass.set_profiler(self.profiler.clone());
        }
    }

    /// With a profiler, waits: launches return before they are done.
    fn settle(&self) -> Result<(), DeviceError> {
        match self.profiler.is_on() {
            true => self.device.synchronize(),
            false => Ok(()),
        }
    }
}

impl View {
    /// The passes over view number `view`; what nobody learns from keeps no activations.
    fn new(game: &Game, view: usize) -> Result<Self, DeviceError> {
        let online = game.online.contains(&view);
        let made = game.views.as_ref().filter(|_| view < game.made());
        let made = made.map(|tower| {
            let learns = online && tower.net().param_len() > 0;
            let purpose = match learns {
                true => Purpose::Training,
                false => Purpose::Inference,
            };
            tower.holder().kept_pass(game.batch, purpose)
        });
        let embed = |tower: &Tower| tower.holder().kept_pass(game.batch, Purpose::Training);
        Ok(Self {
            made: made.transpose()?,
            embedded: online.then(|| embed(&game.encoder)).transpose()?,
        })
    }
}

fn target_pass(game: &Game) -> Result<DevicePass, DeviceError> {
    let Some(tower) = &game.momentum_encoder else {
        panic!("target views without a momentum encoder");
    };
    tower.holder().kept_pass(game.batch, Purpose::Inference)
}

impl fmt::Debug for ResidentPass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let views = self.views.len();
        write!(
            f,
            "ResidentPass({views} views of {} on {:?})",
            self.dims, self.device
        )
    }
}

/// The kernels of the loss. Products of bfloat16 pay where the products are many; the loss of a small
/// batch costs next to nothing in single precision, which is more exact.
fn version(precision: Precision, rows: usize, device: &Device) -> Version {
    const MANY_ROWS: usize = 4096;
    let tensor_cores = precision == Precision::Bf16 && rows >= MANY_ROWS;
    match tensor_cores && Version::V3.runs_on(device) {
        true => Version::V3,
        false => Version::V2,
    }
}
