//! Latencies as they are stored and shown: the buckets with something in them, and what lies beyond the range.
//!
//! A [`Recorder`](crate::Recorder) is for the hot path and has room for every value; a distribution is made of it
//! afterwards, holds what was seen, and is what reports are written of and read from. Everything that is asked of latencies
//! (percentiles, correction, comparison) is asked of a distribution, so that a stored run answers as a fresh one does.

use crate::geometry::Geometry;
use crate::recorder::{Cumulated, Recorder, Summary, summarise};
use serde::{Deserialize, Serialize};

/// The values of one histogram bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The largest of them, in nanoseconds.
    pub value_ns: u64,
    /// How many they are.
    pub count: u64,
}

/// How many values there are of each size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Distribution {
    /// Ascending, none empty.
    buckets: Vec<Bucket>,
    beyond_range: u64,
    max_ns: u64,
    count: u64,
}

/// Why buckets are no distribution.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("histogram bucket {position} (value {value_ns}, count {count}): {rule}")]
pub struct DistributionError {
    /// Which bucket, from 0; the number of buckets when it is the whole.
    pub position: usize,
    /// Its value.
    pub value_ns: u64,
    /// Its count.
    pub count: u64,
    /// What does not hold.
    pub rule: &'static str,
}

/// The form in JSON: pairs of value and count.
#[derive(Serialize, Deserialize)]
struct Stored {
    max_ns: u64,
    beyond_range: u64,
    buckets: Vec<(u64, u64)>,
}

impl From<Distribution> for Stored {
    fn from(distribution: Distribution) -> Self {
        let buckets = distribution.buckets.iter().map(|bucket| (bucket.value_ns, bucket.count)).collect();
        Self { max_ns: distribution.max_ns, beyond_range: distribution.beyond_range, buckets }
    }
}

impl TryFrom<Stored> for Distribution {
    type Error = DistributionError;

    fn try_from(stored: Stored) -> Result<Self, Self::Error> {
        let buckets = stored.buckets.into_iter().map(|(value_ns, count)| Bucket { value_ns, count }).collect();
        Self::new(buckets, stored.beyond_range, stored.max_ns)
    }
}

impl Distribution {
    /// Of buckets in ascending order, none of them empty, and `beyond_range` values that are known to be at most `max_ns`.
    ///
    /// # Errors
    /// When the buckets are not so, their counts exceed 64 bits, or `max_ns` lies below the last of them.
    pub fn new(buckets: Vec<Bucket>, beyond_range: u64, max_ns: u64) -> Result<Self, DistributionError> {
        let error = |position: usize, rule| {
            let Bucket { value_ns, count } =
                buckets.get(position).copied().unwrap_or(Bucket { value_ns: max_ns, count: beyond_range });
            DistributionError { position, value_ns, count, rule }
        };
        let mut count = beyond_range;
        for (position, bucket) in buckets.iter().enumerate() {
            if bucket.count == 0 {
                return Err(error(position, "a stored bucket has a count"));
            }
            if position > 0 && buckets[position - 1].value_ns >= bucket.value_ns {
                return Err(error(position, "values ascend"));
            }
            count = count.checked_add(bucket.count).ok_or_else(|| error(position, "all counts fit 64 bits"))?;
        }
        if buckets.last().is_some_and(|last| last.value_ns > max_ns) {
            return Err(error(buckets.len() - 1, "no value is above the largest"));
        }
        Ok(Self { buckets, beyond_range, max_ns: if count == 0 { 0 } else { max_ns }, count })
    }

    /// Of single values, in any order; each is kept to three digits, as a recorder keeps it.
    #[must_use]
    pub fn of_values(values: impl IntoIterator<Item = u64>) -> Self {
        let mut recorder = Recorder::new();
        values.into_iter().for_each(|value| recorder.record(value));
        recorder.distribution()
    }

    /// Values, those beyond the range included.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Values that had no bucket.
    pub fn beyond_range(&self) -> u64 {
        self.beyond_range
    }

    /// The largest value, exactly, or `None` without values.
    pub fn max_ns(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.max_ns)
    }

    /// An upper bound of the smallest values: the first bucket's, or `None` without values.
    pub fn min_ns(&self) -> Option<u64> {
        self.cumulated().next().map(|first| first.value_ns)
    }

    /// The buckets, ascending.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The usual percentiles.
    pub fn summary(&self) -> Summary {
        summarise(self.count, self.max_ns(), self.beyond_range, self.cumulated())
    }

    /// The smallest value that at least `parts` of `whole` values do not exceed, `None` without values. `parts` above
    /// `whole` count as all.
    ///
    /// # Panics
    /// When `whole` is 0.
    pub fn value_at(&self, parts: u64, whole: u64) -> Option<u64> {
        assert!(whole > 0, "a share of 0 parts is none");
        let rank = (u128::from(self.count) * u128::from(parts.min(whole))).div_ceil(u128::from(whole)) as u64;
        self.value_at_rank(rank.max(1))
    }

    /// The `rank`-th value in ascending order, from 1; `None` when there are not so many.
    pub fn value_at_rank(&self, rank: u64) -> Option<u64> {
        self.cumulated().find(|reached| reached.count >= rank).map(|reached| reached.value_ns)
    }

    /// Mean and standard deviation of the values within the range, each taken as the middle of its bucket; `None` when
    /// there are none.
    pub fn mean_and_deviation(&self) -> Option<(f64, f64)> {
        let count = (self.count - self.beyond_range) as f64;
        if count == 0.0 {
            return None;
        }
        let middles = || self.buckets.iter().map(|bucket| (middle_of(bucket.value_ns), bucket.count as f64));
        let mean = middles().map(|(middle, weight)| middle * weight).sum::<f64>() / count;
        let variance = middles().map(|(middle, weight)| (middle - mean).powi(2) * weight).sum::<f64>() / count;
        Some((mean, variance.sqrt()))
    }

    /// What would have been seen if nothing had waited for a slow event: for each value above `interval_ns`, the distance at
    /// which events were meant to come, the values that the events held up behind it would have had, one interval less each.
    ///
    /// For values measured from when the work began. Values measured from when an event was due hold this already, and
    /// correcting them would count a stall twice. When one event in N was measured, the interval is N times that of
    /// the events. An interval of 0 corrects nothing. Counts that exceed 64 bits stay at the largest number.
    #[must_use]
    pub fn corrected(&self, interval_ns: u64) -> Self {
        if interval_ns == 0 || self.is_empty() {
            return self.clone();
        }
        let geometry = Geometry::NANOSECONDS;
        let mut counts = vec![0_u64; geometry.index_of(self.max_ns) + 1];
        let beyond = Bucket { value_ns: self.max_ns, count: self.beyond_range };
        let mut beyond_range = self.beyond_range;
        for bucket in self.buckets.iter().chain((self.beyond_range > 0).then_some(&beyond)) {
            if bucket.value_ns <= Recorder::RANGE_MAX_NS {
                let index = geometry.index_of(bucket.value_ns);
                counts[index] = counts[index].saturating_add(bucket.count);
            }
            let mut missing = bucket.value_ns.saturating_sub(interval_ns);
            while missing >= interval_ns {
                let index = geometry.index_of(missing);
                let low = geometry.range_of(index).map_or(missing, |(low, _)| low).max(interval_ns);
                // All multiples that fall into this bucket at once: a minute behind a microsecond is 60 million.
                let steps = (missing - low) / interval_ns + 1;
                let count = bucket.count.saturating_mul(steps);
                if missing > Recorder::RANGE_MAX_NS {
                    beyond_range = beyond_range.saturating_add(count);
                } else {
                    counts[index] = counts[index].saturating_add(count);
                }
                missing = missing.saturating_sub(steps.saturating_mul(interval_ns));
            }
        }
        self.of_counts(&counts, beyond_range)
    }

    /// All values of both, as if one recorder had kept them.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let max_ns = self.max_ns.max(other.max_ns);
        let mut all: Vec<Bucket> = self.uncut_buckets(max_ns).chain(other.uncut_buckets(max_ns)).collect();
        all.sort_by_key(|bucket| bucket.value_ns);
        let mut buckets: Vec<Bucket> = Vec::with_capacity(all.len());
        for bucket in all {
            match buckets.last_mut().filter(|last| last.value_ns == bucket.value_ns) {
                Some(last) => last.count = last.count.saturating_add(bucket.count),
                None => buckets.push(bucket),
            }
        }
        let beyond_range = self.beyond_range.saturating_add(other.beyond_range);
        let count = buckets.iter().fold(beyond_range, |sum, bucket| sum.saturating_add(bucket.count));
        Self { buckets, beyond_range, max_ns, count }
    }

    /// The buckets with the last one, which ends at the largest value here, up to its own end or the larger `max_ns`.
    fn uncut_buckets(&self, max_ns: u64) -> impl Iterator<Item = Bucket> {
        let geometry = Geometry::NANOSECONDS;
        self.buckets.iter().map(move |&bucket| {
            let is_cut = bucket.value_ns == self.max_ns && bucket.value_ns <= Recorder::RANGE_MAX_NS;
            let end_ns =
                || geometry.range_of(geometry.index_of(bucket.value_ns)).map_or(bucket.value_ns, |(_, high)| high);
            let value_ns = if is_cut { end_ns().min(max_ns) } else { bucket.value_ns };
            Bucket { value_ns, ..bucket }
        })
    }

    /// Every bucket, with the values up to there; at the end those beyond the range.
    pub(crate) fn cumulated(&self) -> impl Iterator<Item = Cumulated> {
        let mut count = 0_u64;
        let within = self.buckets.iter().map(move |bucket| {
            count = count.saturating_add(bucket.count);
            Cumulated { value_ns: bucket.value_ns, count }
        });
        let beyond = (self.beyond_range > 0).then_some(Cumulated { value_ns: self.max_ns, count: self.count });
        within.chain(beyond)
    }

    /// As this one, with other counts by index.
    fn of_counts(&self, counts: &[u64], beyond_range: u64) -> Self {
        let bucket = |(index, &count): (usize, &u64)| {
            let (_, high) = Geometry::NANOSECONDS.range_of(index)?;
            (count > 0).then_some(Bucket { value_ns: high.min(self.max_ns), count })
        };
        let buckets: Vec<Bucket> = counts.iter().enumerate().filter_map(bucket).collect();
        let count = buckets.iter().fold(beyond_range, |sum, bucket| sum.saturating_add(bucket.count));
        Self { buckets, beyond_range, max_ns: self.max_ns, count }
    }
}

/// The middle of the bucket of a recorder that this value is in.
fn middle_of(value_ns: u64) -> f64 {
    let geometry = Geometry::NANOSECONDS;
    let range = geometry.range_of(geometry.index_of(value_ns));
    // As HdrHistogram does: the middle of an odd number of values is the upper one.
    range.map_or(value_ns as f64, |(low, high)| (low + (high - low).div_ceil(2)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use proptest::prelude::*;

    /// Values of every magnitude, some beyond the range.
    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (0_u32..40, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
        prop::collection::vec(value, 0..300)
    }

    #[test]
    fn buckets_that_make_no_sense_are_named() {
        let bucket = |value_ns, count| Bucket { value_ns, count };
        let rule = |buckets: &[Bucket], beyond, max| Distribution::new(buckets.to_vec(), beyond, max).unwrap_err();
        assert_eq!(rule(&[bucket(5, 1), bucket(5, 1)], 0, 9).position, 1);
        assert_eq!(rule(&[bucket(5, 0)], 0, 9).rule, "a stored bucket has a count");
        assert_eq!(rule(&[bucket(5, 1)], 0, 4).rule, "no value is above the largest");
        assert_eq!(rule(&[bucket(5, 2)], u64::MAX - 1, 9).rule, "all counts fit 64 bits");
        assert_eq!(Distribution::new(Vec::new(), 0, 7).unwrap(), Distribution::default());
    }

    #[test]
    fn ranks_and_shares_of_four_values() {
        let distribution = Distribution::of_values([10, 20, 30, Recorder::RANGE_MAX_NS * 2]);
        assert_eq!(
            (1..=5).map(|rank| distribution.value_at_rank(rank)).collect::<Vec<_>>(),
            [Some(10), Some(20), Some(30), Some(Recorder::RANGE_MAX_NS * 2), None]
        );
        assert_eq!(distribution.value_at(1, 2), Some(20));
        assert_eq!(distribution.value_at(0, 1), Some(10));
        assert_eq!(distribution.value_at(999_999, 1_000_000), Some(Recorder::RANGE_MAX_NS * 2));
        assert_eq!(Distribution::default().value_at(1, 2), None);
    }

    #[test]
    fn a_stall_is_charged_to_the_events_that_it_held_up() {
        // Ten events a microsecond apart, the last one 5 µs late: four more would have been 4, 3, 2 and 1 µs late.
        let seen = Distribution::of_values([100; 9].into_iter().chain([5_000]));
        let corrected = seen.corrected(1_000);
        assert_eq!(corrected.count(), 14);
        let high = |value: u64| Geometry::NANOSECONDS.range_of(Geometry::NANOSECONDS.index_of(value)).unwrap().1;
        let tail: Vec<u64> = corrected.buckets()[1..].iter().map(|bucket| bucket.value_ns).collect();
        assert_eq!(tail, [high(1_000), high(2_000), high(3_000), high(4_000), 5_000]);
        assert_eq!(seen.corrected(0), seen);
        assert_eq!(seen.corrected(5_000), seen, "nothing was held up");
    }

    #[test]
    fn correcting_what_is_beyond_the_range_ends_in_time_and_loses_nothing() {
        let seen = Distribution::of_values([Recorder::RANGE_MAX_NS + 5_000_000_000]);
        let corrected = seen.corrected(1_000_000_000);
        assert_eq!((corrected.count(), corrected.beyond_range()), (65, 5));
        let extreme = Distribution::new(vec![Bucket { value_ns: u64::MAX, count: u64::MAX }], 0, u64::MAX).unwrap();
        assert_eq!(extreme.corrected(1).max_ns(), Some(u64::MAX));
    }

    #[test]
    fn json_is_pairs_and_is_checked_when_read() {
        let distribution = Distribution::of_values([1, 1, 5_000, Recorder::RANGE_MAX_NS + 1]);
        let json = serde_json::to_value(&distribution).unwrap();
        let expected =
            serde_json::json!({"max_ns": 60_000_000_001_u64, "beyond_range": 1, "buckets": [[1, 2], [5_003, 1]]});
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_value::<Distribution>(json).unwrap(), distribution);
        let wrong = r#"{"max_ns": 9, "beyond_range": 0, "buckets": [[5, 1], [4, 1]]}"#;
        assert!(serde_json::from_str::<Distribution>(wrong).unwrap_err().to_string().contains("values ascend"));
    }

    proptest! {
        #[test]
        fn every_rank_is_that_of_a_sorted_list(values in values(), parts in 0_u64..=1_000_000) {
            let distribution = Distribution::of_values(values.iter().copied());
            let mut sorted = values;
            sorted.sort_unstable();
            let rank = (sorted.len() as u64 * parts).div_ceil(1_000_000).max(1);
            let exact = sorted.get(rank as usize - 1).copied();
            let found = distribution.value_at(parts, 1_000_000);
            prop_assert_eq!(found.is_some(), exact.is_some());
            if let (Some(found), Some(exact)) = (found, exact) {
                if exact <= Recorder::RANGE_MAX_NS {
                    prop_assert!((exact..=exact + exact / 1_000).contains(&found), "{found} for {exact}");
                } else {
                    prop_assert_eq!(found, *sorted.last().unwrap());
                }
            }
        }

        #[test]
        fn summaries_are_those_of_the_recorder(values in values()) {
            let mut recorder = Recorder::new();
            values.iter().for_each(|&value| recorder.record(value));
            prop_assert_eq!(recorder.distribution().summary(), recorder.summary());
        }

        #[test]
        fn merging_is_recording_both(one in values(), other in values()) {
            let merged = Distribution::of_values(one.iter().copied()).merged(&Distribution::of_values(other.iter().copied()));
            let all = Distribution::of_values(one.into_iter().chain(other));
            prop_assert_eq!(merged, all);
        }

        /// Values close to each other share buckets, of which one ends at the largest value of its own side.
        #[test]
        fn merging_neighbours_is_recording_both(
            start in 0..Recorder::RANGE_MAX_NS,
            one in prop::collection::vec(0_u64..5_000, 1..20),
            other in prop::collection::vec(0_u64..5_000, 1..20),
        ) {
            let [one, other] = [one, other].map(|offsets| offsets.into_iter().map(|offset| start + offset).collect::<Vec<_>>());
            let merged = Distribution::of_values(one.iter().copied()).merged(&Distribution::of_values(other.iter().copied()));
            prop_assert_eq!(merged, Distribution::of_values(one.into_iter().chain(other)));
        }

        #[test]
        fn mean_and_deviation_are_those_of_the_hdrhistogram_crate(values in values()) {
            let mut theirs = Histogram::<u64>::new_with_bounds(1, Recorder::RANGE_MAX_NS, 3).unwrap();
            let within: Vec<u64> = values.into_iter().filter(|&value| value <= Recorder::RANGE_MAX_NS).collect();
            within.iter().for_each(|&value| theirs.record(value).unwrap());
            match Distribution::of_values(within).mean_and_deviation() {
                None => prop_assert!(theirs.is_empty()),
                Some((mean, deviation)) => {
                    // The last bucket ends at the largest value here and at its own end there.
                    prop_assert!((mean - theirs.mean()).abs() <= theirs.mean() / 1_000.0 + 1e-9);
                    prop_assert!((deviation - theirs.stdev()).abs() <= (theirs.stdev() + theirs.mean()) / 500.0 + 1e-9);
                }
            }
        }

        #[test]
        fn correction_is_that_of_the_hdrhistogram_crate(
            values in prop::collection::vec(0_u64..3_000_000, 0..50), interval_ns in 500_u64..100_000,
        ) {
            let mut theirs = Histogram::<u64>::new_with_bounds(1, Recorder::RANGE_MAX_NS, 3).unwrap();
            values.iter().for_each(|&value| theirs.record(value).unwrap());
            // Bucket by bucket from its upper end, as here; only the largest value is exact here.
            let recorded = Distribution::of_values(values.iter().copied());
            let corrected = recorded.corrected(interval_ns);
            // One by one: a value, and what each event behind it would have had.
            let held_up = |value_ns: u64| (1..).take_while(move |number| value_ns.saturating_sub(number * interval_ns) >= interval_ns);
            let expected: u64 =
                recorded.buckets().iter().map(|bucket| bucket.count * (1 + held_up(bucket.value_ns).count() as u64)).sum();
            prop_assert_eq!(corrected.count(), expected);
            let theirs = theirs.clone_correct(interval_ns);
            // Theirs goes by the whole bucket, of a 1,024th of the value at most, also where the largest value ends it.
            let difference = corrected.count().abs_diff(theirs.len());
            let of_widths: u64 = values.iter().map(|value| 1 + (value / 1_024 + 1) / interval_ns).sum();
            prop_assert!(difference <= of_widths, "{} and {}", corrected.count(), theirs.len());
            for (parts, whole) in [(1, 2), (9, 10), (99, 100)] {
                if let Some(value) = corrected.value_at(parts, whole) {
                    let other = theirs.value_at_quantile(parts as f64 / whole as f64);
                    prop_assert!(value.abs_diff(other) <= interval_ns + other / 500, "{value} and {other}");
                }
            }
        }
    }
}
