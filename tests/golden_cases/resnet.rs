//! The encoders: outputs, batch-norm state and gradients, in training and evaluation mode.

use super::each_case;
use super::network::{Run, Setup, base, tensors, without_branches};
use super::viewmaker::first_filled;
use std::collections::BTreeSet;
use std::sync::Arc;
use viewmaker_device::Device;
use viewmaker_golden::{Case, GoldenError, Report};
use viewmaker_net::zoo::{EncoderConfig, Projection, encoder};
use viewmaker_ops::Mode;

#[test]
fn resnets() {
    each_case("resnet18_small", |case| check(case, None));
}

/// The same on every device that is there, with the same tolerances: they were set by how far the original's
/// own single precision is from its double precision, and a device adds the same products in another order.
#[test]
fn cuda_resnets() {
    for device in Device::present() {
        each_case("resnet18_small", |case| check(case, Some(&device)));
    }
}

/// On the processor, or on a device.
fn check(case: &Case, device: Option<&Device>) -> Result<(), GoldenError> {
    let x = case.f32("in.x")?;
    let small = case.parameter("kind").and_then(|v| v.as_str()) == Some("small");
    let config = EncoderConfig {
        name: if small { "resnet18-small" } else { "resnet18" }.to_string(),
        input: [x.shape[1], x.shape[2], x.shape[3]],
        embedding_dim: case.number("num_classes")? as usize,
        projection: Projection::Linear,
        normalization: None,
    };
    let net = Arc::new(encoder(&config).unwrap());
    let salt = case.number("salt")? as u64;
    let setup = |mode| Setup {
        net: Arc::clone(&net),
        batch: x.shape[0],
        mode,
        feeds: vec![x.data.clone()],
        tensors: tensors(&net, salt, |_| None),
        seed: case.f32("in.R").unwrap().data,
    };
    let mut report = Report::new(case);
    let modes = case.parameter("modes").and_then(|v| v.as_array()).unwrap();
    for mode in modes.iter().filter_map(|v| v.as_str()) {
        let setup = setup(if mode == "train" {
            Mode::Train
        } else {
            Mode::Eval
        });
        let run = match device {
            None => setup.run(),
            Some(device) if setup.is_left_out_on(device) => return Ok(()),
            Some(device) => setup.run_on(device),
        };
        let (reference, like) = setup.run_references(&run);
        let prefix = format!("{mode}.");
        let compared = case.specs().filter(|(_, spec)| spec.role.is_compared());
        let names: BTreeSet<&str> = compared
            .map(|(name, _)| base(name))
            .filter(|name| name.starts_with(&prefix) || name.starts_with("check."))
            .collect();
        for name in names {
            let own = name.strip_prefix(&prefix).unwrap_or(name);
            let got = [&run, &reference, &like].map(|run| result(own, &setup, run, salt));
            let [Some(single), Some(double), Some(like)] = got else {
                panic!("{}: no rule for the tensor {name}", case.name());
            };
            report.check_reduced(name, &double);
            match own {
                "L" => check_loss(case, &prefix, &setup.seed, single[0])?,
                _ if own.starts_with("grad.") => {
                    report.check_reduced(name, &without_branches(&single, &like, &double));
                }
                _ => report.check_reduced(name, &single),
            }
        }
    }
    match device {
        None => print!("resnet "),
        Some(device) => print!("resnet on {} ", device.name()),
    }
    report.finish()
}

/// The loss is `Σ out · R`, a linear function of the outputs, and most of it cancels. In single
/// precision its error may be what the errors that each output is allowed amount to; in double
/// precision it is compared by its own tolerance.
fn check_loss(case: &Case, prefix: &str, seed: &[f32], got: f64) -> Result<(), GoldenError> {
    let (out, want) = (
        format!("{prefix}out"),
        case.f64(&format!("{prefix}L"))?.data[0],
    );
    let outputs = case.f64(&out)?.data;
    let tolerance = case.spec(&out).and_then(|spec| spec.tol);
    let tolerance = tolerance.unwrap_or_else(|| panic!("{}: {out} has no tolerance", case.name()));
    let each = tolerance.check(&outputs, &outputs).allowed;
    let weights: f64 = seed.iter().map(|r| f64::from(r.abs())).sum();
    assert!(
        (got - want).abs() <= each * weights,
        "{}: {prefix}L: {got} instead of {want}, allowed ±{}",
        case.name(),
        each * weights
    );
    Ok(())
}

fn result(name: &str, setup: &Setup, run: &Run, salt: u64) -> Option<Vec<f64>> {
    let output = &run.values["fc"];
    match name {
        "out" => Some(output.clone()),
        "L" => {
            let products = output.iter().zip(&setup.seed);
            Some(vec![products.map(|(v, r)| v * f64::from(*r)).sum()])
        }
        "grad.in.x" => run.grads.get("x").cloned(),
        "act.features" => value_of(run, "features"),
        _ => {
            let value = name.strip_prefix("act.").and_then(|module| {
                // The output of a stage is that of its last block.
                value_of(run, &format!("{module}.1")).or(value_of(run, module))
            });
            let param = name.strip_prefix("grad.param.");
            let state = name.strip_prefix("buffer_after.");
            value
                .or(param.and_then(|p| run.param_grads.get(p).cloned()))
                .or(state.and_then(|s| run.state.get(s).cloned()))
                .or(first_filled(name, run, salt))
        }
    }
}

fn value_of(run: &Run, name: &str) -> Option<Vec<f64>> {
    let value = run.net.value(name).ok()?;
    let node = &run.net.values()[value.index()].name;
    run.values.get(node).cloned()
}
