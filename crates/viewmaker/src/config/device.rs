//! Where the computation runs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What executes the networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first CUDA card, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA card with this number, from 0.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(0) => f.pad("cuda"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let card = |number: &str| number.parse().map(Self::Cuda).ok();
        let device = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(card),
        };
        device.ok_or_else(|| {
            format!("unknown device `{text}`: expected auto, cpu, cuda, or cuda:N with N from 0")
        })
    }
}

/// How convolutions and fully connected layers multiply on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    F32,
    /// Operands rounded to TF32 for tensor cores.
    Tf32,
    /// Operands rounded to bfloat16 for tensor cores; sums and storage stay in single precision.
    Bf16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_typed() {
        for device in [Device::Auto, Device::Cpu, Device::Cuda(0), Device::Cuda(3)] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda:0".parse(), Ok(Device::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            let error = wrong.parse::<Device>().unwrap_err();
            assert!(error.contains("expected auto, cpu, cuda"), "{error}");
        }
    }
}
