//! Words of a stat file.

/// First word of every stat file.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"TCSTATPG");
/// Raised when a word changes its meaning.
pub(super) const VERSION: u64 = 1;
pub(super) const HEADER_WORDS: usize = 64;
/// Four pairs of cache lines: neighbours never share one.
pub(crate) const BLOCK_WORDS: usize = 64;
/// More threads than an engine can have.
pub(super) const BLOCKS_MAX: usize = 256;

pub(super) const WORD_MAGIC: usize = 0;
pub(super) const WORD_VERSION: usize = 1;
pub(super) const WORD_HEADER_WORDS: usize = 2;
pub(super) const WORD_BLOCK_WORDS: usize = 3;
pub(super) const WORD_BLOCKS: usize = 4;
pub(super) const WORD_PROCESS: usize = 5;
pub(super) const WORD_START: usize = 6;
pub(super) const WORD_STATE: usize = 7;
pub(super) const WORD_TOPOLOGY: usize = 8;
pub(super) const WORD_RING_LINES: usize = 9;
pub(super) const WORD_DESCRIPTION_BYTES: usize = 10;
pub(super) const WORD_DESCRIPTION: usize = 16;
pub(super) const DESCRIPTION_BYTES_MAX: usize = (HEADER_WORDS - WORD_DESCRIPTION) * 8;

pub(super) const BLOCK_ROLE: usize = 0;
pub(super) const BLOCK_SHARD: usize = 1;
pub(super) const BLOCK_CORE: usize = 2;
pub(super) const BLOCK_NAME: usize = 3;
pub(super) const NAME_BYTES: usize = 16;
const BLOCK_COUNTERS: usize = 16;

/// What a thread counts. A thread that has nothing to count under one leaves it at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    /// Events taken: published by a feed core, applied by a book core, appended by a journal core.
    Events = 0,
    /// Sequence of the last event that it is done with, those of other shards included.
    Sequence = 1,
    /// Batches in which events came.
    Batches = 2,
    /// Events of other shards, passed over.
    Skipped = 3,
    /// Times at which it found no room: a feed core in the ring, a journal core in its staging.
    FullWaits = 4,
    /// Gaps in the venue's events.
    Gaps = 5,
    /// Events that did not fit, of every kind.
    Anomalies = 6,
    /// Times at which it did not loop for long, with nothing to do.
    StallsIdle = 7,
    /// Times at which it did not loop for long, while it worked.
    StallsWorking = 8,
    /// Nanoseconds of all of them together.
    StalledNs = 9,
    /// The longest of them.
    LongestStallNs = 10,
    /// Sequence up to which the journal survives the process.
    Written = 11,
    /// Sequence up to which the journal survives the machine.
    Durable = 12,
    /// Changes as long as it loops, in a unit of its own.
    Heartbeat = 13,
}

impl Counter {
    /// Number of counters.
    pub const COUNT: usize = 14;

    pub(super) const fn word(self) -> usize {
        BLOCK_COUNTERS + self as usize
    }
}

const _: () = assert!(BLOCK_COUNTERS + Counter::COUNT <= BLOCK_WORDS && DESCRIPTION_BYTES_MAX > 256);

/// What an engine is doing, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Memory is taken and touched.
    Starting,
    /// Events are applied.
    Running,
    /// It was asked to end: what was let in is applied and journaled.
    Draining,
    /// It ended in good order.
    Ended,
    /// It ended in another way.
    Failed,
}

impl State {
    /// All states, in the order of their numbers.
    const ALL: [Self; 5] = [Self::Starting, Self::Running, Self::Draining, Self::Ended, Self::Failed];

    pub(super) const fn number(self) -> u64 {
        self as u64 + 1
    }

    pub(super) fn of(number: u64) -> Option<Self> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        Self::ALL.get(place).copied()
    }

    /// The name that is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}
