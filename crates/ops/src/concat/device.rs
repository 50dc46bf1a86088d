//! Concatenation on a device.

use super::Concat;
use crate::Dims;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::MAPS};

static COPY: Kernel = Kernel::new(&MAPS, "copy_channels");

/// Channels of a map, from one on.
struct Channels<'a> {
    of: &'a Span,
    first: usize,
    all: usize,
}

/// Copies `part.c` channels at every position.
fn copy(
    device: &Device,
    part: Dims,
    from: Channels<'_>,
    to: Channels<'_>,
) -> Result<(), DeviceError> {
    let args = Args::new().span(from.of).span(to.of).i32(int(part.c));
    let args = args.i32(int(from.first)).i32(int(from.all));
    let args = args.i32(int(to.first)).i32(int(to.all));
    // SAFETY: the kernel visits the positions that `part` shares with both maps, and at each `part.c`
    // channels that lie inside both.
    unsafe {
        let args = args.u64(int(part.len()) as u64);
        device.launch(&COPY, Launch::over(part.len()), args)
    }
}

impl OnDevice for Concat {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let mut first = 0;
        for (&dims, input) in cx.input_dims.iter().zip(cx.inputs) {
            let from = Channels {
                of: input,
                first: 0,
                all: dims.c,
            };
            let to = Channels {
                of: cx.output,
                first,
                all: cx.output_dims.c,
            };
            copy(cx.device, dims, from, to)?;
            first += dims.c;
        }
        Ok(())
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let mut first = 0;
        for (&dims, grad) in cx.input_dims.iter().zip(cx.input_grads) {
            if let Some(grad) = grad {
                let from = Channels {
                    of: cx.output_grad,
                    first,
                    all: cx.output_dims.c,
                };
                let to = Channels {
                    of: grad,
                    first: 0,
                    all: dims.c,
                };
                copy(cx.device, dims, from, to)?;
            }
            first += dims.c;
        }
        Ok(())
    }
}
