//! One forward and one backward pass over a plan's arena.

use crate::arena::{Arena, carve};
use crate::order::{Progress, Wanted, gradient_targets, seen_by_backward};
use crate::profile::{Direction, Part, Profiler};
use crate::{Weights, layout};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use viewmaker_net::{Net, Node, Plan, PlannedNode, Purpose, ValueId};
use viewmaker_ops::{Again, Backward, Dims, Forward, Mode};

/// Data for one input.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    /// The input.
    pub value: ValueId,
    /// Its elements, NCHW.
    pub nchw: &'a [f32],
}

/// The arena of a plan, and what the last forward pass left in it.
#[derive(Clone, Debug)]
pub struct Pass {
    net: Arc<Net>,
    plan: Arc<Plan>,
    arena: Arena,
    mode: Mode,
    // Staging for the conversion between layouts at the edge.
    edge: Vec<f32>,
    profiler: Profiler,
}

impl Pass {
    /// Allocates the arena of `plan`, which was made for `net`.
    pub fn new(net: Arc<Net>, plan: Arc<Plan>) -> Self {
        Self::in_arena(net, plan, Arena::default())
    }

    /// The same in memory that another pass has left, whatever that one computed; a larger arena is
    /// allocated if this one is too small.
    pub fn in_arena(net: Arc<Net>, plan: Arc<Plan>, mut arena: Arena) -> Self {
        if arena.len() < plan.len {
            // The old one goes first, so that there are never both.
            drop(arena);
            arena = Arena::new(plan.len);
        }
        Self {
            arena,
            net,
            plan,
            mode: Mode::Eval,
            edge: Vec::new(),
            profiler: Profiler::default(),
        }
    }

    /// The same with a profiler that measures every layer.
    pub fn with_profiler(self, profiler: Profiler) -> Self {
        Self { profiler, ..self }
    }

    /// Gives the memory back.
    pub fn into_arena(self) -> Arena {
        self.arena
    }

    /// The plan this pass runs.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Shape of a value in this pass.
    pub fn dims(&self, value: ValueId) -> Dims {
        self.net.dims(value, self.plan.batch)
    }

    /// Runs the network on `feeds`, which must cover every input. In [`Mode::Train`] the running
    /// statistics in `weights` move.
    ///
    /// # Panics
    /// When an input is missing or has the wrong number of elements: callers derive both from the
    /// net.
    pub fn forward(&mut self, weights: &mut Weights, feeds: &[Feed<'_>], mode: Mode) {
        let net = Arc::clone(&self.net);
        let plan = Arc::clone(&self.plan);
        assert_eq!(
            feeds.len(),
            net.inputs().len(),
            "{}: one feed per input",
            net.name()
        );
        let profiler = self.profiler.clone();
        profiler.time(Part::Layout, || {
            for feed in feeds {
                let dims = self.dims(feed.value);
                let range = plan.values[feed.value.index()].clone();
                layout::to_nhwc(feed.nchw, dims, &mut self.arena[range]);
            }
        });
        self.mode = mode;
        for planned in &plan.nodes {
            profiler.layer(&net, &planned.node, plan.batch, Direction::Forward, || {
                self.forward_node(&net, &plan, weights, planned);
            });
        }
    }

    fn forward_node(
        &mut self,
        net: &Net,
        plan: &Plan,
        weights: &mut Weights,
        planned: &PlannedNode,
    ) {
        let node = &planned.node;
        let input_dims = net.input_dims(node, plan.batch);
        let mut ranges = vec![
            plan.values[node.output.index()].clone(),
            planned.saved.clone(),
            planned.forward_scratch.clone(),
        ];
        ranges.extend(node.inputs.iter().map(|v| plan.values[v.index()].clone()));
        let mut parts = carve(&mut self.arena, &ranges).into_iter();
        let (output, saved, scratch) = (next(&mut parts), next(&mut parts), next(&mut parts));
        let inputs: Vec<&[f32]> = parts.map(|part| &*part).collect();
        let params: Vec<&[f32]> = param_slices(net, node, &weights.params);
        let state_ranges: Vec<_> = net.state()[node.state.clone()]
            .iter()
            .map(|s| s.range())
            .collect();
        let mut state = carve(&mut weights.state, &state_ranges);
        node.op.forward(Forward {
            mode: self.mode,
            input_dims: &input_dims,
            output_dims: net.dims(node.output, plan.batch),
            inputs: &inputs,
            params: &params,
            state: &mut state,
            output,
            saved,
            scratch,
        });
    }

    /// Differentiates the last forward pass: `seed` is the gradient of the loss with respect to
    /// the value `at` (NCHW). Parameter gradients are **added** to `param_grads`, laid out as
    /// [`Weights::params`]; input gradients are read with [`Pass::grad`].
    ///
    /// # Panics
    /// When the plan is for inference, or a slice has the wrong length.
    pub fn backward(
        &mut self,
        weights: &Weights,
        at: ValueId,
        seed: &[f32],
        wanted: Wanted,
        mut param_grads: Option<&mut [f32]>,
    ) {
        let net = Arc::clone(&self.net);
        let plan = Arc::clone(&self.plan);
        assert_eq!(plan.purpose, Purpose::Training, "{}", net.name());
        let mut progress = Progress::new(&net, &plan, wanted);
        let profiler = self.profiler.clone();
        let dims = self.dims(at);
        profiler.time(Part::Layout, || {
            layout::to_nhwc(seed, dims, &mut self.arena[plan.grads[at.index()].clone()]);
        });
        progress.written[at.index()] = true;
        for planned in plan.nodes.iter().rev() {
            let node = &planned.node;
            for &index in &planned.rebuild {
                let again = &plan.nodes[index];
                profiler.layer(&net, &again.node, plan.batch, Direction::Backward, || {
                    self.rebuild_node(&net, &plan, weights, again);
                });
            }
            if progress.reaches(node, wanted) {
                let grads = param_grads.as_deref_mut().filter(|_| wanted.params());
                profiler.layer(&net, node, plan.batch, Direction::Backward, || {
                    self.backward_node(&net, &plan, planned, weights, grads, &mut progress);
                });
            }
        }
        for &input in net.inputs() {
            if progress.needed[input.index()] && !progress.written[input.index()] {
                self.arena[plan.grads[input.index()].clone()].fill(0.0);
            }
        }
    }

    /// Computes the output of a node again, from inputs that were kept or are there again.
    fn rebuild_node(&mut self, net: &Net, plan: &Plan, weights: &Weights, again: &PlannedNode) {
        let node = &again.node;
        let mut ranges = vec![
            plan.rebuilt[node.output.index()].clone(),
            again.saved.clone(),
        ];
        ranges.extend(node.inputs.iter().map(|v| seen_by_backward(plan, *v)));
        let mut parts = carve(&mut self.arena, &ranges).into_iter();
        let (output, saved) = (next(&mut parts), next(&mut parts));
        let inputs: Vec<&[f32]> = parts.map(|part| &*part).collect();
        if let Some(rebuilder) = node.op.rebuilder() {
            rebuilder.rebuild(Again {
                input_dims: &net.input_dims(node, plan.batch),
                output_dims: net.dims(node.output, plan.batch),
                inputs: &inputs,
                params: &param_slices(net, node, &weights.params),
                saved,
                output,
            });
        }
    }

    fn backward_node(
        &mut self,
        net: &Net,
        plan: &Plan,
        planned: &PlannedNode,
        weights: &Weights,
        param_grads: Option<&mut [f32]>,
        progress: &mut Progress,
    ) {
        let node = &planned.node;
        let input_dims = net.input_dims(node, plan.batch);
        // What the operation does not read may be overwritten by now.
        let reads = node.op.backward_reads();
        let kept = |value: &ValueId, kept: bool| match kept {
            true => seen_by_backward(plan, *value),
            false => 0..0,
        };
        let mut ranges = vec![
            kept(&node.output, reads.output),
            plan.grads[node.output.index()].clone(),
            planned.saved.clone(),
            planned.backward_scratch.clone(),
        ];
        let inputs = node.inputs.iter().enumerate();
        ranges.extend(inputs.map(|(i, v)| kept(v, i < reads.inputs)));
        // The first contribution to a gradient is written in place; a later one is computed beside
        // it and added, so that operations need not know who else reads their inputs.
        let targets = gradient_targets(plan, planned, progress);
        ranges.extend(targets.iter().map(|t| t.clone().unwrap_or(0..0)));
        let mut parts = carve(&mut self.arena, &ranges).into_iter();
        let (output, output_grad) = (next(&mut parts), next(&mut parts));
        let (saved, scratch) = (next(&mut parts), next(&mut parts));
        let inputs: Vec<&[f32]> = node.inputs.iter().map(|_| &*next(&mut parts)).collect();
        let wanted = targets.iter().map(Option::is_some);
        let mut input_grads: Vec<Option<&mut [f32]>> = parts
            .zip(wanted)
            .map(|(part, wanted)| wanted.then_some(part))
            .collect();
        let params = param_slices(net, node, &weights.params);
        let entries = net.state()[node.state.clone()].iter();
        let state: Vec<&[f32]> = entries.map(|s| &weights.state[s.range()]).collect();
        let specs = net.params()[node.params.clone()].iter();
        let grad_ranges: Vec<_> = specs.map(|p| p.range()).collect();
        let mut param_grads = param_grads.map(|grads| carve(grads, &grad_ranges));
        node.op.backward(Backward {
            mode: self.mode,
            input_dims: &input_dims,
            output_dims: net.dims(node.output, plan.batch),
            inputs: &inputs,
            params: &params,
            state: &state,
            output,
            saved,
            output_grad,
            input_grads: &mut input_grads,
            param_grads: param_grads.as_deref_mut(),
            scratch,
        });
        for (&value, target) in node.inputs.iter().zip(targets) {
            if let Some(target) = target {
                self.accumulate(plan.grads[value.index()].clone(), target);
                progress.written[value.index()] = true;
            }
        }
    }

    /// Adds the contribution at `from` to the gradient at `grad`, unless it was computed there.
    fn accumulate(&mut self, grad: Range<usize>, from: Range<usize>) {
        const PIECE: usize = 1 << 14;
        if grad == from {
            return;
        }
        let mut parts = carve(&mut self.arena, &[grad, from]).into_iter();
        let (grad, from) = (next(&mut parts), next(&mut parts));
        self.profiler.time(Part::Accumulation, || {
            grad.par_chunks_mut(PIECE)
                .zip(from.par_chunks(PIECE))
                .for_each(|(grad, from)| {
                    for (g, f) in grad.iter_mut().zip(from) {
                        *g += f;
                    }
                });
        });
    }

    /// The activation of `value` as the last forward pass left it, NCHW.
    ///
    /// Only inputs, declared outputs and, under [`viewmaker_net::Keep::Everything`], all other
    /// values still hold what was computed.
    pub fn value(&mut self, value: ValueId) -> &[f32] {
        self.read(value, self.plan.values[value.index()].clone())
    }

    /// The gradient with respect to `value` as the last backward pass left it, NCHW; the same
    /// restriction as for [`Pass::value`] holds.
    pub fn grad(&mut self, value: ValueId) -> &[f32] {
        self.read(value, self.plan.grads[value.index()].clone())
    }

    fn read(&mut self, value: ValueId, range: Range<usize>) -> &[f32] {
        let dims = self.dims(value);
        self.profiler.time(Part::Layout, || {
            self.edge.resize(dims.len(), 0.0);
            layout::to_nchw(&self.arena[range], dims, &mut self.edge);
        });
        &self.edge
    }
}

fn next<'a, T>(parts: &mut impl Iterator<Item = &'a mut [T]>) -> &'a mut [T] {
    parts.next().unwrap_or_default()
}

fn param_slices<'a>(net: &Net, node: &Node, params: &'a [f32]) -> Vec<&'a [f32]> {
    let specs = net.params()[node.params.clone()].iter();
    specs.map(|p| &params[p.range()]).collect()
}
