//! Keeps latencies, as a histogram of fixed size.
//!
//! A value within the range is kept to three significant digits in HdrHistogram's layout, in memory that is taken and touched
//! once, 221 KB. A value beyond the range is counted and the largest value is kept exactly, so nothing is lost or clamped
//! unseen: a percentile that falls among such values is given as the largest value. Recording takes about a nanosecond, and
//! is the same for every value: an index and a count. What else a histogram knows is made of the counts when somebody asks.

use crate::distribution::{Bucket, Distribution};
use crate::geometry::Geometry;
use core::hint::black_box;
use serde::{Deserialize, Serialize};

/// The layout.
const GEOMETRY: Geometry = Geometry::NANOSECONDS;

/// Percentiles of a summary, in parts of 10,000: p50, p90, p99, p99.9, p99.99.
const SUMMARY_PARTS: [u64; 5] = [5_000, 9_000, 9_900, 9_990, 9_999];

/// A histogram of latencies in nanoseconds.
#[derive(Clone, Debug)]
pub struct Recorder {
    /// Values of each bucket.
    counts: Box<[u64]>,
    /// All values, those beyond the range included.
    recorded: u64,
    beyond_range: u64,
    /// Exact, beyond the range or not; 0 while nothing was recorded.
    max_ns: u64,
}

/// What a table shows of a recorder. Values are nanoseconds, `None` when nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Values recorded, those beyond the range included.
    pub count: u64,
    /// Half of all values are at most this.
    pub p50: Option<u64>,
    /// 90 % of all values are at most this.
    pub p90: Option<u64>,
    /// 99 % of all values are at most this.
    pub p99: Option<u64>,
    /// 99.9 % of all values are at most this.
    pub p99_9: Option<u64>,
    /// 99.99 % of all values are at most this.
    pub p99_99: Option<u64>,
    /// The largest value, exactly.
    pub max: Option<u64>,
    /// Values above [`Recorder::RANGE_MAX_NS`].
    pub beyond_range: u64,
}

/// All values up to a bound, as one histogram bucket or the values beyond the range give them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cumulated {
    /// The bound.
    pub(crate) value_ns: u64,
    /// Values at most that.
    pub(crate) count: u64,
}

impl Recorder {
    /// Largest value that is kept in its place: one minute.
    pub const RANGE_MAX_NS: u64 = 60_000_000_000;

    /// Significant decimal digits of a kept value.
    pub const SIGNIFICANT_DIGITS: u8 = 3;

    /// An empty recorder. The only allocation of its life.
    #[must_use]
    pub fn new() -> Self {
        let count = GEOMETRY.index_of(Self::RANGE_MAX_NS) + 1;
        // Not zeros at first: memory of zeros is only promised, and would be had page by page while something is measured.
        let mut counts = black_box(vec![u64::MAX; count]).into_boxed_slice();
        counts.fill(0);
        Self { counts, recorded: 0, beyond_range: 0, max_ns: 0 }
    }

    /// Keeps one value. Never allocates, never fails.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.record_repeated(latency_ns, 1);
    }

    /// Keeps the same value `count` times.
    #[inline]
    pub fn record_repeated(&mut self, latency_ns: u64, count: u64) {
        self.max_ns = self.max_ns.max(latency_ns);
        self.recorded = self.recorded.saturating_add(count);
        let place = self.counts.get_mut(GEOMETRY.index_of(latency_ns));
        match place.filter(|_| latency_ns <= Self::RANGE_MAX_NS) {
            Some(place) => *place = place.saturating_add(count),
            None => self.beyond_range = self.beyond_range.saturating_add(count),
        }
    }

    /// Keeps several values: cheaper than one by one.
    #[inline]
    pub fn record_all(&mut self, latencies_ns: impl IntoIterator<Item = u64>) {
        let (mut recorded, mut max_ns) = (0_u64, self.max_ns);
        for latency_ns in latencies_ns {
            recorded += 1;
            max_ns = max_ns.max(latency_ns);
            let place = self.counts.get_mut(GEOMETRY.index_of(latency_ns));
            match place.filter(|_| latency_ns <= Self::RANGE_MAX_NS) {
                Some(place) => *place = place.saturating_add(1),
                None => self.beyond_range = self.beyond_range.saturating_add(1),
            }
        }
        self.recorded = self.recorded.saturating_add(recorded);
        self.max_ns = max_ns;
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(ours, theirs)| *ours += theirs);
        self.recorded += other.recorded;
        self.beyond_range += other.beyond_range;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let used = self.used();
        self.counts[..used].fill(0);
        self.recorded = 0;
        self.beyond_range = 0;
        self.max_ns = 0;
    }

    /// Buckets up to the last that can have something in it.
    fn used(&self) -> usize {
        (GEOMETRY.index_of(self.max_ns) + 1).min(self.counts.len())
    }

    /// Values recorded, those beyond the range included.
    pub fn count(&self) -> u64 {
        self.recorded
    }

    /// Values above [`Recorder::RANGE_MAX_NS`].
    pub fn beyond_range(&self) -> u64 {
        self.beyond_range
    }

    /// Largest value, exactly, or `None` when nothing was recorded.
    pub fn max_ns(&self) -> Option<u64> {
        (self.recorded > 0).then_some(self.max_ns)
    }

    /// The usual percentiles. Each is the upper end of its histogram bucket, so it is at most one part in 1,000 above
    /// the value in a sorted list, and never below it. Goes over the histogram once.
    pub fn summary(&self) -> Summary {
        summarise(self.count(), self.max_ns(), self.beyond_range, self.cumulated())
    }

    /// What was recorded, as reports store and show it. Allocates: not for the hot path.
    pub fn distribution(&self) -> Distribution {
        Distribution::new(self.buckets().collect(), self.beyond_range, self.max_ns)
            .expect("a histogram's buckets ascend, and no value is above the largest")
    }

    /// Every bucket with values in it, ascending, by its upper end or the largest value.
    fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let filled = self.counts[..self.used()].iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(index, &count)| {
            let (_, value_ns) = GEOMETRY.range_of(index).expect("the range is far below 64 bits");
            Bucket { value_ns: value_ns.min(self.max_ns), count }
        })
    }

    /// Every bucket with values in it, ascending, and at the end the values beyond the range.
    pub(crate) fn cumulated(&self) -> impl Iterator<Item = Cumulated> {
        let mut count = 0;
        let within = self.buckets().map(move |bucket| {
            count += bucket.count;
            Cumulated { value_ns: bucket.value_ns, count }
        });
        let beyond = (self.beyond_range > 0).then(|| Cumulated { value_ns: self.max_ns, count: self.count() });
        within.chain(beyond)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

/// The usual percentiles of values that come cumulated in ascending order.
pub(crate) fn summarise(
    count: u64,
    max: Option<u64>,
    beyond_range: u64,
    mut values: impl Iterator<Item = Cumulated>,
) -> Summary {
    let mut reached = values.next();
    let [p50, p90, p99, p99_9, p99_99] = SUMMARY_PARTS.map(|parts| {
        let rank = (u128::from(count) * u128::from(parts)).div_ceil(10_000) as u64;
        while reached.is_some_and(|reached| reached.count < rank) {
            reached = values.next();
        }
        reached.map(|reached| reached.value_ns)
    });
    Summary { count, p50, p90, p99, p99_9, p99_99, max, beyond_range }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    fn recorder_of(values: &[u64]) -> Recorder {
        let mut recorder = Recorder::new();
        values.iter().for_each(|&value| recorder.record(value));
        recorder
    }

    #[test]
    fn nothing_recorded_has_no_percentiles() {
        let summary = Recorder::new().summary();
        assert_eq!((summary.count, summary.p50, summary.p99_99, summary.max), (0, None, None, None));
    }

    #[test]
    fn the_range_ends_where_it_says() {
        let end = Recorder::RANGE_MAX_NS;
        let recorder = recorder_of(&[0, 1, end, end + 1, u64::MAX]);
        assert_eq!((recorder.count(), recorder.beyond_range(), recorder.max_ns()), (5, 2, Some(u64::MAX)));
    }

    #[test]
    fn a_percentile_among_values_beyond_the_range_is_the_largest_value() {
        let mut recorder = recorder_of(&[100; 98]);
        recorder.record(Recorder::RANGE_MAX_NS * 2);
        recorder.record(Recorder::RANGE_MAX_NS * 3);
        let summary = recorder.summary();
        assert_eq!((summary.count, summary.beyond_range), (100, 2));
        assert_eq!((summary.p90, summary.p99), (Some(100), Some(Recorder::RANGE_MAX_NS * 3)));
    }

    #[test]
    fn a_cleared_recorder_is_a_new_one() {
        let mut recorder = recorder_of(&[5, Recorder::RANGE_MAX_NS + 1]);
        recorder.clear();
        assert_eq!(recorder.summary(), Recorder::new().summary());
    }

    /// Values of every magnitude, some beyond the range.
    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (0_u32..40, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
        prop::collection::vec(value, 1..500)
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_a_sorted_list(values in values()) {
            let summary = recorder_of(&values).summary();
            let mut sorted = values;
            sorted.sort_unstable();
            let found = [summary.p50, summary.p90, summary.p99, summary.p99_9, summary.p99_99];
            for (found, parts) in found.into_iter().zip(SUMMARY_PARTS) {
                let exact = sorted[(sorted.len() * parts as usize).div_ceil(10_000) - 1];
                let found = found.expect("values were recorded");
                if exact <= Recorder::RANGE_MAX_NS {
                    prop_assert!((exact..=exact + exact / 1_000).contains(&found), "{found} for {exact}");
                } else {
                    prop_assert_eq!(Some(found), summary.max);
                }
            }
            prop_assert_eq!(summary.max, sorted.last().copied());
            prop_assert_eq!(summary.count, sorted.len() as u64);
            let beyond_range = sorted.iter().filter(|&&value| value > Recorder::RANGE_MAX_NS).count();
            prop_assert_eq!(summary.beyond_range, beyond_range as u64);
        }

        /// The naive twin: the histogram that everybody knows.
        #[test]
        fn buckets_are_those_of_the_hdrhistogram_crate(values in values(), times in 1_u64..4) {
            let mut recorder = Recorder::new();
            let mut theirs = Histogram::<u64>::new_with_bounds(1, Recorder::RANGE_MAX_NS, 3).unwrap();
            for &value in &values {
                recorder.record_repeated(value, times);
                if value <= Recorder::RANGE_MAX_NS {
                    theirs.record_n(value, times).unwrap();
                }
            }
            let largest = values.iter().copied().max().unwrap();
            let theirs = theirs.iter_recorded().map(|one| (one.value_iterated_to().min(largest), one.count_at_value()));
            let distribution = recorder.distribution();
            let ours = distribution.buckets().iter().map(|bucket| (bucket.value_ns, bucket.count));
            prop_assert!(ours.eq(theirs));
        }

        #[test]
        fn merged_recorders_are_one_recorder_of_all(one in values(), other in values()) {
            let mut merged = recorder_of(&one);
            merged.merge(&recorder_of(&other));
            let all = recorder_of(&[one, other].concat());
            prop_assert_eq!(merged.summary(), all.summary());
            prop_assert!(merged.cumulated().eq(all.cumulated()));
        }
    }
}
