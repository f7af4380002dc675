//! `tickcore stat` beside a running engine: what it finds, what it says when the engine goes, and that nothing is needed.

mod common;

use common::command::{Finish, Finished, Running, replay, replay_json, tickcore, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tickcore_replay_data::sample;

/// A directory in shared memory, or `None`, said, where there is none.
fn shared_memory() -> Option<TempDir> {
    let directory = tempfile::tempdir_in("/dev/shm").ok();
    if directory.is_none() {
        eprintln!("skipped: this machine has no /dev/shm that can be written");
    }
    directory
}

/// A paced run of some seconds with its counters in `file`.
fn started(file: &Path, arguments: &[&str]) -> Running {
    let mut command = replay_json(&sample::path());
    command.args(["--pace", "20000", "--stat-file"]).arg(file).args(arguments);
    let run = command.start();
    wait_until("the engine to run", || {
        stat(file).args(["--json", "--interval", "0.01"]).output().is_ok_and(|output| {
            let json: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
            // One that was killed has left a file that says so as well.
            json["state"] == "running" && json["is_alive"] == true
        })
    });
    run
}

fn stat(engine: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    let mut command = tickcore();
    command.arg("stat").arg(engine);
    command
}

fn interrupted(mut run: Running) -> Finished {
    run.signal(Signal::INT);
    run.finish().expect_code(0)
}

#[test]
fn a_running_engine_is_looked_at_core_by_core() {
    let Some(directory) = shared_memory() else { return };
    let file = directory.path().join("one.stat");
    let journal = directory.path().join("journal");
    let topology = ["--topology", "sharded", "--shards", "2", "--oversubscribe", "--journal"];
    let mut run = started(&file, &[&topology[..], &[journal.to_str().unwrap()]].concat());
    let json = stat(&file).args(["--json", "--interval", "0.3"]).succeed().json();
    assert_eq!(json["pid"], run.id());
    assert_eq!((&json["is_alive"], &json["topology"]), (&true.into(), &"sharded".into()));
    assert!(json["description"].as_str().unwrap().contains("--pace 20000"), "{json}");
    let cores = json["cores"].as_array().unwrap();
    let names: Vec<&str> = cores.iter().map(|core| core["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tickcore-feed", "tickcore-book0", "tickcore-book1", "tickcore-jrnl"]);
    let rate = |place: usize| cores[place]["events_per_second"].as_f64().unwrap();
    // The pace is 20,000 a second; a machine with other things to do may let it slip for a while.
    assert!((1_000.0..60_000.0).contains(&rate(0)), "{json}");
    assert!(rate(1) > 100.0 && rate(2) > 100.0 && rate(1) + rate(2) < rate(0) * 2.0, "{json}");
    assert!(cores.iter().all(|core| core["loops"] == true), "{json}");
    assert!(cores[1]["skipped"].as_u64().unwrap() > 0);
    assert!(cores[3]["durable_sequence"].as_u64() <= cores[3]["written_sequence"].as_u64());

    // By its process, where it is looked for only if it put its file there itself; and for people.
    let text = stat(&file).args(["--count", "2", "--interval", "0.05"]).succeed().stdout;
    assert_eq!(text.matches("engine ").count(), 2, "{text}");
    for word in ["events/s", "passed over/s", "tickcore-book1", "stalls/s idle", "to sync", "running"] {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
    let counted = interrupted(run).json();
    assert_eq!(counted["end"], "stopped");
    assert!(!file.exists(), "the file goes with the engine");
    stat(&file).fail(1, &["one.stat"]);
}

#[test]
fn the_end_of_an_engine_is_told_from_its_death() {
    let Some(directory) = shared_memory() else { return };
    for (kill, code, words) in [(Signal::INT, 0, "good order"), (Signal::KILL, 1, "died without a word")] {
        let file = directory.path().join("one.stat");
        let mut run = started(&file, &[]);
        let watching = stat(&file).args(["--interval", "0.2"]).start();
        std::thread::sleep(std::time::Duration::from_millis(500));
        run.signal(kill);
        run.wait();
        let seen = watching.finish().expect_code(code);
        assert!(seen.stderr.contains(words), "{}", seen.stderr);
        if kill == Signal::KILL {
            // What it left can still be read, and does not stand in the way of the next.
            stat(&file).fail(1, &["died without a word"]);
            interrupted(started(&file, &[]));
        }
    }
}

#[test]
fn an_engine_is_found_by_its_process() {
    if shared_memory().is_none() {
        return;
    }
    let mut run = replay_json(&sample::path()).args(["--pace", "20000"]).start();
    let process = run.id().to_string();
    wait_until("the engine to be seen", || {
        stat(&process).args(["--json", "--interval", "0.01"]).output().unwrap().status.success()
    });
    // Other engines may run on this machine: then one has to be named, and the list has it.
    let mut any = tickcore();
    let output = any.args(["stat", "--count", "1", "--interval", "0.01"]).output().unwrap();
    let all = [output.stdout, output.stderr].concat();
    assert!(String::from_utf8(all).unwrap().contains(&process));
    interrupted(run);
    stat(&process).fail(1, &["no engine of process", &process]);
}

#[test]
fn a_place_that_does_not_do_is_refused_and_none_is_fine() {
    let on_disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file: PathBuf = on_disk.path().join("one.stat");
    let refused = replay(&sample::path()).arg("--stat-file").arg(&file).output().unwrap();
    if refused.status.success() {
        eprintln!("skipped: the project is on a file system of memory");
    } else {
        Finished::of(refused).expect_code(1);
        replay(&sample::path()).arg("--stat-file").arg(&file).fail(1, &["tmpfs"]);
        assert_eq!(fs::read_dir(on_disk.path()).unwrap().count(), 0);
    }
    replay(&sample::path()).args(["--stat-file", "none"]).succeed();
    stat(on_disk.path().join("absent")).fail(1, &["absent"]);
    stat(sample::path()).fail(1, &["no stat file"]);
}
