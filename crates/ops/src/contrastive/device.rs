//! The streaming losses on a device: buffers, and the launches of `kernels/contrastive.cu`.

mod apart;
mod blocks;

use super::{Contrast, Excluded, Positives};
use apart::{Apart, Outcome};
pub(super) use blocks::Block;
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
/// Oldest compute capability whose tensor cores multiply bfloat16.
const TENSOR_CORES: (i32, i32) = (8, 0);

/// Which of the kernels computes a loss; a later one is faster and is tested against the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One block a row: plain enough to be read at once.
    V1,
    /// Tiles of 64 × 64 similarities.
    V2,
    /// The same on tensor cores: products of bfloat16, sums in single precision. The embeddings are
    /// rounded to 8 bits, so that a logit is off by up to 0.004/t; from compute capability 8.0 on.
    V3,
}

impl Version {
    /// Every version, the plainest first.
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// Whether `device` can execute it. The emulator can.
    pub fn runs_on(self, device: &Device) -> bool {
        let able = |capability| self != Self::V3 || capability >= TENSOR_CORES;
        device.capability().is_none_or(able)
    }
}

/// A loss on a device: its geometry, and memory of O(rows · dim) for what a pass leaves behind.
#[derive(Debug)]
pub struct OnDevice {
    contrast: Contrast,
    version: Version,
    /// What [`Version::V3`] computes in.
    block: Block,
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
            block: Block::of(&contrast),
            apart: Apart::of(&contrast, device)?,
            contrast,
        })
    }

    /// The same in other blocks than [`Block::of`] chooses.
    #[cfg(test)]
    pub(super) fn in_blocks(self, block: Block) -> Self {
        assert!(block.serves(self.contrast.dim), "{block:?}");
        Self { block, ..self }
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
        let normalise = Args::new()
            .span(z)
            .span(&self.unit.all())
            .span(&self.inverse_lengths.all())
            .i32(rows as i32)
            .i32(dim as i32);
        let forward = Args::new()
            .span(&self.rows())
            .span(&self.positives.all())
            .span(&self.losses.all())
            .span(&self.log_sums.all())
            .span(&self.positive_weights.all());
        let queries = self.contrast.queries();
        let blocks = queries.div_ceil(TILE) as u32;
        let (kernel, launch, forward) = match self.version {
            Version::V1 => (
                &FORWARD_V1,
                Launch::linear(queries as u32, ROW_THREADS).with_shared(4 * dim as u32),
                forward.i32(dim as i32),
            ),
            Version::V2 => (
                &FORWARD_V2,
                Launch::linear(blocks, Launch::THREADS),
                forward.i32(rows as i32).i32(dim as i32),
            ),
            Version::V3 => {
                let (kernel, launch) = self.block.forward(queries, dim);
                let forward = forward.i32(rows as i32).i32(words(dim) as i32);
                (kernel, launch, forward)
            }
        };
        let round = Args::new()
            .span(&self.unit.all())
            .span(&self.halves.all())
            .i32(rows as i32)
            .i32(dim as i32)
            .i32(words(dim) as i32);
        // SAFETY: each list has the kernel's parameters in their order. The kernels read and write
        // rows × dim elements of z and unit, rows × words of the halves, one element a row or query of
        // the others, and the rows that positives and keys name, which `Contrast` keeps below `rows`.
        unsafe {
            let warps = Launch::over(32 * rows);
            self.device.launch(&NORMALISE, warps, normalise)?;
            if !self.halves.is_empty() {
                let launch = Launch::over(self.halves.len());
                self.device.launch(&ROUND_ROWS, launch, round)?;
            }
            self.device.launch(kernel, launch, self.settings(forward))?;
        }
        if let Some(apart) = &self.apart {
            apart.finish(&self.device, &self.unit.all(), &self.outcome())?;
        }
        let (counted, offset) = (self.contrast.counted(), self.contrast.offset as f32);
        self.mean(&self.losses.all(), counted, offset, loss)
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
            .span(grad)
            .i32(rows as i32)
            .i32(trained as i32)
            .i32(dim as i32);
        let tiled = Launch {
            grid: [trained.div_ceil(TILE) as u32, dim.div_ceil(WIDTH) as u32, 1],
            ..Launch::linear(1, Launch::THREADS)
        };
        let (kernel, launch, backward) = match self.version {
            Version::V1 => {
                let launch = Launch::linear(trained as u32, ROW_THREADS);
                (&BACKWARD_V1, launch.with_shared(4 * dim as u32), backward)
            }
            Version::V2 => (&BACKWARD_V2, tiled, backward),
            Version::V3 => {
                let (kernel, launch) = self.block.backward(trained, dim);
                (kernel, launch, backward.i32(words(dim) as i32))
            }
        };
        // SAFETY: the list has the kernel's parameters in their order; the kernel touches rows × dim
        // elements of unit, trained × dim of grad, rows × words of the halves, and one element a query of
        // the others.
        unsafe {
            self.device
                .launch(kernel, launch, self.settings(backward))?;
        }
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

    /// The last eight parameters of forward and backward kernels.
    fn settings(&self, args: Args) -> Args {
        let excluded = match self.contrast.excluded {
            Excluded::Nothing => 0,
            Excluded::Itself => 1,
            Excluded::ItselfAndPositive => 2,
        };
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
            .i32(excluded)
            .f32(self.contrast.temperature.recip())
    }
}

/// Words of a row in bfloat16: whole products of 16 components.
const fn words(dim: usize) -> usize {
    dim.next_multiple_of(16) / 2
}
