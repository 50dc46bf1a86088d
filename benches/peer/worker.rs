//! Our worker: one JSON object a line in, one out.
//!
//! `{"prepare": work, "threads": n}` → `{"check": …, "variant": …}`, `{"run": k}` → `{"seconds": s}`
//! (of one iteration), `{"quit": true}` → `{"idle_bytes": …, "peak_bytes": …}`. The other side speaks
//! the same, and also `calibrate`.

use super::fixtures::Check;
use super::items::Work;
use super::{layer, loading, loss, machine, spectrogram, step};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::time::Instant;
use viewmaker::error::{Error, Result};

/// Work that is ready to be repeated.
pub trait Task {
    /// Computes once from numbers that both sides know.
    ///
    /// # Errors
    /// When the work cannot be done.
    fn check(&mut self) -> Result<Check>;

    /// Does the work once.
    ///
    /// # Errors
    /// When the work cannot be done.
    fn run(&mut self) -> Result<()>;
}

/// Answers requests until `quit` or the end of the input.
///
/// # Errors
/// When a request is no JSON or the output is closed. Failures of the work are answers.
pub fn serve(requests: &mut dyn BufRead, answers: &mut dyn Write) -> Result<()> {
    let mut worker = Worker {
        idle: machine::resident_bytes(),
        task: None,
    };
    for line in requests.lines() {
        let line = line.map_err(|error| Error::failure(format!("reading requests: {error}")))?;
        let request: Value = serde_json::from_str(&line)
            .map_err(|error| Error::failure(format!("request `{line}`: {error}")))?;
        let answer = worker
            .answer(&request)
            .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(answers, "{answer}")
            .and_then(|()| answers.flush())
            .map_err(Error::Output)?;
        if request.get("quit").is_some() {
            break;
        }
    }
    Ok(())
}

struct Worker {
    idle: Option<u64>,
    task: Option<Box<dyn Task>>,
}

impl Worker {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        if let Some(work) = request.get("prepare") {
            return self.prepare(work, request["threads"].as_u64().unwrap_or(1));
        }
        if let Some(count) = request.get("run").and_then(Value::as_u64) {
            return self.run(count.max(1));
        }
        if request.get("quit").is_some() {
            let peak = machine::peak_bytes();
            return Ok(json!({ "idle_bytes": self.idle, "peak_bytes": peak }));
        }
        Err(Error::failure(format!("unknown request {request}")))
    }

    fn prepare(&mut self, work: &Value, threads: u64) -> Result<Value> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads as usize)
            .build_global()
            .map_err(|error| Error::failure(format!("cannot start threads: {error}")))?;
        let work: Work = serde_json::from_value(work.clone())
            .map_err(|error| Error::failure(format!("work: {error}")))?;
        let mut task = task(&work)?;
        let check = task.check()?;
        self.task = Some(task);
        // What the preparation needed is not what the work needs.
        machine::forget_peak();
        Ok(json!({ "check": check, "variant": "" }))
    }

    fn run(&mut self, count: u64) -> Result<Value> {
        let task = self.task.as_mut();
        let task = task.ok_or_else(|| Error::failure("asked to run before `prepare`"))?;
        let start = Instant::now();
        for _ in 0..count {
            task.run()?;
        }
        let seconds = start.elapsed().as_secs_f64() / count as f64;
        Ok(json!({ "seconds": seconds }))
    }
}

fn task(work: &Work) -> Result<Box<dyn Task>> {
    Ok(match work {
        Work::Step(work) => Box::new(step::Step::new(work)?),
        Work::Layer(work) => Box::new(layer::LayerPass::new(work)?),
        Work::Loss(work) => Box::new(loss::Loss::new(work)?),
        Work::Spectrogram(work) => Box::new(spectrogram::Spectrograms::new(work)?),
        Work::Loading(work) => Box::new(loading::Loading::new(work)?),
    })
}
