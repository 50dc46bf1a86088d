//! The streaming losses on a device: buffers, and the launches of `kernels/contrastive.cu`.

mod apart;
mod blocks;
mod splits;
mod version;

use super::{Contrast, Excluded, Positives};
use apart::{Apart, Outcome};
pub(super) use blocks::Cut;
#[cfg(test)]
pub(super) use blocks::{Block, Blocks};
use splits::Splits;
pub use version::Version;
use viewmaker_device::source::CONTRASTIVE;
use viewmaker_device::{Args, Buffer, Device, DeviceError, Kernel, Launch, Span};

static NORMALISE: Kernel = Kernel::new(&CONTRASTIVE, "normalise");
static MEAN: Kernel = Kernel::new(&CONTRASTIVE, "mean");
static PROJECT: Kernel = Kernel::new(&CONTRASTIVE, "project");
static FORWARD_V1: Kernel = Kernel::new(&CONTRASTIVE, "forward_v1");
static BACKWARD_V1: Kernel = Kernel::new(&CONTRASTIVE, "backward_v1");
static FORWARD_V2: Kernel = Kernel::new(&CONTRASTIVE, "forward_v2");
static BACKWARD_V2: Kernel = Kernel::new(&CONTRASTIVE, "backward_v2");
static ROUND_ROWS: Kernel = Kernel::new(&CONTRASTIVE, "round_rows");

/// Threads of a block where a block computes one row.
const ROW_THREADS: u32 = 128;
/// Rows of a tile of the second version, and components that a block of its backward pass computes.
const TILE: usize = 64;
const WIDTH: usize = 128;
/// The kernels' mark of a query whose positives do not meet it in a tile.
const NO_POSITIVE: u32 = u32::MAX;

/// A loss on a device: its geometry, and memory of O(rows · dim) for what a pass leaves behind; of few trained rows at
/// most 16,896 · dim words more for parts of their gradient.
#[derive(Debug)]
pub struct OnDevice {
    contrast: Contrast,
    version: Version,
    cut: Cut,
    splits: Splits,
    device: Device,
    apart: Option<Apart>,
    positives: Buffer,
    unit: Buffer,
    /// The unit rows in bfloat16, two components a word; empty where no kernel reads them.
    halves: Buffer,
    inverse_lengths: Buffer,
    losses: Buffer,
    log_sums: Buffer,
    positive_weights: Buffer,
    /// What every row adds to the derivative of a scale; empty where some rows are constants.
    scale_terms: Buffer,
}

impl OnDevice {
    /// Memory for `contrast` on `device`.
    ///
    /// # Errors
    /// When the device has too little memory.
    ///
    /// # Panics
    /// When the version does not [run on](Version::runs_on) the device.
    pub fn new(contrast: Contrast, device: &Device, version: Version) -> Result<Self, DeviceError> {
        let cut = Cut::of(&contrast, version);
        Self::cut_as(contrast, device, version, cut)
    }

    /// The same with kernels cut as the caller likes; the first version cannot be cut.
    pub(super) fn cut_as(
        contrast: Contrast,
        device: &Device,
        version: Version,
        cut: Cut,
    ) -> Result<Self, DeviceError> {
        for blocks in [cut.forward, cut.backward] {
            assert!(blocks.block.serves(contrast.dim), "{cut:?}");
            assert!(version != Version::V1 || blocks.splits == 1, "{cut:?}");
        }
        assert!(version.runs_on(device), "{version:?} on {}", device.name());
        let (rows, queries) = (contrast.rows, contrast.queries());
        let halves = match version {
            Version::V1 | Version::V2 => 0,
            Version::V3 => rows * words(contrast.dim),
        };
        let scale_terms = match contrast.trained == rows {
            true => rows,
            false => 0,
        };
        let positives = device.alloc(queries)?;
        let indices: Vec<u32> = match &contrast.positives {
            Positives::Keys(rows) => rows.iter().map(|&row| row as u32).collect(),
            Positives::Beside(_) | Positives::Classes(_) => vec![NO_POSITIVE; queries],
        };
        device.upload_u32(&positives.all(), &indices)?;
        Ok(Self {
            positives,
            unit: device.alloc(rows * contrast.dim)?,
            halves: device.alloc(halves)?,
            inverse_lengths: device.alloc(rows)?,
            losses: device.alloc(queries)?,
            log_sums: device.alloc(queries)?,
            positive_weights: device.alloc(queries)?,
            scale_terms: device.alloc(scale_terms)?,
            device: device.clone(),
            version,
            cut,
            splits: Splits::new(cut, &contrast, device)?,
            apart: Apart::of(&contrast, device)?,
            contrast,
        })
    }

    /// Writes the loss of `z` (`rows × dim`) to `loss`, one word, and keeps what [`Self::backward`]
    /// needs.
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    ///
    /// # Panics
    /// When a span has another length.
    pub fn forward(&self, z: &Span, loss: &Span) -> Result<(), DeviceError> {
        let Contrast { rows, dim, .. } = self.contrast;
        assert_eq!(z.len(), rows * dim, "elements of z");
        assert_eq!(loss.len(), 1, "elements of loss");
        self.unit_rows(z)?;
        let outcome = self.outcome();
        let forward = Args::new()
            .span(&self.rows())
            .span(&self.positives.all())
            .span(&outcome.losses)
            .span(&outcome.log_sums)
            .span(&outcome.positive_weights);
        let tiled = |args: Args| {
            args.span(&self.splits.partials.all())
                .span(&self.splits.positive_logits.all())
                .i32(rows as i32)
        };
        let (queries, blocks) = (self.contrast.queries(), self.cut.forward);
        let (kernel, launch, forward) = match self.version {
            Version::V1 => (
                &FORWARD_V1,
                Launch::linear(queries as u32, ROW_THREADS).with_shared(4 * dim as u32),
                forward.i32(dim as i32),
            ),
            Version::V2 => (
                &FORWARD_V2,
                tiles([queries.div_ceil(TILE), blocks.splits, 1]),
                tiled(forward).i32(dim as i32),
            ),
            Version::V3 => {
                let (kernel, launch) = blocks.forward(queries, dim);
                (kernel, launch, tiled(forward).i32(words(dim) as i32))
            }
        };
        // SAFETY: the list has the kernel's parameters in their order. The kernel reads rows × dim elements of
        // unit or rows × words of the halves, and the rows that positives and keys name, which `Contrast` keeps
        // below `rows`; it writes one element a query, and with several splits what `Splits` has memory for.
        unsafe { self.device.launch(kernel, launch, self.settings(forward))? };
        let (device, positives) = (&self.device, self.positives.all());
        self.splits
            .combine(device, &positives, &outcome, self.excluded())?;
        if let Some(apart) = &self.apart {
            apart.finish(device, &self.unit.all(), &outcome)?;
        }
        let (counted, offset) = (self.contrast.counted(), self.contrast.offset as f32);
        self.mean(&self.losses.all(), counted, offset, loss)
    }

    /// Writes unit rows, as the kernels of this version read them, and the reciprocals of lengths.
    fn unit_rows(&self, z: &Span) -> Result<(), DeviceError> {
        let Contrast { rows, dim, .. } = self.contrast;
        let normalise = Args::new()
            .span(z)
            .span(&self.unit.all())
            .span(&self.inverse_lengths.all())
            .i32(rows as i32)
            .i32(dim as i32);
        let round = Args::new()
            .span(&self.unit.all())
            .span(&self.halves.all())
            .i32(rows as i32)
            .i32(dim as i32)
            .i32(words(dim) as i32);
        // SAFETY: each list has the kernel's parameters in their order. The kernels read and write rows × dim
        // elements of z and unit, rows × words of the halves, and one reciprocal a row.
        unsafe {
            let warps = Launch::over(32 * rows);
            self.device.launch(&NORMALISE, warps, normalise)?;
            match self.halves.len() {
                0 => Ok(()),
                words => self.device.launch(&ROUND_ROWS, Launch::over(words), round),
            }
        }
    }

    /// Writes the gradient of the last [`Self::forward`] with respect to the trained rows of z, times
    /// `loss_grad`.
    ///
    /// # Errors
    /// When a kernel does not compile or start.
    ///
    /// # Panics
    /// When `grad` does not have `trained · dim` elements.
    pub fn backward(&self, loss_grad: f32, grad: &Span) -> Result<(), DeviceError> {
        self.unit_gradient(grad)?;
        self.project(loss_grad, grad, None)
    }

    /// [`Self::backward`], and the derivative with respect to the logarithm of the scale 1/t, times
    /// `loss_grad`, to `scale_grad`, one word; [`Contrast::backward_with_scale`] on the processor.
    ///
    /// # Errors
    /// As [`Self::backward`].
    ///
    /// # Panics
    /// As [`Self::backward`], where some rows are constants, and when `scale_grad` has another length.
    pub fn backward_with_scale(
        &self,
        loss_grad: f32,
        grad: &Span,
        scale_grad: &Span,
    ) -> Result<(), DeviceError> {
        let Contrast { rows, trained, .. } = self.contrast;
        assert_eq!(trained, rows, "trained rows");
        assert_eq!(scale_grad.len(), 1, "elements of scale_grad");
        let terms = self.scale_terms.all();
        self.unit_gradient(grad)?;
        self.project(loss_grad, grad, Some(&terms))?;
        // Every logit is in the terms of its query and of its key.
        self.mean(&terms, 2, 0.0, scale_grad)
    }

    /// Writes the gradient with respect to the trained unit rows, without the factor 1/(queries · t).
    fn unit_gradient(&self, grad: &Span) -> Result<(), DeviceError> {
        let Contrast {
            rows, trained, dim, ..
        } = self.contrast;
        assert_eq!(grad.len(), trained * dim, "elements of grad");
        let backward = Args::new()
            .span(&self.rows())
            .span(&self.positives.all())
            .span(&self.log_sums.all())
            .span(&self.positive_weights.all())
            .span(&self.splits.gradient(grad))
            .i32(rows as i32)
            .i32(trained as i32)
            .i32(dim as i32);
        let blocks = self.cut.backward;
        let grid = [trained.div_ceil(TILE), dim.div_ceil(WIDTH), blocks.splits];
        let (kernel, launch, backward) = match self.version {
            Version::V1 => {
                let launch = Launch::linear(trained as u32, ROW_THREADS);
                (&BACKWARD_V1, launch.with_shared(4 * dim as u32), backward)
            }
            Version::V2 => (&BACKWARD_V2, tiles(grid), backward),
            Version::V3 => {
                let (kernel, launch) = blocks.backward(trained, dim);
                (kernel, launch, backward.i32(words(dim) as i32))
            }
        };
        // SAFETY: the list has the kernel's parameters in their order; the kernel touches rows × dim
        // elements of unit, trained × dim of the gradient of every split, rows × words of the halves, and one
        // element a query of the others.
        unsafe {
            self.device
                .launch(kernel, launch, self.settings(backward))?;
        }
        self.splits.add(&self.device, grad)?;
        match &self.apart {
            Some(apart) => {
                let weights = self.positive_weights.all();
                apart.attract(&self.device, &self.unit.all(), &weights, grad)
            }
            None => Ok(()),
        }
    }

    /// Turns [`Self::unit_gradient`] into the gradient with respect to the rows of z, and writes the terms
    /// of a scale's derivative where they are wanted.
    fn project(
        &self,
        loss_grad: f32,
        grad: &Span,
        scale_terms: Option<&Span>,
    ) -> Result<(), DeviceError> {
        let Contrast { trained, dim, .. } = self.contrast;
        let scale = loss_grad / (self.contrast.counted() as f32 * self.contrast.temperature);
        let project = Args::new()
            .span(&self.unit.all())
            .span(&self.inverse_lengths.all())
            .f32(scale)
            .span(grad)
            .maybe(scale_terms)
            .i32(trained as i32)
            .i32(dim as i32);
        // SAFETY: the list has the kernel's parameters in their order; the kernel reads trained × dim
        // elements of unit and trained inverse lengths, and writes trained × dim elements of grad and, where
        // they are wanted, `trained` terms: the buffer has one for every row, and all rows are trained.
        unsafe {
            self.device
                .launch(&PROJECT, Launch::over(32 * trained), project)
        }
    }

    /// Writes Σ values / `counted` + `offset` to `out`, one word.
    fn mean(
        &self,
        values: &Span,
        counted: usize,
        offset: f32,
        out: &Span,
    ) -> Result<(), DeviceError> {
        let mean = Args::new()
            .span(values)
            .i32(values.len() as i32)
            .i32(counted as i32)
            .f32(offset)
            .span(out);
        // SAFETY: the list has the kernel's parameters in their order; it reads every element of values
        // and writes one.
        unsafe {
            self.device
                .launch(&MEAN, Launch::linear(1, Launch::THREADS), mean)
        }
    }

    /// The rows as the kernels of this version read them.
    fn rows(&self) -> Span {
        match self.version {
            Version::V1 | Version::V2 => self.unit.all(),
            Version::V3 => self.halves.all(),
        }
    }

    /// What the forward pass writes about every query.
    fn outcome(&self) -> Outcome {
        Outcome {
            losses: self.losses.all(),
            log_sums: self.log_sums.all(),
            positive_weights: self.positive_weights.all(),
        }
    }

    /// The kernels' number for what queries do not look at.
    const fn excluded(&self) -> i32 {
        match self.contrast.excluded {
            Excluded::Nothing => 0,
            Excluded::Itself => 1,
            Excluded::ItselfAndPositive => 2,
        }
    }

    /// The last eight parameters of forward and backward kernels.
    fn settings(&self, args: Args) -> Args {
        let keys = |group: usize| {
            let group = self.contrast.groups.get(group);
            group.map_or(0..0, |group| group.keys.clone())
        };
        let split = self.contrast.groups[0].queries.end;
        args.i32(self.contrast.queries() as i32)
            .i32(split as i32)
            .i32(keys(0).start as i32)
            .i32(keys(0).end as i32)
            .i32(keys(1).start as i32)
            .i32(keys(1).end as i32)
            .i32(self.excluded())
            .f32(self.contrast.temperature.recip())
    }
}

/// The launch of a kernel of the second version.
fn tiles(grid: [usize; 3]) -> Launch {
    Launch {
        grid: grid.map(|side| side as u32),
        ..Launch::linear(1, Launch::THREADS)
    }
}

/// Words of a row in bfloat16: whole products of 16 components.
const fn words(dim: usize) -> usize {
    dim.next_multiple_of(16) / 2
}
