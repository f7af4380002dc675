//! How the journal of a `replay` is written: the flags, and what they mean to the library.

use super::select::Usage;
use clap::{Args, ValueEnum};
use std::str::FromStr;
use std::time::Duration;
use tickcore::journal::{Backend, Options, Retention, SyncPolicy, WRITE_UNIT_BYTES};
use tickcore::{JournalPolicy, OnFailure};

/// Bytes of an event in the journal.
const RECORD_BYTES: u64 = 64;

#[derive(Debug, Args)]
#[command(next_help_heading = "Journal")]
pub(crate) struct JournalArgs {
    /// Memory between ring and disk that absorbs a stalled disk.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    journal_buffer: u64,
    /// How the journal is written; steps down by itself, and says so, where the machine refuses.
    #[arg(long, value_enum, default_value_t = BackendArg::IoUringFixed)]
    pub(crate) journal_backend: BackendArg,
    /// When what was written is synced, so that it survives the machine: group (one sync after the other, each for all that
    /// was written before it), a time or a size (not before so much of it since the last sync, such as 500us or 4MiB), or none
    /// (only when a segment is full, and at the end).
    #[arg(long, value_name = "WHEN", default_value = "group", requires = "journal", value_parser = parse_sync)]
    journal_sync: SyncPolicy,
    /// Size of a segment's file.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", requires = "journal")]
    journal_segment: Bytes,
    /// Segments prepared ahead by a thread without a core: a number of them, or the time that they are to last at the peak
    /// rate, such as 500ms; at most 64. They are written with zeros once, so that syncs are quicker. Without it paced runs
    /// have 200ms of them, and runs at full speed allocate one ahead.
    #[arg(long, value_name = "N|TIME", requires = "journal", value_parser = parse_ahead)]
    journal_ahead: Option<Ahead>,
    /// Events a second at most, for a time given to --journal-ahead.
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 1 << 24,
        requires = "journal",
        value_parser = clap::value_parser!(u64).range(1..=1 << 32)
    )]
    journal_peak: u64,
    /// Keep sealed segments of at most so many bytes, and let the oldest go; never the last sealed one, nor one that is being
    /// written. A journal whose beginning went can be read and resumed, and its books are built from the input, or from a
    /// checkpoint where there is one: with checkpoints (--checkpoint-every), segments are let go only below the older of the
    /// two newest ones, and stay beyond the limit until then.
    #[arg(long, value_name = "SIZE", requires = "journal")]
    journal_keep_size: Option<Bytes>,
    /// Keep at most so many sealed segments; with checkpoints as said of --journal-keep-size.
    #[arg(long, value_name = "N", requires = "journal")]
    journal_keep_count: Option<u64>,
    /// Keep sealed segments whose exchange times are at most so far behind the newest, such as 12h or 7d; with checkpoints
    /// as said of --journal-keep-size.
    #[arg(long, value_name = "TIME", requires = "journal", value_parser = parse_time)]
    journal_keep_time: Option<Duration>,
    /// Run this by sh -c for each segment that is sealed, with its path as $1 and in TICKCORE_SEGMENT, and the journal's
    /// directory in TICKCORE_JOURNAL. One after the other, by a thread without a core; the run ends when all have. What it
    /// prints goes to standard error. A segment that it reads may be let go meanwhile by --journal-keep-...
    #[arg(long, value_name = "CMD", requires = "journal")]
    pub(crate) journal_on_seal: Option<String>,
    /// When the buffer is full: wait (the ring fills up behind it, then the feed waits; both are counted), fail (the journal
    /// is declared failed), or a time to wait before that, such as 2s. No event is ever skipped.
    #[arg(long, value_name = "POLICY", default_value = "wait", requires = "journal", value_parser = parse_full)]
    journal_full: FullArg,
    /// When the journal fails (an error of the disk, a full one, a buffer that was full for too long): stop the run with exit
    /// status 1, or carry on without it. Then a message comes at once, the result says "unjournaled", every BBO is flagged,
    /// and the exit status is that of the rest of the run.
    #[arg(long, value_enum, default_value_t = FailureArg::Stop, requires = "journal")]
    journal_failure: FailureArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendArg {
    /// io_uring from registered buffers.
    #[value(name = "io_uring_fixed")]
    IoUringFixed,
    /// io_uring from any buffer.
    #[value(name = "io_uring")]
    IoUring,
    /// pwrite and fdatasync.
    Portable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailureArg {
    /// End the run, exit status 1.
    Stop,
    /// Go on unjournaled.
    CarryOn,
}

/// How long a full buffer is waited for; `None` for as long as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FullArg(Option<Duration>);

/// How many segments are prepared ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ahead {
    Segments(u64),
    Time(Duration),
}

/// A size as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bytes(u64);

impl JournalArgs {
    /// Whether a helper has to be started for what was asked.
    pub(crate) const fn wants_helper(&self) -> bool {
        self.journal_ahead.is_some() || self.journal_on_seal.is_some()
    }

    /// Whether segments are to be let go.
    pub(crate) const fn has_limits(&self) -> bool {
        self.journal_keep_size.is_some() || self.journal_keep_count.is_some() || self.journal_keep_time.is_some()
    }

    pub(crate) fn policy(&self) -> JournalPolicy {
        JournalPolicy {
            on_failure: match self.journal_failure {
                FailureArg::Stop => OnFailure::Stop,
                FailureArg::CarryOn => OnFailure::CarryOn,
            },
            full_wait_max: self.journal_full.0,
        }
    }

    /// Frames of the usual size, or as small as a small buffer or small segments want them.
    fn frame_bytes(&self, usual: u32) -> u32 {
        let buffer_bytes = self.journal_buffer << 20;
        let most = (buffer_bytes / 4).min(self.journal_segment.0 / 2).min(u64::from(usual));
        ((most - most % WRITE_UNIT_BYTES) as u32).max(WRITE_UNIT_BYTES as u32)
    }

    /// Options without a helper.
    ///
    /// # Errors
    /// When they do not go together.
    pub(crate) fn options(&self, is_paced: bool) -> Result<Options, Usage> {
        let segment_bytes = self.journal_segment.0;
        let peak_bytes_per_second = self.journal_peak * RECORD_BYTES;
        let defaults = Options::default();
        let options = Options {
            staging_bytes: usize::try_from(self.journal_buffer << 20).unwrap_or(usize::MAX),
            frame_bytes: self.frame_bytes(defaults.frame_bytes),
            backend: match self.journal_backend {
                BackendArg::IoUringFixed => Backend::IoUringFixed,
                BackendArg::IoUring => Backend::IoUring,
                BackendArg::Portable => Backend::Portable,
            },
            segment_bytes,
            sync: self.journal_sync,
            retention: Retention {
                bytes_max: self.journal_keep_size.map(|size| size.0),
                segments_max: self.journal_keep_count,
                age_max: self.journal_keep_time,
            },
            prepared_ahead: match self.journal_ahead {
                // Rounded down, so that it is not one more.
                Some(Ahead::Segments(count)) => {
                    let ns = u128::from(count) * u128::from(segment_bytes) * 1_000_000_000
                        / u128::from(peak_bytes_per_second);
                    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
                }
                Some(Ahead::Time(time)) => time,
                None => defaults.prepared_ahead,
            },
            is_prewritten: is_paced || self.journal_ahead.is_some(),
            peak_bytes_per_second,
            ..defaults
        };
        options.check().map_err(|error| Usage(format!("--journal: {error}")))?;
        Ok(options)
    }
}

/// A number and the unit behind it.
fn with_unit<'u>(text: &str, units: &[(&'u str, u64)]) -> Option<(u64, u64, &'u str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (name, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some((number.parse().ok()?, *factor, name))
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const UNITS: [(&str, u64); 9] = [
            ("B", 1),
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("TiB", 1 << 40),
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("TB", 1_000_000_000_000),
        ];
        let size = with_unit(text, &UNITS).and_then(|(number, factor, _)| number.checked_mul(factor));
        size.filter(|&bytes| bytes > 0)
            .map(Self)
            .ok_or_else(|| "write a size with its unit, such as 256MiB or 10GB".to_owned())
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 7] = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("min", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ];
    let time = with_unit(text, &UNITS).and_then(|(number, factor, _)| number.checked_mul(factor));
    time.filter(|&ns| ns > 0)
        .map(Duration::from_nanos)
        .ok_or_else(|| "write a time with its unit, such as 500us, 2s, 12h or 7d".to_owned())
}

fn parse_sync(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "group" => Ok(SyncPolicy::EveryGroup),
        "none" => Ok(SyncPolicy::None),
        _ => parse_time(text)
            .map(SyncPolicy::Every)
            .or_else(|_| text.parse::<Bytes>().map(|size| SyncPolicy::EveryBytes(size.0)))
            .map_err(|_| "write group, none, a time such as 500us, or a size such as 4MiB".to_owned()),
    }
}

fn parse_ahead(text: &str) -> Result<Ahead, String> {
    match text.parse() {
        Ok(count @ 1..=tickcore::journal::PREPARED_MAX) => Ok(Ahead::Segments(count)),
        Ok(_) => Err(format!("write 1 to {} segments", tickcore::journal::PREPARED_MAX)),
        Err(_) => parse_time(text)
            .map(Ahead::Time)
            .map_err(|_| "write a number of segments, such as 4, or a time such as 500ms".to_owned()),
    }
}

fn parse_full(text: &str) -> Result<FullArg, String> {
    match text {
        "wait" => Ok(FullArg(None)),
        "fail" => Ok(FullArg(Some(Duration::ZERO))),
        _ => parse_time(text)
            .map(|time| FullArg(Some(time)))
            .map_err(|_| "write wait, fail, or a time such as 2s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_written_as_people_say_them() {
        let us = Duration::from_micros;
        assert_eq!(parse_sync("group"), Ok(SyncPolicy::EveryGroup));
        assert_eq!(parse_sync("none"), Ok(SyncPolicy::None));
        assert_eq!(parse_sync("500us"), Ok(SyncPolicy::Every(us(500))));
        assert_eq!(parse_sync("4MiB"), Ok(SyncPolicy::EveryBytes(4 << 20)));
        assert_eq!(parse_ahead("4"), Ok(Ahead::Segments(4)));
        assert_eq!(parse_ahead("1500ms"), Ok(Ahead::Time(us(1_500_000))));
        assert_eq!(parse_full("wait"), Ok(FullArg(None)));
        assert_eq!(parse_full("fail"), Ok(FullArg(Some(Duration::ZERO))));
        assert_eq!(parse_full("2s"), Ok(FullArg(Some(us(2_000_000)))));
        assert_eq!("10GB".parse(), Ok(Bytes(10_000_000_000)));
        for text in ["", "5", "us", "0us", "-1s", "1.5s", "5 s", "99999999999d", "group ", "4mib"] {
            assert!(parse_sync(text).is_err() && parse_time(text).is_err(), "{text:?}");
            assert!(text.parse::<Bytes>().is_err(), "{text:?}");
        }
        for text in ["0", "65", "-1", "x", ""] {
            assert!(parse_ahead(text).is_err(), "{text:?}");
        }
    }
}
