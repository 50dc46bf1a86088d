//! The triplet loss.

use crate::ObjectiveError;
use crate::tensor::{Matrix, Real, Scalar, bounded, check_shapes, l2_normalize, row_distances};
use dfdx::prelude::*;

/// `mean_i max(0, |a_i − p_i|² − |a_i − n_i|² + margin)` on embeddings as they are.
///
/// `anchor`, `positive`, `negative`: `[N, D]`, N ≥ 1. Range: 0 and up.
///
/// Source: Schroff, Kalenichenko & Philbin, *FaceNet: A Unified Embedding for Face Recognition and
/// Clustering* (CVPR 2015), section 3.1.
pub fn triplet<E: Real, T: Tape<E, Cpu>>(
    anchor: Matrix<E, T>,
    positive: Matrix<E, T>,
    negative: Matrix<E, T>,
    margin: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let shapes = [*anchor.shape(), *positive.shape(), *negative.shape()];
    check_shapes("triplet", &shapes, 1)?;
    let (a, p, n) = (bounded(anchor), bounded(positive), bounded(negative));
    let near = row_distances(a.with_empty_tape(), p);
    let far = row_distances(a, n);
    Ok((near - far + E::of(margin)).relu().mean())
}

/// [`triplet`] on embeddings of unit length. Range: from 0 to `4 + margin`.
pub fn triplet_unit<E: Real, T: Tape<E, Cpu>>(
    anchor: Matrix<E, T>,
    positive: Matrix<E, T>,
    negative: Matrix<E, T>,
    margin: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let [a, p, n] = [anchor, positive, negative].map(l2_normalize);
    triplet(a, p, n, margin)
}
