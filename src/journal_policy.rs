//! What a run does about a journal that does not keep up, or fails.

use std::time::{Duration, Instant};

/// What a run does when its journal fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It stops: what was let in is applied, and the outcome has the journal's error.
    #[default]
    Stop,
    /// It goes on without a journal. From then on every book says so ([`Books::is_unjournaled`](tickcore_book::Books)), and
    /// so does the outcome. What was in the journal's buffer is still written, as far as the disk takes it.
    CarryOn,
}

/// What a run does about its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalPolicy {
    /// When the journal fails: a write or sync that failed, a disk that is full, or a buffer that was full for too long.
    pub on_failure: OnFailure,
    /// How long events may wait for room in the journal's buffer before the journal is declared failed. Without it as long
    /// as it takes: the ring fills up behind the journal, and then the feed waits. Either is counted. No event is skipped.
    pub full_wait_max: Option<Duration>,
}

/// How often and how long a journal's buffer was full. The clock is read only while it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FullTime {
    since: Option<Instant>,
    pub(crate) waits: u64,
    total: Duration,
}

impl FullTime {
    /// Notes whether the buffer is full now. Says for how long it has been, once that was seen before.
    #[inline]
    pub(crate) fn note(&mut self, is_full: bool) -> Option<Duration> {
        if !is_full && self.since.is_none() {
            return None;
        }
        self.note_change(is_full)
    }

    #[cold]
    fn note_change(&mut self, is_full: bool) -> Option<Duration> {
        match self.since {
            Some(since) if is_full => Some(since.elapsed()),
            Some(since) => {
                self.total += since.elapsed();
                self.since = None;
                None
            }
            None => {
                self.since = Some(Instant::now());
                self.waits += 1;
                None
            }
        }
    }

    /// Nanoseconds in all, those of a wait that has not ended included.
    pub(crate) fn total_ns(&self) -> u64 {
        let total = self.total + self.since.map_or(Duration::ZERO, |since| since.elapsed());
        u64::try_from(total.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_counted_once_and_for_as_long_as_it_lasts() {
        let mut full = FullTime::default();
        assert_eq!((full.note(false), full.waits, full.total_ns()), (None, 0, 0));
        assert_eq!(full.note(true), None, "seen for the first time");
        std::thread::sleep(Duration::from_millis(5));
        assert!(full.note(true) >= Some(Duration::from_millis(5)));
        assert!(full.waits == 1 && full.total_ns() >= 5_000_000, "{full:?}");
        assert_eq!(full.note(false), None);
        let total_ns = full.total_ns();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!((full.note(false), full.total_ns()), (None, total_ns), "nothing is counted between waits");
        full.note(true);
        assert_eq!(full.waits, 2);
    }
}
