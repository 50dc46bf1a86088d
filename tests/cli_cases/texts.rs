use super::support::{run, small, succeed};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::path::Path;

fn result(out: &str) -> Value {
    let last = out.lines().last().expect("a line");
    serde_json::from_str(last).expect("JSON")
}

#[test]
fn every_modality_learns_from_texts_and_is_tried_without_examples() {
    let home = tempfile::tempdir().expect("a folder");
    for modality in ["image", "speech", "sensor"] {
        let args = [
            "train",
            "--modality",
            modality,
            "--objective=clip",
            "--epochs=2",
            "--out",
            modality,
            "--json",
        ];
        let ran = succeed(home.path(), &small(&args));
        let trained = result(&ran.out)["summary"]["zero_shot_accuracy"].clone();
        assert!(trained.is_number(), "{modality}: {}", ran.out);
        let args = ["eval", modality, "--probe", "zero-shot", "--json"];
        let ran = succeed(home.path(), &args);
        let probe = result(&ran.out)["results"][0].clone();
        assert_eq!(probe["result"]["accuracy"], trained, "{modality}");
        let prompts = probe["result"]["prompts"].as_array().expect("prompts");
        assert!(!prompts.is_empty());
    }
}

#[test]
fn runs_without_texts_have_no_zero_shot_probe() {
    let home = tempfile::tempdir().expect("a folder");
    let args = ["train", "--modality=sensor", "--steps=1", "--out=run"];
    succeed(home.path(), &small(&args));
    let ran = run(home.path(), &["eval", "run", "--probe=zero-shot"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("trained without texts"), "{}", ran.err);
}

/// Pictures of one colour each, with texts that name it.
fn pairs(folder: &Path) {
    let colours = [
        ("red", [220, 30, 30]),
        ("green", [20, 200, 40]),
        ("blue", [10, 40, 230]),
    ];
    let mut list = "file,text\n".to_owned();
    for number in 0..36u8 {
        let (name, rgb) = colours[usize::from(number) % 3];
        let rgb = rgb.map(|c| c + number / 2);
        let file = format!("{name}/{number}.png");
        fs::create_dir_all(folder.join(name)).expect("a folder");
        let picture = image::RgbImage::from_pixel(16, 16, image::Rgb(rgb));
        picture.save(folder.join(&file)).expect("a picture");
        let _ = writeln!(list, "{file},\"a {name} wall, once painted\"");
    }
    fs::write(folder.join("pairs.csv"), list).expect("a list");
}

#[test]
fn pairs_of_pictures_and_texts_train_and_classes_are_told_by_their_names() {
    let home = tempfile::tempdir().expect("a folder");
    pairs(&home.path().join("walls"));
    let args = [
        "train",
        "--modality=image",
        "--data=walls",
        "--objective=clip",
        "--epochs=12",
        "--set=views.source=none",
        "--set=eval.prompts=[\"a {} wall, once painted\"]",
        "--set=data.validation_fraction=0.3",
        "--out=run",
        "--json",
    ];
    let ran = succeed(home.path(), &small(&args));
    let accuracy = &result(&ran.out)["summary"]["zero_shot_accuracy"];
    assert!(accuracy.as_f64().expect("a number") > 0.8, "{}", ran.out);
    assert!(ran.out.contains("texts of "), "{}", ran.out);
}
