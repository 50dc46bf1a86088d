//! Convolutions on a device: the launches of `kernels/conv2d.cu`, as products of matrices whose patches
//! are gathered on the way. Fully connected layers are convolutions of maps of one position.

use super::geometry::{Geometry, Padding};
use super::room::Room;
use super::tiles::{FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT};
use super::version::DEPTH;
use super::{Conv2d, Version};
use crate::Dims;
use crate::device::{self, OnDevice, Precision, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::CONV2D};

static PAD: Kernel = Kernel::new(&CONV2D, "pad_channels");
static PACK: Kernel = Kernel::new(&CONV2D, "pack_weights");
static ADD_PARTIALS: Kernel = Kernel::new(&CONV2D, "add_partials");
static ADD_MANY_PARTIALS: Kernel = Kernel::new(&CONV2D, "add_many_partials");
static FOLD: Kernel = Kernel::new(&CONV2D, "fold_reflection");
static COLUMN_SUMS: Kernel = Kernel::new(&CONV2D, "column_sums");
static ADD_COLUMN_SUMS: Kernel = Kernel::new(&CONV2D, "add_column_sums");

/// Strides up to this one have no more phases than a grid has layers, 65,535; longer ones are computed without.
const LONGEST_STRIDE: usize = 255;

/// So many partial results are added by several threads an element: their elements are few, too few for a thread
/// each to hide how long memory takes.
const MANY_PARTIALS: usize = 16;

/// A convolution on a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Convolution<'a> {
    pub(crate) geometry: Geometry,
    pub(crate) device: &'a Device,
    pub(crate) precision: Precision,
    /// The kernels of every pass; `None` leaves them to precision and shapes.
    pub(crate) version: Option<Version>,
}

/// A map as kernels read it, with its padded channels.
#[derive(Clone)]
struct Map {
    span: Span,
    dims: Dims,
}

/// A map that patches are taken from, and the positions that they belong to.
struct Gather<'a> {
    map: &'a Map,
    positions: Dims,
    padding: Padding,
}

impl Gather<'_> {
    /// Whether half a step of depth lies within one tap.
    fn in_halves(&self) -> bool {
        self.map.dims.c.is_multiple_of(DEPTH / 2)
    }
}

impl Geometry {
    /// A fully connected layer of vectors.
    pub(crate) fn of_vectors(input: Dims, out_features: usize) -> Self {
        Self::new(input, out_features, 1, 1, Padding::Zero(0))
    }

    /// How far apart positions of the output lie of which one is the eighth after the other.
    fn apart(&self, args: Args) -> Args {
        const POSITIONS: usize = 8;
        let Dims { h, w, .. } = self.output;
        let args = args.i32(int(POSITIONS / w / h));
        args.i32(int(POSITIONS / w % h)).i32(int(POSITIONS % w))
    }

    pub(super) fn reflects(&self) -> bool {
        matches!(self.padding, Padding::Reflect(p) if p > 0)
    }

    /// Positions that a block of the bias gradient sums.
    pub(super) fn bias_share(&self) -> usize {
        device::share(self.positions(), self.output.c, 1)
    }
}

impl Convolution<'_> {
    /// The version of a pass that takes patches to so many channels.
    fn of_maps(&self, from: &Gather<'_>, channels: usize) -> Version {
        let positions = from.positions.n * from.positions.area();
        let chosen = || Version::of_maps(self.precision, positions, channels);
        self.version.unwrap_or_else(chosen)
    }

    /// Channels of a map that patches are taken from. All versions of a precision have the same depth, and so
    /// the same sums.
    fn channels(&self, of: Dims) -> usize {
        let precision = self.version.map_or(self.precision, Version::precision);
        self.geometry
            .padded_channels(of.c, precision == Precision::Bf16)
    }

    /// A map with so many channels: itself, or a copy with zeros behind the channels that it has.
    fn padded(
        &self,
        map: &Span,
        dims: Dims,
        channels: usize,
        room: &mut Room<'_>,
    ) -> Result<Map, DeviceError> {
        let padded = Dims {
            c: channels,
            ..dims
        };
        if padded == dims {
            let span = map.clone();
            return Ok(Map { span, dims });
        }
        let span = room.take(padded.len());
        let quads = padded.len() / 4;
        let args = Args::new().span(map).span(&span).i32(int(quads));
        let args = args.i32(int(dims.c)).i32(int(channels));
        // SAFETY: the kernel reads the map's channels and writes quads × 4 elements of the copy, which
        // begins at a multiple of 16 bytes.
        unsafe {
            let launch = Launch::over(quads);
            self.device.launch(&PAD, launch, args)?;
        }
        Ok(Map { span, dims: padded })
    }

    /// The last arguments of the products: the map, the positions, and how they look at it.
    fn gather(&self, args: Args, from: &Gather<'_>) -> Args {
        let Dims { n, h, w, c } = from.map.dims;
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

    /// Weights in the order in which a product reads them: rows of (tap, padded channel). Those of the gradient of
    /// an input with phases in a row are transposed.
    fn pack(
        &self,
        weight: &Span,
        channels: usize,
        input_phases: Option<usize>,
        room: &mut Room<'_>,
    ) -> Result<Span, DeviceError> {
        let g = &self.geometry;
        let transposed = input_phases.is_some();
        let rows = if transposed { g.input.c } else { g.output.c };
        let packed = room.take(g.packed(rows, channels));
        let args = Args::new().span(weight).span(&packed);
        let args = args.i32(int(g.output.c)).i32(int(g.input.c));
        let args = args.i32(int(g.kernel)).i32(int(input_phases.unwrap_or(1)));
        let args = args.i32(int(channels));
        // SAFETY: the kernel reads every weight and writes rows × taps × padded channels, each once: phases are a
        // partition of the taps.
        unsafe {
            let launch = Launch::over(packed.len());
            self.device
                .launch(&PACK, launch, args.i32(i32::from(transposed)))?;
        }
        Ok(packed)
    }

    /// The output.
    pub(crate) fn forward(
        &self,
        x: &Span,
        (weight, bias): (&Span, Option<&Span>),
        output: &Span,
        scratch: &Span,
    ) -> Result<(), DeviceError> {
        let (g, mut room) = (&self.geometry, Room::new(scratch));
        let map = self.padded(x, g.input, self.channels(g.input), &mut room)?;
        let packed = self.pack(weight, map.dims.c, None, &mut room)?;
        let from = Gather {
            map: &map,
            positions: g.output,
            padding: g.padding,
        };
        let args = Args::new().span(&map.span).span(&packed).maybe(bias);
        let args = args.span(output).i32(int(g.output.c));
        let version = self.of_maps(&from, g.output.c);
        for part in FORWARD.parts(version, g.output.c, from.in_halves()) {
            let args = self.gather(args.clone().i32(int(part.first)), &from);
            let launch = part.launch(g.positions(), 1);
            // SAFETY: the kernel reads the map where positions of the output look at it, the packed
            // weights and one bias a channel, and writes the output's positions × its part of the channels.
            unsafe { self.device.launch(part.kernel, launch, args)? };
        }
        Ok(())
    }

    /// The gradient with respect to the input.
    fn input_gradient(
        &self,
        output_grad: &Map,
        weight: &Span,
        input_grad: &Span,
        mut room: Room<'_>,
    ) -> Result<(), DeviceError> {
        let g = &self.geometry;
        let (positions, padding) = match g.reflects() {
            true => (g.padded(), Padding::Zero(0)),
            false => (g.input, Padding::Zero(g.padding.width())),
        };
        let from = Gather {
            map: output_grad,
            positions,
            padding,
        };
        let version = match g.stride > LONGEST_STRIDE {
            true => Version::V1,
            false => self.of_maps(&from, g.input.c),
        };
        let phases = version.phases(g.stride);
        let channels = output_grad.dims.c;
        let packed = self.pack(weight, channels, Some(phases), &mut room)?;
        let to = match g.reflects() {
            true => room.take(positions.len()),
            false => input_grad.clone(),
        };
        let args = Args::new().span(&output_grad.span).span(&packed).span(&to);
        let args = args.i32(int(g.input.c));
        // Of the largest phase, that of the first position.
        let Dims { n, h, w, .. } = positions;
        let rows = n * h.div_ceil(phases) * w.div_ceil(phases);
        for part in INPUT_GRADIENT.parts(version, g.input.c, from.in_halves()) {
            let args = self.gather(args.clone().i32(int(part.first)), &from);
            let launch = part.launch(rows, phases * phases);
            // SAFETY: as for the output, with the gradient of the output as the map and the positions of
            // the (padded) input, each of which belongs to one phase.
            unsafe { self.device.launch(part.kernel, launch, args)? };
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
    fn weight_gradient(
        &self,
        x: &Span,
        output_grad: &Map,
        weight_grad: &Span,
        mut room: Room<'_>,
    ) -> Result<(), DeviceError> {
        let g = &self.geometry;
        let chosen = || Version::of_weights(self.precision, g);
        let version = self.version.unwrap_or_else(chosen);
        let channels = g.padded_channels(g.input.c, false);
        let map = self.padded(x, g.input, channels, &mut room)?;
        let shares = g.shares(version);
        let partials = room.take(shares * g.partial());
        let from = Gather {
            map: &map,
            positions: g.output,
            padding: g.padding,
        };
        let args = Args::new().span(&map.span).span(&output_grad.span);
        let args = args.span(&partials).i32(int(g.output.c));
        let args = args.i32(int(output_grad.dims.c));
        // Halves of steps make no difference to sums over positions.
        for part in WEIGHT_GRADIENT.parts(version, g.output.c, true) {
            let args = args.clone().i32(int(part.first));
            let args = args.i32(int(g.share(version)));
            let args = match version {
                Version::V1 | Version::V2 | Version::V2Tf32 => args,
                Version::V3Narrow | Version::V3Wide => g.apart(args),
            };
            let launch = part.launch(g.padded_fan_in(), shares);
            // SAFETY: block z writes its part of the z-th partial result, of which there are `shares`; the
            // kernels read the map where positions of the output look at it, and the gradient of these.
            unsafe {
                self.device
                    .launch(part.kernel, launch, self.gather(args, &from))?;
            }
        }
        self.add_partials(&partials, (shares, channels), weight_grad)
    }

    /// Adds so many partial results, with so many channels of the input, to the gradient of the weights.
    fn add_partials(
        &self,
        partials: &Span,
        (shares, channels): (usize, usize),
        weight_grad: &Span,
    ) -> Result<(), DeviceError> {
        let g = &self.geometry;
        let args = Args::new().span(partials).span(weight_grad);
        let args = args.i32(int(shares)).i32(int(g.output.c));
        let args = args.i32(int(g.input.c)).i32(int(channels));
        let args = args.i32(int(g.kernel * g.kernel));
        let (kernel, launch) = match shares >= MANY_PARTIALS {
            true => {
                let blocks = g.weights().div_ceil(32) as u32;
                let block = Launch::linear(1, Launch::THREADS);
                let grid = [blocks, 1, 1];
                (&ADD_MANY_PARTIALS, Launch { grid, ..block })
            }
            false => (&ADD_PARTIALS, Launch::over(g.weights())),
        };
        // SAFETY: the kernels read the partial results and touch every weight's gradient.
        unsafe { self.device.launch(kernel, launch, args) }
    }

    /// Adds the gradient with respect to the bias.
    fn bias_gradient(
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
        if cx.input_grads[0].is_none() && cx.param_grads.is_none() {
            return Ok(());
        }
        let (of, mut room) = (self.geometry.output, Room::new(cx.scratch));
        let map = self.padded(cx.output_grad, of, self.channels(of), &mut room)?;
        if let Some(grad) = &cx.input_grads[0] {
            self.input_gradient(&map, &cx.params[0], grad, room.clone())?;
        }
        let Some([weight, bias @ ..]) = cx.param_grads else {
            return Ok(());
        };
        self.weight_gradient(&cx.inputs[0], &map, weight, room)?;
        match bias {
            [bias] => self.bias_gradient(cx.output_grad, bias, cx.scratch),
            _ => Ok(()),
        }
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
