//! Blocks: a file read and decompressed ahead of its decoding, by a thread that is not pinned.
//!
//! The *source thread* fills blocks of memory; they go to the decoding thread and back through two channels that have
//! room for all of them. The decoding side only ever tries: it never waits, allocates or makes a system call. The source
//! thread looks for an empty block and sleeps for a while ([`AHEAD_SLEEP_MIN`]) when there is none.
//!
//! A frame that two blocks share is made whole by copying its beginning in front of the second block, where each block has
//! [`HEADROOM_BYTES`] to spare: the most that can be missing of a frame. Bytes are therefore always contiguous, and are
//! copied only at the ends of blocks.

use super::SourceError;
use super::input::Input;
use crate::protocol::binary_file::MAX_FRAME_LENGTH;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Name of the source thread, as `top` shows it.
const THREAD_NAME: &str = "tickcore-source";

/// How long the source thread sleeps when all blocks are full: twice as long when it finds them so again, half as long when it
/// does not, between these two. In the longer, at full speed a quarter of the blocks is decoded. Where cores are few it wakes
/// up on one that spins: every 200 µs, that took 5 % of a feed core.
const AHEAD_SLEEP_MIN: Duration = Duration::from_micros(200);
const AHEAD_SLEEP_MAX: Duration = Duration::from_millis(4);

/// Room in front of a block for the beginning of a frame: at least one byte of the frame is in the block.
const HEADROOM_BYTES: usize = MAX_FRAME_LENGTH - 1;

/// How many blocks of which size a file is read in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSizes {
    /// Blocks, at least 2: one is read while the other is decoded.
    pub count: usize,
    /// Bytes of each, at least 1. Each block takes 64 KiB more.
    pub bytes: usize,
}

impl Default for BlockSizes {
    /// 64 blocks of 128 KiB: some 10 ms of decoding at full speed, against hiccups of the disk. A block is read in about 0.1 ms:
    /// for that long it keeps others from its core.
    fn default() -> Self {
        Self { count: 64, bytes: 128 << 10 }
    }
}

/// Memory for some bytes of the file and, in front of them, for the rest of the block before.
struct Block {
    memory: Box<[u8]>,
    /// The bytes are `memory[start..end]`.
    start: usize,
    end: usize,
}

impl Block {
    /// An empty block, its pages touched so that no thread waits for them later.
    fn new(bytes: usize) -> Self {
        let memory = vec![u8::MAX; HEADROOM_BYTES + bytes].into_boxed_slice();
        Self { memory, start: HEADROOM_BYTES, end: HEADROOM_BYTES }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Puts `beginning` in front of the bytes.
    fn prepend(&mut self, beginning: &[u8]) {
        let start = self.start - beginning.len();
        self.memory[start..self.start].copy_from_slice(beginning);
        self.start = start;
    }

    fn clear(&mut self) {
        self.start = HEADROOM_BYTES;
        self.end = HEADROOM_BYTES;
    }
}

/// What the source thread sends.
enum Delivery {
    Block(Block),
    End,
    Failed(SourceError),
}

/// What [`BlockReader::advance`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advance {
    /// There are more bytes now.
    More,
    /// None yet.
    Pending,
    /// There will be none.
    End,
}

/// The decoding side.
pub(super) struct BlockReader {
    full: Receiver<Delivery>,
    empty: SyncSender<Block>,
    current: Block,
    /// Blocks that the source thread has no more use for. They are kept because to free memory is a system call.
    retired: Vec<Block>,
    /// Whether the end or a failure has come.
    is_at_end: bool,
    path: PathBuf,
    /// Decompressed bytes delivered so far.
    stream_offset: u64,
    must_stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BlockReader {
    /// Starts the thread that reads `input` into blocks.
    ///
    /// # Panics
    /// If `sizes` are below their minima.
    pub(super) fn start(input: Input, sizes: BlockSizes) -> Result<Self, SourceError> {
        assert!(sizes.count >= 2, "a file is read in at least 2 blocks, not {}", sizes.count);
        assert!(sizes.bytes >= 1, "a block has at least 1 byte");
        // All blocks and the last word fit into either channel, so that nobody ever waits to send.
        let (full_sender, full) = sync_channel(sizes.count + 1);
        let (empty, empty_receiver) = sync_channel(sizes.count + 1);
        for _ in 1..sizes.count {
            empty.try_send(Block::new(sizes.bytes)).unwrap_or_else(|_| unreachable!("the channel has room for all"));
        }
        let must_stop = Arc::new(AtomicBool::new(false));
        let path = input.path().to_owned();
        let source = SourceThread {
            input,
            empty: empty_receiver,
            full: full_sender,
            must_stop: Arc::clone(&must_stop),
            sleep: AHEAD_SLEEP_MIN,
        };
        let thread = std::thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || source.run())
            .map_err(|error| SourceError::StartThread { path: path.clone(), error })?;
        Ok(Self {
            full,
            empty,
            current: Block::new(sizes.bytes),
            retired: Vec::with_capacity(sizes.count),
            is_at_end: false,
            path,
            stream_offset: 0,
            must_stop,
            thread: Some(thread),
        })
    }

    /// The bytes at hand that were not consumed.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.current.bytes()
    }

    /// Takes `bytes` from the front of those at hand.
    ///
    /// # Panics
    /// If there are not as many.
    #[inline]
    pub(super) fn consume(&mut self, bytes: usize) {
        assert!(bytes <= self.current.end - self.current.start, "no more can be consumed than is at hand");
        self.current.start += bytes;
    }

    /// Adds the next block to the bytes at hand, of which less than a frame may be left.
    ///
    /// # Errors
    /// When the source thread failed, once; from then on it is the end.
    pub(super) fn advance(&mut self) -> Result<Advance, SourceError> {
        if self.is_at_end {
            return Ok(Advance::End);
        }
        match self.full.try_recv() {
            Ok(Delivery::Block(mut next)) => {
                self.stream_offset += (next.end - next.start) as u64;
                next.prepend(self.current.bytes());
                let mut done = std::mem::replace(&mut self.current, next);
                done.clear();
                if let Err(refused) = self.empty.try_send(done) {
                    let (std::sync::mpsc::TrySendError::Full(block)
                    | std::sync::mpsc::TrySendError::Disconnected(block)) = refused;
                    self.retired.push(block);
                }
                Ok(Advance::More)
            }
            Ok(Delivery::End) => {
                self.is_at_end = true;
                Ok(Advance::End)
            }
            Ok(Delivery::Failed(error)) => {
                self.is_at_end = true;
                Err(error)
            }
            Err(TryRecvError::Empty) => Ok(Advance::Pending),
            Err(TryRecvError::Disconnected) => {
                self.is_at_end = true;
                Err(SourceError::ThreadDied { path: self.path.clone(), stream_offset: self.stream_offset })
            }
        }
    }
}

impl Drop for BlockReader {
    /// Stops the source thread and waits for it: at most for one read of the file.
    fn drop(&mut self) {
        self.must_stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic over there has been reported by the panic hook, and must not become a second one here.
            let _ = thread.join();
        }
    }
}

/// The reading side.
struct SourceThread {
    input: Input,
    empty: Receiver<Block>,
    full: SyncSender<Delivery>,
    must_stop: Arc<AtomicBool>,
    sleep: Duration,
}

impl SourceThread {
    fn run(mut self) {
        while let Some(mut block) = self.empty_block() {
            let last_word = self.fill(&mut block);
            if block.end > block.start && self.full.try_send(Delivery::Block(block)).is_err() {
                return;
            }
            if let Some(last_word) = last_word {
                // When nobody listens any more there is nobody to tell.
                let _ = self.full.try_send(last_word);
                return;
            }
        }
    }

    /// An empty block, as soon as there is one; `None` when the decoding side is gone.
    fn empty_block(&mut self) -> Option<Block> {
        let mut has_slept = false;
        while !self.must_stop.load(Ordering::Relaxed) {
            match self.empty.try_recv() {
                Ok(block) => {
                    self.sleep = if has_slept { (self.sleep / 2).max(AHEAD_SLEEP_MIN) } else { AHEAD_SLEEP_MIN };
                    return Some(block);
                }
                Err(TryRecvError::Empty) => {
                    self.sleep = if has_slept { (self.sleep * 2).min(AHEAD_SLEEP_MAX) } else { self.sleep };
                    has_slept = true;
                    std::thread::sleep(self.sleep);
                }
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        None
    }

    /// Reads until the block is full, or the file is at its end or cannot be read: then what is to be said last.
    fn fill(&mut self, block: &mut Block) -> Option<Delivery> {
        while block.end < block.memory.len() && !self.must_stop.load(Ordering::Relaxed) {
            match self.input.read(&mut block.memory[block.end..]) {
                Ok(0) => return Some(Delivery::End),
                Ok(bytes) => block.end += bytes,
                Err(error) => return Some(Delivery::Failed(error)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader whose source thread is the test.
    fn reader(block_bytes: usize) -> (BlockReader, SyncSender<Delivery>, Receiver<Block>) {
        let (full_sender, full) = sync_channel(8);
        let (empty, empty_receiver) = sync_channel(8);
        let reader = BlockReader {
            full,
            empty,
            current: Block::new(block_bytes),
            retired: Vec::with_capacity(8),
            is_at_end: false,
            path: PathBuf::from("day.itch"),
            stream_offset: 0,
            must_stop: Arc::new(AtomicBool::new(false)),
            thread: None,
        };
        (reader, full_sender, empty_receiver)
    }

    fn block_of(bytes: &[u8]) -> Block {
        let mut block = Block::new(bytes.len());
        block.memory[HEADROOM_BYTES..].copy_from_slice(bytes);
        block.end += bytes.len();
        block
    }

    #[test]
    fn what_is_left_of_a_block_stands_in_front_of_the_next() {
        let (mut reader, full, empty) = reader(4);
        assert_eq!(reader.advance().unwrap(), Advance::Pending);
        full.send(Delivery::Block(block_of(b"abcd"))).unwrap();
        full.send(Delivery::Block(block_of(b"efgh"))).unwrap();
        full.send(Delivery::End).unwrap();
        assert_eq!(reader.advance().unwrap(), Advance::More);
        assert_eq!(reader.bytes(), b"abcd");
        reader.consume(3);
        assert_eq!(reader.advance().unwrap(), Advance::More);
        assert_eq!(reader.bytes(), b"defgh");
        for _ in 0..2 {
            assert_eq!(reader.advance().unwrap(), Advance::End);
            assert_eq!(reader.bytes(), b"defgh");
        }
        for _ in 0..2 {
            let returned = empty.try_recv().expect("the block came back");
            assert!(returned.bytes().is_empty() && returned.start == HEADROOM_BYTES);
        }
    }

    #[test]
    fn the_longest_beginning_of_a_frame_fits_the_headroom() {
        let (mut reader, full, _empty) = reader(HEADROOM_BYTES);
        full.send(Delivery::Block(block_of(&[1; HEADROOM_BYTES]))).unwrap();
        full.send(Delivery::Block(block_of(&[2]))).unwrap();
        assert_eq!(reader.advance().unwrap(), Advance::More);
        assert_eq!(reader.advance().unwrap(), Advance::More);
        assert_eq!(reader.bytes().len(), MAX_FRAME_LENGTH);
    }

    #[test]
    fn blocks_are_kept_when_nobody_takes_them_back() {
        let (mut reader, full, empty) = reader(1);
        drop(empty);
        full.send(Delivery::Block(block_of(b"a"))).unwrap();
        reader.advance().unwrap();
        assert_eq!(reader.retired.len(), 1);
    }

    #[test]
    fn a_thread_that_dies_is_an_error_once() {
        let (mut reader, full, _empty) = reader(1);
        full.send(Delivery::Block(block_of(b"a"))).unwrap();
        drop(full);
        assert_eq!(reader.advance().unwrap(), Advance::More);
        let error = reader.advance().unwrap_err();
        assert!(matches!(error, SourceError::ThreadDied { stream_offset: 1, .. }), "{error:?}");
        assert_eq!(reader.advance().unwrap(), Advance::End);
    }
}
