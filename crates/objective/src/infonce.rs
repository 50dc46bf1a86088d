//! InfoNCE in one direction.

use crate::ObjectiveError;
use crate::tensor::l2_normalize;
use crate::tensor::{Matrix, Real, Scalar, check_shapes, check_temperature, cross_entropy};
use dfdx::prelude::*;

/// `mean_i[ −log( exp(u_i·v_i/t) / Σ_j exp(u_i·v_j/t) ) ]` with unit rows `u`, `v`.
///
/// `z1`, `z2`: `[N, D]`, N ≥ 1. Range: from 0 to `2/t + log N`.
///
/// Source: van den Oord, Li & Vinyals, *Representation Learning with Contrastive Predictive
/// Coding* (2018), equation 4, with cosine similarity over a temperature as the score.
pub fn infonce<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("infonce", &[*z1.shape(), *z2.shape()], 1)?;
    check_temperature("infonce", temperature)?;
    let (u, v) = (l2_normalize(z1), l2_normalize(z2));
    let rows = u.shape().0;
    let logits = u.matmul(v.permute()) / E::of(temperature);
    Ok(cross_entropy(logits, (0..rows).collect()))
}
