//! What goes in comes out: every backend, many segments, little memory, several runs, a reader beside the writer.

mod common;

use common::{append, backends, event, metadata, options, read_back, read_on, segments, write};
use std::path::Path;
use std::time::Duration;
use tickcore_book::{Sequence, TimestampNs};
use tickcore_journal::{
    AppendError, Backend, CreateError, OpenError, OptionError, Options, Reader, RecoverError, ResumeError, Seal, Start,
    StartError, Status, SyncPolicy, Tail, Watermarks, Writer, WriterState, info, recover, verify,
};

#[test]
fn every_backend_gives_the_records_back() {
    let threads = [None, Some(common::portable_thread())];
    for (backend, portable_thread) in backends().into_iter().flat_map(|one| threads.clone().map(|thread| (one, thread)))
    {
        for is_direct in [true, false] {
            for sync in [SyncPolicy::EveryGroup, SyncPolicy::None] {
                let directory = tempfile::tempdir().unwrap();
                let portable_thread = portable_thread.clone();
                let options = Options { backend, is_direct, sync, portable_thread, ..options() };
                let mut writer = Writer::create(directory.path(), options, metadata()).unwrap();
                assert_eq!(writer.backend(), backend);
                append(&mut writer, 5000);
                let watermarks = writer.finish().unwrap();
                assert_eq!(watermarks, Watermarks { written: Sequence(5000), durable: Sequence(5000) });
                assert_eq!(read_back(directory.path()), (5000, Tail::Sealed));
                let report = verify(directory.path(), |_| ()).unwrap();
                assert!(report.is_intact(), "{:?}", report.damages);
                assert_eq!(report.sequences, Some((Sequence(1), Sequence(5000))));
                assert!(report.segment_count > 5 && report.segment_count as usize == segments(directory.path()).len());
                assert_eq!(report.unused, Vec::<String>::new());
                let status = Status::open(directory.path()).unwrap().read();
                assert_eq!((status.watermarks, status.state), (watermarks, WriterState::Finished));
            }
        }
    }
}

#[test]
fn the_smallest_staging_and_segments_suffice() {
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes: 3 * 4096,
            frame_bytes: 4096,
            staging_bytes: 4 * 4096,
            writes_in_flight: 1,
            backend,
            ..Options::default()
        };
        write(directory.path(), options, 1000);
        assert_eq!(
            segments(directory.path()).len(),
            1000_usize.div_ceil(60),
            "60 records and a header fill 4096 bytes"
        );
        assert_eq!(read_back(directory.path()), (1000, Tail::Sealed));
    }
}

#[test]
fn frames_of_the_largest_size_are_written_and_read() {
    let directory = tempfile::tempdir().unwrap();
    let frame_bytes = tickcore_journal::FRAME_BYTES_MAX;
    let options =
        Options { frame_bytes, segment_bytes: 40 << 20, staging_bytes: 4 * frame_bytes as usize, ..Options::default() };
    write(directory.path(), options, 300_000);
    assert_eq!(read_back(directory.path()), (300_000, Tail::Sealed));
}

#[test]
fn an_empty_journal_is_a_journal() {
    let directory = tempfile::tempdir().unwrap();
    let writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    assert_eq!(writer.finish().unwrap().durable, Sequence(0));
    assert_eq!(read_back(directory.path()), (0, Tail::Sealed));
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
    assert_eq!(info(directory.path()).unwrap().sequences, None);
}

#[test]
fn a_journal_is_resumed_where_it_ended_however_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), options(), 700);
    let mut last = 700;
    for (run, backend) in backends().into_iter().cycle().take(6).enumerate() {
        let options = Options { backend, segment_bytes: (48 << 10) + 4096 * run as u64, ..options() };
        let (mut writer, recovery) = Writer::resume(directory.path(), options).unwrap();
        assert_eq!((recovery.last_sequence, writer.next_sequence()), (Sequence(last), Sequence(last + 1)));
        assert_eq!((writer.metadata(), &recovery.metadata), (&metadata(), &metadata()));
        append(&mut writer, 500 + run as u64);
        last += 500 + run as u64;
        if run % 2 == 0 {
            writer.flush().unwrap();
            drop(writer);
        } else {
            writer.finish().unwrap();
        }
        let (read, tail) = read_back(directory.path());
        assert_eq!((read, tail == Tail::Sealed), (last, run % 2 == 1), "{tail:?}");
    }
    recover(directory.path()).unwrap();
    assert_eq!(read_back(directory.path()), (last, Tail::Sealed));
    let info = info(directory.path()).unwrap();
    assert_eq!(info.sequences, Some((Sequence(1), Sequence(last))));
    assert_eq!(info.times, Some((event(1).exchange_time, event(last).exchange_time)));
    assert_eq!((info.record_count, info.is_sealed(), &info.metadata), (last, true, &metadata()));
    assert_eq!(info.segments.iter().map(|segment| segment.record_count).sum::<u64>(), last);
    assert_eq!(info.segments.last().unwrap().seal, Some(Seal::Finished));
    let epochs: Vec<_> = info.segments.iter().map(|segment| segment.epoch).collect();
    assert!(epochs.is_sorted() && epochs[0] == 1 && *epochs.last().unwrap() == 7, "{epochs:?}");
    let bytes: u64 =
        segments(directory.path()).iter().map(|name| directory.path().join(name).metadata().unwrap().len()).sum();
    assert_eq!(info.bytes, bytes, "every file is as long as what it holds");
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
}

#[test]
fn a_reader_follows_a_writer() {
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(directory.path(), Options { backend, ..options() }, metadata()).unwrap();
        let mut reader = Reader::open(directory.path()).unwrap();
        assert_eq!((reader.metadata(), reader.journal()), (&metadata(), writer.journal()));
        assert_eq!(read_on(&mut reader, 1), 0);
        let status = Status::open(directory.path()).unwrap();
        let mut last = 0;
        for round in 0..40 {
            append(&mut writer, 97);
            writer.flush().unwrap();
            assert_eq!(status.read().watermarks.durable, Sequence(97 * (round + 1)));
            last = read_on(&mut reader, last + 1);
            assert_eq!(last, 97 * (round + 1));
            assert!(matches!(reader.tail(), Tail::Unsealed { .. }), "{:?}", reader.tail());
        }
        writer.finish().unwrap();
        assert_eq!(read_on(&mut reader, last + 1), last);
        assert_eq!(reader.tail(), &Tail::Sealed);
    }
}

#[test]
fn a_reader_beside_a_writer_never_sees_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader = Reader::open(directory.path()).unwrap();
            let mut last = 0;
            while last < 200_000 {
                last = read_on(&mut reader, last + 1);
            }
            last
        });
        for _ in 0..2000 {
            append(&mut writer, 100);
            writer.poll().unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(reading.join().unwrap(), 200_000);
    });
    writer.finish().unwrap();
}

/// From every record and from every time, with clocks that step back, over several runs and with indexes or none.
#[test]
fn reading_begins_anywhere() {
    for index_interval_bytes in [8192, 1 << 20] {
        let directory = tempfile::tempdir().unwrap();
        let small = Options {
            segment_bytes: 40 << 10,
            frame_bytes: 8192,
            staging_bytes: 64 << 10,
            index_interval_bytes,
            ..options()
        };
        let stepping = |number: u64| {
            let mut event = event(number);
            event.exchange_time = TimestampNs(if number % 400 > 300 { number - 300 } else { number });
            event
        };
        let mut writer = Writer::create(directory.path(), small.clone(), metadata()).unwrap();
        for number in 1..=2000 {
            if number == 1200 {
                writer.flush().unwrap();
                drop(writer);
                writer = Writer::resume(directory.path(), small.clone()).unwrap().0;
            }
            while writer.room() == 0 {
                writer.poll().unwrap();
            }
            writer.append(Sequence(number), &stepping(number)).unwrap();
        }
        writer.finish().unwrap();
        let first = |start| {
            let mut reader = Reader::open_at(directory.path(), start).unwrap();
            reader.next_batch().unwrap().map(|records| records[0].sequence.0)
        };
        for number in (0..=2001).step_by(13).chain([1, 2000, u64::MAX]) {
            let expected = Some(number.max(1)).filter(|&number| number <= 2000);
            assert_eq!(first(Start::Sequence(Sequence(number))), expected);
            let time = TimestampNs(number);
            let expected = (1..=2000).find(|&number| stepping(number).exchange_time >= time);
            assert_eq!(first(Start::Time(time)), expected, "time {number}");
        }
        // From there on nothing is missing.
        let mut reader = Reader::open_at(directory.path(), Start::Sequence(Sequence(777))).unwrap();
        let mut next = 777;
        while let Some(records) = reader.next_batch().unwrap() {
            for record in records {
                assert_eq!((record.sequence.0, record.event), (next, stepping(next)));
                next += 1;
            }
        }
        assert_eq!((next, reader.tail()), (2001, &Tail::Sealed));
    }
}

#[test]
fn a_reader_that_follows_looks_at_the_watermark_first() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    let mut readers: Vec<_> = (0..3).map(|_| Reader::open(directory.path()).unwrap()).collect();
    readers.iter_mut().for_each(|reader| reader.follow().unwrap());
    for round in 1..=20 {
        append(&mut writer, 50);
        writer.flush().unwrap();
        for reader in &mut readers {
            assert_eq!(read_on(reader, 50 * (round - 1) + 1), 50 * round);
            assert!(reader.is_writer_running());
        }
    }
    writer.finish().unwrap();
    for reader in &mut readers {
        assert_eq!((read_on(reader, 1001), reader.tail()), (1000, &Tail::Sealed));
        assert!(!reader.is_writer_running());
    }
}

#[test]
fn a_waiting_owner_gets_everything_to_the_disk() {
    for backend in backends() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(directory.path(), Options { backend, ..options() }, metadata()).unwrap();
        append(&mut writer, 300);
        let mut rounds = 0;
        while writer.poll().unwrap().durable < Sequence(300) {
            writer.wait(Duration::from_micros(100)).unwrap();
            rounds += 1;
            assert!(rounds < 100_000);
        }
    }
}

#[test]
fn a_directory_that_is_not_empty_is_refused_with_a_hint() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("notes.txt"), "mine").unwrap();
    let error = Writer::create(directory.path(), options(), metadata()).err().unwrap();
    assert!(matches!(&error, CreateError::NotEmpty { found, .. } if found == "notes.txt"));
    assert!(error.to_string().contains("choose another directory"), "{error}");
    assert_eq!(
        std::fs::read_dir(directory.path())
            .unwrap()
            .filter(|entry| { entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tcj") })
            .count(),
        0
    );

    let journal = directory.path().join("a/b");
    write(&journal, options(), 10);
    assert!(matches!(Writer::create(&journal, options(), metadata()), Err(CreateError::NotEmpty { .. })));
    assert_eq!(read_back(&journal), (10, Tail::Sealed));
}

#[test]
fn one_writer_has_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    let resumed = Writer::resume(directory.path(), options());
    assert!(matches!(resumed, Err(ResumeError::Recover(RecoverError::Locked { .. }))));
    assert!(matches!(recover(directory.path()), Err(RecoverError::Locked { .. })));
    append(&mut writer, 5);
    writer.flush().unwrap();
    drop(writer);
    let (writer, recovery) = Writer::resume(directory.path(), options()).unwrap();
    assert_eq!(recovery.last_sequence, Sequence(5));
    writer.finish().unwrap();
}

#[test]
fn what_is_no_journal_is_called_none() {
    let directory = tempfile::tempdir().unwrap();
    let none = |path: &Path| {
        assert!(matches!(Reader::open(path), Err(OpenError::NotAJournal { .. } | OpenError::Io { .. })));
        assert!(matches!(verify(path, |_| ()), Err(OpenError::NotAJournal { .. } | OpenError::Io { .. })));
        assert!(matches!(info(path), Err(OpenError::NotAJournal { .. } | OpenError::Io { .. })));
        assert!(matches!(Writer::resume(path, options()), Err(ResumeError::Recover(RecoverError::Open(_)))));
    };
    none(directory.path());
    none(&directory.path().join("absent"));
    std::fs::write(directory.path().join("segment-000001.tcj"), [0; 70_000]).unwrap();
    none(directory.path());
    std::fs::write(directory.path().join("segment-000001.tcj"), b"TCJSEGMT and no more").unwrap();
    none(directory.path());
}

#[test]
fn too_long_a_description_is_refused_and_the_longest_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut metadata = metadata();
    metadata.input = "x".repeat(513);
    let error = Writer::create(directory.path(), options(), metadata.clone()).err().unwrap();
    assert!(matches!(error, CreateError::Start(StartError::Options(OptionError::Input { found: 513 }))));
    metadata.input.pop();
    metadata.created = TimestampNs(u64::MAX);
    Writer::create(directory.path(), options(), metadata.clone()).unwrap().finish().unwrap();
    assert_eq!(Reader::open(directory.path()).unwrap().metadata(), &metadata);
}

#[test]
fn a_record_out_of_order_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    assert!(matches!(writer.append(Sequence(2), &event(2)), Err(AppendError::Discontinuous { .. })));
    append(&mut writer, 1);
    assert!(matches!(writer.append(Sequence(1), &event(1)), Err(AppendError::Discontinuous { .. })));
    writer.finish().unwrap();
    assert_eq!(read_back(directory.path()), (1, Tail::Sealed));
}

#[test]
fn full_frames_cost_at_most_two_percent_of_space() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { staging_bytes: 16 << 20, segment_bytes: 16 << 20, ..Options::default() };
    let mut writer = Writer::create(directory.path(), options, metadata()).unwrap();
    while writer.next_sequence() <= Sequence(500_000) {
        let room = writer.room() as u64;
        append(&mut writer, room.min(4092));
        writer.poll().unwrap();
    }
    let stats = writer.stats();
    writer.finish().unwrap();
    let info = info(directory.path()).unwrap();
    let overhead = info.bytes as f64 / (info.record_count * 64) as f64 - 1.0;
    assert!(overhead < 0.02, "{overhead}, {stats:?}");
}

/// A file system without `O_DIRECT` is used all the same, and that is said.
#[test]
fn a_backend_that_is_not_to_be_had_is_stepped_down_from_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { backend: Backend::IoUringFixed, registered_bytes: 0, ..options() };
    let mut writer = Writer::create(directory.path(), options, metadata()).unwrap();
    assert_ne!(writer.backend(), Backend::IoUringFixed, "nothing was to be registered");
    append(&mut writer, 100);
    writer.finish().unwrap();

    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        eprintln!("skipped: no tmpfs at /dev/shm");
        return;
    }
    let directory = tempfile::tempdir_in(memory).unwrap();
    let mut writer = Writer::create(directory.path(), common::options(), metadata()).unwrap();
    for notice in writer.notices() {
        assert!(!notice.cause.is_empty() && !notice.cure.is_empty(), "{notice}");
    }
    append(&mut writer, 3000);
    writer.finish().unwrap();
    assert_eq!(read_back(directory.path()), (3000, Tail::Sealed));
}
