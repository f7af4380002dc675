//! BBO updates in shared memory: what another process reads is what the books say.

mod common;

use common::command::{Finish, replay, wait_until};
use common::day::sample_bytes;
use common::reference::{MIDNIGHT, events_of};
use std::path::{Path, PathBuf};
use tickcore::book::{Arena, Bbo, Books, Capacity, InstrumentId, Sequence};
use tickcore::feed::ring::bbo::BboUpdate;
use tickcore::feed::ring::shared::{Attached, Content};
use tickcore_replay_data::sample;

const CAPACITY: Capacity = Capacity { instruments_max: 256, orders_max: 1 << 16, levels_max: 1 << 16 };

fn ring_path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/tickcore-test-{name}-{}.ring", std::process::id()))
}

/// All updates of the sample day, as the books give them in this process.
fn expected() -> Vec<(Sequence, InstrumentId, Bbo)> {
    let arena = Arena::new(CAPACITY.arena_bytes()).unwrap();
    let mut books = Books::new(&arena, CAPACITY).unwrap();
    let mut updates = Vec::new();
    for (sequence, event) in (1..).zip(events_of(&sample_bytes(), Some(MIDNIGHT))) {
        if books.apply(&event).bbo_published {
            updates.extend(books.published(event.instrument).map(|row| (Sequence(sequence), row, books.bbo(row))));
        }
    }
    updates
}

#[test]
fn another_process_sees_every_update_from_when_it_attached() {
    if !Path::new("/dev/shm").is_dir() {
        eprintln!("SKIPPED: there is no /dev/shm here");
        return;
    }
    let path = ring_path("updates");
    let run = replay(&sample::path()).args(["--pace", "100000", "--json", "--bbo-ring"]).arg(&path).start();
    wait_until("the ring to be there", || Attached::open_with(&path, Content::BboUpdates).is_ok());
    let attached = Attached::open_with(&path, Content::BboUpdates).unwrap();
    let mut reader = attached.reader();
    let mut read = Vec::new();
    while !reader.is_closed_and_drained() {
        let polled = reader.poll(usize::MAX, |_, event| {
            let update = BboUpdate::from_event(event).expect("nothing else is in this ring");
            assert!(!update.is_stale);
            read.push((update.cause, update.instrument, update.bbo));
        });
        assert_eq!(polled.lost, 0, "the ring holds a sixth of a second");
    }
    let json = run.finish().expect_code(0).json();
    assert_eq!(json["events"], sample::golden().events);
    let expected = expected();
    assert!(read.len() > 10_000, "only {} updates", read.len());
    assert!(expected.ends_with(&read), "{} updates are not the last of {}", read.len(), expected.len());
    assert!(!path.exists(), "the ring is removed at the end");
}

#[test]
fn a_path_that_cannot_be_shared_memory_is_refused_with_the_reason() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let finished = replay(&sample::path()).arg("--bbo-ring").arg(scratch.path().join("bbo.ring")).output().unwrap();
    let text = String::from_utf8_lossy(&finished.stderr).into_owned();
    if finished.status.success() {
        eprintln!("SKIPPED: the build's folder is on tmpfs here");
        return;
    }
    assert_eq!(finished.status.code(), Some(1), "{text}");
    assert!(text.contains("--bbo-ring") && text.contains("tmpfs"), "{text}");
}
