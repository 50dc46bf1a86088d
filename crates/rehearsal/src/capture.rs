//! Capturing: what a stream may do meanwhile, and what breaks it.

use std::ffi::c_uint;
use std::sync::Arc;
use std::thread::ThreadId;

use cudarc::driver::sys::{CUgraph, CUstream, CUstreamCaptureMode};

use crate::errors::{Answer, CUresult, Out, answer, complain};
use crate::graph::Graph;
use crate::state::{State, find, in_context};
use crate::work::Work;

const RELAXED: c_uint = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED as c_uint;

/// What has been recorded so far.
pub(crate) struct Capture {
    list: Vec<Work>,
    thread: ThreadId,
    relaxed: bool,
    broken: bool,
}

impl Capture {
    /// Adds work to the graph.
    pub(crate) fn record(&mut self, work: Work) -> Answer {
        if self.broken {
            return Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        }
        let refused = match &work {
            Work::Upload(..) => Some("a copy from memory that is not page-locked"),
            // Where the bytes go may be gone at the next replay, whatever memory it is.
            Work::Download(..) => Some("a copy to the host"),
            Work::Graph(_) => Some("another graph"),
            _ => None,
        };
        match refused {
            Some(what) => Err(self.refuse(what)),
            None => {
                self.list.push(work);
                Ok(())
            }
        }
    }

    /// Says that something cannot be done now; the capture is lost with it.
    pub(crate) fn refuse(&mut self, what: &str) -> CUresult {
        complain(&format!("{what} inside a capture"));
        self.broken = true;
        CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
    }
}

impl State {
    /// Before a call that concerns the whole card: an error in a thread that is capturing. Mode `RELAXED`
    /// lets such calls through on a card; what `even_relaxed` refuses is an error here all the same.
    pub(crate) fn outside_capture(
        &mut self,
        context: usize,
        what: &str,
        even_relaxed: bool,
    ) -> Answer {
        let thread = std::thread::current().id();
        let streams = self.streams.values_mut();
        let captures = streams.filter(|s| s.context == context);
        let mut captures = captures.filter_map(|s| s.capture.as_mut());
        let concerned = captures.find(|c| c.thread == thread && (even_relaxed || !c.relaxed));
        concerned.map_or(Ok(()), |capture| Err(capture.refuse(what)))
    }
}

/// From now on the stream records.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamBeginCapture_v2(stream: CUstream, mode: c_uint) -> CUresult {
    answer("cuStreamBeginCapture", || {
        in_context(|state, context| {
            if mode > RELAXED {
                return Err(CUresult::CUDA_ERROR_INVALID_VALUE);
            }
            let stream = find(&mut state.streams, stream as usize, context)?;
            if stream.capture.is_some() {
                return Err(CUresult::CUDA_ERROR_ILLEGAL_STATE);
            }
            stream.capture = Some(Capture {
                list: Vec::new(),
                thread: std::thread::current().id(),
                relaxed: mode == RELAXED,
                broken: false,
            });
            Ok(())
        })
    })
}

/// The graph of what was recorded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: CUstream, graph: Out<CUgraph>) -> CUresult {
    answer("cuStreamEndCapture", || {
        in_context(|state, context| {
            graph.put(std::ptr::null_mut())?;
            let found = find(&mut state.streams, stream as usize, context)?;
            let Some(capture) = found.capture.take() else {
                return Err(CUresult::CUDA_ERROR_ILLEGAL_STATE);
            };
            if !capture.relaxed && capture.thread != std::thread::current().id() {
                found.capture = Some(capture);
                return Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
            }
            if capture.broken {
                return Err(CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
            }
            let handle = state.handle();
            let list = Arc::from(capture.list);
            state.graphs.insert(handle, Graph { context, list });
            graph.put(handle as CUgraph)
        })
    })
}
