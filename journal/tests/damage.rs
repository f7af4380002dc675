//! What a crash may leave is cut; what it cannot have left is reported, wherever it is.

mod common;

use common::{append, copy, metadata, options, read_back, segments, write, write_unsealed};
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tickcore_book::Sequence;
use tickcore_journal::{
    Damage, Fault, OpenError, Options, ReadError, Reader, RecoverError, Retention, Tail, Writer, info, plan_repair,
    recover, verify,
};

const SEGMENT: &str = "segment-000001.tcj";
const UNIT: u64 = 4096;

fn put(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

/// The first error that a reader meets.
fn read_error(directory: &Path) -> Option<Damage> {
    let mut reader = match Reader::open(directory) {
        Ok(reader) => reader,
        Err(OpenError::Damaged(damage)) => return Some(damage),
        Err(other) => panic!("{other}"),
    };
    loop {
        match reader.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(ReadError::Damaged(damage)) => return Some(damage),
            Err(other) => panic!("{other}"),
        }
    }
}

fn faults(directory: &Path) -> Vec<Damage> {
    verify(directory, |_| ()).unwrap().damages
}

#[test]
fn every_flipped_byte_of_a_sealed_journal_is_found() {
    find_every_flipped_byte("v2", 2);
}

#[test]
fn every_flipped_byte_of_a_journal_with_outputs_is_found() {
    find_every_flipped_byte("v3", 3);
}

/// Of a golden journal with so many segments, of which the first has an index.
fn find_every_flipped_byte(version: &str, segment_count: usize) {
    let directory = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version), directory.path());
    assert_eq!(segments(directory.path()).len(), segment_count);
    assert!(faults(directory.path()).is_empty() && read_error(directory.path()).is_none(), "the control");
    for name in segments(directory.path()) {
        let path = directory.path().join(&name);
        let whole = std::fs::read(&path).unwrap();
        // Header, frames, index, footer: each says with its first bytes that it begins.
        let starts = whole.chunks(UNIT as usize).zip((0..).step_by(UNIT as usize));
        let structures: Vec<u64> =
            starts.filter(|(unit, _)| unit.starts_with(b"TCJ")).map(|(_, start)| start).collect();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        for (offset, &byte) in whole.iter().enumerate() {
            let flipped = byte ^ (1 << (offset % 8));
            file.write_all_at(&[flipped], offset as u64).unwrap();
            let found = faults(directory.path());
            let damage = found.iter().find(|damage| damage.file == name);
            let damage = damage.unwrap_or_else(|| panic!("byte {offset} of {name}: {found:?}"));
            let place = structures.iter().rfind(|&&start| start <= offset as u64).unwrap();
            assert_eq!(damage.offset, *place, "byte {offset}: {damage}");
            let read = read_error(directory.path());
            let read = read.unwrap_or_else(|| panic!("byte {offset} of {name} is not found by the reader"));
            assert!(read.offset == *place || offset < UNIT as usize, "byte {offset}: {read}");
            file.write_all_at(&[byte], offset as u64).unwrap();
        }
    }
    assert!(faults(directory.path()).is_empty(), "all is as it was");
}

/// Golden journals of each version, and a compacted one, with bytes changed, moved, repeated and cut at random: reading,
/// `verify`, `info` and recovery come to an end without a panic, and what is given is right. `TICKCORE_JOURNAL_MUTATIONS`
/// asks for more than the usual number.
#[test]
fn mutated_journals_are_refused_or_right() {
    let count = std::env::var("TICKCORE_JOURNAL_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(600_u64);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let compacted = tempfile::tempdir().unwrap();
    copy(&golden.join("v3"), compacted.path());
    tickcore_journal::compact(compacted.path(), 3, |_, _| ()).unwrap();
    let sources = [golden.join("v1"), golden.join("v2"), golden.join("v3"), compacted.path().to_owned()];
    for seed in 0..count {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % end.max(1) as u64) as usize
        };
        let directory = tempfile::tempdir().unwrap();
        copy(&sources[below(sources.len())], directory.path());
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        for _ in 0..=below(3) {
            let path = &names[below(names.len())];
            let mut bytes = std::fs::read(path).unwrap();
            let (from, to, length) = (below(bytes.len()), below(bytes.len()), below(5000));
            match below(5) {
                0 => bytes.truncate(from),
                1 => bytes.resize(bytes.len() + length, from as u8),
                2 => {
                    let part = bytes[from..(from + length).min(bytes.len())].to_vec();
                    let end = (to + part.len()).min(bytes.len());
                    bytes[to..end].copy_from_slice(&part[..end - to]);
                }
                3 => bytes[from..].iter_mut().take(length % 9).for_each(|byte| *byte = below(256) as u8),
                _ => {
                    if let Some(byte) = bytes.get_mut(from) {
                        *byte ^= 1 << below(8);
                    }
                }
            }
            std::fs::write(path, bytes).unwrap();
        }
        let check = || common::check_streams(directory.path(), &format!("seed {seed}"));
        check();
        let _ = info(directory.path());
        let _ = verify(directory.path(), |_| ());
        let _ = recover(directory.path());
        check();
    }
}

#[test]
fn damage_is_reported_with_file_offset_and_sequence_and_the_rest_is_still_checked() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    for _ in 0..4 {
        append(&mut writer, 50);
        writer.flush().unwrap();
    }
    writer.finish().unwrap();
    let path = directory.path().join(SEGMENT);
    put(&path, 2 * UNIT + 1000, &[0xFF]);
    put(&path, 4 * UNIT + 100, &[0xFF]);
    let report = verify(directory.path(), |_| ()).unwrap();
    let places: Vec<_> = report.damages.iter().map(|damage| (damage.offset, damage.sequence.0)).collect();
    assert_eq!(places, [(2 * UNIT, 51), (4 * UNIT, 151)]);
    assert!(matches!(report.damages[0].fault, Fault::PayloadChecksum { .. }), "{:?}", report.damages);
    assert!(matches!(report.damages[1].fault, Fault::HeaderChecksum { .. }), "{:?}", report.damages);
    assert_eq!(report.record_count, 100);
    assert_eq!(read_error(directory.path()).unwrap().sequence, Sequence(51));
    assert!(report.damages[0].to_string().contains("segment-000001.tcj is damaged at byte 8192, sequence 51"));
}

#[test]
fn progress_ends_at_the_total() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), options(), 3000);
    let mut last = None;
    verify(directory.path(), |progress| {
        assert!(last.is_none_or(|before| before <= progress.bytes_done) && progress.bytes_done <= progress.bytes_total);
        last = Some(progress.bytes_done);
    })
    .unwrap();
    let bytes: u64 =
        segments(directory.path()).iter().map(|name| directory.path().join(name).metadata().unwrap().len()).sum();
    assert_eq!(last, Some(bytes));
}

/// Frames of 10, 40 and 200 records; the last is torn at each sector, by zeros and by garbage.
#[test]
fn a_tail_torn_at_any_sector_is_cut_and_no_more() {
    let template = tempfile::tempdir().unwrap();
    write_unsealed(template.path(), &[10, 40, 200]);
    let (start, end) = (3 * UNIT, 3 * UNIT + (256 + 200 * 64_u64).next_multiple_of(UNIT));
    assert_eq!(read_back(template.path()), (250, Tail::Unsealed { file: SEGMENT.to_owned(), offset: end }));
    for (round, boundary) in (start..=end).step_by(512).enumerate() {
        for fill in [0_u8, 0x5A] {
            let directory = tempfile::tempdir().unwrap();
            copy(template.path(), directory.path());
            put(&directory.path().join(SEGMENT), boundary, &vec![fill; (end - boundary) as usize]);
            let (last, _) = read_back(directory.path());
            let is_whole = boundary == end || (fill == 0 && boundary >= start + 256 + 200 * 64);
            assert_eq!(last, if is_whole { 250 } else { 50 }, "boundary {boundary}");
            let report = verify(directory.path(), |_| ()).unwrap();
            assert!(report.is_intact(), "boundary {boundary}: {:?}", report.damages);
            match report.tail {
                Tail::Torn { offset, bytes, .. } => assert!(offset == start && bytes <= end - start && !is_whole),
                Tail::Unsealed { offset, .. } => assert!(offset == if is_whole { end } else { start }),
                other => panic!("{other:?}"),
            }
            // Recovery of half of the cases, resuming of the others.
            if round % 2 == 0 {
                let recovery = recover(directory.path()).unwrap();
                assert_eq!(recovery.last_sequence, Sequence(last));
                assert_eq!(recovery.sealed, [SEGMENT]);
                assert_eq!(read_back(directory.path()), (last, Tail::Sealed));
            } else {
                let (mut writer, _) = Writer::resume(directory.path(), options()).unwrap();
                append(&mut writer, 100);
                writer.finish().unwrap();
                assert_eq!(read_back(directory.path()), (last + 100, Tail::Sealed));
            }
            assert!(faults(directory.path()).is_empty());
            let again = recover(directory.path()).unwrap();
            assert!(again.sealed.is_empty() && again.cut.is_none() && again.removed.is_empty());
        }
    }
}

/// The same place, one frame earlier: the frame behind says that it was durable, so no crash can have torn it.
#[test]
fn what_was_durable_is_never_cut() {
    let directory = tempfile::tempdir().unwrap();
    write_unsealed(directory.path(), &[10, 40, 200]);
    let path = directory.path().join(SEGMENT);
    put(&path, 2 * UNIT + 700, &[0xA5; 16]);
    let before = std::fs::read(&path).unwrap();
    for damage in [read_error(directory.path()).unwrap(), faults(directory.path()).remove(0)] {
        assert_eq!((damage.offset, damage.sequence), (2 * UNIT, Sequence(11)));
        assert!(matches!(damage.fault, Fault::PayloadChecksum { .. }));
    }
    let refused = recover(directory.path());
    assert!(matches!(refused, Err(RecoverError::Open(OpenError::Damaged(_)))), "{refused:?}");
    assert!(Writer::resume(directory.path(), options()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before, "nothing was touched");
    assert_eq!(info(directory.path()).unwrap().damage.unwrap().offset, 2 * UNIT);
}

/// Recovery that died after each of its steps is recovered.
#[test]
fn recovery_may_die_at_any_step() {
    let template = tempfile::tempdir().unwrap();
    write_unsealed(template.path(), &[10, 40]);
    let torn = template.path().join(SEGMENT);
    put(&torn, 2 * UNIT + 512, &[0x77; 3000]);
    let recovered = tempfile::tempdir().unwrap();
    copy(template.path(), recovered.path());
    assert_eq!(recover(recovered.path()).unwrap().cut.unwrap().offset, 2 * UNIT);
    let whole = std::fs::read(recovered.path().join(SEGMENT)).unwrap();
    let footer = &whole[2 * UNIT as usize..];
    assert_eq!(footer.len() as u64, UNIT);
    // The footer came to the disk up to some sector, the file was not trimmed yet.
    for sectors in 0..=8 {
        let directory = tempfile::tempdir().unwrap();
        copy(template.path(), directory.path());
        put(&directory.path().join(SEGMENT), 2 * UNIT, &footer[..sectors * 512]);
        assert_eq!(recover(directory.path()).unwrap().last_sequence, Sequence(10), "{sectors} sectors");
        assert_eq!(std::fs::read(directory.path().join(SEGMENT)).unwrap(), whole, "{sectors} sectors");
    }
}

#[test]
fn bytes_of_another_journal_segment_or_epoch_do_not_validate() {
    // A journal with a second epoch, and a foreign one, frames of the same size at the same offsets.
    let (own, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_unsealed(own.path(), &[10, 10, 10]);
    write_unsealed(foreign.path(), &[10, 10, 10]);
    let (mut writer, _) = Writer::resume(own.path(), options()).unwrap();
    append(&mut writer, 10);
    writer.flush().unwrap();
    drop(writer);
    assert_eq!(read_back(own.path()).0, 40);
    let second = own.path().join("segment-000002.tcj");
    for source in [own.path().join(SEGMENT), foreign.path().join(SEGMENT)] {
        let stale = std::fs::read(source).unwrap();
        put(&second, 2 * UNIT, &stale[2 * UNIT as usize..4 * UNIT as usize]);
        let (last, tail) = read_back(own.path());
        assert_eq!(last, 40, "a stale frame was taken for one of this segment");
        assert!(matches!(tail, Tail::Torn { offset, bytes, .. } if offset == 2 * UNIT && bytes >= UNIT), "{tail:?}");
    }
    assert_eq!(recover(own.path()).unwrap().last_sequence, Sequence(40));
}

#[test]
fn a_frame_at_another_place_of_its_own_segment_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    write_unsealed(directory.path(), &[10, 10, 10]);
    let path = directory.path().join(SEGMENT);
    let bytes = std::fs::read(&path).unwrap();
    put(&path, 4 * UNIT, &bytes[UNIT as usize..2 * UNIT as usize]);
    let damage = read_error(directory.path()).unwrap();
    assert_eq!((damage.offset, damage.fault), (4 * UNIT, Fault::Offset { found: UNIT }));
}

/// A journal of several sealed segments, and what can happen to whole files of it.
struct Files {
    directory: tempfile::TempDir,
    names: Vec<String>,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), options(), 3000);
        let names = segments(directory.path());
        assert!(names.len() >= 4);
        Self { directory, names }
    }

    fn path(&self, index: usize) -> std::path::PathBuf {
        self.directory.path().join(&self.names[index])
    }

    /// All see the damage; recovery refuses.
    fn assert_damaged(&self, is_expected: impl Fn(&Fault) -> bool) {
        let found = faults(self.directory.path());
        assert!(found.iter().any(|damage| is_expected(&damage.fault)), "{found:?}");
        let first = read_error(self.directory.path()).expect("the reader sees it");
        assert!(is_expected(&first.fault), "{first}");
        assert!(matches!(recover(self.directory.path()), Err(RecoverError::Open(OpenError::Damaged(_)))));
    }
}

#[test]
fn a_missing_segment_is_named_wherever_it_was() {
    for missing in [0, 1, 3] {
        let files = Files::new();
        let index = if missing == 3 { files.names.len() - 1 } else { missing };
        std::fs::remove_file(files.path(index)).unwrap();
        let is_missing = |fault: &Fault| *fault == Fault::MissingSegment { number: index as u64 + 1 };
        files.assert_damaged(is_missing);
        let damage = match info(files.directory.path()) {
            Ok(found) => found.damage,
            Err(OpenError::Damaged(damage)) => Some(damage),
            Err(other) => panic!("{other}"),
        };
        assert!(damage.is_some_and(|damage| is_missing(&damage.fault)), "at a glance, too");
    }
}

#[test]
fn a_duplicate_segment_is_named_with_its_other_file() {
    let files = Files::new();
    std::fs::copy(files.path(1), files.directory.path().join("copy.tcj")).unwrap();
    files.assert_damaged(|fault| matches!(fault, Fault::DuplicateSegment { number: 2, .. }));
}

#[test]
fn a_foreign_segment_is_named() {
    let (files, foreign) = (Files::new(), Files::new());
    std::fs::copy(foreign.path(2), files.directory.path().join("foreign.tcj")).unwrap();
    files.assert_damaged(|fault| matches!(fault, Fault::OtherJournal { .. }));
    // In place of an own one it also leaves a hole.
    std::fs::remove_file(files.directory.path().join("foreign.tcj")).unwrap();
    std::fs::copy(foreign.path(2), files.path(2)).unwrap();
    files.assert_damaged(|fault| matches!(fault, Fault::OtherJournal { .. } | Fault::MissingSegment { number: 3 }));
}

/// Copied from another journal, or newer than the segments beside it: what it says is none of these.
#[test]
fn a_file_of_released_segments_that_does_not_fit_is_named() {
    let released = |count| {
        let directory = tempfile::tempdir().unwrap();
        let retention = Retention { segments_max: Some(1), ..Retention::default() };
        write(directory.path(), Options { retention, ..options() }, count);
        directory
    };
    let (ours, theirs) = (released(3000), released(3000));
    assert!(faults(ours.path()).is_empty(), "the control");
    std::fs::copy(theirs.path().join("released"), ours.path().join("released")).unwrap();
    let is_foreign = |damage: &Damage| damage.file == "released" && matches!(damage.fault, Fault::OtherJournal { .. });
    assert!(faults(ours.path()).iter().any(is_foreign), "{:?}", faults(ours.path()));
    assert!(
        Reader::open(ours.path()).is_err()
            && recover(ours.path()).is_err()
            && plan_repair(ours.path(), |_| ()).is_err()
    );
    assert_eq!(segments(ours.path()).len(), 1, "nothing is removed");

    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { segments_max: Some(1), ..Retention::default() };
    write(directory.path(), options(), 3000);
    let older = tempfile::tempdir().unwrap();
    copy(directory.path(), older.path());
    let (mut writer, _) = Writer::resume(directory.path(), Options { retention, ..options() }).unwrap();
    append(&mut writer, 3000);
    writer.finish().unwrap();
    std::fs::copy(directory.path().join("released"), older.path().join("released")).unwrap();
    let is_missing =
        |damage: &Damage| damage.file == "released" && matches!(damage.fault, Fault::MissingSegment { .. });
    assert!(matches!(&faults(older.path())[..], [damage] if is_missing(damage)), "{:?}", faults(older.path()));
    let count = segments(older.path()).len();
    assert!(
        Reader::open(older.path()).is_err()
            && recover(older.path()).is_err()
            && plan_repair(older.path(), |_| ()).is_err()
    );
    assert_eq!(segments(older.path()).len(), count, "nothing is removed");
}

#[test]
fn names_and_order_of_files_mean_nothing() {
    let files = Files::new();
    let spare = files.directory.path().join("spare");
    std::fs::rename(files.path(0), &spare).unwrap();
    std::fs::rename(files.path(1), files.path(0)).unwrap();
    std::fs::rename(&spare, files.path(1)).unwrap();
    std::fs::rename(files.path(2), files.directory.path().join("anything.tcj")).unwrap();
    assert_eq!(read_back(files.directory.path()), (3000, Tail::Sealed));
    assert!(faults(files.directory.path()).is_empty());
}

#[test]
fn a_segment_that_was_cut_short_or_grew_is_damaged() {
    let files = Files::new();
    let last = files.names.len() - 1;
    for index in [1, last] {
        let whole = std::fs::read(files.path(index)).unwrap();
        for length in [whole.len() - 1, whole.len() - 4096, whole.len() - 5000, 8192, 4096] {
            std::fs::write(files.path(index), &whole[..length]).unwrap();
            let found = faults(files.directory.path());
            assert!(!found.is_empty(), "{length} of {} bytes", whole.len());
            assert!(read_error(files.directory.path()).is_some());
            assert!(recover(files.directory.path()).is_err());
        }
        let mut longer = whole.clone();
        longer.extend_from_slice(&[0; 100]);
        std::fs::write(files.path(index), &longer).unwrap();
        let found = faults(files.directory.path());
        assert_eq!(found[0].fault, Fault::TrailingBytes { bytes: 100 });
        assert!(read_error(files.directory.path()).is_some());
        std::fs::write(files.path(index), &whole).unwrap();
    }
    assert!(faults(files.directory.path()).is_empty());
}

#[test]
fn files_prepared_in_vain_are_no_damage_and_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    write_unsealed(directory.path(), &[10, 20]);
    let spare = directory.path().join("segment-000002.tcj");
    // Nothing, zeros, and a header of which only part was written.
    let header = std::fs::read(directory.path().join(SEGMENT)).unwrap()[..512].to_vec();
    for content in [Vec::new(), vec![0; 70_000], [header, vec![0; 60_000]].concat()] {
        std::fs::write(&spare, &content).unwrap();
        assert_eq!(read_back(directory.path()).0, 30);
        let report = verify(directory.path(), |_| ()).unwrap();
        assert!(report.is_intact() && report.unused == ["segment-000002.tcj"]);
        let copied = tempfile::tempdir().unwrap();
        copy(directory.path(), copied.path());
        let recovery = recover(copied.path()).unwrap();
        assert_eq!((recovery.removed, recovery.last_sequence), (vec!["segment-000002.tcj".to_owned()], Sequence(30)));
        assert_eq!(segments(copied.path()), [SEGMENT]);
        assert_eq!(read_back(copied.path()), (30, Tail::Sealed));
    }
}

/// A segment that a later version wrote, or that lost its header and every frame's, holds something: it is never removed
/// and never passes for an empty directory.
#[test]
fn a_segment_that_cannot_be_read_is_never_removed() {
    let directory = tempfile::tempdir().unwrap();
    write_unsealed(directory.path(), &[10, 20]);
    drop(Writer::resume(directory.path(), options()).unwrap());
    let path = directory.path().join("segment-000002.tcj");
    let later = {
        let mut bytes = std::fs::read(directory.path().join(SEGMENT)).unwrap();
        for unit in bytes.chunks_mut(UNIT as usize) {
            if unit.starts_with(b"TCJ") {
                unit[7] ^= 0x20;
            }
        }
        bytes
    };
    std::fs::write(&path, &later).unwrap();
    assert!(!verify(directory.path(), |_| ()).unwrap().is_intact());
    assert!(matches!(recover(directory.path()), Err(RecoverError::Open(OpenError::Damaged(_)))));
    assert!(Writer::resume(directory.path(), options()).is_err());
    std::fs::remove_file(directory.path().join(SEGMENT)).unwrap();
    assert!(Writer::resume(directory.path(), options()).is_err());
    assert!(Writer::create(directory.path(), options(), metadata()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), later);
}

/// A run that died between the header of its first segment and its first frame.
#[test]
fn a_last_segment_with_a_header_only_is_sealed_and_followed() {
    let directory = tempfile::tempdir().unwrap();
    write_unsealed(directory.path(), &[10]);
    for _ in 0..3 {
        drop(Writer::resume(directory.path(), options()).unwrap());
        assert_eq!(read_back(directory.path()).0, 10);
    }
    let (mut writer, recovery) = Writer::resume(directory.path(), options()).unwrap();
    assert_eq!((recovery.last_sequence, recovery.sealed.len()), (Sequence(10), 1));
    append(&mut writer, 5);
    writer.finish().unwrap();
    assert_eq!(read_back(directory.path()), (15, Tail::Sealed));
    assert!(faults(directory.path()).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Garbage anywhere in an unsealed journal: what a frame behind says was durable is refused, the rest is cut at the
    /// first frame that is hit, and nothing is misread.
    #[test]
    fn garbage_over_an_unsealed_journal_is_cut_or_refused(offset in 0_u64..30_000, length in 1_u64..12_000, seed: u64) {
        let directory = tempfile::tempdir().unwrap();
        write_unsealed(directory.path(), &[10, 40, 200]);
        let path = directory.path().join(SEGMENT);
        let whole = std::fs::read(&path).unwrap();
        let garbage: Vec<u8> = (0..length).map(|index| (seed ^ index).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[7]).collect();
        put(&path, offset, &garbage);
        let hurt = std::fs::read(&path).unwrap();
        let is_hit = |from: u64, to: u64| whole[from as usize..to as usize] != hurt[from as usize..to as usize];

        let frames = [(UNIT, 2 * UNIT, 0), (2 * UNIT, 3 * UNIT, 10), (3 * UNIT, 7 * UNIT, 50)];
        let first_hit = frames.iter().position(|&(from, to, _)| is_hit(from, to));
        let headers_behind = |frame: usize| frames[frame..].iter().filter(|&&(from, ..)| !is_hit(from, from + 256)).count();
        let recovered = recover(directory.path());
        if is_hit(0, UNIT) {
            prop_assert!(matches!(recovered, Err(RecoverError::Open(OpenError::Damaged(_)))), "{:?}", recovered);
        } else if first_hit.is_some_and(|frame| headers_behind(frame + 1) > 0) {
            prop_assert!(matches!(recovered, Err(RecoverError::Open(OpenError::Damaged(_)))), "{:?}", recovered);
            prop_assert!(read_error(directory.path()).is_some());
        } else {
            let expected = first_hit.map_or(250, |frame| frames[frame].2);
            prop_assert_eq!(recovered.unwrap().last_sequence, Sequence(expected));
            prop_assert_eq!(read_back(directory.path()), (expected, Tail::Sealed));
        }
    }

    /// Random files, with and without the magic words: no panic, no record.
    #[test]
    fn random_files_are_no_journal(
        content in proptest::collection::vec(any::<u8>(), 0..20_000),
        magic in 0_usize..4,
    ) {
        let mut content = content;
        for (unit, word) in [b"TCJSEGMT", b"TCJFRAME", b"TCJFOOTR"].into_iter().take(magic).enumerate() {
            if let Some(place) = content.get_mut(unit * 4096..unit * 4096 + 8) {
                place.copy_from_slice(word);
            }
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(SEGMENT), &content).unwrap();
        prop_assert!(Reader::open(directory.path()).is_err());
        prop_assert!(!verify(directory.path(), |_| ()).is_ok_and(|report| report.is_intact()));
        prop_assert!(recover(directory.path()).is_err());
    }
}
