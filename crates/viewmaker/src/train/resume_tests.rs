//! Ends of epochs that a kill or Ctrl-C leaves undone.

use super::*;
use crate::config::{Schedule, preset};
use crate::eval::collapse::Collapse;
use crate::pictures;
use crate::progress::{EpochReport, SilentUi, TaskReport};
use perturbation::Perturbation;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Two epochs of six steps, with a checkpoint just before the end of each.
fn config() -> Config {
    let mut config = preset("image");
    config.data.options.embedded_train = 48;
    config.data.options.embedded_test = 24;
    config.data.options.image.size = 16;
    config.viewmaker.widths = [4, 6, 8];
    config.viewmaker.num_res_blocks = 1;
    config.train.batch_size = 8;
    config.train.epochs = 2;
    config.train.steps = None;
    config.train.knn_every = 1;
    config.train.checkpoint_every = 2;
    config.train.keep_checkpoints = 9;
    // The rates of a step must not depend on how many follow.
    config.optim.encoder.schedule = Schedule::Constant;
    config.optim.viewmaker.schedule = Schedule::Constant;
    config
}

/// What an evaluation or a record is preceded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// A part of the data has been embedded after this step.
    Embedded(u64),
    /// The epoch that ended with this step has been recorded, and not yet saved.
    Recorded(u64),
}

/// Calls a function at every moment.
struct Watch<F> {
    step: u64,
    at: F,
}

impl<F: FnMut(Moment)> Ui for Watch<F> {
    fn on_start(&mut self, plan: &TrainPlan) {
        self.step = plan.first_step;
    }
    fn on_step(&mut self, report: &StepReport) {
        self.step = report.step;
    }
    fn on_epoch(&mut self, report: &EpochReport) {
        (self.at)(Moment::Recorded(report.step));
    }
    fn on_task(&mut self, _: &TaskReport<'_>) {
        (self.at)(Moment::Embedded(self.step));
    }
    fn on_message(&mut self, _: &str) {}
    fn on_finish(&mut self) {}
}

/// Goes on with the run in `path`, or begins one.
fn go_on(path: &Path, config: &Config, interrupt: &Interrupt, at: impl FnMut(Moment)) -> Outcome {
    let splits = pictures::open_data(config).unwrap();
    let mut trainer = Trainer::new(config, &splits, &Machine::Cpu).unwrap();
    let mut run = match path.exists() {
        true => RunDir::open(path).unwrap().0,
        false => RunDir::create(Some(path), config).unwrap(),
    };
    if let Some(latest) = RunDir::latest_checkpoint(path).unwrap() {
        trainer.restore(&latest.checkpoint).unwrap();
        run.rewind_to(latest.checkpoint.step).unwrap();
    }
    let mut ui = Watch { step: 0, at };
    trainer.run(&mut run, &mut ui, interrupt).unwrap()
}

/// What a kill leaves: the files as they are now.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// Metrics, summary and best score of a run, and the files of its last checkpoint.
fn bits(run: &Path, step: u64) -> BTreeMap<PathBuf, String> {
    let checkpoint = PathBuf::from(format!("checkpoints/step-{step:08}"));
    let mut files: Vec<PathBuf> = fs::read_dir(run.join(&checkpoint))
        .unwrap()
        .map(|entry| checkpoint.join(entry.unwrap().file_name()))
        .collect();
    files.extend(["metrics.jsonl", "summary.json", "checkpoints/best.json"].map(PathBuf::from));
    let read = |file: PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(run.join(&file)).unwrap()).into_owned();
        // Everything but the time that it took.
        let lines = text.lines().filter(|line| !line.contains("\"seconds\""));
        (file, lines.collect::<Vec<_>>().join("\n"))
    };
    files.into_iter().map(read).collect()
}

#[track_caller]
fn assert_same(run: &Path, whole: &Path, step: u64, what: &str) {
    let (run, whole) = (bits(run, step), bits(whole, step));
    assert!(run.keys().eq(whole.keys()), "{what}: {:?}", run.keys());
    for (file, content) in run {
        assert!(
            content == whole[&file],
            "{what}: {} differs",
            file.display()
        );
    }
}

fn epochs(run: &Path) -> usize {
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    metrics.matches("\"event\":\"epoch\"").count()
}

#[test]
fn a_kill_at_the_end_of_an_epoch_loses_no_record() {
    let home = tempfile::tempdir().unwrap();
    let (whole, config) = (home.path().join("whole"), config());
    let mut kills = Vec::new();
    go_on(&whole, &config, &Interrupt::never(), |moment| {
        let place = home.path().join(format!("{moment:?}"));
        if moment != Moment::Embedded(0) && !place.exists() {
            copy(&whole, &place);
            kills.push((moment, place));
        }
    });
    assert_eq!(epochs(&whole), 2);
    let moments: Vec<Moment> = kills.iter().map(|(moment, _)| *moment).collect();
    let ends = [6, 12].map(|step| [Moment::Embedded(step), Moment::Recorded(step)]);
    assert_eq!(moments, ends.concat());
    for (moment, place) in kills {
        let outcome = go_on(&place, &config, &Interrupt::never(), |_| {});
        assert!(!outcome.interrupted);
        assert_same(&place, &whole, 12, &format!("{moment:?}"));
    }
}

#[test]
fn an_epoch_that_was_cut_short_is_ended_or_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str| home.path().join(name);
    let longer = config();
    let mut shorter = config();
    shorter.train.steps = Some(8);
    go_on(&place("longer"), &longer, &Interrupt::never(), |_| {});
    go_on(&place("shorter"), &shorter, &Interrupt::never(), |moment| {
        if moment == Moment::Embedded(8) && !place("again").exists() {
            copy(&place("shorter"), &place("again"));
            copy(&place("shorter"), &place("extended"));
        }
    });
    go_on(&place("again"), &shorter, &Interrupt::never(), |_| {});
    assert_same(&place("again"), &place("shorter"), 8, "again");
    go_on(&place("extended"), &longer, &Interrupt::never(), |_| {});
    assert_same(&place("extended"), &place("longer"), 12, "extended");
    // A run that has ended its part of an epoch counts only the steps that come after.
    go_on(&place("shorter"), &longer, &Interrupt::never(), |_| {});
    assert_eq!(epochs(&place("shorter")), 3);
}

#[test]
fn an_interrupted_evaluation_ends_at_once_and_is_made_again() {
    let home = tempfile::tempdir().unwrap();
    let (whole, config) = (home.path().join("whole"), config());
    go_on(&whole, &config, &Interrupt::never(), |_| {});
    for step in [0, 6, 12] {
        let place = home.path().join(format!("at-{step}"));
        let interrupt = Interrupt::never();
        let mut after = 0;
        let outcome = go_on(&place, &config, &interrupt, |moment| {
            after += u32::from(interrupt.is_raised());
            if moment == Moment::Embedded(step) {
                interrupt.raise();
            }
        });
        assert!(outcome.interrupted, "{step}");
        assert_eq!((outcome.summary.steps, after), (step, 0));
        assert!(!place.join("summary.json").exists());
        go_on(&place, &config, &Interrupt::never(), |_| {});
        assert_same(&place, &whole, 12, &format!("interrupted at {step}"));
    }
}

#[test]
fn collapse_is_measured_on_the_noise_of_the_steps_that_follow() {
    let config = config();
    let splits = pictures::open_data(&config).unwrap();
    let trainer = Trainer::new(&config, &splits, &Machine::Cpu).unwrap();
    let players = trainer.players();
    let statistics = players.encoder.weights().state.clone();
    let found = trainer.collapse(0, &Interrupt::never()).unwrap();
    assert_eq!(players.encoder.weights().state, statistics);
    let mut noise = SeededNoise { seed: config.seed };
    let mut views = [Vec::new(), Vec::new()];
    for (number, batch) in trainer.loader.epoch(1).enumerate() {
        let batch = batch.unwrap();
        for (view, rows) in views.iter_mut().enumerate() {
            let step_batch = StepBatch {
                examples: &batch.views(),
                first: 0,
                dims: batch.dims,
                indices: &batch.indices,
                labels: &[],
                sequences: &[],
                texts: &[],
                step: number as u64,
            };
            let x = step::example_tensor(step_batch, view);
            let request = step::request(step_batch, 0, view);
            let x = Perturbation::FULL.apply(players, x, &mut noise, request);
            rows.extend(players.embed(x, viewmaker_exec::Wanted::Params).as_vec());
        }
    }
    let expected = Collapse::measure([&views[0], &views[1]], players.embedding_dim());
    assert!(found.is_some());
    assert_eq!(found, expected);
    let raised = Interrupt::never();
    raised.raise();
    let error = trainer.collapse(0, &raised);
    assert!(matches!(error, Err(Error::Interrupted(_))));
    let error = trainer.knn(&mut SilentUi, &raised);
    assert!(matches!(error, Err(Error::Interrupted(_))));
}
