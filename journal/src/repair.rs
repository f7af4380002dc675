//! Making a damaged journal readable again, as far as it goes.
//!
//! What comes before the first damage stays, and not a byte of it that verifies is changed; there the journal is sealed.
//! What comes behind is kept beside it under names that end in `.cut`, whole: the file that was cut, as it was, and every
//! later one. Files that do not belong (foreign ones, duplicates) are put aside in the same way. Where only a footer was
//! damaged and the next segment follows, the footer is written anew and nothing is lost.

use crate::defence::{Defence, stands};
use crate::directory::Catalog;
use crate::fault::OpenError;
use crate::format::{BLOCK_BYTES, Seal, SegmentFooter};
use crate::medium::{Access, DirectoryMedium, Medium, MediumFile};
use crate::recovery::{RecoverError, Recovery, recover_locked, take_compact_lock, take_lock};
use crate::verify::Progress;
use crate::walk::{Positions, Verdict, Walk, judge};
use core::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tickcore_book::Sequence;
use zerocopy::IntoBytes;

/// How files end that repairing put aside.
const ASIDE_EXTENSION: &str = "cut";
/// Files of one name that are put aside at most.
const ASIDE_MAX: u32 = 1000;
/// Bytes that are copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Something that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairStep {
    /// Gives a file another name, so that it is no part of the journal any more.
    PutAside {
        /// The file.
        file: String,
    },
    /// Seals a segment at a place and cuts what stands there, of which a copy is kept.
    Seal {
        /// The segment's file.
        file: String,
        /// Where its good frames end.
        offset: u64,
        /// The record that would come next.
        sequence: Sequence,
    },
}

impl fmt::Display for RepairStep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PutAside { file } => write!(formatter, "put {file} aside as {file}.{ASIDE_EXTENSION}"),
            Self::Seal { file, offset, sequence } => write!(
                formatter,
                "keep a copy of {file} as {file}.{ASIDE_EXTENSION}, then seal it at byte {offset}, before sequence {sequence}"
            ),
        }
    }
}

/// A step, and the footer that it writes; none where the one that is there is good and only what follows is cut.
struct Planned {
    step: RepairStep,
    footer: Option<SegmentFooter>,
}

/// What a repair of the journal in `directory` would do: nothing, if it is not damaged. Nothing is changed. `progress` is called
/// after each frame and each segment.
///
/// # Errors
/// If there is no journal, nothing of it can be read, or it is being written.
pub fn plan_repair(
    directory: impl AsRef<Path>,
    progress: impl FnMut(Progress),
) -> Result<Vec<RepairStep>, RecoverError> {
    let medium = DirectoryMedium::at(directory.as_ref());
    // What is being written looks like anything; and read access does for the rest.
    let _lock = match take_lock(medium.as_ref()) {
        Err(RecoverError::Io { action: "lock", .. }) => None,
        taken => Some(taken?),
    };
    Ok(plan(&medium, progress)?.into_iter().map(|planned| planned.step).collect())
}

/// Repairs the journal in `directory` as [`plan_repair`] says, which is looked at once more, with `progress` as there, and recovers it.
///
/// # Errors
/// If it is being written, if there is no journal, or if files cannot be changed. It may be run again then.
pub fn repair(
    directory: impl AsRef<Path>,
    progress: impl FnMut(Progress),
) -> Result<(Vec<RepairStep>, Recovery), RecoverError> {
    repair_on(&DirectoryMedium::at(directory.as_ref()), progress)
}

/// [`repair`] on any medium.
pub(crate) fn repair_on(
    medium: &Arc<dyn Medium>,
    progress: impl FnMut(Progress),
) -> Result<(Vec<RepairStep>, Recovery), RecoverError> {
    let _lock = take_lock(medium.as_ref())?;
    let Some(compact_lock) = take_compact_lock(medium.as_ref())? else {
        return Err(RecoverError::Compacting { path: medium.path().to_owned() });
    };
    let planned = plan(medium, progress)?;
    for Planned { step, footer } in &planned {
        let (RepairStep::PutAside { file } | RepairStep::Seal { file, .. }) = step;
        carry_out(medium.as_ref(), step, footer.as_ref()).map_err(|cause| RecoverError::Io {
            action: "repair",
            path: medium.path().join(file),
            cause,
        })?;
    }
    // Recovery takes it again.
    drop(compact_lock);
    let (recovery, _) = recover_locked(medium)?;
    Ok((planned.into_iter().map(|planned| planned.step).collect(), recovery))
}

/// The steps in the order in which they are done. Segments are sealed first: what shows that their damage is none of a crash
/// stands in later files, and a repair that had put those aside and died would leave what looks like a torn tail, which
/// recovery cuts.
fn plan(medium: &Arc<dyn Medium>, mut progress: impl FnMut(Progress)) -> Result<Vec<Planned>, RecoverError> {
    let catalog = Catalog::load(medium)?;
    let mut aside: Vec<String> = Vec::new();
    for damage in &catalog.damages {
        if damage.file == crate::released::RELEASED_FILE {
            // Nobody can say where the journal begins.
            return Err(OpenError::from(damage.clone()).into());
        }
        let is_segment = catalog.segments.iter().any(|segment| segment.file == damage.file);
        if !is_segment && !damage.file.is_empty() {
            aside.push(damage.file.clone());
        }
    }
    if catalog.segments.is_empty() {
        return Err(OpenError::NotAJournal { path: medium.path().to_owned() }.into());
    }
    let bytes_total = catalog.segments.iter().map(|segment| segment.length).sum();
    let mut bytes_before = 0;
    let mut seals = Vec::new();
    let mut positions = catalog.begin();
    let mut full_end = None;
    for (number, (index, segment)) in (catalog.first.0..).zip(catalog.segments.iter().enumerate()) {
        let header = &segment.header;
        if header.number != number || positions.check(&Positions::of_header(header)).is_err() {
            aside.extend(catalog.segments[index..].iter().map(|segment| segment.file.clone()));
            break;
        }
        let io_error = |cause| OpenError::Io { path: catalog.path(index), cause };
        let mut walk = Walk::new(catalog.open(index).map_err(io_error)?, *header);
        let mut progress = |offset| progress(Progress { bytes_done: bytes_before + offset, bytes_total });
        let end = walk.walk_to_end(&mut progress).map_err(io_error)?;
        progress(segment.length);
        bytes_before += segment.length;
        positions = walk.positions;
        let seal = |seal| walk.tally.footer(header, walk.offset, 0, &walk.positions, seal);
        let sealed = |footer: Option<SegmentFooter>, offset| Planned {
            step: RepairStep::Seal {
                file: segment.file.clone(),
                offset,
                sequence: Sequence(walk.positions.inputs.next_sequence),
            },
            footer,
        };
        full_end = None;
        match end {
            Ok(footer) => {
                let end = walk.offset + u64::from(footer.footer_bytes);
                if segment.length != end && segment.length != header.prepared_bytes {
                    seals.push(sealed(None, walk.offset));
                }
                if Seal::from_number(footer.seal) == Some(Seal::Full) {
                    let frames_end = walk.offset - u64::from(footer.index_bytes);
                    let footer = walk.tally.footer(header, frames_end, 0, &walk.positions, Seal::Recovered);
                    full_end = Some(sealed(Some(footer), frames_end));
                }
            }
            Err(fault) => {
                let is_followed = catalog
                    .segments
                    .get(index + 1)
                    .is_some_and(|next| next.header.number == number + 1 && walk.check_next(&next.header).is_ok());
                let (recovered, full) = (seal(Seal::Recovered), seal(Seal::Full));
                let offset = walk.offset;
                let (recovered, full) = (sealed(Some(recovered), offset), sealed(Some(full), offset));
                match judge(&catalog, index, &mut walk, fault).map_err(io_error)? {
                    Verdict::Continues => {}
                    // What recovery does by itself.
                    Verdict::Unsealed | Verdict::Torn { .. } => break,
                    Verdict::Damage(_) if is_followed => seals.push(full),
                    Verdict::Damage(_) => {
                        seals.push(recovered);
                        aside.extend(catalog.segments[index + 1..].iter().map(|segment| segment.file.clone()));
                        break;
                    }
                }
            }
        }
    }
    // Nor do checkpoints of what is lost belong any more.
    let beyond = catalog.checkpoints.iter().filter(|stated| stated.sequence >= positions.inputs.next_sequence);
    aside.extend(beyond.map(|stated| stated.file.clone()));
    // The last one that stays says that another follows.
    seals.extend(full_end);
    aside.reverse();
    let aside = aside.into_iter().map(|file| Planned { step: RepairStep::PutAside { file }, footer: None });
    Ok(if stands(Defence::SealBeforeAside) {
        seals.into_iter().chain(aside).collect()
    } else {
        aside.chain(seals).collect()
    })
}

fn carry_out(medium: &dyn Medium, step: &RepairStep, footer: Option<&SegmentFooter>) -> io::Result<()> {
    let (RepairStep::PutAside { file: name } | RepairStep::Seal { file: name, .. }) = step;
    let names = medium.list()?;
    let aside = (0..ASIDE_MAX).map(|number| match number {
        0 => format!("{name}.{ASIDE_EXTENSION}"),
        number => format!("{name}.{number}.{ASIDE_EXTENSION}"),
    });
    let Some(aside) = aside.into_iter().find(|aside| !names.contains(aside)) else {
        return Err(io::ErrorKind::AlreadyExists.into());
    };
    let RepairStep::Seal { offset, .. } = step else {
        medium.rename(name, &aside)?;
        return medium.sync_directory();
    };
    if !name.ends_with(crate::directory::SEGMENT_EXTENSION) {
        let advice = "a compacted segment cannot be cut: put the file aside by hand, then repair again";
        return Err(io::Error::new(io::ErrorKind::Unsupported, advice));
    }
    let file = medium.open(name, Access::Write)?;
    if stands(Defence::CopyBeforeCut) {
        let copy = medium.open(&aside, Access::Create)?;
        copy_all(file.as_ref(), copy.as_ref())?;
        if stands(Defence::DurableCopyBeforeCut) {
            copy.sync()?;
            medium.sync_directory()?;
        }
    }
    if let Some(footer) = footer {
        file.write_all_at(footer.as_bytes(), *offset)?;
        file.sync()?;
    }
    file.set_length(offset + BLOCK_BYTES)?;
    file.sync()
}

fn copy_all(from: &dyn MediumFile, to: &dyn MediumFile) -> io::Result<()> {
    let length = from.length()?;
    let mut bytes = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < length {
        let count = from.read_at(&mut bytes, at)?;
        if count == 0 {
            break;
        }
        to.write_all_at(&bytes[..count], at)?;
        at += count as u64;
    }
    Ok(())
}
