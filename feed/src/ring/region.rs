//! What the threads of one process share of a ring: the lane, and the cursors of the readers for which the writer waits.
//! [`Writer`](super::Writer) and [`Reader`](super::Reader) hold the rest privately.

use super::RingError;
use super::lane::Lane;
use super::sync::{AtomicBool, AtomicU64, Ordering, fence};
use crossbeam_utils::CachePadded;

/// Cursor of a slot that no reader has. Larger than every sequence, so that a minimum over all slots ignores it.
const VACANT: u64 = u64::MAX;

#[cfg(all(not(loom), any(target_arch = "x86_64", target_arch = "aarch64")))]
const _: () = assert!(align_of::<CachePadded<AtomicU64>>() == 128);

/// The shared part of a ring.
///
/// | words | written by | read by |
/// |---|---|---|
/// | lines, marks (see [`Lane`]) | the writer | every reader |
/// | cursors: last sequence each gating reader has released | its reader | the writer, when it runs into its limit |
/// | announced limit: highest sequence the writer may write without looking at the cursors again | the writer | a gating reader that joins |
pub(super) struct Region {
    lane: Lane,
    cursors: Box<[CachePadded<AtomicU64>]>,
    announced_limit: CachePadded<AtomicU64>,
    writer_taken: AtomicBool,
}

impl Region {
    pub(super) fn new(lane: Lane, readers_max: usize) -> Result<Self, RingError> {
        let announced_limit = CachePadded::new(AtomicU64::new(lane.capacity_lines() as u64));
        let mut cursors = Vec::new();
        let bytes = readers_max * size_of::<CachePadded<AtomicU64>>();
        cursors.try_reserve_exact(readers_max).map_err(|_| RingError::Memory { bytes })?;
        cursors.resize_with(readers_max, || CachePadded::new(AtomicU64::new(VACANT)));
        Ok(Self { lane, cursors: cursors.into_boxed_slice(), announced_limit, writer_taken: AtomicBool::new(false) })
    }

    /// A lane that another process writes, or another ring of this one: no writer and no gating reader can be had.
    #[cfg(not(loom))]
    pub(super) fn of_readers(lane: Lane) -> Self {
        Self {
            lane,
            cursors: Box::default(),
            announced_limit: CachePadded::default(),
            writer_taken: AtomicBool::new(true),
        }
    }

    /// Lines and marks.
    #[inline(always)]
    pub(super) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Lines, a power of two.
    #[inline]
    pub(super) fn capacity_lines(&self) -> usize {
        self.lane.capacity_lines()
    }

    /// Rows of the table of readers.
    pub(super) fn readers_max(&self) -> usize {
        self.cursors.len()
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
    /// looks at the cursors once more after this call, sees the reader. Release: a reader that sees the limit has every
    /// event that it leaves behind.
    pub(super) fn announce_limit(&self, limit: u64) {
        self.announced_limit.store(limit, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Registers a gating reader behind the newest line: its slot and its position, or `None` when no slot is free.
    ///
    /// The reader first takes the oldest position that the announced limit leaves safe, which holds the writer, and
    /// takes it again while the writer announces further limits. Then it skips what is there. Lock-free: it repeats only
    /// when the writer has advanced.
    pub(super) fn join(&self) -> Option<(usize, u64)> {
        let oldest_kept = |limit: u64| limit - self.capacity_lines() as u64;
        let mut limit = self.announced_limit.load(Ordering::Acquire);
        // AcqRel: what the slot's previous reader released stays ordered before what this one stores here.
        let slot = self.cursors.iter().position(|cursor| {
            cursor.compare_exchange(VACANT, oldest_kept(limit), Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })?;
        loop {
            fence(Ordering::SeqCst);
            let announced = self.announced_limit.load(Ordering::Acquire);
            if announced == limit {
                break;
            }
            limit = announced;
            self.release(slot, oldest_kept(limit));
        }
        let mut position = oldest_kept(limit);
        while position < limit && self.lane.line(position + 1).sequence() == position + 1 {
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
}
