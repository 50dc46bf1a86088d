use super::*;

fn file(text: &str) -> Result<Layer, ConfigError> {
    Layer::from_text(text, Path::new("my.toml"), schema())
}

fn sets(assignments: &[&str]) -> Result<Layer, ConfigError> {
    let mut layer = Layer::default();
    for text in assignments {
        layer.add_assignment(text, schema())?;
    }
    Ok(layer)
}

fn image(assignments: &[&str]) -> Result<Config, ConfigError> {
    let mut layer = sets(&["modality=image"])?;
    layer.entries.extend(sets(assignments)?.entries);
    resolve(&[layer])
}

fn message(result: Result<impl std::fmt::Debug, ConfigError>) -> String {
    result.expect_err("an error was expected").to_string()
}

#[test]
fn later_layers_win() {
    let config = |layers: &[Layer]| resolve(layers).unwrap();
    let base = file("modality = \"image\"\n").unwrap();
    let of_file = file("[train]\nepochs = 7\nbatch_size = 32\n").unwrap();
    let of_set = sets(&["train.epochs=8"]).unwrap();
    let default = config(std::slice::from_ref(&base));
    assert_eq!(default, preset("image"));
    let with_file = config(&[base.clone(), of_file.clone()]);
    assert_eq!(
        (with_file.train.epochs, with_file.train.batch_size),
        (7, 32)
    );
    let with_set = config(&[base, of_file, of_set]);
    assert_eq!((with_set.train.epochs, with_set.train.batch_size), (8, 32));
}

#[test]
fn presets_are_valid_and_round_trip() {
    for modality in modality_names() {
        let config = preset(modality);
        config.validate().unwrap();
        let text = config.to_toml();
        assert_eq!(resolve(&[file(&text).unwrap()]).unwrap(), config, "{text}");
    }
}

#[test]
fn unusual_settings_round_trip() {
    let config = image(&[
        "train.steps=17",
        "train.freeze_viewmaker_after=3",
        "viewmaker.norm=linf",
        "viewmaker.activation=leaky_relu",
        "viewmaker.widths=[4, 5, 6]",
        "optim.encoder.name=adamw",
        "optim.encoder.lr=1e-7",
        "optim.viewmaker.betas=[0.5, 0.9]",
        "data.path=/some where/öd\"d",
        "data.limit=10",
        "eval.linear_milestones=[]",
        "objective.temperature=0.07",
    ])
    .unwrap();
    assert_eq!(config.train.steps, Some(17));
    assert_eq!(config.optim.encoder.lr, 1e-7);
    assert_eq!(
        config.data.path.as_deref(),
        Some(Path::new("/some where/öd\"d"))
    );
    let text = config.to_toml();
    assert!(text.contains("temperature = 0.07\n"), "{text}");
    assert_eq!(resolve(&[file(&text).unwrap()]).unwrap(), config, "{text}");
}

#[test]
fn every_key_is_known_and_explained() {
    fn walk(table: &Table, at: &str) {
        for (name, value) in table {
            let path = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            match value {
                Value::Table(inner) => walk(inner, &path),
                _ => assert!(
                    schema().find(&path).is_some(),
                    "{path} is missing in the schema"
                ),
            }
        }
    }
    walk(&to_table(&preset("image")), "");
    for key in schema().keys() {
        let sections = key.path.match_indices('.').map(|(at, _)| &key.path[..at]);
        for path in sections.chain([key.path.as_str()]) {
            assert!(
                doc(path).is_some(),
                "config/docs/ says nothing about {path}"
            );
        }
    }
}

#[test]
fn unknown_keys_suggest_the_nearest_and_name_the_line() {
    let text = "modality = \"image\"\n\n[encoder]\n# a comment\nnam = \"tiny\"\n";
    let error = message(file(text));
    assert_eq!(
        error,
        "my.toml:5: unknown key `encoder.nam`; did you mean `encoder.name`?"
    );
    let error = message(sets(&["train.batchsize=3"]));
    assert_eq!(
        error,
        "--set: unknown key `train.batchsize`; did you mean `train.batch_size`?"
    );
    assert_eq!(
        message(sets(&["colour=red"])),
        "--set: unknown key `colour`"
    );
    let error = message(file("[nonsense]\nlr = 1\n"));
    assert!(
        error.starts_with("my.toml:1: unknown key `nonsense`"),
        "{error}"
    );
}

#[test]
fn wrong_types_name_value_and_expectation() {
    let error = message(file("train.batch_size = \"many\"\n"));
    assert_eq!(
        error,
        "my.toml:1: train.batch_size = \"many\": expected a whole number, 0 or more"
    );
    let error = message(sets(&["train.batch_size=-3"]));
    assert_eq!(
        error,
        "--set: train.batch_size = -3: expected a whole number, 0 or more"
    );
    let error = message(sets(&["views.source=lerned"]));
    assert_eq!(
        error,
        "--set: views.source = \"lerned\": expected one of learned, expert, noise, patch, temporal, \
         ends, none, or a list of them in brackets; did you mean `learned`?"
    );
    let error = message(sets(&["viewmaker.widths=[1, 2]"]));
    assert!(error.ends_with("expected a list of 3 in brackets, each a whole number, 0 or more"));
    let error = message(sets(&["viewmaker.clamp=yes"]));
    assert_eq!(
        error,
        "--set: viewmaker.clamp = yes: expected true or false"
    );
    let error = message(sets(&["encoder=tiny"]));
    assert_eq!(
        error,
        "--set: `encoder` is a section; write one of its keys, such as `encoder.name`"
    );
    let error = message(sets(&["train.epochs"]));
    assert_eq!(error, "--set: expected key=value, found `train.epochs`");
    let error = message(file("seed = 1\nseed = = 2\n"));
    assert!(error.starts_with("my.toml:2: "), "{error}");
}

#[test]
fn views_are_one_word_or_an_ordered_list() {
    use ViewSource::{Expert, Learned};
    let words = |config: Config| config.views.source.words().to_vec();
    for list in [
        "views.source=[\"expert\", \"learned\"]",
        "views.source=[expert,learned]",
    ] {
        assert_eq!(words(image(&[list]).unwrap()), [Expert, Learned]);
    }
    let text = "modality = \"image\"\nviews.source = [\"expert\", \"learned\"]\n";
    let config = resolve(&[file(text).unwrap()]).unwrap();
    assert_eq!(words(config.clone()), [Expert, Learned]);
    assert!(
        config
            .to_toml()
            .contains("source = [\"expert\", \"learned\"]\n")
    );
    let again = resolve(&[file(&config.to_toml()).unwrap()]).unwrap();
    assert_eq!(again, config);
    let one = image(&["views.source=[\"expert\"]"]).unwrap();
    assert_eq!(one, image(&["views.source=expert"]).unwrap());
    assert!(one.to_toml().contains("source = \"expert\"\n"));
}

#[test]
fn views_that_cannot_be_combined_say_what_would_work() {
    let why = |modality: &str, source: &str| {
        let modality = format!("modality={modality}");
        let source = format!("views.source={source}");
        let result = sets(&[&modality, &source]).and_then(|layer| resolve(&[layer]));
        message(result)
    };
    assert_eq!(
        why("image", "[expert,lerned]"),
        "--set: views.source = [\"expert\", \"lerned\"]: expected one of learned, expert, noise, \
         patch, temporal, ends, none, or a list of them in brackets; did you mean `learned`?"
    );
    assert_eq!(
        why("speech", "[learned,noise]"),
        "--set: views.source = [\"learned\", \"noise\"]: learned and noise spend the same budget: \
         keep one of them"
    );
    assert_eq!(
        why("sensor", "[expert,none]"),
        "--set: views.source = [\"expert\", \"none\"]: none stands alone: leave it out, or \
         everything else"
    );
    assert_eq!(
        why("image", "temporal"),
        "--set: views.source = temporal: images have no time; write patch for two parts of one \
         picture"
    );
    assert_eq!(
        why("sensor", "[learned,expert]"),
        "--set: views.source = [\"learned\", \"expert\"]: learned works on what the others made: \
         write it last"
    );
    assert!(why("image", "[]").contains("the list is empty"));
    let error = message(image(&["views.expert.image.hue=0.7"]));
    assert_eq!(
        error,
        "--set: views.expert.image.hue = 0.7: must lie between 0 and 0.5"
    );
}

#[test]
fn impossible_values_name_key_place_and_range() {
    let layer = file("modality = \"image\"\n[train]\nbatch_size = 1\n").unwrap();
    assert_eq!(
        message(resolve(&[layer])),
        "my.toml:3: train.batch_size = 1: expected 2 or more"
    );
    let cases = [
        (
            "train.epochs=0",
            "--set: train.epochs = 0: expected 1 or more",
        ),
        (
            "viewmaker.distortion_budget=0",
            "--set: viewmaker.distortion_budget = 0: expected a number greater than 0",
        ),
        (
            "viewmaker.num_res_blocks=6",
            "--set: viewmaker.num_res_blocks = 6: expected 5 or less",
        ),
        (
            "optim.encoder.momentum=1",
            "--set: optim.encoder.momentum = 1: expected 0 or more and less than 1",
        ),
        (
            "eval.linear_epochs=65537",
            "--set: eval.linear_epochs = 65537: expected 10000 or less",
        ),
        (
            "data.validation_fraction=2",
            "--set: data.validation_fraction = 2: must lie strictly between 0 and 1",
        ),
    ];
    for (assignment, expected) in cases {
        assert_eq!(message(image(&[assignment])), expected);
    }
    for bad in [
        "optim.encoder.lr=nan",
        "objective.temperature=inf",
        "eval.knn_k=0",
    ] {
        message(image(&[bad]));
    }
}

#[test]
fn two_names_of_the_modality_are_refused() {
    let base = file("modality = \"image\"\n").unwrap();
    let same = sets(&["modality=image"]).unwrap();
    assert!(resolve(&[base.clone(), same]).is_ok());
    let other = sets(&["modality=speech"]).unwrap();
    assert_eq!(
        message(resolve(&[base, other])),
        "my.toml:1: modality = image: --set says speech; settings are for one modality, name one"
    );
}

#[test]
fn settings_that_an_objective_has_otherwise_are_told() {
    let usual = image(&["objective.name=byol"]).unwrap();
    assert_eq!(usual.departures(), Vec::<String>::new());
    // A file that names every key, of the default objective.
    let whole = file(&preset("image").to_toml()).unwrap();
    let objective = sets(&["objective.name=byol"]).unwrap();
    assert_eq!(
        resolve(&[whole, objective]).unwrap().departures(),
        [
            "objective.momentum_schedule = \"constant\" (usually \"cosine\")",
            "encoder.projection = \"linear\" (usually \"mlp-norm\")",
        ]
    );
}

#[test]
fn the_modality_must_be_named() {
    let error = message(resolve(&[Layer::default()]));
    assert!(
        error.starts_with("the modality is missing: add --modality image|"),
        "{error}"
    );
}

#[test]
fn optional_keys_can_be_unset() {
    let config = image(&["train.steps=5", "train.steps=none"]).unwrap();
    assert_eq!(config.train.steps, None);
    assert_eq!(config.total_steps(3), 3 * config.train.epochs);
    message(sets(&["train.epochs=none"]));
}

#[test]
fn a_run_goes_on_with_the_same_settings_only() {
    let before = image(&[]).unwrap();
    let more = image(&["train.epochs=50", "threads=1", "eval.knn_k=3"]).unwrap();
    before.check_continues_as(&more).unwrap();
    let other = image(&["viewmaker.norm=l2"]).unwrap();
    let error = before.check_continues_as(&other).unwrap_err().to_string();
    assert!(
        error.starts_with("viewmaker.norm = \"l2\" differs from the run's \"l1\""),
        "{error}"
    );
}

#[test]
fn data_may_have_moved_but_not_come_or_gone() {
    let of = |set: &[&str]| image(set).unwrap();
    let (old, new) = (
        of(&["data.path=/old/pictures"]),
        of(&["data.path=/new/pictures"]),
    );
    old.check_continues_as(&new).unwrap();
    let said = old.remarks_on_continuing(&new);
    assert_eq!(said.len(), 1);
    let start = "going on with the data in \"/new/pictures\"; before: \"/old/pictures\". ";
    assert!(said[0].starts_with(start), "{said:?}");
    for (before, now) in [(&old, of(&[])), (&of(&[]), new)] {
        let error = before.check_continues_as(&now).unwrap_err().to_string();
        assert!(error.starts_with("data.path = "), "{error}");
    }
}

/// A run may move between machines, and says so: its bits are no longer those of an unmoved one.
#[test]
fn a_run_that_is_rounded_otherwise_says_so() {
    let before = image(&["device=cuda", "precision=bf16"]).unwrap();
    let threads = image(&["device=cuda", "precision=bf16", "threads=1"]).unwrap();
    assert!(before.remarks_on_continuing(&threads).is_empty());
    let now = image(&["device=cpu"]).unwrap();
    before.check_continues_as(&now).unwrap();
    let said = before.remarks_on_continuing(&now);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("going on with device = \"cpu\"; before: \"cuda\". "));
    assert!(said[1].starts_with("going on with precision = \"f32\"; before: \"bf16\". "));
    assert!(said[1].contains("may differ in rounding"), "{said:?}");
    // A comparison of runs is stricter: what was computed in another precision is another result.
    let other = image(&["device=cuda"]).unwrap();
    let error = before.check_same_results(&other).unwrap_err().to_string();
    assert!(error.starts_with("precision = \"f32\" differs"), "{error}");
}
