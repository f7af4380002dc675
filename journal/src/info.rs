//! What `journal info` says: a journal at a glance.

use crate::directory::{Catalog, look_again};
use crate::fault::{Damage, Fault, OpenError};
use crate::format::{JournalId, Seal, SegmentFooter, SegmentHeader};
use crate::mark::Mark;
use crate::medium::DirectoryMedium;
use crate::options::Metadata;
use crate::reader::Tail;
use crate::status::{Snapshot, Status};
use crate::stream::{OUTPUT_STREAMS_MAX, Stream, StreamInfo};
use crate::walk::{Positions, Step, Verdict, Walk, judge};
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
    /// Records in all segments, of all streams.
    pub record_count: u64,
    /// Bytes of headers, frames and footers.
    pub bytes: u64,
    /// First and last record of the inputs, if there is one.
    pub sequences: Option<(Sequence, Sequence)>,
    /// Exchange times of the first and last record of the inputs, if there is one.
    pub times: Option<(TimestampNs, TimestampNs)>,
    /// What there is of each stream, the inputs first.
    pub streams: Vec<StreamInfo>,
    /// The last record of each stream of outputs that ever had any, though all of them may have been released.
    pub last_outputs: Vec<(Stream, Sequence)>,
    /// Cores of the run that first recorded outputs, whether all of them sent any or not; `None` where that is not known.
    pub output_cores: Option<u32>,
    /// The last place of each channel that there is a mark of, by channel: enough to resume its feed. Of a segment with marks
    /// of more than 64 channels those that came later are not known.
    pub last_marks: Vec<Mark>,
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
    /// Its records, of all streams.
    pub record_count: u64,
    /// First and last record of the inputs, if there is one.
    pub sequences: Option<(Sequence, Sequence)>,
    /// Why it was sealed, or `None` if it is not.
    pub seal: Option<Seal>,
}

/// Describes the journal in `directory`. Reads headers and footers, and the frames of segments that are not sealed.
///
/// # Errors
/// If there is no journal, if files cannot be read, or if the set of segments is damaged.
pub fn info(directory: impl AsRef<Path>) -> Result<Info, OpenError> {
    look_again(|| info_once(directory.as_ref()))
}

fn info_once(directory: &Path) -> Result<Info, OpenError> {
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
        streams: Vec::new(),
        last_outputs: Vec::new(),
        output_cores: catalog.segments.last().and_then(|last| last.header.known_output_cores()),
        last_marks: Vec::new(),
        tail: Tail::Sealed,
        damage: None,
        checkpoints: catalog.checkpoints.iter().map(|stated| Sequence(stated.sequence)).collect(),
        status: Status::open(directory).ok().map(|status| status.read()).filter(|found| found.journal == first.journal),
    };
    let begin = Positions::of_header(&first);
    let mut end_positions = begin;
    for (index, segment) in catalog.segments.iter().enumerate() {
        let header = &segment.header;
        if let Some(footer) = &segment.footer {
            info.add(&segment.file, header, segment.length, footer, Seal::from_number(footer.seal));
            end_positions = Positions::of_footer(footer);
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
        let (offset, sequence) = (walk.offset, walk.positions.inputs.next_sequence);
        let file = segment.file.clone();
        let seal = end.as_ref().ok().and_then(|footer| Seal::from_number(footer.seal));
        let bytes = offset + end.as_ref().map_or(0, |footer| u64::from(footer.footer_bytes));
        // What a footer would say, if there is none.
        let footer = walk.tally.footer(header, offset, 0, &walk.positions, Seal::Recovered);
        info.add(&file, header, bytes, &footer, seal);
        end_positions = walk.positions;
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
    if let (Some(number), Some(last)) = (catalog.missing_last(), catalog.segments.last()) {
        let sequence = Sequence(end_positions.inputs.next_sequence);
        let fault = Fault::MissingSegment { number };
        info.tail = Tail::Unread;
        info.damage = Some(Damage { file: last.file.clone(), offset: last.length, sequence, fault });
    }
    info.streams = streams(&begin, &end_positions);
    info.last_outputs = end_positions.outputs.lasts().collect();
    Ok(info)
}

/// What lies between two places, stream by stream.
fn streams(begin: &Positions, end: &Positions) -> Vec<StreamInfo> {
    let cores = (0..OUTPUT_STREAMS_MAX as u16).map(Stream::outputs_of);
    let streams = std::iter::once(Stream::INPUTS).chain(cores).map(|stream| {
        let (first, next) = (begin.of_stream(stream.number()), end.of_stream(stream.number()));
        let record_count = next.next_sequence.saturating_sub(first.next_sequence);
        let last = Sequence(next.next_sequence.wrapping_sub(1));
        StreamInfo { stream, first: Sequence(first.next_sequence), last, record_count }
    });
    streams.filter(|info| info.record_count > 0).collect()
}

impl Info {
    fn add(&mut self, file: &str, header: &SegmentHeader, bytes: u64, footer: &SegmentFooter, seal: Option<Seal>) {
        let has_inputs = footer.last_sequence.wrapping_add(1) > footer.first_sequence;
        let sequences = has_inputs.then_some((Sequence(footer.first_sequence), Sequence(footer.last_sequence)));
        if let Some((first, last)) = sequences {
            self.sequences = Some((self.sequences.map_or(first, |(first, _)| first), last));
            let first_time = self.times.map_or(TimestampNs(footer.first_time), |(first, _)| first);
            self.times = Some((first_time, TimestampNs(footer.last_time)));
        }
        for mark in footer.marks.iter() {
            match self.last_marks.binary_search_by_key(&mark.channel, |found| found.channel) {
                Ok(place) => self.last_marks[place] = mark,
                Err(place) => self.last_marks.insert(place, mark),
            }
        }
        self.record_count = self.record_count.saturating_add(footer.record_count);
        self.bytes += bytes;
        self.segments.push(SegmentInfo {
            file: file.to_owned(),
            number: header.number,
            epoch: header.epoch,
            bytes,
            frame_count: footer.frame_count,
            record_count: footer.record_count,
            sequences,
            seal,
        });
    }
}
