//! Compacted segments read as the segments they were.

mod common;

use common::{append, metadata, options, read_back, write};
use std::path::{Path, PathBuf};
use tickcore_book::Sequence;
use tickcore_journal::{Options, Reader, Start, Tail, Writer, compact, info, verify};

fn packed(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "tcz")).collect();
    found.sort();
    found
}

#[test]
fn everything_that_reads_a_journal_reads_it_compacted() {
    let directory = tempfile::tempdir().unwrap();
    let large = Options { segment_bytes: 3 << 20, index_interval_bytes: 64 << 10, ..options() };
    write(directory.path(), large, 200_000);
    let before = info(directory.path()).unwrap();
    let compaction = compact(directory.path(), 3, |done, total| assert!(done <= total)).unwrap();
    assert_eq!(compaction.files.len() + 1, before.segments.len());
    assert!(compaction.bytes_after * 5 < compaction.bytes_before, "{compaction:?}");
    assert_eq!(read_back(directory.path()), (200_000, Tail::Sealed));
    let report = verify(directory.path(), |_| ()).unwrap();
    assert!(report.is_intact() && report.unused.is_empty(), "{report:?}");
    assert_eq!(info(directory.path()).unwrap().sequences, before.sequences);
    for number in [1, 77_777, 150_000] {
        let mut reader = Reader::open_at(directory.path(), Start::Sequence(Sequence(number))).unwrap();
        assert_eq!(reader.next_batch().unwrap().unwrap()[0].sequence, Sequence(number));
    }
    assert!(compact(directory.path(), 3, |_, _| ()).unwrap().files.is_empty(), "there is nothing left to do");
    let (mut writer, _) = Writer::resume(directory.path(), options()).unwrap();
    append(&mut writer, 1000);
    writer.finish().unwrap();
    assert_eq!(read_back(directory.path()), (201_000, Tail::Sealed));
}

#[test]
fn damage_in_a_compacted_segment_is_found_wherever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), Options { segment_bytes: 256 << 10, ..options() }, 9000);
    compact(directory.path(), 3, |_, _| ()).unwrap();
    let path = packed(directory.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    for place in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&path, &bytes).unwrap();
        let report = verify(directory.path(), |_| ()).unwrap();
        // A bit that zstd does not look at changes nothing of what comes out.
        assert!(!report.is_intact() || read_back(directory.path()).0 == 9000, "byte {place}");
    }
    for length in [0, 1, 63, 64, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(!verify(directory.path(), |_| ()).unwrap().is_intact(), "{length} bytes");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(verify(directory.path(), |_| ()).unwrap().is_intact());
}

#[test]
fn a_writer_and_a_reader_may_be_at_work() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    let mut reader = Reader::open(directory.path()).unwrap();
    let mut last = 0;
    for _ in 0..30 {
        append(&mut writer, 500);
        writer.flush().unwrap();
        compact(directory.path(), 1, |_, _| ()).unwrap();
        last = common::read_on(&mut reader, last + 1);
        assert_eq!(last, writer.durable().0);
    }
    writer.finish().unwrap();
    assert_eq!(read_back(directory.path()), (15_000, Tail::Sealed));
}
