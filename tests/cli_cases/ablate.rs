use super::support::{command, run, succeed};
use std::fs;

const GRID: &str = r#"
title = "Views"
modalities = ["image"]
seeds = [0, 1]

[base]
train.steps = 2
train.batch_size = 8
data.embedded_train = 32
data.embedded_test = 16
data.image.size = 16
viewmaker.widths = [4, 6, 8]
viewmaker.num_res_blocks = 1

[grid]
views.source = ["learned", "none"]
"#;

#[test]
fn a_grid_becomes_a_table_and_goes_on_where_it_stopped() {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("grid.toml"), GRID).expect("a file");
    let ran = succeed(home.path(), &["ablate", "grid.toml", "--jobs", "2"]);
    assert!(ran.err.contains("4 runs, 4 of them to do"), "{}", ran.err);
    assert!(ran.out.starts_with("## Views"), "{}", ran.out);
    let out = home.path().join("runs/grid");
    let table = fs::read_to_string(out.join("table.csv")).expect("a table");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[1].starts_with("image,learned,2,"), "{table}");
    assert!(lines[2].starts_with("image,none,2,"), "{table}");
    assert_eq!(
        fs::read_to_string(out.join("table.md"))
            .expect("a table")
            .trim(),
        ran.out.trim()
    );

    // One run has not finished: only that one is done again, and the table is the same.
    fs::remove_file(out.join("image-source=none-seed=1/summary.json")).expect("a summary");
    let again = succeed(home.path(), &["ablate", "grid.toml"]);
    assert!(
        again.err.contains("4 runs, 1 of them to do"),
        "{}",
        again.err
    );
    assert_eq!(again.out, ran.out);

    // With other settings nothing is run, shown, or written over.
    let other = run(
        home.path(),
        &["ablate", "grid.toml", "--set", "train.steps=3"],
    );
    assert_eq!((other.code, other.out.as_str()), (2, ""));
    assert_eq!(
        fs::read_to_string(out.join("table.csv")).expect("a table"),
        table
    );
    assert!(
        other
            .err
            .contains("train.steps = 3 differs from the run's 2"),
        "{}",
        other.err
    );
}

/// Values that differ only in characters that no folder's name has are runs of their own.
#[test]
fn every_value_has_its_own_folder() {
    let home = tempfile::tempdir().expect("a folder");
    let grid = GRID
        .replace("seeds = [0, 1]", "seeds = [0]")
        .replace(
            "views.source",
            "viewmaker.distortion_budget = [0.5]\neval.prompts",
        )
        .replace("\"learned\", \"none\"", "[\"a {}!\"], [\"a {}?\"]");
    fs::write(home.path().join("grid.toml"), grid).expect("a file");
    let ran = succeed(home.path(), &["ablate", "grid.toml", "--out=out"]);
    assert!(ran.err.contains("2 runs, 2 of them to do"), "{}", ran.err);
    let entries = fs::read_dir(home.path().join("out")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut prompts: Vec<String> = paths
        .filter(|path| path.join("summary.json").is_file())
        .map(|run| fs::read_to_string(run.join("config.toml")).expect("a configuration"))
        .filter_map(|text| {
            let mut lines = text.lines();
            lines
                .find(|line| line.starts_with("prompts"))
                .map(str::to_owned)
        })
        .collect();
    prompts.sort();
    assert_eq!(prompts, ["prompts = [\"a {}!\"]", "prompts = [\"a {}?\"]"]);
}

/// A probe with other settings, run by hand in the folder of a run, is none of the ablation's results.
#[test]
fn what_was_measured_otherwise_does_not_count() {
    let home = tempfile::tempdir().expect("a folder");
    let grid = GRID
        .replace("seeds = [0, 1]", "seeds = [0]\nprobes = [\"logistic\"]")
        .replace("\"learned\", \"none\"", "\"none\"");
    fs::write(home.path().join("grid.toml"), grid).expect("a file");
    let ablate = ["ablate", "grid.toml", "--out=out"];
    let first = succeed(home.path(), &ablate);
    assert!(first.out.contains("logistic regression"), "{}", first.out);
    let folder = "out/image-source=none-seed=0";
    let other = [
        "eval",
        folder,
        "--probe=logistic",
        "--set=eval.logistic.l2=100",
    ];
    succeed(home.path(), &other);
    for to_do in [1, 0] {
        let again = succeed(home.path(), &ablate);
        let told = format!("1 runs, {to_do} of them to do");
        assert!(again.err.contains(&told), "{}", again.err);
        assert_eq!(again.out, first.out);
    }
}

/// The data decide the sample rate; what a run wrote down is no other setting than what was asked for.
#[test]
fn runs_on_speech_are_continued() {
    let home = tempfile::tempdir().expect("a folder");
    let grid = GRID
        .replace("\"image\"", "\"speech\"")
        .replace("data.image.size = 16\n", "");
    fs::write(home.path().join("grid.toml"), grid).expect("a file");
    let first = succeed(home.path(), &["ablate", "grid.toml", "--jobs", "2"]);
    let again = succeed(home.path(), &["ablate", "grid.toml"]);
    let told = again.err.contains("4 runs, 0 of them to do");
    assert!(told, "{}", again.err);
    assert_eq!(again.out, first.out);
}

#[test]
fn a_failing_run_does_not_stop_the_others() {
    let home = tempfile::tempdir().expect("a folder");
    // A batch of 64 cannot be filled from 32 examples.
    let grid = GRID.replace(
        "views.source = [\"learned\", \"none\"]",
        "train.batch_size = [64, 8]",
    );
    fs::write(
        home.path().join("grid.toml"),
        grid.replace("seeds = [0, 1]", "seeds = [0]"),
    )
    .expect("a file");
    let ran = run(home.path(), &["ablate", "grid.toml", "--out", "out"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("1 of 2 runs failed"), "{}", ran.err);
    assert!(
        ran.err.contains("batch_size=64") && ran.err.contains("64"),
        "{}",
        ran.err
    );
    let complaints = |name: &str| {
        home.path()
            .join(format!("out/image-{name}.stderr"))
            .exists()
    };
    assert!(!complaints("batch_size=8-seed=0"));
    let table = fs::read_to_string(home.path().join("out/table.csv")).expect("a table");
    assert!(
        table.contains("image,64,0,") && table.contains("image,8,1,"),
        "{table}"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_lets_the_runs_save() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{BufRead, BufReader};
    let home = tempfile::tempdir().expect("a folder");
    fs::write(home.path().join("grid.toml"), GRID).expect("a file");
    let args = [
        "ablate",
        "grid.toml",
        "--jobs=2",
        "--json",
        "--out=out",
        "--set=train.steps=1000000",
    ];
    let mut child = command(home.path(), &args)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut lines = BufReader::new(child.stdout.take().expect("output")).lines();
    let is_step = |line: &std::io::Result<String>| {
        line.as_ref()
            .is_ok_and(|line| line.contains("\"task\":\"runs\"") && line.contains("step"))
    };
    assert!(
        lines.any(|line| is_step(&line)),
        "a run gets to its first step"
    );
    kill_process(Pid::from_child(&child), Signal::INT).expect("the signal is sent");
    let last = lines.last().expect("a message").expect("text");
    assert_eq!(child.wait().expect("an end").code(), Some(130), "{last}");
    assert!(last.contains("the same command goes on"), "{last}");
    let first = home
        .path()
        .join("out/image-source=learned-seed=0/checkpoints");
    assert!(
        fs::read_dir(first).expect("checkpoints").count() > 0,
        "nothing was saved"
    );
}
