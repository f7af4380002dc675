//! The one block of memory in which books live: taken once, aligned to huge pages, touched before use, never grown.
//!
//! The block is a chunk of a [`bumpalo::Bump`] with a hard limit. Slices handed out live as long as the arena; nothing
//! is given back while books run. Worst case: an allocation beyond the stated size is refused with an error, at start.

#![allow(unsafe_code)]

use crate::capacity::CapacityError;
use bumpalo::Bump;
use core::alloc::Layout;
use std::io;

/// Alignment of every slice: a cache line.
pub(crate) const ARENA_ALIGN: usize = 64;
/// Alignment of the whole block: a huge page on x86-64 and most arm64 machines.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Memory touched between two calls of the progress function.
const POPULATE_STEP_BYTES: usize = 64 << 20;

/// Why an arena could not be made, or books not in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArenaError {
    /// The machine did not give the memory.
    #[error("the machine gave no {bytes} bytes for the books; lower the maxima of instruments, orders or levels")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The kernel refused to back the memory with pages.
    #[error("the kernel backed only {populated_bytes} of {bytes} bytes for the books; lower the maxima or free memory")]
    Populate {
        /// Bytes asked for.
        bytes: usize,
        /// Bytes backed before the failure.
        populated_bytes: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// More was asked of an arena than it was made for.
    #[error("the arena has no room for {bytes} more bytes; make it with Capacity::arena_bytes()")]
    Exhausted {
        /// Bytes asked for.
        bytes: usize,
    },
    /// The maxima of the books are none that books can have.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
}

/// Preallocated, pre-touched memory for books.
///
/// Not `Sync`: make it on the thread whose core owns the books, so that the pages are that core's.
#[derive(Debug)]
pub struct Arena {
    bump: Bump,
    bytes: usize,
}

impl Arena {
    /// Takes `bytes`, asks for huge pages and touches every page. `progress` gets (bytes done, bytes in all).
    ///
    /// Cost: about two seconds per GiB, most of it the kernel zeroing pages.
    ///
    /// # Errors
    /// When the machine does not give the memory or cannot back it.
    pub fn with_progress(bytes: usize, mut progress: impl FnMut(usize, usize)) -> Result<Self, ArenaError> {
        let bytes = bytes.max(1).next_multiple_of(HUGE_PAGE_BYTES);
        let out_of_memory = || ArenaError::OutOfMemory { bytes };
        let layout = Layout::from_size_align(bytes, HUGE_PAGE_BYTES).map_err(|_| out_of_memory())?;
        let mut bump = Bump::new();
        let block = bump.try_alloc_layout(layout).map_err(|_| out_of_memory())?;
        let mut done = 0;
        progress(done, bytes);
        while done < bytes {
            let step = POPULATE_STEP_BYTES.min(bytes - done);
            // SAFETY: `done + step <= bytes`, so the range lies in the block just allocated, which nothing else refers to.
            unsafe { populate(block.as_ptr().add(done), step) }.map_err(|source| ArenaError::Populate {
                bytes,
                populated_bytes: done,
                source,
            })?;
            done += step;
            progress(done, bytes);
        }
        bump.reset();
        bump.set_allocation_limit(Some(bump.allocated_bytes()));
        Ok(Self { bump, bytes })
    }

    /// [`Arena::with_progress`] that tells nobody.
    ///
    /// # Errors
    /// As [`Arena::with_progress`].
    pub fn new(bytes: usize) -> Result<Self, ArenaError> {
        Self::with_progress(bytes, |_, _| {})
    }

    /// Bytes of the whole block.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A slice of `count` copies of `value`, aligned to a cache line.
    #[expect(clippy::mut_from_ref, reason = "every call hands out memory that no other call does")]
    pub(crate) fn slice<T: Copy>(&self, count: usize, value: T) -> Result<&mut [T], ArenaError> {
        let bytes = count.saturating_mul(size_of::<T>());
        let exhausted = || ArenaError::Exhausted { bytes };
        let layout = Layout::array::<T>(count)
            .and_then(|layout| layout.align_to(ARENA_ALIGN))
            .map_err(|_| exhausted())?
            .pad_to_align();
        let start = self.bump.try_alloc_layout(layout).map_err(|_| exhausted())?.cast::<T>();
        // SAFETY: the block is `count * size_of::<T>()` bytes or more, aligned to at least `align_of::<T>()`, and is
        // handed out once, for the life of the arena. Every element is written before the slice is made.
        unsafe {
            for position in 0..count {
                start.add(position).write(value);
            }
            Ok(core::slice::from_raw_parts_mut(start.as_ptr(), count))
        }
    }
}

/// Backs `bytes` from `start` with pages, huge ones where the machine gives them.
///
/// # Safety
/// The range must be allocated memory that nobody refers to: its content is overwritten.
unsafe fn populate(start: *mut u8, bytes: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};
        // Refused without transparent huge pages; what was given is read back and reported by the engine.
        // SAFETY: advice on memory that the caller owns; it changes no content.
        let _ = unsafe { madvise(start.cast(), bytes, Advice::LinuxHugepage) };
        // SAFETY: as above.
        match unsafe { madvise(start.cast(), bytes, Advice::LinuxPopulateWrite) } {
            Ok(()) => return Ok(()),
            // Kernels before 5.14 do not know it: touch below.
            Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    const PAGE_BYTES: usize = 4096;
    for offset in (0..bytes).step_by(PAGE_BYTES) {
        // SAFETY: `offset < bytes`, and the caller vouches for the range.
        unsafe { start.add(offset).write_volatile(0) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_aligned_filled_and_bounded() {
        let arena = Arena::new(1).expect("two MiB");
        assert_eq!(arena.bytes(), HUGE_PAGE_BYTES);
        let words = arena.slice(1000, 7_u64).expect("fits");
        let bytes = arena.slice(3, 1_u8).expect("fits");
        assert!(words.iter().all(|&word| word == 7) && bytes == [1, 1, 1]);
        assert_eq!(words.as_ptr().addr() % ARENA_ALIGN, 0);
        assert_eq!(bytes.as_ptr().addr() % ARENA_ALIGN, 0);
        assert!(matches!(arena.slice(HUGE_PAGE_BYTES, 0_u8), Err(ArenaError::Exhausted { .. })));
    }

    #[test]
    fn progress_ends_at_the_whole() {
        let mut calls = Vec::new();
        let arena = Arena::with_progress(5 << 20, |done, all| calls.push((done, all))).expect("six MiB");
        assert_eq!(calls.first(), Some(&(0, arena.bytes())));
        assert_eq!(calls.last(), Some(&(arena.bytes(), arena.bytes())));
    }
}
