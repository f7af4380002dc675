//! Outputs that were recorded, held against those that a strategy sends again.
//!
//! The same strategy on the same inputs sends the same outputs. A run that resumes a journal relies on that: what it sends again
//! is compared and not recorded twice. A replay can be asked to look ([`Config::output_check`](crate::engine::Config::output_check)).
//!
//! Of each recorded output 8 bytes are kept in memory, a digest of its words, read before the run; so the core that compares neither
//! reads nor waits. Comparing costs it about 10 ns an output.

use crate::outputs::cause_of;
use core::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tickcore_book::{Event, Sequence, mix};
use tickcore_journal::{OUTPUT_STREAMS_MAX, OpenError, ReadError, Reader, Start, Stream, info};

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
        let mut first = end.get() + 1;
        let mut digests = Vec::new();
        while let Some(records) = reader.next_batch()? {
            if let (true, Some(record)) = (digests.is_empty(), records.first()) {
                first = record.sequence.get();
            }
            digests.extend(records.iter().map(|record| digest(&record.event)));
        }
        Ok(Self { first, digests: digests.into() })
    }

    /// Number of the last one.
    pub(crate) fn last(&self) -> u64 {
        (self.first + self.digests.len() as u64).saturating_sub(1)
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
    /// Reads the outputs in the journal in `dir`: all of it is read and verified, and 8 bytes are kept of each output.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(dir: &Path) -> Result<Self, OutputCheckError> {
        let found = info(dir)?;
        let has_lost_segments = found.segments.first().is_some_and(|first| first.number > 1);
        let mut ends = vec![Sequence(0); OUTPUT_STREAMS_MAX];
        for (core, end) in (0..).zip(&mut ends) {
            let stream = Stream::outputs_of(core);
            match found.streams.iter().find(|found| found.stream == stream) {
                Some(found) => *end = found.last,
                // All that it had was released, perhaps: then its numbers begin behind that.
                None if has_lost_segments => {
                    *end = Sequence(Reader::open_stream(dir, stream)?.next_sequence().get() - 1);
                }
                None => {}
            }
        }
        let cores = ends.iter().rposition(|&end| end > Sequence(0)).map_or(0, |core| core + 1);
        let read = |(core, &end): (u32, &Sequence)| match end {
            Sequence(0) => Ok(Recorded::default()),
            end => Recorded::read(dir, core, Sequence(0), end),
        };
        Ok(Self { dir: dir.to_owned(), cores: (0..).zip(&ends[..cores]).map(read).collect::<Result<_, _>>()? })
    }

    /// Book cores whose outputs are in the journal, up to the last that sent any.
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

    /// What the cores' comparisons come to after a run that came to the event `last`.
    pub(crate) fn conclude(&self, cores: &[Compared], last: Sequence) -> Result<OutputCheckOutcome, OutputCheckError> {
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
                if recorded.is_some_and(|recorded| cause_of(&recorded) <= last) {
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
        /// The first difference, by the input that caused it. Where the last cores of the recorded run sent nothing, it may come
        /// of another number of cores: that is recorded nowhere else.
        difference: Option<OutputDifference>,
    },
    /// They cannot be compared: which core an output is of depends on how many there are.
    OtherCores {
        /// Cores of the recorded run, up to the last that sent anything; 0 when no outputs were recorded.
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
