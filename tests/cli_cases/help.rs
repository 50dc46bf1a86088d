use super::support::{command, run};
use std::path::Path;

#[test]
fn help_teaches_by_example() {
    for name in [
        "train",
        "eval",
        "views",
        "summary",
        "config",
        "objectives",
        "ablate",
        "study",
        "bench",
    ] {
        let ran = run(Path::new("."), &[name, "--help"]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("Examples:"), "{name}");
        insta::assert_snapshot!(format!("help-{name}"), ran.out);
    }
    let ran = run(Path::new("."), &["--help"]);
    insta::assert_snapshot!("help", ran.out);
}

#[test]
fn nothing_typed_shows_help_and_fails() {
    let ran = run(Path::new("."), &[]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("Usage: viewmaker <COMMAND>"),
        "{}",
        ran.err
    );
}

#[test]
fn a_closed_output_is_no_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = command(Path::new("."), &["config", "--modality", "image"]);
    let child = command.stdout(writer).stderr(std::process::Stdio::piped());
    let output = child.output().expect("the program starts");
    assert!(output.status.success());
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
