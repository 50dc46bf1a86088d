//! The cosine transform and its inverse, forward and backward, on every shape of the case.

use super::network::{Setup, tensors};
use std::sync::Arc;
use viewmaker_golden::{Group, Report, directory};
use viewmaker_net::NetBuilder;
use viewmaker_ops::{Mode, dct::Dct2};

#[test]
fn cosine_transforms() {
    let group = Group::open(directory(), "signal").unwrap();
    let case = group.cases().iter().find(|case| case.name() == "dct");
    let case = case.expect("the group signal has a case dct");
    let mut report = Report::new(case);
    for index in 0.. {
        let Ok(x) = case.f32(&format!("in.x{index}")) else {
            break;
        };
        for (name, inverse) in [("dct2", false), ("idct2", true)] {
            let mut b = NetBuilder::new(name);
            let input = b.input("x", [x.shape[1], x.shape[2], x.shape[3]]).unwrap();
            b.apply(name, Dct2 { inverse }, &[input]).unwrap();
            let net = Arc::new(b.finish());
            let setup = Setup {
                batch: x.shape[0],
                mode: Mode::Train,
                feeds: vec![x.data.clone()],
                tensors: tensors(&net, 0, |_| None),
                seed: case.f32(&format!("in.R{index}")).unwrap().data,
                net,
            };
            for run in [setup.run(), setup.run_reference()] {
                report.check(&format!("out.{name}_{index}"), &run.values[name]);
                report.check(&format!("grad.{name}_{index}"), &run.grads["x"]);
            }
        }
    }
    print!("signal ");
    report.finish().unwrap();
}
