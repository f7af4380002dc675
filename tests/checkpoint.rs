//! `tickcore checkpoint` and `replay --resume` behind it: the same books as of a run that never stopped.

mod common;

use common::command::{Finish, identity, journal, replay, replay_json, tickcore};
use common::day::{Dice, generated, put};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;
use tempfile::tempdir;

fn checkpoint(directory: &Path) -> Value {
    tickcore().arg("checkpoint").arg(directory).arg("--json").succeed().json()
}

fn checkpoint_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == "tck")).collect();
    files.sort();
    files
}

/// Everything that a run without a stop and one that was resumed have to have in common.
fn results(json: &Value) -> (Vec<&Value>, [&Value; 3]) {
    (identity(json).to_vec(), ["crossed", "locked", "stale_instruments"].map(|key| &json[key]))
}

fn resumed(input: &Path, directory: &Path, arguments: &[&str]) -> Value {
    replay_json(input).args(["--resume", "--journal"]).arg(directory).args(arguments).succeed().json()
}

#[test]
fn a_run_goes_on_from_checkpoint_and_tail_in_every_topology() {
    let scratch = tempdir().unwrap();
    let input = put(scratch.path(), "01302020.itch", &generated(300_000, 300, 5));
    let whole = replay_json(&input).succeed().json();
    let topologies: [&[&str]; 4] = [
        &[],
        &["--topology", "pipelined", "--oversubscribe"],
        &["--topology", "sharded", "--shards", "3", "--oversubscribe"],
        &["--pace", "2000000"],
    ];
    for (number, topology) in topologies.iter().enumerate() {
        let directory = scratch.path().join(number.to_string());
        let part = |to: &str| {
            let mut command = replay_json(&input);
            command.args(["--to", to, "--journal"]).arg(&directory);
            if directory.exists() {
                command.arg("--resume");
            }
            command.succeed().json()
        };
        let first = part("10:00");
        let made = checkpoint(&directory);
        assert_eq!((&made["sequence"], &made["from_sequence"]), (&first["events"], &Value::Null));
        assert_eq!(made["live_orders"], first["live_orders"]);
        let again = checkpoint(&directory);
        assert_eq!((&again["from_sequence"], &again["bytes"]), (&made["sequence"], &0.into()), "it is there already");
        // A choice of time needs all events: the checkpoint is left alone.
        let second = part("12:00");
        assert_eq!(second["journal"]["checkpoint_sequence"], Value::Null);
        assert!(second["events"].as_u64() > first["events"].as_u64());

        let run = resumed(&input, &directory, topology);
        assert_eq!(results(&run), results(&whole), "{topology:?}");
        assert_eq!(run["journal"]["checkpoint_sequence"], made["sequence"], "{topology:?}");
        assert_eq!(run["journal"]["compared_events"], second["events"], "{topology:?}");
        assert!(run["journal"]["restart_ns"].as_u64() > Some(0));
        journal("verify", &directory).succeed();
        assert_eq!(results(&replay_json(&directory).succeed().json()), results(&whole), "the journal alone");
        // From the first checkpoint to the journal's end; then there is nothing left to go on with.
        let last = checkpoint(&directory);
        assert_eq!((&last["sequence"], &last["from_sequence"]), (&whole["events"], &made["sequence"]));
        let run = resumed(&input, &directory, topology);
        assert_eq!((results(&run), &run["journal"]["checkpoint_sequence"]), (results(&whole), &whole["events"]));
        let info = journal("info", &directory).arg("--json").succeed().json();
        assert_eq!(info["checkpoints"], serde_json::json!([made["sequence"], last["sequence"]]));
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before_and_that_to_the_beginning() {
    let scratch = tempdir().unwrap();
    let input = put(scratch.path(), "01302020.itch", &generated(100_000, 100, 6));
    let whole = replay_json(&input).succeed().json();
    let directory = scratch.path().join("journal");
    let mut sequences = vec![Value::Null];
    for to in ["09:45", "11:00"] {
        let mut command = replay_json(&input);
        command.args(["--to", to, "--journal"]).arg(&directory);
        if directory.exists() {
            command.arg("--resume");
        }
        command.succeed();
        sequences.push(checkpoint(&directory)["sequence"].clone());
    }
    let files = checkpoint_files(&directory);
    for (left, file) in [(2, None), (1, files.get(1)), (0, files.first())] {
        if let Some(file) = file {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).unwrap();
        }
        let copy = scratch.path().join(left.to_string());
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
        let run = replay_json(&input).args(["--resume", "--journal"]).arg(&copy).succeed();
        assert_eq!(
            run.stderr.matches("is passed over: byte 128 on: the state has checksum").count(),
            2 - left,
            "{}",
            run.stderr
        );
        let run = run.json();
        assert_eq!((results(&run), &run["journal"]["checkpoint_sequence"]), (results(&whole), &sequences[left]));
        let verified = journal("verify", &copy).arg("--json").succeed().json();
        assert_eq!((&verified["checkpoints"], &verified["intact"]), (&left.into(), &true.into()));
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    let scratch = tempdir().unwrap();
    let input = put(scratch.path(), "01302020.itch", &generated(20_000, 20, 7));
    tickcore().arg("checkpoint").arg(scratch.path()).fail(1, &["holds no journal"]);
    tickcore().args(["checkpoint", "none/such"]).fail(1, &["none/such"]);
    replay(&input).args(["--checkpoint-every", "0"]).fail(2, &["a number of segments from 1 on, or off"]);
    let directory = scratch.path().join("journal");
    replay_json(&input).arg("--journal").arg(&directory).args(["--checkpoint-every", "off"]).succeed();
    checkpoint(&directory);
    // Books with other maxima cannot be had from it, and a strict run looks at every event.
    let strict = replay_json(&input).args(["--resume", "--strict", "--journal"]).arg(&directory).succeed();
    assert!(strict.stderr.contains("a strict run needs all"), "{}", strict.stderr);
    assert_eq!(strict.json()["journal"]["checkpoint_sequence"], Value::Null);
    let other = put(scratch.path(), "01312020.itch", &generated(20_000, 20, 8));
    let mut refused = replay_json(&other);
    refused.args(["--resume", "--journal"]).arg(&directory).fail(1, &["does not belong to this input"]);
    let text = replay(&input).args(["--resume", "--journal"]).arg(&directory).succeed();
    assert!(text.stdout.contains("from the checkpoint of sequence"), "{}", text.stdout);
}

/// `tickcore checkpoint` is killed at random moments: what it leaves is passed over or whole.
#[test]
fn killed_while_it_makes_a_checkpoint() {
    let mut dice = Dice::new();
    let scratch = tempdir().unwrap();
    let input = put(scratch.path(), "01302020.itch", &generated(200_000, 200, 9));
    let directory = scratch.path().join("journal");
    let whole = replay_json(&input).arg("--journal").arg(&directory).succeed().json();
    let mut made = 0;
    for number in 0..12 {
        checkpoint_files(&directory).iter().for_each(|file| fs::remove_file(file).unwrap());
        let mut command = tickcore();
        command.arg("checkpoint").arg(&directory).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the built command can be started");
        thread::sleep(Duration::from_millis(dice.below(400)));
        child.kill().unwrap();
        child.wait().unwrap();
        let run = resumed(&input, &directory, &[]);
        assert_eq!(results(&run), results(&whole), "kill {number}");
        let found = &run["journal"]["checkpoint_sequence"];
        assert!(found.is_null() || *found == whole["events"], "{found}");
        made += u32::from(!found.is_null());
        journal("verify", &directory).succeed();
    }
    eprintln!("{made} of 12 had made their checkpoint when they were killed");
}
