//! Sources: where events come from. A source is polled, never waits, and hands out events in batches.
//!
//! [`ItchBytes`] decodes a file image that is already in memory. [`ItchFile`] decodes a file, plain or compressed, that
//! a thread of its own reads and decompresses ahead of the decoding. [`detect()`] says what an input is by its content.
//!
//! What cannot be decoded is skipped and counted in [`Counts`]; it never stops a source.

mod blocks;
mod counts;
mod detect;
mod input;
mod itch_bytes;
mod itch_file;
mod itch_stream;

pub use blocks::BlockSizes;
pub use counts::{Counts, FirstSkipped};
pub use detect::{DetectError, Format, detect};
pub use input::Progress;
pub use itch_bytes::ItchBytes;
pub use itch_file::ItchFile;
pub use itch_stream::ItchOptions;

use crate::batch::EventBatch;
use std::io;
use std::path::PathBuf;
use tickcore_book::TimestampNs;

/// What one call of [`Source::fill`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Messages were decoded, or are at hand and the batch or the limit had no room for one. The batch may still be
    /// empty: not every message becomes an event.
    Events,
    /// Nothing was at hand. Call again; a source that waits for a disk or a network says this.
    Pending,
    /// Nothing was at hand and nothing ever will be.
    End,
}

/// Something that events come from. Polled from one thread, which it never blocks.
pub trait Source {
    /// Decodes messages and appends their events to `batch`, until the batch has no room for another message, the bytes
    /// at hand are used up, or `max_messages` were decoded. With a limit of 0 it only says what it would find.
    ///
    /// Costs no allocation and no system call. When it answers anything but [`Filled::Events`] the batch is as it was.
    ///
    /// # Errors
    /// When the bytes cannot be had: reading failed, compressed data is damaged. All events before that place came out
    /// first. The source is then at its end.
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError>;

    /// Exchange time of the next message, which stays where it is; `None` when nothing is at hand, for the moment or for
    /// ever, which `fill` tells apart. A message whose time cannot be trusted (unknown type, wrong length) has the time
    /// of the one that was asked about before it.
    ///
    /// # Errors
    /// As [`Source::fill`].
    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError>;

    /// What has been seen so far.
    fn counts(&self) -> &Counts;

    /// Whether events carry the time at which this machine's clock saw them arrive, as those of a socket do and those of a file
    /// do not: latencies are counted from there then. Asked once, before the first event.
    fn is_live(&self) -> bool {
        false
    }
}

/// Why a source cannot give more.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The input is not what this source reads, or cannot be opened.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// The operating system could not read the file.
    #[error(
        "{}: reading failed at byte {file_offset} of the file, {stream_offset} bytes into the messages: {error}; check \
         the disk or mount and run again",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Bytes of the file read before.
        file_offset: u64,
        /// Decompressed bytes delivered before.
        stream_offset: u64,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// Compressed data is damaged or ends early.
    #[error(
        "{}: {compression} data is damaged or cut at byte {file_offset} of the file, {stream_offset} bytes into the \
         messages: {error}; fetch the file again, or cut it to whole messages by decompressing what can be",
        path.display()
    )]
    Decompress {
        /// The file.
        path: PathBuf,
        /// `gzip` or `zstd`.
        compression: &'static str,
        /// Bytes of the file that the decompressor took before it gave up.
        file_offset: u64,
        /// Decompressed bytes delivered before.
        stream_offset: u64,
        /// What the decompressor said.
        #[source]
        error: io::Error,
    },
    /// The thread that reads the file could not be started.
    #[error("{}: cannot start the thread that reads it: {error}; raise the limit of threads or processes", path.display())]
    StartThread {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        error: io::Error,
    },
    /// The thread that reads the file ended without a word: it panicked, and its message is on stderr.
    #[error(
        "{}: the thread that reads it died {stream_offset} bytes into the messages; its panic message is a bug report",
        path.display()
    )]
    ThreadDied {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes delivered before.
        stream_offset: u64,
    },
    /// A source of another package failed, in its own words.
    #[error(transparent)]
    External(Box<dyn std::error::Error + Send + Sync>),
}
