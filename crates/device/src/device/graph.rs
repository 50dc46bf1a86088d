//! Captured sequences of work, and moments between pieces of it.

use std::time::Duration;

use super::{Backend, Command, Device};
use crate::DeviceError;
use crate::cuda::{CudaEvent, CudaGraph};

/// Ends a capture, also when the work panics.
pub(super) struct Recording<'a>(pub(super) &'a Device);

impl Recording<'_> {
    pub(super) fn end(self) -> (Vec<Command>, Result<Option<CudaGraph>, DeviceError>) {
        let ended = self.finish();
        std::mem::forget(self);
        ended
    }

    fn finish(&self) -> (Vec<Command>, Result<Option<CudaGraph>, DeviceError>) {
        let commands = self.0.recorded().take().unwrap_or_default();
        let graph = match &self.0.0.backend {
            Backend::Cuda(cuda) => cuda.end_capture().map(Some),
            #[cfg(feature = "emulator")]
            Backend::Emulated(_) => Ok(None),
        };
        (commands, graph)
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        drop(self.finish());
    }
}

/// A captured sequence of launches, copies and fills.
pub struct Graph {
    pub(super) device: Device,
    /// On a card these only keep the buffers.
    pub(super) commands: Vec<Command>,
    pub(super) graph: Option<CudaGraph>,
}

impl Graph {
    /// Executes the sequence, behind everything that was called before.
    ///
    /// # Errors
    /// When the driver or a kernel fails; `Capturing` inside a capture.
    pub fn launch(&mut self) -> Result<(), DeviceError> {
        self.device.outside_capture("another graph")?;
        match &mut self.graph {
            Some(graph) => graph.launch(),
            None => self
                .commands
                .iter()
                .try_for_each(|c| self.device.execute(c)),
        }
    }

    /// Number of launches, copies and fills.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether nothing was captured.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }
}

/// A moment in the sequence of launches.
pub struct Event(pub(super) Moment);

pub(super) enum Moment {
    Cuda(CudaEvent),
    #[cfg(feature = "emulator")]
    Host(std::time::Instant),
}

impl Event {
    /// Waits until the device has come to this event; how long it took from `earlier`.
    ///
    /// # Errors
    /// When the driver or a kernel fails.
    ///
    /// # Panics
    /// When the events are of different kinds of devices.
    pub fn since(&self, earlier: &Self) -> Result<Duration, DeviceError> {
        match (&self.0, &earlier.0) {
            (Moment::Cuda(end), Moment::Cuda(start)) => end.since(start),
            #[cfg(feature = "emulator")]
            (Moment::Host(end), Moment::Host(start)) => Ok(end.duration_since(*start)),
            #[cfg(feature = "emulator")]
            _ => panic!("events of different kinds of devices"),
        }
    }
}
