//! Walking through one segment, frame by frame, with every check on; and judging the place where no frame follows.
//!
//! Reader, `verify` and recovery all go through here, so they agree on what is valid, what is a torn tail and what is
//! damage.

use crate::checksum::Seed;
use crate::defence::{Defence, stands};
use crate::directory::{Catalog, Window};
use crate::fault::Fault;
use crate::format::{
    BLOCK_BYTES, FOOTER_MAGIC, FRAME_HEADER_BYTES, FRAME_HEADER_RECORDS, FrameHeader, Place, RECORD_BYTES, Record,
    Seal, SegmentFooter, SegmentHeader,
};
use crate::index::{INDEX_MAGIC, IndexEntry, IndexHeader, read_entries};
use crate::mark::LastMarks;
use crate::stream::{INPUT_STREAM, OutputEnds, UnknownStreams, check_output};
use std::io;
use tickcore_book::Sequence;
use zerocopy::FromBytes;

/// Where the record numbers and the checksum chain of a stream stand; where nothing else is said, those of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The sequence that must come next.
    pub(crate) next_sequence: u64,
    /// Header checksum of the last frame, 0 before the first.
    pub(crate) chain: u64,
}

impl Position {
    /// Before the first record of a stream.
    pub(crate) const START: Self = Self { next_sequence: 1, chain: 0 };

    /// Where a segment says it begins.
    pub(crate) fn of_header(header: &SegmentHeader) -> Self {
        Self { next_sequence: header.first_sequence, chain: header.previous_checksum }
    }

    /// Where a segment says it ends.
    pub(crate) fn of_footer(footer: &SegmentFooter) -> Self {
        Self { next_sequence: footer.last_sequence.wrapping_add(1), chain: footer.last_checksum }
    }

    /// Refuses something that states to follow `found`.
    pub(crate) fn check(self, found: Self) -> Result<(), Fault> {
        if found.next_sequence != self.next_sequence {
            let (expected, found) = (Sequence(self.next_sequence), Sequence(found.next_sequence));
            return Err(Fault::SequenceBroken { expected, found });
        }
        if found.chain != self.chain && stands(Defence::Chain) {
            return Err(Fault::ChainBroken { expected: self.chain, found: found.chain });
        }
        Ok(())
    }
}

/// Where all streams stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    pub(crate) inputs: Position,
    pub(crate) outputs: OutputEnds,
}

impl Positions {
    /// Where a segment says it begins.
    pub(crate) fn of_header(header: &SegmentHeader) -> Self {
        Self { inputs: Position::of_header(header), outputs: header.outputs }
    }

    /// Where a segment says it ends.
    pub(crate) fn of_footer(footer: &SegmentFooter) -> Self {
        Self { inputs: Position::of_footer(footer), outputs: footer.outputs }
    }

    /// Where the stream of this number stands.
    pub(crate) fn of_stream(&self, stream: u32) -> Position {
        if stream == INPUT_STREAM { self.inputs } else { self.outputs.position(stream) }
    }

    /// Refuses a segment that begins with `found`.
    pub(crate) fn check(&self, found: &Self) -> Result<(), Fault> {
        self.check_known(found, UnknownStreams::NONE)
    }

    fn check_known(&self, found: &Self, unknown: UnknownStreams) -> Result<(), Fault> {
        if !unknown.has(INPUT_STREAM) {
            self.inputs.check(found.inputs)?;
        }
        if stands(Defence::OutputsGoOn) { self.outputs.check(&found.outputs, unknown) } else { Ok(()) }
    }
}

/// What the frames of a segment add up to: what its footer states. Times and marks are those of the inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) frame_count: u64,
    pub(crate) record_count: u64,
    /// Whether there are inputs among them.
    has_inputs: bool,
    pub(crate) first_time: u64,
    pub(crate) last_time: u64,
    pub(crate) highest_time: u64,
    pub(crate) digest: u64,
    pub(crate) marks: LastMarks,
}

impl Tally {
    /// Adds a frame.
    pub(crate) fn add(&mut self, seed: Seed, frame: &FrameHeader) {
        if frame.stream == INPUT_STREAM {
            if !core::mem::replace(&mut self.has_inputs, true) {
                self.first_time = frame.first_time;
            }
            self.last_time = frame.last_time;
            self.highest_time = self.highest_time.max(frame.highest_time);
            self.marks.note(frame);
        }
        self.frame_count += 1;
        self.record_count += u64::from(frame.record_count);
        self.digest = seed.fold(self.digest, frame.header_checksum);
    }

    /// The footer of a segment with these frames, which end at `positions`; it stands at `offset`, behind an index of
    /// `index_bytes`. Its version is the segment's.
    pub(crate) fn footer(
        &self,
        header: &SegmentHeader,
        offset: u64,
        index_bytes: u32,
        positions: &Positions,
        seal: Seal,
    ) -> SegmentFooter {
        let position = positions.inputs;
        SegmentFooter {
            magic: FOOTER_MAGIC,
            version: header.version,
            footer_bytes: BLOCK_BYTES as u32,
            journal: header.journal,
            epoch: header.epoch,
            segment: header.number,
            offset,
            frame_count: self.frame_count,
            record_count: self.record_count,
            first_sequence: header.first_sequence,
            last_sequence: position.next_sequence.wrapping_sub(1),
            first_time: self.first_time,
            last_time: self.last_time,
            digest: self.digest,
            last_checksum: position.chain,
            seal: seal as u32,
            index_bytes,
            highest_time: self.highest_time,
            outputs: positions.outputs,
            marks: self.marks,
            reserved: [0; 173],
            footer_checksum: 0,
        }
        .seal()
    }
}

/// What stands at the next place of a segment.
#[derive(Debug)]
pub(crate) enum Step {
    /// A valid frame; [`Walk::records`] gives its records until the next step.
    Frame,
    /// A valid footer: the segment ends here.
    Footer(Box<SegmentFooter>),
    /// Neither.
    Bad(Fault),
}

/// A walk through one segment.
pub(crate) struct Walk {
    pub(crate) window: Window,
    pub(crate) header: SegmentHeader,
    pub(crate) offset: u64,
    pub(crate) positions: Positions,
    /// Streams whose position is none that was found on the way.
    unknown: UnknownStreams,
    /// Where the last step met its fault: here, or at the footer behind the index that stands here.
    pub(crate) fault_offset: u64,
    pub(crate) tally: Tally,
    /// False once frames were skipped, so that the tally is not the footer's.
    is_tally_whole: bool,
    seed: Seed,
    /// The header of the last frame.
    frame: Option<FrameHeader>,
    /// What an index may say of the frames of inputs so far.
    frames: Vec<IndexEntry>,
    /// Length of the index that was passed, 0 if none was.
    index_bytes: u32,
}

impl Walk {
    /// A walk from the segment's first frame, which must follow what the segment's header states.
    pub(crate) fn new(window: Window, header: SegmentHeader) -> Self {
        Self {
            window,
            header,
            offset: BLOCK_BYTES,
            positions: Positions::of_header(&header),
            unknown: UnknownStreams::NONE,
            fault_offset: BLOCK_BYTES,
            tally: Tally::default(),
            is_tally_whole: true,
            seed: header.identity().seed(),
            frame: None,
            frames: Vec::new(),
            index_bytes: 0,
        }
    }

    /// Checks what stands here, and moves behind it if it is a frame.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        self.fault_offset = self.offset;
        let unit = self.window.at(self.offset, BLOCK_BYTES as usize)?;
        if (unit.len() as u64) < BLOCK_BYTES {
            return Ok(Step::Bad(Fault::CutShort { length: self.window.length()? }));
        }
        if unit.starts_with(&INDEX_MAGIC) {
            return self.step_over_index();
        }
        if unit.starts_with(&FOOTER_MAGIC) {
            let footer = SegmentFooter::read(unit);
            return Ok(match footer.and_then(|footer| self.take_footer(footer)) {
                Ok(footer) => Step::Footer(footer),
                Err(fault) => Step::Bad(fault),
            });
        }
        let frame = match FrameHeader::read(unit).and_then(|frame| self.check_header(&frame).map(|()| frame)) {
            Ok(frame) => frame,
            Err(fault) => return Ok(Step::Bad(fault)),
        };
        let bytes = self.window.at(self.offset, frame.frame_bytes as usize)?;
        if bytes.len() < frame.frame_bytes as usize {
            return Ok(Step::Bad(Fault::CutShort { length: self.window.length()? }));
        }
        let (stated, computed) = (frame.payload_checksum, self.seed.checksum(&bytes[FRAME_HEADER_BYTES..]));
        if stated != computed && stands(Defence::PayloadChecksum) {
            return Ok(Step::Bad(Fault::PayloadChecksum { stated, computed }));
        }
        if let Err(fault) = check_records(self.records_of(&frame), &frame) {
            return Ok(Step::Bad(fault));
        }
        self.frame = Some(frame);
        self.unknown.remove(frame.stream);
        if frame.stream == INPUT_STREAM {
            self.frames.push(IndexEntry {
                first_sequence: frame.first_sequence,
                offset: self.offset,
                highest_time_before: self.tally.highest_time,
            });
            self.positions.inputs = frame.end_position();
        } else {
            self.positions.outputs.set(frame.stream, frame.end_position());
        }
        self.offset += u64::from(frame.frame_bytes);
        self.tally.add(self.seed, &frame);
        Ok(Step::Frame)
    }

    /// Steps over all frames that come here: to the footer, or to what is neither. `progress` gets the offset behind each frame.
    pub(crate) fn walk_to_end(
        &mut self,
        mut progress: impl FnMut(u64),
    ) -> io::Result<Result<Box<SegmentFooter>, Fault>> {
        loop {
            match self.step()? {
                Step::Frame => progress(self.offset),
                Step::Footer(footer) => return Ok(Ok(footer)),
                Step::Bad(fault) => return Ok(Err(fault)),
            }
        }
    }

    /// Checks the index that stands here and the footer that must follow. Moves to the footer if both are good.
    fn step_over_index(&mut self) -> io::Result<Step> {
        let identity = self.header.identity();
        let unit = self.window.at(self.offset, BLOCK_BYTES as usize)?;
        let length = match IndexHeader::read(unit, identity) {
            Ok(header) => header.index_bytes,
            Err(fault) => return Ok(Step::Bad(fault)),
        };
        let footer_offset = self.offset + u64::from(length);
        let bytes = self.window.at(self.offset, length as usize + BLOCK_BYTES as usize)?;
        let Some((index, unit)) = bytes.split_at_checked(length as usize) else {
            return Ok(Step::Bad(Fault::CutShort { length: self.window.length()? }));
        };
        let checked = read_entries(index, self.seed).and_then(|entries| {
            let is_known = |entry: &IndexEntry| {
                self.frames
                    .binary_search_by_key(&entry.offset, |frame| frame.offset)
                    .is_ok_and(|place| self.frames[place] == *entry)
            };
            if self.is_tally_whole && !entries.iter().all(is_known) { Err(Fault::FooterMismatch) } else { Ok(()) }
        });
        if checked.is_ok() {
            self.fault_offset = footer_offset;
        }
        let footer = checked.and_then(|()| SegmentFooter::read(unit));
        let offset = core::mem::replace(&mut self.offset, footer_offset);
        self.index_bytes = length;
        match footer.and_then(|footer| self.take_footer(footer)) {
            Ok(footer) => Ok(Step::Footer(footer)),
            Err(fault) => {
                (self.offset, self.index_bytes) = (offset, 0);
                Ok(Step::Bad(fault))
            }
        }
    }

    /// [`Walk::step`] on what stands here now: a writer may have come by since a fault was seen.
    pub(crate) fn step_again(&mut self) -> io::Result<Step> {
        self.window.refresh();
        self.step()
    }

    /// The records of the frame that the last step found.
    pub(crate) fn records(&self) -> &[Record] {
        self.frame.as_ref().map_or(&[], |frame| self.records_of(frame))
    }

    /// The header of that frame.
    pub(crate) fn frame(&self) -> Option<&FrameHeader> {
        self.frame.as_ref()
    }

    /// The records of a frame that was just read.
    fn records_of(&self, frame: &FrameHeader) -> &[Record] {
        let length = (FRAME_HEADER_RECORDS + frame.record_count as usize) * RECORD_BYTES;
        let bytes = self.window.cached(frame.offset, length);
        <[Record]>::ref_from_bytes(bytes).map_or(&[], |records| &records[FRAME_HEADER_RECORDS.min(records.len())..])
    }

    /// Goes on at `offset` with a frame of the inputs that says it follows `position`, or with anything: what lay between is
    /// lost or skipped, and each stream is where its next frame says.
    pub(crate) fn resume_at(&mut self, offset: u64, position: Option<Position>) {
        self.offset = offset;
        self.positions.inputs = position.unwrap_or(self.positions.inputs);
        self.unknown = UnknownStreams::ALL;
        self.is_tally_whole = false;
    }

    /// Refuses a next segment that does not begin where this one ends.
    pub(crate) fn check_next(&self, next: &SegmentHeader) -> Result<(), Fault> {
        self.positions.check_known(&Positions::of_header(next), self.unknown)
    }

    fn check_header(&self, frame: &FrameHeader) -> Result<(), Fault> {
        frame.check_place(self.header.identity(), self.offset)?;
        if self.unknown.has(frame.stream) {
            return Ok(());
        }
        let expected = self.positions.of_stream(frame.stream);
        if frame.stream == INPUT_STREAM {
            expected.check(frame.position())
        } else {
            check_output(frame.stream, expected, frame.position())
        }
    }

    /// Checks a footer. Where streams stand of which nothing else is known, it says.
    fn take_footer(&mut self, footer: SegmentFooter) -> Result<Box<SegmentFooter>, Fault> {
        footer.check_place(self.header.identity(), self.offset)?;
        let stated = Positions::of_footer(&footer);
        if !self.unknown.has(INPUT_STREAM) {
            self.positions.inputs.check(stated.inputs)?;
        }
        self.positions.outputs.check(&stated.outputs, self.unknown)?;
        let expected = match Seal::from_number(footer.seal) {
            Some(seal) => self.tally.footer(&self.header, self.offset, self.index_bytes, &self.positions, seal),
            None => return Err(Fault::FooterMismatch),
        };
        if footer != expected && self.is_tally_whole {
            return Err(Fault::FooterMismatch);
        }
        (self.positions, self.unknown) = (stated, UnknownStreams::NONE);
        Ok(Box::new(footer))
    }
}

fn check_records(records: &[Record], frame: &FrameHeader) -> Result<(), Fault> {
    let mut highest_time = 0;
    for (record, number) in records.iter().zip(0_u64..) {
        let expected = Sequence(frame.first_sequence.wrapping_add(number));
        if record.sequence != expected {
            return Err(Fault::SequenceBroken { expected, found: record.sequence });
        }
        highest_time = record.event.exchange_time.0.max(highest_time);
    }
    if frame.version > 1 && frame.highest_time != highest_time {
        return Err(Fault::HighestTime { stated: frame.highest_time, found: highest_time });
    }
    Ok(())
}

/// What the end of the valid frames of a segment without a footer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next segment takes up exactly here; only the footer was not written yet.
    Continues,
    /// Nothing was written behind here.
    Unsealed,
    /// What stands behind here had not become durable when the writer stopped: so many bytes.
    Torn { bytes: u64 },
    /// Something durable is lost, or no crash can explain what stands here.
    Damage(Fault),
}

/// Judges the place where `walk`, on segment `index`, met `fault`.
///
/// A crash can undo only what was not durable. So what stands here is damage if a valid structure anywhere behind says
/// that the missing sequence was durable, or, of whatever stream the missing frame was, all before a later place; if the file was trimmed (which happens after its footer became durable), or if
/// whole frames stand where they do not belong. Otherwise it is the torn tail.
pub(crate) fn judge(catalog: &Catalog, index: usize, walk: &mut Walk, fault: Fault) -> io::Result<Verdict> {
    if fault.is_misplaced() || walk.window.length()? < walk.header.prepared_bytes {
        return Ok(Verdict::Damage(fault));
    }
    let later = &catalog.segments[index + 1..];
    if let Some(next) = later.first()
        && next.header.number == walk.header.number.wrapping_add(1)
        && walk.check_next(&next.header).is_ok()
    {
        return Ok(Verdict::Continues);
    }
    let survey = walk.window.survey(walk.offset, Some(walk.header.identity()))?;
    let mut durable = survey.durable.max(catalog.checkpoint_claim());
    let mut durable_place = survey.durable_place;
    for (number, next) in later.iter().enumerate() {
        let survey = catalog.open(index + 1 + number)?.survey(BLOCK_BYTES, Some(next.header.identity()))?;
        if survey.frame_count > 0 && next.header.version == 1 {
            // In version 1 frames came into a segment only after those of the one before were durable.
            return Ok(Verdict::Damage(fault));
        }
        durable = durable.max(next.header.durable_sequence).max(survey.durable);
        durable_place = durable_place.max(next.header.durable_place()).max(survey.durable_place);
    }
    let here = Place { segment: walk.header.number, offset: walk.offset };
    let was_durable =
        durable >= walk.positions.inputs.next_sequence || durable_place > here && stands(Defence::DurablePlaces);
    Ok(if was_durable && stands(Defence::DurableClaims) {
        Verdict::Damage(fault)
    } else if survey.end == walk.offset {
        Verdict::Unsealed
    } else {
        Verdict::Torn { bytes: survey.end - walk.offset }
    })
}
