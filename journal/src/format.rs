//! What stands on disk: records, frame headers, segment headers and footers, byte for byte as `docs/JOURNAL.md` has it.
//!
//! Every structure is plain old data without padding, its size and field places proved at compile time. All integers
//! are little-endian; on a big-endian machine this package does not compile. Each structure ends in a checksum of
//! everything before it, so each byte of it is covered, the reserved ones too.

use crate::checksum::Seed;
use crate::defence::{Defence, stands};
use crate::fault::Fault;
use crate::mark::{FrameMark, LastMarks};
use crate::stream::{INPUT_STREAM, OUTPUT_STREAMS_MAX, OutputEnds};
use crate::walk::Position;
use core::fmt;
use core::mem::{offset_of, size_of};
use tickcore_book::{Event, Sequence};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[cfg(not(target_endian = "little"))]
compile_error!("the journal's format is little-endian, and records are used in place");

/// The version of the format that this package writes.
pub const FORMAT_VERSION: u32 = 3;
/// The oldest version that this package reads.
pub const FORMAT_VERSION_MIN: u32 = 1;
/// Every frame begins at a multiple of this many bytes and is padded to it; no such unit is written twice once durable.
pub const WRITE_UNIT_BYTES: u64 = 4096;
/// The largest frame that a reader accepts: a bound on what a damaged length can make it allocate.
pub const FRAME_BYTES_MAX: u32 = 16 << 20;
/// The longest [`Metadata::input`](crate::Metadata::input), in bytes of UTF-8.
pub const INPUT_BYTES_MAX: usize = 512;
/// Marks that one frame header can hold.
pub const MARKS_MAX: usize = 7;

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"TCJSEGMT";
pub(crate) const FRAME_MAGIC: [u8; 8] = *b"TCJFRAME";
pub(crate) const FOOTER_MAGIC: [u8; 8] = *b"TCJFOOTR";
pub(crate) const RECORD_BYTES: usize = size_of::<Record>();
pub(crate) const FRAME_HEADER_BYTES: usize = size_of::<FrameHeader>();
/// The frame header's length in records: where the first record of a frame stands.
pub(crate) const FRAME_HEADER_RECORDS: usize = FRAME_HEADER_BYTES / RECORD_BYTES;
/// Segment headers and footers fill exactly one write unit.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Numbers of records, segments and epochs are lower: what follows from them has room in a word.
const NUMBERS_END: u64 = 1 << 63;
/// The first version with output streams, marks and durable places.
const FIRST_WITH_STREAMS: u32 = 3;
/// Record kind of [`Record`]: a sequence and an event.
pub(crate) const EVENT_RECORDS: u32 = 1;
/// Set in [`SegmentHeader::flags`] when exchange times count from midnight of an unnamed day.
pub(crate) const FLAG_TIMES_SINCE_MIDNIGHT: u64 = 1;

/// What the journal keeps of one event: 64 bytes, exactly one cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub struct Record {
    /// The engine's number of the event.
    pub sequence: Sequence,
    /// The event.
    pub event: Event,
}

/// Names one journal: 128 random bits drawn when it is created. `Display` prints 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct JournalId(pub [u8; 16]);

impl fmt::Display for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JournalId({self})")
    }
}

/// A place in a journal. What is said of it holds for every frame that begins before; 0 when nothing is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The segment's number.
    pub(crate) segment: u64,
    /// Byte offset in its file.
    pub(crate) offset: u64,
}

/// Set in [`FrameHeader::durable_units`] when they count in the segment before the frame's own.
const UNITS_OF_SEGMENT_BEFORE: u32 = 1 << 31;

impl Place {
    /// The start of a segment: all segments before it.
    pub(crate) const fn start_of(segment: u64) -> Self {
        Self { segment, offset: BLOCK_BYTES }
    }

    /// How a frame of `segment` states this place, or one before it: of places further back than the segment before, its
    /// writer knows that they are durable.
    pub(crate) fn to_units(self, segment: u64) -> u32 {
        let units = (self.offset / WRITE_UNIT_BYTES).min(u64::from(UNITS_OF_SEGMENT_BEFORE - 1)) as u32;
        if self.segment == segment {
            units
        } else if self.segment.wrapping_add(1) == segment {
            UNITS_OF_SEGMENT_BEFORE | units
        } else {
            UNITS_OF_SEGMENT_BEFORE | 1
        }
    }

    fn from_units(units: u32, segment: u64) -> Self {
        let offset = u64::from(units & !UNITS_OF_SEGMENT_BEFORE) * WRITE_UNIT_BYTES;
        match units {
            0 => Self::default(),
            units if units & UNITS_OF_SEGMENT_BEFORE != 0 => Self { segment: segment.wrapping_sub(1), offset },
            _ => Self { segment, offset },
        }
    }
}

/// The first 256 bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct FrameHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) header_bytes: u32,
    /// Header, records and padding: a multiple of [`WRITE_UNIT_BYTES`].
    pub(crate) frame_bytes: u32,
    pub(crate) record_count: u32,
    pub(crate) record_kind: u32,
    /// 0 for the inputs, 1 + n for the outputs of core n.
    pub(crate) stream: u32,
    /// In the stream.
    pub(crate) first_sequence: u64,
    /// Exchange times of the first and the last record.
    pub(crate) first_time: u64,
    pub(crate) last_time: u64,
    pub(crate) journal: JournalId,
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
    /// Where in its segment the frame belongs, so that a misdirected write is seen.
    pub(crate) offset: u64,
    /// What was durable of the stream when the frame was built.
    pub(crate) durable_sequence: u64,
    /// `header_checksum` of the stream's frame before this one, 0 at the very first.
    pub(crate) previous_checksum: u64,
    /// Of everything behind the header: records and padding.
    pub(crate) payload_checksum: u64,
    pub(crate) mark_count: u32,
    /// The place up to which frames of all streams were durable, see [`Place::to_units`]; 0 before version 3.
    pub(crate) durable_units: u32,
    pub(crate) marks: [FrameMark; MARKS_MAX],
    /// The highest exchange time of the records; 0 in version 1.
    pub(crate) highest_time: u64,
    pub(crate) header_checksum: u64,
}

/// The first 4096 bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SegmentHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) header_bytes: u32,
    pub(crate) journal: JournalId,
    pub(crate) epoch: u64,
    pub(crate) number: u64,
    /// Length the file is given before use. A shorter file was trimmed after its footer had become durable.
    pub(crate) prepared_bytes: u64,
    pub(crate) first_sequence: u64,
    /// Checksum chain of the inputs where this segment takes it up.
    pub(crate) previous_checksum: u64,
    pub(crate) durable_sequence: u64,
    pub(crate) created: u64,
    pub(crate) flags: u64,
    pub(crate) instruments_max: u64,
    pub(crate) orders_max: u64,
    pub(crate) levels_max: u64,
    pub(crate) write_unit_bytes: u32,
    pub(crate) input_bytes: u32,
    pub(crate) input: [u8; INPUT_BYTES_MAX],
    /// The place up to which frames of all streams were durable; 0 before version 3.
    pub(crate) durable_segment: u64,
    pub(crate) durable_offset: u64,
    /// Where the outputs of each core take on; 0 before version 3.
    pub(crate) outputs: OutputEnds,
    /// Cores of the run that first recorded outputs; 0 where that is not known.
    pub(crate) output_cores: u64,
    /// All 0.
    pub(crate) reserved: [u64; 300],
    pub(crate) header_checksum: u64,
}

/// The last 4096 bytes of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct SegmentFooter {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) footer_bytes: u32,
    pub(crate) journal: JournalId,
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) frame_count: u64,
    pub(crate) record_count: u64,
    pub(crate) first_sequence: u64,
    /// `first_sequence - 1` when the segment holds no record.
    pub(crate) last_sequence: u64,
    pub(crate) first_time: u64,
    pub(crate) last_time: u64,
    /// [`Seed::fold`] over the header checksums of all frames, in order.
    pub(crate) digest: u64,
    /// `header_checksum` of the last frame: the chain that the next segment takes up.
    pub(crate) last_checksum: u64,
    /// Number of a [`Seal`].
    pub(crate) seal: u32,
    /// Bytes of the sparse index in front of the footer; 0 in version 1, and where there is none.
    pub(crate) index_bytes: u32,
    /// The highest exchange time of the records; 0 in version 1.
    pub(crate) highest_time: u64,
    /// Where the outputs of each core end; 0 before version 3.
    pub(crate) outputs: OutputEnds,
    /// The last places of the channels that have marks in the segment; 0 before version 3.
    pub(crate) marks: LastMarks,
    /// All 0.
    pub(crate) reserved: [u64; 173],
    pub(crate) footer_checksum: u64,
}

const _: () = {
    assert!(size_of::<Record>() == 64);
    assert!(size_of::<FrameHeader>() == 256 && offset_of!(FrameHeader, journal) == 56);
    assert!(offset_of!(FrameHeader, marks) == 128 && offset_of!(FrameHeader, header_checksum) == 248);
    assert!(size_of::<SegmentHeader>() == 4096 && offset_of!(SegmentHeader, header_checksum) == 4088);
    assert!(offset_of!(SegmentHeader, durable_segment) == 640 && offset_of!(SegmentHeader, outputs) == 656);
    assert!(offset_of!(SegmentHeader, output_cores) == 1680);
    assert!(size_of::<SegmentFooter>() == 4096 && offset_of!(SegmentFooter, footer_checksum) == 4088);
    assert!(offset_of!(SegmentFooter, outputs) == 136 && offset_of!(SegmentFooter, marks) == 1160);
    assert!(size_of::<LastMarks>() == 1544 && size_of::<OutputEnds>() == 1024);
    assert!(BLOCK_BYTES == WRITE_UNIT_BYTES && FRAME_HEADER_BYTES.is_multiple_of(RECORD_BYTES));
};

/// Why a segment was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Seal {
    /// It was full, and the next segment follows it.
    Full = 1,
    /// The writer finished.
    Finished = 2,
    /// Recovery closed it after a crash.
    Recovered = 3,
}

impl Seal {
    /// The seal with this number, or `None` for a number that no seal has.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Full),
            2 => Some(Self::Finished),
            3 => Some(Self::Recovered),
            _ => None,
        }
    }
}

/// Which segment a frame or footer claims to belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentIdentity {
    pub(crate) journal: JournalId,
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

impl SegmentIdentity {
    pub(crate) fn seed(self) -> Seed {
        Seed::new(self.journal, self.epoch, self.number)
    }

    /// The fault of a structure that claims `self` where `expected` is read.
    fn fault_against(self, expected: Self) -> Option<Fault> {
        if self.journal != expected.journal {
            Some(Fault::OtherJournal { found: self.journal })
        } else if self.epoch != expected.epoch || self.number != expected.number {
            Some(Fault::OtherSegment { found_number: self.number, found_epoch: self.epoch })
        } else {
            None
        }
    }
}

/// Refuses what belongs to another segment or to another place of this one.
fn check_place(found: SegmentIdentity, at: u64, expected: SegmentIdentity, offset: u64) -> Result<(), Fault> {
    match found.fault_against(expected) {
        Some(fault) => Err(fault),
        None if at != offset => Err(Fault::Offset { found: at }),
        None => Ok(()),
    }
}

/// A structure that ends in a checksum of itself, seeded by the segment that it names.
trait Checksummed: FromBytes + IntoBytes + Immutable {
    fn identity(&self) -> SegmentIdentity;

    fn computed(&self) -> u64 {
        let bytes = self.as_bytes();
        self.identity().seed().checksum(&bytes[..bytes.len() - 8])
    }

    fn stated(&self) -> u64 {
        let bytes = self.as_bytes();
        u64::read_from_bytes(&bytes[bytes.len() - 8..]).unwrap_or_default()
    }

    fn check(&self) -> Result<(), Fault> {
        let (stated, computed) = (self.stated(), self.computed());
        let is_right = stated == computed || !stands(Defence::HeaderChecksum);
        if is_right { Ok(()) } else { Err(Fault::HeaderChecksum { stated, computed }) }
    }
}

impl Checksummed for FrameHeader {
    fn identity(&self) -> SegmentIdentity {
        SegmentIdentity { journal: self.journal, epoch: self.epoch, number: self.segment }
    }
}

impl Checksummed for SegmentHeader {
    fn identity(&self) -> SegmentIdentity {
        SegmentIdentity { journal: self.journal, epoch: self.epoch, number: self.number }
    }
}

impl Checksummed for SegmentFooter {
    fn identity(&self) -> SegmentIdentity {
        SegmentIdentity { journal: self.journal, epoch: self.epoch, number: self.segment }
    }
}

impl FrameHeader {
    /// Fills in the checksum of the header itself.
    pub(crate) fn seal(mut self) -> Self {
        self.header_checksum = self.computed();
        self
    }

    /// The header at the start of `bytes`, if one stands there that is whole and belongs to *some* segment.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let Ok((header, _)) = Self::read_from_prefix(bytes) else { return Err(Fault::NoFrame) };
        if header.magic != FRAME_MAGIC {
            return Err(Fault::NoFrame);
        }
        header.check()?;
        let streams_end = if header.version < FIRST_WITH_STREAMS { INPUT_STREAM } else { OUTPUT_STREAMS_MAX as u32 };
        if !is_known(header.version) || header.record_kind != EVENT_RECORDS || header.stream > streams_end {
            return Err(Fault::Unsupported { version: header.version });
        }
        let capacity = (header.frame_bytes.saturating_sub(header.header_bytes)) as usize / RECORD_BYTES;
        if header.header_bytes as usize != FRAME_HEADER_BYTES
            || header.frame_bytes > FRAME_BYTES_MAX
            || !u64::from(header.frame_bytes).is_multiple_of(WRITE_UNIT_BYTES)
            || header.record_count == 0
            || header.record_count as usize > capacity
            || header.mark_count as usize > MARKS_MAX
        {
            return Err(Fault::Length { found: u64::from(header.frame_bytes) });
        }
        check_numbers([header.first_sequence])?;
        let is_of_record = |mark: &FrameMark| header.stream == INPUT_STREAM && mark.record < header.record_count;
        match header.marks[..header.mark_count as usize].iter().find(|mark| !is_of_record(mark)) {
            Some(mark) => Err(Fault::MarkOfNoRecord { record: mark.record }),
            None => Ok(header),
        }
    }

    /// Refuses a header that belongs to another segment or to another place of this one.
    pub(crate) fn check_place(&self, expected: SegmentIdentity, offset: u64) -> Result<(), Fault> {
        check_place(self.identity(), self.offset, expected, offset)
    }

    /// Where its stream stands before it.
    pub(crate) fn position(&self) -> Position {
        Position { next_sequence: self.first_sequence, chain: self.previous_checksum }
    }

    /// Where its stream stands behind it.
    pub(crate) fn end_position(&self) -> Position {
        Position { next_sequence: self.last_sequence().wrapping_add(1), chain: self.header_checksum }
    }

    /// The place up to which it says that all was durable.
    pub(crate) fn durable_place(&self) -> Place {
        Place::from_units(self.durable_units, self.segment)
    }

    /// Number of the frame's last record.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.first_sequence.wrapping_add(u64::from(self.record_count)).wrapping_sub(1)
    }
}

impl SegmentHeader {
    /// Fills in the checksum of the header itself.
    pub(crate) fn seal(mut self) -> Self {
        self.header_checksum = self.computed();
        self
    }

    /// The header at the start of `bytes`, if it is whole.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let Ok((header, _)) = Self::read_from_prefix(bytes) else { return Err(Fault::NoSegmentHeader) };
        if header.magic != SEGMENT_MAGIC {
            return Err(Fault::NoSegmentHeader);
        }
        header.check()?;
        if !is_known(header.version) {
            return Err(Fault::Unsupported { version: header.version });
        }
        if u64::from(header.header_bytes) != BLOCK_BYTES || header.input_bytes as usize > INPUT_BYTES_MAX {
            return Err(Fault::Length { found: u64::from(header.header_bytes) });
        }
        check_numbers([header.first_sequence, header.number, header.epoch])?;
        header.outputs.check_numbers()?;
        if header.output_cores > OUTPUT_STREAMS_MAX as u64 {
            return Err(Fault::Number { found: header.output_cores });
        }
        Ok(header)
    }

    pub(crate) fn identity(&self) -> SegmentIdentity {
        Checksummed::identity(self)
    }

    /// Cores of the run that first recorded outputs, where that is known.
    pub(crate) fn known_output_cores(&self) -> Option<u32> {
        (self.output_cores > 0).then_some(self.output_cores as u32)
    }

    /// The place up to which it says that all was durable.
    pub(crate) fn durable_place(&self) -> Place {
        Place { segment: self.durable_segment, offset: self.durable_offset }
    }
}

impl SegmentFooter {
    /// Fills in the checksum of the footer itself.
    pub(crate) fn seal(mut self) -> Self {
        self.footer_checksum = self.computed();
        self
    }

    /// The footer at the start of `bytes`, if one stands there that is whole and belongs to *some* segment.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let Ok((footer, _)) = Self::read_from_prefix(bytes) else { return Err(Fault::NoFrame) };
        if footer.magic != FOOTER_MAGIC {
            return Err(Fault::NoFrame);
        }
        footer.check()?;
        if !is_known(footer.version) || Seal::from_number(footer.seal).is_none() {
            return Err(Fault::Unsupported { version: footer.version });
        }
        let index_bytes = u64::from(footer.index_bytes);
        let has_place = index_bytes.is_multiple_of(WRITE_UNIT_BYTES) && index_bytes < footer.offset;
        if u64::from(footer.footer_bytes) != BLOCK_BYTES || !(index_bytes == 0 || has_place && footer.version > 1) {
            return Err(Fault::Length { found: u64::from(footer.footer_bytes) });
        }
        check_numbers([footer.first_sequence, footer.last_sequence.saturating_add(1)])?;
        footer.outputs.check_numbers()?;
        Ok(footer)
    }

    /// Refuses a footer that belongs to another segment or to another place of this one.
    pub(crate) fn check_place(&self, expected: SegmentIdentity, offset: u64) -> Result<(), Fault> {
        check_place(self.identity(), self.offset, expected, offset)
    }

    pub(crate) fn identity(&self) -> SegmentIdentity {
        Checksummed::identity(self)
    }

    /// The place up to which it says that all was durable: where the frames end.
    pub(crate) fn durable_place(&self) -> Place {
        Place { segment: self.segment, offset: self.offset.saturating_sub(u64::from(self.index_bytes)) }
    }
}

/// Refuses numbers that are 0 or that no journal reaches.
pub(crate) fn check_numbers(numbers: impl IntoIterator<Item = u64>) -> Result<(), Fault> {
    let wrong = numbers.into_iter().find(|number| !(1..NUMBERS_END).contains(number));
    wrong.map_or(Ok(()), |found| Err(Fault::Number { found }))
}

/// Whether this package reads a version.
fn is_known(version: u32) -> bool {
    (FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version)
}

/// The number of bytes that a frame of `record_count` records takes on disk.
pub(crate) fn frame_bytes_for(record_count: usize) -> usize {
    (FRAME_HEADER_BYTES + record_count * RECORD_BYTES).next_multiple_of(WRITE_UNIT_BYTES as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    #[test]
    fn a_frame_states_a_place_or_one_before_it() {
        let place = |segment, offset| Place { segment, offset };
        let stated = |place: Place, segment| Place::from_units(place.to_units(segment), segment);
        for exact in [place(7, 4096), place(7, 40960), place(6, 4096), place(6, 1 << 40)] {
            assert_eq!(stated(exact, 7), exact);
        }
        assert_eq!(stated(place(5, 40960), 7), Place::start_of(6), "all of segment 5");
        assert!(stated(place(7, !4095), 7) < place(7, 1 << 43), "less than there is, where it has no room");
        assert_eq!(Place::from_units(0, 7), Place::default());
    }

    /// A frame with two records and two marks.
    fn frame() -> FrameHeader {
        FrameHeader {
            magic: FRAME_MAGIC,
            version: FORMAT_VERSION,
            header_bytes: FRAME_HEADER_BYTES as u32,
            frame_bytes: WRITE_UNIT_BYTES as u32,
            record_count: 2,
            record_kind: EVENT_RECORDS,
            first_sequence: 1,
            ..FrameHeader::new_zeroed()
        }
    }

    #[test]
    fn marks_are_of_inputs_in_their_frame() {
        let with = |stream, record| {
            let mut header = FrameHeader { stream, mark_count: 2, ..frame() };
            header.marks[1].record = record;
            // Not in use.
            header.marks[2].record = 99;
            FrameHeader::read(header.seal().as_bytes()).map(|_| ())
        };
        assert_eq!(with(INPUT_STREAM, 1), Ok(()));
        assert_eq!(with(INPUT_STREAM, 2), Err(Fault::MarkOfNoRecord { record: 2 }));
        assert_eq!(with(1, 1), Err(Fault::MarkOfNoRecord { record: 0 }));
    }

    #[test]
    fn numbers_that_no_journal_reaches_are_refused() {
        let read_frame =
            |first_sequence| FrameHeader::read(FrameHeader { first_sequence, ..frame() }.seal().as_bytes());
        assert!(read_frame(1).is_ok() && read_frame(NUMBERS_END - 1).is_ok());
        let mut outputs = OutputEnds::default();
        outputs.0[63].last_sequence = u64::MAX;
        let header = SegmentHeader {
            magic: SEGMENT_MAGIC,
            version: FORMAT_VERSION,
            header_bytes: BLOCK_BYTES as u32,
            epoch: 1,
            number: 1,
            first_sequence: 1,
            ..SegmentHeader::new_zeroed()
        };
        let footer = SegmentFooter {
            magic: FOOTER_MAGIC,
            version: FORMAT_VERSION,
            footer_bytes: BLOCK_BYTES as u32,
            seal: Seal::Full as u32,
            first_sequence: 1,
            ..SegmentFooter::new_zeroed()
        };
        let read_header = |header: SegmentHeader| SegmentHeader::read(header.seal().as_bytes()).map(|_| ());
        let read_footer = |footer: SegmentFooter| SegmentFooter::read(footer.seal().as_bytes()).map(|_| ());
        assert_eq!((read_header(header), read_footer(footer)), (Ok(()), Ok(())));
        for found in [0, NUMBERS_END, u64::MAX] {
            let refused = Err(Fault::Number { found });
            assert_eq!(read_frame(found).map(|_| ()), refused);
            assert_eq!(read_header(SegmentHeader { first_sequence: found, ..header }), refused);
            assert_eq!(read_header(SegmentHeader { number: found, ..header }), refused);
            assert_eq!(read_header(SegmentHeader { epoch: found, ..header }), refused);
            assert_eq!(read_footer(SegmentFooter { first_sequence: found, ..footer }), refused);
        }
        assert!(read_footer(SegmentFooter { last_sequence: u64::MAX, ..footer }).is_err());
        assert!(read_header(SegmentHeader { outputs, ..header }).is_err());
        assert_eq!(read_header(SegmentHeader { output_cores: 64, ..header }), Ok(()));
        assert_eq!(read_header(SegmentHeader { output_cores: 65, ..header }), Err(Fault::Number { found: 65 }));
        assert!(read_footer(SegmentFooter { outputs, ..footer }).is_err());
    }
}
