//! Decoupled contrastive learning with weighted positives.

use crate::ObjectiveError;
use crate::fused;
use crate::ntxent::dcl;
use crate::objective::{Branches, Stateless, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, Vector, check_shapes, check_temperature};
use crate::tensor::{l2_normalize, row_dots, vector};
use dfdx::prelude::*;

const NAME: &str = "dclw";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "DCL that weights hard positives more",
    equation: "mean_i[ log Σ_{k≠i,p(i)} exp(z_i·z_k/t) − w_i z_i·z_p(i)/t ], \
               w_i = 2 − exp(s_i/σ) / mean_j exp(s_j/σ), s_i = z_i·z_p(i)",
    paper: "Yeh et al., Decoupled Contrastive Learning, ECCV 2022, the loss L_DCW",
    branches: Branches::TWO_VIEWS,
    game: "through both views; the weights count as constants",
    options: &["temperature", "sigma", "fused"],
    defaults: &["objective.temperature=0.1"],
    build: |entry, config, _| {
        Stateless::boxed(entry, config, |outputs, _, config| {
            let [z1, z2] = expect_views(NAME, outputs.embeddings)?;
            let (z1, z2, t) = (z1, z2, config.temperature);
            let (first, second) = (z1.with_empty_tape(), z2.with_empty_tape());
            let decoupled = match config.fused {
                true => fused::dcl(z1, z2, t)?,
                false => dcl(z1, z2, t)?,
            };
            Ok(decoupled + correction(first, second, t, config.sigma)?)
        })
    },
};

/// [`dcl`] whose positive term has the weights
/// `w_i = 2 − exp(s_i/σ) / mean_j exp(s_j/σ)`, `s_i = u_i·v_i`: below 1 for positives that are
/// already close. No gradient flows through the weights.
///
/// `z1`, `z2`: `[N, D]`, N ≥ 2; `sigma`: 1e-2 to 1e4.
///
/// Source: Yeh, Hong, Hsu, Liu, Chen & LeCun, *Decoupled Contrastive Learning* (ECCV 2022),
/// the loss `L_DCW`.
pub fn dclw<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
    sigma: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let extra = correction(
        z1.with_empty_tape(),
        z2.with_empty_tape(),
        temperature,
        sigma,
    )?;
    Ok(dcl(z1, z2, temperature)? + extra)
}

/// What the weights add to [`dcl`]: `mean_i (1 − w_i) s_i/t`. Both directions of a pair have the
/// same weight.
fn correction<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
    sigma: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes(NAME, &[*z1.shape(), *z2.shape()], 2)?;
    check_temperature(NAME, temperature)?;
    let (u, v) = (l2_normalize(z1), l2_normalize(z2));
    let surplus = surplus(
        &row_dots(u.retaped::<NoneTape>(), v.retaped::<NoneTape>()),
        sigma,
    );
    let surplus = vector(&u, surplus.into_iter());
    Ok((row_dots(u, v) * surplus).mean() / E::of(temperature))
}

/// `1 − w_i = exp(s_i/σ) / mean_j exp(s_j/σ) − 1`.
fn surplus<E: Real>(positive: &Vector<E>, sigma: f64) -> Vec<f64>
where
    Cpu: Device<E>,
{
    let scores: Vec<f64> = positive.as_vec().iter().map(|s| s.wide() / sigma).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let terms: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let mean = terms.iter().sum::<f64>() / terms.len().max(1) as f64;
    terms.iter().map(|term| term / mean - 1.0).collect()
}
