//! Writing an interval log.

use super::payload;
use crate::base64;
use crate::distribution::Distribution;
use core::fmt::{self, Write};

/// One line of a log.
#[derive(Clone, Copy, Debug)]
pub struct LoggedInterval<'l> {
    /// The stage: the line's tag. Commas, spaces and line breaks become `_`.
    pub tag: &'l str,
    /// Nanoseconds from the log's start to that of the interval.
    pub start_ns: u64,
    /// Length of the interval.
    pub length_ns: u64,
    /// What was recorded in it.
    pub distribution: &'l Distribution,
}

/// Writes a log of `intervals` that began at `start_unix_ns`; `start_text` is the same for people.
///
/// # Errors
/// When `out` has one.
pub fn write_log(
    out: &mut impl Write,
    start_unix_ns: u64,
    start_text: &str,
    intervals: &[LoggedInterval<'_>],
) -> fmt::Result {
    let start = milliseconds(start_unix_ns);
    writeln!(out, "#[tickcore latencies in nanoseconds; Interval_Max in milliseconds]")?;
    writeln!(out, "#[Histogram log format version 1.3]")?;
    writeln!(out, "#[StartTime: {start} (seconds since epoch), {}]", start_text.replace(['\n', '\r'], " "))?;
    writeln!(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
    for LoggedInterval { tag, start_ns, length_ns, distribution } in intervals {
        let tag = tag.replace([',', ' ', '\t', '\n', '\r'], "_");
        if distribution.beyond_range() > 0 {
            writeln!(
                out,
                "#[{tag}: {} values beyond the range are not in the next line]",
                distribution.beyond_range()
            )?;
        }
        let max_ns = distribution.max_ns().unwrap_or(0);
        let text = base64::encode(&payload::encode(distribution));
        let (start, length) = (milliseconds(*start_ns), milliseconds(*length_ns));
        // Six places of a millisecond are whole nanoseconds.
        writeln!(out, "Tag={tag},{start},{length},{}.{:06},{text}", max_ns / 1_000_000, max_ns % 1_000_000)?;
    }
    Ok(())
}

/// Seconds with three places, without going through a float.
fn milliseconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hlog::read_log;
    use crate::recorder::Recorder;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use std::time::Duration;

    fn written() -> (String, [Distribution; 3]) {
        let parts = [
            Distribution::of_values((0..10_000).map(|n| 80 + n * n % 9_973)),
            Distribution::of_values([1, 2, 3, 1_234_567, Recorder::RANGE_MAX_NS * 2]),
            Distribution::default(),
        ];
        let interval =
            |tag, start_ns, distribution| LoggedInterval { tag, start_ns, length_ns: 250_000_000, distribution };
        let intervals = [
            interval("service_ns", 0, &parts[0]),
            interval("a, b", 0, &parts[1]),
            interval("service_ns", 250_000_000, &parts[2]),
        ];
        let mut text = String::new();
        write_log(&mut text, 1_764_083_312_123_456_789, "2025-11-25T15:08:32Z", &intervals).unwrap();
        (text, parts)
    }

    #[test]
    fn the_hdrhistogram_crate_reads_the_log() {
        let (text, parts) = written();
        let mut entries = Vec::new();
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            match entry.unwrap() {
                LogEntry::StartTime(start) => assert_eq!(start, Duration::new(1_764_083_312, 123_000_000)),
                LogEntry::BaseTime(_) => panic!("no base time was written"),
                LogEntry::Interval(line) => entries.push(line),
            }
        }
        let tags: Vec<_> = entries.iter().map(|line| line.tag().unwrap().as_str()).collect();
        assert_eq!(tags, ["service_ns", "a__b", "service_ns"]);
        assert_eq!(entries[2].start_timestamp(), Duration::from_millis(250));
        assert_eq!(entries[0].duration(), Duration::from_millis(250));
        assert_eq!(entries[0].max(), parts[0].max_ns().unwrap() as f64 / 1e6);
        for (entry, part) in entries.iter().zip(&parts) {
            let bytes = base64::decode(entry.encoded_histogram().as_bytes()).unwrap();
            let theirs: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            assert_eq!(theirs.len(), part.count() - part.beyond_range());
            if part.beyond_range() == 0 {
                assert_eq!(
                    part.is_empty() as u64 + theirs.max(),
                    theirs.highest_equivalent(part.max_ns().unwrap_or(1))
                );
            }
        }
        assert!(text.contains(
            "#[a__b: 1 values beyond the range are not in the next line]\nTag=a__b,0.000,0.250,120000.000000,"
        ));
    }

    #[test]
    fn the_reader_here_reads_the_log() {
        let (text, parts) = written();
        let log = read_log(text.as_bytes()).unwrap();
        assert_eq!(log.len(), 3);
        assert_eq!(log[1].tag.as_deref(), Some("a__b"));
        assert_eq!((log[2].start_s, log[2].length_s), (0.25, 0.25));
        assert_eq!(log[0].distribution.count(), parts[0].count());
        assert_eq!(log[0].distribution.summary().p99, parts[0].summary().p99);
        assert_eq!(log[1].max, 120_000.0);
    }
}
