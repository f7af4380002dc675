//! `kill -9` at random moments of a journaled replay: what was written is there, in order, and the run can go on.

mod common;

use common::command::{Finish, identity, journal, replay_json, tickcore, wait_until};
use common::day::{Dice, generated, put};
use common::reference::{Reference, events_of};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;
use tickcore::journal::{Status, recover};

const KILLS: u64 = 10;
const MESSAGES: u64 = 1_000_000;

fn started(input: &Path, arguments: &[&str], directory: &Path) -> Child {
    let mut command = replay_json(input);
    command.args(arguments).arg("--journal").arg(directory).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the built command can be started")
}

/// A journal whose writer was killed, and the written watermark that it had published.
struct Killed {
    directory: PathBuf,
    written: u64,
}

/// Runs until `delay` after the writer has begun, then kills. The page is read just before and just after.
fn kill(input: &Path, arguments: &[&str], directory: PathBuf, delay: Duration) -> Killed {
    let mut child = started(input, arguments, &directory);
    let mut status = None;
    wait_until("the status page", || {
        status = Status::open(&directory).ok();
        status.is_some()
    });
    let status = status.expect("it is there");
    thread::sleep(delay);
    let before = status.read().watermarks;
    child.kill().unwrap();
    child.wait().unwrap();
    let after = status.read().watermarks;
    assert!(before.written <= after.written && after.durable <= after.written, "{before:?} {after:?}");
    Killed { directory, written: after.written.get() }
}

/// The results of the reference after each of these numbers of events.
fn results_after(day: &[u8], counts: impl Iterator<Item = u64>) -> BTreeMap<u64, Value> {
    let mut wanted: BTreeMap<u64, Value> = counts.map(|count| (count, Value::Null)).collect();
    let mut reference = Reference::new();
    if let Some(none) = wanted.get_mut(&0) {
        *none = reference.results();
    }
    for (number, event) in (1..).zip(&events_of(day, None)) {
        reference.apply(event);
        if let Some(results) = wanted.get_mut(&number) {
            *results = reference.results();
        }
    }
    wanted
}

#[test]
fn a_killed_run_leaves_a_prefix_and_can_go_on() {
    let mut dice = Dice::new();
    let scratch = tempdir().unwrap();
    let day = generated(MESSAGES, 1_000, 11);
    let input = put(scratch.path(), "day.itch", &day);

    let start = Instant::now();
    let whole = replay_json(&input).arg("--journal").arg(scratch.path().join("whole")).succeed().json();
    let run = start.elapsed();
    std::fs::remove_dir_all(scratch.path().join("whole")).unwrap();

    // At full speed whole frames are under way, paced small ones.
    let manners: [&[&str]; 3] =
        [&[], &["--pace", "1000000"], &["--pace", "800000", "--topology", "pipelined", "--oversubscribe"]];
    let mut prefixes = Vec::new();
    for number in 0..KILLS {
        let manner = manners[number as usize % manners.len()];
        let span = if manner.is_empty() { run } else { Duration::from_millis(900) };
        let delay = Duration::from_micros(dice.below(span.as_micros() as u64));
        let Killed { directory, written } = kill(&input, manner, scratch.path().join(number.to_string()), delay);

        // Untouched, it verifies, a torn tail being no damage, and replays to the books of a prefix.
        journal("verify", &directory).succeed();
        let torn = replay_json(&directory).succeed().json();
        let count = torn["events"].as_u64().unwrap();
        eprintln!("kill {number} after {delay:?} {manner:?}: {written} events written, {count} there");
        assert!(count >= written, "{written} events were said to be written, {count} are there");

        // Half are put in order by themselves first, the others by the run that goes on.
        if number % 2 == 0 {
            assert_eq!(recover(&directory).unwrap().last_sequence.get(), count);
            let sealed = journal("info", &directory).arg("--json").succeed().json();
            assert_eq!((&sealed["tail"]["state"], &sealed["records"]), (&"sealed".into(), &count.into()));
            assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&torn));
        }
        // Some go on from a checkpoint of where they were killed.
        let is_checkpointed = number % 3 != 0 && count > 0;
        if is_checkpointed {
            let made = tickcore().arg("checkpoint").arg(&directory).arg("--json").succeed().json();
            assert_eq!((&made["sequence"], &made["live_orders"]), (&count.into(), &torn["live_orders"]));
        }
        let resumed = replay_json(&input).args(["--resume", "--journal"]).arg(&directory).succeed().json();
        assert_eq!(identity(&resumed), identity(&whole));
        assert_eq!(resumed["journal"]["compared_events"], count);
        assert_eq!(resumed["journal"]["checkpoint_sequence"].as_u64(), is_checkpointed.then_some(count));
        journal("verify", &directory).succeed();
        assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&whole), "the resumed journal");
        std::fs::remove_dir_all(&directory).unwrap();
        prefixes.push((count, torn));
    }
    let partial = prefixes.iter().filter(|(count, _)| (1..whole["events"].as_u64().unwrap()).contains(count)).count();
    assert!(partial >= 3, "only {partial} kills came in the midst of the run");

    let expected = results_after(&day, prefixes.iter().map(|(count, _)| *count));
    for (count, torn) in &prefixes {
        assert_eq!(identity(torn), identity(&expected[count]), "the first {count} events");
    }
}

/// Killed before the first record: a lock, and perhaps a segment that was prepared and never begun, are all that is there.
#[test]
fn a_run_killed_while_it_starts_can_be_begun_again() {
    let scratch = tempdir().unwrap();
    let input = put(scratch.path(), "day.itch", &generated(20_000, 20, 11));
    let whole = replay_json(&input).succeed().json();
    for leftovers in [&["lock"][..], &["lock", "segment-000001.tcj"]] {
        let directory = scratch.path().join(leftovers.len().to_string());
        std::fs::create_dir(&directory).unwrap();
        put(&directory, "lock", &[]);
        leftovers[1..].iter().for_each(|name| {
            put(&directory, name, &[0; 1 << 20]);
        });
        let resumed = replay_json(&input).args(["--resume", "--journal"]).arg(&directory).succeed().json();
        assert_eq!(identity(&resumed), identity(&whole), "{leftovers:?}");
        journal("verify", &directory).succeed();
        assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&whole), "{leftovers:?}");
    }
}
