//! The generator: every intermediate and every gradient.

use super::each_case;
use super::network::{Run, Setup, base, tensors, without_branches};
use std::collections::BTreeSet;
use std::sync::Arc;
use viewmaker_device::Device;
use viewmaker_golden::{Case, GoldenError, Report, fill};
use viewmaker_net::zoo::{Nonlinearity, ViewmakerConfig, viewmaker};
use viewmaker_ops::{Mode, budget::Norm};

#[test]
fn viewmakers() {
    each_case("viewmaker", |case| {
        let setup = setup(case)?;
        print!("viewmaker f32 ");
        compare(case, &setup, &setup.run(), None)?;
        print!("viewmaker f64 ");
        compare(case, &setup, &setup.run_reference(), None)
    });
}

/// The same on every device that is there, with the same tolerances: they were set by how far the original's
/// own single precision is from its double precision, and a device adds the same products in another order.
/// Gradients are compared along the branches that its rectifiers took, as those of the encoders are.
#[test]
fn cuda_viewmakers() {
    for device in Device::present() {
        each_case("viewmaker", |case| {
            let setup = setup(case)?;
            if setup.is_left_out_on(&device) {
                return Ok(());
            }
            print!("viewmaker on {} ", device.name());
            let run = setup.run_on(&device);
            let references = setup.run_references(&run);
            compare(case, &setup, &run, Some(&references))
        });
    }
}

/// The configuration of a case; only the number of channels and so on is read from it.
pub(crate) fn config(case: &Case, input: [usize; 3], widths: &str) -> ViewmakerConfig {
    let flag = |name| {
        case.parameter(name)
            .is_some_and(|v| v.as_bool() == Some(true))
    };
    let numbers = case.parameter(widths).and_then(|v| v.as_array());
    let widths: Vec<usize> = numbers
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_u64().map(|v| v as usize))
        .collect();
    let budget = case.number("distortion_budget").or(case.number("budget"));
    let downsample = case.parameter("downsample_to").and_then(|v| v.as_u64());
    let leaky = case.parameter("activation").and_then(|v| v.as_str()) == Some("leaky_relu");
    ViewmakerConfig {
        input,
        widths: widths.try_into().unwrap(),
        num_res_blocks: case.number("num_res_blocks").unwrap() as usize,
        distortion_budget: budget.unwrap() as f32,
        norm: Norm::L1,
        activation: match leaky {
            true => Nonlinearity::LeakyRelu,
            false => Nonlinearity::Relu,
        },
        clamp: flag("clamp"),
        frequency_domain: flag("frequency_domain"),
        downsample_to: downsample.map(|size| [size as usize; 2]),
    }
}

/// The network and the tensors of a case.
fn setup(case: &Case) -> Result<Setup, GoldenError> {
    let x = case.f32("in.x")?;
    let input = [x.shape[1], x.shape[2], x.shape[3]];
    let net = Arc::new(viewmaker(&config(case, input, "widths")).unwrap());
    let noise = (0..net.inputs().len() - 1).map(|i| case.f32(&format!("noise.{i}")));
    let mut feeds = vec![x.data];
    for channel in noise {
        feeds.push(channel?.data);
    }
    let stored = |name: &str| Some(case.f32(&format!("param.{name}")).ok()?.data);
    Ok(Setup {
        batch: x.shape[0],
        mode: Mode::Train,
        feeds,
        tensors: tensors(&net, case.number("salt")? as u64, stored),
        seed: case.f32("in.R")?.data,
        net,
    })
}

/// Compares a run with the case. With [`Setup::run_references`], what other branches of rectifiers changed
/// in a gradient does not count.
fn compare(
    case: &Case,
    setup: &Setup,
    run: &Run,
    references: Option<&(Run, Run)>,
) -> Result<(), GoldenError> {
    let salt = case.number("salt")? as u64;
    let mut report = Report::new(case);
    let compared = case.specs().filter(|(_, spec)| spec.role.is_compared());
    let names: BTreeSet<&str> = compared.map(|(name, _)| base(name)).collect();
    for name in names {
        let own = |run| {
            let own = result(name, setup, run, salt);
            own.unwrap_or_else(|| panic!("{}: no rule for the tensor {name}", case.name()))
        };
        match references {
            Some((exact, like)) if name.starts_with("grad.") => {
                let got = without_branches(&own(run), &own(like), &own(exact));
                report.check_reduced(name, &got);
            }
            _ => report.check_reduced(name, &own(run)),
        }
    }
    report.finish()
}

/// Our number for a tensor of the case.
fn result(name: &str, setup: &Setup, run: &Run, salt: u64) -> Option<Vec<f64>> {
    let value = |name: &str| run.values.get(name).cloned();
    let grad = |name: &str| run.grads.get(name).cloned();
    let view = &run.net.values()[run.net.output().index()].name;
    match name {
        "L" => {
            let products = run.values[view].iter().zip(&setup.seed);
            Some(vec![products.map(|(v, r)| v * f64::from(*r)).sum()])
        }
        "view" => value(view),
        "delta" => value("budget"),
        "y_pixels" => value("deconv3.conv2d"),
        "net_in" => value("dct").or(value("resize")),
        "features" => Some(means(run, "in3.act", setup.batch)),
        "grad.in.x" => grad("x"),
        "grad.delta" => grad("budget"),
        "grad.y_pixels" => grad("deconv3.conv2d"),
        "check.mean_abs_delta" => {
            let delta = &run.values["budget"];
            let examples = delta.chunks(delta.len() / setup.batch);
            Some(examples.map(mean_abs).collect())
        }
        _ => {
            let activation = name.strip_prefix("act.").and_then(|module| {
                let conv = format!("{module}.conv2d");
                let act = module.replace("_act", ".act");
                value(&conv).or(value(&act))
            });
            let param = name.strip_prefix("grad.param.");
            activation
                .or(param.and_then(|p| run.param_grads.get(p).cloned()))
                .or(first_filled(name, run, salt))
        }
    }
}

/// The fill rule itself: `check.<name>.first4`.
pub(crate) fn first_filled(name: &str, run: &Run, salt: u64) -> Option<Vec<f64>> {
    let tensor = name.strip_prefix("check.")?.strip_suffix(".first4")?;
    let shape = &run.net.param(tensor)?.shape;
    let values = fill(tensor, shape, salt);
    Some(values.iter().take(4).map(|&x| f64::from(x)).collect())
}

fn mean_abs(x: &[f64]) -> f64 {
    x.iter().map(|x| x.abs()).sum::<f64>() / x.len() as f64
}

/// Mean over the positions of each example and channel.
fn means(run: &Run, name: &str, batch: usize) -> Vec<f64> {
    let values = &run.values[name];
    let channels = run.net.dims(run.net.value(name).unwrap(), 1).c;
    let area = values.len() / (batch * channels);
    let maps = values.chunks(area);
    maps.map(|map| map.iter().sum::<f64>() / area as f64)
        .collect()
}
