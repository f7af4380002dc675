//! What `journal info` says: a journal at a glance.

use crate::directory::Catalog;
use crate::fault::{Damage, OpenError};
use crate::format::{JournalId, Seal};
use crate::medium::DirectoryMedium;
use crate::options::Metadata;
use crate::reader::Tail;
use crate::status::{Snapshot, Status};
use crate::walk::{Position, Step, Tally, Verdict, Walk, judge};
use std::path::Path;
use tickcore_book::{Sequence, TimestampNs};

/// A journal at a glance. Sealed segments are described by their footers, which `verify` checks.
#[derive(Clone, Debug)]
pub struct Info {
    /// The journal's id.
    pub journal: JournalId,
    /// What was said when it was created.
    pub metadata: Metadata,
    /// Its segments, in order.
    pub segments: Vec<SegmentInfo>,
    /// Records in all segments.
    pub record_count: u64,
    /// Bytes of headers, frames and footers.
    pub bytes: u64,
    /// First and last record, if there is one.
    pub sequences: Option<(Sequence, Sequence)>,
    /// Exchange times of the first and last record, if there is one.
    pub times: Option<(TimestampNs, TimestampNs)>,
    /// How it ends.
    pub tail: Tail,
    /// The damage that stood in the way of describing the rest, if any.
    pub damage: Option<Damage>,
    /// What its checkpoints state that they hold, the oldest first. Whether they are whole, `verify` says.
    pub checkpoints: Vec<Sequence>,
    /// The status page, if there is one.
    pub status: Option<Snapshot>,
}

impl Info {
    /// Whether the last segment is sealed.
    pub fn is_sealed(&self) -> bool {
        self.tail == Tail::Sealed
    }
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its file.
    pub file: String,
    /// Its number, from 1.
    pub number: u64,
    /// The run that wrote it, from 1.
    pub epoch: u64,
    /// Bytes of header, frames and footer.
    pub bytes: u64,
    /// Its frames.
    pub frame_count: u64,
    /// Its records.
    pub record_count: u64,
    /// First and last record, if there is one.
    pub sequences: Option<(Sequence, Sequence)>,
    /// Why it was sealed, or `None` if it is not.
    pub seal: Option<Seal>,
}

/// Describes the journal in `directory`. Reads headers and footers, and the frames of segments that are not sealed.
///
/// # Errors
/// If there is no journal, if files cannot be read, or if the set of segments is damaged.
pub fn info(directory: impl AsRef<Path>) -> Result<Info, OpenError> {
    let directory = directory.as_ref();
    let catalog = Catalog::load_whole(&DirectoryMedium::at(directory))?;
    let first = catalog.segments[0].header;
    let mut info = Info {
        journal: first.journal,
        metadata: Metadata::from_header(&first),
        segments: Vec::new(),
        record_count: 0,
        bytes: 0,
        sequences: None,
        times: None,
        tail: Tail::Sealed,
        damage: None,
        checkpoints: catalog.checkpoints.iter().map(|stated| Sequence(stated.sequence)).collect(),
        status: Status::open(directory).ok().map(|status| status.read()).filter(|found| found.journal == first.journal),
    };
    for (index, segment) in catalog.segments.iter().enumerate() {
        let header = &segment.header;
        if let Some(footer) = &segment.footer {
            let tally = Tally {
                frame_count: footer.frame_count,
                record_count: footer.record_count,
                first_time: footer.first_time,
                last_time: footer.last_time,
                highest_time: footer.highest_time,
                digest: footer.digest,
            };
            let seal = Seal::from_number(footer.seal);
            info.add(&segment.file, header.number, header.epoch, segment.length, &tally, header.first_sequence, seal);
            continue;
        }
        let io_error = |cause| OpenError::Io { path: catalog.path(index), cause };
        let mut walk = Walk::new(catalog.open(index).map_err(io_error)?, *header);
        let end = loop {
            match walk.step().map_err(io_error)? {
                Step::Frame => {}
                Step::Footer(footer) => break Ok(footer),
                Step::Bad(fault) => {
                    let verdict = judge(&catalog, index, &mut walk, fault).map_err(io_error)?;
                    if !matches!(verdict, Verdict::Damage(_)) {
                        break Err(verdict);
                    }
                    match walk.step_again().map_err(io_error)? {
                        Step::Frame => {}
                        Step::Footer(footer) => break Ok(footer),
                        Step::Bad(_) => break Err(verdict),
                    }
                }
            }
        };
        let (offset, sequence) = (walk.offset, walk.position.next_sequence);
        let (tally, file) = (walk.tally, segment.file.clone());
        let seal = end.as_ref().ok().and_then(|footer| Seal::from_number(footer.seal));
        let bytes = offset + end.as_ref().map_or(0, |footer| u64::from(footer.footer_bytes));
        let first_sequence = Position::of_header(header).next_sequence;
        info.add(&file, header.number, header.epoch, bytes, &tally, first_sequence, seal);
        if let Err(verdict) = end {
            match verdict {
                Verdict::Continues => continue,
                Verdict::Unsealed => info.tail = Tail::Unsealed { file, offset },
                Verdict::Torn { bytes } => info.tail = Tail::Torn { file, offset, bytes },
                Verdict::Damage(fault) => {
                    info.tail = Tail::Unread;
                    let offset = walk.fault_offset;
                    info.damage = Some(Damage { file, offset, sequence: Sequence(sequence), fault });
                }
            }
            break;
        }
    }
    Ok(info)
}

impl Info {
    #[expect(clippy::too_many_arguments, reason = "one row, from a footer or from a walk")]
    fn add(
        &mut self,
        file: &str,
        number: u64,
        epoch: u64,
        bytes: u64,
        tally: &Tally,
        first_sequence: u64,
        seal: Option<Seal>,
    ) {
        let last_sequence = Sequence(first_sequence.wrapping_add(tally.record_count).wrapping_sub(1));
        let sequences = (tally.record_count > 0).then_some((Sequence(first_sequence), last_sequence));
        if let Some((first, last)) = sequences {
            self.sequences = Some((self.sequences.map_or(first, |(first, _)| first), last));
            let first_time = self.times.map_or(TimestampNs(tally.first_time), |(first, _)| first);
            self.times = Some((first_time, TimestampNs(tally.last_time)));
        }
        self.record_count += tally.record_count;
        self.bytes += bytes;
        self.segments.push(SegmentInfo {
            file: file.to_owned(),
            number,
            epoch,
            bytes,
            frame_count: tally.frame_count,
            record_count: tally.record_count,
            sequences,
            seal,
        });
    }
}
