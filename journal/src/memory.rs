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
use tickcore_book::Event;

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

    /// Asks for the cache line of a record that is written later, as one to be changed. Any number will do.
    #[inline]
    pub(crate) fn prefetch_for_writing(&self, record: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            let line = self.start.as_ptr().wrapping_add(record * size_of::<Record>());
            // SAFETY: a prefetch changes nothing but caches and faults on no address; processors without it do nothing.
            unsafe { core::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = record;
    }

    /// Its bytes as records, to be changed.
    #[inline]
    pub(crate) fn records_mut(&mut self) -> &mut [Record] {
        // SAFETY: as in `bytes_mut`; the start is page-aligned, the length a multiple of 64, and any 64 bytes are a
        // record (`Record: FromBytes + IntoBytes`).
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.length / size_of::<Record>()) }
    }
}

/// The event, read field by field. A copy by wide registers of what was just written in narrower pieces, as a new event is,
/// has to wait until these have left for the cache: that is most of what an append costs.
#[inline]
pub(crate) fn copy_by_fields(event: &Event) -> Event {
    // SAFETY: each pointer comes from a reference to the field. Volatile, or the compiler makes one wide copy of all.
    unsafe {
        Event {
            exchange_time: (&raw const event.exchange_time).read_volatile(),
            receive_time: (&raw const event.receive_time).read_volatile(),
            order_id: (&raw const event.order_id).read_volatile(),
            reference: (&raw const event.reference).read_volatile(),
            price: (&raw const event.price).read_volatile(),
            quantity: (&raw const event.quantity).read_volatile(),
            instrument: (&raw const event.instrument).read_volatile(),
            kind_number: (&raw const event.kind_number).read_volatile(),
            side_number: (&raw const event.side_number).read_volatile(),
            flags: (&raw const event.flags).read_volatile(),
        }
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
    use tickcore_book::Sequence;

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
}
