//! Positives that do not meet their queries in a tile: buffers, and the launches of `kernels/positives.cu`.

use super::{NO_POSITIVE, ROW_THREADS};
use crate::contrastive::Contrast;
use crate::contrastive::positives::{Classes, Positives};
use viewmaker_device::source::POSITIVES;
use viewmaker_device::{Args, Buffer, Device, DeviceError, Kernel, Launch, Span};

static SUM_PIECES: Kernel = Kernel::new(&POSITIVES, "sum_pieces");
static CLASS_SUMS: Kernel = Kernel::new(&POSITIVES, "class_sums");
static FINISH: Kernel = Kernel::new(&POSITIVES, "finish_positives");
static ATTRACT: Kernel = Kernel::new(&POSITIVES, "attract");

/// Members of a class that a block adds up.
const PIECE: usize = 256;

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
    members: Buffer,
    /// Where every piece of a class begins in `members`, and the end of the last one.
    starts: Buffer,
    /// The first piece of every class, and the end of the last one.
    pieces: Buffer,
    /// Sums of the pieces, in double precision.
    partials: Buffer,
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
        let (starts, pieces) = pieces(&classes.members);
        let own = Self {
            members: device.alloc(members.len())?,
            starts: device.alloc(starts.len())?,
            pieces: device.alloc(pieces.len())?,
            partials: device.alloc(2 * (starts.len() - 1) * dim)?,
            sums: device.alloc(classes.members.len() * dim)?,
        };
        device.upload_u32(&own.members.all(), &members)?;
        device.upload_u32(&own.starts.all(), &starts)?;
        device.upload_u32(&own.pieces.all(), &pieces)?;
        Ok(own)
    }

    fn compute(&self, device: &Device, unit: &Span, dim: usize) -> Result<(), DeviceError> {
        let pieces = self.starts.len() - 1;
        if pieces == 0 {
            return Ok(());
        }
        let partials = Args::new()
            .span(unit)
            .span(&self.members.all())
            .span(&self.starts.all())
            .span(&self.partials.all())
            .i32(dim as i32);
        let sums = Args::new()
            .span(&self.partials.all())
            .span(&self.pieces.all())
            .span(&self.sums.all())
            .i32(dim as i32)
            .u64(self.sums.len() as u64);
        let launch = Launch::linear(pieces as u32, ROW_THREADS);
        // SAFETY: the lists have the kernels' parameters in their order. A block of the first reads two starts and
        // the members between them, which are rows of z, and writes dim sums of two words, at a multiple of their
        // 8 bytes, as buffers begin at one. The second reads the pieces of every class, and writes classes × dim
        // sums.
        unsafe {
            device.launch(&SUM_PIECES, launch, partials)?;
            device.launch(&CLASS_SUMS, Launch::over(self.sums.len()), sums)
        }
    }
}

/// Where the pieces of all classes begin among the members, and where the classes begin among the pieces; each with
/// the end of the last one.
fn pieces(classes: &[Vec<usize>]) -> (Vec<u32>, Vec<u32>) {
    let (mut starts, mut first) = (vec![0], vec![0]);
    let mut end = 0;
    for members in classes {
        for piece in members.chunks(PIECE) {
            end += piece.len() as u32;
            starts.push(end);
        }
        first.push(starts.len() as u32 - 1);
    }
    (starts, first)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_classes_are_cut_into_pieces() {
        let classes = [2, 256, 257, 600].map(|members| vec![0; members]);
        let (starts, first) = pieces(&classes);
        assert_eq!(starts, [0, 2, 258, 514, 515, 771, 1027, 1115]);
        assert_eq!(first, [0, 1, 2, 4, 7]);
        assert_eq!(pieces(&[]), (vec![0], vec![0]));
    }
}
