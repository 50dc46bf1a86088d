//! The streaming losses against the plain ones, through dfdx's tape.

use dfdx::prelude::*;
use viewmaker_objective::key_queue::KeyQueue;
use viewmaker_objective::memory_bank::MemoryBank;
use viewmaker_objective::tensor::{Matrix, Real, Scalar};
use viewmaker_objective::viewmaker_simclr;
use viewmaker_objective::{ObjectiveError, clip, fused, infonce, instdisc, moco, ntxent, supcon};
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

/// Losses with a shape of their own, made losses of two views; a constant has no gradient to compare, so
/// that a query is the sum of the views.
const OTHERS: [(&str, Loss<f32>, Loss<f64>); 4] = [
    (
        "moco",
        |z1, z2, t| {
            let (n, d) = *z1.shape();
            fused::moco(z1 + z2, constant(n, d), &queue(d)?, t)
        },
        |z1, z2, t| {
            let (n, d) = *z1.shape();
            let rows: Vec<f64> = queue(d)?.rows().iter().map(|x| f64::from(*x)).collect();
            let queue = z1.device().tensor_from_vec(rows, (QUEUE, d));
            moco::moco(z1 + z2, constant(n, d), queue, t)
        },
    ),
    (
        "infonce of constants",
        |z1, z2, t| {
            let (n, d) = *z1.shape();
            fused::infonce_of_constants(z1 + z2, constant(n, d), t)
        },
        |z1, z2, t| {
            let (n, d) = *z1.shape();
            infonce::infonce(z1 + z2, constant(n, d).leaky_traced(), t)
        },
    ),
    (
        "clip",
        |z1, z2, t| {
            let scale = log_scale(&z1, &z2, t);
            fused::clip(z1, z2, scale)
        },
        |z1, z2, t| {
            let scale = log_scale(&z1, &z2, t);
            clip::clip(z1, z2, scale)
        },
    ),
    (
        "supcon",
        |z1, z2, t| {
            let z = (z1, z2).concat_along(Axis::<0>);
            let labels = labels(z.shape().0);
            fused::supcon(z, &labels, t)
        },
        |z1, z2, t| {
            let z = (z1, z2).concat_along(Axis::<0>);
            let labels = labels(z.shape().0);
            supcon::supcon(z, &labels, t)
        },
    ),
];

const QUEUE: usize = 150;

fn queue(columns: usize) -> Result<KeyQueue, ObjectiveError> {
    KeyQueue::new(QUEUE, columns, 3)
}

fn constant<E: Real>(n: usize, d: usize) -> Matrix<E>
where
    Cpu: Device<E>,
{
    let values = uniform(n, d, 5).into_iter().map(E::of).collect::<Vec<E>>();
    Cpu::default().tensor_from_vec(values, (n, d))
}

/// Near log 1/t, and with a gradient that leads back to both views.
fn log_scale<E: Real>(z1: &Taped<E>, z2: &Taped<E>, t: f64) -> Scalar<E, OwnedTape<E, Cpu>>
where
    Cpu: Device<E>,
{
    (z1.with_empty_tape() - z2.with_empty_tape()).mean() - E::of(t.ln())
}

/// Classes of four rows or more, where there are so many, and the last row alone.
fn labels(rows: usize) -> Vec<usize> {
    let mut labels: Vec<usize> = (0..rows).map(|i| i % (rows / 4).max(1)).collect();
    if rows > 4 {
        labels[rows - 1] = rows;
    }
    labels
}

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
    for (n, d) in [(1, 2), (2, 3), (5, 1), (33, 17), (130, 8)] {
        let z = [uniform(n, d, 1), uniform(n, d, 2)];
        for t in [0.07, 0.5] {
            let many = LOSSES.into_iter().filter(|_| n > 1);
            for (name, fused, plain) in many.chain(OTHERS) {
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

#[test]
fn a_scale_that_means_nothing_is_the_plain_functions_affair() -> Result<(), ObjectiveError> {
    let device = Cpu::default();
    let z = |factor: f32| constant::<f32>(6, 4) * factor;
    for log_scale in [-300.0_f32, -79.0, 9.3, 81.0, 1e30] {
        let scale = device.tensor(log_scale);
        let views = || (z(1.0).leaky_traced(), z(-2.0).leaky_traced());
        let ((a, b), (c, d)) = (views(), views());
        let fused = fused::clip(a, b, scale.leaky_trace())?;
        let plain = clip::clip(c, d, scale.leaky_trace())?;
        assert_eq!(fused.array(), plain.array(), "{log_scale}");
        let [got, want] = [fused, plain].map(|loss| loss.backward().get(&scale).array());
        assert_eq!(got, want, "{log_scale}");
        assert!(got.is_finite(), "{log_scale}: {got}");
    }
    Ok(())
}

#[test]
fn the_same_mistakes_are_refused() -> Result<(), ObjectiveError> {
    let traced = |n, d| constant::<f32>(n, d).leaky_traced();
    let scale = || Cpu::default().tensor(2.0_f32).leaky_traced();
    let queue = queue(4)?;
    let results = [
        (
            "moco",
            fused::moco(traced(3, 4), constant(2, 4), &queue, 0.1),
        ),
        (
            "moco",
            fused::moco(traced(3, 5), constant(3, 5), &queue, 0.1),
        ),
        (
            "moco",
            fused::moco(traced(0, 4), constant(0, 4), &queue, 0.1),
        ),
        (
            "moco",
            fused::moco(traced(3, 4), constant(3, 4), &queue, 0.0),
        ),
        (
            "infonce",
            fused::infonce_of_constants(traced(3, 4), constant(2, 4), 0.1),
        ),
        ("clip", fused::clip(traced(3, 4), traced(2, 4), scale())),
        ("clip", fused::clip(traced(0, 4), traced(0, 4), scale())),
        ("supcon", fused::supcon(traced(1, 4), &[0], 0.1)),
        ("supcon", fused::supcon(traced(3, 4), &[0, 1], 0.1)),
        ("supcon", fused::supcon(traced(3, 4), &[0, 1, 0], f64::NAN)),
    ];
    for (i, (name, result)) in results.into_iter().enumerate() {
        let error = result.map(drop).expect_err("invalid inputs").to_string();
        assert!(error.starts_with(name), "case {i}: {error}");
    }
    Ok(())
}
