//! How fast events are let in: as fast as they come, at the times they have, or at a rate.

use tickcore_book::TimestampNs;

/// Speed of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pace {
    /// As fast as the cores go.
    #[default]
    Max,
    /// At the exchange times' own distances, this many times as fast: 1.0 is real time.
    Times(f64),
    /// This many events per second, evenly.
    EventsPerSecond(u64),
}

/// Why a pace was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pace {text:?}: write max, realtime, a factor such as 10x or 0.5x, or events per second such as 1000000")]
pub struct PaceError {
    text: String,
}

impl core::str::FromStr for Pace {
    type Err = PaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PaceError { text: text.to_owned() };
        match text {
            "max" => return Ok(Self::Max),
            "realtime" => return Ok(Self::Times(1.0)),
            _ => {}
        }
        if let Some(factor) = text.strip_suffix('x') {
            let factor: f64 = factor.parse().map_err(|_| error())?;
            return if (1e-3..=1e9).contains(&factor) { Ok(Self::Times(factor)) } else { Err(error()) };
        }
        let rate: u64 = text.replace('_', "").parse().map_err(|_| error())?;
        if (1..=1_000_000_000).contains(&rate) { Ok(Self::EventsPerSecond(rate)) } else { Err(error()) }
    }
}

/// Fixed-point fraction bits of a schedule's step.
const FRACTION_BITS: u32 = 32;

/// When each event of a paced run is due, in nanoseconds after its start. The same arithmetic on every core, so that the
/// core that measures needs nothing from the one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    by_time: bool,
    /// Nanoseconds of the run per nanosecond of exchange time, or per event, in 2⁻³² units.
    step: u64,
    /// Exchange time, or number of the event, that is due at once.
    origin: u64,
}

impl Schedule {
    /// The schedule whose first event has this exchange time and number; `None` for [`Pace::Max`].
    pub fn new(pace: Pace, first_time: TimestampNs, first_number: u64) -> Option<Self> {
        let scale = (1_u64 << FRACTION_BITS) as f64;
        match pace {
            Pace::Max => None,
            Pace::Times(factor) => {
                Some(Self { by_time: true, step: (scale / factor) as u64, origin: first_time.get() })
            }
            Pace::EventsPerSecond(rate) => {
                Some(Self { by_time: false, step: (scale * 1e9 / rate as f64) as u64, origin: first_number })
            }
        }
    }

    /// Nanoseconds after the start at which the event with this exchange time and number is due. Times before the first
    /// are due at once.
    #[inline]
    pub fn due_ns(&self, time: TimestampNs, number: u64) -> u64 {
        let distance = if self.by_time { time.get() } else { number }.saturating_sub(self.origin);
        ((u128::from(distance) * u128::from(self.step)) >> FRACTION_BITS) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_are_read_and_nonsense_is_refused() {
        for (text, pace) in [
            ("max", Pace::Max),
            ("realtime", Pace::Times(1.0)),
            ("10x", Pace::Times(10.0)),
            ("0.5x", Pace::Times(0.5)),
            ("1_000_000", Pace::EventsPerSecond(1_000_000)),
        ] {
            assert_eq!(text.parse(), Ok(pace));
        }
        for text in ["", "x", "fast", "0", "-1", "0x", "-2x", "nanx", "infx", "1e30x", "99999999999"] {
            assert!(text.parse::<Pace>().is_err(), "{text}");
        }
    }

    #[test]
    fn events_are_due_at_their_distance_from_the_first() {
        let rate = Schedule::new(Pace::EventsPerSecond(1_000_000), TimestampNs(0), 5).expect("paced");
        assert_eq!(rate.due_ns(TimestampNs(77), 5), 0);
        assert_eq!(rate.due_ns(TimestampNs(0), 1_000_005), 1_000_000_000);
        let third = Schedule::new(Pace::EventsPerSecond(3), TimestampNs(0), 0).expect("paced");
        let day = third.due_ns(TimestampNs(0), 3 * 86_400);
        assert!(86_400_000_000_000 - day < 100_000, "{day}");
        let times = Schedule::new(Pace::Times(10.0), TimestampNs(1_000), 0).expect("paced");
        assert_eq!(times.due_ns(TimestampNs(999), 9), 0);
        assert!(times.due_ns(TimestampNs(101_000), 9).abs_diff(10_000) <= 1);
        assert_eq!(Schedule::new(Pace::Max, TimestampNs(0), 0), None);
    }
}
