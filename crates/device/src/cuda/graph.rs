//! Graphs and events of a card.

use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::{DriverError, result, sys};

use super::{Cuda, failed};
use crate::DeviceError;

impl Cuda {
    pub(crate) fn begin_capture(&self) -> Result<(), DeviceError> {
        self.bind()?;
        // Relaxed, because a kernel may be loaded at its first launch, inside the capture.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::begin_capture(self.stream, mode) }
            .map_err(|e| failed("beginning a capture", e))
    }

    pub(crate) fn end_capture(self: &Arc<Self>) -> Result<CudaGraph, DeviceError> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        let graph = unsafe { result::stream::end_capture(self.stream) };
        let graph = graph.map_err(|e| failed("ending a capture", e))?;
        // SAFETY: the graph was just made and is destroyed once, below; an instance does not need it.
        let instance = unsafe {
            let instance = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0));
            let _ = result::graph::destroy(graph);
            instance
        };
        Ok(CudaGraph {
            cuda: Arc::clone(self),
            instance: instance.map_err(|e| failed("instantiating a graph", e))?,
        })
    }

    /// Records the present moment of the stream.
    pub(crate) fn event(self: &Arc<Self>) -> Result<CudaEvent, DeviceError> {
        self.bind()?;
        let handle = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let event = CudaEvent {
            cuda: Arc::clone(self),
            handle: handle.map_err(|e| failed("creating an event", e))?,
        };
        // SAFETY: event and stream live.
        let recorded = unsafe { result::event::record(event.handle, self.stream) };
        recorded.map_err(|e| failed("recording an event", e))?;
        Ok(event)
    }
}

/// A captured sequence of launches.
pub(crate) struct CudaGraph {
    cuda: Arc<Cuda>,
    instance: sys::CUgraphExec,
}

// SAFETY: the driver asks that one graph is not used by two threads at once: `launch` takes `&mut`.
unsafe impl Send for CudaGraph {}

impl CudaGraph {
    pub(crate) fn launch(&mut self) -> Result<(), DeviceError> {
        self.cuda.bind()?;
        // SAFETY: instance and stream live.
        let launched = unsafe { result::graph::launch(self.instance, self.cuda.stream) };
        launched.map_err(|e| failed("launching a graph", e))
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: instantiated once, destroyed once; the driver waits for a running one.
        let _ = self
            .cuda
            .bind()
            .map(|()| unsafe { result::graph::exec_destroy(self.instance) });
    }
}

/// A moment of the stream.
pub(crate) struct CudaEvent {
    cuda: Arc<Cuda>,
    handle: sys::CUevent,
}

// SAFETY: events may be used from any thread.
unsafe impl Send for CudaEvent {}
// SAFETY: as above.
unsafe impl Sync for CudaEvent {}

impl CudaEvent {
    /// Waits for this event; the time from `earlier` to it.
    pub(crate) fn since(&self, earlier: &Self) -> Result<Duration, DeviceError> {
        type Elapsed = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult;
        self.cuda.bind()?;
        let mut milliseconds = 0.0;
        // The bindings would call cuEventElapsedTime_v2, which drivers before 12.8 lack.
        // SAFETY: both events are recorded and live; the signature is the driver's.
        let answer = unsafe {
            result::event::synchronize(self.handle)
                .map_err(|e| failed("waiting for an event", e))?;
            match sys::culib().get::<Elapsed>(b"cuEventElapsedTime") {
                Ok(elapsed) => elapsed(&mut milliseconds, earlier.handle, self.handle).result(),
                Err(_) => Err(DriverError(sys::CUresult::CUDA_ERROR_NOT_FOUND)),
            }
        };
        answer.map_err(|e| failed("comparing events", e))?;
        Ok(Duration::from_secs_f64(
            f64::from(milliseconds).max(0.0) / 1e3,
        ))
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        // SAFETY: created once, destroyed once.
        let _ = self
            .cuda
            .bind()
            .map(|()| unsafe { result::event::destroy(self.handle) });
    }
}
