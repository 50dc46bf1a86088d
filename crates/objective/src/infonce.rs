//! InfoNCE in one direction.

use crate::config::Distance;
use crate::objective::{Branches, Geometry, Stateless, StatelessLoss, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_shapes, check_temperature, cross_entropy};
use crate::tensor::{bounded, distance, l2_normalize, pair_distances};
use crate::{ObjectiveError, fused};
use dfdx::prelude::*;
use viewmaker_ops::contrastive::Contrast;

const NAME: &str = "infonce";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "InfoNCE (N-pair): rows of the first view look for theirs in the second",
    equation: "−mean_i log softmax_j(−d(z1_i, z2_j)/t)_i, d = −cosine or Euclidean distance",
    paper: "van den Oord, Li & Vinyals, CPC, 2018, eq. 4; Sohn, N-pair loss, NIPS 2016",
    branches: Branches::TWO_VIEWS,
    game: "through both views",
    options: &["temperature", "distance", "fused"],
    defaults: &[],
    build: |entry, config, _| {
        let loss: StatelessLoss = |outputs, _, config| {
            let [z1, z2] = expect_views(NAME, outputs.embeddings)?;
            let t = config.temperature;
            match (config.distance, config.fused) {
                (Distance::Cosine, true) => fused::infonce(z1, z2, t),
                (Distance::Cosine, false) => infonce(z1, z2, t),
                (Distance::Euclidean, _) => infonce_euclidean(z1, z2, t),
            }
        };
        let geometry: Option<Geometry> = match config.distance {
            Distance::Cosine => Some(Contrast::infonce),
            Distance::Euclidean => None,
        };
        Stateless::boxed_streaming(entry, config, loss, geometry)
    },
};

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
    check_shapes(NAME, &[*z1.shape(), *z2.shape()], 1)?;
    check_temperature(NAME, temperature)?;
    let (u, v) = (l2_normalize(z1), l2_normalize(z2));
    let rows = u.shape().0;
    let logits = u.matmul(v.permute()) / E::of(temperature);
    Ok(cross_entropy(logits, (0..rows).collect()))
}

/// [`infonce`] with the logits `−|z1_i − z2_j|/t` of the Euclidean distance between embeddings as they
/// are.
///
/// `z1`, `z2`: `[N, D]`, N ≥ 1. Range: 0 and up. Takes memory for N²·D numbers.
///
/// Source: as [`infonce`], with the distance of metric learning as the score.
pub fn infonce_euclidean<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes(NAME, &[*z1.shape(), *z2.shape()], 1)?;
    check_temperature(NAME, temperature)?;
    let rows = z1.shape().0;
    let distances = distance(pair_distances(bounded(z1), bounded(z2)));
    Ok(cross_entropy(
        -distances / E::of(temperature),
        (0..rows).collect(),
    ))
}
