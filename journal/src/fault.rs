//! What can be wrong with a journal, and where.

use crate::format::JournalId;
use crate::stream::Stream;
use std::path::PathBuf;
use tickcore_book::Sequence;

/// What is wrong at one place of a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Neither a frame nor a footer begins where one must.
    #[error("neither a frame nor a footer begins here")]
    NoFrame,
    /// The file does not begin with a segment header.
    #[error("the file does not begin with a segment header")]
    NoSegmentHeader,
    /// A header or footer does not have the checksum that it states.
    #[error("header checksum {computed:016x} differs from the {stated:016x} that it states")]
    HeaderChecksum {
        /// What stands on disk.
        stated: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// Records or padding do not have the checksum that their frame header states.
    #[error("payload checksum {computed:016x} differs from the {stated:016x} that the header states")]
    PayloadChecksum {
        /// What stands on disk.
        stated: u64,
        /// What the bytes give.
        computed: u64,
    },
    /// A later format, or a record kind or stream that this version does not read.
    #[error("format version {version}, or its record kind or stream, is not known here: read it with a newer tickcore")]
    Unsupported {
        /// The version that is stated.
        version: u32,
    },
    /// A length or count that cannot be.
    #[error("a length of {found} bytes or its record count cannot be")]
    Length {
        /// The length that is stated.
        found: u64,
    },
    /// A number of a record, segment or epoch that no journal reaches, or of cores that none has outputs of.
    #[error("the number {found} cannot be")]
    Number {
        /// The number that is stated.
        found: u64,
    },
    /// A mark of a record that its frame does not have, or in a frame of outputs.
    #[error("a mark names record {record} of its frame, which is none or an output")]
    MarkOfNoRecord {
        /// The record that is stated, from 0.
        record: u32,
    },
    /// The bytes belong to another journal.
    #[error("this belongs to journal {found}")]
    OtherJournal {
        /// The journal that is stated.
        found: JournalId,
    },
    /// The bytes belong to another segment of this journal: a misplaced write or the remains of an older file.
    #[error("this belongs to segment {found_number} of epoch {found_epoch}")]
    OtherSegment {
        /// The segment that is stated.
        found_number: u64,
        /// The epoch that is stated.
        found_epoch: u64,
    },
    /// The frame or footer belongs to another place of this segment.
    #[error("this belongs at byte {found}")]
    Offset {
        /// The place that is stated.
        found: u64,
    },
    /// A hole or a repetition in the record numbers.
    #[error("sequence {found} stands where {expected} must")]
    SequenceBroken {
        /// The number that must come next.
        expected: Sequence,
        /// The number that stands there.
        found: Sequence,
    },
    /// The frame or segment does not follow the frame before it.
    #[error("it follows a frame with checksum {found:016x}, but the one before it has {expected:016x}")]
    ChainBroken {
        /// Checksum of the frame before.
        expected: u64,
        /// Checksum that is stated.
        found: u64,
    },
    /// A frame or segment does not go on where the outputs of a core ended.
    #[error(
        "record {found} of the {stream} stands where their {expected} must, or follows another frame than the one before it"
    )]
    OutputsBroken {
        /// Whose.
        stream: Stream,
        /// The number that must come next.
        expected: Sequence,
        /// The number that stands there.
        found: Sequence,
    },
    /// The highest time of a frame is not that of its records.
    #[error("the highest time {stated} is stated, but the records have {found}")]
    HighestTime {
        /// What the header states.
        stated: u64,
        /// What the records have.
        found: u64,
    },
    /// Counts, times, digest or sequences of a footer, or entries of an index, are not those of its segment.
    #[error("the footer or its index does not describe the frames before it")]
    FooterMismatch,
    /// A compacted segment cannot be unpacked.
    #[error("the compacted segment cannot be unpacked")]
    Compacted,
    /// Bytes stand behind the footer.
    #[error("{bytes} bytes stand behind the footer")]
    TrailingBytes {
        /// How many.
        bytes: u64,
    },
    /// The file ends before a footer.
    #[error("the file ends after {length} bytes without a footer: something cut it short")]
    CutShort {
        /// The file's length.
        length: u64,
    },
    /// A segment is not there.
    #[error("segment {number} is missing: put its file back")]
    MissingSegment {
        /// The number of the first that is missing.
        number: u64,
    },
    /// The journal ends in good order, but a checkpoint was made of more.
    #[error(
        "a checkpoint states that records up to {sequence} were durable: put the files of the missing segments back"
    )]
    BehindCheckpoint {
        /// What it states.
        sequence: Sequence,
    },
    /// Two files hold the same segment.
    #[error("segment {number} is already in {other:?}: move one of the two away")]
    DuplicateSegment {
        /// The segment's number.
        number: u64,
        /// The other file's name.
        other: String,
    },
    /// Segments of an earlier run come after those of a later one.
    #[error("epoch {found} comes after epoch {previous}")]
    EpochBroken {
        /// Epoch of the segment before.
        previous: u64,
        /// Epoch that is stated.
        found: u64,
    },
}

impl Fault {
    /// Whether the bytes are whole and only in the wrong place. A crash cannot leave that behind.
    pub(crate) fn is_misplaced(&self) -> bool {
        matches!(
            self,
            Self::Unsupported { .. }
                | Self::Length { .. }
                | Self::Offset { .. }
                | Self::SequenceBroken { .. }
                | Self::ChainBroken { .. }
                | Self::OutputsBroken { .. }
                | Self::FooterMismatch
                | Self::HighestTime { .. }
        )
    }
}

/// Damage at one place of a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} is damaged at byte {offset}, sequence {sequence}: {fault}")]
pub struct Damage {
    /// Name of the segment's file within the journal's directory.
    pub file: String,
    /// Byte offset in that file.
    pub offset: u64,
    /// The first sequence of the inputs that cannot be had because of it; 0 when nothing tells.
    pub sequence: Sequence,
    /// What is wrong.
    pub fault: Fault,
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory or a file in it could not be read.
    #[error("cannot read {path:?}: {cause}; check the path and the permission to read")]
    Io {
        /// What was being read.
        path: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// There is no segment with a valid header.
    #[error(
        "{path:?} holds no journal: no .tcj file in it has a valid segment header; name the directory that one was written to"
    )]
    NotAJournal {
        /// The directory.
        path: PathBuf,
    },
    /// Segments are damaged, missing, duplicate or foreign.
    #[error("{0}; `tickcore journal verify` lists all damage")]
    Damaged(#[from] Damage),
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A file could not be read.
    #[error("cannot read {path:?} at byte {offset}, sequence {sequence}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The first sequence that was not read.
        sequence: Sequence,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// Retention let the segment go that was being read.
    #[error("the journal's retention released sequence {sequence} before it was read: it begins at {first} now")]
    Released {
        /// The first record that was not read.
        sequence: Sequence,
        /// The first record that is there.
        first: Sequence,
    },
    /// The journal is damaged here.
    #[error("{0}; `tickcore journal verify` lists all damage")]
    Damaged(#[from] Damage),
}
