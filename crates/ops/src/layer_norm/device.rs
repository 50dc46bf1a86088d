//! Layer normalisation on a device: one warp a position.

use super::{EPSILON, LayerNorm};
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, DeviceError, Kernel, Launch, source::ROWS};

static FORWARD: Kernel = Kernel::new(&ROWS, "layer_norm");
static BACKWARD: Kernel = Kernel::new(&ROWS, "layer_norm_gradient");
static PARAMETERS: Kernel = Kernel::new(&ROWS, "layer_norm_parameters");

impl OnDevice for LayerNorm {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let (columns, rows) = (
            cx.input_dims[0].c,
            cx.input_dims[0].len() / cx.input_dims[0].c,
        );
        let args = Args::new().span(&cx.inputs[0]);
        let args = args.span(&cx.params[0]).span(&cx.params[1]);
        let args = args.span(cx.output).span(cx.saved);
        let args = args.i32(int(rows)).i32(int(columns)).f32(EPSILON as f32);
        // SAFETY: the kernel touches rows × columns elements of input and output, columns of the
        // parameters and two a row of `saved`.
        unsafe { cx.device.launch(&FORWARD, Launch::over(32 * rows), args) }
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let (columns, rows) = (
            cx.input_dims[0].c,
            cx.input_dims[0].len() / cx.input_dims[0].c,
        );
        if let Some([weight, bias]) = cx.param_grads {
            let args = Args::new().span(&cx.inputs[0]).span(cx.saved);
            let args = args.span(cx.output_grad).span(weight).span(bias);
            let launch = Launch::linear(columns.div_ceil(32) as u32, Launch::THREADS);
            // SAFETY: rows × columns elements of input and gradient, two a row of `saved`, columns of
            // the parameters' gradients.
            unsafe {
                let args = args.i32(int(rows)).i32(int(columns));
                cx.device.launch(&PARAMETERS, launch, args)?;
            }
        }
        let Some(grad) = &cx.input_grads[0] else {
            return Ok(());
        };
        let args = Args::new().span(&cx.inputs[0]).span(&cx.params[0]);
        let args = args.span(cx.saved).span(cx.output_grad).span(grad);
        // SAFETY: as above, and rows × columns elements of the gradient that is written.
        unsafe {
            let args = args.i32(int(rows)).i32(int(columns));
            cx.device.launch(&BACKWARD, Launch::over(32 * rows), args)
        }
    }
}
