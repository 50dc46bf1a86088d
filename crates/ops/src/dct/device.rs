//! Cosine transforms on a device: products with the matrices that define them, rows then columns.
//!
//! At the sizes of spectrograms a product is a few dozen additions a number, all of them from the
//! cache: a fast transform would save nothing there.

use super::Dct2;
use crate::Dims;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::DCT};

static TABLE: Kernel = Kernel::new(&DCT, "cosine_table");
static TRANSFORM: Kernel = Kernel::new(&DCT, "transform_axis");

/// The matrices, as `cosine_table` numbers them; adjoints are transposes.
#[derive(Clone, Copy)]
enum Matrix {
    Forward = 0,
    Inverse = 1,
    ForwardAdjoint = 2,
    InverseAdjoint = 3,
}

/// One axis of every channel: scratch for its table, its extent and the elements between neighbours.
struct Axis<'a> {
    table: &'a Span,
    size: usize,
    inner: usize,
}

fn transform_axis(
    device: &Device,
    matrix: Matrix,
    axis: &Axis<'_>,
    from: &Span,
    to: &Span,
) -> Result<(), DeviceError> {
    let table = Args::new().span(axis.table).i32(int(axis.size));
    let args = Args::new().span(from).span(axis.table).span(to);
    let args = args.i32(int(axis.size)).i32(int(axis.inner));
    let n = int(to.len());
    // SAFETY: the table has size² elements; `from` and `to` have as many elements, cut into lines of
    // size × inner.
    unsafe {
        let launch = Launch::over(axis.table.len());
        device.launch(&TABLE, launch, table.i32(matrix as i32))?;
        device.launch(&TRANSFORM, Launch::over(to.len()), args.u64(n as u64))
    }
}

/// Both axes of every channel.
fn transform(
    device: &Device,
    matrix: Matrix,
    dims: Dims,
    (from, to): (&Span, &Span),
    scratch: &Span,
) -> Result<(), DeviceError> {
    let half = scratch.slice(0..dims.len());
    let tables = scratch.slice(dims.len()..scratch.len());
    let rows = Axis {
        table: &tables.slice(0..dims.h * dims.h),
        size: dims.h,
        inner: dims.w * dims.c,
    };
    let columns = Axis {
        table: &tables.slice(dims.h * dims.h..dims.h * dims.h + dims.w * dims.w),
        size: dims.w,
        inner: dims.c,
    };
    transform_axis(device, matrix, &rows, from, &half)?;
    transform_axis(device, matrix, &columns, &half, to)
}

impl OnDevice for Dct2 {
    /// The result of the first axis, and both tables.
    fn device_scratch_len(&self, inputs: &[Dims]) -> usize {
        let Dims { h, w, .. } = inputs[0];
        inputs[0].len() + h * h + w * w
    }

    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let matrix = match self.inverse {
            true => Matrix::Inverse,
            false => Matrix::Forward,
        };
        let spans = (&cx.inputs[0], cx.output);
        transform(cx.device, matrix, cx.input_dims[0], spans, cx.scratch)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let matrix = match self.inverse {
            true => Matrix::InverseAdjoint,
            false => Matrix::ForwardAdjoint,
        };
        let grad = cx.input_grads[0].as_ref();
        grad.map_or(Ok(()), |grad| {
            let spans = (cx.output_grad, grad);
            transform(cx.device, matrix, cx.input_dims[0], spans, cx.scratch)
        })
    }
}
