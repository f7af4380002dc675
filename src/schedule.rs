//! When each event of a paced run is due.
//!
//! A pure function of the event's time and number: every core that asks computes the same, so that the core that measures
//! needs nothing from the one that waits. Nothing is allocated and no state is kept, so a schedule can be asked about any
//! event in any order. Costs 1 to 5 ns.
//!
//! Poisson: distances come from a table of 16,384 quantiles of the exponential distribution in an order that the seed gives.
//! Each round through the table begins at another place of it, also given by the seed. So the distances have exactly the
//! right distribution up to 10 times the mean, and the mean is kept exactly in every round; distances beyond that, one in
//! 33,000 in a true Poisson process, do not occur.

use crate::pace::{Pace, STEPS_MAX, rate_of_step};
use tickcore_book::TimestampNs;

/// Fixed-point fraction bits of a schedule's step.
const FRACTION_BITS: u32 = 32;

/// Distances of the Poisson table, a power of two.
const DISTANCES: usize = 16_384;
/// Fixed-point fraction bits of the sums in it, in units of the mean distance.
const SUM_BITS: u32 = 16;

/// When each event of a paced run is due, in nanoseconds after its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Exchange time, or number of the event, that is due at once.
    origin: u64,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one schedule a run, made on a core that must not allocate")]
enum Shape {
    /// Nanoseconds of the run per nanosecond of exchange time, in 2⁻³² units.
    Times {
        step: u64,
    },
    /// Nanoseconds of the run per event, in 2⁻³² units.
    Even {
        step: u64,
    },
    Poisson {
        step: u64,
        seed: u64,
        sums: [u32; DISTANCES],
    },
    Bursts {
        events: u64,
        period_ns: u64,
        spacing_ns: u64,
    },
    Steps {
        steps: [Step; STEPS_MAX],
        count: usize,
    },
}

/// One rate of a shape of steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    /// Distance of its first event from the first of all.
    first: u64,
    start_ns: u64,
    /// Nanoseconds per event, in 2⁻³² units.
    step: u64,
}

impl Schedule {
    /// The schedule whose first event has this exchange time and number; `None` for [`Pace::Max`].
    pub fn new(pace: Pace, first_time: TimestampNs, first_number: u64) -> Option<Self> {
        let shape = match pace {
            Pace::Max => return None,
            Pace::Times(factor) => {
                let step = ((1_u64 << FRACTION_BITS) as f64 / factor) as u64;
                return Some(Self { origin: first_time.get(), shape: Shape::Times { step } });
            }
            Pace::EventsPerSecond(rate) => Shape::Even { step: step_of(rate) },
            Pace::Poisson { events_per_second, seed } => {
                Shape::Poisson { step: step_of(events_per_second), seed, sums: sums_of_distances(seed) }
            }
            Pace::Bursts { events, period_ns, spacing_ns } => {
                Shape::Bursts { events: events.max(1), period_ns, spacing_ns }
            }
            Pace::Steps { from, to, count, step_ns } => {
                let (steps, count) = steps(from, to, count, step_ns);
                Shape::Steps { steps, count }
            }
        };
        Some(Self { origin: first_number, shape })
    }

    /// Nanoseconds after the start at which the event with this exchange time and number is due. Times before the first
    /// are due at once.
    #[inline]
    pub fn due_ns(&self, time: TimestampNs, number: u64) -> u64 {
        let number = number.saturating_sub(self.origin);
        match &self.shape {
            Shape::Times { step } => scaled(time.get().saturating_sub(self.origin), *step),
            Shape::Even { step } => scaled(number, *step),
            Shape::Poisson { step, seed, sums } => {
                let (round, place) = (number / DISTANCES as u64, number as usize % DISTANCES);
                let start = mix(seed.wrapping_add(round)) as usize % DISTANCES;
                let whole = (DISTANCES as u64) << SUM_BITS;
                let end = start + place;
                // Over the end of the table it goes on at its beginning.
                let passed = if end >= DISTANCES { whole } else { 0 };
                let sum = passed + u64::from(sums[end % DISTANCES]) - u64::from(sums[start]);
                let means = u128::from(round) * u128::from(whole) + u128::from(sum);
                ((means * u128::from(*step)) >> (FRACTION_BITS + SUM_BITS)) as u64
            }
            Shape::Bursts { events, period_ns, spacing_ns } => {
                (number / events).saturating_mul(*period_ns).saturating_add(number % events * spacing_ns)
            }
            Shape::Steps { steps, count } => {
                let reached = steps[..*count].partition_point(|step| step.first <= number);
                let Step { first, start_ns, step } = steps[reached.saturating_sub(1)];
                start_ns.saturating_add(scaled(number - first, step))
            }
        }
    }
}

fn step_of(events_per_second: u64) -> u64 {
    ((1_u64 << FRACTION_BITS) as f64 * 1e9 / events_per_second as f64) as u64
}

#[inline]
fn scaled(distance: u64, step: u64) -> u64 {
    ((u128::from(distance) * u128::from(step)) >> FRACTION_BITS) as u64
}

/// Sums of the distances before each place of the table, in units of the mean.
fn sums_of_distances(seed: u64) -> [u32; DISTANCES] {
    let mut order: [u16; DISTANCES] = core::array::from_fn(|place| place as u16);
    let mut state = seed;
    for place in (1..DISTANCES).rev() {
        state = mix(state.wrapping_add(place as u64));
        order.swap(place, state as usize % (place + 1));
    }
    let distance = |quantile: u16| -(1.0 - (f64::from(quantile) + 0.5) / DISTANCES as f64).ln();
    let total: f64 = order.iter().map(|&quantile| distance(quantile)).sum();
    let unit = (DISTANCES as f64) * f64::from(1_u32 << SUM_BITS) / total;
    let mut sums = [0; DISTANCES];
    let mut sum = 0.0;
    for (place, quantile) in order.into_iter().enumerate() {
        sums[place] = sum as u32;
        sum += distance(quantile) * unit;
    }
    sums
}

fn steps(from: u64, to: u64, count: u32, step_ns: u64) -> ([Step; STEPS_MAX], usize) {
    let mut steps = [Step::default(); STEPS_MAX];
    let count = (count as usize).clamp(1, STEPS_MAX);
    let mut first = 0;
    for (number, step) in steps[..count].iter_mut().enumerate() {
        let rate = rate_of_step(from, to, count as u32, number as u32);
        *step = Step { first, start_ns: number as u64 * step_ns, step: step_of(rate) };
        // At least one event, so that steps are told apart by their first.
        let events = (u128::from(rate) * u128::from(step_ns) / 1_000_000_000).max(1);
        first = first.saturating_add(u64::try_from(events).unwrap_or(u64::MAX));
    }
    (steps, count)
}

/// The finaliser of SplitMix64.
const fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(pace: &str) -> Schedule {
        Schedule::new(pace.parse().unwrap(), TimestampNs(0), 5).expect("paced")
    }

    /// When the first events are due, number 5 the first of them.
    fn dues(pace: &str, count: u64) -> Vec<u64> {
        let schedule = schedule(pace);
        (5..5 + count).map(|number| schedule.due_ns(TimestampNs(77), number)).collect()
    }

    #[test]
    fn events_are_due_at_their_distance_from_the_first() {
        let rate = schedule("1000000");
        assert_eq!(rate.due_ns(TimestampNs(77), 5), 0);
        assert_eq!(rate.due_ns(TimestampNs(77), 1), 0, "before the first");
        assert_eq!(rate.due_ns(TimestampNs(0), 1_000_005), 1_000_000_000);
        let third = Schedule::new(Pace::EventsPerSecond(3), TimestampNs(0), 0).expect("paced");
        let day = third.due_ns(TimestampNs(0), 3 * 86_400);
        assert!(86_400_000_000_000 - day < 100_000, "{day}");
        let times = Schedule::new(Pace::Times(10.0), TimestampNs(1_000), 0).expect("paced");
        assert_eq!(times.due_ns(TimestampNs(999), 9), 0);
        assert!(times.due_ns(TimestampNs(101_000), 9).abs_diff(10_000) <= 1);
        assert_eq!(Schedule::new(Pace::Max, TimestampNs(0), 0), None);
    }

    #[test]
    fn bursts_come_together_and_then_not_for_a_while() {
        assert_eq!(dues("bursts:3:1ms", 7), [0, 0, 0, 1_000_000, 1_000_000, 1_000_000, 2_000_000]);
        assert_eq!(dues("bursts:2:1ms:30ns", 4), [0, 30, 1_000_000, 1_000_030]);
    }

    #[test]
    fn steps_begin_when_they_should_at_the_rate_that_they_should() {
        let schedule = Schedule::new("steps:1000:4000:3:1s".parse().unwrap(), TimestampNs(0), 0).expect("paced");
        let due = |number| schedule.due_ns(TimestampNs(0), number);
        // A thousand events in the first second, two thousand in the next, four thousand in each from there on.
        assert_eq!((due(0), due(1_000), due(3_000)), (0, 1_000_000_000, 2_000_000_000));
        assert_eq!((due(500), due(2_000)), (500_000_000, 1_500_000_000));
        assert_eq!((due(3_004), due(11_000)), (2_001_000_000, 4_000_000_000));
    }

    /// The variance of counts in windows over their mean: 1 for a Poisson process, 0 for even distances.
    fn dispersion(dues: &[u64], window_ns: u64) -> f64 {
        let windows = dues.last().unwrap() / window_ns;
        let mut counts = vec![0.0; windows as usize];
        dues.iter().filter_map(|due| usize::try_from(due / window_ns).ok()).for_each(|window| {
            if let Some(count) = counts.get_mut(window) {
                *count += 1.0;
            }
        });
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / counts.len() as f64 / mean
    }

    #[test]
    fn poisson_events_are_as_irregular_as_they_should_be() {
        for seed in [1, 2, 99] {
            let dues = dues(&format!("poisson:1000000:{seed}"), 1_000_000);
            let mean = *dues.last().unwrap() as f64 / 1e6;
            assert!((mean - 1_000.0).abs() < 3.0, "mean {mean}");
            let mut distances: Vec<u64> = dues.windows(2).map(|pair| pair[1] - pair[0]).collect();
            distances.sort_unstable();
            // Against the exponential distribution, share by share.
            for share in [0.01, 0.1, 0.5, 0.9, 0.99, 0.999] {
                let found = distances[(distances.len() as f64 * share) as usize] as f64;
                let wanted = -(1.0_f64 - share).ln() * 1_000.0;
                assert!((found - wanted).abs() < 2.0 + wanted * 0.03, "{share}: {found} for {wanted}");
            }
            // One table has few of the long windows, so theirs is known less well.
            for (window_ns, tolerance) in [(2_000, 0.1), (20_000, 0.15), (100_000, 0.4)] {
                let found = dispersion(&dues, window_ns);
                assert!((found - 1.0).abs() < tolerance, "{found} in windows of {window_ns}");
            }
        }
        let even = dispersion(&dues("1000000", 100_000), 20_000);
        assert!(even < 0.01, "even distances are told from random ones: {even}");
        assert_ne!(dues("poisson:1000:1", 100), dues("poisson:1000:2", 100), "seeds differ");
    }

    proptest! {
        /// Whatever the shape, later events are not due earlier, and any order of asking gives the same.
        #[test]
        fn due_times_never_go_back(start in 0_u64..5_000_000, rate in 1_u64..1_000_000_000, seed in any::<u64>()) {
            let shapes = [
                Pace::EventsPerSecond(rate),
                Pace::Poisson { events_per_second: rate, seed },
                Pace::Bursts { events: 1 + seed % 1_000, period_ns: 1_000_000, spacing_ns: seed % 1_000 },
                Pace::Steps { from: rate, to: 1 + seed % 1_000_000, count: 2 + (seed % 31) as u32, step_ns: 5_000_000 },
            ];
            for pace in shapes {
                let schedule = Schedule::new(pace, TimestampNs(0), 3).expect("paced");
                prop_assert_eq!(schedule.due_ns(TimestampNs(0), 3), 0);
                let dues: Vec<u64> = (start..start + 300).map(|number| schedule.due_ns(TimestampNs(0), number)).collect();
                prop_assert!(dues.is_sorted(), "{pace}: {dues:?}");
            }
        }
    }
}
