//! Upsampling on a device.

use super::Upsample;
use crate::device::{Again, Backward, Forward, OnDevice, resample};
use viewmaker_device::{DeviceError, Kernel, source::MAPS};

static FORWARD: Kernel = Kernel::new(&MAPS, "upsample");
static BACKWARD: Kernel = Kernel::new(&MAPS, "upsample_gradient");

impl Upsample {
    /// The output once more.
    pub(super) fn launch_again(cx: &Again<'_>) -> Result<(), DeviceError> {
        let dims = (cx.input_dims[0], cx.output_dims);
        resample(cx.device, &FORWARD, dims, &cx.inputs[0], cx.output)
    }
}

impl OnDevice for Upsample {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let dims = (cx.input_dims[0], cx.output_dims);
        resample(cx.device, &FORWARD, dims, &cx.inputs[0], cx.output)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let dims = (cx.input_dims[0], cx.output_dims);
        let grad = cx.input_grads[0].as_ref();
        grad.map_or(Ok(()), |grad| {
            resample(cx.device, &BACKWARD, dims, cx.output_grad, grad)
        })
    }
}
