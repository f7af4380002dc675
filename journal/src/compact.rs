//! Sealed segments in a smaller form: `segment-000001.tcz` in place of `segment-000001.tcj`.
//!
//! The bytes of the segment are taken in pieces; in each, the eight words of every 64 bytes become eight columns (numbers
//! that climb as differences), each split into its bytes by place, and that is given to zstd. So the sequence, times and
//! identifiers of neighbouring records, which differ in their low bytes only, cost almost nothing. A piece is unpacked
//! alone, so reading may begin anywhere; what comes out are the bytes of the segment, checksums and all, and everything
//! that reads a segment reads it. The file of the segment goes only when the packed one is durable, has been unpacked
//! and compared with it, and is whole from header to footer. Recovery and repair keep away meanwhile.

use crate::checksum::Seed;
use crate::defence::{Defence, stands};
use crate::directory::{Catalog, SEGMENT_EXTENSION, Segment, Window};
use crate::fault::{Damage, Fault, OpenError};
use crate::format::{JournalId, SegmentHeader};
use crate::medium::{Access, COMPACT_LOCK_FILE, DirectoryMedium, Medium, MediumFile, remove_if_there};
use crate::packing;
use crate::released::{RELEASED_FILE, Released};
use crate::walk::Walk;
use core::mem::size_of;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tickcore_book::Sequence;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How files of compacted segments end.
pub(crate) const COMPACTED_EXTENSION: &str = "tcz";
/// How files end that are being written, to take their place when they are whole.
pub(crate) const NEW_EXTENSION: &str = "new";
const COMPACT_MAGIC: [u8; 8] = *b"TCJCOMPT";
const COMPACT_VERSION: u32 = 1;
/// Bytes of a piece before it is packed.
const PIECE_BYTES: usize = 1 << 20;
const COLUMNS: usize = 8;
const WORD_BYTES: usize = 8;
/// Columns that are stored as differences: sequence, both times, order id.
const DIFFERENCE_COLUMNS: usize = 4;
/// Pieces of a file at most: what a damaged count can make a reader allocate.
const PIECES_MAX: u64 = 1 << 24;

/// The first 64 bytes of a compacted segment. The lengths of the packed pieces (u32 each) follow, then the pieces.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct CompactHeader {
    magic: [u8; 8],
    version: u32,
    piece_bytes: u32,
    journal: JournalId,
    number: u64,
    /// Bytes of the segment.
    length: u64,
    /// Of the lengths of the pieces.
    lengths_checksum: u64,
    checksum: u64,
}

const HEADER_BYTES: usize = size_of::<CompactHeader>();
const _: () = assert!(HEADER_BYTES == 64);

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the compacted segment is damaged: {what}"))
}

/// Whether a file is one of a compactor's: packed, or being packed.
pub(crate) fn is_packed(name: &str) -> bool {
    let name = Path::new(name);
    let whole = if name.extension().is_some_and(|found| found == NEW_EXTENSION) { name.file_stem() } else { None };
    Path::new(whole.unwrap_or(name.as_os_str())).extension().is_some_and(|found| found == COMPACTED_EXTENSION)
}

/// What compacting did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Segments that were compacted now, by the names of their files.
    pub files: Vec<String>,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes now.
    pub bytes_after: u64,
}

/// Why a journal was not compacted. What was done before stays done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    /// Another process is at it, or recovers the journal.
    #[error("{path:?} is being compacted or recovered by another process: wait for it")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// There is no journal, or it is damaged.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file could not be read or written. Running it again is safe.
    #[error("cannot compact {path:?}: {cause}; cure that and compact again")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// What was packed did not come out as it went in. The segment is as it was.
    #[error(
        "{path:?} does not come out of its packed form as it went in: its original is kept; this is a bug or bad memory"
    )]
    Differs {
        /// The segment's file.
        path: PathBuf,
    },
}

/// Compacts every sealed segment of the journal in `directory` but the last. A writer and readers may be at work. `level`
/// is zstd's; `progress` is called with bytes done and in all.
///
/// # Errors
/// See [`CompactError`].
pub fn compact(
    directory: impl AsRef<Path>,
    level: i32,
    progress: impl FnMut(u64, u64),
) -> Result<Compaction, CompactError> {
    compact_on(&DirectoryMedium::at(directory.as_ref()), level, progress)
}

/// [`compact`] on any medium.
pub(crate) fn compact_on(
    medium: &Arc<dyn Medium>,
    level: i32,
    mut progress: impl FnMut(u64, u64),
) -> Result<Compaction, CompactError> {
    // No lock is left behind in a directory that is no journal.
    Catalog::load_whole(medium)?;
    let io_error = |name: &str| {
        let path = medium.path().join(name);
        move |cause| CompactError::Io { path, cause }
    };
    let lock = medium.lock(COMPACT_LOCK_FILE).map_err(io_error(COMPACT_LOCK_FILE))?;
    let Some(_lock) = lock else { return Err(CompactError::Locked { path: medium.path().to_owned() }) };
    // As it is now that nobody else compacts.
    let catalog = Catalog::load_whole(medium)?;
    let (_, candidates) = catalog.segments.split_last().unwrap_or((&catalog.segments[0], &[]));
    let candidates: Vec<_> = candidates
        .iter()
        .filter(|segment| segment.footer.is_some() && segment.file.ends_with(SEGMENT_EXTENSION))
        .collect();
    let total = candidates.iter().map(|segment| segment.length).sum();
    let mut compaction = Compaction::default();
    for segment in candidates {
        let packed_name = Path::new(&segment.file).with_extension(COMPACTED_EXTENSION).to_string_lossy().into_owned();
        let packed = pack_segment(medium.as_ref(), segment, &packed_name, level);
        let Ok(Packed::Done { bytes }) = packed else {
            let new_name = format!("{packed_name}.{NEW_EXTENSION}");
            // Where that fails, too, the next compaction or recovery does it.
            let _ = medium.remove(&new_name);
            if Released::holds(medium.as_ref(), segment.header.number).map_err(io_error(RELEASED_FILE))? {
                // Meanwhile: its file may even be that of a later segment by now.
                remove_if_there(medium.as_ref(), &packed_name).map_err(io_error(&packed_name))?;
                continue;
            }
            return Err(match packed {
                Err(cause) => io_error(&segment.file)(cause),
                Ok(Packed::Damaged(damage)) => OpenError::Damaged(damage).into(),
                Ok(_) => CompactError::Differs { path: medium.path().join(&segment.file) },
            });
        };
        compaction.bytes_after += bytes;
        compaction.bytes_before += segment.length;
        compaction.files.push(packed_name);
        progress(compaction.bytes_before, total);
    }
    Ok(compaction)
}

/// What packing one segment came to.
enum Packed {
    /// The original is gone.
    Done {
        /// Of the packed file.
        bytes: u64,
    },
    /// It did not come out as it went in. The original is as it was, and so it is in what follows.
    Differs,
    /// What was packed is not the segment from end to end.
    Damaged(Damage),
}

/// Packs one segment, compares, and lets the original go.
fn pack_segment(medium: &dyn Medium, segment: &Segment, packed_name: &str, level: i32) -> io::Result<Packed> {
    let (name, SegmentHeader { journal, number, .. }) = (segment.file.as_str(), segment.header);
    let new_name = format!("{packed_name}.{NEW_EXTENSION}");
    let original = medium.open(name, Access::Read)?;
    let length = original.length()?;
    remove_if_there(medium, &new_name)?;
    let file = medium.open(&new_name, Access::Create)?;
    let count = length.div_ceil(PIECE_BYTES as u64);
    let mut lengths: Vec<u32> = Vec::with_capacity(count as usize);
    let mut offset = (HEADER_BYTES as u64) + 4 * count;
    let mut piece = vec![0; PIECE_BYTES];
    for number in 0..count {
        let bytes = read_piece(original.as_ref(), number, length, &mut piece)?;
        let packed = packing::pack(&to_columns(bytes), level)?;
        file.write_all_at(&packed, offset)?;
        offset += packed.len() as u64;
        lengths.push(packed.len() as u32);
    }
    let seed = Seed::new(journal, 0, number);
    let mut header = CompactHeader {
        magic: COMPACT_MAGIC,
        version: COMPACT_VERSION,
        piece_bytes: PIECE_BYTES as u32,
        journal,
        number,
        length,
        lengths_checksum: seed.checksum(lengths.as_bytes()),
        checksum: 0,
    };
    header.checksum = seed.checksum(&header.as_bytes()[..HEADER_BYTES - 8]);
    file.write_all_at(header.as_bytes(), 0)?;
    file.write_all_at(lengths.as_bytes(), HEADER_BYTES as u64)?;
    if stands(Defence::CopyBeforeRemoval) {
        file.sync()?;
        file.forget_cache()?;
    }
    let unpacked = CompactedFile::open(file)?;
    let mut again = vec![0; PIECE_BYTES];
    for number in 0..count {
        let expected = read_piece(original.as_ref(), number, length, &mut piece)?;
        let found = read_piece(&unpacked, number, length, &mut again)?;
        if expected != found {
            return Ok(Packed::Differs);
        }
    }
    // That it is what was read does not say that it is the segment: retention may have given its file to a later one, and
    // what is damaged is for repair, which cuts no compacted segment.
    if let Some(damage) = find_damage(Window::on(Box::new(unpacked))?, segment)?
        && stands(Defence::PackedIsSegment)
    {
        return Ok(Packed::Damaged(damage));
    }
    medium.rename(&new_name, packed_name)?;
    medium.sync_directory()?;
    medium.remove(name)?;
    medium.sync_directory()?;
    Ok(Packed::Done { bytes: offset })
}

/// The first thing that is not the sealed segment of this header and footer.
fn find_damage(window: Window, segment: &Segment) -> io::Result<Option<Damage>> {
    let mut walk = Walk::new(window, segment.header);
    let fault = match walk.walk_to_end(|_| ())? {
        Ok(footer) if segment.footer == Some(*footer) => return Ok(None),
        Ok(_) => Fault::FooterMismatch,
        Err(fault) => fault,
    };
    let sequence = Sequence(walk.positions.inputs.next_sequence);
    Ok(Some(Damage { file: segment.file.clone(), offset: walk.fault_offset, sequence, fault }))
}

fn read_piece<'a>(file: &dyn MediumFile, number: u64, length: u64, piece: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let start = number * PIECE_BYTES as u64;
    let count = (length - start).min(PIECE_BYTES as u64) as usize;
    read_exact(file, &mut piece[..count], start)?;
    Ok(&piece[..count])
}

fn read_exact(file: &dyn MediumFile, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}

/// Whole rows of eight words as columns, split into bytes by place; what is left over stays as it is, at the end.
fn to_columns(bytes: &[u8]) -> Vec<u8> {
    let (rows, rest) = bytes.as_chunks::<{ COLUMNS * WORD_BYTES }>();
    let mut columns = vec![0; bytes.len()];
    for column in 0..COLUMNS {
        let mut before = 0_u64;
        for (number, row) in rows.iter().enumerate() {
            let word = u64::from_le_bytes(row.as_chunks::<WORD_BYTES>().0[column]);
            let stored = if column < DIFFERENCE_COLUMNS { word.wrapping_sub(before) } else { word };
            before = word;
            for (place, byte) in stored.to_le_bytes().into_iter().enumerate() {
                columns[(column * WORD_BYTES + place) * rows.len() + number] = byte;
            }
        }
    }
    let end = bytes.len() - rest.len();
    columns[end..].copy_from_slice(rest);
    columns
}

/// The inverse of [`to_columns`].
fn from_columns(columns: &[u8]) -> Vec<u8> {
    let count = columns.len() / (COLUMNS * WORD_BYTES);
    let end = count * COLUMNS * WORD_BYTES;
    let mut bytes = vec![0; columns.len()];
    for column in 0..COLUMNS {
        let mut before = 0_u64;
        for number in 0..count {
            let stored = core::array::from_fn(|place| columns[(column * WORD_BYTES + place) * count + number]);
            let stored = u64::from_le_bytes(stored);
            let word = if column < DIFFERENCE_COLUMNS { stored.wrapping_add(before) } else { stored };
            before = word;
            let start = (number * COLUMNS + column) * WORD_BYTES;
            bytes[start..start + WORD_BYTES].copy_from_slice(&word.to_le_bytes());
        }
    }
    bytes[end..].copy_from_slice(&columns[end..]);
    bytes
}

/// A compacted segment that reads like the segment.
pub(crate) struct CompactedFile {
    file: Box<dyn MediumFile>,
    length: u64,
    /// Where each piece begins in the file, and where the last ends.
    offsets: Vec<u64>,
    /// The piece that was unpacked last.
    unpacked: RefCell<(u64, Vec<u8>)>,
}

impl CompactedFile {
    pub(crate) fn open(file: Box<dyn MediumFile>) -> io::Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        read_exact(file.as_ref(), &mut bytes, 0)?;
        let header = CompactHeader::read_from_bytes(&bytes).map_err(|_| damaged("its header is cut short"))?;
        let seed = Seed::new(header.journal, 0, header.number);
        if header.magic != COMPACT_MAGIC || header.checksum != seed.checksum(&bytes[..HEADER_BYTES - 8]) {
            return Err(damaged("its header does not have its checksum"));
        }
        let count = header.length.div_ceil(PIECE_BYTES as u64);
        if header.version != COMPACT_VERSION || header.piece_bytes as usize != PIECE_BYTES || count > PIECES_MAX {
            return Err(damaged("it is of a version that is not known here, read it with a newer tickcore"));
        }
        let mut lengths = vec![0_u32; count as usize];
        read_exact(file.as_ref(), lengths.as_mut_bytes(), HEADER_BYTES as u64)?;
        if seed.checksum(lengths.as_bytes()) != header.lengths_checksum {
            return Err(damaged("the lengths of its pieces do not have their checksum"));
        }
        let mut offsets = vec![HEADER_BYTES as u64 + 4 * count];
        for length in lengths {
            offsets.push(offsets[offsets.len() - 1] + u64::from(length));
        }
        Ok(Self { file, length: header.length, offsets, unpacked: RefCell::new((u64::MAX, Vec::new())) })
    }

    /// The bytes of a piece. One that cannot be unpacked is zeros: no frame validates there, so that damage is told by
    /// those who tell it of segments, with its place.
    fn unpack(&self, number: u64) -> io::Result<Vec<u8>> {
        let (from, to) = (self.offsets[number as usize], self.offsets[number as usize + 1]);
        let mut packed = vec![0; (to - from) as usize];
        match read_exact(self.file.as_ref(), &mut packed, from) {
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => packed.clear(),
            result => result?,
        }
        let expected = (self.length - number * PIECE_BYTES as u64).min(PIECE_BYTES as u64) as usize;
        let columns = packing::unpack(&packed, expected)?;
        Ok(columns.map_or_else(|| vec![0; expected], |columns| from_columns(&columns)))
    }
}

impl MediumFile for CompactedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.length || bytes.is_empty() {
            return Ok(0);
        }
        let number = offset / PIECE_BYTES as u64;
        let mut unpacked = self.unpacked.borrow_mut();
        if unpacked.0 != number {
            *unpacked = (number, self.unpack(number)?);
        }
        let rest = &unpacked.1[(offset % PIECE_BYTES as u64) as usize..];
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.length)
    }

    fn set_length(&self, _length: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _length: u64, _is_wanted: bool) -> io::Result<bool> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        Ok((offset < self.length).then_some(offset))
    }
}

#[cfg(test)]
mod beside;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_come_back_as_rows(bytes in proptest::collection::vec(any::<u8>(), 0..1000)) {
            prop_assert_eq!(from_columns(&to_columns(&bytes)), bytes);
        }
    }
}
