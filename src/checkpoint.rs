//! Making checkpoints: from the one before and the segments behind it, never by the hot core.
//!
//! [`make`] does it for a journal that nobody writes. Beside a journaled run a thread named `tickcore-check` does: it keeps
//! books of its own, reads sealed segments as any reader does, applies them at a bounded rate and at the lowest priority, and
//! stores what came of it. It has no part in the run; when it fails, that is said, and the run goes on.

use crate::book_core::{BookCore, BookOptions};
use crate::control::Control;
use crate::meter::Meter;
use crate::output_check::{Answer, OutputCheckError, Recorded, has_outputs, recorded_output};
use crate::outputs::cause_of;
use crate::pin::is_confined_to;
use crate::probes::BookProbe;
use crate::restart::{LastOutputs, LoadedCheckpoint, RestartError, fits, is_taken_on};
use crate::session_state::{self, Standing};
use crate::stat::{BLOCK_WORDS, Slot};
use crate::strategy::Strategy;
use core::array;
use core::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tickcore_book::{Anomaly, Arena, ArenaError, Books, Capacity, CapacityError, Sequence, TimestampNs};
use tickcore_journal::{
    Boundary, CHECKPOINTS_KEPT, CheckpointError, CheckpointMark, Checkpoints, Metadata, OpenError, ReadError,
    Reader as JournalReader, RecoverError, Start, Status, WriterState, boundaries, hold, sealed_ends, store_checkpoint,
};
use tickcore_latency::Clock;

/// How often the thread beside a run looks for sealed segments.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Looks in a row that may fail before it gives up: ten seconds.
const FAILED_LOOKS_MAX: u32 = 40;
/// Longest sleep of that thread, so that it ends soon when the run does.
const STEP: Duration = Duration::from_millis(10);
/// Events a second that it applies at most: half a gigabyte a second to be read.
const EVENTS_PER_SECOND: u64 = 8_000_000;
/// Bytes a second of a checkpoint that it writes at most, so that the journal's syncs do not wait behind all of it.
const BYTES_PER_SECOND: u64 = 200 << 20;
/// Outputs of a twin that are looked for once more when they are not in the journal yet: what it holds back of each core's is less
/// than a frame.
const UNRECORDED_MAX: usize = 1 << 14;
/// The lowest priority, that of what may wait.
const NICE: i32 = 19;

/// A checkpoint that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its file.
    pub file: PathBuf,
    /// The last event in it: the journal's last.
    pub sequence: Sequence,
    /// Bytes of the file; 0 where it was there already.
    pub bytes: u64,
    /// The last event of the checkpoint that it was made from, `None` when it was made from the journal's beginning.
    pub from: Option<Sequence>,
    /// Orders in it.
    pub live_orders: u32,
    /// What was passed over on the way.
    pub notices: Vec<String>,
}

/// Why a checkpoint was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The journal is being written, or damaged, or none.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// It cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be read, or an older checkpoint cannot be gone on from.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// The maxima in its header.
    #[error("the journal's header: {0}")]
    Capacity(#[from] CapacityError),
    /// A maximum in its header is larger than any books'.
    #[error("the journal's header states {found} as a maximum of its books, which none can have")]
    Maximum {
        /// What it states.
        found: u64,
    },
    /// Memory for the books.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// There is nothing to make it of.
    #[error("{}: the journal holds no events: there is nothing to make a checkpoint of", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// Its beginning is gone, and no checkpoint stands for it.
    #[error(
        "the journal begins at sequence {first}, and no checkpoint stands for the events before: replay the input itself"
    )]
    NotFromStart {
        /// The first record that is there.
        first: Sequence,
    },
    /// All instruments together reached a maximum that several book cores have each.
    #[error(
        "the books of all cores together do not fit the maxima that each core has: give higher ones, or do without"
    )]
    Maxima,
    /// The journal's outputs cannot be read.
    #[error(transparent)]
    Outputs(#[from] OutputCheckError),
    /// The run's strategy was told something else than its twin, and there is no other twin to begin again with.
    #[error(
        "the strategy's twin has sent what the journal does not have, and gives no twin of its own to begin again with"
    )]
    NoTwin,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] CheckpointError),
}

/// Maxima of the books behind a journal.
///
/// # Errors
/// When they cannot be those of any books.
pub fn capacity_of(metadata: &Metadata) -> Result<Capacity, MakeError> {
    let narrow = |found: u64| u32::try_from(found).map_err(|_| MakeError::Maximum { found });
    let stored = metadata.capacities;
    let capacity = Capacity {
        instruments_max: narrow(stored.instruments_max)?,
        orders_max: narrow(stored.orders_max)?,
        levels_max: narrow(stored.levels_max)?,
    };
    Ok(capacity.check()?)
}

/// Makes a checkpoint at the end of the journal in `dir`, which nobody writes meanwhile: from the newest valid one and what
/// comes behind it, or from the beginning. A journal that was left by a crash is recovered first. `progress` is called with
/// the events applied and those to be applied.
///
/// `strategy` sees every event behind that checkpoint, and what it saves becomes part of the new one;
/// [`NoStrategy`](crate::strategy::NoStrategy) is for checkpoints of the books alone.
///
/// Cost: memory for the books, and some 50 ns an event.
///
/// # Errors
/// When the journal is being written or damaged, or memory or files cannot be had.
pub fn make<S: Strategy>(dir: &Path, mut strategy: S, mut progress: impl FnMut(u64, u64)) -> Result<Made, MakeError> {
    let (_held, recovery) = hold(dir)?;
    let end = boundaries(dir)?.last().copied().filter(|end| end.sequence > Sequence(0));
    let end = end.ok_or_else(|| MakeError::Empty { path: dir.to_owned() })?;
    let capacity = capacity_of(&recovery.metadata)?;
    let (newest, mut notices) = newest(dir, capacity, &mut strategy, None)?;
    let from = newest.as_ref().map(LoadedCheckpoint::sequence);
    if let Some(newest) = newest.as_ref().filter(|newest| newest.sequence() == end.sequence) {
        let (file, live_orders) = (newest.file().to_owned(), newest.state()?.books.live_orders());
        return Ok(Made { file, sequence: end.sequence, bytes: 0, from, live_orders, notices });
    }
    let clock = Clock::calibrate();
    let control = Control::new(1);
    let arena = Arena::new(capacity.arena_bytes())?;
    let books = Books::new(&arena, capacity)?;
    let core = BookCore::new(books, strategy, &options(), BookProbe::off(&clock), &control, &clock);
    let mut maker = Maker::new(dir, core, &clock, true);
    maker.begin(newest.as_ref())?;
    maker.look_at_outputs()?;
    let first = maker.core.events;
    let all = end.sequence.get() - first;
    let mut done = 0;
    maker.advance(end.sequence, |count| {
        done += count as u64;
        progress(done, all);
        true
    })?;
    let outputs = maker.outputs()?;
    if outputs.is_none() && has_outputs(dir)? {
        notices.push(
            "how many outputs there were up to this checkpoint is not known, as they are not those of this strategy alone, or \
             not all recorded: a run that resumes with outputs passes it over"
                .to_owned(),
        );
    }
    let stored = maker.store(&end, outputs, |_| ())?;
    let live_orders = maker.core.books.live_orders();
    Ok(Made { file: dir.join(stored.file), sequence: end.sequence, bytes: stored.bytes, from, live_orders, notices })
}

/// The newest checkpoint that these books and this strategy can go on from, with these outputs if there are any to be gone on with, and
/// what was passed over.
fn newest<S: Strategy>(
    dir: &Path,
    capacity: Capacity,
    strategy: &mut S,
    outputs: Option<&LastOutputs<'_>>,
) -> Result<(Option<LoadedCheckpoint>, Vec<String>), OpenError> {
    let mut checkpoints = Checkpoints::open(dir)?;
    let (mut found, mut notices) = (None, Vec::new());
    while found.is_none()
        && let Some(checkpoint) = checkpoints.take_newest()
    {
        match fits(&checkpoint, capacity, outputs) {
            Ok(state) if is_taken_on(&mut [strategy], &state) => found = Some(LoadedCheckpoint::new(dir, checkpoint)),
            Ok(_) => notices.push(format!("the checkpoint {} has no state of this strategy", checkpoint.file)),
            Err(why) => notices.push(why),
        }
    }
    notices.extend(checkpoints.passed_over().iter().map(ToString::to_string));
    Ok((found, notices))
}

/// Books can be built from a journal's beginning only where it is still there.
fn is_from_start(reader: &JournalReader) -> Result<(), MakeError> {
    match reader.next_sequence() {
        Sequence(1) => Ok(()),
        first => Err(MakeError::NotFromStart { first }),
    }
}

/// As a run's book core, without all that is measured.
fn options() -> BookOptions {
    BookOptions {
        symbols: Vec::new(),
        from: TimestampNs(0),
        keeps_digests: true,
        is_strict: false,
        share: None,
        is_first: true,
    }
}

/// Books that follow a journal to make checkpoints of it.
struct Maker<'m, 'a, S> {
    dir: &'m Path,
    core: BookCore<'a, 'm, S>,
    clock: &'m Clock,
    highest_time: TimestampNs,
    /// Whether it knows how many outputs there were before, and has the strategy that sends them.
    counts_outputs: bool,
}

impl<'m, 'a, S: Strategy> Maker<'m, 'a, S> {
    fn new(dir: &'m Path, core: BookCore<'a, 'm, S>, clock: &'m Clock, counts_outputs: bool) -> Self {
        Self { dir, core, clock, highest_time: TimestampNs(0), counts_outputs }
    }

    /// Goes to where a checkpoint stands; the strategy is there already.
    fn begin(&mut self, checkpoint: Option<&LoadedCheckpoint>) -> Result<(), MakeError> {
        match checkpoint {
            Some(checkpoint) => {
                let state = checkpoint.state()?;
                self.highest_time = state.standing.highest_time;
                self.counts_outputs &= state.standing.outputs.is_some();
                let file = || checkpoint.file().to_owned();
                self.core.restore(&state).map_err(|error| RestartError::State { file: file(), error })?;
                Ok(())
            }
            None => is_from_start(&JournalReader::open(self.dir)?),
        }
    }

    /// Goes on to `last`, which the journal holds. False when `goes_on`, called with the number of events before each part,
    /// said so.
    fn advance(&mut self, last: Sequence, mut goes_on: impl FnMut(usize) -> bool) -> Result<bool, RestartError> {
        let words: [AtomicU64; BLOCK_WORDS] = array::from_fn(|_| AtomicU64::new(0));
        let mut meter = Meter::new(self.clock, Slot::over(&words), 0);
        let mut reader = JournalReader::open_at(self.dir, Start::Sequence(Sequence(self.core.events + 1)))?;
        let highest_time = &mut self.highest_time;
        self.core.catch_up(&mut reader, last, &mut meter, |count, time| {
            *highest_time = time.max(*highest_time);
            goes_on(count)
        })
    }

    /// Has the strategy's outputs compared with those that the journal holds by now, which say what it was refused.
    fn look_at_outputs(&mut self) -> Result<(), OutputCheckError> {
        let recorded = Recorded::of_one_core(self.dir, self.core.outputs.number())?;
        self.counts_outputs &= recorded.is_some();
        self.core.outputs.follow(recorded.unwrap_or_default(), UNRECORDED_MAX);
        Ok(())
    }

    /// How many outputs there were, if the journal bears out that the strategy sent them: it has all of them, and no others up to here.
    fn outputs(&mut self) -> Result<Option<Sequence>, OutputCheckError> {
        let outputs = &mut self.core.outputs;
        let (number, unrecorded, compared) =
            (outputs.number(), outputs.take_unrecorded(), outputs.compared(Sequence(self.core.events)));
        let are_kept = unrecorded.len() as u64 == compared.behind;
        if !self.counts_outputs || !are_kept || compared.difference.is_some() {
            return Ok(None);
        }
        // They may be there by now.
        let before = Sequence(number.get() - compared.behind);
        let Some(recorded) = Recorded::of_one_core(self.dir, before)? else { return Ok(None) };
        let mut numbered = (before.get() + 1..).zip(&unrecorded);
        if !numbered.all(|(number, output)| recorded.compare(number, output) == Answer::Same) {
            return Ok(None);
        }
        let next = if recorded.last() > number.get() { recorded_output(self.dir, 0, number.next())? } else { None };
        Ok(next.is_none_or(|next| cause_of(&next).get() > self.core.events).then_some(number))
    }

    fn store(
        &self,
        boundary: &Boundary,
        outputs: Option<Sequence>,
        pace: impl FnMut(usize),
    ) -> Result<tickcore_journal::Stored, CheckpointError> {
        let core = &self.core;
        let standing = Standing {
            sequence: Sequence(core.events),
            highest_time: self.highest_time,
            crossed: core.crossed,
            locked: core.locked,
            common_anomalies: core.common_anomalies,
            is_within_transaction: core.is_within_transaction,
            outputs,
            refused: outputs.map_or(0, |_| core.outputs.refused_last()),
        };
        let strategy = core.strategy.save().filter(|state| !state.is_empty());
        let stream = core.stream.as_ref().expect("the digests are kept, by the options above");
        let state = session_state::encode(&standing, strategy.as_deref(), stream, &core.books);
        store_checkpoint(self.dir, boundary, &state, pace)
    }
}

/// What is known of the thread beside a run, by whoever waits for the run.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Checkpoints that it has made.
    pub(crate) made: AtomicU64,
    /// Set once nothing is left for it to do.
    pub(crate) is_ended: AtomicBool,
    /// What it has to say and nobody has said yet.
    notices: Mutex<Vec<String>>,
}

impl Account {
    pub(crate) fn note(&self, notices: impl IntoIterator<Item = String>) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).extend(notices);
    }

    /// What is to be said now.
    pub(crate) fn take_notices(&self) -> Vec<String> {
        core::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread that makes checkpoints beside a run.
#[derive(Debug)]
pub(crate) struct Beside<'r> {
    pub(crate) dir: &'r Path,
    pub(crate) capacity: Capacity,
    pub(crate) every: NonZeroU64,
    /// Several cores keep books, with these maxima each.
    pub(crate) is_sharded: bool,
    /// Whether it has a twin of the run's strategy.
    pub(crate) has_strategy: bool,
    /// Whether the run records what its strategy sends.
    pub(crate) records_outputs: bool,
    pub(crate) mark: &'r CheckpointMark,
    pub(crate) clock: &'r Clock,
    /// Cores that are nobody's, where there are any.
    pub(crate) helpers: &'r [usize],
    pub(crate) account: &'r Account,
    pub(crate) control: &'r Control,
}

impl Beside<'_> {
    /// Whether nothing more is to be done: the run has ended, or goes on without its journal.
    fn has_ended(&self) -> bool {
        self.account.is_ended.load(Relaxed) || self.control.is_unjournaled()
    }

    /// Works until the run has ended, or nothing more can be done.
    pub(crate) fn run<S: Strategy>(self, strategy: S) {
        is_confined_to(self.helpers);
        // Refused where the process may not even be nice: then it competes as any thread does.
        let _ = rustix::process::setpriority_process(None, NICE);
        if let Err(error) = self.follow(strategy) {
            self.account.note([format!(
                "no more checkpoints are made beside this run: {error}; segments that retention may not let go yet stay \
                 beyond its limits until a checkpoint is made"
            )]);
        }
    }

    /// Whether a checkpoint is of use only if it says how many outputs there were.
    fn counts_outputs(&self) -> bool {
        self.has_strategy && self.records_outputs
    }

    /// The journal's outputs, if checkpoints have to count them.
    fn outputs(&self) -> Result<Option<LastOutputs<'_>>, OpenError> {
        self.counts_outputs().then(|| LastOutputs::of_one_core(self.dir)).transpose()
    }

    fn follow<S: Strategy>(&self, strategy: S) -> Result<(), MakeError> {
        if !self.wait_until(|| self.is_journal_there().then_some(())) {
            return Ok(());
        }
        self.raise_mark()?;
        let mut next = Some(strategy);
        let mut last = Sequence(0);
        while let Some(strategy) = next.take() {
            let another = strategy.twin();
            let Some(lost_at) = self.follow_with(strategy, last)? else { return Ok(()) };
            if last == Sequence(0) {
                self.account.note([format!(
                    "no checkpoint is made at event {lost_at}: the journal does not bear out what the strategy's twin has sent up to \
                     there, as some of it was refused or is not recorded; it is tried again behind later segments"
                )]);
            }
            (last, next) = (lost_at, another);
        }
        Err(MakeError::NoTwin)
    }

    /// Makes checkpoints behind `last` until the run has ended. Says where there was one that it could not make: the strategy may
    /// have been told something else than that of the run, so neither can it make the ones behind.
    fn follow_with<S: Strategy>(&self, mut strategy: S, mut last: Sequence) -> Result<Option<Sequence>, MakeError> {
        let outputs = self.outputs()?;
        // What is passed over, a run that goes on from this journal has said already; another run finds no checkpoint.
        let (newest, _) = newest(self.dir, self.capacity, &mut strategy, outputs.as_ref())?;
        // Found now, and not only once the first is due. What cannot be opened yet is opened then.
        if newest.is_none()
            && let Ok(reader) = JournalReader::open(self.dir)
        {
            is_from_start(&reader)?;
        }
        last = last.max(newest.as_ref().map_or(Sequence(0), LoadedCheckpoint::sequence));
        let mut target = None;
        if !self.wait_for_sealed(last, &mut target)? {
            return Ok(None);
        }
        let control = Control::new(1);
        let arena = Arena::new(self.capacity.arena_bytes())?;
        let books = Books::new(&arena, self.capacity)?;
        let core = BookCore::new(books, strategy, &options(), BookProbe::off(self.clock), &control, self.clock);
        let mut maker = Maker::new(self.dir, core, self.clock, self.has_strategy);
        maker.begin(newest.as_ref())?;
        drop(newest);
        while let Some(boundary) = target.take() {
            // What cannot be read now is not known.
            maker.counts_outputs &= maker.look_at_outputs().is_ok();
            let mut due = Instant::now();
            let is_there = maker.advance(boundary.sequence, |count| self.holds(count, EVENTS_PER_SECOND, &mut due))?;
            if self.has_ended() {
                return Ok(None);
            }
            if self.is_sharded && maker.core.books.anomalies().of(Anomaly::Capacity) > 0 {
                return Err(MakeError::Maxima);
            }
            if is_there {
                let outputs = maker.outputs().unwrap_or_default();
                if self.counts_outputs() && outputs.is_none() {
                    return Ok(Some(boundary.sequence));
                }
                let stored =
                    maker.store(&boundary, outputs, |bytes| _ = self.holds(bytes, BYTES_PER_SECOND, &mut due))?;
                self.mark.raise(stored.covered);
                self.account.made.fetch_add(1, Relaxed);
                last = boundary.sequence;
            }
            self.wait_for_sealed(last, &mut target)?;
        }
        Ok(None)
    }

    /// Holds a rate, as long as the run goes on. False when it has ended.
    fn holds(&self, count: usize, per_second: u64, due: &mut Instant) -> bool {
        while let Some(early) = due.checked_duration_since(Instant::now())
            && !self.has_ended()
        {
            sleep(early.min(STEP));
        }
        *due = (*due).max(Instant::now()) + Duration::from_nanos(count as u64 * 1_000_000_000 / per_second);
        !self.has_ended()
    }

    /// Whether the run's writer has its journal in hand: before that there may be another one, or one to be recovered.
    fn is_journal_there(&self) -> bool {
        let status = Status::open(self.dir).map(|status| status.read());
        status.is_ok_and(|found| found.process_id == std::process::id() && found.state == WriterState::Running)
    }

    /// Retention may let go of what the checkpoints cover that are there, and that are of use.
    fn raise_mark(&self) -> Result<(), OpenError> {
        let outputs = self.outputs()?;
        let mut checkpoints = Checkpoints::open(self.dir)?;
        let mut sequences = Vec::with_capacity(CHECKPOINTS_KEPT);
        while sequences.len() < CHECKPOINTS_KEPT
            && let Some(checkpoint) = checkpoints.take_newest()
        {
            if outputs.is_none() || fits(&checkpoint, self.capacity, outputs.as_ref()).is_ok() {
                sequences.push(checkpoint.sequence);
            }
        }
        if sequences.len() == CHECKPOINTS_KEPT {
            self.mark.raise(sequences[CHECKPOINTS_KEPT - 1]);
        }
        Ok(())
    }

    /// Waits until so many segments behind `last` are sealed, and says where the last of them ends. False when the run has
    /// ended before.
    fn wait_for_sealed(&self, last: Sequence, target: &mut Option<Boundary>) -> Result<bool, OpenError> {
        let (mut failures_in_row, mut failure) = (0, None);
        let io_error = |cause| OpenError::Io { path: self.dir.to_owned(), cause };
        let is_due = |ends: Vec<Sequence>| ends.iter().filter(|&&end| end > last).count() as u64 >= self.every.get();
        let look = || match sealed_ends(self.dir).map(is_due) {
            Ok(true) => boundaries(self.dir),
            Ok(false) => Ok(Vec::new()),
            Err(cause) => Err(io_error(cause)),
        };
        let is_there = self.wait_until(|| match look() {
            Ok(mut sealed) => {
                failures_in_row = 0;
                sealed.retain(|boundary| boundary.sequence > last);
                *target = sealed.last().copied().filter(|_| sealed.len() as u64 >= self.every.get());
                target.map(|_| ())
            }
            // One that fails is a moment at which files change, and many are none.
            Err(error) => {
                failures_in_row += 1;
                failure = (failures_in_row == FAILED_LOOKS_MAX).then_some(error);
                failure.as_ref().map(|_| ())
            }
        });
        failure.map_or(Ok(is_there), Err)
    }

    /// Looks again and again. False when the run has ended before there was anything.
    fn wait_until(&self, mut is_there: impl FnMut() -> Option<()>) -> bool {
        loop {
            if self.has_ended() {
                return false;
            }
            if is_there().is_some() {
                return true;
            }
            let until = Instant::now() + LOOK_INTERVAL;
            while Instant::now() < until && !self.has_ended() {
                sleep(STEP);
            }
        }
    }
}

impl From<ReadError> for MakeError {
    fn from(error: ReadError) -> Self {
        Self::Restart(error.into())
    }
}
