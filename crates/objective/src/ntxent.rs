//! NT-Xent and its decoupled form: every embedding of both views asks for its partner.

use crate::objective::{Branches, Stateless, StatelessLoss, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_shapes, check_temperature, contrast};
use crate::tensor::{l2_normalize, mask, row_dots, stack};
use crate::{ObjectiveError, fused};
use dfdx::prelude::*;
use viewmaker_ops::contrastive::Contrast;

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: "ntxent",
    title: "NT-Xent, the usual SimCLR loss (all 2N rows, self-similarity left out)",
    equation: "mean_i[ log Σ_{k≠i} exp(z_i·z_k/t) − z_i·z_p(i)/t ], z = [u; v]",
    paper: "Chen, Kornblith, Norouzi & Hinton, SimCLR, ICML 2020",
    branches: Branches::TWO_VIEWS,
    game: "through both views",
    options: &["temperature", "fused"],
    defaults: &[],
    build: |entry, config, _| {
        let loss: StatelessLoss = |outputs, _, config| {
            let [z1, z2] = expect_views("ntxent", outputs.embeddings)?;
            match config.fused {
                true => fused::ntxent(z1, z2, config.temperature),
                false => ntxent(z1, z2, config.temperature),
            }
        };
        Stateless::boxed_streaming(entry, config, loss, Some(Contrast::ntxent))
    },
};

/// How its decoupled form is registered.
pub(crate) const DCL: Entry = Entry {
    name: "dcl",
    title: "NT-Xent without the positive in the denominator (decoupled)",
    equation: "mean_i[ log Σ_{k≠i,p(i)} exp(z_i·z_k/t) − z_i·z_p(i)/t ], z = [u; v]",
    paper: "Yeh et al., Decoupled Contrastive Learning, ECCV 2022, the loss L_DC",
    branches: Branches::TWO_VIEWS,
    game: "through both views",
    options: &["temperature", "fused"],
    defaults: &["objective.temperature=0.1"],
    build: |entry, config, _| {
        let loss: StatelessLoss = |outputs, _, config| {
            let [z1, z2] = expect_views("dcl", outputs.embeddings)?;
            match config.fused {
                true => fused::dcl(z1, z2, config.temperature),
                false => dcl(z1, z2, config.temperature),
            }
        };
        Stateless::boxed_streaming(entry, config, loss, Some(Contrast::dcl))
    },
};

/// SimCLR's NT-Xent. With the 2N rows `z = [u; v]` of unit length and `p(i)` the other view of i:
///
/// `mean_i[ −log( exp(z_i·z_p(i)/t) / Σ_{k≠i} exp(z_i·z_k/t) ) ]`, `i = 1..2N`
///
/// `z1`, `z2`: `[N, D]`, N ≥ 1. Range: from 0 to `2/t + log(2N − 1)`.
///
/// Source: Chen, Kornblith, Norouzi & Hinton, *A Simple Framework for Contrastive Learning of
/// Visual Representations* (ICML 2020), equation 1.
pub fn ntxent<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("ntxent", &[*z1.shape(), *z2.shape()], 1)?;
    both_views(z1, z2, temperature, "ntxent", |i, k, _| k == i)
}

/// Decoupled contrastive learning: [`ntxent`] with the positive removed from the denominator.
///
/// `mean_i[ −z_i·z_p(i)/t + log Σ_{k≠i, k≠p(i)} exp(z_i·z_k/t) ]`, `i = 1..2N`
///
/// `z1`, `z2`: `[N, D]`, N ≥ 2 (or there are no negatives). Range: from `log(2N − 2) − 2/t` to
/// `log(2N − 2) + 2/t`.
///
/// Source: Yeh, Hong, Hsu, Liu, Chen & LeCun, *Decoupled Contrastive Learning* (ECCV 2022),
/// the loss `L_DC`.
pub fn dcl<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("dcl", &[*z1.shape(), *z2.shape()], 2)?;
    both_views(z1, z2, temperature, "dcl", |i, k, partner| {
        k == i || k == partner
    })
}

/// Mean over all 2N rows; `excluded(i, k, p(i))` says which terms the denominator lacks.
fn both_views<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
    name: &'static str,
    excluded: impl Fn(usize, usize, usize) -> bool,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_temperature(name, temperature)?;
    let t = E::of(temperature);
    let (u, v) = (l2_normalize(z1), l2_normalize(z2));
    let (n, rows) = (u.shape().0, 2 * u.shape().0);
    let z = stack(u.with_empty_tape(), v.with_empty_tape());
    let outside = mask(z.device(), (rows, rows), |i, k| {
        excluded(i, k, (i + n) % rows)
    });
    // Division first: dfdx cannot multiply a tensor with its own transpose.
    let logits = (z.with_empty_tape() / t).matmul(z.with_empty_tape().permute()) + outside;
    let positive = row_dots(z, stack(v, u)) / t;
    Ok(contrast(logits, positive))
}
