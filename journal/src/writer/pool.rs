//! The writer's supply of segments: prepared ahead by the storage or by a helper, and let go by retention.

use super::{Sealing, Spare, Writer};
use crate::checkpoint::{CheckpointMark, covered_by_valid};
use crate::defence::{Defence, stands};
use crate::directory::Catalog;
use crate::format::{BLOCK_BYTES, JournalId};
use crate::helper::{HelperLink, JOBS_MAX, Job, JobDone, Worker};
use crate::medium::Medium;
use crate::options::{Notice, Options, Retention};
use crate::released::Released;
use crate::storage::{Operation, SegmentName, Token};
use crate::walk::Position;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

/// How long after a failed preparation the next is tried.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// What cures a segment that cannot be prepared.
const ROOM_CURE: &str =
    "make room on the file system before the segments that are ready are full, or the journal fails";
/// What cures a segment that cannot be released.
const RELEASE_CURE: &str = "see that its directory may be written to, or the disk fills up";
/// What cures a helper that has no place for another job.
const BUSY_CURE: &str = "the helper is far behind: larger segments make less work for it";
/// What cures a helper that is gone.
const GONE_CURE: &str = "segments are allocated one ahead, by the writer itself: let the helper run as long as it";
/// What cures limits that the only checkpoints there are do not reach.
const FIXED_CURE: &str = "make newer checkpoints";
/// What cures limits that wait for the next checkpoint.
const MARK_CURE: &str = "make checkpoints more often, or none, if the limits are to hold";
/// Sealed segments that are kept count of without allocating.
const KEPT_CAPACITY: usize = 4096;

/// A sealed segment that is still there.
#[derive(Clone, Copy, Debug)]
struct Kept {
    number: u64,
    bytes: u64,
    start: Position,
    highest_time: u64,
}

/// What retention may not let go: the records behind checkpoints, which going on from them takes.
enum Floor {
    /// No checkpoints.
    None,
    /// Those that were there at the start reach so far.
    Fixed(u64),
    /// Somebody makes new ones.
    Mark(CheckpointMark),
}

impl Floor {
    /// Whether records up to here may go.
    fn lets_go(&self, last_sequence: u64) -> bool {
        let covered = match self {
            Self::None => return true,
            Self::Fixed(sequence) => *sequence,
            Self::Mark(mark) => mark.sequence().0,
        };
        last_sequence <= covered || !stands(Defence::KeptForCheckpoint)
    }
}

/// Where segments come from, and where they go.
pub(super) struct Supply {
    helper: Option<HelperLink>,
    /// Lets segments go where there is no helper.
    worker: Worker,
    journal: JournalId,
    retention: Retention,
    /// How far segments may be let go.
    floor: Floor,
    ahead: u64,
    /// The highest segment that the helper was asked for, and the highest that it has prepared.
    requested: u64,
    ready: u64,
    /// Why the last preparation failed, and when.
    failure: Option<(io::Error, Duration)>,
    jobs_under_way: usize,
    /// The writer stands still until it has the next segment.
    is_awaited: bool,
    is_stopping: bool,
    kept: VecDeque<Kept>,
    kept_bytes: u64,
    highest_time: u64,
    warning: Option<Notice>,
}

impl Supply {
    /// A supply behind the segment of this number, for a journal with these sealed segments.
    pub(super) fn new(
        medium: &Arc<dyn Medium>,
        options: &Options,
        journal: JournalId,
        number: u64,
    ) -> Result<Self, crate::OpenError> {
        let helper = options.helper.as_ref().and_then(crate::helper::HelperHandle::take);
        if let Some(helper) = &helper {
            // The channel is empty.
            let recycled_max = options.prepared_segments() as usize;
            let _ = helper.jobs.try_send(Job::Attach { medium: Arc::clone(medium), recycled_max });
        }
        let mut supply = Self {
            helper,
            worker: Worker::new(Arc::clone(medium), 0),
            journal,
            retention: options.retention,
            floor: options.checkpoints.clone().map_or(Floor::None, Floor::Mark),
            ahead: options.prepared_segments(),
            requested: number,
            ready: number,
            failure: None,
            jobs_under_way: 0,
            is_awaited: false,
            is_stopping: false,
            kept: VecDeque::new(),
            kept_bytes: 0,
            highest_time: 0,
            warning: None,
        };
        if options.retention.is_limited() {
            supply.kept.reserve(KEPT_CAPACITY);
            let catalog = Catalog::load(medium)?;
            if let Floor::None = supply.floor {
                supply.floor = covered_by_valid(medium)?.map_or(Floor::None, Floor::Fixed);
            }
            for segment in catalog.segments.iter().filter(|segment| segment.header.number < number) {
                supply.keep(Kept {
                    number: segment.header.number,
                    bytes: segment.length,
                    start: Position::of_header(&segment.header),
                    highest_time: segment.footer.map_or(0, |footer| footer.highest_time.max(footer.last_time)),
                });
            }
        }
        Ok(supply)
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.push_back(kept);
        self.kept_bytes += kept.bytes;
        self.highest_time = self.highest_time.max(kept.highest_time);
    }

    /// Whether the limits ask for the oldest sealed segment to go.
    fn is_over(&self) -> bool {
        // The last one stays: a journal without a segment would be none.
        let Some(oldest) = self.kept.front().filter(|_| self.kept.len() > 1) else { return false };
        let Retention { bytes_max, segments_max, age_max } = self.retention;
        let age = Duration::from_nanos(self.highest_time.saturating_sub(oldest.highest_time));
        bytes_max.is_some_and(|most| self.kept_bytes > most)
            || segments_max.is_some_and(|most| self.kept.len() as u64 > most)
            || age_max.is_some_and(|most| age > most)
    }

    /// Whether checkpoints let go of the oldest sealed segment. If they do not, or not yet, that is a warning.
    fn may_let_go(&mut self) -> bool {
        let Some(next) = self.kept.get(1) else { return false };
        let lets_go = self.floor.lets_go(next.start.next_sequence - 1);
        if lets_go {
            self.warning.take_if(|warning| warning.cure == MARK_CURE);
        } else if self.warning.is_none() {
            self.warn_of_floor();
        }
        lets_go
    }

    #[cold]
    fn warn_of_floor(&mut self) {
        let kept = "segments are kept beyond the limits";
        self.warning = match &self.floor {
            Floor::None => None,
            Floor::Fixed(0) => {
                notice(format!("{kept}, as none of the checkpoints that are there is whole"), FIXED_CURE)
            }
            Floor::Fixed(sequence) => {
                notice(format!("{kept}, to go on from the checkpoint of sequence {sequence}"), FIXED_CURE)
            }
            Floor::Mark(mark) => {
                let covered = mark.sequence();
                notice(format!("{kept} until two checkpoints reach further than sequence {covered}"), MARK_CURE)
            }
        };
    }

    /// Nothing more is prepared, and what is being prepared is given up.
    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
        if let Some(helper) = &self.helper {
            helper.is_stopped.store(true, Relaxed);
        }
    }

    /// Whether no job is under way.
    pub(super) fn has_no_work(&self) -> bool {
        self.jobs_under_way == 0
    }

    /// Tells the helper, if there is one, that recovery has sealed these segments.
    pub(super) fn tell_recovered(&mut self, files: &[String]) {
        let Some(helper) = &self.helper else { return };
        let is_told = files.iter().all(|file| helper.jobs.try_send(Job::Recovered { file: file.clone() }).is_ok());
        if !is_told {
            self.warning = notice("segments were sealed by recovery, and nobody is told".to_owned(), BUSY_CURE);
        }
    }

    /// Notes whether the writer stands still until it has the next segment.
    pub(super) fn set_awaited(&mut self, is_awaited: bool) {
        self.is_awaited = is_awaited;
    }

    /// The helper has ended before the writer did: what it was to do is done here from now on.
    #[cold]
    fn lose_helper(&mut self) {
        self.helper = None;
        self.jobs_under_way = 0;
        self.failure = None;
        self.warning = notice("the helper that prepares segments is gone".to_owned(), GONE_CURE);
    }

    /// Why the next segment cannot be had, if that is so.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take().map(|(cause, _)| cause)
    }
}

#[cold]
fn notice(cause: String, cure: &str) -> Option<Notice> {
    Some(Notice { cause, cure: cure.to_owned() })
}

impl Drop for Supply {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Writer {
    /// What stands in the way of going on for long, though nothing has failed yet: a segment that could not be prepared
    /// or released, or that nobody could be told of: the journal fails when it comes to need it. Or segments stay beyond
    /// the limits, for checkpoints.
    #[inline]
    pub fn warning(&self) -> Option<&Notice> {
        self.supply.warning.as_ref()
    }

    /// Notes that the storage could not prepare the next segment.
    pub(super) fn warn_of_spare(&mut self, cause: &io::Error) {
        let number = self.segment.header.number + 1;
        let told = format!("segment {number} of the journal cannot be prepared: {cause}");
        self.supply.warning = notice(told, ROOM_CURE);
    }

    /// Segments that are ready behind the one that is written.
    pub fn prepared_count(&self) -> u64 {
        let ahead = self.supply.ready.saturating_sub(self.segment.header.number);
        ahead.max(u64::from(matches!(self.spare, Spare::Ready(_))))
    }

    /// Whether the file of the next segment should be asked for.
    pub(super) fn is_spare_due(&self) -> bool {
        if self.supply.is_stopping {
            return false;
        }
        let part = if self.supply.helper.is_some() { 8 } else { 2 };
        let is_begun = self.segment.offset > self.options.segment_bytes / part;
        is_begun || self.supply.helper.is_some() && (self.supply.ahead > 1 || self.stats.segment_count > 1)
    }

    /// Asks for the file of the next segment, and has more of them prepared.
    pub(super) fn prepare_spare(&mut self) {
        let number = self.segment.header.number + 1;
        let length = self.options.segment_bytes + BLOCK_BYTES;
        let name = SegmentName::new(number);
        let is_prewritten = self.options.is_prewritten;
        let supply = &mut self.supply;
        let Some(helper) = &supply.helper else {
            self.spare = Spare::Preparing;
            // One that is gone may have left some.
            let is_there = supply.ready >= number;
            let operation = if is_there { Operation::Open { name } } else { Operation::Prepare { name, length } };
            self.storage.submit(Token::Spare, operation);
            return;
        };
        if let Some((_, at)) = &supply.failure {
            if self.storage.now().saturating_sub(*at) < RETRY_INTERVAL {
                return;
            }
            supply.failure = None;
        }
        while supply.requested < number + supply.ahead - 1 && supply.jobs_under_way < JOBS_MAX / 2 {
            if helper.jobs.try_send(Job::Prepare { number: supply.requested + 1, length, is_prewritten }).is_err() {
                break;
            }
            supply.requested += 1;
            supply.jobs_under_way += 1;
        }
        if supply.ready >= number {
            self.spare = Spare::Preparing;
            self.storage.submit(Token::Spare, Operation::Open { name });
        }
    }

    /// Takes what the helper has done, and tells it whether to hold back.
    pub(super) fn poll_helper(&mut self) {
        let Some(helper) = &self.supply.helper else { return };
        let has_next = self.supply.ready > self.segment.header.number;
        let lags = self.is_deep();
        let set = |flag: &AtomicBool, value| {
            if flag.load(Relaxed) != value {
                flag.store(value, Relaxed);
            }
        };
        set(&helper.is_paused, lags && has_next);
        // A disk that is this busy has no time to write everything twice.
        set(&helper.is_hurried, (lags || self.supply.is_awaited) && !has_next);
        loop {
            let done = match helper.done.try_recv() {
                Ok(done) => done,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return self.supply.lose_helper(),
            };
            self.supply.jobs_under_way -= 1;
            match done {
                JobDone::Prepared { number, result: Ok(()) } => {
                    self.supply.ready = self.supply.ready.max(number);
                    self.supply.warning = None;
                }
                JobDone::Prepared { number, result: Err(cause) } => {
                    // What was asked for behind it comes in its turn, once it is there.
                    self.supply.requested = self.supply.requested.min(number - 1);
                    if !self.supply.is_stopping {
                        let told = format!("segment {number} of the journal cannot be prepared: {cause}");
                        self.supply.warning = notice(told, ROOM_CURE);
                        self.supply.failure = Some((cause, self.storage.now()));
                    }
                }
                JobDone::Released { number, result } => {
                    if let Err(cause) = result {
                        let told = format!("segment {number} of the journal cannot be released: {cause}");
                        self.supply.warning = notice(told, RELEASE_CURE);
                    }
                }
            }
        }
    }

    /// A segment is sealed: that is told, and the oldest go if there are too many.
    pub(super) fn note_sealed(&mut self, sealing: &Sealing) {
        let Sealing { number, start, highest_time, footer_offset, .. } = *sealing;
        let is_told = self.supply.helper.as_ref().is_none_or(|link| link.jobs.try_send(Job::Sealed { number }).is_ok());
        if !is_told {
            self.supply.warning =
                notice(format!("segment {number} of the journal is sealed, and nobody is told"), BUSY_CURE);
        }
        if !self.supply.retention.is_limited() {
            return;
        }
        self.supply.keep(Kept { number, bytes: footer_offset + BLOCK_BYTES, start, highest_time });
        while self.supply.is_over() && self.supply.may_let_go() {
            let Some(oldest) = self.supply.kept.pop_front() else { return };
            self.supply.kept_bytes -= oldest.bytes;
            let next = self.supply.kept.front().map_or(Position::of_header(&self.segment.header), |next| next.start);
            let released = Released::new(self.supply.journal, oldest.number + 1, next);
            let number = oldest.number;
            let is_sent =
                self.supply.helper.as_ref().map(|helper| helper.jobs.try_send(Job::Release { number, released }));
            match is_sent {
                Some(Ok(())) => self.supply.jobs_under_way += 1,
                Some(Err(_)) => {
                    let told = format!("segment {number} of the journal is not released");
                    self.supply.warning = notice(told, BUSY_CURE);
                }
                None => {
                    if let Err(cause) = self.supply.worker.release(number, &released) {
                        self.fail("release", SegmentName::new(number), 0, cause);
                        return;
                    }
                }
            }
        }
    }

    /// Removes the files that were prepared and not used.
    pub(super) fn remove_prepared(&mut self) {
        let next = self.segment.header.number + 1;
        let is_spare_there = if let Spare::Ready(file) = self.spare {
            self.storage.close(file);
            true
        } else {
            false
        };
        let last = self.supply.ready.max(if is_spare_there { next } else { 0 });
        for number in (next..=last).rev() {
            let name = SegmentName::new(number);
            match self.storage.remove(&name) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => self.fail("remove", name, 0, cause),
                _ => {}
            }
        }
    }
}
