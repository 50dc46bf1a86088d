//! The latest embeddings, as negatives for those that follow.

use crate::ObjectiveError;
use crate::memory_bank::{random_unit_rows, unit};
use crate::objective::{NamedTensor, wrong_state};
use crate::tensor::Matrix;
use dfdx::prelude::{Cpu, TensorFromVec};
use std::ops::Range;

const NAME: &str = "queue";

/// Numbers up to here are exact in the single precision of checkpoints.
const EXACT: usize = 1 << 24;

/// A ring of unit rows in which the newest overwrite the oldest, and the example that each row belongs
/// to.
///
/// Source: He, Fan, Wu, Xie & Girshick, *Momentum Contrast for Unsupervised Visual Representation
/// Learning* (CVPR 2020), section 3.2 and algorithm 1.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyQueue {
    rows: Vec<f32>,
    owners: Vec<Option<usize>>,
    columns: usize,
    next: usize,
    written: u64,
}

impl KeyQueue {
    /// `length` random unit rows (normalised normal numbers, as in the paper's code), a function
    /// of `seed`.
    pub fn new(length: usize, columns: usize, seed: u64) -> Result<Self, ObjectiveError> {
        let stream = rand_distr::StandardNormal;
        let rows = random_unit_rows(length, columns, seed, stream);
        Self::from_rows(rows, columns, 0)
    }

    /// A queue with this content, which belongs to no example, whose next key goes to row `next`.
    pub fn from_rows(rows: Vec<f32>, columns: usize, next: usize) -> Result<Self, ObjectiveError> {
        let length = rows.len().checked_div(columns).unwrap_or(0);
        if length == 0 || length * columns != rows.len() || next >= length {
            let expected = "at least one whole row, and the next row inside";
            let found = format!("{} numbers, {columns} columns, next {next}", rows.len());
            return Err(ObjectiveError::input(NAME, expected, found));
        }
        Ok(Self {
            rows,
            owners: vec![None; length],
            columns,
            next,
            written: length as u64,
        })
    }

    /// Writes the keys (`[N, D]`, row by row, any length) as unit rows over the oldest ones.
    pub fn enqueue(&mut self, keys: &[f32]) -> Result<(), ObjectiveError> {
        self.write(keys, std::iter::repeat(None))
    }

    /// [`KeyQueue::enqueue`] for the keys of the examples `owners`.
    pub fn enqueue_of(&mut self, keys: &[f32], owners: &[usize]) -> Result<(), ObjectiveError> {
        if keys.len() != owners.len() * self.columns {
            let expected = format!("[{}, {}]", owners.len(), self.columns);
            let found = format!("{} numbers", keys.len());
            return Err(ObjectiveError::input(NAME, expected, found));
        }
        self.write(keys, owners.iter().copied().map(Some))
    }

    fn write(
        &mut self,
        keys: &[f32],
        owners: impl Iterator<Item = Option<usize>>,
    ) -> Result<(), ObjectiveError> {
        if !keys.len().is_multiple_of(self.columns) {
            let expected = format!("keys of {} numbers", self.columns);
            let found = keys.len().to_string();
            return Err(ObjectiveError::input(NAME, expected, found));
        }
        for (key, owner) in keys.chunks(self.columns).zip(owners) {
            let first = self.next * self.columns;
            self.rows[first..first + self.columns].copy_from_slice(&unit(key));
            self.owners[self.next] = owner;
            self.next = (self.next + 1) % self.len();
            self.written += 1;
        }
        Ok(())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Never: a queue has at least one row.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// The row that the next key goes to.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Rows written in the life of this queue, its first content included: whoever has seen it with
    /// fewer has missed as many of the newest.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Where the `count` newest rows are, or all of them where there are fewer: at most two ranges, neither
    /// of them empty.
    pub fn newest(&self, count: u64) -> impl Iterator<Item = Range<usize>> {
        let length = self.len();
        let count = usize::try_from(count).map_or(length, |count| count.min(length));
        let first = (self.next + length - count) % length;
        let end = first + count;
        let ranges = [first..end.min(length), 0..end.saturating_sub(length)];
        ranges.into_iter().filter(|range| !range.is_empty())
    }

    /// Width of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All rows, `[K, D]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// The example that each row belongs to, where it is known.
    pub fn owners(&self) -> &[Option<usize>] {
        &self.owners
    }

    /// The queue as a constant tensor, `[K, D]`.
    pub fn tensor(&self, device: &Cpu) -> Matrix<f32> {
        device.tensor_from_vec(self.rows.clone(), (self.len(), self.columns))
    }

    /// What a checkpoint must hold: `queue` `[K, D]`, `queue.next` `[1]`, and `queue.owners`
    /// `[K, 2]`: 1 + the owner (0 for none) as quotient and remainder by 2²⁴.
    pub fn state(&self) -> Vec<NamedTensor> {
        let code = self.owners.iter().map(|owner| owner.map_or(0, |o| o + 1));
        let owners = code.flat_map(|code| [(code / EXACT) as f32, (code % EXACT) as f32]);
        let length = self.len();
        vec![
            (
                "queue".to_owned(),
                vec![length, self.columns],
                self.rows.clone(),
            ),
            ("queue.next".to_owned(), vec![1], vec![self.next as f32]),
            ("queue.owners".to_owned(), vec![length, 2], owners.collect()),
        ]
    }

    /// Restores what [`KeyQueue::state`] gave; `objective` is named in the error.
    pub fn load_state(
        &mut self,
        objective: &'static str,
        state: &[NamedTensor],
    ) -> Result<(), ObjectiveError> {
        let length = self.len();
        let tensor = |name: &str, shape: &[usize]| {
            let found = state.iter().find(|(n, s, _)| n == name && s == shape);
            found
                .map(|(_, _, data)| data)
                .ok_or_else(|| wrong_state(objective, format!("{name} {shape:?}"), state))
        };
        if state.len() != 3 {
            return Err(wrong_state(
                objective,
                "queue, queue.next and queue.owners",
                state,
            ));
        }
        let rows = tensor("queue", &[length, self.columns])?;
        let next = tensor("queue.next", &[1])?[0] as usize;
        let owners = tensor("queue.owners", &[length, 2])?;
        let mut restored = Self::from_rows(rows.clone(), self.columns, next)?;
        let code = owners
            .chunks(2)
            .map(|c| c[0] as usize * EXACT + c[1] as usize);
        restored.owners = code.map(|code| code.checked_sub(1)).collect();
        // All of it is new to whoever has seen this queue.
        restored.written += self.written;
        *self = restored;
        Ok(())
    }
}
