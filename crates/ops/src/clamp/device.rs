//! Limits on a device.

use super::Clamp;
use crate::device::{Backward, Forward, OnDevice};
use viewmaker_device::{Args, DeviceError, Kernel, Launch, source::MAPS};

static FORWARD: Kernel = Kernel::new(&MAPS, "clamp");
static BACKWARD: Kernel = Kernel::new(&MAPS, "clamp_gradient");

impl OnDevice for Clamp {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let n = cx.output.len();
        let args = Args::new().span(&cx.inputs[0]).span(cx.output);
        let args = args.f32(self.min).f32(self.max).u64(n as u64);
        // SAFETY: the kernel touches as many elements of input and output as the output has.
        unsafe { cx.device.launch(&FORWARD, Launch::over(n), args) }
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let Some(grad) = &cx.input_grads[0] else {
            return Ok(());
        };
        let args = Args::new().span(&cx.inputs[0]).span(cx.output_grad);
        let args = args.span(grad).f32(self.min).f32(self.max);
        // SAFETY: the kernel touches as many elements of each span as the gradient has.
        unsafe {
            let args = args.u64(grad.len() as u64);
            cx.device.launch(&BACKWARD, Launch::over(grad.len()), args)
        }
    }
}
