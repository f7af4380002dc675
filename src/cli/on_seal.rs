//! The command that is run when a segment of the journal is sealed.
//!
//! A thread named `tickcore-seal` runs it, once for each segment, one after the other: neither the journal nor the thread
//! that prepares its segments waits for it.

use anyhow::{Context as _, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use tickcore::journal::{HelperHandle, OnSealed};

/// The helper of a journal, and the command's thread if there is one.
#[derive(Debug)]
pub(crate) struct Helpers {
    preparing: JoinHandle<()>,
    sealing: Option<JoinHandle<Sealed>>,
}

/// What became of the commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) commands: u64,
    pub(crate) failed: u64,
}

impl Helpers {
    /// Starts the thread that prepares segments, on these cores if there are any, and one for the command, which runs where
    /// the calling thread may.
    pub(crate) fn start(journal: &Path, command: Option<&str>, cores: Vec<usize>) -> Result<(Self, HelperHandle)> {
        let mut sealing = None;
        let on_sealed = command.map(|command| -> Result<OnSealed> {
            let (sender, segments) = channel::<PathBuf>();
            let (command, journal) = (command.to_owned(), journal.to_owned());
            let work = move || {
                segments.iter().fold(Sealed::default(), |done, segment| done.and(run(&command, &journal, &segment)))
            };
            let thread = thread::Builder::new().name("tickcore-seal".to_owned()).spawn(work);
            sealing = Some(thread.context("starting the thread of --journal-on-seal")?);
            // The thread is there as long as the sender is.
            Ok(Box::new(move |segment| drop(sender.send(segment.to_owned()))))
        });
        let (preparing, handle) = tickcore::start_helper_on(cores, on_sealed.transpose()?)
            .context("starting the thread that prepares segments")?;
        Ok((Self { preparing, sealing }, handle))
    }

    /// Waits for all commands, once the journal is closed.
    pub(crate) fn finish(self) -> Option<Sealed> {
        let _ = self.preparing.join();
        self.sealing.map(|thread| thread.join().unwrap_or_default())
    }
}

impl Sealed {
    fn and(self, is_good: bool) -> Self {
        Self { commands: self.commands + 1, failed: self.failed + u64::from(!is_good) }
    }
}

/// Runs the command for a segment, and says on standard error how it failed if it did.
fn run(command: &str, journal: &Path, segment: &Path) -> bool {
    let status = Command::new("sh")
        .args(["-c", command, "tickcore"])
        .arg(segment)
        .env("TICKCORE_SEGMENT", segment)
        .env("TICKCORE_JOURNAL", journal)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status();
    let failure = match status {
        Ok(status) if status.success() => return true,
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    eprintln!(
        "tickcore: --journal-on-seal failed for {}: {failure}; the segment is whole, run it by hand",
        segment.display()
    );
    false
}
