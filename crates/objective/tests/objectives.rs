//! Objectives as training uses them: configured, built, run, observed, saved and restored.

use dfdx::prelude::*;
use viewmaker_objective::{BatchInfo, Embeddings, Objective, ObjectiveConfig, build, registry};
use viewmaker_ops::random::Philox;

const DIM: usize = 6;
const EXAMPLES: usize = 20;
const INDICES: [usize; 4] = [3, 19, 0, 7];

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn config(name: &str) -> ObjectiveConfig {
    ObjectiveConfig {
        name: name.to_owned(),
        negatives: 9,
        ..ObjectiveConfig::default()
    }
}

fn numbers(stream: u32) -> Vec<f32> {
    let draws = Philox::new(11, stream, 0);
    (0..INDICES.len() * DIM)
        .map(|i| draws.uniform(i as u64) - 0.4)
        .collect()
}

fn embeddings(views: usize) -> Vec<Embeddings> {
    let device = Cpu::default();
    let view = |stream| device.tensor_from_vec(numbers(stream), (INDICES.len(), DIM));
    (0..views as u32)
        .map(|stream| view(stream).leaky_traced())
        .collect()
}

fn batch(pass: u32) -> BatchInfo<'static> {
    BatchInfo {
        indices: &INDICES,
        pass,
    }
}

fn loss(objective: &mut dyn Objective, pass: u32) -> Result<f32, Box<dyn std::error::Error>> {
    let z = embeddings(objective.views());
    Ok(objective.loss(z, &batch(pass))?.as_vec()[0])
}

#[test]
fn every_entry_builds_and_runs() -> TestResult {
    for entry in registry() {
        let mut objective = build(&config(entry.name), DIM, EXAMPLES, 1)?;
        assert_eq!(
            (objective.name(), objective.views()),
            (entry.name, entry.views)
        );
        assert!(
            [entry.title, entry.equation, entry.paper]
                .iter()
                .all(|text| !text.is_empty())
        );
        assert!(loss(&mut *objective, 0)?.is_finite());

        let wrong = embeddings(3 - entry.views);
        assert!(objective.loss(wrong, &batch(0)).is_err(), "{}", entry.name);
        let foreign = [("weights".to_owned(), vec![1], vec![0.0])];
        assert!(objective.load_state(&foreign).is_err(), "{}", entry.name);
    }
    Ok(())
}

#[test]
fn fused_and_plain_objectives_agree() -> TestResult {
    for name in registry().iter().map(|entry| entry.name) {
        let of = |fused| {
            let config = ObjectiveConfig {
                fused,
                ..config(name)
            };
            loss(&mut *build(&config, DIM, EXAMPLES, 1)?, 0)
        };
        // Logits up to 1/0.07 are rounded to 24 bits.
        assert!((of(true)? - of(false)?).abs() < 5e-6, "{name}");
    }
    Ok(())
}

#[test]
fn a_restored_objective_goes_on_as_if_nothing_had_happened() -> TestResult {
    for entry in registry() {
        let observed: Vec<Vec<f32>> = (0..entry.views as u32).map(numbers).collect();
        let mut first = build(&config(entry.name), DIM, EXAMPLES, 1)?;
        first.observe(&observed, &batch(0))?;
        let mut second = build(&config(entry.name), DIM, EXAMPLES, 1)?;
        second.load_state(&first.state())?;
        assert_eq!(first.state(), second.state());
        let (want, got) = (loss(&mut *first, 1)?, loss(&mut *second, 1)?);
        assert_eq!(want.to_bits(), got.to_bits(), "{}", entry.name);
    }
    Ok(())
}

#[test]
fn noise_depends_on_the_seed_and_the_pass_alone() -> TestResult {
    let of = |seed, pass| -> Result<f32, Box<dyn std::error::Error>> {
        let mut objective = build(&config("instdisc"), DIM, EXAMPLES, 1)?;
        let state = objective.state();
        objective = build(&config("instdisc"), DIM, EXAMPLES, seed)?;
        objective.load_state(&state)?;
        loss(&mut *objective, pass)
    };
    assert_eq!(of(1, 5)?, of(1, 5)?);
    assert_ne!(of(1, 5)?, of(1, 6)?);
    assert_ne!(of(1, 5)?, of(2, 5)?);
    Ok(())
}

#[test]
fn the_bank_moves_where_the_batch_is() -> TestResult {
    let mut objective = build(&config("instdisc"), DIM, EXAMPLES, 1)?;
    let before = objective.memory_bank().ok_or("no bank")?.clone();
    objective.observe(&[numbers(0)], &batch(0))?;
    let after = objective.memory_bank().ok_or("no bank")?;
    for index in 0..EXAMPLES {
        let moved = before.row(index) != after.row(index);
        assert_eq!(moved, INDICES.contains(&index), "row {index}");
        let length: f32 = after.row(index).iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-6);
    }
    let outside = BatchInfo {
        indices: &[0, 1, 2, EXAMPLES],
        pass: 0,
    };
    assert!(objective.observe(&[numbers(0)], &outside).is_err());
    assert!(objective.loss(embeddings(1), &outside).is_err());
    assert!(objective.observe(&[], &batch(0)).is_err());
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
    let none = error(ObjectiveConfig {
        negatives: 0,
        ..default()
    });
    assert!(none.starts_with("objective.negatives"), "{none}");
    let momentum = error(ObjectiveConfig {
        bank_momentum: 1.5,
        ..default()
    });
    assert!(
        momentum.starts_with("objective.bank_momentum"),
        "{momentum}"
    );
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
