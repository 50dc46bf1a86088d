//! The networks, one file each, and the registry of encoders.

mod head;
mod noise;
mod predictor;
mod resnet;
mod text;
mod tiny;
mod viewmaker;

pub use head::Projection;
pub use noise::{NoiseViewConfig, noise_views};
pub use predictor::{PredictorConfig, predictor};
pub use resnet::{Depth, Stem};
pub use text::{TextConfig, logit_scale, text};
pub use viewmaker::{Nonlinearity, STORED_RES_BLOCKS, ViewmakerConfig, viewmaker};

use crate::{Net, NetBuilder, NetError, ValueId};
use viewmaker_ops::normalize::Normalize;

/// Mean and standard deviation of each channel, applied between the viewmaker and the encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct InputNormalization {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub std: Vec<f32>,
}

/// What an encoder is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// A name of [`encoders`].
    pub name: String,
    /// Channels, height, width of the examples.
    pub input: [usize; 3],
    /// Length of the embedding that the objective sees.
    pub embedding_dim: usize,
    /// What stands between the encoder's own last layer and the embedding.
    pub projection: Projection,
    /// Normalisation of the views, part of the network so that no caller can forget it.
    pub normalization: Option<InputNormalization>,
}

/// Values that every backbone offers to evaluations.
pub(crate) struct Backbone {
    /// Output of the last stage, before pooling.
    pub(crate) prepool: ValueId,
    /// Pooled feature vector.
    pub(crate) features: ValueId,
}

/// An entry of the encoder registry.
pub struct EncoderEntry {
    /// Configuration name.
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    backbone: fn(&mut NetBuilder, ValueId) -> Result<Backbone, NetError>,
}

/// Every encoder that a configuration can name.
pub fn encoders() -> &'static [EncoderEntry] {
    use Depth::{Eighteen, Fifty, ThirtyFour};
    const fn entry(
        name: &'static str,
        about: &'static str,
        backbone: fn(&mut NetBuilder, ValueId) -> Result<Backbone, NetError>,
    ) -> EncoderEntry {
        EncoderEntry {
            name,
            about,
            backbone,
        }
    }
    const ENTRIES: &[EncoderEntry] = &[
        entry(
            "tiny",
            "three residual stages of 16, 32, 64 channels, about 85k parameters",
            tiny::backbone,
        ),
        entry(
            "resnet18-small",
            "CIFAR-style ResNet-18: 3×3 stem, no max-pooling",
            |b, x| resnet::backbone(b, x, Eighteen, Stem::Small),
        ),
        entry("resnet34-small", "CIFAR-style ResNet-34", |b, x| {
            resnet::backbone(b, x, ThirtyFour, Stem::Small)
        }),
        entry("resnet50-small", "CIFAR-style ResNet-50", |b, x| {
            resnet::backbone(b, x, Fifty, Stem::Small)
        }),
        entry(
            "resnet18",
            "torchvision ResNet-18: 7×7 stem with stride 2 and max-pooling",
            |b, x| resnet::backbone(b, x, Eighteen, Stem::Torchvision),
        ),
        entry("resnet34", "torchvision ResNet-34", |b, x| {
            resnet::backbone(b, x, ThirtyFour, Stem::Torchvision)
        }),
        entry("resnet50", "torchvision ResNet-50", |b, x| {
            resnet::backbone(b, x, Fifty, Stem::Torchvision)
        }),
    ];
    ENTRIES
}

/// Builds an encoder.
///
/// Input `x`; outputs `embedding` (the principal one, a vector of `embedding_dim`), `features`
/// (the pooled vector below the last layer) and `prepool` (the map below the pooling).
///
/// # Errors
/// When the name is unknown, a dimension is zero, or the input is too small for the layers.
pub fn encoder(config: &EncoderConfig) -> Result<Net, NetError> {
    let entry = encoders()
        .iter()
        .find(|e| e.name == config.name)
        .ok_or_else(|| NetError::UnknownName {
            net: "encoder".to_string(),
            what: "encoder",
            name: config.name.clone(),
            known: encoders()
                .iter()
                .map(|e| e.name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
    let mut b = NetBuilder::new(config.name.clone());
    if config.embedding_dim == 0 {
        return Err(b.option("encoder.embedding_dim", 0, "must be at least 1"));
    }
    let mut x = b.input("x", config.input)?;
    if let Some(InputNormalization { mean, std }) = &config.normalization {
        let (mean, std) = (mean.clone(), std.clone());
        x = b.apply("normalize", Normalize { mean, std }, &[x])?;
    }
    let backbone = (entry.backbone)(&mut b, x)?;
    let embedding = head::head(
        &mut b,
        backbone.features,
        config.embedding_dim,
        config.projection,
    )?;
    b.output("embedding", embedding);
    b.output("features", backbone.features);
    b.output("prepool", backbone.prepool);
    Ok(b.finish())
}
