//! Work of a stream, and its execution.

use std::sync::Arc;
use std::time::Instant;

use viewmaker_device::{Launch, emulator};

use crate::errors::{Answer, CUresult, complain};
use crate::module::Code;
use crate::state::State;

/// Something that a stream does later.
#[derive(Clone)]
pub(crate) enum Work {
    /// A kernel with its arguments.
    Launch(Arc<Code>, Launch, Vec<u64>),
    /// To the card, from bytes that were taken at the call.
    Upload(u64, Arc<[u8]>),
    /// To the card, from page-locked memory that is read when this is executed.
    UploadPinned(u64, usize, usize),
    /// From the card to any memory of the host.
    Download(usize, u64, usize),
    /// On the card: to, from, bytes.
    Copy(u64, u64, usize),
    /// On the card: to, value, bytes.
    Fill(u64, u8, usize),
    /// The moment of an event's record with this number.
    Record(usize, u64),
    /// What a graph holds.
    Graph(Arc<[Work]>),
}

impl State {
    /// Whether everything that the work touches is there.
    pub(crate) fn check(&self, context: usize, work: &Work) -> Answer {
        let device = |address: u64, bytes: usize, what: &str| {
            if self.memory.holds(context, address, bytes) {
                return Ok(());
            }
            complain(&format!(
                "{what}: {bytes} bytes at {address:#x} lie inside no living allocation"
            ));
            Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS)
        };
        match work {
            Work::Launch(code, _, words) => {
                if !self.modules.contains_key(&code.module) {
                    complain(&format!("{}: its module is unloaded", code.name));
                    return Err(CUresult::CUDA_ERROR_LAUNCH_FAILED);
                }
                let pointers = code.signature.chars().zip(words);
                let mut given = pointers.filter(|(letter, word)| *letter == 'p' && **word != 0);
                given.try_for_each(|(_, &address)| device(address, 0, &code.name))
            }
            Work::Upload(to, bytes) => device(*to, bytes.len(), "a copy to the card"),
            Work::UploadPinned(to, from, bytes) => {
                if !self.memory.holds_host(context, *from, *bytes) {
                    complain("a copy to the card reads page-locked memory that was freed");
                    return Err(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
                }
                device(*to, *bytes, "a copy to the card")
            }
            Work::Download(_, from, bytes) => device(*from, *bytes, "a copy from the card"),
            Work::Copy(to, from, bytes) => {
                device(*from, *bytes, "a copy on the card")?;
                device(*to, *bytes, "a copy on the card")
            }
            Work::Fill(to, _, bytes) => device(*to, *bytes, "a fill"),
            Work::Record(..) | Work::Graph(_) => Ok(()),
        }
    }

    /// Does it.
    pub(crate) fn execute(&mut self, context: usize, work: &Work) -> Answer {
        self.check(context, work)?;
        let mut count = |kernels, graphs, copies| {
            if let Some(context) = self.contexts.get_mut(&context) {
                context.kernels += kernels;
                context.graphs += graphs;
                context.copies += copies;
            }
        };
        match work {
            Work::Launch(code, launch, words) => {
                count(1, 0, 0);
                self.kernel(context, code, launch, words)
            }
            Work::Graph(list) => {
                count(0, 1, 0);
                list.iter().try_for_each(|w| self.execute(context, w))
            }
            Work::Record(event, number) => {
                if let Some(event) = self.events.get_mut(event) {
                    event.came(*number, Instant::now());
                }
                Ok(())
            }
            Work::Upload(to, bytes) => {
                count(0, 0, 1);
                move_bytes(bytes.as_ptr() as usize, *to as usize, bytes.len());
                Ok(())
            }
            Work::UploadPinned(to, from, bytes) => {
                count(0, 0, 1);
                move_bytes(*from, *to as usize, *bytes);
                Ok(())
            }
            Work::Download(to, from, bytes) => {
                count(0, 0, 1);
                move_bytes(*from as usize, *to, *bytes);
                Ok(())
            }
            Work::Copy(to, from, bytes) => {
                move_bytes(*from as usize, *to as usize, *bytes);
                Ok(())
            }
            Work::Fill(to, value, bytes) => {
                // SAFETY: `check` found the range inside a living allocation.
                unsafe { std::ptr::write_bytes(*to as *mut u8, *value, *bytes) };
                Ok(())
            }
        }
    }

    fn kernel(&self, context: usize, code: &Code, launch: &Launch, words: &[u64]) -> Answer {
        let function = code.library.function(&code.name);
        // SAFETY: the words were read by this signature, and pointers lead into allocations or are null. A
        // kernel that goes beyond them is what the fences find.
        let ran = function.and_then(|f| unsafe { emulator::run(&f, launch, words) });
        let whole = ran.and_then(|()| match self.memory.damage(context) {
            Some(words) => Err(words),
            None => Ok(()),
        });
        whole.map_err(|words| {
            complain(&format!("kernel {}: {words}", code.name));
            CUresult::CUDA_ERROR_LAUNCH_FAILED
        })
    }
}

/// Copies between ranges that `check` has seen, or that a caller has given for a copy to the host.
fn move_bytes(from: usize, to: usize, bytes: usize) {
    // SAFETY: ranges on the card and page-locked ones lie inside living allocations; the host's are as long
    // as whoever called the copy says, and must live until it waits.
    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
}
