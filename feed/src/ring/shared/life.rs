//! Whether the process at the other end of a ring in a file is still there.
//!
//! A thread of the creator counts a word up every [`BEAT_INTERVAL`]; whoever is attached looks at it, and at the process
//! itself, at most every [`LOOK_INTERVAL`].

use super::header::Process;
use crate::ring::region::Region;
use rustix::process::getpid;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// Time between two beats of a creator that runs.
pub const BEAT_INTERVAL: Duration = Duration::from_millis(50);

/// Time between two looks at the other side.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// After so long without a beat a creator counts as silent: stopped, swapped out, or in a namespace where its end cannot be
/// seen.
pub const SILENT_AFTER: Duration = Duration::from_millis(500);

/// Within this time whoever calls [`Watch::look`] in its idle turns knows that the other side is gone, however it went.
pub const NOTICED_WITHIN: Duration = Duration::from_millis(600);

const _: () = assert!(
    SILENT_AFTER.as_millis() + LOOK_INTERVAL.as_millis() <= NOTICED_WITHIN.as_millis()
        && BEAT_INTERVAL.as_millis() * 2 < SILENT_AFTER.as_millis()
);

/// The state of the process that made a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It said that nothing more comes: read the rest and go.
    Closed,
    /// Its process ended without saying so. What it had published can still be read.
    Gone,
    /// Its process is there, or cannot be seen from here, and has not beaten for [`SILENT_AFTER`].
    Silent,
}

impl Process {
    /// The calling process.
    pub(super) fn current() -> io::Result<Self> {
        let pid = getpid().as_raw_pid().cast_unsigned();
        let start_ticks = stat(pid).map(|stat| stat.start_ticks).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "this process has no readable /proc/self/stat; mount /proc")
        })?;
        Ok(Self { pid, start_ticks, pid_namespace: own_pid_namespace() })
    }

    /// Whether it still runs; `None` when it lives in another namespace, where its number means nothing here.
    pub(super) fn is_running(self) -> Option<bool> {
        if self.pid_namespace != own_pid_namespace() {
            return None;
        }
        // A zombie has ended and only waits to be asked for its exit code.
        Some(
            stat(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && !matches!(stat.state, 'Z' | 'X')),
        )
    }
}

/// 0 where there is none to be seen.
fn own_pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |namespace| namespace.ino())
}

struct Stat {
    state: char,
    start_ticks: u64,
}

/// The kernel's line about a process.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&text)
}

/// The name in parentheses may hold anything, parentheses too; what follows it may not.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // Field 22 of the line; the state is field 3.
    let start_ticks = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start_ticks })
}

/// Looks at a ring's creator from time to time.
pub struct Watch {
    region: Arc<Region>,
    creator: Process,
    beats: u64,
    beaten_at: Instant,
    looked_at: Instant,
    life: Life,
}

impl Watch {
    pub(super) fn new(region: Arc<Region>, creator: Process) -> Self {
        let now = Instant::now();
        let beats = region.lane().beats();
        Self { region, creator, beats, beaten_at: now, looked_at: now, life: Life::Running }
    }

    /// The state of the creator, not older than [`LOOK_INTERVAL`] when this is called often. For the idle turns of a reader:
    /// costs a reading of the clock, and a file of `/proc` once in that time.
    pub fn look(&mut self) -> Life {
        if self.region.lane().is_closed() {
            self.life = Life::Closed;
            return self.life;
        }
        let now = Instant::now();
        if now.duration_since(self.looked_at) < LOOK_INTERVAL {
            return self.life;
        }
        self.looked_at = now;
        let beats = self.region.lane().beats();
        if beats != self.beats {
            self.beats = beats;
            self.beaten_at = now;
        }
        let is_silent = now.duration_since(self.beaten_at) >= SILENT_AFTER;
        let found = match self.creator.is_running() {
            Some(false) => Life::Gone,
            Some(true) | None if is_silent => Life::Silent,
            Some(true) | None => Life::Running,
        };
        // Closed and then ended: it said goodbye between the two looks.
        self.life = if self.region.lane().is_closed() { Life::Closed } else { found };
        self.life
    }

    /// Process id of the creator, in its own namespace.
    #[must_use]
    pub fn creator_pid(&self) -> u32 {
        self.creator.pid
    }
}

impl core::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Watch")
            .field("creator", &self.creator)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

/// The thread that beats. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Heart {
    thread: Option<JoinHandle<()>>,
    is_stopped: Arc<AtomicBool>,
}

impl Heart {
    pub(super) fn start(region: Arc<Region>) -> io::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&is_stopped);
        let beat = move || {
            while !stopped.load(Ordering::Acquire) {
                region.lane().beat();
                thread::park_timeout(BEAT_INTERVAL);
            }
        };
        let thread = thread::Builder::new().name("ring-heart".to_owned()).spawn(beat)?;
        Ok(Self { thread: Some(thread), is_stopped })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            Thread::unpark(thread.thread());
            // It cannot panic; if it did, the ring would be silent, which is what readers then see.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_parentheses_does_not_confuse() {
        let text = "17 (a ) S 1 (b)) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        let stat = parse_stat(text).expect("a line of the kernel");
        assert_eq!((stat.state, stat.start_ticks), ('Z', 4711));
        for cut in ["", "17 (name", "17 (name)", "17 (name) S 1 2 3"] {
            assert!(parse_stat(cut).is_none(), "{cut:?}");
        }
    }

    #[test]
    fn this_process_runs_and_one_with_its_number_started_earlier_does_not() {
        let this = Process::current().expect("a process");
        assert_eq!(this.is_running(), Some(true));
        assert_eq!(Process { start_ticks: this.start_ticks - 1, ..this }.is_running(), Some(false));
        assert_eq!(Process { pid: u32::MAX, ..this }.is_running(), Some(false));
        assert_eq!(Process { pid_namespace: 1, ..this }.is_running(), None);
    }
}
