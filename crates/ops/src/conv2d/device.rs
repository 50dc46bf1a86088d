//! Convolutions on a device: the launches of `kernels/conv2d.cu`, as products of matrices whose patches
//! are gathered on the way. Fully connected layers are convolutions of maps of one position.

use super::geometry::{Geometry, Padding};
use super::version::{DEPTH, ROWS};
use super::{Conv2d, Version};
use crate::Dims;
use crate::device::{self, OnDevice, Precision, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::CONV2D};

/// The kernels of a pass in the order of [`Version::kernel`].
type Kernels = [Kernel; 6];

static FORWARD: Kernels = [
    Kernel::new(&CONV2D, "convolve_v1"),
    Kernel::new(&CONV2D, "convolve_v2"),
    Kernel::new(&CONV2D, "convolve_v3_any"),
    Kernel::new(&CONV2D, "convolve_v3_64"),
    Kernel::new(&CONV2D, "convolve_v3_128"),
    Kernel::new(&CONV2D, "convolve_v2_tf32"),
];
static INPUT_GRADIENT: Kernels = [
    Kernel::new(&CONV2D, "convolve_input_gradient_v1"),
    Kernel::new(&CONV2D, "convolve_input_gradient_v2"),
    Kernel::new(&CONV2D, "convolve_input_gradient_v3_any"),
    Kernel::new(&CONV2D, "convolve_input_gradient_v3_64"),
    Kernel::new(&CONV2D, "convolve_input_gradient_v3_128"),
    Kernel::new(&CONV2D, "convolve_input_gradient_v2_tf32"),
];
static WEIGHT_GRADIENT: Kernels = [
    Kernel::new(&CONV2D, "convolve_weight_gradient_v1"),
    Kernel::new(&CONV2D, "convolve_weight_gradient_v2"),
    Kernel::new(&CONV2D, "convolve_weight_gradient_v3_any"),
    Kernel::new(&CONV2D, "convolve_weight_gradient_v3_64"),
    Kernel::new(&CONV2D, "convolve_weight_gradient_v3_128"),
    Kernel::new(&CONV2D, "convolve_weight_gradient_v2_tf32"),
];
static PACK: Kernel = Kernel::new(&CONV2D, "pack_weights");
static ADD_PARTIALS: Kernel = Kernel::new(&CONV2D, "add_partials");
static FOLD: Kernel = Kernel::new(&CONV2D, "fold_reflection");
static COLUMN_SUMS: Kernel = Kernel::new(&CONV2D, "column_sums");
static ADD_COLUMN_SUMS: Kernel = Kernel::new(&CONV2D, "add_column_sums");

/// A convolution on a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution<'a> {
    pub(crate) geometry: Geometry,
    pub(crate) device: &'a Device,
    pub(crate) precision: Precision,
    /// The kernels of every pass; `None` leaves them to precision and shapes.
    pub(crate) version: Option<Version>,
}

/// A map that patches are taken from, and the positions that they belong to.
struct Gather<'a> {
    map: &'a Span,
    dims: Dims,
    positions: Dims,
    padding: Padding,
}

impl Gather<'_> {
    /// Whether a step of depth lies within one tap.
    fn in_steps(&self) -> bool {
        self.dims.c.is_multiple_of(DEPTH)
    }
}

impl Geometry {
    /// A fully connected layer of vectors.
    pub(crate) fn of_vectors(input: Dims, out_features: usize) -> Self {
        Self::new(input, out_features, 1, 1, Padding::Zero(0))
    }

    /// The input with its reflected padding, as the input gradient is first computed.
    fn padded(&self) -> Dims {
        let pad = self.padding.width();
        Dims {
            h: self.input.h + 2 * pad,
            w: self.input.w + 2 * pad,
            ..self.input
        }
    }

    /// How far apart positions of the output lie of which one is the eighth after the other.
    fn apart(&self, args: Args) -> Args {
        const POSITIONS: usize = 8;
        let Dims { h, w, .. } = self.output;
        let args = args.i32(int(POSITIONS / w / h));
        args.i32(int(POSITIONS / w % h)).i32(int(POSITIONS % w))
    }

    fn reflects(&self) -> bool {
        matches!(self.padding, Padding::Reflect(p) if p > 0)
    }

    /// Elements of working memory on a device, the larger of the passes.
    pub(crate) fn device_scratch_len(&self) -> usize {
        // Whole words of 16 bytes in front of what follows.
        let packed = self.weights().next_multiple_of(4);
        let padded = if self.reflects() {
            self.padded().len()
        } else {
            0
        };
        let bias = self.positions().div_ceil(self.bias_share()) * self.output.c;
        let shares = Version::ALL.map(|version| self.shares(version));
        let partials = shares.into_iter().max().unwrap_or(1) * self.weights();
        (packed + padded).max(partials).max(bias)
    }

    fn bias_share(&self) -> usize {
        device::share(self.positions(), self.output.c, 1)
    }
}

impl Convolution<'_> {
    /// The version of a pass that takes patches of `from` to so many channels.
    fn of_maps(&self, from: &Gather<'_>, channels: usize) -> Version {
        let positions = from.positions.n * from.positions.area();
        let chosen = || Version::of_maps(self.precision, positions, channels);
        let version = self.version.unwrap_or_else(chosen);
        version.for_steps(from.in_steps())
    }

    /// The last arguments of the products: the map, the positions, and how they look at it.
    fn gather(&self, args: Args, from: &Gather<'_>) -> Args {
        let Dims { n, h, w, c } = from.dims;
        // Kernels count the positions of both maps in 31 bits.
        int(n * h * w);
        let args = args.i32(int(h)).i32(int(w)).i32(int(c));
        let Dims { n, h, w, .. } = from.positions;
        let args = args.i32(int(h)).i32(int(w)).i32(int(n * h * w));
        let reflect = matches!(from.padding, Padding::Reflect(_));
        args.i32(int(self.geometry.kernel))
            .i32(int(self.geometry.stride))
            .i32(int(from.padding.width()))
            .i32(i32::from(reflect))
    }

    /// Weights in the order in which a product reads them.
    fn pack(&self, weight: &Span, packed: &Span, transposed: bool) -> Result<(), DeviceError> {
        let g = &self.geometry;
        let args = Args::new().span(weight).span(packed);
        let args = args.i32(int(g.output.c)).i32(int(g.input.c));
        let args = args.i32(int(g.kernel * g.kernel));
        // SAFETY: the kernel touches every weight and as many elements of `packed`.
        unsafe {
            let launch = Launch::over(g.weights());
            self.device
                .launch(&PACK, launch, args.i32(i32::from(transposed)))
        }
    }

    /// The output.
    pub(crate) fn forward(
        &self,
        x: &Span,
        (weight, bias): (&Span, Option<&Span>),
        output: &Span,
        scratch: &Span,
    ) -> Result<(), DeviceError> {
        let g = &self.geometry;
        let packed = scratch.slice(0..g.weights());
        self.pack(weight, &packed, false)?;
        let from = Gather {
            map: x,
            dims: g.input,
            positions: g.output,
            padding: g.padding,
        };
        let args = Args::new().span(from.map).span(&packed).maybe(bias);
        let args = args.span(output).i32(int(g.output.c));
        // SAFETY: the kernel reads the map where positions of the output look at it, the packed
        // weights and one bias a channel, and writes the output's positions × channels.
        unsafe {
            let version = self.of_maps(&from, g.output.c);
            let launch = tiles(version, g.positions(), g.output.c, 1);
            let kernel = &FORWARD[version.kernel(from.in_steps())];
            self.device.launch(kernel, launch, self.gather(args, &from))
        }
    }

    /// The gradient with respect to the input.
    pub(crate) fn input_gradient(
        &self,
        output_grad: &Span,
        weight: &Span,
        input_grad: &Span,
        scratch: &Span,
    ) -> Result<(), DeviceError> {
        let g = &self.geometry;
        let packed = scratch.slice(0..g.weights());
        self.pack(weight, &packed, true)?;
        let (positions, padding, to) = match g.reflects() {
            true => {
                let from = g.weights().next_multiple_of(4);
                let to = scratch.slice(from..from + g.padded().len());
                (g.padded(), Padding::Zero(0), to)
            }
            false => (
                g.input,
                Padding::Zero(g.padding.width()),
                input_grad.clone(),
            ),
        };
        let from = Gather {
            map: output_grad,
            dims: g.output,
            positions,
            padding,
        };
        let args = Args::new().span(from.map).span(&packed).span(&to);
        let args = args.i32(int(g.input.c));
        // SAFETY: as for the output, with the gradient of the output as the map and the positions of
        // the (padded) input.
        unsafe {
            let rows = positions.n * positions.area();
            let version = self.of_maps(&from, g.input.c);
            let launch = tiles(version, rows, g.input.c, 1);
            let kernel = &INPUT_GRADIENT[version.kernel(from.in_steps())];
            self.device
                .launch(kernel, launch, self.gather(args, &from))?;
        }
        match g.reflects() {
            true => self.fold(&to, input_grad),
            false => Ok(()),
        }
    }

    /// Adds what lies in the reflected padding to where it comes from.
    fn fold(&self, padded: &Span, input_grad: &Span) -> Result<(), DeviceError> {
        let Dims { n, h, w, c } = self.geometry.input;
        let args = Args::new().span(padded).span(input_grad);
        let args = args.i32(int(n)).i32(int(h)).i32(int(w)).i32(int(c));
        // SAFETY: the kernel writes every element of the input and reads its images in the padded map.
        unsafe {
            let args = args.i32(int(self.geometry.padding.width()));
            let launch = Launch::over(input_grad.len());
            self.device.launch(&FOLD, launch, args)
        }
    }

    /// Adds the gradient with respect to the weights.
    pub(crate) fn weight_gradient(
        &self,
        x: &Span,
        output_grad: &Span,
        weight_grad: &Span,
        scratch: &Span,
    ) -> Result<(), DeviceError> {
        let g = &self.geometry;
        let chosen = || Version::of_weights(self.precision, g);
        let version = self.version.unwrap_or_else(chosen);
        let whole = g.input.c.is_multiple_of(DEPTH) && g.output.c.is_multiple_of(4);
        let version = version.for_steps(whole);
        let shares = g.shares(version);
        let partials = scratch.slice(0..shares * g.weights());
        let from = Gather {
            map: x,
            dims: g.input,
            positions: g.output,
            padding: g.padding,
        };
        let args = Args::new().span(from.map).span(output_grad);
        let args = args.span(&partials).i32(int(g.output.c));
        let args = args.i32(int(g.share(version)));
        let args = match version {
            Version::V1 | Version::V2 | Version::V2Tf32 => args,
            Version::V3Narrow | Version::V3Wide => g.apart(args),
        };
        let sum = Args::new().span(&partials).span(weight_grad);
        let sum = sum.i32(int(shares)).i32(int(g.output.c));
        let sum = sum.i32(int(g.input.c)).i32(int(g.kernel * g.kernel));
        // SAFETY: block z writes the z-th partial result, of which there are `shares`; the kernels
        // read the map where positions of the output look at it, and touch every weight's gradient.
        unsafe {
            let launch = tiles(version, g.fan_in(), g.output.c, shares);
            let kernel = &WEIGHT_GRADIENT[version.kernel(whole)];
            self.device
                .launch(kernel, launch, self.gather(args, &from))?;
            let launch = Launch::over(g.weights());
            self.device.launch(&ADD_PARTIALS, launch, sum)
        }
    }

    /// Adds the gradient with respect to the bias.
    pub(crate) fn bias_gradient(
        &self,
        output_grad: &Span,
        bias_grad: &Span,
        scratch: &Span,
    ) -> Result<(), DeviceError> {
        let (rows, columns) = (self.geometry.positions(), self.geometry.output.c);
        let share = self.geometry.bias_share();
        let shares = rows.div_ceil(share);
        let partials = scratch.slice(0..shares * columns);
        let sums = Args::new().span(output_grad).span(&partials);
        let sums = sums.i32(int(rows)).i32(int(columns)).i32(int(share));
        let add = Args::new().span(&partials).span(bias_grad);
        let add = add.i32(int(shares)).i32(int(columns));
        let launch = Launch {
            grid: [columns.div_ceil(32) as u32, shares as u32, 1],
            ..Launch::linear(1, Launch::THREADS)
        };
        // SAFETY: the kernels touch rows × columns elements of the gradient, shares × columns partial
        // sums and one element a column of the result.
        unsafe {
            self.device.launch(&COLUMN_SUMS, launch, sums)?;
            let launch = Launch::over(columns);
            self.device.launch(&ADD_COLUMN_SUMS, launch, add)
        }
    }

    /// Every gradient that is asked for.
    pub(crate) fn gradients(&self, cx: &device::Backward<'_>) -> Result<(), DeviceError> {
        if let Some(grad) = &cx.input_grads[0] {
            self.input_gradient(cx.output_grad, &cx.params[0], grad, cx.scratch)?;
        }
        let Some([weight, bias @ ..]) = cx.param_grads else {
            return Ok(());
        };
        self.weight_gradient(&cx.inputs[0], cx.output_grad, weight, cx.scratch)?;
        match bias {
            [bias] => self.bias_gradient(cx.output_grad, bias, cx.scratch),
            _ => Ok(()),
        }
    }
}

/// One block for each tile of a result of rows × columns, `layers` times.
fn tiles(version: Version, rows: usize, columns: usize, layers: usize) -> Launch {
    Launch {
        grid: [
            rows.div_ceil(ROWS) as u32,
            columns.div_ceil(version.columns()) as u32,
            layers as u32,
        ],
        ..Launch::linear(1, Launch::THREADS)
    }
}

impl OnDevice for Conv2d {
    fn device_scratch_len(&self, inputs: &[Dims]) -> usize {
        self.geometry(inputs).map_or(0, |g| g.device_scratch_len())
    }

    fn device_forward(&self, cx: &device::Forward<'_>) -> Result<(), DeviceError> {
        let convolution = Convolution {
            geometry: self.accepted(cx.input_dims),
            device: cx.device,
            precision: cx.precision,
            version: cx.convolution,
        };
        let params = (&cx.params[0], cx.params.get(1));
        convolution.forward(&cx.inputs[0], params, cx.output, cx.scratch)
    }

    fn device_backward(&self, cx: &device::Backward<'_>) -> Result<(), DeviceError> {
        let convolution = Convolution {
            geometry: self.accepted(cx.input_dims),
            device: cx.device,
            precision: cx.precision,
            version: cx.convolution,
        };
        convolution.gradients(cx)
    }
}
