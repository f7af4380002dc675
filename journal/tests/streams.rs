//! Outputs of cores beside the inputs, and marks: written, read, gone on with, and found damaged.

mod common;

use common::{append, append_outputs, event, metadata, options, output, read_back};
use std::path::Path;
use tickcore_book::Sequence;
use tickcore_journal::{
    AppendError, Fault, Mark, OpenError, Options, Reader, RecoverError, Start, Stream, StreamInfo, Tail, Writer, info,
    recover, verify,
};

fn with_outputs(count: u16) -> Options {
    Options { output_streams: count, ..options() }
}

/// Reads the outputs of a core from a start on, checks each, and returns the first and the last, and how the journal ends.
fn read_outputs(directory: &Path, core: u16, start: Start) -> (u64, u64, Tail) {
    let mut reader = Reader::open_stream_at(directory, Stream::outputs_of(core), start).unwrap();
    let (mut first, mut last) = (0, 0);
    while let Some(records) = reader.next_batch().unwrap() {
        assert!(!records.is_empty());
        for record in records {
            assert!(last == 0 || record.sequence.0 == last + 1, "{} comes after {last}", record.sequence);
            assert_eq!(record.event, output(core, record.sequence.0));
            last = record.sequence.0;
            first = if first == 0 { last } else { first };
        }
        assert_eq!(reader.marks().count(), 0, "marks are of inputs");
    }
    assert!(last == 0 || reader.next_sequence().0 == last + 1);
    (first, last, reader.tail().clone())
}

/// 3000 inputs, 1000 outputs of core 0 and 40 of core 2, mixed.
fn write_mixed(writer: &mut Writer) {
    for round in 0..20 {
        append(writer, 150);
        append_outputs(writer, 0, 50);
        if round % 3 == 0 {
            writer.poll().unwrap();
        }
        if round % 10 == 9 {
            append_outputs(writer, 2, 20);
        }
    }
}

#[test]
fn each_stream_comes_back_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), with_outputs(3), metadata()).unwrap();
    write_mixed(&mut writer);
    writer.flush().unwrap();
    assert_eq!((writer.durable(), writer.output_watermarks(0).durable), (Sequence(3000), Sequence(1000)));
    assert!(writer.stats().segment_count >= 4);
    writer.finish().unwrap();
    let path = directory.path();
    assert_eq!(read_back(path), (3000, Tail::Sealed));
    assert_eq!(read_outputs(path, 0, Start::Beginning), (1, 1000, Tail::Sealed));
    assert_eq!(read_outputs(path, 1, Start::Beginning), (0, 0, Tail::Sealed));
    assert_eq!(read_outputs(path, 2, Start::Beginning), (1, 40, Tail::Sealed));
    for from in [2, 17, 400, 999, 1000] {
        assert_eq!(read_outputs(path, 0, Start::Sequence(Sequence(from))), (from, 1000, Tail::Sealed));
    }
    assert_eq!(read_outputs(path, 0, Start::Sequence(Sequence(1001))), (0, 0, Tail::Sealed));
    let time = output(0, 700).exchange_time;
    assert_eq!(read_outputs(path, 0, Start::Time(time)), (700, 1000, Tail::Sealed));

    let report = verify(path, |_| ()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damages);
    let streams =
        |count: u64, stream| StreamInfo { stream, first: Sequence(1), last: Sequence(count), record_count: count };
    let expected =
        [streams(3000, Stream::INPUTS), streams(1000, Stream::outputs_of(0)), streams(40, Stream::outputs_of(2))];
    assert_eq!(report.streams, expected);
    assert_eq!((report.record_count, report.sequences), (4040, Some((Sequence(1), Sequence(3000)))));
    let info = info(path).unwrap();
    assert_eq!((info.streams, info.record_count), (expected.to_vec(), 4040));
    assert_eq!(info.times.unwrap().1, event(3000).exchange_time, "times are those of inputs");
}

#[test]
fn a_resumed_writer_goes_on_with_each_stream() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), with_outputs(3), metadata()).unwrap();
    write_mixed(&mut writer);
    writer.flush().unwrap();
    drop(writer);
    // With fewer streams: the others stay where they are.
    let (mut writer, recovery) = Writer::resume(directory.path(), with_outputs(1)).unwrap();
    assert_eq!(recovery.last_sequence, Sequence(3000));
    let lasts = [(Stream::outputs_of(0), Sequence(1000)), (Stream::outputs_of(2), Sequence(40))];
    assert_eq!(recovery.outputs, lasts);
    assert_eq!((writer.next_output(0), writer.output_watermarks(0).durable), (Sequence(1001), Sequence(1000)));
    assert!(matches!(writer.append_output(2, Sequence(41), &output(2, 41)), Err(AppendError::NoStream { core: 2 })));
    append_outputs(&mut writer, 0, 500);
    append(&mut writer, 700);
    writer.finish().unwrap();
    let (mut writer, recovery) = Writer::resume(directory.path(), with_outputs(3)).unwrap();
    assert_eq!(recovery.outputs[0], (Stream::outputs_of(0), Sequence(1500)));
    let refused = writer.append_output(2, Sequence(1), &output(2, 1));
    assert!(matches!(refused, Err(AppendError::Discontinuous { expected: Sequence(41), found: Sequence(1) })));
    append_outputs(&mut writer, 2, 2);
    writer.finish().unwrap();
    assert_eq!(read_back(directory.path()), (3700, Tail::Sealed));
    assert_eq!(read_outputs(directory.path(), 0, Start::Beginning), (1, 1500, Tail::Sealed));
    assert_eq!(read_outputs(directory.path(), 2, Start::Sequence(Sequence(41))), (41, 42, Tail::Sealed));
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
}

/// An idle stream holds up nothing, and one that has little to write beside a busy one is not kept waiting.
#[test]
fn no_stream_waits_for_another() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), with_outputs(2), metadata()).unwrap();
    append_outputs(&mut writer, 1, 1);
    writer.flush().unwrap();
    assert_eq!(writer.output_watermarks(1).durable, Sequence(1));
    append(&mut writer, 5);
    writer.flush().unwrap();
    assert_eq!(writer.durable(), Sequence(5));
    // More inputs than a turn writes, and one output.
    append_outputs(&mut writer, 0, 1);
    let mut turns = 0;
    while writer.output_watermarks(0).written < Sequence(1) {
        append(&mut writer, 1000);
        writer.poll().unwrap();
        turns += 1;
        assert!(turns < 1000, "the output is kept waiting for the inputs");
    }
    writer.finish().unwrap();
}

#[test]
fn a_reader_follows_outputs() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), with_outputs(1), metadata()).unwrap();
    let mut reader = Reader::open_stream(directory.path(), Stream::outputs_of(0)).unwrap();
    reader.follow().unwrap();
    assert_eq!(reader.next_batch().unwrap(), None);
    append_outputs(&mut writer, 0, 3);
    append(&mut writer, 3);
    writer.flush().unwrap();
    assert_eq!(reader.next_batch().unwrap().map(<[_]>::len), Some(3));
    append(&mut writer, 3);
    writer.flush().unwrap();
    assert_eq!(reader.next_batch().unwrap(), None, "only inputs came");
    append_outputs(&mut writer, 0, 2);
    writer.flush().unwrap();
    assert_eq!(reader.next_batch().unwrap().map(<[_]>::len), Some(2));
    writer.finish().unwrap();
    assert_eq!(reader.next_batch().unwrap(), None);
    assert!(!reader.is_writer_running());
}

/// A frame that was durable is lost, and the only one behind it is of another stream, whose own numbers say nothing of it.
#[test]
fn a_lost_frame_is_damage_to_whatever_stream_comes_behind() {
    for is_output_lost in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(directory.path(), with_outputs(1), metadata()).unwrap();
        if is_output_lost {
            append_outputs(&mut writer, 0, 5);
        } else {
            append(&mut writer, 5);
        }
        writer.flush().unwrap();
        if is_output_lost {
            append(&mut writer, 5);
        } else {
            append_outputs(&mut writer, 0, 5);
        }
        writer.flush().unwrap();
        drop(writer);
        let path = directory.path().join("segment-000001.tcj");
        let whole = std::fs::read(&path).unwrap();
        let with_flipped = |offset: usize| {
            let mut bytes = whole.clone();
            bytes[offset] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        };
        with_flipped(4096 + 300);
        let found = verify(directory.path(), |_| ()).unwrap();
        assert!(matches!(found.damages[0].fault, Fault::PayloadChecksum { .. }), "{:?}", found.damages);
        assert_eq!((found.damages.len(), found.damages[0].offset), (1, 4096));
        assert_eq!((found.frame_count, found.record_count), (1, 5), "the other one is still counted");
        assert!(matches!(recover(directory.path()), Err(RecoverError::Open(OpenError::Damaged(_)))));
        // The last frame: nothing says that it was durable, so it is what a crash may leave.
        with_flipped(8192 + 300);
        let recovery = recover(directory.path()).unwrap();
        assert_eq!(recovery.cut.unwrap().offset, 8192);
        let expected = if is_output_lost { (0, vec![(Stream::outputs_of(0), Sequence(5))]) } else { (5, vec![]) };
        assert_eq!((recovery.last_sequence.0, recovery.outputs), expected);
    }
}

/// The marks of all frames, each with the first record of its frame.
fn marks(directory: &Path) -> Vec<(u64, Mark)> {
    let mut reader = Reader::open(directory).unwrap();
    let mut found = Vec::new();
    while reader.next_batch().unwrap().is_some() {
        let first = reader.batch()[0].sequence.0;
        found.extend(reader.marks().map(|mark| (first, mark)));
    }
    assert!(reader.batch().is_empty() && reader.marks().next().is_none(), "there is no batch at the end");
    found
}

fn mark(channel: u32, sequence: u64, venue_sequence: u64) -> Mark {
    Mark { channel, sequence: Sequence(sequence), venue_sequence }
}

#[test]
fn marks_are_kept_with_their_records() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    assert!(!writer.has_mark(4));
    writer.mark(4, 70, false);
    writer.mark(4, 71, false);
    assert!(writer.has_mark(4), "of the record that is appended next");
    append(&mut writer, 10);
    writer.mark(4, 99, false);
    writer.mark(9, 5, false);
    append(&mut writer, 1);
    writer.mark(4, 200, true);
    append(&mut writer, 1);
    writer.flush().unwrap();
    assert!(!writer.has_mark(4), "the next record comes into another frame");
    // Said of a record that comes only after a poll.
    writer.mark(4, 201, false);
    writer.poll().unwrap();
    append(&mut writer, 1);
    writer.flush().unwrap();
    writer.finish().unwrap();
    let expected = [(1, mark(4, 1, 71)), (1, mark(9, 11, 5)), (1, mark(4, 12, 200)), (13, mark(4, 13, 201))];
    assert_eq!(marks(directory.path()), expected);
    assert_eq!(info(directory.path()).unwrap().last_marks, [mark(4, 13, 201), mark(9, 11, 5)]);
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
}

#[test]
fn an_eighth_channel_closes_a_frame_that_is_worth_it() {
    let directory = tempfile::tempdir().unwrap();
    // 252 records fill a frame.
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    let marked = |writer: &mut Writer, channel: u32, is_gap: bool, count: u64| {
        writer.mark(channel, 1000 + u64::from(channel), is_gap);
        append(writer, count);
    };
    (0..7).for_each(|channel| marked(&mut writer, channel, false, 1));
    marked(&mut writer, 7, false, 1);
    assert!(!writer.has_mark(7), "eight records are no frame to close");
    marked(&mut writer, 7, true, 1);
    assert!(!writer.has_mark(7) && writer.has_mark(0), "a gap is, but not now");
    writer.poll().unwrap();
    assert!(!writer.has_mark(0));
    (7..14).for_each(|channel| marked(&mut writer, channel, false, 10));
    marked(&mut writer, 0, false, 1);
    writer.poll().unwrap();
    marked(&mut writer, 0, false, 5);
    assert!(writer.has_mark(0), "70 records are a quarter of a frame, and there are five in the next");
    append(&mut writer, 247);
    assert!(!writer.has_mark(0), "the frame is full");
    writer.mark(0, 3, false);
    append(&mut writer, 1);
    writer.finish().unwrap();
    let found = marks(directory.path());
    let firsts: Vec<u64> = found.iter().map(|(first, _)| *first).collect();
    assert_eq!(firsts, [vec![1; 7], vec![10; 7], vec![81], vec![333]].concat());
    assert_eq!(found[15].1, mark(0, 333, 3));
    let last_marks = info(directory.path()).unwrap().last_marks;
    assert_eq!((last_marks.len(), last_marks[0], last_marks[7]), (14, mark(0, 333, 3), mark(7, 10, 1007)));
}

/// Gaps in a storm, of more channels than a frame has marks, with nothing but the open frame left of the staging, and with more.
#[test]
fn marks_take_no_room_away() {
    for room_wanted in [200, 252, 700] {
        let directory = tempfile::tempdir().unwrap();
        let small = Options { staging_bytes: 8 * (16 << 10), ..options() };
        let mut writer = Writer::create(directory.path(), small, metadata()).unwrap();
        let marked = |writer: &mut Writer| {
            let sequence = writer.next_sequence();
            writer.mark(sequence.0 as u32 % 9, sequence.0, true);
            writer.append(sequence, &event(sequence.0)).unwrap();
        };
        while writer.room() > room_wanted {
            marked(&mut writer);
        }
        // As many as there were said to be, and not one more.
        (0..writer.room()).for_each(|_| marked(&mut writer));
        let sequence = writer.next_sequence();
        assert!(matches!(writer.append(sequence, &event(sequence.0)), Err(AppendError::Full)));
        writer.flush().unwrap();
        writer.finish().unwrap();
        assert!(marks(directory.path()).iter().all(|(_, mark)| mark.sequence.0 == mark.venue_sequence));
    }
}
