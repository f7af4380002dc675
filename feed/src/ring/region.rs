//! What a ring's threads share: lines, the readers' cursors, and the words about the writer.
//!
//! Three flat tables of atomic words and nothing that points anywhere, so that the same tables can lie in memory that
//! two processes share. [`Writer`](super::Writer) and [`Reader`](super::Reader) hold the rest privately.

use super::RingError;
use super::sync::{AtomicBool, AtomicU64, Ordering, PayloadAccess, fence};
use crossbeam_utils::CachePadded;
use tickcore_book::{EVENT_WORDS, Event};

/// Cursor of a slot that no reader has. Larger than every sequence, so that a minimum over all slots ignores it.
const VACANT: u64 = u64::MAX;

/// Last sequence of a ring that is still written. No reader ever stands there.
const OPEN: u64 = u64::MAX;

/// One line: the sequence of the event in it, and the event. One cache line, so that a reader needs one transfer.
#[repr(C, align(64))]
pub(super) struct Line {
    sequence: AtomicU64,
    payload: [AtomicU64; EVENT_WORDS],
    access: PayloadAccess,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);

impl Line {
    fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            payload: core::array::from_fn(|_| AtomicU64::new(0)),
            access: PayloadAccess::new(),
        }
    }

    /// Writes `event` and then, with Release, the sequence by which readers see it.
    #[inline]
    pub(super) fn write(&self, sequence: u64, event: &Event) {
        self.access.write();
        for (word, value) in self.payload.iter().zip(event.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.sequence.store(sequence, Ordering::Release);
    }

    /// The event with this sequence, or `None` while it is not there yet.
    #[inline]
    pub(super) fn read(&self, sequence: u64) -> Option<Event> {
        if !self.holds(sequence) {
            return None;
        }
        self.access.read();
        Some(Event::from_words(core::array::from_fn(|word| self.payload[word].load(Ordering::Relaxed))))
    }

    #[inline]
    fn holds(&self, sequence: u64) -> bool {
        self.sequence.load(Ordering::Acquire) == sequence
    }
}

/// The shared part of a ring.
///
/// | words | written by | read by |
/// |---|---|---|
/// | lines | the writer | every reader |
/// | cursors: last sequence each reader has released | its reader | the writer, when it runs into its limit |
/// | announced limit: highest sequence the writer may write without looking at the cursors again | the writer | a reader that joins |
/// | last sequence, once the writer is gone | the writer | readers that find no line |
pub(super) struct Region {
    lines: Box<[Line]>,
    cursors: Box<[CachePadded<AtomicU64>]>,
    announced_limit: CachePadded<AtomicU64>,
    last_sequence: CachePadded<AtomicU64>,
    writer_taken: AtomicBool,
}

impl Region {
    /// Allocates and touches every line.
    pub(super) fn new(capacity_lines: usize, readers_max: usize) -> Result<Self, RingError> {
        Ok(Self {
            lines: table(capacity_lines, Line::new)?,
            cursors: table(readers_max, || CachePadded::new(AtomicU64::new(VACANT)))?,
            announced_limit: CachePadded::new(AtomicU64::new(capacity_lines as u64)),
            last_sequence: CachePadded::new(AtomicU64::new(OPEN)),
            writer_taken: AtomicBool::new(false),
        })
    }

    /// Lines, a power of two.
    #[inline]
    pub(super) fn capacity_lines(&self) -> usize {
        self.lines.len()
    }

    /// Rows of the table of readers.
    pub(super) fn readers_max(&self) -> usize {
        self.cursors.len()
    }

    /// The line that holds `sequence` when its time comes.
    #[inline]
    pub(super) fn line(&self, sequence: u64) -> &Line {
        &self.lines[(sequence.wrapping_sub(1) as usize) & (self.lines.len() - 1)]
    }

    /// Takes the right to write. `true` once in a ring's life.
    pub(super) fn take_writer(&self) -> bool {
        !self.writer_taken.swap(true, Ordering::Relaxed)
    }

    /// The highest sequence that may be written after `head` without overwriting what a reader has not released.
    ///
    /// Acquire on each cursor: what its reader did with the lines it released is done.
    pub(super) fn limit_after(&self, head: u64) -> u64 {
        let slowest = self.cursors.iter().fold(head, |slowest, cursor| slowest.min(cursor.load(Ordering::Acquire)));
        slowest + self.capacity_lines() as u64
    }

    /// Tells readers that join from now on that everything up to `limit` may be written without asking them.
    ///
    /// The fence pairs with the one in [`Region::join`]: either the joining reader sees this limit, or the writer, which
    /// looks at the cursors once more after this call, sees the reader.
    pub(super) fn announce_limit(&self, limit: u64) {
        self.announced_limit.store(limit, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Registers a gating reader behind the newest line: its slot and its position, or `None` when no slot is free.
    ///
    /// The reader first takes the oldest position that the announced limit leaves safe, which holds the writer, and
    /// takes it again while the writer announces further limits. Then it skips what is there. Lock-free: it repeats only
    /// when the writer has advanced.
    pub(super) fn join(&self) -> Option<(usize, u64)> {
        let oldest_kept = |limit: u64| limit - self.capacity_lines() as u64;
        let mut limit = self.announced_limit.load(Ordering::Relaxed);
        // AcqRel: what the slot's previous reader released stays ordered before what this one stores here.
        let slot = self.cursors.iter().position(|cursor| {
            cursor.compare_exchange(VACANT, oldest_kept(limit), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })?;
        loop {
            fence(Ordering::SeqCst);
            let announced = self.announced_limit.load(Ordering::Relaxed);
            if announced == limit {
                break;
            }
            limit = announced;
            self.release(slot, oldest_kept(limit));
        }
        let mut position = oldest_kept(limit);
        while position < limit && self.line(position + 1).holds(position + 1) {
            position += 1;
        }
        self.release(slot, position);
        Some((slot, position))
    }

    /// Gives the lines up to `sequence` back to the writer. Release: they have been read.
    #[inline]
    pub(super) fn release(&self, slot: usize, sequence: u64) {
        self.cursors[slot].store(sequence, Ordering::Release);
    }

    /// Frees the slot: the writer no longer waits for it.
    pub(super) fn leave(&self, slot: usize) {
        self.release(slot, VACANT);
    }

    /// Says that nothing comes after `last`.
    pub(super) fn close(&self, last: u64) {
        self.last_sequence.store(last, Ordering::Release);
    }

    /// Whether the ring is closed and `position` is its end.
    #[inline]
    pub(super) fn is_end(&self, position: u64) -> bool {
        self.last_sequence.load(Ordering::Acquire) == position
    }

    /// Whether the writer is gone.
    pub(super) fn is_closed(&self) -> bool {
        !self.is_end(OPEN)
    }
}

/// A table of `rows` rows, or an error instead of an abort when the memory is not there.
fn table<T>(rows: usize, row: impl Fn() -> T) -> Result<Box<[T]>, RingError> {
    let mut table = Vec::new();
    table.try_reserve_exact(rows).map_err(|_| RingError::Memory { bytes: rows.saturating_mul(size_of::<T>()) })?;
    table.resize_with(rows, row);
    Ok(table.into_boxed_slice())
}
