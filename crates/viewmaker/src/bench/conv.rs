//! The convolution and fully connected layers of a configuration's networks, one at a time: output and
//! gradients, by every version of a device's kernels.

use super::{Spread, clock};
use crate::error::{Error, Result};
use crate::model::Networks;
use serde::Serialize;
use std::time::Instant;
use viewmaker_device::{Device, DeviceError, Span};
use viewmaker_net::Net;
use viewmaker_ops::conv2d::Version;
use viewmaker_ops::random::Philox;
use viewmaker_ops::{Backward, Dims, Forward, Mode, Op, device};

/// What of a layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pass {
    /// The output.
    Output,
    /// The gradient with respect to the input.
    InputGradient,
    /// The gradient with respect to weights and bias.
    WeightGradient,
}

impl Pass {
    /// Every pass, in the order of a step.
    pub const ALL: [Self; 3] = [Self::Output, Self::InputGradient, Self::WeightGradient];
}

/// A layer, and where it occurs.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Operation, shapes of input and output (n×h×w×c, or n×c), attributes.
    pub name: String,
    /// `encoder/layer1.0.conv1` …
    pub places: Vec<String>,
    /// Floating-point operations of a pass by the definition of the layer.
    pub flops: u64,
    #[serde(skip)]
    op: std::sync::Arc<dyn Op>,
    #[serde(skip)]
    input: Dims,
    #[serde(skip)]
    output: Dims,
}

/// What a measurement found.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was computed.
    #[serde(flatten)]
    pub layer: Layer,
    /// Which part of it.
    pub pass: Pass,
    /// Name of the device.
    pub device: String,
    /// Version of the kernels, where a device has several.
    pub kernels: Option<String>,
    /// Seconds of a pass; on a device, of one of several in a graph.
    pub time: Spread,
}

/// Every distinct layer of both networks for `batch` examples, in the order of first occurrence.
pub fn layers(networks: &Networks, batch: usize) -> Vec<Layer> {
    let mut layers = Vec::new();
    if let Some(views) = &networks.views {
        collect(&mut layers, "viewmaker", views, batch);
    }
    collect(&mut layers, "encoder", &networks.encoder, batch);
    layers
}

fn collect(layers: &mut Vec<Layer>, player: &str, net: &Net, batch: usize) {
    for node in net.nodes() {
        if !["conv2d", "linear"].contains(&node.op.name()) {
            continue;
        }
        let dims = net.input_dims(node, batch);
        let (input, output) = (dims[0], net.dims(node.output, batch));
        let attributes = node.op.attributes();
        let name = format!("{} {input}→{output} {attributes}", node.op.name());
        let name = name.trim_end().to_owned();
        let place = format!("{player}/{}", node.name);
        match layers.iter_mut().find(|layer| layer.name == name) {
            Some(layer) => layer.places.push(place),
            None => layers.push(Layer {
                name,
                places: vec![place],
                flops: node.op.flops(&dims),
                op: std::sync::Arc::clone(&node.op),
                input,
                output,
            }),
        }
    }
}

/// Numbers around 0, other ones for every `stream`.
fn numbers(len: usize, stream: u32) -> Vec<f32> {
    let mut values = vec![0.0; len];
    Philox::new(0, stream, 0).fill_uniform(&mut values);
    values.iter_mut().for_each(|x| *x -= 0.5);
    values
}

impl Layer {
    fn param_lens(&self) -> Vec<usize> {
        let params = self.op.params(&[self.input]);
        params.iter().map(|p| p.shape.iter().product()).collect()
    }

    fn measured(
        &self,
        pass: Pass,
        device: &str,
        kernels: Option<Version>,
        times: &[f64],
    ) -> Result<Measured> {
        Ok(Measured {
            layer: self.clone(),
            pass,
            device: device.to_owned(),
            kernels: kernels.map(|version| version.to_string()),
            time: Spread::of(times).ok_or_else(|| Error::usage("no repeats"))?,
        })
    }

    /// Measures a pass on the processor: `repeats` times after one that is not counted.
    ///
    /// # Errors
    /// When there are no repeats.
    pub fn on_cpu(&self, pass: Pass, repeats: usize) -> Result<Measured> {
        let dims = [self.input];
        let (x, output_grad) = (numbers(self.input.len(), 1), numbers(self.output.len(), 2));
        let params: Vec<_> = self.param_lens().iter().map(|&n| numbers(n, 3)).collect();
        let params: Vec<&[f32]> = params.iter().map(Vec::as_slice).collect();
        let scratch = self.op.scratch_len(&dims, rayon::current_num_threads());
        let (mut output, mut scratch) = (vec![0.0; self.output.len()], vec![0.0; scratch]);
        let mut input_grad = vec![0.0; self.input.len()];
        let mut param_grads: Vec<_> = params.iter().map(|p| vec![0.0; p.len()]).collect();
        let mut times = Vec::new();
        for repeat in 0..=repeats {
            let start = Instant::now();
            match pass {
                Pass::Output => self.op.forward(Forward {
                    mode: Mode::Train,
                    input_dims: &dims,
                    output_dims: self.output,
                    inputs: &[&x],
                    params: &params,
                    state: &mut [],
                    output: &mut output,
                    saved: &mut [],
                    scratch: &mut scratch,
                }),
                Pass::InputGradient | Pass::WeightGradient => {
                    let mut grads: Vec<_> = param_grads.iter_mut().map(|g| &mut g[..]).collect();
                    let of_input = pass == Pass::InputGradient;
                    self.op.backward(Backward {
                        mode: Mode::Train,
                        input_dims: &dims,
                        output_dims: self.output,
                        inputs: &[&x],
                        params: &params,
                        state: &[],
                        output: &output,
                        saved: &[],
                        output_grad: &output_grad,
                        input_grads: &mut [of_input.then_some(&mut input_grad[..])],
                        param_grads: (!of_input).then_some(&mut grads[..]),
                        scratch: &mut scratch,
                    });
                }
            }
            if repeat > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
        self.measured(pass, "cpu", None, &times)
    }

    /// The layer with numbers in the memory of a device, for every version and pass.
    ///
    /// # Errors
    /// When the device has too little memory, or fails.
    pub fn on_device<'a>(&'a self, device: &'a Device) -> Result<OnDevice<'a>> {
        OnDevice::new(device, self).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &DeviceError) -> Error {
        Error::failure(format!("{}: {error}", self.name))
    }
}

/// A layer, and what its passes read and write on a device.
pub struct OnDevice<'a> {
    layer: &'a Layer,
    device: &'a Device,
    x: Span,
    output_grad: Span,
    params: Vec<Span>,
    output: Span,
    input_grad: Option<Span>,
    param_grads: Vec<Span>,
    scratch: Span,
}

impl<'a> OnDevice<'a> {
    fn new(device: &'a Device, layer: &'a Layer) -> std::result::Result<Self, DeviceError> {
        let room = |len: usize| Ok(device.alloc(len)?.all());
        let filled = |len: usize, stream| {
            let span = room(len)?;
            device.upload(&span, &numbers(len, stream))?;
            Ok(span)
        };
        let lens = layer.param_lens();
        Ok(Self {
            layer,
            device,
            x: filled(layer.input.len(), 1)?,
            output_grad: filled(layer.output.len(), 2)?,
            params: lens
                .iter()
                .map(|&n| filled(n, 3))
                .collect::<std::result::Result<_, _>>()?,
            output: room(layer.output.len())?,
            input_grad: Some(room(layer.input.len())?),
            param_grads: lens
                .iter()
                .map(|&n| room(n))
                .collect::<std::result::Result<_, _>>()?,
            scratch: room(layer.op.device_scratch_len(&[layer.input]))?,
        })
    }

    /// Measures a pass by one version of the kernels, `repeats` times by the device's own clock.
    ///
    /// # Errors
    /// When the device fails, or there are no repeats.
    pub fn measure(&self, version: Version, pass: Pass, repeats: usize) -> Result<Measured> {
        let times = clock::seconds(self.device, repeats, || self.compute(version, pass));
        let times = times.map_err(|error| self.layer.failed(&error))?;
        let name = self.device.name();
        self.layer.measured(pass, name, Some(version), &times)
    }

    fn compute(&self, version: Version, pass: Pass) -> std::result::Result<(), DeviceError> {
        let (layer, nothing) = (self.layer, self.scratch.slice(0..0));
        if pass == Pass::Output {
            return layer.op.device_forward(&device::Forward {
                device: self.device,
                precision: version.precision(),
                convolution: Some(version),
                mode: Mode::Train,
                input_dims: &[layer.input],
                output_dims: layer.output,
                inputs: std::slice::from_ref(&self.x),
                params: &self.params,
                state: &[],
                output: &self.output,
                saved: &nothing,
                scratch: &self.scratch,
            });
        }
        let of_input = pass == Pass::InputGradient;
        layer.op.device_backward(&device::Backward {
            device: self.device,
            precision: version.precision(),
            convolution: Some(version),
            mode: Mode::Train,
            input_dims: &[layer.input],
            output_dims: layer.output,
            inputs: std::slice::from_ref(&self.x),
            params: &self.params,
            output: &self.output,
            saved: &nothing,
            output_grad: &self.output_grad,
            input_grads: match of_input {
                true => std::slice::from_ref(&self.input_grad),
                false => &[None],
            },
            param_grads: (!of_input).then_some(&self.param_grads[..]),
            scratch: &self.scratch,
        })
    }
}
