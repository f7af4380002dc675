//! The one thread that writes.

use super::region::Region;
use super::sync::Arc;
use core::fmt;
use tickcore_book::{Event, Sequence};

/// Every line holds an event that some reader has not released. Publish again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full: a reader has not released the line that the next event needs; publish it again later")]
pub struct Full;

/// Publishes events and gives them their sequences. There is one per ring; dropping it closes the ring.
///
/// Wait-free: no call blocks, allocates or makes a system call. As long as there is room that it knows of, publishing
/// touches nothing but the event's own line; the readers' cursors are read when that room is used up, at least once in
/// a turn of the ring.
pub struct Writer {
    region: Arc<Region>,
    /// Last published sequence.
    head: u64,
    /// Highest sequence that may be written without looking at the cursors. Never below `head`.
    limit: u64,
    /// The limit that joining readers see. Never below `limit`.
    announced_limit: u64,
    full_waits: u64,
    is_waiting: bool,
}

impl Writer {
    pub(super) fn new(region: Arc<Region>) -> Self {
        let capacity_lines = region.capacity_lines() as u64;
        Self {
            region,
            head: 0,
            limit: capacity_lines,
            announced_limit: capacity_lines,
            full_waits: 0,
            is_waiting: false,
        }
    }

    /// Publishes one event and returns its sequence.
    ///
    /// # Errors
    /// [`Full`] when a reader has not released the line that is needed. Nothing was published.
    #[inline]
    pub fn try_publish(&mut self, event: &Event) -> Result<Sequence, Full> {
        if self.room_for(1) == 0 {
            return Err(Full);
        }
        self.write_next(event);
        Ok(Sequence(self.head))
    }

    /// Publishes as many of `events`, from the first, as there is room for, and returns how many.
    ///
    /// Readers see each event as soon as it is written; only the look at the readers' cursors is shared by the batch.
    #[inline]
    pub fn publish_batch(&mut self, events: &[Event]) -> usize {
        let count = self.room_for(events.len());
        for event in &events[..count] {
            self.write_next(event);
        }
        count
    }

    /// Lines that can be written now without being refused. The cursors are read again only when the known room is used
    /// up, so there may be more; 0 means that the ring is full.
    #[inline]
    pub fn free(&mut self) -> usize {
        self.room_for(1);
        (self.limit - self.head) as usize
    }

    /// Sequence of the last published event; 0 before the first.
    #[inline]
    pub fn last_sequence(&self) -> Sequence {
        Sequence(self.head)
    }

    /// How often the ring was found full. Retries until the next event is published are one wait.
    #[inline]
    pub fn full_waits(&self) -> u64 {
        self.full_waits
    }

    /// Says that nothing more comes. Readers still get what was published. The same as dropping the writer.
    pub fn close(self) {}

    /// How many of `wanted` lines can be written; reads the cursors again when the known room is too small.
    #[inline]
    fn room_for(&mut self, wanted: usize) -> usize {
        if self.limit - self.head < wanted as u64 {
            self.look_at_cursors();
        }
        (self.limit - self.head).min(wanted as u64) as usize
    }

    #[inline]
    fn write_next(&mut self, event: &Event) {
        self.head += 1;
        self.region.line(self.head).write(self.head, event);
        self.is_waiting = false;
    }

    /// Moves the limit up to what the readers have released, and counts a full ring.
    ///
    /// A limit is announced before it is used, and the cursors are read again after that: a reader that joined
    /// meanwhile at an older announced limit is seen here, or has seen the new one (see `Region::join`). A limit that
    /// was once used stays valid: a cursor behind it belongs to a reader that is about to take a later position.
    #[cold]
    #[inline(never)]
    fn look_at_cursors(&mut self) {
        let mut limit = self.region.limit_after(self.head);
        if limit > self.announced_limit {
            self.announced_limit = limit;
            self.region.announce_limit(limit);
            limit = limit.min(self.region.limit_after(self.head));
        }
        self.limit = self.limit.max(limit);
        if self.limit == self.head && !self.is_waiting {
            self.is_waiting = true;
            self.full_waits += 1;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.region.close(self.head);
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Writer")
            .field("head", &self.head)
            .field("limit", &self.limit)
            .field("full_waits", &self.full_waits)
            .finish_non_exhaustive()
    }
}
