//! Checking every byte of a journal and listing all that is wrong.

use crate::checkpoint::{Checkpoints, PassedOver};
use crate::directory::{Catalog, Segment, Window, look_again};
use crate::fault::{Damage, Fault, OpenError};
use crate::format::{BLOCK_BYTES, Seal, SegmentFooter};
use crate::medium::{DirectoryMedium, Medium};
use crate::reader::{Tail, check_succession};
use crate::released::Released;
use crate::stream::{INPUT_STREAM, Stream, StreamInfo};
use crate::walk::{Positions, Step, Verdict, Walk, judge};
use std::io;
use std::path::Path;
use std::sync::Arc;
use tickcore_book::Sequence;

/// How far `verify` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that were checked.
    pub bytes_done: u64,
    /// Bytes of all segments.
    pub bytes_total: u64,
}

/// What `verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments that were checked.
    pub segment_count: u64,
    /// Valid frames.
    pub frame_count: u64,
    /// Records in them, of all streams.
    pub record_count: u64,
    /// Bytes of valid headers, frames and footers.
    pub bytes: u64,
    /// What there is of each stream, the inputs first.
    pub streams: Vec<StreamInfo>,
    /// First and last record of the inputs, if there is one.
    pub sequences: Option<(Sequence, Sequence)>,
    /// All damage, in the order in which a reader would meet it, after that of the set of segments as a whole.
    pub damages: Vec<Damage>,
    /// How the journal ends. A torn tail is what a crash leaves, and no damage.
    pub tail: Tail,
    /// Files prepared for a segment that was never begun.
    pub unused: Vec<String>,
    /// Checkpoints that could be gone on from.
    pub checkpoint_count: u64,
    /// Files of checkpoints that could not. That is no damage: an older one, or the journal's beginning, does as well.
    pub passed_over: Vec<PassedOver>,
}

impl VerifyReport {
    /// Whether nothing is damaged.
    pub fn is_intact(&self) -> bool {
        self.damages.is_empty()
    }
}

/// Checks every byte of every segment and checkpoint of the journal in `directory`. `progress` is called after each frame.
///
/// It needs read access only. Of a journal that is being written it checks what was there when it began; segments that
/// retention lets go meanwhile are left out.
///
/// # Errors
/// If files cannot be read or there is no journal. Damage is in the report, not an error.
pub fn verify(directory: impl AsRef<Path>, progress: impl FnMut(Progress)) -> Result<VerifyReport, OpenError> {
    verify_on(&DirectoryMedium::at(directory.as_ref()), progress)
}

/// [`verify`] on any medium.
pub(crate) fn verify_on(medium: &Arc<dyn Medium>, progress: impl FnMut(Progress)) -> Result<VerifyReport, OpenError> {
    let mut catalog = Catalog::load(medium)?;
    if catalog.segments.is_empty() && catalog.damages.is_empty() {
        return Err(OpenError::NotAJournal { path: medium.path().to_owned() });
    }
    let report = VerifyReport {
        damages: core::mem::take(&mut catalog.damages),
        unused: core::mem::take(&mut catalog.unused),
        ..VerifyReport::default()
    };
    let bytes_total = catalog.segments.iter().map(|segment| segment.length).sum();
    let mut verifier = Verifier { catalog, report, progress, bytes_before: 0, bytes_total };
    verifier.run()?;
    let mut report = verifier.report;
    if let Ok(mut checkpoints) = Checkpoints::open_on(medium) {
        while checkpoints.take_newest().is_some() {
            report.checkpoint_count += 1;
        }
        report.passed_over = checkpoints.passed_over().to_vec();
    }
    Ok(report)
}

struct Verifier<P> {
    catalog: Catalog,
    report: VerifyReport,
    progress: P,
    bytes_before: u64,
    bytes_total: u64,
}

/// What follows a segment.
enum Outcome {
    /// The next segment.
    Next,
    /// Nothing.
    End,
}

impl<P: FnMut(Progress)> Verifier<P> {
    fn run(&mut self) -> Result<(), OpenError> {
        let mut previous: Option<Walk> = None;
        for index in 0..self.catalog.segments.len() {
            let io_error = |catalog: &Catalog, cause| OpenError::Io { path: catalog.path(index), cause };
            let Some(window) = self.open(index)? else { continue };
            let segment = self.catalog.segments[index].clone();
            self.check_start(&segment, previous.as_ref());
            let mut walk = Walk::new(window, segment.header);
            let outcome =
                self.check_segment(index, &segment, &mut walk).map_err(|cause| io_error(&self.catalog, cause))?;
            self.bytes_before += segment.length;
            self.report_progress(0);
            if let Outcome::End = outcome {
                break;
            }
            previous = Some(walk);
        }
        Ok(())
    }

    /// A window on a segment, under whatever name it has by now; `None` where retention let it go meanwhile.
    fn open(&mut self, index: usize) -> Result<Option<Window>, OpenError> {
        let number = self.catalog.segments[index].header.number;
        let mut found = None;
        look_again(|| {
            let file = found.as_ref().unwrap_or(&self.catalog.segments[index].file);
            let medium = &self.catalog.medium;
            let cause = match Window::open(medium.as_ref(), file) {
                Ok(window) => return Ok(Some(window)),
                Err(cause) => cause,
            };
            let path = medium.path().join(file);
            if cause.kind() == io::ErrorKind::NotFound {
                let catalog = Catalog::load(medium)?;
                if number < catalog.first.0 {
                    return Ok(None);
                }
                let segment = catalog.segments.into_iter().find(|segment| segment.header.number == number);
                found = segment.map(|segment| segment.file);
            }
            Err(OpenError::Io { path, cause })
        })
    }

    /// Checks that a segment follows the one before; a hole in the numbers is reported already.
    fn check_start(&mut self, segment: &Segment, previous: Option<&Walk>) {
        let header = &segment.header;
        let result = match previous {
            Some(walk) if walk.header.number.wrapping_add(1) == header.number => check_succession(walk, header),
            None if header.number == self.catalog.first.0 => self.catalog.begin().check(&Positions::of_header(header)),
            _ => Ok(()),
        };
        if let Err(fault) = result {
            self.add_damage(segment, 0, segment.header.first_sequence, fault);
        }
        self.report.segment_count += 1;
        self.report.bytes += BLOCK_BYTES;
    }

    fn check_segment(&mut self, index: usize, segment: &Segment, walk: &mut Walk) -> io::Result<Outcome> {
        loop {
            match walk.step()? {
                Step::Frame => self.add_frame(walk),
                Step::Footer(footer) => return self.check_end(index, segment, walk, &footer),
                Step::Bad(fault) => {
                    let (offset, sequence) = (walk.offset, walk.positions.inputs.next_sequence);
                    let verdict = judge(&self.catalog, index, walk, fault)?;
                    if let Verdict::Damage(_) = verdict {
                        match walk.step_again()? {
                            Step::Frame => {
                                self.add_frame(walk);
                                continue;
                            }
                            Step::Footer(footer) => return self.check_end(index, segment, walk, &footer),
                            Step::Bad(_) => {}
                        }
                    }
                    match verdict {
                        Verdict::Continues => return Ok(Outcome::Next),
                        Verdict::Unsealed => {
                            self.report.tail = Tail::Unsealed { file: segment.file.clone(), offset };
                            return Ok(Outcome::End);
                        }
                        Verdict::Torn { bytes } => {
                            self.report.tail = Tail::Torn { file: segment.file.clone(), offset, bytes };
                            return Ok(Outcome::End);
                        }
                        // Its file is another segment's by now.
                        Verdict::Damage(_) if Released::holds(self.catalog.medium.as_ref(), segment.header.number)? => {
                            return Ok(Outcome::Next);
                        }
                        Verdict::Damage(fault) => {
                            self.add_damage(segment, walk.fault_offset, sequence, fault);
                            if !skip_damage(walk)? {
                                return Ok(Outcome::Next);
                            }
                        }
                    }
                }
            }
        }
    }

    fn add_frame(&mut self, walk: &Walk) {
        let Some(frame) = walk.frame() else { return };
        let (first, last) = (Sequence(frame.first_sequence), Sequence(frame.last_sequence()));
        let record_count = u64::from(frame.record_count);
        if frame.stream == INPUT_STREAM {
            let first = self.report.sequences.map_or(first, |(first, _)| first);
            self.report.sequences = Some((first, last));
        }
        let stream = Stream::of_frame(frame);
        let streams = &mut self.report.streams;
        match streams.binary_search_by_key(&stream, |found| found.stream) {
            Ok(place) => {
                streams[place].last = last;
                streams[place].record_count += record_count;
            }
            Err(place) => streams.insert(place, StreamInfo { stream, first, last, record_count }),
        }
        self.report.frame_count += 1;
        self.report.record_count += record_count;
        self.report_progress(walk.offset);
    }

    fn check_end(
        &mut self,
        index: usize,
        segment: &Segment,
        walk: &Walk,
        footer: &SegmentFooter,
    ) -> io::Result<Outcome> {
        let end = walk.offset + u64::from(footer.footer_bytes);
        self.report.bytes += end - BLOCK_BYTES;
        let length = walk.window.length()?;
        if length != end && length != walk.header.prepared_bytes {
            let fault = Fault::TrailingBytes { bytes: length.saturating_sub(end) };
            self.add_damage(segment, end, walk.positions.inputs.next_sequence, fault);
        }
        if index + 1 < self.catalog.segments.len() {
            return Ok(Outcome::Next);
        }
        if Seal::from_number(footer.seal) == Some(Seal::Full) {
            let number = walk.header.number.wrapping_add(1);
            // It was sealed meanwhile, and the next one had no header yet when the directory was listed.
            if segment.footer.is_none() && self.is_there_by_now(number) {
                self.report.tail = Tail::Unsealed { file: segment.file.clone(), offset: walk.offset };
                return Ok(Outcome::End);
            }
            let fault = Fault::MissingSegment { number };
            self.add_damage(segment, end, walk.positions.inputs.next_sequence, fault);
        } else if let Err(fault) = self.catalog.check_end(walk.positions.inputs) {
            self.add_damage(segment, end, walk.positions.inputs.next_sequence, fault);
        }
        self.report.tail = Tail::Sealed;
        Ok(Outcome::End)
    }

    fn is_there_by_now(&self, number: u64) -> bool {
        let catalog = Catalog::load(&self.catalog.medium);
        catalog.is_ok_and(|catalog| {
            number < catalog.first.0 || catalog.segments.iter().any(|segment| segment.header.number == number)
        })
    }

    fn add_damage(&mut self, segment: &Segment, offset: u64, sequence: u64, fault: Fault) {
        self.report.damages.push(Damage { file: segment.file.clone(), offset, sequence: Sequence(sequence), fault });
    }

    fn report_progress(&mut self, bytes_in_segment: u64) {
        let bytes_done = self.bytes_before + bytes_in_segment;
        (self.progress)(Progress { bytes_done, bytes_total: self.bytes_total });
    }
}

/// Moves behind damage to the next valid frame header or footer of the segment. `false` if there is none.
fn skip_damage(walk: &mut Walk) -> io::Result<bool> {
    let identity = walk.header.identity();
    let Some(offset) = walk.window.survey(walk.offset + BLOCK_BYTES, Some(identity))?.first_offset else {
        return Ok(false);
    };
    walk.resume_at(offset, None);
    Ok(true)
}
