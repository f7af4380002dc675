//! Segments prepared ahead by a helper on its thread, and let go by retention.

mod common;

use common::{append, metadata, options, read_back, segments};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tickcore_book::Sequence;
use tickcore_journal::{Helper, HelperHandle, Options, Reader, Retention, Start, Tail, Writer, info, verify};

type Told = Arc<Mutex<Vec<String>>>;

fn helper() -> (JoinHandle<()>, HelperHandle, Told) {
    let told = Told::default();
    let teller = Arc::clone(&told);
    let (helper, handle) = Helper::new(
        1 << 30,
        Some(Box::new(move |path: &Path| {
            assert!(path.is_file(), "{path:?} is told of and not there");
            teller.lock().unwrap().push(path.file_name().unwrap().to_string_lossy().into_owned());
        })),
    );
    let thread = std::thread::Builder::new().name("tickcore-prep".to_owned()).spawn(|| helper.run()).unwrap();
    (thread, handle, told)
}

#[test]
fn a_helper_fills_the_pool_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (thread, handle, told) = helper();
    let ahead = Options {
        helper: Some(handle),
        prepared_ahead: Duration::from_secs(1),
        peak_bytes_per_second: 5 * options().segment_bytes,
        ..options()
    };
    let mut writer = Writer::create(directory.path(), ahead, metadata()).unwrap();
    let start = Instant::now();
    while writer.prepared_count() < 5 {
        writer.poll().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", writer.warning());
    }
    assert_eq!(segments(directory.path()).len(), 6, "the one that is written, and five");
    append(&mut writer, 5000);
    assert_eq!(writer.finish().unwrap().durable, Sequence(5000));
    thread.join().unwrap();
    assert_eq!(read_back(directory.path()), (5000, Tail::Sealed));
    let report = verify(directory.path(), |_| ()).unwrap();
    assert!(report.is_intact() && report.unused.is_empty(), "{report:?}");
    let names = segments(directory.path());
    assert_eq!(*told.lock().unwrap(), names, "each is told of once, in order");
}

/// A writer that resumed a journal and takes that back leaves it as it was, with whatever prepares segments for it.
#[test]
fn a_resumed_writer_that_is_discarded_leaves_the_journal_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let contents = || -> Vec<_> {
        let read = |name: String| (std::fs::read(directory.path().join(&name)).unwrap(), name);
        segments(directory.path()).into_iter().map(read).collect()
    };
    common::write(directory.path(), options(), 3000);
    let before = contents();
    for with_helper in [true, false] {
        let (thread, handle, _) = helper();
        let resumed = Options { helper: with_helper.then_some(handle), output_streams: 1, ..options() };
        let (mut writer, _) = Writer::resume(directory.path(), resumed.clone()).unwrap();
        assert_eq!(segments(directory.path()).len(), before.len() + 1);
        writer.poll().unwrap();
        writer.discard(directory.path()).unwrap();
        assert!(contents() == before, "{:?}", segments(directory.path()));
        thread.join().unwrap();
    }
    // With a record, of whatever stream and wherever it is by now, it stays.
    for (count, flushes) in [(1, true), (2, false)] {
        let (mut writer, _) = Writer::resume(directory.path(), Options { output_streams: 1, ..options() }).unwrap();
        common::append_outputs(&mut writer, 0, 1);
        if flushes {
            writer.flush().unwrap();
        }
        writer.discard(directory.path()).unwrap();
        assert_eq!(segments(directory.path()).len(), before.len() + count);
    }
    assert_eq!(read_back(directory.path()).0, 3000);
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
}

#[test]
fn retention_lets_the_oldest_go_and_their_files_are_used_again() {
    for with_helper in [true, false] {
        eprintln!("with helper: {with_helper}");
        let directory = tempfile::tempdir().unwrap();
        let (thread, handle, _) = helper();
        let retention = Retention { segments_max: Some(3), ..Retention::default() };
        let kept = Options { helper: with_helper.then_some(handle), retention, ..options() };
        let mut writer = Writer::create(directory.path(), kept, metadata()).unwrap();
        for _ in 0..200 {
            append(&mut writer, 100);
            writer.flush().unwrap();
        }
        writer.finish().unwrap();
        thread.join().unwrap();
        let report = verify(directory.path(), |_| ()).unwrap();
        assert!(report.is_intact() && report.unused.is_empty(), "{report:?}");
        let (first, last) = report.sequences.unwrap();
        assert!(first > Sequence(15_000) && last == Sequence(20_000), "{first} to {last}");
        assert_eq!((segments(directory.path()).len(), report.segment_count), (3, 3));
        assert_eq!(info(directory.path()).unwrap().sequences, report.sequences);
        let mut reader = Reader::open_at(directory.path(), Start::Sequence(Sequence(1))).unwrap();
        assert_eq!(reader.next_batch().unwrap().unwrap()[0].sequence, first, "the first that is there");

        // Going on knows what is there; and a segment that nobody released is missed as ever.
        let kept = Options { retention, ..options() };
        let (mut writer, recovery) = Writer::resume(directory.path(), kept).unwrap();
        assert_eq!(recovery.last_sequence, Sequence(20_000));
        append(&mut writer, 2000);
        writer.finish().unwrap();
        assert_eq!(segments(directory.path()).len(), 3);
        std::fs::remove_file(directory.path().join(&segments(directory.path())[0])).unwrap();
        assert!(!verify(directory.path(), |_| ()).unwrap().is_intact());
    }
}

#[test]
fn a_pool_that_the_disk_has_no_room_for_is_foreseen() {
    let directory = tempfile::tempdir().unwrap();
    let (thread, handle, _) = helper();
    // The first segment fits as a promise of the file system; the helper wants room for two.
    let large = Options {
        helper: Some(handle),
        segment_bytes: 1 << 50,
        prepared_ahead: Duration::from_secs(1 << 30),
        backend: tickcore_journal::Backend::Portable,
        ..options()
    };
    let Ok(mut writer) = Writer::create(directory.path(), large, metadata()) else {
        eprintln!("skipped: this file system does not promise what it has not");
        return;
    };
    let start = Instant::now();
    while writer.warning().is_none() {
        writer.poll().unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    assert!(writer.warning().is_some_and(|warning| warning.cause.contains("free")), "{:?}", writer.warning());
    append(&mut writer, 100);
    assert_eq!(writer.finish().unwrap().durable, Sequence(100), "what fits is still written");
    thread.join().unwrap();
}

/// Released files of an earlier run with larger segments become smaller ones: as long as was prepared, and not longer, or a
/// reader beside the writer would take one that is not trimmed yet for damaged.
#[test]
fn a_longer_file_is_cut_before_it_is_a_segment_again() {
    let directory = tempfile::tempdir().unwrap();
    let large = Options { segment_bytes: 256 << 10, ..options() };
    let mut writer = Writer::create(directory.path(), large, metadata()).unwrap();
    append(&mut writer, 20_000);
    writer.finish().unwrap();
    let (thread, handle, _) = helper();
    let retention = Retention { segments_max: Some(1), ..Retention::default() };
    let small = Options { helper: Some(handle), retention, ..options() };
    let prepared = small.segment_bytes + 4096;
    let (mut writer, _) = Writer::resume(directory.path(), small).unwrap();
    let before = segments(directory.path()).len();
    let start = Instant::now();
    let mut is_recycled = false;
    while !is_recycled {
        append(&mut writer, 50);
        writer.flush().unwrap();
        for name in segments(directory.path()).iter().filter(|name| name.as_str() > "segment-000006.tcj") {
            let length = std::fs::metadata(directory.path().join(name)).map_or(0, |found| found.len());
            assert!(length <= prepared, "{name} has {length} bytes");
        }
        is_recycled = writer.stats().segment_count > 12;
        assert!(start.elapsed() < Duration::from_secs(20), "{before} segments, {:?}", writer.warning());
    }
    writer.finish().unwrap();
    thread.join().unwrap();
}

/// Whoever prepares segments may end before the writer does, or never have begun: nothing waits for it then.
#[test]
fn a_writer_whose_helper_is_gone_goes_on_without() {
    for has_begun in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (helper, handle) = Helper::new(1 << 30, None);
        let retention = Retention { segments_max: Some(2), ..Retention::default() };
        let helped = Options { helper: Some(handle), retention, is_prewritten: false, ..options() };
        let mut writer = Writer::create(directory.path(), helped, metadata()).unwrap();
        if has_begun {
            // It is given work, and does none of it.
            writer.poll().unwrap();
        }
        drop(helper);
        append(&mut writer, 5000);
        writer.flush().unwrap();
        assert!(writer.warning().is_some_and(|warning| warning.cause.contains("helper")), "{:?}", writer.warning());
        assert_eq!(writer.finish().unwrap().durable, Sequence(5000));
        let report = verify(directory.path(), |_| ()).unwrap();
        assert!(report.is_intact() && report.unused.is_empty(), "{report:?}");
        assert_eq!(segments(directory.path()).len(), 2, "retention goes on");
    }
}
