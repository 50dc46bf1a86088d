//! The networks that some objectives want beside the encoder: a momentum encoder that follows it,
//! a predictor that follows from it, and a tower for texts. Which of them there are, the objective's
//! [`Branches`] say.

use super::players::{Embeddings, Fixed};
use super::text::TextBranch;
use dfdx::prelude::{Cpu, HasShape, PutTape, ReshapeTo, SplitTape, Tape};
use std::collections::BTreeMap;
use viewmaker_device::DeviceError;
use viewmaker_exec::optim::Optimizer;
use viewmaker_exec::{Call, Profiler, Tensor, Tower, Wanted, Weights};
use viewmaker_net::Net;
use viewmaker_objective::Branches;
use viewmaker_ops::Mode;

/// Files of a checkpoint.
const MOMENTUM_ENCODER: &str = "momentum_encoder";
const PREDICTOR: &str = "predictor";
const PREDICTOR_OPTIMIZER: &str = "predictor_optimizer";

/// Stream of the generator that fills the predictor's weights.
const PREDICTOR_STREAM: u32 = 3;

/// Tensors by file and name, as a checkpoint has them.
pub(super) type Files = BTreeMap<String, BTreeMap<String, Tensor>>;

/// A predictor and what trains it.
#[derive(Debug)]
pub struct Predictor {
    tower: Tower,
    optimizer: Box<dyn Optimizer>,
}

/// The networks beside the encoder.
#[derive(Debug, Default)]
pub struct Companions {
    predictor: Option<Predictor>,
    momentum_encoder: Option<Tower>,
    text: Option<TextBranch>,
}

impl Companions {
    /// What `branches` ask for: a momentum encoder that starts equal to `encoder`, and `predictor` with
    /// fresh weights drawn from `seed`, trained by what `optimizer` makes for it; both where the encoder
    /// is.
    ///
    /// # Errors
    /// When a device has too little memory.
    pub fn new(
        branches: &Branches,
        encoder: &Tower,
        predictor: Net,
        optimizer: impl FnOnce(&Net) -> Box<dyn Optimizer>,
        seed: u64,
    ) -> Result<Self, DeviceError> {
        let machine = encoder.machine();
        let fresh = |net: Net| -> Result<Predictor, DeviceError> {
            Ok(Predictor {
                optimizer: optimizer(&net),
                tower: Tower::on(Weights::init(net.into(), seed, PREDICTOR_STREAM), &machine)?,
            })
        };
        let copy = || Tower::on(encoder.weights().clone(), &machine);
        Ok(Self {
            predictor: branches.predictor.then(|| fresh(predictor)).transpose()?,
            momentum_encoder: branches.momentum_encoder().then(copy).transpose()?,
            text: None,
        })
    }

    /// Adds what embeds texts.
    pub fn with_text(mut self, text: TextBranch) -> Self {
        self.text = Some(text);
        self
    }

    /// What embeds texts, if there is something.
    pub fn text(&self) -> Option<&TextBranch> {
        self.text.as_ref()
    }

    /// The momentum encoder, if there is one.
    pub fn momentum_encoder(&self) -> Option<&Tower> {
        self.momentum_encoder.as_ref()
    }

    /// The predictor, if there is one.
    pub fn predictor(&self) -> Option<&Tower> {
        self.predictor.as_ref().map(|predictor| &predictor.tower)
    }

    /// From now on `profiler` measures these networks.
    pub fn set_profiler(&self, profiler: &Profiler) {
        for tower in [self.predictor(), self.momentum_encoder()]
            .into_iter()
            .flatten()
        {
            tower.set_profiler(profiler.clone());
        }
        if let Some(text) = &self.text {
            text.set_profiler(profiler);
        }
    }

    /// Embeds a view with the momentum encoder, which normalises it by the statistics of its batch and
    /// moves its own running statistics; `None` without a momentum encoder.
    pub(super) fn target(&self, view: &Fixed) -> Option<Embeddings<dfdx::prelude::NoneTape>> {
        let tower = self.momentum_encoder.as_ref()?;
        Some(tower.vectors(view.clone(), call(tower, Wanted::Params)))
    }

    /// Predicts from embeddings; the embeddings come back without their tape, which goes on into the
    /// prediction. `None` without a predictor.
    pub(super) fn predict<T: Tape<f32, Cpu>>(
        &self,
        z: Embeddings<T>,
        wanted: Wanted,
    ) -> (Embeddings<T>, Option<Embeddings<T>>) {
        let Some(Predictor { tower, .. }) = &self.predictor else {
            return (z, None);
        };
        // The predictor always has to pass a gradient on to the encoder.
        let wanted = match wanted {
            Wanted::Params => Wanted::Both,
            other => other,
        };
        let (n, dim) = *z.shape();
        let (z, tape) = z.split_tape();
        let maps = z.clone().put_tape(tape).reshape_like(&(n, dim, 1, 1));
        let prediction = tower.vectors(maps, call(tower, wanted));
        (z.put_tape(T::default()), Some(prediction))
    }

    /// Sets the gradients to zero.
    pub(super) fn zero_grads(&self) {
        if let Some(predictor) = &self.predictor {
            predictor.tower.zero_grads();
        }
        if let Some(text) = &self.text {
            text.zero_grads();
        }
    }

    /// Moves predictor and text tower along their gradients, then the momentum encoder towards `encoder`, of which
    /// it keeps `momentum` of itself.
    pub(super) fn step(&mut self, encoder: &Tower, lr: f32, momentum: f32) {
        if let Some(Predictor { tower, optimizer }) = &mut self.predictor {
            tower.optimize(&mut **optimizer, lr);
        }
        if let Some(text) = &mut self.text {
            text.step(lr);
        }
        if let Some(follower) = &self.momentum_encoder {
            follower.follow(encoder, momentum);
        }
    }

    /// What a device has failed to do for one of these networks.
    pub(super) fn check(&self) -> crate::error::Result<()> {
        let towers = [self.predictor(), self.momentum_encoder()];
        towers.into_iter().flatten().try_for_each(Tower::check)?;
        let text = self.text.as_ref();
        Ok(text.map_or(Ok(()), |text| text.tower().check())?)
    }

    /// Adds what a checkpoint must hold to `files`.
    ///
    /// # Errors
    /// When it cannot be read from a device.
    pub(super) fn save(&self, files: &mut Files) -> Result<(), DeviceError> {
        if let Some(tower) = &self.momentum_encoder {
            files.insert(MOMENTUM_ENCODER.to_owned(), tower.weights().tensors());
        }
        if let Some(Predictor { tower, optimizer }) = &self.predictor {
            files.insert(PREDICTOR.to_owned(), tower.weights().tensors());
            files.insert(
                PREDICTOR_OPTIMIZER.to_owned(),
                optimizer.state(tower.net())?,
            );
        }
        if let Some(text) = &self.text {
            text.save(files)?;
        }
        Ok(())
    }

    /// Restores what [`Companions::save`] gave.
    ///
    /// # Errors
    /// The file that does not fit, and why.
    pub(super) fn load(&mut self, files: &Files) -> Result<(), (&'static str, String)> {
        let empty = BTreeMap::new();
        let file = |name: &str| files.get(name).unwrap_or(&empty);
        let load = |tower: &Tower, name: &'static str| {
            let loaded = tower.weights_mut().load(file(name));
            loaded.map_err(|error| (name, error.to_string()))
        };
        if let Some(tower) = &self.momentum_encoder {
            load(tower, MOMENTUM_ENCODER)?;
        }
        if let Some(Predictor { tower, optimizer }) = &mut self.predictor {
            load(tower, PREDICTOR)?;
            optimizer
                .load_state(tower.net(), file(PREDICTOR_OPTIMIZER))
                .map_err(|name| (PREDICTOR_OPTIMIZER, format!("tensor {name} does not fit")))?;
        }
        if let Some(text) = &mut self.text {
            text.load(files)?;
        }
        Ok(())
    }
}

fn call(tower: &Tower, wanted: Wanted) -> Call<'static> {
    Call {
        output: tower.net().output(),
        extra: &[],
        mode: Mode::Train,
        wanted,
    }
}
