//! Compacting beside those who change the journal's files, too: what they do comes between any two of its steps.

use super::*;
use crate::defence::{Defence, without};
use crate::medium::Lock;
use crate::options::{Backend, Metadata, Notice, Options, Retention};
use crate::staging::Pool;
use crate::status::StatusWriter;
use crate::storage::Storage;
use crate::{Helper, Reader, Writer, recover, verify};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tickcore_book::{Event, InstrumentId, Kind, TimestampNs};

/// Records of the journals here.
const RECORDS: u64 = 400;

/// A directory whose `at`th change or opening of a file waits until `action` is done.
struct Interrupted<F> {
    medium: Arc<dyn Medium>,
    at: usize,
    steps: AtomicUsize,
    action: F,
    /// What is wrong with the journal after each renaming, as who looks then sees it.
    damages: Mutex<Vec<Damage>>,
}

impl<F> std::fmt::Debug for Interrupted<F> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.medium.fmt(formatter)
    }
}

impl<F: Fn()> Interrupted<F> {
    fn step(&self) -> &dyn Medium {
        if self.steps.fetch_add(1, Relaxed) == self.at {
            (self.action)();
        }
        self.medium.as_ref()
    }
}

impl<F: Fn() + Send + Sync> Medium for Interrupted<F> {
    fn path(&self) -> &Path {
        self.medium.path()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.medium.list()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn MediumFile>> {
        self.step().open(name, access)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let renamed = self.step().rename(from, to);
        self.damages.lock().unwrap().extend(verify(self.path(), |_| ()).unwrap().damages);
        renamed
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step().remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.step().sync_directory()
    }

    fn available_bytes(&self) -> Option<u64> {
        self.medium.available_bytes()
    }

    fn create_directory(&self) -> io::Result<()> {
        self.medium.create_directory()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        self.step().lock(name)
    }

    fn status(&self, journal: JournalId, last: u64) -> io::Result<Option<StatusWriter>> {
        self.medium.status(journal, last)
    }

    fn storage(&self, options: &Options, pool: &mut Pool) -> io::Result<(Box<dyn Storage>, Vec<Notice>)> {
        self.medium.storage(options, pool)
    }

    fn random_id(&self) -> io::Result<JournalId> {
        self.medium.random_id()
    }
}

fn options() -> Options {
    let bytes = 4096;
    Options {
        segment_bytes: 4 * bytes,
        frame_bytes: bytes as u32,
        staging_bytes: 16 * bytes as usize,
        backend: Backend::Portable,
        ..Options::default()
    }
}

fn append(writer: &mut Writer, helper: &mut Option<Helper>, count: u64) {
    for _ in 0..count {
        while writer.room() == 0 {
            writer.poll().unwrap();
            helper.as_mut().map(|helper| helper.step(false));
        }
        let sequence = writer.next_sequence();
        writer.append(sequence, &Event::new(Kind::Delete, InstrumentId(1), TimestampNs(sequence.0))).unwrap();
    }
}

/// What is wrong after a compaction in whose course `action` is done at step `at`; and whether it had so many steps.
fn broken(at: usize, action: impl Fn(&Path) + Send + Sync + 'static) -> (Option<String>, bool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let mut writer = Writer::create(&path, options(), Metadata::default()).unwrap();
    append(&mut writer, &mut None, RECORDS);
    writer.flush().unwrap();
    drop(writer);
    let there = path.clone();
    let interrupted = Arc::new(Interrupted {
        medium: DirectoryMedium::at(&path),
        at,
        steps: AtomicUsize::new(0),
        action: move || action(&there),
        damages: Mutex::default(),
    });
    let medium: Arc<dyn Medium> = interrupted.clone();
    let compacted = compact_on(&medium, 1, |_, _| ());
    let is_over = interrupted.steps.load(Relaxed) <= at;
    let mut report = verify(&path, |_| ()).unwrap();
    report.damages.append(&mut interrupted.damages.lock().unwrap());
    let is_whole = report.is_intact() && report.sequences.is_some_and(|(_, last)| last.0 >= RECORDS);
    let is_read = || {
        let mut reader = Reader::open(&path)?;
        while reader
            .next_batch()
            .map_err(|error| OpenError::Io { path: path.clone(), cause: io::Error::other(error) })?
            .is_some()
        {}
        Ok::<_, OpenError>(())
    };
    let how = match (compacted, is_read()) {
        (Err(CompactError::Locked { .. }) | Ok(_), Ok(()))
            if is_whole && !report.unused.iter().any(|file| is_packed(file)) =>
        {
            None
        }
        (compacted, read) => Some(format!("step {at}: {compacted:?}, {read:?}, {report:?}")),
    };
    (how, is_over)
}

/// What is wrong after the action was done at each step in turn.
fn all_broken(action: impl Fn(&Path) + Send + Sync + Copy + 'static) -> Vec<String> {
    let mut found = Vec::new();
    for at in 0.. {
        let (how, is_over) = broken(at, action);
        found.extend(how);
        if is_over {
            assert!(at > 20, "there is something to come between");
            break;
        }
    }
    found
}

#[test]
fn a_restart_beside_a_compactor_loses_nothing() {
    let restart = |path: &Path| {
        let recovered = recover(path);
        assert!(recovered.as_ref().is_ok_and(|found| found.last_sequence.0 == RECORDS), "{recovered:?}");
    };
    assert_eq!(all_broken(restart), [""; 0]);
    let broken = without(Some(Defence::CompactorAlone), || all_broken(|path| drop(recover(path))));
    assert!(broken.iter().any(|how| how.contains("MissingSegment")), "the control: a segment is lost, {broken:?}");
}

/// A writer lets the segments go that are being packed, and makes later ones of their files.
#[test]
fn retention_beside_a_compactor_leaves_no_trace() {
    let go_on = |path: &Path| {
        let (helper, handle) = Helper::new(u64::MAX, None);
        let retention = Retention { segments_max: Some(1), ..Retention::default() };
        let kept = Options { helper: Some(handle), retention, prepared_ahead: Duration::ZERO, ..options() };
        let (mut writer, _) = Writer::resume(path, kept).unwrap();
        let mut helper = Some(helper);
        append(&mut writer, &mut helper, 2 * RECORDS);
        loop {
            // All that waits is written, and what was asked of the helper done.
            while helper.as_mut().and_then(|helper| helper.step(false)) == Some(true) {}
            let watermarks = writer.poll().unwrap();
            if watermarks.durable.0 + 100 > writer.next_sequence().0 {
                break;
            }
        }
        drop(writer);
        while helper.as_mut().and_then(|helper| helper.step(false)) == Some(true) {}
    };
    assert_eq!(all_broken(go_on), [""; 0]);
}

/// Repair cuts no compacted segment, so what is damaged has to stay as it is until it was there.
#[test]
fn a_damaged_segment_is_not_packed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let mut writer = Writer::create(path, options(), Metadata::default()).unwrap();
    append(&mut writer, &mut None, RECORDS);
    writer.finish().unwrap();
    let file = path.join("segment-000002.tcj");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096 + 256 + 64] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    match compact(path, 1, |_, _| ()) {
        Err(CompactError::Open(OpenError::Damaged(Damage { file, offset: 4096, fault, .. }))) => {
            assert_eq!(file, "segment-000002.tcj");
            assert!(matches!(fault, Fault::PayloadChecksum { .. }), "{fault}");
        }
        other => panic!("{other:?}"),
    }
    assert!(std::fs::read(&file).unwrap() == bytes && !path.join("segment-000002.tcz.new").exists());
    assert!(path.join("segment-000001.tcz").exists(), "what was done before stays done");
    without(Some(Defence::PackedIsSegment), || compact(path, 1, |_, _| ())).unwrap();
    assert!(!file.exists(), "the control");
}
