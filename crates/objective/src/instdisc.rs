//! Instance discrimination: noise-contrastive estimation against a memory bank.

use crate::memory_bank::MemoryBank;
use crate::objective::{BatchInfo, Branches, Loss, Memory, NamedTensor, Objective, Outputs, Seen};
use crate::objective::{Setup, expect_seen, expect_views, wrong_state};
use crate::registry::Entry;
use crate::tensor::{Matrix, Real, Scalar, check_indices, check_shapes, check_temperature};
use crate::tensor::{contrast, l2_normalize};
use crate::{ObjectiveConfig, ObjectiveError, fused};
use dfdx::prelude::*;
use viewmaker_ops::random::Philox;

const NAME: &str = "instdisc";

/// How it is registered.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    title: "Instance discrimination against a memory bank (one view)",
    equation: "−mean_i[ u_i·bank_i/t − log mean_k exp(u_i·bank_noise(i,k)/t) ]",
    paper: "Wu, Xiong, Yu & Lin, Non-Parametric Instance Discrimination, CVPR 2018",
    branches: Branches {
        memory: Memory::Bank,
        ..Branches::ONE_VIEW
    },
    game: "through the one view; the bank is a constant",
    options: &["temperature", "negatives", "bank_momentum", "fused"],
    defaults: &[],
    build: |_, config, setup| Ok(Box::new(InstanceDiscrimination::new(config, setup)?)),
};

/// Separates the noise draws from every other use of random numbers.
const NOISE: u32 = 0x6e6f_6973;

/// The viewmaker code's simplified noise-contrastive estimation:
///
/// `−mean_i[ u_i·bank[idx_i]/t − ( log Σ_k exp(u_i·bank[noise_ik]/t) − log K ) ]`, `k = 1..K`
///
/// with `u = z/|z|`. No gradient flows into the bank, and noise may hit the positive.
///
/// `z`: `[N, D]`, N ≥ 1; `bank`: `[M, D]` of unit rows; `indices`: the N rows of the bank that belong to the
/// examples; `noise`: N·K rows, K for each example. Range: from `−2/t` to `2/t`.
///
/// Source: Wu, Xiong, Yu & Lin, *Unsupervised Feature Learning via Non-Parametric Instance
/// Discrimination* (CVPR 2018), section 3.2, in the form of the viewmaker paper's code.
pub fn instdisc<E: Real, T: Tape<E, Cpu>>(
    z: Matrix<E, T>,
    bank: Matrix<E>,
    indices: &[usize],
    noise: &[usize],
    temperature: f64,
) -> Result<Scalar<E, T>, ObjectiveError>
where
    Cpu: Device<E>,
{
    let ((n, d), (m, bank_d)) = (*z.shape(), *bank.shape());
    check_draws((n, d), (m, bank_d), indices, noise)?;
    check_temperature(NAME, temperature)?;
    let device = z.device().clone();
    let positive = device.tensor_from_vec(indices.to_vec(), (n,));
    let negative = device.tensor_from_vec(noise.to_vec(), (n, noise.len() / n));
    let draws = (noise.len() / n) as f64;
    let scores = l2_normalize(z).matmul(bank.permute()) / E::of(temperature);
    let attract = scores.with_empty_tape().select(positive);
    Ok(contrast(scores.gather(negative), attract) - E::of(draws.ln()))
}

/// Checks that the bank has the width of the embeddings and the draws lie inside it.
pub(crate) fn check_draws(
    (n, d): (usize, usize),
    (m, bank_d): (usize, usize),
    indices: &[usize],
    noise: &[usize],
) -> Result<(), ObjectiveError> {
    check_shapes(NAME, &[(n, d)], 1)?;
    if bank_d != d || indices.len() != n || noise.is_empty() || !noise.len().is_multiple_of(n) {
        let expected =
            format!("a bank of {d} columns, {n} indices and a multiple of {n} noise rows");
        let found = format!("{bank_d}, {} and {}", indices.len(), noise.len());
        return Err(ObjectiveError::input(NAME, expected, found));
    }
    check_indices(NAME, indices, m)?;
    check_indices(NAME, noise, m)
}

/// [`instdisc`] as an objective of training: it owns the memory bank and draws the noise.
///
/// The bank is updated after every pass, with momentum `bank_momentum`.
#[derive(Debug)]
pub struct InstanceDiscrimination {
    bank: MemoryBank,
    negatives: usize,
    momentum: f64,
    temperature: f64,
    seed: u64,
    fused: bool,
}

impl InstanceDiscrimination {
    /// A bank of random unit rows for the whole data set.
    pub fn new(config: &ObjectiveConfig, setup: &Setup) -> Result<Self, ObjectiveError> {
        Ok(Self {
            bank: MemoryBank::new(setup.dataset_len, setup.embedding_dim, setup.seed)?,
            negatives: config.negatives,
            momentum: config.bank_momentum,
            temperature: config.temperature,
            seed: setup.seed,
            fused: config.fused,
        })
    }

    /// Noise rows for `examples` examples, uniform over the bank with replacement: a function of
    /// the seed and the pass.
    fn noise(&self, examples: usize, pass: u32) -> Vec<usize> {
        let draws = Philox::new(self.seed, NOISE, pass);
        let rows = self.bank.len() as u64;
        // Maps 32 random bits to a row; the bias is below rows/2³².
        let row = |word: u32| ((u64::from(word) * rows) >> 32) as usize;
        let blocks = (0..).flat_map(|block| draws.block(block));
        blocks.map(row).take(examples * self.negatives).collect()
    }
}

impl Objective for InstanceDiscrimination {
    fn name(&self) -> &'static str {
        NAME
    }

    fn branches(&self) -> Branches {
        ENTRY.branches
    }

    fn loss(&mut self, outputs: Outputs, batch: &BatchInfo<'_>) -> Result<Loss, ObjectiveError> {
        let [z] = expect_views(NAME, outputs.embeddings)?;
        let noise = self.noise(z.shape().0, batch.pass);
        if self.fused {
            return fused::instdisc(z, &self.bank, batch.indices, &noise, self.temperature);
        }
        let bank = self.bank.tensor(z.device());
        instdisc(z, bank, batch.indices, &noise, self.temperature)
    }

    fn observe(&mut self, seen: &Seen<'_>, batch: &BatchInfo<'_>) -> Result<(), ObjectiveError> {
        let [z] = expect_seen(NAME, seen.embeddings)?;
        self.bank.update(batch.indices, z, self.momentum)
    }

    fn memory_bank(&self) -> Option<&MemoryBank> {
        Some(&self.bank)
    }

    fn state(&self) -> Vec<NamedTensor> {
        let shape = vec![self.bank.len(), self.bank.columns()];
        vec![("memory_bank".to_owned(), shape, self.bank.rows().to_vec())]
    }

    fn load_state(&mut self, state: &[NamedTensor]) -> Result<(), ObjectiveError> {
        let expected = [self.bank.len(), self.bank.columns()];
        match state {
            [(name, shape, rows)] if name == "memory_bank" && *shape == expected => {
                self.bank = MemoryBank::from_rows(rows.clone(), expected[1])?;
                Ok(())
            }
            _ => Err(wrong_state(
                NAME,
                format!("memory_bank {expected:?}"),
                state,
            )),
        }
    }
}
