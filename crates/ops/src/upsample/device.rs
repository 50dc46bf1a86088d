//! Upsampling on a device.

use super::Upsample;
use crate::Dims;
use crate::device::{Again, Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::MAPS};

static FORWARD: Kernel = Kernel::new(&MAPS, "upsample");
static BACKWARD: Kernel = Kernel::new(&MAPS, "upsample_gradient");

/// Launches `kernel`, whose one side are maps of `small` and whose other maps of `large`.
fn launch(
    device: &Device,
    kernel: &'static Kernel,
    (small, large): (Dims, Dims),
    from: &Span,
    to: &Span,
) -> Result<(), DeviceError> {
    let args = Args::new().span(from).span(to);
    let args = args.i32(int(small.h)).i32(int(small.w)).i32(int(small.c));
    let args = args.i32(int(large.h)).i32(int(large.w));
    let n = int(to.len());
    // SAFETY: one thread an element of `to`; the elements of `from` that it reads lie in the map of
    // the same example, which has the other extents.
    unsafe { device.launch(kernel, Launch::over(to.len()), args.u64(n as u64)) }
}

impl Upsample {
    /// The output once more.
    pub(super) fn launch_again(cx: &Again<'_>) -> Result<(), DeviceError> {
        let dims = (cx.input_dims[0], cx.output_dims);
        launch(cx.device, &FORWARD, dims, &cx.inputs[0], cx.output)
    }
}

impl OnDevice for Upsample {
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
