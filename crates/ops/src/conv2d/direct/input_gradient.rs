//! The gradient of the input, phase by phase.
//!
//! With `X = s·j + b` a column of the padded input, tap `kx = b + s·t` carries the gradient of
//! output column `j − t`. So all positions of a phase `b` see the same taps, and neighbouring ones
//! see neighbouring output gradients: a phase is a convolution at stride 1. Taps are packed in
//! falling order, so that a run of them meets rising columns.

use super::super::geometry::{Geometry, Padding};
use super::frame::Frame;
use super::pack::{Order, Slots, pack};
use super::{Product, Runs, Scratch};
use crate::panels::padded;
use crate::parallel::for_each_with_scratch;
use std::ops::Range;

/// How the gradient of the input is laid out.
struct Plan {
    /// The framed output gradient, and how many zeros come before it.
    frame: Frame,
    before: usize,
    /// Rows and columns of the padded input that are wanted.
    rows: Range<usize>,
    columns: Range<usize>,
    /// Whether the padded input is folded back afterwards.
    fold: bool,
}

impl Plan {
    fn new(g: &Geometry) -> Self {
        let (pad, before) = (g.padding.width(), g.kernel.div_ceil(g.stride) - 1);
        let fold = matches!(g.padding, Padding::Reflect(_));
        let wanted = |extent: usize| match fold {
            true => 0..extent + 2 * pad,
            false => pad..extent + pad,
        };
        let (rows, columns) = (wanted(g.input.h), wanted(g.input.w));
        // The last wanted position looks this far beyond the output gradient.
        let beyond = |end: usize, extent: usize| ((end - 1) / g.stride + 1).saturating_sub(extent);
        let after = beyond(rows.end, g.output.h).max(beyond(columns.end, g.output.w));
        Self {
            frame: Frame::of_grad(g, before, after),
            before,
            rows,
            columns,
            fold,
        }
    }

    /// Elements of the plane that is folded back.
    fn plane(&self, g: &Geometry) -> usize {
        match self.fold {
            true => self.rows.len() * self.columns.len() * g.input.c,
            false => 0,
        }
    }
}

/// Taps of one dimension that meet the positions of a phase, in falling order.
fn taps(g: &Geometry, phase: usize) -> Vec<usize> {
    let mut taps: Vec<usize> = (phase..g.kernel).step_by(g.stride).collect();
    taps.reverse();
    taps
}

/// Rows and columns of one phase, with the packed weights they see.
struct Phase<'a> {
    /// Remainders of the rows and columns.
    at: (usize, usize),
    /// Taps in each dimension.
    taps: (usize, usize),
    panels: &'a [f32],
}

pub(super) fn scratch(g: &Geometry) -> Scratch {
    let plan = Plan::new(g);
    let line = plan.columns.len().div_ceil(g.stride) * padded(g.input.c);
    Scratch {
        fixed: g.kernel * g.kernel * g.output.c * padded(g.input.c),
        lane: plan.frame.len() + plan.plane(g) + line,
    }
}

/// The gradient of the input, overwritten.
pub(super) fn run(
    g: &Geometry,
    output_grad: &[f32],
    weight: &[f32],
    input_grad: &mut [f32],
    scratch_memory: &mut [f32],
) {
    let plan = Plan::new(g);
    let Scratch { fixed, lane } = scratch(g);
    let (packed, lanes) = scratch_memory.split_at_mut(fixed);
    let phases = pack_phases(g, weight, packed);
    let examples = input_grad.chunks_exact_mut(g.input.example()).enumerate();
    for_each_with_scratch(examples, lanes, lane, |(n, out), lane| {
        let (framed, rest) = lane.split_at_mut(plan.frame.len());
        let (plane, line) = rest.split_at_mut(plan.plane(g));
        let grad = &output_grad[n * g.output.example()..][..g.output.example()];
        let framed = plan.frame.fill(grad, framed);
        let target = if plan.fold { &mut *plane } else { &mut *out };
        for phase in &phases {
            write_phase(g, &plan, phase, framed, target, line);
        }
        if plan.fold {
            fold(g, plane, out);
        }
    });
}

/// Packs the weights of every phase.
fn pack_phases<'a>(g: &Geometry, weight: &[f32], packed: &'a mut [f32]) -> Vec<Phase<'a>> {
    let mut rest = packed;
    let mut phases = Vec::with_capacity(g.stride * g.stride);
    for (a, b) in (0..g.stride).flat_map(|a| (0..g.stride).map(move |b| (a, b))) {
        let (rows, columns) = (taps(g, a), taps(g, b));
        let slots = rows
            .iter()
            .flat_map(|ky| columns.iter().map(move |kx| ky * g.kernel + kx));
        let slots = Slots(slots.collect());
        let size = slots.0.len() * g.output.c * padded(g.input.c);
        let (head, tail) = std::mem::take(&mut rest).split_at_mut(size);
        rest = tail;
        pack(g, weight, Order::OutIn, &slots, head);
        phases.push(Phase {
            at: (a, b),
            taps: (rows.len(), columns.len()),
            panels: head,
        });
    }
    phases
}

/// Writes all positions of one phase to the wanted part of the padded input.
fn write_phase(
    g: &Geometry,
    plan: &Plan,
    phase: &Phase<'_>,
    framed: &[f32],
    target: &mut [f32],
    line: &mut [f32],
) {
    let ((a, b), (ci, co)) = (phase.at, (g.input.c, g.output.c));
    let first = |range: &Range<usize>, phase: usize| {
        range.start + (phase + g.stride - range.start % g.stride) % g.stride
    };
    let x = first(&plan.columns, b);
    let count = plan.columns.end.saturating_sub(x).div_ceil(g.stride);
    for y in (first(&plan.rows, a)..plan.rows.end).step_by(g.stride) {
        let at = (y - plan.rows.start) * plan.columns.len() + x - plan.columns.start;
        if count == 0 {
            continue;
        }
        let to = &mut target[at * ci..];
        if phase.taps.0 * phase.taps.1 == 0 {
            let positions = to.chunks_mut(g.stride * ci).take(count);
            positions.for_each(|to| to[..ci].fill(0.0));
            continue;
        }
        // The first tap is the largest one, so it meets the first row and column.
        let row = y / g.stride + plan.before + 1 - phase.taps.0;
        let column = x / g.stride + plan.before + 1 - phase.taps.1;
        let inner = phase.taps.1 * co;
        let runs: Runs = (0..phase.taps.0)
            .map(|t| (plan.frame.at(row + t, column), t * inner))
            .collect();
        let product = Product {
            count,
            inner,
            runs: &runs,
            from: framed,
            from_step: co,
            panels: phase.panels,
            height: phase.taps.0 * inner,
            columns: ci,
        };
        product.write(to, g.stride * ci, None, line);
    }
}

/// Adds every position of the padded `plane` to the input position it mirrors.
pub(super) fn fold(g: &Geometry, plane: &[f32], input_grad: &mut [f32]) {
    let (c, w) = (g.input.c, g.input.w);
    let frame = Frame::of_input(g);
    input_grad.fill(0.0);
    let width = w + 2 * g.padding.width();
    for (y, row) in plane.chunks_exact(width * c).enumerate() {
        for (x, from) in row.chunks_exact(c).enumerate() {
            if let (Some(y), Some(x)) = (frame.source(y, g.input.h), frame.source(x, w)) {
                let to = &mut input_grad[(y * w + x) * c..][..c];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
    }
}
