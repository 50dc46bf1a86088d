//! Mean absolute differences on a device.

use super::int;
use viewmaker_device::{Args, Buffer, Device, DeviceError, Kernel, Launch, Span, source};

static DIFFERENCES: Kernel = Kernel::new(&source::DISTORTION, "absolute_differences");
static FINISH: Kernel = Kernel::new(&source::DISTORTION, "finish_differences");

/// Elements that a block sums: each of its 256 threads 64.
const SHARE: usize = 16_384;

/// Measures how far views are from their examples: the mean of |view − example| over some pairs of
/// arrays of one length.
#[derive(Debug)]
pub struct Distortion {
    pairs: usize,
    len: usize,
    partials: Buffer,
}

impl Distortion {
    /// Memory on `device` for the mean over `pairs` pairs of arrays with `len` elements each.
    ///
    /// # Errors
    /// When there is too little.
    pub fn new(device: &Device, pairs: usize, len: usize) -> Result<Self, DeviceError> {
        let partials = device.alloc(pairs * len.div_ceil(SHARE))?;
        Ok(Self {
            pairs,
            len,
            partials,
        })
    }

    /// Takes in pair number `pair`.
    ///
    /// # Errors
    /// When the kernel does not compile or start.
    ///
    /// # Panics
    /// When there is no such pair, or a length differs.
    pub fn add(&self, pair: usize, view: &Span, example: &Span) -> Result<(), DeviceError> {
        assert!(
            view.len() == self.len && example.len() == self.len,
            "lengths differ"
        );
        let blocks = self.len.div_ceil(SHARE);
        if blocks == 0 {
            return Ok(());
        }
        let own = self.partials.span(pair * blocks..(pair + 1) * blocks);
        let args = Args::new().span(view).span(example).span(&own);
        let args = args.u64(self.len as u64).u64(SHARE as u64);
        let launch = Launch::linear(blocks as u32, Launch::THREADS);
        // SAFETY: the kernel reads the first `len` elements of both arrays, which have as many, and every
        // block writes one partial sum, of which there are `blocks`.
        unsafe { self.device().launch(&DIFFERENCES, launch, args) }
    }

    /// Writes the mean over all pairs, each taken in since the last call, to the one word `out`.
    ///
    /// # Errors
    /// When the kernel does not compile or start.
    ///
    /// # Panics
    /// When `out` is not one word.
    pub fn finish(&self, out: &Span) -> Result<(), DeviceError> {
        assert_eq!(out.len(), 1, "elements of the result");
        let count = (self.pairs * self.len).max(1);
        let args = Args::new().span(&self.partials.all());
        let args = args
            .i32(int(self.partials.len()))
            .f32((count as f32).recip());
        // SAFETY: the kernel reads all partial sums and writes one word.
        unsafe {
            self.device()
                .launch(&FINISH, Launch::linear(1, 32), args.span(out))
        }
    }

    fn device(&self) -> &Device {
        self.partials.device()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Philox;

    fn uniform(len: usize, stream: u32) -> Vec<f32> {
        let mut out = vec![0.0; len];
        Philox::new(5, stream, 0).fill_uniform(&mut out);
        out
    }

    #[test]
    fn cuda_distortion_is_the_mean_difference() {
        for device in Device::present() {
            for len in [0, 1, 1000, 2 * SHARE + 5] {
                let distortion = Distortion::new(&device, 2, len).unwrap();
                let mut sum = 0.0;
                for pair in 0..2 {
                    let (a, b) = (uniform(len, 2 * pair), uniform(len, 2 * pair + 1));
                    let spans = [&a, &b].map(|values| {
                        let buffer = device.alloc(len).unwrap();
                        device.upload(&buffer.span(0..len), values).unwrap();
                        buffer.span(0..len)
                    });
                    distortion.add(pair as usize, &spans[0], &spans[1]).unwrap();
                    let pairs = a.iter().zip(&b);
                    sum += pairs.map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
                }
                let out = device.alloc(1).unwrap();
                distortion.finish(&out.all()).unwrap();
                let mut got = [f32::NAN];
                device.download(&out.all(), &mut got).unwrap();
                let want = sum / (2 * len).max(1) as f64;
                // Sums of 64 numbers, then trees: a few units in the last place.
                assert!(
                    (f64::from(got[0]) - want).abs() <= 1e-6 * want,
                    "{len}: {got:?}, {want}"
                );
            }
        }
    }
}
