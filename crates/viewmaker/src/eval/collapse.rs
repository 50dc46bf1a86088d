//! Whether embeddings have collapsed: how far they spread, in how many directions, and how views and
//! examples lie to each other on the unit sphere.

use nalgebra::DMatrix;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Below this standard deviation (isotropic embeddings have 1) all embeddings are nearly the same.
/// Chen & He (*SimSiam*, CVPR 2021, figure 2) see about 0 in collapsed training and 0.9 to 1 otherwise.
const SMALLEST_STD: f64 = 0.1;

/// Below this effective rank the embeddings lie close to a line or a plane.
const SMALLEST_RANK: f64 = 3.0;

/// Shape of the embeddings of two views of the same examples, all scaled to length 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Collapse {
    /// Standard deviation of each dimension over examples and views, mean over dimensions, times the
    /// root of their number: 0 for equal embeddings, 1 for embeddings spread evenly over the sphere.
    ///
    /// Source: Chen & He, *Exploring Simple Siamese Representation Learning* (CVPR 2021),
    /// section 4.1.
    pub embedding_std: f64,
    /// Effective rank of the centred embeddings: `exp(−Σ p_k log p_k)` with their singular values
    /// `σ_k` and `p_k = σ_k / Σ σ`. From 1 (a line) to the width of an embedding; 0 for embeddings that
    /// are all equal.
    ///
    /// Source: Roy & Vetterli, *The Effective Rank: a Measure of Effective Dimensionality* (EUSIPCO
    /// 2007), definition 1.
    pub effective_rank: f64,
    /// `mean |u − v|²` over the two views of each example: from 0 to 4, small is close.
    ///
    /// Source: Wang & Isola, *Understanding Contrastive Representation Learning through Alignment and
    /// Uniformity on the Hypersphere* (ICML 2020), section 4.1, with α = 2.
    pub alignment: f64,
    /// `log mean exp(−2 |x − y|²)` over pairs of examples, mean over the two views: from −8 to 0 (all
    /// equal); evenly spread embeddings have about −4.
    ///
    /// Source: as [`Collapse::alignment`], with t = 2.
    pub uniformity: f64,
}

impl Collapse {
    /// Measures embeddings `[N, dim]` of two views of the same examples; `None` unless there are two
    /// examples at least.
    pub fn measure([first, second]: [&[f32]; 2], dim: usize) -> Option<Self> {
        let (u, v) = (unit_rows(first, dim), unit_rows(second, dim));
        let examples = u.len() / dim.max(1);
        if examples < 2 || u.len() != v.len() {
            return None;
        }
        let all = DMatrix::from_row_slice(2 * examples, dim, &[&u[..], &v[..]].concat());
        let centred = centre(all);
        let variances = centred
            .column_iter()
            .map(|c| c.norm_squared() / c.len() as f64);
        let std = variances.map(f64::sqrt).sum::<f64>() / dim as f64;
        let pairs = u.chunks(dim).zip(v.chunks(dim));
        let distances = pairs.map(|(u, v)| squared_distance(u, v));
        Some(Self {
            embedding_std: std * (dim as f64).sqrt(),
            effective_rank: effective_rank(&centred),
            alignment: distances.sum::<f64>() / examples as f64,
            uniformity: (uniformity(&u, dim) + uniformity(&v, dim)) / 2.0,
        })
    }

    /// A sentence for the user when the embeddings have collapsed: `embedding_std` below 0.1, or
    /// `effective_rank` below 3 where an embedding of `dim` numbers could have more.
    pub fn warning(&self, dim: usize) -> Option<String> {
        let std = self.embedding_std;
        if std < SMALLEST_STD {
            return Some(format!(
                "warning: the embeddings have collapsed: they are nearly the same for all examples \
                 (standard deviation {std:.3}, evenly spread ones have 1)"
            ));
        }
        let rank = self.effective_rank;
        (rank < SMALLEST_RANK && dim as f64 > SMALLEST_RANK).then(|| {
            format!(
                "warning: the embeddings have collapsed into few directions (effective rank \
                 {rank:.1} of {dim})"
            )
        })
    }
}

/// Rows in double precision, scaled to length 1; rows of zeros stay.
fn unit_rows(z: &[f32], dim: usize) -> Vec<f64> {
    let row = |row: &[f32]| {
        let norm = row
            .iter()
            .map(|x| f64::from(*x).powi(2))
            .sum::<f64>()
            .sqrt();
        let norm = if norm > 0.0 { norm } else { 1.0 };
        row.iter().map(|x| f64::from(*x) / norm).collect::<Vec<_>>()
    };
    z.chunks(dim.max(1)).flat_map(row).collect()
}

/// Every column minus its mean.
fn centre(mut rows: DMatrix<f64>) -> DMatrix<f64> {
    for mut column in rows.column_iter_mut() {
        let mean = column.mean();
        column.add_scalar_mut(-mean);
    }
    rows
}

fn effective_rank(centred: &DMatrix<f64>) -> f64 {
    // Both products have the squares of the singular values as eigenvalues.
    let gram = match centred.nrows() < centred.ncols() {
        true => centred * centred.transpose(),
        false => centred.transpose() * centred,
    };
    let squares = gram.symmetric_eigenvalues();
    let singular: Vec<f64> = squares
        .iter()
        .map(|square| square.max(0.0).sqrt())
        .collect();
    let sum: f64 = singular.iter().sum();
    if sum <= 0.0 {
        return 0.0;
    }
    let parts = singular
        .iter()
        .map(|value| value / sum)
        .filter(|p| *p > 0.0);
    let entropy: f64 = parts.map(|p| -p * p.ln()).sum();
    entropy.exp()
}

fn uniformity(rows: &[f64], dim: usize) -> f64 {
    let count = rows.len() / dim;
    let from = |i: usize| {
        let others = rows[(i + 1) * dim..].chunks(dim);
        let row = &rows[i * dim..(i + 1) * dim];
        others
            .map(|other| (-2.0 * squared_distance(row, other)).exp())
            .sum()
    };
    // Collected first: the order of the sum must not depend on the number of threads.
    let sums: Vec<f64> = (0..count).into_par_iter().map(from).collect();
    let pairs = count * (count - 1) / 2;
    (sums.iter().sum::<f64>() / pairs as f64).ln()
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_ops::random::Philox;

    const DIM: usize = 8;

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-9, "{got} is not {want}");
    }

    /// The vectors ±e_k of the first `axes` axes.
    fn cross(axes: usize) -> Vec<f32> {
        let mut rows = vec![0.0; 2 * axes * DIM];
        for k in 0..axes {
            rows[2 * k * DIM + k] = 3.0;
            rows[(2 * k + 1) * DIM + k] = -0.5;
        }
        rows
    }

    #[test]
    fn symmetric_directions_have_known_values() {
        for axes in [1, 3, DIM] {
            let rows = cross(axes);
            let got = Collapse::measure([&rows, &rows], DIM).unwrap();
            close(got.effective_rank, axes as f64);
            close(got.alignment, 0.0);
            let std = axes as f64 / (DIM as f64) * (DIM as f64 / axes as f64).sqrt();
            close(got.embedding_std, std);
            // Of the 2a − 1 other points one is opposite (distance² 4), the others at distance² 2.
            let count = (2 * axes - 1) as f64;
            let mean = ((-8f64).exp() + (count - 1.0) * (-4f64).exp()) / count;
            close(got.uniformity, mean.ln());
        }
    }

    #[test]
    fn alignment_is_the_distance_of_the_views() {
        let (x, y) = (cross(1), [cross(2)[2 * DIM..].to_vec()].concat());
        let got = Collapse::measure([&x, &y], DIM).unwrap();
        close(got.alignment, 2.0);
    }

    #[test]
    fn collapse_is_noticed_and_ordinary_embeddings_are_not_blamed() {
        let constant = vec![0.3; 10 * DIM];
        let got = Collapse::measure([&constant, &constant], DIM).unwrap();
        close(got.embedding_std, 0.0);
        close(got.uniformity, 0.0);
        assert!(got.warning(DIM).unwrap().contains("nearly the same"));
        let line = cross(1);
        let got = Collapse::measure([&line, &line], DIM).unwrap();
        assert!(got.warning(DIM).unwrap().contains("few directions"));
        assert_eq!(got.warning(2), None, "two numbers cannot have rank 3");

        let draws = Philox::new(5, 0, 0);
        let normal: Vec<f32> = (0..64 * DIM)
            .map(|i| draws.uniform(i as u64) - 0.5)
            .collect();
        let got = Collapse::measure([&normal, &normal], DIM).unwrap();
        assert_eq!(got.warning(DIM), None, "{got:?}");
        assert!(
            got.effective_rank > 7.5 && got.embedding_std > 0.95,
            "{got:?}"
        );
    }

    #[test]
    fn odd_inputs_are_finite_or_refused() {
        let huge = vec![f32::MAX; 4 * DIM];
        let zero = vec![0.0; 4 * DIM];
        let got = Collapse::measure([&huge, &zero], DIM).unwrap();
        let values = [
            got.embedding_std,
            got.effective_rank,
            got.alignment,
            got.uniformity,
        ];
        assert!(values.iter().all(|x| x.is_finite()), "{got:?}");
        assert_eq!(Collapse::measure([&huge[..DIM], &zero[..DIM]], DIM), None);
        assert_eq!(Collapse::measure([&huge, &zero[..DIM]], DIM), None);
        assert_eq!(Collapse::measure([&[], &[]], DIM), None);
    }
}
