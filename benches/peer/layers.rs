//! The convolution layers of the compared steps, read off the networks' graphs.

use super::steps::Task;
use serde::{Deserialize, Serialize};
use std::any::Any;
use viewmaker::error::Result;
use viewmaker_net::{Net, Node};
use viewmaker_ops::Op;
use viewmaker_ops::conv2d::{Conv2d, ConvInit, Padding};

/// The shape of a convolution layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerShape {
    /// Channels, height and width of the input.
    pub input: [usize; 3],
    /// Output channels.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Rows and columns added on each side.
    pub padding: usize,
    /// Whether they mirror the inside instead of being zero.
    pub reflect: bool,
    /// Whether there is a bias.
    pub bias: bool,
}

impl LayerShape {
    fn of(conv: &Conv2d, net: &Net, node: &Node) -> Self {
        let dims = net.input_dims(node, 1)[0];
        Self {
            input: [dims.c, dims.h, dims.w],
            out_channels: conv.out_channels,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding.width(),
            reflect: matches!(conv.padding, Padding::Reflect(_)),
            bias: conv.bias,
        }
    }

    /// The operation.
    pub fn op(&self) -> Conv2d {
        Conv2d {
            out_channels: self.out_channels,
            kernel: self.kernel,
            stride: self.stride,
            padding: match self.reflect {
                true => Padding::Reflect(self.padding),
                false => Padding::Zero(self.padding),
            },
            bias: self.bias,
            init: ConvInit::PyTorchDefault,
        }
    }

    /// `64x32x32-64-k3s1`; an `r` at the end is reflection padding. Padding by half a kernel goes
    /// without saying.
    pub fn name(&self) -> String {
        let [c, h, w] = self.input;
        let (out, k, s) = (self.out_channels, self.kernel, self.stride);
        let mut name = format!("{c}x{h}x{w}-{out}-k{k}s{s}");
        if self.padding != k / 2 {
            name += &format!("p{}", self.padding);
        }
        if self.reflect {
            name += "r";
        }
        name
    }
}

/// A layer and where it occurs.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its shape.
    pub shape: LayerShape,
    /// `image/viewmaker/conv1.conv2d` …
    pub places: Vec<String>,
    /// Whether any step computes the gradient of its input: not where nothing below it learns.
    pub input_gradient: bool,
}

/// Every distinct convolution layer of every step, in the order of first occurrence.
///
/// # Errors
/// When a configuration cannot be read.
pub fn layers() -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for task in Task::ALL {
        let networks = task.networks()?;
        if let Some(views) = &networks.views {
            collect(&mut layers, task, "viewmaker", views, false);
        }
        // The viewmaker's gradient passes through the whole encoder.
        collect(&mut layers, task, "encoder", &networks.encoder, true);
    }
    Ok(layers)
}

fn collect(layers: &mut Vec<Layer>, task: Task, player: &str, net: &Net, input_learns: bool) {
    let mut learns: Vec<bool> = vec![false; net.values().len()];
    if let (true, Some(input)) = (input_learns, net.inputs().first()) {
        learns[input.index()] = true;
    }
    for node in net.nodes() {
        let below = node.inputs.iter().any(|value| learns[value.index()]);
        learns[node.output.index()] = below || !node.params.is_empty();
        let op: &dyn Op = &*node.op;
        let Some(conv) = (op as &dyn Any).downcast_ref::<Conv2d>() else {
            continue;
        };
        let shape = LayerShape::of(conv, net, node);
        let place = format!("{}/{player}/{}", task.name(), node.name);
        match layers.iter_mut().find(|layer| layer.shape == shape) {
            Some(layer) => {
                layer.places.push(place);
                layer.input_gradient |= below;
            }
            None => layers.push(Layer {
                shape,
                places: vec![place],
                input_gradient: below,
            }),
        }
    }
}
