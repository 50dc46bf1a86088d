//! What the splits of a loss leave behind, and the kernels that put it together.

use super::apart::Outcome;
use super::blocks::Cut;
use super::{CONTRASTIVE, Contrast};
use viewmaker_device::{Args, Buffer, Device, DeviceError, Kernel, Launch, Span};

static COMBINE: Kernel = Kernel::new(&CONTRASTIVE, "combine_splits");
static ADD: Kernel = Kernel::new(&CONTRASTIVE, "add_splits");

/// Memory for what several splits leave; empty where a pass has one.
#[derive(Debug)]
pub(super) struct Splits {
    cut: Cut,
    queries: usize,
    /// The largest logit and the sum of a split's keys, `[split][2][queries]`.
    pub partials: Buffer,
    /// The logits of positives among keys, whichever split finds them, one for a query.
    pub positive_logits: Buffer,
    /// Gradients of the trained unit rows, `[split][trained][dim]`.
    gradients: Buffer,
}

impl Splits {
    pub(super) fn new(cut: Cut, contrast: &Contrast, device: &Device) -> Result<Self, DeviceError> {
        let queries = contrast.queries();
        let of_several = |splits: usize, words: usize| match splits > 1 {
            true => device.alloc(words),
            false => device.alloc(0),
        };
        let (keys, columns) = (cut.forward.splits, cut.backward.splits);
        Ok(Self {
            cut,
            queries,
            partials: of_several(keys, keys * 2 * queries)?,
            positive_logits: of_several(keys, queries)?,
            gradients: of_several(columns, columns * contrast.trained * contrast.dim)?,
        })
    }

    /// Where the backward kernel writes for a gradient that belongs to `grad`.
    pub(super) fn gradient(&self, grad: &Span) -> Span {
        match self.cut.backward.splits > 1 {
            true => self.gradients.all(),
            false => grad.clone(),
        }
    }

    /// Makes what is known of the queries of what splits of their keys left.
    pub(super) fn combine(
        &self,
        device: &Device,
        positives: &Span,
        outcome: &Outcome,
        excluded: i32,
    ) -> Result<(), DeviceError> {
        let splits = self.cut.forward.splits;
        if splits == 1 {
            return Ok(());
        }
        let combine = Args::new()
            .span(&self.partials.all())
            .span(&self.positive_logits.all())
            .span(positives)
            .span(&outcome.losses)
            .span(&outcome.log_sums)
            .span(&outcome.positive_weights)
            .i32(self.queries as i32)
            .i32(splits as i32)
            .i32(excluded);
        // SAFETY: the list has the kernel's parameters in their order; the kernel reads two partial results for
        // every split and query, of which `new` made memory for, and reads and writes one element a query of the
        // others.
        unsafe { device.launch(&COMBINE, Launch::over(self.queries), combine) }
    }

    /// Adds the gradients of all splits up, in `grad`.
    pub(super) fn add(&self, device: &Device, grad: &Span) -> Result<(), DeviceError> {
        let splits = self.cut.backward.splits;
        if splits == 1 {
            return Ok(());
        }
        let add = Args::new()
            .span(&self.gradients.all())
            .span(grad)
            .i32(splits as i32)
            .u64(grad.len() as u64);
        // SAFETY: the list has the kernel's parameters in their order; the parts are as many gradients as there are
        // splits, each as long as `grad`: trained × dim.
        unsafe { device.launch(&ADD, Launch::over(grad.len()), add) }
    }
}
