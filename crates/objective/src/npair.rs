//! The N-pair loss.

use crate::ObjectiveError;
use crate::tensor::{Matrix, Real, Scalar, bounded, check_shapes, cross_entropy};
use dfdx::prelude::*;

/// `mean_i[ −log( exp(a_i·p_i) / Σ_j exp(a_i·p_j) ) ]` on embeddings as they are: no
/// normalisation, no temperature, and without the paper's L2 regulariser.
///
/// `anchor`, `positive`: `[N, D]`, N ≥ 1. Range: 0 and up.
///
/// Source: Sohn, *Improved Deep Metric Learning with Multi-class N-pair Loss Objective*
/// (NIPS 2016), the loss N-pair-mc.
pub fn npair<E: Real, T: Tape<E, Cpu>>(
    anchor: Matrix<E, T>,
    positive: Matrix<E, T>,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("npair", &[*anchor.shape(), *positive.shape()], 1)?;
    let rows = anchor.shape().0;
    let scores = bounded(anchor).matmul(bounded(positive).permute());
    Ok(cross_entropy(scores, (0..rows).collect()))
}
