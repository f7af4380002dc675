//! How far a run was at some moments: looked at by the thread that waits for it, from the counters that its threads keep anyway.

use tickcore_book::Sequence;

/// Most moments that are kept; then every second one goes and half as many are taken.
const MOMENTS_MAX: usize = 1_024;

/// How far a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// From the word to go.
    pub at_ns: u64,
    /// Events applied.
    pub events: u64,
    /// Lines of the ring that were published and that its slowest reader was not done with, a batch of it included; `None`
    /// without a ring.
    pub ring_lines: Option<u64>,
    /// What of the journal was durable; `None` without one.
    pub durable: Option<Sequence>,
}

/// Moments at about equal distances, in bounded memory.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    moments: Vec<Moment>,
    /// One in so many is kept.
    stride: u64,
    seen: u64,
}

impl Timeline {
    pub(crate) const fn new() -> Self {
        Self { moments: Vec::new(), stride: 1, seen: 0 }
    }

    pub(crate) fn add(&mut self, moment: Moment) {
        self.seen += 1;
        if self.moments.len() == MOMENTS_MAX {
            let mut number = 0;
            self.moments.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.stride *= 2;
        }
        if self.seen.is_multiple_of(self.stride) {
            self.moments.push(moment);
        }
    }

    pub(crate) fn into_moments(self) -> Vec<Moment> {
        self.moments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_is_kept_whole_in_fewer_moments() {
        let mut timeline = Timeline::new();
        for turn in 1..=5_000 {
            timeline.add(Moment { at_ns: turn * 50, events: turn, ring_lines: None, durable: None });
        }
        let moments = timeline.into_moments();
        assert!((MOMENTS_MAX / 2..=MOMENTS_MAX).contains(&moments.len()), "{}", moments.len());
        let distances: Vec<u64> = moments.windows(2).map(|pair| pair[1].at_ns - pair[0].at_ns).collect();
        assert!(distances.iter().all(|distance| *distance == distances[0]), "{distances:?}");
        assert!(moments.last().is_some_and(|last| last.events > 4_990), "{:?}", moments.last());
    }
}
