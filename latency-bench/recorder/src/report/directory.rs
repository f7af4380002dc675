//! A report as a directory.
//!
//! | file | content |
//! |---|---|
//! | `report.json` | everything: run, machine, stages with full histograms and percentiles over time, gauges, counters, stalls |
//! | `latency.hlog` | HdrHistogram interval log, a tag for each stage |
//! | `STAGE.hgrm` | percentile distribution of a stage |
//! | `report.html` | the page, which needs neither network nor script |
//!
//! Each file is written beside its place and renamed into it: it is there whole, or as it was before. What is read back
//! is not trusted.

use super::{Report, Stage};
use crate::description::utc_text;
use crate::hlog::{LoggedInterval, write_log};
use crate::{hgrm, html};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

/// What `schema` says in `report.json`.
pub const SCHEMA: &str = "tickcore latency report";

/// Version of `report.json`, raised when a key changes its meaning; new keys alone do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// Largest `report.json` that is read.
pub const MAX_REPORT_BYTES: u64 = 256 << 20;

/// Most stages, gauges, counters and stalls that are read, each.
const MAX_ITEMS: usize = 100_000;

const JSON_FILE: &str = "report.json";
const HTML_FILE: &str = "report.html";
const LOG_FILE: &str = "latency.hlog";

/// Why a report was not written or read, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A stage could not be a file.
    #[error(
        "the stage name {name:?} cannot be a file name: use ASCII letters, digits, '_' and '-', at most 100 of them"
    )]
    StageName {
        /// The name.
        name: String,
    },
    /// Two stages would be the same file.
    #[error("two stages of the report are named {name:?}: give each a name of its own")]
    StageTwice {
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
    /// The file could not be read.
    #[error("cannot read {}: {source}; give the directory that a run wrote with --report", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is too large to be one of these.
    #[error("{}: more than {MAX_REPORT_BYTES} bytes, which no report has; give the directory that a run wrote with --report", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is no report.
    #[error("{}: offset {offset}: {what}; the file was damaged or is no report: run again with --report", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        offset: usize,
        /// What is wrong there.
        what: String,
    },
    /// The file was written by another version.
    #[error("{}: version {found} of the report, this program reads {SCHEMA_VERSION}: use the version that wrote it, or run again", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it says.
        found: u64,
    },
}

/// What tells a report from other JSON.
#[derive(Deserialize)]
struct Heading {
    schema: String,
    version: u64,
}

#[derive(Serialize)]
struct Stored<'r> {
    schema: &'static str,
    version: u32,
    #[serde(flatten)]
    report: &'r Report,
    /// Percentiles by stage, for whoever does not want to go through buckets. Not read back.
    percentiles: Value,
}

/// Writes all files of `report` into `directory`, which is made if it is not there. Returns their paths, the JSON first.
///
/// # Errors
/// Names that cannot be files are found before anything is written; otherwise what the file system says.
pub fn write_report(directory: &Path, report: &Report) -> Result<Vec<PathBuf>, ReportError> {
    check_names(&report.stages)?;
    fs::create_dir_all(directory).map_err(|source| ReportError::Directory { path: directory.to_owned(), source })?;
    let mut paths = vec![replace_file(directory, JSON_FILE, &json_text(report))?];
    paths.push(write_html(directory, report)?);
    paths.push(replace_file(directory, LOG_FILE, &log_text(report))?);
    for stage in &report.stages {
        let mut text = String::new();
        hgrm::write(&mut text, &stage.distribution).expect("writing to a string does not fail");
        paths.push(replace_file(directory, &format!("{}.hgrm", stage.name), &text)?);
    }
    Ok(paths)
}

/// Writes the page alone, of a report that is stored already.
///
/// # Errors
/// What the file system says.
pub fn write_html(directory: &Path, report: &Report) -> Result<PathBuf, ReportError> {
    replace_file(directory, HTML_FILE, &html::page(report))
}

/// Reads the report in `directory`.
///
/// # Errors
/// When there is none, or not a whole one of this version; the error names file, offset and what to do.
pub fn read_report(directory: &Path) -> Result<Report, ReportError> {
    let path = directory.join(JSON_FILE);
    let read_error = |source| ReportError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(read_error)?;
    let mut text = String::new();
    let length = file.take(MAX_REPORT_BYTES + 1).read_to_string(&mut text);
    match length {
        Ok(length) if length as u64 > MAX_REPORT_BYTES => return Err(ReportError::TooLarge { path }),
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::InvalidData => {
            return Err(ReportError::Malformed { path, offset: 0, what: "it is not text in UTF-8".to_owned() });
        }
        Err(source) => return Err(read_error(source)),
    }
    let malformed = |error: serde_json::Error| {
        let offset = offset_of(&text, error.line(), error.column());
        let what = error.to_string();
        // The offset says it already.
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what).to_owned();
        ReportError::Malformed { path: path.clone(), offset, what }
    };
    let Heading { schema, version } = serde_json::from_str(&text).map_err(malformed)?;
    let wrong = |what: String| Err(ReportError::Malformed { path: path.clone(), offset: 0, what });
    if schema != SCHEMA {
        return wrong(format!("the schema is {schema:?}, not {SCHEMA:?}"));
    }
    if version != u64::from(SCHEMA_VERSION) {
        return Err(ReportError::Version { path, found: version });
    }
    let report: Report = serde_json::from_str(&text).map_err(malformed)?;
    match flaw(&report) {
        Some(what) => wrong(what),
        None => Ok(report),
    }
}

/// What no run would have written.
fn flaw(report: &Report) -> Option<String> {
    if let Err(error) = check_names(&report.stages) {
        return Some(error.to_string());
    }
    let kept_stalls = report.stalls.as_ref().map_or(0, |stalls| stalls.kept.len());
    if [report.stages.len(), report.gauges.len(), report.counters.len(), kept_stalls].into_iter().any(|n| n > MAX_ITEMS)
    {
        return Some(format!("more than {MAX_ITEMS} stages, gauges, counters or stalls"));
    }
    if report.machine.calibration.is_some_and(|calibration| !calibration.is_sound()) {
        return Some("the calibration has no positive times in order".to_owned());
    }
    let unordered = report.gauges.iter().find(|gauge| !gauge.points.is_sorted_by_key(|point| point.0));
    unordered.map(|gauge| format!("the points of {:?} are not in the order of time", gauge.name))
}

fn json_text(report: &Report) -> String {
    let percentiles: serde_json::Map<String, Value> =
        report.stages.iter().map(|stage| (stage.name.clone(), json!(stage.distribution.summary()))).collect();
    let stored = Stored { schema: SCHEMA, version: SCHEMA_VERSION, report, percentiles: percentiles.into() };
    let mut text = serde_json::to_string(&stored).expect("a report has string keys only");
    text.push('\n');
    text
}

fn log_text(report: &Report) -> String {
    let mut intervals: Vec<LoggedInterval<'_>> = Vec::new();
    for stage in &report.stages {
        let logged = stage.intervals.iter().filter_map(|interval| {
            let distribution = interval.distribution.as_ref()?;
            Some(LoggedInterval {
                tag: &stage.name,
                start_ns: interval.start_ns,
                length_ns: interval.length_ns,
                distribution,
            })
        });
        let before = intervals.len();
        intervals.extend(logged);
        if intervals.len() == before {
            // Nobody collected by interval: the run is one.
            let length_ns = report.run.elapsed_ns;
            intervals.push(LoggedInterval {
                tag: &stage.name,
                start_ns: 0,
                length_ns,
                distribution: &stage.distribution,
            });
        }
    }
    intervals.sort_by_key(|interval| interval.start_ns);
    let (start, mut text) = (report.run.started_unix_ns, String::new());
    write_log(&mut text, start, &utc_text(start), &intervals).expect("writing to a string does not fail");
    text
}

/// Offset of a line and column, both from 1, as the JSON reader gives them.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}

fn check_names(stages: &[Stage]) -> Result<(), ReportError> {
    for (position, Stage { name, .. }) in stages.iter().enumerate() {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > 100 || !name.bytes().all(is_allowed) {
            return Err(ReportError::StageName { name: name.clone() });
        }
        if stages[..position].iter().any(|earlier| earlier.name == *name) {
            return Err(ReportError::StageTwice { name: name.clone() });
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
    use crate::hlog::read_log;
    use crate::report::example;
    use crate::{Distribution, Origin};
    use proptest::prelude::*;

    /// What is stored of a report: the distributions of intervals are in the log alone.
    fn as_stored(mut report: Report) -> Report {
        report
            .stages
            .iter_mut()
            .flat_map(|stage| &mut stage.intervals)
            .for_each(|interval| interval.distribution = None);
        report
    }

    #[test]
    fn a_report_is_four_kinds_of_files_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("new/report");
        let report = example();
        for _ in 0..2 {
            let paths = write_report(&place, &report).unwrap();
            let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
            assert_eq!(names, ["report.json", "report.html", "latency.hlog", "tick_to_bbo_ns.hgrm", "service_ns.hgrm"]);
            assert_eq!(fs::read_dir(&place).unwrap().count(), 5, "nothing is left beside them");
        }
        assert_eq!(read_report(&place).unwrap(), as_stored(report.clone()));
        let json: Value = serde_json::from_slice(&fs::read(place.join(JSON_FILE)).unwrap()).unwrap();
        assert_eq!(json["percentiles"]["service_ns"], json!(report.stages[1].distribution.summary()));
        let log = read_log(&fs::read(place.join(LOG_FILE)).unwrap()).unwrap();
        assert_eq!(log.iter().filter(|line| line.tag.as_deref() == Some("tick_to_bbo_ns")).count(), 20);
        let service: Vec<_> = log.iter().filter(|line| line.tag.as_deref() == Some("service_ns")).collect();
        assert_eq!((service.len(), service[0].length_s), (1, 2.0), "without intervals the run is one");
        assert_eq!(service[0].distribution.summary().p99, report.stages[1].distribution.summary().p99);
        let hgrm = fs::read_to_string(place.join("service_ns.hgrm")).unwrap();
        assert!(hgrm.contains("Total count    =         5000]"));
    }

    #[test]
    fn names_that_cannot_be_files_write_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let stage = |name: &str| Stage::new(name, "", Origin::Work, Distribution::default());
        let long = "a".repeat(101);
        for name in ["", "../x", "a b", "é", &long] {
            let report = Report { stages: vec![stage("good"), stage(name)], ..example() };
            let error = write_report(directory.path(), &report).unwrap_err();
            assert!(matches!(error, ReportError::StageName { .. }), "{error}");
        }
        let report = Report { stages: vec![stage("a"), stage("a")], ..example() };
        let error = write_report(directory.path(), &report).unwrap_err();
        assert!(matches!(error, ReportError::StageTwice { .. }), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("service_ns.hgrm")).unwrap();
        let error = write_report(directory.path(), &example()).unwrap_err();
        let ReportError::Write { path, .. } = &error else { panic!("{error}") };
        assert_eq!(path.file_name().unwrap(), "service_ns.hgrm");
        assert!(!directory.path().join(".service_ns.hgrm.new").exists());

        let in_a_file = directory.path().join(JSON_FILE).join("below");
        let error = write_report(&in_a_file, &example()).unwrap_err();
        assert!(matches!(error, ReportError::Directory { .. }), "{error}");
    }

    fn read_text(text: &[u8]) -> Result<Report, ReportError> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(JSON_FILE), text).unwrap();
        read_report(directory.path())
    }

    #[test]
    fn what_is_no_report_is_named_with_file_and_offset() {
        let directory = tempfile::tempdir().unwrap();
        let error = read_report(directory.path()).unwrap_err();
        assert!(error.to_string().contains("report.json") && error.to_string().contains("--report"), "{error}");

        let good = json_text(&example());
        let swapped = |from: &str, to: &str| {
            assert!(good.contains(from), "{from}");
            good.replacen(from, to, 1)
        };
        let cut = &good[..good.len() / 2];
        for (text, words) in [
            ("", "EOF while parsing"),
            ("{}", "missing field `schema`"),
            ("[1, 2]", "invalid type"),
            (cut, "EOF while parsing"),
            (&swapped(SCHEMA, "another"), "the schema is"),
            (&swapped("\"version\":1", "\"version\":2"), "version 2 of the report"),
            (&swapped("tick_to_bbo_ns", "../../up"), "cannot be a file name"),
            (&swapped("tick_to_bbo_ns", "service_ns"), "two stages"),
            (&swapped("\"low_ns\":", "\"low_ns\":-"), "calibration"),
            (&swapped("[0,0.0],[100000000,1.0]", "[9,0.0],[1,1.0]"), "order of time"),
            (&swapped("\"buckets\":[[", "\"buckets\":[[5,0],["), "has a count"),
            (&swapped("\"max_ns\":", "\"max_ns\":1,\"x\":"), "above the largest"),
        ] {
            let error = read_text(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("report.json"), "{words}: {error}");
        }
        let error = read_text(cut.as_bytes()).unwrap_err();
        assert!(matches!(error, ReportError::Malformed { offset, .. } if offset + 1 >= cut.len()), "{error}");
        assert!(matches!(read_text(b"\xff").unwrap_err(), ReportError::Malformed { .. }));
        assert!(read_text(swapped("{", "{\"new_key\":[],").as_bytes()).is_ok(), "new keys are no flaw");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_is_an_error_or_a_report_that_can_be_shown(place in 0_usize..4_000, byte in 32_u8..127) {
            let mut text = json_text(&Report { gauges: Vec::new(), stages: example().stages[1..].to_vec(), ..example() }).into_bytes();
            let length = text.len();
            text[place % length] = byte;
            if let Ok(report) = read_text(&text) {
                let _ = html::page(&report);
                let _ = super::super::text_table(&report.stages);
                let _ = super::super::percentile_plot(&report.stages);
            }
        }
    }
}
