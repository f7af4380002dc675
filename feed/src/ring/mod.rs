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
//! and Acquire; there is no `unsafe`.
//!
//! Each reader has a cursor, padded apart: the last sequence whose line it has released. The writer keeps the smallest it
//! knows of and reads the cursors again only when it runs into it. It never overwrites a line that a reader has not
//! released, so a slow reader stops the writer, which counts that ([`Writer::full_waits`]), and nothing is lost.
//!
//! # Guarantees
//! - No allocation after [`Ring::new`], no lock, no system call, no waiting inside any call.
//! - Readers may join and leave while it runs. One that joins stands behind the newest event; one that is dropped, also
//!   by a panic, no longer holds the writer.
//! - The writer dropped, also by a panic, closes the ring: readers get the rest and then see the end.
//! - Without readers the writer runs free, and what it publishes is seen by nobody.
//!
//! # Worst case
//! A writer that runs into a reader at every event (ring full, reader releasing single lines) pays a cache-line transfer
//! per reader and a full fence for each; read in batches. Sequences end at 2⁶⁴, after 584 years of one a nanosecond.

mod reader;
mod region;
mod sync;
mod wait;
mod writer;

pub use reader::Reader;
pub use wait::{Wait, Waiter};
pub use writer::{Full, Writer};

use core::fmt;
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
    #[error("no memory for a table of {bytes} bytes of the ring: take fewer lines")]
    Memory {
        /// Size of the table.
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
    /// Allocates and touches 64 bytes a line and 128 bytes a reader.
    ///
    /// # Errors
    /// A number out of its bounds, or memory that the machine does not give.
    pub fn new(capacity_lines: usize, readers_max: usize) -> Result<Self, RingError> {
        let is_in_bounds = (CAPACITY_LINES_MIN..=CAPACITY_LINES_MAX).contains(&capacity_lines);
        if !is_in_bounds || !capacity_lines.is_power_of_two() {
            return Err(RingError::Capacity { capacity_lines });
        }
        if !(1..=READERS_MAX).contains(&readers_max) {
            return Err(RingError::Readers { readers_max });
        }
        Ok(Self { region: Arc::new(Region::new(capacity_lines, readers_max)?) })
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
        self.region.is_closed()
    }
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
