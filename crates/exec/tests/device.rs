//! Towers on every device that is there (the emulator on any machine, and the first card) against the
//! same towers on the processor.

#[path = "device_cases/agreement.rs"]
mod agreement;

use dfdx::prelude::*;
use std::sync::Arc;
use viewmaker_device::Device;
use viewmaker_exec::optim::{Adam, Optimizer, Sgd};
use viewmaker_exec::{Call, Machine, Tower, Wanted, Weights};
use viewmaker_net::zoo::{
    EncoderConfig, InputNormalization, Nonlinearity, Projection, ViewmakerConfig, encoder,
    viewmaker,
};
use viewmaker_net::{Net, Purpose};
use viewmaker_ops::device::Precision;
use viewmaker_ops::{Mode, budget::Norm, random::Philox};

fn is_card(device: &Device) -> bool {
    device.capability().is_some()
}

fn viewmaker_net(input: [usize; 3], change: impl FnOnce(&mut ViewmakerConfig)) -> Arc<Net> {
    let mut config = ViewmakerConfig {
        input,
        widths: [4, 6, 8],
        num_res_blocks: 2,
        distortion_budget: 0.05,
        norm: Norm::L1,
        activation: Nonlinearity::Relu,
        clamp: false,
        frequency_domain: false,
        downsample_to: None,
    };
    change(&mut config);
    Arc::new(viewmaker(&config).unwrap())
}

fn encoder_net(name: &str, input: [usize; 3], projection: Projection) -> Arc<Net> {
    let config = EncoderConfig {
        name: name.to_string(),
        input,
        embedding_dim: 8,
        projection,
        normalization: Some(InputNormalization {
            mean: vec![0.4; input[0]],
            std: vec![0.3; input[0]],
        }),
    };
    Arc::new(encoder(&config).unwrap())
}

fn uniform(len: usize, stream: u32) -> Vec<f32> {
    let mut out = vec![0.0; len];
    Philox::new(11, stream, 0).fill_uniform(&mut out);
    out
}

fn tower(net: &Arc<Net>, machine: &Machine) -> Tower {
    Tower::on(Weights::init(Arc::clone(net), 5, 1), machine).unwrap()
}

/// Output, gradient of the first input, gradients of the parameters and state of one pass.
fn run(tower: &Tower, batch: usize, mode: Mode, wanted: Wanted, stream: u32) -> [Vec<f32>; 4] {
    let net = tower.net();
    let mut inputs = net.inputs().iter().enumerate();
    let mut data = |stream| {
        let next = inputs.next();
        next.map(|(i, &v)| uniform(net.dims(v, batch).len(), stream + i as u32))
    };
    let first = data(stream).unwrap();
    let extra: Vec<Vec<f32>> = std::iter::from_fn(|| data(stream)).collect();
    let dims = net.dims(net.inputs()[0], batch);
    let x = Cpu::default().tensor_from_vec(first, (batch, dims.c, dims.h, dims.w));
    let call = Call {
        output: net.output(),
        extra: &extra,
        mode,
        wanted,
    };
    let y = tower.maps(x.leaky_trace(), call);
    let output = y.as_vec();
    let seed = uniform(output.len(), 99);
    let seed = Cpu::default().tensor_from_vec(seed, *y.shape());
    let gradients = (y * seed).sum::<Rank0, _>().backward();
    let input = match wanted {
        Wanted::Params => Vec::new(),
        _ => gradients.get(&x).as_vec(),
    };
    tower.check().unwrap();
    let state = tower.weights().state.clone();
    [output, input, tower.grads().to_vec(), state]
}

fn compare(what: &str, got: &[f32], want: &[f32], abs: f32, rel: f32) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0f32, |m, w| m.max(w.abs()));
    let pairs = got.iter().zip(want);
    let worst = pairs.fold(0.0f32, |m, (g, w)| {
        let off = (g - w).abs();
        if off.is_nan() {
            f32::INFINITY
        } else {
            m.max(off)
        }
    });
    let allowed = abs + rel * largest;
    println!("{what}: worst {worst:.2e}, allowed {allowed:.2e}, largest {largest:.2e}");
    assert!(worst <= allowed, "{what}: {worst} > {allowed}");
}

/// Loss and gradient of half the mean squared error.
fn step(tower: &Tower, optimizer: &mut dyn Optimizer, number: usize) -> f32 {
    const BATCH: usize = 4;
    let (net, stream) = (tower.net(), (number % 8) as u32);
    let dims = net.dims(net.inputs()[0], BATCH);
    let device = Cpu::default();
    let x = uniform(dims.len(), stream);
    let x = device.tensor_from_vec(x, (BATCH, dims.c, dims.h, dims.w));
    let call = Call {
        output: net.output(),
        extra: &[],
        mode: Mode::Train,
        wanted: Wanted::Params,
    };
    tower.zero_grads();
    let y = tower.vectors(x.leaky_trace(), call);
    let target = uniform(BATCH * y.shape().1, 100 + stream);
    let target = device.tensor_from_vec(target, *y.shape());
    let loss = (y - target).square().mean::<Rank0, _>() * 0.5;
    let value = loss.array();
    loss.backward();
    tower.optimize(optimizer, 0.01);
    tower.check().unwrap();
    value
}

#[test]
fn cuda_training_follows_the_processor() {
    let net = encoder_net("tiny", [3, 10, 10], Projection::Linear);
    let sgd = || -> Box<dyn Optimizer> { Box::new(Sgd::new(&net, 0.9, 1e-4)) };
    let adam =
        || -> Box<dyn Optimizer> { Box::new(Adam::new(&net, [0.9, 0.999], 1e-8, 0.01, true)) };
    for device in Device::present() {
        let steps = if is_card(&device) { 200 } else { 12 };
        let machine = Machine::Device(device, Precision::F32);
        for make in [&sgd as &dyn Fn() -> Box<dyn Optimizer>, &adam] {
            let (there, here) = (tower(&net, &machine), tower(&net, &Machine::Cpu));
            let (mut optimizer, mut plain) = (make(), make());
            let mut curves = (Vec::new(), Vec::new());
            for number in 0..steps {
                curves.0.push(step(&there, &mut *optimizer, number));
                curves.1.push(step(&here, &mut *plain, number));
            }
            // Round-off grows along a trajectory; its course must stay.
            for (number, (a, b)) in curves.0.iter().zip(&curves.1).enumerate() {
                let allowed = if number < 10 { 1e-3 } else { 0.1 };
                assert!(
                    (a - b).abs() <= 1e-4 + allowed * b,
                    "step {number}: {a} and {b}"
                );
            }
            let (first, last) = (curves.0[0], curves.0[steps - 1]);
            assert!(
                last < first,
                "{machine:?}: the loss rose from {first} to {last}"
            );
        }
    }
}

#[test]
fn cuda_weights_and_optimisers_move_between_machines() {
    let net = encoder_net("tiny", [3, 10, 10], Projection::Linear);
    for device in Device::present() {
        let machine = Machine::Device(device, Precision::F32);
        let there = tower(&net, &machine);
        let mut optimizer = Sgd::new(&net, 0.9, 0.0);
        for number in 0..3 {
            step(&there, &mut optimizer, number);
        }
        // A copy on the processor goes on from the weights and the momentum of the device.
        let here = Tower::new(there.weights().clone());
        let mut plain = Sgd::new(&net, 0.9, 0.0);
        plain
            .load_state(&net, &optimizer.state(&net).unwrap())
            .unwrap();
        for number in 3..6 {
            let (a, b) = (
                step(&there, &mut optimizer, number),
                step(&here, &mut plain, number),
            );
            assert!(
                (a - b).abs() <= 1e-5 + 1e-3 * b,
                "step {number}: {a} and {b}"
            );
        }
        compare(
            "weights",
            &there.weights().params,
            &here.weights().params,
            1e-5,
            1e-3,
        );
        // What the host changes, the device sees.
        there.weights_mut().params.fill(0.0);
        let output = run(&there, 2, Mode::Eval, Wanted::Params, 0)
            .into_iter()
            .next();
        assert_eq!(output.unwrap(), [0.0; 16]);
        // A momentum encoder, on either side.
        for (follower, target) in [(&there, &here), (&here, &there)] {
            follower.weights_mut().params.fill(1.0);
            follower.follow(target, 0.75);
            let want: Vec<f32> = target
                .weights()
                .params
                .iter()
                .map(|w| 0.75 + 0.25 * w)
                .collect();
            compare("follower", &follower.weights().params, &want, 1e-6, 0.0);
        }
        let (own, other) = (tower(&net, &machine), tower(&net, &machine));
        own.weights_mut().params.fill(1.0);
        own.follow(&other, 0.75);
        let want: Vec<f32> = other
            .weights()
            .params
            .iter()
            .map(|w| 0.75 + 0.25 * w)
            .collect();
        compare(
            "follower on the device",
            &own.weights().params,
            &want,
            1e-6,
            0.0,
        );
        own.zero_grads();
        assert!(own.grads().iter().all(|g| *g == 0.0));
    }
}

#[test]
fn cuda_rounded_products_stay_near_single_precision() {
    let net = encoder_net("tiny", [3, 6, 6], Projection::Linear);
    let pass = |machine: &Machine| run(&tower(&net, machine), 3, Mode::Train, Wanted::Params, 0);
    let here = pass(&Machine::Cpu);
    for device in Device::present() {
        // Operands have 8 bits, or 11; batch normalisation over few positions amplifies what is lost.
        for (precision, allowed) in [(Precision::Bf16, 0.1), (Precision::Tf32, 0.0125)] {
            if !precision.runs_on(&device) {
                println!("skipped {precision} on {device:?}: its card is too old");
                continue;
            }
            let there = pass(&Machine::Device(device.clone(), precision));
            let exact = pass(&Machine::Device(device.clone(), Precision::F32));
            compare(precision.name(), &there[0], &here[0], 0.0, allowed);
            assert_ne!(there[0], exact[0], "{precision}: nothing was rounded");
        }
    }
}

#[test]
fn cuda_failures_are_not_numbers_and_then_an_error() {
    let net = encoder_net("tiny", [3, 6, 6], Projection::Linear);
    for device in Device::present() {
        let tower = tower(&net, &Machine::Device(device.clone(), Precision::F32));
        let x = uniform(net.dims(net.inputs()[0], 2).len(), 0);
        let call = Call {
            output: net.output(),
            extra: &[],
            mode: Mode::Eval,
            wanted: Wanted::Params,
        };
        let values = || {
            let mut pass = tower.forward(&x, 2, Purpose::Inference, call);
            let values = pass.value(call.output).to_vec();
            tower.recycle(pass);
            values
        };
        let before = values();
        assert!(before.iter().all(|x| x.is_finite()));
        // While launches are recorded, nothing that waits is possible.
        let mut seen = Vec::new();
        let recorded = device.capture(|| {
            seen = values();
            Ok(())
        });
        recorded.unwrap();
        assert!(seen.len() == before.len() && seen.iter().all(|x| x.is_nan()));
        let error = tower.check().unwrap_err().to_string();
        assert!(error.contains("graph"), "{error}");
        tower.check().expect("a failure is said once");
        assert_eq!(values(), before, "the tower goes on");
    }
}
