//! The engine: threads on their cores, from the word to go to the last durable record.
//!
//! A run starts (memory is touched, threads are pinned, their code is warmed by a dry run), runs, and drains: asked to end,
//! it applies and journals what was let in before, within a deadline. A panic on any core ends all of them in this way, and
//! the error names the core.

use crate::journal_core::{JournalConfig, JournalError};
use crate::outcome::Outcome;
use crate::output_check::{OutputCheck, OutputCheckError};
use crate::outputs::OutputConfig;
use crate::pace::Pace;
use crate::pin::{Cores, PinError};
use crate::restart::{LoadedCheckpoint, RestartError};
use crate::run::Run;
use crate::shards::{Shard, ShardMap};
use crate::stat::{Board, StatFile, StatFileError};
use crate::strategy::Strategy;
use crate::threads::ThreadHook;
use crate::topology::{EngineThread, Plan, Topology, TopologyError};
use core::num::NonZeroU64;
use std::ops::ControlFlow;
use std::time::Duration;
use tickcore_book::{ArenaError, Capacity, CapacityError, TimestampNs};
use tickcore_feed::ring::{self, RingError};
use tickcore_feed::source::Source;
use tickcore_latency::Clock;

/// Stalls that are counted unless another threshold is named: well above what a slice of events takes.
pub const STALL_THRESHOLD_NS_DEFAULT: u64 = 20_000;
/// Time for draining unless another deadline is named.
pub const DRAIN_DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Everything that a run depends on beside its source and strategy.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the work is spread over cores.
    pub topology: Topology,
    /// Which cores.
    pub cores: Cores,
    /// Allows more spinning threads than cores; they yield, and times mean nothing.
    pub oversubscribe: bool,
    /// Maxima of the books.
    pub capacity: Capacity,
    /// Lines of the ring, a power of two.
    pub ring_lines: usize,
    /// How fast events are let in.
    pub pace: Pace,
    /// Strategy, pace and measurements begin with the first event at or after this time; books are built from the
    /// first.
    pub from: TimestampNs,
    /// The run ends before the first event after this time.
    pub to: TimestampNs,
    /// Books are kept for instruments of these names only; for all when empty. The journal is always whole.
    pub symbols: Vec<String>,
    /// The first anomaly or skipped message ends the run.
    pub is_strict: bool,
    /// Whether the digests are kept: about 25 ns for each BBO change.
    pub keeps_digests: bool,
    /// Service time is measured for one event in so many; 0 for none.
    pub latency_sample_interval: u32,
    /// How what strategies send leaves their cores; `None` when it goes nowhere.
    pub outputs: Option<OutputConfig>,
    /// Recorded outputs that those of this run are compared with, as they are sent; `None` for no comparison. For replays: a run
    /// that resumes a journal compares by itself.
    pub output_check: Option<OutputCheck>,
    /// Where events are journaled, if they are.
    pub journal: Option<JournalConfig>,
    /// Segments that are sealed between two checkpoints, which a thread of its own makes beside a journaled run; `None` for
    /// no checkpoints. It takes the memory of the maxima once more, when the first is due.
    pub checkpoint_every: Option<NonZeroU64>,
    /// What the books begin with, when the source's first event is the one behind it. A run that resumes a journal finds
    /// its checkpoint by itself.
    pub start: Option<LoadedCheckpoint>,
    /// Book cores of topology `sharded`, and which instruments each keeps. Every core takes the memory of the maxima.
    pub shards: ShardMap,
    /// Whether the engine's counters can be read from outside.
    pub stat_file: StatFile,
    /// What the engine does, for whoever reads its counters: a command line, a name.
    pub description: String,
    /// A core that does not loop for longer than this has a stall, which is counted; 0 to watch for none.
    pub stall_threshold_ns: u64,
    /// How long a run that was asked to end may take for what was let in before. Then it ends where it is.
    pub drain_deadline: Duration,
    /// Called on each thread before the first event.
    pub on_thread_start: ThreadHook,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            topology: Topology::default(),
            cores: Cores::default(),
            oversubscribe: false,
            capacity: Capacity::default(),
            ring_lines: ring::CAPACITY_LINES_DEFAULT,
            pace: Pace::Max,
            from: TimestampNs(0),
            to: TimestampNs(u64::MAX),
            symbols: Vec::new(),
            is_strict: false,
            keeps_digests: false,
            latency_sample_interval: 64,
            outputs: None,
            output_check: None,
            journal: None,
            checkpoint_every: None,
            start: None,
            shards: ShardMap::default(),
            stat_file: StatFile::Off,
            description: String::new(),
            stall_threshold_ns: STALL_THRESHOLD_NS_DEFAULT,
            drain_deadline: DRAIN_DEADLINE_DEFAULT,
            on_thread_start: ThreadHook::default(),
        }
    }
}

/// Why a run did not begin, or did not end in good order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The maxima of the books.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The topology does not fit the cores.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A thread could not have its core.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Memory for the books.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// The ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The journal could not be begun.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The checkpoint that it was to go on from, or the journal's tail.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// The outputs in a journal could not be compared with.
    #[error("comparing outputs with the recorded ones: {0}")]
    OutputCheck(#[from] OutputCheckError),
    /// The file of the counters.
    #[error(transparent)]
    StatFile(#[from] StatFileError),
    /// One strategy for several book cores.
    #[error("{shards} book cores and one strategy: call run_sharded, which makes a strategy for each")]
    OneStrategy {
        /// The book cores.
        shards: u32,
    },
    /// A thread could not be started.
    #[error("the thread {name} could not be started: {source}; raise the limit of threads or processes")]
    Spawn {
        /// Its name.
        name: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A thread panicked. The others came to an orderly end; the journal holds what it had said to be durable.
    #[error("{thread} panicked: {message}; this is a bug, the journal up to its durable sequence is good")]
    Panicked {
        /// The thread and its core.
        thread: EngineThread,
        /// What it said.
        message: String,
    },
}

/// How far a run is, for whoever waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something has to be done without, or stands in the way of going on for long; each is told once, at the start or when it
    /// turns out.
    Notice {
        /// What, and the cure.
        text: String,
    },
    /// Memory is being taken and touched.
    Preparing {
        /// Bytes of the books' memory touched.
        bytes_touched: u64,
        /// Bytes of it in all.
        bytes: u64,
    },
    /// Events are being applied.
    Running {
        /// Events applied.
        events: u64,
    },
    /// The run was asked to end, and what was let in before is applied and journaled.
    Draining {
        /// Events applied.
        events: u64,
    },
    /// The deadline for that has passed by a second, and threads that were told to end where they are have not: something
    /// that they call does not return. An engine cannot end them; a process can end itself.
    Overdue {
        /// The threads.
        threads: Vec<EngineThread>,
    },
}

/// Runs events of `source` through books and `strategy`, and into a journal if there is one, until the source ends.
///
/// # Errors
/// When the run cannot begin or a thread panics. A source or journal that fails on the way ends the run in good order,
/// and its outcome says so.
pub fn run<R: Source + Send, S: Strategy>(
    config: &Config,
    source: R,
    strategy: S,
) -> Result<Outcome<R, S>, EngineError> {
    run_monitored(config, source, strategy, |_| ControlFlow::Continue(()))
}

/// As [`run`]; `monitor` is called about twenty times a second on the calling thread and ends the run with `Break`: what
/// was let in before is still applied and journaled.
///
/// # Errors
/// As [`run`].
pub fn run_monitored<R: Source + Send, S: Strategy>(
    config: &Config,
    source: R,
    strategy: S,
    monitor: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Outcome<R, S>, EngineError> {
    if config.shards.count() != 1 {
        return Err(EngineError::OneStrategy { shards: config.shards.count() });
    }
    let mut strategy = Some(strategy);
    let make = |_| strategy.take().expect("there is one book core");
    let outcome = run_sharded(config, source, make, monitor)?;
    Ok(outcome.map_strategy(|mut strategies| strategies.pop().expect("there is one book core")))
}

/// As [`run_monitored`], with a strategy for each book core, which `make` makes on the calling thread. Each sees the events
/// of its core's instruments and those for all instruments; the outcome has them in the order of the cores. For every
/// topology: `inline` and `pipelined` have one book core.
///
/// As long as no maximum of the books is reached, counts and digests are those of one core. Maxima hold for each core by
/// itself, so beyond them several cores drop less than one would.
///
/// # Errors
/// As [`run`].
pub fn run_sharded<R: Source + Send, S: Strategy>(
    config: &Config,
    source: R,
    make: impl FnMut(Shard) -> S,
    monitor: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Outcome<R, Vec<S>>, EngineError> {
    config.capacity.check()?;
    let Config { topology, shards, cores, journal, oversubscribe, .. } = config;
    let plan = Plan::new(*topology, shards.count(), cores, journal.is_some(), *oversubscribe)?;
    let mut board = Board::open(&config.stat_file, &plan.threads, *topology, config.ring_lines, &config.description)?;
    let clock = Clock::calibrate();
    let outcome = Run::new(config, &plan, &board, &clock).start(source, make, monitor);
    board.end(outcome.as_ref().is_ok_and(Outcome::is_good));
    outcome
}
