//! The writing side: an engine's stat file.

use super::layout::{
    BLOCK_CORE, BLOCK_NAME, BLOCK_ROLE, BLOCK_SHARD, BLOCK_WORDS, Counter, DESCRIPTION_BYTES_MAX, HEADER_WORDS, MAGIC,
    NAME_BYTES, State, VERSION, WORD_BLOCK_WORDS, WORD_BLOCKS, WORD_DESCRIPTION, WORD_DESCRIPTION_BYTES,
    WORD_HEADER_WORDS, WORD_MAGIC, WORD_PROCESS, WORD_RING_LINES, WORD_START, WORD_STATE, WORD_TOPOLOGY, WORD_VERSION,
};
use super::reader::{Engine, directories, files, is_alive};
use super::shared::Words;
use crate::topology::{EngineThread, Topology};
use rustix::fs::{FlockOperation, flock, fstatfs};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Types of file systems whose pages are never written back: tmpfs, ramfs.
const MEMORY_FILE_SYSTEMS: [u32; 2] = [0x0102_1994, 0x8584_58f6];
/// Engines of one process that have a file by themselves.
const PER_PROCESS_MAX: u32 = 64;

/// Whether an engine can be looked at from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StatFile {
    /// It counts for itself alone.
    #[default]
    Off,
    /// In a file named after the process, where `tickcore stat` finds it; without one, and said so, where there is no
    /// shared memory.
    Automatic,
    /// In this file, which is replaced, and has to be on a file system of memory.
    At(PathBuf),
}

/// Why a stat file was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatFileError {
    /// Its pages would be written back, and stop the threads that store to them.
    #[error(
        "{}: not on a file system of memory, where counting would wait for the disk now and then; choose a place on tmpfs such as /dev/shm, or none", path.display()
    )]
    NotMemory {
        /// The file.
        path: PathBuf,
    },
    /// There is another file of this name.
    #[error("{}: another file is there, which no engine has made: choose another name, or move it away", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A running engine has it.
    #[error("{}: another running engine has this file; choose another name", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: cannot make this file: {source}; choose another place, or none", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The counters of one thread, which alone stores to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'b>(&'b [AtomicU64]);

impl<'b> Slot<'b> {
    /// Over words of one's own, of which there are [`BLOCK_WORDS`].
    pub(crate) const fn over(words: &'b [AtomicU64; BLOCK_WORDS]) -> Self {
        Self(words)
    }

    #[inline]
    pub(crate) fn set(&self, counter: Counter, value: u64) {
        self.0[counter.word()].store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        self.0[counter.word()].load(Ordering::Relaxed)
    }
}

/// The counters of an engine, and its file if it has one.
#[derive(Debug)]
pub(crate) struct Board {
    words: Words,
    /// Open, and locked, as long as the engine lives: by that others tell.
    file: Option<(PathBuf, File)>,
    notice: Option<String>,
    has_ended: bool,
}

impl Board {
    /// The counters of an engine with these threads.
    ///
    /// # Errors
    /// When a file that was asked for by name cannot be made.
    pub(crate) fn open(
        place: &StatFile,
        threads: &[EngineThread],
        topology: Topology,
        ring_lines: usize,
        description: &str,
    ) -> Result<Self, StatFileError> {
        let count = HEADER_WORDS + threads.len() * BLOCK_WORDS;
        let (words, file, notice) = match place {
            StatFile::Off => (Words::private(count), None, None),
            StatFile::Automatic => match automatic(count) {
                Ok((words, file)) => (words, Some(file), None),
                Err(why) => {
                    let notice = format!(
                        "no stat file, so `tickcore stat` does not see this engine: {why}; mount a tmpfs on /dev/shm or set XDG_RUNTIME_DIR"
                    );
                    (Words::private(count), None, Some(notice))
                }
            },
            StatFile::At(path) => {
                let (words, file) = make(path, count)?;
                (words, Some(file), None)
            }
        };
        let mut board = Self { words, file: None, notice, has_ended: false };
        board.describe(threads, topology, ring_lines, description);
        let Some((hidden, file)) = file else { return Ok(board) };
        // Whole before it has its name: whoever finds it finds all of it.
        let path = named(&hidden);
        if let Err(source) = fs::rename(&hidden, &path) {
            let _ = fs::remove_file(&hidden);
            return Err(StatFileError::Make { path, source });
        }
        board.file = Some((path, file));
        Ok(board)
    }

    fn describe(&self, threads: &[EngineThread], topology: Topology, ring_lines: usize, description: &str) {
        let words = self.words.all();
        let set = |word: usize, value: u64| words[word].store(value, Ordering::Relaxed);
        let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let description = &description[..floor_of_letter(description, DESCRIPTION_BYTES_MAX)];
        for (word, value) in [
            (WORD_VERSION, VERSION),
            (WORD_HEADER_WORDS, HEADER_WORDS as u64),
            (WORD_BLOCK_WORDS, BLOCK_WORDS as u64),
            (WORD_BLOCKS, threads.len() as u64),
            (WORD_PROCESS, process::id().into()),
            (WORD_START, start),
            (WORD_STATE, State::Starting.number()),
            (WORD_TOPOLOGY, topology as u64),
            (WORD_RING_LINES, ring_lines as u64),
            (WORD_DESCRIPTION_BYTES, description.len() as u64),
        ] {
            set(word, value);
        }
        put_text(&words[WORD_DESCRIPTION..], description);
        for (thread, block) in threads.iter().zip(words[HEADER_WORDS..].chunks(BLOCK_WORDS)) {
            block[BLOCK_ROLE].store(thread.role as u64, Ordering::Relaxed);
            block[BLOCK_SHARD].store(thread.shard.into(), Ordering::Relaxed);
            block[BLOCK_CORE].store(thread.core.map_or(0, |core| core as u64 + 1), Ordering::Relaxed);
            put_text(&block[BLOCK_NAME..], &thread.name[..floor_of_letter(&thread.name, NAME_BYTES)]);
        }
        words[WORD_MAGIC].store(MAGIC, Ordering::Release);
    }

    /// The counters of a thread, by its place.
    pub(crate) fn slot(&self, place: usize) -> Slot<'_> {
        let start = HEADER_WORDS + place * BLOCK_WORDS;
        Slot(&self.words.all()[start..start + BLOCK_WORDS])
    }

    /// What has to be done without, to be said once.
    pub(crate) fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }

    pub(crate) fn set_state(&self, state: State) {
        self.words.all()[WORD_STATE].store(state.number(), Ordering::Release);
    }

    /// Says how it ended; the file goes with the board.
    pub(crate) fn end(&mut self, is_good: bool) {
        self.has_ended = true;
        self.set_state(if is_good { State::Ended } else { State::Failed });
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(false);
        }
        if let Some((path, _)) = &self.file {
            let _ = fs::remove_file(path);
        }
    }
}

/// The start of the letter at or before `limit`.
fn floor_of_letter(text: &str, limit: usize) -> usize {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}

fn put_text(words: &[AtomicU64], text: &str) {
    for (word, bytes) in words.iter().zip(text.as_bytes().chunks(8)) {
        let mut padded = [0; 8];
        padded[..bytes.len()].copy_from_slice(bytes);
        word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
    }
}

/// The name that a file under construction will have: its own without the dot in front.
fn named(hidden: &Path) -> PathBuf {
    let name = hidden.file_name().unwrap_or_default().to_string_lossy();
    hidden.with_file_name(name.strip_prefix('.').unwrap_or(&name))
}

type Made = (Words, (PathBuf, File));

/// A file named after this process in the first directory that takes it.
fn automatic(count: usize) -> Result<Made, String> {
    let directories = directories();
    let mut why = "there is no /dev/shm and no XDG_RUNTIME_DIR".to_owned();
    for directory in &directories {
        sweep(directory);
        for number in 1..=PER_PROCESS_MAX {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            match make(&directory.join(format!("tickcore-{}{suffix}.stat", process::id())), count) {
                Ok(made) => return Ok(made),
                Err(StatFileError::InUse { .. } | StatFileError::NotOurs { .. }) => {}
                Err(StatFileError::NotMemory { .. }) => {
                    why = format!("{} is not in memory but on a disk", directory.display());
                    break;
                }
                Err(StatFileError::Make { source, .. }) => {
                    why = format!("{} cannot be written ({source})", directory.display());
                    break;
                }
            }
        }
    }
    Err(why)
}

/// Removes what engines that were killed have left behind.
fn sweep(directory: &Path) {
    for path in files(directory) {
        if Engine::open(&path).is_ok_and(|engine| !engine.is_alive()) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A new file with `count` words beside `path`, locked, and named with a dot in front until it is whole.
fn make(path: &Path, count: usize) -> Result<Made, StatFileError> {
    let failed = |source: io::Error| StatFileError::Make { path: path.to_owned(), source };
    if is_alive(path).unwrap_or(false) {
        return Err(StatFileError::InUse { path: path.to_owned() });
    }
    if path.symlink_metadata().is_ok() && Engine::open(path).is_err() {
        return Err(StatFileError::NotOurs { path: path.to_owned() });
    }
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let hidden = path.with_file_name(format!(".{}", name.to_string_lossy()));
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options
    };
    let file = options().open(&hidden).or_else(|error| {
        // A leftover of a process that died between two calls; nobody else has this process id.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        fs::remove_file(&hidden)?;
        options().open(&hidden)
    });
    let file = file.map_err(failed)?;
    let made = (|| {
        let is_memory = fstatfs(&file).is_ok_and(|found| MEMORY_FILE_SYSTEMS.contains(&(found.f_type as u32)));
        if !is_memory {
            return Err(StatFileError::NotMemory { path: path.to_owned() });
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(error.into()))?;
        Words::mapped(&file, count).map_err(failed)
    })();
    match made {
        Ok(words) => Ok((words, (hidden, file))),
        Err(error) => {
            let _ = fs::remove_file(&hidden);
            Err(error)
        }
    }
}
