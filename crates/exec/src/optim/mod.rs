//! Optimisers over the flat parameter buffer of a network, and learning-rate schedules.
//!
//! Updates are those of PyTorch, so that training runs can be compared step by step.

mod adam;
mod device;
mod schedule;
mod sgd;

pub use adam::Adam;
pub use schedule::Schedule;
pub use sgd::Sgd;

use crate::Tensor;
use std::collections::BTreeMap;
use std::ops::Range;
use viewmaker_device::{DeviceError, Span};
use viewmaker_net::Net;

/// Elements updated by one task.
const PIECE: usize = 1 << 14;

/// An optimiser for one network.
pub trait Optimizer: std::fmt::Debug + Send {
    /// Moves `params` along `grads` with learning rate `lr`; both are laid out as
    /// [`crate::Weights::params`].
    fn step(&mut self, params: &mut [f32], grads: &[f32], lr: f32);

    /// The same on a device; `grads` lies on the same one as `params`, and so does this optimiser's
    /// state from then on.
    ///
    /// # Errors
    /// When the device has too little memory or a kernel does not start.
    fn device_step(&mut self, params: &Span, grads: &Span, lr: f32) -> Result<(), DeviceError>;

    /// What a checkpoint must hold: buffers by parameter name, `weight#sgd_momentum` and so on.
    ///
    /// # Errors
    /// When they cannot be read from a device.
    fn state(&self, net: &Net) -> Result<BTreeMap<String, Tensor>, DeviceError>;

    /// Takes back what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// The name of the first tensor that is missing or has the wrong number of elements.
    fn load_state(&mut self, net: &Net, state: &BTreeMap<String, Tensor>) -> Result<(), String>;
}

/// The parts of the parameter buffer that take part in training: stored but unused parameters
/// have no gradient and must not decay.
fn used_ranges(net: &Net) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for param in net.params().iter().filter(|p| p.used) {
        match ranges.last_mut() {
            Some(last) if last.end == param.offset => last.end = param.range().end,
            _ => ranges.push(param.range()),
        }
    }
    ranges
}

/// Cuts a buffer into one tensor per used parameter, called `<parameter>#<suffix>`.
fn export(net: &Net, suffix: &str, buffer: &[f32], out: &mut BTreeMap<String, Tensor>) {
    for param in net.params().iter().filter(|p| p.used) {
        let tensor = Tensor {
            shape: param.shape.clone(),
            data: buffer[param.range()].to_vec(),
        };
        out.insert(format!("{}#{suffix}", param.name), tensor);
    }
}

/// The inverse of [`export`].
fn import(
    net: &Net,
    suffix: &str,
    buffer: &mut [f32],
    state: &BTreeMap<String, Tensor>,
) -> Result<(), String> {
    for param in net.params().iter().filter(|p| p.used) {
        let name = format!("{}#{suffix}", param.name);
        match state.get(&name) {
            Some(tensor) if tensor.data.len() == param.len() => {
                buffer[param.range()].copy_from_slice(&tensor.data);
            }
            _ => return Err(name),
        }
    }
    Ok(())
}
