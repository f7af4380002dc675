//! The thread that carries events from the ring into the journal.

use crate::control::Control;
use crate::journal_policy::{FullTime, JournalPolicy, OnFailure};
use crate::journaled_outputs::JournaledOutputs;
use crate::meter::Meter;
use crate::outcome::JournalOutcome;
use crate::outputs::UnfilteredReader;
use crate::pin::is_confined_to;
use crate::places::PlaceReader;
use crate::probes::JournalProbe;
use crate::stat::Counter;
use crate::topology::Plan;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tickcore_book::{Event, Kind, Sequence};
use tickcore_feed::ring::{Reader as RingReader, Wait as RingWait};
use tickcore_journal::{
    AppendError, CreateError, Helper, HelperHandle, Metadata, Notice, OnSealed, OpenError, Options, PortableThread,
    ReadError, Reader as JournalReader, RecoverError, Recovery, ResumeError, Retention, WriteError, Writer,
};

/// Events taken from the ring before the writer is polled.
pub(crate) const BATCH_EVENTS: usize = 1024;
/// Longest sleep of a journal thread that has nothing to do.
const WAIT: Duration = Duration::from_micros(100);
/// Idle turns before a spinning journal thread sleeps: the kernel's worker that syncs for it may need the core.
const SPINS_MAX: u32 = 256;
/// Bytes a second that segments are prepared at while one is ready.
const PREPARED_BYTES_PER_SECOND: u64 = 1 << 30;

/// Warnings of one run at most: each kind of trouble is told of once.
const WARNINGS_MAX: usize = 8;

/// Where the journal of a run is, and how it is written.
#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Its directory: empty or absent, unless `resume` is set.
    pub dir: PathBuf,
    /// Whether to go on behind its last record.
    pub resume: bool,
    /// How it is written. Without a helper in it, a paced run starts one that prepares segments ahead: syncs are quicker
    /// then, and every byte is written twice. At full speed the disk is better used for the records alone; then one is
    /// started for retention only, and writes nothing ahead.
    pub options: Options,
    /// What a new journal's header says.
    pub metadata: Metadata,
    /// What is done when it does not keep up, or fails.
    pub policy: JournalPolicy,
}

/// Why the journal of a run could not be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A new one in a directory that is in use.
    #[error(
        "{}: not empty (it holds {found}): choose another directory, or continue the journal in it with --resume",
        path.display()
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// A file in it.
        found: String,
    },
    /// A new one.
    #[error("--journal: {0}")]
    Create(CreateError),
    /// One to continue.
    #[error("--journal --resume: {0}")]
    Resume(#[from] ResumeError),
    /// The thread that prepares segments.
    #[error("--journal: the thread that prepares segments cannot be started: {0}")]
    Helper(std::io::Error),
    /// One to continue, which is read again to be compared with the input.
    #[error("--journal --resume: {0}")]
    Open(#[from] OpenError),
}

impl From<CreateError> for JournalError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::NotEmpty { path, found } => Self::NotEmpty { path, found },
            error => Self::Create(error),
        }
    }
}

/// Why a journal stopped on the way.
#[derive(Debug, thiserror::Error)]
enum CarryError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(
        "the journal's buffer was full for {waited:?}, which is more than it may be: give it more with --journal-buffer, a faster disk, or longer with --journal-full; what is in the buffer is still written"
    )]
    Full { waited: Duration },
    #[error("reading what is there to compare it: {0}")]
    Read(#[from] ReadError),
    #[error(
        "the journal does not belong to this input: its event {sequence} differs from the input's; resume with the input it was made from, or choose another directory"
    )]
    Differs { sequence: Sequence },
    #[error(
        "the journal does not belong to this input: it goes to event {last}, the input only to {end}; resume with the input it was made from"
    )]
    Longer { last: Sequence, end: Sequence },
}

impl CarryError {
    /// Whether the journal itself failed. Otherwise it is another input's, which no policy goes on with.
    const fn is_of_the_journal(&self) -> bool {
        matches!(self, Self::Write(_) | Self::Append(_) | Self::Full { .. })
    }
}

/// A journal being written from the ring.
pub(crate) struct JournalRun<'r> {
    dir: PathBuf,
    /// Gone once the journal has failed: then nobody waits for it.
    ring: Option<RingReader>,
    /// What strategies send, by book core; gone like the ring.
    outputs: JournaledOutputs,
    /// Where events come from.
    places: Option<PlaceReader<'r>>,
    /// The channel of the event that was looked at last; `None` when nobody said where it came from.
    channel: Option<u32>,
    writer: Writer,
    policy: JournalPolicy,
    full: FullTime,
    /// What was told, each kind once.
    warnings: Vec<Notice>,
    /// The journal failed, and yet its writer can go on: what is in its buffer is still to be written.
    is_writer_sound: bool,
    /// The journal that was found is damaged or another input's: it is to be left as it was.
    is_refused: bool,
    /// The journal as it was found, to be compared with the input up to its end.
    found: Option<(JournalReader, Sequence)>,
    compared_events: u64,
    wait: RingWait,
    spins: bool,
    error: Option<String>,
    probe: JournalProbe<'r>,
    /// The thread that prepares segments, if it is this run's own.
    helper: Option<JoinHandle<()>>,
    /// The thread that writes for the portable backend, if it came to that.
    disk: DiskThread,
}

impl<'r> JournalRun<'r> {
    /// Begins a journal, or takes up one that is there. Memory is taken and touched here.
    pub(crate) fn open(
        config: &JournalConfig,
        (ring, outputs): (RingReader, Vec<UnfilteredReader>),
        plan: &Plan,
        is_paced: bool,
        probe: JournalProbe<'r>,
    ) -> Result<Self, JournalError> {
        let mut config = config.clone();
        let mut helper = None;
        let is_limited = config.options.retention != Retention::default();
        if (is_paced || is_limited) && config.options.helper.is_none() {
            let (thread, handle) = start_helper_on(plan.helpers.clone(), None).map_err(JournalError::Helper)?;
            (helper, config.options.helper) = (Some(thread), Some(handle));
            config.options.is_prewritten &= is_paced;
        }
        let disk = DiskThread::default();
        config.options.portable_thread.get_or_insert_with(|| disk.when_needed());
        config.options.has_own_core |= plan.journal_spins;
        let config = &config;
        let resumed = if config.resume { resume(config)? } else { None };
        let (writer, found) = match resumed {
            Some((writer, recovery)) => {
                let found = JournalReader::open(&config.dir)?;
                (writer, Some((found, recovery.last_sequence)))
            }
            None => (Writer::create(&config.dir, config.options.clone(), config.metadata.clone())?, None),
        };
        Ok(Self {
            dir: config.dir.clone(),
            ring: Some(ring),
            outputs: JournaledOutputs::new(outputs),
            places: None,
            channel: None,
            writer,
            policy: config.policy,
            full: FullTime::default(),
            warnings: Vec::with_capacity(WARNINGS_MAX),
            is_writer_sound: true,
            is_refused: false,
            found,
            compared_events: 0,
            wait: plan.wait,
            spins: plan.journal_spins,
            error: None,
            probe,
            helper,
            disk,
        })
    }

    /// Marks frames with the places of events.
    pub(crate) fn with_places(self, places: Option<PlaceReader<'r>>) -> Self {
        Self { places, ..self }
    }

    /// Carries events until the ring is closed and empty and all is written, or the run is abandoned, or the journal
    /// fails: then its policy says what becomes of the run.
    pub(crate) fn carry(&mut self, control: &Control, meter: &mut Meter<'_>) {
        let Some(mut ring) = self.ring.take() else { return };
        self.outputs.begin();
        let carried = self
            .compare(&mut ring, control, meter)
            .and_then(|()| self.append_all(&mut ring, control, meter))
            .and_then(|()| self.write_all(control, meter));
        let Err(error) = carried else {
            self.ring = Some(ring);
            return;
        };
        self.is_writer_sound = matches!(error, CarryError::Full { .. });
        self.is_refused = !error.is_of_the_journal();
        self.has_failed(error.to_string(), error.is_of_the_journal(), control);
        // Nobody waits for this journal any more.
        drop(ring);
        self.outputs.let_go();
        if self.is_writer_sound
            && let Err(error) = self.write_all(control, meter)
        {
            self.is_writer_sound = false;
            self.error = Some(error.to_string());
        }
    }

    /// Stops the run, or flags it and lets it go on.
    fn has_failed(&mut self, error: String, is_of_the_journal: bool, control: &Control) {
        match self.policy.on_failure {
            OnFailure::CarryOn if is_of_the_journal => {
                control.set_unjournaled();
                let durable = self.writer.durable();
                control.tell(&format!(
                    "{error}; the run goes on UNJOURNALED, as asked: what comes behind event {durable} may be in no journal"
                ));
            }
            OnFailure::Stop | OnFailure::CarryOn => control.stop(),
        }
        self.error = Some(error);
    }

    /// Tells of what stands in the way of going on for long: each cure once.
    #[cold]
    fn warn(&mut self, control: &Control) {
        let Some(warning) = self.writer.warning() else { return };
        let is_new = self.warnings.iter().all(|told| told.cure != warning.cure);
        if is_new && self.warnings.len() < WARNINGS_MAX && control.tell(&warning.to_string()) {
            self.warnings.push(warning.clone());
        }
    }

    /// Reads events that the journal has already and compares them with the input's. What strategies send is appended as far as
    /// the events that cause it were found equal: another input's outputs must not come into this journal.
    fn compare(&mut self, ring: &mut RingReader, control: &Control, meter: &mut Meter<'_>) -> Result<(), CarryError> {
        let everything = Sequence(u64::MAX);
        let Some((mut journal, last)) = self.found.take() else {
            self.outputs.let_out(everything);
            return Ok(());
        };
        meter.set(Counter::Durable, last.get());
        // What retention has let go cannot be compared.
        if !self.pass_over(ring, journal.next_sequence(), last, control, meter)? {
            // Nothing was compared: a later run sends these outputs again.
            self.outputs.let_go();
            return Ok(());
        }
        let mut waiter = self.wait.waiter();
        while ring.next_sequence() <= last {
            let Some(records) = journal.next_batch()? else { break };
            let mut rest = records;
            while let Some(first) = rest.first()
                && first.sequence <= last
            {
                let mut same = 0;
                let mut differs = None;
                let count = ring.poll(rest.len().min(BATCH_EVENTS), |sequence, event| {
                    let record = &rest[same];
                    same += 1;
                    if differs.is_none() && (record.sequence != sequence || record.event != *event) {
                        differs = Some(sequence);
                    }
                });
                if let Some(sequence) = differs {
                    return Err(CarryError::Differs { sequence });
                }
                self.compared_events += count as u64;
                rest = &rest[count..];
                let compared = Sequence(ring.next_sequence().get() - 1);
                self.pass_over_places(compared);
                if self.compared_events > 0 {
                    self.outputs.let_out(compared);
                }
                self.append_outputs(meter)?;
                if control.is_abandoned() {
                    return Ok(());
                } else if count > 0 {
                    waiter.reset();
                    meter.set(Counter::Sequence, ring.next_sequence().get() - 1);
                    meter.worked();
                } else if !ring.is_closed_and_drained() {
                    waiter.idle();
                    meter.idle();
                } else {
                    // All that is left was caused by events that were compared.
                    return ended_within(ring, last, control);
                }
            }
        }
        self.outputs.let_out(everything);
        Ok(())
    }

    /// Takes the events before `first`. False when the run ended or was abandoned before.
    fn pass_over(
        &mut self,
        ring: &mut RingReader,
        first: Sequence,
        last: Sequence,
        control: &Control,
        meter: &mut Meter<'_>,
    ) -> Result<bool, CarryError> {
        let mut waiter = self.wait.waiter();
        while ring.next_sequence() < first {
            self.append_outputs(meter)?;
            self.pass_over_places(Sequence(ring.next_sequence().get() - 1));
            let left = (first.get() - ring.next_sequence().get()) as usize;
            if ring.poll(left.min(BATCH_EVENTS), |_, _| ()) > 0 {
                waiter.reset();
                meter.set(Counter::Sequence, ring.next_sequence().get() - 1);
                meter.worked();
            } else if control.is_abandoned() {
                return Ok(false);
            } else if ring.is_closed_and_drained() {
                return ended_within(ring, last, control).map(|()| false);
            } else {
                waiter.idle();
                meter.idle();
            }
        }
        Ok(true)
    }

    fn append_all(
        &mut self,
        ring: &mut RingReader,
        control: &Control,
        meter: &mut Meter<'_>,
    ) -> Result<(), CarryError> {
        let mut waiter = self.wait.waiter();
        let mut idle_turns = 0;
        meter.restart();
        while !control.is_abandoned() {
            let room = self.writer.room().min(BATCH_EVENTS);
            if let Some(waited) = self.full.note(room == 0)
                && self.policy.full_wait_max.is_some_and(|most| waited > most)
            {
                return Err(CarryError::Full { waited });
            }
            if room == 0 {
                meter.set(Counter::FullWaits, self.full.waits);
            }
            if self.writer.warning().is_some() {
                self.warn(control);
            }
            let mut refused = Ok(());
            // A channel that comes in among those of a batch is found with the next one, and so are places where there were none:
            // a source that tells none is asked once a batch. A mark takes nothing of the room (see
            // `Writer::mark`): a line that was taken from the ring is never refused.
            let mut is_first = true;
            let count = ring.poll(room, |sequence, event| {
                let is_unmarked = self.channel.is_some_and(|channel| !self.writer.has_mark(channel));
                if is_first | is_gap(event) | is_unmarked {
                    is_first = false;
                    self.mark(sequence, is_gap(event));
                }
                if refused.is_ok() {
                    refused = self.writer.append(sequence, event);
                    self.probe.appended(sequence);
                }
            });
            refused?;
            let output_count = self.outputs.append(&mut self.writer)?;
            self.poll(meter)?;
            if count + output_count > 0 {
                idle_turns = 0;
                waiter.reset();
                meter.worked();
                meter.batch(count, 0, Sequence(self.writer.next_sequence().get() - 1));
            } else if ring.is_closed_and_drained() && self.outputs.are_complete() {
                return Ok(());
            } else if self.spins && idle_turns < SPINS_MAX {
                idle_turns += 1;
                meter.idle();
                waiter.idle();
            } else {
                self.writer.wait(WAIT)?;
                meter.slept();
            }
        }
        Ok(())
    }

    /// Marks the frame that the event comes into with its place, if it has no mark of its channel or lies behind a gap.
    #[inline]
    fn mark(&mut self, sequence: Sequence, is_gap: bool) {
        let place = self.places.as_mut().and_then(|places| places.of(sequence.get()));
        self.channel = place.map(|place| place.channel);
        let Some(place) = place else { return };
        if is_gap || !self.writer.has_mark(place.channel) {
            self.writer.mark(place.channel, place.venue_sequence, is_gap);
        }
    }

    /// Passes over the places of events that are not appended.
    fn pass_over_places(&mut self, last: Sequence) {
        self.places.iter_mut().for_each(|places| {
            places.of(last.get());
        });
    }

    /// Appends what strategies have sent while nothing else is appended.
    fn append_outputs(&mut self, meter: &Meter<'_>) -> Result<(), CarryError> {
        if self.outputs.append(&mut self.writer)? > 0 {
            self.poll(meter)?;
        }
        Ok(())
    }

    /// Lets the journal make progress and says how far it is.
    #[inline]
    fn poll(&mut self, meter: &Meter<'_>) -> Result<(), WriteError> {
        let watermarks = self.writer.poll()?;
        self.probe.reached(watermarks);
        meter.set(Counter::Written, watermarks.written.get());
        meter.set(Counter::Durable, watermarks.durable.get());
        Ok(())
    }

    /// Waits until what was appended is written: what is left for the end is one sync.
    fn write_all(&mut self, control: &Control, meter: &mut Meter<'_>) -> Result<(), CarryError> {
        let is_written = |writer: &Writer, outputs: &JournaledOutputs| {
            writer.written().next() >= writer.next_sequence() && outputs.are_written(writer)
        };
        while !control.is_abandoned() && !is_written(&self.writer, &self.outputs) {
            self.poll(meter)?;
            self.writer.wait(WAIT)?;
            meter.slept();
        }
        Ok(())
    }

    /// Leaves things as they were found, for a run that never began: a journal or segment that was begun for it goes again.
    pub(crate) fn discard(self) -> JournalOutcome {
        let outcome = JournalOutcome {
            dir: self.dir.clone(),
            first_sequence: None,
            last_sequence: Sequence(self.writer.next_sequence().get() - 1),
            written_sequence: self.writer.written(),
            durable_sequence: self.writer.durable(),
            checkpoint_sequence: None,
            restart_ns: 0,
            checkpoints_made: 0,
            compared_events: 0,
            last_outputs: Vec::new(),
            unmeasured_events: 0,
            bytes: 0,
            segments: 0,
            error: None,
            full_waits: 0,
            full_wait_ns: 0,
            warnings: Vec::new(),
            backend: self.writer.backend(),
            notices: Vec::new(),
        };
        // Its threads end when the writer has gone.
        let discarded = self.writer.discard(&self.dir);
        self.helper.map(JoinHandle::join);
        self.disk.join();
        JournalOutcome { error: discarded.err().map(|error| error.to_string()), ..outcome }
    }

    /// Makes everything durable and seals the journal. After a failure, or when the run was abandoned, it is left as after
    /// a crash; one that was refused, as it was found, unless outputs came into it before.
    pub(crate) fn finish(mut self, control: &Control) -> JournalOutcome {
        // The feed no longer waits for this journal.
        self.ring = None;
        self.outputs.let_go();
        self.warn(control);
        let last_outputs = self.outputs.last(&self.writer);
        let Self {
            dir,
            mut writer,
            policy,
            is_writer_sound,
            is_refused,
            compared_events,
            mut error,
            helper,
            disk,
            mut probe,
            ..
        } = self;
        let mut watermarks = writer.watermarks();
        let last_sequence = Sequence(writer.next_sequence().get() - 1);
        let backend = writer.backend();
        let notices = writer.notices().iter().map(ToString::to_string).collect();
        if is_writer_sound && !control.is_abandoned() {
            // What is measured ends with the sync, not with all that comes to an end behind it.
            let flushed = if probe.is_waiting() { writer.flush() } else { Ok(watermarks) };
            flushed.iter().for_each(|&flushed| probe.reached(flushed));
            match flushed.and_then(|_| writer.finish()) {
                Ok(end) => watermarks = end,
                Err(failure) => {
                    if policy.on_failure == OnFailure::CarryOn {
                        control.set_unjournaled();
                    }
                    error = Some(failure.to_string());
                }
            }
        } else if is_refused && !control.is_abandoned() {
            // An empty segment that cannot be removed does no harm, and the run has an error already.
            let _ = writer.discard(&dir);
        } else {
            drop(writer);
        }
        helper.map(JoinHandle::join);
        disk.join();
        JournalOutcome {
            dir,
            first_sequence: None,
            last_sequence,
            written_sequence: watermarks.written,
            durable_sequence: watermarks.durable,
            checkpoint_sequence: None,
            restart_ns: 0,
            checkpoints_made: 0,
            compared_events,
            last_outputs,
            unmeasured_events: probe.close(),
            bytes: 0,
            segments: 0,
            error,
            full_waits: self.full.waits,
            full_wait_ns: self.full.total_ns(),
            warnings: self.warnings.iter().map(ToString::to_string).collect(),
            backend,
            notices,
        }
    }
}

#[inline]
fn is_gap(event: &Event) -> bool {
    event.kind_number == Kind::Gap as u8
}

/// The ring came to its end before the journal's: the input is another one, unless the run ended for some other reason;
/// then what was compared was equal.
fn ended_within(ring: &RingReader, last: Sequence, control: &Control) -> Result<(), CarryError> {
    if !control.is_input_complete() {
        return Ok(());
    }
    Err(CarryError::Longer { last, end: Sequence(ring.next_sequence().get() - 1) })
}

/// Starts the thread that prepares segments ahead, lets old ones go, and calls `on_sealed` with each that is sealed. It
/// floats over the cores of the process, though the calling thread may be pinned, and ends with the journal.
///
/// # Errors
/// When the thread cannot be started.
pub fn start_helper(on_sealed: Option<OnSealed>) -> std::io::Result<(JoinHandle<()>, HelperHandle)> {
    start_helper_on(Vec::new(), on_sealed)
}

/// As [`start_helper`], on these cores alone if there are any.
///
/// # Errors
/// When the thread cannot be started.
pub fn start_helper_on(
    cores: Vec<usize>,
    on_sealed: Option<OnSealed>,
) -> std::io::Result<(JoinHandle<()>, HelperHandle)> {
    let (helper, handle) = Helper::new(PREPARED_BYTES_PER_SECOND, on_sealed);
    let thread = thread::Builder::new().name("tickcore-prep".to_owned()).spawn(move || {
        // Not where books are kept, if there is another core: it writes whole segments.
        if !is_confined_to(&cores) {
            floats();
        }
        helper.run();
    })?;
    Ok((thread, handle))
}

/// Lets the calling thread run on every core of the process: threads inherit the mask of whoever starts them.
fn floats() {
    if let Ok(cores) = rustix::thread::sched_getaffinity(Some(rustix::process::getpid())) {
        let _ = rustix::thread::sched_setaffinity(None, &cores);
    }
}

/// The thread that writes a journal without io_uring.
#[derive(Clone, Debug, Default)]
struct DiskThread(Arc<Mutex<Option<JoinHandle<()>>>>);

impl DiskThread {
    /// Starts it when the journal asks for it.
    fn when_needed(&self) -> PortableThread {
        let place = Arc::clone(&self.0);
        PortableThread::new(move |disk| {
            let thread = thread::Builder::new().name("tickcore-disk".to_owned()).spawn(move || {
                floats();
                disk.run();
            })?;
            if let Ok(mut place) = place.lock() {
                *place = Some(thread);
            }
            Ok(())
        })
    }

    /// Waits for its end, which comes with the writer's.
    fn join(self) {
        let thread = self.0.lock().ok().and_then(|mut place| place.take());
        thread.map(JoinHandle::join);
    }
}

/// The journal that is there, recovered; `None` where none was begun yet, so that a run which is always started with
/// `resume` can be started the first time as well.
fn resume(config: &JournalConfig) -> Result<Option<(Writer, Recovery)>, ResumeError> {
    match Writer::resume(&config.dir, config.options.clone()) {
        Ok(resumed) => Ok(Some(resumed)),
        Err(ResumeError::Recover(RecoverError::Open(OpenError::NotAJournal { .. }))) => Ok(None),
        Err(error) => Err(error),
    }
}

impl JournalOutcome {
    /// Looks at the directory for what is in it: done once nothing is timed any more.
    pub(crate) fn describe(mut self) -> Self {
        if let Ok(info) = tickcore_journal::info(&self.dir) {
            self.first_sequence = info.sequences.map(|(first, _)| first);
            self.bytes = info.bytes;
            self.segments = info.segments.len() as u64;
        }
        self
    }
}
