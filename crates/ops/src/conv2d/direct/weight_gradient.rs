//! The gradient of the weights.
//!
//! The batch is cut into parts, and the kernel into its rows where its sums would not stay in the
//! second-level cache; each pair has sums of its own. A task takes enough examples at once that the
//! sums are worth loading.

use super::super::geometry::Geometry;
use super::frame::Frame;
use super::{Scratch, TASKS, run as dispatch};
use crate::panels::{Line, Outer, padded};
use crate::parallel::{for_each_with_scratch, part};
use rayon::prelude::*;

/// Elements of all partial sums together.
const PARTIAL_ELEMENTS: usize = 3 << 20;
/// Elements of the sums of a kernel up to which one task has them all.
const WHOLE_ELEMENTS: usize = 192 << 10;
/// Elements of all partial sums together where it has.
const WHOLE_PARTIAL_ELEMENTS: usize = 1 << 20;
/// Positions that are summed before the sums are stored.
const POSITIONS: usize = 256;
/// Output channels handled together when the sums are added up: one cache line.
const LINE: usize = 16;

/// How the work is cut.
struct Plan {
    frame: Frame,
    /// Examples at once.
    group: usize,
    /// Parts of the batch, each with partial sums of the whole kernel.
    parts: usize,
    /// Rows of the kernel of one task.
    rows: usize,
}

impl Plan {
    fn new(g: &Geometry) -> Self {
        let group = POSITIONS.div_ceil(g.output.area()).min(g.output.n);
        let groups = g.output.n.div_ceil(group);
        let sums = g.fan_in() * padded(g.output.c);
        let (rows, elements) = match sums <= WHOLE_ELEMENTS {
            true => (g.kernel, WHOLE_PARTIAL_ELEMENTS),
            false => (1, PARTIAL_ELEMENTS),
        };
        let most = (elements / sums).max(1);
        Self {
            frame: Frame::of_input(g),
            group,
            parts: (TASKS * rows).div_ceil(g.kernel).min(most).min(groups),
            rows,
        }
    }

    /// Elements of an output gradient whose positions are padded to whole panels.
    fn grads(&self, g: &Geometry) -> usize {
        match padded(g.output.c) == g.output.c {
            true => 0,
            false => self.group * g.output.area() * padded(g.output.c),
        }
    }
}

pub(super) fn scratch(g: &Geometry) -> Scratch {
    let plan = Plan::new(g);
    Scratch {
        fixed: plan.parts * g.fan_in() * padded(g.output.c),
        lane: (plan.group * plan.frame.len() + plan.grads(g)).max(1),
    }
}

/// The gradient of the weights, added to.
pub(super) fn run(
    g: &Geometry,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
    scratch_memory: &mut [f32],
) {
    let plan = Plan::new(g);
    let Scratch { fixed, lane } = scratch(g);
    let (partials, lanes) = scratch_memory.split_at_mut(fixed);
    let row = g.kernel * g.input.c * padded(g.output.c);
    let tasks = partials.chunks_exact_mut(plan.rows * row).enumerate();
    for_each_with_scratch(tasks, lanes, lane, |(task, sums), lane| {
        let each = g.kernel / plan.rows;
        let (p, first_row) = (task / each, task % each * plan.rows);
        let groups = part(g.output.n.div_ceil(plan.group), plan.parts, p);
        let mut add = false;
        for group in groups {
            let first = group * plan.group;
            let count = plan.group.min(g.output.n - first);
            add_group(
                g,
                &plan,
                (first, count, first_row),
                input,
                output_grad,
                (sums, add),
                lane,
            );
            add = true;
        }
        if !add {
            sums.fill(0.0);
        }
    });
    add_partials(g, partials, weight_grad);
}

/// Sums over a group of examples for the rows of the kernel of a task.
fn add_group(
    g: &Geometry,
    plan: &Plan,
    (first, count, first_row): (usize, usize, usize),
    input: &[f32],
    output_grad: &[f32],
    (sums, add): (&mut [f32], bool),
    lane: &mut [f32],
) {
    let (co, columns) = (g.output.c, padded(g.output.c));
    let (frames, grads) = lane.split_at_mut(plan.group * plan.frame.len());
    let inputs = &input[first * g.input.example()..][..count * g.input.example()];
    let from = match plan.frame.len() {
        0 => inputs,
        size => {
            let examples = inputs.chunks_exact(g.input.example());
            for (example, room) in examples.zip(frames.chunks_exact_mut(size)) {
                plan.frame.fill(example, room);
            }
            &*frames
        }
    };
    let grad = &output_grad[first * g.output.example()..][..count * g.output.example()];
    let grad = match plan.grads(g) {
        0 => grad,
        _ => {
            for (to, from) in grads.chunks_exact_mut(columns).zip(grad.chunks_exact(co)) {
                let (to, rest) = to.split_at_mut(co);
                to.copy_from_slice(from);
                rest.fill(0.0);
            }
            &*grads
        }
    };
    let size = match plan.frame.len() {
        0 => g.input.example(),
        size => size,
    };
    let rows = sums.chunks_exact_mut(g.kernel * g.input.c * columns);
    for (ky, to) in (first_row..).zip(rows) {
        let lines: Vec<Line> = (0..count)
            .flat_map(|n| (0..g.output.h).map(move |oy| (n, oy)))
            .map(|(n, oy)| Line {
                a: n * size + plan.frame.at(oy * g.stride + ky, 0),
                b: (n * g.output.h + oy) * g.output.w * columns,
                count: g.output.w,
            })
            .collect();
        dispatch(Outer {
            lines: &lines,
            a: from,
            a_step: g.stride * g.input.c,
            height: g.kernel * g.input.c,
            b: grad,
            b_step: columns,
            columns,
            to,
            to_step: columns,
            add,
        });
    }
}

/// Adds the sum of all partial gradients, each `[ky][kx][in][out, padded]`, first to last.
pub(super) fn add_partials(g: &Geometry, partials: &[f32], grad: &mut [f32]) {
    let (ci, columns, area) = (g.input.c, padded(g.output.c), g.kernel * g.kernel);
    let lines = grad.par_chunks_mut(LINE * ci * area);
    lines.enumerate().for_each(|(index, grad)| {
        let first = index * LINE;
        let count = grad.len() / (ci * area);
        for (i, tap) in (0..ci).flat_map(|i| (0..area).map(move |tap| (i, tap))) {
            let mut sum = [0.0f32; LINE];
            for partial in partials.chunks_exact(g.fan_in() * columns) {
                let row = &partial[(tap * ci + i) * columns + first..][..count];
                sum.iter_mut().zip(row).for_each(|(s, r)| *s += r);
            }
            for (o, s) in sum[..count].iter().enumerate() {
                grad[(o * ci + i) * area + tap] += s;
            }
        }
    });
}
