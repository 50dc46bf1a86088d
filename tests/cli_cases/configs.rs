use super::support::{run, succeed};
use std::fs;
use std::path::{Path, PathBuf};

fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = paths
        .filter(|p| p.extension().is_some_and(|e| e == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_configuration_of_the_repository_is_valid() {
    let files = toml_files(&configs());
    assert!(files.len() >= 3);
    for file in files {
        succeed(
            Path::new("."),
            &["config", "--config", &file.to_string_lossy()],
        );
    }
}

#[test]
fn every_ablation_of_the_repository_is_valid() {
    let files = toml_files(&configs().join("ablations"));
    assert!(files.len() >= 6);
    for file in files {
        let none = viewmaker::config::Layer::default();
        let plan = viewmaker::ablate::Plan::read(&file, &none).unwrap();
        assert!(plan.points.len() > 1, "{}", file.display());
    }
}

#[test]
fn the_printed_configuration_reads_back() {
    let home = tempfile::tempdir().expect("a folder");
    let set = ["--set", "optim.encoder.lr=0.2", "--seed", "5"];
    let args = [&["config", "--modality", "speech"][..], &set].concat();
    let first = succeed(home.path(), &args).out;
    assert!(
        first.contains("\nlr = 0.2\n") && first.contains("\nseed = 5\n"),
        "{first}"
    );
    fs::write(home.path().join("a.toml"), &first).expect("a file");
    let second = succeed(home.path(), &["config", "--config", "a.toml"]).out;
    assert_eq!(first, second);
    // Flags win over the file.
    let third = succeed(
        home.path(),
        &["config", "--config", "a.toml", "--seed", "6"],
    )
    .out;
    assert!(third.contains("\nseed = 6\n"), "{third}");
}

#[test]
fn json_holds_every_key() {
    let ran = succeed(Path::new("."), &["config", "--modality", "image", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert!(value["optim"]["viewmaker"]["lr"].is_number());
    let all = succeed(Path::new("."), &["config", "--defaults", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&all.out).expect("JSON");
    assert!(all["speech"]["train"]["batch_size"].is_number());
}

#[test]
fn summaries_show_the_paper_s_networks() {
    let file = configs().join("cifar10.toml");
    let file = file.to_string_lossy();
    let small = ["--set=data.embedded_train=8", "--set=data.embedded_test=8"];
    let args = [&["summary", "--config", &file][..], &small].concat();
    let ran = succeed(Path::new("."), &args);
    // Memory depends on the kernels and the threads of the machine.
    let lines = ran.out.lines().filter(|line| !line.contains("memory:"));
    insta::assert_snapshot!("summary-cifar10", lines.collect::<Vec<_>>().join("\n"));
    let json = succeed(Path::new("."), &[&args[..], &["--json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(value["networks"].as_array().map(Vec::len), Some(2));
    assert_eq!(run(Path::new("."), &["summary"]).code, 2);
}
