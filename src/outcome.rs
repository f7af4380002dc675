//! What a run came to.

use crate::book_core::StrictAnomaly;
use crate::topology::Topology;
use std::path::PathBuf;
use tickcore_book::{AnomalyCounts, Sequence};
use tickcore_feed::source::{FirstSkipped, SourceError};
use tickcore_journal::Backend;
use tickcore_latency::{ClockDescription, Recorder};

/// How a run ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// Everything that was let in has been applied, and journaled if there is a journal.
    Complete,
    /// Somebody asked for it; what was let in before has been applied and journaled.
    Stopped,
    /// The source failed after the events that were applied.
    SourceFailed(SourceError),
    /// A strict run met an event that did not fit.
    Anomaly(StrictAnomaly),
    /// A strict run met a message that it had to skip.
    Skipped(FirstSkipped),
    /// A strict run met the end of its input within a message.
    Truncated {
        /// Where the cut message begins in the decompressed input.
        offset: u64,
        /// Bytes of it that are there.
        bytes: u64,
    },
}

/// The books at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BooksOutcome {
    /// Anomalies by kind.
    pub anomalies: AnomalyCounts,
    /// Instruments that were defined.
    pub instruments: u32,
    /// Books that cannot be believed.
    pub stale_instruments: u32,
    /// Orders resting.
    pub live_orders: u32,
    /// Price levels.
    pub levels: u32,
    /// BBOs published with the bid above the ask.
    pub crossed: u64,
    /// BBOs published with the bid equal to the ask.
    pub locked: u64,
    /// BBO changes, when digests were kept.
    pub bbo_changes: Option<u64>,
    /// Digest of all BBO changes, when digests were kept.
    pub stream_digest: Option<u64>,
    /// Digest of the books at the end, when digests were kept.
    pub state_digest: Option<u64>,
}

/// The journal at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalOutcome {
    /// Its directory.
    pub dir: PathBuf,
    /// First sequence in it, `None` when it is empty.
    pub first_sequence: Option<Sequence>,
    /// Last sequence appended.
    pub last_sequence: Sequence,
    /// Last sequence that survives the process.
    pub written_sequence: Sequence,
    /// Last sequence that survives the machine.
    pub durable_sequence: Sequence,
    /// Events that were in the journal before this run and were found equal.
    pub compared_events: u64,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Its segments.
    pub segments: u64,
    /// What went wrong; the watermarks stopped there.
    pub error: Option<String>,
    /// How it was written.
    pub backend: Backend,
    /// What had to be done without, with the cure.
    pub notices: Vec<String>,
}

/// What a run had of the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineOutcome {
    /// Processor.
    pub cpu: String,
    /// How the work was spread.
    pub topology: Topology,
    /// Cores of the pinned threads: feed, book, journal.
    pub cores: Vec<usize>,
    /// Whether every spinning thread was pinned.
    pub is_pinned: bool,
    /// Whether the journal's thread spun; else it slept in the kernel between writes.
    pub journal_spins: bool,
    /// Bytes of the process on huge pages while books ran.
    pub huge_page_bytes: u64,
    /// What latencies were measured with.
    pub clock: ClockDescription,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome<R, S> {
    /// How it ended.
    pub end: End,
    /// The source, as far as it was read.
    pub source: R,
    /// The strategy.
    pub strategy: S,
    /// Events applied: the last one's sequence.
    pub events: u64,
    /// From the word to go until the last event was applied and, with a journal, durable.
    pub elapsed_ns: u64,
    /// The books at the end.
    pub books: BooksOutcome,
    /// Service time of sampled events: apply begins until the BBO is visible.
    pub service: Recorder,
    /// Tick-to-BBO of every event of a paced run: from its intended time until the BBO is visible.
    pub tick_to_bbo: Option<Recorder>,
    /// How often the ring was full.
    pub ring_full_waits: u64,
    /// The journal.
    pub journal: Option<JournalOutcome>,
    /// The machine.
    pub machine: MachineOutcome,
}

impl<R, S> Outcome<R, S> {
    /// Whether nothing failed: no error of source or journal, and no stop of a strict run.
    pub fn is_good(&self) -> bool {
        matches!(self.end, End::Complete | End::Stopped)
            && self.journal.as_ref().is_none_or(|journal| journal.error.is_none())
    }
}
