//! Pooling on a device.

use super::{AvgPool, GlobalAvgPool, MaxPool};
use crate::Dims;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::MAPS};

static AVERAGE: Kernel = Kernel::new(&MAPS, "average");
static AVERAGE_GRADIENT: Kernel = Kernel::new(&MAPS, "average_gradient");
static MAXIMUM: Kernel = Kernel::new(&MAPS, "maximum");
static MAXIMUM_GRADIENT: Kernel = Kernel::new(&MAPS, "maximum_gradient");

/// Means over windows of rows × columns positions of maps of `input`, or their gradients.
fn average(
    device: &Device,
    kernel: &'static Kernel,
    input: Dims,
    (rows, columns): (usize, usize),
    from: &Span,
    to: &Span,
) -> Result<(), DeviceError> {
    let args = Args::new().span(from).span(to);
    let args = args.i32(int(input.h)).i32(int(input.w)).i32(int(input.c));
    let args = args.i32(int(rows)).i32(int(columns));
    let n = int(to.len());
    // SAFETY: one thread an element of `to`; what it reads of `from` lies in the map of the same
    // example, whose extents follow from those of the input and the window.
    unsafe { device.launch(kernel, Launch::over(to.len()), args.u64(n as u64)) }
}

/// The same for the window that an operation averages.
trait Averages {
    fn window(&self, input: Dims) -> (usize, usize);
}

impl Averages for AvgPool {
    fn window(&self, _: Dims) -> (usize, usize) {
        (self.kernel, self.kernel)
    }
}

impl Averages for GlobalAvgPool {
    fn window(&self, input: Dims) -> (usize, usize) {
        (input.h, input.w)
    }
}

impl<T: Averages> OnDevice for T {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let input = cx.input_dims[0];
        let window = self.window(input);
        average(cx.device, &AVERAGE, input, window, &cx.inputs[0], cx.output)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let input = cx.input_dims[0];
        let window = self.window(input);
        let grad = cx.input_grads[0].as_ref();
        grad.map_or(Ok(()), |grad| {
            average(
                cx.device,
                &AVERAGE_GRADIENT,
                input,
                window,
                cx.output_grad,
                grad,
            )
        })
    }
}

impl MaxPool {
    /// Extents of both maps and the window, as both kernels take them.
    fn extents(&self, args: Args, input: Dims, output: Dims) -> Args {
        let args = args.i32(int(input.h)).i32(int(input.w)).i32(int(input.c));
        let args = args.i32(int(output.h)).i32(int(output.w));
        args.i32(int(self.kernel))
            .i32(int(self.stride))
            .i32(int(self.padding))
    }
}

impl OnDevice for MaxPool {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let args = Args::new().span(&cx.inputs[0]).span(cx.output);
        let args = self.extents(args, cx.input_dims[0], cx.output_dims);
        let n = int(cx.output.len());
        // SAFETY: one thread an element of the output; it reads its window inside the input.
        unsafe {
            let launch = Launch::over(cx.output.len());
            cx.device.launch(&MAXIMUM, launch, args.u64(n as u64))
        }
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let Some(grad) = &cx.input_grads[0] else {
            return Ok(());
        };
        let args = Args::new().span(&cx.inputs[0]).span(cx.output);
        let args = args.span(cx.output_grad).span(grad);
        let args = self.extents(args, cx.input_dims[0], cx.output_dims);
        let n = int(grad.len());
        // SAFETY: one thread an element of the input; it reads the windows it lies in, inside input
        // and output.
        unsafe {
            let launch = Launch::over(grad.len());
            let args = args.u64(n as u64);
            cx.device.launch(&MAXIMUM_GRADIENT, launch, args)
        }
    }
}
