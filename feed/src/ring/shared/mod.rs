//! The same ring in a file that other processes read from.
//!
//! ```no_run
//! use tickcore_feed::ring::shared::{Attached, Content, Life, SharedRing};
//!
//! // One process:
//! let shared = SharedRing::create("/dev/shm/feed.ring", Content::Events, 1 << 14, 1)?;
//! let mut writer = shared.ring().writer()?;
//!
//! // Another one:
//! let attached = Attached::open("/dev/shm/feed.ring")?;
//! let (mut reader, mut watch) = (attached.reader(), attached.watch());
//! while !reader.is_closed_and_drained() {
//!     let result = reader.poll(64, |sequence, event| println!("{sequence:?} {event:?}"));
//!     if result.read == 0 && watch.look() != Life::Running {
//!         break;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//! - Who attaches maps the file without write access and reads lossily: it cannot hold the writer, and nothing that it does,
//!   being killed included, touches the ring. Gating readers are of the creator's own process.
//! - A writer that is killed leaves what it had published, whole; of a batch, all or nothing. Its readers know within
//!   [`NOTICED_WITHIN`].
//! - The file is in memory: tmpfs, hugetlbfs or a memfd. On any other file system the kernel would write pages back and stop
//!   the writer at a store meanwhile; such a file is refused.
//! - The file is for its owner alone (mode 0600), complete before it has its name, and removed when the [`SharedRing`] is
//!   dropped. What a killed creator left behind is replaced by the next one at the same path; a live one's is not.
//!
//! # Worst case
//! Somebody with the right to write to the file can end any process that has it mapped, by cutting it (SIGBUS). A memfd is
//! sealed against that.

mod file;
mod header;
mod life;

pub use header::Content;
pub use life::{BEAT_INTERVAL, LOOK_INTERVAL, Life, NOTICED_WITHIN, SILENT_AFTER, Watch};

use super::lane::Lane;
use super::memory::Memory;
use super::region::Region;
use super::{LossyReader, Ring, RingError, check_capacity};
use core::fmt;
use file::Created;
use header::{Header, Process};
use life::Heart;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a ring in a file was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Lines or readers are out of their bounds.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The file system writes to a disk.
    #[error(
        "{}: a ring cannot lie on {found}: the kernel would write its pages back and stop the writer meanwhile; take a path on tmpfs, such as /dev/shm",
        path.display()
    )]
    FileSystem {
        /// The path asked for.
        path: PathBuf,
        /// What it is on.
        found: String,
    },
    /// A running process has a ring there.
    #[error("{}: process {pid} has its ring there and runs; end it, or take another path", path.display())]
    InUse {
        /// The path asked for.
        path: PathBuf,
        /// The process.
        pid: u32,
    },
    /// There is a file which is no ring that could be replaced.
    #[error("{}: there is something already: {found}", path.display())]
    Exists {
        /// The path asked for.
        path: PathBuf,
        /// What it is.
        found: Box<AttachError>,
    },
    /// The system refused something.
    #[error("{}: {doing}: {source}", path.display())]
    System {
        /// The path asked for.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a ring in a file was not attached to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The header is not one of ours, or not whole.
    #[error("{}, offset {offset}: {what} is {found}, not {wanted}; {cure}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: usize,
        /// What stands there.
        what: &'static str,
        /// What was found.
        found: String,
        /// What should be there.
        wanted: String,
        /// What to do.
        cure: &'static str,
    },
    /// The file lies where no ring is made.
    #[error("{}: a ring does not lie on {found}; give the path of a ring, on tmpfs or hugetlbfs", path.display())]
    FileSystem {
        /// The file.
        path: PathBuf,
        /// What it is on.
        found: String,
    },
    /// The process that made it has ended without removing it.
    #[error("{}: process {pid}, which made this ring, is gone; start it again, it replaces the file", path.display())]
    CreatorGone {
        /// The file.
        path: PathBuf,
        /// The process.
        pid: u32,
    },
    /// It carries something else.
    #[error("{}: this ring carries {}, not {}; give the path of the other one", path.display(), found.name(), wanted.name())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it carries.
        found: Content,
        /// What was wanted.
        wanted: Content,
    },
    /// The system refused something.
    #[error("{}: {doing}: {source}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A ring in a file, and the thread that tells others that this process runs. Dropping it removes the file; the ring itself
/// goes on for those who have it.
pub struct SharedRing {
    // Before the file: the heart stops first.
    _heart: Heart,
    ring: Ring,
    created: Created,
}

impl SharedRing {
    /// Makes a ring of `capacity_lines` lines (a power of two) at `path`, for up to `readers_max` gating readers of this
    /// process at a time. Every page is touched. Starts a thread, `ring-heart`, that sleeps but for a store every
    /// [`BEAT_INTERVAL`].
    ///
    /// # Errors
    /// Impossible numbers, a file system that writes to a disk, a path that is taken, or what the system refuses. A file that
    /// a creator left behind which has ended is replaced.
    pub fn create(
        path: impl AsRef<Path>,
        content: Content,
        capacity_lines: usize,
        readers_max: usize,
    ) -> Result<Self, CreateError> {
        let path = path.as_ref();
        Self::with_file(path, content, capacity_lines, readers_max, file::create)
    }

    /// The same in a memfd called `name`, which has no path of its own, ends with its last user, and cannot be cut.
    /// [`SharedRing::path`] is the one by which others of the same user open it.
    ///
    /// # Errors
    /// As [`SharedRing::create`].
    pub fn create_memfd(
        name: &str,
        content: Content,
        capacity_lines: usize,
        readers_max: usize,
    ) -> Result<Self, CreateError> {
        Self::with_file(Path::new(name), content, capacity_lines, readers_max, file::create_memfd)
    }

    fn with_file(
        path: &Path,
        content: Content,
        capacity_lines: usize,
        readers_max: usize,
        create: impl FnOnce(&Path, &mut Header) -> Result<(Created, Arc<Memory>), CreateError>,
    ) -> Result<Self, CreateError> {
        check_capacity(capacity_lines)?;
        let system = |doing| move |source| CreateError::System { path: path.to_owned(), doing, source };
        let creator = Process::current().map_err(system("asking for this process"))?;
        let file_bytes = Lane::bytes(capacity_lines) as u64;
        let mut header = Header { content, capacity_lines, file_bytes, creator };
        let (created, memory) = create(path, &mut header)?;
        let ring = Ring::of_lane(readers_max, || Ok(Lane::within(&memory, capacity_lines)))?;
        let heart = Heart::start(Arc::clone(&ring.region)).map_err(system("starting the thread ring-heart"))?;
        Ok(Self { _heart: heart, ring, created })
    }

    /// The ring, from which its writer and the readers of this process are had.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Where others find it.
    pub fn path(&self) -> &Path {
        self.created.path()
    }

    /// Whether a file was replaced that a creator had left behind which has ended.
    pub fn has_replaced(&self) -> bool {
        self.created.has_replaced()
    }
}

impl fmt::Debug for SharedRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SharedRing")
            .field("ring", &self.ring)
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// A ring of another process, or of this one, open for reading.
pub struct Attached {
    region: Arc<Region>,
    header: Header,
}

impl Attached {
    /// Opens the ring at `path`, which may be `/proc/PID/fd/N` of a memfd. The header is checked before any of it is believed.
    ///
    /// # Errors
    /// When there is no ring, one of another version, one that was damaged or resized, or one whose creator is gone.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        let path = path.as_ref();
        let system = |doing| move |source| AttachError::System { path: path.to_owned(), doing, source };
        let (file, header) = file::open(path)?;
        if header.creator.is_running() == Some(false) {
            return Err(AttachError::CreatorGone { path: path.to_owned(), pid: header.creator.pid });
        }
        let memory = Memory::of_file(&file, header.file_bytes as usize, false);
        let memory = Arc::new(memory.map_err(system("mapping the ring"))?);
        let lane = Lane::within(&memory, header.capacity_lines);
        Ok(Self { region: Arc::new(Region::of_readers(lane)), header })
    }

    /// As [`Attached::open`], for a ring that carries `content`.
    ///
    /// # Errors
    /// As [`Attached::open`], and when it carries something else.
    pub fn open_with(path: impl AsRef<Path>, content: Content) -> Result<Self, AttachError> {
        let path = path.as_ref();
        let attached = Self::open(path)?;
        let found = attached.content();
        if found == content {
            Ok(attached)
        } else {
            Err(AttachError::Content { path: path.to_owned(), found, wanted: content })
        }
    }

    /// A reader behind the newest event.
    #[must_use]
    pub fn reader(&self) -> LossyReader {
        LossyReader::join(Arc::clone(&self.region))
    }

    /// Something that tells whether the creator still runs.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.region), self.header.creator)
    }

    /// What the events are.
    #[must_use]
    pub fn content(&self) -> Content {
        self.header.content
    }

    /// Lines of the ring.
    #[must_use]
    pub fn capacity_lines(&self) -> usize {
        self.header.capacity_lines
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Attached").field("header", &self.header).finish_non_exhaustive()
    }
}
