//! From the command line to the table.

use super::args::{Args, Side};
use super::duel;
use super::files::{Files, Provided};
use super::items::{Item, items};
use super::process::{Programs, script};
use super::report::{Report, print, print_head, print_item};
use super::steps::repository;
use std::io::Write;
use viewmaker::error::{Error, Result};

/// Lists or measures the items that are asked for.
///
/// # Errors
/// When nothing is asked for, a worker cannot be started, or an item fails.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<()> {
    let all = items()?;
    let wanted: Vec<&Item> = all.iter().filter(|item| args.wants(&item.name)).collect();
    // `cargo test --benches` starts benchmarks without any argument.
    if args.list || std::env::args().len() == 1 {
        return wanted.iter().try_for_each(|item| print(out, &item.name));
    }
    if wanted.is_empty() {
        let filter = args.filter.join(", ");
        return Err(Error::usage(format!(
            "no item is called anything like {filter}: --list prints their names"
        )));
    }
    let programs = Programs {
        python: args.python(),
        script: script(&repository()),
    };
    let versions = match args.measures(Side::Theirs) {
        true => Some(programs.ask_python(&["versions"])?),
        false => None,
    };
    let mut report = Report::open(args, versions)?;
    print_head(out)?;
    let mut files = Files::default();
    let mut failed = Vec::new();
    for item in wanted {
        let measured = match files.provide(&item.work, args, &programs) {
            Ok(Provided::Skipped(why)) => {
                print(out, &format!("{}: skipped: {why}", item.name))?;
                continue;
            }
            Ok(Provided::Ready(work)) => duel::measure(item, &work, &programs, args),
            Err(error) => Err(error),
        };
        match measured {
            Ok(outcome) => {
                print_item(out, &item.name, &outcome)?;
                report.add(item, &outcome, args)?;
            }
            // Hours of other items should not be lost to one.
            Err(error) => {
                print(out, &format!("{}: failed: {error}", item.name))?;
                failed.push(item.name.as_str());
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::failure(format!("failed: {}", failed.join(", ")))),
    }
}
