use super::*;
use crate::config::preset;
use crate::progress::StepReport;
use crate::run::TensorMap;
use serde_json::json;
use std::collections::BTreeMap;
use viewmaker_exec::Tensor;

fn checkpoint(step: u64) -> Checkpoint {
    let weight = Tensor::new(vec![2], vec![step as f32; 2]).unwrap();
    let tensors = TensorMap::from([("w".to_owned(), weight)]);
    Checkpoint {
        step,
        epoch: 0,
        tensors: BTreeMap::from([("encoder".to_owned(), tensors)]),
        meta: json!({}),
    }
}

fn report(step: u64) -> StepReport {
    StepReport {
        step,
        epoch: 0,
        encoder_loss: 0.5,
        viewmaker_loss: None,
        mean_abs_delta: None,
    }
}

fn steps(run: &Path) -> Vec<u64> {
    Checkpoint::steps(&run.join(CHECKPOINTS)).unwrap()
}

fn config() -> Config {
    let mut config = preset("image");
    config.train.keep_checkpoints = 2;
    config
}

#[test]
fn keeps_the_last_and_the_best() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run");
    let mut run = RunDir::create(Some(&path), &config()).unwrap();
    for (step, score) in [
        (10, Some(0.5)),
        (20, Some(0.7)),
        (30, None),
        (40, Some(0.7)),
        (50, Some(0.6)),
    ] {
        run.save_checkpoint(&checkpoint(step), score).unwrap();
    }
    assert_eq!(steps(&path), [20, 40, 50]);
    let latest = RunDir::latest_checkpoint(&path).unwrap().unwrap();
    let (best, _) = RunDir::best_checkpoint(&path).unwrap().unwrap();
    assert_eq!((latest.checkpoint.step, best.step), (50, 20));
}

#[test]
fn goes_on_where_it_stopped() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run");
    let mut run = RunDir::create(Some(&path), &config()).unwrap();
    for step in 1..=4 {
        run.record_step(&report(step)).unwrap();
    }
    run.save_checkpoint(&checkpoint(2), None).unwrap();
    run.save_checkpoint(&checkpoint(4), None).unwrap();
    run.finish(&RunSummary::default()).unwrap();
    drop(run);
    let (mut run, again) = RunDir::open(&path).unwrap();
    assert_eq!(again, config());
    run.rewind_to(2).unwrap();
    assert_eq!(steps(&path), [2]);
    assert_eq!(RunSummary::read(&path).unwrap(), None);
    let metrics = fs::read_to_string(path.join(METRICS)).unwrap();
    let lines: Vec<&str> = metrics.lines().collect();
    assert_eq!(lines.len(), 2, "{metrics}");
    assert!(
        lines[1].starts_with("{\"event\":\"step\",\"step\":2,"),
        "{metrics}"
    );
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run");
    let mut run = RunDir::create(Some(&path), &config()).unwrap();
    run.save_checkpoint(&checkpoint(1), None).unwrap();
    let last = run.save_checkpoint(&checkpoint(2), None).unwrap();
    fs::write(last.join("encoder.safetensors"), b"short").unwrap();
    let found = RunDir::latest_checkpoint(&path).unwrap().unwrap();
    assert_eq!(found.checkpoint.step, 1);
    let [damaged] = &found.damaged[..] else {
        panic!("{:?}", found.damaged);
    };
    let message = damaged.error.to_string();
    assert!(
        damaged.step == 2 && message.contains("encoder.safetensors: length"),
        "{message}"
    );
    // What is set aside is neither found nor removed, and never overwritten.
    for expected in ["damaged-step-00000002", "damaged-step-00000002-2"] {
        let place = run.set_aside(2).unwrap();
        assert_eq!(place, path.join(CHECKPOINTS).join(expected));
        assert_eq!(steps(&path), [1]);
        let last = run.save_checkpoint(&checkpoint(2), None).unwrap();
        fs::write(last.join("encoder.safetensors"), b"short").unwrap();
    }
    run.rewind_to(1).unwrap();
    let kept = path.join(CHECKPOINTS).join("damaged-step-00000002-2");
    assert!(kept.join("encoder.safetensors").is_file());
    let last = run.save_checkpoint(&checkpoint(2), None).unwrap();
    fs::write(last.join("encoder.safetensors"), b"short").unwrap();
    fs::remove_dir_all(found.folder).unwrap();
    let message = RunDir::latest_checkpoint(&path).unwrap_err().to_string();
    assert!(message.contains("encoder.safetensors: length"), "{message}");
}

#[test]
fn other_peoples_folders_stay_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("thesis.tex"), "x").unwrap();
    let error = RunDir::create(Some(home.path()), &config()).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("not empty and holds no run"));
    let path = home.path().join("run");
    let mut run = RunDir::create(Some(&path), &config()).unwrap();
    run.record_step(&report(1)).unwrap();
    drop(run);
    let message = RunDir::create(Some(&path), &config())
        .unwrap_err()
        .to_string();
    assert!(message.contains("continue it with --resume"), "{message}");
    let file = home.path().join("file");
    fs::write(&file, "x").unwrap();
    let message = RunDir::create(Some(&file), &config())
        .unwrap_err()
        .to_string();
    assert!(message.contains("cannot use as a run folder"), "{message}");
}

#[test]
fn a_run_that_never_started_may_be_replaced() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run");
    drop(RunDir::create(Some(&path), &config()).unwrap());
    let mut other = config();
    other.seed = 5;
    drop(RunDir::create(Some(&path), &other).unwrap());
    assert_eq!(RunDir::read_config(&path).unwrap(), other);
}

#[test]
fn one_process_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run");
    let run = RunDir::create(Some(&path), &config()).unwrap();
    let message = RunDir::open(&path).unwrap_err().to_string();
    assert!(message.contains("another process"), "{message}");
    drop(run);
    RunDir::open(&path).unwrap();
}

#[test]
fn numbers_new_folders() {
    let home = tempfile::tempdir().unwrap();
    let first = next_free(home.path(), "image").unwrap();
    let second = next_free(home.path(), "image").unwrap();
    assert!(first.ends_with("image-001") && second.ends_with("image-002"));
}

#[test]
fn folders_without_a_run_say_what_is_missing() {
    let home = tempfile::tempdir().unwrap();
    let error = RunDir::open(home.path()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error
            .to_string()
            .ends_with("no run folder: it has no config.toml")
    );
    let message = RunDir::open(&home.path().join("x"))
        .unwrap_err()
        .to_string();
    assert!(message.ends_with("there is no such folder"), "{message}");
}
