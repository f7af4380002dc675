//! The main job through the built command: market data in, books and a journal out, the same books from the journal, in
//! every topology; and the command line's contract on the way.

mod common;

use common::command::{Finish, Finished, Running, identity, journal, replay, replay_json, tickcore, wait_until};
use common::day::{generated, put, sample_bytes};
use common::journal::written;
use common::reference::{MIDNIGHT, Reference, events_of, results_of};
use flate2::write::GzEncoder;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::tempdir;
use tickcore::book::{Event, InstrumentId, Sequence};
use tickcore::feed::session::{SessionDate, session_boundary};
use tickcore::journal::Status;
use tickcore_replay_data::sample;

const HOUR_NS: u64 = 3_600_000_000_000;

fn number(json: &Value) -> u64 {
    json.as_u64().unwrap_or_else(|| panic!("{json} is not a whole number"))
}

/// Pipelined, also where there are fewer than two cores.
const PIPELINED: [&str; 3] = ["--topology", "pipelined", "--oversubscribe"];
const SHARDED: [&str; 5] = ["--topology", "sharded", "--shards", "3", "--oversubscribe"];

/// Whatever else the machine does: that what was let in is drained is what these runs show, not how soon.
const DRAIN_DEADLINE: [&str; 2] = ["--drain-deadline", "60"];

fn started(input: &Path, arguments: &[&str], journal: &Path) -> Running {
    replay_json(input).args(arguments).args(DRAIN_DEADLINE).arg("--journal").arg(journal).start()
}

#[test]
fn every_way_through_the_engine_builds_the_books_of_the_reference() {
    let scratch = tempdir().unwrap();
    let path = sample::path();
    let expected = results_of(&events_of(&sample_bytes(), Some(MIDNIGHT)));
    let golden = serde_json::to_value(sample::golden()).unwrap();
    for key in ["events", "bbo_changes", "instruments", "live_orders", "levels", "state_digest", "stream_digest"] {
        assert_eq!(golden[key], expected[key], "{key}");
    }
    let (first, second) = (scratch.path().join("inline"), scratch.path().join("pipelined"));
    // With all defaults, as a newcomer runs it.
    let mut newcomer = tickcore();
    newcomer.arg("replay").arg(&path).arg("--json").arg("--journal").arg(&first);
    let runs = [
        ("inline, journaled", newcomer.succeed()),
        ("inline", replay_json(&path).succeed()),
        ("pipelined", replay_json(&path).args(PIPELINED).succeed()),
        ("pipelined, journaled", replay_json(&path).args(PIPELINED).arg("--journal").arg(&second).succeed()),
        ("the journal of inline", replay_json(&first).succeed()),
        ("the journal of pipelined", replay_json(&second).succeed()),
        ("the journal of inline, pipelined", replay_json(&first).args(PIPELINED).succeed()),
        ("sharded by activity", replay_json(&path).args(SHARDED).succeed()),
        ("sharded by hash", replay_json(&path).args(SHARDED).args(["--shard-by", "hash"]).succeed()),
        ("sharded, as many as fit", replay_json(&path).args(["--topology", "sharded", "--oversubscribe"]).succeed()),
        ("the journal of inline, sharded", replay_json(&first).args(SHARDED).succeed()),
        ("not pinned", replay_json(&path).args(["--cores", "none"]).succeed()),
    ];
    for (name, run) in &runs {
        assert_eq!(identity(&run.json()), identity(&expected), "{name}");
    }
    for directory in [first, second] {
        assert_eq!(journal("verify", &directory).succeed().stderr, "");
    }
}

/// The keys of the contract, with what each has to be.
#[test]
fn the_json_object_has_every_key_of_the_contract() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let json = replay_json(&sample::path()).args(["--pace", "1000000", "--journal"]).arg(&directory).succeed().json();
    let is_hex =
        |value: &Value| value.as_str().is_some_and(|text| text.len() == 16 && u64::from_str_radix(text, 16).is_ok());
    assert_eq!(json["input"], json!([sample::path()]));
    assert!(json["format"].is_string());
    let whole = "messages events crossed locked instruments stale_instruments live_orders levels bbo_changes elapsed_ns \
        skipped.unknown_type skipped.malformed skipped.truncated_bytes anomalies.unknown_order \
        anomalies.duplicate_order anomalies.overfill anomalies.capacity anomalies.gap journal.first_sequence \
        journal.last_sequence journal.written_sequence journal.durable_sequence journal.bytes journal.segments \
        machine.huge_pages";
    let latency = ["count", "p50", "p90", "p99", "p99_9", "p99_99", "max"];
    let latencies = ["service_ns", "latency_ns"].map(|key| latency.map(|value| format!("{key}.{value}")));
    for path in whole.split_whitespace().map(str::to_owned).chain(latencies.into_iter().flatten()) {
        let value = path.split('.').fold(&json, |value, key| &value[key]);
        assert!(value.is_u64(), "{path}: {value}");
    }
    assert!(is_hex(&json["state_digest"]) && is_hex(&json["stream_digest"]), "{json}");
    assert!(json["ns_per_message"].is_f64() && json["messages_per_second"].is_f64());
    assert!(json["journal"]["errors"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(json["journal"]["dir"], json!(directory));
    let machine = &json["machine"];
    assert!(machine["cpu"].is_string() && machine["cores"].is_array() && machine["pinned"] == true, "{machine}");
    assert_eq!(machine["topology"], "inline");
    let backend = machine["journal_backend"].as_str().unwrap_or_default();
    assert!(["io_uring_fixed", "io_uring", "portable"].contains(&backend), "{machine}");
    // The watermarks met at the end.
    let events = &json["events"];
    for key in ["last_sequence", "written_sequence", "durable_sequence"] {
        assert_eq!(json["journal"][key], *events);
    }
    assert_eq!((&json["journal"]["first_sequence"], &json["journal"]["segments"]), (&json!(1), &json!(1)));

    // What kept the threads from looping, for all and for each.
    for key in ["idle_ns", "working_ns"] {
        assert!(json["stalls"][key]["count"].is_u64(), "{json}");
    }
    assert_eq!(json["stalls"]["threshold_ns"], 20_000);
    let threads = json["threads"].as_array().unwrap();
    let roles: Vec<&Value> = threads.iter().map(|thread| &thread["role"]).collect();
    assert_eq!(roles, ["book", "journal"]);
    assert!(threads.iter().all(|thread| thread["events"] == *events), "{threads:?}");

    let plain = replay_json(&sample::path()).succeed().json();
    assert!(plain["journal"].is_null() && plain["latency_ns"].is_null(), "{plain}");
    assert!(plain["machine"]["journal_backend"].is_null());
    assert_eq!(plain["messages"], sample::golden().messages);
}

#[test]
fn exit_codes_tell_failure_from_wrong_usage() {
    let scratch = tempdir().unwrap();
    let absent = scratch.path().join("absent");
    replay(&absent).fail(1, &["absent"]);
    let noise = put(scratch.path(), "noise", &[0xFF; 4096]);
    replay(&noise).fail(1, &["noise"]);
    tickcore().fail(2, &["Usage"]);
    let sample = sample::path();
    let wrong: [(&[&str], &str); 8] = [
        (&["--no-such"], "--no-such"),
        (&["--topology", "round"], "inline"),
        (&["--pace", "fast"], "1000000"),
        (&["--from", "noon"], "HH:MM"),
        (&["--date", "yesterday"], "yesterday"),
        (&["--resume"], "--journal"),
        (&["--cores", "a"], "none"),
        (&["--orders-max", "4294967295"], "4294967295"),
    ];
    for (arguments, word) in wrong {
        tickcore().arg("replay").arg(&sample).args(arguments).fail(2, &[word]);
    }
    replay(&sample).args(["--cores", "1000"]).fail(1, &["1000", "--cores none"]);
    replay(&sample).args(["--cores", "0", "--topology", "pipelined"]).fail(2, &["--oversubscribe"]);
    replay(&sample).args(["--cores", "0-1", "--topology", "sharded", "--shards", "2"]).fail(2, &["--oversubscribe"]);
    replay(&sample).args(["--topology", "sharded", "--shards", "0"]).fail(2, &["from 1"]);
    replay(&sample).args(["--shards", "2"]).fail(2, &["topology sharded"]);
    tickcore().arg("export").arg(&sample).args(["--schema", "candles"]).fail(2, &["mbp-N"]);
    assert!(tickcore().arg("--help").succeed().stdout.contains("replay"));
    assert!(tickcore().arg("man").succeed().stdout.contains("tickcore"));
    assert!(tickcore().args(["completions", "bash"]).succeed().stdout.contains("tickcore"));
}

#[test]
fn the_summary_and_the_histogram_are_printed_for_people() {
    let stdout = replay(&sample::path()).succeed().stdout;
    let golden = sample::golden();
    for word in [golden.state_digest.as_str(), &golden.stream_digest, "p50", "p99.99", "max", "count", "service"] {
        assert!(stdout.contains(word), "{word:?} is missing in: {stdout}");
    }
}

#[test]
fn a_directory_that_holds_something_is_not_written_to() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    replay(&sample::path()).arg("--journal").arg(&directory).succeed();
    let before = fs::read(directory.join("segment-000001.tcj")).unwrap();
    replay(&sample::path()).arg("--journal").arg(&directory).fail(1, &["resume"]);
    assert!(fs::read(directory.join("segment-000001.tcj")).unwrap() == before, "the journal was touched");
    let other = scratch.path().join("other");
    fs::create_dir(&other).unwrap();
    put(&other, "letter.txt", b"dear");
    replay(&sample::path()).arg("--journal").arg(&other).fail(1, &["other"]);
    replay(&sample::path()).args(["--resume", "--journal"]).arg(&other).fail(1, &["other"]);
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    replay(&directory).arg("--journal").arg(&directory).fail(2, &["itself"]);
}

#[test]
fn a_journal_is_resumed_with_its_own_input_only() {
    let scratch = tempdir().unwrap();
    let (input, directory) = (sample::path(), scratch.path().join("journal"));
    let whole = replay_json(&input).succeed().json();
    let events = number(&whole["events"]);
    // Begun by --resume in a directory that is not there; cut short in the middle of the day.
    let head = replay_json(&input).args(["--to", "10:00", "--resume", "--journal"]).arg(&directory).succeed().json();
    let head_events = number(&head["events"]);
    assert!((1_000..events - 1_000).contains(&head_events), "{head_events}");
    let mut before = head_events;
    for topology in [&[][..], &PIPELINED] {
        let mut resume = replay_json(&input);
        let resumed = resume.args(topology).args(["--resume", "--journal"]).arg(&directory).succeed().json();
        assert_eq!(identity(&resumed), identity(&whole));
        assert_eq!(resumed["journal"]["compared_events"], before);
        assert_eq!(resumed["journal"]["last_sequence"], events);
        assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&whole));
        before = events;
    }
    // The input ends before the journal does, and another input altogether.
    let sealed = replay_json(&directory).succeed().json();
    let belongs = "does not belong to this input";
    let bytes = sample_bytes();
    let half = put(scratch.path(), "half_01302020.itch", &bytes[..bytes.len() / 2]);
    replay(&half).args(["--resume", "--journal"]).arg(&directory).fail(1, &[belongs]);
    // A run that is told to end before the journal does says nothing about what belongs to what.
    let part = replay_json(&input).args(["--to", "10:00", "--resume", "--journal"]).arg(&directory).succeed().json();
    assert_eq!(part["journal"]["compared_events"], head_events);
    let other_maxima = ["--orders-max", "1000", "--resume", "--journal"];
    tickcore().arg("replay").arg(&input).args(other_maxima).arg(&directory).fail(2, &["maxima"]);
    let other = put(scratch.path(), "other_01302020.itch", &generated(150_000, 200, 7));
    replay(&other).args(["--resume", "--journal"]).arg(&directory).fail(1, &[belongs]);
    replay(&other).args(PIPELINED).args(["--resume", "--journal"]).arg(&directory).fail(1, &[belongs]);
    assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&sealed), "nothing was added");
    journal("verify", &directory).succeed();
}

#[test]
fn a_directory_has_one_writer() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let mut first = started(&sample::path(), &["--pace", "10000"], &directory);
    wait_until("the first event to be written", || written(&directory) > 0);
    replay(&sample::path()).args(["--resume", "--journal"]).arg(&directory).fail(1, &["another process"]);
    // Reading while it is written is fine.
    journal("info", &directory).succeed();
    first.signal(Signal::INT);
    assert!(first.wait().success());
}

#[test]
fn symbols_choose_books_and_leave_the_journal_whole() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let chosen = sample::golden().final_bbos[4].clone();
    let symbols = format!("{},SAAAB", chosen.symbol);
    let mut command = replay_json(&sample::path());
    let json = command.args(["--symbols", &symbols, "--journal"]).arg(&directory).succeed().json();
    let events = events_of(&sample_bytes(), Some(MIDNIGHT));
    let mut reference = Reference::new();
    let is_chosen = |event: &&Event| [InstrumentId::ALL, InstrumentId(2), InstrumentId(5)].contains(&event.instrument);
    events.iter().filter(is_chosen).for_each(|event| reference.apply(event));
    let expected = reference.results();
    for key in ["state_digest", "stream_digest", "bbo_changes", "live_orders", "levels", "anomalies"] {
        assert_eq!(json[key], expected[key], "{key}");
    }
    assert_eq!(number(&json["events"]), events.len() as u64);
    let whole = replay_json(&sample::path()).succeed().json();
    assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&whole));
    let filtered = replay_json(&directory).args(["--symbols", &symbols]).succeed().json();
    assert_eq!(filtered["state_digest"], json["state_digest"]);
    replay(&sample::path()).args(["--symbols", "SAAAB,NOPE"]).fail(1, &["NOPE"]);
}

#[test]
fn times_choose_a_part_of_the_day_with_and_without_a_date() {
    let scratch = tempdir().unwrap();
    let undated = put(scratch.path(), "day.itch", &sample_bytes());
    let bytes = sample_bytes();
    for (midnight, input) in [(Some(MIDNIGHT), sample::path()), (None, undated.clone())] {
        let start = midnight.map_or(0, |midnight| midnight.get());
        let events = events_of(&bytes, midnight);
        let end = start + 11 * HOUR_NS;
        let count = events.iter().position(|event| event.exchange_time.get() > end).unwrap();
        let expected = results_of(&events[..count]);
        let json = replay_json(&input).args(["--to", "11:00:00"]).succeed().json();
        assert_eq!(identity(&json), identity(&expected), "{}", input.display());
        assert_eq!(json["times_since_midnight"], midnight.is_none());
        // Books are built from the first event on; what is measured begins at --from.
        let first = events.iter().position(|event| event.exchange_time.get() >= start + 10 * HOUR_NS).unwrap();
        let mut command = replay_json(&input);
        command.args(["--from", "10:00", "--to", "11:00:00", "--pace", "1000000"]);
        let json = command.succeed().json();
        assert_eq!(identity(&json), identity(&expected));
        assert_eq!(json["latency_ns"]["count"], (count - first) as u64);
    }
    let expected = replay_json(&sample::path()).args(["--to", "11:00"]).succeed().json();
    let moment = "2020-01-30T16:00:00Z";
    let json = replay_json(&sample::path()).args(["--to", moment]).succeed().json();
    assert_eq!(identity(&json), identity(&expected));
    replay(&undated).args(["--to", moment]).fail(2, &["--date"]);
    let mut dated = replay_json(&undated);
    assert_eq!(identity(&dated.args(["--to", moment, "--date", "2020-01-30"]).succeed().json()), identity(&expected));
    assert!(replay(&undated).succeed().stdout.contains("midnight"), "the summary says what times are");
}

#[test]
fn a_paced_run_measures_every_event() {
    let events = sample::golden().events;
    for topology in [&[][..], &PIPELINED, &SHARDED] {
        let json = replay_json(&sample::path()).args(["--pace", "100000"]).args(topology).succeed().json();
        assert_eq!(json["latency_ns"]["count"], events);
        assert_eq!(json["state_digest"], sample::golden().state_digest);
        assert!(number(&json["elapsed_ns"]) >= (events - 1) * 10_000, "no faster than 100,000 events a second");
    }
}

#[test]
fn memory_is_shown_and_nothing_is_built() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let stdout = tickcore()
        .arg("replay")
        .arg(sample::path())
        .args(["--memory", "--orders-max", "1000000000", "--journal"])
        .arg(&directory)
        .succeed()
        .stdout;
    assert!(stdout.contains("orders") && stdout.contains("bytes") && stdout.contains("1,000,000,000"), "{stdout}");
    assert!(!directory.exists());
    let without_input = tickcore().args(["replay", "--memory", "--orders-max", "1000000000"]).succeed().stdout;
    assert_eq!(without_input, stdout);
    tickcore().args(["replay", "--orders-max", "1000000000"]).fail(2, &["INPUT"]);
}

/// The map that is printed is the map that a run can be given, and says the same as none.
#[test]
fn a_printed_shard_map_can_be_given() {
    let scratch = tempdir().unwrap();
    let printed = replay(&sample::path()).args(SHARDED).arg("--print-shard-map").succeed().stdout;
    assert!(printed.starts_with("instrument,shard,symbol,sampled_events\n1,"), "{printed}");
    assert_eq!(printed.lines().count(), 1 + sample::golden().instruments as usize);
    let path = put(scratch.path(), "map.csv", printed.as_bytes());
    let [measured, given] = [&[][..], &["--shard-map", path.to_str().unwrap()]]
        .map(|arguments| replay_json(&sample::path()).args(SHARDED).args(arguments).succeed().json());
    assert_eq!(identity(&measured), identity(&given));
    let events = |json: &Value| -> Vec<u64> {
        let threads = json["threads"].as_array().unwrap();
        threads.iter().filter(|thread| thread["role"] == "book").map(|thread| number(&thread["events"])).collect()
    };
    assert_eq!((events(&measured).len(), events(&measured)), (3, events(&given)));
    // By activity the cores have about the same.
    let (most, least) = (events(&given).into_iter().max().unwrap(), events(&given).into_iter().min().unwrap());
    assert!(most - least < most / 10, "{most} and {least}");
    let nonsense = put(scratch.path(), "nonsense.csv", b"1,9");
    replay(&sample::path()).args(SHARDED).arg("--shard-map").arg(nonsense).fail(2, &["line 1"]);
}

#[test]
fn the_same_bytes_in_any_compression_are_the_same_input() {
    let scratch = tempdir().unwrap();
    let bytes = sample_bytes();
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    // No name says what is in it.
    let plain = put(scratch.path(), "a_01302020", &bytes);
    let gzip = put(scratch.path(), "b_01302020", &gzip.finish().unwrap());
    let zstd = put(scratch.path(), "c_01302020", &zstd::encode_all(&bytes[..], 1).unwrap());
    let runs = [plain, gzip, zstd].map(|path| replay_json(&path).succeed().json());
    let formats: Vec<&Value> = runs.iter().map(|json| &json["format"]).collect();
    assert!(formats[0] != formats[1] && formats[1] != formats[2], "{formats:?}");
    for json in &runs {
        assert_eq!(json["state_digest"], sample::golden().state_digest);
        assert_eq!(json["stream_digest"], sample::golden().stream_digest);
        assert_eq!(json["messages_by_type"], serde_json::to_value(sample::golden().messages_by_type).unwrap());
    }
}

/// The second file's instruments come behind those of the first, whose orders are all gone.
#[test]
fn two_inputs_are_two_sessions() {
    let scratch = tempdir().unwrap();
    let (first, second) = (sample_bytes(), generated(20_000, 50, 3));
    let path = put(scratch.path(), "20200131.itch", &second);
    let next_day = SessionDate::new(2020, 1, 31).unwrap().midnight();
    let mut events = events_of(&first, Some(MIDNIGHT));
    events.extend(session_boundary(Some(next_day)));
    events.extend(events_of(&second, Some(next_day)).into_iter().map(|event| Event {
        instrument: InstrumentId(if event.instrument == InstrumentId::ALL { 0 } else { event.instrument.get() + 200 }),
        ..event
    }));
    let expected = results_of(&events);
    let directory = scratch.path().join("journal");
    let json = replay_json(&sample::path()).arg(&path).arg("--journal").arg(&directory).succeed().json();
    assert_eq!(identity(&json), identity(&expected));
    assert_eq!(json["input"], json!([sample::path(), path]));
    assert_eq!(json["messages"], sample::golden().messages + 20_000);
    assert_eq!(identity(&replay_json(&directory).args(PIPELINED).succeed().json()), identity(&expected));
    replay(&directory).arg(&path).fail(2, &["alone"]);
    let undated = put(scratch.path(), "undated.itch", &second);
    replay(&sample::path()).arg(&undated).fail(2, &["undated", "date"]);
    replay(&sample::path()).arg(&path).args(["--pace", "realtime"]).fail(2, &["one session"]);
    replay(&sample::path()).arg(&path).args(["--date", "20200130"]).fail(2, &["several inputs"]);
}

/// What cannot begin leaves nothing behind: the corrected command may follow at once.
#[test]
fn a_run_that_never_began_leaves_no_journal() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    replay(&sample::path()).args(["--cores", "1000", "--journal"]).arg(&directory).fail(1, &["1000"]);
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    replay(&sample::path()).arg("--journal").arg(&directory).succeed();
}

/// A day with clear times of day is found again in its journal without being told the date.
#[test]
fn a_journal_knows_the_day_of_its_events() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    replay(&sample::path()).arg("--journal").arg(&directory).succeed();
    let of_file = replay_json(&sample::path()).args(["--to", "10:00"]).succeed().json();
    let of_journal = replay_json(&directory).args(["--to", "10:00"]).succeed().json();
    assert_eq!(identity(&of_journal), identity(&of_file));
}

#[test]
fn an_interrupt_drains_what_was_let_in() {
    let scratch = tempdir().unwrap();
    for (round, topology) in [&[][..], &PIPELINED, &SHARDED].into_iter().enumerate() {
        let directory = scratch.path().join(round.to_string());
        let mut run = started(&sample::path(), &[&["--pace", "20000"], topology].concat(), &directory);
        wait_until("a thousand events to be written", || written(&directory) > 1_000);
        run.signal(Signal::INT);
        let json = run.finish().expect_code(0).json();
        let count = number(&json["events"]);
        assert!((1_000..sample::golden().events).contains(&count), "{count}");
        for key in ["last_sequence", "durable_sequence"] {
            assert_eq!(json["journal"][key], count, "{key}");
        }
        let events = events_of(&sample_bytes(), Some(MIDNIGHT));
        assert_eq!(identity(&json), identity(&results_of_prefix(&events, count)));
        assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&json));
        assert_eq!(Status::open(&directory).unwrap().read().watermarks.durable, Sequence(count));
    }
}

fn results_of_prefix(events: &[Event], count: u64) -> Value {
    results_of(&events[..usize::try_from(count).expect("fits")])
}

/// Runs a command whose reader goes away after `lines` lines: what `| head` does.
fn read_head(mut command: std::process::Command, lines: usize) -> Finished {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..lines {
        assert!(reader.read_line(&mut String::new()).unwrap() > 0);
    }
    drop(reader);
    Finished::of(child.wait_with_output().unwrap())
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    replay(&sample::path()).arg("--journal").arg(&directory).succeed();
    let mut export = tickcore();
    export.arg("export").arg(sample::path()).args(["--schema", "mbo"]);
    let commands: [(std::process::Command, usize); 8] = [
        (export, 2),
        (journal("dump", &directory), 2),
        (journal("info", &directory), 0),
        (journal("verify", &directory), 0),
        (replay_json(&sample::path()), 0),
        (replay(&sample::path()), 0),
        (book_of("SAAAB"), 0),
        (completions(), 0),
    ];
    for (command, lines) in commands {
        let name = format!("{command:?}");
        let finished = read_head(command, lines);
        assert!(!finished.stderr.contains("panicked"), "{name}: {}", finished.stderr);
        finished.expect_code(0);
    }
}

fn book_of(symbol: &str) -> std::process::Command {
    let mut command = tickcore();
    command.arg("book").arg(sample::path()).args(["--symbol", symbol]);
    command
}

fn completions() -> std::process::Command {
    let mut command = tickcore();
    command.args(["completions", "bash"]);
    command
}

#[test]
fn the_generator_writes_the_same_day_again() {
    let scratch = tempdir().unwrap();
    let paths: [PathBuf; 2] = ["a.itch", "b.itch"].map(|name| scratch.path().join(name));
    for path in &paths {
        let mut generate = tickcore();
        generate.args(["generate", "--messages", "5000", "--instruments", "20", "--seed", "9", "-o"]).arg(path);
        assert_eq!(generate.succeed().stdout, "");
        generate.fail(1, &["--force"]);
        generate.arg("--force").succeed();
    }
    assert!(fs::read(&paths[0]).unwrap() == fs::read(&paths[1]).unwrap());
    assert_eq!(fs::read(&paths[0]).unwrap(), generated(5_000, 20, 9));
    let mut impossible = tickcore();
    impossible.args(["generate", "--messages", "1", "--instruments", "0", "-o"]).arg(scratch.path().join("c"));
    impossible.fail(2, &["instruments"]);
}
