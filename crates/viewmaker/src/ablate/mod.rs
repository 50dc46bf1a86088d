//! Ablations: a grid over settings and seeds, every point a run, and a table of what came out.

mod child;
mod execute;
mod file;
mod names;
mod outcome;
mod plan;
mod table;

pub use execute::{Executed, Execution, execute};
pub use outcome::Outcome;
pub use plan::{Plan, Point, RunSpec};
pub use table::Table;
