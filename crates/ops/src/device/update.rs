//! Updates of spans of parameters and gradients on a device, for optimisers.

use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source};

static SCALE: Kernel = Kernel::new(&source::ELEMENTWISE, "scale");
static FOLLOW: Kernel = Kernel::new(&source::OPTIM, "follow");
static SGD: Kernel = Kernel::new(&source::OPTIM, "sgd");
static ADAM: Kernel = Kernel::new(&source::OPTIM, "adam");

/// Arguments that point to `spans`, which must have as many elements.
fn pointers(spans: &[&Span]) -> Args {
    assert!(
        spans.iter().all(|span| span.len() == spans[0].len()),
        "lengths differ"
    );
    let add = |args: Args, span: &&Span| args.span(span);
    spans.iter().fold(Args::new(), add)
}

fn device(span: &Span) -> &Device {
    span.buffer().device()
}

/// `x ← factor · x`.
///
/// # Errors
/// When the kernel does not compile or start.
pub fn scale(x: &Span, factor: f32) -> Result<(), DeviceError> {
    let args = Args::new().span(x).f32(factor).span(x);
    // SAFETY: the kernel touches `x.len()` elements, in place.
    unsafe { device(x).launch(&SCALE, Launch::over(x.len()), args.u64(x.len() as u64)) }
}

/// `param ← momentum · param + (1 − momentum) · other`.
///
/// # Errors
/// When the kernel does not compile or start.
///
/// # Panics
/// When lengths differ.
pub fn follow(param: &Span, other: &Span, momentum: f32) -> Result<(), DeviceError> {
    let n = param.len();
    let args = pointers(&[param, other]).f32(momentum).u64(n as u64);
    // SAFETY: the kernel touches n elements of both spans, which have as many.
    unsafe { device(param).launch(&FOLLOW, Launch::over(n), args) }
}

/// Settings of a step of gradient descent.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub rate: f32,
    /// Share of the last step's direction.
    pub momentum: f32,
    /// Weight decay, as part of the gradient.
    pub decay: f32,
}

impl Sgd {
    /// `buffer ← momentum · buffer + (grad + decay · param)`, `param ← param − rate · buffer`.
    ///
    /// # Errors
    /// When the kernel does not compile or start.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn step(self, param: &Span, grad: &Span, buffer: &Span) -> Result<(), DeviceError> {
        let n = param.len();
        let args = pointers(&[param, grad, buffer]).f32(self.rate);
        let args = args.f32(self.momentum).f32(self.decay).u64(n as u64);
        // SAFETY: the kernel touches n elements of each span, which have as many.
        unsafe { device(param).launch(&SGD, Launch::over(n), args) }
    }
}

/// Settings of a step of Adam.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate over the first bias correction.
    pub rate: f32,
    /// How much of the moments is kept.
    pub betas: [f32; 2],
    /// Root of the second bias correction.
    pub correction: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Weight decay as part of the gradient.
    pub decay: f32,
    /// Factor on the weights, below 1 for decoupled weight decay.
    pub shrink: f32,
}

impl Adam {
    /// Moves `moments`, first and second, and with them `param`.
    ///
    /// # Errors
    /// When the kernel does not compile or start.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn step(self, param: &Span, grad: &Span, moments: [&Span; 2]) -> Result<(), DeviceError> {
        let n = param.len();
        let args = pointers(&[param, grad, moments[0], moments[1]]);
        let args = args.f32(self.rate).f32(self.betas[0]).f32(self.betas[1]);
        let args = args.f32(self.correction).f32(self.eps);
        let args = args.f32(self.decay).f32(self.shrink).u64(n as u64);
        // SAFETY: the kernel touches n elements of each span, which have as many.
        unsafe { device(param).launch(&ADAM, Launch::over(n), args) }
    }
}
