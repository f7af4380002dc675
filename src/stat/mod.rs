//! Counters of a running engine, for whoever wants to look: a small file in shared memory.
//!
//! Each thread of an engine has a block of its own, which it alone writes, with plain relaxed stores, once for each batch:
//! a reader costs it nothing but the line that travels once a look. The file is named after the process and gone when the
//! engine ends; one that was killed leaves it behind, unlocked, by which it is told.
//!
//! The file lies on a file system of memory: `/dev/shm`, else `$XDG_RUNTIME_DIR`. On a disk, writing its pages back would
//! stop the threads that store to them, so such a place is refused. Where there is neither, an engine runs without, and
//! says so once.
//!
//! # Format
//! Native-endian 64-bit words. Header, 64 words:
//!
//! | word | content |
//! |---|---|
//! | 0 | magic `TCSTATPG` |
//! | 1 | version, 1 |
//! | 2, 3 | words of the header, words of a block |
//! | 4 | blocks |
//! | 5 | process id |
//! | 6 | start, ns since the Unix epoch |
//! | 7 | state: 1 starting, 2 running, 3 draining, 4 ended, 5 failed |
//! | 8 | topology: 0 inline, 1 pipelined, 2 sharded |
//! | 9 | lines of the ring |
//! | 10 | bytes of the description |
//! | 16–63 | description, UTF-8 |
//!
//! Block, 64 words, one for each thread:
//!
//! | word | content |
//! |---|---|
//! | 0 | role: 0 feed, 1 book, 2 journal |
//! | 1 | shard |
//! | 2 | core + 1, or 0 when not pinned |
//! | 3, 4 | name, 16 bytes padded with zeros |
//! | 16–31 | the counters, in the order of [`Counter`] |
//!
//! A number is right by itself; two numbers of one block may be a batch apart. What a reader finds is not trusted: sizes
//! are checked, letters escaped, and nothing in it leads anywhere.

mod board;
mod layout;
mod reader;
mod shared;

pub(crate) use board::{Board, Slot};
pub use board::{StatFile, StatFileError};
pub(crate) use layout::BLOCK_WORDS;
pub use layout::{Counter, State};
pub use reader::{CoreCounters, Engine, Snapshot, StatError, engines, is_alive};
