//! A thread that reads every event, and for which the writer waits.

use super::region::Region;
use super::sync::Arc;
use core::fmt;
use tickcore_book::{Event, Sequence};

/// Sees every event published after it joined, in order. The writer never overwrites a line that it has not released;
/// dropping it lets the writer go on without it.
///
/// Wait-free: no call blocks, allocates or makes a system call. Finding nothing costs one load of the line to come.
pub struct Reader {
    region: Arc<Region>,
    slot: usize,
    /// Last sequence read and released.
    position: u64,
}

impl Reader {
    /// Joins, or `None` when the ring has no slot left.
    pub(super) fn join(region: Arc<Region>) -> Option<Self> {
        let (slot, position) = region.join()?;
        Some(Self { region, slot, position })
    }

    /// Calls `on_event` for each event that is there, at most `max` and at most a ring's capacity of them, then releases
    /// their lines at once. Returns how many; 0 when nothing is there.
    ///
    /// The writer waits for the lines of a batch until all of it has been handled: where handling takes long, a small
    /// `max` returns lines sooner. If `on_event` panics, nothing of the batch is released.
    #[inline]
    pub fn poll(&mut self, max: usize, mut on_event: impl FnMut(Sequence, &Event)) -> usize {
        let mut position = self.position;
        'all: for lines in self.region.lane().lines_from(position + 1, max) {
            for line in lines {
                let Some(event) = line.read(position + 1) else { break 'all };
                position += 1;
                on_event(Sequence(position), &event);
            }
        }
        self.release_to(position)
    }

    /// Copies events that are there into `events`, from its start, and releases their lines. Returns how many; their
    /// sequences run from the [`Reader::next_sequence`] before the call.
    #[inline]
    pub fn read_into(&mut self, events: &mut [Event]) -> usize {
        let max = events.len();
        let mut places = events.iter_mut();
        self.poll(max, |_, event| {
            if let Some(place) = places.next() {
                *place = *event;
            }
        })
    }

    /// The events that are there, at most `max` and at most a ring's capacity of them. Those that were taken from it are
    /// released at once when it is dropped.
    #[inline]
    pub fn batch(&mut self, max: usize) -> ReadBatch<'_> {
        let position = self.position;
        let end = position + max.min(self.region.capacity_lines()) as u64;
        ReadBatch { reader: self, position, end }
    }

    /// Sequence of the event that comes next.
    #[inline]
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.position + 1)
    }

    /// Whether the writer is gone and everything it published has been read. Once true, it stays true.
    #[inline]
    pub fn is_closed_and_drained(&self) -> bool {
        self.region.lane().is_end(self.position)
    }

    /// Moves to `position`, giving the lines up to it back, and returns how far that is.
    #[inline]
    fn release_to(&mut self, position: u64) -> usize {
        let count = position - self.position;
        if count > 0 {
            self.position = position;
            self.region.release(self.slot, position);
        }
        count as usize
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.region.leave(self.slot);
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Reader")
            .field("slot", &self.slot)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Events that are there, one after the other, each copied out of its line. See [`Reader::batch`].
#[derive(Debug)]
pub struct ReadBatch<'r> {
    reader: &'r mut Reader,
    position: u64,
    end: u64,
}

impl Iterator for ReadBatch<'_> {
    type Item = (Sequence, Event);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.position + 1;
        if next > self.end {
            return None;
        }
        let event = self.reader.region.lane().line(next).read(next)?;
        self.position = next;
        Some((Sequence(next), event))
    }
}

impl Drop for ReadBatch<'_> {
    #[inline]
    fn drop(&mut self) {
        self.reader.release_to(self.position);
    }
}
