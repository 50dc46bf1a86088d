//! The machine and the versions that figures belong to, and the memory of this process.

use super::steps::repository;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// Vector instructions that decide how fast either side can be.
const RELEVANT_FLAGS: &[&str] = &[
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "asimd",
    "sve",
];

/// Resident memory of this process now, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// The most memory this process had resident since its start or [`forget_peak`].
pub fn peak_bytes() -> Option<u64> {
    status("VmHWM:")
}

/// Lets the peak start again from what is resident now; where the system refuses, the peak of the
/// whole life remains.
pub fn forget_peak() {
    const RESET_PEAK: &str = "5";
    let _ = fs::write("/proc/self/clear_refs", RESET_PEAK);
}

/// A line of `/proc/self/status`, which counts in KiB.
fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Processor, memory and system.
pub fn machine() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.trim() == name);
        found.map(|(_, value)| value.trim().to_string())
    };
    let all = field("flags")
        .or_else(|| field("Features"))
        .unwrap_or_default();
    let all: Vec<&str> = all.split_whitespace().collect();
    let flags = RELEVANT_FLAGS.iter().filter(|flag| all.contains(flag));
    json!({
        "cpu": field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_string()),
        "cpu_family_model": [field("cpu family"), field("model")],
        "cores": std::thread::available_parallelism().map_or(0, |n| n.get()),
        "flags": flags.collect::<Vec<_>>(),
        "memory_bytes": memory_bytes(),
        "system": said("uname", &["-sr"]),
    })
}

fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Versions of our side.
pub fn versions() -> Value {
    json!({
        "viewmaker": env!("CARGO_PKG_VERSION"),
        "rustc": said("rustc", &["--version"]),
    })
}

/// The commit that is measured, with a `+` where files differ from it.
pub fn commit() -> Option<String> {
    let commit = said("git", &["rev-parse", "--short", "HEAD"])?;
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"]);
    let dirty = changed.is_some_and(|files| !files.is_empty());
    Some(if dirty { commit + "+" } else { commit })
}

/// What a program prints in the root of the working copy; `None` when it cannot be asked.
fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command
        .args(arguments)
        .current_dir(repository())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}
