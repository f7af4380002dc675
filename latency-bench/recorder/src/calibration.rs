//! A fixed piece of work, timed: how fast this machine was just then, so that figures of two runs can be set side by side.
//!
//! Each step loads from a table of 4 MiB at a place that depends on the step before, and mixes what it found: a chain of
//! multiplications and cache misses, as book building is one. It says how fast a core and its caches were, not the disk.
//! Takes about 40 ms.

use crate::clock::Clock;
use serde::{Deserialize, Serialize};

/// Words of the table: more than a core's second-level cache.
const TABLE_WORDS: usize = 1 << 19;
const STEPS_PER_TRY: u64 = 10_000;
const TRIES: usize = 101;

/// How long a step took over some tries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationFigure {
    /// The median of the tries, in nanoseconds a step.
    pub step_ns: f64,
    /// A quarter of the tries were faster than this.
    pub low_ns: f64,
    /// A quarter of the tries were slower than this.
    pub high_ns: f64,
}

/// The machine's speed around a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Just before it.
    pub before: CalibrationFigure,
    /// Just after it.
    pub after: CalibrationFigure,
}

impl CalibrationFigure {
    /// Times the work now, on the calling thread.
    #[must_use]
    pub fn measure(clock: &Clock) -> Self {
        let table: Vec<u64> = (0..TABLE_WORDS as u64).map(mix).collect();
        let mut state = 1;
        let mut tries = [0.0_f64; TRIES];
        for one in &mut tries {
            let start = clock.now_fenced();
            for _ in 0..STEPS_PER_TRY {
                state = mix(state ^ table[state as usize % TABLE_WORDS]);
            }
            *one = clock.ns_between(start, clock.now()) as f64 / STEPS_PER_TRY as f64;
        }
        core::hint::black_box(state);
        tries.sort_by(f64::total_cmp);
        Self { step_ns: tries[TRIES / 2], low_ns: tries[TRIES / 4], high_ns: tries[TRIES * 3 / 4] }
    }
}

impl Calibration {
    /// Nanoseconds a step over the run: the mean of before and after.
    pub fn step_ns(&self) -> f64 {
        f64::midpoint(self.before.step_ns, self.after.step_ns)
    }

    /// By how much the machine changed meanwhile, as a share: what is larger of the difference between before and after and
    /// the spread of the middle half of the tries.
    pub fn drift(&self) -> f64 {
        let spread = |figure: &CalibrationFigure| figure.high_ns / figure.low_ns - 1.0;
        let (one, other) = (self.before.step_ns, self.after.step_ns);
        (one.max(other) / one.min(other) - 1.0).max(spread(&self.before)).max(spread(&self.after))
    }

    /// Whether the figures are of a clock that ran: positive and finite, in the order of their names.
    pub fn is_sound(&self) -> bool {
        let is_sound = |figure: &CalibrationFigure| {
            figure.low_ns > 0.0
                && figure.low_ns <= figure.step_ns
                && figure.step_ns <= figure.high_ns
                && figure.high_ns.is_finite()
        };
        is_sound(&self.before) && is_sound(&self.after)
    }
}

/// The finaliser of SplitMix64.
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_speed_that_can_be_true() {
        let clock = Clock::calibrate();
        let before = CalibrationFigure::measure(&clock);
        let calibration = Calibration { before, after: CalibrationFigure::measure(&clock) };
        assert!(calibration.is_sound(), "{calibration:?}");
        assert!((0.5..10_000.0).contains(&calibration.step_ns()), "{calibration:?}");
    }

    #[test]
    fn drift_is_the_larger_of_change_and_spread() {
        let figure = |step_ns| CalibrationFigure { step_ns, low_ns: step_ns * 0.99, high_ns: step_ns * 1.01 };
        let still = Calibration { before: figure(10.0), after: figure(10.0) };
        assert!((still.drift() - 0.0202).abs() < 1e-3, "{}", still.drift());
        let moved = Calibration { before: figure(11.0), after: figure(10.0) };
        assert!((moved.drift() - 0.1).abs() < 1e-9);
        assert_eq!(moved.step_ns(), 10.5);
        assert!(moved.is_sound());
        assert!(!Calibration { before: figure(0.0), ..moved }.is_sound());
    }
}
