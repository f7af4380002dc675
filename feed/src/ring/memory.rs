//! The memory that a ring lies in: mapped in one piece, touched before use, in huge pages where that pays.
//!
//! A [`Table`] is a row of values in such a mapping, or in a mapped file that other processes have mapped as well. Every
//! value is made of atomic words alone and every bit pattern is one, so nothing that another thread, another process or a
//! damaged file does to the memory is undefined behaviour here. What can still happen with a file: somebody cuts it while it
//! is mapped, and the kernel ends the process that touches what is gone (SIGBUS).

#![allow(unsafe_code)]

use super::lane::{Line, Marks};
#[cfg(not(loom))]
pub(super) use mapped::{HeaderWord, Memory, Table};
#[cfg(loom)]
pub(super) use modelled::Table;

/// A type of which tables are made.
///
/// # Safety
/// It consists of atomic integers (and padding) alone, and a row of zero bytes is what a new table is to begin with.
pub(super) unsafe trait Row {}

// SAFETY: eight atomic words; a line of zeroes holds no event.
unsafe impl Row for Line {}
// SAFETY: atomic words, far apart; zeroes are the marks of a ring that was never written.
unsafe impl Row for Marks {}

/// loom's atomics are objects of its own, which no file can hold.
#[cfg(loom)]
mod modelled {
    use super::Row;

    pub(in crate::ring) struct Table<T>(Box<[T]>);

    impl<T: Row + Default> Table<T> {
        pub(in crate::ring) fn new(rows: usize) -> Self {
            Self((0..rows).map(|_| T::default()).collect())
        }
    }

    impl<T> core::ops::Deref for Table<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }
}

#[cfg(not(loom))]
mod mapped {
    use super::Row;
    use core::ops::Deref;
    use core::ptr::NonNull;
    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
    use std::io;
    use std::os::fd::AsFd;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    const PAGE_BYTES: usize = 4096;
    const HUGE_PAGE_BYTES: usize = 2 << 20;

    /// From this size on a mapping gets huge pages: half of one is wasted at most.
    const HUGE_FROM_BYTES: usize = HUGE_PAGE_BYTES / 2;

    /// Mapped memory; unmapped when it is dropped.
    #[derive(Debug)]
    pub(in crate::ring) struct Memory {
        mapping: NonNull<u8>,
        mapping_bytes: usize,
        /// Where the memory that is used begins within the mapping.
        start: NonNull<u8>,
        bytes: usize,
    }

    // SAFETY: a mapping belongs to the process, not to a thread; what lies in it is reached through `Row` types alone, which
    // are atomic words.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        /// `bytes` bytes of zeroes of this process alone. The pages are near the core of the thread that calls.
        pub(in crate::ring) fn anonymous(bytes: usize) -> io::Result<Self> {
            let is_huge = bytes >= HUGE_FROM_BYTES;
            let page = if is_huge { HUGE_PAGE_BYTES } else { PAGE_BYTES };
            let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
            let bytes = bytes.checked_next_multiple_of(page).ok_or_else(too_large)?;
            // One page more, so that the memory can begin where a huge page does.
            let mapping_bytes = if is_huge { bytes.checked_add(page).ok_or_else(too_large)? } else { bytes };
            let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists.
            let mapping = unsafe {
                mmap_anonymous(core::ptr::null_mut(), mapping_bytes, ProtFlags::READ | ProtFlags::WRITE, flags)?
            };
            let mapping = NonNull::new(mapping.cast::<u8>()).ok_or_else(too_large)?;
            let offset = mapping.align_offset(page);
            // SAFETY: the mapping is a page longer than `bytes` where `offset` is not 0.
            let start = unsafe { mapping.add(offset) };
            let memory = Self { mapping, mapping_bytes, start, bytes };
            if is_huge {
                // Refused without transparent huge pages; then small ones do.
                // SAFETY: advice on memory of this mapping; it changes no content.
                let _ = unsafe { madvise(start.as_ptr().cast(), bytes, Advice::LinuxHugepage) };
            }
            memory.touch()?;
            Ok(memory)
        }

        /// The first `bytes` bytes of a file, shared with everybody who maps it.
        pub(in crate::ring) fn of_file(file: impl AsFd, bytes: usize, is_writable: bool) -> io::Result<Self> {
            let protection = if is_writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
            // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists. What others do to
            // the file shows as changing atomic words.
            let mapping = unsafe { mmap(core::ptr::null_mut(), bytes, protection, MapFlags::SHARED, file, 0)? };
            let mapping = NonNull::new(mapping.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
            let memory = Self { mapping, mapping_bytes: bytes, start: mapping, bytes };
            if is_writable {
                memory.touch()?;
            } else {
                // SAFETY: advice on memory of this mapping. Refused by old kernels: then pages come when they are read.
                let _ = unsafe { madvise(mapping.as_ptr().cast(), bytes, Advice::LinuxPopulateRead) };
            }
            Ok(memory)
        }

        /// Has every page in place before the first use.
        fn touch(&self) -> io::Result<()> {
            // SAFETY: advice on memory of this mapping; it changes no content.
            match unsafe { madvise(self.start.as_ptr().cast(), self.bytes, Advice::LinuxPopulateWrite) } {
                Ok(()) => Ok(()),
                // Kernels before 5.14 do not know it.
                Err(rustix::io::Errno::INVAL) => {
                    for offset in (0..self.bytes).step_by(PAGE_BYTES) {
                        // SAFETY: `offset` is within the mapping, which is writable, zero, and nobody else's yet.
                        unsafe { self.start.add(offset).write_volatile(0) };
                    }
                    Ok(())
                }
                Err(error) => Err(error.into()),
            }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the mapping was made with this address and length, and every table in it held this memory alive.
            let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapping_bytes) };
        }
    }

    /// A word of the header of a ring in a file.
    #[repr(transparent)]
    pub(in crate::ring) struct HeaderWord(pub(in crate::ring) AtomicU64);

    // SAFETY: an atomic word.
    unsafe impl Row for HeaderWord {}

    /// Rows of one type in mapped memory.
    pub(in crate::ring) struct Table<T> {
        rows: NonNull<[T]>,
        _memory: Arc<Memory>,
    }

    // SAFETY: a table gives out shared references alone, and its rows are atomic words.
    unsafe impl<T: Row> Send for Table<T> {}
    // SAFETY: as above.
    unsafe impl<T: Row> Sync for Table<T> {}

    impl<T: Row> Table<T> {
        /// The rows that begin `offset` bytes into the memory.
        ///
        /// # Panics
        /// If they do not lie in it, or not aligned.
        pub(in crate::ring) fn within(memory: &Arc<Memory>, offset: usize, rows: usize) -> Self {
            let end = rows.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(offset));
            assert!(end.is_some_and(|end| end <= memory.bytes), "{rows} rows from byte {offset} leave their memory");
            // SAFETY: `offset` is within the mapping.
            let start = unsafe { memory.start.add(offset) }.cast::<T>();
            assert!(start.is_aligned(), "a table begins where its rows are aligned");
            Self { rows: NonNull::slice_from_raw_parts(start, rows), _memory: Arc::clone(memory) }
        }
    }

    impl<T: Row> Deref for Table<T> {
        type Target = [T];

        #[inline(always)]
        fn deref(&self) -> &[T] {
            // SAFETY: `within` has checked that the rows lie in the memory and are aligned; the memory lives as long as this
            // table. Every bit pattern is a row of atomic words, which others may change at any time. Rows of a mapping
            // without write access are only loaded from, by words of 64 bits.
            unsafe { self.rows.as_ref() }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::ring::lane::Line;

        #[test]
        fn memory_is_zero_aligned_and_whole() {
            for bytes in [1, PAGE_BYTES, HUGE_FROM_BYTES - 1, HUGE_FROM_BYTES, HUGE_PAGE_BYTES + 1] {
                let memory = Arc::new(Memory::anonymous(bytes).expect("some memory"));
                let is_huge = bytes >= HUGE_FROM_BYTES;
                assert_eq!(memory.start.addr().get() % if is_huge { HUGE_PAGE_BYTES } else { PAGE_BYTES }, 0);
                let table = Table::<Line>::within(&memory, 0, memory.bytes / size_of::<Line>());
                assert!(table.iter().all(|line| line.read(0).is_some()), "{bytes}");
            }
        }

        #[test]
        #[should_panic(expected = "leave their memory")]
        fn a_table_beyond_its_memory_is_refused() {
            let memory = Arc::new(Memory::anonymous(PAGE_BYTES).expect("some memory"));
            Table::<Line>::within(&memory, 64, PAGE_BYTES / 64);
        }
    }
}
