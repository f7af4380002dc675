//! What a run reads: ITCH files one after the other, or one journal.

use crate::journal_source::{JournalSource, JournalSourceError};
use std::path::{Path, PathBuf};
use tickcore_book::{Sequence, TimestampNs};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::session::SessionDate;
use tickcore_feed::source::{
    Counts, DetectError, Filled, Format, ItchFile, ItchOptions, Progress, Source, SourceError, detect,
};
use tickcore_journal::{Metadata, Reader, Start};

/// Why inputs cannot be read together, or at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputsError {
    /// No input was named.
    #[error("no input was named")]
    Empty,
    /// What one of them is cannot be told.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// A file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalSourceError),
    /// Some sessions have a date and others have not, so their times cannot be told apart.
    #[error(
        "{}: its session date is not known, and another input's is: put the date into the file's name, such as 01302020",
        path.display()
    )]
    MixedDates {
        /// The first input without a date.
        path: PathBuf,
    },
    /// One date for several sessions.
    #[error("a date was given for several inputs: each has its own, put it into the file's name, such as 01302020")]
    OneDateForSeveral,
    /// A journal among other inputs.
    #[error("{}: a journal has its own numbers of events and instruments; replay it alone", path.display())]
    JournalAmongOthers {
        /// The journal.
        path: PathBuf,
    },
}

/// One file of a run.
#[derive(Debug)]
struct Session {
    path: PathBuf,
    file: ItchFile,
}

#[derive(Debug)]
enum Reading {
    Files { sessions: Vec<Session>, current: usize, has_said_end: bool },
    Journal(Box<JournalSource>),
}

/// The inputs of a run as one source. A following file is a new session: a SessionEvent and a Clear of all stand before
/// it, and its instruments get the numbers after those of the files before.
#[derive(Debug)]
pub struct Inputs {
    reading: Reading,
    paths: Vec<PathBuf>,
    format: Format,
    metadata: Option<Metadata>,
    midnight: Option<TimestampNs>,
    /// The first record of a journal.
    begins_at: Option<Sequence>,
}

impl Inputs {
    /// Opens every input. The session date of a file is `date`, or in its name, or not known; that of a journal is `date`
    /// or the day of its first event in New York.
    ///
    /// # Errors
    /// When one cannot be opened, is not what can be read, or they do not go together.
    pub fn open(paths: &[PathBuf], date: Option<SessionDate>) -> Result<Self, InputsError> {
        let formats = paths.iter().map(|path| detect(path)).collect::<Result<Vec<_>, _>>()?;
        let format = *formats.first().ok_or(InputsError::Empty)?;
        let journal = paths.iter().zip(&formats).find(|(_, format)| **format == Format::JournalDirectory);
        if let Some((path, _)) = journal {
            if paths.len() > 1 {
                return Err(InputsError::JournalAmongOthers { path: path.clone() });
            }
            return Self::open_journal(path, date);
        }
        if date.is_some() && paths.len() > 1 {
            return Err(InputsError::OneDateForSeveral);
        }
        let midnights: Vec<Option<TimestampNs>> = paths
            .iter()
            .map(|path| date.or_else(|| SessionDate::from_file_name(path)).map(SessionDate::midnight))
            .collect();
        if midnights.iter().any(Option::is_some)
            && let Some(undated) = midnights.iter().position(Option::is_none)
        {
            return Err(InputsError::MixedDates { path: paths[undated].clone() });
        }
        let mut sessions = Vec::with_capacity(paths.len());
        for (channel, (path, &midnight)) in (0..).zip(paths.iter().zip(&midnights)) {
            let options =
                ItchOptions { midnight, is_following_session: !sessions.is_empty(), channel, ..ItchOptions::default() };
            sessions.push(Session { path: path.clone(), file: ItchFile::open(path, &options)? });
        }
        Ok(Self {
            reading: Reading::Files { sessions, current: 0, has_said_end: false },
            paths: paths.to_vec(),
            format,
            metadata: None,
            midnight: midnights[0],
            begins_at: None,
        })
    }

    fn open_journal(path: &Path, date: Option<SessionDate>) -> Result<Self, InputsError> {
        let mut reader = Reader::open(path).map_err(JournalSourceError::from)?;
        let metadata = reader.metadata().clone();
        let begins_at = Some(reader.next_sequence());
        let mut first_day = None;
        if !metadata.has_times_since_midnight {
            let records = reader.next_batch().map_err(JournalSourceError::from)?;
            first_day = records.and_then(<[_]>::first).and_then(|record| SessionDate::of(record.event.exchange_time));
            reader = Reader::open(path).map_err(JournalSourceError::from)?;
        }
        Ok(Self {
            reading: Reading::Journal(Box::new(JournalSource::start(reader)?)),
            paths: vec![path.to_owned()],
            format: Format::JournalDirectory,
            metadata: Some(metadata),
            midnight: date.or(first_day).map(SessionDate::midnight),
            begins_at,
        })
    }

    /// The first record of a journal, which is above 1 once retention has let segments go; `None` for files.
    pub const fn journal_begins_at(&self) -> Option<Sequence> {
        self.begins_at
    }

    /// Gives the events of a journal from the one behind `last` on. Files are left as they are.
    ///
    /// # Errors
    /// When the journal cannot be opened there, or its reading thread cannot be started.
    pub fn begin_behind(&mut self, last: Sequence) -> Result<(), InputsError> {
        if let Reading::Journal(source) = &mut self.reading {
            let reader = Reader::open_at(&self.paths[0], Start::Sequence(last.next()));
            let reader = reader.map_err(JournalSourceError::from)?;
            **source = JournalSource::start_at(reader, last.next())?;
        }
        Ok(())
    }

    /// The inputs as they were named.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// What the first input is.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The header of a journal.
    pub const fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()
    }

    /// Midnight of the first session, when its date is known.
    pub const fn midnight(&self) -> Option<TimestampNs> {
        self.midnight
    }

    /// Whether exchange times are nanoseconds since a midnight that nobody named.
    pub fn has_times_since_midnight(&self) -> bool {
        self.metadata.as_ref().map_or(self.midnight.is_none(), |metadata| metadata.has_times_since_midnight)
    }

    /// The file being read, or the journal.
    pub fn current_path(&self) -> &Path {
        match &self.reading {
            Reading::Files { sessions, current, .. } => &sessions[*current].path,
            Reading::Journal(_) => &self.paths[0],
        }
    }

    /// Handles that say how far the reading of each file has come; none for a journal.
    pub fn progress(&self) -> Vec<Progress> {
        match &self.reading {
            Reading::Files { sessions, .. } => sessions.iter().map(|session| session.file.progress()).collect(),
            Reading::Journal(_) => Vec::new(),
        }
    }

    /// Counts of all inputs together. The first message skipped is that of the first file which has one.
    pub fn total_counts(&self) -> Counts {
        match &self.reading {
            Reading::Files { sessions, .. } => {
                let mut total = Counts::default();
                sessions.iter().for_each(|session| total.add(session.file.counts()));
                total
            }
            Reading::Journal(journal) => journal.counts().clone(),
        }
    }
}

impl Source for Inputs {
    #[inline]
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        let (sessions, current, has_said_end) = match &mut self.reading {
            Reading::Files { sessions, current, has_said_end } => (sessions, current, has_said_end),
            Reading::Journal(journal) => return journal.fill(batch, max_messages),
        };
        let filled = sessions[*current].file.fill(batch, max_messages)?;
        if filled != Filled::End || *current + 1 == sessions.len() {
            return Ok(filled);
        }
        // A file's end is answered once with its own counts, so that a strict run can look at them.
        if *has_said_end {
            let next = sessions[*current].file.next_instrument();
            *current += 1;
            sessions[*current].file.set_next_instrument(next);
        }
        *has_said_end = !*has_said_end;
        Ok(Filled::Pending)
    }

    #[inline]
    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        match &mut self.reading {
            Reading::Files { sessions, current, .. } => sessions[*current].file.next_time(),
            Reading::Journal(journal) => journal.next_time(),
        }
    }

    #[inline]
    fn counts(&self) -> &Counts {
        match &self.reading {
            Reading::Files { sessions, current, .. } => sessions[*current].file.counts(),
            Reading::Journal(journal) => journal.counts(),
        }
    }
}
