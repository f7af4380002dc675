//! A journal's directory: its list of segments, and reading a segment through a window.

use crate::checkpoint::{self, Stated};
use crate::compact::{COMPACTED_EXTENSION, CompactedFile, NEW_EXTENSION};
use crate::defence::{Defence, stands};
use crate::fault::{Damage, Fault, OpenError};
use crate::format::{
    BLOCK_BYTES, FrameHeader, JournalId, Place, Seal, SegmentFooter, SegmentHeader, SegmentIdentity, WRITE_UNIT_BYTES,
};
use crate::helper::RECYCLED_EXTENSION;
use crate::medium::{Access, Medium, MediumFile};
use crate::memory::Block;
use crate::released::{RELEASED_FILE, Released};
use crate::stream::INPUT_STREAM;
use crate::walk::{Position, Positions};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tickcore_book::Sequence;

/// How files of segments end.
pub(crate) const SEGMENT_EXTENSION: &str = "tcj";
/// Looks at a directory whose files get other names or go meanwhile.
pub(crate) const LOADS_MAX: usize = 16;
/// How much is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// One valid segment.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) file: String,
    pub(crate) header: SegmentHeader,
    /// The footer at the file's very end, if a valid one stands there.
    pub(crate) footer: Option<SegmentFooter>,
    /// The file's length.
    pub(crate) length: u64,
}

/// All segments of a directory, in the order of their headers.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) medium: Arc<dyn Medium>,
    pub(crate) segments: Vec<Segment>,
    /// Files prepared for a segment that was never begun: no valid header, and no frame.
    pub(crate) unused: Vec<String>,
    /// What is wrong with the set of segments, in the order of the numbers.
    pub(crate) damages: Vec<Damage>,
    /// Number of the first segment that is not released, and where it begins.
    pub(crate) first: (u64, Position),
    /// What checkpoints of this journal state, the oldest first.
    pub(crate) checkpoints: Vec<Stated>,
}

impl Catalog {
    /// Reads the header of every segment. What a writer, its retention or a compactor do meanwhile looks like damage of the
    /// whole: that is believed when a second look shows the same.
    pub(crate) fn load(medium: &Arc<dyn Medium>) -> Result<Self, OpenError> {
        let mut before: Option<Self> = None;
        for _ in 1..LOADS_MAX {
            let (catalog, is_gone) = Self::load_once(medium)?;
            let is_same =
                |before: &Self| before.damages == catalog.damages && before.missing_last() == catalog.missing_last();
            if !is_gone && (catalog.is_whole() || before.as_ref().is_some_and(is_same)) {
                return Ok(catalog);
            }
            before = Some(catalog);
        }
        Self::load_once(medium).map(|(catalog, _)| catalog)
    }

    /// One look at the directory; and whether files went meanwhile, so that others may have come in their place. Names are
    /// listed one by one, too: a file that gets another may be in neither place.
    fn load_once(medium: &Arc<dyn Medium>) -> Result<(Self, bool), OpenError> {
        let mut is_gone = false;
        let directory = medium.path();
        // Before the files: what a checkpoint is of is there then.
        let (mut checkpoints, _) = checkpoint::headers(medium.as_ref())
            .map_err(|cause| OpenError::Io { path: directory.to_owned(), cause })?;
        let mut segments = Vec::new();
        let mut unused = Vec::new();
        let mut damages = Vec::new();
        // Numbers of segments that are there, but damaged: their absence from the list is no second finding.
        let mut damaged_numbers = Vec::new();
        let mut damaged_files = Vec::new();
        for file in
            segment_files(medium.as_ref()).map_err(|cause| OpenError::Io { path: directory.to_owned(), cause })?
        {
            let path = directory.join(&file);
            match identify(medium.as_ref(), &file).map_err(|cause| OpenError::Io { path, cause })? {
                Identified::Segment(segment) => segments.push(*segment),
                Identified::Unused => unused.push(file),
                Identified::Damaged(damaged) => damaged_files.push((file, damaged)),
                Identified::Gone => is_gone = true,
            }
        }
        // After the files: a writer lets none go before it says so here.
        let released_path = || directory.join(RELEASED_FILE);
        let released =
            Released::read(medium.as_ref()).map_err(|cause| OpenError::Io { path: released_path(), cause })?;
        let mut first = (1, Position::START);
        let of_released = |sequence, fault| Damage { file: RELEASED_FILE.to_owned(), offset: 0, sequence, fault };
        match released {
            None => {}
            Some(Ok(Released { journal: found, .. }))
                if commonest_journal(&segments).is_some_and(|journal| journal != found) =>
            {
                damages.push(of_released(Sequence(0), Fault::OtherJournal { found }));
            }
            Some(Ok(released)) => first = (released.number, released.position()),
            Some(Err(fault)) => damages.push(of_released(Sequence(0), fault)),
        }
        for (file, DamagedFile { fault, number, highest_number, first_sequence }) in damaged_files {
            // Bytes of released segments in a file that was to be used again.
            if highest_number.is_some_and(|highest| highest < first.0) && !matches!(fault, Fault::Unsupported { .. }) {
                unused.push(file);
                continue;
            }
            damaged_numbers.push(number);
            damages.push(Damage { file, offset: 0, sequence: Sequence(first_sequence), fault });
        }
        let has_segments = !segments.is_empty();
        segments.retain(|segment| {
            let is_released = segment.header.number < first.0;
            if is_released {
                unused.push(segment.file.clone());
            }
            !is_released
        });
        if has_segments && segments.is_empty() {
            damages.push(of_released(Sequence(first.1.next_sequence), Fault::MissingSegment { number: first.0 }));
        }
        let is_left = |name: &&String| has_extension(name, &[RECYCLED_EXTENSION, NEW_EXTENSION]);
        let names = medium.list().map_err(|cause| OpenError::Io { path: directory.to_owned(), cause })?;
        unused.extend(names.iter().filter(is_left).cloned());
        segments.sort_by_key(|segment| segment.header.number);
        remove_foreign(&mut segments, &mut damages);
        remove_compacted_twins(&mut segments, &mut unused);
        remove_duplicates(&mut segments, &mut damages);
        find_missing(first, &segments, &damaged_numbers, &mut damages);
        damages.sort_by_key(|damage| damage.sequence);
        checkpoints.retain(|stated| segments.first().is_some_and(|segment| segment.header.journal == stated.journal));
        let catalog = Self { medium: Arc::clone(medium), segments, unused, damages, first, checkpoints };
        Ok((catalog, is_gone))
    }

    fn is_whole(&self) -> bool {
        self.damages.is_empty() && !self.segments.is_empty() && self.missing_last().is_none()
    }

    /// The segment that the last one says was there behind it.
    pub(crate) fn missing_last(&self) -> Option<u64> {
        let last = self.segments.last()?;
        let is_followed = last.footer.is_some_and(|footer| Seal::from_number(footer.seal) == Some(Seal::Full));
        is_followed.then(|| last.header.number.wrapping_add(1))
    }

    /// The highest sequence that a checkpoint states was durable, 0 without one.
    pub(crate) fn checkpoint_claim(&self) -> u64 {
        match self.checkpoints.last() {
            Some(newest) if stands(Defence::CheckpointClaims) => newest.sequence,
            _ => 0,
        }
    }

    /// What is wrong with a journal that ends in good order before `position`: a checkpoint that states more.
    pub(crate) fn check_end(&self, position: Position) -> Result<(), Fault> {
        let sequence = Sequence(self.checkpoint_claim());
        if sequence.0 >= position.next_sequence { Err(Fault::BehindCheckpoint { sequence }) } else { Ok(()) }
    }

    /// Where the first segment must begin. Where retention released others, nobody but its own header says so of outputs.
    pub(crate) fn begin(&self) -> Positions {
        let (number, inputs) = self.first;
        let stated = self.segments.first().filter(|_| number > 1).map(|first| first.header.outputs);
        Positions { inputs, outputs: stated.unwrap_or_default() }
    }

    /// As [`Catalog::load`], for those who cannot go on with damage or with nothing.
    pub(crate) fn load_whole(medium: &Arc<dyn Medium>) -> Result<Self, OpenError> {
        let mut catalog = Self::load(medium)?;
        if !catalog.damages.is_empty() {
            return Err(catalog.damages.swap_remove(0).into());
        }
        if catalog.segments.is_empty() {
            return Err(OpenError::NotAJournal { path: medium.path().to_owned() });
        }
        Ok(catalog)
    }

    /// A window on segment `index`.
    pub(crate) fn open(&self, index: usize) -> io::Result<Window> {
        Window::open(self.medium.as_ref(), &self.segments[index].file)
    }

    /// The path of segment `index`.
    pub(crate) fn path(&self, index: usize) -> PathBuf {
        self.medium.path().join(&self.segments[index].file)
    }
}

/// Names of the files that may hold segments, sorted.
pub(crate) fn segment_files(medium: &dyn Medium) -> io::Result<Vec<String>> {
    let mut files = medium.list()?;
    files.retain(|name| has_extension(name, &[SEGMENT_EXTENSION, COMPACTED_EXTENSION]));
    Ok(files)
}

/// Looks again where a file was gone when it came to be opened: it was compacted or released since the directory was listed.
pub(crate) fn look_again<T>(mut look: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    for _ in 1..LOADS_MAX {
        match look() {
            Err(OpenError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    look()
}

fn has_extension(name: &str, wanted: &[&str]) -> bool {
    Path::new(name).extension().is_some_and(|found| wanted.iter().any(|wanted| found == *wanted))
}

enum Identified {
    Segment(Box<Segment>),
    Unused,
    Damaged(DamagedFile),
    /// Removed since the directory was listed.
    Gone,
}

/// Whether an error is one of what a compacted file holds.
pub(crate) fn is_of_content(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

/// A file whose header is not whole.
struct DamagedFile {
    fault: Fault,
    /// Of the first frame in it, 0 if there is none.
    number: u64,
    /// Of all frames in it.
    highest_number: Option<u64>,
    /// Of the first frame of inputs in it, 0 if there is none.
    first_sequence: u64,
}

/// What a file is. A writer may be at work on it: its header can come after it was looked for, and frames behind it before
/// they are. A header is there before any frame is, so a second look tells.
fn identify(medium: &dyn Medium, file: &str) -> io::Result<Identified> {
    match identify_once(medium, file)? {
        Identified::Damaged(_) => identify_once(medium, file),
        identified => Ok(identified),
    }
}

fn identify_once(medium: &dyn Medium, file: &str) -> io::Result<Identified> {
    let mut window = match Window::open(medium, file) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Identified::Gone),
        Err(cause) if is_of_content(&cause) => {
            let fault = Fault::Compacted;
            let damaged = DamagedFile { fault, number: 0, highest_number: None, first_sequence: 0 };
            return Ok(Identified::Damaged(damaged));
        }
        window => window?,
    };
    let fault = match segment_in(&mut window, file)? {
        Ok(segment) => return Ok(Identified::Segment(Box::new(segment))),
        Err(fault) => fault,
    };
    // A header is durable before anything is written behind it. So a file that nobody came to use has nothing there, and
    // whatever has is damage, or of a version that this one does not know; neither may ever be removed.
    let rest = window.survey(BLOCK_BYTES, None)?;
    let is_other = matches!(fault, Fault::Unsupported { .. } | Fault::Number { .. });
    let is_unused = rest.end == BLOCK_BYTES && !is_other;
    Ok(match rest.first {
        None if is_unused => Identified::Unused,
        first => {
            let number = first.map_or(0, |identity| identity.number);
            let first_sequence = rest.first_sequence.unwrap_or(0);
            let highest_number = rest.highest_number;
            Identified::Damaged(DamagedFile { fault, number, highest_number, first_sequence })
        }
    })
}

/// The segment in a file by its header and footer, or what is wrong with the header.
fn segment_in(window: &mut Window, file: &str) -> io::Result<Result<Segment, Fault>> {
    let header = match SegmentHeader::read(window.at(0, BLOCK_BYTES as usize)?) {
        Ok(header) => header,
        Err(fault) => return Ok(Err(fault)),
    };
    let length = window.length()?;
    let footer = match length.checked_sub(BLOCK_BYTES) {
        Some(last) if last > 0 => {
            let found = SegmentFooter::read(window.at(last, BLOCK_BYTES as usize)?).ok();
            found.filter(|footer| footer.check_place(header.identity(), last).is_ok())
        }
        _ => None,
    };
    Ok(Ok(Segment { file: file.to_owned(), header, footer, length }))
}

/// Where sealed segments end, up to the first file that is none, by headers and footers alone. No proof that they belong
/// together, and cheap: a prepared segment, which has to be read through to be told from a damaged one, is not looked into.
pub(crate) fn sealed_ends(medium: &dyn Medium) -> io::Result<Vec<Sequence>> {
    let mut ends = Vec::new();
    for file in segment_files(medium)? {
        let mut window = match Window::open(medium, &file) {
            Ok(window) => window,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        let Ok(Segment { footer: Some(footer), .. }) = segment_in(&mut window, &file)? else { break };
        ends.push(Sequence(footer.last_sequence));
    }
    // A segment and its compacted copy.
    ends.dedup();
    Ok(ends)
}

/// The journal that most segments are of.
fn commonest_journal(segments: &[Segment]) -> Option<JournalId> {
    let mut counts = BTreeMap::<[u8; 16], usize>::new();
    for segment in segments {
        *counts.entry(segment.header.journal.0).or_default() += 1;
    }
    counts.into_iter().max_by_key(|&(_, count)| count).map(|(journal, _)| JournalId(journal))
}

/// Keeps the segments of the journal that has most of them, and reports the others.
fn remove_foreign(segments: &mut Vec<Segment>, damages: &mut Vec<Damage>) {
    let Some(journal) = commonest_journal(segments) else { return };
    segments.retain(|segment| {
        let header = &segment.header;
        let is_own = header.journal == journal;
        if !is_own {
            let fault = Fault::OtherJournal { found: header.journal };
            let (file, sequence) = (segment.file.clone(), Sequence(header.first_sequence));
            damages.push(Damage { file, offset: 0, sequence, fault });
        }
        is_own
    });
}

/// Compacting that died before it let the original go leaves both: the original is the segment.
fn remove_compacted_twins(segments: &mut Vec<Segment>, unused: &mut Vec<String>) {
    let originals: Vec<u64> = segments
        .iter()
        .filter(|segment| has_extension(&segment.file, &[SEGMENT_EXTENSION]))
        .map(|segment| segment.header.number)
        .collect();
    segments.retain(|segment| {
        let is_twin =
            has_extension(&segment.file, &[COMPACTED_EXTENSION]) && originals.contains(&segment.header.number);
        if is_twin {
            unused.push(segment.file.clone());
        }
        !is_twin
    });
}

/// Keeps the first file of each number, and reports the others.
fn remove_duplicates(segments: &mut Vec<Segment>, damages: &mut Vec<Damage>) {
    segments.dedup_by(|later, earlier| {
        let is_duplicate = later.header.number == earlier.header.number;
        if is_duplicate {
            let fault = Fault::DuplicateSegment { number: later.header.number, other: earlier.file.clone() };
            let sequence = Sequence(later.header.first_sequence);
            damages.push(Damage { file: later.file.clone(), offset: 0, sequence, fault });
        }
        is_duplicate
    });
}

/// Reports each hole in the numbers with the file before it (or after it, at the start).
fn find_missing(first: (u64, Position), segments: &[Segment], damaged_numbers: &[u64], damages: &mut Vec<Damage>) {
    let mut expected = first.0;
    let mut file = segments.first().map(|segment| segment.file.as_str()).unwrap_or_default();
    let mut length = 0;
    let mut sequence = Sequence(first.1.next_sequence);
    for segment in segments {
        let missing = (expected..segment.header.number).find(|number| !damaged_numbers.contains(number));
        if let Some(number) = missing {
            damages.push(Damage {
                file: file.to_owned(),
                offset: length,
                sequence,
                fault: Fault::MissingSegment { number },
            });
        }
        expected = segment.header.number.saturating_add(1);
        file = &segment.file;
        length = segment.length;
        sequence = Sequence(
            segment.footer.map_or(segment.header.first_sequence, |footer| footer.last_sequence.wrapping_add(1)),
        );
    }
}

/// What valid structures a stretch of a segment holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Survey {
    /// Valid frame headers.
    pub(crate) frame_count: u64,
    /// The highest sequence of the inputs that one of the frames or a footer says was durable.
    pub(crate) durable: u64,
    /// The furthest place up to which one of them says that all streams were.
    pub(crate) durable_place: Place,
    /// The segment that the first of them names.
    pub(crate) first: Option<SegmentIdentity>,
    /// The first sequence of the inputs that one of them names.
    pub(crate) first_sequence: Option<u64>,
    /// The highest number of a segment that any of them names.
    pub(crate) highest_number: Option<u64>,
    /// Where the first of them stands.
    pub(crate) first_offset: Option<u64>,
    /// End of the last write unit that is not all 0, or the start of the stretch.
    pub(crate) end: u64,
}

thread_local! {
    /// The memory of the window that this thread closed last: a directory has many segments, and most are glanced at.
    static SPARE_MEMORY: Cell<Option<Block>> = const { Cell::new(None) };
}

/// A file read in large pieces that stay in memory until they are left behind.
pub(crate) struct Window {
    file: Box<dyn MediumFile>,
    /// There, but for the moment of dropping.
    memory: Option<Block>,
    start: u64,
    filled: usize,
}

impl Drop for Window {
    fn drop(&mut self) {
        SPARE_MEMORY.set(self.memory.take());
    }
}

impl Window {
    pub(crate) fn open(medium: &dyn Medium, name: &str) -> io::Result<Self> {
        let mut file = medium.open(name, Access::Read)?;
        if has_extension(name, &[COMPACTED_EXTENSION]) {
            file = Box::new(CompactedFile::open(file)?);
        }
        Self::on(file)
    }

    /// A window on an open file.
    pub(crate) fn on(file: Box<dyn MediumFile>) -> io::Result<Self> {
        let memory = match SPARE_MEMORY.take() {
            Some(memory) => memory,
            None => Block::new(WINDOW_BYTES)?,
        };
        Ok(Self { file, memory: Some(memory), start: 0, filled: 0 })
    }

    /// The file's length now.
    pub(crate) fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    /// Forgets what was read, so that a live file is looked at anew.
    pub(crate) fn refresh(&mut self) {
        self.filled = 0;
    }

    /// `length` bytes from `offset`, fewer only at the end of the file. Offsets are multiples of the write unit, so that
    /// records in the result are aligned.
    pub(crate) fn at(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let end = offset + length as u64;
        if offset < self.start || end > self.start + self.filled as u64 {
            self.load(offset, length)?;
        }
        Ok(self.cached(offset, length))
    }

    /// What of `offset..offset + length` is in memory: all of it, if [`Window::at`] has just given it.
    pub(crate) fn cached(&self, offset: u64, length: usize) -> &[u8] {
        let Some(memory) = &self.memory else { return &[] };
        let filled = &memory.bytes()[..self.filled];
        let Some(from) = offset.checked_sub(self.start).map(|from| from as usize) else { return &[] };
        filled.get(from..).map_or(&[], |rest| &rest[..length.min(rest.len())])
    }

    fn load(&mut self, offset: u64, length: usize) -> io::Result<()> {
        let old = (self.start, self.filled);
        self.filled = 0;
        let kept = match offset.checked_sub(old.0) {
            Some(from) if (from as usize) < old.1 => from as usize..old.1,
            _ => 0..0,
        };
        let mut memory = self.memory.take().ok_or(io::ErrorKind::OutOfMemory)?;
        if memory.bytes().len() < length {
            let mut larger = Block::new(length + WINDOW_BYTES)?;
            larger.bytes_mut()[..kept.len()].copy_from_slice(&memory.bytes()[kept.clone()]);
            memory = larger;
        } else {
            memory.bytes_mut().copy_within(kept.clone(), 0);
        }
        self.start = offset;
        self.filled = kept.len();
        let memory = self.memory.insert(memory);
        while self.filled < length {
            let position = offset + self.filled as u64;
            match self.file.read_at(&mut memory.bytes_mut()[self.filled..], position)? {
                0 => break,
                count => self.filled += count,
            }
        }
        Ok(())
    }

    /// Looks at every write unit from `offset` on for valid frame headers and footers; of the segment `expected` only,
    /// if that is known. Stretches without data are skipped where the file system knows them.
    pub(crate) fn survey(&mut self, offset: u64, expected: Option<SegmentIdentity>) -> io::Result<Survey> {
        self.refresh();
        let mut survey = Survey { end: offset, ..Survey::default() };
        let mut at = offset;
        while let Some(next) = self.next_data(at)? {
            at = next;
            let unit = self.at(at, WRITE_UNIT_BYTES as usize)?;
            if unit.is_empty() {
                break;
            }
            if unit.iter().any(|&byte| byte != 0) {
                survey.end = at + unit.len() as u64;
            }
            let found = match FrameHeader::read(unit) {
                Ok(frame) => {
                    let identity =
                        SegmentIdentity { journal: frame.journal, epoch: frame.epoch, number: frame.segment };
                    let inputs = Some(&frame).filter(|frame| frame.stream == INPUT_STREAM);
                    let first_sequence = inputs.map(|frame| frame.first_sequence);
                    let durable = inputs.map_or(0, |frame| frame.durable_sequence);
                    Some((identity, frame.offset, first_sequence, durable, frame.durable_place(), 1))
                }
                Err(_) => SegmentFooter::read(unit).ok().map(|footer| {
                    let (identity, place) = (footer.identity(), footer.durable_place());
                    (identity, footer.offset, Some(footer.first_sequence), footer.last_sequence, place, 0)
                }),
            };
            if let Some((identity, stated_offset, first_sequence, durable, durable_place, frame_count)) = found
                && expected.is_none_or(|expected| expected == identity && stated_offset == at)
            {
                survey.frame_count += frame_count;
                survey.durable = survey.durable.max(durable);
                survey.durable_place = survey.durable_place.max(durable_place);
                survey.first.get_or_insert(identity);
                survey.first_sequence = survey.first_sequence.or(first_sequence);
                survey.highest_number = survey.highest_number.max(Some(identity.number));
                survey.first_offset.get_or_insert(at);
            }
            at += WRITE_UNIT_BYTES;
        }
        Ok(survey)
    }

    /// The first write unit at or after `offset` that may hold anything but zeros, or `None` at the end of the file.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        let found = self.file.next_data(offset)?;
        Ok(found.map(|found| (found & !(WRITE_UNIT_BYTES - 1)).max(offset)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::DirectoryMedium;
    use crate::options::{Backend, Metadata, Options};
    use crate::{Reader, Writer, recover, verify};
    use tickcore_book::Event;
    use zerocopy::IntoBytes;

    /// A header that is whole in itself, and says that 99 outputs were before a journal's first segment.
    #[test]
    fn outputs_before_the_first_segment_are_damage() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let options = Options { backend: Backend::Portable, staging_bytes: 32 << 20, ..Options::default() };
        let mut writer = Writer::create(path, options, Metadata::default()).unwrap();
        writer.append(Sequence(1), &Event::default()).unwrap();
        writer.flush().unwrap();
        drop(writer);
        assert!(verify(path, |_| ()).unwrap().is_intact(), "the control");
        let catalog = Catalog::load(&DirectoryMedium::at(path)).unwrap();
        let Segment { file, mut header, .. } = catalog.segments[0].clone();
        header.outputs.set(1, Position { next_sequence: 100, chain: 7 });
        let opened = std::fs::OpenOptions::new().write(true).open(path.join(file)).unwrap();
        opened.write_all_at(header.seal().as_bytes(), 0).unwrap();
        let report = verify(path, |_| ()).unwrap();
        assert!(matches!(report.damages[..], [Damage { fault: Fault::OutputsBroken { .. }, .. }]), "{report:?}");
        let refused = Reader::open(path).map(|_| ());
        assert!(matches!(refused, Err(OpenError::Damaged(Damage { fault: Fault::OutputsBroken { .. }, .. }))));
        assert!(recover(path).is_err());
    }
}
