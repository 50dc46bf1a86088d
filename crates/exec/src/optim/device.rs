//! Optimiser state on a device: copies of the host's, made when they are first needed.

use viewmaker_device::{Buffer, DeviceError, Span};

/// Buffers of an optimiser that follow the parameters. The host's copy is the one that checkpoints
/// hold; it is out of date while there is one on a device.
#[derive(Debug, Default)]
pub(super) struct Copies(Vec<Buffer>);

impl Copies {
    /// The buffers beside `params`, filled from the host's copies the first time.
    pub(super) fn beside(
        &mut self,
        params: &Span,
        host: &[&[f32]],
    ) -> Result<&[Buffer], DeviceError> {
        if self.0.is_empty() {
            let device = params.buffer().device();
            let copy = |values: &&[f32]| {
                let buffer = device.alloc(values.len())?;
                device.upload(&buffer.all(), values)?;
                Ok(buffer)
            };
            self.0 = host.iter().map(copy).collect::<Result<_, _>>()?;
        }
        Ok(&self.0)
    }

    /// Brings the host's copies up to date.
    pub(super) fn fetch(&self, host: &mut [&mut Vec<f32>]) -> Result<(), DeviceError> {
        for (buffer, values) in self.0.iter().zip(host) {
            buffer.device().download(&buffer.all(), values)?;
        }
        Ok(())
    }

    /// Forgets the device's copies: the host's are newer.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
