//! The predictor: what BYOL, SimSiam and MoCo v3 put between an embedding and its target.

use crate::{Net, NetBuilder, NetError};
use viewmaker_ops::{activation::Activation, batch_norm::BatchNorm, linear::Linear};

/// What a predictor is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredictorConfig {
    /// Length of an embedding, of its prediction, too.
    pub dim: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
}

/// Builds the network linear, batch norm, ReLU, linear (`0`, `1`, `2`, `3`) from embedding to
/// prediction.
///
/// Input `z`, a vector; output `prediction`, a vector of the same length. No bias before the batch
/// norm, and neither normalisation nor activation at the end.
///
/// Source: Grill et al., *Bootstrap Your Own Latent* (NeurIPS 2020); Chen & He,
/// *Exploring Simple Siamese Representation Learning* (CVPR 2021), section 3.
///
/// # Errors
/// When a width is zero.
pub fn predictor(config: PredictorConfig) -> Result<Net, NetError> {
    let PredictorConfig { dim, hidden } = config;
    let mut b = NetBuilder::new("predictor");
    if hidden == 0 {
        return Err(b.option("objective.predictor_hidden", hidden, "must be at least 1"));
    }
    let linear = |out_features, bias| Linear { out_features, bias };
    let z = b.input("z", [dim, 1, 1])?;
    let y = b.apply("0", linear(hidden, false), &[z])?;
    let y = b.apply("1", BatchNorm::default(), &[y])?;
    let y = b.apply("2", Activation::Relu, &[y])?;
    let prediction = b.apply("3", linear(dim, true), &[y])?;
    b.output("prediction", prediction);
    Ok(b.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_from_embeddings_to_embeddings() {
        let config = PredictorConfig { dim: 6, hidden: 10 };
        let net = predictor(config).unwrap();
        assert_eq!(net.dims(net.output(), 3), net.dims(net.inputs()[0], 3));
        let names: Vec<&str> = net.params().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            ["0.weight", "1.weight", "1.bias", "3.weight", "3.bias"]
        );
        assert!(
            predictor(PredictorConfig {
                hidden: 0,
                ..config
            })
            .is_err()
        );
        assert!(predictor(PredictorConfig { dim: 0, ..config }).is_err());
    }
}
