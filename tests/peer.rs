//! The peer benchmark's list of work, and what it does without Python.

#[allow(dead_code)] // The measurements themselves need minutes and PyTorch.
#[path = "../benches/peer/main.rs"]
mod peer;

#[path = "peer_cases/agreement.rs"]
mod agreement;
#[path = "peer_cases/items.rs"]
mod items;
