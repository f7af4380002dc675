//! What is shown and stored of a run's latencies: a text table, one JSON object, and a percentile file per series.

use crate::clock::ClockDescription;
use crate::hgrm;
use crate::recorder::{Recorder, Summary};
use core::fmt::Write as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Version of `latency.json`, raised when a key changes its meaning.
const FORMAT_VERSION: u32 = 1;

/// Name of the JSON file in a report's directory.
const JSON_FILE: &str = "latency.json";

/// One named recorder of a report. The name is a file name too: ASCII letters, digits, `_` and `-`. Values are
/// nanoseconds, which a good name says (`service_ns`).
#[derive(Clone, Copy, Debug)]
pub struct Series<'r> {
    /// The name.
    pub name: &'r str,
    /// The values.
    pub recorder: &'r Recorder,
}

/// What has to be known to read figures of latency, and to take them again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDescription {
    /// The command line.
    pub command: String,
    /// The processor's model.
    pub cpu: String,
    /// Numbers of the cores that were used.
    pub cores: Vec<usize>,
    /// How the work was spread over threads.
    pub topology: String,
    /// Events that were decoded ahead of the one applied.
    pub lookahead_depth: usize,
    /// One event in this many was measured at full speed; 0 when none was.
    pub sample_interval: u32,
    /// What the stamps were taken with.
    pub clock: ClockDescription,
}

/// The latencies of one run.
#[derive(Clone, Debug)]
pub struct Report<'r> {
    /// What ran.
    pub run: RunDescription,
    /// What was measured, in the order in which it is shown.
    pub series: Vec<Series<'r>>,
}

impl Report<'_> {
    /// The report as one object: `version`, `run`, and `series` by name, each with `count`, `p50`, `p90`, `p99`, `p99_9`,
    /// `p99_99`, `max` and `beyond_range`, percentiles in nanoseconds and null when nothing was recorded.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let summaries: Map<String, Value> =
            self.series.iter().map(|series| (series.name.to_owned(), json!(series.recorder.summary()))).collect();
        json!({ "version": FORMAT_VERSION, "run": self.run, "series": summaries })
    }
}

/// Why a report was not written, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A series could not be a file.
    #[error("the series name {name:?} cannot be a file name: use ASCII letters, digits, '_' and '-'")]
    SeriesName {
        /// The name.
        name: String,
    },
    /// Two series would be the same file.
    #[error("two series of the report are named {name:?}: give each a name of its own")]
    SeriesTwice {
        /// The name.
        name: String,
    },
    /// The directory is not there and could not be made.
    #[error("cannot make the report directory {}: {source}; choose a directory that can be written", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file could not be written; a file of this name from before is untouched.
    #[error("cannot write {}: {source}; free space or choose another directory, and run again", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes `latency.json` and a `.hgrm` file for each series into `directory`, which is made if it is not there.
///
/// Each file is written beside its place and then renamed into it: it is there whole, or as it was before. Returns the
/// files' paths, the JSON first.
///
/// # Errors
/// Names that cannot be files are found before anything is written; otherwise what the file system says.
pub fn write_report(directory: &Path, report: &Report<'_>) -> Result<Vec<PathBuf>, ReportError> {
    check_names(&report.series)?;
    fs::create_dir_all(directory).map_err(|source| ReportError::Directory { path: directory.to_owned(), source })?;
    let mut paths = vec![replace_file(directory, JSON_FILE, &format!("{:#}\n", report.to_json()))?];
    for series in &report.series {
        let mut text = String::new();
        hgrm::write(&mut text, &series.recorder.distribution()).expect("writing to a string does not fail");
        paths.push(replace_file(directory, &format!("{}.hgrm", series.name), &text)?);
    }
    Ok(paths)
}

/// The series as a table, a line each, values in nanoseconds; `-` where nothing was recorded. Values beyond the recorders'
/// range are said in a line of their own.
#[must_use]
pub fn text_table(series: &[Series<'_>]) -> String {
    let header = ["latency, ns", "p50", "p90", "p99", "p99.9", "p99.99", "max", "count"].map(str::to_owned);
    let summaries: Vec<(&str, Summary)> =
        series.iter().map(|series| (series.name, series.recorder.summary())).collect();
    let rows: Vec<[String; 8]> = core::iter::once(header).chain(summaries.iter().map(row)).collect();
    let width_of = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 8] = core::array::from_fn(width_of);
    let mut text = String::new();
    for row in &rows {
        let _ = write!(text, "{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    for (name, summary) in summaries.iter().filter(|(_, summary)| summary.beyond_range > 0) {
        let (beyond, seconds) = (summary.beyond_range, Recorder::RANGE_MAX_NS / 1_000_000_000);
        let _ = writeln!(text, "{name}: {beyond} values above {seconds} s; percentiles among them are shown as max");
    }
    text
}

fn row(&(name, summary): &(&str, Summary)) -> [String; 8] {
    let Summary { count, p50, p90, p99, p99_9, p99_99, max, beyond_range: _ } = summary;
    let cell = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    [name.to_owned(), cell(p50), cell(p90), cell(p99), cell(p99_9), cell(p99_99), cell(max), count.to_string()]
}

fn check_names(series: &[Series<'_>]) -> Result<(), ReportError> {
    for (position, &Series { name, .. }) in series.iter().enumerate() {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_allowed) {
            return Err(ReportError::SeriesName { name: name.to_owned() });
        }
        if series[..position].iter().any(|earlier| earlier.name == name) {
            return Err(ReportError::SeriesTwice { name: name.to_owned() });
        }
    }
    Ok(())
}

fn replace_file(directory: &Path, name: &str, text: &str) -> Result<PathBuf, ReportError> {
    let path = directory.join(name);
    let temporary = directory.join(format!(".{name}.new"));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path));
    match written {
        Ok(()) => Ok(path),
        Err(source) => {
            // It may not be there; the error that counts is the first.
            let _ = fs::remove_file(&temporary);
            Err(ReportError::Write { path, source })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ClockSource;

    fn recorder_of(values: impl IntoIterator<Item = u64>) -> Recorder {
        let mut recorder = Recorder::new();
        values.into_iter().for_each(|value| recorder.record(value));
        recorder
    }

    fn report<'r>(series: &[(&'r str, &'r Recorder)]) -> Report<'r> {
        let run = RunDescription {
            command: "tickcore replay day.itch".to_owned(),
            cpu: "some processor".to_owned(),
            cores: vec![2, 3],
            topology: "inline".to_owned(),
            lookahead_depth: 32,
            sample_interval: 64,
            clock: ClockDescription { source: ClockSource::CycleCounter, stamp_cost_ns: 13.5 },
        };
        Report { run, series: series.iter().map(|&(name, recorder)| Series { name, recorder }).collect() }
    }

    #[test]
    fn the_table_lines_up_and_hides_nothing() {
        let service = recorder_of((1..=1_000).chain([Recorder::RANGE_MAX_NS + 5]));
        let empty = Recorder::new();
        let series =
            [("service_ns", &service), ("tick_to_bbo_ns", &empty)].map(|(name, recorder)| Series { name, recorder });
        let wanted = "\
latency, ns     p50  p90  p99  p99.9       p99.99          max  count
service_ns      501  901  991   1000  60000000005  60000000005   1001
tick_to_bbo_ns    -    -    -      -            -            -      0
service_ns: 1 values above 60 s; percentiles among them are shown as max
";
        assert_eq!(text_table(&series), wanted);
    }

    #[test]
    fn a_report_is_a_json_file_and_a_percentile_file_per_series() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new/report");
        let (service, empty) = (recorder_of(1..=100), Recorder::new());
        let report = report(&[("service_ns", &service), ("empty-1", &empty)]);
        for _ in 0..2 {
            let paths = write_report(&place, &report).unwrap();
            let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
            assert_eq!(names, ["latency.json", "service_ns.hgrm", "empty-1.hgrm"]);
            assert_eq!(fs::read_dir(&place).unwrap().count(), 3, "nothing is left beside them");
        }
        let json: Value = serde_json::from_slice(&fs::read(place.join(JSON_FILE)).unwrap()).unwrap();
        assert_eq!(json, report.to_json());
        assert_eq!(
            json["series"]["service_ns"],
            json!({
                "count": 100, "p50": 50, "p90": 90, "p99": 99, "p99_9": 100, "p99_99": 100, "max": 100, "beyond_range": 0
            })
        );
        assert_eq!(json["series"]["empty-1"]["p50"], Value::Null);
        assert_eq!(json["run"]["clock"], json!({ "source": "cycle_counter", "stamp_cost_ns": 13.5 }));
        assert_eq!(serde_json::from_value::<RunDescription>(json["run"].clone()).unwrap(), report.run);
        assert!(fs::read_to_string(place.join("service_ns.hgrm")).unwrap().contains("Total count    =          100]"));
    }

    #[test]
    fn names_that_cannot_be_files_write_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::new();
        for name in ["", "../x", "a b", "é"] {
            let error = write_report(directory.path(), &report(&[("good", &recorder), (name, &recorder)])).unwrap_err();
            assert!(matches!(error, ReportError::SeriesName { .. }), "{error}");
        }
        let error = write_report(directory.path(), &report(&[("a", &recorder), ("a", &recorder)])).unwrap_err();
        assert!(matches!(error, ReportError::SeriesTwice { .. }), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::new();
        fs::create_dir(directory.path().join("a.hgrm")).unwrap();
        let error = write_report(directory.path(), &report(&[("a", &recorder)])).unwrap_err();
        let ReportError::Write { path, .. } = &error else { panic!("{error}") };
        assert_eq!(path.file_name().unwrap(), "a.hgrm");
        assert!(!directory.path().join(".a.hgrm.new").exists());

        let in_a_file = directory.path().join(JSON_FILE).join("below");
        let error = write_report(&in_a_file, &report(&[("a", &recorder)])).unwrap_err();
        assert!(matches!(error, ReportError::Directory { .. }), "{error}");
    }
}
