//! The outputs of cores in a seeded run, and marks: what was appended beside the inputs, and what of it has to come back.

use super::Random;
use super::disk::Disk;
use crate::fault::{OpenError, ReadError};
use crate::format::{BLOCK_BYTES, FRAME_HEADER_BYTES, FrameHeader, Place, SegmentFooter, SegmentHeader};
use crate::medium::Medium;
use crate::options::{Metadata, Options};
use crate::reader::{Reader, Tail};
use crate::recovery::Recovery;
use crate::seek::Start;
use crate::stream::Stream;
use crate::walk::Positions;
use crate::writer::{AppendError, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;
use tickcore_book::{Event, InstrumentId, Kind, OrderId, Sequence, TimestampNs};
use zerocopy::IntoBytes;

/// Cores that have outputs in a run at most.
pub(super) const CORES: u16 = 3;
/// Channels of the inputs in a run: more than one frame has marks.
const CHANNELS: u64 = 10;

/// How a stream of outputs ended when it was read: its last record, and why.
pub(super) type Read = Result<(u64, Option<ReadError>, Tail), OpenError>;

fn output(core: u16, number: u64) -> Event {
    let mut event = Event::new(Kind::OrderIntent, InstrumentId(u32::from(core) + 1), TimestampNs(number / 2));
    event.order_id = OrderId(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(core));
    event
}

/// The number that a venue has for an input in a channel.
fn venue_sequence(channel: u32, sequence: u64) -> u64 {
    sequence * 7 + u64::from(channel)
}

/// Marks the input that is appended next, or not.
pub(super) fn mark(writer: &mut Writer, random: &mut Random) {
    let channel = random.below(CHANNELS) as u32;
    if random.chance(30) && (!writer.has_mark(channel) || random.chance(50)) {
        let is_gap = random.chance(20);
        writer.mark(channel, venue_sequence(channel, writer.next_sequence().0), is_gap);
    }
}

/// Every mark of the batch that was just read is of a record that was marked so.
pub(super) fn check_marks(reader: &Reader) {
    for mark in reader.marks() {
        let is_right = mark.venue_sequence == venue_sequence(mark.channel, mark.sequence.0);
        assert!(is_right && mark.sequence < reader.next_sequence(), "{mark:?} was said of no record");
    }
}

/// What a run knows of the outputs of one core, as of its inputs.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    appended: u64,
    written: u64,
    durable: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Outputs {
    known: [Known; CORES as usize],
    /// Cores whose outputs the writer at hand takes.
    pub(super) taken: u16,
}

impl Outputs {
    fn cores(&mut self) -> impl Iterator<Item = (u16, &mut Known)> {
        (0..).zip(&mut self.known)
    }

    /// Appends some outputs of some cores.
    pub(super) fn append(&mut self, writer: &mut Writer, random: &mut Random) -> Result<(), String> {
        let taken = self.taken;
        for (core, known) in self.cores().take(taken.into()) {
            if random.chance(50) {
                continue;
            }
            let count = if random.chance(30) { random.below(200) } else { random.below(6) };
            for _ in 0..count {
                let number = known.appended + 1;
                match writer.append_output(core, Sequence(number), &output(core, number)) {
                    Ok(()) => known.appended = number,
                    Err(AppendError::Full | AppendError::Failed(_)) => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
        Ok(())
    }

    /// Whether all that was appended is written.
    pub(super) fn are_written(&self, writer: &Writer) -> bool {
        let mut taken = (0..self.taken).zip(&self.known);
        taken.all(|(core, known)| writer.output_watermarks(core).written.0 == known.appended)
    }

    /// Notes what the writer promises, which never goes back.
    pub(super) fn note(&mut self, writer: &Writer) -> Result<(), String> {
        let taken = self.taken;
        for (core, known) in self.cores().take(taken.into()) {
            let found = writer.output_watermarks(core);
            let (written, durable) = (found.written.0, found.durable.0);
            let is_possible = durable <= written && written <= known.appended;
            if !is_possible || written < known.written || durable < known.durable {
                return Err(format!("outputs of core {core}: watermarks {found:?} after {known:?}"));
            }
            (known.written, known.durable) = (written, durable);
        }
        Ok(())
    }

    /// The writer finished.
    pub(super) fn finish(&mut self) {
        self.known.iter_mut().for_each(|known| (known.written, known.durable) = (known.appended, known.appended));
    }

    /// Only what was durable is promised from now on.
    pub(super) fn lose_written(&mut self) {
        self.known.iter_mut().for_each(|known| known.written = known.durable);
    }

    /// Takes what recovery found, which is all that was promised and nothing that was not appended.
    pub(super) fn take_recovered(&mut self, recovery: &Recovery) -> Result<(), String> {
        for (core, known) in self.cores() {
            let last = last_of(recovery, core);
            if last < known.written || last > known.appended {
                return Err(format!("outputs of core {core}: {last} came back of {known:?}"));
            }
            *known = Known { appended: last, written: last, durable: last };
        }
        Ok(())
    }

    /// Takes what recovery found of a journal that was damaged.
    pub(super) fn take_repaired(&mut self, recovery: &Recovery) {
        self.cores().for_each(|(core, known)| {
            let last = last_of(recovery, core);
            *known = Known { appended: last, written: last, durable: last };
        });
    }

    /// A reader beside the writer sees all that is written, and calls nothing damaged.
    pub(super) fn read_along(
        &self,
        medium: &Arc<dyn Medium>,
        core: u16,
        is_dead: impl Fn() -> bool,
    ) -> Result<(), String> {
        let known = self.known[usize::from(core)];
        match read(medium, core, 0) {
            _ if is_dead() => Ok(()),
            Ok((last, None, _)) if (known.written..=known.appended).contains(&last) => Ok(()),
            other => Err(format!("a reader beside the writer saw of core {core} {other:?}, of {known:?}")),
        }
    }

    /// All outputs are there, from the first and from any other.
    pub(super) fn check_whole(&self, medium: &Arc<dyn Medium>, random: &mut Random) -> Result<(), String> {
        for (core, known) in (0..).zip(&self.known) {
            for after in [0, random.below(known.appended + 1)] {
                match read(medium, core, after) {
                    Ok((last, None, _)) if last == known.appended => {}
                    other => return Err(format!("of {known:?} of core {core} from {after} on came back {other:?}")),
                }
            }
        }
        Ok(())
    }
}

fn last_of(recovery: &Recovery, core: u16) -> u64 {
    let found = recovery.outputs.iter().find(|(stream, _)| *stream == Stream::outputs_of(core));
    found.map_or(0, |(_, last)| last.0)
}

/// Where to begin behind some record: behind none at the very beginning, where segments before the first are looked at too.
pub(super) fn start_behind(after: u64) -> Start {
    if after == 0 { Start::Beginning } else { Start::Sequence(Sequence(after + 1)) }
}

/// Reads the outputs of a core behind some record, as far as it goes.
pub(super) fn read(medium: &Arc<dyn Medium>, core: u16, after: u64) -> Read {
    let stream = Stream::outputs_of(core);
    let first = Reader::open_on(medium, stream, Start::Beginning)?.next_sequence().0;
    let mut reader = Reader::open_on(medium, stream, start_behind(after))?;
    let mut last = after.max(first - 1);
    let mut is_first = true;
    let error = loop {
        match reader.next_batch() {
            Ok(Some(records)) => {
                for record in records {
                    // Retention may have let go of what was before.
                    last = if is_first { record.sequence.0.max(last + 1) } else { last + 1 };
                    is_first = false;
                    let is_right = record.sequence == Sequence(last) && record.event == output(core, last);
                    assert!(is_right, "output {last} of core {core} is not what was appended: {record:?}");
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    Ok((last, error, reader.tail().clone()))
}

/// How far the outputs of each core can be read; `None` where that ends with an error.
pub(super) fn read_all(medium: &Arc<dyn Medium>) -> [Option<u64>; CORES as usize] {
    core::array::from_fn(|core| match read(medium, core as u16, 0) {
        Ok((last, None, _)) => Some(last),
        _ => None,
    })
}

/// A frame of a segment that validates where it stands.
pub(super) struct SoundFrame<'b> {
    pub(super) header: FrameHeader,
    pub(super) offset: usize,
    pub(super) bytes: &'b [u8],
}

impl SoundFrame<'_> {
    pub(super) fn place(&self) -> Place {
        Place { segment: self.header.segment, offset: self.header.offset }
    }
}

/// Every frame of a segment that validates where it stands.
pub(super) fn frames(bytes: &[u8]) -> Vec<SoundFrame<'_>> {
    let unit = BLOCK_BYTES as usize;
    let Some(Ok(header)) = bytes.get(..unit).map(SegmentHeader::read) else { return Vec::new() };
    let seed = header.identity().seed();
    let mut frames = Vec::new();
    for offset in (unit..bytes.len()).step_by(unit) {
        let Ok(frame) = FrameHeader::read(&bytes[offset..]) else { continue };
        let Some(whole) = bytes.get(offset..offset + frame.frame_bytes as usize) else { continue };
        let is_sound = frame.check_place(header.identity(), offset as u64).is_ok()
            && seed.checksum(&whole[FRAME_HEADER_BYTES..]) == frame.payload_checksum;
        if is_sound {
            frames.push(SoundFrame { header: frame, offset, bytes: whole });
        }
    }
    frames
}

/// Frames of a torn tail that recovery cut. They still stand in a file whose trimming was lost with the machine, before places
/// that later segments call durable: no word is about them.
pub(super) struct Cuts {
    /// Where the frames of a segment end.
    footers: BTreeMap<u64, u64>,
    /// What the next segment's header says that the streams go on with.
    ends: BTreeMap<u64, Positions>,
}

impl Cuts {
    pub(super) fn of(contents: &BTreeMap<String, Vec<u8>>) -> Self {
        let (mut footers, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for (_, bytes) in segments(contents) {
            let units = || (0..).step_by(BLOCK_BYTES as usize).zip(bytes.chunks_exact(BLOCK_BYTES as usize));
            let Some(Ok(header)) = units().next().map(|(_, unit)| SegmentHeader::read(unit)) else { continue };
            ends.insert(header.number.wrapping_sub(1), Positions::of_header(&header));
            let is_footer = |offset, unit: &[u8]| {
                SegmentFooter::read(unit).is_ok_and(|footer| footer.check_place(header.identity(), offset).is_ok())
            };
            if let Some((offset, _)) = units().find(|&(offset, unit)| is_footer(offset, unit)) {
                footers.insert(header.number, offset);
            }
        }
        Self { footers, ends }
    }

    pub(super) fn has(&self, frame: &FrameHeader) -> bool {
        let is_behind_footer = self.footers.get(&frame.segment).is_some_and(|&footer| frame.offset > footer);
        let end = self.ends.get(&frame.segment).map(|end| end.of_stream(frame.stream));
        is_behind_footer || end.is_some_and(|end| frame.last_sequence() >= end.next_sequence)
    }
}

/// The segments among the files, but for compacted ones.
pub(super) fn segments(contents: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    contents.iter().filter(|(name, _)| name.ends_with(".tcj"))
}

/// The last output of each core in the frames that begin before a place: what a statement that these were durable is worth.
pub(super) fn lasts_before(place: Place, contents: &BTreeMap<String, Vec<u8>>) -> [u64; CORES as usize] {
    let mut lasts = [0; CORES as usize];
    let cuts = Cuts::of(contents);
    let found = segments(contents).flat_map(|(_, bytes)| frames(bytes));
    for SoundFrame { header, .. } in found.filter(|frame| frame.place() < place && !cuts.has(&frame.header)) {
        if let Some(last) = lasts.get_mut((header.stream as usize).wrapping_sub(1)) {
            *last = header.last_sequence().max(*last);
        }
    }
    lasts
}

/// A later segment goes on where a torn tail was cut: its place says nothing of what was cut, and everything of what was not.
#[test]
fn a_later_place_says_nothing_of_what_was_cut() {
    let disk = Disk::new(Random::new(1));
    let options = Options { output_streams: 1, staging_bytes: 8 << 20, ..Options::default() };
    let mut writer = Writer::create_on(&disk.medium(), options, Metadata::default(), |storage| storage).unwrap();
    writer.append_output(0, Sequence(1), &output(0, 1)).unwrap();
    writer.flush().unwrap();
    let mut contents = disk.state().contents();
    let first = contents["segment-000001.tcj"].clone();
    let frame = frames(&first)[0].header;
    let mut next = SegmentHeader::read(&first[..BLOCK_BYTES as usize]).unwrap();
    (next.number, next.epoch) = (2, 2);
    let place = Place { segment: 2, offset: BLOCK_BYTES };
    for is_cut in [true, false] {
        if !is_cut {
            next.outputs.set(1, frame.end_position());
        }
        contents.insert("segment-000002.tcj".to_owned(), next.seal().as_bytes().to_vec());
        let expected = if is_cut { 0 } else { 1 };
        assert_eq!(lasts_before(place, &contents)[0], expected);
        assert_eq!(Cuts::of(&contents).has(&frame), is_cut);
    }
}
