//! Ctrl-C: the first asks for a clean stop, the second ends the process at once.

use crate::error::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the first Ctrl-C (or `SIGTERM`) raises.
///
/// Clones share the flag. Long work asks [`Interrupt::is_raised`] between steps, or
/// [`Interrupt::check`] where it cannot be saved halfway.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
}

impl Interrupt {
    /// Exit code of a process that Ctrl-C ended.
    pub const EXIT_CODE: i32 = 130;

    /// A flag that no signal raises, for tests and embedding.
    pub fn never() -> Self {
        Self::default()
    }

    /// Installs the signal handlers and returns the flag they raise.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn install() -> std::io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::flag;
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // Order matters: the shutdown looks at the flag before this signal raises it.
            let armed = Arc::clone(&interrupt.flag);
            flag::register_conditional_shutdown(signal, Self::EXIT_CODE, armed)?;
            flag::register(signal, Arc::clone(&interrupt.flag))?;
        }
        Ok(interrupt)
    }

    /// True after the first Ctrl-C.
    pub fn is_raised(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Nothing, before the first Ctrl-C.
    ///
    /// # Errors
    /// [`Error::Interrupted`] after it. Who knows what is kept of the work says so in the place of this
    /// message.
    pub fn check(&self) -> Result<()> {
        match self.is_raised() {
            true => Err(Error::Interrupted(
                "the work was left unfinished".to_owned(),
            )),
            false => Ok(()),
        }
    }

    /// Raises the flag from within the program.
    pub fn raise(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag() {
        let first = Interrupt::never();
        let second = first.clone();
        assert!(!second.is_raised() && second.check().is_ok());
        first.raise();
        assert!(second.is_raised());
        assert!(matches!(second.check(), Err(Error::Interrupted(_))));
    }
}
