//! The program on a card: the stand-in of `crates/rehearsal` in the place of NVIDIA's libraries.

#[path = "rehearsal_cases/bench.rs"]
mod bench;
#[path = "rehearsal_cases/cards.rs"]
mod cards;
#[path = "rehearsal_cases/support.rs"]
mod support;
#[path = "rehearsal_cases/train.rs"]
mod train;
