//! From a configuration to networks with weights.

use crate::config::{self, Config, ViewNetwork};
use crate::error::{Error, Result};
use crate::train::players::{Players, Views};
use std::sync::Arc;
use viewmaker_data::ChannelStats;
use viewmaker_exec::{Machine, Tower, Weights};
use viewmaker_net::zoo::{
    EncoderConfig, InputNormalization, NoiseViewConfig, Nonlinearity, Projection, ViewmakerConfig,
    encoder, noise_views, viewmaker,
};
use viewmaker_net::{Net, NetError};
use viewmaker_ops::budget::Norm;

/// Streams of the generator that fills the weights.
const ENCODER_STREAM: u32 = 1;
const VIEWMAKER_STREAM: u32 = 2;

/// How the parameters of what stands above the pooled features are called.
const HEAD: &str = "fc.";

/// The networks of a configuration, as graphs.
#[derive(Clone, Debug)]
pub struct Networks {
    /// The encoder, normalisation of the views included.
    pub encoder: Arc<Net>,
    /// What makes the views of what the loader gives; `None` where nothing is done to that.
    pub views: Option<Arc<Net>>,
}

impl Networks {
    /// Builds the graphs for examples of `shape` (channels, height, width).
    ///
    /// # Errors
    /// When an option is out of range or the examples are too small for the layers.
    pub fn build(
        config: &Config,
        shape: [usize; 3],
        after_view: Option<&ChannelStats>,
    ) -> Result<Self> {
        let encoder_config = encoder_config(config, shape, after_view);
        let views = match config.views.source.network() {
            Some(ViewNetwork::Learned) => Some(viewmaker(&viewmaker_config(config, shape))),
            Some(ViewNetwork::Noise) => Some(noise_views(&NoiseViewConfig {
                input: shape,
                distortion_budget: config.viewmaker.distortion_budget,
                norm: norm(config.viewmaker.norm),
                clamp: config.viewmaker.clamp,
            })),
            None => None,
        };
        Ok(Self {
            encoder: Arc::new(encoder(&encoder_config).map_err(usage)?),
            views: views.transpose().map_err(usage)?.map(Arc::new),
        })
    }

    /// Gives the networks fresh weights drawn from `seed`, on `machine`.
    ///
    /// # Errors
    /// When a device has too little memory.
    pub fn init(&self, config: &Config, seed: u64, machine: &Machine) -> Result<Players> {
        let tower = |net: &Arc<Net>, stream| {
            let weights = Weights::init(Arc::clone(net), seed, stream);
            Tower::on(weights, machine)
        };
        let encoder = tower(&self.encoder, ENCODER_STREAM)?;
        let views = match (&self.views, config.views.source.network()) {
            (Some(net), Some(ViewNetwork::Learned)) => {
                Views::Learned(tower(net, VIEWMAKER_STREAM)?)
            }
            (Some(net), _) => Views::Noise(tower(net, VIEWMAKER_STREAM)?),
            (None, _) => Views::None,
        };
        Ok(Players { encoder, views })
    }
}

/// The encoder of a configuration with a linear classifier of `classes` in place of the projection.
///
/// # Errors
/// As [`Networks::build`].
pub fn classifier(
    config: &Config,
    shape: [usize; 3],
    after_view: Option<&ChannelStats>,
    classes: usize,
) -> Result<Arc<Net>> {
    let config = EncoderConfig {
        embedding_dim: classes,
        projection: Projection::Linear,
        ..encoder_config(config, shape, after_view)
    };
    Ok(Arc::new(encoder(&config).map_err(usage)?))
}

/// An encoder with the weights that a run with this seed starts from, on `machine`.
///
/// # Errors
/// When a device has too little memory.
pub fn fresh_encoder(net: &Arc<Net>, seed: u64, machine: &Machine) -> Result<Tower> {
    let weights = Weights::init(Arc::clone(net), seed, ENCODER_STREAM);
    Ok(Tower::on(weights, machine)?)
}

/// Gives `to` the weights of the encoder `from`; all but those of what stands above the pooled features.
///
/// # Errors
/// When the two are different encoders.
pub fn copy_backbone(from: &Tower, to: &Tower) -> Result<()> {
    let is_head = |name: &str| name.starts_with(HEAD);
    let mut tensors = from.weights().tensors();
    tensors.retain(|name, _| !is_head(name));
    let own = to.weights().tensors().into_iter();
    tensors.extend(own.filter(|(name, _)| is_head(name)));
    let loaded = to.weights_mut().load(&tensors);
    loaded.map_err(|error| Error::failure(error.to_string()))
}

fn encoder_config(
    config: &Config,
    shape: [usize; 3],
    after_view: Option<&ChannelStats>,
) -> EncoderConfig {
    EncoderConfig {
        name: config.encoder.name.clone(),
        input: shape,
        embedding_dim: config.encoder.embedding_dim,
        projection: projection(config.encoder.projection),
        normalization: after_view.map(|stats| InputNormalization {
            mean: stats.mean.clone(),
            std: stats.std.clone(),
        }),
    }
}

fn viewmaker_config(config: &Config, shape: [usize; 3]) -> ViewmakerConfig {
    let section = &config.viewmaker;
    ViewmakerConfig {
        input: shape,
        widths: section.widths,
        num_res_blocks: section.num_res_blocks,
        distortion_budget: section.distortion_budget,
        norm: norm(section.norm),
        activation: match section.activation {
            config::Activation::Relu => Nonlinearity::Relu,
            config::Activation::LeakyRelu => Nonlinearity::LeakyRelu,
        },
        clamp: section.clamp,
        frequency_domain: section.frequency_domain,
        downsample_to: match section.downsample_to {
            0 => None,
            size => Some([size, size]),
        },
    }
}

fn norm(norm: config::Norm) -> Norm {
    match norm {
        config::Norm::L1 => Norm::L1,
        config::Norm::L2 => Norm::L2,
        config::Norm::Linf => Norm::Linf,
    }
}

fn projection(projection: config::Projection) -> Projection {
    match projection {
        config::Projection::None => Projection::None,
        config::Projection::Linear => Projection::Linear,
        config::Projection::Mlp => Projection::Mlp,
        config::Projection::MlpNorm => Projection::MlpNorm,
    }
}

fn usage(error: NetError) -> Error {
    Error::usage(error.to_string())
}
