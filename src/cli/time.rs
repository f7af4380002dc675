//! Times on the command line and in output: RFC 3339 with a session date, nanoseconds since midnight without.

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use jiff::civil::Time;
use tickcore::book::TimestampNs;
use tickcore::feed::session::SessionDate;

/// What times of an input mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeBase {
    /// Nanoseconds since the Unix epoch; midnight of the session in New York, if it is known.
    Epoch {
        /// Midnight of the session.
        midnight: Option<TimestampNs>,
    },
    /// Nanoseconds since midnight of a day that nobody named.
    Midnight,
}

impl TimeBase {
    /// What times of a journal mean whose first event is of this time.
    pub(crate) fn of_journal(has_times_since_midnight: bool, first: Option<TimestampNs>) -> Self {
        if has_times_since_midnight {
            return Self::Midnight;
        }
        Self::Epoch { midnight: first.and_then(SessionDate::of).map(SessionDate::midnight) }
    }

    /// Reads a time of the command line: a time of day in New York, or RFC 3339.
    pub(crate) fn parse(self, text: &str) -> Result<TimestampNs> {
        if let Ok(time) = text.parse::<Time>() {
            let since_midnight = time.duration_since(Time::midnight()).as_nanos();
            let since_midnight = u64::try_from(since_midnight).context("a time of day lies after midnight")?;
            return match self {
                Self::Midnight => Ok(TimestampNs(since_midnight)),
                // As the decoder adds them; the clocks change on Sundays, when no session is held.
                Self::Epoch { midnight: Some(midnight) } => Ok(TimestampNs(midnight.get() + since_midnight)),
                Self::Epoch { midnight: None } => {
                    bail!("{text}: this input's session date is not known; write the time as RFC 3339, or give --date")
                }
            };
        }
        let time: Timestamp = text.parse().map_err(|_| {
            anyhow::anyhow!(
                "{text}: not a time; write HH:MM, HH:MM:SS.fraction, or RFC 3339 such as 2020-01-30T14:30:00Z"
            )
        })?;
        if self == Self::Midnight {
            bail!("{text}: this input has no session date; write a time of day, or give --date")
        }
        let nanoseconds = u64::try_from(time.as_nanosecond()).with_context(|| format!("{text}: before 1970"))?;
        Ok(TimestampNs(nanoseconds))
    }

    /// How a time is written: RFC 3339 with nine digits, or an integer.
    pub(crate) fn format(self, time: TimestampNs) -> String {
        if self == Self::Midnight {
            return time.get().to_string();
        }
        match Timestamp::from_nanosecond(i128::from(time.get())) {
            Ok(timestamp) => format!("{timestamp:.9}"),
            Err(_) => time.get().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: TimestampNs = TimestampNs(1_580_360_400_000_000_000);

    #[test]
    fn times_of_day_and_moments_are_read() {
        let dated = TimeBase::Epoch { midnight: Some(MIDNIGHT) };
        let opening = TimestampNs(MIDNIGHT.get() + 34_200_000_000_000);
        assert_eq!(dated.parse("09:30").expect("a time"), opening);
        assert_eq!(dated.parse("2020-01-30T14:30:00Z").expect("a time"), opening);
        assert_eq!(dated.format(opening), "2020-01-30T14:30:00.000000000Z");
        assert_eq!(TimeBase::of_journal(false, Some(opening)), dated, "the day of the first event");
        assert_eq!(TimeBase::of_journal(true, Some(opening)), TimeBase::Midnight);
        assert_eq!(TimeBase::Midnight.parse("00:00:00.000000005").expect("a time"), TimestampNs(5));
        assert_eq!(TimeBase::Midnight.format(TimestampNs(5)), "5");
    }

    #[test]
    fn what_is_no_time_or_has_no_date_is_refused() {
        for text in ["", "noon", "25:00", "1.5"] {
            assert!(TimeBase::Midnight.parse(text).is_err(), "{text}");
        }
        assert!(TimeBase::Midnight.parse("2020-01-30T14:30:00Z").is_err());
        assert!(TimeBase::Epoch { midnight: None }.parse("09:30").is_err());
    }
}
