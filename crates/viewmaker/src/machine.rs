//! From the words of a configuration to what executes its networks.

use crate::config::{Config, Device, Precision};
use crate::error::{Error, Result};
use viewmaker_device::Device as Card;
use viewmaker_device::source::SOURCES;
use viewmaker_exec::Machine;
use viewmaker_ops::device;

/// What a configuration runs on, and what to tell the user about it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What executes the networks.
    pub machine: Machine,
    /// One line that says what was chosen, and why where there was a choice.
    pub message: String,
}

impl Opened {
    /// Compiles the kernels that the card has never run; `says` gets a line before that, because it takes a
    /// minute or so.
    ///
    /// # Errors
    /// When one does not compile, or the driver refuses the result.
    pub fn prepare(&self, says: impl FnOnce(&str)) -> Result<()> {
        let Machine::Device(card, _) = &self.machine else {
            return Ok(());
        };
        let begins = |count| {
            let name = card.name();
            says(&format!(
                "compiling {count} files of kernels for {name}, which happens once"
            ));
        };
        Ok(card.prepare(SOURCES, begins)?)
    }
}

/// The card of `device`, or `None` for the processor with the reason where that was a choice.
///
/// # Errors
/// When a card was asked for and cannot be had; the error names what was looked for.
pub fn card(device: Device) -> Result<(Option<Card>, Option<String>)> {
    match device {
        Device::Cpu => Ok((None, None)),
        Device::Cuda(ordinal) => Ok((Some(Card::cuda(ordinal)?), None)),
        Device::Auto => match Card::cuda(0) {
            Ok(card) => Ok((Some(card), None)),
            Err(reason) => Ok((None, Some(reason.to_string()))),
        },
    }
}

/// Opens what `config.device` asks for.
///
/// # Errors
/// When a card was asked for and cannot be had, or cannot compute in `config.precision`.
pub fn open(config: &Config) -> Result<Opened> {
    let precision = match config.precision {
        Precision::F32 => device::Precision::F32,
        Precision::Tf32 => device::Precision::Tf32,
        Precision::Bf16 => device::Precision::Bf16,
    };
    let device = config.device.parse().map_err(Error::usage)?;
    let (card, reason) = card(device)?;
    let Some(card) = card else {
        // Where there was a choice, what is missing; what to do about it is for those who ask for a card.
        let missing = |reason: String| reason.split(':').next().unwrap_or_default().to_owned();
        let reason = reason.map(|reason| format!(" ({})", missing(reason)));
        return Ok(Opened {
            machine: Machine::Cpu,
            message: format!("device: CPU{}", reason.unwrap_or_default()),
        });
    };
    if !precision.runs_on(&card) {
        return Err(Error::usage(format!(
            "precision = \"{precision}\": the tensor cores of {} cannot; use precision = \"f32\"",
            card.name()
        )));
    }
    Ok(Opened {
        message: format!("device: {}, {precision}", card.name()),
        machine: Machine::Device(card, precision),
    })
}
