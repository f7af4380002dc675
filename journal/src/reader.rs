//! Reading one stream of a journal, from its first record or from any other, with every check on: frames of the other
//! streams are checked and passed over, for they show what is damaged and what is only torn.
//!
//! Works with read access alone, on finished journals, on what a crash left, and on one that is being written: after
//! the end was reached, [`Reader::next_batch`] looks again and gives what has come since. Records are handed out in
//! place, one frame at a time, from the buffer they were read into. Worst case: at the end of an unsealed segment the
//! rest of its file is looked through (holes are skipped) each time the reader is asked again; [`Reader::follow`] looks
//! at the writer's watermark first.

use crate::directory::{Catalog, LOADS_MAX, look_again};
use crate::fault::{Damage, Fault, OpenError, ReadError};
use crate::format::{JournalId, Record, Seal, SegmentFooter, SegmentHeader};
use crate::mark::Mark;
use crate::medium::{DirectoryMedium, Medium};
use crate::options::Metadata;
use crate::seek::{Start, find_segment, skip_by_index};
use crate::status::{Status, WriterState};
use crate::stream::Stream;
use crate::walk::{Positions, Step, Verdict, Walk, judge};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tickcore_book::Sequence;

/// How a journal ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// The end was not reached yet.
    #[default]
    Unread,
    /// The last segment is sealed.
    Sealed,
    /// The last segment is not sealed, and nothing stands behind its last frame: it is being written, or its writer was
    /// killed between two writes.
    Unsealed {
        /// The segment's file.
        file: String,
        /// Where the next frame would begin.
        offset: u64,
    },
    /// Behind the last valid frame stand remains of writes that had not become durable when the writer stopped.
    Torn {
        /// The segment's file.
        file: String,
        /// Where the remains begin.
        offset: u64,
        /// How many bytes they span.
        bytes: u64,
    },
}

/// A journal opened for reading.
pub struct Reader {
    catalog: Catalog,
    stream: Stream,
    index: usize,
    walk: Walk,
    tail: Tail,
    metadata: Metadata,
    /// Records before it are still to be skipped.
    start: Start,
    /// Where in its frame the batch that was given last begins; `None` when none was.
    batch_from: Option<usize>,
    /// The writer's page, when it is followed.
    status: Option<Status>,
}

impl Reader {
    /// Opens the journal in `directory`, to read its inputs.
    ///
    /// # Errors
    /// If there is none, if files cannot be read, or if segments are missing, duplicate, foreign or have damaged
    /// headers.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::open_at(directory, Start::Beginning)
    }

    /// Opens the journal in `directory` to be read from `start` on. Sealed segments before it are not looked at, and
    /// their index leads into the one that it stands in. Records before the start are never given; when there are none
    /// behind it, the journal ends at once.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_at(directory: impl AsRef<Path>, start: Start) -> Result<Self, OpenError> {
        Self::open_on(&DirectoryMedium::at(directory.as_ref()), Stream::INPUTS, start)
    }

    /// Opens the journal in `directory`, to read one of its streams. One that it has nothing of ends at once.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_stream(directory: impl AsRef<Path>, stream: Stream) -> Result<Self, OpenError> {
        Self::open_stream_at(directory, stream, Start::Beginning)
    }

    /// Opens the journal in `directory`, to read one of its streams from `start` on: by record numbers of that stream. Outputs
    /// are in no index: of the segment that the start stands in all is read, and for a time all segments are.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_stream_at(directory: impl AsRef<Path>, stream: Stream, start: Start) -> Result<Self, OpenError> {
        Self::open_on(&DirectoryMedium::at(directory.as_ref()), stream, start)
    }

    /// Reads along with the journal's writer: [`Reader::next_batch`] returns `None` when there is nothing yet, at the cost
    /// of one look at the writer's watermark, for as long as the writer's status page says that it runs.
    ///
    /// # Errors
    /// If there is no status page.
    pub fn follow(&mut self) -> io::Result<()> {
        let status = Status::open(self.catalog.medium.path())?;
        self.status = (status.read().journal == self.journal()).then_some(status);
        Ok(())
    }

    /// Whether the writer that is followed says that it still runs. A killed writer cannot say that it does not.
    pub fn is_writer_running(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.read().state == WriterState::Running)
    }

    /// [`Reader::open`] on any medium.
    pub(crate) fn open_on(medium: &Arc<dyn Medium>, stream: Stream, start: Start) -> Result<Self, OpenError> {
        look_again(|| Self::open_once(medium, stream, start))
    }

    fn open_once(medium: &Arc<dyn Medium>, stream: Stream, start: Start) -> Result<Self, OpenError> {
        let catalog = Catalog::load_whole(medium)?;
        let header = catalog.segments[0].header;
        let begin = catalog.begin();
        if let Err(fault) = begin.check(&Positions::of_header(&header)) {
            let file = catalog.segments[0].file.clone();
            return Err(Damage { file, offset: 0, sequence: Sequence(begin.inputs.next_sequence), fault }.into());
        }
        let metadata = Metadata::from_header(&header);
        let index = find_segment(&catalog, stream, start);
        let io_error = |cause| OpenError::Io { path: catalog.path(index), cause };
        let window = catalog.open(index).map_err(io_error)?;
        let mut walk = Walk::new(window, catalog.segments[index].header);
        let is_indexed = stream == Stream::INPUTS && catalog.segments[index].footer.is_some();
        if start != Start::Beginning && is_indexed {
            skip_by_index(&mut walk, start).map_err(io_error)?;
        }
        Ok(Self { catalog, stream, index, walk, tail: Tail::Unread, metadata, start, batch_from: None, status: None })
    }

    /// What was said about the journal when it was created.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The journal's id.
    pub fn journal(&self) -> JournalId {
        self.walk.header.journal
    }

    /// The stream that is read.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// The next record to be read, by its number in the stream; 1 at the start. While the start is being looked for, some
    /// record before it.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.walk.positions.of_stream(self.stream.number()).next_sequence)
    }

    /// Where the venue's channels stood at records of the frame that the last batch came from, in the order of the records;
    /// none for outputs. Where the journal was read from a start within the frame, some may be of records before it.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        let frame = self.walk.frame().filter(|_| self.batch_from.is_some());
        frame.into_iter().flat_map(|frame| frame.marks())
    }

    /// How the journal ends, once `next_batch` has returned `None`.
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The records of the next frame, or `None` at the end.
    ///
    /// # Errors
    /// If a file cannot be read, or if the journal is damaged here; asked again, it answers the same.
    pub fn next_batch(&mut self) -> Result<Option<&[Record]>, ReadError> {
        self.batch_from = None;
        if self.has_nothing_new() {
            return Ok(None);
        }
        while let Some(is_frame) = self.advance()? {
            if is_frame && self.walk.frame().is_some_and(|frame| frame.stream == self.stream.number()) {
                let skipped_count = self.start.skipped_count(self.walk.records());
                if skipped_count < self.walk.records().len() {
                    self.start = Start::Beginning;
                    self.batch_from = Some(skipped_count);
                    return Ok(Some(self.batch()));
                }
            }
        }
        Ok(None)
    }

    /// The records that [`Reader::next_batch`] gave last, once more: to be looked at beside [`Reader::marks`]. Once that gave
    /// `None` or an error, none.
    pub fn batch(&self) -> &[Record] {
        self.batch_from.map_or(&[], |from| self.walk.records().get(from..).unwrap_or_default())
    }

    /// Whether the writer that is followed runs and has not written what comes next here.
    fn has_nothing_new(&self) -> bool {
        let Some(status) = &self.status else { return false };
        let found = status.read();
        let written = match self.stream.core() {
            None => found.watermarks.written,
            Some(core) => status.outputs(core).written,
        };
        found.state == WriterState::Running && written < self.next_sequence()
    }

    /// One step: `true` for a frame, `false` for another segment, `None` at the end.
    fn advance(&mut self) -> Result<Option<bool>, ReadError> {
        match self.walk.step().map_err(|cause| self.io_error(cause))? {
            Step::Frame => {
                self.tail = Tail::Unread;
                Ok(Some(true))
            }
            Step::Footer(footer) => self.leave(&footer),
            Step::Bad(fault) => self.end(fault),
        }
    }

    /// Behind a footer: the next segment, or the end.
    fn leave(&mut self, footer: &SegmentFooter) -> Result<Option<bool>, ReadError> {
        let length = self.walk.window.length().map_err(|cause| self.io_error(cause))?;
        let end = self.walk.offset + u64::from(footer.footer_bytes);
        if length != end && length != self.walk.header.prepared_bytes {
            return Err(self.damage(Fault::TrailingBytes { bytes: length.saturating_sub(end) }).into());
        }
        if self.index + 1 == self.catalog.segments.len() && self.reload()? {
            return Ok(Some(false));
        }
        if self.index + 1 < self.catalog.segments.len() {
            return self.enter_next().map(|()| Some(false));
        }
        if Seal::from_number(footer.seal) == Some(Seal::Full) {
            let number = self.walk.header.number.wrapping_add(1);
            return Err(self.damage(Fault::MissingSegment { number }).into());
        }
        self.catalog.check_end(self.walk.positions.inputs).map_err(|fault| self.damage(fault))?;
        self.tail = Tail::Sealed;
        Ok(None)
    }

    /// At a place where neither frame nor footer stands.
    fn end(&mut self, fault: Fault) -> Result<Option<bool>, ReadError> {
        if self.reload()? {
            return Ok(Some(false));
        }
        let verdict = judge(&self.catalog, self.index, &mut self.walk, fault).map_err(|cause| self.io_error(cause))?;
        match self.walk.step_again().map_err(|cause| self.io_error(cause))? {
            Step::Frame => return Ok(Some(true)),
            Step::Footer(footer) => return self.leave(&footer),
            Step::Bad(_) => {}
        }
        let (file, offset) = (self.catalog.segments[self.index].file.clone(), self.walk.offset);
        self.tail = match verdict {
            Verdict::Continues => return self.enter_next().map(|()| Some(false)),
            Verdict::Damage(fault) => {
                let offset = self.walk.fault_offset;
                return Err(Damage { offset, ..self.damage(fault) }.into());
            }
            Verdict::Unsealed => Tail::Unsealed { file, offset },
            Verdict::Torn { bytes } => Tail::Torn { file, offset, bytes },
        };
        Ok(None)
    }

    fn enter_next(&mut self) -> Result<(), ReadError> {
        let mut opened = self.catalog.open(self.index + 1);
        for _ in 1..LOADS_MAX {
            // Released or compacted since the directory was looked at.
            if !opened.as_ref().is_err_and(|cause| cause.kind() == io::ErrorKind::NotFound) {
                break;
            }
            if self.reload()? {
                return Ok(());
            }
            if self.index + 1 < self.catalog.segments.len() {
                opened = self.catalog.open(self.index + 1);
            }
        }
        let window = opened.map_err(|cause| self.io_error(cause))?;
        let next = &self.catalog.segments[self.index + 1];
        if let Err(fault) = check_succession(&self.walk, &next.header) {
            let sequence = self.input_sequence();
            return Err(Damage { file: next.file.clone(), offset: 0, sequence, fault }.into());
        }
        self.walk = Walk::new(window, next.header);
        self.index += 1;
        Ok(())
    }

    /// Lists the segments again: a writer may have added some. `true` where the one that was read is released, and nothing of
    /// the stream with it that was not given: the walk is at the start of the first that remains then.
    fn reload(&mut self) -> Result<bool, ReadError> {
        let catalog = Catalog::load_whole(&self.catalog.medium).map_err(|error| match error {
            OpenError::Damaged(damage) => ReadError::Damaged(damage),
            OpenError::Io { path, cause } => ReadError::Io { path, offset: 0, sequence: self.input_sequence(), cause },
            OpenError::NotAJournal { path } => ReadError::Io {
                path,
                offset: 0,
                sequence: self.input_sequence(),
                cause: io::ErrorKind::NotFound.into(),
            },
        })?;
        let number = self.walk.header.number;
        match catalog.segments.iter().position(|segment| segment.header.number == number) {
            Some(index) => {
                self.index = index;
                self.catalog = catalog;
                Ok(false)
            }
            None if number < catalog.first.0 => {
                let header = catalog.segments[0].header;
                let begin = Positions::of_header(&header).of_stream(self.stream.number());
                if begin != self.walk.positions.of_stream(self.stream.number()) {
                    let first = Sequence(begin.next_sequence);
                    return Err(ReadError::Released { sequence: self.next_sequence(), first });
                }
                match catalog.open(0) {
                    // Released meanwhile.
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => return self.reload(),
                    opened => self.walk = Walk::new(opened.map_err(|cause| self.io_error(cause))?, header),
                }
                (self.index, self.catalog) = (0, catalog);
                Ok(true)
            }
            None => Err(self.damage(Fault::MissingSegment { number }).into()),
        }
    }

    fn io_error(&self, cause: io::Error) -> ReadError {
        let path = self.catalog.path(self.index);
        ReadError::Io { path, offset: self.walk.offset, sequence: self.input_sequence(), cause }
    }

    fn damage(&self, fault: Fault) -> Damage {
        let file = self.catalog.segments[self.index].file.clone();
        Damage { file, offset: self.walk.offset, sequence: self.input_sequence(), fault }
    }

    /// The next record of the inputs, by which errors say where they are.
    fn input_sequence(&self) -> Sequence {
        Sequence(self.walk.positions.inputs.next_sequence)
    }
}

/// Refuses a next segment that does not follow the one that was walked through.
pub(crate) fn check_succession(walk: &Walk, next: &SegmentHeader) -> Result<(), Fault> {
    walk.check_next(next)?;
    if next.epoch < walk.header.epoch {
        return Err(Fault::EpochBroken { previous: walk.header.epoch, found: next.epoch });
    }
    Ok(())
}
