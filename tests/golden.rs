//! Parity with the authors' PyTorch code: every case of every group of reference numbers that can
//! be found, one printed line per case with its worst error.
//!
//! `VIEWMAKER_GOLDEN_DIR` names the folder with the groups; by default it is `tests/golden`, which
//! holds a small part of them. A tensor that a manifest describes and nothing was compared with is
//! a failure.

#[path = "golden_cases/dct.rs"]
mod dct;
#[path = "golden_cases/network.rs"]
mod network;
#[path = "golden_cases/on_device.rs"]
mod on_device;
#[path = "golden_cases/resnet.rs"]
mod resnet;
#[path = "golden_cases/train_step.rs"]
mod train_step;
#[path = "golden_cases/viewmaker.rs"]
mod viewmaker;

use viewmaker_golden::{Case, GoldenError, Group, directory};

/// Runs `check` on every case of a group, and reports all failures together.
fn each_case(group: &str, check: impl Fn(&Case) -> Result<(), GoldenError>) {
    let group_cases = Group::open(directory(), group).unwrap();
    assert!(!group_cases.cases().is_empty(), "{group} has no cases");
    let failures: Vec<String> = group_cases
        .cases()
        .iter()
        .filter_map(|case| check(case).err())
        .map(|error| error.to_string())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    println!("{group}: {} cases", group_cases.cases().len());
}
