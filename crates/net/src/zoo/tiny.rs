//! The encoder of the demo: small enough to train on a laptop in minutes.

use super::Backbone;
use super::resnet::{Block, ConvNorm, basic_block};
use crate::{NetBuilder, NetError, ValueId};
use viewmaker_ops::{conv2d::ConvInit, pool::GlobalAvgPool};

/// Channels of the three stages; every stage but the first halves the resolution.
const WIDTHS: [usize; 3] = [16, 32, 64];

pub(super) fn backbone(b: &mut NetBuilder, x: ValueId) -> Result<Backbone, NetError> {
    let mut y = ConvNorm {
        conv: "conv1",
        norm: "bn1",
        channels: WIDTHS[0],
        kernel: 3,
        stride: 1,
        init: ConvInit::PyTorchDefault,
    }
    .relu(b, "", x)?;
    for (stage, &channels) in WIDTHS.iter().enumerate() {
        let block = Block {
            prefix: format!("layer{}.0", stage + 1),
            channels,
            stride: if stage == 0 { 1 } else { 2 },
            shortcut: "shortcut",
            init: ConvInit::PyTorchDefault,
        };
        y = basic_block(b, &block, y)?;
    }
    let features = b.apply("avgpool", GlobalAvgPool, &[y])?;
    Ok(Backbone {
        prepool: y,
        features,
    })
}
