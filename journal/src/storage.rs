//! The medium behind one trait: what the writer asks of files, and how it is told that it happened.
//!
//! The writer is a state machine without I/O of its own. It submits operations with a token, and each comes back
//! exactly once as a completion with that token, in any order, successful or not. A backend may be as slow, as
//! unordered and as failing as a disk; the writer's promises do not rest on it. Two backends are here: io_uring and the
//! portable one.

#[cfg(target_os = "linux")]
mod io_uring;
mod portable;

pub(crate) use portable::preallocate;
pub use portable::{PortableDisk, PortableThread};

use crate::memory::Block;
use crate::options::{Backend, Notice, Options};
use crate::staging::Pool;
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Files open at once: the segment that is written, the next one, and the one that is being sealed.
const FILES_MAX: usize = 3;
/// Operations under way at once: frames, the syncs, header, footer and trimming around them.
pub(crate) const OPERATIONS_MAX: usize = crate::options::WRITES_IN_FLIGHT_MAX as usize + 8;

/// What an operation was for. Backends hand it back untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// The write of the frame with this running number.
    Frame(u64),
    /// The sync of a group of frames.
    Group,
    /// The file of the next segment is created.
    Spare,
    /// The header of the next segment is written.
    Header,
    /// The header of the next segment is synced.
    HeaderSync,
    /// The footer of the segment that is being sealed is written.
    Footer,
    /// That footer is synced.
    FooterSync,
    /// The sealed file is cut to its length.
    Trim,
    /// That length is synced.
    TrimSync,
}

/// A file that the backend holds open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSlot(pub(crate) usize);

/// Something to do.
pub(crate) enum Operation {
    /// Create the file, which must not exist, give it `length` bytes, and make it and its name durable.
    Prepare { name: SegmentName, length: u64 },
    /// Open the file, which was prepared by somebody else.
    Open { name: SegmentName },
    /// Write `block[from..to]` at `offset`. With `is_through` these bytes are durable when it succeeds; only where
    /// [`Storage::writes_through`].
    Write { file: FileSlot, offset: u64, block: Block, from: usize, to: usize, is_through: bool },
    /// Make every completed write to the file durable.
    Sync { file: FileSlot },
    /// Cut the file to `length` bytes.
    Trim { file: FileSlot, length: u64 },
}

/// Something that is done, or failed.
pub(crate) struct Completion {
    pub(crate) token: Token,
    pub(crate) result: io::Result<Done>,
    /// The block of a write.
    pub(crate) block: Option<Block>,
}

/// What a successful operation gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The file of an [`Operation::Prepare`] or [`Operation::Open`].
    Prepared(FileSlot),
    /// So many bytes of a [`Operation::Write`], possibly not all.
    Written(usize),
    /// Anything else.
    Finished,
}

/// The files of one journal directory, written asynchronously.
pub(crate) trait Storage: Send {
    /// What this backend is called.
    fn backend(&self) -> Backend;

    /// Whether submitting waits for the disk, so that few and large operations are better.
    fn makes_the_caller_wait(&self) -> bool {
        false
    }

    /// Whether a write that is durable when it is done is quicker than a write and then a sync.
    fn writes_through(&self) -> bool {
        false
    }

    /// Lets the kernel's own threads have this core, if they wait for it and something is under way. Does not sleep.
    fn give_way(&mut self) {}

    /// Takes an operation. At most [`OPERATIONS_MAX`] may be under way. A failure shows in the completion.
    fn submit(&mut self, token: Token, operation: Operation);

    /// Moves what is done into `completions`. Does not block.
    fn reap(&mut self, completions: &mut Vec<Completion>);

    /// Hands what was submitted to the kernel, if that has not happened yet. Does not wait for it.
    fn dispatch(&mut self) -> io::Result<()>;

    /// Sleeps until something is done, or for `timeout`.
    fn wait(&mut self, timeout: Duration) -> io::Result<()>;

    /// Closes a file that nothing is under way for.
    fn close(&mut self, file: FileSlot);

    /// Removes a file by name, durably. Blocks; not for the way of the records.
    fn remove(&mut self, name: &SegmentName) -> io::Result<()>;

    /// Time since some fixed moment, never going back.
    fn now(&self) -> Duration;
}

/// The best backend that `options` and this machine allow, and what stood in the way of a better one.
pub(crate) fn open(
    directory: &Path,
    options: &Options,
    pool: &mut Pool,
) -> io::Result<(Box<dyn Storage>, Vec<Notice>)> {
    let mut notices = Vec::new();
    let is_direct = options.is_direct && {
        let refusal = direct_refusal(directory);
        notices.extend(refusal.as_deref().map(|cause| Notice {
            cause: format!("journal writes go through the page cache: {cause}"),
            cure: "put the journal on ext4 or XFS to bypass it".to_owned(),
        }));
        refusal.is_none()
    };
    let files = Files::open(directory, is_direct)?;
    #[cfg(target_os = "linux")]
    let files = if options.backend == Backend::Portable {
        files
    } else {
        match io_uring::IoUringStorage::new(files) {
            Ok(mut storage) => {
                if options.backend == Backend::IoUringFixed && !pool.registrable().is_empty() {
                    match storage.register(pool.registrable()) {
                        Ok(()) => return Ok((Box::new(storage), notices)),
                        Err(cause) => notices.push(Notice {
                            cause: format!("the journal's buffers could not be registered with io_uring: {cause}"),
                            cure: "raise the locked-memory limit (`ulimit -l`) by 4 MiB".to_owned(),
                        }),
                    }
                }
                pool.forget_registered();
                return Ok((Box::new(storage), notices));
            }
            Err((files, cause)) => {
                let cure = match cause.kind() {
                    io::ErrorKind::OutOfMemory => "raise the locked-memory limit (`ulimit -l`)",
                    _ => {
                        "allow io_uring: kernel.io_uring_disabled=0, and in a container a seccomp profile that permits it"
                    }
                };
                notices.push(Notice {
                    cause: format!("io_uring is refused ({cause}), so the journal is written by pwrite and fdatasync"),
                    cure: cure.to_owned(),
                });
                files
            }
        }
    };
    pool.forget_registered();
    let files = match &options.portable_thread {
        None => files,
        Some(thread) => {
            match portable::ThreadedStorage::new(files, thread) {
                Ok(storage) => return Ok((Box::new(storage), notices)),
                Err((files, cause)) => {
                    notices.push(Notice {
                    cause: format!("no thread can be had to write the journal ({cause}), so whoever polls it waits for the disk"),
                    cure: "raise the limit of threads (`ulimit -u`)".to_owned(),
                });
                    // With the thread's start went its files; no segment is open yet.
                    files.map_or_else(|| Files::open(directory, is_direct), Ok)?
                }
            }
        }
    };
    Ok((Box::new(portable::PortableStorage::new(files)), notices))
}

/// Removes a file by name, durably.
fn remove(directory: &OwnedFd, name: &SegmentName) -> io::Result<()> {
    rustix::fs::unlinkat(directory, name.as_c_str(), AtFlags::empty())?;
    Ok(rustix::fs::fsync(directory)?)
}

/// Why `O_DIRECT` with 4096-byte alignment cannot be used in `directory`, or `None` when it can.
fn direct_refusal(directory: &Path) -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, StatxFlags, openat, statx};
        let probe = directory.join(crate::medium::LOCK_FILE);
        if let Err(cause) = openat(CWD, &probe, OFlags::RDWR | OFlags::CLOEXEC | OFlags::DIRECT, Mode::empty()) {
            return Some(format!("the file system refuses O_DIRECT ({cause})"));
        }
        let unit =
            statx(CWD, &probe, AtFlags::empty(), StatxFlags::DIOALIGN).map_or(0, |found| found.stx_dio_offset_align);
        (u64::from(unit) > crate::format::WRITE_UNIT_BYTES).then(|| format!("the device wants writes of {unit} bytes"))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = directory;
        Some("O_DIRECT is used on Linux only".to_owned())
    }
}

/// The name of a segment's file, kept in place so that making one does not allocate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentName {
    bytes: [u8; 40],
    length: usize,
}

impl SegmentName {
    /// `segment-000001.tcj` for 1. Names sort like numbers up to 999,999; readers go by the header.
    pub(crate) fn new(number: u64) -> Self {
        let mut bytes = [0; 40];
        let mut rest = &mut bytes[..39];
        // The longest number has 20 digits, so 32 bytes suffice.
        let _ = write!(rest, "segment-{number:06}.tcj");
        let length = 39 - rest.len();
        Self { bytes, length }
    }

    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    /// The name as a C string.
    pub(crate) fn as_c_str(&self) -> &core::ffi::CStr {
        core::ffi::CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for SegmentName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The open files of both backends, and their directory.
struct Files {
    directory: OwnedFd,
    open: [Option<File>; FILES_MAX],
    is_direct: bool,
}

impl Files {
    fn open(directory: &Path, is_direct: bool) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(Self { directory, open: [const { None }; FILES_MAX], is_direct })
    }

    fn create_flags(&self) -> OFlags {
        self.open_flags() | OFlags::CREATE | OFlags::EXCL
    }

    fn open_flags(&self) -> OFlags {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        #[cfg(target_os = "linux")]
        let flags = if self.is_direct { flags | OFlags::DIRECT } else { flags };
        flags
    }

    fn create_mode() -> Mode {
        Mode::from_raw_mode(0o644)
    }

    fn insert(&mut self, file: File) -> FileSlot {
        let free = self.open.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| panic!("a writer holds at most {FILES_MAX} segments open"));
        self.open[slot] = Some(file);
        FileSlot(slot)
    }

    fn get(&self, slot: FileSlot) -> &File {
        self.open[slot.0].as_ref().unwrap_or_else(|| panic!("segment file {} is used after it was closed", slot.0))
    }

    /// Takes a file out; its slot is free again.
    fn take(&mut self, slot: FileSlot) -> Option<File> {
        self.open[slot.0].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_like_numbers_and_hold_the_longest() {
        assert_eq!(SegmentName::new(1).as_str(), "segment-000001.tcj");
        assert_eq!(SegmentName::new(u64::MAX).as_str(), "segment-18446744073709551615.tcj");
        assert_eq!(SegmentName::new(u64::MAX).as_c_str().to_str().unwrap(), "segment-18446744073709551615.tcj");
    }
}
