//! CLIP's symmetric loss with a learned temperature.

use crate::objective::{Branches, Stateless, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_shapes, cross_entropy, l2_normalize};
use crate::{ObjectiveError, fused};
use dfdx::prelude::*;

const NAME: &str = "clip";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "CLIP: examples and their texts look for each other, with a learned scale",
    equation: "½[CE(exp(s)·u vᵀ, diagonal) + CE(exp(s)·v uᵀ, diagonal)], v of texts, s ≤ ln 100 learned",
    paper: "Radford et al., CLIP, ICML 2021, figure 3",
    branches: Branches {
        text: true,
        least_batch: 2,
        ..Branches::ONE_VIEW
    },
    game: "through the example's view; texts are constants for it",
    options: &["temperature", "fused"],
    defaults: &[],
    build: |entry, config, _| {
        Stateless::boxed(entry, config, |outputs, _, config| {
            let [z] = expect_views(NAME, outputs.embeddings)?;
            let (Some(texts), Some(log_scale)) = (outputs.texts, outputs.log_scale) else {
                return Err(ObjectiveError::input(NAME, "texts and a scale", "none"));
            };
            match config.fused {
                true => fused::clip(z, texts, log_scale),
                false => clip(z, texts, log_scale),
            }
        })
    },
};

/// Logits beyond this scale mean nothing any more; larger scales saturate instead of overflowing.
const LARGEST_LOG_SCALE: f64 = 80.0;

/// `½ [ CE(exp(s)·u v^T, diagonal) + CE(exp(s)·v u^T, diagonal) ]` with unit rows `u`, `v` and the
/// learned log of the logit scale, `s`, which gets a gradient too.
///
/// `z1`, `z2`: `[N, D]`, N ≥ 1. Range: 0 and up. `|s| > 80` saturates; CLIP itself keeps
/// `exp(s) ≤ 100` and starts at `s = ln(1/0.07)`.
///
/// Source: Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*
/// (ICML 2021), figure 3.
pub fn clip<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    log_scale: Scalar<E, T>,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes(NAME, &[*z1.shape(), *z2.shape()], 1)?;
    let (u, v) = (l2_normalize(z1), l2_normalize(z2));
    let scale = log_scale.clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE).exp();
    let there = one_way(
        u.with_empty_tape(),
        v.with_empty_tape(),
        scale.with_empty_tape(),
    );
    let back = one_way(v, u, scale);
    Ok((there + back) / E::of(2.0))
}

/// Every row of `u` looks for its partner in `v`.
fn one_way<E: Real, T: Tape<E, Cpu>>(
    u: Matrix<E, T>,
    v: Matrix<E, T>,
    scale: Scalar<E, T>,
) -> Scalar<E, T>
where
    Cpu: Device<E>,
{
    let rows = u.shape().0;
    let cosines = u.matmul(v.permute());
    let logits = cosines * scale.broadcast_like(&(rows, rows));
    cross_entropy(logits, (0..rows).collect())
}
