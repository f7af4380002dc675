//! How fast events are let in: as fast as they come, at the times they have, or in a shape of load.
//!
//! | written | means |
//! |---|---|
//! | `max` | as fast as the cores go |
//! | `realtime`, `10x`, `0.5x` | at the exchange times' own distances, or these compressed |
//! | `1000000` | events per second, evenly |
//! | `poisson:1000000:7` | so many a second on average, at random distances; the seed is 1 when left away |
//! | `bursts:1000:10ms`, `bursts:1000:10ms:50ns` | that many events every so often, all due at once, or so far apart |
//! | `steps:100000:4000000:16:500ms` | from one rate to another in that many steps of equal ratio, each so long |

use core::fmt;
use core::str::FromStr;

pub use crate::schedule::Schedule;

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
    /// Events at random distances, as many independent senders cause them.
    Poisson {
        /// How many on average.
        events_per_second: u64,
        /// The same seed gives the same distances.
        seed: u64,
    },
    /// Bursts, and nothing between them.
    Bursts {
        /// Events of a burst.
        events: u64,
        /// From the beginning of a burst to that of the next.
        period_ns: u64,
        /// From one event of a burst to the next; 0 when all are due at once.
        spacing_ns: u64,
    },
    /// Rates one after the other, evenly within each, until one is too much.
    Steps {
        /// Events per second of the first step.
        from: u64,
        /// Events per second of the last step, which lasts to the end.
        to: u64,
        /// How many steps: 2 to [`STEPS_MAX`].
        count: u32,
        /// How long each takes.
        step_ns: u64,
    },
}

/// Most steps of [`Pace::Steps`].
pub const STEPS_MAX: usize = 32;

/// Most events per second.
const RATE_MAX: u64 = 1_000_000_000;
/// Longest period of bursts and longest step.
const PERIOD_MAX_NS: u64 = 3_600_000_000_000;

/// Why a pace was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "pace {text:?}: {rule}; write max, realtime, a factor such as 10x, events per second such as 1000000, \
     poisson:RATE[:SEED], bursts:EVENTS:PERIOD[:SPACING] or steps:FROM:TO:COUNT:TIME, times such as 10ms or 50us"
)]
pub struct PaceError {
    text: String,
    rule: &'static str,
}

impl FromStr for Pace {
    type Err = PaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parsed(text).map_err(|rule| PaceError { text: text.to_owned(), rule })
    }
}

fn parsed(text: &str) -> Result<Pace, &'static str> {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        ["max"] => Ok(Pace::Max),
        ["realtime"] => Ok(Pace::Times(1.0)),
        ["poisson", rate] => Ok(Pace::Poisson { events_per_second: parse_rate(rate)?, seed: 1 }),
        ["poisson", rate, seed] => {
            let seed = seed.parse().map_err(|_| "a seed is a number from 0")?;
            Ok(Pace::Poisson { events_per_second: parse_rate(rate)?, seed })
        }
        ["bursts", events, period] => parse_bursts(events, period, "0ns"),
        ["bursts", events, period, spacing] => parse_bursts(events, period, spacing),
        ["steps", from, to, count, time] => {
            let (from, to, step_ns) = (parse_rate(from)?, parse_rate(to)?, parse_duration_ns(time)?);
            let is_allowed = |count: &u32| (2..=STEPS_MAX).contains(&(*count as usize));
            let count = count.parse().ok().filter(is_allowed).ok_or("there are 2 to 32 steps")?;
            if !(1_000_000..=PERIOD_MAX_NS).contains(&step_ns) {
                return Err("a step takes 1 ms to an hour");
            }
            Ok(Pace::Steps { from, to, count, step_ns })
        }
        [one] => match one.strip_suffix('x') {
            Some(factor) => {
                let factor: f64 = factor.parse().map_err(|_| "the factor is no number")?;
                let is_allowed = (1e-3..=1e9).contains(&factor);
                is_allowed.then_some(Pace::Times(factor)).ok_or("a factor is from 0.001 to 1e9")
            }
            None => Ok(Pace::EventsPerSecond(parse_rate(one)?)),
        },
        _ => Err("no shape of load is written so"),
    }
}

fn parse_bursts(events: &str, period: &str, spacing: &str) -> Result<Pace, &'static str> {
    let events: u64 = events.replace('_', "").parse().map_err(|_| "a burst has a number of events")?;
    let (period_ns, spacing_ns) = (parse_duration_ns(period)?, parse_duration_ns(spacing)?);
    if !(1..=1_000_000).contains(&events) {
        return Err("a burst has 1 to 1000000 events");
    }
    if !(1_000..=PERIOD_MAX_NS).contains(&period_ns) {
        return Err("bursts come every 1 us to an hour");
    }
    if spacing_ns.saturating_mul(events) > period_ns {
        return Err("a burst has to end before the next begins");
    }
    Ok(Pace::Bursts { events, period_ns, spacing_ns })
}

fn parse_rate(text: &str) -> Result<u64, &'static str> {
    let rate = text.replace('_', "").parse().ok().filter(|rate| (1..=RATE_MAX).contains(rate));
    rate.ok_or("a rate is from 1 to 1000000000 events per second")
}

fn parse_duration_ns(text: &str) -> Result<u64, &'static str> {
    let units = [("ns", 1), ("us", 1_000), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let found = units.into_iter().find_map(|(unit, ns)| Some((text.strip_suffix(unit)?, ns)));
    let (number, unit_ns) = found.ok_or("a time has a unit: ns, us, ms or s")?;
    let number: u64 = number.trim().parse().map_err(|_| "a time is a whole number with a unit")?;
    number.checked_mul(unit_ns).ok_or("the time is too long")
}

/// The form that [`Pace::from_str`] reads, with every seed.
impl fmt::Display for Pace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Max => formatter.write_str("max"),
            Self::Times(1.0) => formatter.write_str("realtime"),
            Self::Times(factor) => write!(formatter, "{factor}x"),
            Self::EventsPerSecond(rate) => write!(formatter, "{rate}"),
            Self::Poisson { events_per_second, seed } => write!(formatter, "poisson:{events_per_second}:{seed}"),
            Self::Bursts { events, period_ns, spacing_ns: 0 } => {
                write!(formatter, "bursts:{events}:{}", Duration(period_ns))
            }
            Self::Bursts { events, period_ns, spacing_ns } => {
                write!(formatter, "bursts:{events}:{}:{}", Duration(period_ns), Duration(spacing_ns))
            }
            Self::Steps { from, to, count, step_ns } => {
                write!(formatter, "steps:{from}:{to}:{count}:{}", Duration(step_ns))
            }
        }
    }
}

/// Nanoseconds in the largest unit of which they are whole.
struct Duration(u64);

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)];
        match units.into_iter().find(|(_, ns)| self.0 > 0 && self.0.is_multiple_of(*ns)) {
            Some((unit, ns)) => write!(formatter, "{}{unit}", self.0 / ns),
            None => write!(formatter, "{}ns", self.0),
        }
    }
}

/// One rate of [`Pace::Steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateStep {
    /// When it begins, from the start of the run.
    pub start_ns: u64,
    /// Its events per second.
    pub events_per_second: u64,
}

impl Pace {
    /// Distance at which events are due, where that is always the same.
    #[must_use]
    pub fn interval_ns(&self) -> Option<u64> {
        match *self {
            Self::EventsPerSecond(rate) => Some((1_000_000_000 / rate).max(1)),
            _ => None,
        }
    }

    /// The steps of [`Pace::Steps`], in order; of another pace none.
    #[must_use]
    pub fn steps(&self) -> Vec<RateStep> {
        let Self::Steps { from, to, count, step_ns } = *self else { return Vec::new() };
        let step = |number: u32| RateStep {
            start_ns: u64::from(number) * step_ns,
            events_per_second: rate_of_step(from, to, count, number),
        };
        (0..count).map(step).collect()
    }
}

/// Rates of equal ratio; the ends are exact.
pub(crate) fn rate_of_step(from: u64, to: u64, count: u32, number: u32) -> u64 {
    if number == 0 || count < 2 {
        return from;
    }
    if number + 1 >= count {
        return to;
    }
    let share = f64::from(number) / f64::from(count - 1);
    (from as f64 * (to as f64 / from as f64).powf(share)).round().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paces_are_read_and_written() {
        for (text, pace, canonical) in [
            ("max", Pace::Max, "max"),
            ("realtime", Pace::Times(1.0), "realtime"),
            ("10x", Pace::Times(10.0), "10x"),
            ("0.5x", Pace::Times(0.5), "0.5x"),
            ("1_000_000", Pace::EventsPerSecond(1_000_000), "1000000"),
            ("poisson:5", Pace::Poisson { events_per_second: 5, seed: 1 }, "poisson:5:1"),
            ("poisson:1_000:77", Pace::Poisson { events_per_second: 1_000, seed: 77 }, "poisson:1000:77"),
            (
                "bursts:1_000:10ms",
                Pace::Bursts { events: 1_000, period_ns: 10_000_000, spacing_ns: 0 },
                "bursts:1000:10ms",
            ),
            (
                "bursts:10:1500us:50ns",
                Pace::Bursts { events: 10, period_ns: 1_500_000, spacing_ns: 50 },
                "bursts:10:1500us:50ns",
            ),
            (
                "steps:100000:4000000:16:1s",
                Pace::Steps { from: 100_000, to: 4_000_000, count: 16, step_ns: 1_000_000_000 },
                "steps:100000:4000000:16:1s",
            ),
        ] {
            assert_eq!(text.parse(), Ok(pace), "{text}");
            assert_eq!(pace.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(pace), "{canonical}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_rule() {
        for text in ["", "x", "fast", "0", "-1", "0x", "-2x", "nanx", "infx", "1e30x", "99999999999", "max:1"] {
            assert!(text.parse::<Pace>().is_err(), "{text}");
        }
        for (text, rule) in [
            ("poisson", "from 1 to 1000000000"),
            ("poisson:0", "from 1 to 1000000000"),
            ("poisson:1:-1", "seed"),
            ("poisson:1:2:3", "no shape"),
            ("bursts:0:1ms", "1 to 1000000 events"),
            ("bursts:9:1", "has a unit"),
            ("bursts:9:1.5ms", "whole number"),
            ("bursts:9:10ns", "every 1 us"),
            ("bursts:9:1us:200ns", "end before"),
            ("bursts:9:99999999999999s", "too long"),
            ("steps:1:2:1:1s", "2 to 32"),
            ("steps:1:2:33:1s", "2 to 32"),
            ("steps:1:2:2:10us", "1 ms to an hour"),
            ("steps:1:2:2", "no shape"),
        ] {
            let error = text.parse::<Pace>().expect_err(text).to_string();
            assert!(error.contains(rule) && error.contains("poisson:RATE"), "{text}: {error}");
        }
    }

    #[test]
    fn steps_have_equal_ratios_and_exact_ends() {
        let steps = Pace::Steps { from: 1_000, to: 16_000, count: 5, step_ns: 1_000_000 }.steps();
        let rates: Vec<u64> = steps.iter().map(|step| step.events_per_second).collect();
        assert_eq!(rates, [1_000, 2_000, 4_000, 8_000, 16_000]);
        assert_eq!(steps[4].start_ns, 4_000_000);
        assert_eq!(Pace::Max.steps(), []);
        assert_eq!((Pace::EventsPerSecond(1_000_000).interval_ns(), Pace::Max.interval_ns()), (Some(1_000), None));
    }
}
