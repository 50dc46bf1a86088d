use super::support::{run_on, succeed, there_is_a_card, train};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Plain descent for both: Adam makes whole steps of gradients that are round-off. Small steps: after large
/// ones round-off decides on which side of a rectifier an activation lies.
const DESCENT: &[&str] = &[
    "--set=optim.encoder.name=sgd",
    "--set=optim.encoder.lr=0.003",
    "--set=optim.viewmaker.name=sgd",
    "--set=optim.viewmaker.lr=0.02",
    "--set=train.checkpoint_every=2",
    "--set=train.keep_checkpoints=5",
];

/// Sums in another order, through four steps of both players.
const ALLOWED: f64 = 1e-4;

fn steps(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let events = text.lines().map(|l| serde_json::from_str(l).unwrap());
    events
        .filter(|event: &Value| event["event"] == "step")
        .collect()
}

/// The weights of a network after a step.
fn weights(run: &Path, step: u64, network: &str) -> Vec<u8> {
    let place = format!("checkpoints/step-{step:08}/{network}.safetensors");
    fs::read(run.join(place)).unwrap()
}

/// Largest difference of the tensors of two files, each relative to its largest element; counts of batches
/// aside.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let (a, b) = (
        SafeTensors::deserialize(a).unwrap(),
        SafeTensors::deserialize(b).unwrap(),
    );
    assert_eq!(a.len(), b.len());
    let mut most = 0.0f64;
    for (name, tensor) in a.iter() {
        if tensor.dtype() != safetensors::Dtype::F32 || name.ends_with("num_batches_tracked") {
            continue;
        }
        let numbers = |bytes: &[u8]| -> Vec<f64> {
            let words = bytes.chunks_exact(4);
            words
                .map(|w| f64::from(f32::from_le_bytes(w.try_into().unwrap())))
                .collect()
        };
        let (x, y) = (
            numbers(tensor.data()),
            numbers(b.tensor(name).unwrap().data()),
        );
        let largest = y.iter().fold(1e-2, |m: f64, v| m.max(v.abs()));
        let off = x
            .iter()
            .zip(&y)
            .fold(0.0, |m: f64, (x, y)| m.max((x - y).abs()));
        assert!(off.is_finite() && x.iter().all(|v| v.is_finite()), "{name}");
        most = most.max(off / largest);
    }
    most
}

/// Whether two runs have the same metrics and weights up to round-off.
fn same(a: &Path, b: &Path) {
    let (here, there) = (steps(a), steps(b));
    assert_eq!((here.len(), there.len()), (4, 4));
    for (x, y) in here.iter().zip(&there) {
        for name in ["encoder_loss", "viewmaker_loss", "mean_abs_delta"] {
            let value = |event: &Value| event[name].as_f64().unwrap();
            let off = (value(x) - value(y)).abs();
            assert!(off <= ALLOWED * value(y).abs().max(0.1), "{name}: {x} {y}");
        }
    }
    for network in ["encoder", "viewmaker"] {
        let (x, y) = (weights(a, 4, network), weights(b, 4, network));
        let off = difference(&x, &y);
        println!("{network}: {off:.1e}");
        let place = format!("{network} of {} and {}", a.display(), b.display());
        assert!(off <= ALLOWED, "{place}: {off}");
        let moved = difference(&x, &weights(a, 2, network));
        assert!(moved > 10.0 * ALLOWED, "{place}: moved by {moved}");
    }
}

/// A copy of a run as it was after its second step.
fn interrupted(run: &Path, copy: &Path) {
    fn copy_all(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let place = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy_all(&entry.path(), &place);
            } else {
                fs::copy(entry.path(), place).unwrap();
            }
        }
    }
    copy_all(run, copy);
    fs::remove_file(copy.join("summary.json")).unwrap();
    fs::remove_dir_all(copy.join("checkpoints/step-00000004")).unwrap();
}

#[test]
fn a_run_on_the_card_is_the_run_on_the_processor() {
    if !there_is_a_card() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let folder = |name: &str| home.path().join(name);
    let card = succeed(home.path(), &train("cuda", "4", "card", DESCENT));
    // Passes stay on the card, and are graphs from the second step on.
    assert_eq!(card.executed("graphs"), 3, "{}", card.err);
    assert!(card.err.contains("device: rehearsal, f32"), "{}", card.err);
    let cpu = run_on(home.path(), &[], &train("cpu", "4", "cpu", DESCENT));
    assert_eq!(cpu.code, 0, "{}", cpu.err);
    assert!(
        !cpu.err.contains("rehearsal:"),
        "the card was used: {}",
        cpu.err
    );
    same(&folder("card"), &folder("cpu"));

    // Interrupted, and continued on the other device.
    for (run, other) in [("card", "cpu"), ("cpu", "cuda")] {
        let copy = format!("{run}-resumed");
        interrupted(&folder(run), &folder(&copy));
        let ran = succeed(
            home.path(),
            &["train", "--resume", &copy, "--device", other],
        );
        assert_eq!(ran.err.contains("executed"), other == "cuda", "{}", ran.err);
        same(&folder(&copy), &folder(run));
    }
    // And on the same one, bit by bit.
    interrupted(&folder("card"), &folder("again"));
    succeed(home.path(), &["train", "--resume", "again"]);
    for network in ["encoder", "viewmaker"] {
        let bits = |run: &str| weights(&folder(run), 4, network);
        assert!(bits("again") == bits("card"), "{network}");
    }
}

#[test]
fn second_networks_the_hosts_losses_and_chunks_train_too() {
    if !there_is_a_card() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // In the second step everything is captured, the third is the same graph: one for a loss on the card, two
    // around one of the host's, none over the tape.
    for (objective, precision, chunk, graphs) in [
        ("moco-v2", "bf16", 0, 2),
        ("byol", "tf32", 0, 4),
        ("ntxent", "f32", 2, 0),
    ] {
        let settings = [
            format!("--set=precision={precision}"),
            format!("--set=train.chunk={chunk}"),
            format!("--objective={objective}"),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let ran = succeed(home.path(), &train("cuda", "3", objective, &settings));
        assert!(
            ran.executed("kernels") > 100 && ran.executed("copies") > 6,
            "{}",
            ran.err
        );
        assert_eq!(ran.executed("graphs"), graphs, "{}", ran.err);
        let steps = steps(&home.path().join(objective));
        let losses = steps.iter().map(|s| s["encoder_loss"].as_f64());
        assert!(losses.clone().all(|l| l.is_some_and(f64::is_finite)) && losses.count() == 3);
    }
}

#[test]
fn a_profile_shows_the_layers_of_both_networks() {
    if !there_is_a_card() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let ran = succeed(home.path(), &train("cuda", "2", "run", &["--profile"]));
    for part in ["a step takes ", "conv2d", "objective", "noise"] {
        assert!(ran.out.contains(part), "{part}\n{}", ran.out);
    }
    let evaluated = succeed(home.path(), &["eval", "run"]);
    assert!(evaluated.executed("kernels") > 0);
    let views = succeed(home.path(), &["views", "run", "--count=2", "--out=views"]);
    assert!(
        views.out.starts_with("views of 2 examples"),
        "{}",
        views.out
    );
}
