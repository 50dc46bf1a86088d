//! Where everything lies: one allocation with a fixed place for every buffer of a pass.
//!
//! Forward and backward form one timeline. Each buffer is alive from the first to the last moment
//! that touches it, and buffers that are never alive together may share memory. The offsets are
//! fixed when the plan is made, so a step allocates nothing and its memory is known beforehand.

use crate::graph::{Net, Node, ValueId};
use std::ops::Range;

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
    /// Every activation and every gradient, for inspection: nothing shares memory.
    Everything,
}

/// Buffers of one node; see [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedNode {
    /// What the forward pass leaves for the backward pass.
    pub saved: Range<usize>,
    /// Working memory, exactly as much as the operation asks for; all nodes share it.
    pub scratch: Range<usize>,
}

/// The memory of one network for one batch size; ranges count `f32` elements of the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Examples in a batch.
    pub batch: usize,
    /// Threads the scratch memory is made for.
    pub threads: usize,
    /// What the plan can do.
    pub purpose: Purpose,
    /// Activation of every value of the net.
    pub values: Vec<Range<usize>>,
    /// Gradient of every value; empty ranges for [`Purpose::Inference`].
    pub grads: Vec<Range<usize>>,
    /// Buffers of every node.
    pub nodes: Vec<PlannedNode>,
    /// Where the second and later contributions to a gradient are computed before they are added.
    pub accumulator: Range<usize>,
    /// Elements of the whole arena.
    pub len: usize,
}

impl Plan {
    /// Lays out the memory of `net` for batches of `batch` on `threads` threads.
    pub fn new(net: &Net, batch: usize, threads: usize, purpose: Purpose, keep: Keep) -> Self {
        let (batch, threads) = (batch.max(1), threads.max(1));
        let mut buffers = Vec::new();
        let times = Timeline::new(net, purpose);
        for index in 0..net.values.len() {
            let len = net.dims(ValueId(index), batch).len();
            buffers.push(times.activation(ValueId(index), len));
        }
        for index in 0..net.values.len() {
            let len = match purpose {
                Purpose::Training => net.dims(ValueId(index), batch).len(),
                Purpose::Inference => 0,
            };
            buffers.push(times.gradient(ValueId(index), len));
        }
        for (index, node) in net.nodes.iter().enumerate() {
            let dims = net.input_dims(node, batch);
            buffers.push(times.saved(index, node.op.saved_len(&dims)));
        }
        if keep == Keep::Everything {
            for buffer in &mut buffers {
                (buffer.first, buffer.last) = (0, usize::MAX);
            }
        }
        let (mut ranges, len) = place(&buffers);
        let saved = ranges.split_off(2 * net.values.len());
        let grads = ranges.split_off(net.values.len());
        let scratch = |node: &Node| {
            let dims = net.input_dims(node, batch);
            len..len + node.op.scratch_len(&dims, threads)
        };
        let nodes: Vec<PlannedNode> = saved
            .into_iter()
            .zip(&net.nodes)
            .map(|(saved, node)| PlannedNode {
                saved,
                scratch: scratch(node),
            })
            .collect();
        let scratch_end = nodes.iter().map(|n| n.scratch.end).max().unwrap_or(len);
        let accumulator = scratch_end..scratch_end + accumulator_len(net, batch, purpose);
        Self {
            batch,
            threads,
            purpose,
            values: ranges,
            grads,
            nodes,
            len: accumulator.end,
            accumulator,
        }
    }

    /// Bytes of the arena.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<f32>()
    }
}

/// Room for a node's contributions to gradients that other nodes contribute to as well.
fn accumulator_len(net: &Net, batch: usize, purpose: Purpose) -> usize {
    if purpose == Purpose::Inference {
        return 0;
    }
    let mut consumers = vec![0; net.values.len()];
    for value in net.nodes.iter().flat_map(|n| &n.inputs) {
        consumers[value.0] += 1;
    }
    for (_, value) in &net.outputs {
        consumers[value.0] += 1;
    }
    let shared = |node: &Node| {
        let values = node.inputs.iter().filter(|v| consumers[v.0] > 1);
        values.map(|&v| net.dims(v, batch).len()).sum()
    };
    net.nodes.iter().map(shared).max().unwrap_or(0)
}

/// A buffer to place: its size and the moments between which it must not be overwritten.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    len: usize,
    first: usize,
    last: usize,
}

/// The moments of a pass: node `i` computes forward at `i + 1` and backward at `2·nodes − i`;
/// moment 0 feeds the inputs and the last moment reads the results.
struct Timeline<'a> {
    net: &'a Net,
    purpose: Purpose,
}

impl<'a> Timeline<'a> {
    fn new(net: &'a Net, purpose: Purpose) -> Self {
        Self { net, purpose }
    }

    fn backward(&self, node: usize) -> usize {
        2 * self.net.nodes.len() - node
    }

    fn end(&self) -> usize {
        2 * self.net.nodes.len() + 1
    }

    fn producer(&self, value: ValueId) -> Option<usize> {
        self.net.nodes.iter().position(|n| n.output == value)
    }

    fn consumers(&self, value: ValueId) -> impl Iterator<Item = usize> + '_ {
        let reads = move |n: &Node| n.inputs.contains(&value);
        let nodes = self.net.nodes.iter().enumerate();
        nodes.filter(move |(_, n)| reads(n)).map(|(i, _)| i)
    }

    fn is_interface(&self, value: ValueId) -> bool {
        let declared = self.net.outputs.iter().any(|&(_, v)| v == value);
        declared || self.net.inputs.contains(&value)
    }

    fn activation(&self, value: ValueId, len: usize) -> Buffer {
        let first = self.producer(value).map_or(0, |i| i + 1);
        let last_read = self.consumers(value).last().map_or(first, |i| i + 1);
        let last = match self.purpose {
            _ if self.is_interface(value) => self.end(),
            Purpose::Inference => last_read,
            // Read again by the backward pass of its consumers and of its producer, which comes
            // last.
            Purpose::Training => self
                .producer(value)
                .map_or(self.end(), |i| self.backward(i)),
        };
        Buffer { len, first, last }
    }

    fn gradient(&self, value: ValueId, len: usize) -> Buffer {
        let nodes = self.net.nodes.len();
        let declared = self.net.outputs.iter().any(|&(_, v)| v == value);
        let written = self.consumers(value).last().map(|i| self.backward(i));
        let first = match written {
            Some(moment) if !declared => moment,
            // Seeded from outside before the backward pass starts.
            _ => nodes,
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
}

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
            offset = offset.max(range.end);
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
