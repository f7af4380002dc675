//! What the cores of a run record, collected by the thread that waits for the run.

use crate::outcome::StageOutcome;
use crate::probes::StageName;
use tickcore_latency::stages::{self, History, Measured, MeasuredInterval, StageRecorder};
use tickcore_latency::{Clock, Distribution, Ticks};

/// The stages of one core.
#[derive(Debug)]
struct Recording {
    core: Option<usize>,
    stages: &'static [StageName],
    history: History,
}

/// The stages of all cores.
#[derive(Debug)]
pub(crate) struct Recordings {
    began: Ticks,
    all: Vec<Recording>,
}

impl Recordings {
    /// None yet.
    pub(crate) const fn new(began: Ticks) -> Self {
        Self { began, all: Vec::new() }
    }

    /// A recorder for the stages of a thread on `core`.
    pub(crate) fn recorder(&mut self, core: Option<usize>, stages: &'static [StageName]) -> StageRecorder {
        let names: Vec<&str> = stages.iter().map(|stage| stage.name).collect();
        let (recorder, collector) = stages::recorders(&names, self.began);
        self.all.push(Recording { core, stages, history: History::new(collector) });
        recorder
    }

    /// Takes what the cores have handed over, and asks them for more.
    pub(crate) fn collect(&mut self) {
        self.all.iter_mut().for_each(|recording| recording.history.collect());
    }

    /// Every stage in which something was recorded, in the order of the way, times from `started_at` on. What several
    /// cores recorded of one stage is put together.
    pub(crate) fn finish(self, started_at: Ticks, clock: &Clock) -> Vec<StageOutcome> {
        let before_ns = clock.ns_between(self.began, started_at);
        let mut outcomes: Vec<StageOutcome> = Vec::new();
        for Recording { core, stages, history } in self.all {
            for (stage, mut measured) in stages.iter().zip(history.finish(clock)) {
                measured.intervals.iter_mut().for_each(|interval| start_later(interval, before_ns));
                match outcomes.iter_mut().find(|outcome| outcome.name == stage.name) {
                    Some(outcome) => {
                        outcome.core = None;
                        put_together(outcome, measured);
                    }
                    None => outcomes.push(StageOutcome {
                        name: stage.name,
                        between: stage.between,
                        origin: stage.origin,
                        core,
                        distribution: measured.distribution,
                        intervals: measured.intervals,
                    }),
                }
            }
        }
        outcomes.retain(|outcome| !outcome.distribution.is_empty());
        outcomes
    }
}

/// The recorders are there before the run begins.
fn start_later(interval: &mut MeasuredInterval, before_ns: u64) {
    let end_ns = (interval.start_ns + interval.length_ns).saturating_sub(before_ns);
    interval.start_ns = interval.start_ns.saturating_sub(before_ns);
    interval.length_ns = end_ns.saturating_sub(interval.start_ns);
}

/// Adds another core's values of the same stage. All cores are asked for their intervals together, so theirs are about the
/// same: each goes to the one that its middle is in.
fn put_together(outcome: &mut StageOutcome, other: Measured) {
    outcome.distribution = outcome.distribution.merged(&other.distribution);
    if outcome.intervals.is_empty() {
        outcome.intervals = other.intervals;
        return;
    }
    for interval in other.intervals {
        let middle_ns = interval.start_ns + interval.length_ns / 2;
        let behind = outcome.intervals.partition_point(|one| one.start_ns <= middle_ns);
        let one = &mut outcome.intervals[behind.saturating_sub(1)];
        one.distribution = one.distribution.merged(&interval.distribution);
    }
}

/// The values of a stage, none if it is not there.
pub(crate) fn values_of(stages: &[StageOutcome], name: &str) -> Distribution {
    stages.iter().find(|stage| stage.name == name).map(|stage| stage.distribution.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::{BOOK_STAGES, FEED_STAGES, SERVICE};

    /// Through recorder, intervals and their merging: as a sorted list of the same values, but for a thousandth upwards.
    #[test]
    fn percentiles_are_those_of_a_sorted_list() {
        let clock = Clock::monotonic();
        let mut recordings = Recordings::new(clock.now());
        let mut books = [0, 1].map(|core| recordings.recorder(Some(core), &BOOK_STAGES));
        let mut state = 0x5EED_u64;
        let mut values: Vec<u64> = Vec::new();
        for number in 0..200_000_usize {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // From nanoseconds to seconds, about as many in each power of two.
            let value = (state >> 33) >> (state % 31);
            books[number % 2].record(2, value);
            values.push(value);
            if number.is_multiple_of(1_000) {
                recordings.collect();
                books.iter_mut().for_each(|book| assert!(book.turn(&clock) || number == 0));
            }
        }
        books.into_iter().for_each(|book| book.close(&clock));
        let stages = recordings.finish(clock.now(), &clock);
        values.sort_unstable();
        let distribution = values_of(&stages, SERVICE);
        assert_eq!(distribution.count(), values.len() as u64);
        assert_eq!((distribution.min_ns(), distribution.max_ns()), (Some(values[0]), values.last().copied()));
        for parts in (1..=9_999).chain([9_999, 10_000]) {
            let rank = (values.len() as u64 * parts).div_ceil(10_000) as usize;
            let (found, exact) = (distribution.value_at(parts, 10_000).unwrap(), values[rank - 1]);
            assert!((exact..=exact + exact / 1_000 + 1).contains(&found), "{parts}: {found} for {exact}");
        }
    }

    #[test]
    fn cores_of_one_stage_are_put_together_and_times_count_from_the_start() {
        let clock = Clock::monotonic();
        let mut recordings = Recordings::new(clock.now());
        let mut books = [0, 1].map(|core| recordings.recorder(Some(core), &BOOK_STAGES));
        let mut feed = recordings.recorder(Some(2), &FEED_STAGES);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let started_at = clock.now();
        for turn in 0..4 {
            recordings.collect();
            for (core, book) in books.iter_mut().enumerate() {
                book.record(2, 1_000 * (core as u64 + 1) + turn);
                assert!(book.turn(&clock));
            }
            feed.record(2, 7);
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        books.into_iter().for_each(|book| book.close(&clock));
        feed.close(&clock);
        let stages = recordings.finish(started_at, &clock);
        let names: Vec<_> = stages.iter().map(|stage| (stage.name, stage.core, stage.distribution.count())).collect();
        assert_eq!(names, [(SERVICE, None, 8), ("decoded_ns", Some(2), 4)]);
        let values: u64 = stages[0].intervals.iter().map(|interval| interval.distribution.count()).sum();
        assert_eq!(values, 8, "every value is in one interval");
        assert!(stages[0].intervals.len() >= 4, "{:?}", stages[0].intervals);
        let first = &stages[0].intervals[0];
        assert!(first.start_ns == 0 && first.length_ns < 15_000_000, "{first:?}");
        assert_eq!(values_of(&stages, SERVICE).max_ns(), Some(2_003));
        assert!(values_of(&stages, "none").is_empty());
    }
}
