//! Runs the runs of an ablation as child processes, several at a time.
//!
//! A child is this very program: `train`, with the settings of its run in a file. A crash of one
//! run cannot hurt another, and a run of an ablation is a run like any other.

use super::child::{Children, lock};
use super::outcome::Outcome;
use super::plan::{Plan, RunSpec};
use crate::error::{Error, Result};
use crate::eval::Probe;
use crate::interrupt::Interrupt;
use crate::pictures::resolve_data;
use crate::progress::{TaskReport, Ui};
use crate::run::{RunDir, RunSummary, write_atomically};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// How an ablation is run.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Folder of the ablation; every run has a folder inside.
    pub out: PathBuf,
    /// Runs at a time, at least 1.
    pub jobs: usize,
}

/// What a worker has to tell.
enum Event {
    /// A run goes on: its number, and how far it is.
    Progress(usize, String),
    /// A run has ended; with what it said when it failed.
    Ended(usize, Result<(), String>),
}

/// How far a run has come.
enum State {
    New,
    Started,
    Finished,
}

const TASK: &str = "runs";

/// What came out of every run of the plan, `None` where it has not finished, and why not all have.
pub type Executed = (Vec<Option<Outcome>>, Result<()>);

/// Runs what has not finished yet, then its probes. The inner error is that a run failed (after all
/// others have been tried) or that Ctrl-C was pressed (after the children have saved).
///
/// # Errors
/// Before anything is run or written: when a folder inside `out` belongs to a run with other
/// settings or is damaged. When this program cannot be found to be started.
pub fn execute(
    plan: &Plan,
    how: &Execution,
    ui: &mut dyn Ui,
    interrupt: &Interrupt,
) -> Result<Executed> {
    let queue = pending(plan, how)?;
    let mut result = work(plan, how, queue, ui, interrupt)?;
    let mut outcomes = Vec::new();
    for run in &plan.runs {
        outcomes.push(outcome(plan, run, how).unwrap_or_else(|error| {
            let before = std::mem::replace(&mut result, Ok(()));
            result = before.and(Err(error));
            None
        }));
    }
    Ok((outcomes, result))
}

/// What came out of a run with the settings of the plan; `None` while it has not finished.
fn outcome(plan: &Plan, run: &RunSpec, how: &Execution) -> Result<Option<Outcome>> {
    match state(run, &how.out)? {
        State::Finished => Outcome::read(&how.out.join(&run.name), &plan.probes),
        State::New | State::Started => Ok(None),
    }
}

/// The runs that have not finished.
fn pending(plan: &Plan, how: &Execution) -> Result<VecDeque<usize>> {
    let mut queue = VecDeque::new();
    for (number, run) in plan.runs.iter().enumerate() {
        let trained = matches!(state(run, &how.out)?, State::Finished);
        if !trained || !Outcome::missing(&how.out.join(&run.name), &plan.probes)?.is_empty() {
            queue.push_back(number);
        }
    }
    Ok(queue)
}

/// How far a run has come.
///
/// # Errors
/// When its folder belongs to a run with other settings, or is damaged.
fn state(run: &RunSpec, out: &Path) -> Result<State> {
    let folder = out.join(&run.name);
    if !RunDir::config_path(&folder).is_file() {
        return Ok(State::New);
    }
    let before = RunDir::read_config(&folder)?;
    // The run's own file has what its data decided (the rate of recordings, say).
    let mut now = run.config.clone();
    resolve_data(&mut now)?;
    before.check_same_results(&now).map_err(|error| {
        let path = folder.display();
        Error::usage(format!(
            "{path}: {error}; choose another --out, or remove that folder"
        ))
    })?;
    Ok(match RunSummary::read(&folder)? {
        Some(_) => State::Finished,
        None => State::Started,
    })
}

/// Works through the queue with `how.jobs` workers; the inner error is what came of it.
fn work(
    plan: &Plan,
    how: &Execution,
    queue: VecDeque<usize>,
    ui: &mut dyn Ui,
    interrupt: &Interrupt,
) -> Result<Result<()>> {
    let program = std::env::current_exe()
        .map_err(|error| Error::failure(format!("cannot find this program: {error}")))?;
    let total = plan.runs.len();
    ui.on_message(&format!("{total} runs, {} of them to do", queue.len()));
    let children = Children::new(plan.runs.len());
    let workers = how.jobs.clamp(1, queue.len().max(1));
    let done = total - queue.len();
    let queue = Mutex::new(queue);
    let (sender, events) = mpsc::channel();
    let failures = std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, queue, children, program) = (sender.clone(), &queue, &children, &program);
            scope.spawn(move || {
                let shared = Shared {
                    plan,
                    how,
                    program,
                    children,
                    interrupt,
                };
                while let Some(number) = next(queue, interrupt) {
                    let result = shared.run_one(number, &sender);
                    // The listener only goes away when all workers have ended.
                    let _ = sender.send(Event::Ended(number, result));
                }
            });
        }
        drop(sender);
        listen(plan, done, &events, ui, interrupt, &children)
    });
    if interrupt.is_raised() {
        let message = "finished runs are kept; the same command goes on with the others";
        return Ok(Err(Error::Interrupted(message.to_owned())));
    }
    Ok(match failures.as_slice() {
        [] => Ok(()),
        failures => Err(Error::failure(format!(
            "{} of {total} runs failed:\n{}",
            failures.len(),
            failures.join("\n")
        ))),
    })
}

fn next(queue: &Mutex<VecDeque<usize>>, interrupt: &Interrupt) -> Option<usize> {
    if interrupt.is_raised() {
        return None;
    }
    lock(queue).pop_front()
}

/// Shows what the workers say until they have all ended; returns what failed.
fn listen(
    plan: &Plan,
    mut done: usize,
    events: &mpsc::Receiver<Event>,
    ui: &mut dyn Ui,
    interrupt: &Interrupt,
    children: &Children,
) -> Vec<String> {
    let total = plan.runs.len() as u64;
    let mut failures = Vec::new();
    let mut told = false;
    loop {
        if interrupt.is_raised() && !told {
            told = true;
            ui.on_message("stopping: the runs save and end");
            children.interrupt_all();
        }
        match events.recv_timeout(Duration::from_millis(100)) {
            Ok(Event::Progress(number, text)) => {
                let detail = format!("{}: {text}", plan.runs[number].name);
                let (done, detail) = (done as u64, detail.as_str());
                // The last unit is the end of the last run, not a step of it.
                ui.on_task(&TaskReport {
                    task: TASK,
                    done,
                    total,
                    detail,
                });
            }
            Ok(Event::Ended(number, Ok(()))) => {
                done += 1;
                ui.on_message(&format!("finished: {}", plan.runs[number].name));
            }
            Ok(Event::Ended(number, Err(why))) => {
                let line = format!("{}: {why}", plan.runs[number].name);
                if !interrupt.is_raised() {
                    ui.on_message(&format!("failed: {line}"));
                }
                failures.push(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    ui.on_task(&TaskReport {
        task: TASK,
        done: total,
        total,
        detail: "",
    });
    ui.on_finish();
    failures
}

/// The file for what the children of a run write to standard error. (It lies beside the folder,
/// which must be empty when the run begins.)
fn log(run: &RunSpec, out: &Path) -> PathBuf {
    out.join(format!("{}.stderr", run.name))
}

/// Removes what an earlier attempt left.
fn forget(log: &Path) -> Result<()> {
    match std::fs::remove_file(log) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(log, "remove", error)),
        _ => Ok(()),
    }
}

/// What all workers share.
struct Shared<'a> {
    plan: &'a Plan,
    how: &'a Execution,
    program: &'a Path,
    children: &'a Children,
    interrupt: &'a Interrupt,
}

impl Shared<'_> {
    /// Trains one run to its end, and then measures what probes have not.
    fn run_one(&self, number: usize, events: &Sender<Event>) -> Result<(), String> {
        let run = &self.plan.runs[number];
        let text = |error: Error| error.to_string();
        forget(&log(run, &self.how.out)).map_err(text)?;
        if !matches!(state(run, &self.how.out).map_err(text)?, State::Finished) {
            self.child(number, self.command(run).map_err(text)?, events)?;
        }
        let folder = self.how.out.join(&run.name);
        let missing = Outcome::missing(&folder, &self.plan.probes).map_err(text)?;
        if missing.is_empty() || self.interrupt.is_raised() {
            return Ok(());
        }
        let missing: Vec<&str> = missing.into_iter().map(Probe::name).collect();
        let _ = events.send(Event::Progress(number, missing.join(", ")));
        let mut command = Command::new(self.program);
        command.arg("eval").arg(&folder).args(["--json", "--probe"]);
        command.arg(missing.join(","));
        self.child(number, command, events)
    }

    /// Runs one child to its end.
    fn child(&self, number: usize, command: Command, events: &Sender<Event>) -> Result<(), String> {
        let log = log(&self.plan.runs[number], &self.how.out);
        self.children
            .run(number, command, &log, self.interrupt, |text| {
                let _ = events.send(Event::Progress(number, text));
            })
    }

    fn command(&self, run: &RunSpec) -> Result<Command> {
        let folder = self.how.out.join(&run.name);
        let mut command = Command::new(self.program);
        command.args(["train", "--json"]);
        match state(run, &self.how.out)? {
            State::Started | State::Finished => {
                command.arg("--resume").arg(&folder);
            }
            State::New => {
                let settings = self.how.out.join(format!("{}.toml", run.name));
                write_atomically(&settings, run.config.to_toml().as_bytes())?;
                command
                    .arg("--config")
                    .arg(&settings)
                    .arg("--out")
                    .arg(&folder);
            }
        }
        if run.config.threads == 0 {
            let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
            let share = (cores / self.how.jobs.max(1)).max(1);
            command.arg("--threads").arg(share.to_string());
        }
        Ok(command)
    }
}
