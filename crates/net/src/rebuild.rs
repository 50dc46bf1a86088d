//! Values that are computed a second time for the backward pass instead of being kept for it.
//!
//! What a rectifier behind a normalisation leaves is as large as what goes into it, and the backward
//! pass needs both: the normalisation its input, the convolution behind it its own. The second costs
//! one pass over memory to make from the first, so only the first is kept.

use crate::graph::{Net, Node, ValueId};
use std::ops::RangeInclusive;

/// Which moments of the backward pass read each value, and who is computed again for them.
pub(crate) struct Needs {
    /// By value: the first and the last moment of the backward pass at which it must be there.
    pub(crate) spans: Vec<Option<RangeInclusive<usize>>>,
    /// By node, in rising order: nodes whose output is computed again right before its backward pass.
    pub(crate) before: Vec<Vec<usize>>,
}

impl Needs {
    /// Without a backward pass.
    pub(crate) fn none(net: &Net, nodes: &[Node]) -> Self {
        Self {
            spans: vec![None; net.values.len()],
            before: vec![Vec::new(); nodes.len()],
        }
    }

    /// For `nodes` in execution order, of which number `i` computes backward at the moment
    /// `backward(i)`; values that `keeps` never are computed again.
    pub(crate) fn new(
        net: &Net,
        nodes: &[Node],
        backward: impl Fn(usize) -> usize,
        keeps: impl Fn(ValueId) -> bool,
    ) -> Self {
        let mut needs = Self::none(net, nodes);
        for (index, node) in nodes.iter().enumerate() {
            let reads = node.op.backward_reads();
            for &input in node.inputs.iter().take(reads.inputs) {
                needs.add(input, backward(index));
            }
            if reads.output {
                needs.add(node.output, backward(index));
            }
        }
        // Later nodes first: what is computed again needs inputs, which may be computed again too.
        for (index, node) in nodes.iter().enumerate().rev() {
            let Some(span) = needs.spans[node.output.0].clone() else {
                continue;
            };
            if node.op.rebuilder().is_none() || keeps(node.output) {
                continue;
            }
            let reader = (0..nodes.len()).find(|&i| backward(i) == *span.start());
            let Some(reader) = reader else { continue };
            needs.before[reader].insert(0, index);
            for &input in &node.inputs {
                needs.add(input, *span.start());
            }
        }
        needs
    }

    /// Whether the output of node number `index` is computed again.
    pub(crate) fn rebuilds(&self, index: usize) -> bool {
        self.before.iter().any(|before| before.contains(&index))
    }

    fn add(&mut self, value: ValueId, moment: usize) {
        let span = &mut self.spans[value.0];
        *span = Some(match span {
            Some(span) => moment.min(*span.start())..=moment.max(*span.end()),
            None => moment..=moment,
        });
    }
}

#[cfg(test)]
mod tests {
    use crate::{Keep, Net, NetBuilder, Plan, Purpose};
    use viewmaker_ops::activation::Activation;
    use viewmaker_ops::batch_norm::BatchNorm;
    use viewmaker_ops::conv2d::{Conv2d, ConvInit, Padding};
    use viewmaker_ops::upsample::Upsample;

    /// Two convolutions with a normalisation, a rectifier and an upsampling between them.
    fn chain() -> Net {
        let conv = Conv2d {
            out_channels: 16,
            kernel: 3,
            stride: 1,
            padding: Padding::Zero(1),
            bias: false,
            init: ConvInit::PyTorchDefault,
        };
        let mut b = NetBuilder::new("net");
        let x = b.input("x", [16, 4, 4]).unwrap();
        let y = b.apply("conv1", conv, &[x]).unwrap();
        let y = b.apply("bn", BatchNorm::default(), &[y]).unwrap();
        let y = b.apply("relu", Activation::Relu, &[y]).unwrap();
        let (height, width) = (8, 8);
        let y = b.apply("up", Upsample { height, width }, &[y]).unwrap();
        let y = b.apply("conv2", conv, &[y]).unwrap();
        b.output("out", y);
        b.finish()
    }

    #[test]
    fn chains_are_computed_again_from_what_is_kept() {
        let net = chain();
        let plan = Plan::new(&net, 2, 1, Purpose::Training, Keep::Outputs);
        let names: Vec<&str> = plan.nodes.iter().map(|n| n.node.name.as_str()).collect();
        assert_eq!(names, ["conv1", "bn", "up", "conv2"]);
        // The convolution reads the upsampled map, and that one needs the rectified one.
        assert_eq!(plan.nodes[3].rebuild, [1, 2]);
        assert!(plan.nodes[..3].iter().all(|n| n.rebuild.is_empty()));
        for node in &plan.nodes {
            let value = node.node.output.index();
            let again = ["bn", "up"].contains(&node.node.name.as_str());
            let want = if again { plan.values[value].len() } else { 0 };
            assert_eq!(plan.rebuilt[value].len(), want, "{}", node.node.name);
        }
    }

    #[test]
    fn nothing_is_computed_again_without_need() {
        for (purpose, keep) in [
            (Purpose::Inference, Keep::Outputs),
            (Purpose::Training, Keep::Everything),
        ] {
            let plan = Plan::new(&chain(), 2, 1, purpose, keep);
            assert!(plan.nodes.iter().all(|n| n.rebuild.is_empty()));
            assert!(plan.rebuilt.iter().all(|range| range.is_empty()));
        }
    }
}
