//! Sums on a device.

use super::Add;
use crate::device::{self, Backward, Forward, OnDevice};
use viewmaker_device::DeviceError;

impl OnDevice for Add {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        device::add(cx.device, &cx.inputs[0], &cx.inputs[1], cx.output)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let mut grads = cx.input_grads.iter().flatten();
        grads.try_for_each(|grad| cx.device.copy(cx.output_grad, grad))
    }
}
