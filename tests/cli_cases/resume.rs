use super::support::{command, run, small, succeed};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Every byte that a run's result consists of: weights, optimiser state, metrics.
fn bits(run: &Path, step: u64) -> BTreeMap<String, Vec<u8>> {
    let checkpoint = run.join(format!("checkpoints/step-{step:08}"));
    let mut bits = BTreeMap::new();
    for entry in fs::read_dir(&checkpoint).expect("a checkpoint") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "safetensors") {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            bits.insert(name, fs::read(&path).expect("a file"));
        }
    }
    assert!(bits.len() >= 4, "{:?}", bits.keys());
    bits.insert(
        "metrics".into(),
        fs::read(run.join("metrics.jsonl")).expect("metrics"),
    );
    bits
}

fn same(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in a {
        assert!(bytes == &b[name], "{name} differs");
    }
}

fn train<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    let first = [
        "train",
        "--modality",
        "image",
        "--steps",
        "20",
        "--set=train.checkpoint_every=3",
    ];
    small(&first.iter().chain(rest).copied().collect::<Vec<_>>())
}

#[test]
fn threads_do_not_change_a_bit() {
    let home = tempfile::tempdir().expect("a folder");
    succeed(home.path(), &train(&["--out", "one", "--threads", "1"]));
    succeed(home.path(), &train(&["--out", "two", "--threads", "2"]));
    same(
        &bits(&home.path().join("one"), 20),
        &bits(&home.path().join("two"), 20),
    );
}

#[cfg(unix)]
#[test]
fn a_stopped_or_killed_run_goes_on_bit_by_bit() {
    use rustix::process::{Pid, Signal, kill_process};
    let home = tempfile::tempdir().expect("a folder");
    succeed(home.path(), &train(&["--out", "whole"]));
    let whole = bits(&home.path().join("whole"), 20);
    for (name, signal, at_step, code) in [
        ("stopped", Signal::INT, 8, Some(130)),
        ("killed", Signal::KILL, 11, None),
    ] {
        let mut child = command(home.path(), &train(&["--out", name, "--json"]))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("output"));
        let pid = Pid::from_child(&child);
        let mut said = Vec::new();
        for line in output.lines() {
            let line = line.expect("a line");
            if line.contains("\"event\":\"step\"") && line.contains(&format!("\"step\":{at_step},"))
            {
                kill_process(pid, signal).expect("the signal is sent");
            }
            said.push(line);
        }
        assert_eq!(child.wait().expect("an end").code(), code, "{said:?}");
        let run_folder = home.path().join(name);
        assert!(
            !run_folder.join("summary.json").exists(),
            "{name} must not have finished"
        );
        if code.is_some() {
            let last = said.last().expect("a message");
            assert!(
                last.contains("go on with: viewmaker train --resume stopped"),
                "{last}"
            );
        }
        succeed(home.path(), &["train", "--resume", name]);
        same(&bits(&run_folder, 20), &whole);
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_kept() {
    let home = tempfile::tempdir().expect("a folder");
    succeed(home.path(), &train(&["--out", "run"]));
    let run_folder = home.path().join("run");
    let whole = bits(&run_folder, 20);
    let checkpoints = run_folder.join("checkpoints");
    let damaged = checkpoints.join("step-00000020/encoder.safetensors");
    fs::write(&damaged, "short").expect("a file");
    // Who only reads the run says so, and leaves it as it is.
    let ran = succeed(home.path(), &["eval", "run"]);
    let warning =
        "warning: the checkpoint of step 20 is left out: run/checkpoints/step-00000020/encoder";
    assert!(ran.err.contains(warning), "{}", ran.err);
    assert!(damaged.is_file());
    let ran = succeed(home.path(), &["train", "--resume", "run"]);
    for part in [
        "warning: run/checkpoints/step-00000020/encoder.safetensors: length",
        "kept as run/checkpoints/damaged-step-00000020",
        "going on from run/checkpoints/step-00000018",
    ] {
        assert!(ran.err.contains(part), "{}", ran.err);
    }
    let kept = checkpoints.join("damaged-step-00000020/encoder.safetensors");
    assert_eq!(fs::read(kept).expect("a file"), b"short");
    same(&bits(&run_folder, 20), &whole);
}

#[test]
fn a_finished_run_can_be_extended() {
    let home = tempfile::tempdir().expect("a folder");
    succeed(
        home.path(),
        &small(&[
            "train",
            "--modality",
            "image",
            "--steps",
            "2",
            "--out",
            "run",
        ]),
    );
    let again = run(
        home.path(),
        &small(&["train", "--modality", "image", "--out", "run"]),
    );
    assert_eq!(again.code, 2);
    assert!(
        again.err.contains("continue it with --resume run"),
        "{}",
        again.err
    );
    succeed(home.path(), &["train", "--resume", "run", "--steps", "4"]);
    assert!(home.path().join("run/checkpoints/step-00000004").is_dir());
    let config = fs::read_to_string(home.path().join("run/config.toml")).expect("a configuration");
    assert!(config.contains("\nsteps = 4\n"), "{config}");
    // Not to where it has been already, and the run is none the worse for being asked.
    let back = run(home.path(), &["train", "--resume", "run", "--steps", "3"]);
    assert_eq!(back.code, 2);
    assert!(
        back.err.contains("4 steps are done, and 3 are asked for"),
        "{}",
        back.err
    );
    let path = home.path().join("run/config.toml");
    assert_eq!(fs::read_to_string(path).expect("a configuration"), config);
}

/// A run may go on on another device; that its bits may differ is said, and stands in the log.
#[test]
fn a_run_that_moves_says_so() {
    let home = tempfile::tempdir().expect("a folder");
    let args = ["train", "--modality=image", "--steps=1", "--out=run"];
    succeed(home.path(), &small(&args));
    let note = "going on with device = \"cpu\"; before: \"auto\"";
    let moved = ["train", "--resume=run", "--steps=2", "--device=cpu"];
    let ran = succeed(home.path(), &moved);
    assert!(ran.err.contains(note), "{}", ran.err);
    let ran = succeed(home.path(), &["train", "--resume=run", "--steps=3"]);
    assert!(!ran.err.contains("going on with"), "{}", ran.err);
    let log = fs::read_to_string(home.path().join("run/log.txt")).expect("a log");
    assert_eq!(log.matches(note).count(), 1, "{log}");
}

/// What a kill leaves of a last line of the metrics is dropped when the run goes on.
#[test]
fn a_torn_line_of_the_metrics_is_dropped() {
    use std::io::Write;
    let home = tempfile::tempdir().expect("a folder");
    let args = ["train", "--modality=image", "--steps=4", "--out=run"];
    let every = [
        "--set=train.checkpoint_every=3",
        "--set=train.keep_checkpoints=5",
    ];
    succeed(home.path(), &small(&[&args[..], &every].concat()));
    let run = home.path().join("run");
    let whole = bits(&run, 4);
    // Killed in step 4, in the middle of a line.
    fs::remove_file(run.join("summary.json")).expect("a summary");
    fs::remove_dir_all(run.join("checkpoints/step-00000004")).expect("a checkpoint");
    let metrics = fs::OpenOptions::new()
        .append(true)
        .open(run.join("metrics.jsonl"));
    let torn = b"{\"event\":\"step\",\"step\":3,\"lo";
    metrics.expect("metrics").write_all(torn).expect("a part");
    succeed(home.path(), &["train", "--resume=run"]);
    same(&bits(&run, 4), &whole);
}

#[test]
fn every_kind_of_memory_is_restored() {
    let home = tempfile::tempdir().expect("a folder");
    for (objective, extra) in [
        ("moco-v2", "objective.queue=20"),
        ("byol", "train.update=alternating"),
        ("simsiam", "viewmaker.perturbs=first"),
        ("triplet", "objective.mining=hardest-queue"),
        ("instdisc", "viewmaker.budget_warmup_epochs=0.8"),
        ("protonet", "objective.ways=4"),
        ("clip", "objective.temperature=0.1"),
    ] {
        let settings = [
            "train",
            "--modality=image",
            "--steps=8",
            "--set=train.checkpoint_every=3",
            "--set=train.keep_checkpoints=5",
            "--set",
            extra,
            "--objective",
            objective,
            "--out",
            objective,
        ];
        succeed(home.path(), &small(&settings));
        let folder = home.path().join(objective);
        let whole = bits(&folder, 8);
        // Back to where the run was after step 3.
        fs::remove_file(folder.join("summary.json")).expect("a summary");
        for step in [6, 8] {
            let checkpoint = folder.join(format!("checkpoints/step-{step:08}"));
            fs::remove_dir_all(checkpoint).expect("a checkpoint");
        }
        succeed(home.path(), &["train", "--resume", objective]);
        same(&bits(&folder, 8), &whole);
        let companions = [
            "momentum_encoder",
            "predictor",
            "predictor_optimizer",
            "text_tower_optimizer",
            "logit_scale",
        ];
        let kept = companions.map(|name| whole.contains_key(&format!("{name}.safetensors")));
        let expected = match objective {
            "moco-v2" => [true, false, false, false, false],
            "byol" => [true, true, true, false, false],
            "simsiam" => [false, true, true, false, false],
            "clip" => [false, false, false, true, true],
            _ => [false; 5],
        };
        assert_eq!(kept, expected, "{objective}");
    }
}
