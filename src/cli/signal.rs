//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once. And the limit of file sizes.

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Has a write beyond the limit for the size of a file (`ulimit -f`) fail like one on a full disk: the signal would end the
/// process.
pub(crate) fn survive_file_limits() -> Result<()> {
    flag::register(SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Exit status after a second signal: that of a process ended by SIGINT.
const EXIT_AT_ONCE: i32 = 130;

/// Set by the first signal.
#[derive(Clone, Debug)]
pub(crate) struct Interrupted(Arc<AtomicBool>);

impl Interrupted {
    /// From here on signals are heard.
    pub(crate) fn listen() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag that the first one set.
            flag::register_conditional_shutdown(signal, EXIT_AT_ONCE, Arc::clone(&interrupted))?;
            flag::register(signal, Arc::clone(&interrupted))?;
        }
        Ok(Self(interrupted))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
