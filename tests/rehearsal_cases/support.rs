//! Running the program with the stand-in as its card.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a command did.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error, with what the stand-in says.
    pub err: String,
}

impl Ran {
    /// How many `what` (kernels, graphs or copies) the card executed.
    pub fn executed(&self, what: &str) -> u64 {
        let report = self.err.lines().find_map(|l| l.split_once("executed "));
        let report = report.unwrap_or_else(|| panic!("no card ended\n{}", self.err));
        let mut parts = report.1.split(", ").filter_map(|part| part.split_once(' '));
        let count = parts.find(|(_, name)| *name == what);
        count
            .unwrap_or_else(|| panic!("{what}: {}", self.err))
            .0
            .parse()
            .unwrap()
    }
}

/// Whether there is a stand-in; says why where there is none.
pub fn there_is_a_card() -> bool {
    let found = viewmaker_rehearsal::library_path();
    if let Err(reason) = &found {
        println!("skipped: {reason}");
    }
    found.is_ok()
}

/// Runs the program in the folder `home` on a card with these settings (`CARDS`, `MEMORY`, `CAPABILITY`).
pub fn run_on(home: &Path, card: &[(&str, &str)], args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viewmaker"));
    command.args(args).current_dir(home).stdin(Stdio::null());
    for (name, value) in card {
        command.env(format!("VIEWMAKER_REHEARSAL_{name}"), value);
    }
    let output = viewmaker_rehearsal::run(&mut command).unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program on the usual card, and expects success and a card that is left as it was found.
pub fn succeed(home: &Path, args: &[&str]) -> Ran {
    let ran = run_on(home, &[], args);
    assert_eq!(ran.code, 0, "{args:?}\n{}\n{}", ran.out, ran.err);
    assert!(!ran.err.contains("still alive"), "{args:?}\n{}", ran.err);
    ran
}

/// Networks and data that the emulator is through with in a second.
pub const SMALL: &[&str] = &[
    "--modality=image",
    "--set=encoder.name=tiny",
    "--set=encoder.embedding_dim=8",
    "--set=viewmaker.widths=[4, 4, 4]",
    "--set=viewmaker.num_res_blocks=1",
    "--set=train.batch_size=4",
];

/// A training run of so many steps into the folder `out`, with [`SMALL`] before its other arguments.
pub fn train<'a>(device: &'a str, steps: &'a str, out: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    const DATA: &[&str] = &[
        "--set=data.embedded_train=16",
        "--set=data.embedded_test=10",
        "--set=data.image.size=10",
        "--set=train.knn_every=0",
    ];
    let first = ["train", "--device", device, "--steps", steps, "--out", out];
    [&first, SMALL, DATA, rest].concat()
}
