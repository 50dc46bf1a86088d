//! Parameters, state and gradients of a network on a device.

use crate::Weights;
use viewmaker_device::{Buffer, Device, DeviceError, Span};
use viewmaker_ops::device::update;

/// Where the latest weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latest {
    Everywhere,
    Host,
    Device,
}

/// A second copy of a network's weights, and its only gradients. Whichever copy is older is refreshed
/// when it is asked for.
#[derive(Debug)]
pub struct DeviceWeights {
    device: Device,
    params: Buffer,
    state: Buffer,
    grads: Buffer,
    latest: Latest,
}

impl DeviceWeights {
    /// Memory for `weights` on `device`; gradients are zero.
    ///
    /// # Errors
    /// When there is too little.
    pub fn new(device: &Device, weights: &Weights) -> Result<Self, DeviceError> {
        Ok(Self {
            params: device.alloc(weights.params.len())?,
            state: device.alloc(weights.state.len())?,
            grads: device.alloc(weights.params.len())?,
            device: device.clone(),
            latest: Latest::Host,
        })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Parameters, laid out as [`Weights::params`].
    pub fn params(&self) -> Span {
        self.params.all()
    }

    /// Running statistics, laid out as [`Weights::state`].
    pub fn state(&self) -> Span {
        self.state.all()
    }

    /// Gradients of the parameters.
    pub fn grads(&self) -> Span {
        self.grads.all()
    }

    /// The host's copy was changed.
    pub fn host_changed(&mut self) {
        self.latest = Latest::Host;
    }

    /// The device's copy was changed.
    pub fn device_changed(&mut self) {
        self.latest = Latest::Device;
    }

    /// Whether the host's copy is out of date.
    pub fn host_is_stale(&self) -> bool {
        self.latest == Latest::Device
    }

    /// Brings the device's copy up to date.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn upload(&mut self, weights: &Weights) -> Result<(), DeviceError> {
        if self.latest == Latest::Host {
            self.device.upload(&self.params(), &weights.params)?;
            self.device.upload(&self.state(), &weights.state)?;
            self.latest = Latest::Everywhere;
        }
        Ok(())
    }

    /// Brings the host's copy up to date.
    ///
    /// # Errors
    /// When the driver or an earlier kernel fails.
    pub fn download(&mut self, weights: &mut Weights) -> Result<(), DeviceError> {
        if self.latest == Latest::Device {
            self.device.download(&self.params(), &mut weights.params)?;
            self.device.download(&self.state(), &mut weights.state)?;
            self.latest = Latest::Everywhere;
        }
        Ok(())
    }

    /// Multiplies the gradients by `factor`.
    ///
    /// # Errors
    /// When the kernel does not start.
    pub fn scale_grads(&self, factor: f32) -> Result<(), DeviceError> {
        update::scale(&self.grads(), factor)
    }

    /// Sets the gradients to zero.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn zero_grads(&self) -> Result<(), DeviceError> {
        self.device.fill_zero(&self.grads())
    }

    /// [`Weights::follow`] on the device; both copies there must be up to date.
    ///
    /// # Errors
    /// When the kernel does not start.
    ///
    /// # Panics
    /// When `other` has another number of parameters.
    pub fn follow(&mut self, other: &Self, momentum: f32) -> Result<(), DeviceError> {
        update::follow(&self.params(), &other.params(), momentum)?;
        self.latest = Latest::Device;
        Ok(())
    }
}
