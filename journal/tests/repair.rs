//! Repair keeps every byte that verifies, and every other one aside.

mod common;

use common::{append, copy, metadata, options, read_back, segments, write};
use std::collections::BTreeMap;
use std::path::Path;
use tickcore_book::Sequence;
use tickcore_journal::{Progress, RecoverError, RepairStep, Tail, Writer, plan_repair, repair, verify};

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| name.contains(".tcj"))
        .collect()
}

/// Repairs, and checks that the journal is whole then and that every file of before is still there, or begins as it did.
fn repaired(directory: &Path) -> (u64, Vec<RepairStep>) {
    let before = files(directory);
    let planned = plan_repair(directory, |_| ()).unwrap();
    assert_eq!(files(directory), before, "planning changes nothing");
    let (steps, recovery) = repair(directory, |_| ()).unwrap();
    assert_eq!(steps, planned);
    let after = files(directory);
    for (name, bytes) in &before {
        let kept = after.get(name) == Some(bytes) || after.get(&format!("{name}.cut")) == Some(bytes);
        assert!(kept, "{name} is neither as it was nor kept aside");
    }
    let report = verify(directory, |_| ()).unwrap();
    assert!(report.is_intact() && report.unused.is_empty(), "{report:?}");
    let (last, tail) = read_back(directory);
    assert_eq!((Sequence(last), tail), (recovery.last_sequence, Tail::Sealed));
    assert!(plan_repair(directory, |_| ()).unwrap().is_empty(), "nothing is left to do");
    (last, steps)
}

#[test]
fn planning_and_repairing_say_how_far_they_are() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), options(), 3000);
    let names = segments(directory.path());
    let lengths = names.iter().map(|name| std::fs::metadata(directory.path().join(name)).unwrap().len());
    let lengths: Vec<u64> = lengths.collect();
    let path = directory.path().join(&names[2]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    for repairs in [false, true] {
        let mut told = Vec::new();
        let mut tell = |progress: Progress| {
            assert_eq!(progress.bytes_total, lengths.iter().sum());
            told.push(progress.bytes_done);
        };
        if repairs {
            repair(directory.path(), &mut tell).unwrap();
        } else {
            plan_repair(directory.path(), &mut tell).unwrap();
        }
        assert!(told.is_sorted() && told.len() > 2 * names.len().min(3), "in frames, not in segments: {told:?}");
        assert_eq!(told.last(), Some(&lengths[..3].iter().sum()), "what is behind the damage is not read");
    }
}

#[test]
fn what_comes_before_the_damage_stays_and_the_rest_is_kept_aside() {
    let template = tempfile::tempdir().unwrap();
    write(template.path(), options(), 3000);
    let names = segments(template.path());
    assert!(names.len() >= 4);
    assert!(plan_repair(template.path(), |_| ()).unwrap().is_empty());
    // In a frame of the second segment, in its header, in its footer; the file gone, too long, doubled.
    let length = std::fs::metadata(template.path().join(&names[1])).unwrap().len() as usize;
    for (place, is_lossless) in [(4096 + 17_000, false), (100, false), (length - 4000, true)] {
        let directory = tempfile::tempdir().unwrap();
        copy(template.path(), directory.path());
        let path = directory.path().join(&names[1]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[place] ^= 0x10;
        std::fs::write(&path, bytes).unwrap();
        let (last, steps) = repaired(directory.path());
        assert_eq!(last == 3000, is_lossless, "byte {place}: {last}, {steps:?}");
        assert!(last >= 500 && !steps.is_empty());
    }
    let directory = tempfile::tempdir().unwrap();
    copy(template.path(), directory.path());
    std::fs::remove_file(directory.path().join(&names[2])).unwrap();
    let (last, steps) = repaired(directory.path());
    assert!(last > 1000 && last < 3000, "{last}, {steps:?}");

    let directory = tempfile::tempdir().unwrap();
    copy(template.path(), directory.path());
    let path = directory.path().join(&names[2]);
    let mut bytes = std::fs::read(&path).unwrap();
    std::fs::write(directory.path().join("double.tcj"), &bytes).unwrap();
    bytes.extend_from_slice(b"behind");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(repaired(directory.path()).0, 3000);
}

#[test]
fn what_is_being_written_or_compacted_is_not_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut writer = Writer::create(path, options(), metadata()).unwrap();
    append(&mut writer, 100);
    writer.flush().unwrap();
    assert!(matches!(plan_repair(path, |_| ()), Err(RecoverError::Locked { .. })));
    assert!(matches!(repair(path, |_| ()), Err(RecoverError::Locked { .. })));
    drop(writer);
    assert!(plan_repair(path, |_| ()).unwrap().is_empty());
    let compactor = std::fs::File::create(path.join("compact-lock")).unwrap();
    compactor.lock().unwrap();
    assert!(matches!(repair(path, |_| ()), Err(RecoverError::Compacting { .. })));
    drop(compactor);
    assert_eq!(repair(path, |_| ()).unwrap().1.last_sequence, Sequence(100));
}
