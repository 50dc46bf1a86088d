//! Residual networks of He et al., *Deep Residual Learning for Image Recognition* (CVPR 2016),
//! table 1, in the two forms the reference uses: CIFAR-style and torchvision-style.

use super::Backbone;
use crate::{NetBuilder, NetError, ValueId};
use viewmaker_ops::{
    activation::Activation,
    add::Add,
    batch_norm::BatchNorm,
    conv2d::{Conv2d, ConvInit, Padding},
    flatten::Flatten,
    pool::{AvgPool, GlobalAvgPool, MaxPool},
};

/// Number of weighted layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Two basic blocks per stage.
    Eighteen,
    /// 3, 4, 6, 3 basic blocks.
    ThirtyFour,
    /// 3, 4, 6, 3 bottleneck blocks.
    Fifty,
}

impl Depth {
    const fn blocks(self) -> [usize; 4] {
        match self {
            Self::Eighteen => [2, 2, 2, 2],
            Self::ThirtyFour | Self::Fifty => [3, 4, 6, 3],
        }
    }
}

/// How the network starts and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 3×3 stem without max-pooling; 4×4 average pooling, flattened, at the end.
    Small,
    /// 7×7 stem with stride 2 and 3×3 max-pooling; global average pooling at the end.
    Torchvision,
}

impl Stem {
    /// The name of a block's projection in the reference's `state_dict`.
    const fn shortcut(self) -> &'static str {
        match self {
            Self::Small => "shortcut",
            Self::Torchvision => "downsample",
        }
    }

    const fn init(self) -> ConvInit {
        match self {
            Self::Small => ConvInit::PyTorchDefault,
            Self::Torchvision => ConvInit::KaimingNormalFanOut,
        }
    }
}

/// A convolution without bias and the batch norm after it.
pub(super) struct ConvNorm {
    pub(super) conv: &'static str,
    pub(super) norm: &'static str,
    pub(super) channels: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) init: ConvInit,
}

impl ConvNorm {
    fn apply(&self, b: &mut NetBuilder, prefix: &str, x: ValueId) -> Result<ValueId, NetError> {
        let conv = Conv2d {
            out_channels: self.channels,
            kernel: self.kernel,
            stride: self.stride,
            padding: Padding::Zero(self.kernel / 2),
            bias: false,
            init: self.init,
        };
        let y = b.apply(&join(prefix, self.conv), conv, &[x])?;
        b.apply(&join(prefix, self.norm), BatchNorm::default(), &[y])
    }

    pub(super) fn relu(
        &self,
        b: &mut NetBuilder,
        prefix: &str,
        x: ValueId,
    ) -> Result<ValueId, NetError> {
        let y = self.apply(b, prefix, x)?;
        let name = join(prefix, self.norm) + ".relu";
        b.apply(&name, Activation::Relu, &[y])
    }
}

fn join(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_string(),
        _ => format!("{prefix}.{name}"),
    }
}

/// What distinguishes one residual block from the next.
pub(super) struct Block {
    pub(super) prefix: String,
    pub(super) channels: usize,
    pub(super) stride: usize,
    pub(super) shortcut: &'static str,
    pub(super) init: ConvInit,
}

impl Block {
    fn conv(&self, index: usize, kernel: usize, stride: usize, channels: usize) -> ConvNorm {
        const NAMES: [(&str, &str); 3] = [("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")];
        let (conv, norm) = NAMES[index];
        ConvNorm {
            conv,
            norm,
            channels,
            kernel,
            stride,
            init: self.init,
        }
    }

    /// Adds the identity, projected where the shape changes, and applies ReLU.
    fn close(&self, b: &mut NetBuilder, x: ValueId, y: ValueId) -> Result<ValueId, NetError> {
        let identity = if b.dims(x) == b.dims(y) {
            x
        } else {
            ConvNorm {
                conv: "0",
                norm: "1",
                channels: b.dims(y).c,
                kernel: 1,
                stride: self.stride,
                init: self.init,
            }
            .apply(b, &join(&self.prefix, self.shortcut), x)?
        };
        let sum = b.apply(&join(&self.prefix, "add"), Add, &[y, identity])?;
        b.apply(&self.prefix, Activation::Relu, &[sum])
    }
}

/// Two 3×3 convolutions around an identity.
pub(super) fn basic_block(
    b: &mut NetBuilder,
    block: &Block,
    x: ValueId,
) -> Result<ValueId, NetError> {
    let first = block.conv(0, 3, block.stride, block.channels);
    let y = first.relu(b, &block.prefix, x)?;
    let y = block
        .conv(1, 3, 1, block.channels)
        .apply(b, &block.prefix, y)?;
    block.close(b, x, y)
}

/// 1×1, 3×3, 1×1 around an identity; the stride sits on the 3×3, as in torchvision.
fn bottleneck(b: &mut NetBuilder, block: &Block, x: ValueId) -> Result<ValueId, NetError> {
    const EXPANSION: usize = 4;
    let (prefix, channels) = (&block.prefix, block.channels);
    let y = block.conv(0, 1, 1, channels).relu(b, prefix, x)?;
    let y = block
        .conv(1, 3, block.stride, channels)
        .relu(b, prefix, y)?;
    let y = block
        .conv(2, 1, 1, EXPANSION * channels)
        .apply(b, prefix, y)?;
    block.close(b, x, y)
}

pub(super) fn backbone(
    b: &mut NetBuilder,
    x: ValueId,
    depth: Depth,
    stem: Stem,
) -> Result<Backbone, NetError> {
    let mut y = apply_stem(b, x, stem)?;
    for (stage, &count) in depth.blocks().iter().enumerate() {
        for index in 0..count {
            let block = Block {
                prefix: format!("layer{}.{index}", stage + 1),
                channels: 64 << stage,
                stride: if stage > 0 && index == 0 { 2 } else { 1 },
                shortcut: stem.shortcut(),
                init: stem.init(),
            };
            y = match depth {
                Depth::Fifty => bottleneck(b, &block, y)?,
                Depth::Eighteen | Depth::ThirtyFour => basic_block(b, &block, y)?,
            };
        }
    }
    Ok(Backbone {
        prepool: y,
        features: pool(b, y, stem)?,
    })
}

fn apply_stem(b: &mut NetBuilder, x: ValueId, stem: Stem) -> Result<ValueId, NetError> {
    let (kernel, stride) = match stem {
        Stem::Small => (3, 1),
        Stem::Torchvision => (7, 2),
    };
    let y = ConvNorm {
        conv: "conv1",
        norm: "bn1",
        channels: 64,
        kernel,
        stride,
        init: stem.init(),
    }
    .relu(b, "", x)?;
    match stem {
        Stem::Small => Ok(y),
        Stem::Torchvision => {
            let pool = MaxPool {
                kernel: 3,
                stride: 2,
                padding: 1,
            };
            b.apply("maxpool", pool, &[y])
        }
    }
}

/// The reference pools CIFAR-style maps by 4×4 windows and flattens what remains (512 features
/// for 32×32 inputs, 2048 for 64×64). Maps smaller than a window are pooled as a whole, which
/// extends the rule to inputs that the reference cannot take.
fn pool(b: &mut NetBuilder, y: ValueId, stem: Stem) -> Result<ValueId, NetError> {
    let dims = b.dims(y);
    if stem == Stem::Torchvision || dims.h < 4 || dims.w < 4 {
        return b.apply("avgpool", GlobalAvgPool, &[y]);
    }
    let pooled = b.apply("avgpool", AvgPool { kernel: 4 }, &[y])?;
    b.apply("flatten", Flatten, &[pooled])
}
