//! Pooling by its definition, in double precision.

use super::MaxPool;
use crate::{Backward, Dims, Forward};

fn index(d: Dims, n: usize, y: usize, x: usize, c: usize) -> usize {
    ((n * d.h + y) * d.w + x) * d.c + c
}

/// Calls `visit(n, y, x, c)` for every element of `d`.
fn each(d: Dims, mut visit: impl FnMut(usize, usize, usize, usize)) {
    for i in 0..d.len() {
        let (position, c) = (i / d.c, i % d.c);
        let (line, x) = (position / d.w, position % d.w);
        visit(line / d.h, line % d.h, x, c);
    }
}

pub(super) fn average_forward(rows: usize, columns: usize, cx: Forward<'_, f64>) {
    let (input, output) = (cx.input_dims[0], cx.output_dims);
    each(output, |n, oy, ox, c| {
        let mut sum = 0.0;
        for y in oy * rows..(oy + 1) * rows {
            for x in ox * columns..(ox + 1) * columns {
                sum += cx.inputs[0][index(input, n, y, x, c)];
            }
        }
        cx.output[index(output, n, oy, ox, c)] = sum / (rows * columns) as f64;
    });
}

pub(super) fn average_backward(rows: usize, columns: usize, cx: Backward<'_, f64>) {
    let (input, output) = (cx.input_dims[0], cx.output_dims);
    let Some(input_grad) = &mut cx.input_grads[0] else {
        return;
    };
    each(input, |n, y, x, c| {
        let (oy, ox) = (y / rows, x / columns);
        let used = oy < output.h && ox < output.w;
        input_grad[index(input, n, y, x, c)] = match used {
            true => cx.output_grad[index(output, n, oy, ox, c)] / (rows * columns) as f64,
            false => 0.0,
        };
    });
}

/// Index of the first maximum in the window of output `(oy, ox)`.
fn argmax(op: &MaxPool, d: Dims, x: &[f64], at: (usize, usize, usize, usize)) -> usize {
    let (n, oy, ox, c) = at;
    let mut best = None;
    // A window counts from −padding; positions outside the input are skipped.
    for (ky, kx) in (0..op.kernel).flat_map(|ky| (0..op.kernel).map(move |kx| (ky, kx))) {
        let y = (oy * op.stride + ky).checked_sub(op.padding);
        let column = (ox * op.stride + kx).checked_sub(op.padding);
        let (Some(y), Some(column)) = (y.filter(|y| *y < d.h), column.filter(|x| *x < d.w)) else {
            continue;
        };
        let i = index(d, n, y, column, c);
        if best.is_none_or(|b: usize| x[i] > x[b]) {
            best = Some(i);
        }
    }
    best.expect("padding of at most half the kernel leaves no window empty")
}

pub(super) fn maximum_forward(op: &MaxPool, cx: Forward<'_, f64>) {
    let (input, output) = (cx.input_dims[0], cx.output_dims);
    each(output, |n, oy, ox, c| {
        let from = argmax(op, input, cx.inputs[0], (n, oy, ox, c));
        cx.output[index(output, n, oy, ox, c)] = cx.inputs[0][from];
    });
}

pub(super) fn maximum_backward(op: &MaxPool, cx: Backward<'_, f64>) {
    let (input, output) = (cx.input_dims[0], cx.output_dims);
    let Some(input_grad) = &mut cx.input_grads[0] else {
        return;
    };
    input_grad.fill(0.0);
    each(output, |n, oy, ox, c| {
        let from = argmax(op, input, cx.inputs[0], (n, oy, ox, c));
        input_grad[from] += cx.output_grad[index(output, n, oy, ox, c)];
    });
}
