//! Flattening on a device: the transpose of every example.

use super::Flatten;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::LAYOUT};

static TRANSPOSE: Kernel = Kernel::new(&LAYOUT, "transpose");

/// Rows and columns of the matrix of every example.
#[derive(Clone, Copy)]
pub struct Matrices {
    /// How many.
    pub examples: usize,
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub columns: usize,
}

/// Transposes every matrix: NHWC to NCHW with positions as rows and channels as columns, or back.
///
/// # Errors
/// When the kernel does not compile or start.
///
/// # Panics
/// When a span has another length.
pub fn transpose(device: &Device, of: Matrices, from: &Span, to: &Span) -> Result<(), DeviceError> {
    const TILE: usize = 32;
    const MOST: usize = 65_535;
    let len = of.examples * of.rows * of.columns;
    assert!(from.len() == len && to.len() == len, "lengths differ");
    if len == 0 {
        return Ok(());
    }
    let tiles = |n: usize| n.div_ceil(TILE) as u32;
    let launch = Launch {
        grid: [
            tiles(of.columns),
            tiles(of.rows),
            of.examples.min(MOST) as u32,
        ],
        block: [TILE as u32, 8, 1],
        shared_bytes: 0,
    };
    let args = Args::new().span(from).span(to);
    let args = args.i32(int(of.examples)).i32(int(of.rows));
    // SAFETY: the kernel touches examples × rows × columns elements of both, as many as they have.
    unsafe { device.launch(&TRANSPOSE, launch, args.i32(int(of.columns))) }
}

impl OnDevice for Flatten {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let dims = cx.input_dims[0];
        let of = Matrices {
            examples: dims.n,
            rows: dims.area(),
            columns: dims.c,
        };
        transpose(cx.device, of, &cx.inputs[0], cx.output)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let dims = cx.input_dims[0];
        let of = Matrices {
            examples: dims.n,
            rows: dims.c,
            columns: dims.area(),
        };
        let grad = cx.input_grads[0].as_ref();
        grad.map_or(Ok(()), |grad| {
            transpose(cx.device, of, cx.output_grad, grad)
        })
    }
}
