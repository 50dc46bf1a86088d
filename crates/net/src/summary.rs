//! A network as a table: layers, shapes, parameters and cost.

use crate::graph::{Net, Node};
use std::fmt;
use viewmaker_ops::Dims;

/// One layer of a [`Summary`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Name of the layer.
    pub layer: String,
    /// Operation and its attributes.
    pub operation: String,
    /// Output shape for a batch of one.
    pub output: Dims,
    /// Trainable elements.
    pub params: usize,
    /// Floating-point operations of a forward pass for one example; a multiply-add is two.
    pub flops: u64,
}

/// Layers and totals of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Name of the network.
    pub name: String,
    /// Layers in execution order.
    pub rows: Vec<Row>,
    /// Trainable elements that take part in the computation.
    pub params: usize,
    /// Elements that are stored but not used.
    pub unused_params: usize,
    /// Floating-point operations of one forward pass for one example.
    pub flops: u64,
}

impl Summary {
    /// Summarises `net`.
    pub fn new(net: &Net) -> Self {
        let rows: Vec<Row> = net
            .nodes()
            .iter()
            .map(|node| Row {
                layer: node.name.clone(),
                operation: operation(net, node),
                output: net.dims(node.output, 1),
                params: net.params()[node.params.clone()]
                    .iter()
                    .map(|p| p.len())
                    .sum(),
                flops: node.op.flops(&net.input_dims(node, 1)),
            })
            .collect();
        let count = |used: bool| {
            let params = net.params().iter().filter(|p| p.used == used);
            params.map(|p| p.len()).sum()
        };
        Self {
            name: net.name().to_string(),
            params: count(true),
            unused_params: count(false),
            flops: rows.iter().map(|r| r.flops).sum(),
            rows,
        }
    }
}

/// Name and attributes of an operation, and how it is computed where there is a choice.
fn operation(net: &Net, node: &Node) -> String {
    let mut text = node.op.name().to_string();
    let algorithm = node.op.algorithm(&net.input_dims(node, 1));
    let algorithm = algorithm
        .map(|name| format!("({name})"))
        .unwrap_or_default();
    for part in [node.op.attributes(), algorithm] {
        if !part.is_empty() {
            text += " ";
            text += &part;
        }
    }
    text
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = self.rows.iter().map(|r| r.layer.len()).max().unwrap_or(5);
        let op = self.rows.iter().map(|r| r.operation.chars().count());
        let op = op.max().unwrap_or(9);
        writeln!(f, "{}", self.name)?;
        writeln!(
            f,
            "  {:layer$}  {:op$}  {:>14}  {:>10}  {:>9}",
            "layer", "operation", "output C×H×W", "parameters", "MFLOP"
        )?;
        for row in &self.rows {
            let shape = format!("{}×{}×{}", row.output.c, row.output.h, row.output.w);
            writeln!(
                f,
                "  {:layer$}  {:op$}  {:>14}  {:>10}  {:>9.3}",
                row.layer,
                row.operation,
                shape,
                row.params,
                row.flops as f64 / 1e6
            )?;
        }
        write!(
            f,
            "  total: {} parameters, {:.1} MFLOP forward per example",
            self.params,
            self.flops as f64 / 1e6
        )?;
        if self.unused_params > 0 {
            write!(f, " ({} more stored, not used)", self.unused_params)?;
        }
        writeln!(f)
    }
}
