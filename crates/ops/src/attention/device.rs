//! Attention on a device: one thread a query for the weights, one an element for the rest.

use super::{Attention, Geometry};
use crate::Dims;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, DeviceError, Kernel, Launch, source::ROWS};

static WEIGHTS: Kernel = Kernel::new(&ROWS, "attention_weights");
static VALUES: Kernel = Kernel::new(&ROWS, "attention_values");
static SLOPES: Kernel = Kernel::new(&ROWS, "attention_slopes");
static GRADIENT: Kernel = Kernel::new(&ROWS, "attention_gradient");

/// Positions, heads and width, as all kernels take them.
fn extents(args: Args, g: Geometry) -> Args {
    args.i32(int(g.positions))
        .i32(int(g.heads))
        .i32(int(g.width))
}

impl OnDevice for Attention {
    /// The gradient of every attention weight.
    fn device_scratch_len(&self, inputs: &[Dims]) -> usize {
        inputs[0].n * self.geometry(inputs).weights()
    }

    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let g = self.geometry(cx.input_dims);
        let queries = cx.input_dims[0].n * g.heads * g.positions;
        let weights = Args::new().span(&cx.inputs[0]).span(&cx.inputs[1]);
        let weights = weights.span(cx.saved).i32(int(queries));
        let values = Args::new().span(&cx.inputs[0]).span(cx.saved);
        let n = int(cx.output.len());
        // SAFETY: `saved` has a weight for every query and position; the rest are the elements of the
        // inputs and the output.
        unsafe {
            let launch = Launch::over(queries);
            cx.device.launch(&WEIGHTS, launch, extents(weights, g))?;
            let values = extents(values.span(cx.output), g).u64(n as u64);
            let launch = Launch::over(cx.output.len());
            cx.device.launch(&VALUES, launch, values)
        }
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        if let Some(present) = &cx.input_grads[1] {
            cx.device.fill_zero(present)?;
        }
        let Some(grad) = &cx.input_grads[0] else {
            return Ok(());
        };
        let g = self.geometry(cx.input_dims);
        let queries = cx.input_dims[0].n * g.heads * g.positions;
        let slopes = Args::new().span(&cx.inputs[0]).span(cx.saved);
        let slopes = slopes.span(cx.output_grad).span(cx.scratch);
        let rest = Args::new().span(&cx.inputs[0]).span(cx.saved);
        let rest = rest.span(cx.scratch).span(cx.output_grad).span(grad);
        let n = int(grad.len());
        // SAFETY: `saved` and scratch have an element for every query and position; the rest are the
        // elements of the input and of both gradients.
        unsafe {
            let slopes = extents(slopes.i32(int(queries)), g);
            cx.device.launch(&SLOPES, Launch::over(queries), slopes)?;
            let rest = extents(rest, g).u64(n as u64);
            cx.device.launch(&GRADIENT, Launch::over(grad.len()), rest)
        }
    }
}
