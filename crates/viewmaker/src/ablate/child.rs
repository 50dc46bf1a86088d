//! The children of an ablation: started apart from the terminal, listened to, stopped together.

use crate::interrupt::Interrupt;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes and lines of standard error that an error message quotes, at most.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// The children that are running, so that they can be told to stop.
pub(super) struct Children {
    pids: Mutex<Vec<Option<u32>>>,
}

impl Children {
    /// Room for the children of `runs` runs, one at a time for each.
    pub(super) fn new(runs: usize) -> Self {
        Self {
            pids: Mutex::new(vec![None; runs]),
        }
    }

    /// Runs a child for run `number` to its end; `on_step` hears of its steps. What it writes to
    /// standard error is added to the file `log`, which goes when nothing was written.
    ///
    /// # Errors
    /// When it cannot be started or ends without success: the message of its last error (or how it
    /// ended), and the end of what it wrote to standard error.
    pub(super) fn run(
        &self,
        number: usize,
        mut command: Command,
        log: &Path,
        interrupt: &Interrupt,
        on_step: impl FnMut(String),
    ) -> Result<(), String> {
        let cannot = |what, error: io::Error| format!("cannot {what}: {error}");
        let open = OpenOptions::new().create(true).append(true).open(log);
        let stderr = open.map_err(|error| format!("{}: cannot create: {error}", log.display()))?;
        let begin = stderr.metadata().map_or(0, |data| data.len());
        apart(&mut command, stderr);
        let mut child = command.spawn().map_err(|error| cannot("start", error))?;
        let output = child.stdout.take();
        self.add(number, &child);
        if interrupt.is_raised() {
            // Ctrl-C came between taking the run from the queue and adding it.
            self.interrupt_all();
        }
        let said = output.and_then(|output| follow(output, on_step));
        let status = child.wait().map_err(|error| cannot("wait for it", error));
        self.remove(number);
        let status = status?;
        let tail = tail(log, begin);
        if fs::metadata(log).is_ok_and(|data| data.len() == 0) {
            let _ = fs::remove_file(log);
        }
        if status.success() {
            return Ok(());
        }
        let said = said.unwrap_or_else(|| status.to_string());
        Err(match tail.is_empty() {
            true => said,
            false => format!("{said}\n{tail}\n    (from {})", log.display()),
        })
    }

    fn add(&self, number: usize, child: &Child) {
        lock(&self.pids)[number] = Some(child.id());
    }

    fn remove(&self, number: usize) {
        lock(&self.pids)[number] = None;
    }

    /// Sends every child one Ctrl-C, and none twice.
    pub(super) fn interrupt_all(&self) {
        for pid in lock(&self.pids).iter_mut() {
            if let Some(pid) = pid.take() {
                interrupt_process(pid);
            }
        }
    }
}

/// A worker that panicked has left nothing half done in what these locks guard.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Detaches a child from the terminal; what it says comes here, what it complains about goes to a
/// file.
fn apart(command: &mut Command, stderr: File) {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(stderr);
    // Ctrl-C in a terminal reaches a whole process group. Children must hear of it exactly once,
    // from here: the second time would kill them.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
}

/// Passes on the steps of a child; returns the message of its last error. Reads to the end,
/// whatever comes: a child whose output is closed dies.
fn follow(output: impl Read, mut on_step: impl FnMut(String)) -> Option<String> {
    let mut output = BufReader::new(output);
    let mut error = None;
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let event = serde_json::from_str::<Value>(&String::from_utf8_lossy(&line));
        line.clear();
        let Ok(event) = event else { continue };
        match event["event"].as_str() {
            Some("error") => error = event["message"].as_str().map(str::to_owned),
            Some("step") => on_step(format!("step {}", event["step"])),
            _ => {}
        }
    }
    error
}

/// The last lines of a file behind the byte `begin`, indented; empty where there are none.
fn tail(path: &Path, begin: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(end.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    let last = last.iter().map(|line| format!("    {line}"));
    last.collect::<Vec<_>>().join("\n")
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// What came of a shell script, the steps that were heard of, and what is left in the log.
    fn run(script: &str) -> (Result<(), String>, Vec<String>, Option<String>) {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("a.stderr");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let mut steps = Vec::new();
        let children = Children::new(1);
        let result = children.run(0, command, &log, &Interrupt::never(), |step| {
            steps.push(step);
        });
        let left = fs::read(&log).ok();
        let left = left.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (result, steps, left)
    }

    #[test]
    fn a_crash_leaves_its_reason() {
        let (result, _, left) = run("echo first >&2; printf 'at \\377 last' >&2; kill -ABRT $$");
        let error = result.unwrap_err();
        assert!(error.starts_with("signal: 6"), "{error}");
        assert!(
            error.contains("\n    first\n    at \u{fffd} last\n"),
            "{error}"
        );
        assert!(error.contains("a.stderr"), "{error}");
        assert_eq!(left.as_deref(), Some("first\nat \u{fffd} last"));
        // Only the end of much.
        let (result, ..) = run("seq 1 5000 >&2; exit 3");
        let error = result.unwrap_err();
        assert!(
            error.contains("\n    4989\n") && error.contains("\n    5000\n"),
            "{error}"
        );
        assert!(!error.contains("\n    4988\n"), "{error}");
    }

    #[test]
    fn a_child_that_has_nothing_to_complain_about_leaves_no_file() {
        let (result, _, left) = run("exit 0");
        assert_eq!((result, left), (Ok(()), None));
    }

    /// More than a pipe holds follows the line that is no text: a closed pipe would kill the child.
    #[test]
    fn lines_that_are_no_text_do_not_end_the_conversation() {
        let script = r#"
            printf 'no text: \377\n'
            printf '{"event": "step", "step": 7}\n'
            seq 1 100000
            printf '{"event": "error", "message": "it said"}\n'
            exit 1"#;
        let (result, steps, _) = run(script);
        assert_eq!(result, Err("it said".to_owned()));
        assert_eq!(steps, ["step 7"]);
    }
}
