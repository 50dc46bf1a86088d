//! Chains of operations that are computed as one.
//!
//! A normalisation takes in the sum and the rectifier behind it where nobody else reads what lies
//! between them. The chain runs where its last operation ran, so that all inputs are there; its
//! node carries the name, parameters and state of the first one. The network itself, with its names,
//! its summary and its checkpoints, knows nothing of it.

use crate::graph::{Net, Node, ValueId};

/// The nodes of `net` in execution order with every such chain as one node. Values inside a chain
/// are produced by no node of the result.
pub(crate) fn fused(net: &Net) -> Vec<Node> {
    let mut nodes = net.nodes.clone();
    let mut first = 0;
    while first < nodes.len() {
        match absorb(net, &nodes, first) {
            Some((next, node)) => {
                nodes[next] = node;
                nodes.remove(first);
            }
            None => first += 1,
        }
    }
    nodes
}

/// The node at `first` together with the only one that reads it, and the position of that one.
fn absorb(net: &Net, nodes: &[Node], first: usize) -> Option<(usize, Node)> {
    let node = &nodes[first];
    let next = only_reader(net, nodes, node.output)?;
    let reader = &nodes[next];
    let op = node.op.fuse(reader.op.follower()?)?;
    let others = reader.inputs.iter().filter(|&&v| v != node.output);
    // An operation must not read one value twice: its gradient would arrive twice at once.
    if others.clone().any(|v| node.inputs.contains(v)) {
        return None;
    }
    let fused = Node {
        name: node.name.clone(),
        op,
        inputs: node.inputs.iter().chain(others).copied().collect(),
        output: reader.output,
        params: node.params.clone(),
        state: node.state.clone(),
    };
    Some((next, fused))
}

/// The node that reads `value`, if there is exactly one reader and no one else asks for it.
fn only_reader(net: &Net, nodes: &[Node], value: ValueId) -> Option<usize> {
    if net.outputs.iter().any(|&(_, v)| v == value) {
        return None;
    }
    let reads = |node: &Node| node.inputs.contains(&value);
    let mut readers = nodes.iter().enumerate().filter(|(_, node)| reads(node));
    let (reader, _) = readers.next()?;
    readers.next().is_none().then_some(reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetBuilder;
    use viewmaker_ops::activation::Activation;
    use viewmaker_ops::add::Add;
    use viewmaker_ops::batch_norm::BatchNorm;

    fn operations(nodes: &[Node]) -> Vec<&str> {
        nodes.iter().map(|node| node.op.name()).collect()
    }

    #[test]
    fn a_residual_block_ends_in_one_operation() {
        let mut b = NetBuilder::new("net");
        let x = b.input("x", [4, 3, 3]).unwrap();
        let y = b.apply("bn1", BatchNorm::default(), &[x]).unwrap();
        let short = b.apply("bn2", BatchNorm::default(), &[x]).unwrap();
        let sum = b.apply("add", Add, &[y, short]).unwrap();
        let out = b.apply("relu", Activation::Relu, &[sum]).unwrap();
        let net = b.finish();
        let nodes = fused(&net);
        assert_eq!(operations(&nodes), ["batch_norm", "batch_norm+add+relu"]);
        assert_eq!(nodes[1].name, "bn1");
        assert_eq!(nodes[1].inputs, [x, short]);
        assert_eq!(nodes[1].output, out);
        assert_eq!(nodes[1].params, net.nodes()[0].params);
        assert_eq!(net.nodes().len(), 4, "the network stays as it was");
    }

    #[test]
    fn what_others_read_is_not_fused_away() {
        let mut b = NetBuilder::new("net");
        let x = b.input("x", [4, 3, 3]).unwrap();
        let declared = b.apply("bn1", BatchNorm::default(), &[x]).unwrap();
        let y = b.apply("relu1", Activation::Relu, &[declared]).unwrap();
        let twice = b.apply("bn2", BatchNorm::default(), &[y]).unwrap();
        let z = b.apply("relu2", Activation::Relu, &[twice]).unwrap();
        let sum = b.apply("add", Add, &[z, twice]).unwrap();
        b.output("out", sum);
        b.output("before", declared);
        let nodes = fused(&b.finish());
        let separate = ["batch_norm", "relu", "batch_norm", "relu", "add"];
        assert_eq!(operations(&nodes), separate);
    }
}
