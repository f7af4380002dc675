//! The files of rings: made complete and then named, opened with suspicion, removed by whoever made them.

use super::header::{HEADER_BYTES, Header};
use super::{AttachError, CreateError};
use crate::ring::memory::{HeaderWord, Memory, Table};
use rustix::fs::{
    CWD, FallocateFlags, FlockOperation, MemfdFlags, RenameFlags, SealFlags, fallocate, fcntl_add_seals, flock,
    fstatfs, memfd_create, renameat_with,
};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Only the owner reads and writes.
const MODE: u32 = 0o600;

/// How often a name is tried for when others take it away or replace what is there at the same time.
const TRIES_MAX: u32 = 8;

/// The kernel's number for a type of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSystem(pub(super) u64);

impl FileSystem {
    /// memfds are on it as well.
    const TMPFS: Self = Self(0x0102_1994);
    const HUGETLBFS: Self = Self(0x958_458F6);

    /// The type, and the bytes of which the size of a file is a multiple.
    fn of(file: impl AsFd) -> io::Result<(Self, u64)> {
        let found = fstatfs(file)?;
        // The kernel's type is 32 bits wide, which some targets sign-extend.
        let kind = Self(found.f_type as u64 & 0xFFFF_FFFF);
        let unit = if kind == Self::HUGETLBFS { found.f_bsize as u64 } else { 1 };
        Ok((kind, unit))
    }

    fn is_memory(self) -> bool {
        [Self::TMPFS, Self::HUGETLBFS].contains(&self)
    }

    /// What a message calls it.
    fn name(self) -> String {
        let name = match self.0 {
            0xEF53 => "ext4",
            0x5846_5342 => "xfs",
            0x9123_683E => "btrfs",
            0x794C_7630 => "overlayfs",
            0x6969 => "nfs",
            kind => return format!("a file system of type {kind:#x}"),
        };
        name.to_owned()
    }
}

/// A file that this process made; its name is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Created {
    file: File,
    path: PathBuf,
    has_name: bool,
    has_replaced: bool,
}

impl Created {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has_replaced(&self) -> bool {
        self.has_replaced
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        // Somebody may have put another file there meanwhile.
        if self.has_name && is_same_file(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    let identity = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    let found = identity(file.metadata());
    found.is_some() && found == identity(fs::symlink_metadata(path))
}

/// Gives the file its size and its header. Every byte is reserved: a full file system shows here, not at a later store.
fn fill(file: &File, header: &mut Header) -> io::Result<Arc<Memory>> {
    let (_, unit) = FileSystem::of(file)?;
    header.file_bytes = header.file_bytes.next_multiple_of(unit);
    file.set_len(header.file_bytes)?;
    fallocate(file, FallocateFlags::empty(), 0, header.file_bytes)?;
    let memory = Arc::new(Memory::of_file(file, header.file_bytes as usize, true)?);
    // Not by writing to the file, which hugetlbfs does not know.
    let words = Table::<HeaderWord>::within(&memory, 0, HEADER_BYTES / size_of::<HeaderWord>());
    for (word, bytes) in words.iter().zip(header.to_bytes().as_chunks().0) {
        word.0.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
    Ok(memory)
}

fn system<'p>(path: &'p Path, doing: &'static str) -> impl Fn(io::Error) -> CreateError + 'p {
    move |source| CreateError::System { path: path.to_owned(), doing, source }
}

/// Makes the file under a name of this process alone, fills it, and gives it its own name.
pub(super) fn create(path: &Path, header: &mut Header) -> Result<(Created, Arc<Memory>), CreateError> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.new", header.creator.pid));
    let unfinished = PathBuf::from(unfinished);
    // One that a process with this number left behind.
    let _ = fs::remove_file(&unfinished);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&unfinished);
    let file = file.map_err(system(path, "making the file; its folder must exist and be writable"))?;
    // From here on dropping it removes it.
    let mut created = Created { file, path: unfinished, has_name: true, has_replaced: false };
    let (kind, _) = FileSystem::of(&created.file).map_err(system(path, "asking for the file system"))?;
    if !kind.is_memory() {
        return Err(CreateError::FileSystem { path: path.to_owned(), found: kind.name() });
    }
    let memory = fill(&created.file, header);
    let memory = memory.map_err(system(path, "reserving the memory; take fewer lines or free some"))?;
    for _ in 0..TRIES_MAX {
        match renameat_with(CWD, &created.path, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => {
                created.path = path.to_owned();
                return Ok((created, memory));
            }
            Err(rustix::io::Errno::EXIST) => created.has_replaced |= remove_left_behind(path)?,
            Err(error) => return Err(system(path, "naming the file")(error.into())),
        }
    }
    let source = io::Error::new(io::ErrorKind::ResourceBusy, "other processes make rings there at the same time");
    Err(system(path, "naming the file")(source))
}

/// Removes the ring at `path` if its creator has ended; false when it is no longer there.
fn remove_left_behind(path: &Path) -> Result<bool, CreateError> {
    let (file, header) = match open(path) {
        Ok(found) => found,
        Err(AttachError::System { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(found) => return Err(CreateError::Exists { path: path.to_owned(), found: Box::new(found) }),
    };
    if header.creator.is_running() != Some(false) {
        return Err(CreateError::InUse { path: path.to_owned(), pid: header.creator.pid });
    }
    // Two that find it at once: the second one waits here, and then sees that the name is another file's.
    flock(&file, FlockOperation::LockExclusive).map_err(|error| system(path, "locking what is there")(error.into()))?;
    if !is_same_file(&file, path) {
        return Ok(false);
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(system(path, "removing what a process left behind that has ended")(error)),
    }
}

/// Makes a file without a name, which nobody can cut or lengthen.
pub(super) fn create_memfd(name: &Path, header: &mut Header) -> Result<(Created, Arc<Memory>), CreateError> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let file = File::from(file.map_err(|error| system(name, "making a memfd")(error.into()))?);
    let memory = fill(&file, header);
    let memory = memory.map_err(system(name, "reserving the memory; take fewer lines or free some"))?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
        .map_err(|error| system(name, "sealing the memfd")(error.into()))?;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", header.creator.pid, file.as_raw_fd()));
    Ok((Created { file, path, has_name: false, has_replaced: false }, memory))
}

/// Opens a ring for reading and checks its header.
pub(super) fn open(path: &Path) -> Result<(File, Header), AttachError> {
    let system = |doing| move |source| AttachError::System { path: path.to_owned(), doing, source };
    // A pipe would otherwise wait for somebody at its other end.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file =
        OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(system("opening the ring"))?;
    let metadata = file.metadata().map_err(system("asking for its size"))?;
    let (kind, _) = FileSystem::of(&file).map_err(system("asking for the file system"))?;
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "this is no regular file; give the path of a ring");
        return Err(system("opening the ring")(source));
    }
    if !kind.is_memory() {
        return Err(AttachError::FileSystem { path: path.to_owned(), found: kind.name() });
    }
    let mut bytes = [0; HEADER_BYTES];
    let mut count = 0;
    while count < HEADER_BYTES {
        match file.read_at(&mut bytes[count..], count as u64) {
            Ok(0) => break,
            Ok(further) => count += further,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(system("reading the header")(error)),
        }
    }
    let header = Header::parse(path, &bytes[..count], metadata.len())?;
    Ok((file, header))
}
