//! What the runner prints and writes.

use super::args::Args;
use super::duel::{Outcome, SideResult};
use super::items::Item;
use super::machine;
use serde_json::{Map, Value, json};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;
use viewmaker::error::{Error, Result};

/// The results of a run, and of earlier ones that the file holds.
pub struct Report {
    head: Value,
    items: Map<String, Value>,
}

impl Report {
    /// An empty report, or that of the file named by `--json` where its head is the same.
    ///
    /// # Errors
    /// When the file is no report, or of another machine, other versions or settings.
    pub fn open(args: &Args, their_versions: Option<Value>) -> Result<Self> {
        let mut versions = machine::versions();
        if let (Some(all), Some(Value::Object(theirs))) = (versions.as_object_mut(), their_versions)
        {
            all.extend(theirs);
        }
        let head = json!({
            "machine": machine::machine(),
            "versions": versions,
            "threads": args.threads,
        });
        let items = match args.json() {
            Some(path) if path.exists() => earlier(&path, &head)?,
            _ => Map::new(),
        };
        Ok(Self { head, items })
    }

    /// Adds an item and rewrites the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, item: &Item, outcome: &Outcome, args: &Args) -> Result<()> {
        let Some(path) = args.json() else {
            return Ok(());
        };
        let (amount, unit) = item.amount;
        let entry = json!({
            "work": item.work,
            "note": item.note,
            "amount": amount,
            "unit": unit,
            "threads": item.threads.unwrap_or(args.threads),
            "ours": outcome.ours,
            "theirs": outcome.theirs,
            "ratio": outcome.ratio,
            "ratios": outcome.ratios,
            "date": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            "commit": machine::commit(),
            "command": command(),
        });
        self.items.insert(item.name.clone(), entry);
        let mut whole = self.head.clone();
        whole["items"] = Value::Object(self.items.clone());
        let text = serde_json::to_string_pretty(&whole)
            .map_err(|error| Error::failure(format!("{}: {error}", path.display())))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, "create", e))?;
        }
        viewmaker::run::write_atomically(&path, (text + "\n").as_bytes())?;
        Ok(())
    }
}

/// The items of a file that belongs to the same head.
fn earlier(path: &Path, head: &Value) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
    let name = path.display();
    let whole: Value = serde_json::from_str(&text)
        .map_err(|e| Error::usage(format!("{name} is no report of this benchmark: {e}")))?;
    for key in ["machine", "versions", "threads"] {
        if whole[key] != head[key] {
            return Err(Error::usage(format!(
                "{name} was measured with {key} {}, this run has {}: name another file",
                whole[key], head[key]
            )));
        }
    }
    match whole["items"].as_object() {
        Some(items) => Ok(items.clone()),
        None => Err(Error::usage(format!(
            "{name} holds no items: name another file"
        ))),
    }
}

/// The command as it is typed, without the path of this executable and of the interpreter: neither
/// means anything on another machine.
fn command() -> String {
    let mut words = vec!["cargo bench --bench peer --".to_string()];
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--python" => drop(arguments.next()),
            _ if argument.starts_with("--python=") => {}
            _ => words.push(argument),
        }
    }
    words.join(" ")
}

const WIDTH: usize = 44;

/// Prints the heads of the columns.
///
/// # Errors
/// When the output is closed.
pub fn print_head(out: &mut dyn Write) -> Result<()> {
    print(
        out,
        &format!(
            "{:WIDTH$} {:>10} {:>10} {:>6} {:>13} {:>9} {:>9}  their variant",
            "item", "ours", "theirs", "ratio", "(min–max)", "our MiB", "their MiB"
        ),
    )
}

/// Prints one item.
///
/// # Errors
/// When the output is closed.
pub fn print_item(out: &mut dyn Write, name: &str, outcome: &Outcome) -> Result<()> {
    let seconds = |side: &Option<SideResult>| side.as_ref().map(|s| duration(s.seconds.median));
    let memory = |side: &Option<SideResult>| {
        let bytes = side.as_ref().and_then(|s| s.peak_bytes);
        bytes.map(|bytes| format!("{:.0}", bytes as f64 / f64::from(1 << 20)))
    };
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_string());
    let ratio = outcome.ratio;
    let variant = outcome.theirs.as_ref().map(|theirs| theirs.variant.clone());
    print(
        out,
        &format!(
            "{name:WIDTH$} {:>10} {:>10} {:>6} {:>13} {:>9} {:>9}  {}",
            shown(seconds(&outcome.ours)),
            shown(seconds(&outcome.theirs)),
            shown(ratio.map(|r| format!("{:.2}", r.median))),
            shown(ratio.map(|r| format!("({:.2}–{:.2})", r.min, r.max))),
            shown(memory(&outcome.ours)),
            shown(memory(&outcome.theirs)),
            shown(variant),
        ),
    )
}

/// Prints a line and passes it on at once.
///
/// # Errors
/// When the output is closed.
pub fn print(out: &mut dyn Write, line: &str) -> Result<()> {
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// A time with three digits that matter.
fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s => (s * 1e6, "µs"),
    };
    let digits = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}
