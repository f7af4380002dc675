//! Going on from a checkpoint: the books as they were, then the journal's tail, then the input from there on.
//!
//! A run that resumes a journal looks for the newest valid checkpoint by itself. Before the word to go each book core takes
//! its part of the state and applies what the journal holds behind it. The input is read from its beginning all the same, at
//! full speed: it is compared with the journal, and passed by the books.
//!
//! What stands in the way of a checkpoint is said once, and the run begins at the beginning, as one without checkpoints does.

use crate::book_core::{BookCore, Consecutive};
use crate::engine::Config;
use crate::journal_core::JournalError;
use crate::meter::Meter;
use crate::output_check::{OutputCheckError, Recorded, last_outputs, recorded_output};
use crate::outputs::cause_of;
use crate::session_state::{SessionState, SessionStateError};
use crate::strategy::Strategy;
use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tickcore_book::{Capacity, Event, Sequence, TimestampNs};
use tickcore_journal::{
    Checkpoint, Checkpoints, OpenError, ReadError, Reader as JournalReader, RecoverError, Recovery, ResumeError, Start,
    recover,
};

/// Events of the journal's tail that are applied together.
const TAIL_EVENTS: usize = 4096;

/// A checkpoint that was read, and whose books fit the run's.
#[derive(Clone)]
pub struct LoadedCheckpoint {
    file: PathBuf,
    sequence: Sequence,
    state: Arc<[u8]>,
}

impl LoadedCheckpoint {
    /// The last event that is in it.
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Its file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Bytes of its state.
    pub fn bytes(&self) -> usize {
        self.state.len()
    }

    /// The oldest valid checkpoint of the journal in `dir` with these maxima: for a journal whose beginning was released.
    /// `None`, and what was passed over, where there is none.
    ///
    /// # Errors
    /// When the journal cannot be looked at.
    pub fn oldest(dir: &Path, capacity: Capacity) -> Result<(Option<Self>, Vec<String>), OpenError> {
        let mut checkpoints = Checkpoints::open(dir)?;
        let mut notices = Vec::new();
        let mut found = None;
        while found.is_none()
            && let Some(checkpoint) = checkpoints.take_oldest()
        {
            match fits(&checkpoint, capacity, None) {
                Ok(_) => found = Some(Self::new(dir, checkpoint)),
                Err(why) => notices.push(why),
            }
        }
        notices.extend(checkpoints.passed_over().iter().map(ToString::to_string));
        Ok((found, notices))
    }

    pub(crate) fn new(dir: &Path, checkpoint: Checkpoint) -> Self {
        Self { file: dir.join(&checkpoint.file), sequence: checkpoint.sequence, state: checkpoint.state.into() }
    }

    pub(crate) fn state(&self) -> Result<SessionState<'_>, RestartError> {
        SessionState::read(&self.state).map_err(|error| self.error(error))
    }

    fn error(&self, error: SessionStateError) -> RestartError {
        RestartError::State { file: self.file.clone(), error }
    }
}

impl fmt::Debug for LoadedCheckpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LoadedCheckpoint({:?}, {} bytes)", self.file, self.state.len())
    }
}

/// Why a run could not go on from a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its tail cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The checkpoint is whole and says something that cannot be: a bug, or not a checkpoint of this program.
    #[error("{}: {error}; move it away, and the checkpoint before it or the journal's beginning is taken", file.display())]
    State {
        /// Its file.
        file: PathBuf,
        /// What is wrong.
        error: SessionStateError,
    },
    /// Records between the checkpoint and the journal's tail are gone.
    #[error("record {expected} must follow the checkpoint, {found} is the next that is there")]
    Missing {
        /// The record that must come.
        expected: Sequence,
        /// The record that is there.
        found: Sequence,
    },
    /// The journal's tail is shorter than it was found.
    #[error("the journal in {} ends at event {end} and went to {last} when it was recovered: run journal verify", dir.display())]
    Short {
        /// The journal.
        dir: PathBuf,
        /// Its last event when it was recovered.
        last: Sequence,
        /// Its last event now.
        end: Sequence,
    },
    /// The journal's outputs cannot be read.
    #[error(transparent)]
    Outputs(#[from] OutputCheckError),
    /// Its outputs are of another number of book cores than the run has.
    #[error(
        "the journal has outputs of {recorded} book cores and the run has {cores}, and which core an output is of depends on how many there are: resume with as many, or without outputs"
    )]
    OutputCores {
        /// Cores of the run that recorded them; where the journal does not say that, those that sent any, up to the last.
        recorded: u32,
        /// Cores of this run.
        cores: u32,
    },
    /// The strategy sent something else for the events of the journal's tail than it did before.
    #[error("{}", departed(*core, *number, *cause))]
    Departed {
        /// The book core, from 0.
        core: u32,
        /// Number of the output.
        number: Sequence,
        /// The input that caused it.
        cause: Sequence,
    },
    /// The strategy needs the events before the checkpoint, and there are none.
    #[error(
        "the journal begins behind {sequence}, and its checkpoint has no state of this strategy, which needs the session from its start: replay the input itself"
    )]
    Strategy {
        /// The checkpoint's sequence.
        sequence: Sequence,
    },
    /// Parts of the run cannot be done from the middle.
    #[error("the journal begins behind {sequence}, and {what} needs all of it: replay the input itself")]
    Whole {
        /// The checkpoint's sequence.
        sequence: Sequence,
        /// What needs it.
        what: &'static str,
    },
}

/// The state in a checkpoint, if books of these maxima can take it, and these outputs, if there are any to be gone on with, are those that
/// it counts.
pub(crate) fn fits<'c>(
    checkpoint: &'c Checkpoint,
    capacity: Capacity,
    outputs: Option<&LastOutputs<'_>>,
) -> Result<SessionState<'c>, String> {
    let why = match SessionState::read(&checkpoint.state) {
        Ok(state) if state.standing.sequence != checkpoint.sequence => {
            format!("its state is of sequence {}", state.standing.sequence)
        }
        Ok(state) if state.capacity() != capacity => {
            format!("it is of books for {:?}, this run's are for {capacity:?}", state.capacity())
        }
        Ok(state) => match outputs.map_or(Ok(()), |outputs| outputs.fit(&state)) {
            Ok(()) => return Ok(state),
            Err(why) => why,
        },
        Err(error) => error.to_string(),
    };
    Err(format!("the checkpoint {} is passed over: {why}", checkpoint.file))
}

/// What a strategy needs to go on from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    ItsState,
    TheSession,
}

fn need(strategy: &impl Strategy) -> Need {
    match strategy.save() {
        None => Need::TheSession,
        Some(state) if state.is_empty() => Need::Nothing,
        Some(_) => Need::ItsState,
    }
}

/// Whether the strategies can go on from this state; the one that needs it has taken it on then.
pub(crate) fn is_taken_on<S: Strategy>(strategies: &mut [&mut S], state: &SessionState<'_>) -> bool {
    if let [strategy] = strategies
        && need(*strategy) == Need::ItsState
    {
        return state.strategy.is_some_and(|state| strategy.load(state));
    }
    are_stateless(strategies)
}

/// Whether the strategies have nothing to go on with.
pub(crate) fn are_stateless<S: Strategy>(strategies: &[&mut S]) -> bool {
    strategies.iter().all(|strategy| need(*strategy) == Need::Nothing)
}

/// Where a run begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restart {
    /// What the books begin with.
    pub(crate) checkpoint: Option<LoadedCheckpoint>,
    /// The journal whose events behind the checkpoint are applied, and how far.
    pub(crate) tail: Option<(PathBuf, Sequence)>,
    /// Sequence before the source's first event.
    pub(crate) base: Sequence,
    /// Segments that were sealed when the journal was recovered.
    pub(crate) sealed: Vec<String>,
    /// The last event of an earlier run of the same session, 0 when there was none.
    pub(crate) seen: Sequence,
    /// Outputs that an earlier run has recorded and the strategies send again, by book core.
    pub(crate) recorded: Vec<Recorded>,
    /// A checkpoint behind which outputs cannot be compared, as it does not know their numbers.
    pub(crate) not_counted: Option<Sequence>,
    /// What is to be said of it.
    pub(crate) notices: Vec<String>,
}

impl Restart {
    /// Where a run of `config` with these strategies begins. Recovers the journal that is to be resumed.
    pub(crate) fn of<S: Strategy>(
        config: &Config,
        strategies: &mut [&mut S],
    ) -> Result<Self, crate::engine::EngineError> {
        let resumed = config.journal.as_ref().filter(|journal| journal.resume);
        let mut restart = match (&config.start, resumed) {
            (Some(checkpoint), _) => Self::behind(config, checkpoint, strategies)?,
            (None, Some(journal)) => Self::resuming(config, &journal.dir, strategies)?,
            (None, None) => Self::default(),
        };
        if let Some(check) = &config.output_check
            && check.cores() as usize != strategies.len()
        {
            let (recorded, cores) = (check.cores(), strategies.len());
            restart.notices.push(format!(
                "outputs are not compared: those in the journal are of {recorded} book cores and the run has {cores}, and which core an output is of depends on how many there are"
            ));
        }
        Ok(restart)
    }

    /// Of a source that begins behind a checkpoint.
    fn behind<S: Strategy>(
        config: &Config,
        checkpoint: &LoadedCheckpoint,
        strategies: &mut [&mut S],
    ) -> Result<Self, RestartError> {
        let sequence = checkpoint.sequence;
        if let Some(what) = whole(config).or(config.journal.as_ref().map(|_| "a new journal")) {
            return Err(RestartError::Whole { sequence, what });
        }
        if !is_taken_on(strategies, &checkpoint.state()?) {
            return Err(RestartError::Strategy { sequence });
        }
        let mut restart = Self { checkpoint: Some(checkpoint.clone()), base: sequence, ..Self::default() };
        if let Some(check) = &config.output_check
            && check.cores() as usize == strategies.len()
        {
            let (dir, last) = check.ends();
            if let Err(why) = (LastOutputs { dir, last }).fit(&checkpoint.state()?) {
                restart.not_counted = Some(sequence);
                restart.notices.push(format!("outputs behind the checkpoint of {sequence} are not compared: {why}"));
            }
        }
        Ok(restart)
    }

    fn resuming<S: Strategy>(
        config: &Config,
        dir: &Path,
        strategies: &mut [&mut S],
    ) -> Result<Self, crate::engine::EngineError> {
        let recovery = match recover(dir) {
            Ok(recovery) => recovery,
            Err(RecoverError::Open(OpenError::NotAJournal { .. })) => {
                let notice = format!("--resume: {} holds no journal: a new one is begun in it", dir.display());
                return Ok(Self { notices: vec![notice], ..Self::default() });
            }
            Err(error) => return Err(JournalError::from(ResumeError::from(error)).into()),
        };
        let mut checkpoints = Checkpoints::open(dir).map_err(RestartError::from)?;
        let outputs = config.outputs.as_ref().map(|_| LastOutputs::new(dir, &recovery, strategies.len()));
        let outputs = outputs.transpose()?;
        let mut restart = Self { sealed: recovery.sealed, seen: recovery.last_sequence, ..Self::default() };
        while restart.checkpoint.is_none()
            && let Some(checkpoint) = checkpoints.take_newest()
        {
            let why = match (fits(&checkpoint, config.capacity, outputs.as_ref()), whole(config)) {
                (Err(why), _) => why,
                (Ok(_), Some(what)) => {
                    restart.notices.push(format!("begun at the beginning and not at a checkpoint: {what} needs all"));
                    break;
                }
                (Ok(state), None) if is_taken_on(strategies, &state) => {
                    restart.tail = Some((dir.to_owned(), recovery.last_sequence));
                    restart.checkpoint = Some(LoadedCheckpoint::new(dir, checkpoint));
                    break;
                }
                (Ok(_), None) => format!(
                    "the checkpoint {} has no state of this strategy, which is replayed from the session's start",
                    checkpoint.file
                ),
            };
            restart.notices.push(why);
        }
        restart.notices.extend(checkpoints.passed_over().iter().map(ToString::to_string));
        if let Some(outputs) = &outputs {
            restart.recorded = outputs.behind(restart.checkpoint.as_ref())?;
        }
        Ok(restart)
    }

    /// The last event that the books have before the word to go.
    pub(crate) fn through(&self) -> Sequence {
        match (&self.checkpoint, &self.tail) {
            (Some(_), Some((_, last))) => *last,
            (Some(checkpoint), None) => checkpoint.sequence,
            (None, _) => Sequence(0),
        }
    }

    /// Gives a book core its part of the checkpoint, and what the journal holds behind it, for as long as it `goes_on`.
    pub(crate) fn prepare<S: Strategy>(
        &self,
        core: &mut BookCore<'_, '_, S>,
        meter: &mut Meter<'_>,
        goes_on: impl Fn() -> bool,
    ) -> Result<(), RestartError> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(()) };
        core.restore(&checkpoint.state()?).map_err(|error| checkpoint.error(error))?;
        if let Some((dir, last)) = &self.tail {
            let mut reader = JournalReader::open_at(dir, Start::Sequence(checkpoint.sequence.next()))?;
            let is_there = core.catch_up(&mut reader, *last, meter, |_, _| goes_on())?;
            if let Some((number, sent)) = core.outputs.departs_at(Sequence(core.events)) {
                let differing =
                    sent.map_or_else(|| recorded_output(dir, core.number(), number), |sent| Ok(Some(sent)))?;
                let cause = differing.map(|output| cause_of(&output)).unwrap_or_default();
                return Err(RestartError::Departed { core: core.number(), number, cause });
            }
            if !is_there && goes_on() {
                return Err(RestartError::Short { dir: dir.clone(), last: *last, end: Sequence(core.events) });
            }
        }
        Ok(())
    }
}

/// Why a run does not go on whose strategy sends something else than it did before.
pub(crate) fn departed(core: u32, number: Sequence, cause: Sequence) -> String {
    format!(
        "the journal does not belong to this strategy, input or number of book cores: output {number} of book core {core}, at event {cause}, differs from the recorded one; resume with those it was made with, or choose another directory"
    )
}

/// Where the outputs in a journal end that is gone on with.
pub(crate) struct LastOutputs<'d> {
    dir: &'d Path,
    /// By book core; 0 where none was recorded.
    last: Vec<Sequence>,
}

impl<'d> LastOutputs<'d> {
    fn new(dir: &'d Path, recovery: &Recovery, cores: usize) -> Result<Self, RestartError> {
        let Recovery { outputs, output_cores, .. } = recovery;
        let mut last = vec![Sequence(0); cores];
        let sending = outputs.iter().filter_map(|(stream, _)| stream.core()).map(|core| u32::from(core) + 1).max();
        let is_other = |recorded: u32| match output_cores {
            Some(_) => recorded as usize != cores,
            None => recorded as usize > cores,
        };
        if let Some(recorded) = output_cores.or(sending).filter(|&recorded| is_other(recorded)) {
            return Err(RestartError::OutputCores { recorded, cores: cores as u32 });
        }
        for (stream, sequence) in outputs {
            if let Some(last) = stream.core().and_then(|core| last.get_mut(usize::from(core))) {
                *last = *sequence;
            }
        }
        Ok(Self { dir, last })
    }

    /// Those in the journal in `dir` of a run with one core.
    pub(crate) fn of_one_core(dir: &'d Path) -> Result<Self, OpenError> {
        let last = last_outputs(dir)?.first().copied().unwrap_or_default();
        Ok(Self { dir, last: vec![last] })
    }

    /// Whether outputs can go on from this state: it must know how many there were, and the journal must hold them.
    fn fit(&self, state: &SessionState<'_>) -> Result<(), String> {
        let sequence = state.standing.sequence;
        let why = match (&self.last[..], state.standing.outputs) {
            ([_], None) => "how many outputs there were up to it is not known".to_owned(),
            ([recorded], Some(last)) if last > *recorded => {
                format!("output {last} is in it, and the journal's outputs end at {recorded}")
            }
            ([recorded], Some(last)) => {
                let cause_of_number = |number: Sequence| match recorded_output(self.dir, 0, number) {
                    Ok(output) => Ok(output.map(|output| cause_of(&output))),
                    Err(error) => Err(error.to_string()),
                };
                let is_inside = |cause: Option<Sequence>| cause.is_none_or(|cause| cause <= sequence);
                let last_fits = last == Sequence(0) || is_inside(cause_of_number(last)?);
                let next = if last < *recorded { cause_of_number(last.next())? } else { None };
                if last_fits && next.is_none_or(|cause| cause > sequence) {
                    return Ok(());
                }
                format!("its strategy had sent {last} outputs, which is not what the journal has up to there")
            }
            _ => "how many outputs each of several book cores had sent is in no checkpoint".to_owned(),
        };
        Err(why)
    }

    /// The recorded outputs behind a checkpoint, or all.
    fn behind(&self, checkpoint: Option<&LoadedCheckpoint>) -> Result<Vec<Recorded>, RestartError> {
        let state = checkpoint.map(LoadedCheckpoint::state).transpose()?;
        let last = state.and_then(|state| state.standing.outputs).unwrap_or_default();
        let read = |(core, recorded): (u32, &Sequence)| match *recorded {
            Sequence(0) => Ok(Recorded::default()),
            end => Ok(Recorded::read(self.dir, core, last, end)?),
        };
        (0..).zip(&self.last).map(read).collect()
    }
}

/// What of a run needs every event from the first.
fn whole(config: &Config) -> Option<&'static str> {
    if config.is_strict {
        Some("a strict run")
    } else if !config.symbols.is_empty() {
        Some("a choice of instruments")
    } else if config.to != TimestampNs(u64::MAX) {
        Some("an end at a chosen time")
    } else {
        None
    }
}

impl<S: Strategy> BookCore<'_, '_, S> {
    /// Takes on a checkpoint, of a core with a share the part that is its own. The strategy has its state already.
    pub(crate) fn restore(&mut self, state: &SessionState<'_>) -> Result<(), SessionStateError> {
        let standing = &state.standing;
        match &self.share {
            None => state.books.restore(&mut self.books),
            Some(share) => {
                // What every core counts is taken once when the cores are put together.
                let unblamed = (!self.is_first).then_some(standing.common_anomalies);
                state.books.restore_share(&mut self.books, |row| share.owns(row), unblamed)
            }
        }
        .map_err(|error| state.of_books(error))?;
        if let Some(stream) = &mut self.stream {
            let share = self.share.as_ref();
            let restored = stream.restore(state.chains, |row| share.is_none_or(|share| share.owns(row)));
            restored.map_err(|error| state.of_chains(error))?;
        }
        if self.is_first {
            (self.crossed, self.locked) = (standing.crossed, standing.locked);
        }
        self.common_anomalies = standing.common_anomalies;
        self.events = standing.sequence.get();
        self.is_within_transaction = standing.is_within_transaction;
        self.outputs.begin_behind(standing.outputs.unwrap_or_default(), standing.refused);
        self.is_live |= standing.highest_time >= self.from;
        Ok(())
    }

    /// Applies the records of a journal that come next, up to `last`. `goes_on` is called before each part with the number
    /// of its events and its highest time, and may end it. Says whether it came to `last`.
    pub(crate) fn catch_up(
        &mut self,
        reader: &mut JournalReader,
        last: Sequence,
        meter: &mut Meter<'_>,
        mut goes_on: impl FnMut(usize, TimestampNs) -> bool,
    ) -> Result<bool, RestartError> {
        let mut events: Vec<Event> = Vec::with_capacity(TAIL_EVENTS);
        let mut sequences: Vec<Sequence> = Vec::with_capacity(TAIL_EVENTS);
        while self.events < last.get() {
            let expected = Sequence(self.events + 1);
            let Some(records) = reader.next_batch()? else { return Ok(false) };
            if let Some(first) = records.first()
                && first.sequence != expected
            {
                return Err(RestartError::Missing { expected, found: first.sequence });
            }
            let wanted = records.partition_point(|record| record.sequence <= last);
            for part in records[..wanted].chunks(TAIL_EVENTS) {
                let highest_time = part.iter().map(|record| record.event.exchange_time).max().unwrap_or_default();
                if !goes_on(part.len(), highest_time) {
                    return Ok(false);
                }
                events.clear();
                sequences.clear();
                let takes = |event: &Event| self.share.as_ref().is_none_or(|share| share.takes(event));
                for record in part.iter().filter(|record| takes(&record.event)) {
                    events.push(record.event);
                    sequences.push(record.sequence);
                }
                let first = Sequence(self.events + 1);
                let through = Sequence(self.events + part.len() as u64);
                let is_good = if events.len() == part.len() {
                    self.take(&Consecutive(first), &events, 0, through, meter)
                } else {
                    self.take(&sequences[..], &events, part.len() - events.len(), through, meter)
                };
                if !is_good {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
