use super::support::{run, small, succeed};
use serde_json::Value;
use std::fs;

fn events(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_run_leaves_everything_behind() {
    let home = tempfile::tempdir().expect("a folder");
    let ran = succeed(
        home.path(),
        &small(&["train", "--modality", "image", "--epochs", "1"]),
    );
    for part in [
        "kNN accuracy on held-out data",
        "before training",
        "runs/image-001/views/views.png",
        "next: viewmaker eval runs/image-001",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let run = home.path().join("runs/image-001");
    for file in [
        "config.toml",
        "metrics.jsonl",
        "log.txt",
        "summary.json",
        "views/views.png",
        "views/views.safetensors",
        "checkpoints/step-00000006/encoder.safetensors",
    ] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    let metrics = events(&fs::read_to_string(run.join("metrics.jsonl")).unwrap());
    let steps = metrics
        .iter()
        .filter(|event| event["event"] == "step")
        .count();
    assert_eq!(steps, 6, "48 examples in batches of 8");
    assert!(
        metrics
            .iter()
            .any(|event| event["event"] == "epoch" && event["knn_accuracy"].is_number())
    );

    let ran = succeed(home.path(), &["eval", "runs/image-001", "--json"]);
    let last = events(&ran.out).pop().expect("a result");
    assert_eq!(last["step"], 6);
    assert!(last["results"][0]["result"]["accuracy"].is_number());
    let ran = succeed(
        home.path(),
        &[
            "views",
            "runs/image-001",
            "--count",
            "3",
            "--out",
            "pictures",
        ],
    );
    assert!(
        ran.out.starts_with("views of 3 examples, mean |view"),
        "{}",
        ran.out
    );
    let picture = image::open(home.path().join("pictures/views.png")).expect("a picture");
    assert!(picture.width() > 300);
}

#[test]
fn json_output_ends_with_the_result() {
    let home = tempfile::tempdir().expect("a folder");
    let args = [
        "train",
        "--modality",
        "image",
        "--steps",
        "2",
        "--out",
        "run",
        "--json",
    ];
    let ran = succeed(home.path(), &small(&args));
    let events = events(&ran.out);
    let steps: Vec<&Value> = events.iter().filter(|e| e["event"] == "step").collect();
    assert_eq!(steps.len(), 2);
    assert!(steps[0]["encoder_loss"].is_number() && steps[0]["mean_abs_delta"].is_number());
    let last = events.last().expect("events");
    assert_eq!(last["event"], "result");
    assert_eq!(last["summary"]["steps"], 2);
    assert!(
        last["pictures"][0]
            .as_str()
            .is_some_and(|path| path.ends_with("views.png"))
    );
}

/// Whether this machine has a card or not: one that is not there is an error that names what was looked
/// for and leaves no run behind, and `auto` trains anyway and says on what.
#[test]
fn a_missing_card_is_said_and_auto_trains_without() {
    let home = tempfile::tempdir().expect("a folder");
    let train = |rest: &[&'static str]| {
        let args = ["train", "--modality=image", "--steps=1", "--out=run"];
        small(&[&args[..], rest].concat())
    };
    let ran = run(home.path(), &train(&["--device=cuda:63"]));
    assert_eq!(ran.code, 1);
    let told = ran.err.contains("libcuda.so") || ran.err.contains("no CUDA device 63");
    assert!(told, "{}", ran.err);
    assert!(!home.path().join("run").exists());
    let ran = run(home.path(), &train(&["--device=gpu"]));
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("cuda:N"), "{}", ran.err);
    let ran = succeed(home.path(), &train(&["--device=auto"]));
    assert!(ran.err.contains("device: "), "{}", ran.err);
    let ran = run(
        home.path(),
        &train(&["--device=cpu", "--set=precision=bf16"]),
    );
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("precision"), "{}", ran.err);
}

#[test]
fn a_profile_explains_the_step() {
    let home = tempfile::tempdir().expect("a folder");
    let args = [
        "train",
        "--modality",
        "image",
        "--steps",
        "3",
        "--out",
        "run",
        "--profile",
        "--json",
    ];
    let ran = succeed(home.path(), &small(&args));
    let events = events(&ran.out);
    let profile = events.iter().find(|e| e["event"] == "profile");
    let profile = profile.expect("a profile");
    assert_eq!(profile["steps"], 2, "the first step is left out");
    assert!(profile["explained"].as_f64().expect("a share") > 0.9);
    let rows = profile["rows"].as_array().expect("rows");
    let total: f64 = rows.iter().filter_map(|r| r["total_ms"].as_f64()).sum();
    let step = profile["step_ms"].as_f64().expect("a time");
    assert!((total - step).abs() < 1e-6 * step, "{total} {step}");
    let names: Vec<&str> = rows.iter().filter_map(|r| r["name"].as_str()).collect();
    for name in [
        "conv2d",
        "batch_norm+relu",
        "instance_norm+relu",
        "optimizer",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
}

#[test]
fn speech_views_can_be_heard() {
    let home = tempfile::tempdir().expect("a folder");
    let args = [
        "train",
        "--modality",
        "speech",
        "--steps",
        "1",
        "--out",
        "run",
    ];
    succeed(home.path(), &small(&args));
    for file in ["views.png", "000-original.wav", "000-view-1.wav"] {
        assert!(
            home.path().join("run/views").join(file).is_file(),
            "{file} is missing"
        );
    }
    let ran = succeed(
        home.path(),
        &[
            "views",
            "run",
            "--input",
            "run/views/000-original.wav",
            "--out",
            "own",
        ],
    );
    assert!(ran.out.starts_with("views of 1 example,"), "{}", ran.out);
}

#[test]
fn a_viewmaker_trains_on_top_of_expert_views() {
    let home = tempfile::tempdir().expect("a folder");
    let train = |out: &'static str, threads: &'static str| {
        let args = [
            "train",
            "--modality",
            "image",
            "--steps",
            "3",
            "--out",
            out,
            "--set",
            threads,
            "--set",
            "views.source=[\"expert\", \"learned\"]",
        ];
        succeed(home.path(), &small(&args));
        let file = |name: &str| fs::read(home.path().join(out).join(name)).expect(name);
        (
            file("checkpoints/step-00000003/encoder.safetensors"),
            file("checkpoints/step-00000003/viewmaker.safetensors"),
            file("views/views.safetensors"),
        )
    };
    let one = train("one", "threads=1");
    assert!(one == train("two", "threads=2"), "threads change the bits");
    let metrics = fs::read_to_string(home.path().join("one/metrics.jsonl")).unwrap();
    let step = &events(&metrics)[0];
    // The budget is that of the viewmaker, whatever the expert views did.
    let change = step["mean_abs_delta"].as_f64().expect("a number");
    assert!((0.0..=0.0501).contains(&change), "{change}");
    let config = fs::read_to_string(home.path().join("one/config.toml")).unwrap();
    assert!(config.contains("source = [\"expert\", \"learned\"]"));
    assert!(config.contains("[views.expert.image]") && !config.contains("[views.expert.speech]"));
    let ran = succeed(home.path(), &["views", "one", "--count", "2", "--json"]);
    let last = events(&ran.out).pop().expect("a result");
    assert_eq!(last["written"]["examples"], 2);
}

#[test]
fn views_of_the_loader_train_without_a_network() {
    for (modality, source) in [
        ("image", "views.source=[\"patch\", \"expert\"]"),
        ("speech", "views.source=[\"temporal\", \"expert\"]"),
        (
            "sensor",
            "views.source=[\"temporal\", \"patch\", \"noise\"]",
        ),
    ] {
        let home = tempfile::tempdir().expect("a folder");
        let args = [
            "train",
            "--modality",
            modality,
            "--steps",
            "2",
            "--out",
            "run",
            "--set",
            source,
            "--set=views.expert.speech.mode=both",
            "--set=eval.linear_views=true",
            "--set=eval.linear_epochs=2",
        ];
        succeed(home.path(), &small(&args));
        let ran = succeed(home.path(), &["eval", "run", "--probe", "linear", "--json"]);
        let last = events(&ran.out).pop().expect("a result");
        assert!(last["results"][0]["result"]["accuracy"].is_number());
        let sound = home.path().join("run/views/000-view-1.wav");
        assert_eq!(sound.is_file(), modality == "speech");
    }
}

#[test]
fn sensor_streams_train() {
    let home = tempfile::tempdir().expect("a folder");
    let args = [
        "train",
        "--modality",
        "sensor",
        "--steps",
        "1",
        "--out",
        "run",
        "--set=views.source=noise",
    ];
    succeed(home.path(), &small(&args));
    assert!(home.path().join("run/views/views-000.png").is_file());
}

/// New files are as private as the user's umask says, those that replace others and those of a run
/// that goes on included.
#[cfg(unix)]
#[test]
fn results_are_as_private_as_the_umask_says() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    let home = tempfile::tempdir().expect("a folder");
    for (umask, file_mode) in [("077", 0o600), ("022", 0o644)] {
        let run = format!("run-{umask}");
        let new = small(&["train", "--modality=image", "--steps=1", "--out", &run]);
        let resumed = ["train", "--resume", &run, "--steps=2"];
        for args in [&new[..], &resumed] {
            let script = format!("umask {umask}; exec \"$0\" \"$@\"");
            let output = Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_viewmaker")])
                .args(args)
                .current_dir(home.path())
                .output()
                .expect("a shell");
            assert!(output.status.success(), "{output:?}");
        }
        for name in [
            "config.toml",
            "metrics.jsonl",
            "summary.json",
            "log.txt",
            "views/views.png",
            "views/views.safetensors",
            "checkpoints/step-00000002/checkpoint.json",
        ] {
            let file = home.path().join(&run).join(name);
            let mode = fs::metadata(&file).expect(name).permissions().mode() & 0o777;
            assert_eq!(mode, file_mode, "{name} under umask {umask}: {mode:o}");
        }
    }
}
