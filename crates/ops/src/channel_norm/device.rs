//! Normalisation of groups on a device, with its tail: the launches of `kernels/channel_norm.cu`.

use super::Tail;
use crate::Dims;
use crate::activation::Activation;
use crate::device::{self, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::CHANNEL_NORM};

/// Most warps of a block that adds partial sums up: `FINISHERS` of the kernels.
const FINISHERS: usize = 16;

/// A kernel that reads one channel at a time, and the same for four.
type Versions = [Kernel; 2];

static MOMENTS: Versions = [
    Kernel::new(&CHANNEL_NORM, "moments"),
    Kernel::new(&CHANNEL_NORM, "moments_v2"),
];
static FINISH_MOMENTS: Kernel = Kernel::new(&CHANNEL_NORM, "finish_moments");
static RUNNING_MOMENTS: Kernel = Kernel::new(&CHANNEL_NORM, "running_moments");
static APPLY: Versions = [
    Kernel::new(&CHANNEL_NORM, "apply"),
    Kernel::new(&CHANNEL_NORM, "apply_v2"),
];
static GRADIENT_SUMS: Versions = [
    Kernel::new(&CHANNEL_NORM, "gradient_sums"),
    Kernel::new(&CHANNEL_NORM, "gradient_sums_v2"),
];
static FINISH_GRADIENTS: Kernel = Kernel::new(&CHANNEL_NORM, "finish_gradients");
static PARAMETER_GRADIENTS: Kernel = Kernel::new(&CHANNEL_NORM, "parameter_gradients");
static INPUT_GRADIENTS: Versions = [
    Kernel::new(&CHANNEL_NORM, "input_gradients"),
    Kernel::new(&CHANNEL_NORM, "input_gradients_v2"),
];

/// Groups of rows that are normalised together, on a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Groups<'a> {
    pub(crate) device: &'a Device,
    pub(crate) groups: usize,
    pub(crate) rows: usize,
    pub(crate) channels: usize,
    pub(crate) tail: Tail,
}

/// Running statistics that move with the batch.
pub(crate) struct Running<'a> {
    /// Mean, variance and number of batches.
    pub(crate) state: &'a [Span],
    /// Share of the batch.
    pub(crate) momentum: f32,
}

/// What an element is normalised with, and the value and gradient at it.
struct At<'a> {
    x: &'a Span,
    params: &'a [Span],
    saved: &'a Span,
}

impl At<'_> {
    /// The spans that hold something for every channel. An arena's begin at whole cache lines, a network's
    /// parameters where the ones before them end.
    fn of_channels(&self) -> [Option<&Span>; 3] {
        [
            Some(self.saved),
            Some(&self.params[0]),
            Some(&self.params[1]),
        ]
    }
}

impl<'a> Groups<'a> {
    /// The whole batch as one group.
    pub(crate) fn batch(device: &'a Device, dims: Dims, tail: Tail) -> Self {
        Self {
            device,
            groups: 1,
            rows: dims.n * dims.area(),
            channels: dims.c,
            tail,
        }
    }

    /// Every example a group.
    pub(crate) fn examples(device: &'a Device, dims: Dims, tail: Tail) -> Self {
        Self {
            device,
            groups: dims.n,
            rows: dims.area(),
            channels: dims.c,
            tail,
        }
    }

    fn share(&self) -> usize {
        device::share(self.rows, self.channels, self.groups)
    }

    fn shares(&self) -> usize {
        self.rows.div_ceil(self.share())
    }

    /// Two sums a channel of every share, and two means a channel of every group.
    pub(crate) fn scratch_len(&self) -> usize {
        2 * self.channels * self.groups * (self.shares() + 1)
    }

    /// One block for each share of each tile of channels.
    fn blocks(&self) -> Launch {
        let tiles = self.groups * self.channels.div_ceil(32);
        Launch {
            grid: [tiles as u32, self.shares() as u32, 1],
            ..Launch::linear(1, Launch::THREADS)
        }
    }

    /// The version that takes as many channels at once as the geometry allows and the spans that elements
    /// and channels lie in, and how many these are.
    fn version<'k>(&self, kernels: &'k Versions, spans: &[Option<&Span>]) -> (&'k Kernel, usize) {
        let aligned = |span: &Option<&Span>| span.is_none_or(|s| s.is_aligned_to(16));
        match self.channels.is_multiple_of(4) && spans.iter().all(aligned) {
            true => (&kernels[1], 4),
            false => (&kernels[0], 1),
        }
    }

    /// One block for each tile of channels of `groups` groups, whose warps take turns with `parts` sums.
    fn finishers(&self, groups: usize, parts: usize) -> Launch {
        let tiles = groups * self.channels.div_ceil(32);
        Launch::linear(tiles as u32, 32 * parts.clamp(1, FINISHERS) as u32)
    }

    fn extents(&self, args: Args) -> Args {
        args.i32(int(self.rows))
            .i32(int(self.channels))
            .i32(int(self.share()))
    }

    /// The rectifier, as kernels take it.
    fn rectifier(&self, args: Args) -> Args {
        match self.tail.rectifier {
            None => args.i32(0).f32(0.0),
            Some(Activation::Relu) => args.i32(1).f32(0.0),
            Some(Activation::LeakyRelu { slope }) => args.i32(2).f32(slope),
        }
    }

    fn elements(&self, args: Args) -> Args {
        let group = self.rows * self.channels;
        args.u32(int(self.groups * group) as u32)
            .u32(int(group) as u32)
            .u32(int(self.channels) as u32)
    }

    /// Takes the statistics of every group into `saved`, and moves the running ones.
    pub(crate) fn statistics(
        &self,
        x: &Span,
        saved: &Span,
        eps: f32,
        running: Option<&Running<'_>>,
        scratch: &Span,
    ) -> Result<(), DeviceError> {
        let moments = self.extents(Args::new().span(x).span(scratch));
        let state = |index: usize| running.map(|r| &r.state[index]);
        let finish = Args::new().span(scratch).span(saved);
        let finish = self.extents(finish).f32(eps);
        let finish = finish.maybe(state(0)).maybe(state(1)).maybe(state(2));
        let finish = finish.f32(running.map_or(0.0, |r| r.momentum));
        // SAFETY: scratch has two sums a channel of every share of every group, `saved` two a channel
        // of every group, the state one a channel and one; x has groups × rows × channels elements.
        // Four at once are read only where `version` found them aligned.
        unsafe {
            let (kernel, _) = self.version(&MOMENTS, &[Some(x)]);
            self.device.launch(kernel, self.blocks(), moments)?;
            let launch = self.finishers(self.groups, self.shares());
            self.device.launch(&FINISH_MOMENTS, launch, finish)
        }
    }

    /// Takes running statistics into `saved`.
    pub(crate) fn running(
        &self,
        state: &[Span],
        saved: &Span,
        eps: f32,
    ) -> Result<(), DeviceError> {
        let args = Args::new().span(&state[0]).span(&state[1]).span(saved);
        // SAFETY: the kernel reads one element a channel of both and writes two.
        unsafe {
            let args = args.i32(int(self.channels)).f32(eps);
            self.device
                .launch(&RUNNING_MOMENTS, Launch::over(self.channels), args)
        }
    }

    /// The output of a forward pass, whose statistics are in `saved`.
    pub(crate) fn output(&self, cx: &device::Forward<'_>) -> Result<(), DeviceError> {
        let at = At {
            x: &cx.inputs[0],
            params: cx.params,
            saved: cx.saved,
        };
        self.apply(&at, cx.inputs.get(1), cx.output)
    }

    /// The same once more.
    pub(crate) fn output_again(&self, cx: &device::Again<'_>) -> Result<(), DeviceError> {
        let at = At {
            x: &cx.inputs[0],
            params: cx.params,
            saved: cx.saved,
        };
        self.apply(&at, cx.inputs.get(1), cx.output)
    }

    fn apply(&self, at: &At<'_>, summand: Option<&Span>, output: &Span) -> Result<(), DeviceError> {
        let args = Args::new().span(at.x).maybe(summand).span(at.saved);
        let args = args.span(&at.params[0]).span(&at.params[1]).span(output);
        let args = self.rectifier(self.elements(args));
        let spans = [Some(at.x), summand, Some(output)];
        let (kernel, wide) = self.version(&APPLY, &[&spans, &at.of_channels()[..]].concat());
        // SAFETY: the kernel touches every element of x, of the output and of the summand if there is
        // one, two statistics a channel of every group and two parameters a channel; four at once only
        // where `version` found all of them aligned.
        unsafe {
            let launch = Launch::over(output.len() / wide);
            self.device.launch(kernel, launch, args)
        }
    }

    /// The gradients that are asked for; with `moving` the statistics depend on the input.
    pub(crate) fn gradients(
        &self,
        cx: &device::Backward<'_>,
        moving: bool,
    ) -> Result<(), DeviceError> {
        let at = At {
            x: &cx.inputs[0],
            params: cx.params,
            saved: cx.saved,
        };
        let y = self.tail.reads_output().then_some(cx.output);
        let sums = 2 * self.channels * self.groups * self.shares();
        let partials = cx.scratch.slice(0..sums);
        let means = cx.scratch.slice(sums..self.scratch_len());
        let moving = moving && cx.input_grads[0].is_some();
        if cx.param_grads.is_some() || moving {
            self.means(&at, y, cx.output_grad, &partials, &means)?;
        }
        if let Some([weight, bias]) = cx.param_grads {
            let args = Args::new().span(&means).span(weight).span(bias);
            let args = args.i32(int(self.groups)).i32(int(self.rows));
            // SAFETY: two means a channel of every group, one element a channel of both gradients.
            unsafe {
                let args = args.i32(int(self.channels));
                let launch = self.finishers(1, self.groups);
                self.device.launch(&PARAMETER_GRADIENTS, launch, args)?;
            }
        }
        let summand = cx.input_grads.get(1).and_then(Option::as_ref);
        let input = cx.input_grads[0].as_ref();
        if input.is_none() && summand.is_none() {
            return Ok(());
        }
        let spans = [Some(at.x), y, Some(cx.output_grad), input, summand];
        let spans = [&spans, &at.of_channels()[..], &[Some(&means)]].concat();
        let (kernel, wide) = self.version(&INPUT_GRADIENTS, &spans);
        let args = Args::new().span(at.x).maybe(y).span(cx.output_grad);
        let args = args.span(at.saved).span(&at.params[0]).span(&at.params[1]);
        let args = args.maybe(moving.then_some(&means));
        let args = args.maybe(input).maybe(summand);
        let args = self.rectifier(self.elements(args));
        // SAFETY: every element of x, of the output where it is read, and of the gradients; two means
        // and statistics a channel of every group, two parameters a channel; four at once only where
        // `version` found all of them aligned.
        unsafe {
            let launch = Launch::over(cx.output_grad.len() / wide);
            self.device.launch(kernel, launch, args)
        }
    }

    /// The means of the gradient behind the rectifier, and of it times the normalised input.
    fn means(
        &self,
        at: &At<'_>,
        y: Option<&Span>,
        grad: &Span,
        partials: &Span,
        means: &Span,
    ) -> Result<(), DeviceError> {
        let sums = Args::new().span(at.x).maybe(y).span(grad).span(at.saved);
        let sums = sums.span(&at.params[0]).span(&at.params[1]).span(partials);
        let sums = self.rectifier(self.extents(sums));
        let finish = Args::new().span(partials).span(means);
        let finish = self.extents(finish);
        let spans = [&[Some(at.x), y, Some(grad)], &at.of_channels()[..]].concat();
        let (kernel, _) = self.version(&GRADIENT_SUMS, &spans);
        // SAFETY: as for the gradients; partial sums as many as `scratch_len` says.
        unsafe {
            self.device.launch(kernel, self.blocks(), sums)?;
            let launch = self.finishers(self.groups, self.shares());
            self.device.launch(&FINISH_GRADIENTS, launch, finish)
        }
    }
}
