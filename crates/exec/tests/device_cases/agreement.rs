//! Networks against the processor's kernels and the double-precision reference.

use super::{compare, encoder_net, is_card, run, tower, uniform, viewmaker_net};
use std::sync::Arc;
use viewmaker_device::Device;
use viewmaker_exec::reference::Reference;
use viewmaker_exec::{DevicePass, DeviceWeights, Feed, Machine, Tower, Wanted, Weights};
use viewmaker_net::zoo::Projection;
use viewmaker_net::{Keep, Net, Plan, Purpose};
use viewmaker_ops::Mode;
use viewmaker_ops::device::Precision;

/// Examples in a batch.
const BATCH: usize = 5;

/// Of the largest element of a gradient, how far a device may be from the double-precision gradient of the
/// same values.
const GRADIENTS: f32 = 1e-3;

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).collect()
}

/// Networks for any device, and larger ones for a card.
fn nets(device: &Device) -> Vec<Arc<Net>> {
    let mut nets = vec![
        viewmaker_net([3, 9, 11], |_| ()),
        viewmaker_net([2, 12, 8], |c| {
            c.frequency_domain = true;
            c.clamp = true;
        }),
        viewmaker_net([1, 16, 16], |c| c.downsample_to = Some([8, 8])),
        encoder_net("tiny", [3, 10, 10], Projection::MlpNorm),
    ];
    if is_card(device) {
        nets.push(viewmaker_net([3, 32, 32], |c| c.widths = [32, 64, 128]));
        nets.push(encoder_net(
            "resnet18-small",
            [3, 32, 32],
            Projection::Linear,
        ));
        nets.push(encoder_net("resnet18", [1, 64, 64], Projection::Linear));
    }
    nets
}

/// Every value of the network on the device after a forward pass on the data of [`run`], NCHW, under a plan in
/// which none shares its memory with another.
fn values_on(device: &Device, net: &Arc<Net>, mode: Mode, data: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let weights = Weights::init(Arc::clone(net), 5, 1);
    let mut there = DeviceWeights::new(device, &weights).unwrap();
    there.upload(&weights).unwrap();
    let plan = Plan::on_device(net, BATCH, Purpose::Training, Keep::Everything);
    let lengths = net.values().iter().map(|v| v.dims.with_batch(BATCH).len());
    // A pass has room to turn what lies at the edge of the network; here everything is read.
    let words = DevicePass::words(net, &plan) + lengths.max().unwrap_or(0);
    let arena = device.alloc(words).unwrap();
    let mut pass = DevicePass::new(Arc::clone(net), Arc::new(plan), Precision::F32, arena);
    let inputs = net.inputs().iter().zip(data);
    let feeds: Vec<Feed<'_>> = inputs.map(|(&value, nchw)| Feed { value, nchw }).collect();
    pass.forward(&there, &feeds, mode).unwrap();
    let ids = net.values().iter().map(|v| net.value(&v.name).unwrap());
    ids.map(|v| wide(pass.value(v).unwrap())).collect()
}

/// Gradients in double precision of the values that the device computed: of the first input, and of the
/// parameters. An argument of a rectifier within round-off of zero lies on either side, two elements of a window of
/// a maximum are as good as equal, and each such place moves a channel of a gradient by more than round-off;
/// derivatives of the device's own values take its branches. Every value must be the reference's but for round-off.
fn gradients_along(device: &Device, net: &Arc<Net>, mode: Mode) -> [Vec<f64>; 2] {
    let inputs = net.inputs().iter().enumerate();
    let data: Vec<Vec<f32>> = inputs
        .map(|(i, &v)| uniform(net.dims(v, BATCH).len(), i as u32))
        .collect();
    let weights = Weights::init(Arc::clone(net), 5, 1);
    let mut reference = Reference::new(net, BATCH, &weights.tensors()).unwrap();
    reference.forward(&data.iter().map(|x| wide(x)).collect::<Vec<_>>(), mode);
    let values = values_on(device, net, mode, &data);
    for (value, like) in net.values().iter().zip(&values) {
        let largest = like.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        let off = reference.adopt(net.value(&value.name).unwrap(), like);
        let allowed = 1e-5 + 2e-4 * largest;
        assert!(
            off <= allowed,
            "{} {}: {off} > {allowed}",
            net.name(),
            value.name
        );
    }
    let output = net.output();
    let seed = wide(&uniform(net.dims(output, BATCH).len(), 99));
    reference.backward(output, &seed, Wanted::Both);
    let input = reference.grad(net.inputs()[0]);
    [input, reference.param_grads]
}

/// Compares the gradients of a pass with those along the branches that it took.
fn compare_gradients(what: &str, net: &Net, there: &[Vec<f32>; 4], along: &[Vec<f64>; 2]) {
    let [input, params] = along.each_ref().map(|g| narrow(g));
    // Some are exactly 0 (a bias before a normalisation) and come out as round-off of the others.
    let largest = params.iter().fold(0.0f32, |m, g| m.max(g.abs()));
    for param in net.params() {
        let what = format!("{what} gradient of {}", param.name);
        let (got, want) = (&there[2][param.range()], &params[param.range()]);
        compare(&what, got, want, 1e-5 * largest, GRADIENTS);
    }
    compare(
        &format!("{what} input gradient"),
        &there[1],
        &input,
        1e-6,
        GRADIENTS,
    );
}

#[test]
fn cuda_networks_agree_with_the_processor() {
    for device in Device::present() {
        let machine = Machine::Device(device.clone(), Precision::F32);
        for net in nets(&device) {
            for mode in [Mode::Train, Mode::Eval] {
                let there = run(&tower(&net, &machine), BATCH, mode, Wanted::Both, 0);
                let here = run(&tower(&net, &Machine::Cpu), BATCH, mode, Wanted::Both, 0);
                let what = format!("{device:?} {} {mode:?}", net.name());
                compare(&format!("{what} output"), &there[0], &here[0], 1e-5, 2e-4);
                compare(&format!("{what} state"), &there[3], &here[3], 1e-5, 1e-4);
                let along = gradients_along(&device, &net, mode);
                compare_gradients(&what, &net, &there, &along);
                let again = run(&tower(&net, &machine), BATCH, mode, Wanted::Both, 0);
                assert_eq!(there, again, "{what}: the same bits in every run");
                if mode == Mode::Train {
                    parts_have_the_bits(&what, &tower(&net, &machine), there);
                }
            }
        }
    }
}

/// What is asked for alone has the bits that it has beside the rest.
fn parts_have_the_bits(what: &str, tower: &Tower, [output, input, params, state]: [Vec<f32>; 4]) {
    let alone = |wanted| {
        tower.zero_grads();
        run(tower, BATCH, Mode::Train, wanted, 0)
    };
    let none = vec![0.0; params.len()];
    let inputs = alone(Wanted::Inputs);
    assert_eq!(
        inputs[..3],
        [output.clone(), input, none],
        "{what}: inputs alone"
    );
    assert_eq!(inputs[3], state, "{what}: inputs alone");
    let alone = alone(Wanted::Params);
    assert_eq!(
        alone[..3],
        [output, Vec::new(), params],
        "{what}: parameters alone"
    );
}
