//! How fast parts of training are on this machine, measured by the program itself.

mod clock;
pub mod conv;
pub mod loss;
mod statistics;
pub mod step;

pub use statistics::Spread;
