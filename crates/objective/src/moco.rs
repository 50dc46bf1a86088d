//! Momentum contrast: one key per query, negatives from a queue of earlier keys.

use crate::ObjectiveError;
use crate::memory_bank::{random_unit_rows, unit};
use crate::tensor::{Matrix, Real, Scalar, check_shapes, check_temperature, cross_entropy};
use crate::tensor::{l2_normalize, row_dots};
use dfdx::prelude::*;

/// Cross-entropy of `[u_i·k_i, u_i·queue^T] / t` against its first column, with
/// `u = q/|q|` and `k = key/|key|`; no gradient flows into keys or queue.
///
/// `q`, `key`: `[N, D]`, N ≥ 1; `queue`: `[K, D]` of unit rows. Range: from 0 to
/// `2/t + log(K + 1)`.
///
/// Source: He, Fan, Wu, Xie & Girshick, *Momentum Contrast for Unsupervised Visual Representation
/// Learning* (CVPR 2020), equation 1 and algorithm 1.
pub fn moco<E: Real, T: Tape<E, Cpu>>(
    q: Matrix<E, T>,
    key: Matrix<E>,
    queue: Matrix<E>,
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    check_shapes("moco", &[*q.shape(), *key.shape()], 1)?;
    check_temperature("moco", temperature)?;
    let ((rows, columns), (_, queue_columns)) = (*q.shape(), *queue.shape());
    if queue_columns != columns {
        let expected = format!("a queue of {columns} columns");
        return Err(ObjectiveError::input(
            "moco",
            expected,
            queue_columns.to_string(),
        ));
    }
    let (u, key) = (l2_normalize(q), l2_normalize(key));
    let positive = row_dots(u.with_empty_tape(), key).reshape_like(&(rows, 1));
    let negative = u.matmul(queue.permute());
    let logits = (positive, negative).concat_along(Axis::<1>) / E::of(temperature);
    Ok(cross_entropy(logits, vec![0; rows]))
}

/// The queue of [`moco`]: a ring of unit keys in which the newest overwrite the oldest.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyQueue {
    rows: Vec<f32>,
    columns: usize,
    next: usize,
}

impl KeyQueue {
    /// `length` random unit rows (normalised normal numbers, as in the paper's code), a function
    /// of `seed`.
    pub fn new(length: usize, columns: usize, seed: u64) -> Result<Self, ObjectiveError> {
        let stream = rand_distr::StandardNormal;
        let rows = random_unit_rows(length, columns, seed, stream);
        Self::from_rows(rows, columns, 0)
    }

    /// A queue with this content, whose next key goes to row `next`.
    pub fn from_rows(rows: Vec<f32>, columns: usize, next: usize) -> Result<Self, ObjectiveError> {
        let length = rows.len().checked_div(columns).unwrap_or(0);
        if length == 0 || length * columns != rows.len() || next >= length {
            let expected = "at least one whole row, and the next row inside";
            let found = format!("{} numbers, {columns} columns, next {next}", rows.len());
            return Err(ObjectiveError::input("moco queue", expected, found));
        }
        Ok(Self {
            rows,
            columns,
            next,
        })
    }

    /// Writes the keys (`[N, D]`, row by row, any length) as unit rows over the oldest ones.
    pub fn enqueue(&mut self, keys: &[f32]) -> Result<(), ObjectiveError> {
        if !keys.len().is_multiple_of(self.columns) {
            let expected = format!("keys of {} numbers", self.columns);
            return Err(ObjectiveError::input(
                "moco queue",
                expected,
                keys.len().to_string(),
            ));
        }
        for key in keys.chunks(self.columns) {
            let first = self.next * self.columns;
            self.rows[first..first + self.columns].copy_from_slice(&unit(key));
            self.next = (self.next + 1) % self.len();
        }
        Ok(())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len() / self.columns
    }

    /// Never: a queue has at least one row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row that the next key goes to.
    pub fn next(&self) -> usize {
        self.next
    }

    /// All rows, `[K, D]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// The queue as a constant tensor, `[K, D]`.
    pub fn tensor(&self, device: &Cpu) -> Matrix<f32> {
        device.tensor_from_vec(self.rows.clone(), (self.len(), self.columns))
    }
}
