//! Writing a journal.
//!
//! A [`Writer`] has no thread: whoever owns it appends records and polls it. A record is copied once, into a staging
//! block behind the room for a frame header; the block is what the disk reads. Polling closes frames, hands them to the
//! storage, takes completions, moves the watermarks and changes segments. With io_uring, polling never waits for the
//! disk; with the portable backend it does only where that has no thread.
//!
//! What holds at all times, whatever the medium does:
//! - Each stream (the inputs, and the outputs of each core) has an open frame, numbers and watermarks of its own. What has
//!   its place on the disk stands there in one order, and is written and durable in that order, whatever stream it is of.
//! - `written` covers only records whose write, and every write before it, completed; `durable` only those that a sync
//!   covers which began after that.
//! - A frame comes into a segment only after the segment's header is durable, and is called durable only after every
//!   frame of the segments before is. A footer is written only after all frames of its segment are durable, and a file
//!   is trimmed only after its footer is. That is what recovery judges by.
//! - After a failed write or sync nothing is submitted any more and the watermarks stand still.
//!
//! Appending and polling do not allocate. Worst case of `append`: taking the next block, about 20 ns. Worst case of
//! `poll` with io_uring: checksums of as many full frames as may be in flight, about 10 µs each.

mod change;
mod frames;
mod groups;
mod open;
mod pool;
mod streams;
#[cfg(test)]
mod tests;

use change::seal_segment;
use frames::{BuiltFrame, ClosedFrame, FrameInFlight};
use groups::Group;
use pool::Supply;
use streams::WriterStream;

pub use open::{CreateError, ResumeError, StartError};

use crate::checksum::Seed;
use crate::defence::{Defence, stands};
use crate::format::{BLOCK_BYTES, JournalId, Place, Seal, SegmentHeader};
use crate::index::IndexBuilder;
use crate::mark::FrameMarks;
use crate::medium::Lock;
use crate::options::{Backend, Metadata, Notice, Options, SyncPolicy, Watermarks};
use crate::staging::Pool;
use crate::status::{StatusWriter, WriterState};
use crate::storage::{Completion, Done, FileSlot, Operation, SegmentName, Storage, Token};
use crate::walk::{Position, Positions, Tally};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tickcore_book::Sequence;

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
    /// The outputs of this core are none of what the writer was asked to take.
    #[error("outputs of core {core} were appended: raise Options::output_streams")]
    NoStream {
        /// The core.
        core: u16,
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
    /// Records in them, of all streams.
    pub record_count: u64,
    /// Bytes of those frames, headers and padding included.
    pub frame_bytes: u64,
    /// Syncs of groups of frames.
    pub sync_count: u64,
    /// Segments begun.
    pub segment_count: u64,
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
    positions: Positions,
    /// Frames up to its end.
    frame_count: u64,
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
    inputs: WriterStream,
    /// Those of the cores from 0 on.
    outputs: Vec<WriterStream>,
    /// Marks of the open frame of the inputs, and of the record that is appended next.
    marks: FrameMarks,
    /// The open frame of the inputs had no room for a mark, and is to be closed by the next poll.
    is_close_due: bool,
    pool: Pool,
    closed: VecDeque<ClosedFrame>,
    built: VecDeque<BuiltFrame>,
    in_flight: VecDeque<FrameInFlight>,
    /// Running number of the first of `in_flight`: so many frames are written.
    first_ticket: u64,
    /// Where these end.
    written_place: Place,
    /// So many frames are durable.
    durable_count: u64,
    /// Where these end.
    durable_place: Place,
    /// Whether a frame that nothing is under way before is to be durable when it is written, without a sync of its own.
    writes_through: bool,
    /// The sync that is under way.
    group: Option<Group>,
    /// When the last sync of a group began, if the policy counts time.
    group_at: Option<Duration>,
    /// Bytes written since then, if it counts bytes.
    unsynced_bytes: u64,
    segment: ActiveSegment,
    index: IndexBuilder,
    /// The index of the segment that is being left.
    leaving_index: IndexBuilder,
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
    status: Option<StatusWriter>,
    stats: WriterStats,
    options: Options,
    metadata: Metadata,
    notices: Vec<Notice>,
    _lock: Box<dyn Lock>,
}

impl Writer {
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
        if self.is_close_due {
            self.close_frame(0);
        }
        self.submit_frames();
        self.submit_group();
        self.dispatch();
        if is_idle && self.options.has_own_core {
            self.storage.give_way();
        }
        self.publish();
        match &self.failure {
            None => Ok(self.watermarks()),
            Some(failure) => Err(failure.clone()),
        }
    }

    /// Hands what was submitted to the kernel.
    fn dispatch(&mut self) {
        if let Err(cause) = self.storage.dispatch() {
            self.fail("submit writes to", self.segment.name, self.segment.offset, cause);
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

    /// Waits until everything appended to any stream is durable, or only written under [`SyncPolicy::None`].
    ///
    /// # Errors
    /// If a write or sync failed.
    pub fn flush(&mut self) -> Result<Watermarks, WriteError> {
        self.is_flushing = true;
        let result = self.drive(|writer| {
            let needs_sync = writer.options.sync != SyncPolicy::None;
            let is_done = |stream: &WriterStream| {
                stream.written == stream.last() && (stream.durable == stream.last() || !needs_sync)
            };
            writer.streams().all(is_done)
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
            writer.streams().all(|stream| stream.durable == stream.last())
                && writer.leaving.is_none()
                && writer.sealing.is_none()
                && writer.change.is_none()
        })?;
        self.stop_supply()?;
        let positions = self.placed();
        let segment = &self.segment;
        self.sealing = seal_segment(self.storage.as_mut(), &mut self.pool, segment, &self.index, |offset, length| {
            segment.tally.footer(&segment.header, offset, length, &positions, Seal::Finished)
        });
        self.drive(|writer| writer.sealing.is_none())?;
        self.remove_prepared();
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => {
                self.set_state(WriterState::Finished);
                Ok(self.watermarks())
            }
        }
    }

    /// Nothing more is prepared, and nobody is at work on it any more.
    fn stop_supply(&mut self) -> Result<(), WriteError> {
        self.supply.stop();
        self.drive(|writer| !matches!(writer.spare, Spare::Preparing) && writer.supply.has_no_work())
    }

    /// The last record of the inputs whose write, and every write before it, completed.
    pub fn written(&self) -> Sequence {
        Sequence(self.inputs.written)
    }

    /// The last record of the inputs that survives the death of the machine.
    pub fn durable(&self) -> Sequence {
        Sequence(self.inputs.durable)
    }

    /// Both watermarks.
    pub fn watermarks(&self) -> Watermarks {
        self.inputs.watermarks()
    }

    /// The record of the inputs that must be appended next.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.inputs.next_sequence)
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
            self.streams_mut().for_each(|stream| stream.open = None);
            self.set_state(WriterState::Failed);
        }
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
                    self.group = None;
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

    fn complete_other(&mut self, token: Token, done: Done) {
        match (token, done) {
            (Token::Group, _) => {
                if let Some(group) = self.group.take() {
                    self.end_group(&group);
                    self.leave_segment();
                }
            }
            (Token::Spare, Done::Prepared(file)) => self.spare = Spare::Ready(file),
            (Token::Header, _) if self.storage.writes_through() => self.complete_header(),
            (Token::HeaderSync, _) => self.complete_header(),
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
                let offset = self.in_flight.get(index).map_or(0, frames::FrameInFlight::write_offset);
                ("write", (self.segment.name, offset))
            }
            Token::Group => ("sync", (self.segment.name, self.segment.offset)),
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

    fn publish(&mut self) {
        let status = self.status.as_ref();
        if let Some(moved) = self.inputs.take_moved()
            && let Some(status) = status
        {
            status.publish(moved);
        }
        for (core, stream) in (0..).zip(&mut self.outputs) {
            if let Some(moved) = stream.take_moved()
                && let Some(status) = status
            {
                status.publish_outputs(core, moved);
            }
        }
    }

    fn set_state(&self, state: WriterState) {
        if let Some(status) = &self.status {
            status.set_state(state);
        }
    }
}
