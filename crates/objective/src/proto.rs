//! Prototypical networks: classify queries by their nearest class mean.

use crate::ObjectiveError;
use crate::tensor::{Matrix, Real, Scalar, bounded, cross_entropy, pair_distances};
use dfdx::prelude::*;

/// What [`proto`] computes for one episode.
#[derive(Debug)]
pub struct Episode<E: Real, T>
where
    Cpu: Device<E>,
{
    /// Mean cross-entropy over the queries, 0 and up.
    pub loss: Scalar<E, T>,
    /// Share of queries that are nearest to their own prototype, 0 to 1.
    pub accuracy: f64,
}

/// Cross-entropy of `−|q − c_k|²` over the classes, where the prototype `c_k` is the mean of the
/// support rows of class k; and the accuracy of the nearest prototype.
///
/// `support`: `[ways·shots, D]` and `query`: `[ways·queries, D]`, rows of one class next to each other.
///
/// Source: Snell, Swersky & Zemel, *Prototypical Networks for Few-shot Learning* (NIPS 2017),
/// equations 1 and 2 and algorithm 1.
pub fn proto<E: Real, T: Tape<E, Cpu>>(
    support: Matrix<E, T>,
    query: Matrix<E, T>,
    ways: usize,
) -> Result<Episode<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let ((supports, d), (queries, query_d)) = (*support.shape(), *query.shape());
    let fits = |rows: usize| ways > 0 && rows > 0 && rows.is_multiple_of(ways);
    if !fits(supports) || !fits(queries) || d != query_d || d == 0 {
        let expected = format!("support and query rows in multiples of {ways} ways, one width");
        let found = format!("[{supports}, {d}] and [{queries}, {query_d}]");
        return Err(ObjectiveError::input("proto", expected, found));
    }
    let by_class = bounded(support).reshape_like(&(ways, supports / ways, d));
    let prototypes = by_class.mean::<(usize, usize), Axis<1>>();
    let logits = -pair_distances(bounded(query), prototypes);
    let targets: Vec<usize> = (0..queries).map(|q| q / (queries / ways)).collect();
    let accuracy = accuracy(&logits.as_vec(), &targets, ways);
    let loss = cross_entropy(logits, targets);
    Ok(Episode { loss, accuracy })
}

/// Share of rows whose largest logit (the first of equal ones) is the target's.
fn accuracy<E: Real>(logits: &[E], targets: &[usize], ways: usize) -> f64 {
    let right = logits.chunks(ways).zip(targets).filter(|(row, target)| {
        let best = (0..ways).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        best == **target
    });
    right.count() as f64 / targets.len() as f64
}
