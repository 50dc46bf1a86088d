//! Losses in streaming form, each one operation on dfdx's tape.
//!
//! They compute what the plain functions of the same name compute, on all cores and without the
//! matrix of all similarities; the same bits come out for any number of threads. The kernels are in
//! [`viewmaker_ops::contrastive`].

use crate::ObjectiveError;
use crate::instdisc::check_draws;
use crate::memory_bank::MemoryBank;
use crate::tensor::{Matrix, Scalar, check_shapes, check_temperature};
use dfdx::prelude::*;
use viewmaker_ops::contrastive::{Contrast, ContrastError, Sampled};

/// Streaming form of [`viewmaker_simclr`](crate::viewmaker_simclr::viewmaker_simclr).
pub fn viewmaker_simclr<T: Tape<f32, Cpu>>(
    z1: Matrix<f32, T>,
    z2: Matrix<f32, T>,
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    stream(
        "viewmaker-simclr",
        Contrast::viewmaker_simclr,
        z1,
        z2,
        temperature,
    )
}

/// Streaming form of [`ntxent`](crate::ntxent::ntxent).
pub fn ntxent<T: Tape<f32, Cpu>>(
    z1: Matrix<f32, T>,
    z2: Matrix<f32, T>,
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    stream("ntxent", Contrast::ntxent, z1, z2, temperature)
}

/// Streaming form of [`dcl`](crate::ntxent::dcl).
pub fn dcl<T: Tape<f32, Cpu>>(
    z1: Matrix<f32, T>,
    z2: Matrix<f32, T>,
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    stream("dcl", Contrast::dcl, z1, z2, temperature)
}

/// Streaming form of [`infonce`](crate::infonce::infonce).
pub fn infonce<T: Tape<f32, Cpu>>(
    z1: Matrix<f32, T>,
    z2: Matrix<f32, T>,
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    stream("infonce", Contrast::infonce, z1, z2, temperature)
}

/// Streaming form of [`instdisc`](crate::instdisc::instdisc), straight from the memory bank.
pub fn instdisc<T: Tape<f32, Cpu>>(
    z: Matrix<f32, T>,
    bank: &MemoryBank,
    indices: &[usize],
    noise: &[usize],
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    check_draws(*z.shape(), (bank.len(), bank.columns()), indices, noise)?;
    check_temperature("instdisc", temperature)?;
    let sampled = Sampled {
        bank: bank.rows(),
        dim: bank.columns(),
        positives: indices,
        noise,
        temperature: temperature as f32,
    };
    let (z, mut tape) = z.contiguous().split_tape();
    let (loss, grad) = sampled.loss_and_gradient(&z.as_vec());
    let out = z.device().tensor(loss);
    let result = out.clone();
    tape.add_backward_op(move |gradients| {
        let loss_grad = gradients.get_or_alloc_mut(&out)?[0];
        for (sum, g) in gradients.get_or_alloc_mut(&z)?.iter_mut().zip(&grad) {
            *sum += loss_grad * g;
        }
        Ok(())
    });
    Ok(result.put_tape(tape))
}

/// Makes the geometry for a number of pairs, a width and a temperature.
type Geometry = fn(usize, usize, f32) -> Result<Contrast, ContrastError>;

fn stream<T: Tape<f32, Cpu>>(
    name: &'static str,
    geometry: Geometry,
    z1: Matrix<f32, T>,
    z2: Matrix<f32, T>,
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    let (pairs, dim) = *z1.shape();
    check_shapes(name, &[(pairs, dim), *z2.shape()], 1)?;
    check_temperature(name, temperature)?;
    let contrast = geometry(pairs, dim, temperature as f32)
        .map_err(|e| ObjectiveError::input(name, "a loss of this shape", e.to_string()))?;
    Ok(on_tape(contrast, z1, z2))
}

/// Runs the kernels on `[z1; z2]` and leaves the gradient on the tape.
fn on_tape<T: Tape<f32, Cpu>>(
    contrast: Contrast,
    z1: Matrix<f32, T>,
    z2: Matrix<f32, T>,
) -> Scalar<f32, T> {
    // Gradients are added element by element below: in the order of rows, not of strides.
    let (z1, tape1) = z1.contiguous().split_tape();
    let (z2, tape2) = z2.contiguous().split_tape();
    let mut tape = tape1.merge(tape2);
    let (loss, saved) = contrast.forward(&[z1.as_vec(), z2.as_vec()].concat());
    let out = z1.device().tensor(loss);
    let result = out.clone();
    tape.add_backward_op(move |gradients| {
        let loss_grad = gradients.get_or_alloc_mut(&out)?[0];
        let mut grad = vec![0.0; contrast.rows() * contrast.dim()];
        contrast.backward(&saved, loss_grad, &mut grad);
        let (grad1, grad2) = grad.split_at(grad.len() / 2);
        for (z, grad) in [(&z1, grad1), (&z2, grad2)] {
            for (sum, g) in gradients.get_or_alloc_mut(z)?.iter_mut().zip(grad) {
                *sum += g;
            }
        }
        Ok(())
    });
    result.put_tape(tape)
}
