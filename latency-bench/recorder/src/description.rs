//! What has to be known to read figures of latency, and to take them again.

use crate::calibration::Calibration;
use crate::clock::ClockDescription;
use serde::{Deserialize, Serialize};
use std::fs;

/// What ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDescription {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Where it ran.
    pub working_directory: String,
    /// Version of the program.
    pub version: String,
    /// When it began, since the Unix epoch.
    pub started_unix_ns: u64,
    /// From the word to go until everything was done.
    pub elapsed_ns: u64,
    /// What went in, such as the input's files.
    pub input: String,
    /// How the work was spread over threads.
    pub topology: String,
    /// How fast events were let in, with the seed if there was chance in it.
    pub pace: String,
    /// Distance at which events were meant to come, where it was always the same.
    pub expected_interval_ns: Option<u64>,
    /// Events that were decoded ahead of the one applied.
    pub lookahead_depth: usize,
    /// One event in this many was measured at full speed; 0 when none was.
    pub sample_interval: u32,
    /// What a stamp of a stage and its record cost, measured at the start of the run; `None` when none was taken.
    #[serde(default)]
    pub probe_cost_ns: Option<f64>,
    /// What the run had to do without, and what else a reader must know.
    pub notes: Vec<String>,
}

/// What it ran on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MachineDescription {
    /// The processor's model.
    pub cpu: String,
    /// The kernel's release.
    pub kernel: String,
    /// Cores that the process could use.
    pub cores_available: usize,
    /// Numbers of the cores that were used.
    pub cores: Vec<usize>,
    /// Whether threads were bound to them.
    pub is_pinned: bool,
    /// Bytes of the process on huge pages.
    pub huge_page_bytes: u64,
    /// Threads that wanted to run in the minute before, on average, where the kernel tells.
    pub load_average: Option<f64>,
    /// What stamps were taken with.
    pub clock: ClockDescription,
    /// How fast the machine was around the run.
    pub calibration: Option<Calibration>,
}

impl MachineDescription {
    /// This machine, as far as the kernel tells without the engine; the rest is for the caller to fill in.
    #[must_use]
    pub fn here(clock: ClockDescription) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load_average = read("/proc/loadavg").split_whitespace().next().and_then(|number| number.parse().ok());
        Self {
            cpu: String::new(),
            kernel: format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
            cores_available: std::thread::available_parallelism().map_or(1, usize::from),
            cores: Vec::new(),
            is_pinned: false,
            huge_page_bytes: 0,
            load_average,
            clock,
            calibration: None,
        }
    }
}

impl RunDescription {
    /// Which stamps were taken and what they cost, for people; `clock` took them.
    pub fn stamps(&self, clock: &ClockDescription) -> String {
        let alone = format!("{}, {:.1} ns each", clock.source.name(), clock.stamp_cost_ns);
        self.probe_cost_ns.map_or(alone.clone(), |cost_ns| format!("{alone}, {cost_ns:.1} with its record"))
    }

    /// The command as a POSIX shell takes it: words with other than plain characters in single quotes.
    pub fn command_line(&self) -> String {
        self.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// One word for a POSIX shell.
pub fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,=+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// An instant as RFC 3339 in UTC, to the second.
pub fn utc_text(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days from 1 March of year 0, so that a leap day is the last of its year: eras of 400 years repeat.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_so_that_a_shell_gives_them_back() {
        for (word, text) in [
            ("day.itch", "day.itch"),
            ("--pace=1e6", "--pace=1e6"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
            ("ü", "'ü'"),
        ] {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn stamps_say_what_they_cost() {
        let mut run = crate::report::example().run;
        let clock = crate::report::example().machine.clock;
        assert_eq!(run.stamps(&clock), "cycle_counter, 13.5 ns each, 17.5 with its record");
        run.probe_cost_ns = None;
        assert_eq!(run.stamps(&clock), "cycle_counter, 13.5 ns each");
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_580_342_400, "2020-01-30T00:00:00Z"),
            (1_764_083_312, "2025-11-25T15:08:32Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc_text(seconds * 1_000_000_000 + 999), text);
        }
        assert!(utc_text(u64::MAX).starts_with("2554-07-21"));
    }
}
