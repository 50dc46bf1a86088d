//! Supervised contrastive learning.

use crate::objective::{BatchInfo, Branches, Stateless, expect_views};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_shapes, check_temperature, l2_normalize};
use crate::tensor::{mask, stack, vector};
use crate::{ObjectiveError, fused};
use dfdx::prelude::*;

const NAME: &str = "supcon";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "Supervised contrastive learning: examples of one class attract each other",
    equation: "−mean_i 1/|P(i)| Σ_{p∈P(i)} log( exp(z_i·z_p/t) / Σ_{a≠i} exp(z_i·z_a/t) )",
    paper: "Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, eq. 2",
    branches: Branches {
        labels: true,
        ..Branches::TWO_VIEWS
    },
    game: "through both views",
    options: &["temperature", "fused"],
    defaults: &["objective.temperature=0.1"],
    build: |entry, config, _| {
        Stateless::boxed(entry, config, |outputs, batch, config| {
            let [z1, z2] = expect_views(NAME, outputs.embeddings)?;
            let classes = classes(batch);
            let (z, classes) = (stack(z1, z2), [&classes[..]; 2].concat());
            match config.fused {
                true => fused::supcon(z, &classes, config.temperature),
                false => supcon(z, &classes, config.temperature),
            }
        })
    },
};

/// The class of every example; one without a label is a class of its own.
fn classes(batch: &BatchInfo<'_>) -> Vec<usize> {
    let labelled = batch.labels.iter().flatten();
    let first_free = labelled.max().map_or(0, |last| *last as usize + 1);
    let number = |(at, label): (usize, &Option<u32>)| match label {
        Some(class) => *class as usize,
        None => first_free + at,
    };
    batch.labels.iter().enumerate().map(number).collect()
}

/// The loss `L_out`: for each row with at least one other row of its label (`P(i)`),
///
/// `−1/|P(i)| Σ_{p ∈ P(i)} log( exp(z_i·z_p/t) / Σ_{a≠i} exp(z_i·z_a/t) )`
///
/// and the mean over those rows; 0 if there are none. Rows have unit length; there is no factor for a
/// base temperature.
///
/// `z`: `[n, D]`, n ≥ 2, with one label per row. Two views are stacked before, with their labels
/// twice. Range: from 0 to `2/t + log(n − 1)`.
///
/// Source: Khosla et al., *Supervised Contrastive Learning* (NeurIPS 2020), equation 2.
pub fn supcon<E: Real, T: Tape<E, Cpu>>(
    z: Matrix<E, T>,
    labels: &[usize],
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_labels(*z.shape(), labels)?;
    check_temperature(NAME, temperature)?;
    let n = labels.len();
    let u = l2_normalize(z);
    let (weights, active) = positive_weights(&u, labels);
    let own = mask(u.device(), (n, n), |i, k| i == k);
    // Division first: dfdx cannot multiply a tensor with its own transpose.
    let logits = (u.with_empty_tape() / E::of(temperature)).matmul(u.permute());
    let attract = (logits.with_empty_tape() * weights).sum::<(usize,), Axis<1>>();
    let repel = (logits + own).logsumexp::<(usize,), Axis<1>>() * active;
    Ok((repel - attract).sum())
}

/// Checks that there are two rows at least, and a label for each.
pub(crate) fn check_labels(shape: (usize, usize), labels: &[usize]) -> Result<(), ObjectiveError> {
    check_shapes(NAME, &[shape], 2)?;
    if labels.len() == shape.0 {
        return Ok(());
    }
    let expected = format!("{} labels", shape.0);
    let found = labels.len().to_string();
    Err(ObjectiveError::input(NAME, expected, found))
}

/// The weight of every logit among the positives, and of every row in the mean: `1/(R·|P(i)|)`
/// and `1/R`, with R the number of rows that have a positive.
fn positive_weights<E: Real, T>(
    u: &Matrix<E, T>,
    labels: &[usize],
) -> (Matrix<E>, Tensor<(usize,), E, Cpu>)
where
    Cpu: Device<E>,
{
    let n = labels.len();
    let is_positive = |i: usize, p: usize| i != p && labels[i] == labels[p];
    let counts: Vec<usize> = (0..n)
        .map(|i| (0..n).filter(|p| is_positive(i, *p)).count())
        .collect();
    let rows = counts.iter().filter(|count| **count > 0).count().max(1) as f64;
    let weight =
        |i: usize, p: usize| f64::from(is_positive(i, p)) / (rows * counts[i].max(1) as f64);
    let pairs = (0..n).flat_map(|i| (0..n).map(move |p| (i, p)));
    let weights: Vec<E> = pairs.map(|(i, p)| E::of(weight(i, p))).collect();
    let active = counts.iter().map(|count| f64::from(*count > 0) / rows);
    (
        u.device().tensor_from_vec(weights, (n, n)),
        vector(u, active),
    )
}
