//! Time within the synthetic day: nanoseconds since midnight, never going back, in bursts.
//!
//! Messages come in bursts of a few to a few dozen, nanoseconds to microseconds apart; the silence between bursts is
//! hyperexponential (mostly short, sometimes long) with the mean that spreads what is left of a part over what is
//! left of its time.

use super::rng::{EXPONENTIAL_FRACTION_BITS, PROBABILITY_ONE, Rng};

/// Nanoseconds since midnight of a time of day.
pub(crate) const fn time_of_day_ns(hours: u64, minutes: u64) -> u64 {
    (hours * 60 + minutes) * 60 * 1_000_000_000
}

/// Share of bursts after which the silence is long, and how a long and a short silence compare with the mean:
/// 1/8 × 5.2 + 7/8 × 0.4 = 1.
const LONG_SILENCE_PROBABILITY: u32 = PROBABILITY_ONE / 8;
const LONG_SILENCE_TENTHS: u64 = 52;
const SHORT_SILENCE_TENTHS: u64 = 4;

/// Messages of a burst: at least this many, and a geometric number of further groups of as many.
const BURST_GROUP: u32 = 6;

/// Widest gap inside a burst is 2 to this power, in nanoseconds.
const BURST_GAP_BITS: u32 = 13;

/// The clock of the exchange.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    now_ns: u64,
    end_ns: u64,
    messages_left: u64,
    burst_left: u32,
}

impl Clock {
    /// At midnight.
    pub(crate) fn new() -> Self {
        Self { now_ns: 0, end_ns: 0, messages_left: 0, burst_left: 0 }
    }

    /// Begins a part of the day that has `messages` from `start_ns` up to, not including, `end_ns`.
    pub(crate) fn begin(&mut self, start_ns: u64, end_ns: u64, messages: u64) {
        debug_assert!(self.now_ns <= start_ns && start_ns < end_ns, "parts of the day follow each other");
        *self = Self { now_ns: start_ns, end_ns, messages_left: messages, burst_left: 0 };
    }

    /// Moves on to the next message and returns its time.
    #[inline]
    pub(crate) fn tick(&mut self, rng: &mut Rng) -> u64 {
        if self.burst_left == 0 {
            self.burst_left = BURST_GROUP * (1 + rng.runs_of_heads());
            let mean_gap_ns = (self.end_ns - self.now_ns) / self.messages_left.max(1);
            let tenths = if rng.chance(LONG_SILENCE_PROBABILITY) { LONG_SILENCE_TENTHS } else { SHORT_SILENCE_TENTHS };
            let mean_silence_ns = mean_gap_ns * u64::from(self.burst_left) * tenths / 10;
            let silence_ns = (u128::from(mean_silence_ns) * u128::from(rng.exponential())) >> EXPONENTIAL_FRACTION_BITS;
            self.advance(silence_ns as u64);
        } else {
            let gap_ns = rng.log_uniform(BURST_GAP_BITS);
            self.advance(u64::from(gap_ns));
        }
        self.burst_left -= 1;
        self.messages_left = self.messages_left.saturating_sub(1);
        self.now_ns
    }

    /// The next message comes at the same time as the last: returns it.
    #[inline]
    pub(crate) fn stand_still(&mut self) -> u64 {
        self.messages_left = self.messages_left.saturating_sub(1);
        self.now_ns
    }

    fn advance(&mut self, nanoseconds: u64) {
        self.now_ns = self.now_ns.saturating_add(nanoseconds).min(self.end_ns - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_stays_in_its_part_and_comes_in_bursts() {
        const MESSAGES: u64 = 100_000;
        let (start_ns, end_ns) = (time_of_day_ns(9, 30), time_of_day_ns(10, 0));
        let mut rng = Rng::new(5);
        let mut clock = Clock::new();
        clock.begin(start_ns, end_ns, MESSAGES);
        let times: Vec<u64> = (0..MESSAGES).map(|_| clock.tick(&mut rng)).collect();
        assert!(times.is_sorted());
        assert!(times[0] >= start_ns && times[times.len() - 1] < end_ns);

        let half_way = start_ns + (end_ns - start_ns) / 2;
        let before = times.partition_point(|&time_ns| time_ns < half_way);
        assert!((40_000..60_000).contains(&before), "{before} of {MESSAGES} in the first half");

        let mean_gap_ns = (end_ns - start_ns) / MESSAGES;
        let close = times.windows(2).filter(|pair| pair[1] - pair[0] < mean_gap_ns / 100).count();
        assert!(close > 80_000, "{close} gaps are far below the mean: uniform times would have 1,000");
    }

    #[test]
    fn more_messages_than_nanoseconds_stay_in_their_part() {
        let mut rng = Rng::new(6);
        let mut clock = Clock::new();
        clock.begin(100, 110, 50);
        let times: Vec<u64> = (0..60).map(|_| clock.tick(&mut rng)).collect();
        assert!(times.iter().all(|time_ns| (100..110).contains(time_ns)));
    }
}
