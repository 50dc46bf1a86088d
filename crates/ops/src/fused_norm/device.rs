//! A normalisation with its tail on a device.

use super::{FusedNorm, Norm};
use crate::device::{Again, Backward, Forward, OnDevice};
use crate::{Dims, batch_norm, instance_norm};
use viewmaker_device::DeviceError;

impl FusedNorm {
    /// The output once more.
    pub(super) fn launch_again(&self, cx: &Again<'_>) -> Result<(), DeviceError> {
        match &self.norm {
            Norm::Batch(_) => batch_norm::device::rebuild(self.tail, cx),
            Norm::Instance(_) => instance_norm::device::rebuild(self.tail, cx),
        }
    }
}

impl OnDevice for FusedNorm {
    fn device_scratch_len(&self, inputs: &[Dims]) -> usize {
        match &self.norm {
            Norm::Batch(_) => batch_norm::device::scratch_len(inputs[0]),
            Norm::Instance(_) => instance_norm::device::scratch_len(inputs[0]),
        }
    }

    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        match &self.norm {
            Norm::Batch(norm) => batch_norm::device::forward(norm, self.tail, cx),
            Norm::Instance(norm) => instance_norm::device::forward(norm, self.tail, cx),
        }
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        match &self.norm {
            Norm::Batch(_) => batch_norm::device::backward(self.tail, cx),
            Norm::Instance(_) => instance_norm::device::backward(self.tail, cx),
        }
    }
}
