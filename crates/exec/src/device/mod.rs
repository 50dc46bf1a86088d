//! Networks on a device: the same plans, executed by the kernels of the operations.

mod game;
mod pass;
mod resident;
mod weights;

pub use game::{Game, Noise, Play, Seen};
pub use pass::DevicePass;
pub use resident::ResidentPass;
pub use weights::DeviceWeights;

use viewmaker_device::{Device, DeviceError};
use viewmaker_ops::device::Precision;

/// What executes a network.
#[derive(Clone, Debug, Default)]
pub enum Machine {
    /// The processor.
    #[default]
    Cpu,
    /// A device, with the precision of its products.
    Device(Device, Precision),
}

impl Machine {
    /// Whether it is a device, which leaves the processor's threads to others.
    pub const fn is_device(&self) -> bool {
        matches!(self, Self::Device(..))
    }

    /// Waits until a device has done what it was asked to.
    ///
    /// # Errors
    /// When an earlier kernel failed.
    pub fn synchronize(&self) -> Result<(), DeviceError> {
        match self {
            Self::Cpu => Ok(()),
            Self::Device(device, _) => device.synchronize(),
        }
    }
}
