//! One forward and one backward pass over a plan's arena on a device.

use super::DeviceWeights;
use crate::order::{Progress, Wanted, gradient_targets, seen_by_backward};
use crate::profile::{Direction, Part, Profiler};
use crate::{Feed, layout};
use std::ops::Range;
use std::sync::Arc;
use viewmaker_device::{Buffer, Device, DeviceError, Span};
use viewmaker_net::{Net, Node, Plan, PlannedNode, Purpose, ValueId};
use viewmaker_ops::device::{Again, Backward, Forward, Precision, add};
use viewmaker_ops::flatten::device::{Matrices, transpose};
use viewmaker_ops::{Dims, Mode};

/// The arena of a plan on a device, and what the last forward pass left in it; [`crate::Pass`] is the
/// same on the processor.
#[derive(Debug)]
pub struct DevicePass {
    net: Arc<Net>,
    plan: Arc<Plan>,
    precision: Precision,
    arena: Buffer,
    mode: Mode,
    edge: Vec<f32>,
    profiler: Profiler,
}

impl DevicePass {
    /// Words of memory that a pass of `plan` takes: its arena, and room for the largest value at the
    /// edge in the other layout.
    pub fn words(net: &Net, plan: &Plan) -> usize {
        plan.len.next_multiple_of(16) + edge_len(net, plan)
    }

    /// A pass in memory of at least [`DevicePass::words`] words, whatever is in it.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn new(net: Arc<Net>, plan: Arc<Plan>, precision: Precision, arena: Buffer) -> Self {
        assert!(arena.len() >= Self::words(&net, &plan), "{}", net.name());
        Self {
            net,
            plan,
            precision,
            arena,
            mode: Mode::Eval,
            edge: Vec::new(),
            profiler: Profiler::default(),
        }
    }

    /// The same with a profiler that measures every layer: the device is waited for after each.
    pub fn with_profiler(mut self, profiler: Profiler) -> Self {
        self.set_profiler(profiler);
        self
    }

    /// From now on `profiler` measures.
    pub(super) fn set_profiler(&mut self, profiler: Profiler) {
        self.profiler = profiler;
    }

    /// Gives the memory back.
    pub fn into_arena(self) -> Buffer {
        self.arena
    }

    fn device(&self) -> &Device {
        self.arena.device()
    }

    fn dims(&self, value: ValueId) -> Dims {
        self.net.dims(value, self.plan.batch)
    }

    fn span(&self, range: Range<usize>) -> Span {
        self.arena.span(range)
    }

    /// Where a value lies, NHWC: an input before a pass, an output after it.
    pub(super) fn place(&self, value: ValueId) -> Span {
        self.span(self.plan.values[value.index()].clone())
    }

    /// Where the gradient of a value lies, NHWC: of an output before a backward pass, of an input after
    /// it.
    pub(super) fn grad_place(&self, value: ValueId) -> Span {
        self.span(self.plan.grads[value.index()].clone())
    }

    /// Room for a value in NCHW.
    fn staging(&self, len: usize) -> Span {
        let start = self.plan.len.next_multiple_of(16);
        self.arena.span(start..start + len)
    }

    /// Runs the network on `feeds`, which must cover every input; [`crate::Pass::forward`].
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    ///
    /// # Panics
    /// When an input is missing or has the wrong number of elements.
    pub fn forward(
        &mut self,
        weights: &DeviceWeights,
        feeds: &[Feed<'_>],
        mode: Mode,
    ) -> Result<(), DeviceError> {
        assert_eq!(
            feeds.len(),
            self.net.inputs().len(),
            "{}: one feed per input",
            self.net.name()
        );
        for feed in feeds {
            self.write(feed.nchw, self.dims(feed.value), &self.place(feed.value))?;
        }
        self.compute(weights, mode)
    }

    /// Runs the network on what lies in the places of its inputs ([`DevicePass::place`]), all of which
    /// must have been written since the last pass.
    pub(super) fn compute(
        &mut self,
        weights: &DeviceWeights,
        mode: Mode,
    ) -> Result<(), DeviceError> {
        let (net, plan) = (Arc::clone(&self.net), Arc::clone(&self.plan));
        self.mode = mode;
        let profiler = self.profiler.clone();
        for planned in &plan.nodes {
            profiler.layer(&net, &planned.node, plan.batch, Direction::Forward, || {
                self.forward_node(weights, planned)?;
                self.settle()
            })?;
        }
        Ok(())
    }

    fn forward_node(
        &self,
        weights: &DeviceWeights,
        planned: &PlannedNode,
    ) -> Result<(), DeviceError> {
        let (net, plan, node) = (&self.net, &self.plan, &planned.node);
        let value = |v: &ValueId| self.span(plan.values[v.index()].clone());
        let inputs: Vec<Span> = node.inputs.iter().map(value).collect();
        let states = net.state()[node.state.clone()].iter();
        let state: Vec<Span> = states.map(|s| weights.state().slice(s.range())).collect();
        node.op.device_forward(&Forward {
            device: self.device(),
            precision: self.precision,
            convolution: None,
            mode: self.mode,
            input_dims: &net.input_dims(node, plan.batch),
            output_dims: net.dims(node.output, plan.batch),
            inputs: &inputs,
            params: &slices(net, node, &weights.params()),
            state: &state,
            output: &value(&node.output),
            saved: &self.span(planned.saved.clone()),
            scratch: &self.span(planned.forward_scratch.clone()),
        })
    }

    /// Differentiates the last forward pass; [`crate::Pass::backward`].
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    ///
    /// # Panics
    /// When the plan is for inference, or the seed has the wrong length.
    pub fn backward(
        &mut self,
        weights: &DeviceWeights,
        at: ValueId,
        seed: &[f32],
        wanted: Wanted,
    ) -> Result<(), DeviceError> {
        self.write(seed, self.dims(at), &self.grad_place(at))?;
        self.differentiate(weights, at, wanted)
    }

    /// Differentiates the last forward pass from the gradient that lies in the place of `at`'s
    /// ([`DevicePass::grad_place`]).
    pub(super) fn differentiate(
        &mut self,
        weights: &DeviceWeights,
        at: ValueId,
        wanted: Wanted,
    ) -> Result<(), DeviceError> {
        let (net, plan) = (Arc::clone(&self.net), Arc::clone(&self.plan));
        assert_eq!(plan.purpose, Purpose::Training, "{}", net.name());
        let mut progress = Progress::new(&net, &plan, wanted);
        progress.written[at.index()] = true;
        let profiler = self.profiler.clone();
        for planned in plan.nodes.iter().rev() {
            let node = &planned.node;
            for &index in &planned.rebuild {
                let again = &plan.nodes[index];
                profiler.layer(&net, &again.node, plan.batch, Direction::Backward, || {
                    self.rebuild_node(weights, again)?;
                    self.settle()
                })?;
            }
            if progress.reaches(node, wanted) {
                profiler.layer(&net, node, plan.batch, Direction::Backward, || {
                    self.backward_node(weights, planned, wanted, &mut progress)?;
                    self.settle()
                })?;
            }
        }
        for &input in net.inputs() {
            if progress.needed[input.index()] && !progress.written[input.index()] {
                let grad = self.span(plan.grads[input.index()].clone());
                self.device().fill_zero(&grad)?;
            }
        }
        Ok(())
    }

    /// Computes the output of a node again, from inputs that were kept or are there again.
    fn rebuild_node(
        &self,
        weights: &DeviceWeights,
        again: &PlannedNode,
    ) -> Result<(), DeviceError> {
        let (net, plan, node) = (&self.net, &self.plan, &again.node);
        let Some(rebuilder) = node.op.rebuilder() else {
            return Ok(());
        };
        let seen = |v: &ValueId| self.span(seen_by_backward(plan, *v));
        rebuilder.device_rebuild(&Again {
            device: self.device(),
            input_dims: &net.input_dims(node, plan.batch),
            output_dims: net.dims(node.output, plan.batch),
            inputs: &node.inputs.iter().map(seen).collect::<Vec<_>>(),
            params: &slices(net, node, &weights.params()),
            saved: &self.span(again.saved.clone()),
            output: &self.span(plan.rebuilt[node.output.index()].clone()),
        })
    }

    fn backward_node(
        &self,
        weights: &DeviceWeights,
        planned: &PlannedNode,
        wanted: Wanted,
        progress: &mut Progress,
    ) -> Result<(), DeviceError> {
        let (net, plan, node) = (&self.net, &self.plan, &planned.node);
        // What the operation does not read may be overwritten by now.
        let reads = node.op.backward_reads();
        let kept = |value: &ValueId, kept: bool| match kept {
            true => self.span(seen_by_backward(plan, *value)),
            false => self.span(0..0),
        };
        let inputs = node.inputs.iter().enumerate();
        let inputs: Vec<Span> = inputs.map(|(i, v)| kept(v, i < reads.inputs)).collect();
        let targets = gradient_targets(plan, planned, progress);
        let spans = targets.iter().map(|t| t.clone().map(|t| self.span(t)));
        let input_grads: Vec<Option<Span>> = spans.collect();
        let grads = slices(net, node, &weights.grads());
        node.op.device_backward(&Backward {
            device: self.device(),
            precision: self.precision,
            convolution: None,
            mode: self.mode,
            input_dims: &net.input_dims(node, plan.batch),
            output_dims: net.dims(node.output, plan.batch),
            inputs: &inputs,
            params: &slices(net, node, &weights.params()),
            output: &kept(&node.output, reads.output),
            saved: &self.span(planned.saved.clone()),
            output_grad: &self.span(plan.grads[node.output.index()].clone()),
            input_grads: &input_grads,
            param_grads: wanted.params().then_some(&grads[..]),
            scratch: &self.span(planned.backward_scratch.clone()),
        })?;
        for (value, target) in node.inputs.iter().zip(targets) {
            let Some(target) = target else { continue };
            let grad = plan.grads[value.index()].clone();
            if grad != target {
                // A later contribution was computed beside the sum.
                let grad = self.span(grad);
                add(self.device(), &grad, &self.span(target), &grad)?;
            }
            progress.written[value.index()] = true;
        }
        Ok(())
    }

    /// With a profiler, waits: launches return before they are done.
    fn settle(&self) -> Result<(), DeviceError> {
        match self.profiler.is_on() {
            true => self.device().synchronize(),
            false => Ok(()),
        }
    }

    /// Takes NCHW data to a value's place in the arena.
    fn write(&self, nchw: &[f32], dims: Dims, to: &Span) -> Result<(), DeviceError> {
        assert_eq!(nchw.len(), dims.len(), "elements for {dims}");
        self.profiler.time(Part::Layout, || {
            if layout::is_the_same(dims) {
                return self.device().upload(to, nchw);
            }
            let staging = self.staging(nchw.len());
            self.device().upload(&staging, nchw)?;
            let of = Matrices {
                examples: dims.n,
                rows: dims.c,
                columns: dims.area(),
            };
            transpose(self.device(), of, &staging, to)?;
            self.settle()
        })
    }

    /// The activation of `value`, NCHW; [`crate::Pass::value`].
    ///
    /// # Errors
    /// When the driver or an earlier kernel fails.
    pub fn value(&mut self, value: ValueId) -> Result<&[f32], DeviceError> {
        self.read(value, self.plan.values[value.index()].clone())
    }

    /// The gradient with respect to `value`, NCHW; [`crate::Pass::grad`].
    ///
    /// # Errors
    /// When the driver or an earlier kernel fails.
    pub fn grad(&mut self, value: ValueId) -> Result<&[f32], DeviceError> {
        self.read(value, self.plan.grads[value.index()].clone())
    }

    fn read(&mut self, value: ValueId, range: Range<usize>) -> Result<&[f32], DeviceError> {
        let (dims, profiler) = (self.dims(value), self.profiler.clone());
        profiler.time(Part::Layout, || {
            let mut edge = std::mem::take(&mut self.edge);
            edge.resize(dims.len(), 0.0);
            let from = self.span(range);
            let device = self.device();
            if layout::is_the_same(dims) {
                device.download(&from, &mut edge)?;
            } else {
                let staging = self.staging(dims.len());
                let of = Matrices {
                    examples: dims.n,
                    rows: dims.area(),
                    columns: dims.c,
                };
                transpose(device, of, &from, &staging)?;
                device.download(&staging, &mut edge)?;
            }
            self.edge = edge;
            Ok(())
        })?;
        Ok(&self.edge)
    }
}

/// Elements of the largest value that is read or written from outside, where layouts differ.
fn edge_len(net: &Net, plan: &Plan) -> usize {
    let outputs = net.outputs().iter().map(|&(_, value)| value);
    let edge = net.inputs().iter().copied().chain(outputs);
    let dims = edge.map(|value| net.dims(value, plan.batch));
    let dims = dims.filter(|&dims| !layout::is_the_same(dims));
    dims.map(|dims| dims.len()).max().unwrap_or(0)
}

fn slices(net: &Net, node: &Node, of: &Span) -> Vec<Span> {
    let specs = net.params()[node.params.clone()].iter();
    specs.map(|p| of.slice(p.range())).collect()
}
