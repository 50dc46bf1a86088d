use super::support::{Ran, SMALL, run_on, succeed, there_is_a_card};
use serde_json::Value;
use std::path::Path;

/// The objects of a run, one on each line.
fn lines_of(ran: &Ran) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).expect("a JSON object");
    ran.out.lines().map(line).collect()
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
    let on_card = lines_of(&ran);
    assert!(on_card.len() >= 3, "{}", ran.out);
    let there = args.map(|arg| arg.replace("cuda", "cpu"));
    let there: Vec<&str> = there.iter().map(String::as_str).collect();
    let here = lines_of(&succeed(Path::new("."), &there));
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

/// What does not fit, and the plain kernels where nobody asked for them, leave the others alone.
#[test]
fn a_loss_that_fails_does_not_take_the_others_along() {
    if !there_is_a_card() {
        return;
    }
    let args = [
        "bench",
        "loss",
        "--device=cuda",
        "--objective=dcl",
        "--embeddings=16386,32",
        "--dim=8",
        "--repeats=1",
    ];
    // Bytes: the longer list of embeddings alone takes more.
    let card = [("MEMORY", "200000")];
    let ran = run_on(Path::new("."), &card, &[&args[..], &["--json"]].concat());
    assert_eq!(ran.code, 1, "{}", ran.err);
    let lines = lines_of(&ran);
    let of = |n: u64, kernels: &str| {
        let is = |line: &&Value| line["embeddings"] == n && line["kernels"] == kernels;
        let found = lines.iter().find(is);
        found.unwrap_or_else(|| panic!("{n} {kernels}: {}", ran.out))
    };
    let skipped = of(16386, "v1");
    let reason = skipped["reason"].as_str().expect("a reason");
    assert!(
        skipped["event"] == "skipped" && reason.contains("--kernels v1"),
        "{skipped}"
    );
    for kernels in ["v2", "v3"] {
        let failed = of(16386, kernels);
        let error = failed["error"].as_str().expect("an error");
        assert!(error.contains("out of device memory"), "{failed}");
    }
    for kernels in ["v1", "v2", "v3"] {
        assert!(is_a_time(&of(32, kernels)["both"]), "{}", ran.out);
    }
    let last = lines.last().expect("lines");
    assert_eq!(last["message"], "2 of 5 measurements failed");
    let table = run_on(Path::new("."), &card, &args);
    assert_eq!(table.code, 1, "{}", table.err);
    for words in [
        "v1   skipped: more than",
        "v2   failed: out of device memory",
    ] {
        assert!(table.out.contains(words), "{words}\n{}", table.out);
    }
    let plain = ["--kernels=v1", "--json"];
    let asked = run_on(Path::new("."), &card, &[&args[..], &plain].concat());
    assert!(
        asked.out.contains("1 of 2 measurements failed"),
        "{}",
        asked.out
    );
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
        let result = &lines_of(&ran)[0];
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
    let results = lines_of(&ran);
    let versions: std::collections::BTreeSet<_> = results
        .iter()
        .filter_map(|r| r["kernels"].as_str())
        .collect();
    assert!(versions.len() > 1, "{versions:?}");
    assert!(results.iter().all(|r| is_a_time(&r["time"])), "{}", ran.out);
    // Layers that do not fit leave the others alone.
    let card = [("MEMORY", "60000")];
    let short = run_on(Path::new("."), &card, &[&own[..], SMALL].concat());
    assert_eq!(short.code, 1, "{}", short.err);
    let lines = lines_of(&short);
    let failed = lines
        .iter()
        .filter(|line| line["error"].is_string())
        .count();
    assert!(
        failed > 0 && lines.iter().any(|r| is_a_time(&r["time"])),
        "{}",
        short.out
    );
}
