//! The session of an input: the date it belongs to, and what is said where one session follows another.
//!
//! ITCH messages carry nanoseconds since midnight Eastern. To make them times since the epoch the date must be known: it
//! is given, or read from the file's name. Midnight comes from the rule for New York that has held since 2007, so no
//! time zone database is needed; dates before 2007 are refused.

use core::fmt;
use core::str::FromStr;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::path::Path;
use tickcore_book::{Event, Flags, InstrumentId, Kind, OrderId, TimestampNs};

/// Word 2 of the SessionEvent that stands before each session but the first.
pub const NEW_SESSION_CODE: u8 = b'N';

/// New York since 2007: daylight saving from the second Sunday in March to the first in November.
const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";

/// First year that [`NEW_YORK`] holds for.
const FIRST_YEAR: i16 = 2007;

/// Last year that is taken for a session's: later ones are no dates but other numbers in a name.
const LAST_YEAR: i16 = 2199;

/// The calendar day of a session, 2007 to 2199.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionDate(Date);

/// Text that is no session date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is no session date: expected a day from {FIRST_YEAR} to {LAST_YEAR} as 2020-01-30, 20200130 or 01302020"
)]
pub struct SessionDateError {
    /// What was given.
    pub text: String,
}

impl SessionDate {
    /// The day, or `None` when the calendar has no such day or it is outside 2007 to 2199.
    #[must_use]
    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        if !(FIRST_YEAR..=LAST_YEAR).contains(&year) {
            return None;
        }
        Date::new(year, month, day).ok().map(Self)
    }

    /// The date in a file's name, or `None` when there is none or more than one.
    ///
    /// Understood are `2020-01-30`, `20200130` and `01302020` with no digit beside them, and `S013020` as Nasdaq names
    /// its files, the last only when its digits are a date in no other order. Folders are not looked at.
    #[must_use]
    pub fn from_file_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let mut dates = dates_in(name);
        dates.sort_unstable();
        dates.dedup();
        match dates[..] {
            [date] => Some(date),
            _ => None,
        }
    }

    /// The day in New York at this moment, or `None` when it is outside 2007 to 2199.
    #[must_use]
    pub fn of(moment: TimestampNs) -> Option<Self> {
        let moment = Timestamp::from_nanosecond(i128::from(moment.get())).ok()?;
        let new_york = TimeZone::posix(NEW_YORK).expect("the rule for New York is well formed");
        let date = new_york.to_datetime(moment).date();
        Self::new(date.year(), date.month(), date.day())
    }

    /// Midnight in New York at the start of this day.
    #[must_use]
    pub fn midnight(self) -> TimestampNs {
        let new_york = TimeZone::posix(NEW_YORK).expect("the rule for New York is well formed");
        let midnight = self.0.at(0, 0, 0, 0);
        let midnight = new_york.to_timestamp(midnight).expect("days from 2007 to 2199 are in jiff's range");
        let nanoseconds = midnight.as_nanosecond();
        TimestampNs(u64::try_from(nanoseconds).expect("nanoseconds since 1970 of a day before 2200 fit 64 bits"))
    }
}

impl fmt::Display for SessionDate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl FromStr for SessionDate {
    type Err = SessionDateError;

    /// Reads `2020-01-30`, `20200130` or `01302020`.
    fn from_str(text: &str) -> Result<Self, SessionDateError> {
        let date = match text.len() {
            8 => eight_digits(text),
            10 => with_hyphens(text),
            _ => None,
        };
        date.ok_or_else(|| SessionDateError { text: text.to_owned() })
    }
}

/// The two events that stand between one session and the next in one stream of events: a SessionEvent with
/// [`NEW_SESSION_CODE`] and a Clear of all instruments, both at `midnight` of the session that begins (0 without a date).
#[must_use]
pub fn session_boundary(midnight: Option<TimestampNs>) -> [Event; 2] {
    let midnight = midnight.unwrap_or_default();
    let event = |kind| Event { flags: Flags::LAST, ..Event::new(kind, InstrumentId::ALL, midnight) };
    [Event { order_id: OrderId(u64::from(NEW_SESSION_CODE)), ..event(Kind::SessionEvent) }, event(Kind::Clear)]
}

/// Every date in a name, in order, with repetitions.
fn dates_in(name: &str) -> Vec<SessionDate> {
    let mut dates = Vec::new();
    let mut from = 0;
    while let Some(offset) = name[from..].find(|letter: char| letter.is_ascii_digit()) {
        let start = from + offset;
        let digits = name[start..].bytes().take_while(u8::is_ascii_digit).count();
        let end = start + digits;
        from = end;
        match digits {
            8 => dates.extend(eight_digits(&name[start..end])),
            6 if stands_after_lone_s(&name[..start]) => dates.extend(six_digits(&name[start..end])),
            4 => {
                let is_bounded = !name.as_bytes().get(end + 6).is_some_and(u8::is_ascii_digit);
                if let Some(date) = name.get(start..start + 10).and_then(with_hyphens).filter(|_| is_bounded) {
                    dates.push(date);
                    from = start + 10;
                }
            }
            _ => {}
        }
    }
    dates
}

/// Whether the text ends with an `S` that begins a word.
fn stands_after_lone_s(before: &str) -> bool {
    before.strip_suffix('S').is_some_and(|rest| !rest.ends_with(|letter: char| letter.is_alphanumeric()))
}

/// `20200130` or `01302020`. Never both: no month is 20 or 21.
fn eight_digits(text: &str) -> Option<SessionDate> {
    let number = digits(text)?;
    date(number / 10_000, number / 100 % 100, number % 100)
        .or_else(|| date(number % 10_000, number / 1_000_000, number / 10_000 % 100))
}

/// `013020`, unless it is a date with the year in front as well.
fn six_digits(text: &str) -> Option<SessionDate> {
    let number = digits(text)?;
    let (first, second, third) = (number / 10_000, number / 100 % 100, number % 100);
    let year_last = date(2000 + third, first, second);
    let year_first = date(2000 + first, second, third);
    year_last.filter(|_| year_first.is_none() || year_first == year_last)
}

/// `2020-01-30`.
fn with_hyphens(text: &str) -> Option<SessionDate> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || (year.len(), month.len(), day.len()) != (4, 2, 2) {
        return None;
    }
    date(digits(year)?, digits(month)?, digits(day)?)
}

/// The number that a text of digits and nothing else stands for.
fn digits(text: &str) -> Option<u32> {
    if text.bytes().all(|letter| letter.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn date(year: u32, month: u32, day: u32) -> Option<SessionDate> {
    SessionDate::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i16, month: i8, day: i8) -> Option<SessionDate> {
        SessionDate::new(year, month, day)
    }

    #[test]
    fn dates_are_found_in_file_names() {
        for (name, expected) in [
            ("01302020.NASDAQ_ITCH50", day(2020, 1, 30)),
            ("20190130.BX_ITCH_50.gz", day(2019, 1, 30)),
            ("bbekele_20191230_head40k.itch", day(2019, 12, 30)),
            ("runk_AAPL_20200130_first6000.itch", day(2020, 1, 30)),
            ("S013020-v50.txt.gz", day(2020, 1, 30)),
            ("itch-2020-01-30.zst", day(2020, 1, 30)),
            ("2020-01-30", day(2020, 1, 30)),
            ("2020-01-30_20200130.itch", day(2020, 1, 30)),
            ("12302019", day(2019, 12, 30)),
            ("02292020.itch", day(2020, 2, 29)),
            ("Ä20200130ß", day(2020, 1, 30)),
            // Not dates.
            ("", None),
            ("sample.itch", None),
            ("lukefasanello_head4k.itch", None),
            ("02292019.itch", None),
            ("13302020.itch", None),
            ("20201301.itch", None),
            ("2020-1-30.itch", None),
            ("2020-01-301.itch", None),
            ("2020-02-30.itch", None),
            ("120200130.itch", None),
            ("202001301.itch", None),
            ("20061230.itch", None),
            ("22000101.itch", None),
            ("013020.itch", None),
            ("PITS013020.itch", None),
            // Both 11 Oct 2012 and 12 Nov 2010.
            ("S101112.itch", None),
            // Two different days.
            ("20200130-20200131.itch", None),
        ] {
            assert_eq!(SessionDate::from_file_name(Path::new(name)), expected, "{name}");
        }
        assert_eq!(SessionDate::from_file_name(Path::new("/20200130/x.itch")), None, "folders do not count");
        assert_eq!(SessionDate::from_file_name(Path::new("..")), None);
    }

    #[test]
    fn a_given_date_is_read_or_refused_with_the_forms() {
        for text in ["2020-01-30", "20200130", "01302020"] {
            let date: SessionDate = text.parse().unwrap();
            assert_eq!(date.to_string(), "2020-01-30");
        }
        for text in ["", "2020-01-32", "30.01.2020", "+2020130", "2020-+1-30", "1999-12-31", "20200130 ", "２０２０"]
        {
            let error = text.parse::<SessionDate>().unwrap_err();
            assert!(error.to_string().contains("expected a day from 2007 to 2199 as 2020-01-30"), "{error}");
        }
    }

    #[test]
    fn midnight_is_new_yorks_in_winter_and_summer() {
        // Seconds since the epoch, from the time zone database.
        for (date, seconds) in [
            (day(2020, 1, 30), 1_580_360_400),
            (day(2019, 12, 30), 1_577_682_000),
            (day(2020, 7, 1), 1_593_576_000),
            // The days on which the clocks change, and the days after.
            (day(2020, 3, 8), 1_583_643_600),
            (day(2020, 3, 9), 1_583_726_400),
            (day(2020, 11, 1), 1_604_203_200),
            (day(2020, 11, 2), 1_604_293_200),
            (day(2007, 3, 12), 1_173_672_000),
        ] {
            assert_eq!(date.unwrap().midnight(), TimestampNs(seconds * 1_000_000_000), "{date:?}");
        }
        for (month, last_day) in [(1, 31), (12, 31)] {
            for year in FIRST_YEAR..=LAST_YEAR {
                let _ = day(year, month, last_day).unwrap().midnight();
            }
        }
    }

    #[test]
    fn a_boundary_is_a_session_event_and_a_clear_of_all() {
        let [session, clear] = session_boundary(Some(TimestampNs(5)));
        assert_eq!(session.to_words(), [5, 0, u64::from(b'N'), 0, 0, 0, 13 << 32 | 0x80 << 48]);
        assert_eq!(clear.to_words(), [5, 0, 0, 0, 0, 0, 11 << 32 | 0x80 << 48]);
        assert_eq!(session_boundary(None)[0].exchange_time, TimestampNs(0));
    }
}
