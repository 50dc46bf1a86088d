//! Training with the fast kernels follows training by the plainest code: two hundred steps in single
//! precision and in double precision from the same weights, on the same batches.

use std::sync::Arc;
use viewmaker_exec::optim::{Optimizer, Sgd};
use viewmaker_exec::reference::Reference;
use viewmaker_exec::{Feed, Pass, Wanted, Weights};
use viewmaker_net::{Keep, Net, NetBuilder, Plan, Purpose};
use viewmaker_ops::activation::Activation;
use viewmaker_ops::batch_norm::BatchNorm;
use viewmaker_ops::conv2d::{Conv2d, ConvInit, Padding};
use viewmaker_ops::linear::Linear;
use viewmaker_ops::pool::GlobalAvgPool;
use viewmaker_ops::{Dims, Mode, Op, random::Philox};

const BATCH: usize = 2;
const STEPS: usize = 200;
const LR: f32 = 0.02;
const MOMENTUM: f32 = 0.9;

/// One layer for each algorithm of convolutions.
const LAYERS: [(&str, usize, usize, &str); 3] = [
    ("first", 3, 32, "direct"),
    ("small", 3, 32, "winograd"),
    ("large", 7, 16, "fourier"),
];

fn net() -> Net {
    let mut b = NetBuilder::new("three convolutions");
    let mut x = b.input("x", [3, 12, 12]).unwrap();
    for (name, kernel, out_channels, algorithm) in LAYERS {
        let conv = Conv2d {
            out_channels,
            kernel,
            stride: 1,
            padding: Padding::Zero(kernel / 2),
            bias: false,
            init: ConvInit::KaimingNormalFanOut,
        };
        let dims = Dims {
            n: BATCH,
            ..b.dims(x)
        };
        assert_eq!(conv.algorithm(&[dims]), Some(algorithm), "{name}");
        x = b.apply(name, conv, &[x]).unwrap();
        let norm = format!("{name}.norm");
        x = b.apply(&norm, BatchNorm::default(), &[x]).unwrap();
        x = b
            .apply(&format!("{name}.relu"), Activation::Relu, &[x])
            .unwrap();
    }
    x = b.apply("pool", GlobalAvgPool, &[x]).unwrap();
    let linear = Linear {
        out_features: 4,
        bias: true,
    };
    b.apply("fc", linear, &[x]).unwrap();
    b.finish()
}

fn uniform(len: usize, stream: u32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Philox::new(3, stream, 0).fill_uniform(&mut out);
    out
}

/// Inputs and targets of a step; eight batches in turn.
fn batch(net: &Net, step: usize) -> (Vec<f32>, Vec<f32>) {
    let stream = (step % 8) as u32;
    let len = net.dims(net.inputs()[0], BATCH).len();
    (uniform(len, stream), uniform(4 * BATCH, 100 + stream))
}

/// Half the mean squared error, and its gradient.
fn loss(output: &[f64], target: &[f32]) -> (f64, Vec<f64>) {
    let count = output.len() as f64;
    let pairs = output.iter().zip(target);
    let errors: Vec<f64> = pairs.map(|(y, t)| y - f64::from(*t)).collect();
    let value = errors.iter().map(|e| e * e).sum::<f64>() / (2.0 * count);
    (value, errors.iter().map(|e| e / count).collect())
}

fn fast(net: &Arc<Net>) -> Vec<f64> {
    let plan = Plan::new(net, BATCH, 2, Purpose::Training, Keep::Outputs);
    let mut pass = Pass::new(Arc::clone(net), Arc::new(plan));
    let mut weights = Weights::init(Arc::clone(net), 5, 1);
    let mut optimizer = Sgd::new(net, MOMENTUM, 0.0);
    let curve = (0..STEPS).map(|step| {
        let (x, target) = batch(net, step);
        let feed = Feed {
            value: net.inputs()[0],
            nchw: &x,
        };
        pass.forward(&mut weights, &[feed], Mode::Train);
        let output: Vec<f64> = pass
            .value(net.output())
            .iter()
            .map(|y| f64::from(*y))
            .collect();
        let (value, gradient) = loss(&output, &target);
        let gradient: Vec<f32> = gradient.iter().map(|g| *g as f32).collect();
        let mut grads = vec![0.0; net.param_len()];
        pass.backward(
            &weights,
            net.output(),
            &gradient,
            Wanted::Params,
            Some(&mut grads),
        );
        optimizer.step(&mut weights.params, &grads, LR);
        value
    });
    curve.collect()
}

fn plain(net: &Arc<Net>) -> Vec<f64> {
    let weights = Weights::init(Arc::clone(net), 5, 1);
    let mut reference = Reference::new(net, BATCH, &weights.tensors()).unwrap();
    let mut velocity = vec![0.0; net.param_len()];
    let curve = (0..STEPS).map(|step| {
        let (x, target) = batch(net, step);
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        reference.forward(&[x], Mode::Train);
        let (value, gradient) = loss(&reference.value(net.output()), &target);
        reference.backward(net.output(), &gradient, Wanted::Params);
        let moves = velocity.iter_mut().zip(&reference.param_grads);
        for ((v, g), p) in moves.zip(&mut reference.params) {
            *v = f64::from(MOMENTUM) * *v + g;
            *p -= f64::from(LR) * *v;
        }
        value
    });
    curve.collect()
}

#[test]
fn two_hundred_steps_follow_the_plainest_code() {
    let net = Arc::new(net());
    let (fast, plain) = std::thread::scope(|scope| {
        let plain = scope.spawn(|| plain(&net));
        (fast(&net), plain.join().unwrap())
    });
    assert!(
        plain[STEPS - 1] < 0.1 * plain[0],
        "nothing was learned: {plain:?}"
    );
    // Rounding errors grow from step to step; they stay far below what a step changes.
    let steps = plain.windows(9).map(|w| (w[8] - w[0]).abs());
    let change = steps.sum::<f64>() / (STEPS - 8) as f64;
    let differences = fast.iter().zip(&plain).map(|(a, b)| (a - b).abs());
    let worst = differences.fold(0.0, f64::max);
    println!(
        "losses {} to {}: worst difference {worst:.2e}, mean change {change:.2e}",
        plain[0],
        plain[STEPS - 1]
    );
    assert!(worst <= 1e-3 * change, "{worst} against {change}");
}
