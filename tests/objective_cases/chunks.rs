//! Gradient caching: a batch in chunks is one pass.

use crate::support::*;
use viewmaker::config::ViewSource;
use viewmaker::pictures;
use viewmaker::train::players::NoiseSource;
use viewmaker::train::step::StepRates;
use viewmaker_data::{Batch, Draw};
use viewmaker_net::{Net, NetBuilder};
use viewmaker_objective::{Mining, registry};
use viewmaker_ops::activation::Activation;
use viewmaker_ops::conv2d::{Conv2d, ConvInit, Padding};
use viewmaker_ops::linear::Linear;
use viewmaker_ops::pool::GlobalAvgPool;

/// Losses, embeddings and gradients of all networks after a step in chunks of `chunk` examples.
fn gradients(bench: &mut Bench, chunk: usize, noise: &mut dyn NoiseSource) -> Vec<Vec<f32>> {
    let rates = StepRates {
        chunk,
        viewmaker_lr: Some(0.0),
        encoder_lr: 0.0,
        ..RATES
    };
    let outcome = bench.step_with(rates, noise);
    let mut all = vec![vec![outcome.encoder_loss], vec![outcome.mean_distortion]];
    all.extend(outcome.embeddings.concat());
    let encoder = Some(&bench.learners.players.encoder);
    let views = bench.learners.players.views.tower();
    let towers = [encoder, views, bench.learners.companions.predictor()];
    all.extend(
        towers
            .into_iter()
            .flatten()
            .map(|tower| tower.grads().to_vec()),
    );
    all.extend(
        bench
            .learners
            .objective
            .state()
            .into_iter()
            .map(|tensor| tensor.2),
    );
    all
}

/// Compares to 1e-5 of the largest element.
fn assert_same(whole: &[Vec<f32>], chunked: &[Vec<f32>], place: &str) {
    assert_eq!(whole.len(), chunked.len());
    for (number, (whole, chunked)) in whole.iter().zip(chunked).enumerate() {
        let largest = whole.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let errors = whole.iter().zip(chunked).map(|(a, b)| (a - b).abs());
        let error = errors.fold(0.0, f32::max);
        assert!(
            largest > 0.0 || number > 1,
            "{place}, part {number}: nothing to compare"
        );
        // A loss is a difference of numbers of the size of 1.
        let scale = if number == 0 { 1.0 } else { largest };
        assert!(
            error <= 1e-5 * scale,
            "{place}, part {number}: {error} of {largest}"
        );
    }
}

#[test]
fn gradient_caching_equals_one_pass() {
    // Both halves of the batch are equal, and so are their batch-norm statistics: then ghost batch
    // norm gives the same gradient of every weight as batch norm over the whole batch.
    let splits = pictures::open_data(&config("image", "ntxent")).unwrap();
    let indices: Vec<usize> = (0..BATCH).map(|i| 3 * (i % (BATCH / 2))).collect();
    for entry in registry().iter().filter(|entry| !entry.branches.ordered) {
        let mut config = config("image", entry.name);
        // Equal examples are equally hard: mining would choose by rounding errors.
        config.objective.mining = Mining::Random;
        let make = || {
            let mut bench = Bench::new(&descending(&config), &splits);
            bench.batch = Batch::of(&*splits.train, &indices, Draw::FIXED).unwrap();
            bench
        };
        let whole = gradients(&mut make(), 0, &mut Halves);
        let chunked = gradients(&mut make(), BATCH / 2, &mut Halves);
        assert_same(&whole, &chunked, entry.name);
    }
}

#[test]
fn gradient_caching_is_exact_for_any_examples_without_batch_norm() {
    let splits = pictures::open_data(&config("image", "ntxent")).unwrap();
    for name in ["viewmaker-simclr", "moco-v2", "triplet", "protonet"] {
        let config = config("image", name);
        let make = || {
            let net = encoder_without_norm(splits.train.shape());
            Bench::around(&descending(&config), &splits, Some(net))
        };
        let whole = gradients(&mut make(), 0, &mut Still);
        for chunk in [2, 4] {
            let chunked = gradients(&mut make(), chunk, &mut Still);
            assert_same(&whole, &chunked, &format!("{name} in chunks of {chunk}"));
        }
    }
}

/// A convolution, pooling and a linear layer of 16 features.
fn encoder_without_norm(shape: [usize; 3]) -> Net {
    let mut b = NetBuilder::new("no norm");
    let x = b.input("x", shape).unwrap();
    let conv = Conv2d {
        out_channels: 8,
        kernel: 3,
        stride: 2,
        padding: Padding::Zero(1),
        bias: true,
        init: ConvInit::PyTorchDefault,
    };
    let y = b.apply("conv", conv, &[x]).unwrap();
    let y = b.apply("relu", Activation::Relu, &[y]).unwrap();
    let y = b.apply("pool", GlobalAvgPool, &[y]).unwrap();
    let linear = Linear {
        out_features: 16,
        bias: true,
    };
    b.apply("fc", linear, &[y]).unwrap();
    b.finish()
}

#[test]
fn gradient_caching_is_exact_for_moments_in_time() {
    let mut config = config("sensor", "tcn");
    config.views.source = ViewSource::Learned.into();
    let splits = pictures::open_data(&config).unwrap();
    let make = || {
        let net = encoder_without_norm(splits.train.shape());
        Bench::around(&descending(&config), &splits, Some(net))
    };
    let whole = gradients(&mut make(), 0, &mut Still);
    let chunked = gradients(&mut make(), BATCH / 4, &mut Still);
    assert_same(&whole, &chunked, "tcn");
}
