//! Every objective on every modality: its loss falls when the encoder learns and rises when the
//! viewmaker does; momentum encoder, queue and bank step by step against a plain reference; batches in
//! chunks; what is refused.

#[path = "objective_cases/chunks.rs"]
mod chunks;
#[path = "objective_cases/memory.rs"]
mod memory;
#[path = "objective_cases/refused.rs"]
mod refused;
#[path = "objective_cases/support.rs"]
mod support;
#[path = "objective_cases/trains.rs"]
mod trains;
