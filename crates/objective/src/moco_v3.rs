//! Momentum contrast without a queue: predictions look for the momentum encoder's keys in the batch.

use crate::ObjectiveError;
use crate::fused;
use crate::infonce::infonce;
use crate::objective::{Branches, Stateless, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar};
use dfdx::prelude::*;

const NAME: &str = "moco-v3";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "MoCo v3: symmetric, predictor and momentum encoder, negatives from the batch",
    equation: "2t·[ −mean_i log softmax_j(p1_i·k2_j/t)_i − mean_i log softmax_j(p2_i·k1_j/t)_i ]",
    paper: "Chen, Xie & He, An Empirical Study of Training Self-Supervised ViTs, ICCV 2021, alg. 1",
    branches: Branches {
        target: &[0, 1],
        predictor: true,
        ..Branches::TWO_VIEWS
    },
    game: "through the prediction of each view; keys are constants",
    options: &[
        "temperature",
        "encoder_momentum",
        "momentum_schedule",
        "predictor_hidden",
        "fused",
    ],
    defaults: &[
        "objective.temperature=0.2",
        "objective.momentum_schedule=cosine",
        "encoder.projection=mlp-norm",
    ],
    build: |entry, config, _| {
        Stateless::boxed(entry, config, |outputs, _, config| {
            let [p1, p2] = expect_views(NAME, outputs.predictions)?;
            let [k1, k2] = expect_views(NAME, outputs.targets)?;
            let t = config.temperature;
            if !config.fused {
                return moco_v3(p1, p2, k1, k2, t);
            }
            let there = fused::infonce_of_constants(p1, k2, t)?;
            let back = fused::infonce_of_constants(p2, k1, t)?;
            Ok((there + back) * (2.0 * t as f32))
        })
    },
};

/// `2t·[ infonce(p1, sg(k2)) + infonce(p2, sg(k1)) ]`: every prediction looks for the other view's key
/// among all keys of the batch.
///
/// `p1`, `p2` are the predictor's outputs for views 1 and 2, `k1`, `k2` the momentum encoder's
/// embeddings of views 1 and 2: all `[N, D]`, N ≥ 1. Range: from 0 to `8 + 4t·log N`.
///
/// Source: Chen, Xie & He, *An Empirical Study of Training Self-Supervised Vision Transformers*
/// (ICCV 2021), equation 1 and algorithm 1.
pub fn moco_v3<E: Real, T: Tape<E, Cpu>>(
    p1: Matrix<E, T>,
    p2: Matrix<E, T>,
    k1: Matrix<E>,
    k2: Matrix<E>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let there = infonce(p1, k2.put_tape(T::default()), temperature)?;
    let back = infonce(p2, k1.put_tape(T::default()), temperature)?;
    Ok((there + back) * E::of(2.0 * temperature))
}
