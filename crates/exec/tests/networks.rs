//! Whole networks: the fast pass against the double-precision reference, the memory plan against
//! one that shares nothing, thread counts, and the bridge to dfdx against the direct pass.

use dfdx::prelude::*;
use std::sync::Arc;
use viewmaker_exec::reference::Reference;
use viewmaker_exec::{Call, Feed, Pass, Tower, Wanted, Weights};
use viewmaker_net::zoo::{
    EncoderConfig, InputNormalization, Nonlinearity, Projection, ViewmakerConfig, encoder,
    viewmaker,
};
use viewmaker_net::{Keep, Net, Plan, Purpose};
use viewmaker_ops::{Mode, budget::Norm, random::Philox};

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

fn feeds(net: &Net, batch: usize) -> Vec<Vec<f32>> {
    let inputs = net.inputs().iter().enumerate();
    inputs
        .map(|(i, &v)| uniform(net.dims(v, batch).len(), i as u32))
        .collect()
}

/// Output, parameter gradients and input gradient of one pass.
#[derive(Debug, PartialEq)]
struct Result {
    output: Vec<f32>,
    params: Vec<f32>,
    input: Vec<f32>,
    state: Vec<f32>,
}

fn run(net: &Arc<Net>, batch: usize, mode: Mode, keep: Keep, threads: usize) -> Result {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.unwrap().install(|| {
        let plan = Plan::new(net, batch, threads, Purpose::Training, keep);
        let mut pass = Pass::new(Arc::clone(net), Arc::new(plan));
        let mut weights = Weights::init(Arc::clone(net), 5, 1);
        let data = feeds(net, batch);
        let inputs = net.inputs().iter().zip(&data);
        let feeds: Vec<Feed<'_>> = inputs.map(|(&value, nchw)| Feed { value, nchw }).collect();
        pass.forward(&mut weights, &feeds, mode);
        let output = pass.value(net.output()).to_vec();
        let seed = uniform(output.len(), 99);
        let mut params = vec![0.0; net.param_len()];
        pass.backward(
            &weights,
            net.output(),
            &seed,
            Wanted::Both,
            Some(&mut params),
        );
        Result {
            output,
            params,
            input: pass.grad(net.inputs()[0]).to_vec(),
            state: weights.state,
        }
    })
}

fn compare(what: &str, got: &[f32], want: &[f64], abs: f64, rel: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let largest = want.iter().fold(0.0f64, |m, w| m.max(w.abs()));
    let pairs = got.iter().zip(want);
    let worst = pairs.fold(0.0f64, |m, (g, w)| m.max((f64::from(*g) - w).abs()));
    let allowed = abs + rel * largest;
    println!("{what}: worst {worst:.2e}, allowed {allowed:.2e}, largest {largest:.2e}");
    assert!(worst <= allowed, "{what}: {worst} > {allowed}");
}

/// A ReLU input within round-off of zero may fall on the other side in f32, hence the wider
/// tolerance for gradients.
fn check_against_reference(net: &Arc<Net>, batch: usize, mode: Mode) {
    let got = run(net, batch, mode, Keep::Outputs, 2);
    let weights = Weights::init(Arc::clone(net), 5, 1);
    let mut reference = Reference::new(net, batch, &weights.tensors()).unwrap();
    let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let data: Vec<Vec<f64>> = feeds(net, batch).iter().map(|f| wide(f)).collect();
    reference.forward(&data, mode);
    let seed = wide(&uniform(got.output.len(), 99));
    reference.backward(net.output(), &seed, Wanted::Both);
    let name = net.name();
    compare(
        &format!("{name} output"),
        &got.output,
        &reference.value(net.output()),
        1e-6,
        1e-4,
    );
    compare(
        &format!("{name} state"),
        &got.state,
        &reference.state,
        1e-6,
        1e-4,
    );
    let input = reference.grad(net.inputs()[0]);
    compare(
        &format!("{name} input gradient"),
        &got.input,
        &input,
        1e-6,
        5e-3,
    );
    for param in net.params() {
        let (got, want) = (
            &got.params[param.range()],
            &reference.param_grads[param.range()],
        );
        let scale = reference
            .param_grads
            .iter()
            .fold(0.0f64, |m, g| m.max(g.abs()));
        compare(&param.name, got, want, 1e-4 * scale, 5e-3);
    }
}

#[test]
fn viewmakers_match_the_reference() {
    check_against_reference(&viewmaker_net([3, 16, 16], |_| ()), 2, Mode::Train);
    // Non-square, and no multiple of 4.
    check_against_reference(&viewmaker_net([2, 9, 14], |_| ()), 3, Mode::Train);
    check_against_reference(
        &viewmaker_net([1, 5, 7], |c| c.num_res_blocks = 5),
        1,
        Mode::Train,
    );
    check_against_reference(
        &viewmaker_net([1, 12, 10], |c| {
            c.frequency_domain = true;
            c.activation = Nonlinearity::LeakyRelu;
            c.norm = Norm::L2;
        }),
        2,
        Mode::Train,
    );
    check_against_reference(
        &viewmaker_net([3, 18, 22], |c| {
            c.downsample_to = Some([8, 12]);
            c.clamp = true;
            c.num_res_blocks = 0;
        }),
        2,
        Mode::Train,
    );
}

#[test]
fn encoders_match_the_reference() {
    for mode in [Mode::Train, Mode::Eval] {
        check_against_reference(
            &encoder_net("tiny", [3, 16, 16], Projection::Linear),
            4,
            mode,
        );
        check_against_reference(&encoder_net("tiny", [2, 9, 13], Projection::Mlp), 3, mode);
        check_against_reference(&encoder_net("tiny", [1, 8, 8], Projection::None), 2, mode);
    }
}

#[test]
fn every_registered_encoder_has_a_shape() {
    for entry in viewmaker_net::zoo::encoders() {
        let net = encoder_net(entry.name, [3, 32, 32], Projection::Linear);
        assert_eq!(net.dims(net.output(), 7).c, 8, "{}", entry.name);
        assert!(net.value("features").is_ok() && net.value("prepool").is_ok());
    }
}

#[test]
fn shared_memory_changes_nothing() {
    for net in [
        viewmaker_net([3, 12, 12], |_| ()),
        encoder_net("tiny", [3, 12, 12], Projection::Mlp),
    ] {
        let shared = run(&net, 3, Mode::Train, Keep::Outputs, 2);
        let apart = run(&net, 3, Mode::Train, Keep::Everything, 2);
        assert_eq!(shared, apart, "{}", net.name());
        let bytes = |keep| Plan::new(&net, 3, 2, Purpose::Training, keep).bytes();
        assert!(bytes(Keep::Outputs) < bytes(Keep::Everything));
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for net in [
        viewmaker_net([3, 20, 20], |c| c.widths = [16, 24, 32]),
        encoder_net("tiny", [3, 20, 20], Projection::Linear),
    ] {
        let one = run(&net, 5, Mode::Train, Keep::Outputs, 1);
        for threads in [2, 3] {
            assert_eq!(one, run(&net, 5, Mode::Train, Keep::Outputs, threads));
        }
    }
}

#[test]
fn the_tape_gives_the_gradients_of_the_direct_pass() {
    let net = encoder_net("tiny", [3, 10, 10], Projection::Linear);
    let batch = 4;
    let direct = run(&net, batch, Mode::Train, Keep::Outputs, 2);
    let tower = Tower::new(Weights::init(Arc::clone(&net), 5, 1));
    let device = Cpu::default();
    let x = device.tensor_from_vec(feeds(&net, batch).remove(0), (batch, 3, 10, 10));
    let call = Call {
        output: net.output(),
        extra: &[],
        mode: Mode::Train,
        wanted: Wanted::Both,
    };
    let z = tower.vectors(x.leaky_trace(), call);
    assert_eq!(z.as_vec(), direct.output);
    let seed = device.tensor_from_vec(uniform(direct.output.len(), 99), (batch, 8));
    let gradients = (z * seed).sum::<Rank0, _>().backward();
    assert_eq!(*tower.grads(), direct.params);
    assert_eq!(gradients.get(&x).as_vec(), direct.input);
}

#[test]
fn weights_that_do_not_fit_are_refused_and_change_nothing() {
    let net = encoder_net("tiny", [3, 10, 10], Projection::Linear);
    let mut weights = Weights::init(net, 5, 1);
    let before = weights.params.clone();
    let good = weights.tensors();
    let mut missing = good.clone();
    missing.remove("fc.bias");
    let error = weights.load(&missing).unwrap_err().to_string();
    assert!(error.contains("fc.bias is missing"), "{error}");
    let mut reshaped = good.clone();
    reshaped.get_mut("fc.bias").unwrap().shape = vec![2, 4];
    let error = weights.load(&reshaped).unwrap_err().to_string();
    assert!(error.contains("[8]") && error.contains("[2, 4]"), "{error}");
    let mut strange = good.clone();
    strange.insert("fc.gain".to_string(), good["fc.bias"].clone());
    let error = weights.load(&strange).unwrap_err().to_string();
    assert!(error.contains("fc.gain"), "{error}");
    assert_eq!(weights.params, before);
}
