//! Memory that the kernel reads from and writes to: page-aligned blocks, and the shared status page.
//!
//! A [`Block`] owns its part of a mapping alone and keeps the mapping alive. Who submits a write gives the block away
//! and gets it back with the completion, so that nobody can change bytes that are on their way to the disk.
#![allow(unsafe_code)]

use crate::format::Record;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tickcore_book::{Event, Sequence};

/// Size of a page, and the alignment of every block.
pub(crate) const PAGE_BYTES: usize = 4096;
/// 64-bit words of the status page.
pub(crate) const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// A mapping of whole pages, unmapped when the last owner goes.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is an address range of the process; nothing about it is bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared `Mapping` gives no access to its bytes by itself; its owners see to it that parts do not overlap.
unsafe impl Sync for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by this type with this length, and every block in it held the `Arc` that is now
        // gone. A failure would leave the range mapped, which harms nobody.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
    }
}

impl Mapping {
    /// `length` bytes of zeroed memory; a multiple of the page size, not 0.
    fn anonymous(length: usize) -> io::Result<Self> {
        // SAFETY: a new private mapping at an address that the kernel chooses touches no existing memory.
        let start = unsafe {
            mmap_anonymous(core::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        NonNull::new(start.cast()).map(|start| Self { start, length }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Asks for huge pages and touches every page, so that no append waits for one. Advice that the kernel does not
    /// know is not an error.
    fn populate(&self) {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: the range is ours; neither advice changes what its bytes are.
            let populated = unsafe {
                let _ = madvise(self.start.as_ptr().cast(), self.length, Advice::LinuxHugepage);
                madvise(self.start.as_ptr().cast(), self.length, Advice::LinuxPopulateWrite)
            };
            if populated.is_ok() {
                return;
            }
        }
        for offset in (0..self.length).step_by(PAGE_BYTES) {
            // SAFETY: `offset` lies in the range, which nobody else refers to while it is being set up.
            unsafe { self.start.as_ptr().add(offset).write_volatile(0) };
        }
    }
}

/// Bytes at a page boundary that have one owner.
pub(crate) struct Block {
    start: NonNull<u8>,
    length: usize,
    index: usize,
    _mapping: Arc<Mapping>,
}

// SAFETY: a block is the only way to its bytes, as a `Box<[u8]>` is, and its mapping is `Send` and `Sync`.
unsafe impl Send for Block {}

impl Block {
    /// One zeroed block of at least `length` bytes. Pages are touched when they are used.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        let length = length.max(1).next_multiple_of(PAGE_BYTES);
        let mapping = Mapping::anonymous(length)?;
        Ok(Self { start: mapping.start, length, index: 0, _mapping: Arc::new(mapping) })
    }

    /// `count` blocks of `length` bytes (a multiple of the page size) side by side in one touched mapping, numbered
    /// from 0.
    pub(crate) fn pool(count: usize, length: usize) -> io::Result<Vec<Self>> {
        assert!(
            count > 0 && length > 0 && length.is_multiple_of(PAGE_BYTES),
            "blocks are whole pages, not {length} bytes"
        );
        let total = count.checked_mul(length).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapping = Arc::new(Mapping::anonymous(total)?);
        mapping.populate();
        Ok((0..count)
            .map(|index| {
                // SAFETY: `index * length + length <= total`, so the block lies within the mapping, and the blocks of
                // different indexes do not overlap.
                let start = unsafe { mapping.start.add(index * length) };
                Self { start, length, index, _mapping: Arc::clone(&mapping) }
            })
            .collect())
    }

    /// The block's number in its pool.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Its bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the range is mapped, initialised (zeroed by the kernel), and only this block leads to it.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Its bytes, to be changed.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the exclusive borrow of the only owner makes the slice exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }

    /// Its bytes as records, to be changed.
    #[inline]
    pub(crate) fn records_mut(&mut self) -> &mut [Record] {
        // SAFETY: as in `bytes_mut`; the start is page-aligned, the length a multiple of 64, and any 64 bytes are a
        // record (`Record: FromBytes + IntoBytes`).
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length / size_of::<Record>()) }
    }
}

/// Writes a record past the caches, where the processor can.
///
/// The disk's side has read the line since it was written last, from another core. A usual store would fetch it first, only to
/// overwrite all of it. [`finish_writes`] is to come before anybody else may look at it; this thread sees it at once.
#[inline]
pub(crate) fn write_past_caches(place: &mut Record, sequence: Sequence, event: &Event) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_mm_set_epi64x, _mm_stream_si128};
        const { assert!(size_of::<Event>() == 56 && align_of::<Record>() == 64) };
        // The event is read as it was most likely made, in words and the small fields of the last one: a wide load of what was
        // just written in narrower pieces has to wait until these have left for the cache.
        let words: *const i64 = core::ptr::from_ref(event).cast();
        // SAFETY: an event is seven words of 8 bytes without padding, so the first six are there, aligned. Volatile, or the
        // compiler makes wide loads of them.
        let word = |number: usize| unsafe { words.add(number).read_volatile() };
        // SAFETY: each pointer comes from a reference to the field.
        let (instrument, kind, side, flags) = unsafe {
            (
                (&raw const event.instrument).read_volatile(),
                (&raw const event.kind_number).read_volatile(),
                (&raw const event.side_number).read_volatile(),
                (&raw const event.flags).read_volatile(),
            )
        };
        let last = u64::from(instrument.0) | u64::from(kind) << 32 | u64::from(side) << 40 | u64::from(flags.0) << 48;
        let to = core::ptr::from_mut(place).cast();
        // SAFETY: a record is 64 bytes at a multiple of 64, by its type, and borrowed here to be changed: these are its four
        // quarters. SSE2 is part of every x86-64.
        unsafe {
            _mm_stream_si128(to, _mm_set_epi64x(word(0), sequence.0 as i64));
            _mm_stream_si128(to.add(1), _mm_set_epi64x(word(2), word(1)));
            _mm_stream_si128(to.add(2), _mm_set_epi64x(word(4), word(3)));
            _mm_stream_si128(to.add(3), _mm_set_epi64x(last as i64, word(5)));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        *place = Record { sequence, event: *event };
    }
}

/// What was written past the caches is in memory before anything that this thread stores later.
#[inline]
pub(crate) fn finish_writes() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a fence changes nothing; SSE is part of every x86-64.
    unsafe {
        core::arch::x86_64::_mm_sfence();
    }
}

/// One page of a file, shared with other processes, as atomic words.
pub(crate) struct SharedPage {
    mapping: Mapping,
}

impl SharedPage {
    /// Maps the first page of `file`, which is at least that long.
    pub(crate) fn map(file: &File, writable: bool) -> io::Result<Self> {
        if file.metadata()?.len() < PAGE_BYTES as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a new mapping at an address that the kernel chooses touches no existing memory.
        let start = unsafe { mmap(core::ptr::null_mut(), PAGE_BYTES, protection, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { mapping: Mapping { start, length: PAGE_BYTES } })
    }

    /// The page's words. Storing to a page that was not mapped writable is a fault: only the writer stores.
    #[inline]
    pub(crate) fn words(&self) -> &[AtomicU64; PAGE_WORDS] {
        // SAFETY: the page is mapped as long as `self` lives and page-aligned; other processes change it at any time,
        // and atomics are the type for which that is allowed.
        unsafe { self.mapping.start.cast::<[AtomicU64; PAGE_WORDS]>().as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickcore_book::{Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs};

    #[test]
    fn blocks_of_a_pool_are_aligned_zeroed_and_apart() {
        let mut blocks = Block::pool(3, 2 * PAGE_BYTES).unwrap();
        for (number, block) in blocks.iter_mut().enumerate() {
            assert_eq!(block.index(), number);
            assert!(block.bytes().as_ptr().addr().is_multiple_of(PAGE_BYTES));
            assert!(block.bytes().iter().all(|&byte| byte == 0));
            block.bytes_mut().fill(number as u8 + 1);
        }
        assert!(
            blocks.iter().enumerate().all(|(number, block)| block.bytes().iter().all(|&byte| byte == number as u8 + 1))
        );
    }

    #[test]
    fn a_block_outlives_the_rest_of_its_pool() {
        let mut last = Block::pool(4, PAGE_BYTES).unwrap().pop().unwrap();
        last.records_mut()[63].sequence = Sequence(9);
        assert_eq!(last.bytes()[63 * 64], 9);
        assert_eq!(last.records_mut().len(), 64);
    }

    #[test]
    fn a_record_written_past_the_caches_is_the_event() {
        let mut block = Block::new(4 * PAGE_BYTES).unwrap();
        let mut event = Event::new(Kind::Replace, InstrumentId(0x8765_4321), TimestampNs(u64::MAX - 1));
        event.receive_time = TimestampNs(0x0102_0304_0506_0708);
        (event.order_id, event.reference) = (OrderId(1 << 63 | 5), 0xFEDC_BA98_7654_3210);
        (event.price, event.quantity) = (Price(-1_234_567_890_123), Quantity(u64::MAX));
        (event.side_number, event.flags) = (Side::Ask as u8, Flags(0xA55A));
        let count = block.records_mut().len();
        for place in 0..count {
            write_past_caches(&mut block.records_mut()[place], Sequence(place as u64 + 1), &event);
        }
        finish_writes();
        for (place, record) in block.records_mut().iter().enumerate() {
            assert_eq!((record.sequence, record.event), (Sequence(place as u64 + 1), event));
        }
    }
}
