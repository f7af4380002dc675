//! The ring in files, between real processes: attached, killed at random, silent, refused.
//!
//! A child is this test binary once more, told by an environment variable which part to play.

// loom's atomics, with which the ring is then built, work only inside a loom model.
#![cfg(not(loom))]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tickcore_book::{Event, InstrumentId, Kind, Sequence, TimestampNs};
use tickcore_feed::ring::LossyRead;
use tickcore_feed::ring::bbo::{BboRing, BboUpdate};
use tickcore_feed::ring::shared::{AttachError, Attached, Content, CreateError, Life, NOTICED_WITHIN, SharedRing};

const ROLE: &str = "RING_SHARED_ROLE";
const PATH: &str = "RING_SHARED_PATH";

/// A machine that others use may not run a thread for a while.
const SLACK: Duration = Duration::from_millis(400);

fn event(sequence: u64) -> Event {
    Event::from_words([1, 2, 3, 5, 7, 11, 13].map(|factor: u64| sequence.wrapping_mul(factor << 40 | factor)))
}

/// A path of its own for each test, on tmpfs, with nothing there.
fn path(name: &str) -> PathBuf {
    let path = PathBuf::from(format!("/dev/shm/tickcore-test-{}-{name}.ring", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn child(role: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the child has printed `word`.
fn wait_for(child: &mut Child, word: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(word)), "the child ended without saying {word}");
}

fn say(word: &str) {
    println!("\n{word}");
    std::io::stdout().flush().unwrap();
}

/// Not a test of its own: what a child process does.
#[test]
fn a_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    match role.as_str() {
        "read" => {
            let attached = Attached::open_with(&path, Content::Events).unwrap();
            let (mut reader, mut watch) = (attached.reader(), attached.watch());
            say("attached");
            while !reader.is_closed_and_drained() {
                let result = check_events(&mut reader);
                if result == LossyRead::default() {
                    assert_eq!(watch.look(), Life::Running);
                    std::thread::yield_now();
                }
            }
        }
        "write" => {
            let shared = SharedRing::create(&path, Content::Events, 1 << 10, 1).unwrap();
            let mut writer = shared.ring().writer().unwrap();
            say("created");
            let mut events = Vec::new();
            for first in (1..).step_by(100) {
                events.clear();
                events.extend((first..first + 100).map(event));
                assert_eq!(writer.publish_batch(&events), events.len());
                std::thread::yield_now();
            }
        }
        role => panic!("no role {role}"),
    }
}

/// Reads what is there; every event must be whole and in its place.
fn check_events(reader: &mut tickcore_feed::ring::LossyReader) -> LossyRead {
    let mut next = reader.next_sequence().0;
    let result = reader.poll(usize::MAX, |sequence, content| {
        assert_eq!((sequence.0, *content), (next, event(next)));
        next += 1;
    });
    assert_eq!(reader.next_sequence().0, next + result.lost);
    result
}

#[test]
fn a_reader_killed_a_hundred_times_disturbs_nobody() {
    const KILLS: u64 = 100;
    let path = path("killed-reader");
    let shared = SharedRing::create(&path, Content::Events, 1 << 8, 1).unwrap();
    let mut writer = shared.ring().writer().unwrap();
    let mut gating = shared.ring().reader().unwrap();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..KILLS {
        let mut reader = child("read", &path);
        wait_for(&mut reader, "attached");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let until = Instant::now() + Duration::from_micros((random >> 32) % 5_000);
        while Instant::now() < until {
            let next = writer.last_sequence().0 + 1;
            writer.try_publish(&event(next)).expect("nobody holds the writer");
            assert_eq!(gating.poll(2, |sequence, content| assert_eq!(*content, event(sequence.0))), 1);
        }
        assert_eq!(reader.try_wait().unwrap(), None, "the reader found something wrong");
        reader.kill().unwrap();
        reader.wait().unwrap();
    }
    assert_eq!(writer.full_waits(), 0);
    // One that is left alone reads to the end.
    let mut reader = child("read", &path);
    wait_for(&mut reader, "attached");
    for _ in 0..100_000 {
        writer.try_publish(&event(writer.last_sequence().0 + 1)).unwrap();
        gating.poll(2, |_, _| ());
    }
    writer.close();
    assert!(reader.wait().unwrap().success());
}

#[test]
fn a_killed_writer_is_noticed_in_time_and_what_it_left_is_whole() {
    for round in 0..5 {
        let path = path(&format!("killed-writer-{round}"));
        let mut writer = child("write", &path);
        wait_for(&mut writer, "created");
        let attached = Attached::open(&path).unwrap();
        let (mut reader, mut watch) = (attached.reader(), attached.watch());
        let until = Instant::now() + Duration::from_millis(3 + 7 * round);
        let mut read = 0;
        // On a busy machine the other process has its turn later.
        while Instant::now() < until || read == 0 {
            read += check_events(&mut reader).read;
            assert_eq!(watch.look(), Life::Running);
        }
        // Not waited for yet: a zombie counts as gone.
        writer.kill().unwrap();
        let killed_at = Instant::now();
        while watch.look() == Life::Running {
            let _ = check_events(&mut reader);
        }
        assert!(killed_at.elapsed() < NOTICED_WITHIN + SLACK, "{:?}", killed_at.elapsed());
        assert_eq!(watch.look(), Life::Gone);
        while check_events(&mut reader) != LossyRead::default() {}
        assert_eq!((reader.next_sequence().0 - 1) % 100, 0, "a batch is there or not");
        assert!(!reader.is_closed_and_drained(), "nobody said that it is the end");

        let pid = writer.id();
        assert!(matches!(Attached::open(&path), Err(AttachError::CreatorGone { pid: gone, .. }) if gone == pid));
        writer.wait().unwrap();
        assert!(matches!(Attached::open(&path), Err(AttachError::CreatorGone { .. })));
        let next = SharedRing::create(&path, Content::Events, 1 << 4, 1).unwrap();
        assert!(next.has_replaced());
        drop(next);
        assert!(!path.exists());
    }
}

#[test]
fn a_stopped_writer_is_silent_and_then_running_again() {
    let path = path("stopped-writer");
    let mut writer = child("write", &path);
    wait_for(&mut writer, "created");
    let attached = Attached::open(&path).unwrap();
    let mut watch = attached.watch();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &writer.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    let stopped_at = Instant::now();
    while watch.look() == Life::Running {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(stopped_at.elapsed() < NOTICED_WITHIN + SLACK, "{:?}", stopped_at.elapsed());
    assert_eq!(watch.look(), Life::Silent);
    signal("-CONT");
    let continued_at = Instant::now();
    while watch.look() == Life::Silent {
        assert!(continued_at.elapsed() < NOTICED_WITHIN + SLACK);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(watch.look(), Life::Running);
    writer.kill().unwrap();
    writer.wait().unwrap();
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_ring_in_a_file_is_a_ring_like_another() {
    let path = path("alike");
    let shared = SharedRing::create(&path, Content::Events, 16, 1).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!shared.has_replaced() && shared.path() == path);
    let mut writer = shared.ring().writer().unwrap();
    let mut gating = shared.ring().reader().unwrap();
    let attached = Attached::open(&path).unwrap();
    assert_eq!((attached.content(), attached.capacity_lines()), (Content::Events, 16));
    let (mut reader, mut watch) = (attached.reader(), attached.watch());
    let events: Vec<Event> = (1..=40).map(event).collect();
    assert_eq!(writer.publish_batch(&events), 16, "a gating reader of the creator holds the writer");
    assert_eq!(gating.poll(16, |_, _| ()), 16);
    assert_eq!(writer.publish_batch(&events[16..]), 16);
    let LossyRead { read: 0, lost } = check_events(&mut reader) else { panic!("overrun") };
    let mut read = 0;
    while let LossyRead { read: further @ 1.., lost: 0 } = check_events(&mut reader) {
        read += further as u64;
    }
    assert_eq!((lost + read, reader.lost()), (32, lost));
    assert_eq!(watch.look(), Life::Running);
    writer.close();
    assert_eq!(watch.look(), Life::Closed);
    assert!(reader.is_closed_and_drained());
    drop(shared);
    assert!(!path.exists(), "removed at a clean end");
}

#[test]
fn a_ring_in_a_memfd_is_found_by_its_path_and_cannot_be_cut() {
    let shared = SharedRing::create_memfd("a ring", Content::BboUpdates, 16, 1).unwrap();
    let mut writer = shared.ring().writer().unwrap();
    let attached = Attached::open(shared.path()).unwrap();
    let mut reader = attached.reader();
    writer.try_publish(&event(1)).unwrap();
    assert_eq!(check_events(&mut reader).read, 1);
    let file = fs::OpenOptions::new().write(true).open(shared.path()).unwrap();
    assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
}

#[test]
fn what_is_taken_or_foreign_is_neither_replaced_nor_attached_to() {
    let path = path("taken");
    let shared = SharedRing::create(&path, Content::Events, 16, 1).unwrap();
    let pid = std::process::id();
    let again = SharedRing::create(&path, Content::Events, 16, 1);
    assert!(matches!(again, Err(CreateError::InUse { pid: found, .. }) if found == pid));
    assert!(matches!(
        Attached::open_with(&path, Content::BboUpdates),
        Err(AttachError::Content { found: Content::Events, .. })
    ));
    drop(again);

    // Resized under its name, one way and the other.
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let bytes = file.metadata().unwrap().len();
    for other in [bytes + 4096, bytes + 1] {
        file.set_len(other).unwrap();
        let text = Attached::open(&path).unwrap_err().to_string();
        for part in [path.to_str().unwrap(), "offset 32", &other.to_string(), &bytes.to_string(), "remove"] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
    }
    file.set_len(bytes).unwrap();
    Attached::open(&path).unwrap();
    // Another version.
    file.write_all_at(&2_u32.to_ne_bytes(), 8).unwrap();
    let text = Attached::open(&path).unwrap_err().to_string();
    assert!(text.contains("offset 8: version is 2, not 1") && text.contains("same build"), "{text}");
    drop(shared);

    for content in [&b""[..], b"TICK", b"something else, and long enough to be a header of a ring, which it is not"] {
        fs::write(&path, content).unwrap();
        assert!(matches!(Attached::open(&path), Err(AttachError::Header { offset: 0, .. })));
        let error = SharedRing::create(&path, Content::Events, 16, 1).unwrap_err();
        assert!(matches!(error, CreateError::Exists { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content, "left alone");
    }
    fs::remove_file(&path).unwrap();
    let leftovers = fs::read_dir("/dev/shm").unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(&format!("{pid}-taken"))
    });
    assert_eq!(leftovers.count(), 0, "nothing half made is left");
    assert!(matches!(Attached::open(&path), Err(AttachError::System { .. })));
    assert!(matches!(Attached::open("/dev/shm"), Err(AttachError::System { .. })));
}

#[test]
fn a_file_system_on_a_disk_is_refused_with_the_reason() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("a.ring");
    let error = SharedRing::create(&path, Content::Events, 16, 1).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, CreateError::FileSystem { .. }), "{text}: is the target folder on tmpfs?");
    assert!(text.contains("write its pages back") && text.contains("/dev/shm"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    fs::write(&path, [0; 8192]).unwrap();
    assert!(matches!(Attached::open(&path), Err(AttachError::FileSystem { .. })));
}

#[test]
fn bbo_updates_travel() {
    let path = path("bbo");
    let mut ring = BboRing::create(&path).unwrap();
    let attached = Attached::open_with(ring.path(), Content::BboUpdates).unwrap();
    let mut reader = attached.reader();
    let update = |number: u64| BboUpdate {
        exchange_time: TimestampNs(number),
        cause: Sequence(number * 10),
        instrument: InstrumentId(3),
        bbo: tickcore_book::Bbo::default(),
        is_stale: number.is_multiple_of(2),
        is_unjournaled: number.is_multiple_of(3),
    };
    (1..=10).for_each(|number| ring.publish(&update(number)));
    let mut seen = Vec::new();
    let result = reader.poll(64, |_, event| {
        assert_eq!(event.kind(), Some(Kind::BboUpdate));
        seen.extend(BboUpdate::from_event(event));
    });
    assert_eq!((result.read, seen), (10, (1..=10).map(update).collect()));
    drop(ring);
    assert!(reader.is_closed_and_drained() && !path.exists());
}
