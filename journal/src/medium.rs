//! The medium behind one trait: the files of one journal's directory.
//!
//! Everything that reads, recovers, repairs or writes a journal touches files through a [`Medium`] alone, so that all of it
//! also runs on the simulated one of the tests, which tears, loses and damages what was not synced. Plain calls are for
//! reading and for work off the way of the records; [`Medium::storage`] opens the asynchronous half that the writer uses.

use crate::format::JournalId;
use crate::options::{Notice, Options};
use crate::staging::Pool;
use crate::status::StatusWriter;
use crate::storage::Storage;
use rustix::fs::{FlockOperation, SeekFrom, flock, seek};
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the lock's file.
pub(crate) const LOCK_FILE: &str = "lock";
/// Name of the lock's file of who compacts.
pub(crate) const COMPACT_LOCK_FILE: &str = "compact-lock";

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It must be there, and is only read.
    Read,
    /// It must be there.
    Write,
    /// It must not be there.
    Create,
}

/// Held as long as this process is the one that writes the journal.
pub(crate) trait Lock: Send {}
impl Lock for File {}

/// The files of one journal's directory.
pub(crate) trait Medium: Debug + Send + Sync {
    /// The directory, for messages.
    fn path(&self) -> &Path;

    /// Names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file.
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn MediumFile>>;

    /// Gives a file another name, in place of a file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable as they are.
    fn sync_directory(&self) -> io::Result<()>;

    /// Bytes that can still be written to new files; `None` when nobody knows.
    fn available_bytes(&self) -> Option<u64>;

    /// Creates the directory and those above it.
    fn create_directory(&self) -> io::Result<()>;

    /// Takes a lock of the directory, or returns `None` when another process has it.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>>;

    /// The status page of a writer, where there is one.
    fn status(&self, journal: JournalId, last: u64) -> io::Result<Option<StatusWriter>>;

    /// The best way to write asynchronously that `options` and the machine allow, and what stood in the way of a better.
    fn storage(&self, options: &Options, pool: &mut Pool) -> io::Result<(Box<dyn Storage>, Vec<Notice>)>;

    /// Fresh random bits.
    fn random_id(&self) -> io::Result<JournalId>;
}

/// An open file.
pub(crate) trait MediumFile: Send {
    /// Fills the start of `bytes` from `offset` on; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Its length now.
    fn length(&self) -> io::Result<u64>;

    /// Cuts or lengthens it.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Gives it so many bytes, of zeros where it had none, with blocks behind them where the file system can. `true` when
    /// those blocks are written zeros already, so that no later write has to change more than its own bytes: tried only
    /// where that `is_wanted`.
    fn allocate(&self, length: u64, is_wanted: bool) -> io::Result<bool>;

    /// Lets whole pages that are written later from page-aligned memory go past the cache, where the file system can do
    /// that. Otherwise nothing changes.
    fn bypass_cache(&self) {}

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Drops what is cached of it and needs no writing, so that the next read shows what the disk has.
    fn forget_cache(&self) -> io::Result<()>;

    /// The first byte at or after `offset` that may be anything but 0, or `None` when there is none.
    fn next_data(&self, offset: u64) -> io::Result<Option<u64>>;
}

/// Removes a file, if there is one of that name.
pub(crate) fn remove_if_there(medium: &dyn Medium, name: &str) -> io::Result<()> {
    match medium.remove(name) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A real directory.
#[derive(Debug)]
pub(crate) struct DirectoryMedium {
    path: PathBuf,
}

impl DirectoryMedium {
    pub(crate) fn at(path: &Path) -> Arc<dyn Medium> {
        Arc::new(Self { path: path.to_owned() })
    }
}

impl Medium for DirectoryMedium {
    fn path(&self) -> &Path {
        &self.path
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn MediumFile>> {
        let is_written = access != Access::Read;
        let mut options = OpenOptions::new();
        options.read(true).write(is_written).create_new(access == Access::Create);
        Ok(Box::new(options.open(self.path.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn available_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.path).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn create_directory(&self) -> io::Result<()> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let new_count = self.path.ancestors().take_while(is_missing).count();
        std::fs::create_dir_all(&self.path)?;
        // The name of each that is new, and the last one's in any case: nobody knows who made that when.
        let Ok(path) = self.path.canonicalize() else { return Ok(()) };
        let mut parents = path.ancestors().skip(1).take(new_count.max(1));
        parents.try_for_each(|parent| File::open(parent)?.sync_all())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Lock>>> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(cause) => Err(cause.into()),
        }
    }

    fn status(&self, journal: JournalId, last: u64) -> io::Result<Option<StatusWriter>> {
        StatusWriter::create(&self.path, journal, last).map(Some)
    }

    fn storage(&self, options: &Options, pool: &mut Pool) -> io::Result<(Box<dyn Storage>, Vec<Notice>)> {
        crate::storage::open(&self.path, options, pool)
    }

    fn random_id(&self) -> io::Result<JournalId> {
        let mut id = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut id)?;
        Ok(JournalId(id))
    }
}

impl MediumFile for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, bytes, offset) {
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        File::set_len(self, length)
    }

    fn allocate(&self, length: u64, is_wanted: bool) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        if is_wanted {
            use rustix::fs::{FallocateFlags, fallocate};
            // FALLOC_FL_WRITE_ZEROES, since Linux 6.17, where the device can.
            let write_zeroes = FallocateFlags::from_bits_retain(0x80);
            if fallocate(self, write_zeroes, 0, length).is_ok() && self.metadata()?.len() >= length {
                return Ok(true);
            }
        }
        crate::storage::preallocate(self, length)?;
        Ok(false)
    }

    fn bypass_cache(&self) {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{AtFlags, OFlags, StatxFlags, fcntl_getfl, fcntl_setfl, statx};
            let unit = statx(self, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)
                .map_or(0, |found| found.stx_dio_offset_align.max(found.stx_dio_mem_align));
            if unit > 0
                && u64::from(unit) <= crate::format::WRITE_UNIT_BYTES
                && let Ok(flags) = fcntl_getfl(self)
            {
                // Refused where the file system cannot: then the cache is used.
                let _ = fcntl_setfl(self, flags | OFlags::DIRECT);
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn forget_cache(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<u64>> {
        #[cfg(target_os = "linux")]
        match seek(self, SeekFrom::Data(offset)) {
            Ok(found) => return Ok(Some(found)),
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(_) => {}
        }
        Ok((offset < self.metadata()?.len()).then_some(offset))
    }
}
