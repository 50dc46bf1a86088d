//! Everything that learns in a run, and the memory that its steps work in.

use super::companions::{Companions, Files};
use super::players::{Players, Views};
use super::resident::Resident;
use super::text::TextBranch;
use crate::config::{Config, OptimizerName, OptimizerSection};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use viewmaker_exec::optim::{Adam, Optimizer, Sgd};
use viewmaker_exec::{Profiler, Tensor};
use viewmaker_net::{Net, zoo};
use viewmaker_objective::{NamedTensor, Objective};

/// Files of a checkpoint.
pub(crate) const ENCODER: &str = "encoder";
pub(crate) const VIEWMAKER: &str = "viewmaker";
const ENCODER_OPTIMIZER: &str = "encoder_optimizer";
const VIEWMAKER_OPTIMIZER: &str = "viewmaker_optimizer";
const OBJECTIVE: &str = "objective";

/// Networks, optimisers and objective; [`Learners::step`] trains them.
#[derive(Debug)]
pub struct Learners {
    /// The players.
    pub players: Players,
    /// The encoder's optimiser.
    pub encoder_optimizer: Box<dyn Optimizer>,
    /// The viewmaker's optimiser, if there is a viewmaker.
    pub viewmaker_optimizer: Option<Box<dyn Optimizer>>,
    /// The objective, with its memory bank or queue.
    pub objective: Box<dyn Objective>,
    /// The networks beside the encoder that the objective asks for.
    pub companions: Companions,
    /// Memory of passes that stay on a device.
    pub resident: Resident,
}

impl Learners {
    /// What `config` puts around `players` for `objective`: optimisers, and the networks that the objective
    /// wants beside the encoder, where the encoder is.
    ///
    /// # Errors
    /// When an option cannot work, or a device has too little memory.
    pub fn new(config: &Config, players: Players, objective: Box<dyn Objective>) -> Result<Self> {
        let (branches, encoder) = (objective.branches(), &players.encoder);
        let dim = players.embedding_dim();
        let predictor = zoo::predictor(zoo::PredictorConfig {
            dim,
            hidden: config.objective.predictor_hidden,
        });
        let companions = Companions::new(
            &branches,
            encoder,
            predictor.map_err(|error| Error::usage(error.to_string()))?,
            |net| optimizer(&config.optim.encoder, net),
            config.seed,
        )?;
        let companions = match branches.text {
            true => companions.with_text(TextBranch::new(config, dim, &encoder.machine())?),
            false => companions,
        };
        let viewmaker = match &players.views {
            Views::Learned(tower) => Some(optimizer(&config.optim.viewmaker, tower.net())),
            Views::Noise(_) | Views::None => None,
        };
        Ok(Self {
            encoder_optimizer: optimizer(&config.optim.encoder, encoder.net()),
            viewmaker_optimizer: viewmaker,
            players,
            objective,
            companions,
            resident: Resident::default(),
        })
    }

    /// From now on `profiler` measures all networks.
    pub fn set_profiler(&self, profiler: &Profiler) {
        self.players.set_profiler(profiler);
        self.companions.set_profiler(profiler);
    }

    /// What a device has failed to do since the last call: results since then are not numbers.
    ///
    /// # Errors
    /// The first failure.
    pub fn check(&self) -> Result<()> {
        self.players.check()?;
        self.companions.check()
    }

    /// Adds what a checkpoint must hold to `files`.
    ///
    /// # Errors
    /// When it cannot be read from a device.
    pub(super) fn save(&self, files: &mut Files) -> Result<()> {
        let encoder = &self.players.encoder;
        files.insert(ENCODER.to_owned(), encoder.weights().tensors());
        let state = self.encoder_optimizer.state(encoder.net())?;
        files.insert(ENCODER_OPTIMIZER.to_owned(), state);
        if let (Some(tower), Some(optimizer)) =
            (self.players.views.tower(), &self.viewmaker_optimizer)
        {
            files.insert(VIEWMAKER.to_owned(), tower.weights().tensors());
            let state = optimizer.state(tower.net())?;
            files.insert(VIEWMAKER_OPTIMIZER.to_owned(), state);
        }
        self.companions.save(files)?;
        // Weights that could not be read are old ones.
        self.check()?;
        let state = self.objective.state().into_iter();
        let objective = state.map(|(name, shape, data)| (name, Tensor { shape, data }));
        files.insert(OBJECTIVE.to_owned(), objective.collect());
        Ok(())
    }

    /// Restores what [`Learners::save`] gave.
    ///
    /// # Errors
    /// The file that does not fit, and why.
    pub(super) fn load(&mut self, files: &Files) -> Result<(), (&'static str, String)> {
        let empty = BTreeMap::new();
        let file = |name: &str| files.get(name).unwrap_or(&empty);
        let unfit = |name: String| format!("tensor {name} does not fit");
        let encoder = &self.players.encoder;
        let loaded = encoder.weights_mut().load(file(ENCODER));
        loaded.map_err(|error| (ENCODER, error.to_string()))?;
        self.encoder_optimizer
            .load_state(encoder.net(), file(ENCODER_OPTIMIZER))
            .map_err(|name| (ENCODER_OPTIMIZER, unfit(name)))?;
        if let (Some(tower), Some(optimizer)) =
            (self.players.views.tower(), &mut self.viewmaker_optimizer)
        {
            let loaded = tower.weights_mut().load(file(VIEWMAKER));
            loaded.map_err(|error| (VIEWMAKER, error.to_string()))?;
            optimizer
                .load_state(tower.net(), file(VIEWMAKER_OPTIMIZER))
                .map_err(|name| (VIEWMAKER_OPTIMIZER, unfit(name)))?;
        }
        self.companions.load(files)?;
        let objective = file(OBJECTIVE).iter();
        let objective = objective.map(|(name, t)| (name.clone(), t.shape.clone(), t.data.clone()));
        let objective: Vec<NamedTensor> = objective.collect();
        self.objective
            .load_state(&objective)
            .map_err(|error| (OBJECTIVE, error.to_string()))
    }
}

/// The optimiser that `section` describes, for the parameters of `net`.
pub fn optimizer(section: &OptimizerSection, net: &Net) -> Box<dyn Optimizer> {
    let adam = |decoupled| {
        Box::new(Adam::new(
            net,
            section.betas,
            section.eps,
            section.weight_decay,
            decoupled,
        ))
    };
    match section.name {
        OptimizerName::Sgd => Box::new(Sgd::new(net, section.momentum, section.weight_decay)),
        OptimizerName::Adam => adam(false),
        OptimizerName::AdamW => adam(true),
    }
}
