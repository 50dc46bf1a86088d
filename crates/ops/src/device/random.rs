//! Random numbers on a device: the bits that the processor computes.

use crate::random::Philox;
use viewmaker_device::{Args, DeviceError, Kernel, Launch, Span, source::RANDOM};

static FILL_UNIFORM: Kernel = Kernel::new(&RANDOM, "fill_uniform");

impl Philox {
    /// [`Philox::fill_uniform`] on the device that `out` lies on, with the same bits.
    ///
    /// # Errors
    /// When the kernel does not compile or start.
    pub fn fill_uniform_on(&self, out: &Span) -> Result<(), DeviceError> {
        let args = Args::new().span(out).u64(out.len() as u64);
        let args = args.u64(self.seed()).u32(self.stream).u32(self.step);
        let launch = Launch::over(out.len().div_ceil(4));
        // SAFETY: the kernel writes the elements below `out.len()`.
        unsafe { out.buffer().device().launch(&FILL_UNIFORM, launch, args) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use viewmaker_device::Device;

    #[test]
    fn cuda_noise_is_the_processors() {
        for device in Device::present() {
            // Part of a last block of four, and a seed that needs both of its words.
            let philox = Philox::new(0x1234_5678_9abc_def0, 7, 3);
            let buffer = device.alloc(1001).unwrap();
            philox.fill_uniform_on(&buffer.span(0..997)).unwrap();
            let (mut there, mut here) = (vec![0.0; 1001], vec![0.0; 997]);
            device.download(&buffer.all(), &mut there).unwrap();
            philox.fill_uniform(&mut here);
            assert_eq!(there[..997], here[..]);
            assert_eq!(there[997..], [0.0; 4], "beyond the span");
        }
    }
}
