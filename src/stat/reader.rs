//! The reading side: which engines there are, and what they count.

use super::layout::{
    BLOCK_CORE, BLOCK_NAME, BLOCK_ROLE, BLOCK_SHARD, BLOCK_WORDS, BLOCKS_MAX, Counter, DESCRIPTION_BYTES_MAX,
    HEADER_WORDS, MAGIC, NAME_BYTES, State, VERSION, WORD_BLOCK_WORDS, WORD_BLOCKS, WORD_DESCRIPTION,
    WORD_DESCRIPTION_BYTES, WORD_HEADER_WORDS, WORD_MAGIC, WORD_PROCESS, WORD_RING_LINES, WORD_START, WORD_STATE,
    WORD_TOPOLOGY, WORD_VERSION,
};
use crate::topology::{Role, Topology};
use rustix::fs::{FlockOperation, OFlags, flock};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of the largest stat file.
const FILE_BYTES_MAX: u64 = ((HEADER_WORDS + BLOCKS_MAX * BLOCK_WORDS) * 8) as u64;

/// Why an engine cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatError {
    /// The file cannot be read.
    #[error("{}: cannot read it: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no stat file, or a damaged one.
    #[error("{}: this is no stat file of an engine: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// It was written by a program of another version.
    #[error("{}: its format has version {version}, this program reads {VERSION}; use the program that the engine is of", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
    },
}

/// The counters of one thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreCounters {
    /// What it does; `None` for a role that this program does not know.
    pub role: Option<Role>,
    /// Which of several book cores it is.
    pub shard: u64,
    /// Its core, when it is pinned.
    pub core: Option<u64>,
    /// Its name; what is no plain letter is escaped.
    pub name: String,
    values: [u64; Counter::COUNT],
}

impl CoreCounters {
    /// One counter.
    pub const fn of(&self, counter: Counter) -> u64 {
        self.values[counter as usize]
    }
}

/// One look at an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its process, by its own word.
    pub process_id: u64,
    /// When it started, ns since the Unix epoch.
    pub start_ns: u64,
    /// What it is doing, by its own word; `None` for a state that this program does not know.
    pub state: Option<State>,
    /// How its work is spread.
    pub topology: Option<Topology>,
    /// Lines of its ring.
    pub ring_lines: u64,
    /// What it says that it does; what is no plain letter is escaped.
    pub description: String,
    /// Its threads.
    pub cores: Vec<CoreCounters>,
}

/// An engine's stat file, open for reading. What is read of it stays readable when the engine has ended.
#[derive(Debug)]
pub struct Engine {
    path: PathBuf,
    file: File,
}

impl Engine {
    /// Opens a stat file.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<Self, StatError> {
        let file = open(path).map_err(|source| StatError::Read { path: path.to_owned(), source })?;
        let engine = Self { path: path.to_owned(), file };
        engine.read()?;
        Ok(engine)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the engine still holds its file. One that no longer does has ended, or was killed.
    pub fn is_alive(&self) -> bool {
        is_locked(&self.file)
    }

    /// All that is in it now. Copies the file, which the kernel does by plain loads: the engine's threads do not notice.
    ///
    /// # Errors
    /// When it cannot be read, is no stat file, or has another version.
    pub fn read(&self) -> Result<Snapshot, StatError> {
        let failed = |source| StatError::Read { path: self.path.clone(), source };
        let malformed = |what| StatError::Malformed { path: self.path.clone(), what };
        let length = self.file.metadata().map_err(failed)?.len();
        if !(HEADER_WORDS as u64 * 8..=FILE_BYTES_MAX).contains(&length) || !length.is_multiple_of(8) {
            return Err(malformed("its size is that of none"));
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
        if words[WORD_MAGIC] != MAGIC {
            return Err(malformed("it does not begin like one"));
        }
        if words[WORD_VERSION] != VERSION {
            return Err(StatError::Version { path: self.path.clone(), version: words[WORD_VERSION] });
        }
        if (words[WORD_HEADER_WORDS], words[WORD_BLOCK_WORDS]) != (HEADER_WORDS as u64, BLOCK_WORDS as u64) {
            return Err(malformed("its blocks have another size"));
        }
        let blocks = &words[HEADER_WORDS..];
        if words[WORD_BLOCKS] != (blocks.len() / BLOCK_WORDS) as u64 || !blocks.len().is_multiple_of(BLOCK_WORDS) {
            return Err(malformed("it has more or fewer blocks than it says"));
        }
        let description_bytes = (words[WORD_DESCRIPTION_BYTES] as usize).min(DESCRIPTION_BYTES_MAX);
        Ok(Snapshot {
            process_id: words[WORD_PROCESS],
            start_ns: words[WORD_START],
            state: State::of(words[WORD_STATE]),
            topology: [Topology::Inline, Topology::Pipelined, Topology::Sharded]
                .into_iter()
                .find(|topology| *topology as u64 == words[WORD_TOPOLOGY]),
            ring_lines: words[WORD_RING_LINES],
            description: text(&words[WORD_DESCRIPTION..], description_bytes),
            cores: blocks.chunks(BLOCK_WORDS).map(core_of).collect(),
        })
    }
}

fn core_of(block: &[u64]) -> CoreCounters {
    const COUNTERS: usize = Counter::Events.word();
    CoreCounters {
        role: [Role::Feed, Role::Book, Role::Journal].into_iter().find(|role| *role as u64 == block[BLOCK_ROLE]),
        shard: block[BLOCK_SHARD],
        core: block[BLOCK_CORE].checked_sub(1),
        name: text(&block[BLOCK_NAME..], NAME_BYTES),
        values: core::array::from_fn(|counter| block[COUNTERS + counter]),
    }
}

/// Up to `bytes_max` bytes of text, to the first zero. It may go to a terminal, so what is no plain letter is escaped.
fn text(words: &[u64], bytes_max: usize) -> String {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).take(bytes_max).take_while(|&byte| byte != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>())
        .chars()
        .flat_map(|letter| {
            let is_plain = !letter.is_control();
            is_plain
                .then_some(letter)
                .into_iter()
                .chain((!is_plain).then(|| letter.escape_unicode()).into_iter().flatten())
        })
        .collect()
}

fn open(path: &Path) -> io::Result<File> {
    // Whatever stands there is not waited for, and no link is followed.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no plain file")) }
}

/// An engine holds an exclusive lock on its file, which goes with its process.
fn is_locked(file: &File) -> bool {
    let got = flock(file, FlockOperation::NonBlockingLockShared);
    if got.is_ok() {
        let _ = flock(file, FlockOperation::Unlock);
    }
    got.is_err()
}

/// Whether an engine holds the file at `path`. False also when there is a file that nobody holds.
///
/// # Errors
/// When there is no file that can be opened.
pub fn is_alive(path: &Path) -> io::Result<bool> {
    Ok(is_locked(&open(path)?))
}

/// Where engines put their files by themselves, in the order in which they try.
pub(super) fn directories() -> Vec<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let mut directories = vec![PathBuf::from("/dev/shm")];
    directories.extend(runtime);
    directories.retain(|directory| directory.is_dir());
    directories
}

/// Files in a directory that are named like an engine's.
pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("tickcore-") && name.ends_with(".stat")
        })
        .collect()
}

/// The stat files that engines of this machine have put where they do by themselves, oldest process id first; also those of
/// engines that were killed, which [`Engine::is_alive`] tells.
pub fn engines() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = directories().iter().flat_map(|directory| files(directory)).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::super::board::{Board, StatFile, StatFileError};
    use super::*;
    use crate::topology::EngineThread;
    use proptest::prelude::*;

    fn threads() -> Vec<EngineThread> {
        let thread = |role, shard, core, name: &str| EngineThread { role, shard, core, name: name.to_owned() };
        vec![thread(Role::Feed, 0, Some(3), "tickcore-feed"), thread(Role::Book, 1, None, "a\u{1b}[31m")]
    }

    /// A directory of shared memory, or `None` on a machine without.
    fn scratch() -> Option<tempfile::TempDir> {
        let scratch = tempfile::tempdir_in("/dev/shm").ok();
        if scratch.is_none() {
            eprintln!("skipped: this machine has no /dev/shm that can be written");
        }
        scratch
    }

    fn board(path: &Path) -> Result<Board, StatFileError> {
        Board::open(&StatFile::At(path.to_owned()), &threads(), Topology::Sharded, 1 << 14, "replay \u{7}day")
    }

    #[test]
    fn what_a_thread_counts_is_read_by_others() {
        let Some(scratch) = scratch() else { return };
        let path = scratch.path().join("one.stat");
        let mut board = board(&path).expect("shared memory");
        let engine = Engine::open(&path).expect("a stat file");
        board.slot(1).set(Counter::Events, 42);
        board.slot(0).set(Counter::Heartbeat, u64::MAX);
        board.set_state(State::Running);
        let seen = engine.read().expect("readable");
        assert_eq!((seen.process_id, seen.ring_lines), (u64::from(std::process::id()), 1 << 14));
        assert_eq!((seen.state, seen.topology), (Some(State::Running), Some(Topology::Sharded)));
        assert_eq!(seen.description, "replay \\u{7}day");
        let [feed, book] = seen.cores.as_slice() else { panic!("{seen:?}") };
        assert_eq!((feed.role, feed.core, feed.name.as_str()), (Some(Role::Feed), Some(3), "tickcore-feed"));
        assert_eq!((book.shard, book.core, book.name.as_str()), (1, None, "a\\u{1b}[31m"));
        assert_eq!((book.of(Counter::Events), feed.of(Counter::Events)), (42, 0));
        assert_eq!(feed.of(Counter::Heartbeat), u64::MAX);

        assert!(engine.is_alive());
        assert!(matches!(super::tests::board(&path), Err(StatFileError::InUse { .. })), "it has its owner");
        board.end(true);
        drop(board);
        assert!(!engine.is_alive() && !path.exists());
        assert_eq!(engine.read().expect("still readable").state, Some(State::Ended));
    }

    #[test]
    fn what_a_killed_engine_left_is_replaced_and_other_files_are_not() {
        let Some(scratch) = scratch() else { return };
        let path = scratch.path().join("one.stat");
        let mut killed = board(&path).expect("shared memory");
        let copy = scratch.path().join("copy");
        fs::copy(&path, &copy).expect("copied");
        killed.end(true);
        drop(killed);
        fs::rename(&copy, &path).expect("renamed");
        assert!(!Engine::open(&path).expect("a stat file").is_alive());
        drop(board(&path).expect("nobody holds it"));
        fs::write(&path, "a letter").expect("written");
        assert!(matches!(board(&path), Err(StatFileError::NotOurs { .. })));
        assert_eq!(fs::read_to_string(&path).expect("still there"), "a letter");
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 1, "nothing else is left");
    }

    #[test]
    fn a_disk_is_refused() {
        let on_disk = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        let Ok(scratch) = tempfile::tempdir_in(on_disk) else { return };
        match board(&scratch.path().join("one.stat")) {
            Err(StatFileError::NotMemory { .. }) => {}
            Ok(_) => eprintln!("skipped: the project is on a file system of memory"),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 0, "nothing is left");
    }

    #[test]
    fn other_files_are_told_from_stat_files() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let path = scratch.path().join("other");
        for bytes in [&b""[..], b"TCSTATPG", &[7; 4096]] {
            fs::write(&path, bytes).expect("written");
            assert!(matches!(Engine::open(&path), Err(StatError::Malformed { .. })));
        }
        let mut header = vec![0; HEADER_WORDS * 8];
        header[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        header[8..16].copy_from_slice(&9_u64.to_ne_bytes());
        fs::write(&path, header).expect("written");
        assert!(matches!(Engine::open(&path), Err(StatError::Version { version: 9, .. })));
        assert!(matches!(Engine::open(scratch.path()), Err(StatError::Read { .. })), "a directory");
        std::os::unix::fs::symlink(&path, scratch.path().join("link")).expect("linked");
        assert!(matches!(Engine::open(&scratch.path().join("link")), Err(StatError::Read { .. })));
    }

    proptest! {
        /// Whatever stands in a file that begins like one: no panic, and nothing that a terminal would act on.
        #[test]
        fn nonsense_is_survived(
            words in prop::collection::vec(any::<u64>(), HEADER_WORDS + BLOCK_WORDS), broken in 0..6_usize,
        ) {
            let mut words = words;
            let right = [MAGIC, VERSION, HEADER_WORDS as u64, BLOCK_WORDS as u64, 1];
            for (word, value) in right.into_iter().enumerate() {
                if word != broken {
                    words[word] = value;
                }
            }
            let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            io::Write::write_all(&mut file, &bytes).expect("written");
            match Engine::open(file.path()).and_then(|engine| engine.read()) {
                Ok(seen) => prop_assert!(!seen.description.chars().chain(seen.cores[0].name.chars()).any(char::is_control)),
                Err(_) => prop_assert!(broken < right.len()),
            }
        }
    }
}
