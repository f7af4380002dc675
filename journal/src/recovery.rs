//! Putting a journal in order after its writer stopped, however it stopped.
//!
//! Recovery removes what was prepared and never begun, cuts the torn tail of the last segment and seals it; it never
//! touches a byte that verifies, and refuses a journal that is damaged. It does not check sealed segments beyond header
//! and footer: that is what `verify` is for.
//!
//! It may die at any moment and be run again. The footer is written into the prepared file at the cut and made durable;
//! only then is the file trimmed behind it. Until the footer is whole, the place still looks like a torn tail.

use crate::compact::is_packed;
use crate::defence::{Defence, stands};
use crate::directory::{Catalog, segment_files};
use crate::fault::{Damage, Fault, OpenError};
use crate::format::{BLOCK_BYTES, JournalId, Seal, SegmentFooter, SegmentHeader};
use crate::medium::{Access, COMPACT_LOCK_FILE, DirectoryMedium, LOCK_FILE, Lock, Medium};
use crate::options::Metadata;
use crate::stream::Stream;
use crate::walk::{Positions, Verdict, Walk, judge};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tickcore_book::Sequence;
use zerocopy::IntoBytes;

/// What recovery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The journal's id.
    pub journal: JournalId,
    /// What was said when the journal was created.
    pub metadata: Metadata,
    /// The last record that the journal holds, 0 if none. All up to here is durable.
    pub last_sequence: Sequence,
    /// The last record of each stream of outputs that has any. All up to there is durable.
    pub outputs: Vec<(Stream, Sequence)>,
    /// Cores of the run that first recorded outputs, whether all of them sent any or not; `None` where that is not known.
    pub output_cores: Option<u32>,
    /// Files of segments that were sealed now.
    pub sealed: Vec<String>,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
    /// Files that were removed because they held no record.
    pub removed: Vec<String>,
}

/// A torn tail that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub file: String,
    /// Where the valid frames end.
    pub offset: u64,
    /// How many bytes of unfinished writes stood there.
    pub bytes: u64,
}

/// Why a journal was not recovered. Nothing of it was changed, except after `Io`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// Another process writes this journal.
    #[error("{path:?} is being written by another process: wait for it, or stop it")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Another process compacts this journal, which repair cannot go beside.
    #[error("{path:?} is being compacted by another process: wait for it")]
    Compacting {
        /// The directory.
        path: PathBuf,
    },
    /// There is no journal, or it cannot be read, or it is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file could not be changed. Running recovery again is safe.
    #[error("cannot {action} {path:?}: {cause}; cure that and recover again")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
}

/// Recovers the journal in `directory`; does nothing to one that was finished.
///
/// # Errors
/// See [`RecoverError`].
pub fn recover(directory: impl AsRef<Path>) -> Result<Recovery, RecoverError> {
    let medium = DirectoryMedium::at(directory.as_ref());
    let _lock = take_lock(medium.as_ref())?;
    recover_locked(&medium).map(|(recovery, _)| recovery)
}

/// Holds a journal's lock: nobody writes the journal while this is there.
pub struct Held(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Lock>);

/// As [`recover`], and keeps others from writing the journal until what is returned goes.
///
/// # Errors
/// See [`RecoverError`].
pub fn hold(directory: impl AsRef<Path>) -> Result<(Held, Recovery), RecoverError> {
    let medium = DirectoryMedium::at(directory.as_ref());
    let lock = take_lock(medium.as_ref())?;
    recover_locked(&medium).map(|(recovery, _)| (Held(lock), recovery))
}

pub(crate) fn take_lock(medium: &dyn Medium) -> Result<Box<dyn Lock>, RecoverError> {
    // No lock is left behind in a directory that is no journal.
    let path = medium.path().to_owned();
    match segment_files(medium) {
        Ok(files) if !files.is_empty() => {}
        Ok(_) => return Err(OpenError::NotAJournal { path }.into()),
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(OpenError::NotAJournal { path }.into());
        }
        // Nobody knows whether it is one: whoever makes a new one where there is none must not take this for that.
        Err(cause) => return Err(RecoverError::Io { action: "read", path, cause }),
    }
    match medium.lock(LOCK_FILE) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(RecoverError::Locked { path }),
        Err(cause) => Err(RecoverError::Io { action: "lock", path, cause }),
    }
}

/// Keeps others from compacting the journal until it goes; `None` where somebody is at it.
pub(crate) fn take_compact_lock(medium: &dyn Medium) -> Result<Option<Box<dyn Lock>>, RecoverError> {
    let path = medium.path();
    medium.lock(COMPACT_LOCK_FILE).map_err(|cause| RecoverError::Io { action: "lock", path: path.to_owned(), cause })
}

/// Where a recovered journal ends: what the next segment follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalEnd {
    pub(crate) header: SegmentHeader,
    pub(crate) positions: Positions,
}

/// What is to be done to a segment's file.
struct Repair {
    index: usize,
    /// The footer to be written; `None` if it is there, and only the rest of the file is to be trimmed.
    footer: Option<SegmentFooter>,
    footer_offset: u64,
}

/// [`recover`] for who holds the lock.
pub(crate) fn recover_locked(medium: &Arc<dyn Medium>) -> Result<(Recovery, JournalEnd), RecoverError> {
    // Who compacts has a segment and its packed form side by side for a moment, and lets the one go while the other would
    // be removed here. So its files are none of recovery's business as long as it is at work.
    let compact_lock = take_compact_lock(medium.as_ref())?;
    let is_compacting = compact_lock.is_none() && stands(Defence::CompactorAlone);
    show_disk(medium, is_compacting)?;
    let mut catalog = Catalog::load_whole(medium)?;
    catalog.unused.retain(|file| !(is_compacting && is_packed(file)));
    let mut recovery = Recovery {
        journal: catalog.segments[0].header.journal,
        metadata: Metadata::from_header(&catalog.segments[0].header),
        last_sequence: Sequence(0),
        outputs: Vec::new(),
        output_cores: None,
        sealed: Vec::new(),
        cut: None,
        removed: catalog.unused.clone(),
    };
    let (repairs, end) = plan(&catalog, &mut recovery)?;
    recovery.last_sequence = Sequence(end.positions.inputs.next_sequence.wrapping_sub(1));
    recovery.outputs = end.positions.outputs.lasts().collect();
    recovery.output_cores = end.header.known_output_cores();
    // The last first, each durably: a hole in the numbers would be damage to whoever comes after a crash.
    let mut removed: Vec<&String> = recovery.removed.iter().collect();
    if stands(Defence::LastFileFirst) {
        removed.reverse();
    }
    for file in removed {
        let removed = medium.remove(file).and_then(|()| medium.sync_directory());
        let path = medium.path().join(file);
        removed.map_err(|cause| RecoverError::Io { action: "remove", path, cause })?;
    }
    for repair in repairs {
        let sealed = seal(medium.as_ref(), &catalog.segments[repair.index].file, &repair);
        let path = catalog.path(repair.index);
        sealed.map_err(|cause| RecoverError::Io { action: "seal", path, cause })?;
        recovery.sealed.push(catalog.segments[repair.index].file.clone());
    }
    Ok((recovery, end))
}

/// Syncs every file that is not sealed and forgets what is cached of it. After a failed sync the cache may show what the
/// disk does not have and nobody will write any more; a recovery that believed it would promise what is not there. So with
/// names: a file that a killed recovery had removed would come back behind a segment that is sealed by then.
fn show_disk(medium: &Arc<dyn Medium>, is_compacting: bool) -> Result<(), RecoverError> {
    if stands(Defence::NamesBeforeSeal) {
        let synced = medium.sync_directory();
        synced.map_err(|cause| RecoverError::Io { action: "sync", path: medium.path().to_owned(), cause })?;
    }
    let catalog = Catalog::load(medium)?;
    let unsealed = catalog.segments.iter().filter(|segment| segment.footer.is_none()).map(|segment| &segment.file);
    let damaged = catalog.damages.iter().map(|damage| &damage.file).filter(|file| !file.is_empty());
    let unused = catalog.unused.iter().filter(|file| !(is_compacting && is_packed(file)));
    for name in unsealed.chain(damaged).chain(unused) {
        let shown = medium.open(name, Access::Write).and_then(|file| {
            file.sync()?;
            if stands(Defence::DiskNotCache) { file.forget_cache() } else { Ok(()) }
        });
        shown.map_err(|cause| RecoverError::Io { action: "sync", path: medium.path().join(name), cause })?;
    }
    Ok(())
}

/// Goes through all segments without changing anything.
fn plan(catalog: &Catalog, recovery: &mut Recovery) -> Result<(Vec<Repair>, JournalEnd), RecoverError> {
    let mut repairs = Vec::new();
    let first = &catalog.segments[0].header;
    let mut end = JournalEnd { header: *first, positions: catalog.begin() };
    for (index, segment) in catalog.segments.iter().enumerate() {
        let damage = |offset, positions: &Positions, fault| {
            let sequence = Sequence(positions.inputs.next_sequence);
            RecoverError::Open(Damage { file: segment.file.clone(), offset, sequence, fault }.into())
        };
        let begin = Positions::of_header(&segment.header);
        end.positions.check(&begin).map_err(|fault| damage(0, &end.positions, fault))?;
        if segment.header.epoch < end.header.epoch {
            let fault = Fault::EpochBroken { previous: end.header.epoch, found: segment.header.epoch };
            return Err(damage(0, &end.positions, fault));
        }
        end.header = segment.header;
        let is_last = index + 1 == catalog.segments.len();
        if let Some(footer) = &segment.footer {
            end.positions = Positions::of_footer(footer);
            if is_last && Seal::from_number(footer.seal) == Some(Seal::Full) {
                let fault = Fault::MissingSegment { number: segment.header.number.wrapping_add(1) };
                return Err(damage(segment.length, &end.positions, fault));
            }
            if is_last {
                let checked = catalog.check_end(end.positions.inputs);
                checked.map_err(|fault| damage(segment.length, &end.positions, fault))?;
            }
            continue;
        }
        let io_error = |cause| OpenError::Io { path: catalog.path(index), cause };
        let mut walk = Walk::new(catalog.open(index).map_err(io_error)?, segment.header);
        let fault = walk.walk_to_end(|_| ()).map_err(io_error)?.err();
        end.positions = walk.positions;
        let verdict = match fault {
            None => None,
            Some(fault) => Some(judge(catalog, index, &mut walk, fault).map_err(io_error)?),
        };
        let (offset, positions) = (walk.offset, walk.positions);
        let footer = |seal| Some(walk.tally.footer(&segment.header, offset, 0, &positions, seal));
        let (footer, is_end) = match verdict {
            None => (None, false),
            Some(Verdict::Continues) => (footer(Seal::Full), false),
            Some(Verdict::Damage(fault)) => return Err(damage(walk.fault_offset, &positions, fault)),
            Some(Verdict::Unsealed) => (footer(Seal::Recovered), true),
            Some(Verdict::Torn { bytes }) => {
                recovery.cut = Some(Cut { file: segment.file.clone(), offset, bytes });
                (footer(Seal::Recovered), true)
            }
        };
        repairs.push(Repair { index, footer, footer_offset: offset });
        if is_end {
            // What comes behind is a segment whose header was written and that no frame had come into.
            recovery.removed.extend(catalog.segments[index + 1..].iter().map(|segment| segment.file.clone()));
            break;
        }
    }
    Ok((repairs, end))
}

fn seal(medium: &dyn Medium, name: &str, repair: &Repair) -> io::Result<()> {
    let file = medium.open(name, Access::Write)?;
    if let Some(footer) = &repair.footer {
        file.write_all_at(footer.as_bytes(), repair.footer_offset)?;
    }
    if stands(Defence::FooterBeforeCut) {
        file.sync()?;
    }
    file.set_length(repair.footer_offset + BLOCK_BYTES)?;
    file.sync()
}
