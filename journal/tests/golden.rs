//! Each format version as it was first written: `golden/v1`, `v2` and `v3` are read for ever, and their bytes are where
//! the tables say. `v3-refusals` has what came into version 3 later.

mod common;

use common::{append_outputs, event, metadata, options, output, read_back, segments};
use std::path::{Path, PathBuf};
use tickcore_book::{EVENT_WORDS, Event, Flags, Kind, Sequence, TimestampNs};
use tickcore_journal::{FORMAT_VERSION, Options, Reader, Stream, Tail, Writer, info, recover, verify};

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn word(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn half(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

/// Writes the golden journal anew. Only for a new format version: the files of a released one never change.
#[test]
#[ignore = "writes the golden files"]
fn regenerate() {
    let directory = golden(&format!("v{FORMAT_VERSION}"));
    assert!(!directory.exists(), "{directory:?} is there already, and must stay as it is");
    let small = Options {
        segment_bytes: 7 * 4096,
        frame_bytes: 8192,
        staging_bytes: 64 << 10,
        index_interval_bytes: 8192,
        output_streams: 2,
        ..options()
    };
    let mut writer = Writer::create(&directory, small, metadata()).unwrap();
    writer.mark(7, 70_001, false);
    common::append(&mut writer, 3);
    append_outputs(&mut writer, 0, 2);
    writer.flush().unwrap();
    common::append(&mut writer, 100);
    writer.flush().unwrap();
    append_outputs(&mut writer, 1, 70);
    writer.flush().unwrap();
    common::append(&mut writer, 10);
    writer.mark(9, 90_001, false);
    common::append(&mut writer, 20);
    writer.mark(7, 70_500, true);
    common::append(&mut writer, 10);
    append_outputs(&mut writer, 0, 1);
    writer.flush().unwrap();
    common::append(&mut writer, 50);
    finish(writer, &directory);
}

/// Leaves the segments alone.
fn finish(writer: Writer, directory: &Path) {
    writer.finish().unwrap();
    std::fs::remove_file(directory.join("lock")).unwrap();
    std::fs::remove_file(directory.join("status")).unwrap();
}

/// Core, input that caused it, and flags of the outputs in `v3-refusals`: none refused, three, and more than can be counted, of
/// which two by the input that caused the output. The third core has sent nothing.
const REFUSALS: [(u16, u64, u16); 4] = [(0, 1, 0), (0, 2, 3), (1, 2, 0), (1, 5, 1 << 15 | 2)];

/// An output as the engine records it.
fn refused_before((core, cause, flags): (u16, u64, u16)) -> Event {
    let intent = Event { kind_number: Kind::OrderIntent as u8, ..output(core, cause) };
    Event { receive_time: TimestampNs(cause), flags: Flags(flags), ..intent }
}

/// Writes the second golden journal of version 3 anew; only for a new version, as above.
#[test]
#[ignore = "writes the golden files"]
fn regenerate_refusals() {
    let directory = golden(&format!("v{FORMAT_VERSION}-refusals"));
    assert!(!directory.exists(), "{directory:?} is there already, and must stay as it is");
    let small =
        Options { segment_bytes: 7 * 4096, frame_bytes: 8192, staging_bytes: 64 << 10, output_streams: 3, ..options() };
    let mut writer = Writer::create(&directory, small, metadata()).unwrap();
    common::append(&mut writer, 5);
    writer.flush().unwrap();
    for output in REFUSALS {
        writer.append_output(output.0, writer.next_output(output.0), &refused_before(output)).unwrap();
    }
    finish(writer, &directory);
}

#[test]
fn version_1_is_read() {
    assert_eq!(read_back(&golden("v1")), (143, Tail::Sealed));
    let report = verify(golden("v1"), |_| ()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damages);
    assert_eq!((report.segment_count, report.frame_count, report.record_count), (2, 3, 143));
    assert_eq!(Reader::open(golden("v1")).unwrap().metadata(), &metadata());
    let info = info(golden("v1")).unwrap();
    assert_eq!(info.sequences, Some((Sequence(1), Sequence(143))));
    assert_eq!(info.times, Some((event(1).exchange_time, event(143).exchange_time)));
}

/// Read with nothing of the product: the byte tables of `docs/JOURNAL.md`.
#[test]
fn version_1_has_its_bytes_where_the_tables_say() {
    let names = segments(&golden("v1"));
    assert_eq!(names, ["segment-000001.tcj", "segment-000002.tcj"]);
    let bytes = std::fs::read(golden("v1").join(&names[0])).unwrap();
    assert_eq!(bytes.len(), 5 * 4096, "header, frames of 4096 and 8192 bytes, footer");

    let header = &bytes[..4096];
    assert_eq!(&header[..8], b"TCJSEGMT");
    assert_eq!((half(header, 8), half(header, 12)), (1, 4096));
    let journal = &header[16..32];
    assert_eq!((word(header, 32), word(header, 40)), (1, 1), "epoch and number");
    assert_eq!(word(header, 48), 6 * 4096, "prepared length");
    assert_eq!((word(header, 56), word(header, 64), word(header, 72)), (1, 0, 0), "first sequence, chain, durable");
    assert_eq!((word(header, 80), word(header, 88)), (metadata().created.0, 1), "creation and flags");
    assert_eq!((word(header, 96), word(header, 104), word(header, 112)), (11, 1 << 20, 1 << 16));
    assert_eq!((half(header, 120), half(header, 124) as usize), (4096, metadata().input.len()));
    assert_eq!(&header[128..128 + metadata().input.len()], metadata().input.as_bytes());
    assert!(header[640..4088].iter().all(|&byte| byte == 0));

    let first = &bytes[4096..8192];
    assert_eq!(&first[..8], b"TCJFRAME");
    assert_eq!((half(first, 8), half(first, 12), half(first, 16)), (1, 256, 4096));
    assert_eq!((half(first, 20), half(first, 24), half(first, 28)), (3, 1, 0), "count, record kind, stream");
    assert_eq!((word(first, 32), word(first, 40)), (1, event(1).exchange_time.0));
    assert_eq!(word(first, 48), event(3).exchange_time.0);
    assert_eq!(&first[56..72], journal);
    assert_eq!((word(first, 72), word(first, 80), word(first, 88)), (1, 1, 4096), "epoch, segment, offset");
    assert_eq!((word(first, 96), word(first, 104)), (0, 0), "durable, chain");
    assert!(first[120..248].iter().all(|&byte| byte == 0), "no marks yet");
    for number in 1..=3 {
        let record = &first[256 + 64 * (number - 1)..][..64];
        let words: [u64; EVENT_WORDS] = std::array::from_fn(|index| word(record, 8 + 8 * index));
        assert_eq!((word(record, 0), words), (number as u64, event(number as u64).to_words()));
    }
    assert!(first[256 + 3 * 64..].iter().all(|&byte| byte == 0));

    let second = &bytes[8192..16384];
    assert_eq!((half(second, 16), half(second, 20), word(second, 32)), (8192, 100, 4));
    assert_eq!((word(second, 96), word(second, 104)), (3, word(first, 248)), "durable, chain");

    let footer = &bytes[16384..];
    assert_eq!(&footer[..8], b"TCJFOOTR");
    assert_eq!((half(footer, 8), half(footer, 12)), (1, 4096));
    assert_eq!(&footer[16..32], journal);
    assert_eq!((word(footer, 32), word(footer, 40), word(footer, 48)), (1, 1, 16384), "epoch, segment, offset");
    assert_eq!((word(footer, 56), word(footer, 64)), (2, 103), "frames, records");
    assert_eq!((word(footer, 72), word(footer, 80)), (1, 103), "sequences");
    assert_eq!((word(footer, 88), word(footer, 96)), (event(1).exchange_time.0, event(103).exchange_time.0));
    assert_eq!(word(footer, 112), word(second, 248), "chain");
    assert_eq!((half(footer, 120), half(footer, 124)), (1, 0), "seal, index");

    let next = std::fs::read(golden("v1").join(&names[1])).unwrap();
    assert_eq!((word(&next, 40), word(&next, 56), word(&next, 64)), (2, 104, word(second, 248)));
}

/// What this version goes on with is of this version, and both are one journal; outputs begin there.
#[test]
fn older_versions_are_resumed() {
    for (version, last) in [("v1", 143), ("v2", 193)] {
        let directory = tempfile::tempdir().unwrap();
        common::copy(&golden(version), directory.path());
        let with_outputs = Options { output_streams: 1, ..options() };
        let (mut writer, recovery) = Writer::resume(directory.path(), with_outputs).unwrap();
        assert_eq!((recovery.last_sequence, recovery.outputs.len()), (Sequence(last), 0));
        common::append(&mut writer, 1000);
        append_outputs(&mut writer, 0, 10);
        writer.finish().unwrap();
        assert_eq!(read_back(directory.path()), (last + 1000, Tail::Sealed));
        let report = verify(directory.path(), |_| ()).unwrap();
        assert!(report.is_intact(), "{:?}", report.damages);
        assert_eq!((report.streams[1].first, report.streams[1].last), (Sequence(1), Sequence(10)));
        let third = std::fs::read(directory.path().join("segment-000003.tcj")).unwrap();
        assert_eq!(half(&third, 8), FORMAT_VERSION);
    }
}

/// A segment of version 1 that was never sealed is sealed as one of version 1.
#[test]
fn version_1_is_recovered() {
    let directory = tempfile::tempdir().unwrap();
    common::copy(&golden("v1"), directory.path());
    let path = directory.path().join("segment-000002.tcj");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(8192);
    bytes.resize(6 * 4096, 0);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(recover(directory.path()).unwrap().last_sequence, Sequence(143));
    assert_eq!(read_back(directory.path()), (143, Tail::Sealed));
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
    assert_eq!(half(&std::fs::read(&path).unwrap()[8192..], 8), 1);
}

#[test]
fn version_2_is_read() {
    assert_eq!(read_back(&golden("v2")), (193, Tail::Sealed));
    let report = verify(golden("v2"), |_| ()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damages);
    assert_eq!((report.segment_count, report.frame_count, report.record_count), (2, 4, 193));
}

/// What version 2 added, read with nothing of the product.
#[test]
fn version_2_has_its_bytes_where_the_tables_say() {
    let bytes = std::fs::read(golden("v2").join("segment-000001.tcj")).unwrap();
    let highest = |last: u64| event(last).exchange_time.0;
    assert_eq!((half(&bytes, 8), half(&bytes[4096..], 8)), (2, 2));
    assert_eq!(word(&bytes, 4096 + 240), highest(3), "highest time of the first frame");
    assert_eq!(word(&bytes, 8192 + 240), highest(103));
    let index = &bytes[bytes.len() - 8192..bytes.len() - 4096];
    assert_eq!(&index[..8], b"TCJINDEX");
    assert_eq!((half(index, 8), half(index, 12), half(index, 16), half(index, 20)), (2, 4096, 1, 0));
    assert_eq!(&index[24..40], &bytes[16..32], "journal");
    assert_eq!((word(index, 40), word(index, 48)), (1, 1), "epoch, segment");
    assert_eq!((word(index, 64), word(index, 72), word(index, 80)), (104, 16384, highest(103)), "the entry");
    let footer = &bytes[bytes.len() - 4096..];
    assert_eq!((half(footer, 8), half(footer, 124), word(footer, 128)), (2, 4096, highest(143)));
}

/// What came into version 3 beside its golden journal, whose headers have 0 there.
#[test]
fn headers_say_how_many_cores_recorded_outputs() {
    assert_eq!(info(golden("v3")).unwrap().output_cores, None);
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let with = |output_streams| Options { output_streams, ..options() };
    let stated = |number: u64| {
        let bytes = std::fs::read(directory.join(format!("segment-00000{number}.tcj"))).unwrap();
        assert!(bytes[1688..4088].iter().all(|&byte| byte == 0));
        (word(&bytes, 1680), info(&directory).unwrap().output_cores, recover(&directory).unwrap().output_cores)
    };
    let mut writer = Writer::create(&directory, with(0), metadata()).unwrap();
    common::append(&mut writer, 1);
    writer.finish().unwrap();
    assert_eq!(stated(1), (0, None, None));
    // The first that record any; whoever comes later, with as many or not, changes nothing.
    for (number, output_streams) in [(2, 3), (3, 0), (4, 5), (5, 3)] {
        let (mut writer, _) = Writer::resume(&directory, with(output_streams)).unwrap();
        common::append(&mut writer, 1);
        writer.finish().unwrap();
        assert_eq!(stated(number), (3, Some(3), Some(3)));
    }
    // Where outputs are there already, nobody knows how many cores they are of.
    let older = scratch.path().join("older");
    common::copy(&golden("v3"), &older);
    let (mut writer, _) = Writer::resume(&older, with(2)).unwrap();
    append_outputs(&mut writer, 0, 1);
    writer.finish().unwrap();
    assert_eq!(info(&older).unwrap().output_cores, None);
}

/// The same and refusals, as they were first written, read with nothing of the product.
#[test]
fn cores_and_refusals_have_their_bytes_where_the_tables_say() {
    assert_eq!(segments(&golden("v3-refusals")), ["segment-000001.tcj"]);
    let bytes = std::fs::read(golden("v3-refusals").join("segment-000001.tcj")).unwrap();
    assert_eq!(bytes.len(), 5 * 4096, "header, a frame of the inputs and two of outputs, footer");
    assert_eq!((half(&bytes, 8), word(&bytes, 1680)), (3, 3), "version, cores");
    assert!(bytes[1688..4088].iter().all(|&byte| byte == 0));
    for (core, frame) in (0..).zip(bytes[8192..16384].chunks(4096)) {
        let expected: Vec<_> = REFUSALS.iter().filter(|output| output.0 == core).collect();
        assert_eq!((half(frame, 28), half(frame, 20)), (u32::from(core) + 1, expected.len() as u32), "stream, records");
        for (number, &&(_, cause, flags)) in (1..).zip(&expected) {
            let record = &frame[256 + 64 * (number - 1)..][..64];
            assert_eq!((word(record, 0), word(record, 16)), (number as u64, cause), "number, cause");
            assert_eq!(
                (record[60], record[62], record[63]),
                (Kind::OrderIntent as u8, flags as u8, (flags >> 8) as u8)
            );
        }
    }
}

#[test]
fn cores_and_refusals_are_read_and_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    common::copy(&golden("v3-refusals"), directory.path());
    for (output_streams, inputs) in [(0, 5), (5, 15)] {
        let info = info(directory.path()).unwrap();
        assert_eq!((info.output_cores, info.sequences), (Some(3), Some((Sequence(1), Sequence(inputs)))));
        assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
        for core in 0..3 {
            let mut reader = Reader::open_stream(directory.path(), Stream::outputs_of(core)).unwrap();
            let mut found = Vec::new();
            while let Some(records) = reader.next_batch().unwrap() {
                found.extend(records.iter().map(|record| record.event));
            }
            let expected: Vec<_> = REFUSALS.into_iter().filter(|output| output.0 == core).map(refused_before).collect();
            assert_eq!(found, expected);
        }
        let (mut writer, _) = Writer::resume(directory.path(), Options { output_streams, ..options() }).unwrap();
        common::append(&mut writer, 10);
        writer.finish().unwrap();
    }
}

#[test]
fn version_3_is_read() {
    assert_eq!(read_back(&golden("v3")), (193, Tail::Sealed));
    common::check_streams(&golden("v3"), "golden");
    let report = verify(golden("v3"), |_| ()).unwrap();
    assert!(report.is_intact(), "{:?}", report.damages);
    assert_eq!((report.segment_count, report.frame_count, report.record_count), (3, 7, 266));
    let counts: Vec<_> = report.streams.iter().map(|info| (info.stream.number(), info.last.0)).collect();
    assert_eq!(counts, [(0, 193), (1, 3), (2, 70)]);
    let info = info(golden("v3")).unwrap();
    let marks: Vec<_> =
        info.last_marks.iter().map(|mark| (mark.channel, mark.sequence.0, mark.venue_sequence)).collect();
    assert_eq!((info.streams, marks), (report.streams, vec![(7, 134, 70_500), (9, 114, 90_001)]));
}

/// What version 3 added, read with nothing of the product.
#[test]
fn version_3_has_its_bytes_where_the_tables_say() {
    let files: [Vec<u8>; 3] =
        ["1", "2", "3"].map(|number| std::fs::read(golden("v3").join(format!("segment-00000{number}.tcj"))).unwrap());
    let [first, second, third] = &files;
    // Headers: place that was durable, ends of the outputs.
    assert_eq!((half(first, 8), word(first, 640), word(first, 648)), (3, 1, 4096));
    assert!(first[656..4088].iter().all(|&byte| byte == 0), "there are no outputs before");

    // The first frame, of three inputs with a mark of the first, and that of the two outputs behind it.
    let (inputs, outputs) = (&first[4096..8192], &first[8192..12288]);
    assert_eq!((half(inputs, 28), half(inputs, 120), half(inputs, 124)), (0, 1, 1), "stream, marks, durable units");
    assert_eq!((half(inputs, 128), half(inputs, 132), word(inputs, 136)), (7, 0, 70_001), "channel, record, number");
    assert!(inputs[144..240].iter().all(|&byte| byte == 0));
    assert_eq!((half(outputs, 28), half(outputs, 20), word(outputs, 32)), (1, 2, 1), "stream, records, first");
    assert_eq!((word(outputs, 104), half(outputs, 120)), (0, 0), "chain of its own, no marks");
    assert_eq!((word(outputs, 40), word(outputs, 240)), (output(0, 1).exchange_time.0, output(0, 2).exchange_time.0));
    assert_eq!(word(outputs, 256), 1, "the number of the record");

    // 100 inputs, which follow the first frame of the inputs, when all before was durable.
    let inputs = &first[12288..20480];
    assert_eq!((half(inputs, 28), word(inputs, 32), word(inputs, 96)), (0, 4, 3), "stream, first, durable");
    assert_eq!((word(inputs, 104), half(inputs, 124)), (word(first, 4096 + 248), 3), "chain, durable units");

    // Index, which knows of inputs only, and footer.
    let index = &first[20480..24576];
    assert_eq!((&index[..8], half(index, 16)), (&b"TCJINDEX"[..], 1));
    assert_eq!((word(index, 64), word(index, 72), word(index, 80)), (4, 12288, event(3).exchange_time.0));
    let footer = &first[24576..];
    assert_eq!((half(footer, 8), word(footer, 56), word(footer, 64)), (3, 3, 105), "version, frames, records");
    assert_eq!((word(footer, 72), word(footer, 80)), (1, 103), "inputs");
    assert_eq!((word(footer, 96), word(footer, 128)), (event(103).exchange_time.0, event(103).exchange_time.0));
    assert_eq!(word(footer, 112), word(first, 12288 + 248), "chain of the inputs");
    assert_eq!((word(footer, 136), word(footer, 144)), (2, word(first, 8192 + 248)), "outputs of core 0");
    assert_eq!((word(footer, 152), word(footer, 160)), (0, 0), "outputs of core 1");
    assert_eq!(word(footer, 1160), 1, "channels with marks");
    assert_eq!((half(footer, 1168), word(footer, 1176), word(footer, 1184)), (7, 1, 70_001));
    assert!(footer[1192..4088].iter().all(|&byte| byte == 0));

    // The second segment goes on with all streams. Its header was written when the frames before were durable.
    assert_eq!((word(second, 640), word(second, 648)), (1, 20480));
    assert_eq!((word(second, 56), word(second, 64)), (104, word(footer, 112)));
    assert_eq!(&second[656..1680], &footer[136..1160], "the ends of the outputs");
    let outputs = &second[4096..12288];
    assert_eq!((half(outputs, 28), half(outputs, 20), word(outputs, 32)), (2, 70, 1));
    assert_eq!(half(outputs, 124), 1 << 31 | 5, "durable units of the segment before");
    let inputs = &second[12288..16384];
    assert_eq!((half(inputs, 120), half(inputs, 128), half(inputs, 132), word(inputs, 136)), (2, 9, 10, 90_001));
    assert_eq!((half(inputs, 144), half(inputs, 148), word(inputs, 152)), (7, 30, 70_500));
    let outputs = &second[16384..20480];
    assert_eq!((half(outputs, 28), word(outputs, 32)), (1, 3));
    assert_eq!(word(outputs, 104), word(first, 8192 + 248), "chain over the segments");
    let footer = &second[second.len() - 4096..];
    assert_eq!((word(footer, 136), word(footer, 152), word(footer, 1160)), (3, 70, 2));
    assert_eq!(&third[656..1680], &footer[136..1160]);
}
