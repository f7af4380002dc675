//! What a ring's writer and all its readers share, in this process or in others: the lines, and four words of the writer.
//!
//! Nothing in it points anywhere, so that it can lie in a file that several processes have mapped.

use super::RingError;
#[cfg(not(loom))]
use super::memory::Memory;
use super::memory::Table;
use super::stores::{Stage, prefetch_for_write};
#[cfg(not(loom))]
use super::sync::Arc;
use super::sync::{AtomicU64, Ordering, PayloadAccess, fence};
use tickcore_book::{EVENT_WORDS, Event};

/// Bytes of a line: a cache line.
#[cfg(not(loom))]
pub(super) const LINE_BYTES: usize = 64;

/// Where the writer's words begin in a ring's memory. What stands before them is the header of a ring in a file.
#[cfg(not(loom))]
const MARKS_OFFSET: usize = 2048;

/// Where the lines begin in a ring's memory.
#[cfg(not(loom))]
pub(super) const LINES_OFFSET: usize = 4096;

/// Largest sequence that is believed when it comes out of memory that another process writes.
const SEQUENCE_MAX: u64 = 1 << 62;

/// One line: the sequence of the event in it, and the event. One cache line, so that a reader needs one transfer.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Line {
    pub(super) sequence: AtomicU64,
    pub(super) payload: [AtomicU64; EVENT_WORDS],
    pub(super) access: PayloadAccess,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Line>() == LINE_BYTES && align_of::<Line>() == LINE_BYTES);

impl Line {
    /// Writes `event` without its sequence.
    #[inline]
    pub(super) fn write_payload(&self, event: &Event) {
        self.access.write();
        for (word, value) in self.payload.iter().zip(event.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Says which event the line holds. With Release, a reader that finds it has everything that was written before.
    #[inline]
    pub(super) fn set_sequence(&self, sequence: u64, ordering: Ordering) {
        self.sequence.store(sequence, ordering);
    }

    /// The event with this sequence, or `None` while it is not there yet. For a reader for which the writer waits.
    #[inline]
    pub(super) fn read(&self, sequence: u64) -> Option<Event> {
        if self.sequence() != sequence {
            return None;
        }
        self.access.read();
        Some(self.payload())
    }

    /// The sequence of the event in the line.
    #[inline]
    pub(super) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// The payload, possibly of several events at once if the writer is at work on it.
    #[inline]
    pub(super) fn payload(&self) -> Event {
        Event::from_words(core::array::from_fn(|word| self.payload[word].load(Ordering::Relaxed)))
    }
}

/// A value far enough from its neighbours that a processor which fetches two lines at once shares nothing. 128 bytes on
/// every machine, since it lies in files.
#[derive(Default)]
#[repr(C, align(128))]
pub(super) struct Apart<T>(pub(super) T);

/// The writer's words. Readers of other processes see them too, and write none.
#[derive(Default)]
#[repr(C)]
pub(super) struct Marks {
    /// The writer may be at work on every line up to this sequence.
    claimed: Apart<AtomicU64>,
    /// Everything up to this sequence can be read; never far behind the newest event.
    committed: Apart<AtomicU64>,
    /// The last sequence plus one, once the writer is gone; 0 before.
    end: Apart<AtomicU64>,
    /// Counts up while the creator's process runs.
    heartbeat: Apart<AtomicU64>,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Marks>() == 4 * 128 && MARKS_OFFSET + size_of::<Marks>() <= LINES_OFFSET);

/// Lines and marks.
pub(super) struct Lane {
    lines: Table<Line>,
    /// One row.
    marks: Table<Marks>,
}

impl Lane {
    /// A lane in memory of this process, all of it touched.
    pub(super) fn new(capacity_lines: usize) -> Result<Self, RingError> {
        #[cfg(loom)]
        return Ok(Self { lines: Table::new(capacity_lines), marks: Table::new(1) });
        #[cfg(not(loom))]
        {
            let bytes = Self::bytes(capacity_lines);
            let memory = Memory::anonymous(bytes).map_err(|_| RingError::Memory { bytes })?;
            Ok(Self::within(&Arc::new(memory), capacity_lines))
        }
    }

    /// A lane in memory that holds at least [`Lane::bytes`]. It begins with the marks that it finds there; zeroes are a new
    /// ring.
    #[cfg(not(loom))]
    pub(super) fn within(memory: &Arc<Memory>, capacity_lines: usize) -> Self {
        assert!(
            capacity_lines.is_power_of_two() && capacity_lines <= super::CAPACITY_LINES_MAX,
            "{capacity_lines} lines"
        );
        Self {
            lines: Table::within(memory, LINES_OFFSET, capacity_lines),
            marks: Table::within(memory, MARKS_OFFSET, 1),
        }
    }

    /// Bytes of memory for so many lines.
    #[cfg(not(loom))]
    pub(super) const fn bytes(capacity_lines: usize) -> usize {
        LINES_OFFSET + capacity_lines * LINE_BYTES
    }

    /// Lines, a power of two.
    #[inline]
    pub(super) fn capacity_lines(&self) -> usize {
        self.lines.len()
    }

    /// How far the writer claims ahead, and how many events it commits at a time: an eighth of the lines, so that a reader
    /// that nobody waits for always has most of a ring.
    pub(super) fn claim_lines(&self) -> usize {
        let capacity_lines = self.capacity_lines();
        (capacity_lines / 8).max(2.min(capacity_lines / 2))
    }

    /// The line that holds `sequence` when its time comes.
    #[inline]
    pub(super) fn line(&self, sequence: u64) -> &Line {
        &self.lines[(sequence.wrapping_sub(1) as usize) & (self.lines.len() - 1)]
    }

    /// Up to `max` lines from the one of `sequence` on, and those behind the wrap: what a loop goes through without looking for
    /// each line.
    #[inline]
    pub(super) fn lines_from(&self, sequence: u64, max: usize) -> [&[Line]; 2] {
        let lines: &[Line] = &self.lines;
        let (behind, before) = lines.split_at((sequence.wrapping_sub(1) as usize) & (lines.len() - 1));
        let max = max.min(lines.len());
        let before = &before[..before.len().min(max)];
        [before, &behind[..max - before.len()]]
    }

    /// Writes one event, which is there for readers at once.
    #[inline]
    pub(super) fn write(&self, sequence: u64, event: &Event) {
        let line = self.line(sequence);
        line.write_payload(event);
        line.set_sequence(sequence, Ordering::Release);
    }

    /// Writes events from sequence `first` on, which are there for readers all at once.
    ///
    /// The sequence of the first is written last. Readers go from line to line, so none looks at the others before, and
    /// those need no order among themselves.
    #[inline]
    pub(super) fn write_batch(&self, first: u64, events: &[Event], stage: &mut Stage) {
        let [event, others @ ..] = events else { return };
        // By the time that the others are in, the first can be written.
        prefetch_for_write(self.line(first));
        if !stage.move_in(&self.lines, first + 1, others) {
            for (event, sequence) in others.iter().zip(first + 1..) {
                let line = self.line(sequence);
                line.write_payload(event);
                line.set_sequence(sequence, Ordering::Relaxed);
            }
        }
        self.write(first, event);
    }

    fn marks(&self) -> &Marks {
        &self.marks[0]
    }

    /// Says, before it is done, that lines up to `limit` will be written, and that everything up to `head` has been.
    ///
    /// The fence pairs with the one in [`Lane::oldest_intact`]: a reader that saw a word of what is written after this call
    /// sees the claim.
    pub(super) fn claim(&self, limit: u64, head: u64) {
        let marks = self.marks();
        marks.committed.0.store(head, Ordering::Release);
        marks.claimed.0.store(limit, Ordering::Release);
        fence(Ordering::Release);
    }

    /// The oldest sequence whose line the writer had not begun to overwrite when the caller's last load of a payload was
    /// done.
    #[inline]
    pub(super) fn oldest_intact(&self) -> u64 {
        fence(Ordering::Acquire);
        let claimed = self.marks().claimed.0.load(Ordering::Acquire).min(SEQUENCE_MAX);
        (claimed + 1).saturating_sub(self.capacity_lines() as u64)
    }

    /// A sequence up to which everything can be read, not more than [`Lane::claim_lines`] behind the newest.
    pub(super) fn committed(&self) -> u64 {
        self.marks().committed.0.load(Ordering::Acquire).min(SEQUENCE_MAX)
    }

    /// Says that nothing comes after `last`.
    pub(super) fn close(&self, last: u64) {
        self.marks().end.0.store(last + 1, Ordering::Release);
    }

    /// Whether the ring is closed and `position` is its end.
    #[inline]
    pub(super) fn is_end(&self, position: u64) -> bool {
        self.marks().end.0.load(Ordering::Acquire) == position + 1
    }

    /// Whether the writer is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.marks().end.0.load(Ordering::Acquire) != 0
    }

    /// Counts one beat. One thread at a time.
    #[cfg(not(loom))]
    pub(super) fn beat(&self) {
        self.marks().heartbeat.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Beats so far.
    #[cfg(not(loom))]
    pub(super) fn beats(&self) -> u64 {
        self.marks().heartbeat.0.load(Ordering::Relaxed)
    }
}
