//! Keeps latencies, as a histogram of fixed size.
//!
//! A value within the range is kept to three significant digits, in memory that is taken once (about 220 KB, of which a
//! run touches what its values need). A value beyond the range is counted and the largest value is kept exactly, so
//! nothing is lost or clamped unseen: a percentile that falls among such values is given as the largest value.
//! Recording takes about a nanosecond, and is the same for every value.

use crate::distribution::{Bucket, Distribution};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Percentiles of a summary, in parts of 10,000: p50, p90, p99, p99.9, p99.99.
const SUMMARY_PARTS: [u64; 5] = [5_000, 9_000, 9_900, 9_990, 9_999];

/// A histogram of latencies in nanoseconds.
#[derive(Clone, Debug)]
pub struct Recorder {
    histogram: Histogram<u64>,
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
        let histogram = Histogram::new_with_bounds(1, Self::RANGE_MAX_NS, Self::SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that hdrhistogram takes: 1 ≤ low, 2 × low ≤ high, digits ≤ 5");
        Self { histogram, beyond_range: 0, max_ns: 0 }
    }

    /// Keeps one value. Never allocates, never fails.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.max_ns = self.max_ns.max(latency_ns);
        if latency_ns > Self::RANGE_MAX_NS || self.histogram.record(latency_ns).is_err() {
            self.beyond_range += 1;
        }
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("every recorder has the same bounds");
        self.beyond_range += other.beyond_range;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.histogram.clear();
        self.beyond_range = 0;
        self.max_ns = 0;
    }

    /// Values recorded, those beyond the range included.
    pub fn count(&self) -> u64 {
        self.histogram.len() + self.beyond_range
    }

    /// Values above [`Recorder::RANGE_MAX_NS`].
    pub fn beyond_range(&self) -> u64 {
        self.beyond_range
    }

    /// Largest value, exactly, or `None` when nothing was recorded.
    pub fn max_ns(&self) -> Option<u64> {
        (self.count() > 0).then_some(self.max_ns)
    }

    /// The usual percentiles. Each is the upper end of its histogram bucket, so it is at most one part in 1,000 above
    /// the value in a sorted list, and never below it. Goes over the histogram once.
    pub fn summary(&self) -> Summary {
        summarise(self.count(), self.max_ns(), self.beyond_range, self.cumulated())
    }

    /// What was recorded, as reports store and show it. Allocates: not for the hot path.
    pub fn distribution(&self) -> Distribution {
        let within = self.histogram.iter_recorded().map(|bucket| Bucket {
            value_ns: bucket.value_iterated_to().min(self.max_ns),
            count: bucket.count_at_value(),
        });
        Distribution::new(within.collect(), self.beyond_range, self.max_ns)
            .expect("a histogram's buckets ascend, and no value is above the largest")
    }

    /// Every bucket with values in it, ascending, and at the end the values beyond the range.
    pub(crate) fn cumulated(&self) -> impl Iterator<Item = Cumulated> {
        let mut count = 0;
        let within = self.histogram.iter_recorded().map(move |bucket| {
            count += bucket.count_at_value();
            Cumulated { value_ns: bucket.value_iterated_to().min(self.max_ns), count }
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
