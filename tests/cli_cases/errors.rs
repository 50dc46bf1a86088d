use super::support::{run, small, succeed};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Runs commands that must fail; their exit codes and messages, with the folder's name hidden.
fn failures(home: &Path, commands: &[Vec<&str>]) -> String {
    let mut text = String::new();
    for args in commands {
        let ran = run(home, args);
        assert!(
            ran.code == 1 || ran.code == 2,
            "{args:?}: {}\n{}",
            ran.code,
            ran.out
        );
        assert!(!ran.err.contains("panicked"), "{args:?}: {}", ran.err);
        let shown: Vec<&str> = args
            .iter()
            .filter(|a| !super::support::SMALL.contains(a))
            .copied()
            .collect();
        let message = ran.err.trim().replace(&*home.to_string_lossy(), "HOME");
        let _ = writeln!(
            text,
            "$ viewmaker {}\n{message}\n→ {}\n",
            shown.join(" "),
            ran.code
        );
    }
    text
}

#[test]
fn mistyped_settings_are_explained() {
    let home = tempfile::tempdir().expect("a folder");
    fs::write(
        home.path().join("typo.toml"),
        "modality = \"image\"\n\n[encoder]\nnam = \"tiny\"\n",
    )
    .unwrap();
    fs::write(
        home.path().join("broken.toml"),
        "modality = \"image\"\nseed = = 1\n",
    )
    .unwrap();
    fs::write(
        home.path().join("range.toml"),
        "modality = \"image\"\n[train]\nbatch_size = 1\n",
    )
    .unwrap();
    let image = |rest: &[&'static str]| [&["config", "--modality", "image"][..], rest].concat();
    let commands = [
        vec!["train"],
        vec!["train", "--modality", "smell"],
        vec![
            "train",
            "--modality",
            "image",
            "--epochs",
            "3",
            "--steps",
            "4",
        ],
        vec!["train", "--resume", "a", "--out", "b"],
        image(&["--set", "train.batchsize=3"]),
        image(&["--set", "train.batch_size=many"]),
        image(&["--set", "train.batch_size"]),
        image(&["--set", "encoder.name=resnet18small"]),
        image(&["--set", "viewmaker.distortion_budget=-1"]),
        image(&["--set", "viewmaker.num_res_blocks=6"]),
        image(&["--set", "data.image.size=1"]),
        image(&["--set", "objective.temperature=0"]),
        image(&["--set", "views.source=[\"expert\", \"none\"]"]),
        image(&["--set", "views.source=[\"learned\", \"expert\"]"]),
        image(&["--set", "views.source=temporal"]),
        image(&["--set", "views.expert.image.crop_scale=[0.9, 0.1]"]),
        image(&["--seed", "18446744073709551615"]),
        vec![
            "config",
            "--modality",
            "speech",
            "--set",
            "viewmaker.clamp=true",
        ],
        vec!["config", "--config", "nowhere.toml"],
        vec!["config", "--config", "typo.toml"],
        vec!["config", "--config", "broken.toml"],
        vec!["config", "--config", "range.toml"],
        vec!["eval"],
        vec!["eval", "nowhere", "--probe", "magic"],
        vec!["ablate", "nowhere.toml"],
    ];
    insta::assert_snapshot!("errors-settings", failures(home.path(), &commands));
}

#[test]
fn unusable_folders_are_explained() {
    let home = tempfile::tempdir().expect("a folder");
    fs::create_dir(home.path().join("full")).unwrap();
    fs::write(home.path().join("full/thesis.tex"), "x").unwrap();
    fs::create_dir(home.path().join("empty")).unwrap();
    fs::write(home.path().join("file"), "x").unwrap();
    let train =
        |rest: &[&'static str]| small(&[&["train", "--modality", "image"][..], rest].concat());
    let commands = [
        train(&["--out", "full"]),
        train(&["--out", "file"]),
        train(&["--out", "file/run"]),
        train(&["--data", "nowhere"]),
        train(&["--data", "empty"]),
        train(&["--out", "new", "--set", "train.batch_size=4096"]),
        vec!["train", "--resume", "nowhere"],
        vec!["train", "--resume", "empty"],
        vec!["eval", "empty"],
        vec!["views", "nowhere"],
    ];
    insta::assert_snapshot!("errors-folders", failures(home.path(), &commands));
    assert!(
        !home.path().join("new").exists(),
        "a run that cannot start leaves nothing"
    );
    assert_eq!(
        fs::read_to_string(home.path().join("full/thesis.tex")).unwrap(),
        "x"
    );
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused() {
    let home = tempfile::tempdir().expect("a folder");
    succeed(
        home.path(),
        &small(&[
            "train",
            "--modality",
            "image",
            "--steps",
            "1",
            "--out",
            "run",
        ]),
    );
    let config = home.path().join("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        text.replace("embedding_dim = 128", "embedding_dim = 64"),
    )
    .unwrap();
    let ran = run(home.path(), &["eval", "run"]);
    assert_eq!(ran.code, 1);
    for part in ["encoder.safetensors", "fc.weight", "[64, ", "[128, "] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    fs::write(&config, text).unwrap();
    let weights = home
        .path()
        .join("run/checkpoints/step-00000001/encoder.safetensors");
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    let ran = run(home.path(), &["train", "--resume", "run", "--steps", "2"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("encoder.safetensors: length: expected"),
        "{}",
        ran.err
    );
    let ran = run(
        home.path(),
        &["train", "--resume", "run", "--set", "viewmaker.norm=l2"],
    );
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains("viewmaker.norm = \"l2\" differs from the run's \"l1\""),
        "{}",
        ran.err
    );
}

#[test]
fn json_errors_are_objects() {
    let home = tempfile::tempdir().expect("a folder");
    let commands: [(&[&str], i32, &str); 4] = [
        (&["train", "--json"], 2, "config"),
        (&["train", "--bogus", "--json"], 2, "usage"),
        (&["eval", "nowhere", "--json"], 2, "run"),
        (
            &[
                "train",
                "--modality",
                "image",
                "--data",
                "nowhere",
                "--json",
            ],
            1,
            "data",
        ),
    ];
    for (args, code, kind) in commands {
        let ran = run(home.path(), args);
        assert_eq!(ran.code, code, "{args:?}: {}", ran.out);
        let last = ran.out.lines().last().expect("a line");
        let value: serde_json::Value = serde_json::from_str(last).expect("JSON");
        assert_eq!(value["event"], "error");
        assert_eq!(value["kind"], kind, "{last}");
        assert_eq!(value["exit_code"], code);
        assert!(ran.err.is_empty(), "{}", ran.err);
    }
}
