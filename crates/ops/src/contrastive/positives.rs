//! What attracts a query, and how it enters loss and gradient.
//!
//! A positive among the keys of its query is left out of the sums over tiles and gets a weight of its own
//! there, because `softmax − 1` is all round-off when it is far ahead. Other positives never meet
//! their query in a tile as such; they act through a single row, or through the sum of a class:
//! `Σ_{p ∈ P(i)} u_i·u_p = u_i·(S − u_i)` with the sum S of the unit rows of i's class.

use super::cpu::Query;
use super::{Contrast, Saved};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The positives of all queries.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Positives {
    /// One of its keys for every query.
    Keys(Vec<usize>),
    /// For every query a constant row beside its keys that counts in the denominator as they do.
    Beside(Vec<usize>),
    /// All other rows of the query's class, which are keys as well.
    Classes(Classes),
}

impl Positives {
    /// The key that is the only positive of a query.
    pub(super) fn key(&self, query: usize) -> Option<usize> {
        match self {
            Self::Keys(rows) => rows.get(query).copied(),
            Self::Beside(_) | Self::Classes(_) => None,
        }
    }

    /// How many of the queries count in the mean; at least 1.
    pub(super) fn counted(&self, queries: usize) -> usize {
        match self {
            Self::Keys(_) | Self::Beside(_) => queries,
            Self::Classes(classes) => classes.members.iter().map(Vec::len).sum::<usize>().max(1),
        }
    }
}

/// Rows by their classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Classes {
    /// The class of every row; `None` for a row that is alone in its own.
    pub(super) of_row: Vec<Option<usize>>,
    /// The rows of every class, two at least.
    pub(super) members: Vec<Vec<usize>>,
}

impl Classes {
    /// From any numbers for classes.
    pub(super) fn new(labels: &[usize]) -> Self {
        let mut by_label: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, label) in labels.iter().enumerate() {
            by_label.entry(*label).or_default().push(row);
        }
        let members: Vec<Vec<usize>> = by_label.into_values().filter(|m| m.len() > 1).collect();
        let mut of_row = vec![None; labels.len()];
        for (class, members) in members.iter().enumerate() {
            for row in members {
                of_row[*row] = Some(class);
            }
        }
        Self { of_row, members }
    }

    /// The partner of every row, where all classes are of two.
    pub(super) fn partners(&self) -> Option<Vec<usize>> {
        let partner = |row| {
            let mut positives = self.positives(row);
            positives.next().filter(|_| positives.next().is_none())
        };
        (0..self.of_row.len()).map(partner).collect()
    }

    /// The positives of a row.
    pub(super) fn positives(&self, row: usize) -> impl Iterator<Item = usize> {
        let members = self.of_row[row].map_or(&[][..], |class| &self.members[class]);
        members.iter().copied().filter(move |member| *member != row)
    }

    /// The sum of the unit rows of every class, in double precision.
    fn sums(&self, unit: &[f32], dim: usize) -> Vec<Vec<f64>> {
        let sum = |members: &Vec<usize>| {
            let mut sum = vec![0.0; dim];
            for row in members {
                for (s, u) in sum.iter_mut().zip(&unit[row * dim..][..dim]) {
                    *s += f64::from(*u);
                }
            }
            sum
        };
        self.members.par_iter().map(sum).collect()
    }

    /// What the forward pass finds out about every query, from the log-sum-exp of its keys.
    fn outcomes(&self, contrast: &Contrast, unit: &[f32], log_sums: &[f64]) -> Vec<Query> {
        let dim = contrast.dim;
        let sums = self.sums(unit, dim);
        let outcome = |(row, (class, log_sum)): (usize, (&Option<usize>, &f64))| {
            let Some(class) = *class else {
                return Query::that_does_not_count();
            };
            let pairs = unit[row * dim..][..dim].iter().zip(&sums[class]);
            let terms = pairs.map(|(u, s)| f64::from(*u) * (s - f64::from(*u)));
            let positives = (self.members[class].len() - 1) as f64;
            let mean = terms.sum::<f64>() / (positives * f64::from(contrast.temperature));
            Query {
                loss: log_sum - mean,
                log_sum: *log_sum,
                positive_weight: -positives.recip() as f32,
            }
        };
        let rows = self.of_row.par_iter().zip(log_sums).enumerate();
        rows.map(outcome).collect()
    }

    /// Adds to a row's gradient what it has from its class: as a query from its positives, and as theirs
    /// from them as queries, with the same weight.
    fn attract(&self, saved: &Saved, dim: usize, grad: &mut [f32]) {
        let sums = self.sums(&saved.unit, dim);
        let rows = grad.par_chunks_mut(dim).enumerate();
        rows.for_each(|(row, grad)| {
            let Some(class) = self.of_row[row] else {
                return;
            };
            let weight = 2.0 * f64::from(saved.positive_weight[row]);
            let terms = saved.unit[row * dim..][..dim].iter().zip(&sums[class]);
            for (g, (u, s)) in grad.iter_mut().zip(terms) {
                *g += (weight * (s - f64::from(*u))) as f32;
            }
        });
    }
}

/// What the forward pass finds out about every query, from the log-sum-exp of its keys without a positive
/// that is one of them.
pub(super) fn outcomes(contrast: &Contrast, unit: &[f32], others: &[f64]) -> Vec<Query> {
    let positives = match &contrast.positives {
        Positives::Keys(rows) | Positives::Beside(rows) => rows,
        Positives::Classes(classes) => return classes.outcomes(contrast, unit, others),
    };
    let outcome = |(query, (others, positive)): (usize, (&f64, &usize))| {
        let counts = !contrast.excludes(query, *positive);
        Query::new(logit(contrast, unit, query, *positive), *others, counts)
    };
    let queries = others.par_iter().zip(positives).enumerate();
    queries.map(outcome).collect()
}

/// Adds to the gradient with respect to the unit rows what comes from positives outside of tiles.
pub(super) fn attract(contrast: &Contrast, saved: &Saved, grad: &mut [f32]) {
    let dim = contrast.dim;
    match &contrast.positives {
        Positives::Keys(_) => {}
        Positives::Beside(rows) => {
            let queries = grad.par_chunks_mut(dim).zip(rows).enumerate();
            queries.for_each(|(query, (grad, positive))| {
                let weight = saved.positive_weight[query];
                for (g, u) in grad.iter_mut().zip(&saved.unit[positive * dim..][..dim]) {
                    *g += weight * u;
                }
            });
        }
        Positives::Classes(classes) => classes.attract(saved, dim, grad),
    }
}

fn logit(contrast: &Contrast, unit: &[f32], query: usize, key: usize) -> f64 {
    let row = |i: usize| &unit[i * contrast.dim..][..contrast.dim];
    let pairs = row(query).iter().zip(row(key));
    let dot: f64 = pairs.map(|(u, k)| f64::from(*u) * f64::from(*k)).sum();
    dot / f64::from(contrast.temperature)
}
