//! The median of paired differences, and the interval that holds the true one.
//!
//! Which and why: the two sides of a pair run one right after the other in random order. So whatever the noise, and however
//! the machine drifts, equal commands give differences that lie as likely on this side of 0 as on that, and how many lie on
//! one side is a number of tosses of a fair coin. The interval (from one ordered difference to another, the sign test turned
//! round) rests on nothing else: its error is exact for any number of pairs and any tails, and a disturbed run weighs as
//! much as any other, however long it took.
//!
//! On simulated runs of which one in eight is disturbed it finds a slow-down of 5 % more often than Wilcoxon's signed ranks
//! (which weigh a disturbed pair most), and a bootstrap of so few pairs cries wolf more often than it says; the tests of
//! [`compare_pairs`](super::compare_pairs) have the figures. Where noise is even and small, signed ranks need a third
//! fewer pairs: that is the price.

/// Most pairs.
pub const PAIRS_MAX: usize = 1_000;

/// Where the median of all possible differences lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MedianInterval {
    /// The median of those that were seen.
    pub median: f64,
    /// The true one is not below this but for the stated error; −∞ when there are too few pairs to say.
    pub low: f64,
    /// The true one is not above this but for the stated error; ∞ when there are too few pairs to say.
    pub high: f64,
}

/// The interval of some differences, each end wrong with a probability of at most `error`. `None` without differences.
///
/// # Panics
/// If there are more than [`PAIRS_MAX`] differences, or one is not a number.
#[must_use]
pub fn median_interval(differences: &[f64], error: f64) -> Option<MedianInterval> {
    assert!(differences.len() <= PAIRS_MAX, "{} pairs, at most {PAIRS_MAX}", differences.len());
    assert!(differences.iter().all(|difference| !difference.is_nan()), "a difference is a number");
    if differences.is_empty() {
        return None;
    }
    let mut sorted = differences.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = match outside(sorted.len(), error) {
        0 => (f64::NEG_INFINITY, f64::INFINITY),
        cut => (sorted[cut - 1], sorted[sorted.len() - cut]),
    };
    Some(MedianInterval { median: super::median(&sorted), low, high })
}

/// Fewest pairs with which an interval of this error has ends.
#[must_use]
pub fn pairs_needed(error: f64) -> usize {
    (1..=PAIRS_MAX).find(|&pairs| outside(pairs, error) > 0).unwrap_or(PAIRS_MAX)
}

/// How many differences may lie outside of the interval on each side, and one: the largest k such that fewer than k heads in
/// as many tosses as there are pairs have at most that probability. 0 when even no heads at all have more.
fn outside(pairs: usize, error: f64) -> usize {
    let mut probability = 0.5_f64.powi(pairs as i32);
    let mut total = 0.0;
    let mut count = 0;
    for heads in 0..pairs {
        total += probability;
        if total > error {
            break;
        }
        count = heads + 1;
        probability *= (pairs - heads) as f64 / (heads + 1) as f64;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_are_those_of_the_published_tables() {
        // Critical values of the sign test, one-sided 2.5 % and 0.5 %, plus 1.
        for (pairs, at_025, at_005) in
            [(5, 0, 0), (6, 1, 0), (8, 1, 1), (10, 2, 1), (12, 3, 2), (15, 4, 3), (20, 6, 4), (25, 8, 6), (50, 18, 16)]
        {
            assert_eq!(outside(pairs, 0.025), at_025, "{pairs} pairs");
            assert_eq!(outside(pairs, 0.005), at_005, "{pairs} pairs");
        }
        assert_eq!((pairs_needed(0.025), pairs_needed(0.005)), (6, 8));
        assert!((400..500).contains(&outside(PAIRS_MAX, 0.025)));
    }

    #[test]
    fn few_pairs_have_a_median_and_no_ends() {
        let interval = median_interval(&[1.0, 2.0, 6.0], 0.025).unwrap();
        assert_eq!((interval.median, interval.low, interval.high), (2.0, f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(median_interval(&[], 0.025), None);
    }

    #[test]
    fn the_largest_difference_weighs_no_more_than_another() {
        let mut differences: Vec<f64> = (0..20).map(f64::from).collect();
        let before = median_interval(&differences, 0.025);
        differences[19] = 1e9;
        assert_eq!(median_interval(&differences, 0.025), before);
        assert_eq!(before, Some(MedianInterval { median: 9.5, low: 5.0, high: 14.0 }));
    }

    proptest! {
        #[test]
        fn what_moves_all_differences_moves_the_answer(
            differences in prop::collection::vec(-100_i32..100, 6..40), moved in -1_000_i32..1_000,
        ) {
            let of = |by: i32| {
                let moved: Vec<f64> = differences.iter().map(|difference| f64::from(difference + by)).collect();
                median_interval(&moved, 0.025).unwrap()
            };
            let (still, shifted) = (of(0), of(moved));
            prop_assert_eq!(shifted.median, still.median + f64::from(moved));
            prop_assert_eq!(shifted.low, still.low + f64::from(moved));
            prop_assert!(still.low <= still.median && still.median <= still.high);
        }
    }
}
