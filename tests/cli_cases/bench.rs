use super::support::{run, succeed};
use serde_json::Value;
use std::path::Path;

const SMALL: &[&str] = &[
    "bench",
    "loss",
    "--embeddings=64,130",
    "--dim=20",
    "--repeats=2",
];

const NAMES: [&str; 7] = [
    "viewmaker-simclr",
    "ntxent",
    "dcl",
    "infonce",
    "moco-v2",
    "clip",
    "supcon",
];

/// The measurements of a run, one on each line.
fn results(out: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str::<Value>(line).expect("a JSON object");
    let lines: Vec<Value> = out.lines().map(line).collect();
    assert!(lines.iter().all(|line| line["event"] == "result"), "{out}");
    lines
}

#[test]
fn losses_are_measured_on_the_processor() {
    let ran = succeed(Path::new("."), &[SMALL, &["--device=cpu"]].concat());
    let rows: Vec<&str> = ran.out.lines().collect();
    assert_eq!(rows.len(), 1 + NAMES.len() * 2, "{}", ran.out);
    for name in NAMES {
        let objective = format!("--objective={name}");
        let args = [SMALL, &["--device=cpu", &objective, "--json"]].concat();
        let ran = succeed(Path::new("."), &args);
        let results = results(&ran.out);
        assert_eq!(results.len(), 2);
        for (result, embeddings) in results.iter().zip([64, 130]) {
            let time = |what: &str| result[what]["median"].as_f64().expect("seconds");
            assert_eq!(result["loss"], name);
            assert_eq!(result["embeddings"], embeddings);
            assert!(0.0 < time("forward") && time("forward") < time("both"));
            assert!(result["value"].as_f64().is_some_and(f64::is_finite));
        }
    }
}

/// Whether this machine has a card or not: a card that is not there is an error that says what was
/// looked for, and `auto` computes anyway.
#[test]
fn a_missing_card_is_said() {
    let args = [SMALL, &["--device=cuda:63", "--objective=dcl"]].concat();
    let ran = run(Path::new("."), &args);
    assert_eq!(ran.code, 1);
    let told = ran.err.contains("libcuda.so") || ran.err.contains("no CUDA device 63");
    assert!(told, "{}", ran.err);
    let ran = succeed(Path::new("."), &[SMALL, &["--objective=dcl"]].concat());
    let fell_back = ran.err.contains("on the CPU: ");
    assert_eq!(ran.out.contains(" cpu "), fell_back, "{}", ran.err);
}

#[test]
fn what_makes_no_loss_is_refused() {
    let refused = |args: &[&str]| {
        let ran = run(Path::new("."), &[&["bench", "loss"], args].concat());
        assert_eq!(ran.code, 2, "{args:?}");
        ran.err
    };
    let odd = refused(&["--embeddings=65", "--device=cpu"]);
    assert!(odd.contains("--embeddings 65"), "{odd}");
    let cold = refused(&["--temperature=0", "--device=cpu"]);
    assert!(cold.contains("temperature from 1e-4"), "{cold}");
    let place = refused(&["--device=gpu"]);
    assert!(place.contains("cuda:N"), "{place}");
    let kernels = refused(&["--kernels=v2", "--device=cpu"]);
    assert!(kernels.contains("--kernels: the processor"), "{kernels}");
    let unknown = refused(&["--kernels=v9", "--device=cpu"]);
    assert!(unknown.contains("expected v1, v2, v3"), "{unknown}");
}

#[test]
fn steps_are_measured() {
    let small = [
        "bench",
        "step",
        "--modality=image",
        "--shape=3,12,12",
        "--set=train.batch_size=4",
        "--set=encoder.name=tiny",
        "--set=viewmaker.widths=[4,4,4]",
        "--repeats=2",
        "--device=cpu",
    ];
    let ran = succeed(Path::new("."), &small);
    assert!(ran.out.contains("examples/s"), "{}", ran.out);
    let ran = succeed(Path::new("."), &[&small[..], &["--json"]].concat());
    let result = &results(&ran.out)[0];
    assert!(result["step"]["median"].as_f64().is_some_and(|s| s > 0.0));
    assert!(result["loss"].as_f64().is_some_and(f64::is_finite));
    let refused = |args: &[&str]| {
        let ran = run(Path::new("."), &[&small[..], args].concat());
        assert_eq!(ran.code, 2, "{args:?}");
        ran.err
    };
    for objective in ["clip", "supcon", "tcn"] {
        let why = refused(&[&format!("--set=objective.name={objective}")]);
        assert!(why.contains("an order in time"), "{why}");
    }
    let second = "--set=objective.name=byol";
    let ran = succeed(Path::new("."), &[&small[..], &[second]].concat());
    assert!(ran.out.contains("examples/s"), "{}", ran.out);
}

#[test]
fn layers_are_measured() {
    let small = [
        "bench",
        "conv",
        "--modality=image",
        "--shape=3,12,12",
        "--set=train.batch_size=4",
        "--set=encoder.name=tiny",
        "--set=viewmaker.widths=[4,4,4]",
        "--repeats=2",
        "--device=cpu",
    ];
    let ran = succeed(Path::new("."), &small);
    assert!(ran.out.contains("weight gradient cpu"), "{}", ran.out);
    let ran = succeed(Path::new("."), &[&small[..], &["--json"]].concat());
    let results = results(&ran.out);
    let of = |pass: &str| results.iter().filter(move |r| r["pass"] == pass).count();
    let counts = ["output", "input-gradient", "weight-gradient"].map(of);
    assert!(counts[0] > 4 && counts == [counts[0]; 3], "{counts:?}");
    let mut places = Vec::new();
    for result in &results {
        assert!(result["time"]["median"].as_f64().is_some_and(|s| s > 0.0));
        assert!(result["flops"].as_u64().is_some_and(|n| n > 0));
        places.extend(result["places"].as_array().expect("a list"));
    }
    let starts = |player: &str| {
        let names = places.iter().filter_map(|place| place.as_str());
        names.filter(|name| name.starts_with(player)).count()
    };
    assert!(starts("viewmaker/") > 0 && starts("encoder/") > 0);
    let refused = |args: &[&str]| {
        let ran = run(Path::new("."), &[&small[..], args].concat());
        assert_eq!(ran.code, 2, "{args:?}");
        ran.err
    };
    let kernels = refused(&["--kernels=v2"]);
    assert!(kernels.contains("--kernels: the processor"), "{kernels}");
    let unknown = refused(&["--kernels=v9"]);
    assert!(unknown.contains("v3-128"), "{unknown}");
    let shape = refused(&["--shape=3,12"]);
    assert!(shape.contains("three numbers"), "{shape}");
}
