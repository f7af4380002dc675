//! Outputs that were recorded, held against those that a strategy sends again.
//!
//! The same strategy on the same inputs sends the same outputs. A run that resumes a journal relies on that: what it sends again
//! is compared and not recorded twice. A replay can be asked to look ([`Config::output_check`](crate::engine::Config::output_check)).
//!
//! What was refused when they were recorded, each output says of those before it; the same intents are refused again. So a strategy that
//! acts on a refusal sends the same outputs, too.
//!
//! Of each recorded output 8 bytes are kept in memory, a digest of its words, and 24 of each that came behind refusals, read before
//! the run; so the core that compares neither reads nor waits. Comparing costs it about 10 ns an output.

use crate::outputs::cause_of;
use crate::refusals::{RecordedRefusals, Refusals};
use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tickcore_book::{Event, Sequence, mix};
use tickcore_journal::{OpenError, ReadError, Reader, Start, Stream, info};

/// Why recorded outputs cannot be compared with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputCheckError {
    /// The journal cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its outputs cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Digests of the recorded outputs of one core.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    /// Number of the first.
    first: u64,
    digests: Arc<[u64]>,
    /// What caused the last; where all were released it is not known, and no input comes to it.
    last_cause: Sequence,
    /// Those that came behind refusals, in their order.
    refusals: Arc<[RecordedRefusals]>,
}

/// What a recorded output says to one that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Same,
    Differs,
    /// It was released with the journal's beginning.
    Before,
    Behind,
}

fn digest(output: &Event) -> u64 {
    output.to_words().into_iter().fold(0, |chain, word| mix(chain ^ word))
}

impl Recorded {
    /// Reads the outputs of `core` behind `last` from the journal in `dir`, which go up to `end`; the first ones may have been
    /// released.
    pub(crate) fn read(dir: &Path, core: u32, last: Sequence, end: Sequence) -> Result<Self, OutputCheckError> {
        let stream = Stream::outputs_of(u16::try_from(core).unwrap_or(u16::MAX));
        let mut reader = Reader::open_stream_at(dir, stream, Start::Sequence(last.next()))?;
        let (mut first, mut last_cause) = (end.get() + 1, Sequence(u64::MAX));
        let (mut digests, mut refusals) = (Vec::new(), Vec::new());
        while let Some(records) = reader.next_batch()? {
            if let (true, Some(record)) = (digests.is_empty(), records.first()) {
                first = record.sequence.get();
            }
            last_cause = records.last().map_or(last_cause, |record| cause_of(&record.event));
            digests.extend(records.iter().map(|record| digest(&record.event)));
            refusals.extend(records.iter().filter_map(|record| RecordedRefusals::of(record.sequence, &record.event)));
        }
        Ok(Self { first, digests: digests.into(), last_cause, refusals: refusals.into() })
    }

    /// Reads the outputs behind `last` that the journal in `dir` holds by now; `None` when they are of several cores.
    pub(crate) fn of_one_core(dir: &Path, last: Sequence) -> Result<Option<Self>, OutputCheckError> {
        match last_outputs(dir)?[..] {
            [end] if end > last => Self::read(dir, 0, last, end).map(Some),
            [] | [_] => Ok(Some(Self { first: last.get() + 1, ..Self::default() })),
            _ => Ok(None),
        }
    }

    /// Number of the last one.
    pub(crate) fn last(&self) -> u64 {
        (self.first + self.digests.len() as u64).saturating_sub(1)
    }

    /// Whether a strategy that has sent `number` outputs and has handled all inputs up to `through` has sent less than it should.
    #[inline]
    pub(crate) fn is_missed(&self, number: u64, through: Sequence) -> bool {
        through >= self.last_cause && number < self.last()
    }

    /// Whether an intent that `cause` causes was refused before the output with this number, behind `refused` others.
    #[inline]
    pub(crate) fn has_refused_another(&self, number: u64, refused: &Refusals, cause: Sequence) -> bool {
        let place = self.refusals.partition_point(|refusals| refusals.number < number);
        let refusals = self.refusals.get(place).filter(|refusals| refusals.number == number);
        refusals.is_some_and(|refusals| refusals.have_another(refused, cause))
    }

    /// Compares the output with this number.
    #[inline]
    pub(crate) fn compare(&self, number: u64, output: &Event) -> Answer {
        let Some(place) = number.checked_sub(self.first) else { return Answer::Before };
        match self.digests.get(place as usize) {
            None => Answer::Behind,
            Some(&recorded) if recorded == digest(output) => Answer::Same,
            Some(_) => Answer::Differs,
        }
    }
}

/// Whether the journal in `dir` has outputs.
pub(crate) fn has_outputs(dir: &Path) -> Result<bool, OpenError> {
    Ok(last_outputs(dir)?.iter().any(|&last| last > Sequence(0)))
}

/// The last recorded output of each core, 0 where there is none: of the cores of the run that recorded them, or, where the journal
/// does not say how many those were, of those up to the last that has any.
pub(crate) fn last_outputs(dir: &Path) -> Result<Vec<Sequence>, OpenError> {
    let found = info(dir)?;
    let mut ends = vec![Sequence(0); found.output_cores.unwrap_or_default() as usize];
    for (stream, last) in found.last_outputs {
        let core = usize::from(stream.core().unwrap_or_default());
        ends.resize(ends.len().max(core + 1), Sequence(0));
        ends[core] = last;
    }
    Ok(ends)
}

/// The recorded output of a core with this number, if it is there.
pub(crate) fn recorded_output(dir: &Path, core: u32, number: Sequence) -> Result<Option<Event>, OutputCheckError> {
    let stream = Stream::outputs_of(u16::try_from(core).unwrap_or(u16::MAX));
    let mut reader = Reader::open_stream_at(dir, stream, Start::Sequence(number))?;
    let records = reader.next_batch()?.unwrap_or_default();
    Ok(records.first().filter(|record| record.sequence == number).map(|record| record.event))
}

/// The outputs that a journal holds, for a replay of its inputs to be compared with.
#[derive(Clone)]
pub struct OutputCheck {
    dir: PathBuf,
    cores: Vec<Recorded>,
}

impl OutputCheck {
    /// Reads the outputs in the journal in `dir`: all of it is read and verified, and 8 bytes are kept of each output, 24 more of one
    /// behind refusals.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(dir: &Path) -> Result<Self, OutputCheckError> {
        let read = |(core, &end): (u32, &Sequence)| match end {
            Sequence(0) => Ok(Recorded::default()),
            end => Recorded::read(dir, core, Sequence(0), end),
        };
        let ends = last_outputs(dir)?;
        Ok(Self { dir: dir.to_owned(), cores: (0..).zip(&ends).map(read).collect::<Result<_, _>>()? })
    }

    /// Book cores of the run that recorded the outputs; where the journal does not say it, those up to the last that sent any.
    pub fn cores(&self) -> u32 {
        self.cores.len() as u32
    }

    /// Recorded outputs, all cores together.
    pub fn outputs(&self) -> u64 {
        self.cores.iter().map(|core| core.digests.len() as u64).sum()
    }

    /// The journal, and the last output of each core.
    pub(crate) fn ends(&self) -> (&Path, Vec<Sequence>) {
        (&self.dir, self.cores.iter().map(|core| Sequence(core.last())).collect())
    }

    /// Those of one core of a run with `cores`, when they can be compared.
    pub(crate) fn of_core(&self, core: u32, cores: u32) -> Option<Recorded> {
        self.cores.get(core as usize).filter(|_| self.cores() == cores).cloned()
    }

    /// What the cores' comparisons come to.
    pub(crate) fn conclude(&self, cores: &[Compared]) -> Result<OutputCheckOutcome, OutputCheckError> {
        if self.cores() as usize != cores.len() {
            return Ok(OutputCheckOutcome::OtherCores { recorded: self.cores(), cores: cores.len() as u32 });
        }
        let mut differences = Vec::new();
        for (core, (compared, recorded)) in (0..).zip(cores.iter().zip(&self.cores)) {
            if let Some((number, sent)) = compared.difference {
                let recorded = recorded_output(&self.dir, core, number)?;
                differences.push(OutputDifference { core, number, recorded, sent: Some(sent) });
            } else if compared.last.get() < recorded.last() {
                let number = compared.last.next();
                let recorded = recorded_output(&self.dir, core, number)?;
                // What later inputs caused was not to be sent.
                if recorded.is_some_and(|recorded| cause_of(&recorded) <= compared.through) {
                    differences.push(OutputDifference { core, number, recorded, sent: None });
                }
            }
        }
        Ok(OutputCheckOutcome::Compared {
            same: cores.iter().map(|core| core.same).sum(),
            behind: cores.iter().map(|core| core.behind).sum(),
            difference: differences.into_iter().min_by_key(OutputDifference::cause),
        })
    }
}

impl fmt::Debug for OutputCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OutputCheck({:?}, {} outputs of {} cores)", self.dir, self.outputs(), self.cores())
    }
}

/// How the outputs of one core compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// Number of the last output that was sent.
    pub(crate) last: Sequence,
    /// The last input that the core has handled.
    pub(crate) through: Sequence,
    /// Found equal.
    pub(crate) same: u64,
    /// Sent behind the last recorded one.
    pub(crate) behind: u64,
    /// The first that differs from the recorded one, with its number.
    pub(crate) difference: Option<(Sequence, Event)>,
}

/// The first output that is not as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputDifference {
    /// Number of the book core, from 0.
    pub core: u32,
    /// Number of the output.
    pub number: Sequence,
    /// What was recorded.
    pub recorded: Option<Event>,
    /// What was sent; `None` when there was nothing any more, though the input that caused the recorded one was handled.
    pub sent: Option<Event>,
}

impl OutputDifference {
    /// The input sequence at which the two part: the lower of both causes.
    pub fn cause(&self) -> Sequence {
        let causes = [self.recorded, self.sent].into_iter().flatten().map(|output| cause_of(&output));
        causes.min().unwrap_or_default()
    }
}

impl fmt::Display for OutputDifference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, number, .. } = self;
        write!(formatter, "output {number} of book core {core}, at input {}, is not as it was recorded", self.cause())
    }
}

/// What comparing the outputs of a replay with the recorded ones came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputCheckOutcome {
    /// They were compared, core by core.
    Compared {
        /// Outputs found equal.
        same: u64,
        /// Outputs sent behind the last recorded one of their core: the recorded run was killed, or sent less.
        behind: u64,
        /// The first difference, by the input that caused it.
        difference: Option<OutputDifference>,
    },
    /// They cannot be compared: which core an output is of depends on how many there are.
    OtherCores {
        /// Cores of the recorded run, as [`OutputCheck::cores`] has them; 0 when no outputs were recorded.
        recorded: u32,
        /// Cores of this run.
        cores: u32,
    },
    /// They cannot be compared: the replay began at a checkpoint which does not say, or not rightly, how many outputs of each core lie
    /// before it. The run's notices say why.
    NotCounted {
        /// The last event of the checkpoint.
        checkpoint: Sequence,
    },
}

impl OutputCheckOutcome {
    /// Whether every output is as it was recorded, and none is missing or more.
    pub const fn is_same(&self) -> bool {
        matches!(self, Self::Compared { behind: 0, difference: None, .. })
    }
}
