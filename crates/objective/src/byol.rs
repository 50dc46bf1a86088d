//! BYOL: predict the other view's target projection.

use crate::ObjectiveError;
use crate::objective::{Branches, Stateless, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, Vector, check_shapes, l2_normalize, row_dots};
use dfdx::prelude::*;

const NAME: &str = "byol";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "BYOL: predict the momentum encoder's embedding of the other view, no negatives",
    equation: "mean_i(2 − 2cos(p1_i, sg(t2_i))) + mean_i(2 − 2cos(p2_i, sg(t1_i)))",
    paper: "Grill et al., Bootstrap Your Own Latent, NeurIPS 2020, eq. 2",
    branches: Branches {
        target: &[0, 1],
        predictor: true,
        ..Branches::TWO_VIEWS
    },
    game: "through the prediction of each view; the loss is at most 8, so it cannot run away",
    options: &["encoder_momentum", "momentum_schedule", "predictor_hidden"],
    defaults: &[
        "objective.momentum_schedule=cosine",
        "encoder.projection=mlp-norm",
    ],
    build: |entry, config, _| {
        Stateless::boxed(entry, config, |outputs, _, _| {
            let [p1, p2] = expect_views(NAME, outputs.predictions)?;
            let [target1, target2] = expect_views(NAME, outputs.targets)?;
            byol(p1, p2, target1, target2)
        })
    },
};

/// `mean_i( 2 − 2cos(p1_i, sg(t2_i)) ) + mean_i( 2 − 2cos(p2_i, sg(t1_i)) )`
///
/// `p1`, `p2` are the online network's predictions for views 1 and 2, `target1`, `target2` the target
/// network's projections of views 1 and 2 (each prediction is compared with the *other* view's): all
/// `[N, D]`, N ≥ 1. Range: from 0 to 8.
///
/// Source: Grill et al., *Bootstrap Your Own Latent* (NeurIPS 2020), equation 2, symmetrised.
pub fn byol<E: Real, T: Tape<E, Cpu>>(
    p1: Matrix<E, T>,
    p2: Matrix<E, T>,
    target1: Matrix<E>,
    target2: Matrix<E>,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let shapes = [*p1.shape(), *p2.shape(), *target1.shape(), *target2.shape()];
    check_shapes(NAME, &shapes, 1)?;
    let (first, second) = (cosine(p1, target2), cosine(p2, target1));
    Ok((first + second).mean() * E::of(-2.0) + E::of(4.0))
}

/// Cosine of each prediction with its target, through which no gradient flows.
pub(crate) fn cosine<E: Real, T: Tape<E, Cpu>>(
    prediction: Matrix<E, T>,
    target: Matrix<E>,
) -> Vector<E, T>
where
    Cpu: Device<E>,
{
    row_dots(l2_normalize(prediction), l2_normalize(target))
}
