//! Time-contrastive losses: frames close in time should be close in embedding space.

use crate::objective::expect_views;
use crate::objective::{BatchInfo, Branches, Embeddings, Loss, Objective, Outputs, Setup};
use crate::registry::Entry;
use crate::tensor::row_distances;
use crate::tensor::{Matrix, Real, Scalar, Vector, bounded, check_indices, check_shapes};
use crate::tensor::{check_temperature, cross_entropy, distance, mask, pair_distances};
use crate::{ObjectiveConfig, ObjectiveError};
use dfdx::prelude::*;
use viewmaker_ops::random::Philox;

const NAME: &str = "tcn";

/// Separates the draws of negatives from every other use of random numbers.
const NEGATIVES: u32 = 0x7463_6e00;

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "Time-contrastive learning: of three moments, close ones attract each other (R3M's form)",
    equation: "½ mean(−log p(e1 near e2, not e0) − log p(e0 near e1, not e2)) + l1·mean|e|₁ + l2·mean|e|₂, \
               p from exp(−|u − v|), with moments of other sequences as further negatives",
    paper: "Nair et al., R3M, CoRL 2022, eq. 1 and section 3.3; after Sermanet et al., TCN, ICRA 2018",
    branches: Branches {
        online: &[0, 1, 2],
        ordered: true,
        least_batch: 2,
        ..Branches::ONE_VIEW
    },
    game: "through all three moments; the first term is at most 18.4",
    options: &["negatives", "l1", "l2"],
    defaults: &["objective.negatives=3"],
    build: |entry, config, setup| Ok(Box::new(TimeContrast::new(entry, config, setup))),
};

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

/// `l1·mean_i |e_i|₁ + l2·mean_i |e_i|₂` over all rows: the penalties that make R3M's embeddings
/// sparse and small.
///
/// `e`: `[N, D]`, N ≥ 1. Range: 0 and up.
///
/// Source: Nair et al., *R3M* (CoRL 2022), section 3.3.
pub fn sparsity<E: Real, T: Tape<E, Cpu>>(
    e: Matrix<E, T>,
    (l1, l2): (f64, f64),
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("sparsity", &[*e.shape()], 1)?;
    let e = bounded(e);
    let first = e.with_empty_tape().abs().sum::<(usize,), Axis<1>>().mean();
    let second = distance(e.square().sum::<(usize,), Axis<1>>()).mean();
    Ok(second * E::of(l2) + first * E::of(l1))
}

/// [`tcn_r3m`] plus [`sparsity`], with random negatives: moments of other sequences.
#[derive(Debug)]
struct TimeContrast {
    entry: &'static Entry,
    negatives: usize,
    sparsity: (f64, f64),
    seed: u64,
}

impl TimeContrast {
    fn new(entry: &'static Entry, config: &ObjectiveConfig, setup: &Setup) -> Self {
        Self {
            entry,
            negatives: config.negatives,
            sparsity: (config.l1, config.l2),
            seed: setup.seed,
        }
    }

    /// For each negative and example an example of another sequence, or where the batch has none of
    /// another example; `which` tells apart the moments whose negatives they are.
    fn negatives(&self, rows: usize, batch: &BatchInfo<'_>, which: u64) -> Vec<Vec<usize>> {
        let draws = Philox::new(self.seed, NEGATIVES, batch.pass);
        let foreign = |i: usize, j: usize| {
            let of = |k: usize| batch.sequences.get(k).copied().flatten();
            i != j && (of(i).is_none() || of(i) != of(j))
        };
        let candidates = |i: usize| -> Vec<usize> {
            let others: Vec<usize> = (0..rows).filter(|&j| foreign(i, j)).collect();
            match others.is_empty() {
                true => (0..rows).filter(|&j| j != i).collect(),
                false => others,
            }
        };
        let candidates: Vec<Vec<usize>> = (0..rows).map(candidates).collect();
        let choose = |k: usize, i: usize| {
            let place = ((which * self.negatives as u64) + k as u64) * rows as u64 + i as u64;
            let word = u64::from(draws.block(place)[0]);
            let from = &candidates[i];
            // Maps 32 random bits to one of them; the bias is below rows/2³².
            from[((word * from.len() as u64) >> 32) as usize]
        };
        let row = |k| (0..rows).map(|i| choose(k, i)).collect();
        (0..self.negatives).map(row).collect()
    }
}

impl Objective for TimeContrast {
    fn name(&self) -> &'static str {
        self.entry.name
    }

    fn branches(&self) -> Branches {
        self.entry.branches
    }

    fn loss(&mut self, outputs: Outputs, batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError> {
        let [e0, e1, e2]: [Embeddings; 3] = expect_views(NAME, outputs.embeddings)?;
        let rows = e0.shape().0;
        check_shapes(NAME, &[*e0.shape(), *e1.shape(), *e2.shape()], 2)?;
        let [early, late] = [0, 1].map(|which| self.negatives(rows, batch, which));
        let early: Vec<&[usize]> = early.iter().map(Vec::as_slice).collect();
        let late: Vec<&[usize]> = late.iter().map(Vec::as_slice).collect();
        let penalty = [&e0, &e1, &e2].map(|e| sparsity(e.retaped(), self.sparsity));
        let [p0, p1, p2]: [Result<Loss, _>; 3] = penalty;
        let penalty = (p0? + p1? + p2?) / 3.0;
        Ok(tcn_r3m(e0, e1, e2, &early, &late)? + penalty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_of_other_sequences_where_there_are_some() {
        let config = ObjectiveConfig {
            negatives: 200,
            ..ObjectiveConfig::default()
        };
        let setup = Setup {
            embedding_dim: 3,
            dataset_len: 9,
            seed: 2,
        };
        let objective = TimeContrast::new(&ENTRY, &config, &setup);
        let negatives = |sequences: &[Option<usize>]| {
            let batch = BatchInfo {
                indices: &[5, 6, 7, 8],
                labels: &[],
                sequences,
                pass: 1,
            };
            objective.negatives(4, &batch, 0)
        };
        let chosen = |rows: &[Vec<usize>], i: usize| {
            let mut seen: Vec<usize> = rows.iter().map(|row| row[i]).collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        let mixed = negatives(&[Some(1), Some(1), Some(2), Some(1)]);
        assert_eq!(chosen(&mixed, 0), [2]);
        assert_eq!(chosen(&mixed, 2), [0, 1, 3]);
        let single = negatives(&[Some(1); 4]);
        assert_eq!(chosen(&single, 1), [0, 2, 3]);
        assert_eq!(negatives(&[]), single);
    }

    #[test]
    fn sparsity_is_the_mean_of_norms() -> Result<(), ObjectiveError> {
        let device = Cpu::default();
        let e: Matrix<f64> = device.tensor_from_vec(vec![3.0, -4.0, 0.0, 0.0], (2, 2));
        let loss = sparsity(e.leaky_trace(), (0.1, 10.0))?;
        assert!((loss.array() - (0.1 * 3.5 + 10.0 * 2.5)).abs() < 1e-12);
        let gradient = loss.backward().get(&e).as_vec();
        let want = [0.05 + 3.0, -0.05 - 4.0, 0.0, 0.0];
        let near = gradient
            .iter()
            .zip(want)
            .all(|(g, w)| (g - w).abs() < 1e-12);
        assert!(near, "{gradient:?}");
        Ok(())
    }
}
