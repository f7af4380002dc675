//! Words that another process can read while they change: a mapped file, or memory of our own where there is none.

#![allow(unsafe_code)]

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// A table of atomic words.
#[derive(Debug)]
pub(super) enum Words {
    /// In a file.
    Mapped {
        start: NonNull<AtomicU64>,
        count: usize,
    },
    Private(Box<[AtomicU64]>),
}

// SAFETY: a mapping is an address range of the process, bound to no thread, and atomics are all that it is used as.
unsafe impl Send for Words {}
// SAFETY: as above; atomics are made for being shared.
unsafe impl Sync for Words {}

impl Words {
    /// `count` words of 0 in memory of our own.
    pub(super) fn private(count: usize) -> Self {
        Self::Private((0..count).map(|_| AtomicU64::new(0)).collect())
    }

    /// Makes `file`, which is new, hold `count` words of 0 and maps and touches them.
    pub(super) fn mapped(file: &File, count: usize) -> io::Result<Self> {
        let bytes = count * 8;
        // Written, not only extended: a store to a mapped hole of a full file system would be a signal.
        file.write_all_at(&vec![0; bytes], 0)?;
        let flags = MapFlags::SHARED | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no existing memory.
        let start = unsafe { mmap(core::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, flags, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self::Mapped { start, count })
    }

    #[inline]
    pub(super) fn all(&self) -> &[AtomicU64] {
        match self {
            // SAFETY: the range is mapped as long as `self` lives, page-aligned, and `count` words long. Other processes
            // may change it at any time, and atomics are the type for which that is allowed. It cannot be cut short by
            // others: the file is its owner's alone to write.
            Self::Mapped { start, count } => unsafe { core::slice::from_raw_parts(start.as_ptr(), *count) },
            Self::Private(words) => words,
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if let Self::Mapped { start, count } = self {
            // SAFETY: the range was mapped by this type with this length, and every borrow of it has ended. A failure
            // would leave it mapped, which harms nobody.
            let _ = unsafe { munmap(start.as_ptr().cast(), *count * 8) };
        }
    }
}
