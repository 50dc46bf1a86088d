//! Which gradients a backward pass computes, in which order, and where they go; the same on every
//! machine.

use std::ops::Range;
use viewmaker_net::{Net, Node, Plan, PlannedNode, ValueId};

/// What a backward pass should produce beside the parameter gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Gradients of the parameters only.
    Params,
    /// Gradients of the inputs only: the parameters are frozen.
    Inputs,
    /// Both.
    Both,
}

impl Wanted {
    pub(crate) const fn params(self) -> bool {
        matches!(self, Self::Params | Self::Both)
    }

    pub(crate) const fn inputs(self) -> bool {
        matches!(self, Self::Inputs | Self::Both)
    }
}

/// How far a backward pass has come, by value.
pub(crate) struct Progress {
    /// Whether something before the value wants its gradient.
    pub(crate) needed: Vec<bool>,
    /// Whether a gradient has arrived at it.
    pub(crate) written: Vec<bool>,
}

impl Progress {
    /// At the beginning.
    pub(crate) fn new(net: &Net, plan: &Plan, wanted: Wanted) -> Self {
        Self {
            needed: needs_gradient(net, plan, wanted),
            written: vec![false; net.values().len()],
        }
    }

    /// True when a gradient has arrived at the node and something before it wants one.
    pub(crate) fn reaches(&self, node: &Node, wanted: Wanted) -> bool {
        let params = wanted.params() && !node.params.is_empty();
        let inputs = node.inputs.iter().any(|v| self.needed[v.index()]);
        self.written[node.output.index()] && (params || inputs)
    }
}

/// Where a node's contribution to the gradient of each input goes; `None` where none is needed.
pub(crate) fn gradient_targets(
    plan: &Plan,
    planned: &PlannedNode,
    progress: &Progress,
) -> Vec<Option<Range<usize>>> {
    let mut free = planned.accumulator.start;
    let target = |v: &ValueId| {
        let grad = plan.grads[v.index()].clone();
        if !progress.needed[v.index()] {
            return None;
        }
        if !progress.written[v.index()] {
            return Some(grad);
        }
        let start = free;
        free += grad.len();
        Some(start..free)
    };
    planned.node.inputs.iter().map(target).collect()
}

/// Where the backward pass finds a value that it reads.
pub(crate) fn seen_by_backward(plan: &Plan, value: ValueId) -> Range<usize> {
    let again = &plan.rebuilt[value.index()];
    match again.is_empty() {
        true => plan.values[value.index()].clone(),
        false => again.clone(),
    }
}

/// Which values lie on a path from something whose gradient is wanted.
fn needs_gradient(net: &Net, plan: &Plan, wanted: Wanted) -> Vec<bool> {
    let mut needs = vec![false; net.values().len()];
    for &input in net.inputs() {
        needs[input.index()] = wanted.inputs();
    }
    for PlannedNode { node, .. } in &plan.nodes {
        let from_params = wanted.params() && !node.params.is_empty();
        let from_inputs = node.inputs.iter().any(|v| needs[v.index()]);
        needs[node.output.index()] = from_params || from_inputs;
    }
    needs
}
