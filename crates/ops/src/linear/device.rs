//! Fully connected layers on a device: convolutions of maps of one position.

use super::Linear;
use crate::Dims;
use crate::conv2d::{Geometry, device::Convolution};
use crate::device::{Backward, Forward, OnDevice};
use viewmaker_device::DeviceError;

impl OnDevice for Linear {
    fn device_scratch_len(&self, inputs: &[Dims]) -> usize {
        Geometry::of_vectors(inputs[0], self.out_features).device_scratch_len()
    }

    fn device_forward(&self, cx: &Forward<'_>) -> Result<(), DeviceError> {
        let convolution = Convolution {
            geometry: Geometry::of_vectors(cx.input_dims[0], self.out_features),
            device: cx.device,
            precision: cx.precision,
            version: cx.convolution,
        };
        let params = (&cx.params[0], cx.params.get(1));
        convolution.forward(&cx.inputs[0], params, cx.output, cx.scratch)
    }

    fn device_backward(&self, cx: &Backward<'_>) -> Result<(), DeviceError> {
        let convolution = Convolution {
            geometry: Geometry::of_vectors(cx.input_dims[0], self.out_features),
            device: cx.device,
            precision: cx.precision,
            version: cx.convolution,
        };
        convolution.gradients(cx)
    }
}
