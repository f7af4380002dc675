//! Each format version as it was first written: `golden/v1` and `golden/v2` are read for ever, and their bytes are where
//! the tables say.

mod common;

use common::{event, metadata, options, read_back, segments};
use std::path::{Path, PathBuf};
use tickcore_book::{EVENT_WORDS, Sequence};
use tickcore_journal::{FORMAT_VERSION, Options, Reader, Tail, Writer, info, recover, verify};

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
        ..options()
    };
    let mut writer = Writer::create(&directory, small, metadata()).unwrap();
    for count in [3, 100, 40, 50] {
        common::append(&mut writer, count);
        writer.flush().unwrap();
    }
    writer.finish().unwrap();
    std::fs::remove_file(directory.join("lock")).unwrap();
    std::fs::remove_file(directory.join("status")).unwrap();
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

/// What this version goes on with is of this version, and both are one journal.
#[test]
fn version_1_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    common::copy(&golden("v1"), directory.path());
    let (mut writer, recovery) = Writer::resume(directory.path(), options()).unwrap();
    assert_eq!(recovery.last_sequence, Sequence(143));
    common::append(&mut writer, 1000);
    writer.finish().unwrap();
    assert_eq!(read_back(directory.path()), (1143, Tail::Sealed));
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
    let third = std::fs::read(directory.path().join("segment-000003.tcj")).unwrap();
    assert_eq!(half(&third, 8), FORMAT_VERSION);
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
