//! What a run came to.

use crate::arrivals::ArrivalFaults;
use crate::book_core::StrictAnomaly;
use crate::output_check::OutputCheckOutcome;
use crate::outputs::CoreOutputs;
use crate::probes::{SERVICE, TICK_TO_BBO};
use crate::recordings::values_of;
use crate::timeline::Moment;
use crate::topology::{EngineThread, Topology};
use std::path::PathBuf;
use tickcore_book::{Anomaly, AnomalyCounts, Sequence};
use tickcore_feed::source::{FirstSkipped, SourceError};
use tickcore_journal::Backend;
use tickcore_latency::stages::MeasuredInterval;
use tickcore_latency::{ClockDescription, Distribution, Origin, Recorder};

/// How a run ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// Everything that was let in has been applied, and journaled if there is a journal.
    Complete,
    /// Somebody asked for it; what was let in before has been applied and journaled.
    Stopped,
    /// Somebody asked for it, and the deadline for what had been let in before passed.
    Overdue {
        /// Events that were let in and not applied.
        events_left: u64,
        /// Events that were let in and are not durable in the journal; 0 without one.
        not_durable: u64,
    },
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

impl BooksOutcome {
    /// What several cores have together: everything adds up, digests included, but anomalies by events for all
    /// instruments, `common`, which every core has counted.
    pub(crate) fn merge(&mut self, other: &Self, common: &AnomalyCounts) {
        for anomaly in Anomaly::ALL {
            self.anomalies.add(anomaly, other.anomalies.of(anomaly) - common.of(anomaly));
        }
        self.instruments += other.instruments;
        self.stale_instruments += other.stale_instruments;
        self.live_orders += other.live_orders;
        self.levels += other.levels;
        self.crossed += other.crossed;
        self.locked += other.locked;
        let sum = |one: Option<u64>, other: Option<u64>| Some(one?.wrapping_add(other?));
        self.bbo_changes = sum(self.bbo_changes, other.bbo_changes);
        self.stream_digest = sum(self.stream_digest, other.stream_digest);
        self.state_digest = sum(self.state_digest, other.state_digest);
    }
}

/// A time in which a thread with nothing to do did not loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StallOutcome {
    /// When it began, from when the thread's loop did.
    pub at_ns: u64,
    /// How long it was.
    pub length_ns: u64,
}

/// A thread of the run: what it did, and whether it was kept from it.
#[derive(Clone, Debug)]
pub struct CoreOutcome {
    /// The thread and its core.
    pub thread: EngineThread,
    /// Events published, applied or appended.
    pub events: u64,
    /// Batches in which they came.
    pub batches: u64,
    /// Events of other shards, passed over.
    pub skipped: u64,
    /// Times above the threshold in which it did not loop, with nothing to do: the machine's doing alone.
    pub stalls_idle: Recorder,
    /// Times above the threshold that a slice of events took: the machine's doing, or the program's.
    pub stalls_working: Recorder,
    /// The longest of those with nothing to do, in the order of time.
    pub longest_stalls: Vec<StallOutcome>,
    /// How long the thread was ready and another one ran on its core, by the kernel's account; `None` where it keeps none.
    pub run_delay_ns: Option<u64>,
}

/// A stage of the events' way, as it was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct StageOutcome {
    /// Its name; values are nanoseconds.
    pub name: &'static str,
    /// Between which two stamps.
    pub between: &'static str,
    /// From when its values count.
    pub origin: Origin,
    /// The core that recorded it; `None` when several did, or one that is not pinned.
    pub core: Option<usize>,
    /// All values.
    pub distribution: Distribution,
    /// The same over time, in about equal intervals from the word to go.
    pub intervals: Vec<MeasuredInterval>,
}

/// What a live run could not measure, by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveOutcome {
    /// Of `received_ns`: sampled events.
    pub received: ArrivalFaults,
    /// Of `tick_to_bbo_ns`: all events.
    pub tick_to_bbo: ArrivalFaults,
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
    /// The last event of the checkpoint that this run went on from, `None` when it began at the beginning.
    pub checkpoint_sequence: Option<Sequence>,
    /// What that took before the word to go: recovering the journal, finding and reading the checkpoint, and on the slowest
    /// book core taking its part of it on and applying the journal behind it. Touching memory is not in it. 0 without one.
    pub restart_ns: u64,
    /// Checkpoints that were made beside this run.
    pub checkpoints_made: u64,
    /// Events that were in the journal before this run and were found equal.
    pub compared_events: u64,
    /// Last output appended, by book core; empty when outputs are not journaled.
    pub last_outputs: Vec<Sequence>,
    /// Sampled events whose way to the disk was not measured: too many others were on it.
    pub unmeasured_events: u64,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Its segments.
    pub segments: u64,
    /// What went wrong; the watermarks stopped there.
    pub error: Option<String>,
    /// How often its buffer was full.
    pub full_waits: u64,
    /// For how long, in all. Meanwhile events wait in the ring, and when that is full as well, the feed waits.
    pub full_wait_ns: u64,
    /// What stood in the way of going on for long, with the cure.
    pub warnings: Vec<String>,
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
    /// Cores of the pinned threads: feed, books, journal.
    pub cores: Vec<usize>,
    /// Whether every spinning thread was pinned.
    pub is_pinned: bool,
    /// Whether the journal's thread spun; else it slept in the kernel between writes.
    pub journal_spins: bool,
    /// Bytes of the process on huge pages while books ran.
    pub huge_page_bytes: u64,
    /// Lines of the ring, where there was one.
    pub ring_lines: usize,
    /// What latencies were measured with.
    pub clock: ClockDescription,
    /// What had to be done without, with the cure.
    pub notices: Vec<String>,
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
    /// Events applied, by every core that is to: the last one's sequence.
    pub events: u64,
    /// From the word to go until the last event was applied and, with a journal, durable.
    pub elapsed_ns: u64,
    /// The books at the end.
    pub books: BooksOutcome,
    /// What became of the strategies' outputs, by book core.
    pub outputs: Vec<CoreOutputs>,
    /// How they compare with the recorded ones, where that was asked for. A difference is told here alone.
    pub output_check: Option<OutputCheckOutcome>,
    /// Receive times that could not be counted from; `None` when the source is not live.
    pub live: Option<LiveOutcome>,
    /// What was measured of the events' way, stage by stage in the order of the cores: feed, books, journal.
    pub stages: Vec<StageOutcome>,
    /// What measuring it cost; `None` when nothing was sampled.
    pub probe_cost_ns: Option<f64>,
    /// How far the run was, about twenty times a second.
    pub timeline: Vec<Moment>,
    /// How often the ring was full.
    pub ring_full_waits: u64,
    /// For how long, in all: so long the feed waited for books and journal.
    pub ring_full_ns: u64,
    /// Whether the journal failed and the run went on without it, as its policy was: what comes behind the journal's durable
    /// sequence may be in no journal.
    pub is_unjournaled: bool,
    /// The threads: feed, books, journal.
    pub cores: Vec<CoreOutcome>,
    /// A core that did not loop for longer than this has a stall; 0 when nobody watched.
    pub stall_threshold_ns: u64,
    /// The journal.
    pub journal: Option<JournalOutcome>,
    /// The machine.
    pub machine: MachineOutcome,
}

impl<R, S> Outcome<R, S> {
    /// The stage of this name, if something was recorded in it.
    pub fn stage(&self, name: &str) -> Option<&StageOutcome> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// Service time of sampled events: apply begins until the BBO is visible.
    pub fn service(&self) -> Distribution {
        values_of(&self.stages, SERVICE)
    }

    /// Tick-to-BBO of every event of a paced or live run: from its intended or its receive time until the BBO is visible; empty at
    /// full speed.
    pub fn tick_to_bbo(&self) -> Distribution {
        values_of(&self.stages, TICK_TO_BBO)
    }

    /// All stalls with nothing to do, over all threads.
    pub fn stalls_idle(&self) -> Recorder {
        merged(self.cores.iter().map(|core| &core.stalls_idle))
    }

    /// All stalls while working, over all threads.
    pub fn stalls_working(&self) -> Recorder {
        merged(self.cores.iter().map(|core| &core.stalls_working))
    }

    pub(crate) fn map_strategy<T>(self, map: impl FnOnce(S) -> T) -> Outcome<R, T> {
        let Self { end, source, strategy, events, elapsed_ns, books, outputs, output_check, live, .. } = self;
        let Self { stages, probe_cost_ns, timeline, ring_full_waits, ring_full_ns, is_unjournaled, cores, .. } = self;
        let Self { stall_threshold_ns, journal, machine, .. } = self;
        let strategy = map(strategy);
        Outcome {
            end,
            source,
            strategy,
            events,
            elapsed_ns,
            books,
            outputs,
            output_check,
            live,
            stages,
            probe_cost_ns,
            timeline,
            ring_full_waits,
            ring_full_ns,
            is_unjournaled,
            cores,
            stall_threshold_ns,
            journal,
            machine,
        }
    }

    /// Whether nothing failed: no error of source or journal, and no stop of a strict run.
    pub fn is_good(&self) -> bool {
        matches!(self.end, End::Complete | End::Stopped)
            && self.journal.as_ref().is_none_or(|journal| journal.error.is_none())
    }
}

fn merged<'r>(recorders: impl Iterator<Item = &'r Recorder>) -> Recorder {
    let mut all = Recorder::new();
    recorders.for_each(|recorder| all.merge(recorder));
    all
}
