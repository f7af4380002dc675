//! What the stages of a core recorded, interval after interval, in bounded memory.
//!
//! When there are [`INTERVALS_MAX`] intervals, neighbours become one: a run of any length is kept whole, and its intervals
//! are between half that many and that many, all of about the same length.

use super::{Collected, StageCollector};
use crate::clock::{Clock, Ticks};
use crate::distribution::Distribution;

/// Most intervals that are kept.
pub const INTERVALS_MAX: usize = 512;

/// One interval of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredInterval {
    /// From the beginning of the recording.
    pub start_ns: u64,
    /// Its length.
    pub length_ns: u64,
    /// What was recorded in it.
    pub distribution: Distribution,
}

/// All that one stage recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// The stage's name.
    pub name: String,
    /// Everything.
    pub distribution: Distribution,
    /// The same by intervals, in order, without holes; intervals that saw no value of this stage are there.
    pub intervals: Vec<MeasuredInterval>,
}

/// Collects the intervals of one core.
#[derive(Debug)]
pub struct History {
    collector: StageCollector,
    intervals: Vec<Collected>,
    /// Intervals as collected that one kept interval is made of.
    merged: usize,
    /// How many of them the last kept interval has.
    last_merged: usize,
}

impl History {
    /// An empty history of what `collector` will bring.
    #[must_use]
    pub fn new(collector: StageCollector) -> Self {
        Self { collector, intervals: Vec::new(), merged: 1, last_merged: 1 }
    }

    /// Takes the interval that was asked for before, if it was handed over, and asks for the next. To be called about as
    /// often as intervals are wanted.
    pub fn collect(&mut self) {
        if let Some(collected) = self.collector.take() {
            self.keep(collected);
        }
        self.collector.ask();
    }

    /// Everything, once the recorder is gone; the distances are measured by the clock that stamped them.
    #[must_use]
    pub fn finish(mut self, clock: &Clock) -> Vec<Measured> {
        if let Some(collected) = self.collector.take() {
            self.keep(collected);
        }
        let (names, began) = (self.collector.names.clone(), self.collector.began);
        let rest = core::mem::replace(&mut self.collector, super::recorders(&[], began).1).drain();
        rest.into_iter().for_each(|collected| self.keep(collected));
        let measured = |(stage, name): (usize, String)| measured(name, stage, &self.intervals, began, clock);
        names.into_iter().enumerate().map(measured).collect()
    }

    fn keep(&mut self, collected: Collected) {
        match self.intervals.last_mut() {
            Some(last) if self.last_merged < self.merged => {
                merge_into(last, &collected);
                self.last_merged += 1;
            }
            _ => {
                if self.intervals.len() == INTERVALS_MAX {
                    self.merge_neighbours();
                }
                self.intervals.push(collected);
                self.last_merged = 1;
            }
        }
    }

    fn merge_neighbours(&mut self) {
        let mut all = core::mem::take(&mut self.intervals).into_iter();
        while let Some(mut first) = all.next() {
            if let Some(second) = all.next() {
                merge_into(&mut first, &second);
            }
            self.intervals.push(first);
        }
        self.merged *= 2;
    }
}

fn merge_into(earlier: &mut Collected, later: &Collected) {
    earlier.ended = earlier.ended.max(later.ended);
    for (one, other) in earlier.stages.iter_mut().zip(&later.stages) {
        *one = one.merged(other);
    }
}

fn measured(name: String, stage: usize, intervals: &[Collected], began: Ticks, clock: &Clock) -> Measured {
    let interval = |collected: &Collected| MeasuredInterval {
        start_ns: clock.ns_between(began, collected.began),
        length_ns: clock.ns_between(collected.began, collected.ended),
        distribution: collected.stages[stage].clone(),
    };
    let distribution = intervals.iter().fold(Distribution::default(), |sum, one| sum.merged(&one.stages[stage]));
    Measured { name, distribution, intervals: intervals.iter().map(interval).collect() }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::recorders;
    use super::*;

    #[test]
    fn long_runs_keep_everything_in_fewer_intervals() {
        let clock = Clock::monotonic();
        let (mut recorder, collector) = recorders(&["a_ns"], clock.now());
        let mut history = History::new(collector);
        let turns = INTERVALS_MAX as u64 * 5 + 7;
        history.collect();
        for turn in 1..=turns {
            recorder.record(0, turn);
            assert!(recorder.turn(&clock));
            history.collect();
        }
        recorder.record(0, 1_000_000);
        recorder.close(&clock);
        let [stage] = <[Measured; 1]>::try_from(history.finish(&clock)).unwrap();
        assert_eq!(stage.distribution.count(), turns + 1);
        assert_eq!(stage.distribution.max_ns(), Some(1_000_000));
        let kept = stage.intervals.len();
        assert!((INTERVALS_MAX / 2..=INTERVALS_MAX).contains(&kept), "{kept} intervals");
        // Eight turns each, but the last.
        assert!(stage.intervals[..kept - 1].iter().all(|interval| interval.distribution.count() == 8));
        assert!(stage.intervals.is_sorted_by_key(|interval| interval.start_ns));
        let ends = stage.intervals.windows(2).all(|pair| pair[0].start_ns + pair[0].length_ns <= pair[1].start_ns + 1);
        assert!(ends, "intervals follow one another");
    }

    #[test]
    fn a_recorder_that_never_turned_is_one_interval() {
        let clock = Clock::monotonic();
        let (mut recorder, collector) = recorders(&["a_ns", "b_ns"], clock.now());
        let mut history = History::new(collector);
        history.collect();
        recorder.record(1, 5);
        recorder.close(&clock);
        let measured = history.finish(&clock);
        assert_eq!((measured[0].distribution.count(), measured[1].distribution.count()), (0, 1));
        assert_eq!((measured[0].intervals.len(), measured[1].intervals.len()), (1, 1));
    }
}
