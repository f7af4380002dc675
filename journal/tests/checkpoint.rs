//! Checkpoints beside a journal: stored, found, kept two of, passed over when they are no good, read for ever.

mod common;

use common::{append, copy, metadata, options, read_on, segments, write};
use std::path::{Path, PathBuf};
use tickcore_book::Sequence;
use tickcore_journal::{
    Boundary, CheckpointFault, CheckpointMark, Checkpoints, OpenError, Options, Reader, RecoverError, RepairStep,
    Retention, Start, Writer, boundaries, info, plan_repair, recover, repair, sealed_ends, store_checkpoint, verify,
};

/// What a test's checkpoint of this sequence holds.
fn state(sequence: u64) -> Vec<u8> {
    (0..10_000 + sequence).map(|place| (place ^ sequence) as u8).collect()
}

fn store(directory: &Path, boundary: &Boundary) -> tickcore_journal::Stored {
    store_checkpoint(directory, boundary, &state(boundary.sequence.0), |_| ()).unwrap()
}

fn newest(directory: &Path) -> Option<Sequence> {
    let checkpoint = Checkpoints::open(directory).unwrap().take_newest()?;
    assert_eq!(checkpoint.state, state(checkpoint.sequence.0));
    Some(checkpoint.sequence)
}

fn checkpoint_files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".tck")).collect();
    names.sort();
    names
}

/// A finished journal with checkpoints at the ends of its second segment and its last.
fn journal_with_two() -> (tempfile::TempDir, Vec<Boundary>) {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), options(), 3000);
    let ends = boundaries(directory.path()).unwrap();
    assert!(ends.len() >= 4 && ends.last().unwrap().sequence == Sequence(3000));
    store(directory.path(), &ends[1]);
    store(directory.path(), ends.last().unwrap());
    (directory, ends)
}

#[test]
fn the_newest_is_found_and_two_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), options(), 3000);
    assert_eq!(newest(directory.path()), None);
    let ends = boundaries(directory.path()).unwrap();
    let mut covered = Vec::new();
    for end in &ends {
        let stored = store(directory.path(), end);
        assert_eq!(newest(directory.path()), Some(end.sequence));
        covered.push(stored.covered);
        assert!(stored.removed.len() <= 1);
    }
    let mut before = vec![Sequence(0)];
    before.extend(ends[..ends.len() - 1].iter().map(|end| end.sequence));
    assert_eq!(covered, before, "segments may go up to the older of the two");
    assert_eq!(checkpoint_files(directory.path()).len(), 2);
    assert_eq!(
        info(directory.path()).unwrap().checkpoints,
        ends[ends.len() - 2..].iter().map(|end| end.sequence).collect::<Vec<_>>()
    );
    let mut both = Checkpoints::open(directory.path()).unwrap();
    assert_eq!(both.take_oldest().map(|oldest| oldest.sequence), Some(ends[ends.len() - 2].sequence));
    assert_eq!(both.take_oldest().map(|oldest| oldest.sequence), Some(Sequence(3000)));
    assert_eq!((both.take_oldest(), both.passed_over()), (None, &[][..]));
    // Stored again in place of one that is there.
    store(directory.path(), ends.last().unwrap());
    assert_eq!(checkpoint_files(directory.path()).len(), 2);
    let report = verify(directory.path(), |_| ()).unwrap();
    assert!(report.is_intact() && report.unused.is_empty());
    assert_eq!((report.checkpoint_count, report.passed_over.len()), (2, 0));
}

/// Every byte of the header and some of the state, each changed in turn: the one before is found, and it is said why.
#[test]
fn a_damaged_one_is_passed_over() {
    let (directory, ends) = journal_with_two();
    let name = checkpoint_files(directory.path()).pop().unwrap();
    let path = directory.path().join(&name);
    let good = std::fs::read(&path).unwrap();
    let places = (0..128).chain((128..good.len()).step_by(997)).chain([good.len() - 1]);
    for place in places {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(newest(directory.path()), Some(ends[1].sequence), "byte {place}");
        let mut found = Checkpoints::open(directory.path()).unwrap();
        found.take_newest();
        assert_eq!(found.passed_over().iter().map(|passed| &passed.file).collect::<Vec<_>>(), [&name], "byte {place}");
    }
    for length in (0..good.len()).step_by(501).chain([good.len() + 1]) {
        let mut bytes = good.clone();
        bytes.resize(length, 0);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(newest(directory.path()), Some(ends[1].sequence), "length {length}");
    }
    let report = verify(directory.path(), |_| ()).unwrap();
    assert!(report.is_intact() && report.passed_over.len() == 1, "the journal itself is whole: {report:?}");
    // The damaged one does not count as one of two, and makes way.
    store(directory.path(), ends.last().unwrap());
    assert_eq!(newest(directory.path()), Some(Sequence(3000)));
    // Nothing is left of one that was being written when the process died.
    std::fs::write(directory.path().join("checkpoint-7.tck.new"), &good[..700]).unwrap();
    assert_eq!(newest(directory.path()), Some(Sequence(3000)));
    assert_eq!(recover(directory.path()).unwrap().removed, ["checkpoint-7.tck.new"]);
}

#[test]
fn one_that_does_not_belong_is_refused() {
    let fault = |directory: &Path| {
        let mut found = Checkpoints::open(directory).unwrap();
        assert_eq!(found.take_newest(), None);
        found.passed_over()[0].fault.clone()
    };
    let (directory, ends) = journal_with_two();
    let file = checkpoint_files(directory.path()).pop().unwrap();
    let other = tempfile::tempdir().unwrap();
    write(other.path(), options(), 3000);
    std::fs::copy(directory.path().join(&file), other.path().join(&file)).unwrap();
    assert!(matches!(fault(other.path()), CheckpointFault::OtherJournal { found } if found == ends[0].journal));
    assert!(verify(other.path(), |_| ()).unwrap().is_intact(), "what a foreign one states is nothing to this journal");

    // Two runs that went on from copies of one journal.
    let start = tempfile::tempdir().unwrap();
    write(start.path(), options(), 100);
    let forks = [0, 1].map(|_| tempfile::tempdir().unwrap());
    for (number, fork) in (0..).zip(&forks) {
        copy(start.path(), fork.path());
        let (mut writer, _) = Writer::resume(fork.path(), options()).unwrap();
        // In one frame or in two: other checksums, whatever the records.
        append(&mut writer, 10 + number);
        writer.flush().unwrap();
        append(&mut writer, 40 - number);
        writer.finish().unwrap();
    }
    let end = *boundaries(forks[0].path()).unwrap().last().unwrap();
    let stored = store(forks[0].path(), &end);
    std::fs::copy(forks[0].path().join(&stored.file), forks[1].path().join(&stored.file)).unwrap();
    assert_eq!(fault(forks[1].path()), CheckpointFault::NoBoundary { sequence: Sequence(150) });
    assert!(matches!(Checkpoints::open(start.path().join("none")), Err(OpenError::Io { .. })));
}

#[test]
fn where_sealed_segments_end_is_told_by_their_headers_and_footers() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), options(), 3000);
    let ends: Vec<Sequence> = boundaries(directory.path()).unwrap().iter().map(|end| end.sequence).collect();
    assert!(ends.len() > 1 && ends.last() == Some(&Sequence(3000)), "{ends:?}");
    assert_eq!(sealed_ends(directory.path()).unwrap(), ends);
    // One that is being written, and one that was prepared.
    let (mut writer, _) = Writer::resume(directory.path(), options()).unwrap();
    append(&mut writer, 10);
    writer.flush().unwrap();
    std::fs::write(directory.path().join("segment-999999.tcj"), vec![0; 64 << 10]).unwrap();
    assert_eq!(sealed_ends(directory.path()).unwrap(), ends);
}

/// What a checkpoint is of was durable: a journal that ends before it is damaged, and repair puts the checkpoint aside.
#[test]
fn a_journal_that_ends_before_its_checkpoint_is_damaged() {
    // Unsealed, as a killed writer leaves it, and with zeros where its last frames were.
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(directory.path(), options(), metadata()).unwrap();
    append(&mut writer, 700);
    writer.flush().unwrap();
    drop(writer);
    let torn = tempfile::tempdir().unwrap();
    copy(directory.path(), torn.path());
    recover(directory.path()).unwrap();
    let end = *boundaries(directory.path()).unwrap().last().unwrap();
    assert_eq!(end.sequence, Sequence(700));
    let stored = store(directory.path(), &end);
    let last = &segments(torn.path())[0];
    let mut bytes = std::fs::read(torn.path().join(last)).unwrap();
    bytes[4096..].fill(0);
    std::fs::write(torn.path().join(last), &bytes).unwrap();
    let without = tempfile::tempdir().unwrap();
    copy(torn.path(), without.path());
    let cut = recover(without.path()).unwrap().last_sequence;
    assert!(cut < Sequence(700), "the control: without the checkpoint it looks like a torn tail");

    std::fs::copy(directory.path().join(&stored.file), torn.path().join(&stored.file)).unwrap();
    let refused = recover(torn.path());
    assert!(matches!(refused, Err(RecoverError::Open(OpenError::Damaged(_)))), "{refused:?}");
    assert!(!verify(torn.path(), |_| ()).unwrap().is_intact());
    let steps = plan_repair(torn.path(), |_| ()).unwrap();
    assert!(steps.contains(&RepairStep::PutAside { file: stored.file.clone() }), "{steps:?}");
    let (_, recovery) = repair(torn.path(), |_| ()).unwrap();
    assert_eq!(recovery.last_sequence, cut);
    assert!(verify(torn.path(), |_| ()).unwrap().is_intact());
    assert!(checkpoint_files(torn.path()).is_empty() && plan_repair(torn.path(), |_| ()).unwrap().is_empty());
}

/// Retention beside a writer that is told how far checkpoints reach, and beside one that finds some.
#[test]
fn retention_keeps_what_going_on_from_checkpoints_takes() {
    let limited = |checkpoints| Options {
        retention: Retention { segments_max: Some(1), ..Retention::default() },
        checkpoints,
        ..options()
    };
    let directory = tempfile::tempdir().unwrap();
    let mark = CheckpointMark::default();
    let mut writer = Writer::create(directory.path(), limited(Some(mark.clone())), metadata()).unwrap();
    append(&mut writer, 3000);
    writer.flush().unwrap();
    // The last footer may be under way when all records are durable.
    while boundaries(directory.path()).unwrap().len() < 3 {
        writer.poll().unwrap();
    }
    assert_eq!(boundaries(directory.path()).unwrap()[0].sequence, first_end(directory.path()));
    assert_eq!(Reader::open(directory.path()).unwrap().next_sequence(), Sequence(1), "no checkpoint, so nothing goes");
    let warning = writer.warning().map(ToString::to_string);
    assert!(warning.is_some_and(|warning| warning.contains("until two checkpoints reach further than sequence 0")));
    let ends = boundaries(directory.path()).unwrap();
    for end in [ends[1], ends[2]] {
        mark.raise(store(directory.path(), &end).covered);
    }
    assert_eq!(mark.sequence(), ends[1].sequence);
    append(&mut writer, 600);
    writer.finish().unwrap();
    let first = Reader::open(directory.path()).unwrap().next_sequence();
    assert_eq!(first, ends[1].sequence.next(), "all up to the older checkpoint, and not a record more");
    let mut both = Checkpoints::open(directory.path()).unwrap();
    for sequence in [ends[2].sequence, ends[1].sequence] {
        let checkpoint = both.take_newest().unwrap();
        assert_eq!(checkpoint.sequence, sequence);
        let mut reader = Reader::open_at(directory.path(), Start::Sequence(sequence.next())).unwrap();
        assert_eq!(read_on(&mut reader, sequence.0 + 1), 3600);
    }

    // Nobody makes new ones: those that are there hold what is behind them, and the writer says so.
    let (mut writer, _) = Writer::resume(directory.path(), limited(None)).unwrap();
    append(&mut writer, 3000);
    writer.flush().unwrap();
    let warning = writer.warning().map(ToString::to_string);
    assert!(warning.is_some_and(|warning| warning.contains(&format!("sequence {}", ends[1].sequence))));
    writer.finish().unwrap();
    assert_eq!(Reader::open(directory.path()).unwrap().next_sequence(), first);
}

/// Its header says how far it reaches, and its state is gone: nothing is let go for it.
#[test]
fn retention_goes_by_checkpoints_that_are_whole() {
    let retention = Retention { segments_max: Some(1), ..Retention::default() };
    let limited = Options { retention, ..options() };
    for is_whole in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), options(), 3000);
        let stored = store(directory.path(), boundaries(directory.path()).unwrap().last().unwrap());
        if !is_whole {
            let path = directory.path().join(stored.file);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[500] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        let (mut writer, _) = Writer::resume(directory.path(), limited.clone()).unwrap();
        append(&mut writer, 3000);
        writer.flush().unwrap();
        assert!(writer.warning().is_some_and(|warning| warning.cause.contains("kept")), "{:?}", writer.warning());
        drop(writer);
        let first = info(directory.path()).unwrap().segments[0].number;
        assert_eq!(first > 1, is_whole, "the journal begins with segment {first}");
    }
}

fn first_end(directory: &Path) -> Sequence {
    info(directory).unwrap().segments[0].sequences.unwrap().1
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoint-v1")
}

/// Writes the golden checkpoint anew. Only for a new version: the file of a released one never changes.
#[test]
#[ignore = "writes the golden files"]
fn regenerate() {
    assert!(!golden().exists(), "it is there already, and must stay as it is");
    let small = Options { segment_bytes: 3 * 4096, frame_bytes: 4096, staging_bytes: 64 << 10, ..options() };
    write(&golden(), small, 60);
    store_checkpoint(golden(), boundaries(golden()).unwrap().last().unwrap(), b"what the engine made of it", |_| ())
        .unwrap();
    std::fs::remove_file(golden().join("lock")).unwrap();
    std::fs::remove_file(golden().join("status")).unwrap();
}

/// Read by the product, and with nothing of it: the byte table of `docs/JOURNAL.md`.
#[test]
fn version_1_is_read_and_has_its_bytes_where_the_table_says() {
    let checkpoint = Checkpoints::open(golden()).unwrap().take_newest().expect("a valid one");
    assert_eq!(checkpoint.file, "checkpoint-00000000000000000060.tck");
    assert_eq!((checkpoint.sequence, &checkpoint.state[..]), (Sequence(60), &b"what the engine made of it"[..]));
    let bytes = std::fs::read(golden().join(&checkpoint.file)).unwrap();
    let half = |offset: usize| u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap());
    let word = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
    assert_eq!(bytes.len(), 128 + 26);
    assert_eq!((&bytes[..8], half(8), half(12)), (&b"TCJCHKPT"[..], 1, 128));
    let segment = std::fs::read(golden().join(segments(&golden()).pop().unwrap())).unwrap();
    let footer = &segment[segment.len() - 4096..];
    assert_eq!(bytes[16..32], segment[16..32], "journal id");
    assert_eq!(bytes[32..40], footer[80..88], "sequence");
    assert_eq!(bytes[40..48], footer[112..120], "chain");
    assert_eq!(word(48), 26);
    assert!(bytes[64..120].iter().all(|&byte| byte == 0));
    assert_eq!(&bytes[128..], b"what the engine made of it");
    assert_eq!(&word(120).to_le_bytes(), &bytes[120..128]);
}
