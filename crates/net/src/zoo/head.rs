//! From pooled features to the embedding that the objective compares.

use crate::{NetBuilder, NetError, ValueId};
use viewmaker_ops::{activation::Activation, batch_norm::BatchNorm, linear::Linear};

/// What follows the encoder's pooled features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Nothing: the features are the embedding, whatever their number.
    None,
    /// One linear layer, `fc`: the reference on images and sensors.
    Linear,
    /// Linear, ReLU, linear (`fc.0`, `fc.2`): the projection head of Chen et al., *A Simple
    /// Framework for Contrastive Learning of Visual Representations* (ICML 2020), section 2.1.
    Mlp,
    /// Linear, batch norm, ReLU, linear (`fc.0`, `fc.1`, `fc.3`): the head of methods without
    /// negatives, which collapse more easily without the norm. Grill et al., *Bootstrap Your Own
    /// Latent* (NeurIPS 2020).
    MlpNorm,
}

/// Appends the projection head; returns the embedding, a vector of `dim` features (or of the
/// features' own length for [`Projection::None`]).
pub(crate) fn head(
    b: &mut NetBuilder,
    features: ValueId,
    dim: usize,
    projection: Projection,
) -> Result<ValueId, NetError> {
    let linear = |out_features| Linear {
        out_features,
        bias: true,
    };
    match projection {
        Projection::None => Ok(features),
        Projection::Linear => b.apply("fc", linear(dim), &[features]),
        Projection::Mlp => {
            // The hidden layer is as wide as the features it projects.
            let hidden = b.apply("fc.0", linear(b.dims(features).c), &[features])?;
            let hidden = b.apply("fc.1", Activation::Relu, &[hidden])?;
            b.apply("fc.2", linear(dim), &[hidden])
        }
        Projection::MlpNorm => {
            let width = b.dims(features).c;
            let hidden = Linear {
                out_features: width,
                bias: false,
            };
            let hidden = b.apply("fc.0", hidden, &[features])?;
            let hidden = b.apply("fc.1", BatchNorm::default(), &[hidden])?;
            let hidden = b.apply("fc.2", Activation::Relu, &[hidden])?;
            b.apply("fc.3", linear(dim), &[hidden])
        }
    }
}
