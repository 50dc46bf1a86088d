//! Losses in streaming form, each one operation on dfdx's tape.
//!
//! They compute what the plain functions of the same name compute, on all cores and without the
//! matrix of all similarities; the same bits come out for any number of threads. The kernels are in
//! [`viewmaker_ops::contrastive`].

use crate::ObjectiveError;
use crate::instdisc::check_draws;
use crate::key_queue::KeyQueue;
use crate::memory_bank::MemoryBank;
use crate::moco::check_keys;
use crate::objective::Geometry;
use crate::supcon::check_labels;
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

/// [`infonce`] where the second view is a constant, whose gradient is not computed.
pub fn infonce_of_constants<T: Tape<f32, Cpu>>(
    z: Matrix<f32, T>,
    keys: Matrix<f32>,
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    let name = "infonce";
    let (pairs, dim) = *z.shape();
    check_shapes(name, &[(pairs, dim), *keys.shape()], 1)?;
    check_temperature(name, temperature)?;
    let contrast = Contrast::infonce_of_constants(pairs, dim, temperature as f32);
    let contrast = contrast.map_err(|e| refused(name, &e))?;
    Ok(on_tape(contrast, [z], &keys.as_vec(), None))
}

/// Streaming form of [`moco`](crate::moco::moco), straight from the queue.
pub fn moco<T: Tape<f32, Cpu>>(
    q: Matrix<f32, T>,
    key: Matrix<f32>,
    queue: &KeyQueue,
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    let (queries, dim) = *q.shape();
    check_keys(*q.shape(), *key.shape(), queue.columns())?;
    check_temperature("moco", temperature)?;
    let contrast = Contrast::moco(queries, queue.len(), dim, temperature as f32);
    let contrast = contrast.map_err(|e| refused("moco", &e))?;
    let constants = [&key.as_vec()[..], queue.rows()].concat();
    Ok(on_tape(contrast, [q], &constants, None))
}

/// Streaming form of [`clip`](crate::clip::clip). A scale beyond 1e±4, which means nothing, is left
/// to that function.
pub fn clip<T: Tape<f32, Cpu>>(
    z1: Matrix<f32, T>,
    z2: Matrix<f32, T>,
    log_scale: Scalar<f32, T>,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    let (pairs, dim) = *z1.shape();
    check_shapes("clip", &[(pairs, dim), *z2.shape()], 1)?;
    let temperature = (-f64::from(log_scale.array())).exp();
    if check_temperature("clip", temperature).is_err() {
        return crate::clip::clip(z1, z2, log_scale);
    }
    let contrast = Contrast::clip(pairs, dim, temperature as f32);
    let contrast = contrast.map_err(|e| refused("clip", &e))?;
    Ok(on_tape(contrast, [z1, z2], &[], Some(log_scale)))
}

/// Streaming form of [`supcon`](crate::supcon::supcon).
pub fn supcon<T: Tape<f32, Cpu>>(
    z: Matrix<f32, T>,
    labels: &[usize],
    temperature: f64,
) -> Result<Scalar<f32, T>, ObjectiveError> {
    check_labels(*z.shape(), labels)?;
    check_temperature("supcon", temperature)?;
    let contrast = Contrast::supcon(labels, z.shape().1, temperature as f32);
    let contrast = contrast.map_err(|e| refused("supcon", &e))?;
    Ok(on_tape(contrast, [z], &[], None))
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
    let contrast = geometry(pairs, dim, temperature as f32).map_err(|e| refused(name, &e))?;
    Ok(on_tape(contrast, [z1, z2], &[], None))
}

fn refused(name: &'static str, error: &ContrastError) -> ObjectiveError {
    ObjectiveError::input(name, "a loss of this shape", error.to_string())
}

/// Runs the kernels on the rows of all views and then the constants, and leaves on the tape the gradient
/// of the views, and of the log of the scale where it is learned.
fn on_tape<const V: usize, T: Tape<f32, Cpu>>(
    contrast: Contrast,
    views: [Matrix<f32, T>; V],
    constants: &[f32],
    log_scale: Option<Scalar<f32, T>>,
) -> Scalar<f32, T> {
    let mut tape = T::default();
    let views = views.map(|view| {
        // Gradients are added element by element below: in the order of rows, not of strides.
        let (view, its_tape) = view.contiguous().split_tape();
        tape = std::mem::take(&mut tape).merge(its_tape);
        view
    });
    let log_scale = log_scale.map(|scale| {
        let (scale, its_tape) = scale.split_tape();
        tape = std::mem::take(&mut tape).merge(its_tape);
        scale
    });
    let mut z = views.iter().flat_map(|z| z.as_vec()).collect::<Vec<f32>>();
    z.extend_from_slice(constants);
    let (loss, saved) = contrast.forward(&z);
    let out = views[0].device().tensor(loss);
    let result = out.clone();
    tape.add_backward_op(move |gradients| {
        let loss_grad = gradients.get_or_alloc_mut(&out)?[0];
        let mut grad = vec![0.0; contrast.trained() * contrast.dim()];
        match &log_scale {
            None => contrast.backward(&saved, loss_grad, &mut grad),
            Some(scale) => {
                let of_scale = contrast.backward_with_scale(&saved, loss_grad, &mut grad);
                gradients.get_or_alloc_mut(scale)?[0] += of_scale;
            }
        }
        for (z, grad) in views.iter().zip(grad.chunks(grad.len() / V)) {
            for (sum, g) in gradients.get_or_alloc_mut(z)?.iter_mut().zip(grad) {
                *sum += g;
            }
        }
        Ok(())
    });
    result.put_tape(tape)
}
