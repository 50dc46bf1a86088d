//! Fixed normalisation on a device: the constants travel as arguments, one launch a channel.

use super::Normalize;
use crate::device::{Backward, Forward, OnDevice, int};
use viewmaker_device::{Args, Device, DeviceError, Kernel, Launch, Span, source::MAPS};

static NORMALISE: Kernel = Kernel::new(&MAPS, "normalise_channel");

impl Normalize {
    /// `to = (from − mean)/std`, or `from/std` where no mean is subtracted.
    fn launch(
        &self,
        device: &Device,
        from: &Span,
        to: &Span,
        subtract: bool,
    ) -> Result<(), DeviceError> {
        let channels = self.mean.len();
        let positions = to.len() / channels;
        let constants = self.mean.iter().zip(&self.std).enumerate();
        for (channel, (&mean, &std)) in constants {
            let mean = if subtract { mean } else { 0.0 };
            let args = Args::new().span(from).span(to).f32(mean).f32(std);
            let args = args.i32(int(channel)).i32(int(channels));
            // SAFETY: the kernel touches one of `channels` elements at `positions` positions, as many
            // as both spans have.
            unsafe {
                let args = args.u64(positions as u64);
                device.launch(&NORMALISE, Launch::over(positions), args)?;
            }
        }
        Ok(())
    }
}

impl OnDevice for Normalize {
    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        self.launch(cx.device, &cx.inputs[0], cx.output, true)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let grad = cx.input_grads[0].as_ref();
        grad.map_or(Ok(()), |grad| {
            self.launch(cx.device, cx.output_grad, grad, false)
        })
    }
}
