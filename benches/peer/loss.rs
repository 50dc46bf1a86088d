//! Our contrastive losses: the objectives that training uses, forward and backward.

use super::fixtures::{Check, fill, probe};
use super::items::LossWork;
use super::worker::Task;
use dfdx::prelude::{
    AsArray, Backward, Cpu, Gradients, PutTape, SplitTape, Tensor, TensorFromVec, Trace,
};
use viewmaker::error::{Error, Result};
use viewmaker_objective::{BatchInfo, Objective, ObjectiveConfig, Outputs};

type Rows = Tensor<(usize, usize), f32, Cpu>;

/// A loss and the embeddings of two views.
pub struct Loss {
    objective: Box<dyn Objective>,
    views: [Rows; 2],
    indices: Vec<usize>,
}

impl Loss {
    /// The objective with known embeddings.
    ///
    /// # Errors
    /// When there is no such objective.
    pub fn new(work: &LossWork) -> Result<Self> {
        let pairs = work.embeddings / 2;
        let config = ObjectiveConfig {
            name: work.objective.clone(),
            temperature: work.temperature,
            ..ObjectiveConfig::default()
        };
        let objective = viewmaker_objective::build(&config, work.dim, pairs, 0)
            .map_err(|error| Error::failure(error.to_string()))?;
        let view = |name: &str| {
            let shape = (pairs, work.dim);
            Cpu::default().tensor_from_vec(fill(name, &[pairs, work.dim]), shape)
        };
        Ok(Self {
            objective,
            views: ["z1", "z2"].map(view),
            indices: (0..pairs).collect(),
        })
    }

    fn differentiate(&mut self) -> Result<(f32, Gradients<f32, Cpu>)> {
        let traced = self.views.iter().map(|z| z.leaky_trace());
        let batch = BatchInfo {
            indices: &self.indices,
            labels: &[],
            sequences: &[],
            pass: 0,
        };
        let loss = self
            .objective
            .loss(Outputs::of(traced.collect()), &batch)
            .map_err(|error| Error::failure(error.to_string()))?;
        let (loss, tape) = loss.split_tape();
        let value = loss.array();
        Ok((value, loss.put_tape(tape).backward()))
    }
}

impl Task for Loss {
    fn check(&mut self) -> Result<Check> {
        let (loss, gradients) = self.differentiate()?;
        let mut check = Check::new();
        check.insert("loss".into(), vec![f64::from(loss)]);
        for (name, view) in ["gradient 1", "gradient 2"].into_iter().zip(&self.views) {
            check.insert(name.into(), probe(&gradients.get(view).as_vec()));
        }
        Ok(check)
    }

    fn run(&mut self) -> Result<()> {
        self.differentiate().map(drop)
    }
}
