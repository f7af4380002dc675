//! Frames on their way: closed, given a place, handed to the storage, written.

use super::streams::OpenFrame;
use super::{Spare, Writer};
use crate::defence::{Defence, stands};
use crate::format::{
    BLOCK_BYTES, EVENT_RECORDS, FORMAT_VERSION, FRAME_HEADER_BYTES, FRAME_HEADER_RECORDS, FRAME_MAGIC, FrameHeader,
    Place, RECORD_BYTES, WRITE_UNIT_BYTES, frame_bytes_for,
};
use crate::index::IndexEntry;
use crate::mark::FrameMarks;
use crate::memory::{Block, finish_writes};
use crate::storage::{FileSlot, Operation, Token};
use crate::walk::Positions;
use std::io;
use std::time::Duration;
use zerocopy::IntoBytes;

/// How long a frame that is not full waits for records at least, when each write and sync stops the caller.
const BLOCKING_LINGER: Duration = Duration::from_millis(1);
/// From this length on, a frame that is closed before it is full ends with a whole write unit.
const WHOLE_UNITS_FROM_BYTES: usize = 3 * WRITE_UNIT_BYTES as usize;
/// A write of so many bytes is handed to the kernel at once. The next one's frame takes its time to be built, and the kernel would
/// make one of both.
const AT_ONCE_BYTES: usize = 64 << 10;
/// Frames that are given their places before it is their turn, where a segment ends.
pub(super) const BUILT_MAX: usize = 8;

/// A frame's records, waiting for a place on the disk.
pub(super) struct ClosedFrame {
    /// Of which stream, see [`Writer::stream`].
    stream: usize,
    block: Block,
    record_count: usize,
    marks: FrameMarks,
}

/// A frame that has its place.
#[derive(Clone, Copy)]
struct PlacedFrame {
    stream: usize,
    last_sequence: u64,
    file: FileSlot,
    segment: u64,
    offset: u64,
    frame_bytes: usize,
}

/// A frame that waits for its turn.
pub(super) struct BuiltFrame {
    frame: PlacedFrame,
    block: Block,
}

/// A frame that was handed to the storage.
pub(super) struct FrameInFlight {
    frame: PlacedFrame,
    bytes_written: usize,
    /// Durable when it is written.
    is_through: bool,
}

impl FrameInFlight {
    fn is_written(&self) -> bool {
        self.bytes_written == self.frame.frame_bytes
    }

    /// Where in its file the next write goes.
    pub(super) fn write_offset(&self) -> u64 {
        self.frame.offset + self.bytes_written as u64
    }
}

impl Writer {
    /// Moves the open frame of a stream, if it has one, to those that wait for a place.
    pub(super) fn close_frame(&mut self, index: usize) {
        if let Some(OpenFrame { block, position, .. }) = self.stream_mut(index).open.take() {
            self.push_closed(index, block, position);
        }
    }

    fn push_closed(&mut self, index: usize, block: Block, position: usize) {
        let record_count = position - FRAME_HEADER_RECORDS;
        let marks = if index == 0 { self.marks.take(record_count) } else { FrameMarks::default() };
        self.is_close_due &= index != 0;
        self.stream_mut(index).open_since = None;
        self.closed.push_back(ClosedFrame { stream: index, block, record_count, marks });
    }

    /// Closes the open frames that should wait no longer. `false` when there are none.
    fn close_due_frames(&mut self) -> bool {
        // All of them at once: whichever went alone would have the disk, and keep the others waiting.
        let mut is_any = false;
        for index in 0..=self.outputs.len() {
            if self.is_due(index) {
                self.close_due_frame(index);
                is_any = true;
            }
        }
        is_any
    }

    /// Closes open frames that have waited for as many of other streams as may be in flight. The disk may never be idle, and
    /// the other streams' frames always be full.
    fn close_overtaken_frames(&mut self) {
        for index in 0..=self.outputs.len() {
            let others_placed = self.others_placed(index);
            let most = u64::from(self.options.writes_in_flight);
            let is_overtaken = |open: &OpenFrame| others_placed - open.others_placed >= most;
            if self.stream(index).open.as_ref().is_some_and(is_overtaken) {
                self.close_due_frame(index);
            }
        }
    }

    /// Whether the open frame of a stream should wait no longer: it is full, or the disk is idle and it lingered enough.
    fn is_due(&mut self, index: usize) -> bool {
        let Some(open) = &self.stream(index).open else { return false };
        let bytes = open.position * RECORD_BYTES;
        if bytes < self.options.frame_bytes as usize {
            if !self.is_disk_idle() {
                return false;
            }
            let (linger, linger_bytes) = if self.storage.makes_the_caller_wait() {
                (self.options.linger.max(BLOCKING_LINGER), u64::from(self.options.frame_bytes))
            } else {
                (self.options.linger, WRITE_UNIT_BYTES)
            };
            if !self.is_flushing && !linger.is_zero() && (bytes as u64) < linger_bytes {
                let now = self.storage.now();
                let since = *self.stream_mut(index).open_since.get_or_insert(now);
                if now.saturating_sub(since) < linger {
                    return false;
                }
            }
        }
        true
    }

    fn close_due_frame(&mut self, index: usize) {
        let bytes = self.stream(index).open.as_ref().map_or(0, |open| open.position * RECORD_BYTES);
        if !self.is_flushing && bytes >= WHOLE_UNITS_FROM_BYTES && bytes < self.options.frame_bytes as usize {
            self.close_whole_units(index);
        } else {
            self.close_frame(index);
        }
    }

    /// Closes the open frame at the end of its last whole write unit, and takes the records behind into the next: they
    /// would cost a whole unit now, and wait for one write so.
    fn close_whole_units(&mut self, index: usize) {
        const UNIT_RECORDS: usize = WRITE_UNIT_BYTES as usize / RECORD_BYTES;
        let Some(OpenFrame { mut block, position, .. }) = self.stream_mut(index).open.take() else { return };
        let rest = position % UNIT_RECORDS;
        let next = if rest == 0 { None } else { self.pool.take() };
        let kept = if next.is_some() { position - rest } else { position };
        let others_placed = self.others_placed(index);
        self.stream_mut(index).open = next.map(|mut next| {
            let from = &block.records_mut()[kept..position];
            next.records_mut()[FRAME_HEADER_RECORDS..FRAME_HEADER_RECORDS + rest].copy_from_slice(from);
            OpenFrame { block: next, position: FRAME_HEADER_RECORDS + rest, others_placed }
        });
        self.push_closed(index, block, kept);
    }

    /// Submits as many frames as there are due and as may be in flight. Where a segment ends, frames that wait are given
    /// their places before it is their turn: the next segment's header, which names the last of them, is durable then when
    /// the disk comes to need it, instead of standing still until it is.
    pub(super) fn submit_frames(&mut self) {
        while self.failure.is_none() {
            let may_submit = self.in_flight.len() < self.options.writes_in_flight as usize;
            if may_submit && let Some(frame) = self.built.pop_front() {
                self.submit_frame(frame);
                continue;
            }
            let may_build =
                may_submit || !self.closed.is_empty() && self.built.len() < BUILT_MAX && self.is_segment_ending();
            if !may_build {
                break;
            }
            if self.change.is_some() && !self.enter_next_segment() {
                return;
            }
            if !self.outputs.is_empty() {
                self.close_overtaken_frames();
            }
            if self.closed.is_empty() && !self.close_due_frames() {
                break;
            }
            let Some(frame) = self.closed.front() else { break };
            if self.segment.offset + frame_bytes_for(frame.record_count) as u64 > self.frames_end() {
                if !self.begin_change() {
                    return;
                }
            } else if let Some(frame) = self.closed.pop_front() {
                self.build_frame(frame);
            }
        }
        if matches!(self.spare, Spare::None) && self.is_spare_due() {
            self.prepare_spare();
        }
    }

    /// Where the frames of the segment have to end, for index and footer.
    fn frames_end(&self) -> u64 {
        self.options.segment_bytes - self.index.bytes_max() as u64 - BLOCK_BYTES
    }

    /// Whether no more full frames fit into the segment than may be built ahead, or the next segment is on its way.
    fn is_segment_ending(&self) -> bool {
        let rest = self.frames_end().saturating_sub(self.segment.offset);
        self.change.is_some() || rest < (BUILT_MAX as u64 + 1) * u64::from(self.options.frame_bytes)
    }

    /// Gives a frame its place, its header and its checksums.
    fn build_frame(&mut self, frame: ClosedFrame) {
        let ClosedFrame { stream: index, mut block, record_count, marks } = frame;
        let frame_bytes = frame_bytes_for(record_count);
        let records = &block.records_mut()[FRAME_HEADER_RECORDS..][..record_count];
        let (first, last) = (records[0], records[record_count - 1]);
        let highest_time = records.iter().map(|record| record.event.exchange_time.0).max().unwrap_or(0);
        let payload = &mut block.bytes_mut()[FRAME_HEADER_BYTES..frame_bytes];
        payload[record_count * RECORD_BYTES..].fill(0);
        let segment = &mut self.segment;
        let stream = if index == 0 { &mut self.inputs } else { &mut self.outputs[index - 1] };
        let number = segment.header.number;
        let header = FrameHeader {
            magic: FRAME_MAGIC,
            version: FORMAT_VERSION,
            header_bytes: FRAME_HEADER_BYTES as u32,
            frame_bytes: frame_bytes as u32,
            record_count: record_count as u32,
            record_kind: EVENT_RECORDS,
            stream: stream.number,
            first_sequence: first.sequence.0,
            first_time: first.event.exchange_time.0,
            last_time: last.event.exchange_time.0,
            journal: segment.header.journal,
            epoch: segment.header.epoch,
            segment: number,
            offset: segment.offset,
            durable_sequence: stream.durable,
            previous_checksum: stream.placed.chain,
            payload_checksum: segment.seed.checksum(payload),
            mark_count: marks.count,
            durable_units: self.durable_place.to_units(number),
            marks: marks.marks,
            highest_time,
            header_checksum: 0,
        }
        .seal();
        block.bytes_mut()[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
        finish_writes();
        self.stats.frame_count += 1;
        self.stats.record_count += record_count as u64;
        self.stats.frame_bytes += frame_bytes as u64;
        let offset = segment.offset;
        segment.offset += frame_bytes as u64;
        let highest_time_before = segment.tally.highest_time;
        if index == 0 {
            self.index.add(IndexEntry { first_sequence: first.sequence.0, offset, highest_time_before });
        }
        segment.tally.add(segment.seed, &header);
        stream.placed = header.end_position();
        stream.frame_count += 1;
        let (file, last_sequence) = (segment.file, last.sequence.0);
        let frame = PlacedFrame { stream: index, last_sequence, file, segment: number, offset, frame_bytes };
        self.built.push_back(BuiltFrame { frame, block });
    }

    fn submit_frame(&mut self, built: BuiltFrame) {
        let BuiltFrame { frame, block } = built;
        let token = Token::Frame(self.first_ticket + self.in_flight.len() as u64);
        let is_through = self.may_write_through();
        self.in_flight.push_back(FrameInFlight { frame, bytes_written: 0, is_through });
        let PlacedFrame { file, offset, frame_bytes: to, .. } = frame;
        self.storage.submit(token, Operation::Write { file, offset, block, from: 0, to, is_through });
        if to >= AT_ONCE_BYTES {
            self.dispatch();
        }
    }

    /// Frames that have their places.
    pub(super) fn placed_count(&self) -> u64 {
        self.first_ticket + (self.in_flight.len() + self.built.len()) as u64
    }

    /// Where what has its place ends.
    pub(super) fn placed(&self) -> Positions {
        Positions { inputs: self.inputs.placed, outputs: self.output_ends() }
    }

    pub(super) fn complete_frame(&mut self, ticket: u64, count: usize, block: Option<Block>) {
        let index = ticket.wrapping_sub(self.first_ticket) as usize;
        let (Some(frame), Some(block)) = (self.in_flight.get_mut(index), block) else { return };
        let from = frame.bytes_written + count;
        let frame_bytes = frame.frame.frame_bytes;
        if from >= frame_bytes || !stands(Defence::ShortWrites) {
            frame.bytes_written = frame_bytes;
            return self.pool.give_back(block);
        }
        // A short write: go on from the last whole unit.
        let from = from - from % WRITE_UNIT_BYTES as usize;
        if from == frame.bytes_written {
            self.pool.give_back(block);
            return self.fail_operation(Token::Frame(ticket), io::ErrorKind::WriteZero.into());
        }
        frame.bytes_written = from;
        let (file, offset, to) = (frame.frame.file, frame.write_offset(), frame_bytes);
        let is_through = frame.is_through;
        self.storage.submit(Token::Frame(ticket), Operation::Write { file, offset, block, from, to, is_through });
    }

    /// Moves `written` over the writes that are done without one before that is not.
    pub(super) fn advance_written(&mut self) {
        let may_skip = !stands(Defence::WrittenInOrder) && self.in_flight.iter().any(FrameInFlight::is_written);
        while let Some(in_flight) = self.in_flight.pop_front_if(|frame| frame.is_written() || may_skip) {
            let PlacedFrame { stream, last_sequence, segment, offset, frame_bytes, .. } = in_flight.frame;
            let stream = self.stream_mut(stream);
            stream.written = last_sequence;
            if in_flight.is_through {
                stream.durable = last_sequence;
            }
            self.first_ticket += 1;
            self.written_place = Place { segment, offset: offset + frame_bytes as u64 };
            if in_flight.is_through {
                // So is everything before it.
                (self.durable_count, self.durable_place) = (self.first_ticket, self.written_place);
                self.leave_segment();
            } else {
                self.unsynced_bytes += frame_bytes as u64;
            }
        }
    }
}
