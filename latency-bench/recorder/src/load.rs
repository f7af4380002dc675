//! Steps of load: at which rate a program still keeps up.

use serde::{Deserialize, Serialize};

/// Share of the offered events that have to come through.
const KEPT_UP_SHARE: f64 = 0.99;

/// Longest p99 at which a rate counts as carried.
pub const KNEE_P99_NS: u64 = 100_000;

/// One rate, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadStep {
    /// From the beginning of the run.
    pub start_ns: u64,
    /// How long it was offered.
    pub length_ns: u64,
    /// Events per second that were offered.
    pub offered: f64,
    /// Events per second that were applied.
    pub achieved: f64,
    /// The 99th percentile of latency in it, where it was measured by interval.
    pub p99_ns: Option<u64>,
}

impl LoadStep {
    /// Whether the rate was carried: at least 99 % came through in time, and p99, if known, within [`KNEE_P99_NS`].
    pub fn is_carried(&self) -> bool {
        self.achieved >= self.offered * KEPT_UP_SHARE && self.p99_ns.is_none_or(|p99_ns| p99_ns <= KNEE_P99_NS)
    }
}

/// The knee: the highest rate that was carried, with all lower ones carried too. `None` when the first was not.
#[must_use]
pub fn knee(steps: &[LoadStep]) -> Option<f64> {
    steps.iter().take_while(|step| step.is_carried()).map(|step| step.offered).reduce(f64::max)
}

/// Events that were applied at `at_ns`, by straight lines between samples of (time, events), ascending; `None` outside of
/// them.
#[must_use]
pub fn events_at(samples: &[(u64, u64)], at_ns: u64) -> Option<f64> {
    let after = samples.partition_point(|sample| sample.0 < at_ns);
    let later = samples.get(after)?;
    if later.0 == at_ns {
        return Some(later.1 as f64);
    }
    let earlier = samples.get(after.checked_sub(1)?)?;
    let share = (at_ns - earlier.0) as f64 / (later.0 - earlier.0) as f64;
    Some(earlier.1 as f64 + share * later.1.saturating_sub(earlier.1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(offered: f64, achieved: f64, p99_ns: Option<u64>) -> LoadStep {
        LoadStep { start_ns: 0, length_ns: 1, offered, achieved, p99_ns }
    }

    #[test]
    fn the_knee_is_the_last_rate_before_the_first_that_was_too_much() {
        let good = |rate| step(rate, rate, Some(900));
        assert_eq!(knee(&[good(1.0), good(2.0), step(4.0, 3.0, Some(900)), good(8.0)]), Some(2.0));
        assert_eq!(knee(&[good(1.0), step(2.0, 2.0, Some(KNEE_P99_NS + 1))]), Some(1.0));
        assert_eq!(knee(&[step(1.0, 0.9, None)]), None);
        assert_eq!(knee(&[step(1.0, 0.995, None), step(2.0, 2.1, None)]), Some(2.0));
        assert_eq!(knee(&[]), None);
    }

    #[test]
    fn events_lie_on_lines_between_samples() {
        let samples = [(100, 0), (200, 50), (400, 50)];
        let at = [50, 100, 150, 200, 300, 400, 401].map(|at_ns| events_at(&samples, at_ns));
        assert_eq!(at, [None, Some(0.0), Some(25.0), Some(50.0), Some(50.0), Some(50.0), None]);
    }
}
