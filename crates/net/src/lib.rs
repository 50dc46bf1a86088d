//! Networks as data.
//!
//! A [`Net`] is a graph of primitive operations with named parameters. It is built once by the
//! readable code of [`zoo`], and then the same graph is executed, summarised, exported and checked
//! for shape errors. A [`Plan`] fixes where every activation, gradient and scratch buffer of one
//! batch size lies in a single allocation. Nothing in this crate computes.
#![forbid(unsafe_code)]

mod builder;
mod fuse;
mod graph;
mod plan;
mod rebuild;
mod summary;

pub mod zoo;

pub use builder::NetBuilder;
pub use graph::{Net, NetError, Node, Param, StateEntry, Value, ValueId};
pub use plan::{Keep, Plan, PlannedNode, Purpose};
pub use summary::{Row, Summary};
