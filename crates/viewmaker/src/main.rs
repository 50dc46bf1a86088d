//! The `viewmaker` command.
#![forbid(unsafe_code)]

fn main() {}
