//! Time-contrastive losses: frames close in time should be close in embedding space.

use crate::ObjectiveError;
use crate::tensor::row_distances;
use crate::tensor::{Matrix, Real, Scalar, Vector, bounded, check_indices, check_shapes};
use crate::tensor::{check_temperature, cross_entropy, distance, mask, pair_distances};
use dfdx::prelude::*;

/// Keeps logarithms and quotients finite, as in R3M's code.
const EPSILON: f64 = 1e-8;

/// The form that R3M trains with: similarity is `s(u, v) = −|u − v|`, and `e0`, `e1`, `e2` are
/// three frames of each clip in the order of time.
///
/// `l1 = −log( ε + exp s(e1,e2) / (ε + exp s(e0,e2) + exp s(e1,e2) + Σ_k exp s(e2, e2[perm2_k])) )`
///
/// `l2 = −log( ε + exp s(e0,e1) / (ε + exp s(e0,e1) + exp s(e0,e2) + Σ_k exp s(e0, e0[perm0_k])) )`
///
/// and the loss is the mean of `(l1 + l2)/2`, `ε = 1e-8`. A permutation may have fixed points: they
/// contribute a similarity of 0 and no gradient.
///
/// `e0`, `e1`, `e2`: `[N, D]`, N ≥ 1; each row of `perm0` and `perm2` names N clips. Range: from
/// about 0 to `−log ε ≈ 18.4`.
///
/// Source: Nair, Rajeswaran, Kumar, Finn & Gupta, *R3M: A Universal Visual Representation for Robot
/// Manipulation* (CoRL 2022), equation 1, with the negatives of its code.
pub fn tcn_r3m<E: Real, T: Tape<E, Cpu>>(
    e0: Matrix<E, T>,
    e1: Matrix<E, T>,
    e2: Matrix<E, T>,
    perm0: &[&[usize]],
    perm2: &[&[usize]],
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("tcn-r3m", &[*e0.shape(), *e1.shape(), *e2.shape()], 1)?;
    check_permutations(perm0, e0.shape().0)?;
    check_permutations(perm2, e0.shape().0)?;
    let (e0, e1, e2) = (bounded(e0), bounded(e1), bounded(e2));
    let s01 = likeness(e0.with_empty_tape(), e1.with_empty_tape());
    let s02 = likeness(e0.with_empty_tape(), e2.with_empty_tape());
    let s12 = likeness(e1, e2.with_empty_tape());
    let others2 = others(e2, perm2);
    let others0 = others(e0, perm0);
    let late = share(s12, s02.with_empty_tape(), others2);
    let early = share(s01, s02, others0);
    Ok((late + early).mean() / E::of(2.0))
}

/// `exp(−|u_i − v_i|)` for every row.
fn likeness<E: Real, T: Tape<E, Cpu>>(u: Matrix<E, T>, v: Matrix<E, T>) -> Vector<E, T>
where
    Cpu: Device<E>,
{
    (-distance(row_distances(u, v))).exp()
}

/// `Σ_k exp(−|e_i − e_perm_k(i)|)` for every row.
fn others<E: Real, T: Tape<E, Cpu>>(e: Matrix<E, T>, permutations: &[&[usize]]) -> Vector<E, T>
where
    Cpu: Device<E>,
{
    let rows = e.shape().0;
    let (e, tape) = e.split_tape();
    let device = e.device();
    let zeros = device.tensor_from_vec(vec![E::of(0.0); rows], (rows,));
    let mut sum = zeros.put_tape(tape);
    for permutation in permutations {
        let index = device.tensor_from_vec(permutation.to_vec(), (rows,));
        let other = e.retaped::<T>().gather(index);
        sum = sum + likeness(e.retaped(), other);
    }
    sum
}

/// `−log( ε + positive / (ε + positive + negative + others) )`.
fn share<E: Real, T: Tape<E, Cpu>>(
    positive: Vector<E, T>,
    negative: Vector<E, T>,
    others: Vector<E, T>,
) -> Vector<E, T>
where
    Cpu: Device<E>,
{
    let epsilon = E::of(EPSILON);
    let all = positive.with_empty_tape() + negative + others + epsilon;
    -((positive / all + epsilon).ln())
}

fn check_permutations(permutations: &[&[usize]], rows: usize) -> Result<(), ObjectiveError> {
    for permutation in permutations {
        if permutation.len() != rows {
            let (expected, found) = (format!("{rows} indices"), permutation.len().to_string());
            return Err(ObjectiveError::input("tcn-r3m", expected, found));
        }
        check_indices("tcn-r3m", permutation, rows)?;
    }
    Ok(())
}

/// Time contrast as a plain cross-entropy: for the anchor `e0_i` the positive is `e1_i`, negatives
/// are `e2_i` (the same clip, further away in time) and all `e0_j`, j ≠ i (other clips); logits are
/// `−|·|/t`.
///
/// `e0`, `e1`, `e2`: `[N, D]`, N ≥ 1. Range: 0 and up.
///
/// Source: the idea of Sermanet et al., *Time-Contrastive Networks: Self-Supervised Learning from
/// Video* (ICRA 2018), section III, in InfoNCE form.
pub fn tcn_infonce<E: Real, T: Tape<E, Cpu>>(
    e0: Matrix<E, T>,
    e1: Matrix<E, T>,
    e2: Matrix<E, T>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("tcn-infonce", &[*e0.shape(), *e1.shape(), *e2.shape()], 1)?;
    check_temperature("tcn-infonce", temperature)?;
    let (e0, e1, e2) = (bounded(e0), bounded(e1), bounded(e2));
    let rows = e0.shape().0;
    let column = (rows, 1);
    let near = row_distances(e0.with_empty_tape(), e1).reshape_like(&column);
    let far = row_distances(e0.with_empty_tape(), e2).reshape_like(&column);
    // A copy: dfdx refuses a difference of two broadcasts of one tensor.
    let copy = bounded(e0.with_empty_tape());
    let clips = pair_distances(copy, e0);
    let squared = (near, (far, clips).concat_along(Axis::<1>)).concat_along(Axis::<1>);
    let own = mask(squared.device(), (rows, rows + 2), |i, j| j == i + 2);
    let logits = -distance(squared) / E::of(temperature) + own;
    Ok(cross_entropy(logits, vec![0; rows]))
}
