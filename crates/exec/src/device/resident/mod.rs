//! A pass of the contrastive game that stays on a device, from the examples to all gradients.
//!
//! A [`Tower`] takes and gives host memory, because dfdx's tape lives there. Where a streaming loss
//! compares the embeddings of all views, nothing between the examples and the gradients has to be
//! seen by the host: examples are uploaded once, noise is made in its place, views and gradients go
//! from network to network on the device, and two numbers come back. From its second time on, a pass
//! is one captured graph.

use super::game::{Game, Measured, Noise, Play};
use super::{DevicePass, DeviceWeights, Machine};
use crate::holder::Holder;
use crate::{Part, Profiler, Tower, Wanted, layout};
use std::cell::RefMut;
use std::fmt;
use viewmaker_device::{Buffer, Device, DeviceError, Graph, Span};
use viewmaker_net::ValueId;
use viewmaker_ops::contrastive::{OnDevice, Version};
use viewmaker_ops::device::Precision;
use viewmaker_ops::device::distortion::Distortion;
use viewmaker_ops::flatten::device::{Matrices, transpose};
use viewmaker_ops::{Dims, Mode};

/// The networks' passes over one view.
#[derive(Debug)]
struct View {
    made: Option<DevicePass>,
    embedded: DevicePass,
}

/// A pass over a batch that stays on a device, its memory, and its graphs: from the examples through the
/// viewmaker, the encoder and a streaming loss to the gradients of both networks.
pub struct ResidentPass {
    game: Game,
    device: Device,
    dims: Dims,
    /// One array of examples, NCHW.
    staging: Buffer,
    /// Every array of examples, NHWC.
    examples: Vec<Buffer>,
    views: Vec<View>,
    loss: OnDevice,
    distortion: Distortion,
    embeddings: Buffer,
    embedding_grads: Buffer,
    /// Loss and distortion.
    measured: Buffer,
    graphs: Vec<(Play, Option<Graph>)>,
    /// The encoder's.
    profiler: Profiler,
}

/// Both networks' weights, up to date on the device.
struct Weights<'a> {
    encoder: &'a DeviceWeights,
    viewmaker: Option<&'a DeviceWeights>,
}

impl ResidentPass {
    /// Memory for the passes of `game`.
    ///
    /// # Errors
    /// When the device has too little.
    ///
    /// # Panics
    /// When the encoder is not on a device, the loss has constant rows or another number of them, or
    /// there are neither 1 nor as many arrays of examples as views.
    pub fn new(game: Game) -> Result<Self, DeviceError> {
        let Machine::Device(device, precision) = game.encoder.machine() else {
            panic!("{} is not on a device", game.encoder.net().name());
        };
        let (rows, contrast) = (game.contrast.rows(), &game.contrast);
        let count = rows / game.batch;
        assert_eq!(contrast.trained(), rows, "trained rows");
        assert_eq!(count * game.batch, rows, "rows of whole batches");
        assert!(
            game.sources == 1 || game.sources == count,
            "arrays of examples"
        );
        let net = game.encoder.net();
        assert_eq!(
            net.dims(net.output(), 1).len(),
            contrast.dim(),
            "components of a row"
        );
        let dims = net.dims(net.inputs()[0], game.batch);
        let pass = |tower: &Tower| tower.holder().kept_pass(game.batch);
        let view = |_| {
            Ok(View {
                made: game.viewmaker.as_ref().map(pass).transpose()?,
                embedded: pass(&game.encoder)?,
            })
        };
        let version = version(precision, rows, &device);
        let embeddings = rows * contrast.dim();
        Ok(Self {
            dims,
            staging: device.alloc(dims.len())?,
            examples: (0..game.sources)
                .map(|_| device.alloc(dims.len()))
                .collect::<Result<_, _>>()?,
            views: (0..count).map(view).collect::<Result<_, DeviceError>>()?,
            loss: OnDevice::new(contrast.clone(), &device, version)?,
            distortion: Distortion::new(&device, count, dims.len())?,
            embeddings: device.alloc(embeddings)?,
            embedding_grads: device.alloc(embeddings)?,
            measured: device.alloc(2)?,
            graphs: Vec::new(),
            profiler: Profiler::default(),
            device,
            game,
        })
    }

    /// What it was made for.
    pub fn game(&self) -> &Game {
        &self.game
    }

    /// Takes the examples of `source` to the device.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Panics
    /// When there is no such source, or the number of elements is another.
    pub fn set_examples(&mut self, source: usize, nchw: &[f32]) -> Result<(), DeviceError> {
        self.follow_profiler();
        let (to, dims) = (self.examples[source].all(), self.dims);
        self.profiler.time(Part::Layout, || {
            if layout::is_the_same(dims) {
                return self.device.upload(&to, nchw);
            }
            self.device.upload(&self.staging.all(), nchw)?;
            let of = Matrices {
                examples: dims.n,
                rows: dims.c,
                columns: dims.area(),
            };
            transpose(&self.device, of, &self.staging.all(), &to)?;
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

    /// The viewmaker's input for a channel of noise.
    fn noise_input(&self, channel: usize) -> (ValueId, Dims) {
        let Some(tower) = &self.game.viewmaker else {
            panic!("noise without a viewmaker");
        };
        let input = tower.net().inputs()[1 + channel];
        (input, tower.net().dims(input, self.game.batch))
    }

    /// Makes the noise of a view for the next pass; there are as many channels as the viewmaker has
    /// inputs beside the examples, numbered from 0.
    ///
    /// # Errors
    /// When the driver or the kernel fails.
    ///
    /// # Panics
    /// When there is no such view or channel, or given numbers are too many or too few.
    pub fn set_noise(
        &mut self,
        view: usize,
        channel: usize,
        noise: Noise<'_>,
    ) -> Result<(), DeviceError> {
        let (input, dims) = self.noise_input(channel);
        let Some(pass) = &self.views[view].made else {
            unreachable!("there is a viewmaker");
        };
        assert!(layout::is_the_same(dims), "noise of one channel");
        let to = pass.place(input);
        self.profiler.time(Part::Noise, || {
            match noise {
                Noise::Uniform(philox) => philox.fill_uniform_on(&to)?,
                Noise::Given(numbers) => self.device.upload(&to, numbers)?,
            }
            self.settle()
        })
    }

    /// Computes the loss, and adds the gradients of whoever learns to those of its tower. Examples and
    /// noise must have been set; examples stay, noise is gone afterwards.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When the viewmaker is to learn and the encoder's input gradients are not wanted.
    pub fn run(&mut self, play: Play) -> Result<Measured, DeviceError> {
        assert!(
            !play.viewmaker || play.encoder != Wanted::Params,
            "{play:?}"
        );
        self.follow_profiler();
        let (encoder, viewmaker) = (self.game.encoder.clone(), self.game.viewmaker.clone());
        let mut encoder = encoder.holder();
        let mut viewmaker: Option<RefMut<'_, Holder>> = viewmaker.as_ref().map(Tower::holder);
        let viewmaker = viewmaker.as_mut().map(|holder| holder.device_weights());
        let weights = Weights {
            encoder: encoder.device_weights()?,
            viewmaker: viewmaker.transpose()?.map(|weights| &*weights),
        };
        self.execute(&weights, play)?;
        // The running statistics have moved.
        encoder.device_weights()?.device_changed();
        let mut measured = [0.0; 2];
        self.device.download(&self.measured.all(), &mut measured)?;
        let [loss, mean_distortion] = measured;
        Ok(Measured {
            loss,
            mean_distortion,
        })
    }

    /// The embeddings of every view after a pass, `[batch, D]` each.
    ///
    /// # Errors
    /// When the driver or an earlier kernel fails.
    pub fn embeddings(&self) -> Result<Vec<Vec<f32>>, DeviceError> {
        let mut all = vec![0.0; self.embeddings.len()];
        self.device.download(&self.embeddings.all(), &mut all)?;
        let each = self.game.batch * self.game.contrast.dim();
        Ok(all.chunks_exact(each).map(<[f32]>::to_vec).collect())
    }

    /// Asks the encoder for its profiler; no other handle may hold the tower's insides.
    fn follow_profiler(&mut self) {
        self.profiler = self.game.encoder.profiler();
        for View { made, embedded } in &mut self.views {
            for pass in made.iter_mut().chain([embedded]) {
                pass.set_profiler(self.profiler.clone());
            }
        }
    }

    /// The first time launch by launch, so that everything is compiled; then as a graph.
    fn execute(&mut self, weights: &Weights<'_>, play: Play) -> Result<(), DeviceError> {
        if self.profiler.is_on() {
            return self.enqueue(weights, play);
        }
        let Some(index) = self.graphs.iter().position(|(known, _)| *known == play) else {
            self.enqueue(weights, play)?;
            self.graphs.push((play, None));
            return Ok(());
        };
        let graph = match self.graphs[index].1.take() {
            Some(graph) => graph,
            None => {
                let device = self.device.clone();
                device.capture(|| self.enqueue(weights, play))?
            }
        };
        self.graphs[index].1.insert(graph).launch()
    }

    /// All launches of a pass.
    fn enqueue(&mut self, weights: &Weights<'_>, play: Play) -> Result<(), DeviceError> {
        for view in 0..self.views.len() {
            self.embed(weights, view)?;
        }
        let profiler = self.profiler.clone();
        if self.game.viewmaker.is_some() {
            let out = self.measured.span(1..2);
            profiler.time(Part::Distortion, || {
                self.distortion.finish(&out)?;
                self.settle()
            })?;
        }
        profiler.time(Part::Objective, || {
            let (z, loss) = (self.embeddings.all(), self.measured.span(0..1));
            self.loss.forward(&z, &loss)?;
            self.loss
                .backward(play.loss_grad, &self.embedding_grads.all())?;
            self.settle()
        })?;
        // As a tape would: the last view first.
        for view in (0..self.views.len()).rev() {
            self.differentiate(weights, play, view)?;
        }
        Ok(())
    }

    /// From the examples to the embeddings of one view.
    fn embed(&mut self, weights: &Weights<'_>, view: usize) -> Result<(), DeviceError> {
        let device = &self.device;
        let x = self.examples[view % self.examples.len()].all();
        let (input, output) = ends(&self.game.encoder);
        let z = self.rows(&self.embeddings, view);
        let View { made, embedded } = &mut self.views[view];
        let seen = match (made, &self.game.viewmaker, weights.viewmaker) {
            (Some(pass), Some(tower), Some(weights)) => {
                let (input, output) = ends(tower);
                device.copy(&x, &pass.place(input))?;
                pass.compute(weights, Mode::Train)?;
                let seen = pass.place(output);
                self.profiler
                    .time(Part::Distortion, || self.distortion.add(view, &seen, &x))?;
                seen
            }
            _ => x,
        };
        device.copy(&seen, &embedded.place(input))?;
        embedded.compute(weights.encoder, Mode::Train)?;
        device.copy(&embedded.place(output), &z)
    }

    /// From the gradient of one view's embeddings to those of the parameters.
    fn differentiate(
        &mut self,
        weights: &Weights<'_>,
        play: Play,
        view: usize,
    ) -> Result<(), DeviceError> {
        let device = &self.device;
        let (input, output) = ends(&self.game.encoder);
        let z_grad = self.rows(&self.embedding_grads, view);
        let View { made, embedded } = &mut self.views[view];
        device.copy(&z_grad, &embedded.grad_place(output))?;
        embedded.differentiate(weights.encoder, output, play.encoder)?;
        match (made, &self.game.viewmaker, weights.viewmaker) {
            (Some(pass), Some(tower), Some(weights)) if play.viewmaker => {
                let (_, output) = ends(tower);
                device.copy(&embedded.grad_place(input), &pass.grad_place(output))?;
                pass.differentiate(weights, output, Wanted::Params)
            }
            _ => Ok(()),
        }
    }

    /// The rows of one view in a matrix of all embeddings.
    fn rows(&self, all: &Buffer, view: usize) -> Span {
        let each = self.game.batch * self.game.contrast.dim();
        all.span(view * each..(view + 1) * each)
    }

    /// With a profiler, waits: launches return before they are done.
    fn settle(&self) -> Result<(), DeviceError> {
        match self.profiler.is_on() {
            true => self.device.synchronize(),
            false => Ok(()),
        }
    }
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

/// First input and output of a network.
fn ends(tower: &Tower) -> (ValueId, ValueId) {
    (tower.net().inputs()[0], tower.net().output())
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
