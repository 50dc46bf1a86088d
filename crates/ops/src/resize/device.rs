//! Bilinear resizing on a device.

use super::Resize;
use crate::Dims;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::MAPS};

static FORWARD: Kernel = Kernel::new(&MAPS, "resize");
static BACKWARD: Kernel = Kernel::new(&MAPS, "resize_gradient");

/// Launches `kernel`, which takes maps of `input` to maps of `output`, or gradients back.
fn launch(
    device: &Device,
    kernel: &'static Kernel,
    (input, output): (Dims, Dims),
    from: &Span,
    to: &Span,
) -> Result<(), DeviceError> {
    let args = Args::new().span(from).span(to);
    let args = args.i32(int(input.h)).i32(int(input.w)).i32(int(input.c));
    let args = args.i32(int(output.h)).i32(int(output.w));
    let n = int(to.len());
    // SAFETY: one thread an element of `to`; the elements of `from` that it reads lie in the map of
    // the same example, which has the other extents.
    unsafe { device.launch(kernel, Launch::over(to.len()), args.u64(n as u64)) }
}

impl OnDevice for Resize {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let dims = (cx.input_dims[0], cx.output_dims);
        launch(cx.device, &FORWARD, dims, &cx.inputs[0], cx.output)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let dims = (cx.input_dims[0], cx.output_dims);
        let grad = cx.input_grads[0].as_ref();
        grad.map_or(Ok(()), |grad| {
            launch(cx.device, &BACKWARD, dims, cx.output_grad, grad)
        })
    }
}
