//! Positives that do not meet their queries in a tile: buffers, and the launches of `kernels/positives.cu`.

use super::{NO_POSITIVE, ROW_THREADS};
use crate::contrastive::Contrast;
use crate::contrastive::positives::{Classes, Positives};
use viewmaker_device::source::POSITIVES;
use viewmaker_device::{Args, Buffer, Device, DeviceError, Kernel, Launch, Span};

static CLASS_SUMS: Kernel = Kernel::new(&POSITIVES, "class_sums");
static FINISH: Kernel = Kernel::new(&POSITIVES, "finish_positives");
static ATTRACT: Kernel = Kernel::new(&POSITIVES, "attract");

/// Where the kernels find the positives of a loss.
#[derive(Debug)]
pub(super) struct Apart {
    queries: usize,
    dim: usize,
    inverse_temperature: f32,
    /// For every query the row that its positives act through.
    index: Buffer,
    /// One over the number of its positives.
    share: Buffer,
    classes: Option<Sums>,
}

/// Classes and the sums of their unit rows.
#[derive(Debug)]
struct Sums {
    count: usize,
    members: Buffer,
    starts: Buffer,
    sums: Buffer,
}

/// What the forward pass writes about every query.
pub(super) struct Outcome {
    pub losses: Span,
    pub log_sums: Span,
    pub positive_weights: Span,
}

impl Apart {
    /// For losses that have such positives.
    pub(super) fn of(contrast: &Contrast, device: &Device) -> Result<Option<Self>, DeviceError> {
        let (index, share, classes) = match &contrast.positives {
            Positives::Keys(_) => return Ok(None),
            Positives::Beside(rows) => {
                let index = rows.iter().map(|&row| row as u32).collect();
                (index, vec![1.0; rows.len()], None)
            }
            Positives::Classes(classes) => {
                let (index, share) = of_classes(classes);
                let sums = Sums::new(classes, contrast.dim, device)?;
                (index, share, Some(sums))
            }
        };
        let index: Vec<u32> = index;
        let own = Self {
            queries: contrast.queries(),
            dim: contrast.dim,
            inverse_temperature: contrast.temperature.recip(),
            index: device.alloc(index.len())?,
            share: device.alloc(share.len())?,
            classes,
        };
        device.upload_u32(&own.index.all(), &index)?;
        device.upload(&own.share.all(), &share)?;
        Ok(Some(own))
    }

    /// Turns the logarithms of the sums of keys into all that is known of the queries.
    pub(super) fn finish(
        &self,
        device: &Device,
        unit: &Span,
        outcome: &Outcome,
    ) -> Result<(), DeviceError> {
        if let Some(sums) = &self.classes {
            sums.compute(device, unit, self.dim)?;
        }
        let finish = Args::new()
            .span(unit)
            .span(&self.from(unit))
            .span(&self.index.all())
            .span(&self.share.all())
            .span(&outcome.losses)
            .span(&outcome.log_sums)
            .span(&outcome.positive_weights)
            .i32(self.queries as i32)
            .i32(self.dim as i32)
            .i32(i32::from(self.classes.is_some()))
            .f32(self.inverse_temperature);
        // SAFETY: the list has the kernel's parameters in their order. The kernel reads and writes one
        // element a query, and rows of dim elements: of unit the queries', of the matrix after it those
        // that the index names, which are rows of z or classes.
        unsafe { device.launch(&FINISH, Launch::over(32 * self.queries), finish) }
    }

    /// Adds to the gradients of the queries what comes from their positives.
    pub(super) fn attract(
        &self,
        device: &Device,
        unit: &Span,
        positive_weights: &Span,
        grad: &Span,
    ) -> Result<(), DeviceError> {
        let attract = Args::new()
            .span(unit)
            .span(&self.from(unit))
            .span(&self.index.all())
            .span(positive_weights)
            .span(grad)
            .i32(self.queries as i32)
            .i32(self.dim as i32)
            .i32(i32::from(self.classes.is_some()));
        // SAFETY: as above; queries are trained rows, so that grad has theirs.
        unsafe { device.launch(&ATTRACT, Launch::over(self.queries * self.dim), attract) }
    }

    /// The matrix that the index names rows of.
    fn from(&self, unit: &Span) -> Span {
        let sums = self.classes.as_ref();
        sums.map_or_else(|| unit.clone(), |sums| sums.sums.all())
    }
}

impl Sums {
    fn new(classes: &Classes, dim: usize, device: &Device) -> Result<Self, DeviceError> {
        let members: Vec<u32> = classes
            .members
            .iter()
            .flatten()
            .map(|&m| m as u32)
            .collect();
        let mut starts = vec![0];
        for members in &classes.members {
            starts.push(starts[starts.len() - 1] + members.len() as u32);
        }
        let count = classes.members.len();
        let own = Self {
            count,
            members: device.alloc(members.len())?,
            starts: device.alloc(starts.len())?,
            sums: device.alloc(count * dim)?,
        };
        device.upload_u32(&own.members.all(), &members)?;
        device.upload_u32(&own.starts.all(), &starts)?;
        Ok(own)
    }

    fn compute(&self, device: &Device, unit: &Span, dim: usize) -> Result<(), DeviceError> {
        if self.count == 0 {
            return Ok(());
        }
        let sums = Args::new()
            .span(unit)
            .span(&self.members.all())
            .span(&self.starts.all())
            .span(&self.sums.all())
            .i32(dim as i32);
        let launch = Launch::linear(self.count as u32, ROW_THREADS);
        // SAFETY: the list has the kernel's parameters in their order; a block reads two starts, the members
        // between them, which are rows of z, and writes a row of dim sums.
        unsafe { device.launch(&CLASS_SUMS, launch, sums) }
    }
}

/// The class of every row and one over the number of its other members.
fn of_classes(classes: &Classes) -> (Vec<u32>, Vec<f32>) {
    let row = |class: &Option<usize>| match class {
        Some(class) => {
            let positives = classes.members[*class].len() - 1;
            (*class as u32, (positives as f32).recip())
        }
        None => (NO_POSITIVE, 0.0),
    };
    classes.of_row.iter().map(row).unzip()
}
