//! Writing a journal.
//!
//! A [`Writer`] has no thread: whoever owns it appends records and polls it. A record is copied once, into a staging
//! block behind the room for a frame header; the block is what the disk reads. Polling closes frames, hands them to the
//! storage, takes completions, moves the watermarks and changes segments. With io_uring, polling never waits for the
//! disk; with the portable backend it does only where that has no thread.
//!
//! What holds at all times, whatever the medium does:
//! - `written` covers only records whose write, and every write before it, completed; `durable` only those that a sync
//!   covers which began after that.
//! - A frame comes into a segment only after the segment's header is durable, and is called durable only after every
//!   frame of the segments before is. A footer is written only after all frames of its segment are durable, and a file
//!   is trimmed only after its footer is. That is what recovery judges by.
//! - After a failed write or sync nothing is submitted any more and the watermarks stand still.
//!
//! Appending and polling do not allocate. Worst case of `append`: taking the next block, about 20 ns. Worst case of
//! `poll` with io_uring: checksums of as many full frames as may be in flight, about 5 µs each.

mod change;
mod groups;
mod open;
mod pool;
#[cfg(test)]
mod tests;

use change::seal_segment;
use groups::Group;
use pool::Supply;

pub use open::{CreateError, ResumeError, StartError};

use crate::checksum::Seed;
use crate::defence::{Defence, stands};
use crate::format::{
    BLOCK_BYTES, EVENT_RECORDS, FORMAT_VERSION, FRAME_HEADER_BYTES, FRAME_HEADER_RECORDS, FRAME_MAGIC, FrameHeader,
    INPUT_STREAM, JournalId, MARKS_MAX, Mark, RECORD_BYTES, Record, Seal, SegmentHeader, WRITE_UNIT_BYTES,
    frame_bytes_for,
};
use crate::index::{IndexBuilder, IndexEntry};
use crate::medium::Lock;
use crate::memory::Block;
use crate::options::{Backend, Metadata, Notice, Options, SyncPolicy, Watermarks};
use crate::staging::Pool;
use crate::status::{StatusWriter, WriterState};
use crate::storage::{Completion, Done, FileSlot, Operation, SegmentName, Storage, Token};
use crate::walk::{Position, Tally};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tickcore_book::{Event, Sequence};
use zerocopy::IntoBytes;

/// How long a frame that is not full waits for records at least, when each write and sync stops the caller.
const BLOCKING_LINGER: Duration = Duration::from_millis(1);
/// From this length on, a frame that is closed before it is full ends with a whole write unit.
const WHOLE_UNITS_FROM_BYTES: usize = 3 * WRITE_UNIT_BYTES as usize;
/// How long `flush` and `finish` sleep at most before they look again.
const DRIVE_WAIT: Duration = Duration::from_millis(1);

/// A write, sync or other operation on the journal failed. The writer is poisoned: every later call gives this again,
/// because after such a failure nobody knows what is on the disk.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the journal failed: cannot {action} {file} at byte {offset}: {cause}; records up to {durable} are durable; {}",
    advice(cause)
)]
pub struct WriteError {
    /// What was being done.
    pub action: &'static str,
    /// The segment's file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// The last record that is durable all the same.
    pub durable: Sequence,
    /// The system's answer.
    pub cause: Arc<io::Error>,
}

fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on the file system, then resume",
        _ => "check the disk, then resume",
    }
}

/// Why a record was not taken. The writer is as before.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The staging is full: poll until there is room.
    #[error("the journal's staging is full: poll until there is room")]
    Full,
    /// The journal has no holes.
    #[error("record {found} was appended where {expected} must come: the journal never skips a record")]
    Discontinuous {
        /// The number that must come next.
        expected: Sequence,
        /// The number that came.
        found: Sequence,
    },
    /// The writer is poisoned.
    #[error(transparent)]
    Failed(#[from] WriteError),
}

/// Counts since the writer was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Frames handed to the storage.
    pub frame_count: u64,
    /// Records in them.
    pub record_count: u64,
    /// Bytes of those frames, headers and padding included.
    pub frame_bytes: u64,
    /// Syncs of groups of frames.
    pub sync_count: u64,
    /// Segments begun.
    pub segment_count: u64,
}

/// The frame that records are appended to. `position` is where the next record goes, in records from the block's start.
struct OpenFrame {
    block: Block,
    position: usize,
}

/// A frame's records, waiting for a place on the disk.
struct ClosedFrame {
    block: Block,
    record_count: usize,
}

/// A frame that was handed to the storage.
struct FrameInFlight {
    file: FileSlot,
    last_sequence: u64,
    offset: u64,
    frame_bytes: usize,
    bytes_written: usize,
}

impl FrameInFlight {
    fn is_written(&self) -> bool {
        self.bytes_written == self.frame_bytes
    }
}

/// A segment that frames are written into.
struct ActiveSegment {
    file: FileSlot,
    name: SegmentName,
    header: SegmentHeader,
    seed: Seed,
    /// Where the next frame goes.
    offset: u64,
    tally: Tally,
}

/// The file for the next segment.
enum Spare {
    None,
    Preparing,
    Ready(FileSlot),
    /// It could not be prepared; that fails the journal when it is needed.
    Failed(Option<io::Error>),
}

/// The change to the next segment, which waits for its header to become durable.
struct Change {
    next: ActiveSegment,
    is_header_durable: bool,
}

/// A segment that takes no more frames, but whose frames are not all durable yet.
struct Leaving {
    segment: ActiveSegment,
    /// Where it ends.
    position: Position,
}

/// A segment whose frames are all durable, and whose footer is on its way.
struct Sealing {
    file: FileSlot,
    name: SegmentName,
    footer_offset: u64,
    /// Bytes of index and footer.
    write_bytes: usize,
    /// Where the segment begins.
    number: u64,
    start: Position,
    highest_time: u64,
}

/// The one writer of a journal. See the module's documentation for what it guarantees.
///
/// Dropping it without [`Writer::finish`] leaves the journal as a crash would: whole, unsealed, to be resumed.
pub struct Writer {
    next_sequence: u64,
    open: Option<OpenFrame>,
    pool: Pool,
    /// When the open frame was first seen waiting, if it lingers.
    open_since: Option<Duration>,
    closed: VecDeque<ClosedFrame>,
    in_flight: VecDeque<FrameInFlight>,
    /// Running number of the first of `in_flight`.
    first_ticket: u64,
    written: u64,
    durable: u64,
    /// The last record that was handed to the storage.
    submitted: u64,
    /// The syncs that are under way, and those that are done while one before them is not.
    groups: VecDeque<Group>,
    /// Running number of the first of `groups`.
    first_group: u64,
    /// When the last sync of a group began, if the policy counts time.
    group_at: Option<Duration>,
    /// Bytes written since then, if it counts bytes.
    unsynced_bytes: u64,
    segment: ActiveSegment,
    index: IndexBuilder,
    /// The index of the segment that is being left.
    leaving_index: IndexBuilder,
    /// Header checksum of the last frame submitted.
    chain: u64,
    spare: Spare,
    supply: Supply,
    change: Option<Change>,
    leaving: Option<Leaving>,
    sealing: Option<Sealing>,
    /// Frames are not to wait for more records.
    is_flushing: bool,
    /// What was written is to be synced whatever the policy.
    is_finishing: bool,
    failure: Option<WriteError>,
    storage: Box<dyn Storage>,
    completions: Vec<Completion>,
    published: Watermarks,
    status: Option<StatusWriter>,
    stats: WriterStats,
    options: Options,
    metadata: Metadata,
    notices: Vec<Notice>,
    _lock: Box<dyn Lock>,
}

impl Writer {
    /// Records that can be appended now without polling. 0 when the staging is full or the writer is poisoned.
    #[inline]
    pub fn room(&self) -> usize {
        if self.failure.is_some() {
            return 0;
        }
        let records_per_frame = self.options.frame_bytes as usize / RECORD_BYTES - FRAME_HEADER_RECORDS;
        let in_open = self.open.as_ref().map_or(0, |open| records_per_frame + FRAME_HEADER_RECORDS - open.position);
        in_open + self.pool.free_count() * records_per_frame
    }

    /// Copies a record into the staging. It is on its way to the disk once the writer was polled.
    ///
    /// # Errors
    /// If there is no room, if `sequence` is not the one after the last, or if the writer is poisoned. Nothing was
    /// taken then.
    #[inline]
    pub fn append(&mut self, sequence: Sequence, event: &Event) -> Result<(), AppendError> {
        if sequence.0 == self.next_sequence
            && let Some(open) = &mut self.open
            && let Some(record) = open.block.records_mut().get_mut(open.position)
        {
            *record = Record { sequence, event: *event };
            open.position += 1;
            self.next_sequence += 1;
            return Ok(());
        }
        self.append_to_next_block(sequence, event)
    }

    /// [`Writer::append`] when there is no open frame or it is full.
    #[cold]
    #[inline(never)]
    fn append_to_next_block(&mut self, sequence: Sequence, event: &Event) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        let expected = Sequence(self.next_sequence);
        if sequence != expected {
            return Err(AppendError::Discontinuous { expected, found: sequence });
        }
        let Some(mut block) = self.pool.take() else { return Err(AppendError::Full) };
        self.close_frame();
        block.records_mut()[FRAME_HEADER_RECORDS] = Record { sequence, event: *event };
        self.open = Some(OpenFrame { block, position: FRAME_HEADER_RECORDS + 1 });
        self.next_sequence += 1;
        Ok(())
    }

    /// Lets the journal make progress, and says how far it is. To be called often: after each batch of records, and
    /// while there are none.
    ///
    /// # Errors
    /// If a write or sync failed, now or before.
    pub fn poll(&mut self) -> Result<Watermarks, WriteError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let mut completions = core::mem::take(&mut self.completions);
        self.storage.reap(&mut completions);
        let is_idle = completions.is_empty();
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        if self.failure.is_none() {
            self.advance_written();
            self.poll_helper();
        }
        self.submit_frames();
        self.submit_group();
        if let Err(cause) = self.storage.dispatch() {
            self.fail("submit writes to", self.segment.name, self.segment.offset, cause);
        }
        if is_idle {
            self.storage.give_way();
        }
        self.publish();
        match &self.failure {
            None => Ok(self.watermarks()),
            Some(failure) => Err(failure.clone()),
        }
    }

    /// Sleeps until the disk has done something, or for `timeout`: for a journal core that does not spin. Poll
    /// afterwards.
    ///
    /// # Errors
    /// If a write or sync failed before.
    pub fn wait(&mut self, timeout: Duration) -> Result<(), WriteError> {
        if self.failure.is_none()
            && let Err(cause) = self.storage.wait(timeout)
        {
            self.fail("wait for", self.segment.name, self.segment.offset, cause);
        }
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Waits until everything appended is durable, or only written under [`SyncPolicy::None`].
    ///
    /// # Errors
    /// If a write or sync failed.
    pub fn flush(&mut self) -> Result<Watermarks, WriteError> {
        self.is_flushing = true;
        let result = self.drive(|writer| {
            let last = writer.next_sequence - 1;
            writer.written == last && (writer.durable == last || writer.options.sync == SyncPolicy::None)
        });
        self.is_flushing = false;
        result.map(|()| self.watermarks())
    }

    /// Makes everything durable, seals the last segment and removes what was prepared in vain.
    ///
    /// # Errors
    /// If a write or sync failed. The journal is then to be resumed like one after a crash.
    pub fn finish(mut self) -> Result<Watermarks, WriteError> {
        self.is_flushing = true;
        self.is_finishing = true;
        self.drive(|writer| {
            writer.durable == writer.next_sequence - 1
                && writer.leaving.is_none()
                && writer.sealing.is_none()
                && writer.change.is_none()
        })?;
        self.supply.stop();
        self.drive(|writer| !matches!(writer.spare, Spare::Preparing) && writer.supply.has_no_work())?;
        let position = Position { next_sequence: self.durable + 1, chain: self.chain };
        let segment = &self.segment;
        self.sealing = seal_segment(self.storage.as_mut(), &mut self.pool, segment, &self.index, |offset, length| {
            segment.tally.footer(&segment.header, offset, length, position, Seal::Finished)
        });
        self.drive(|writer| writer.sealing.is_none())?;
        if let Spare::Ready(file) = self.spare {
            self.storage.close(file);
        }
        self.remove_prepared();
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => {
                self.set_state(WriterState::Finished);
                Ok(self.watermarks())
            }
        }
    }

    /// The last record whose write, and every write before it, completed.
    pub fn written(&self) -> Sequence {
        Sequence(self.written)
    }

    /// The last record that survives the death of the machine.
    pub fn durable(&self) -> Sequence {
        Sequence(self.durable)
    }

    /// Both watermarks.
    pub fn watermarks(&self) -> Watermarks {
        Watermarks { written: self.written(), durable: self.durable() }
    }

    /// The record that must be appended next.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.next_sequence)
    }

    /// How records reach the disk.
    pub fn backend(&self) -> Backend {
        self.storage.backend()
    }

    /// What was asked for and is not to be had; to be said once.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The journal's id.
    pub fn journal(&self) -> JournalId {
        self.segment.header.journal
    }

    /// What was said when the journal was created.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Counts so far.
    pub fn stats(&self) -> WriterStats {
        self.stats
    }

    /// Polls and waits until `is_done`.
    fn drive(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), WriteError> {
        loop {
            self.poll()?;
            if is_done(self) {
                return Ok(());
            }
            self.wait(DRIVE_WAIT)?;
        }
    }

    /// Poisons the writer. The first failure stays.
    #[cold]
    fn fail(&mut self, action: &'static str, name: SegmentName, offset: u64, cause: io::Error) {
        if self.failure.is_none() && stands(Defence::Poison) {
            let (file, durable) = (name.to_string(), self.durable());
            self.failure = Some(WriteError { action, file, offset, durable, cause: Arc::new(cause) });
            // Without an open frame every append comes to where the failure is reported.
            self.open = None;
            self.set_state(WriterState::Failed);
        }
    }

    /// Moves the open frame, if it has records, to those that wait for a place.
    fn close_frame(&mut self) {
        if let Some(OpenFrame { block, position }) = self.open.take() {
            self.closed.push_back(ClosedFrame { block, record_count: position - FRAME_HEADER_RECORDS });
            self.open_since = None;
        }
    }

    /// Closes the open frame if it should wait no longer: it is full, or the disk is idle and it lingered enough.
    fn close_frame_if_due(&mut self) -> bool {
        let Some(open) = &self.open else { return false };
        let bytes = open.position * RECORD_BYTES;
        if bytes < self.options.frame_bytes as usize {
            if !self.in_flight.is_empty() {
                return false;
            }
            let (linger, linger_bytes) = if self.storage.makes_the_caller_wait() {
                (self.options.linger.max(BLOCKING_LINGER), u64::from(self.options.frame_bytes))
            } else {
                (self.options.linger, WRITE_UNIT_BYTES)
            };
            if !self.is_flushing && !linger.is_zero() && (bytes as u64) < linger_bytes {
                let now = self.storage.now();
                let since = *self.open_since.get_or_insert(now);
                if now.saturating_sub(since) < linger {
                    return false;
                }
            }
        }
        if !self.is_flushing && bytes >= WHOLE_UNITS_FROM_BYTES && bytes < self.options.frame_bytes as usize {
            self.close_whole_units();
        } else {
            self.close_frame();
        }
        true
    }

    /// Closes the open frame at the end of its last whole write unit, and takes the records behind into the next: they
    /// would cost a whole unit now, and wait for one write so.
    fn close_whole_units(&mut self) {
        const UNIT_RECORDS: usize = WRITE_UNIT_BYTES as usize / RECORD_BYTES;
        let Some(OpenFrame { mut block, position }) = self.open.take() else { return };
        let rest = position % UNIT_RECORDS;
        let next = if rest == 0 { None } else { self.pool.take() };
        let kept = if next.is_some() { position - rest } else { position };
        self.open_since = None;
        self.open = next.map(|mut next| {
            let from = &block.records_mut()[kept..position];
            next.records_mut()[FRAME_HEADER_RECORDS..FRAME_HEADER_RECORDS + rest].copy_from_slice(from);
            OpenFrame { block: next, position: FRAME_HEADER_RECORDS + rest }
        });
        self.closed.push_back(ClosedFrame { block, record_count: kept - FRAME_HEADER_RECORDS });
    }

    /// Submits as many frames as there are due and as may be in flight.
    fn submit_frames(&mut self) {
        while self.failure.is_none() && self.in_flight.len() < self.options.writes_in_flight as usize {
            if self.change.is_some() && !self.enter_next_segment() {
                return;
            }
            if self.closed.is_empty() && !self.close_frame_if_due() {
                break;
            }
            let Some(frame) = self.closed.front() else { break };
            let end_bytes = self.index.bytes_max() as u64 + BLOCK_BYTES;
            let end = self.segment.offset + frame_bytes_for(frame.record_count) as u64 + end_bytes;
            if end > self.options.segment_bytes {
                if !self.begin_change() {
                    return;
                }
            } else if let Some(frame) = self.closed.pop_front() {
                self.submit_frame(frame);
            }
        }
        if matches!(self.spare, Spare::None) && self.is_spare_due() {
            self.prepare_spare();
        }
    }

    fn submit_frame(&mut self, frame: ClosedFrame) {
        let ClosedFrame { mut block, record_count } = frame;
        let frame_bytes = frame_bytes_for(record_count);
        let records = &block.records_mut()[FRAME_HEADER_RECORDS..][..record_count];
        let (first, last) = (records[0], records[record_count - 1]);
        let highest_time = records.iter().map(|record| record.event.exchange_time.0).max().unwrap_or(0);
        let payload = &mut block.bytes_mut()[FRAME_HEADER_BYTES..frame_bytes];
        payload[record_count * RECORD_BYTES..].fill(0);
        let segment = &mut self.segment;
        let header = FrameHeader {
            magic: FRAME_MAGIC,
            version: FORMAT_VERSION,
            header_bytes: FRAME_HEADER_BYTES as u32,
            frame_bytes: frame_bytes as u32,
            record_count: record_count as u32,
            record_kind: EVENT_RECORDS,
            stream: INPUT_STREAM,
            first_sequence: first.sequence.0,
            first_time: first.event.exchange_time.0,
            last_time: last.event.exchange_time.0,
            journal: segment.header.journal,
            epoch: segment.header.epoch,
            segment: segment.header.number,
            offset: segment.offset,
            durable_sequence: self.durable,
            previous_checksum: self.chain,
            payload_checksum: segment.seed.checksum(payload),
            mark_count: 0,
            reserved: 0,
            marks: [Mark::default(); MARKS_MAX],
            highest_time,
            header_checksum: 0,
        }
        .seal();
        block.bytes_mut()[..FRAME_HEADER_BYTES].copy_from_slice(header.as_bytes());
        let offset = segment.offset;
        segment.offset += frame_bytes as u64;
        let highest_time_before = segment.tally.highest_time;
        self.index.add(IndexEntry { first_sequence: first.sequence.0, offset, highest_time_before });
        segment.tally.add(segment.seed, &header);
        self.chain = header.header_checksum;
        let token = Token::Frame(self.first_ticket + self.in_flight.len() as u64);
        self.submitted = last.sequence.0;
        self.in_flight.push_back(FrameInFlight {
            file: segment.file,
            last_sequence: last.sequence.0,
            offset,
            frame_bytes,
            bytes_written: 0,
        });
        self.stats.frame_count += 1;
        self.stats.record_count += record_count as u64;
        self.stats.frame_bytes += frame_bytes as u64;
        self.storage.submit(token, Operation::Write { file: segment.file, offset, block, from: 0, to: frame_bytes });
    }

    /// Takes what came back from the storage.
    fn complete(&mut self, completion: Completion) {
        let Completion { token, result, block } = completion;
        match (token, result) {
            // What succeeds after a failure moves nothing any more.
            _ if self.failure.is_some() => {}
            (Token::Frame(ticket), Ok(Done::Written(count))) => return self.complete_frame(ticket, count, block),
            (Token::Header | Token::Footer, Ok(Done::Written(count))) if count < self.control_bytes(token) => {
                self.fail_operation(token, io::ErrorKind::WriteZero.into());
            }
            (_, Ok(done)) => self.complete_other(token, done),
            (Token::Spare, Err(cause)) => {
                self.warn_of_spare(&cause);
                self.spare = Spare::Failed(Some(cause));
            }
            (_, Err(cause)) => {
                if !stands(Defence::Poison) {
                    self.first_group += self.groups.len() as u64;
                    self.groups.clear();
                }
                self.fail_operation(token, cause);
            }
        }
        if let Some(block) = block {
            self.pool.give_back(block);
        }
    }

    /// Bytes of the write of a header, or of index and footer.
    fn control_bytes(&self, token: Token) -> usize {
        let sealing = self.sealing.as_ref().filter(|_| token == Token::Footer);
        sealing.map_or(BLOCK_BYTES as usize, |sealing| sealing.write_bytes)
    }

    fn complete_frame(&mut self, ticket: u64, count: usize, block: Option<Block>) {
        let index = ticket.wrapping_sub(self.first_ticket) as usize;
        let (Some(frame), Some(block)) = (self.in_flight.get_mut(index), block) else { return };
        let from = frame.bytes_written + count;
        if from >= frame.frame_bytes || !stands(Defence::ShortWrites) {
            frame.bytes_written = frame.frame_bytes;
            return self.pool.give_back(block);
        }
        // A short write: go on from the last whole unit.
        let from = from - from % WRITE_UNIT_BYTES as usize;
        if from == frame.bytes_written {
            self.pool.give_back(block);
            return self.fail_operation(Token::Frame(ticket), io::ErrorKind::WriteZero.into());
        }
        frame.bytes_written = from;
        let (file, offset, to) = (frame.file, frame.offset + from as u64, frame.frame_bytes);
        self.storage.submit(Token::Frame(ticket), Operation::Write { file, offset, block, from, to });
    }

    fn complete_other(&mut self, token: Token, done: Done) {
        match (token, done) {
            (Token::Group(ticket), _) => self.complete_group(ticket),
            (Token::Spare, Done::Prepared(file)) => self.spare = Spare::Ready(file),
            (Token::HeaderSync, _) => {
                if let Some(change) = &mut self.change {
                    change.is_header_durable = true;
                }
            }
            (Token::Header, _) => {
                if let Some(change) = &self.change {
                    self.storage.submit(Token::HeaderSync, Operation::Sync { file: change.next.file });
                }
            }
            (Token::Footer | Token::Trim, _) => {
                let next = if token == Token::Footer { Token::FooterSync } else { Token::TrimSync };
                if let Some(sealing) = &self.sealing {
                    self.storage.submit(next, Operation::Sync { file: sealing.file });
                }
            }
            (Token::FooterSync, _) => {
                if let Some(sealing) = &self.sealing {
                    let length = sealing.footer_offset + BLOCK_BYTES;
                    self.storage.submit(Token::Trim, Operation::Trim { file: sealing.file, length });
                }
            }
            (Token::TrimSync, _) => {
                if let Some(sealing) = self.sealing.take() {
                    self.storage.close(sealing.file);
                    self.note_sealed(&sealing);
                }
            }
            (Token::Frame(_) | Token::Spare, _) => {}
        }
    }

    fn fail_operation(&mut self, token: Token, cause: io::Error) {
        let next = SegmentName::new(self.segment.header.number + 1);
        let sealing = self.sealing.as_ref().map_or((self.segment.name, 0), |old| (old.name, old.footer_offset));
        let (action, (name, offset)) = match token {
            Token::Frame(ticket) => {
                let index = ticket.wrapping_sub(self.first_ticket) as usize;
                let offset = self.in_flight.get(index).map_or(0, |frame| frame.offset + frame.bytes_written as u64);
                ("write", (self.segment.name, offset))
            }
            Token::Group(_) => ("sync", (self.segment.name, self.segment.offset)),
            Token::Spare => ("prepare", (next, 0)),
            Token::Header => ("write the header of", (next, 0)),
            Token::HeaderSync => ("sync the header of", (next, 0)),
            Token::Footer => ("write the footer of", sealing),
            Token::FooterSync => ("sync the footer of", sealing),
            Token::Trim => ("trim", sealing),
            Token::TrimSync => ("sync the length of", sealing),
        };
        self.fail(action, name, offset, cause);
    }

    /// Moves `written` over the writes that are done without one before that is not.
    fn advance_written(&mut self) {
        let may_skip = !stands(Defence::WrittenInOrder) && self.in_flight.iter().any(FrameInFlight::is_written);
        while let Some(frame) = self.in_flight.pop_front_if(|frame| frame.is_written() || may_skip) {
            self.written = frame.last_sequence;
            self.unsynced_bytes += frame.frame_bytes as u64;
            self.first_ticket += 1;
        }
    }

    fn publish(&mut self) {
        let watermarks = self.watermarks();
        if watermarks != self.published {
            self.published = watermarks;
            if let Some(status) = &self.status {
                status.publish(watermarks);
            }
        }
    }

    fn set_state(&self, state: WriterState) {
        if let Some(status) = &self.status {
            status.set_state(state);
        }
    }
}
