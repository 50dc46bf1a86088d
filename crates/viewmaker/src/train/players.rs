//! The two players: an encoder, and whatever makes its views.

use dfdx::prelude::{Cpu, NoneTape, Tape, Tensor};
use viewmaker_device::DeviceError;
use viewmaker_exec::{Call, Maps, Part, Profiler, Tower, Vectors, Wanted};
use viewmaker_net::{Purpose, ValueId};
use viewmaker_ops::{Mode, random::Philox};

/// A batch of examples on the tape.
pub type Examples<T> = Tensor<Maps, f32, Cpu, T>;

/// A batch of embeddings on the tape.
pub type Embeddings<T> = Tensor<Vectors, f32, Cpu, T>;

/// Which random numbers a view needs: its moment, its number, and the channel of noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseRequest {
    /// Training step, from 0.
    pub step: u64,
    /// 0 for the encoder's pass over a batch, 1 for the viewmaker's.
    pub pass: u32,
    /// Number of the view, from 0.
    pub view: u32,
    /// 0 for the noise beside the input, i for the noise before residual block i.
    pub channel: u32,
}

/// Where the noise of the views comes from: the run's generator, or recorded numbers in tests.
pub trait NoiseSource {
    /// Fills `out` with uniform numbers in `[0, 1)`.
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]);

    /// Fills `out` with those from number `first` on of the `of` numbers that [`NoiseSource::uniform`]
    /// gives: without them all, where a source can.
    fn uniform_part(
        &mut self,
        request: NoiseRequest,
        (first, of): (usize, usize),
        out: &mut [f32],
    ) {
        let mut all = vec![0.0; of];
        self.uniform(request, &mut all);
        out.copy_from_slice(&all[first..][..out.len()]);
    }

    /// The generator of just these numbers, for devices that make them where they need them; `None`
    /// where they do not come from one.
    fn philox(&self, _request: NoiseRequest) -> Option<Philox> {
        None
    }
}

/// The noise of a training run: a pure function of seed and request.
#[derive(Clone, Copy, Debug)]
pub struct SeededNoise {
    /// Seed of the run.
    pub seed: u64,
}

/// Streams below this one belong to initialisation and data.
const FIRST_NOISE_STREAM: u32 = 0x100;

impl NoiseSource for SeededNoise {
    fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
        self.generator(request).fill_uniform(out);
    }

    fn uniform_part(&mut self, request: NoiseRequest, (first, _): (usize, usize), out: &mut [f32]) {
        self.generator(request).fill_uniform_from(first as u64, out);
    }

    fn philox(&self, request: NoiseRequest) -> Option<Philox> {
        Some(self.generator(request))
    }
}

impl SeededNoise {
    fn generator(&self, request: NoiseRequest) -> Philox {
        let NoiseRequest {
            step,
            pass,
            view,
            channel,
        } = request;
        // Eight views share the low bits of a stream; the further ones begin far from these.
        let place = (channel * 8 + view % 8) * 2 + pass;
        let stream = FIRST_NOISE_STREAM + ((view / 8) << 16) + place;
        Philox::new(self.seed, stream, step as u32)
    }
}

/// What turns an example into views.
#[derive(Clone, Debug)]
pub enum Views {
    /// A trained viewmaker.
    Learned(Tower),
    /// Random noise of the same budget.
    Noise(Tower),
    /// The example itself.
    None,
}

impl Views {
    /// The network behind the views, if there is one.
    pub fn tower(&self) -> Option<&Tower> {
        match self {
            Self::Learned(tower) | Self::Noise(tower) => Some(tower),
            Self::None => None,
        }
    }

    /// One view of every example. The tape of `x` decides whether the viewmaker can learn from
    /// it.
    pub fn apply<T: Tape<f32, Cpu>>(
        &self,
        x: Examples<T>,
        noise: &mut dyn NoiseSource,
        request: NoiseRequest,
    ) -> Examples<T> {
        let Some(tower) = self.tower() else {
            return x;
        };
        let extra = Self::noise(tower, x.shape_n(), noise, request);
        let call = Call {
            output: tower.net().output(),
            extra: &extra,
            mode: Mode::Train,
            wanted: Wanted::Params,
        };
        tower.maps(x, call)
    }

    /// One view of every example of a batch given as NCHW data.
    pub fn apply_slice(
        &self,
        x: &[f32],
        batch: usize,
        noise: &mut dyn NoiseSource,
        request: NoiseRequest,
    ) -> Vec<f32> {
        let Some(tower) = self.tower() else {
            return x.to_vec();
        };
        let extra = Self::noise(tower, batch, noise, request);
        let call = Call {
            output: tower.net().output(),
            extra: &extra,
            mode: Mode::Train,
            wanted: Wanted::Params,
        };
        let mut pass = tower.forward(x, batch, Purpose::Inference, call);
        let view = pass.value(call.output).to_vec();
        tower.recycle(pass);
        view
    }

    /// The extra inputs of the view network.
    fn noise(
        tower: &Tower,
        batch: usize,
        source: &mut dyn NoiseSource,
        request: NoiseRequest,
    ) -> Vec<Vec<f32>> {
        let net = tower.net();
        let inputs = net.inputs()[1..].iter().enumerate();
        let channel = |(index, &value): (usize, &ValueId)| {
            let mut out = vec![0.0; net.dims(value, batch).len()];
            let channel = request.channel + index as u32;
            source.uniform(NoiseRequest { channel, ..request }, &mut out);
            out
        };
        let profiler = tower.profiler();
        profiler.time(Part::Noise, || inputs.map(channel).collect())
    }
}

/// Batch size of a tensor.
trait BatchSize {
    fn shape_n(&self) -> usize;
}

impl<T> BatchSize for Examples<T> {
    fn shape_n(&self) -> usize {
        use dfdx::prelude::HasShape;
        self.shape().0
    }
}

/// Encoder and views together.
#[derive(Clone, Debug)]
pub struct Players {
    /// The network whose representation is wanted.
    pub encoder: Tower,
    /// What makes its views.
    pub views: Views,
}

impl Players {
    /// From now on `profiler` measures both networks.
    pub fn set_profiler(&self, profiler: &Profiler) {
        for tower in self.views.tower().into_iter().chain([&self.encoder]) {
            tower.set_profiler(profiler.clone());
        }
    }

    /// What a device has failed to do for one of them; see [`Tower::check`].
    ///
    /// # Errors
    /// The first failure since the last call.
    pub fn check(&self) -> Result<(), DeviceError> {
        let views = self.views.tower();
        views.map_or(Ok(()), Tower::check)?;
        self.encoder.check()
    }

    /// Length of an embedding.
    pub fn embedding_dim(&self) -> usize {
        let net = self.encoder.net();
        net.dims(net.output(), 1).c
    }

    /// Embeds views; `wanted` says what the backward pass produces.
    pub fn embed<T: Tape<f32, Cpu>>(&self, view: Examples<T>, wanted: Wanted) -> Embeddings<T> {
        let call = Call {
            output: self.encoder.net().output(),
            extra: &[],
            mode: Mode::Train,
            wanted,
        };
        self.encoder.vectors(view, call)
    }

    /// Runs the encoder in evaluation mode on NCHW data and reads one of its values.
    pub fn encode(&self, x: &[f32], batch: usize, output: ValueId) -> Vec<f32> {
        let call = Call {
            output,
            extra: &[],
            mode: Mode::Eval,
            wanted: Wanted::Params,
        };
        let mut pass = self.encoder.forward(x, batch, Purpose::Inference, call);
        let values = pass.value(output).to_vec();
        self.encoder.recycle(pass);
        values
    }
}

/// Views of examples without a tape, as the encoder's own pass uses them.
pub(super) type Fixed = Examples<NoneTape>;

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws everything, as a source does that knows no better.
    struct Whole(SeededNoise);

    impl NoiseSource for Whole {
        fn uniform(&mut self, request: NoiseRequest, out: &mut [f32]) {
            self.0.uniform(request, out);
        }
    }

    #[test]
    fn a_part_of_the_noise_is_that_of_the_whole_batch() {
        let request = NoiseRequest {
            step: 9,
            pass: 1,
            view: 3,
            channel: 2,
        };
        let mut seeded = SeededNoise { seed: 5 };
        let (examples, example) = (6, 1_365);
        for first in 0..examples {
            for len in 1..=examples - first {
                let part = (first * example, examples * example);
                let mut out = [vec![0.0; len * example], vec![1.0; len * example]];
                seeded.uniform_part(request, part, &mut out[0]);
                Whole(seeded).uniform_part(request, part, &mut out[1]);
                assert!(out[0] == out[1], "{first}, {len}");
            }
        }
    }
}
