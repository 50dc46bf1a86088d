use super::support::{run, small, succeed};
use serde_json::Value;
use std::path::Path;

#[test]
fn the_list_names_every_objective_with_what_it_needs() {
    let here = Path::new(".");
    let json: Value = serde_json::from_str(&succeed(here, &["objectives", "--json"]).out).unwrap();
    let text = succeed(here, &["objectives"]).out;
    let entries = json.as_array().expect("a list");
    for entry in entries {
        for key in ["name", "title", "equation", "paper", "game"] {
            let value = entry[key].as_str().expect(key);
            assert!(!value.is_empty() && text.contains(value), "{key}: {value}");
        }
        assert!(entry["branches"]["online"].is_array());
    }
    let byol = entries.iter().find(|entry| entry["name"] == "byol");
    assert_eq!(byol.expect("byol")["branches"]["predictor"], true);
    assert!(
        text.contains("needs      2 views, momentum encoder, predictor\n"),
        "{text}"
    );
}

#[test]
fn the_table_in_the_documentation_is_the_programs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/objectives.md");
    let table = succeed(Path::new("."), &["objectives", "--markdown"]).out;
    let documented = std::fs::read_to_string(path).expect("docs/objectives.md");
    assert_eq!(
        documented, table,
        "write it with: viewmaker objectives --markdown > docs/objectives.md"
    );
}

#[test]
fn the_flag_brings_the_objectives_defaults_and_settings_win() {
    let config = |args: &[&str]| {
        let first = ["config", "--modality", "image", "--json"];
        let ran = succeed(Path::new("."), &[&first[..], args].concat());
        serde_json::from_str::<Value>(&ran.out).expect("JSON")
    };
    let byol = config(&["--objective", "byol"]);
    assert_eq!(byol["objective"]["name"], "byol");
    assert_eq!(byol["objective"]["momentum_schedule"], "cosine");
    assert_eq!(byol["encoder"]["projection"], "mlp-norm");
    let set = config(&["--set=objective.name=byol"]);
    assert_eq!(set, byol);
    let own = config(&["--objective=byol", "--set=encoder.projection=linear"]);
    assert_eq!(own["encoder"]["projection"], "linear");
    let ran = run(
        Path::new("."),
        &["config", "--modality=image", "--objective=byoll"],
    );
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("byol"), "{}", ran.err);
}

#[test]
fn collapse_is_reported() {
    let home = tempfile::tempdir().expect("a folder");
    let args = [
        "train",
        "--modality=image",
        "--objective=pull",
        "--epochs=20",
        "--set=optim.encoder.lr=0.01",
        "--set=optim.encoder.schedule=constant",
        "--set=views.source=noise",
        "--set=viewmaker.distortion_budget=0.2",
        "--out=run",
        "--json",
    ];
    let ran = succeed(home.path(), &small(&args));
    let events: Vec<Value> = ran
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let epochs: Vec<&Value> = events.iter().filter(|e| e["event"] == "epoch").collect();
    for key in ["embedding_std", "effective_rank", "alignment", "uniformity"] {
        assert!(epochs.iter().all(|epoch| epoch[key].is_number()), "{key}");
    }
    let std = |epoch: &Value| epoch["embedding_std"].as_f64().expect("a number");
    assert!(std(epochs[19]) < std(epochs[0]));
    let warnings = events.iter().filter(|event| {
        let text = event["text"].as_str().unwrap_or_default();
        event["event"] == "message" && text.starts_with("warning: the embeddings have collapsed")
    });
    assert!(warnings.count() >= 1, "{}", ran.out);
    let summary = &events.last().expect("a result")["summary"];
    assert_eq!(summary["embedding_std"], epochs[19]["embedding_std"]);
}
