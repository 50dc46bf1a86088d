//! SimSiam: negative cosine similarity with a stop-gradient.

use crate::ObjectiveError;
use crate::byol::cosine;
use crate::objective::{Branches, Stateless, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_shapes};
use dfdx::prelude::*;

const NAME: &str = "simsiam";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "SimSiam: predict the other view's embedding behind a stop-gradient",
    equation: "−½ mean_i cos(p1_i, sg(z2_i)) − ½ mean_i cos(p2_i, sg(z1_i))",
    paper: "Chen & He, Exploring Simple Siamese Representation Learning, CVPR 2021, eq. 4",
    branches: Branches {
        predictor: true,
        ..Branches::TWO_VIEWS
    },
    game: "through the prediction of each view, not past the stop-gradient; the loss is at most 1",
    options: &["predictor_hidden"],
    // The paper's predictor is a bottleneck of a quarter of the embedding.
    defaults: &[
        "objective.predictor_hidden=32",
        "encoder.projection=mlp-norm",
    ],
    build: |entry, config, _| {
        Stateless::boxed(entry, config, |outputs, _, _| {
            let [p1, p2] = expect_views(NAME, outputs.predictions)?;
            let [z1, z2] = expect_views(NAME, outputs.embeddings)?;
            simsiam(p1, p2, z1.split_tape().0, z2.split_tape().0)
        })
    },
};

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
    check_shapes(NAME, &shapes, 1)?;
    let (first, second) = (cosine(p1, target2), cosine(p2, target1));
    Ok((first + second).mean() * E::of(-0.5))
}
