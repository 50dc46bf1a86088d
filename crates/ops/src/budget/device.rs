//! The distortion budget on a device: one block an example.

use super::{Budget, Norm};
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, DeviceError, Kernel, Launch, source::BUDGET};

static FORWARD: Kernel = Kernel::new(&BUDGET, "budget");
static BACKWARD: Kernel = Kernel::new(&BUDGET, "budget_gradient");

impl Budget {
    /// The last arguments of both kernels.
    fn settings(&self, args: Args, example: usize) -> Args {
        let norm = match self.norm {
            Norm::L1 => 1,
            Norm::L2 => 2,
            Norm::Linf => 3,
        };
        args.i32(int(example)).f32(self.distortion_budget).i32(norm)
    }
}

impl OnDevice for Budget {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let dims = cx.input_dims[0];
        let launch = Launch::linear(int(dims.n) as u32, Launch::THREADS);
        let args = Args::new().span(&cx.inputs[0]).span(cx.output);
        // SAFETY: a block touches the elements of its example in input and output.
        unsafe {
            let args = self.settings(args, dims.example());
            cx.device.launch(&FORWARD, launch, args)
        }
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let Some(grad) = &cx.input_grads[0] else {
            return Ok(());
        };
        let dims = cx.input_dims[0];
        let launch = Launch::linear(int(dims.n) as u32, Launch::THREADS);
        let args = Args::new().span(&cx.inputs[0]).span(cx.output_grad);
        // SAFETY: a block touches the elements of its example in all three spans.
        unsafe {
            let args = self.settings(args.span(grad), dims.example());
            cx.device.launch(&BACKWARD, launch, args)
        }
    }
}
