//! SimSiam: negative cosine similarity with a stop-gradient.

use crate::ObjectiveError;
use crate::byol::cosine;
use crate::tensor::{Matrix, Real, Scalar, check_shapes};
use dfdx::prelude::*;

/// `−½ mean_i cos(p1_i, sg(t2_i)) − ½ mean_i cos(p2_i, sg(t1_i))`
///
/// `p1`, `p2` are the predictor's outputs for views 1 and 2, `target1`, `target2` the projections of
/// views 1 and 2 (each prediction is compared with the *other* view's): all `[N, D]`, N ≥ 1. Range: from
/// −1 to 1.
///
/// Source: Chen & He, *Exploring Simple Siamese Representation Learning* (CVPR 2021), equation 4.
pub fn simsiam<E: Real, T: Tape<E, Cpu>>(
    p1: Matrix<E, T>,
    p2: Matrix<E, T>,
    target1: Matrix<E>,
    target2: Matrix<E>,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let shapes = [*p1.shape(), *p2.shape(), *target1.shape(), *target2.shape()];
    check_shapes("simsiam", &shapes, 1)?;
    let (first, second) = (cosine(p1, target2), cosine(p2, target1));
    Ok((first + second).mean() * E::of(-0.5))
}
