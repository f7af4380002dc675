//! `replay --report`, `report` and `compare` as a user runs them.

mod common;

use common::command::{Finish, replay, tickcore};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::tempdir;
use tickcore::latency::Recorder;
use tickcore_replay_data::sample;

fn stored(directory: &Path, options: &[&str]) {
    replay(&sample::path()).args(options).arg("--report").arg(directory).succeed();
}

fn report_json(directory: &Path) -> Value {
    tickcore().arg("report").arg(directory).arg("--json").succeed().json()
}

#[test]
fn a_report_is_written_and_shown_again() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("new/report");
    stored(&directory, &["--pace", "1000000", "--latency-sample", "7"]);
    let stored: Value = serde_json::from_slice(&fs::read(directory.join("report.json")).unwrap()).unwrap();
    assert_eq!(stored["percentiles"]["tick_to_bbo_ns"]["count"], sample::golden().events);
    for name in ["tick_to_bbo_ns.hgrm", "service_ns.hgrm"] {
        let text = fs::read_to_string(directory.join(name)).unwrap();
        assert!(text.contains("Value") && text.contains("Total count"), "{name}: {text}");
    }
    let page = fs::read_to_string(directory.join("report.html")).unwrap();
    let seeded = replay(&sample::path()).args(["--pace", "poisson:2000000"]).succeed().stdout;
    assert!(seeded.contains("poisson:2000000:1"), "the seed is printed: {seeded}");
    fs::remove_file(directory.join("report.html")).unwrap();

    let json = report_json(&directory);
    assert_eq!(json["stages"][0]["name"], "tick_to_bbo_ns");
    assert_eq!(json["stages"][0]["origin"], "due");
    let service = &json["stages"][1];
    assert_eq!(service["count"], sample::golden().events / 7);
    assert_eq!(service["expected_interval_ns"], 7_000);
    assert!(service["corrected"]["count"].as_u64() >= service["count"].as_u64());
    assert_eq!(json["run"]["pace"], "1000000");
    assert!(json["machine"]["calibration"]["before"]["step_ns"].as_f64() > Some(0.0));
    assert_eq!(json["gauges"][0]["name"], "throughput");
    assert_eq!(fs::read_to_string(directory.join("report.html")).unwrap(), page, "the page is made again");

    let text = tickcore().arg("report").arg(&directory).succeed().stdout;
    for word in ["service_ns, corrected", "99.9999 %", "● tick_to_bbo_ns", "--pace 1000000", "of 20 µs or more"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // The interval log has the same values.
    let log = tickcore().arg("report").arg(directory.join("latency.hlog")).arg("--json").succeed().json();
    assert_eq!(log["stages"]["service_ns"]["p99"], service["p99"]);
}

#[test]
fn a_journaled_run_reports_the_lag_of_its_journal() {
    let scratch = tempdir().unwrap();
    let (directory, journal) = (scratch.path().join("report"), scratch.path().join("journal"));
    stored(&directory, &["--pace", "poisson:300000:9", "--journal", journal.to_str().unwrap()]);
    let json = report_json(&directory);
    assert_eq!(json["run"]["pace"], "poisson:300000:9");
    assert_eq!(json["gauges"][1]["name"], "journal lag");
    let points = json["gauges"][1]["points"].as_array().unwrap();
    assert!(points.len() > 2, "{points:?}");
}

#[test]
fn what_is_no_report_fails_with_file_and_advice() {
    let scratch = tempdir().unwrap();
    let report = |path: &Path| {
        let mut command = tickcore();
        command.arg("report").arg(path);
        command
    };
    report(scratch.path()).fail(1, &["report.json", "--report"]);
    let directory = scratch.path().join("report");
    stored(&directory, &[]);
    let path = directory.join("report.json");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    report(&directory).fail(1, &["report.json", &format!("offset {}", bytes.len() / 2 - 1), "run again"]);
    let log = directory.join("latency.hlog");
    fs::write(&log, "1,2,3,nonsense").unwrap();
    report(&log).fail(1, &["latency.hlog", "line 1", "offset 0"]);
    for (pace, word) in [("poisson:0", "1000000000"), ("bursts:5:1", "unit"), ("often", "bursts:EVENTS")] {
        replay(&sample::path()).args(["--pace", pace]).fail(2, &[word]);
    }
}

/// A command that takes `milliseconds`, more or less.
fn sleeping(milliseconds: &str) -> [String; 2] {
    ["sleep".to_owned(), format!("0.{milliseconds}")]
}

fn compare(options: &[&str], a: &[String], b: &[String]) -> std::process::Command {
    let mut command = tickcore();
    command.arg("compare").args(options).arg("--").args(a).arg("--").args(b);
    command
}

#[test]
fn a_slower_command_is_a_regression_and_a_faster_one_is_not() {
    let scratch = tempdir().unwrap();
    let page = scratch.path().join("page.html");
    // Far apart: a busy machine wakes a sleeper late.
    let (fast, slow) = (sleeping("010"), sleeping("300"));
    let options = ["--repeat", "7", "--seed", "3", "--threshold", "5", "--json"];
    let finished = compare(&options, &fast, &slow).arg("--html").finish();
    assert!(finished.stdout.is_empty(), "options behind the commands belong to them");
    let with_page = [&options[..], &["--html", page.to_str().unwrap()]].concat();
    let json = compare(&with_page, &fast, &slow).finish().expect_code(1).json();
    assert_eq!((&json["verdict"], &json["seed"], &json["repeat"]), (&"regression".into(), &3.into(), &7.into()));
    assert_eq!(json["order"].as_array().unwrap().len(), 7);
    assert_eq!(json["figures"][0]["name"], "wall time");
    assert!(json["figures"][0]["worse"]["low"].as_f64() > Some(1.5), "{json}");
    assert!(fs::read_to_string(&page).unwrap().contains("regression"));
    let text = compare(&options[..6], &slow, &fast).succeed().stdout;
    assert!(text.contains("improvement: ") && text.contains("by seed 3"), "{text}");
    let few = compare(&["--repeat", "2", "--json"], &fast, &slow).succeed().json();
    assert_eq!(few["verdict"], "cannot_tell");
}

#[test]
fn figures_come_from_the_json_of_a_replay() {
    let input = sample::path();
    let replay = |journaled: &str| {
        let words = [env!("CARGO_BIN_EXE_tickcore"), "replay", input.to_str().unwrap(), "--json", "--cores", "none"];
        let maxima = ["--instruments-max", "10000", "--orders-max", "40000", "--levels-max", "40000"];
        words.into_iter().chain(maxima).chain(["--latency-sample", journaled]).map(str::to_owned).collect::<Vec<_>>()
    };
    let json = compare(&["--repeat", "2", "--json", "--warm-up", "0"], &replay("8"), &replay("8")).succeed().json();
    let names: Vec<&str> = json["figures"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    for name in ["ns_per_message", "service_ns p50", "service_ns p99", "messages_per_second", "wall time"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(!json["notes"].to_string().contains("different digests"));
}

#[test]
fn stored_reports_are_set_side_by_side() {
    let scratch = tempdir().unwrap();
    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    stored(&a, &["--latency-sample", "4"]);
    stored(&b, &["--latency-sample", "4"]);
    // As fast as the machine was, and the same thing thrice as slow, on a machine that did not change.
    let path = b.join("report.json");
    let mut report: Value = serde_json::from_slice(&fs::read(a.join("report.json")).unwrap()).unwrap();
    let still = serde_json::json!({"step_ns": 10.0, "low_ns": 9.9, "high_ns": 10.0});
    report["machine"]["calibration"] = serde_json::json!({"before": still, "after": still});
    // What the machine did is shown and not compared.
    let stall = serde_json::json!({"name": "stalls_idle_ns", "origin": "stall"});
    let mut idle = report["stages"][0].clone();
    (idle["name"], idle["origin"]) = (stall["name"].clone(), stall["origin"].clone());
    report["stages"].as_array_mut().unwrap().push(idle);
    fs::write(a.join("report.json"), report.to_string()).unwrap();
    report["run"]["elapsed_ns"] = (report["run"]["elapsed_ns"].as_u64().unwrap() * 3).into();
    fs::write(&path, report.to_string()).unwrap();
    let mut command = tickcore();
    command.arg("compare").arg(&a).arg(&b).arg("--json");
    let json = command.finish().expect_code(1).json();
    assert_eq!((&json["verdict"], &json["figures"][0]["name"]), (&"regression".into(), &"ns_per_event".into()));
    assert!(!json["figures"].to_string().contains("stalls"), "{json}");
    let text = tickcore().arg("compare").arg(&a).arg(&a).args(["--threshold", "50"]).succeed().stdout;
    assert!(text.contains("same: B is not slower") && text.contains("multiplied by 1.000"), "{text}");
}

#[test]
fn wrong_usage_and_failing_commands_are_named() {
    let (fast, fails) = (sleeping("001"), ["false".to_owned()]);
    compare(&["--repeat", "1"], &fast, &fails).fail(1, &["false failed", "nothing to compare"]);
    compare(&["--repeat", "1"], &fast, &["no-such-program".to_owned()]).fail(1, &["cannot start no-such-program"]);
    compare(&["--repeat", "0"], &fast, &fast).fail(2, &["--repeat"]);
    compare(&["--threshold", "x"], &fast, &fast).fail(2, &["percentage"]);
    tickcore().arg("compare").fail(2, &["compare A B"]);
    tickcore().args(["compare", "--", "true"]).fail(2, &["two commands"]);
    tickcore().args(["compare", "--", "true", "--"]).fail(2, &["empty"]);
    tickcore().args(["compare", "one"]).fail(2, &["two reports"]);
}

#[test]
fn steps_of_load_have_a_knee() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("report");
    stored(&directory, &["--pace", "steps:100000:200000:2:600ms"]);
    let json = report_json(&directory);
    assert_eq!(json["load_steps"][0]["offered"], 100_000.0);
    assert!(json["load_steps"][0]["achieved"].as_f64() > Some(50_000.0), "{}", json["load_steps"]);
    let text = tickcore().arg("report").arg(&directory).succeed().stdout;
    assert!(text.contains("knee: "), "{text}");
}

/// The stage's values in the interval log, as the hdrhistogram crate reads them, and in the percentile file, as anybody does.
fn are_read_back(directory: &Path, name: &str, stage: &Value) {
    let log = fs::read(directory.join("latency.hlog")).unwrap();
    let mut all: Histogram<u64> = Histogram::new_with_bounds(1, Recorder::RANGE_MAX_NS, 3).unwrap();
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(line) = entry.unwrap()
            && line.tag().is_some_and(|tag| tag.as_str() == name)
        {
            let bytes = base64(line.encoded_histogram());
            let interval: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            all.add(&interval).unwrap();
        }
    }
    let (count, max) = (stage["count"].as_u64().unwrap(), stage["max"].as_u64().unwrap());
    assert_eq!(all.len(), count, "{name}");
    for (key, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)] {
        let theirs = all.value_at_quantile(quantile).min(max);
        assert_eq!(stage[key], theirs, "{name} {key}");
    }
    let text = fs::read_to_string(directory.join(format!("{name}.hgrm"))).unwrap();
    let rows: Vec<Vec<f64>> = text
        .lines()
        .map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<f64>>())
        .filter(|row| row.len() >= 3)
        .collect();
    assert!(rows.is_sorted_by(|one, other| one[0] <= other[0] && one[2] <= other[2]), "{name}: {text}");
    let last = rows.last().unwrap();
    assert_eq!((last[0], last[1], last[2]), (max as f64, 1.0, count as f64), "{name}");
    for row in &rows {
        let theirs = all.count_between(0, row[0] as u64);
        assert_eq!(row[2], theirs as f64, "{name}: values up to {}", row[0]);
    }
}

/// As in RFC 4648.
fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let places = text.bytes().filter(|byte| *byte != b'=');
    let sextets: Vec<u32> =
        places.map(|byte| LETTERS.iter().position(|letter| *letter == byte).unwrap() as u32).collect();
    let group = |four: &[u32]| {
        let word = four.iter().fold(0, |word, sextet| word << 6 | sextet) << (6 * (4 - four.len()));
        word.to_be_bytes()[1..four.len()].to_vec()
    };
    sextets.chunks(4).flat_map(group).collect()
}

/// Whose values stand in the report is shown elsewhere (`tests/stages.rs`); here, that all stages are, over time, and beside them
/// what the ring and the journal did.
#[test]
fn a_report_has_every_stage_over_time() {
    let scratch = tempdir().unwrap();
    let (directory, journal) = (scratch.path().join("report"), scratch.path().join("journal"));
    let options = ["--pace", "300000", "--latency-sample", "3", "--topology", "pipelined", "--oversubscribe"];
    stored(&directory, &[&options[..], &["--journal", journal.to_str().unwrap()]].concat());
    let json = report_json(&directory);
    let names: Vec<&str> = json["stages"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    let first = ["tick_to_bbo_ns", "service_ns"];
    let way = ["taken_up_ns", "decoded_ns", "published_ns", "taken_ns", "strategy_ns", "appended_ns", "written_ns"];
    let all = [&first[..], &way[..], &["durable_ns"][..]].concat();
    assert_eq!(names[..all.len()], all);
    let sampled = sample::golden().events / 3;
    for stage in json["stages"].as_array().unwrap().iter().take(all.len()) {
        let name = stage["name"].as_str().unwrap();
        let wanted = if name == "tick_to_bbo_ns" { sample::golden().events } else { sampled };
        assert_eq!(stage["count"], wanted, "{name}");
        let intervals = stage["intervals"].as_array().unwrap();
        assert!(intervals.len() > 1, "{name}: {} intervals in half a second", intervals.len());
        let counted: u64 = intervals.iter().filter_map(|one| one["count"].as_u64()).sum();
        assert_eq!(counted, wanted, "{name}: every value is in one interval");
        are_read_back(&directory, name, stage);
    }
    let gauges: Vec<&str> = json["gauges"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(gauges, ["throughput", "journal lag", "ring occupancy"]);
    assert_eq!(json["gauges"][2]["limit"], 16_384.0);
    assert!(json["run"]["probe_cost_ns"].as_f64() > Some(1.0));
    let text = tickcore().arg("report").arg(&directory).succeed().stdout;
    assert!(text.contains("with its record") && text.contains("durable_ns"), "{text}");
}
