//! Attraction alone: the loss that collapses.

use crate::ObjectiveError;
use crate::objective::{Branches, Stateless, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_shapes, l2_normalize, row_distances};
use dfdx::prelude::*;

const NAME: &str = "pull";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "Pull-together loss alone, which collapses: a demonstration",
    equation: "mean_i |u_i − v_i|², u = z1/|z1|, v = z2/|z2|",
    paper: "the positive term of Hadsell, Chopra & LeCun, DrLIM, CVPR 2006",
    branches: Branches::TWO_VIEWS,
    game: "through both views; at most 4, and lost as soon as all embeddings are equal",
    options: &[],
    defaults: &[],
    build: |entry, config, _| {
        Stateless::boxed(entry, config, |outputs, _, _| {
            let [z1, z2] = expect_views(NAME, outputs.embeddings)?;
            pull(z1, z2)
        })
    },
};

/// `mean_i |u_i − v_i|²` with `u = z1/|z1|`, `v = z2/|z2|`: nothing keeps different examples apart,
/// and the constant encoder is a global minimum. (Without the normalisation the last layer only
/// shrinks, which hides the collapse.)
///
/// `z1`, `z2`: `[N, D]`, N ≥ 1. Range: from 0 to 4.
///
/// Source: the term for similar pairs of Hadsell, Chopra & LeCun, *Dimensionality Reduction by
/// Learning an Invariant Mapping* (CVPR 2006), equation 4, up to its factor ½.
pub fn pull<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes(NAME, &[*z1.shape(), *z2.shape()], 1)?;
    Ok(row_distances(l2_normalize(z1), l2_normalize(z2)).mean())
}
