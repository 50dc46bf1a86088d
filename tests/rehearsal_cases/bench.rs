use super::support::{Ran, SMALL, succeed, there_is_a_card};
use serde_json::Value;
use std::path::Path;

fn results(ran: &Ran) -> Vec<Value> {
    let result: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    result["results"].as_array().expect("a list").clone()
}

fn is_a_time(time: &Value) -> bool {
    time["median"].as_f64().is_some_and(|seconds| seconds > 0.0)
}

#[test]
fn losses_are_measured_by_the_cards_clock() {
    if !there_is_a_card() {
        return;
    }
    let args = [
        "bench",
        "loss",
        "--device=cuda",
        "--objective=ntxent,moco-v2,supcon",
        "--embeddings=32",
        "--dim=16",
        "--repeats=2",
        "--json",
    ];
    let ran = succeed(Path::new("."), &args);
    let on_card = results(&ran);
    assert!(on_card.len() >= 3, "{}", ran.out);
    let there = args.map(|arg| arg.replace("cuda", "cpu"));
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let here = results(&succeed(Path::new("."), &there));
    for result in &on_card {
        assert_eq!(result["device"], "rehearsal");
        assert!(is_a_time(&result["both"]), "{result}");
        let value = |result: &Value| result["value"].as_f64().expect("a loss");
        let same = here.iter().find(|other| other["loss"] == result["loss"]);
        let (card, cpu) = (value(result), value(same.expect("the same loss")));
        // Round-off of sums over 32 rows; versions on tensor cores round products to eight bits.
        assert!((card - cpu).abs() <= 0.02 * cpu.abs(), "{result}: {cpu}");
    }
}

#[test]
fn steps_are_measured_in_every_precision() {
    if !there_is_a_card() {
        return;
    }
    let mut losses = Vec::new();
    for precision in ["f32", "tf32", "bf16"] {
        let precision = format!("--set=precision={precision}");
        let own = [
            "bench",
            "step",
            "--device=cuda",
            "--shape=3,8,8",
            "--repeats=2",
            "--json",
        ];
        let ran = succeed(Path::new("."), &[&own[..], SMALL, &[&precision]].concat());
        let result = &results(&ran)[0];
        assert!(is_a_time(&result["step"]), "{result}");
        // Three steps go before the measured ones; all but the first are graphs, of both players.
        assert!(ran.executed("graphs") >= 4, "{}", ran.err);
        losses.push(result["loss"].as_f64().expect("a loss"));
    }
    // Operands of products rounded to eight bits, after five steps.
    let [f32, rounded @ ..] = &losses[..] else {
        unreachable!()
    };
    assert!(
        rounded
            .iter()
            .all(|loss| (loss - f32).abs() < 0.05 * f32.abs()),
        "{losses:?}"
    );
}

#[test]
fn layers_are_measured() {
    if !there_is_a_card() {
        return;
    }
    let own = [
        "bench",
        "conv",
        "--device=cuda",
        "--shape=3,8,8",
        "--repeats=1",
        "--json",
    ];
    let ran = succeed(Path::new("."), &[&own[..], SMALL].concat());
    let results = results(&ran);
    let versions: std::collections::BTreeSet<_> = results
        .iter()
        .filter_map(|r| r["kernels"].as_str())
        .collect();
    assert!(versions.len() > 1, "{versions:?}");
    assert!(results.iter().all(|r| is_a_time(&r["time"])), "{}", ran.out);
}
