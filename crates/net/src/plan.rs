//! Where everything lies: one allocation with a fixed place for every buffer of a pass.
//!
//! Forward and backward form one timeline. Each buffer is alive from the first to the last moment
//! that touches it, and buffers that are never alive together may share memory. The offsets are
//! fixed when the plan is made, so a step allocates nothing and its memory is known beforehand.

use crate::fuse::fused;
use crate::graph::{Net, Node, ValueId};
use crate::rebuild::Needs;
use std::ops::Range;
use viewmaker_ops::{Dims, Op};

/// What a plan must be able to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A forward pass whose outputs are all that is wanted.
    Inference,
    /// A forward pass followed by a backward pass.
    Training,
}

/// Which buffers survive the pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Declared inputs and outputs, and their gradients.
    Outputs,
    /// Every activation and every gradient of the network as it is written, for inspection: nothing
    /// shares memory, and no two operations are computed as one.
    Everything,
}

/// One operation as it is executed, and its buffers; see [`Plan`].
#[derive(Clone, Debug)]
pub struct PlannedNode {
    /// The operation: a node of the network, or several computed as one.
    pub node: Node,
    /// What the forward pass leaves for the backward pass.
    pub saved: Range<usize>,
    /// Working memory of the forward pass, exactly as much as the operation asks for.
    pub forward_scratch: Range<usize>,
    /// Working memory of the backward pass, as much.
    pub backward_scratch: Range<usize>,
    /// Where the second and later contributions to a gradient are computed before they are added.
    pub accumulator: Range<usize>,
    /// Nodes, by position, whose output is computed again into [`Plan::rebuilt`] right before the
    /// backward pass of this one, in this order.
    pub rebuild: Vec<usize>,
}

/// The memory of one network for one batch size; ranges count `f32` elements of the arena.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Examples in a batch.
    pub batch: usize,
    /// Threads the scratch memory is made for; 0 on a device.
    pub threads: usize,
    /// What the plan can do.
    pub purpose: Purpose,
    /// Activation of every value of the net; empty for one that is never stored.
    pub values: Vec<Range<usize>>,
    /// Where the backward pass finds the values that are computed again for it; empty for others.
    pub rebuilt: Vec<Range<usize>>,
    /// Gradient of every value; empty ranges for [`Purpose::Inference`].
    pub grads: Vec<Range<usize>>,
    /// The operations in execution order.
    pub nodes: Vec<PlannedNode>,
    /// Elements of the whole arena.
    pub len: usize,
}

impl Plan {
    /// Lays out the memory of `net` for batches of `batch` on `threads` threads.
    pub fn new(net: &Net, batch: usize, threads: usize, purpose: Purpose, keep: Keep) -> Self {
        let threads = threads.max(1);
        let scratch = |op: &dyn Op, dims: &[Dims]| op.scratch_len(dims, threads);
        let plan = Self::laid_out(net, batch, purpose, keep, &scratch);
        Self { threads, ..plan }
    }

    /// The same for a device, whose kernels need other working memory.
    pub fn on_device(net: &Net, batch: usize, purpose: Purpose, keep: Keep) -> Self {
        let scratch = |op: &dyn Op, dims: &[Dims]| op.device_scratch_len(dims);
        Self::laid_out(net, batch, purpose, keep, &scratch)
    }

    fn laid_out(
        net: &Net,
        batch: usize,
        purpose: Purpose,
        keep: Keep,
        scratch: &dyn Fn(&dyn Op, &[Dims]) -> usize,
    ) -> Self {
        let batch = batch.max(1);
        let nodes = match keep {
            Keep::Outputs => fused(net),
            Keep::Everything => net.nodes.clone(),
        };
        let times = Timeline::new(net, &nodes, purpose, keep);
        let values = (0..net.values.len()).map(ValueId);
        let lengths: Vec<usize> = values
            .clone()
            .map(|v| match times.is_stored(v) {
                true => net.dims(v, batch).len(),
                false => 0,
            })
            .collect();
        let training = usize::from(purpose == Purpose::Training);
        let mut buffers = Vec::new();
        buffers.extend(values.clone().map(|v| times.activation(v, lengths[v.0])));
        buffers.extend(values.clone().map(|v| times.rebuilt(v, lengths[v.0])));
        buffers.extend(values.map(|v| times.gradient(v, training * lengths[v.0])));
        for (index, node) in nodes.iter().enumerate() {
            let dims = net.input_dims(node, batch);
            buffers.push(times.saved(index, node.op.saved_len(&dims)));
        }
        if keep == Keep::Everything {
            for buffer in &mut buffers {
                (buffer.first, buffer.last) = (0, usize::MAX);
            }
        }
        for (index, node) in nodes.iter().enumerate() {
            let scratch = scratch(node.op.as_ref(), &net.input_dims(node, batch));
            let contributions = training * times.contributions(node, &lengths);
            let backward = times.backward(index);
            buffers.push(Buffer::at(index + 1, scratch));
            buffers.push(Buffer::at(backward, training * scratch));
            buffers.push(Buffer::at(backward, contributions));
        }
        let (ranges, len) = place(&buffers);
        let mut before = times.needs.before.into_iter();
        let mut ranges = ranges.into_iter();
        let values = ranges.by_ref().take(net.values.len()).collect();
        let rebuilt = ranges.by_ref().take(net.values.len()).collect();
        let grads = ranges.by_ref().take(net.values.len()).collect();
        let saved: Vec<Range<usize>> = ranges.by_ref().take(nodes.len()).collect();
        let mut next = || ranges.next().unwrap_or_default();
        let nodes = nodes
            .into_iter()
            .zip(saved)
            .map(|(node, saved)| PlannedNode {
                node,
                saved,
                forward_scratch: next(),
                backward_scratch: next(),
                accumulator: next(),
                rebuild: before.next().unwrap_or_default(),
            });
        Self {
            batch,
            threads: 0,
            purpose,
            values,
            rebuilt,
            grads,
            nodes: nodes.collect(),
            len,
        }
    }

    /// Bytes of the arena.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<f32>()
    }
}

/// A buffer to place: its size and the moments between which it must not be overwritten.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    len: usize,
    first: usize,
    last: usize,
}

impl Buffer {
    /// A buffer that lives for one moment.
    fn at(moment: usize, len: usize) -> Self {
        Self {
            len,
            first: moment,
            last: moment,
        }
    }
}

/// The moments of a pass: node `i` computes forward at `i + 1` and backward at `2·nodes − i`;
/// moment 0 feeds the inputs and the last moment reads the results.
struct Timeline<'a> {
    net: &'a Net,
    nodes: &'a [Node],
    purpose: Purpose,
    needs: Needs,
}

impl<'a> Timeline<'a> {
    fn new(net: &'a Net, nodes: &'a [Node], purpose: Purpose, keep: Keep) -> Self {
        let backward = |node| 2 * nodes.len() - node;
        let interface = |value| is_interface(net, value);
        let kept = |value| keep == Keep::Everything || interface(value);
        let needs = match purpose {
            Purpose::Training => Needs::new(net, nodes, backward, kept),
            Purpose::Inference => Needs::none(net, nodes),
        };
        Self {
            net,
            nodes,
            purpose,
            needs,
        }
    }

    fn backward(&self, node: usize) -> usize {
        2 * self.nodes.len() - node
    }

    fn end(&self) -> usize {
        2 * self.nodes.len() + 1
    }

    fn producer(&self, value: ValueId) -> Option<usize> {
        self.nodes.iter().position(|n| n.output == value)
    }

    fn consumers(&self, value: ValueId) -> impl Iterator<Item = usize> + '_ {
        let reads = move |n: &Node| n.inputs.contains(&value);
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(move |(_, n)| reads(n)).map(|(i, _)| i)
    }

    fn is_declared(&self, value: ValueId) -> bool {
        is_declared(self.net, value)
    }

    fn is_interface(&self, value: ValueId) -> bool {
        is_interface(self.net, value)
    }

    /// False inside a chain of operations that are computed as one.
    fn is_stored(&self, value: ValueId) -> bool {
        self.net.inputs.contains(&value) || self.producer(value).is_some()
    }

    fn activation(&self, value: ValueId, len: usize) -> Buffer {
        let producer = self.producer(value);
        let first = producer.map_or(0, |i| i + 1);
        let mut last = self.consumers(value).last().map_or(first, |i| i + 1);
        if !self.is_rebuilt(value) {
            let read = self.needs.spans[value.0].as_ref();
            last = read.map_or(last, |span| last.max(*span.end()));
        }
        if self.is_interface(value) {
            last = self.end();
        }
        Buffer { len, first, last }
    }

    fn is_rebuilt(&self, value: ValueId) -> bool {
        self.producer(value).is_some_and(|i| self.needs.rebuilds(i))
    }

    /// The copy of an activation that is computed again for the backward pass.
    fn rebuilt(&self, value: ValueId, len: usize) -> Buffer {
        match &self.needs.spans[value.0] {
            Some(span) if self.is_rebuilt(value) => Buffer {
                len,
                first: *span.start(),
                last: *span.end(),
            },
            _ => Buffer::at(0, 0),
        }
    }

    fn gradient(&self, value: ValueId, len: usize) -> Buffer {
        let written = self.consumers(value).last().map(|i| self.backward(i));
        let first = match written {
            Some(moment) if !self.is_declared(value) => moment,
            // Seeded from outside before the backward pass starts.
            _ => self.nodes.len(),
        };
        let last = match self.producer(value) {
            Some(i) if !self.is_interface(value) => self.backward(i),
            _ => self.end(),
        };
        Buffer { len, first, last }
    }

    fn saved(&self, node: usize, len: usize) -> Buffer {
        let last = match self.purpose {
            Purpose::Inference => node + 1,
            Purpose::Training => self.backward(node),
        };
        let first = node + 1;
        Buffer { len, first, last }
    }

    /// Elements of a node's contributions to gradients that something else contributes to before.
    fn contributions(&self, node: &Node, lengths: &[usize]) -> usize {
        let shared = |v: &&ValueId| self.is_declared(**v) || self.consumers(**v).nth(1).is_some();
        let inputs = node.inputs.iter().filter(shared);
        inputs.map(|v| lengths[v.0]).sum()
    }
}

fn is_declared(net: &Net, value: ValueId) -> bool {
    net.outputs.iter().any(|&(_, v)| v == value)
}

fn is_interface(net: &Net, value: ValueId) -> bool {
    is_declared(net, value) || net.inputs.contains(&value)
}

/// Elements of a cache line; every buffer begins with one, so that whole registers are not split
/// between two lines.
const LINE: usize = 16;

/// Gives every buffer the lowest offset at which no buffer alive at the same time lies, larger
/// buffers first; returns the ranges in the given order and the total length.
fn place(buffers: &[Buffer]) -> (Vec<Range<usize>>, usize) {
    let mut order: Vec<usize> = (0..buffers.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(buffers[i].len), i));
    let mut ranges = vec![0..0; buffers.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for i in order {
        let buffer = buffers[i];
        if buffer.len == 0 {
            continue;
        }
        let together = |&&j: &&usize| {
            let other = buffers[j];
            other.first <= buffer.last && buffer.first <= other.last
        };
        let mut taken: Vec<Range<usize>> = placed
            .iter()
            .filter(together)
            .map(|&j| ranges[j].clone())
            .collect();
        taken.sort_by_key(|r| r.start);
        let mut offset = 0;
        for range in taken {
            if range.start >= offset + buffer.len {
                break;
            }
            offset = offset.max(range.end.next_multiple_of(LINE));
        }
        ranges[i] = offset..offset + buffer.len;
        total = total.max(ranges[i].end);
        placed.push(i);
    }
    (ranges, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_alive_together_never_overlap() {
        let buffers: Vec<Buffer> = (0..60)
            .map(|i| Buffer {
                len: 1 + (i * 37) % 23,
                first: (i * 13) % 40,
                last: (i * 13) % 40 + (i * 7) % 11,
            })
            .collect();
        let (ranges, total) = place(&buffers);
        for i in 0..buffers.len() {
            assert_eq!(ranges[i].len(), buffers[i].len);
            assert!(ranges[i].end <= total);
            for j in 0..i {
                let (a, b) = (buffers[i], buffers[j]);
                if a.first <= b.last && b.first <= a.last {
                    let (r, s) = (&ranges[i], &ranges[j]);
                    assert!(r.end <= s.start || s.end <= r.start, "{i} and {j} overlap");
                }
            }
        }
        let sum: usize = buffers.iter().map(|b| b.len).sum();
        assert!(total < sum, "nothing was shared: {total} of {sum}");
    }
}
