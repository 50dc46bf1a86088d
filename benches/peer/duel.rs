//! One item: calibration of their side, agreement of both, runs in turn.

use super::args::{Args, Side};
use super::fixtures::Check;
use super::items::{Item, Work};
use super::process::{Programs, Worker};
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;
use viewmaker::bench::Spread;
use viewmaker::error::{Error, Result};

/// Threads that OpenMP keeps spinning after its work must sleep before the other side runs.
const PAUSE: Duration = Duration::from_millis(300);

/// Two sides agree when no value differs by more than this part of the largest of its group.
const TOLERANCE: f64 = 2e-3;

/// Iterations of one run at most.
const MOST_ITERATIONS: f64 = 10_000.0;

/// What one side did.
#[derive(Clone, Debug, Serialize)]
pub struct SideResult {
    /// How it did it, where there are several ways.
    pub variant: String,
    /// Seconds per iteration of the variants that were tried, and why others were not.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub calibration: Value,
    /// Median, fastest and slowest run, in seconds per iteration.
    pub seconds: Spread,
    /// Every run, in order.
    pub runs: Vec<f64>,
    /// Iterations of a run.
    pub iterations: u64,
    /// Peak memory while it ran.
    pub peak_bytes: Option<u64>,
    /// Memory before the work was prepared: program and libraries.
    pub idle_bytes: Option<u64>,
}

/// What came out of an item.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Our side.
    pub ours: Option<SideResult>,
    /// Their side.
    pub theirs: Option<SideResult>,
    /// Their time ÷ our time, pair by pair.
    pub ratio: Option<Spread>,
    /// The ratio of every pair, in order.
    pub ratios: Vec<f64>,
}

/// Measures an item, whose work has its files in place.
///
/// # Errors
/// When a worker fails, or the two sides do not compute the same.
pub fn measure(item: &Item, work: &Work, programs: &Programs, args: &Args) -> Result<Outcome> {
    let setting = Setting {
        work,
        threads: item.threads.unwrap_or(args.threads),
        programs,
        args,
    };
    let mut ours = setting.contestant(Side::Ours)?;
    let mut theirs = setting.contestant(Side::Theirs)?;
    if let (Some(ours), Some(theirs)) = (&ours, &theirs) {
        compare(&ours.check, &theirs.check)?;
    }
    for _ in 0..args.pairs.unwrap_or(item.pairs) {
        for side in [&mut ours, &mut theirs].into_iter().flatten() {
            std::thread::sleep(PAUSE);
            let seconds = side.worker.run(side.iterations)?;
            side.runs.push(seconds);
        }
    }
    let [ours, theirs] = [ours, theirs].map(|side| side.map(Contestant::finish).transpose());
    let (ours, theirs) = (ours?, theirs?);
    let ratios: Vec<f64> = match (&ours, &theirs) {
        (Some(a), Some(b)) => a.runs.iter().zip(&b.runs).map(|(a, b)| b / a).collect(),
        _ => Vec::new(),
    };
    Ok(Outcome {
        ratio: Spread::of(&ratios),
        ours,
        theirs,
        ratios,
    })
}

/// A worker that is ready to run.
struct Contestant {
    worker: Worker,
    variant: String,
    calibration: Value,
    check: Check,
    iterations: u64,
    runs: Vec<f64>,
}

/// What both sides are told.
struct Setting<'a> {
    work: &'a Work,
    threads: u16,
    programs: &'a Programs,
    args: &'a Args,
}

impl Setting<'_> {
    /// Starts and prepares a side; `None` when it does not take part.
    fn contestant(&self, side: Side) -> Result<Option<Contestant>> {
        if !self.args.measures(side) {
            return Ok(None);
        }
        let (calibration, variant) = match side {
            Side::Ours => (Value::Null, String::new()),
            Side::Theirs => self.calibrate()?,
        };
        let mut worker = self.programs.start(side, self.threads)?;
        let ready = worker.ask(&json!({
            "prepare": self.work,
            "threads": self.threads,
            "variant": variant,
        }))?;
        let check = serde_json::from_value(ready["check"].clone())
            .map_err(|error| Error::failure(format!("the check of {side:?}: {error}")))?;
        // The first run also warms up caches and thread pools.
        worker.run(1)?;
        let once = worker.run(1)?;
        let iterations = (self.args.run_seconds / once.max(1e-9)).ceil();
        Ok(Some(Contestant {
            worker,
            variant,
            calibration,
            check,
            iterations: iterations.clamp(1.0, MOST_ITERATIONS) as u64,
            runs: Vec::new(),
        }))
    }

    /// Lets their side try its variants in a process of its own; returns what it found and the
    /// fastest.
    fn calibrate(&self) -> Result<(Value, String)> {
        let mut worker = self.programs.start(Side::Theirs, self.threads)?;
        let found = worker.ask(&json!({
            "calibrate": self.work,
            "threads": self.threads,
            "compile": !self.args.no_compile,
        }))?;
        worker.ask(&json!({ "quit": true }))?;
        match found["fastest"].as_str() {
            Some(fastest) => Ok((found.clone(), fastest.to_string())),
            None => Err(Error::failure(format!("no variant works there: {found}"))),
        }
    }
}

impl Contestant {
    fn finish(mut self) -> Result<SideResult> {
        let memory = self.worker.ask(&json!({ "quit": true }))?;
        let seconds = Spread::of(&self.runs);
        Ok(SideResult {
            seconds: seconds.ok_or_else(|| Error::failure("no runs were made"))?,
            variant: self.variant,
            calibration: self.calibration,
            runs: self.runs,
            iterations: self.iterations,
            peak_bytes: memory["peak_bytes"].as_u64(),
            idle_bytes: memory["idle_bytes"].as_u64(),
        })
    }
}

/// Both sides must have computed the same numbers.
///
/// # Errors
/// Names the first group of values that differ.
pub fn compare(ours: &Check, theirs: &Check) -> Result<()> {
    if !ours.keys().eq(theirs.keys()) {
        let names = |check: &Check| check.keys().cloned().collect::<Vec<_>>().join(", ");
        let (a, b) = (names(ours), names(theirs));
        return Err(Error::failure(format!("we checked {a}; they checked {b}")));
    }
    for (name, a) in ours {
        let b = &theirs[name];
        let scale = b.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        let differs = |(a, b): (&f64, &f64)| {
            (a - b)
                .abs()
                .partial_cmp(&(TOLERANCE * scale))
                .is_none_or(std::cmp::Ordering::is_gt)
        };
        if a.len() != b.len() || a.iter().zip(b).any(differs) {
            return Err(Error::failure(format!(
                "the two sides do not compute the same {name}: ours {a:?}, theirs {b:?}"
            )));
        }
    }
    Ok(())
}
