//! Objectives as training uses them: configured, built, run, observed, saved and restored.

use dfdx::prelude::*;
use viewmaker_objective::{
    BatchInfo, Branches, Embeddings, Memory, Mining, Objective, ObjectiveConfig, Outputs, Seen,
    build, registry,
};
use viewmaker_ops::random::Philox;

const DIM: usize = 6;
const EXAMPLES: usize = 20;
const INDICES: [usize; 4] = [3, 19, 0, 7];
const LABELS: [Option<u32>; 4] = [Some(1), None, Some(1), Some(0)];

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn config(name: &str) -> ObjectiveConfig {
    ObjectiveConfig {
        name: name.to_owned(),
        negatives: 9,
        queue: 7,
        ways: 2,
        ..ObjectiveConfig::default()
    }
}

/// Every objective, and those whose options change what they keep.
fn configs() -> Vec<ObjectiveConfig> {
    let all = registry().iter().map(|entry| config(entry.name));
    let mining = [Mining::Random, Mining::Hardest, Mining::HardestQueue];
    let triplets = mining.map(|mining| ObjectiveConfig {
        mining,
        ..config("triplet")
    });
    let tasks = ObjectiveConfig {
        shots: 3,
        queries: 2,
        ..config("protonet")
    };
    all.chain(triplets).chain([tasks]).collect()
}

fn of(config: &ObjectiveConfig) -> Result<Box<dyn Objective>, Box<dyn std::error::Error>> {
    Ok(build(config, DIM, EXAMPLES, 1)?)
}

fn numbers(stream: u32) -> Vec<f32> {
    let draws = Philox::new(11, stream, 0);
    (0..INDICES.len() * DIM)
        .map(|i| draws.uniform(i as u64) - 0.4)
        .collect()
}

fn embeddings(views: usize, first: u32) -> Vec<Embeddings> {
    let device = Cpu::default();
    let view = |stream| device.tensor_from_vec(numbers(stream), (INDICES.len(), DIM));
    (0..views as u32)
        .map(|stream| view(first + stream).leaky_traced())
        .collect()
}

/// What an objective asks for.
fn outputs(objective: &dyn Objective) -> Outputs {
    let branches = objective.branches();
    let online = branches.online.len();
    let targets = embeddings(branches.target.len(), 200);
    Outputs {
        embeddings: embeddings(online, 0),
        predictions: embeddings(if branches.predictor { online } else { 0 }, 100),
        targets: targets.into_iter().map(|z| z.split_tape().0).collect(),
        texts: branches.text.then(|| embeddings(1, 300).remove(0)),
        log_scale: branches
            .text
            .then(|| Cpu::default().tensor(2.0).leaky_traced()),
    }
}

fn batch(pass: u32) -> BatchInfo<'static> {
    BatchInfo {
        indices: &INDICES,
        labels: &LABELS,
        sequences: &[],
        pass,
    }
}

fn loss(objective: &mut dyn Objective, pass: u32) -> Result<f32, Box<dyn std::error::Error>> {
    let outputs = outputs(objective);
    Ok(objective.loss(outputs, &batch(pass))?.as_vec()[0])
}

/// Lets an objective see a whole step.
fn step(objective: &mut dyn Objective, at: &BatchInfo<'_>) -> TestResult {
    let branches = objective.branches();
    let values = |count: usize, first| (0..count as u32).map(|i| numbers(first + i)).collect();
    let (embeddings, targets): (Vec<_>, Vec<_>) = (
        values(branches.online.len(), 0),
        values(branches.target.len(), 200),
    );
    let seen = Seen {
        embeddings: &embeddings,
        targets: &targets,
    };
    objective.observe(&seen, at)?;
    Ok(objective.finish_step(&seen, at)?)
}

#[test]
fn every_entry_builds_and_runs() -> TestResult {
    for entry in registry() {
        let mut objective = of(&config(entry.name))?;
        let branches = Branches {
            // Depends on the options.
            least_batch: entry.branches.least_batch,
            ..objective.branches()
        };
        assert_eq!((objective.name(), branches), (entry.name, entry.branches));
        let texts = [entry.title, entry.equation, entry.paper, entry.game];
        assert!(texts.iter().all(|text| !text.is_empty()));
        assert!(loss(&mut *objective, 0)?.is_finite());

        let wrong = Outputs::of(embeddings(branches.online.len() + 1, 0));
        assert!(objective.loss(wrong, &batch(0)).is_err(), "{}", entry.name);
        let foreign = [("weights".to_owned(), vec![1], vec![0.0])];
        assert!(objective.load_state(&foreign).is_err(), "{}", entry.name);
    }
    Ok(())
}

#[test]
fn entries_describe_what_the_objective_does() -> TestResult {
    let keys = serde_json::to_value(ObjectiveConfig::default())?;
    for config in configs() {
        let entry = registry().iter().find(|e| e.name == config.name);
        let entry = entry.ok_or("an entry")?;
        assert!(
            entry
                .options
                .iter()
                .all(|option| keys.get(option).is_some())
        );
        let objective = of(&config)?;
        let names: Vec<String> = objective.state().into_iter().map(|t| t.0).collect();
        match objective.branches().memory {
            Memory::None => assert!(names.is_empty(), "{names:?}"),
            Memory::Bank => assert_eq!(names, ["memory_bank"]),
            Memory::Queue => assert!(names.contains(&"queue".to_owned())),
        }
    }
    Ok(())
}

#[test]
fn every_option_that_an_entry_names_matters_and_no_other() -> TestResult {
    let changed = |name: &str| -> Vec<(&'static str, ObjectiveConfig)> {
        let base = config(name);
        vec![
            (
                "temperature",
                ObjectiveConfig {
                    temperature: 0.3,
                    ..base.clone()
                },
            ),
            (
                "sigma",
                ObjectiveConfig {
                    sigma: 3.0,
                    ..base.clone()
                },
            ),
            (
                "margin",
                ObjectiveConfig {
                    margin: 3.0,
                    ..base.clone()
                },
            ),
            (
                "mining",
                ObjectiveConfig {
                    mining: Mining::HardestQueue,
                    ..base.clone()
                },
            ),
            (
                "negatives",
                ObjectiveConfig {
                    negatives: 4,
                    ..base
                },
            ),
        ]
    };
    for entry in registry() {
        let plain = loss(&mut *of(&config(entry.name))?, 0)?;
        for (option, config) in changed(entry.name) {
            if entry.branches.text && option == "temperature" {
                continue; // Where the learned scale begins, which the loss is given.
            }
            let differs = loss(&mut *of(&config)?, 0)? != plain;
            let named = entry.options.contains(&option);
            assert_eq!(differs, named, "{} and {option}", entry.name);
        }
    }
    Ok(())
}

#[test]
fn fused_and_plain_objectives_agree() -> TestResult {
    for config in configs() {
        let of = |fused| {
            let config = ObjectiveConfig {
                fused,
                ..config.clone()
            };
            loss(&mut *of(&config)?, 0)
        };
        // Logits up to 1/0.07 are rounded to 24 bits.
        assert!((of(true)? - of(false)?).abs() < 1e-5, "{}", config.name);
    }
    Ok(())
}

#[test]
fn a_restored_objective_goes_on_as_if_nothing_had_happened() -> TestResult {
    for config in configs() {
        let mut first = of(&config)?;
        step(&mut *first, &batch(0))?;
        let mut second = of(&config)?;
        second.load_state(&first.state())?;
        assert_eq!(first.state(), second.state());
        step(&mut *first, &batch(1))?;
        step(&mut *second, &batch(1))?;
        let (want, got) = (loss(&mut *first, 2)?, loss(&mut *second, 2)?);
        assert_eq!(want.to_bits(), got.to_bits(), "{}", config.name);
    }
    Ok(())
}

#[test]
fn noise_depends_on_the_seed_and_the_pass_alone() -> TestResult {
    let random = ObjectiveConfig {
        mining: Mining::Random,
        ..config("triplet")
    };
    for config in [config("instdisc"), random] {
        let of = |seed, pass| -> Result<f32, Box<dyn std::error::Error>> {
            let mut objective = build(&config, DIM, EXAMPLES, 1)?;
            let state = objective.state();
            objective = build(&config, DIM, EXAMPLES, seed)?;
            objective.load_state(&state)?;
            loss(&mut *objective, pass)
        };
        assert_eq!(of(1, 5)?, of(1, 5)?);
        assert_ne!(of(1, 5)?, of(1, 6)?);
        assert_ne!(of(1, 5)?, of(2, 5)?);
    }
    Ok(())
}

#[test]
fn the_bank_moves_where_the_batch_is() -> TestResult {
    let mut objective = of(&config("instdisc"))?;
    let before = objective.memory_bank().ok_or("no bank")?.clone();
    step(&mut *objective, &batch(0))?;
    let after = objective.memory_bank().ok_or("no bank")?;
    for index in 0..EXAMPLES {
        let moved = before.row(index) != after.row(index);
        assert_eq!(moved, INDICES.contains(&index), "row {index}");
        let length: f32 = after.row(index).iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-6);
    }
    let outside = BatchInfo {
        indices: &[0, 1, 2, EXAMPLES],
        ..batch(0)
    };
    assert!(step(&mut *objective, &outside).is_err());
    assert!(
        objective
            .loss(Outputs::of(embeddings(1, 0)), &outside)
            .is_err()
    );
    let nothing = Seen {
        embeddings: &[],
        targets: &[],
    };
    assert!(objective.observe(&nothing, &batch(0)).is_err());
    Ok(())
}

#[test]
fn an_anchor_never_meets_its_own_example_in_the_queue() -> TestResult {
    let config = ObjectiveConfig {
        mining: Mining::HardestQueue,
        queue: INDICES.len(),
        margin: 0.0,
        ..config("triplet")
    };
    let mut objective = of(&config)?;
    step(&mut *objective, &batch(0))?;
    // Anchors, positives and queue are the same unit vectors e_1 … e_4: the nearest row of another
    // example is √2 away.
    let mut unit = vec![0.0; INDICES.len() * DIM];
    (0..INDICES.len()).for_each(|i| unit[i * DIM + i] = 1.0);
    let seen = [unit.clone(), unit.clone()];
    let seen = Seen {
        embeddings: &seen,
        targets: &[],
    };
    objective.finish_step(&seen, &batch(1))?;
    let z = || {
        let device = Cpu::default();
        let z = device.tensor_from_vec(unit.clone(), (INDICES.len(), DIM));
        z.leaky_traced()
    };
    let own = objective.loss(Outputs::of(vec![z(), z()]), &batch(2))?;
    assert_eq!(own.as_vec()[0], 0.0);
    // For four other examples the same rows are foreign, and their distance is 0.
    let foreign = BatchInfo {
        indices: &[1, 2, 4, 5],
        ..batch(2)
    };
    let mut strict = of(&ObjectiveConfig {
        margin: 0.5,
        ..config
    })?;
    strict.load_state(&objective.state())?;
    let loss = strict.loss(Outputs::of(vec![z(), z()]), &foreign)?;
    assert_eq!(loss.as_vec()[0], 0.5);
    Ok(())
}

#[test]
fn labels_make_positives() -> TestResult {
    let mut objective = of(&config("supcon"))?;
    let mut of = |labels: &[Option<u32>]| {
        let info = BatchInfo { labels, ..batch(0) };
        let outputs = Outputs::of(embeddings(2, 0));
        objective.loss(outputs, &info).map(|loss| loss.as_vec()[0])
    };
    // Without labels every example is a class of its own, and that is NT-Xent.
    let alone = of(&[None; 4])?;
    assert_eq!(of(&[Some(3), Some(0), Some(1), Some(2)])?, alone);
    let mut ntxent = build(&config("ntxent"), DIM, EXAMPLES, 1)?;
    let want = ntxent.loss(Outputs::of(embeddings(2, 0)), &batch(0))?;
    assert!((alone - want.as_vec()[0]).abs() < 1e-5);
    assert_ne!(of(&[Some(0), Some(0), None, None])?, alone);
    assert!(of(&[]).is_err());
    Ok(())
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let error = |config: ObjectiveConfig| {
        build(&config, DIM, EXAMPLES, 1)
            .map(drop)
            .expect_err("a mistake")
            .to_string()
    };
    let unknown = error(config("simclr"));
    assert!(
        registry().iter().all(|entry| unknown.contains(entry.name)),
        "{unknown}"
    );
    let default = ObjectiveConfig::default;
    let cold = error(ObjectiveConfig {
        temperature: 0.0,
        ..default()
    });
    assert_eq!(
        cold,
        "objective.temperature: expected 0.0001 to 10000.0, found 0.0"
    );
    let nan = error(ObjectiveConfig {
        temperature: f64::NAN,
        ..default()
    });
    assert!(nan.starts_with("objective.temperature"), "{nan}");
    let cases = [
        (
            "negatives",
            ObjectiveConfig {
                negatives: 0,
                ..default()
            },
        ),
        (
            "queue",
            ObjectiveConfig {
                queue: 0,
                ..default()
            },
        ),
        (
            "bank_momentum",
            ObjectiveConfig {
                bank_momentum: 1.5,
                ..default()
            },
        ),
        (
            "encoder_momentum",
            ObjectiveConfig {
                encoder_momentum: -0.1,
                ..default()
            },
        ),
        (
            "margin",
            ObjectiveConfig {
                margin: -1.0,
                ..default()
            },
        ),
        (
            "sigma",
            ObjectiveConfig {
                sigma: 0.0,
                ..default()
            },
        ),
        (
            "ways",
            ObjectiveConfig {
                ways: 1,
                ..default()
            },
        ),
        (
            "shots",
            ObjectiveConfig {
                shots: 33,
                ..default()
            },
        ),
        (
            "queries",
            ObjectiveConfig {
                queries: 0,
                ..default()
            },
        ),
        (
            "tasks",
            ObjectiveConfig {
                tasks: 0,
                ..default()
            },
        ),
        (
            "predictor_hidden",
            ObjectiveConfig {
                predictor_hidden: 0,
                ..default()
            },
        ),
    ];
    for (field, config) in cases {
        let text = error(config);
        assert!(text.starts_with(&format!("objective.{field}: ")), "{text}");
    }
    assert!(build(&default(), 0, EXAMPLES, 1).is_err());
    assert!(build(&default(), DIM, 0, 1).is_err());
}

#[test]
fn configurations_have_defaults_and_no_unknown_fields() -> TestResult {
    let config: ObjectiveConfig = serde_json::from_str(r#"{"name": "ntxent"}"#)?;
    let want = ObjectiveConfig {
        name: "ntxent".to_owned(),
        ..ObjectiveConfig::default()
    };
    assert_eq!(config, want);
    assert_eq!(config.temperature, 0.07);
    assert!(serde_json::from_str::<ObjectiveConfig>(r#"{"temprature": 0.1}"#).is_err());
    Ok(())
}
