//! Runs the runs of an ablation as child processes, several at a time.
//!
//! A child is this very program: `train`, with the settings of its run in a file. A crash of one
//! run cannot hurt another, and a run of an ablation is a run like any other.

use super::outcome::Outcome;
use super::plan::{Plan, RunSpec};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::pictures::resolve_data;
use crate::progress::{TaskReport, Ui};
use crate::run::{RunDir, RunSummary, write_atomically};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
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

/// Runs what has not finished yet, then its probes; returns what came out of every run of the plan
/// that has finished.
///
/// # Errors
/// When a folder inside `out` belongs to a run with other settings, a child cannot be started, a
/// run fails (after all others have been tried), or Ctrl-C is pressed (after the children have
/// saved).
pub fn execute(
    plan: &Plan,
    how: &Execution,
    ui: &mut dyn Ui,
    interrupt: &Interrupt,
) -> (Vec<Option<Outcome>>, Result<()>) {
    let result = pending(plan, how).and_then(|queue| work(plan, how, queue, ui, interrupt));
    let read = |run: &RunSpec| {
        let folder = how.out.join(&run.name);
        Outcome::read(&folder, &plan.probes).ok().flatten()
    };
    (plan.runs.iter().map(read).collect(), result)
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

/// Works through the queue with `how.jobs` workers.
fn work(
    plan: &Plan,
    how: &Execution,
    queue: VecDeque<usize>,
    ui: &mut dyn Ui,
    interrupt: &Interrupt,
) -> Result<()> {
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
        return Err(Error::Interrupted(message.to_owned()));
    }
    match failures.as_slice() {
        [] => Ok(()),
        failures => Err(Error::failure(format!(
            "{} of {total} runs failed:\n{}",
            failures.len(),
            failures.join("\n")
        ))),
    }
}

fn next(queue: &Mutex<VecDeque<usize>>, interrupt: &Interrupt) -> Option<usize> {
    if interrupt.is_raised() {
        return None;
    }
    lock(queue).pop_front()
}

/// A worker that panicked has left nothing half done in what these locks guard.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        if !matches!(state(run, &self.how.out).map_err(text)?, State::Finished) {
            self.child(number, self.command(run).map_err(text)?, events)?;
        }
        let folder = self.how.out.join(&run.name);
        let missing = Outcome::missing(&folder, &self.plan.probes).map_err(text)?;
        if missing.is_empty() || self.interrupt.is_raised() {
            return Ok(());
        }
        let _ = events.send(Event::Progress(number, missing.join(", ")));
        let mut command = Command::new(self.program);
        command.arg("eval").arg(&folder).args(["--json", "--probe"]);
        command.arg(missing.join(","));
        self.child(number, command, events)
    }

    /// Runs one child to its end.
    fn child(
        &self,
        number: usize,
        mut command: Command,
        events: &Sender<Event>,
    ) -> Result<(), String> {
        apart(&mut command);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start: {error}"))?;
        let output = child.stdout.take();
        self.children.add(number, &child);
        if self.interrupt.is_raised() {
            // Ctrl-C came between taking the run from the queue and adding it.
            self.children.interrupt_all();
        }
        let said = output.and_then(|output| follow(output, number, events));
        let status = child.wait().map_err(|error| error.to_string());
        self.children.remove(number);
        let status = status?;
        match status.success() {
            true => Ok(()),
            false => Err(said.unwrap_or_else(|| status.to_string())),
        }
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

/// Detaches a child from the terminal; what it says comes here.
fn apart(command: &mut Command) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    // Ctrl-C in a terminal reaches a whole process group. Children must hear of it exactly once,
    // from here: the second time would kill them.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
}

/// Passes on what a child says; returns the message of its last error.
fn follow(output: ChildStdout, number: usize, events: &Sender<Event>) -> Option<String> {
    let mut error = None;
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        match event["event"].as_str() {
            Some("error") => error = event["message"].as_str().map(str::to_owned),
            Some("step") => {
                let text = format!("step {}", event["step"]);
                let _ = events.send(Event::Progress(number, text));
            }
            _ => {}
        }
    }
    error
}

/// The children that are running, so that they can be told to stop.
struct Children {
    pids: Mutex<Vec<Option<u32>>>,
}

impl Children {
    fn new(runs: usize) -> Self {
        Self {
            pids: Mutex::new(vec![None; runs]),
        }
    }

    fn add(&self, number: usize, child: &Child) {
        lock(&self.pids)[number] = Some(child.id());
    }

    fn remove(&self, number: usize) {
        lock(&self.pids)[number] = None;
    }

    /// Sends every child one Ctrl-C, and none twice.
    fn interrupt_all(&self) {
        for pid in lock(&self.pids).iter_mut() {
            if let Some(pid) = pid.take() {
                interrupt_process(pid);
            }
        }
    }
}

#[cfg(unix)]
fn interrupt_process(pid: u32) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // A child that has just ended needs no signal.
        let _ = kill_process(pid, Signal::INT);
    }
}

/// Without signals, running children are left to finish.
#[cfg(not(unix))]
fn interrupt_process(_: u32) {}
