//! The one thread that writes.

use super::region::Region;
use super::stores::{SINGLE_AHEAD_LINES, STAGE_LINES_MAX, Stage, prefetch_for_write};
use super::sync::{Arc, Ordering};
use core::fmt;
use std::time::{Duration, Instant};
use tickcore_book::{Event, Sequence};

/// Every line holds an event that some reader has not released. Publish again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is full: a reader has not released the line that the next event needs; publish it again later")]
pub struct Full;

/// Publishes events and gives them their sequences. There is one per ring; dropping it closes the ring.
///
/// Wait-free: no call blocks, allocates or makes a system call. As long as there is room that it knows of, publishing
/// touches nothing but the event's own line. An eighth of the ring at a time it says how far it is going to write, and reads
/// the readers' cursors when the room that it knows of is used up.
pub struct Writer {
    region: Arc<Region>,
    stage: Stage,
    /// Last published sequence.
    head: u64,
    /// Highest sequence that may be written at once: claimed, and within `limit`. Never below `head`.
    claimed: u64,
    /// Highest sequence that may be written without looking at the cursors. Never below `claimed`.
    limit: u64,
    /// The limit that joining readers see. Never below `limit`.
    announced_limit: u64,
    claim_lines: u64,
    full_waits: u64,
    full_time: Duration,
    /// Since when the ring has been found full.
    full_since: Option<Instant>,
}

impl Writer {
    pub(super) fn new(region: Arc<Region>) -> Self {
        let capacity_lines = region.capacity_lines() as u64;
        let claim_lines = region.lane().claim_lines() as u64;
        Self {
            region,
            stage: Stage::new(claim_lines as usize),
            head: 0,
            claimed: 0,
            limit: capacity_lines,
            announced_limit: capacity_lines,
            claim_lines,
            full_waits: 0,
            full_time: Duration::ZERO,
            full_since: None,
        }
    }

    /// Publishes one event and returns its sequence.
    ///
    /// # Errors
    /// [`Full`] when a reader has not released the line that is needed. Nothing was published.
    #[inline]
    pub fn try_publish(&mut self, event: &Event) -> Result<Sequence, Full> {
        if self.head == self.claimed && self.make_room(1) == 0 {
            return Err(Full);
        }
        self.head += 1;
        let lane = self.region.lane();
        lane.write(self.head, event);
        prefetch_for_write(lane.line(self.head + SINGLE_AHEAD_LINES));
        Ok(Sequence(self.head))
    }

    /// Publishes as many of `events`, from the first, as there is room for, and returns how many.
    ///
    /// Readers see them group by group, at most 256 events and an eighth of the ring in each: a group is there all at once, so that no
    /// reader is at a line while the next one is being written. An event that must not wait for those behind it is published
    /// on its own.
    #[inline]
    pub fn publish_batch(&mut self, events: &[Event]) -> usize {
        let mut rest = events;
        while !rest.is_empty() {
            let wanted = rest.len().min(self.claim_lines as usize).min(STAGE_LINES_MAX);
            let (group, behind) = rest.split_at(self.room_for(wanted));
            if group.is_empty() {
                break;
            }
            self.region.lane().write_batch(self.head + 1, group, &mut self.stage);
            self.head += group.len() as u64;
            rest = behind;
        }
        events.len() - rest.len()
    }

    /// Claims up to `max` lines (at least one, at most an eighth of the ring), to be filled in place and committed at once.
    ///
    /// # Errors
    /// [`Full`] when not one line is free.
    #[inline]
    pub fn claim(&mut self, max: usize) -> Result<Claim<'_>, Full> {
        let room = self.room_for(max.clamp(1, self.claim_lines as usize));
        if room == 0 { Err(Full) } else { Ok(Claim { writer: self, room, filled: 0 }) }
    }

    /// Lines that can be written now without being refused. The cursors are read again only when the known room is used
    /// up, so there may be more; 0 means that the ring is full.
    #[inline]
    pub fn free(&mut self) -> usize {
        if self.limit == self.head {
            self.make_room(1);
        }
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

    /// How long the ring was full in all, from when that was found to when there was room again. The clock is read at these
    /// two moments only. A wait that has not ended is not in it.
    #[inline]
    pub fn full_time(&self) -> Duration {
        self.full_time
    }

    /// Says that nothing more comes. Readers still get what was published. The same as dropping the writer.
    pub fn close(self) {}

    /// How many of `wanted` lines, at most an eighth of the ring, can be written.
    #[inline]
    fn room_for(&mut self, wanted: usize) -> usize {
        let room = self.claimed - self.head;
        let room = if room < wanted as u64 { self.make_room(wanted as u64) } else { room };
        room.min(wanted as u64) as usize
    }

    /// Claims up to an eighth of the ring, reading the cursors when that is not known to be free, and counts a full ring.
    /// Returns how many lines may be written.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, wanted: u64) -> u64 {
        if self.limit - self.head < wanted {
            self.look_at_cursors();
        }
        let claimed = self.limit.min(self.head + self.claim_lines);
        if claimed > self.claimed {
            self.claimed = claimed;
            self.region.lane().claim(claimed, self.head);
        }
        if self.claimed == self.head {
            if self.full_since.is_none() {
                self.full_since = Some(Instant::now());
                self.full_waits += 1;
            }
        } else if let Some(since) = self.full_since.take() {
            self.full_time += since.elapsed();
        }
        self.claimed - self.head
    }

    /// Moves the limit up to what the readers have released.
    ///
    /// A limit is announced before it is used, and the cursors are read again after that: a reader that joined
    /// meanwhile at an older announced limit is seen here, or has seen the new one (see `Region::join`). A limit that
    /// was once used stays valid: a cursor behind it belongs to a reader that is about to take a later position.
    fn look_at_cursors(&mut self) {
        let mut limit = self.region.limit_after(self.head);
        if limit > self.announced_limit {
            self.announced_limit = limit;
            self.region.announce_limit(limit);
            limit = limit.min(self.region.limit_after(self.head));
        }
        self.limit = self.limit.max(limit);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.region.lane().close(self.head);
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

/// Lines that are being filled. Readers see nothing of them before [`Claim::commit`]; dropped without it, they are as they
/// were never claimed.
pub struct Claim<'w> {
    writer: &'w mut Writer,
    room: usize,
    filled: usize,
}

impl Claim<'_> {
    /// Lines that can still be filled.
    #[inline]
    pub fn room(&self) -> usize {
        self.room - self.filled
    }

    /// Fills the next line.
    ///
    /// # Panics
    /// If there is no [`Claim::room`].
    #[inline]
    pub fn push(&mut self, event: &Event) {
        assert!(self.filled < self.room, "all {} claimed lines are filled: commit them, and claim again", self.room);
        self.filled += 1;
        self.writer.region.lane().line(self.writer.head + self.filled as u64).write_payload(event);
    }

    /// Publishes what was filled, all of it at once, and returns the sequence of the last event.
    #[inline]
    pub fn commit(self) -> Sequence {
        let Claim { writer, filled, .. } = self;
        let lane = writer.region.lane();
        // From the last to the first: a reader waits for the first.
        for sequence in (writer.head + 1..=writer.head + filled as u64).rev() {
            lane.line(sequence).set_sequence(sequence, Ordering::Release);
        }
        writer.head += filled as u64;
        Sequence(writer.head)
    }
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Claim").field("room", &self.room).field("filled", &self.filled).finish_non_exhaustive()
    }
}
