//! One embedding per example of the data set, kept from pass to pass.

use crate::ObjectiveError;
use crate::tensor::{Matrix, check_indices};
use dfdx::prelude::{Cpu, TensorFromVec};
use rand_distr::{Distribution, Uniform};
use rayon::prelude::*;
use viewmaker_ops::contrastive::dot;
use viewmaker_ops::random::Philox;

/// Separates the initial rows of banks and queues from every other use of random numbers.
const INITIAL_ROWS: u32 = 0x6261_6e6b;

/// A matrix `[len, columns]` with one row per example.
///
/// It serves instance discrimination as its negatives and, for every objective, the online
/// nearest-neighbour metric.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryBank {
    rows: Vec<f32>,
    columns: usize,
}

impl MemoryBank {
    /// Random unit rows as in the original: uniform in `±1/√(columns/3)`, then normalised; a
    /// function of `seed`.
    pub fn new(len: usize, columns: usize, seed: u64) -> Result<Self, ObjectiveError> {
        let bound = (3.0 / columns.max(1) as f32).sqrt();
        let uniform = Uniform::new_inclusive(-bound, bound)
            .map_err(|e| ObjectiveError::input(NAME, "a positive width", e.to_string()))?;
        Self::from_rows(random_unit_rows(len, columns, seed, uniform), columns)
    }

    /// A bank with this content, row by row.
    pub fn from_rows(rows: Vec<f32>, columns: usize) -> Result<Self, ObjectiveError> {
        if rows.is_empty() || columns == 0 || !rows.len().is_multiple_of(columns) {
            let found = format!("{} numbers for {columns} columns", rows.len());
            return Err(ObjectiveError::input(NAME, "at least one whole row", found));
        }
        Ok(Self { rows, columns })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.columns
    }

    /// Never: a bank has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Width of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All rows, `[len, columns]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.columns..][..self.columns]
    }

    /// The bank as a constant tensor.
    pub fn tensor(&self, device: &Cpu) -> Matrix<f32> {
        device.tensor_from_vec(self.rows.clone(), (self.len(), self.columns))
    }

    /// Instance discrimination's update: `row ← normalise(m·row + (1 − m)·u)` with `u = z/|z|`, for
    /// the embeddings `z` (`[N, columns]`) of the examples `indices`. All new rows come from the old
    /// ones; of equal indices the last wins.
    ///
    /// Source: Wu et al. 2018 (see [`instdisc`](crate::instdisc::instdisc)), as its code does it.
    pub fn update(
        &mut self,
        indices: &[usize],
        z: &[f32],
        momentum: f64,
    ) -> Result<(), ObjectiveError> {
        self.write(indices, &[z], |old, views| {
            let blend = |(o, u): (&f32, &f32)| {
                (momentum * f64::from(*o) + (1.0 - momentum) * f64::from(*u)) as f32
            };
            unit(&old.iter().zip(&views[0]).map(blend).collect::<Vec<f32>>())
        })
    }

    /// What the viewmaker's SimCLR systems keep: `row ← z1/|z1|`.
    pub fn write_view(&mut self, indices: &[usize], z1: &[f32]) -> Result<(), ObjectiveError> {
        self.write(indices, &[z1], |_, views| views[0].clone())
    }

    /// What the original's expert SimCLR systems keep: `row ← (u + v)/2` with `u = z1/|z1|`,
    /// `v = z2/|z2|`. These rows are not normalised again.
    pub fn write_average(
        &mut self,
        indices: &[usize],
        z1: &[f32],
        z2: &[f32],
    ) -> Result<(), ObjectiveError> {
        self.write(indices, &[z1, z2], |_, views| {
            let (u, v) = (&views[0], &views[1]);
            u.iter().zip(v).map(|(u, v)| (u + v) / 2.0).collect()
        })
    }

    /// Replaces rows by what `new` makes of the old row and the unit embeddings of each view.
    fn write(
        &mut self,
        indices: &[usize],
        views: &[&[f32]],
        new: impl Fn(&[f32], &[Vec<f32>]) -> Vec<f32> + Sync,
    ) -> Result<(), ObjectiveError> {
        check_indices(NAME, indices, self.len())?;
        for z in views {
            if z.len() != indices.len() * self.columns {
                let expected = format!("[{}, {}]", indices.len(), self.columns);
                let found = format!("{} numbers", z.len());
                return Err(ObjectiveError::input(NAME, expected, found));
            }
        }
        let view_row = |z: &[f32], i: usize| unit(&z[i * self.columns..][..self.columns]);
        let rows: Vec<Vec<f32>> = indices
            .par_iter()
            .enumerate()
            .map(|(i, index)| {
                let units: Vec<Vec<f32>> = views.iter().map(|z| view_row(z, i)).collect();
                new(self.row(*index), &units)
            })
            .collect();
        for (index, row) in indices.iter().zip(rows) {
            self.rows[index * self.columns..][..self.columns].copy_from_slice(&row);
        }
        Ok(())
    }

    /// Dot product of one embedding with every row.
    pub fn dot_products(&self, z: &[f32]) -> Result<Vec<f32>, ObjectiveError> {
        self.check_width(z)?;
        Ok(self
            .rows
            .chunks(self.columns)
            .map(|row| dot(row, z))
            .collect())
    }

    /// Euclidean distance of one embedding to every row.
    pub fn distances(&self, z: &[f32]) -> Result<Vec<f32>, ObjectiveError> {
        self.check_width(z)?;
        let distance = |row: &[f32]| {
            let squares = row.iter().zip(z).map(|(a, b)| f64::from(a - b).powi(2));
            squares.sum::<f64>().sqrt() as f32
        };
        Ok(self.rows.chunks(self.columns).map(distance).collect())
    }

    /// For each embedding of `z` (`[N, columns]`) the row with the largest dot product, the first of
    /// equal ones: the top-1 neighbour of the online metric.
    pub fn nearest(&self, z: &[f32]) -> Result<Vec<usize>, ObjectiveError> {
        let queries: Vec<&[f32]> = z.chunks(self.columns).collect();
        queries
            .par_iter()
            .map(|query| Ok(first_largest(&self.dot_products(query)?)))
            .collect()
    }

    fn check_width(&self, z: &[f32]) -> Result<(), ObjectiveError> {
        if z.len() == self.columns {
            return Ok(());
        }
        let expected = format!("an embedding of {} numbers", self.columns);
        Err(ObjectiveError::input(NAME, expected, z.len().to_string()))
    }
}

const NAME: &str = "memory bank";

fn first_largest(values: &[f32]) -> usize {
    let better = |best: usize, i: usize| if values[i] > values[best] { i } else { best };
    (0..values.len()).fold(0, better)
}

/// The row divided by its length; a zero row stays zero.
pub(crate) fn unit(row: &[f32]) -> Vec<f32> {
    let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
    let length = if squares > 0.0 { squares.sqrt() } else { 1.0 };
    row.iter()
        .map(|x| (f64::from(*x) / length) as f32)
        .collect()
}

/// `len` rows from a distribution, normalised.
pub(crate) fn random_unit_rows(
    len: usize,
    columns: usize,
    seed: u64,
    distribution: impl Distribution<f32>,
) -> Vec<f32> {
    let mut random = Philox::new(seed, INITIAL_ROWS, 0).sequence();
    let rows = (0..len).map(|_| {
        let row: Vec<f32> = (0..columns)
            .map(|_| distribution.sample(&mut random))
            .collect();
        unit(&row)
    });
    rows.flatten().collect()
}
