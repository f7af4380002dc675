//! Checkpoints: what an engine makes of a journal up to some record, stored beside the segments.
//!
//! What the state says is its owner's matter. Here it is stored whole or not at all (written under another name, synced,
//! renamed, the name synced), found again, and held against the journal: it stands where a segment ends, states the chain
//! of that place, and its sequence says that everything up to there was durable. The two newest valid ones are kept, so
//! that one of them may be damaged.

use crate::checksum::Seed;
use crate::defence::{Defence, stands};
use crate::directory::{self, Catalog};
use crate::fault::OpenError;
use crate::format::JournalId;
use crate::medium::{Access, DirectoryMedium, Medium, MediumFile, remove_if_there};
use crate::walk::Position;
use core::fmt;
use core::mem::{offset_of, size_of};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tickcore_book::Sequence;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How files of checkpoints end.
pub(crate) const CHECKPOINT_EXTENSION: &str = "tck";
/// Valid checkpoints that are kept; older ones are removed.
pub const CHECKPOINTS_KEPT: usize = 2;
const CHECKPOINT_MAGIC: [u8; 8] = *b"TCJCHKPT";
const CHECKPOINT_VERSION: u32 = 1;
/// Bytes that are written or read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces between two syncs, so that the disk of a writer beside does not get all of a state at once.
const SYNC_PIECES: usize = 8;

/// The first 128 bytes of a checkpoint; the state follows, up to the end of the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: u32,
    header_bytes: u32,
    journal: JournalId,
    /// The last record that is in the state.
    sequence: u64,
    /// Header checksum of the frame that ends with it.
    chain: u64,
    state_bytes: u64,
    state_checksum: u64,
    /// 0.
    reserved: [u64; 7],
    header_checksum: u64,
}

const HEADER_BYTES: usize = size_of::<Header>();
/// Where in its file the state of a checkpoint begins.
pub const CHECKPOINT_STATE_OFFSET: usize = HEADER_BYTES;
// What the texts of faults say.
const _: () = {
    assert!(HEADER_BYTES == 128 && offset_of!(Header, header_checksum) == 120 && offset_of!(Header, version) == 8);
    assert!(offset_of!(Header, journal) == 16 && offset_of!(Header, sequence) == 32);
    assert!(offset_of!(Header, state_checksum) == 56);
};

impl Header {
    fn new(boundary: &Boundary, state: &[u8]) -> Self {
        let mut header = Self {
            magic: CHECKPOINT_MAGIC,
            version: CHECKPOINT_VERSION,
            header_bytes: HEADER_BYTES as u32,
            journal: boundary.journal,
            sequence: boundary.sequence.0,
            chain: boundary.chain,
            state_bytes: state.len() as u64,
            state_checksum: 0,
            reserved: [0; 7],
            header_checksum: 0,
        };
        header.state_checksum = header.seed().checksum(state);
        header.header_checksum = header.computed();
        header
    }

    /// No segment has the number 2⁶⁴−1 in epoch 0, so neither its bytes nor those of `released` validate here.
    fn seed(&self) -> Seed {
        Seed::new(self.journal, self.sequence, u64::MAX)
    }

    fn computed(&self) -> u64 {
        let bytes = self.as_bytes();
        self.seed().checksum(&bytes[..bytes.len() - 8])
    }

    fn read(file: &dyn MediumFile) -> io::Result<Result<Self, CheckpointFault>> {
        let mut bytes = [0; HEADER_BYTES];
        let length = file.length()?;
        if fill(file, &mut bytes, 0)? < bytes.len() {
            return Ok(Err(CheckpointFault::CutShort { length }));
        }
        let Ok(found) = Self::read_from_bytes(&bytes) else { return Ok(Err(CheckpointFault::NoCheckpoint)) };
        if found.magic != CHECKPOINT_MAGIC {
            return Ok(Err(CheckpointFault::NoCheckpoint));
        }
        let (stated, computed) = (found.header_checksum, found.computed());
        if stated != computed {
            return Ok(Err(CheckpointFault::HeaderChecksum { stated, computed }));
        }
        if found.version != CHECKPOINT_VERSION || found.header_bytes as usize != HEADER_BYTES {
            return Ok(Err(CheckpointFault::Unsupported { version: found.version }));
        }
        Ok(Ok(found))
    }

    /// The state behind the header. Takes as much memory as the file is long.
    fn read_state(&self, file: &dyn MediumFile) -> io::Result<Result<Vec<u8>, CheckpointFault>> {
        let length = file.length()?;
        if length.checked_sub(HEADER_BYTES as u64) != Some(self.state_bytes) {
            return Ok(Err(CheckpointFault::CutShort { length }));
        }
        let mut state = vec![0; self.state_bytes as usize];
        if fill(file, &mut state, HEADER_BYTES as u64)? < state.len() {
            return Ok(Err(CheckpointFault::CutShort { length }));
        }
        let (stated, computed) = (self.state_checksum, self.seed().checksum(&state));
        if stated != computed && stands(Defence::CheckpointChecksum) {
            return Ok(Err(CheckpointFault::StateChecksum { stated, computed }));
        }
        Ok(Ok(state))
    }
}

/// Reads until `bytes` are full or the file ends. Says how many came.
fn fill(file: &dyn MediumFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < bytes.len() {
        let end = bytes.len().min(count + PIECE_BYTES);
        match file.read_at(&mut bytes[count..end], offset + count as u64)? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

/// Why a file of a checkpoint is passed over. Bytes are counted from the start of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointFault {
    /// It does not begin like one.
    #[error("byte 0: no header of a checkpoint begins here")]
    NoCheckpoint,
    /// It is shorter, or longer, than it states.
    #[error("byte {length}: the file ends here, and not where its header says")]
    CutShort {
        /// The file's length.
        length: u64,
    },
    /// A later format.
    #[error("byte 8: format version {version} is not known here: read it with a newer tickcore")]
    Unsupported {
        /// The version that is stated.
        version: u32,
    },
    /// The header does not have the checksum that it states.
    #[error("byte 120: the header states checksum {stated:016x}, its bytes have {computed:016x}")]
    HeaderChecksum {
        /// What stands on disk.
        stated: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// The state does not have the checksum that the header states.
    #[error("byte 128 on: the state has checksum {computed:016x}, the header states {stated:016x} at byte 56")]
    StateChecksum {
        /// What stands on disk.
        stated: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// It was made of another journal.
    #[error("byte 16: it belongs to journal {found}")]
    OtherJournal {
        /// The journal that is stated.
        found: JournalId,
    },
    /// The journal does not go that far.
    #[error("byte 32: it is of sequence {sequence}, and the journal ends at {last}")]
    BeyondEnd {
        /// The checkpoint's.
        sequence: Sequence,
        /// The journal's last.
        last: Sequence,
    },
    /// No segment ends there, or with another frame: a copy of the journal went another way.
    #[error("byte 32: no segment of this journal ends at its sequence {sequence} with its chain")]
    NoBoundary {
        /// The checkpoint's.
        sequence: Sequence,
    },
    /// Records behind it are gone.
    #[error("byte 32: it is of sequence {sequence}, and the journal begins at {first}")]
    TooOld {
        /// The checkpoint's.
        sequence: Sequence,
        /// The journal's first.
        first: Sequence,
    },
    /// It could not be read.
    #[error("it cannot be read: {cause}")]
    Io {
        /// What the system said.
        cause: String,
    },
}

/// A file that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Its name within the journal's directory.
    pub file: String,
    /// What is wrong with it.
    pub fault: CheckpointFault,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the checkpoint {} is passed over: {}", self.file, self.fault)
    }
}

/// A valid checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its file's name within the journal's directory.
    pub file: String,
    /// The last record that is in the state.
    pub sequence: Sequence,
    /// What its owner made of the records up to there.
    pub state: Vec<u8>,
}

/// A place of a journal where a checkpoint can stand: the end of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    /// The journal.
    pub journal: JournalId,
    /// The segment's last record, or that of the segments before if it has none.
    pub sequence: Sequence,
    chain: u64,
}

/// What a file of a checkpoint states, where its header is whole.
#[derive(Clone, Debug)]
pub(crate) struct Stated {
    pub(crate) file: String,
    pub(crate) journal: JournalId,
    pub(crate) sequence: u64,
}

/// How far checkpoints reach that segments may be let go for. Clones are one and the same; whoever makes checkpoints raises
/// it, the journal's retention looks at it.
#[derive(Clone, Debug, Default)]
pub struct CheckpointMark(Arc<AtomicU64>);

impl CheckpointMark {
    /// Says that every record up to here is in as many checkpoints as are kept.
    pub fn raise(&self, sequence: Sequence) {
        self.0.fetch_max(sequence.0, Relaxed);
    }

    /// How far that was said.
    pub fn sequence(&self) -> Sequence {
        Sequence(self.0.load(Relaxed))
    }
}

/// The headers of all checkpoint files, and the files without a whole one.
pub(crate) fn headers(medium: &dyn Medium) -> io::Result<(Vec<Stated>, Vec<PassedOver>)> {
    let (mut stated, mut passed_over) = (Vec::new(), Vec::new());
    for file in medium.list()? {
        if Path::new(&file).extension().is_none_or(|extension| extension != CHECKPOINT_EXTENSION) {
            continue;
        }
        let read = medium.open(&file, Access::Read).and_then(|opened| Header::read(opened.as_ref()));
        match read {
            Ok(Ok(header)) => stated.push(Stated { file, journal: header.journal, sequence: header.sequence }),
            Ok(Err(fault)) => passed_over.push(PassedOver { file, fault }),
            // An older one that went since the directory was listed.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => {
                passed_over.push(PassedOver { file, fault: CheckpointFault::Io { cause: cause.to_string() } })
            }
        }
    }
    stated.sort_by_key(|header| header.sequence);
    Ok((stated, passed_over))
}

/// The ends of all sealed segments of the journal in `directory`, in order.
///
/// # Errors
/// If there is no journal, or the set of its segments is damaged.
pub fn boundaries(directory: impl AsRef<Path>) -> Result<Vec<Boundary>, OpenError> {
    boundaries_on(&DirectoryMedium::at(directory.as_ref()))
}

/// The last sequence of each sealed segment, the oldest first, by headers and footers alone: for whoever looks often, before
/// [`boundaries`] are worth their cost. Nothing is said of damage.
///
/// # Errors
/// If the directory or a file in it cannot be read.
pub fn sealed_ends(directory: impl AsRef<Path>) -> io::Result<Vec<Sequence>> {
    directory::sealed_ends(DirectoryMedium::at(directory.as_ref()).as_ref())
}

pub(crate) fn boundaries_on(medium: &Arc<dyn Medium>) -> Result<Vec<Boundary>, OpenError> {
    let catalog = Catalog::load_whole(medium)?;
    let sealed = catalog.segments.iter().map_while(|segment| Some((segment.header.journal, segment.footer.as_ref()?)));
    Ok(sealed
        .map(|(journal, footer)| Boundary {
            journal,
            sequence: Sequence(footer.last_sequence),
            chain: footer.last_checksum,
        })
        .collect())
}

/// The valid checkpoints of a journal, to be taken one by one from either end.
#[derive(Debug)]
pub struct Checkpoints {
    medium: Arc<dyn Medium>,
    journal: JournalId,
    /// Those whose headers fit the journal, the oldest first. Their states were not looked at.
    files: Vec<Stated>,
    passed_over: Vec<PassedOver>,
}

impl Checkpoints {
    /// Looks for the checkpoints of the journal in `directory`. Reads headers only, and needs read access.
    ///
    /// # Errors
    /// If there is no journal, or files cannot be read. Damage of the journal is for whoever reads it.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_on(&DirectoryMedium::at(directory.as_ref()))
    }

    pub(crate) fn open_on(medium: &Arc<dyn Medium>) -> Result<Self, OpenError> {
        let io_error = |cause| OpenError::Io { path: medium.path().to_owned(), cause };
        // Before the segments: those that a checkpoint is of are there then.
        let (stated, mut passed_over) = headers(medium.as_ref()).map_err(io_error)?;
        let catalog = Catalog::load(medium)?;
        let Some(segment) = catalog.segments.first() else {
            return Err(OpenError::NotAJournal { path: medium.path().to_owned() });
        };
        let journal = segment.header.journal;
        let places = Places::of(&catalog);
        let mut files = Vec::new();
        for header in stated {
            let checked = medium
                .open(&header.file, Access::Read)
                .and_then(|file| Header::read(file.as_ref()))
                .map_err(|cause| CheckpointFault::Io { cause: cause.to_string() })
                .and_then(|found| found)
                .and_then(|found| places.check(journal, &found));
            match checked {
                Ok(()) => files.push(header),
                Err(fault) => passed_over.push(PassedOver { file: header.file, fault }),
            }
        }
        Ok(Self { medium: Arc::clone(medium), journal, files, passed_over })
    }

    /// The journal's id.
    pub const fn journal(&self) -> JournalId {
        self.journal
    }

    /// Takes the newest that is left and valid, reading all of it.
    pub fn take_newest(&mut self) -> Option<Checkpoint> {
        while let Some(newest) = self.files.pop() {
            if let Some(checkpoint) = self.read(newest) {
                return Some(checkpoint);
            }
        }
        None
    }

    /// Takes the oldest that is left and valid, reading all of it.
    pub fn take_oldest(&mut self) -> Option<Checkpoint> {
        while !self.files.is_empty() {
            let oldest = self.files.remove(0);
            if let Some(checkpoint) = self.read(oldest) {
                return Some(checkpoint);
            }
        }
        None
    }

    /// What is not valid among the files that were looked at, to be said aloud.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    fn read(&mut self, Stated { file, sequence, .. }: Stated) -> Option<Checkpoint> {
        let read = self.medium.open(&file, Access::Read).and_then(|opened| {
            Ok(match Header::read(opened.as_ref())? {
                Ok(header) => header.read_state(opened.as_ref())?,
                Err(fault) => Err(fault),
            })
        });
        let fault = match read {
            Ok(Ok(state)) => return Some(Checkpoint { file, sequence: Sequence(sequence), state }),
            Ok(Err(fault)) => fault,
            Err(cause) => CheckpointFault::Io { cause: cause.to_string() },
        };
        self.passed_over.push(PassedOver { file, fault });
        None
    }
}

/// Where checkpoints of a journal can stand.
struct Places {
    places: Vec<Position>,
    first: u64,
    /// Its last record, when the last segment is sealed.
    last: Option<u64>,
}

impl Places {
    fn of(catalog: &Catalog) -> Self {
        let starts = catalog.segments.iter().map(|segment| Position::of_header(&segment.header));
        let ends = catalog.segments.iter().filter_map(|segment| segment.footer.as_ref()).map(Position::of_footer);
        let last = catalog.segments.last().and_then(|segment| segment.footer);
        Self {
            places: starts.chain(ends).collect(),
            first: catalog.first.1.next_sequence,
            last: last.map(|footer| footer.last_sequence),
        }
    }

    fn check(&self, journal: JournalId, header: &Header) -> Result<(), CheckpointFault> {
        if header.journal != journal {
            return Err(CheckpointFault::OtherJournal { found: header.journal });
        }
        let sequence = Sequence(header.sequence);
        if let Some(last) = self.last.filter(|&last| header.sequence > last) {
            return Err(CheckpointFault::BeyondEnd { sequence, last: Sequence(last) });
        }
        let next_sequence = header.sequence.wrapping_add(1);
        if next_sequence < self.first {
            return Err(CheckpointFault::TooOld { sequence, first: Sequence(self.first) });
        }
        let place = Position { next_sequence, chain: header.chain };
        if self.places.contains(&place) { Ok(()) } else { Err(CheckpointFault::NoBoundary { sequence }) }
    }
}

/// A checkpoint could not be stored, or an old one not removed. What was there before is there still.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the checkpoint {path:?}: {cause}")]
pub struct CheckpointError {
    /// What was being done.
    pub action: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The system's answer.
    pub cause: io::Error,
}

/// What storing a checkpoint came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its file's name within the journal's directory.
    pub file: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// How far the checkpoints reach that are kept, the oldest of them: 0 as long as there are fewer than
    /// [`CHECKPOINTS_KEPT`]. That is what to raise a [`CheckpointMark`] to.
    pub covered: Sequence,
    /// Older checkpoints that were removed.
    pub removed: Vec<String>,
}

/// Stores `state`, made of every record of the journal in `directory` up to `boundary`, and removes all but the two newest
/// valid checkpoints. Durable when it returns.
///
/// One at a time: by the process that holds the journal's lock. Beside a writer with retention, that writer must have the
/// [`CheckpointMark`] among its options, or it may let go of what comes behind the first checkpoint.
///
/// `pace` is called before each piece that is written, with its bytes: to hold a rate, beside a writer.
///
/// Cost: writes and syncs all of the state, and reads the checkpoints that are there.
///
/// # Errors
/// If a file cannot be written, synced, renamed or removed.
pub fn store_checkpoint(
    directory: impl AsRef<Path>,
    boundary: &Boundary,
    state: &[u8],
    pace: impl FnMut(usize),
) -> Result<Stored, CheckpointError> {
    store_on(DirectoryMedium::at(directory.as_ref()).as_ref(), boundary, state, pace)
}

pub(crate) fn store_on(
    medium: &dyn Medium,
    boundary: &Boundary,
    state: &[u8],
    pace: impl FnMut(usize),
) -> Result<Stored, CheckpointError> {
    let file = format!("checkpoint-{:020}.{CHECKPOINT_EXTENSION}", boundary.sequence.0);
    let error = |action, file: &str| {
        let path = medium.path().join(file);
        move |cause| CheckpointError { action, path, cause }
    };
    write(medium, &file, boundary, state, pace).map_err(error("write", &file))?;
    let valid = valid_files(medium, boundary).map_err(error("look for those beside", &file))?;
    let kept_from = valid.len().saturating_sub(CHECKPOINTS_KEPT);
    let covered = if valid.len() < CHECKPOINTS_KEPT { 0 } else { valid[kept_from].sequence };
    let mut removed = Vec::new();
    for old in &valid[..kept_from] {
        medium.remove(&old.file).map_err(error("remove", &old.file))?;
        removed.push(old.file.clone());
    }
    if !removed.is_empty() {
        medium.sync_directory().map_err(error("remove", &file))?;
    }
    let bytes = (HEADER_BYTES + state.len()) as u64;
    Ok(Stored { file, bytes, covered: Sequence(covered), removed })
}

/// Writes a checkpoint under another name and gives it its own when it is durable.
fn write(
    medium: &dyn Medium,
    file: &str,
    boundary: &Boundary,
    state: &[u8],
    mut pace: impl FnMut(usize),
) -> io::Result<()> {
    let new = format!("{file}.{}", crate::compact::NEW_EXTENSION);
    remove_if_there(medium, &new)?;
    let opened = medium.open(&new, Access::Create)?;
    opened.write_all_at(Header::new(boundary, state).as_bytes(), 0)?;
    for (number, piece) in state.chunks(PIECE_BYTES).enumerate() {
        pace(piece.len());
        opened.write_all_at(piece, (HEADER_BYTES + number * PIECE_BYTES) as u64)?;
        if number % SYNC_PIECES == SYNC_PIECES - 1 {
            opened.sync()?;
        }
    }
    if stands(Defence::CheckpointBeforeName) {
        opened.sync()?;
    }
    medium.rename(&new, file)?;
    if stands(Defence::CheckpointName) { medium.sync_directory() } else { Ok(()) }
}

/// The valid checkpoints of the boundary's journal up to the boundary, the oldest first.
fn valid_files(medium: &dyn Medium, boundary: &Boundary) -> io::Result<Vec<Stated>> {
    let (mut files, _) = headers(medium)?;
    files.retain(|stated| stated.journal == boundary.journal && stated.sequence <= boundary.sequence.0);
    let mut valid = Vec::with_capacity(files.len());
    for stated in files {
        let opened = medium.open(&stated.file, Access::Read)?;
        if let Ok(header) = Header::read(opened.as_ref())?
            && header.read_state(opened.as_ref())?.is_ok()
        {
            valid.push(stated);
        }
    }
    Ok(valid)
}

/// How far segments may be let go, by the checkpoints that are there, which are read for it: `None` where there is none. With
/// as many valid ones as are kept up to the oldest of those; with fewer up to the one there is, and without a valid one not at
/// all.
pub(crate) fn covered_by_valid(medium: &Arc<dyn Medium>) -> Result<Option<u64>, OpenError> {
    let (stated, _) =
        headers(medium.as_ref()).map_err(|cause| OpenError::Io { path: medium.path().to_owned(), cause })?;
    if stated.is_empty() {
        return Ok(None);
    }
    let mut found = Checkpoints::open_on(medium)?;
    let newest = core::iter::from_fn(|| found.take_newest().map(|checkpoint| checkpoint.sequence.0));
    Ok(Some(newest.take(CHECKPOINTS_KEPT).last().unwrap_or(0)))
}
