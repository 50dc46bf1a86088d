//! Every loss and gradient is finite for every finite input.

use dfdx::prelude::*;
use viewmaker_objective::tensor::{Matrix, Scalar, l2_normalize};
use viewmaker_objective::{
    BatchInfo, Mining, ObjectiveConfig, ObjectiveError, Outputs, build, byol, clip, dclw, infonce,
    instdisc, key_queue, moco, moco_v3, npair, ntxent, protonet, pull, registry, simsiam, supcon,
    tcn, triplet, viewmaker_simclr,
};
use viewmaker_ops::random::Philox;

type Taped = Matrix<f32, OwnedTape<f32, Cpu>>;
type Loss = Scalar<f32, OwnedTape<f32, Cpu>>;
type Case = (
    &'static str,
    fn(&[Matrix<f32>; 4], f64) -> Result<Loss, ObjectiveError>,
);

const PAIRS: usize = 2;
const DIM: usize = 3;

fn t(z: &Matrix<f32>) -> Taped {
    z.leaky_trace()
}

/// All losses of four matrices and a temperature.
const LOSSES: [Case; 22] = [
    ("viewmaker-simclr", |z, at| {
        viewmaker_simclr::viewmaker_simclr(t(&z[0]), t(&z[1]), at)
    }),
    ("push-only", |z, at| {
        viewmaker_simclr::viewmaker_simclr_push_only(t(&z[0]), t(&z[1]), at)
    }),
    ("ntxent", |z, at| ntxent::ntxent(t(&z[0]), t(&z[1]), at)),
    ("dcl", |z, at| ntxent::dcl(t(&z[0]), t(&z[1]), at)),
    ("dclw", |z, at| dclw::dclw(t(&z[0]), t(&z[1]), at, 0.5)),
    ("infonce", |z, at| infonce::infonce(t(&z[0]), t(&z[1]), at)),
    ("infonce-euclidean", |z, at| {
        infonce::infonce_euclidean(t(&z[0]), t(&z[1]), at)
    }),
    ("pull", |z, _| pull::pull(t(&z[0]), t(&z[1]))),
    ("npair", |z, _| npair::npair(t(&z[0]), t(&z[1]))),
    ("triplet", |z, _| {
        triplet::triplet(t(&z[0]), t(&z[1]), t(&z[2]), 0.2)
    }),
    ("triplet-unit", |z, _| {
        triplet::triplet_unit(t(&z[0]), t(&z[1]), t(&z[2]), 0.2)
    }),
    ("moco", |z, at| {
        let queue = key_queue::KeyQueue::new(5, DIM, 1)?.tensor(&Cpu::default());
        moco::moco(t(&z[0]), z[1].clone(), queue, at)
    }),
    ("moco-v3", |z, at| {
        moco_v3::moco_v3(t(&z[0]), t(&z[1]), z[2].clone(), z[3].clone(), at)
    }),
    ("byol", |z, _| {
        byol::byol(t(&z[0]), t(&z[1]), z[2].clone(), z[3].clone())
    }),
    ("simsiam", |z, _| {
        simsiam::simsiam(t(&z[0]), t(&z[1]), z[2].clone(), z[3].clone())
    }),
    ("clip", |z, _| {
        let log_scale = z[2].device().tensor(z[2].as_vec()[0]);
        clip::clip(t(&z[0]), t(&z[1]), log_scale.leaky_trace())
    }),
    ("protonet", |z, _| {
        Ok(protonet::protonet(t(&z[0]), t(&z[1]), 2)?.loss)
    }),
    ("tcn-r3m", |z, _| {
        tcn::tcn_r3m(
            t(&z[0]),
            t(&z[1]),
            t(&z[2]),
            &[&[1, 0], &[0, 1]],
            &[&[0, 1]],
        )
    }),
    ("tcn-infonce", |z, at| {
        tcn::tcn_infonce(t(&z[0]), t(&z[1]), t(&z[2]), at)
    }),
    ("supcon", |z, at| {
        supcon::supcon(
            (t(&z[0]), t(&z[1])).concat_along(Axis::<0>),
            &[0, 1, 0, 2],
            at,
        )
    }),
    ("supcon without positives", |z, at| {
        supcon::supcon(t(&z[0]), &[0, 1], at)
    }),
    ("instdisc", |z, at| {
        let bank = l2_normalize(z[1].clone());
        instdisc::instdisc(t(&z[0]), bank, &[0, 1], &[1, 0, 0, 1], at)
    }),
];

fn inputs() -> [(&'static str, Vec<f32>); 7] {
    let draws = Philox::new(3, 0, 0);
    let normal: Vec<f32> = (0..6).map(|i| draws.uniform(i) - 0.5).collect();
    [
        ("ordinary", normal.clone()),
        ("zero", vec![0.0; 6]),
        ("constant", vec![0.3; 6]),
        ("1e30", normal.iter().map(|x| x * 1e30).collect()),
        (
            "largest",
            vec![f32::MAX, f32::MIN, f32::MAX, f32::MIN, f32::MAX, f32::MAX],
        ),
        ("subnormal", vec![1e-44; 6]),
        ("one zero row", vec![1.0, 2.0, 3.0, 0.0, 0.0, 0.0]),
    ]
}

#[test]
fn losses_and_gradients_are_finite() {
    let device = Cpu::default();
    let matrix = |x: &[f32]| device.tensor_from_vec(x.to_vec(), (PAIRS, DIM));
    for (loss_name, loss) in LOSSES {
        for (first, x) in inputs() {
            for (second, y) in inputs() {
                for temperature in [1e-4, 0.07, 1e4] {
                    let z = [matrix(&x), matrix(&y), matrix(&x), matrix(&y)];
                    let loss = loss(&z, temperature).expect("valid inputs");
                    let place = format!("{loss_name} of {first}, {second}, t={temperature}");
                    let value = loss.as_vec()[0];
                    assert!(value.is_finite(), "{place}: {value}");
                    let gradients = loss.backward();
                    let of_first = gradients.get(&z[0]).as_vec();
                    assert!(
                        of_first.iter().all(|g| g.is_finite()),
                        "{place}: {of_first:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn configured_objectives_are_finite_on_batches_of_two() -> Result<(), ObjectiveError> {
    let device = Cpu::default();
    let matrix = |x: &[f32]| device.tensor_from_vec(x.to_vec(), (PAIRS, DIM));
    let named = |name: &str| ObjectiveConfig {
        name: name.to_owned(),
        negatives: 3,
        queue: 3,
        ways: 2,
        tasks: 2,
        ..ObjectiveConfig::default()
    };
    let mining = [Mining::Random, Mining::Hardest, Mining::HardestQueue];
    let triplets = mining.map(|mining| ObjectiveConfig {
        mining,
        ..named("triplet")
    });
    let configs = registry().iter().map(|entry| named(entry.name));
    let batch = BatchInfo {
        indices: &[4, 1],
        labels: &[Some(0), None],
        sequences: &[],
        pass: 0,
    };
    for config in configs.chain(triplets) {
        for (first, x) in inputs() {
            for (second, y) in inputs() {
                let mut objective = build(&config, DIM, 5, 1)?;
                let branches = objective.branches();
                let of_view = |view: &usize| matrix([&x, &y][view % 2]);
                let online: Vec<_> = branches.online.iter().map(of_view).collect();
                let online = &online[..];
                let predicted = if branches.predictor { online } else { &[] };
                let outputs = Outputs {
                    embeddings: online.iter().map(t).collect(),
                    predictions: predicted.iter().map(t).collect(),
                    targets: branches.target.iter().map(|_| matrix(&y)).collect(),
                    texts: branches.text.then(|| t(&matrix(&y))),
                    log_scale: branches.text.then(|| device.tensor(2.0).leaky_traced()),
                };
                let loss = objective.loss(outputs, &batch)?;
                let place = format!("{} of {first}, {second}", config.name);
                assert!(loss.as_vec()[0].is_finite(), "{place}");
                let gradients = loss.backward();
                for leaf in online {
                    let gradient = gradients.get(leaf).as_vec();
                    assert!(
                        gradient.iter().all(|g| g.is_finite()),
                        "{place}: {gradient:?}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn views_of_different_shape_are_refused() {
    let device = Cpu::default();
    let matrix = |n: usize, d: usize| device.tensor_from_vec(vec![0.5_f32; n * d], (n, d));
    let odd = [matrix(2, 3), matrix(3, 4), matrix(2, 3), matrix(2, 3)];
    for (name, loss) in LOSSES.into_iter().filter(|(name, _)| !name.contains(' ')) {
        if name == "supcon" {
            continue; // One matrix: its second one is stacked here, before the loss sees it.
        }
        assert!(loss(&odd, 0.1).is_err(), "{name}");
    }
    let even = [matrix(2, 3), matrix(2, 3), matrix(2, 3), matrix(2, 3)];
    assert!(ntxent::ntxent(t(&even[0]), t(&even[1]), f64::NAN).is_err());
    assert!(supcon::supcon(t(&even[0]), &[0], 0.1).is_err());
}
