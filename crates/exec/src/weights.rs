//! The numbers of a network: parameters and state, by name and flat.

use rand::Rng;
use rand_distr::{Distribution, Normal, Uniform};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use viewmaker_net::Net;
use viewmaker_ops::{Init, random::Philox};

/// A named tensor as checkpoints store it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extents, outermost first; `[]` is a scalar.
    pub shape: Vec<usize>,
    /// Elements in C order.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor of `shape` with these elements; `None` when their number does not fit.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Option<Self> {
        let len = shape.iter().product::<usize>();
        (len == data.len()).then_some(Self { shape, data })
    }
}

/// Named tensors do not fit a network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// A tensor of the network is not among those given.
    #[error("tensor {name} is missing (the network {net} needs it with shape {shape:?})")]
    Missing {
        /// Name of the tensor.
        name: String,
        /// Name of the network.
        net: String,
        /// Shape it should have.
        shape: Vec<usize>,
    },
    /// A tensor has another shape than the network's.
    #[error("tensor {name}: the network {net} has shape {expected:?}, found {found:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Name of the network.
        net: String,
        /// Shape of the network.
        expected: Vec<usize>,
        /// Shape that was given.
        found: Vec<usize>,
    },
    /// A tensor that the network does not have.
    #[error("tensor {name} does not belong to the network {net}")]
    Unexpected {
        /// Name of the tensor.
        name: String,
        /// Name of the network.
        net: String,
    },
}

/// Parameters and state of one network, each in one flat buffer in `state_dict` order.
#[derive(Clone, Debug)]
pub struct Weights {
    net: Arc<Net>,
    /// Parameters; [`viewmaker_net::Param::range`] finds one.
    pub params: Vec<f32>,
    /// Running statistics; [`viewmaker_net::StateEntry::range`] finds one.
    pub state: Vec<f32>,
}

impl Weights {
    /// Weights filled as each operation asks for, from `seed` and `stream`.
    pub fn init(net: Arc<Net>, seed: u64, stream: u32) -> Self {
        let mut params = vec![0.0; net.param_len()];
        for (index, param) in net.params().iter().enumerate() {
            let mut rng = Philox::new(seed, stream, index as u32).sequence();
            let out = &mut params[param.range()];
            match param.init {
                Init::Constant(value) => out.fill(value),
                Init::Uniform { bound } => fill(out, Uniform::new(-bound, bound).ok(), &mut rng),
                Init::Normal { std } => fill(out, Normal::new(0.0, std).ok(), &mut rng),
            }
        }
        let mut state = vec![0.0; net.state_len()];
        for entry in net.state() {
            state[entry.range()].fill(entry.init);
        }
        Self { net, params, state }
    }

    /// The network these weights belong to.
    pub fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// Every tensor by its `state_dict` name.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        let tensor = |name: &str, shape: &[usize], data: &[f32]| {
            let (shape, data) = (shape.to_vec(), data.to_vec());
            (name.to_string(), Tensor { shape, data })
        };
        let params = self.net.params().iter();
        let params = params.map(|p| tensor(&p.name, &p.shape, &self.params[p.range()]));
        let state = self.net.state().iter();
        let state = state.map(|s| tensor(&s.name, &s.shape, &self.state[s.range()]));
        params.chain(state).collect()
    }

    /// Replaces every tensor; nothing changes when one does not fit.
    ///
    /// # Errors
    /// When a tensor is missing, does not belong to the network, or has another shape.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<(), WeightsError> {
        let net = Arc::clone(&self.net);
        let (mut params, mut state) = (self.params.clone(), self.state.clone());
        for p in net.params() {
            params[p.range()].copy_from_slice(self.find(tensors, &p.name, &p.shape)?);
        }
        for s in net.state() {
            state[s.range()].copy_from_slice(self.find(tensors, &s.name, &s.shape)?);
        }
        let known = |name: &str| net.param(name).is_some() || net.state_entry(name).is_some();
        if let Some(name) = tensors.keys().find(|name| !known(name)) {
            return Err(WeightsError::Unexpected {
                name: name.clone(),
                net: net.name().to_string(),
            });
        }
        (self.params, self.state) = (params, state);
        Ok(())
    }

    /// Moves every parameter towards the one of `other`: `w ← m·w + (1 − m)·other`. Running
    /// statistics stay: a network that follows another keeps its own.
    ///
    /// Source: He et al., *Momentum Contrast* (CVPR 2020), equation 2.
    ///
    /// # Panics
    /// When `other` belongs to a network with another number of parameters.
    pub fn follow(&mut self, other: &Self, momentum: f32) {
        const PIECE: usize = 1 << 14;
        assert_eq!(self.params.len(), other.params.len(), "parameters");
        let pieces = self.params.par_chunks_mut(PIECE);
        pieces
            .zip(other.params.par_chunks(PIECE))
            .for_each(|(own, other)| {
                for (w, o) in own.iter_mut().zip(other) {
                    *w = momentum * *w + (1.0 - momentum) * o;
                }
            });
    }

    fn find<'a>(
        &self,
        tensors: &'a BTreeMap<String, Tensor>,
        name: &str,
        shape: &[usize],
    ) -> Result<&'a [f32], WeightsError> {
        let net = || self.net.name().to_string();
        let tensor = tensors.get(name).ok_or_else(|| WeightsError::Missing {
            name: name.to_string(),
            net: net(),
            shape: shape.to_vec(),
        })?;
        if tensor.shape != shape || tensor.data.len() != shape.iter().product::<usize>() {
            return Err(WeightsError::Shape {
                name: name.to_string(),
                net: net(),
                expected: shape.to_vec(),
                found: tensor.shape.clone(),
            });
        }
        Ok(&tensor.data)
    }
}

fn fill<D: Distribution<f32>>(out: &mut [f32], distribution: Option<D>, rng: &mut impl Rng) {
    // Operations give finite, non-negative widths; a degenerate one leaves zeros.
    if let Some(distribution) = distribution {
        out.fill_with(|| distribution.sample(rng));
    }
}
