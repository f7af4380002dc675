//! The ring: one writer, several readers, every reader sees every event in order.
//!
//! ```
//! use tickcore_book::{Event, InstrumentId, Kind, Sequence, TimestampNs};
//! use tickcore_feed::ring::Ring;
//!
//! let ring = Ring::new(8, 2)?;
//! let mut writer = ring.writer()?;
//! let mut reader = ring.reader()?;
//! writer.try_publish(&Event::new(Kind::Delete, InstrumentId(1), TimestampNs(5)))?;
//! writer.close();
//! let read = reader.poll(64, |sequence, event| {
//!     assert_eq!((sequence, event.kind()), (Sequence(1), Some(Kind::Delete)));
//! });
//! assert!(read == 1 && reader.is_closed_and_drained());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//! A line is 64 bytes: the sequence of the event in it, then the event's seven words. Sequences run from 1 without holes
//! and are the engine's own; event n is in line (n − 1) modulo the capacity. A reader that waits for event n loads the
//! sequence word of that line and has the event when the word equals n: no shared head index, one cache line from the
//! writer's core to the reader's. All words are atomics, the payload's relaxed, ordered by the sequence word's Release
//! and Acquire. Of a batch, the first sequence is written last, so that a reader meets it whole and the two cores do not
//! fight over lines.
//!
//! Readers are of two kinds. For a [`Reader`] (gating) the writer waits: each has a cursor, padded apart, the last sequence
//! whose line it has released; the writer keeps the smallest it knows of and reads the cursors again only when it runs into
//! it, so a slow reader stops the writer, which counts how often and for how long ([`Writer::full_waits`],
//! [`Writer::full_time`]), and nothing is lost. For a [`LossyReader`] nobody waits: the writer says an eighth of the ring
//! ahead what it is going to overwrite, and the reader looks at that word after it has copied a line out; what it lost it
//! knows exactly.
//!
//! # Guarantees
//! - No allocation after [`Ring::new`] and [`Ring::writer`], no lock, no system call, no waiting inside any call.
//! - Readers may join and leave while it runs. One that joins stands behind the newest event; a gating one that is dropped,
//!   also by a panic, no longer holds the writer.
//! - The writer dropped, also by a panic, closes the ring: readers get the rest and then see the end.
//! - Without gating readers the writer runs free.
//!
//! # Worst case
//! A writer that runs into a gating reader at every event (ring full, reader releasing single lines) pays a cache-line
//! transfer per reader and a full fence for each; read in batches. Sequences end at 2⁶², after 146 years of one a
//! nanosecond.

#[cfg(not(loom))]
pub mod bbo;
mod lane;
mod lossy;
mod memory;
mod reader;
mod region;
#[cfg(not(loom))]
pub mod shared;
mod stores;
mod sync;
mod wait;
mod writer;

pub use lossy::{LossyRead, LossyReader};
pub use reader::{ReadBatch, Reader};
pub use wait::{Wait, Waiter};
pub use writer::{Claim, Full, Writer};

use core::fmt;
use lane::Lane;
use region::Region;
use sync::Arc;

/// Fewest lines of a ring.
pub const CAPACITY_LINES_MIN: usize = 2;

/// Most lines of a ring: 64 GiB.
pub const CAPACITY_LINES_MAX: usize = 1 << 30;

/// Lines of a ring unless there is a reason for another number: 1 MiB, which stays in a core's second-level cache.
pub const CAPACITY_LINES_DEFAULT: usize = 1 << 14;

/// Most readers of a ring: the writer looks at the cursors of all when it runs into its limit.
pub const READERS_MAX: usize = 64;

/// Why a ring was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The number of lines is no power of two, or out of bounds.
    #[error(
        "a ring of {capacity_lines} lines: take a power of two from {CAPACITY_LINES_MIN} to {CAPACITY_LINES_MAX}, such as {CAPACITY_LINES_DEFAULT}"
    )]
    Capacity {
        /// The lines asked for.
        capacity_lines: usize,
    },
    /// No reader could ever join, or too many.
    #[error("a ring for {readers_max} readers: take a number from 1 to {READERS_MAX}")]
    Readers {
        /// The readers asked for.
        readers_max: usize,
    },
    /// The machine did not give the memory.
    #[error("the machine gave no {bytes} bytes for the ring: take fewer lines")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
    },
}

/// The ring's only writer was handed out before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this ring already has, or had, its one writer: make a ring for each writer")]
pub struct WriterTaken;

/// Why a reader did not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Every slot has its reader.
    #[error("all {readers_max} reader slots of this ring are taken: drop a reader, or make the ring with more")]
    NoFreeSlot {
        /// Slots of the ring.
        readers_max: usize,
    },
}

/// A handle to a ring, from which its writer and its readers are had. Clones are handles to the same ring.
#[derive(Clone)]
pub struct Ring {
    region: Arc<Region>,
}

impl Ring {
    /// A ring of `capacity_lines` lines (a power of two) that up to `readers_max` readers can be in at a time.
    ///
    /// Maps and touches 64 bytes a line and one page more, in huge pages from a MiB on where the machine has them, and
    /// allocates 128 bytes a reader. The pages are near the core of the thread that calls.
    ///
    /// # Errors
    /// A number out of its bounds, or memory that the machine does not give.
    pub fn new(capacity_lines: usize, readers_max: usize) -> Result<Self, RingError> {
        check_capacity(capacity_lines)?;
        Self::of_lane(readers_max, || Lane::new(capacity_lines))
    }

    fn of_lane(readers_max: usize, lane: impl FnOnce() -> Result<Lane, RingError>) -> Result<Self, RingError> {
        if !(1..=READERS_MAX).contains(&readers_max) {
            return Err(RingError::Readers { readers_max });
        }
        Ok(Self { region: Arc::new(Region::new(lane()?, readers_max)?) })
    }

    /// The writer, once in the ring's life.
    ///
    /// # Errors
    /// [`WriterTaken`] when it was handed out before, even if it has been dropped since: its sequences are used up.
    pub fn writer(&self) -> Result<Writer, WriterTaken> {
        if self.region.take_writer() { Ok(Writer::new(Arc::clone(&self.region))) } else { Err(WriterTaken) }
    }

    /// A new reader behind the newest event. One that joins before the first event is published sees all of them.
    ///
    /// Skips what is in the ring, so it costs up to one load a line.
    ///
    /// # Errors
    /// [`JoinError::NoFreeSlot`] when as many readers are in the ring as it was made for.
    pub fn reader(&self) -> Result<Reader, JoinError> {
        Reader::join(Arc::clone(&self.region)).ok_or(JoinError::NoFreeSlot { readers_max: self.readers_max() })
    }

    /// A new reader behind the newest event that the writer does not wait for. It needs no slot.
    pub fn lossy_reader(&self) -> LossyReader {
        LossyReader::join(Arc::clone(&self.region))
    }

    /// Lines of the ring.
    pub fn capacity_lines(&self) -> usize {
        self.region.capacity_lines()
    }

    /// Readers that can be in the ring at a time.
    pub fn readers_max(&self) -> usize {
        self.region.readers_max()
    }

    /// Whether the writer is gone. Readers may still have events to read.
    pub fn is_closed(&self) -> bool {
        self.region.lane().is_closed()
    }
}

fn check_capacity(capacity_lines: usize) -> Result<(), RingError> {
    let is_in_bounds = (CAPACITY_LINES_MIN..=CAPACITY_LINES_MAX).contains(&capacity_lines);
    if is_in_bounds && capacity_lines.is_power_of_two() { Ok(()) } else { Err(RingError::Capacity { capacity_lines }) }
}

impl fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ring")
            .field("capacity_lines", &self.capacity_lines())
            .field("readers_max", &self.readers_max())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
