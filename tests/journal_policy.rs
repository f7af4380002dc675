//! What the flags of a journal promise, through the real command: what is kept, when it is synced, what runs when a segment is
//! sealed, and what a run does whose journal fails or does not keep up.

mod common;

use common::command::{Finish, Finished, identity, journal, replay, replay_json, tickcore, wait_until};
use common::day::{generated, put};
use common::journal::written;
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;
use tempfile::tempdir;
use tickcore::feed::ring::bbo::BboUpdate;
use tickcore::feed::ring::shared::{Attached, Content};
use tickcore::journal::Status;
use tickcore_replay_data::sample;

/// Segments of 16,000 events and some.
const SMALL: [&str; 2] = ["--journal-segment", "1MiB"];

fn sampled(directory: &Path) -> Command {
    let mut command = replay_json(&sample::path());
    command.args(SMALL).arg("--journal").arg(directory);
    command
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    let mut paths: Vec<PathBuf> = entries.unwrap_or_default();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tcj"));
    paths.sort();
    paths
}

/// Runs a command whose segment of this number has no place: a directory of that name stands in its way, from when the first
/// one is there until the command has said `word` on standard error.
fn with_obstacle(command: &mut Command, directory: &Path, number: u64, word: &str) -> Finished {
    let mut run = command.start();
    wait_until("the first segment", || !segments(directory).is_empty());
    let obstacle = directory.join(format!("segment-{number:06}.tcj"));
    fs::create_dir(&obstacle).unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(run.take_stderr());
    while !said.contains(word) {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{word:?} is missing in: {said}");
    }
    fs::remove_dir(&obstacle).unwrap();
    // Standard output is one line, which a pipe holds.
    lines.read_to_string(&mut said).unwrap();
    let mut finished = run.finish();
    finished.stderr = said;
    finished
}

/// The journal up to its durable sequence: whole, and the books of it are those of the same events of the input.
fn is_a_good_beginning(directory: &Path, json: &Value) {
    let resumed = sampled(directory).arg("--resume").succeed().json();
    assert_eq!(identity(&resumed), identity(&replay_json(&sample::path()).succeed().json()));
    assert!(resumed["journal"]["compared_events"].as_u64() >= json["journal"]["durable_sequence"].as_u64());
    journal("verify", directory).succeed();
}

#[test]
fn a_journal_that_fails_stops_the_run_unless_it_is_to_carry_on() {
    let plain = replay_json(&sample::path()).succeed().json();
    let scratch = tempdir().unwrap();
    for policy in ["stop", "carry-on"] {
        let directory = scratch.path().join(policy);
        let mut command = sampled(&directory);
        command.args(["--pace", "60000", "--journal-ahead", "1", "--journal-failure", policy]);
        let ring = PathBuf::from(format!("/dev/shm/tickcore-test-{policy}-{}.ring", std::process::id()));
        command.arg("--bbo-ring").arg(&ring);
        let report = scratch.path().join(format!("report-{policy}"));
        command.arg("--report").arg(&report);
        let reading = thread::spawn(move || flagged_updates(&ring));
        let finished = with_obstacle(&mut command, &directory, 4, "the journal failed");
        let (unflagged, flagged) = reading.join().unwrap();
        let carries_on = policy == "carry-on";
        let finished = finished.expect_code(if carries_on { 0 } else { 1 });
        let json = finished.json();
        assert_eq!((&json["journal"]["failed"], &json["unjournaled"]), (&true.into(), &carries_on.into()));
        assert!(finished.stderr.contains("segment-000004.tcj"), "{}", finished.stderr);
        assert_eq!(finished.stderr.contains("UNJOURNALED"), carries_on, "{}", finished.stderr);
        let durable = json["journal"]["durable_sequence"].as_u64().unwrap();
        assert!(durable > 500 && durable < plain["events"].as_u64().unwrap(), "{durable}");
        assert!(unflagged > 100 && (flagged > 1_000) == carries_on, "{unflagged} and {flagged} updates");
        if carries_on {
            assert_eq!(identity(&json), identity(&plain), "the books do not suffer");
            assert!(finished.stderr.matches("goes on UNJOURNALED").count() == 1, "said at once, and once");
        } else {
            assert!(json["events"].as_u64() < plain["events"].as_u64(), "it stopped");
            assert_eq!(json["end"], "stopped");
        }
        is_a_good_beginning(&directory, &json);
        let report: Value = serde_json::from_slice(&fs::read(report.join("report.json")).unwrap()).unwrap();
        let gauges = report["gauges"].as_array().unwrap();
        let occupancy = gauges.iter().find(|gauge| gauge["name"] == "ring occupancy").unwrap();
        let lines: Vec<f64> = occupancy["points"].as_array().unwrap().iter().filter_map(|at| at[1].as_f64()).collect();
        let most = lines.iter().copied().fold(0.0, f64::max);
        assert!(Some(most) <= occupancy["limit"].as_f64(), "{policy}: a journal that is gone still read: {lines:?}");
    }
    // The control: what is checked above does not hold of a journal that is well.
    let directory = scratch.path().join("well");
    let json = sampled(&directory).args(["--journal-failure", "carry-on"]).succeed().json();
    assert_eq!((&json["journal"]["failed"], &json["unjournaled"]), (&false.into(), &false.into()));
    assert_eq!(json["journal"]["durable_sequence"], json["events"]);
}

/// Updates without and with the flag; the flag comes once and stays.
fn flagged_updates(path: &Path) -> (u64, u64) {
    wait_until("the ring to be there", || Attached::open_with(path, Content::BboUpdates).is_ok());
    let attached = Attached::open_with(path, Content::BboUpdates).unwrap();
    let mut reader = attached.reader();
    let (mut unflagged, mut flagged) = (0, 0);
    while !reader.is_closed_and_drained() {
        let polled = reader.poll(usize::MAX, |_, event| {
            let update = BboUpdate::from_event(event).expect("nothing else is in this ring");
            match update.is_unjournaled {
                true => flagged += 1,
                false if flagged == 0 => unflagged += 1,
                false => panic!("the flag was taken back"),
            }
        });
        assert_eq!(polled.lost, 0, "the ring holds a sixth of a second");
        thread::sleep(Duration::from_millis(1));
    }
    (unflagged, flagged)
}

#[test]
fn a_segment_that_cannot_be_prepared_is_told_of_in_time_and_once() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    // Asked for when an eighth of the first is full, and needed long after that.
    let mut command = replay_json(&sample::path());
    command
        .args(["--pace", "30000", "--journal-ahead", "1", "--journal-segment", "32MiB", "--journal"])
        .arg(&directory);
    let warning = "segment 2 of the journal cannot be prepared";
    let finished = with_obstacle(&mut command, &directory, 2, warning).expect_code(0);
    let json = finished.json();
    assert_eq!(finished.stderr.matches(warning).count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains("make room"), "with the cure: {}", finished.stderr);
    assert_eq!(json["journal"]["warnings"].as_array().map(Vec::len), Some(1));
    assert_eq!(json["journal"]["failed"], false, "it was cured in time");
    let control = sampled(&scratch.path().join("control")).succeed();
    assert!(!control.stderr.contains("cannot be prepared"), "{}", control.stderr);
    assert_eq!(control.json()["journal"]["warnings"], Value::Array(Vec::new()));
}

#[test]
fn each_sealed_segment_is_given_to_the_command_once() {
    let scratch = tempdir().unwrap();
    let (directory, list) = (scratch.path().join("journal"), scratch.path().join("list"));
    // What it prints must not come among the JSON.
    let command =
        format!(r#"test -s "$1" && echo "$TICKCORE_JOURNAL $1 $TICKCORE_SEGMENT" | tee -a '{}'"#, list.display());
    let mut run = replay_json(&sample::path());
    // Slow enough that the telling keeps up, whatever else the machine does.
    run.args(SMALL).args(["--pace", "30000", "--journal-on-seal", &command, "--journal"]).arg(&directory);
    let mut run = run.start();
    let told_count = || fs::read_to_string(&list).map_or(0, |lines| lines.lines().count());
    wait_until("five segments that were told of", || told_count() >= 5);
    run.signal(Signal::KILL);
    run.wait();
    let json = sampled(&directory).args(["--resume", "--journal-on-seal", &command]).succeed().json();
    let all = segments(&directory);
    let lines = fs::read_to_string(&list).unwrap();
    let told: Vec<&str> = lines.lines().collect();
    let expected: Vec<String> = all
        .iter()
        .map(|segment| format!("{} {} {}", directory.display(), segment.display(), segment.display()))
        .collect();
    let commands = json["journal"]["on_seal"]["commands"].as_u64().unwrap() as usize;
    assert!(commands > 3 && commands < all.len(), "{commands} of {}", all.len());
    // The resumed run told of the segment that recovery sealed, and of its own; the killed one of its first, in order.
    let (before, after) = told.split_at(told.len() - commands);
    assert!(before.len() >= 5 && expected.iter().zip(before).all(|(one, other)| one == other), "{before:#?}");
    assert_eq!(after, &expected[all.len() - commands..]);
    // Between them at most the one that was being told of when it was killed.
    assert!(before.len() + commands + 1 >= all.len(), "{} and {commands} of {}", before.len(), all.len());
    assert_eq!(json["journal"]["on_seal"]["failed"], 0);

    let failing = scratch.path().join("failing");
    let finished = sampled(&failing).args(["--journal-on-seal", "exit 3"]).succeed();
    let json = finished.json();
    assert!(finished.stderr.contains("--journal-on-seal failed"), "{}", finished.stderr);
    assert_eq!(json["journal"]["on_seal"]["failed"], json["journal"]["on_seal"]["commands"]);
    assert_eq!(json["journal"]["on_seal"]["failed"], segments(&failing).len());
    assert_eq!(sampled(&scratch.path().join("none")).succeed().json()["journal"]["on_seal"], Value::Null);
}

#[test]
fn the_oldest_segments_go_and_what_is_left_is_resumed() {
    let plain = replay_json(&sample::path()).succeed().json();
    for keep in [["--journal-keep-count", "2"], ["--journal-keep-size", "2500KiB"], ["--journal-keep-time", "20min"]] {
        eprintln!("{keep:?}");
        let scratch = tempdir().unwrap();
        let directory = scratch.path().join("journal");
        // Limits without a word on checkpoints: none are made, which would hold segments beyond the limits.
        sampled(&directory).args(keep).args(["--to", "14:30"]).succeed();
        let resumed = sampled(&directory).args(keep).arg("--resume").succeed().json();
        assert_eq!(identity(&resumed), identity(&plain));
        let first = resumed["journal"]["first_sequence"].as_u64().unwrap();
        assert!(first > 30_000, "{first}");
        assert_eq!(resumed["journal"]["last_sequence"], resumed["events"]);
        assert!(resumed["journal"]["compared_events"].as_u64() > Some(0), "what is left was compared");
        assert!(segments(&directory).len() < 6, "{:?}", segments(&directory));
        journal("verify", &directory).succeed();
        replay(&directory).fail(1, &[&format!("begins at sequence {first}")]);
        // Another input is still found out.
        let other = put(scratch.path(), "01302020.itch", &generated(150_000, 200, 77));
        let other = replay(&other).args(SMALL).args(keep).args(["--resume", "--journal"]).arg(&directory).finish();
        assert!(other.stderr.contains("does not belong to this input"), "{}", other.stderr);
    }
}

#[test]
fn limits_that_wait_for_checkpoints_that_cannot_be_made_are_told_of() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let keep = ["--journal-keep-count", "2"];
    sampled(&directory).args(keep).args(["--to", "14:30"]).succeed();
    // Nothing stands for the events before its beginning, long before sixteen segments are sealed.
    let paced = ["--resume", "--checkpoint-every", "16", "--pace", "50000"];
    let run = sampled(&directory).args(keep).args(paced).succeed();
    let ended = "no more checkpoints are made beside this run: the journal begins at sequence";
    for told in [ended, "beyond its limits until a checkpoint is made", "segments are kept beyond the limits until two"]
    {
        assert_eq!(run.stderr.matches(told).count(), 1, "{told}: {}", run.stderr);
    }
}

#[test]
fn records_are_synced_when_the_policy_says() {
    let scratch = tempdir().unwrap();
    for (policy, follows) in
        [("group", true), ("1ms", true), ("4KiB", true), ("1h", false), ("1GiB", false), ("none", false)]
    {
        let directory = scratch.path().join(policy);
        let mut command = replay_json(&sample::path());
        command.args(["--pace", "50000", "--journal-sync", policy, "--journal"]).arg(&directory);
        let run = command.start();
        wait_until("records to be written", || written(&directory) > 30_000);
        let status = Status::open(&directory).unwrap().read();
        // A policy of time has its first sync at once.
        assert_eq!(status.watermarks.durable.get() > 10_000, follows, "{policy}: {status:?}");
        let json = run.finish().expect_code(0).json();
        assert_eq!(json["journal"]["durable_sequence"], json["events"], "{policy}: durable at the end");
    }
}

#[test]
fn a_buffer_that_is_full_is_waited_for_or_ends_the_journal() {
    let scratch = tempdir().unwrap();
    let day = put(scratch.path(), "01302020.itch", &generated(2_000_000, 50, 3));
    let plain = replay_json(&day).succeed().json();
    let run = |name: &str, arguments: &[&str]| {
        let mut command = tickcore();
        // Two blocks for records: no disk takes them as fast as they come.
        command.arg("replay").arg(&day).args(["--json", "--orders-max", "400000", "--journal-buffer", "1"]);
        command.args(SMALL).args(arguments).arg("--journal").arg(scratch.path().join(name));
        command
    };
    let waiting = run("waiting", &[]).succeed().json();
    assert_eq!(identity(&waiting), identity(&plain));
    assert!(waiting["journal"]["full_waits"].as_u64() > Some(0) && waiting["journal"]["full_ns"].as_u64() > Some(0));
    assert_eq!((&waiting["journal"]["failed"], &waiting["unjournaled"]), (&false.into(), &false.into()));

    let carried = run("carried", &["--journal-full", "fail", "--journal-failure", "carry-on"]).succeed();
    let json = carried.json();
    assert_eq!(identity(&json), identity(&plain));
    assert_eq!((&json["journal"]["failed"], &json["unjournaled"]), (&true.into(), &true.into()));
    assert!(carried.stderr.contains("buffer was full"), "{}", carried.stderr);
    assert_eq!(json["journal"]["durable_sequence"], json["journal"]["last_sequence"], "what was taken is written");
    let directory = scratch.path().join("carried");
    let verified = journal("verify", &directory).arg("--json").succeed().json();
    assert_eq!(
        (&verified["tail"]["state"], &verified["sequences"][1]),
        (&"sealed".into(), &json["journal"]["last_sequence"])
    );

    let stopped = run("stopped", &["--journal-full", "fail"]).fail(1, &["buffer was full", "--journal-buffer"]);
    assert_eq!(stopped.json()["unjournaled"], false);
    journal("verify", &scratch.path().join("stopped")).succeed();
    // A minute is more than any of these waits.
    let patient = run("patient", &["--journal-full", "1min"]).succeed().json();
    assert_eq!((&patient["journal"]["failed"], identity(&patient)), (&false.into(), identity(&plain)));
}

#[test]
fn flags_that_cannot_be_are_wrong_usage() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    for (arguments, word) in [
        (["--journal-sync", "often"], "500us"),
        (["--journal-segment", "8KiB"], "segments of 8192 bytes"),
        (["--journal-segment", "256"], "with its unit"),
        (["--journal-ahead", "0"], "1 to 64"),
        (["--journal-full", "soon"], "wait, fail"),
        (["--journal-failure", "retry"], "carry-on"),
        (["--journal-keep-time", "7"], "12h"),
    ] {
        replay(&sample::path()).args(arguments).arg("--journal").arg(&directory).fail(2, &[word]);
    }
    replay(&sample::path()).args(["--journal-keep-count", "3"]).fail(2, &["--journal <DIR>"]);
    assert!(!directory.exists(), "nothing was begun");
}
