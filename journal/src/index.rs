//! The sparse index in front of a segment's footer: where to begin when not all is to be read.
//!
//! An entry names a frame, its first sequence, and the highest exchange time of all records of the segment before it. A
//! clock may step back, so times are not sorted, but that highest time is: the first record at or after a time stands in
//! the last frame whose entry has only earlier times before it, or behind that. The index is derived from the frames.
//! Where there is none, or a damaged one, the segment is read from its start.

use crate::checksum::Seed;
use crate::fault::Fault;
use crate::format::{BLOCK_BYTES, FORMAT_VERSION, JournalId, SegmentIdentity, WRITE_UNIT_BYTES};
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub(crate) const INDEX_MAGIC: [u8; 8] = *b"TCJINDEX";
/// Entries of an index at most.
pub(crate) const INDEX_ENTRIES_MAX: usize = 1024;
/// Bytes of an index at most.
pub(crate) const INDEX_BYTES_MAX: usize = bytes_for(INDEX_ENTRIES_MAX);

/// The first 64 bytes of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IndexHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    /// Header, entries and padding: a multiple of [`WRITE_UNIT_BYTES`].
    pub(crate) index_bytes: u32,
    pub(crate) entry_count: u32,
    /// 0.
    pub(crate) reserved: u32,
    pub(crate) journal: JournalId,
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
    /// Of everything else, these 8 bytes taken as 0.
    pub(crate) checksum: u64,
}

/// A frame to begin at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct IndexEntry {
    pub(crate) first_sequence: u64,
    pub(crate) offset: u64,
    /// The highest exchange time of the segment's records before this frame.
    pub(crate) highest_time_before: u64,
}

const HEADER_BYTES: usize = size_of::<IndexHeader>();
const ENTRY_BYTES: usize = size_of::<IndexEntry>();

const _: () = assert!(HEADER_BYTES == 64 && ENTRY_BYTES == 24);

/// The bytes of an index of so many entries; none of none.
const fn bytes_for(entry_count: usize) -> usize {
    if entry_count == 0 {
        return 0;
    }
    (HEADER_BYTES + entry_count * ENTRY_BYTES).next_multiple_of(WRITE_UNIT_BYTES as usize)
}

/// An index that grows with its segment. Adding does not allocate.
#[derive(Debug)]
pub(crate) struct IndexBuilder {
    entries: Vec<IndexEntry>,
    entries_max: usize,
    interval_bytes: u64,
    last_offset: u64,
}

impl IndexBuilder {
    /// For segments of `segment_bytes`, an entry each `interval_bytes` or more. With the footer it fits `block_bytes`, and
    /// a frame of as many bytes fits into the segment beside it.
    pub(crate) fn new(segment_bytes: u64, interval_bytes: u64, block_bytes: usize) -> Self {
        let beside = (segment_bytes as usize).saturating_sub(2 * BLOCK_BYTES as usize + block_bytes);
        let room = block_bytes.saturating_sub(BLOCK_BYTES as usize).min(beside) / WRITE_UNIT_BYTES as usize;
        let fitting = (room * WRITE_UNIT_BYTES as usize).saturating_sub(HEADER_BYTES) / ENTRY_BYTES;
        let wanted = (segment_bytes / interval_bytes.max(1)) as usize;
        let entries_max = wanted.min(fitting).min(INDEX_ENTRIES_MAX);
        let interval_bytes = interval_bytes.max(segment_bytes / (entries_max as u64 + 1));
        Self { entries: Vec::with_capacity(entries_max), entries_max, interval_bytes, last_offset: BLOCK_BYTES }
    }

    /// Begins with another segment.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.last_offset = BLOCK_BYTES;
    }

    /// Takes note of a frame.
    pub(crate) fn add(&mut self, entry: IndexEntry) {
        if entry.offset >= self.last_offset + self.interval_bytes && self.entries.len() < self.entries_max {
            self.last_offset = entry.offset;
            self.entries.push(entry);
        }
    }

    /// The most bytes that the index of a segment takes.
    pub(crate) fn bytes_max(&self) -> usize {
        bytes_for(self.entries_max)
    }

    /// Writes the index to the start of `bytes` and returns its length.
    pub(crate) fn write(&self, identity: SegmentIdentity, bytes: &mut [u8]) -> usize {
        let length = bytes_for(self.entries.len());
        if length == 0 {
            return 0;
        }
        let bytes = &mut bytes[..length];
        bytes.fill(0);
        let header = IndexHeader {
            magic: INDEX_MAGIC,
            version: FORMAT_VERSION,
            index_bytes: length as u32,
            entry_count: self.entries.len() as u32,
            reserved: 0,
            journal: identity.journal,
            epoch: identity.epoch,
            segment: identity.number,
            checksum: 0,
        };
        bytes[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        let entries = self.entries.as_bytes();
        bytes[HEADER_BYTES..HEADER_BYTES + entries.len()].copy_from_slice(entries);
        let checksum = identity.seed().checksum(bytes);
        bytes[HEADER_BYTES - 8..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        length
    }
}

impl IndexHeader {
    /// The header at the start of `bytes`, if it can be one of this segment. The checksum covers more and is looked at by
    /// [`read_entries`].
    pub(crate) fn read(bytes: &[u8], expected: SegmentIdentity) -> Result<Self, Fault> {
        let Ok((header, _)) = Self::read_from_prefix(bytes) else { return Err(Fault::NoFrame) };
        let found = SegmentIdentity { journal: header.journal, epoch: header.epoch, number: header.segment };
        let length = header.index_bytes as usize;
        if header.magic != INDEX_MAGIC || found != expected {
            return Err(Fault::NoFrame);
        }
        if length > INDEX_BYTES_MAX || length == 0 || length != bytes_for(header.entry_count as usize) {
            return Err(Fault::NoFrame);
        }
        Ok(header)
    }
}

/// The entries of a whole index, checked.
pub(crate) fn read_entries(bytes: &[u8], seed: Seed) -> Result<Vec<IndexEntry>, Fault> {
    let Ok((header, _)) = IndexHeader::read_from_prefix(bytes) else { return Err(Fault::NoFrame) };
    let mut cleared = bytes.to_vec();
    cleared[HEADER_BYTES - 8..HEADER_BYTES].fill(0);
    let (stated, computed) = (header.checksum, seed.checksum(&cleared));
    if stated != computed {
        return Err(Fault::PayloadChecksum { stated, computed });
    }
    let end = HEADER_BYTES + header.entry_count as usize * ENTRY_BYTES;
    let entries = bytes.get(HEADER_BYTES..end).unwrap_or_default();
    let (entries, _) = entries.as_chunks::<ENTRY_BYTES>();
    Ok(entries.iter().filter_map(|entry| IndexEntry::read_from_bytes(entry).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: SegmentIdentity = SegmentIdentity { journal: JournalId([3; 16]), epoch: 1, number: 2 };

    fn entry(number: u64) -> IndexEntry {
        IndexEntry { first_sequence: number, offset: BLOCK_BYTES * number, highest_time_before: 7 * number }
    }

    #[test]
    fn what_is_written_is_read_and_any_flipped_byte_is_seen() {
        let mut builder = IndexBuilder::new(1 << 20, 8192, 64 << 10);
        (1..=100).for_each(|number| builder.add(entry(number)));
        let mut bytes = vec![0xFF; 64 << 10];
        let length = builder.write(IDENTITY, &mut bytes);
        assert!(length > 0 && length <= builder.bytes_max());
        let header = IndexHeader::read(&bytes, IDENTITY).unwrap();
        assert_eq!(header.index_bytes as usize, length);
        let entries = read_entries(&bytes[..length], IDENTITY.seed()).unwrap();
        assert_eq!(entries, (3..=100).step_by(2).map(entry).collect::<Vec<_>>(), "the first frame needs no entry");
        for place in 0..length {
            bytes[place] ^= 4;
            let found = IndexHeader::read(&bytes, IDENTITY)
                .and_then(|header| read_entries(&bytes[..header.index_bytes as usize], IDENTITY.seed()));
            assert!(found.is_err(), "byte {place}");
            bytes[place] ^= 4;
        }
    }

    #[test]
    fn an_index_never_outgrows_its_block() {
        for (segment_bytes, interval, block_bytes) in [
            (256 << 20, 1 << 20, 256 << 10),
            (1 << 30, 4096, 8192),
            (1 << 30, 1, 4096),
            (12288, 1, 4096),
            (20480, 1, 12288),
        ] {
            let mut builder = IndexBuilder::new(segment_bytes, interval, block_bytes);
            (1..segment_bytes / BLOCK_BYTES).for_each(|number| builder.add(entry(number)));
            assert!(builder.bytes_max() + BLOCK_BYTES as usize <= block_bytes, "{builder:?}");
            let rest = segment_bytes as usize - builder.bytes_max() - 2 * BLOCK_BYTES as usize;
            assert!(rest >= block_bytes, "a frame fits beside it");
            assert!(builder.entries.len() <= builder.entries.capacity());
        }
    }
}
