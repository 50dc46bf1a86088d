//! Pooling: averages and maxima over windows of positions.

mod average;
mod device;
mod maximum;
mod reference;

pub use average::{AvgPool, GlobalAvgPool};
pub use maximum::MaxPool;

use crate::conformance::{Case, InputKind};
use crate::{Dims, ShapeError};

/// The one input of a pooling operation `op`, not empty.
fn single_input(op: &'static str, inputs: &[Dims]) -> Result<Dims, ShapeError> {
    ShapeError::expect_inputs(op, inputs, 1)?;
    if inputs[0].is_empty() {
        return Err(ShapeError::new(op, inputs, "expected a non-empty input"));
    }
    Ok(inputs[0])
}

/// Shapes on which pooling is checked.
pub fn cases() -> Vec<Case> {
    let dims = Dims::new;
    let average = |kernel, input: Dims| {
        let name = format!("avg_pool {kernel} {input}");
        Case::new(name, AvgPool { kernel }, &[input])
    };
    let global =
        |input: Dims| Case::new(format!("global_avg_pool {input}"), GlobalAvgPool, &[input]);
    let maximum = |kernel, stride, padding, input: Dims| {
        let op = MaxPool {
            kernel,
            stride,
            padding,
        };
        let name = format!("max_pool {kernel} s{stride} p{padding} {input}");
        Case::new(name, op, &[input]).input(InputKind::Distinct)
    };
    vec![
        average(1, dims(2, 3, 4, 5)),
        average(2, dims(3, 5, 4, 7)),
        average(4, dims(2, 4, 4, 20)),
        global(dims(2, 1, 1, 9)),
        global(dims(3, 5, 7, 33)),
        maximum(2, 2, 0, dims(3, 6, 5, 4)),
        maximum(3, 2, 1, dims(2, 7, 8, 17)),
        maximum(3, 1, 1, dims(1, 4, 4, 1)),
        maximum(2, 3, 1, dims(2, 5, 7, 3)),
    ]
}
