//! Parts of perturbations on a device: a point between an example and its view.
//!
//! How large a part is, the kernels read from the device's memory: a captured graph repeats its launches
//! with the arguments that they had, and the strength of perturbations grows from step to step.

use viewmaker_device::{
    Args, Buffer, Device, DeviceError, Kernel, Launch, Span, source::ELEMENTWISE,
};

static BLEND: Kernel = Kernel::new(&ELEMENTWISE, "blend");
static WEAKEN: Kernel = Kernel::new(&ELEMENTWISE, "weaken");

/// How much of every perturbation is applied, from 0 (none) to 1 (all), in the memory of a device.
#[derive(Debug)]
pub struct Strength(Buffer);

impl Strength {
    /// A strength of 0 on `device`.
    ///
    /// # Errors
    /// When there is too little memory.
    pub fn new(device: &Device) -> Result<Self, DeviceError> {
        device.alloc(1).map(Self)
    }

    /// From now on it is `strength`, also for launches that were captured before.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn set(&self, strength: f32) -> Result<(), DeviceError> {
        self.device().upload(&self.0.all(), &[strength])
    }

    /// `out ← s · view + (1 − s) · example`; `out` may be one of them.
    ///
    /// # Errors
    /// When the kernel does not compile or start.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn blend(&self, view: &Span, example: &Span, out: &Span) -> Result<(), DeviceError> {
        let n = out.len();
        assert!(view.len() == n && example.len() == n, "lengths differ");
        let args = Args::new().span(view).span(example);
        let args = args.span(&self.0.all()).span(out).u64(n as u64);
        // SAFETY: the kernel touches n elements of three spans, which have as many, and reads one word of
        // the strength's.
        unsafe { self.device().launch(&BLEND, Launch::over(n), args) }
    }

    /// `out ← s · grad`, the gradient of [`Strength::blend`] with respect to the view; `out` may be
    /// `grad`.
    ///
    /// # Errors
    /// When the kernel does not compile or start.
    ///
    /// # Panics
    /// When lengths differ.
    pub fn weaken(&self, grad: &Span, out: &Span) -> Result<(), DeviceError> {
        let n = out.len();
        assert_eq!(grad.len(), n, "lengths differ");
        let args = Args::new().span(grad).span(&self.0.all()).span(out);
        // SAFETY: the kernel touches n elements of both spans, which have as many, and reads one word of
        // the strength's.
        unsafe {
            self.device()
                .launch(&WEAKEN, Launch::over(n), args.u64(n as u64))
        }
    }

    fn device(&self) -> &Device {
        self.0.device()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Philox;

    const LEN: usize = 1003;

    fn uniform(device: &Device, stream: u32) -> (Vec<f32>, Buffer) {
        let mut values = vec![0.0; LEN];
        Philox::new(6, stream, 0).fill_uniform(&mut values);
        let buffer = device.alloc(LEN).unwrap();
        device.upload(&buffer.all(), &values).unwrap();
        (values, buffer)
    }

    fn read(device: &Device, buffer: &Buffer) -> Vec<f32> {
        let mut values = vec![f32::NAN; LEN];
        device.download(&buffer.all(), &mut values).unwrap();
        values
    }

    /// Also for a launch that was captured with another strength.
    #[test]
    fn cuda_blends_are_those_of_the_strength_at_hand() {
        for device in Device::present() {
            let (view, there) = uniform(&device, 0);
            let (example, x) = uniform(&device, 1);
            let (out, weakened) = (device.alloc(LEN).unwrap(), device.alloc(LEN).unwrap());
            let strength = Strength::new(&device).unwrap();
            strength.set(0.25).unwrap();
            let launch = || {
                strength.blend(&there.all(), &x.all(), &out.all())?;
                strength.weaken(&there.all(), &weakened.all())
            };
            launch().unwrap();
            let mut graph = device.capture(launch).unwrap();
            for s in [0.25f32, 0.7, 1.0] {
                strength.set(s).unwrap();
                graph.launch().unwrap();
                let blended = read(&device, &out);
                let pairs = view.iter().zip(&example).zip(&blended);
                for ((view, example), got) in pairs {
                    let want = f64::from(s) * f64::from(*view)
                        + (1.0 - f64::from(s)) * f64::from(*example);
                    // Three roundings of numbers up to 1.
                    assert!((f64::from(*got) - want).abs() <= 2e-7, "{s}: {got}, {want}");
                }
                let scaled: Vec<f32> = view.iter().map(|view| s * view).collect();
                assert_eq!(read(&device, &weakened), scaled, "{s}");
            }
        }
    }
}
