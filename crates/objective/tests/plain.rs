//! Losses without fixtures, against formulas written out as loops over numbers.

use dfdx::prelude::*;
use viewmaker_objective::ObjectiveError;
use viewmaker_objective::dclw::dclw;
use viewmaker_objective::infonce::infonce_euclidean;
use viewmaker_objective::moco_v3::moco_v3;
use viewmaker_objective::pull::pull;
use viewmaker_objective::tensor::{Matrix, Scalar};
use viewmaker_ops::random::Philox;

const N: usize = 5;
const D: usize = 4;
const T: f64 = 0.3;

type Rows = Vec<[f64; D]>;
type Loss = Scalar<f64, OwnedTape<f64, Cpu>>;
type Traced = Matrix<f64, OwnedTape<f64, Cpu>>;
type TestResult = Result<(), ObjectiveError>;

fn rows(stream: u32) -> Rows {
    let draws = Philox::new(2, stream, 0);
    let row =
        |i: usize| std::array::from_fn(|j| f64::from(draws.uniform((i * D + j) as u64)) - 0.4);
    (0..N).map(row).collect()
}

fn tensor(rows: &Rows) -> Matrix<f64> {
    Cpu::default().tensor_from_vec(rows.concat(), (N, D))
}

fn dot(a: &[f64; D], b: &[f64; D]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f64; D], b: &[f64; D]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn squared_distance(a: &[f64; D], b: &[f64; D]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Compares value and gradient (by central differences of `want`) in both arguments.
fn check(
    got: fn(Traced, Traced) -> Result<Loss, ObjectiveError>,
    want: &dyn Fn(&Rows, &Rows) -> f64,
) -> TestResult {
    let (x, y) = (rows(0), rows(1));
    let leaves = [tensor(&x), tensor(&y)];
    let loss = got(leaves[0].leaky_trace(), leaves[1].leaky_trace())?;
    let value = loss.array();
    assert!(
        (value - want(&x, &y)).abs() < 1e-12,
        "{value} is not {}",
        want(&x, &y)
    );
    let gradients = loss.backward();
    for (which, leaf) in leaves.iter().enumerate() {
        let gradient = gradients.get(leaf).as_vec();
        for (at, got) in gradient.iter().enumerate() {
            let moved = |step: f64| {
                let mut both = [x.clone(), y.clone()];
                both[which][at / D][at % D] += step;
                want(&both[0], &both[1])
            };
            let want = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!(
                (got - want).abs() < 1e-7,
                "input {which}, element {at}: {got}, {want}"
            );
        }
    }
    Ok(())
}

/// −log of the share of column i in row i of `exp(logits)`, mean over rows.
fn cross_entropy(logits: impl Fn(usize, usize) -> f64) -> f64 {
    let row = |i: usize| (0..N).map(|j| logits(i, j).exp()).sum::<f64>().ln() - logits(i, i);
    (0..N).map(row).sum::<f64>() / N as f64
}

#[test]
fn pull_is_the_mean_squared_distance_of_unit_embeddings() -> TestResult {
    check(pull, &|x, y| {
        // |u − v|² of unit vectors.
        let distances = x.iter().zip(y).map(|(x, y)| 2.0 - 2.0 * cosine(x, y));
        distances.sum::<f64>() / N as f64
    })
}

#[test]
fn euclidean_infonce_is_cross_entropy_of_distances() -> TestResult {
    check(|x, y| infonce_euclidean(x, y, T), &|x, y| {
        cross_entropy(|i, j| -squared_distance(&x[i], &y[j]).sqrt() / T)
    })
}

#[test]
fn moco_v3_looks_for_keys_in_the_batch() -> TestResult {
    check(
        |p1, p2| moco_v3(p1, p2, tensor(&rows(2)), tensor(&rows(3)), T),
        &|p1, p2| {
            let (k1, k2) = (rows(2), rows(3));
            let there = cross_entropy(|i, j| cosine(&p1[i], &k2[j]) / T);
            let back = cross_entropy(|i, j| cosine(&p2[i], &k1[j]) / T);
            2.0 * T * (there + back)
        },
    )
}

#[test]
fn dclw_weights_positives_and_leaves_them_out_below() -> TestResult {
    const SIGMA: f64 = 0.5;
    let (x, y) = (rows(0), rows(1));
    let similarities: Vec<f64> = x.iter().zip(&y).map(|(x, y)| cosine(x, y)).collect();
    let terms: Vec<f64> = similarities.iter().map(|s| (s / SIGMA).exp()).collect();
    let mean = terms.iter().sum::<f64>() / N as f64;
    // Constants for the gradient.
    let weights: Vec<f64> = terms.iter().map(|term| 2.0 - term / mean).collect();
    assert!((weights.iter().sum::<f64>() / N as f64 - 1.0).abs() < 1e-12);
    check(|x, y| dclw(x, y, T, SIGMA), &|x, y| {
        let all: Vec<&[f64; D]> = x.iter().chain(y).collect();
        let row = |i: usize| {
            let partner = (i + N) % (2 * N);
            let others = (0..2 * N).filter(|k| *k != i && *k != partner);
            let sum: f64 = others.map(|k| (cosine(all[i], all[k]) / T).exp()).sum();
            sum.ln() - weights[i % N] * cosine(all[i], all[partner]) / T
        };
        (0..2 * N).map(row).sum::<f64>() / (2 * N) as f64
    })
}
