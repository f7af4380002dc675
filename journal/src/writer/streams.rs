//! The streams of a writer: the inputs, and the outputs of each core, each with an open frame and numbers of its own.

use super::{AppendError, Writer};
use crate::format::{FRAME_HEADER_RECORDS, RECORD_BYTES};
use crate::mark::FrameMark;
use crate::memory::{Block, write_past_caches};
use crate::options::Watermarks;
use crate::stream::{INPUT_STREAM, OutputEnds};
use crate::walk::Position;
use std::time::Duration;
use tickcore_book::{Event, Sequence};

/// An open frame is closed for a mark that it had no room for when it was at least this part of a full one then.
const CLOSED_FOR_MARK_PART: u32 = 4;

/// The frame that records are appended to. `position` is where the next record goes, in records from the block's start.
pub(super) struct OpenFrame {
    pub(super) block: Block,
    pub(super) position: usize,
    /// Frames of other streams that had their places when it was opened.
    pub(super) others_placed: u64,
}

/// One stream on its way to the disk.
pub(super) struct WriterStream {
    /// As frames state it.
    pub(super) number: u32,
    /// The record that comes next.
    pub(super) next_sequence: u64,
    pub(super) open: Option<OpenFrame>,
    /// When the open frame was first seen waiting, if it lingers.
    pub(super) open_since: Option<Duration>,
    /// Its frames that have their places.
    pub(super) frame_count: u64,
    /// Where these end.
    pub(super) placed: Position,
    /// Where those of the segment that is being left end.
    pub(super) leaving_last: u64,
    pub(super) written: u64,
    /// The last record that the sync under way covers.
    pub(super) covered: u64,
    pub(super) durable: u64,
    published: Watermarks,
}

impl WriterStream {
    /// A stream of which everything before `position` is durable.
    pub(super) fn new(number: u32, position: Position) -> Self {
        let last = position.next_sequence - 1;
        Self {
            number,
            next_sequence: position.next_sequence,
            open: None,
            open_since: None,
            frame_count: 0,
            placed: position,
            leaving_last: last,
            written: last,
            covered: last,
            durable: last,
            published: Watermarks { written: Sequence(last), durable: Sequence(last) },
        }
    }

    /// Copies a record into the open frame. `false` where there is none, or it is full, or another record must come next.
    #[inline(always)]
    pub(super) fn append(&mut self, sequence: Sequence, event: &Event) -> bool {
        if sequence.0 == self.next_sequence
            && let Some(open) = &mut self.open
            && let Some(record) = open.block.records_mut().get_mut(open.position)
        {
            write_past_caches(record, sequence, event);
            open.position += 1;
            self.next_sequence += 1;
            return true;
        }
        false
    }

    /// The last record that was appended.
    pub(super) fn last(&self) -> u64 {
        self.next_sequence - 1
    }

    pub(super) fn watermarks(&self) -> Watermarks {
        Watermarks { written: Sequence(self.written), durable: Sequence(self.durable) }
    }

    /// The watermarks, if they moved since this was asked last.
    pub(super) fn take_moved(&mut self) -> Option<Watermarks> {
        let found = self.watermarks();
        let has_moved = found != self.published;
        if has_moved {
            self.published = found;
        }
        has_moved.then_some(found)
    }
}

impl Writer {
    /// Copies a record into the staging. It is on its way to the disk once the writer was polled.
    ///
    /// # Errors
    /// If there is no room, if `sequence` is not the one after the last, or if the writer is poisoned. Nothing was
    /// taken then.
    #[inline]
    pub fn append(&mut self, sequence: Sequence, event: &Event) -> Result<(), AppendError> {
        if self.inputs.append(sequence, event) {
            return Ok(());
        }
        self.append_to_next_block(0, sequence, event)
    }

    /// Copies a record of a core's outputs into the staging, beside the inputs and without waiting for them. Numbers count
    /// from 1 for each core.
    ///
    /// # Errors
    /// As [`Writer::append`], and if the core is not among [`Options::output_streams`](crate::Options::output_streams).
    #[inline]
    pub fn append_output(&mut self, core: u16, number: Sequence, event: &Event) -> Result<(), AppendError> {
        let Some(stream) = self.outputs.get_mut(usize::from(core)) else { return Err(AppendError::NoStream { core }) };
        if stream.append(number, event) {
            return Ok(());
        }
        self.append_to_next_block(1 + usize::from(core), number, event)
    }

    /// An append when there is no open frame or it is full.
    #[cold]
    #[inline(never)]
    fn append_to_next_block(&mut self, index: usize, sequence: Sequence, event: &Event) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        let expected = Sequence(self.stream(index).next_sequence);
        if sequence != expected {
            return Err(AppendError::Discontinuous { expected, found: sequence });
        }
        let Some(mut block) = self.pool.take() else { return Err(AppendError::Full) };
        self.close_frame(index);
        write_past_caches(&mut block.records_mut()[FRAME_HEADER_RECORDS], sequence, event);
        let others_placed = self.others_placed(index);
        let stream = self.stream_mut(index);
        stream.open = Some(OpenFrame { block, position: FRAME_HEADER_RECORDS + 1, others_placed });
        stream.next_sequence += 1;
        Ok(())
    }

    /// Records that can be appended now without polling. 0 when the staging is full or the writer is poisoned. The streams
    /// share the staging: what is appended to another one takes of it. [`Writer::mark`] takes nothing of it.
    #[inline]
    pub fn room(&self) -> usize {
        self.room_of(&self.inputs)
    }

    /// As [`Writer::room`], for the outputs of a core; 0 for one that this writer does not take.
    #[inline]
    pub fn output_room(&self, core: u16) -> usize {
        self.outputs.get(usize::from(core)).map_or(0, |stream| self.room_of(stream))
    }

    #[inline]
    fn room_of(&self, stream: &WriterStream) -> usize {
        if self.failure.is_some() {
            return 0;
        }
        let records_per_frame = self.records_per_frame();
        let in_open = stream.open.as_ref().map_or(0, |open| records_per_frame + FRAME_HEADER_RECORDS - open.position);
        in_open + self.pool.free_count() * records_per_frame
    }

    #[inline]
    fn records_per_frame(&self) -> usize {
        self.options.frame_bytes as usize / RECORD_BYTES - FRAME_HEADER_RECORDS
    }

    /// The number of the outputs' record that must be appended next; 1 for a core that this writer does not take.
    pub fn next_output(&self, core: u16) -> Sequence {
        Sequence(self.outputs.get(usize::from(core)).map_or(1, |stream| stream.next_sequence))
    }

    /// How far the outputs of a core got.
    pub fn output_watermarks(&self, core: u16) -> Watermarks {
        self.outputs.get(usize::from(core)).map(WriterStream::watermarks).unwrap_or_default()
    }

    /// Whether the frame that the next record of the inputs comes into has a mark of this channel. Where not, [`Writer::mark`]
    /// is to be called before that record is appended: once for a batch is often enough.
    #[inline]
    pub fn has_mark(&self, channel: u32) -> bool {
        let is_full = |open: &OpenFrame| open.position == self.records_per_frame() + FRAME_HEADER_RECORDS;
        !self.inputs.open.as_ref().is_some_and(is_full) && self.marks.has(channel)
    }

    /// Says that the record that is appended to the inputs next was made of the message of this number in a venue's channel.
    /// It is kept with the frame when it is the first of its channel there, and when the record tells of a gap.
    ///
    /// A frame holds seven. An eighth is not kept, not even that of a gap: closing the frame at once would take away what
    /// [`Writer::room`] has said. But the next [`Writer::poll`] closes it, if it is a quarter full or more, or the mark, the
    /// seventh or beyond, was one of a gap; and the next frame has room. Less full it stays open, for many channels mixed with
    /// each other would make many small frames.
    pub fn mark(&mut self, channel: u32, venue_sequence: u64, is_gap: bool) {
        let position = self.inputs.open.as_ref().map_or(FRAME_HEADER_RECORDS, |open| open.position);
        let mut record = (position - FRAME_HEADER_RECORDS) as u32;
        if record as usize == self.records_per_frame() {
            self.close_frame(0);
            record = 0;
        }
        let is_same = |mark: &&mut FrameMark| mark.channel == channel && mark.record == record;
        if let Some(same) = self.marks.used_mut().iter_mut().find(is_same) {
            same.venue_sequence = venue_sequence;
            return;
        }
        if !is_gap && self.marks.has(channel) {
            return;
        }
        if self.marks.is_full() {
            let least = self.records_per_frame() as u32 / CLOSED_FOR_MARK_PART;
            self.is_close_due |= record > 0 && (is_gap || record >= least);
            return;
        }
        self.marks.push(FrameMark { channel, record, venue_sequence });
        // So that the next gap has its mark, if a poll comes before it.
        self.is_close_due |= is_gap && self.marks.is_full();
    }

    /// The inputs for 0, the outputs of core n for 1 + n.
    pub(super) fn stream(&self, index: usize) -> &WriterStream {
        if index == 0 { &self.inputs } else { &self.outputs[index - 1] }
    }

    pub(super) fn stream_mut(&mut self, index: usize) -> &mut WriterStream {
        if index == 0 { &mut self.inputs } else { &mut self.outputs[index - 1] }
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &WriterStream> {
        core::iter::once(&self.inputs).chain(&self.outputs)
    }

    pub(super) fn streams_mut(&mut self) -> impl Iterator<Item = &mut WriterStream> {
        core::iter::once(&mut self.inputs).chain(&mut self.outputs)
    }

    /// Frames of other streams than this that have their places.
    pub(super) fn others_placed(&self, index: usize) -> u64 {
        self.placed_count() - self.stream(index).frame_count
    }

    /// Where the outputs of all cores end, by what has its place: of those that this writer does not take, where they ended
    /// before.
    pub(super) fn output_ends(&self) -> OutputEnds {
        let mut ends = self.segment.header.outputs;
        for stream in &self.outputs {
            ends.set(stream.number, stream.placed);
        }
        ends
    }

    /// The streams of a writer that begins with this segment header.
    pub(super) fn streams_of(header: &crate::format::SegmentHeader, count: u16) -> (WriterStream, Vec<WriterStream>) {
        let inputs = WriterStream::new(INPUT_STREAM, Position::of_header(header));
        let outputs = (1..=u32::from(count)).map(|number| WriterStream::new(number, header.outputs.position(number)));
        (inputs, outputs.collect())
    }
}
