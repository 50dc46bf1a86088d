//! Running the program.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a command did.
pub struct Ran {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The program in the folder `home`, without a terminal.
pub fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_viewmaker"));
    command.args(args).current_dir(home).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn run(home: &Path, args: &[&str]) -> Ran {
    let output = command(home, args).output().expect("the program starts");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("output is text"),
        err: String::from_utf8(output.stderr).expect("errors are text"),
    }
}

/// Runs the program and expects success.
pub fn succeed(home: &Path, args: &[&str]) -> Ran {
    let ran = run(home, args);
    assert_eq!(ran.code, 0, "{args:?}\n{}\n{}", ran.out, ran.err);
    ran
}

/// Settings that make a run small enough for a test.
pub const SMALL: &[&str] = &[
    "--set=data.embedded_train=48",
    "--set=data.embedded_test=24",
    "--set=data.image.size=16",
    "--set=viewmaker.widths=[4, 6, 8]",
    "--set=viewmaker.num_res_blocks=1",
    "--set=train.batch_size=8",
    "--set=train.knn_every=0",
];

/// A command with [`SMALL`] before its other arguments, so that these have the last word.
pub fn small<'a>(command: &[&'a str]) -> Vec<&'a str> {
    let (name, rest) = command.split_at(1);
    [name, SMALL, rest].concat()
}
