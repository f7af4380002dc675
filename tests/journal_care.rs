//! `journal repair`, `journal compact` and looking at a journal's streams, as somebody would use them who has never before: what is asked, what is said, what is
//! left.

mod common;

use common::command::{Finish, identity, journal, replay_json};
use common::day::{generated, put};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::{TempDir, tempdir};
use tickcore::book::{Event, InstrumentId, Kind, Sequence, TimestampNs};
use tickcore::journal::{Metadata, Options, Writer};
use tickcore_replay_data::sample;

/// A sealed journal of the sample day in several segments.
fn journaled() -> (TempDir, PathBuf) {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    replay_json(&sample::path()).args(["--journal-segment", "1MiB", "--journal"]).arg(&directory).succeed();
    (scratch, directory)
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    files.filter(|(name, _)| name.contains(".tc")).collect()
}

#[test]
fn repair_asks_keeps_what_it_cuts_and_the_rest_is_replayed() {
    let (_scratch, directory) = journaled();
    // Of a good journal it has nothing to do, asked or not.
    let nothing = journal("repair", &directory).stdin(Stdio::null()).succeed();
    assert!(nothing.stdout.starts_with("0 steps"), "{}", nothing.stdout);
    let name = "segment-000003.tcj";
    let mut bytes = fs::read(directory.join(name)).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 0x40;
    fs::write(directory.join(name), &bytes).unwrap();
    let damaged = files(&directory);
    let verified = journal("verify", &directory).arg("--json").fail(1, &["damaged in 1 place"]).json();
    let lost_from = verified["damages"][0]["sequence"].as_u64().unwrap();

    // Without an answer nothing is done, and what would be is said.
    let refused = journal("repair", &directory).stdin(Stdio::null()).fail(1, &["nothing was changed", "--yes"]);
    let step = format!("before sequence {lost_from}");
    assert!(refused.stderr.contains(name) && refused.stderr.contains(&step), "{}", refused.stderr);
    assert_eq!(files(&directory), damaged);

    let json = journal("repair", &directory).args(["--yes", "--json"]).succeed().json();
    assert_eq!(json["last_sequence"].as_u64(), Some(lost_from - 1));
    assert!(!json["steps"].as_array().unwrap().is_empty());
    // Every file of before is there as it was, or under a name that ends in .cut.
    let after = files(&directory);
    for (name, bytes) in &damaged {
        let kept = after.get(name) == Some(bytes) || after.get(&format!("{name}.cut")) == Some(bytes);
        assert!(kept, "{name} is gone");
    }
    journal("verify", &directory).succeed();
    let cut = replay_json(&directory).succeed().json();
    assert_eq!(cut["events"].as_u64(), Some(lost_from - 1));
    // It is gone on with, to the same books as ever.
    let plain = replay_json(&sample::path()).succeed().json();
    let resumed = replay_json(&sample::path()).args(["--resume", "--journal"]).arg(&directory).succeed().json();
    assert_eq!(identity(&resumed), identity(&plain));
    assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&plain));
}

/// What cannot be gone on with is left as it is, however often it is tried; only recovery's work on it would stay.
#[test]
fn a_resume_that_is_refused_leaves_no_segment_behind() {
    let (scratch, directory) = journaled();
    let other = put(scratch.path(), "01312020.itch", &generated(20_000, 20, 8));
    let name = directory.join("segment-000002.tcj");
    let sound = files(&directory);
    let mut bytes = sound["segment-000002.tcj"].clone();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(&name, &bytes).unwrap();
    let damaged = files(&directory);
    let resume = |input: &Path, pace: &[&str], reason| {
        let mut command = replay_json(input);
        command.args(["--resume", "--journal"]).arg(&directory).args(pace).fail(1, &[reason]);
    };
    // At a pace a helper prepares segments meanwhile.
    for pace in [&[][..], &[], &["--pace", "10000000"]] {
        resume(&sample::path(), pace, "damaged");
        assert!(files(&directory) == damaged, "{:?}", files(&directory).keys());
    }
    // Nor does another input's journal grow.
    fs::write(&name, &sound["segment-000002.tcj"]).unwrap();
    resume(&other, &[], "does not belong to this input");
    assert!(files(&directory) == sound, "{:?}", files(&directory).keys());
}

/// A directory that is not mounted looks like an empty one, so that is said.
#[test]
fn a_resume_that_begins_anew_says_so() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let notice = format!("--resume: {} holds no journal: a new one is begun in it", directory.display());
    let mut resume = replay_json(&sample::path());
    resume.args(["--resume", "--journal"]).arg(&directory);
    for is_new in [true, false] {
        let run = resume.succeed();
        assert_eq!(run.stderr.matches(&notice).count(), usize::from(is_new), "{}", run.stderr);
        let machine = run.json()["machine"]["notices"].to_string();
        assert_eq!(machine.contains("a new one is begun in it"), is_new, "{machine}");
    }
}

/// What was never durable is for a resume to cut: a repair that has nothing to ask for changes nothing.
#[test]
fn what_a_crash_has_left_is_shown_and_not_repaired() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let options = Options { staging_bytes: 4 << 20, ..Options::default() };
    let mut writer = Writer::create(&directory, options, Metadata::default()).unwrap();
    for number in 1..=30 {
        writer.append(Sequence(number), &Event::default()).unwrap();
    }
    writer.flush().unwrap();
    drop(writer);
    let segment = fs::OpenOptions::new().write(true).open(directory.join("segment-000001.tcj")).unwrap();
    segment.write_all_at(&[7; 100], 64 << 10).unwrap();
    let before = files(&directory);
    let shown = journal("verify", &directory).succeed().stdout;
    assert!(shown.contains("is torn at offset") && shown.contains("--resume cuts them"), "{shown}");
    let json = journal("repair", &directory).stdin(Stdio::null()).arg("--json").succeed().json();
    assert_eq!(json, json!({"dir": directory.to_str(), "steps": [], "last_sequence": 30, "cut": null}));
    assert!(files(&directory) == before);
}

#[test]
fn events_are_found_by_the_time_of_day() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let options = Options { staging_bytes: 4 << 20, ..Options::default() };
    let mut writer = Writer::create(&directory, options, Metadata::default()).unwrap();
    // From 08:00 on the 30th of January 2020 in New York, one in each half hour.
    for number in 1..=30 {
        let time = TimestampNs((1_580_389_200 + (number - 1) * 1800) * 1_000_000_000);
        writer.append(Sequence(number), &Event::new(Kind::Delete, InstrumentId(1), time)).unwrap();
    }
    writer.finish().unwrap();
    let first = |time: &str| {
        journal("dump", &directory).args(["--json", "--count", "1", "--from-time", time]).succeed().json()["sequence"]
            .as_u64()
    };
    assert_eq!((first("09:30"), first("2020-01-30T14:30:00Z")), (Some(4), Some(4)));
    assert_eq!((first("09:31:00"), first("00:00")), (Some(5), Some(1)));
}

/// A limit for the size of files is a full disk like any other, and no signal.
#[test]
fn a_file_that_may_not_grow_fails_the_journal_and_not_the_process() {
    let scratch = tempdir().unwrap();
    for backend in ["portable", "io_uring"] {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -f 4096 && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_tickcore"), "replay"]);
        limited.arg(sample::path()).arg("--journal").arg(scratch.path().join(backend));
        limited.args(["--journal-backend", backend, "--oversubscribe", "--cores", "none"]).fail(1, &["File too large"]);
    }
}

#[test]
fn compacting_makes_it_small_and_every_verb_reads_it() {
    let (_scratch, directory) = journaled();
    let plain = replay_json(&directory).succeed().json();
    let dump = |from: &str| journal("dump", &directory).args(["--from", from, "--count", "5"]).succeed().stdout;
    let before = (dump("1"), dump("70000"), files(&directory));
    let json = journal("compact", &directory).arg("--json").succeed().json();
    let names = json["files"].as_array().unwrap();
    assert_eq!(names.len() + 1, before.2.len(), "all but the last");
    let ratio = json["bytes_after"].as_f64().unwrap() / json["bytes_before"].as_f64().unwrap();
    assert!(ratio < 0.3, "{ratio}");
    let after = files(&directory);
    assert!(names.iter().all(|name| after.contains_key(name.as_str().unwrap())) && after.len() == before.2.len());
    assert_eq!((dump("1"), dump("70000")), (before.0, before.1));
    journal("verify", &directory).succeed();
    assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&plain));
    let info = journal("info", &directory).arg("--json").succeed().json();
    assert_eq!(info["sequences"][1], plain["events"]);
    // Again there is nothing to do.
    let again = journal("compact", &directory).succeed();
    assert!(again.stdout.starts_with("0 segments compacted"), "{}", again.stdout);
    // Damage in it is found as ever, with its place; it is not cut, and that is said with what to do.
    let name = names[1].as_str().unwrap();
    let mut bytes = fs::read(directory.join(name)).unwrap();
    let place = bytes.len() / 2;
    bytes[place] ^= 1;
    fs::write(directory.join(name), &bytes).unwrap();
    let damage = journal("verify", &directory).arg("--json").fail(1, &["damaged"]).json();
    assert_eq!(damage["damages"][0]["file"], name);
    journal("repair", &directory).arg("--yes").fail(1, &[name, "put the file aside by hand"]);
    assert_eq!(fs::read(directory.join(name)).unwrap(), bytes, "nothing of it was changed");
}

#[test]
fn what_is_no_journal_is_neither_repaired_nor_compacted() {
    let scratch = tempdir().unwrap();
    fs::write(scratch.path().join("notes.txt"), "mine").unwrap();
    for verb in ["repair", "compact"] {
        journal(verb, scratch.path()).fail(1, &["no journal"]);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "{verb} leaves nothing behind");
    }
    journal("compact", scratch.path()).args(["--level", "77"]).fail(2, &["1..=19"]);
}

/// A journal of 30 inputs, with a mark of the third, and of two outputs of core 1.
#[test]
fn outputs_and_marks_are_shown() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let options = Options { output_streams: 2, staging_bytes: 4 << 20, ..Options::default() };
    let mut writer = Writer::create(&directory, options, Metadata::default()).unwrap();
    let event = |kind, number| Event::new(kind, InstrumentId(1), TimestampNs(number));
    for number in 1..=30 {
        if number == 3 {
            writer.mark(4, 4711, false);
        }
        writer.append(Sequence(number), &event(Kind::Delete, number)).unwrap();
    }
    for number in 1..=2 {
        writer.append_output(1, Sequence(number), &event(Kind::OrderIntent, 100 + number)).unwrap();
    }
    writer.finish().unwrap();

    let info = journal("info", &directory).arg("--json").succeed().json();
    assert_eq!((&info["records"], &info["sequences"]), (&32.into(), &vec![1, 30].into()));
    let streams = json!([
        {"stream": 0, "core": null, "records": 30, "sequences": [1, 30]},
        {"stream": 2, "core": 1, "records": 2, "sequences": [1, 2]},
    ]);
    assert_eq!(info["streams"], streams);
    assert_eq!(info["last_marks"], json!([{"channel": 4, "sequence": 3, "venue_sequence": 4711}]));
    assert_eq!(journal("verify", &directory).arg("--json").succeed().json()["streams"], streams);
    let shown = journal("info", &directory).succeed().stdout;
    assert!(shown.contains("outputs of core 1") && shown.contains("message 4711 was sequence 3"), "{shown}");
    assert!(journal("verify", &directory).succeed().stdout.contains("outputs of core 1: 2 records, 1 to 2"));

    let lines = |arguments: &[&str]| journal("dump", &directory).args(arguments).succeed().stdout;
    let marked = lines(&["--from", "3", "--count", "1"]);
    assert!(marked.ends_with("\"flags\":0,\"marks\":[{\"channel\":4,\"venue_sequence\":4711}]}\n"), "{marked}");
    assert_eq!(lines(&[]).matches("marks").count(), 1);
    let outputs = lines(&["--stream", "2", "--from", "2"]);
    assert!(outputs.starts_with("{\"sequence\":2,\"kind\":\"order_intent\""), "{outputs}");
    assert_eq!((outputs.lines().count(), lines(&["--stream", "1"]).lines().count()), (1, 0));
    journal("dump", &directory).args(["--stream", "65"]).fail(2, &["0..=64"]);
}
