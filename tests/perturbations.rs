//! What an untrained viewmaker does to the embedded data of each modality, as snapshots; and that
//! the distortion budget holds for any example and configuration.

use proptest::prelude::*;
use std::fmt::Write;
use std::sync::Arc;
use viewmaker::config::preset;
use viewmaker::model::Networks;
use viewmaker::pictures;
use viewmaker::train::players::{NoiseRequest, SeededNoise};
use viewmaker_data::{Batch, Draw};
use viewmaker_exec::{Feed, Machine, Pass, Weights};
use viewmaker_net::zoo::{Nonlinearity, ViewmakerConfig, viewmaker};
use viewmaker_net::{Keep, Plan, Purpose};
use viewmaker_ops::{Mode, budget::Norm, random::Philox};

/// Statistics and the top left corner of δ for two held-out examples, rounded so that processors
/// with other instruction sets agree.
fn perturbations(modality: &str) -> String {
    let mut config = preset(modality);
    config.data.options.embedded_train = 40;
    config.data.options.embedded_test = 20;
    let splits = pictures::open_data(&config).unwrap();
    let shape = splits.test.shape();
    let networks = Networks::build(&config, shape, splits.after_view.as_ref()).unwrap();
    let players = networks.init(&config, 1, &Machine::Cpu).unwrap();
    let batch = Batch::of(&*splits.test, &[0, 7], Draw::FIXED).unwrap();
    let request = NoiseRequest {
        step: 3,
        pass: 0,
        view: 0,
        channel: 0,
    };
    let mut noise = SeededNoise { seed: 1 };
    let view = players
        .views
        .apply_slice(&batch.x, batch.dims[0], &mut noise, request);
    let mut text = format!("{modality} {shape:?}\n");
    let len = shape.iter().product();
    for (x, v) in batch.x.chunks(len).zip(view.chunks(len)) {
        let delta: Vec<f64> = v.iter().zip(x).map(|(v, x)| f64::from(v - x)).collect();
        describe(&delta, shape[2], &mut text);
    }
    text
}

fn describe(delta: &[f64], width: usize, text: &mut String) {
    let count = delta.len() as f64;
    let mean = delta.iter().sum::<f64>() / count;
    let mean_abs = delta.iter().map(|d| d.abs()).sum::<f64>() / count;
    let max_abs = delta.iter().fold(0.0f64, |m, d| m.max(d.abs()));
    // No rounded value may be −0.
    let round = |x: f64| (x * 1e3).round() / 1e3 + 0.0;
    let (mean, mean_abs, max_abs) = (round(mean), round(mean_abs), round(max_abs));
    writeln!(
        text,
        "mean {mean:.3}  mean |δ| {mean_abs:.3}  max |δ| {max_abs:.3}"
    )
    .unwrap();
    for row in delta.chunks(width).take(4) {
        let cells: Vec<String> = row[..6]
            .iter()
            .map(|&x| format!("{:>6.3}", round(x)))
            .collect();
        writeln!(text, "  {}", cells.join(" ")).unwrap();
    }
}

#[test]
fn images() {
    insta::assert_snapshot!(perturbations("image"));
}

#[test]
fn speech() {
    insta::assert_snapshot!(perturbations("speech"));
}

#[test]
fn sensors() {
    insta::assert_snapshot!(perturbations("sensor"));
}

/// The size of a perturbation in the norm of its budget.
fn measure(norm: Norm, delta: &[f32]) -> f64 {
    let abs = delta.iter().map(|d| f64::from(d.abs()));
    let count = delta.len() as f64;
    match norm {
        Norm::L1 => abs.sum::<f64>() / count,
        Norm::L2 => (abs.map(|d| d * d).sum::<f64>() / count).sqrt(),
        Norm::Linf => abs.fold(0.0, f64::max),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_budget_holds_for_every_example(
        (channels, height, width) in (1usize..4, 5usize..20, 5usize..20),
        norm in prop_oneof![Just(Norm::L1), Just(Norm::L2), Just(Norm::Linf)],
        distortion_budget in 0.001f32..2.0,
        num_res_blocks in 0usize..=5,
        (frequency_domain, clamp, leaky) in any::<(bool, bool, bool)>(),
        scale in prop_oneof![Just(0.0f32), Just(1e-6), Just(1.0), Just(1e6)],
        seed in any::<u64>(),
    ) {
        let config = ViewmakerConfig {
            input: [channels, height, width],
            widths: [4, 6, 8],
            num_res_blocks,
            distortion_budget,
            norm,
            activation: if leaky { Nonlinearity::LeakyRelu } else { Nonlinearity::Relu },
            clamp,
            frequency_domain,
            downsample_to: None,
        };
        let net = Arc::new(viewmaker(&config).unwrap());
        let batch = 2;
        let plan = Plan::new(&net, batch, 2, Purpose::Inference, Keep::Outputs);
        let mut pass = Pass::new(Arc::clone(&net), Arc::new(plan));
        let mut weights = Weights::init(Arc::clone(&net), seed, 1);
        let inputs: Vec<Vec<f32>> = net.inputs().iter().enumerate().map(|(i, &v)| {
            let mut x = vec![0.0; net.dims(v, batch).len()];
            Philox::new(seed, 10 + i as u32, 0).fill_uniform(&mut x);
            if i == 0 {
                x.iter_mut().for_each(|x| *x *= scale);
            }
            x
        }).collect();
        let feeds: Vec<Feed<'_>> = net.inputs().iter().zip(&inputs)
            .map(|(&value, nchw)| Feed { value, nchw }).collect();
        pass.forward(&mut weights, &feeds, Mode::Train);
        let view = pass.value(net.output()).to_vec();
        prop_assert!(view.iter().all(|x| x.is_finite()));
        let delta = pass.value(net.value("delta").unwrap());
        for example in delta.chunks(channels * height * width) {
            let size = measure(norm, example);
            let budget = f64::from(distortion_budget);
            prop_assert!(size <= budget * (1.0 + 1e-4), "{size} > {budget}");
        }
    }
}
