//! The three matrix products of a linear layer, cut into blocks of rows.

use crate::Dims;
use crate::gemm::{Destination, Matrix, MatrixMut, multiply};
use rayon::prelude::*;

/// Rows of a result that one product computes.
const ROWS: usize = 32;

/// `output = bias + input · weightᵀ`, a block of examples at a time.
pub(super) fn forward(
    dims: Dims,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let (n, ci) = (dims.n, dims.c);
    let co = output.len() / n;
    let weight = Matrix::new(weight, co, ci).transposed();
    let blocks = output.par_chunks_mut(ROWS * co);
    blocks
        .zip(input.par_chunks(ROWS * ci))
        .for_each(|(out, x)| {
            let rows = x.len() / ci;
            let destination = match bias {
                None => Destination::Overwrite,
                Some(bias) => {
                    out.chunks_exact_mut(co)
                        .for_each(|out| out.copy_from_slice(bias));
                    Destination::Accumulate
                }
            };
            let x = Matrix::new(x, rows, ci);
            multiply(MatrixMut::new(out, rows, co), destination, x, weight);
        });
}

/// `input_grad = output_grad · weight`, a block of examples at a time.
pub(super) fn backward_input(
    dims: Dims,
    output_grad: &[f32],
    weight: &[f32],
    input_grad: &mut [f32],
) {
    let (n, ci) = (dims.n, dims.c);
    let co = output_grad.len() / n;
    let weight = Matrix::new(weight, co, ci);
    let blocks = input_grad.par_chunks_mut(ROWS * ci);
    blocks
        .zip(output_grad.par_chunks(ROWS * co))
        .for_each(|(out, grad)| {
            let rows = grad.len() / co;
            let grad = Matrix::new(grad, rows, co);
            let out = MatrixMut::new(out, rows, ci);
            multiply(out, Destination::Overwrite, grad, weight);
        });
}

/// `weight_grad += output_gradᵀ · input`, a block of output features at a time.
pub(super) fn backward_weight(
    dims: Dims,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
) {
    let (n, ci) = (dims.n, dims.c);
    let co = output_grad.len() / n;
    let input = Matrix::new(input, n, ci);
    let grad = Matrix::new(output_grad, n, co).transposed();
    let blocks = weight_grad.par_chunks_mut(ROWS * ci).enumerate();
    blocks.for_each(|(block, out)| {
        let rows = out.len() / ci;
        let out = MatrixMut::new(out, rows, ci);
        let grad = grad.rows(block * ROWS..block * ROWS + rows);
        multiply(out, Destination::Accumulate, grad, input);
    });
}

/// Adds the output gradient of every example to `bias_grad`.
pub(super) fn backward_bias(output_grad: &[f32], bias_grad: &mut [f32]) {
    for grad in output_grad.chunks_exact(bias_grad.len()) {
        bias_grad.iter_mut().zip(grad).for_each(|(b, g)| *b += g);
    }
}
