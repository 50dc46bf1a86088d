//! The text tower: from a page of bytes to an embedding, and the scale that goes with it.

use super::resnet::{Block, ConvNorm, basic_block};
use crate::{Net, NetBuilder, NetError};
use viewmaker_ops::{conv2d::ConvInit, linear::Linear, pool::GlobalAvgPool};

/// What a text tower is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextConfig {
    /// Channels, lines and columns of a page: the bits of a byte, words, bytes of a word.
    pub page: [usize; 3],
    /// Channels of the first stage; the second has twice as many.
    pub width: usize,
    /// Length of the embedding.
    pub embedding_dim: usize,
}

/// Builds a byte-level convolutional text tower.
///
/// Two 1×1 convolutions (`embed1`, `embed2`) make a code of every byte, two residual blocks (`layer1.0`,
/// `layer2.0`) look at neighbouring bytes of a word and of the words before and after it, the mean over
/// the page and a linear layer (`fc`) make the embedding: which words there are counts, and little
/// where they stand.
///
/// Input `page`; outputs `embedding` (the principal one) and `features` (the mean below `fc`).
///
/// # Errors
/// When a width is zero or the page too small for the layers.
pub fn text(config: &TextConfig) -> Result<Net, NetError> {
    let mut b = NetBuilder::new("text");
    for (key, value) in [
        ("encoder.text_width", config.width),
        ("encoder.embedding_dim", config.embedding_dim),
    ] {
        if value == 0 {
            return Err(b.option(key, value, "must be at least 1"));
        }
    }
    let mut y = b.input("page", config.page)?;
    for (conv, norm) in [("embed1", "norm1"), ("embed2", "norm2")] {
        let layer = ConvNorm {
            conv,
            norm,
            channels: config.width,
            kernel: 1,
            stride: 1,
            init: ConvInit::PyTorchDefault,
        };
        y = layer.relu(&mut b, "", y)?;
    }
    for stage in [1, 2] {
        let block = Block {
            prefix: format!("layer{stage}.0"),
            channels: stage * config.width,
            stride: stage,
            shortcut: "shortcut",
            init: ConvInit::PyTorchDefault,
        };
        y = basic_block(&mut b, &block, y)?;
    }
    let features = b.apply("avgpool", GlobalAvgPool, &[y])?;
    let fc = Linear {
        out_features: config.embedding_dim,
        bias: true,
    };
    let embedding = b.apply("fc", fc, &[features])?;
    b.output("embedding", embedding);
    b.output("features", features);
    Ok(b.finish())
}

/// A single number that is learned: what the network makes of the input 1.
///
/// Its only parameter is `logit_scale.weight`.
///
/// # Errors
/// None that a caller could cause.
pub fn logit_scale() -> Result<Net, NetError> {
    let mut b = NetBuilder::new("logit scale");
    let one = b.input("one", [1, 1, 1])?;
    let number = Linear {
        out_features: 1,
        bias: false,
    };
    let scale = b.apply("logit_scale", number, &[one])?;
    b.output("scale", scale);
    Ok(b.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: TextConfig = TextConfig {
        page: [8, 16, 16],
        width: 6,
        embedding_dim: 10,
    };

    #[test]
    fn goes_from_pages_to_embeddings() {
        let net = text(&CONFIG).unwrap();
        let out = net.dims(net.output(), 3);
        assert_eq!((out.n, out.c, out.is_vector()), (3, 10, true));
        assert!(text(&TextConfig { width: 0, ..CONFIG }).is_err());
        let nothing = TextConfig {
            embedding_dim: 0,
            ..CONFIG
        };
        assert!(text(&nothing).is_err());
    }

    #[test]
    fn a_scale_is_one_number() {
        let net = logit_scale().unwrap();
        assert_eq!(net.param_len(), 1);
        assert_eq!(net.dims(net.output(), 1).c, 1);
    }
}
