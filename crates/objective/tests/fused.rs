//! The streaming losses against the plain ones, through dfdx's tape.

use dfdx::prelude::*;
use viewmaker_objective::memory_bank::MemoryBank;
use viewmaker_objective::tensor::{Matrix, Real, Scalar};
use viewmaker_objective::{ObjectiveError, fused, infonce, instdisc, ntxent, viewmaker_simclr};
use viewmaker_ops::random::Philox;

type Taped<E> = Matrix<E, OwnedTape<E, Cpu>>;
type Loss<E> = fn(Taped<E>, Taped<E>, f64) -> Result<Scalar<E, OwnedTape<E, Cpu>>, ObjectiveError>;

const LOSSES: [(&str, Loss<f32>, Loss<f64>); 4] = [
    (
        "viewmaker-simclr",
        fused::viewmaker_simclr,
        viewmaker_simclr::viewmaker_simclr,
    ),
    ("ntxent", fused::ntxent, ntxent::ntxent),
    ("dcl", fused::dcl, ntxent::dcl),
    ("infonce", fused::infonce, infonce::infonce),
];

fn uniform(n: usize, d: usize, stream: u32) -> Vec<f64> {
    let draws = Philox::new(7, stream, n as u32);
    (0..n * d)
        .map(|i| f64::from(draws.uniform(i as u64)) - 0.4)
        .collect()
}

/// The loss and both gradients, after the embeddings went through another operation of the tape.
fn run<E: Real>(loss: Loss<E>, z: &[Vec<f64>; 2], shape: (usize, usize), t: f64) -> (f64, Vec<f64>)
where
    Cpu: Device<E>,
{
    let device = Cpu::default();
    let leaf = |z: &Vec<f64>| {
        let narrow: Vec<E> = z.iter().map(|x| E::of(*x)).collect();
        device.tensor_from_vec(narrow, shape)
    };
    let leaves = [leaf(&z[0]), leaf(&z[1])];
    let [z1, z2] = [&leaves[0], &leaves[1]].map(|z| z.leaky_trace().tanh());
    let loss = loss(z1, z2, t).expect("valid inputs") * E::of(-3.0);
    let value = loss.as_vec()[0].wide();
    let gradients = loss.backward();
    let grads = leaves.iter().flat_map(|z| gradients.get(z).as_vec());
    (value, grads.map(|g| g.wide()).collect())
}

#[test]
fn fused_and_plain_agree() {
    for (n, d) in [(2, 3), (5, 1), (33, 17), (130, 8)] {
        let z = [uniform(n, d, 1), uniform(n, d, 2)];
        for t in [0.07, 0.5] {
            for (name, fused, plain) in LOSSES {
                let (got, got_grad) = run(fused, &z, (n, d), t);
                let (want, want_grad) = run(plain, &z, (n, d), t);
                // Three times the loss, whose logits (up to 1/t) are rounded to 24 bits.
                let allowed = 1e-6 * (1.0 + 1.0 / t);
                assert!(
                    (got - want).abs() < allowed,
                    "{name} {n}×{d} t={t}: {got} for {want}"
                );
                let largest = want_grad.iter().map(|g| g.abs()).fold(1e-6, f64::max);
                for (g, w) in got_grad.iter().zip(&want_grad) {
                    let off = (g - w).abs() / largest;
                    assert!(off < 3e-5, "{name} {n}×{d} t={t}: gradient off by {off:e}");
                }
            }
        }
    }
}

#[test]
fn fused_and_plain_noise_contrast_agree() -> Result<(), ObjectiveError> {
    let (shape, noise) = ((4, 5), [3, 8, 8, 0, 1, 2, 6, 5, 7, 7, 4, 0]);
    let bank = MemoryBank::new(9, 5, 3)?;
    let z: Vec<f32> = uniform(4, 5, 1).iter().map(|x| *x as f32).collect();
    for t in [0.07, 0.5] {
        let leaf = Cpu::default().tensor_from_vec(z.clone(), shape);
        let traced = || leaf.leaky_trace().tanh();
        let streamed = fused::instdisc(traced(), &bank, &[8, 0, 3, 3], &noise, t)?;
        let constant = bank.tensor(leaf.device());
        let plain = instdisc::instdisc(traced(), constant, &[8, 0, 3, 3], &noise, t)?;
        let off = (streamed.array() - plain.array()).abs();
        assert!(off < 1e-6 / t as f32, "t={t}: loss off by {off:e}");
        let [got, want] = [streamed, plain].map(|loss| (loss * -3.0).backward().get(&leaf));
        let largest = want
            .as_vec()
            .iter()
            .fold(0.0, |top: f32, g| top.max(g.abs()));
        for (g, w) in got.as_vec().iter().zip(want.as_vec()) {
            assert!((g - w).abs() < 1e-5 * largest, "t={t}: {g} for {w}");
        }
    }
    Ok(())
}

#[test]
fn views_of_different_shape_are_refused() {
    let device = Cpu::default();
    let z = |n, d| -> Taped<f32> {
        device
            .tensor_from_vec(vec![0.5; n * d], (n, d))
            .leaky_traced()
    };
    for (name, fused, _) in LOSSES {
        for (z1, z2, t) in [
            (z(3, 4), z(4, 4), 0.1),
            (z(3, 4), z(3, 5), 0.1),
            (z(3, 4), z(3, 4), 0.0),
            (z(0, 4), z(0, 4), 0.1),
        ] {
            let error = fused(z1, z2, t).map(drop).expect_err("invalid inputs");
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
