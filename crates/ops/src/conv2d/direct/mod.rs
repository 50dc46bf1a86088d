//! Convolution as it is defined: products of input patches and weights.
//!
//! Nothing is gathered. An example is copied once into a padded frame; then every row of a patch,
//! all its columns and channels, is one contiguous run, and the register kernels read patches where
//! they lie. The gradient of the input is computed the same way from framed output gradients: at
//! stride `s` the positions of the input fall into `s × s` *phases*, each of which sees its own
//! subset of the kernel.
//!
//! Maps of a few positions ([`few`]) would read more frame than input. There the batch takes the
//! part of the columns, and only the taps that ever meet the input are computed. Kernels of one tap
//! ([`pointwise`]) have no rows to care for. Where inputs have few channels, patches are brought
//! together after all ([`patches`]), and gradients come from one product for all taps ([`scatter`]).

mod few;
pub(super) mod frame;
mod input_gradient;
pub(super) mod pack;
mod patches;
mod pointwise;
mod scatter;
mod weight_gradient;

use super::geometry::{Geometry, Padding};
use crate::panels::{Rows, padded};
use crate::parallel::for_each_with_scratch;
use few::Few;
use frame::Frame;
use pack::{Order, Slots, pack};
use patches::Patches;
use pointwise::Pointwise;
use pulp::{Arch, WithSimd};
use scatter::Scatter;

/// Tasks that every pass is cut into where the batch is large enough.
pub(super) const TASKS: usize = 16;
/// Elements of weights that the second-level cache keeps beside an example.
const CACHED_WEIGHTS: usize = 48 << 10;

/// Working memory: one fixed part and one lane for each thread.
#[derive(Clone, Copy, Debug)]
struct Scratch {
    fixed: usize,
    lane: usize,
}

impl Scratch {
    const fn len(self, threads: usize) -> usize {
        self.fixed + threads * self.lane
    }
}

/// The form that computes a convolution.
enum Form {
    /// A map of few positions.
    Few(Few),
    /// A kernel of one tap.
    Pointwise(Pointwise),
    /// Row by row of framed examples.
    Framed,
}

impl Form {
    fn new(g: &Geometry) -> Self {
        if let Some(pointwise) = Pointwise::new(g) {
            return Self::Pointwise(pointwise);
        }
        Few::new(g).map_or(Self::Framed, Self::Few)
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Few(_) => "direct, by position",
            Self::Pointwise(_) => "product",
            Self::Framed => "direct",
        }
    }
}

/// What a summary calls it.
pub(super) fn name(g: &Geometry) -> &'static str {
    Form::new(g).name()
}

/// Elements of working memory for all passes.
pub(super) fn scratch_len(g: &Geometry, threads: usize) -> usize {
    let threads = threads.max(1);
    match Form::new(g) {
        Form::Few(few) => few.scratch_len(threads),
        Form::Pointwise(pointwise) => pointwise.scratch_len(threads),
        Form::Framed => {
            let input = match Scatter::new(g) {
                Some(scatter) => scatter.scratch(),
                None => input_gradient::scratch(g),
            };
            let output = match Patches::new(g) {
                Some(patches) => patches.scratch(),
                None => forward_scratch(g),
            };
            let passes = [output, input, weight_gradient::scratch(g)];
            let lens = passes.into_iter().map(|s| s.len(threads));
            lens.max().unwrap_or(0)
        }
    }
}

/// The output of a batch.
pub(super) fn forward(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    scratch: &mut [f32],
) {
    match Form::new(g) {
        Form::Few(few) => few.forward(input, weight, bias, output, scratch),
        Form::Pointwise(pointwise) => pointwise.forward(input, weight, bias, output, scratch),
        Form::Framed => match Patches::new(g) {
            Some(patches) => patches.forward(input, weight, bias, output, scratch),
            None => framed_forward(g, input, weight, bias, output, scratch),
        },
    }
}

fn framed_forward(
    g: &Geometry,
    input: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    output: &mut [f32],
    scratch: &mut [f32],
) {
    let Scratch { fixed, lane } = forward_scratch(g);
    let (panels, lanes) = scratch.split_at_mut(fixed);
    pack(g, weight, Order::InOut, &Slots::all(g), panels);
    let frame = Frame::of_input(g);
    // Rows of the kernel that all outputs of an example meet before the next ones.
    let taps = if fixed > CACHED_WEIGHTS { 1 } else { g.kernel };
    let examples = output.chunks_exact_mut(g.output.example()).enumerate();
    for_each_with_scratch(examples, lanes, lane, |(n, out), lane| {
        let (framed, line) = lane.split_at_mut(frame.len());
        let input = &input[n * g.input.example()..][..g.input.example()];
        let framed = frame.fill(input, framed);
        for ky in (0..g.kernel).step_by(taps) {
            let rows = out.chunks_exact_mut(g.output.w * g.output.c);
            for (oy, out) in rows.enumerate() {
                let runs: Runs = (ky..g.kernel.min(ky + taps))
                    .map(|ky| (frame.at(oy * g.stride + ky, 0), ky * g.kernel * g.input.c))
                    .collect();
                let product = Product {
                    count: g.output.w,
                    inner: g.kernel * g.input.c,
                    runs: &runs,
                    from: framed,
                    from_step: g.stride * g.input.c,
                    panels,
                    height: g.fan_in(),
                    columns: g.output.c,
                };
                match ky {
                    0 => product.write(out, g.output.c, bias, line),
                    _ => product.add(out, g.output.c, line),
                }
            }
        }
    });
}

fn forward_scratch(g: &Geometry) -> Scratch {
    Scratch {
        fixed: g.fan_in() * padded(g.output.c),
        lane: Frame::of_input(g).len() + g.output.w * padded(g.output.c),
    }
}

/// The gradient of the input, overwritten.
pub(super) fn backward_input(
    g: &Geometry,
    output_grad: &[f32],
    weight: &[f32],
    input_grad: &mut [f32],
    scratch: &mut [f32],
) {
    match Form::new(g) {
        Form::Few(few) => few.backward_input(output_grad, weight, input_grad, scratch),
        Form::Pointwise(pointwise) => {
            pointwise.backward_input(output_grad, weight, input_grad, scratch)
        }
        Form::Framed => match Scatter::new(g) {
            Some(scatter) => scatter.run(output_grad, weight, input_grad, scratch),
            None => input_gradient::run(g, output_grad, weight, input_grad, scratch),
        },
    }
}

/// The gradient of the weights, added to.
pub(super) fn backward_weight(
    g: &Geometry,
    input: &[f32],
    output_grad: &[f32],
    weight_grad: &mut [f32],
    scratch: &mut [f32],
) {
    match Form::new(g) {
        Form::Few(few) => few.backward_weight(input, output_grad, weight_grad, scratch),
        Form::Pointwise(pointwise) => {
            pointwise.backward_weight(input, output_grad, weight_grad, scratch)
        }
        Form::Framed => weight_gradient::run(g, input, output_grad, weight_grad, scratch),
    }
}

/// Where the runs of a row begin, and at which rows of the panels.
type Runs = Vec<(usize, usize)>;

/// Runs a pass with the best instruction set of this machine.
fn run(pass: impl WithSimd<Output = ()>) {
    Arch::new().dispatch(pass);
}

/// Rows times panels whose results have any number of columns.
struct Product<'a> {
    count: usize,
    inner: usize,
    runs: &'a [(usize, usize)],
    from: &'a [f32],
    from_step: usize,
    panels: &'a [f32],
    height: usize,
    columns: usize,
}

impl Product<'_> {
    /// Writes results `step` elements apart. `line` has room for all of them, each padded to whole
    /// panels.
    fn write(self, to: &mut [f32], step: usize, bias: Option<&[f32]>, line: &mut [f32]) {
        let columns = padded(self.columns);
        if columns == self.columns {
            let add = bias.is_some();
            if let Some(bias) = bias {
                for to in to.chunks_mut(step).take(self.count) {
                    to[..columns].copy_from_slice(bias);
                }
            }
            return self.multiply(to, step, add);
        }
        let (count, wanted) = (self.count, self.columns);
        self.multiply(line, columns, false);
        let rows = to.chunks_mut(step).zip(line.chunks_exact(columns));
        for (to, from) in rows.take(count) {
            to[..wanted].copy_from_slice(&from[..wanted]);
            if let Some(bias) = bias {
                to.iter_mut().zip(bias).for_each(|(to, bias)| *to += bias);
            }
        }
    }

    /// Adds to what results written before hold.
    fn add(self, to: &mut [f32], step: usize, line: &mut [f32]) {
        let columns = padded(self.columns);
        if columns == self.columns {
            return self.multiply(to, step, true);
        }
        let (count, wanted) = (self.count, self.columns);
        self.multiply(line, columns, false);
        let rows = to.chunks_mut(step).zip(line.chunks_exact(columns));
        for (to, from) in rows.take(count) {
            let pairs = to[..wanted].iter_mut().zip(from);
            pairs.for_each(|(to, from)| *to += from);
        }
    }

    fn multiply(self, to: &mut [f32], to_step: usize, add: bool) {
        run(Rows {
            count: self.count,
            inner: self.inner,
            runs: self.runs,
            from: self.from,
            from_step: self.from_step,
            panels: self.panels,
            height: self.height,
            columns: padded(self.columns),
            to,
            to_step,
            add,
        });
    }
}
