use super::super::plan::Plan;
use super::*;

const TEXT: &str = r#"
modalities = ["image", "sensor"]
seeds = [0, 7]
probes = ["linear"]

[base]
train.epochs = 3

[grid]
views.source = ["learned", "none"]
"#;

fn parse(text: &str) -> Result<Plan> {
    Plan::parse(text, Path::new("my.toml"), &Layer::default())
}

/// What is said about [`TEXT`] with a change.
fn message(from: &str, to: &str) -> String {
    assert!(TEXT.contains(from));
    let error = parse(&TEXT.replace(from, to)).expect_err("an error was expected");
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn probes_are_those_with_columns() {
    assert_eq!(parse(TEXT).unwrap().probes, [Probe::Linear]);
    let none = parse(&TEXT.replace("probes = [\"linear\"]\n", ""));
    assert!(none.unwrap().probes.is_empty());
    for wrong in ["magic", "transfer"] {
        let text = message("linear", wrong);
        assert!(
            text.contains("a list of linear, logistic, finetune, fewshot"),
            "{text}"
        );
    }
}

#[test]
fn skips_name_what_is_there() {
    for wrong in [
        r#"skip = [{ modality = "taste" }]"#,
        r#"skip = [{ "views.source" = "noise" }]"#,
        "skip = [{}]",
        "skip = []",
        "skip = true",
    ] {
        let text = message("[base]", &format!("{wrong}\n[base]"));
        assert!(text.starts_with("my.toml:6: skip = "), "{text}");
    }
}

#[test]
fn mistakes_name_line_and_key() {
    assert_eq!(
        message("[grid]", "[gird]"),
        "my.toml:9: unknown key `gird`; did you mean `grid`?"
    );
    assert_eq!(
        message("views.source", "views.sorce"),
        "my.toml:10: unknown key `views.sorce`; did you mean `views.source`?"
    );
    let text = message("\"none\"", "\"nothing\"");
    assert!(
        text.starts_with("my.toml:10: views.source = \"nothing\": expected one of"),
        "{text}"
    );
    let text = message("train.epochs = 3", "train.epochs = 0");
    assert_eq!(text, "my.toml:7: train.epochs = 0: expected 1 or more");
    let text = message("[\"learned\", \"none\"]", "\"none\"");
    assert!(
        text.contains("expected a list of values to compare"),
        "{text}"
    );
}

#[test]
fn empty_lists_are_refused() {
    let text = message("[0, 7]", "[]");
    assert_eq!(
        text,
        "my.toml:3: seeds = []: expected a list of whole numbers"
    );
    let text = message("[\"learned\", \"none\"]", "[]");
    assert_eq!(
        text,
        "my.toml:10: views.source = []: expected a list of values to compare"
    );
    message("[\"image\", \"sensor\"]", "[]");
    message("[\"linear\"]", "[]");
}

#[test]
fn what_stands_twice_is_refused() {
    assert_eq!(
        message("[0, 7]", "[0, 7, 0]"),
        "my.toml:3: seeds = [0, 7, 0]: 0 stands there twice: once is enough"
    );
    let text = message("\"sensor\"", "\"image\"");
    assert!(text.starts_with("my.toml:2: modalities = "), "{text}");
    let text = message("[\"linear\"]", "[\"linear\", \"linear\"]");
    assert!(text.starts_with("my.toml:4: probes = "), "{text}");
    let text = message("\"none\"", "\"learned\"");
    assert!(text.starts_with("my.toml:10: views.source = "), "{text}");
    let two = "views.source = [\"none\"]\n\"views.source\"";
    let text = message("views.source", two);
    assert!(text.starts_with("my.toml:1"), "{text}");
    assert!(text.contains("this key stands there twice"), "{text}");
    // One number, written in two ways.
    let text = message("views.source", "optim.encoder.lr = [1, 1.0]\nviews.source");
    assert_eq!(
        text,
        "my.toml:10: optim.encoder.lr = [1, 1.0]: 1.0 stands there twice: once is enough"
    );
}

#[test]
fn what_lists_decide_stands_nowhere_else() {
    let text = message("train.epochs = 3", "seed = 3");
    assert_eq!(
        text,
        "my.toml:7: seed = 3: leave it out: `seeds` at the top decides this"
    );
    message("views.source =", "modality =");
    let with = |assignment: &str| {
        let mut extra = Layer::default();
        extra.add_assignment(assignment, schema()).unwrap();
        let error = Plan::parse(TEXT, Path::new("my.toml"), &extra).unwrap_err();
        error.to_string()
    };
    assert_eq!(
        with("seed=3"),
        "--set: seed = 3: change `seeds` in my.toml, which decides this"
    );
    assert_eq!(
        with("views.source=noise"),
        "--set: views.source = \"noise\": change `[grid] views.source` in my.toml, which \
         decides this"
    );
}
