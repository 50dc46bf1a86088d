//! A worker process seen from the runner.

use super::args::Side;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use viewmaker::error::{Error, Result};

/// How the two kinds of workers are started.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The Python interpreter.
    pub python: PathBuf,
    /// `peer.py`.
    pub script: PathBuf,
}

/// What to do when Python or PyTorch is missing.
const ADVICE: &str = "install PyTorch (`python3 -m pip install torch torchvision torchaudio \
    soundfile librosa`), name an interpreter that has it with --python PATH or VIEWMAKER_PYTHON, \
    or measure our side alone with --only ours";

impl Programs {
    /// What `peer.py ARGUMENTS` answers.
    ///
    /// # Errors
    /// When Python cannot be started or says that something is missing.
    pub fn ask_python(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .python(1)
            .args(arguments)
            .output()
            .map_err(|error| self.no_python(&error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let answer = text
            .lines()
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        let answer: Value = answer.ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            Error::failure(format!("{} failed: {}", self.script.display(), tail(&said)))
        })?;
        match answer.get("error").and_then(Value::as_str) {
            Some(why) => Err(Error::failure(format!(
                "{}: {why}: {ADVICE}",
                self.python.display()
            ))),
            None => Ok(answer),
        }
    }

    /// Starts a worker that will compute on `threads` threads.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&self, side: Side, threads: u16) -> Result<Worker> {
        let (mut command, name) = match side {
            Side::Ours => {
                let own = std::env::current_exe()
                    .map_err(|error| Error::failure(format!("finding our own program: {error}")))?;
                let mut command = Command::new(own);
                command.arg("--worker");
                (command, "our worker")
            }
            Side::Theirs => (self.python(threads), "PyTorch's worker"),
        };
        let (log, stderr) = log().map_err(|error| Error::failure(format!("{name}: {error}")))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|error| match side {
                Side::Ours => Error::failure(format!("starting {name}: {error}")),
                Side::Theirs => self.no_python(&error),
            })?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Worker {
                name,
                child,
                stdin,
                answers: BufReader::new(stdout),
                log,
            }),
            _ => Err(Error::failure(format!("{name} has no pipes"))),
        }
    }

    fn python(&self, threads: u16) -> Command {
        let mut command = Command::new(&self.python);
        // -B: no compiled files beside the sources.
        command.arg("-B").arg(&self.script);
        // Read when the libraries load, before any request.
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, threads.to_string());
        }
        command
    }

    fn no_python(&self, error: &std::io::Error) -> Error {
        let python = self.python.display();
        Error::usage(format!("cannot start {python}: {error}: {ADVICE}"))
    }
}

/// A file that a worker complains to, and a second handle of it for the worker.
fn log() -> std::io::Result<(std::fs::File, Stdio)> {
    let log = tempfile::tempfile()?;
    let handle = log.try_clone()?;
    Ok((log, Stdio::from(handle)))
}

/// A running worker; it ends with this value.
#[derive(Debug)]
pub struct Worker {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: std::fs::File,
}

impl Worker {
    /// Sends a request and waits for the answer.
    ///
    /// # Errors
    /// When the worker answers with an error, or no longer answers.
    pub fn ask(&mut self, request: &Value) -> Result<Value> {
        let sent = writeln!(self.stdin, "{request}").and_then(|()| self.stdin.flush());
        let mut line = String::new();
        let answer = match sent.and_then(|()| self.answers.read_line(&mut line)) {
            Ok(1..) => serde_json::from_str::<Value>(&line).ok(),
            _ => None,
        };
        let Some(answer) = answer else {
            let complaint = self.complaint();
            let why = format!("{} gave no answer to {request}: {complaint}", self.name);
            return Err(Error::failure(why));
        };
        match answer.get("error").and_then(Value::as_str) {
            Some(why) => Err(Error::failure(format!("{}: {why}", self.name))),
            None => Ok(answer),
        }
    }

    /// Seconds of one iteration, from `count` of them.
    ///
    /// # Errors
    /// As [`Worker::ask`].
    pub fn run(&mut self, count: u64) -> Result<f64> {
        let answer = self.ask(&json!({ "run": count }))?;
        let seconds = answer.get("seconds").and_then(Value::as_f64);
        seconds.ok_or_else(|| Error::failure(format!("{} answered {answer} to run", self.name)))
    }

    /// The end of what the worker wrote to standard error.
    fn complaint(&mut self) -> String {
        let mut text = Vec::new();
        let read = self
            .log
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.log.read_to_end(&mut text));
        match read {
            Ok(1..) => tail(&String::from_utf8_lossy(&text)),
            _ => "it said nothing".to_string(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A worker that was told to quit is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a complaint.
fn tail(text: &str) -> String {
    const LINES: usize = 5;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}

/// Where `peer.py` lies.
pub fn script(repository: &Path) -> PathBuf {
    repository.join("benches").join("peer").join("peer.py")
}
