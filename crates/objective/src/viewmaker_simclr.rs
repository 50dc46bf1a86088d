//! The contrastive objective of the viewmaker paper's code.

use crate::objective::{Branches, Stateless, StatelessLoss, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, Vector, check_shapes, check_temperature};
use crate::tensor::{l2_normalize, row_dots, stack};
use crate::{ObjectiveError, fused};
use dfdx::prelude::*;
use viewmaker_ops::contrastive::Contrast;

const NAME: &str = "viewmaker-simclr";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "SimCLR as the viewmaker's authors train it (one-sided, may be negative)",
    equation: "mean_i[ log Σ_j (exp(u_i·u_j/t) + exp(u_i·v_j/t)) − log 2N − u_i·v_i/t ]",
    paper: "Tamkin, Wu & Goodman, Viewmaker Networks, ICLR 2021",
    branches: Branches::TWO_VIEWS,
    game: "the paper's: through both views, −w times this loss",
    options: &["temperature", "fused"],
    defaults: &[],
    build: |entry, config, _| {
        let loss: StatelessLoss = |outputs, _, config| {
            let [z1, z2] = expect_views(NAME, outputs.embeddings)?;
            match config.fused {
                true => fused::viewmaker_simclr(z1, z2, config.temperature),
                false => viewmaker_simclr(z1, z2, config.temperature),
            }
        };
        Stateless::boxed_streaming(entry, config, loss, Some(Contrast::viewmaker_simclr))
    },
};

/// SimCLR as the viewmaker's authors train it:
///
/// `mean_i[ log Σ_j ( exp(u_i·u_j/t) + exp(u_i·v_j/t) ) − log 2N − u_i·v_i/t ]`
///
/// with `u = z1/|z1|`, `v = z2/|z2|`, `i, j = 1..N`. Unlike NT-Xent it is one-sided (only rows of
/// the first view ask), keeps the self-similarity `u_i·u_i` among the 2N terms and subtracts
/// `log 2N`, so it is often negative. The viewmaker's own loss is `−weight` times this.
///
/// `z1`, `z2`: `[N, D]`, N ≥ 1. Range: from `−2/t` to `2/t`.
///
/// Source: Tamkin, Wu & Goodman, *Viewmaker Networks: Learning Views for Unsupervised
/// Representation Learning* (ICLR 2021), with the details of its published code.
pub fn viewmaker_simclr<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let [u, v] = unit_views(z1, z2, temperature)?;
    let repel = crowding(u.with_empty_tape(), v.with_empty_tape(), temperature);
    let attract = row_dots(u, v) / E::of(temperature);
    Ok((repel - attract).mean())
}

/// [`viewmaker_simclr`] without its attracting term: only pushes embeddings apart.
///
/// `mean_i[ log Σ_j ( exp(u_i·u_j/t) + exp(u_i·v_j/t) ) − log 2N ]`. Range: from `−1/t` to `1/t`.
pub fn viewmaker_simclr_push_only<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let [u, v] = unit_views(z1, z2, temperature)?;
    Ok(crowding(u, v, temperature).mean())
}

/// Both views checked and on the unit sphere.
fn unit_views<E: Real, T: Tape<E, Cpu>>(
    z1: Matrix<E, T>,
    z2: Matrix<E, T>,
    temperature: f64,
) -> Result<[Matrix<E, T>; 2], ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes(NAME, &[*z1.shape(), *z2.shape()], 1)?;
    check_temperature(NAME, temperature)?;
    Ok([l2_normalize(z1), l2_normalize(z2)])
}

/// `log( (1/2N) Σ_j ( exp(u_i·u_j/t) + exp(u_i·v_j/t) ) )` for every i.
fn crowding<E: Real, T: Tape<E, Cpu>>(
    u: Matrix<E, T>,
    v: Matrix<E, T>,
    temperature: f64,
) -> Vector<E, T>
where
    Cpu: Device<E>,
{
    let keys = stack(u.with_empty_tape(), v);
    let terms = keys.shape().0 as f64;
    let logits = u.matmul(keys.permute()) / E::of(temperature);
    logits.logsumexp::<(usize,), Axis<1>>() - E::of(terms.ln())
}
