//! A thread that reads what it can, and for which nobody waits.

use super::region::Region;
use super::sync::Arc;
use core::fmt;
use tickcore_book::{Event, Sequence};

/// What a look into the ring brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "lost events are told here"]
pub struct LossyRead {
    /// Events read.
    pub read: usize,
    /// Events that went by before they were read. Where there are any, none was read.
    pub lost: u64,
}

/// Sees events in order as long as it keeps up, and knows exactly how many it missed when it does not. The writer neither
/// waits for it nor knows of it; any number of them can be in a ring, in this process or, read-only, in others.
///
/// The writer says an eighth of the ring ahead what it is going to overwrite, so a reader can be seven eighths of the ring
/// behind. One that falls further behind goes on half a ring behind the newest event, which gives it time.
///
/// Wait-free: no call blocks, allocates or makes a system call. Finding nothing costs one load of the line to come.
pub struct LossyReader {
    region: Arc<Region>,
    /// Last sequence read or lost.
    position: u64,
    lost: u64,
}

impl LossyReader {
    /// Joins behind the newest event.
    pub(super) fn join(region: Arc<Region>) -> Self {
        let lane = region.lane();
        let mut position = lane.committed();
        // A writer at full speed is not run after for ever.
        for _ in 0..lane.capacity_lines() {
            if lane.line(position + 1).sequence() != position + 1 {
                break;
            }
            position += 1;
        }
        Self { region, position, lost: 0 }
    }

    /// Calls `on_event` for each event that is there, at most `max` of them. When events were lost, it tells how many and
    /// reads none: the next call goes on behind them.
    #[inline]
    pub fn poll(&mut self, max: usize, mut on_event: impl FnMut(Sequence, &Event)) -> LossyRead {
        let mut read = 0;
        while read < max {
            let next = self.position + 1;
            match take(&self.region, next) {
                Taken::Event(event) => {
                    self.position = next;
                    read += 1;
                    on_event(Sequence(next), &event);
                }
                Taken::Overrun if read == 0 => return LossyRead { read, lost: self.go_on() },
                Taken::Nothing | Taken::Overrun => break,
            }
        }
        LossyRead { read, lost: 0 }
    }

    /// Copies events that are there into `events`, from its start. The sequence of the first is
    /// [`LossyReader::next_sequence`] before the call. When events were lost, it tells how many and reads none.
    #[inline]
    pub fn read_into(&mut self, events: &mut [Event]) -> LossyRead {
        let max = events.len();
        let mut places = events.iter_mut();
        self.poll(max, |_, event| {
            if let Some(place) = places.next() {
                *place = *event;
            }
        })
    }

    /// Moves to half a ring behind the newest event and returns how many events that skips.
    #[cold]
    fn go_on(&mut self) -> u64 {
        let lane = self.region.lane();
        let position = lane.committed().saturating_sub(lane.capacity_lines() as u64 / 2).max(self.position);
        let lost = position - self.position;
        self.position = position;
        self.lost += lost;
        lost
    }

    /// Sequence of the event that comes next, unless it is lost.
    #[inline]
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.position + 1)
    }

    /// Events lost since it joined.
    #[inline]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether the writer said that it is done and everything it published has been read or lost. Once true, it stays true.
    /// A writer that was killed says nothing.
    #[inline]
    pub fn is_closed_and_drained(&self) -> bool {
        self.region.lane().is_end(self.position)
    }
}

/// What a look at a line brought.
enum Taken {
    /// The event, whole.
    Event(Event),
    /// The line still has an older event, or none.
    Nothing,
    /// A later event is in the line, or may have been on its way into it.
    Overrun,
}

#[inline]
fn take(region: &Region, sequence: u64) -> Taken {
    let lane = region.lane();
    let line = lane.line(sequence);
    let found = line.sequence();
    if found < sequence {
        return Taken::Nothing;
    }
    let event = line.payload();
    if found == sequence && lane.oldest_intact() <= sequence { Taken::Event(event) } else { Taken::Overrun }
}

impl fmt::Debug for LossyReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LossyReader")
            .field("position", &self.position)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}
