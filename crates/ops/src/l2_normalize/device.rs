//! Projection onto the sphere on a device: one warp a row.

use super::L2Normalize;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, DeviceError, Kernel, Launch, source::ROWS};

static FORWARD: Kernel = Kernel::new(&ROWS, "l2_normalise");
static BACKWARD: Kernel = Kernel::new(&ROWS, "l2_normalise_gradient");

impl OnDevice for L2Normalize {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let dims = cx.input_dims[0];
        let args = Args::new().span(&cx.inputs[0]).span(cx.output);
        // SAFETY: the kernel touches n rows of c elements of both.
        unsafe {
            let args = args.i32(int(dims.n)).i32(int(dims.c));
            cx.device.launch(&FORWARD, Launch::over(32 * dims.n), args)
        }
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let Some(grad) = &cx.input_grads[0] else {
            return Ok(());
        };
        let dims = cx.input_dims[0];
        let args = Args::new().span(&cx.inputs[0]).span(cx.output_grad);
        let args = args.span(grad).i32(int(dims.n)).i32(int(dims.c));
        // SAFETY: the kernel touches n rows of c elements of all three.
        unsafe { cx.device.launch(&BACKWARD, Launch::over(32 * dims.n), args) }
    }
}
