use super::support::{command, run, small, succeed};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// A short run in `home/run`.
fn train(home: &Path, modality: &str) {
    let args = [
        "train",
        "--modality",
        modality,
        "--steps",
        "2",
        "--out",
        "run",
    ];
    succeed(home, &small(&args));
}

/// The last event of `eval run` with these arguments.
fn eval(home: &Path, args: &[&str]) -> Value {
    let ran = succeed(home, &[&["eval", "run", "--json"], args].concat());
    let last = ran.out.lines().last().expect("a result");
    serde_json::from_str(last).expect("JSON")
}

fn file(home: &Path, name: &str) -> Value {
    let text = fs::read_to_string(home.join("run/eval").join(name)).expect(name);
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn several_probes_at_once_leave_their_settings() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "image");
    let args = ["--probe=knn,logistic,knn", "--set=eval.knn_k=5"];
    let result = eval(home, &args);
    let results = result["results"].as_array().expect("results");
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["result"]["k"], 5);
    assert!(results[0]["result"]["temperature"].is_number());
    let logistic = file(home, "logistic.json");
    let logistic = &logistic["results"][0]["result"];
    assert_eq!(*logistic, results[1]["result"]);
    assert_eq!(logistic["settings"]["l2"], 0.001);
    assert_eq!(logistic["fit"]["converged"], true);
    // The same bits on another number of threads.
    let config = home.join("run/config.toml");
    let text = fs::read_to_string(&config).expect("a file");
    fs::write(&config, text.replace("threads = 0", "threads = 1")).expect("a file");
    assert_eq!(eval(home, &args)["results"], result["results"]);
    let ran = succeed(
        home,
        &["eval", "run", "--probe", "logistic", "--out", "elsewhere"],
    );
    assert!(
        ran.out
            .starts_with("logistic regression on 64 pooled features:")
    );
    assert!(home.join("elsewhere/logistic.json").is_file());
}

#[test]
fn an_untrained_encoder_is_measured_like_a_trained_one() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "image");
    let trained = eval(home, &["--probe=logistic"]);
    let untrained = eval(home, &["--probe=knn,logistic", "--untrained"]);
    assert_eq!(
        (&trained["step"], &untrained["step"]),
        (&2.into(), &0.into())
    );
    // As the run measured it before its first step.
    let summary = fs::read_to_string(home.join("run/summary.json")).expect("a summary");
    let summary: Value = serde_json::from_str(&summary).expect("JSON");
    assert_eq!(
        untrained["results"][0]["result"]["accuracy"],
        summary["knn_accuracy_untrained"]
    );
    assert_eq!(
        file(home, "untrained/logistic.json")["results"][0],
        untrained["results"][1]
    );
    assert_eq!(file(home, "logistic.json")["results"], trained["results"]);
    let ran = run(home, &["eval", "run", "--probe=finetune", "--untrained"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("compares with the untrained encoder anyway"),
        "{}",
        ran.err
    );
}

/// The events of `eval run --json` with these arguments.
fn events(out: &str) -> Vec<Value> {
    let event = |line| serde_json::from_str(line).expect("JSON");
    out.lines().map(event).collect()
}

#[test]
fn probes_are_written_one_by_one_and_share_what_is_embedded() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "sensor");
    let few = [
        "--set=eval.subjects.repeats=1",
        "--set=eval.linear_epochs=2",
    ];
    let all = [
        "eval",
        "run",
        "--json",
        "--probe=knn,logistic,subjects,linear",
    ];
    let events = events(&succeed(home, &[&all[..], &few].concat()).out);
    let kind = |kind: &str| {
        let fits = |event: &&Value| event["event"] == kind;
        events.iter().filter(fits).collect::<Vec<_>>()
    };
    let probes = kind("probe");
    let names: Vec<_> = probes.iter().map(|event| &event["probe"]).collect();
    assert_eq!(names, ["knn", "logistic", "subjects", "linear"]);
    let result = kind("result")[0];
    assert_eq!(result["results"].as_array().map(Vec::len), Some(5));
    assert_eq!(result["results"][0], probes[0]["results"][0]);
    let embedded = kind("task").into_iter().filter(|event| {
        event["task"] == "embedding the training set" && event["done"] == event["total"]
    });
    // Once for all probes of pooled features, once for the untrained encoder that subjects are compared
    // with, once for features before pooling.
    assert_eq!(embedded.count(), 3);
    // The same numbers as alone.
    for (number, probe) in ["knn", "logistic", "subjects", "linear"].iter().enumerate() {
        let alone = [&["eval", "run", "--json", "--probe", probe][..], &few].concat();
        let ran = succeed(home, &alone);
        let last: Value = serde_json::from_str(ran.out.lines().last().expect("a line")).unwrap();
        assert_eq!(last["results"], probes[number]["results"], "{probe}");
    }
}

#[test]
fn what_cannot_be_probed_is_said_before_anything_is_measured() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "speech");
    for (probe, message) in [
        ("knn,zero-shot", "trained without texts"),
        ("knn,fewshot", "eval.fewshot.ways = 5"),
        ("knn,subjects", "do not say whom"),
        ("knn,corruptions", "defined for images only"),
    ] {
        let ran = run(home, &["eval", "run", "--probe", probe]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(message), "{}", ran.err);
        assert!(!home.join("run/eval/knn.json").exists(), "{probe}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_probe_leaves_the_finished_ones() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{BufRead, BufReader};
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "image");
    let args = [
        "eval",
        "run",
        "--json",
        "--probe=knn,linear,logistic",
        "--set=eval.linear_epochs=10000",
    ];
    let mut child = command(home, &args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let output = BufReader::new(child.stdout.take().expect("output"));
    let (mut said, mut told) = (Vec::new(), false);
    for line in output.lines() {
        let line = line.expect("a line");
        if !told && line.contains("\"linear probe\"") {
            let pid = Pid::from_child(&child);
            kill_process(pid, Signal::INT).expect("the signal is sent");
            told = true;
        }
        said.push(line);
    }
    assert_eq!(child.wait().expect("an end").code(), Some(130));
    assert!(home.join("run/eval/knn.json").is_file());
    assert!(!home.join("run/eval/linear.json").exists());
    let last: Value = serde_json::from_str(said.last().expect("an error")).expect("JSON");
    assert_eq!(last["kind"], "interrupted");
    assert_eq!(
        last["message"],
        "interrupted: 1 of 3 probes measured and written; the others: the same command with \
         --probe linear,logistic"
    );
}

#[test]
fn only_settings_of_evaluations_can_be_changed() {
    let home = tempfile::tempdir().expect("a folder");
    train(home.path(), "image");
    let refused = |args: &[&str]| {
        let ran = run(home.path(), &[&["eval", "run"], args].concat());
        assert_eq!(ran.code, 2, "{}", ran.err);
        ran.err
    };
    let message = refused(&["--set", "train.epochs=3"]);
    assert!(message.contains("--set train.epochs: an evaluation changes nothing"));
    let message = refused(&["--set", "data.limit=3"]);
    assert!(message.contains("beside --data"), "{message}");
    let message = refused(&["--set", "eval.logistic.l2=-1"]);
    assert!(message.contains("eval.logistic.l2 = -1: expected a number, 0 or more"));
}

/// Settings that make fine-tuning a matter of a second.
const FINETUNE: &[&str] = &[
    "--probe=finetune",
    "--set=eval.finetune.steps=3",
    "--set=eval.finetune.seeds=2",
    "--set=eval.finetune.fractions=[0.05, 1.0]",
];

#[test]
fn fine_tuning_is_compared_with_scratch_and_a_linear_probe() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "image");
    let result = eval(home, FINETUNE);
    let result = &result["results"][0]["result"];
    assert_eq!(result["seeds"], serde_json::json!([0, 1]));
    assert_eq!(result["settings"]["steps"], 3);
    let few = &result["fractions"][0];
    assert_eq!(few["examples"], 10, "one of every class");
    assert_eq!(result["fractions"][1]["examples"], 48);
    for method in ["finetuned", "scratch", "linear"] {
        let values = few[method]["values"].as_array().expect("values");
        assert_eq!(values.len(), 2);
        assert!(
            values
                .iter()
                .all(|v| (0.0..=1.0).contains(&v.as_f64().unwrap()))
        );
        assert!(few[method]["mean"].is_number() && few[method]["std"].is_number());
    }
    let curve = image::open(home.join("run/eval/finetune.png")).expect("a curve");
    assert!(curve.width() > 500);
    // The same bits on another number of threads, and a table for people.
    let config = home.join("run/config.toml");
    let text = fs::read_to_string(&config).expect("a file");
    fs::write(&config, text.replace("threads = 0", "threads = 1")).expect("a file");
    assert_eq!(eval(home, FINETUNE)["results"][0]["result"], *result);
    let ran = succeed(home, &[&["eval", "run"], FINETUNE].concat());
    assert!(
        ran.out.contains("fine-tuned") && ran.out.contains("5 %"),
        "{}",
        ran.out
    );
}

#[test]
fn episodes_have_intervals_and_need_enough_classes() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "speech");
    let args = [
        "--probe=fewshot",
        "--set=eval.fewshot.ways=2",
        "--set=eval.fewshot.queries=1",
        "--set=eval.fewshot.shots=[1]",
        "--set=eval.fewshot.episodes=20",
    ];
    let result = eval(home, &args);
    let at = &result["results"][0]["result"]["shots"][0];
    assert_eq!(at["settings"]["ways"], 2);
    assert_eq!(at["settings"]["episodes"], 20);
    assert!(at["interval95"].as_f64().expect("a number") > 0.0);
    let ran = run(home, &["eval", "run", "--probe", "fewshot"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("eval.fewshot.ways = 5: 0 of the 10"),
        "{}",
        ran.err
    );
    let ran = run(home, &["eval", "run", "--probe", "subjects"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("speech do not say whom"), "{}", ran.err);
}

#[test]
fn sensor_probes_transfer_between_subjects() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "sensor");
    let args = ["--probe=subjects", "--set=eval.subjects.repeats=2"];
    let result = eval(home, &args);
    let result = &result["results"][0]["result"];
    let counts = result["counts"].as_array().expect("counts");
    let all = counts.last().expect("all subjects");
    assert_eq!(all["subjects"], result["train_subjects"]);
    assert_eq!(all["examples"], 48.0);
    assert_eq!(
        counts[0]["accuracy"]["values"].as_array().map(Vec::len),
        Some(2)
    );
    assert!(counts[0]["examples"].as_f64() < Some(48.0));
    assert!(home.join("run/eval/subjects.png").is_file());
}

/// Pictures of two classes: stripes along and across.
fn stripes(folder: &Path) {
    for (class, along) in [("along", true), ("across", false)] {
        let place = folder.join(class);
        fs::create_dir_all(&place).expect("a folder");
        for number in 0..20u32 {
            let picture = image::RgbImage::from_fn(16, 16, |x, y| {
                let at = if along { x } else { y };
                let light = ((at + number) % 4 * 60) as u8;
                image::Rgb([light, (number * 7 % 50) as u8, 90])
            });
            picture
                .save(place.join(format!("{number:02}.png")))
                .expect("a picture");
        }
    }
}

#[test]
fn encoders_are_tried_on_other_data() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "image");
    stripes(&home.join("stripes"));
    let result = eval(
        home,
        &["--probe=transfer", "--data=stripes", "--set=eval.knn_k=3"],
    );
    assert!(result["data"].as_str().expect("text").contains("2 classes"));
    let result = &result["results"][0]["result"];
    assert_eq!(result["statistics"], "data");
    assert_eq!(result["knn"]["k"], 3);
    assert!(result["logistic"]["accuracy"].as_f64() > Some(0.5));
    assert_eq!(
        result["untrained"]["seeds"].as_array().map(Vec::len),
        Some(3)
    );
    assert!(home.join("run/eval/stripes/transfer.json").is_file());
    let ran = run(home, &["eval", "run", "--probe", "transfer"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("needs --data PATH"), "{}", ran.err);
    let grey = [
        "eval",
        "run",
        "--data",
        "stripes",
        "--set",
        "data.image.channels=1",
    ];
    let ran = run(home, &grey);
    assert_eq!(ran.code, 2);
    for part in [
        "--data",
        "stripes: the encoder does not fit examples of 1×16×16",
    ] {
        assert!(ran.err.contains(part), "{}", ran.err);
    }
}

#[test]
fn batches_are_compared_with_all_data() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "image");
    let study = |args: &[&str]| {
        let ran = succeed(
            home,
            &[&["study", "batch-size", "run", "--json"], args].concat(),
        );
        let last = ran.out.lines().last().expect("a result");
        let event: Value = serde_json::from_str(last).expect("JSON");
        event["results"][0]["result"].clone()
    };
    let result = study(&[]);
    assert_eq!(
        (&result["examples"], &result["temperature"]),
        (&48.into(), &0.07.into())
    );
    let sizes = result["sizes"].as_array().expect("sizes");
    let batches: Vec<_> = sizes.iter().filter_map(|at| at["batch"].as_u64()).collect();
    assert_eq!(batches, [2, 4, 8, 16, 48]);
    let gap = |i: usize| sizes[i]["gap"]["mean"].as_f64().expect("a number");
    assert!(gap(0) > gap(1) && gap(3) > gap(4) && gap(4).abs() < 1e-9);
    assert!(home.join("run/study/batch-size.png").is_file());
    assert_eq!(study(&["--sizes=4,2", "--seeds=1"])["sizes"][0]["batch"], 2);
    for (args, message) in [
        (
            ["--sizes=64"],
            "--sizes 64: expected numbers from 2 to the 48 examples",
        ),
        (["--temperature=0"], "--temperature 0: expected a number"),
    ] {
        let ran = run(home, &[&["study", "batch-size", "run"], &args[..]].concat());
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(message), "{}", ran.err);
    }
}

#[test]
fn corrupted_pictures_are_tabulated_and_drawn() {
    let home = tempfile::tempdir().expect("a folder");
    let home = home.path();
    train(home, "image");
    let args = ["--probe=corruptions", "--set=eval.corruptions.examples=10"];
    let result = eval(home, &args);
    let result = &result["results"][0]["result"];
    assert_eq!(result["test_examples"], 10);
    let rows = result["corruptions"].as_array().expect("rows");
    assert_eq!(rows.len(), 15);
    for row in rows {
        assert_eq!(row["accuracies"].as_array().map(Vec::len), Some(5), "{row}");
    }
    let sheet = image::open(home.join("run/eval/corruptions.png")).expect("a sheet");
    assert!(sheet.height() > 15 * 64);
    let ran = succeed(home, &[&["eval", "run"], &args[..]].concat());
    assert!(
        ran.out.contains("motion_blur") && ran.out.contains("severity 5"),
        "{}",
        ran.out
    );
    let home = tempfile::tempdir().expect("a folder");
    train(home.path(), "sensor");
    let ran = run(home.path(), &["eval", "run", "--probe", "corruptions"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("defined for images only"), "{}", ran.err);
}
