//! An ITCH file, plain or compressed, decoded while a thread reads it.

use super::blocks::{Advance, BlockReader, BlockSizes};
use super::detect::{Format, detect_input};
use super::input::{Input, Progress};
use super::itch_stream::{ItchOptions, ItchStream, Stop};
use super::{Counts, Filled, Source, SourceError};
use crate::batch::EventBatch;
use crate::protocol::binary_file::{Frame, next_frame};
use core::fmt;
use std::path::Path;
use tickcore_book::{InstrumentId, TimestampNs};

/// A source over a file of framed ITCH 5.0 messages: plain, gzip of any number of members, or zstd of any number of frames.
///
/// A thread named `tickcore-source` reads and decompresses ahead into blocks that were allocated when the file was opened;
/// dropping the source stops it. Polling never blocks, allocates or makes a system call, but an error carries its path.
pub struct ItchFile {
    blocks: BlockReader,
    stream: ItchStream,
    /// A failure that came while events were being handed out; the next call reports it.
    failure: Option<SourceError>,
    format: Format,
    progress: Progress,
}

impl ItchFile {
    /// Opens a file, checks that it begins like ITCH and starts reading it.
    ///
    /// # Errors
    /// As [`detect`](super::detect()), and when the thread cannot be started.
    ///
    /// # Panics
    /// If `options.first_instrument` is 0 or too large, see [`Decoder::new`](crate::protocol::itch50::Decoder::new).
    pub fn open(path: &Path, options: &ItchOptions) -> Result<Self, SourceError> {
        Self::open_in_blocks(path, options, BlockSizes::default())
    }

    /// As [`ItchFile::open`], with blocks of another number and size.
    ///
    /// # Errors
    /// As [`ItchFile::open`].
    ///
    /// # Panics
    /// As [`ItchFile::open`], and if `sizes` are below their minima.
    pub fn open_in_blocks(path: &Path, options: &ItchOptions, sizes: BlockSizes) -> Result<Self, SourceError> {
        let format = detect_input(&mut Input::open(path)?)?;
        let input = Input::open(path)?;
        let progress = input.progress();
        let stream = ItchStream::new(options);
        Ok(Self { blocks: BlockReader::start(input, sizes)?, stream, failure: None, format, progress })
    }

    /// What the file is.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// A handle that says how far the reading has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Id that the first instrument of a following session gets.
    #[must_use]
    pub fn next_instrument(&self) -> InstrumentId {
        self.stream.next_instrument()
    }

    /// Lets the next new instrument get the id `instrument`: for a file that was opened before the one ahead of it had
    /// been read.
    ///
    /// # Panics
    /// As [`Decoder::new`](crate::protocol::itch50::Decoder::new).
    pub fn set_next_instrument(&mut self, instrument: InstrumentId) {
        self.stream.set_next_instrument(instrument);
    }

    /// More bytes than those at hand, which have no whole frame, if there are any.
    fn advance(&mut self) -> Result<Advance, SourceError> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let advance = self.blocks.advance()?;
        if advance == Advance::End {
            self.stream.note_truncated(self.blocks.bytes().len());
        }
        Ok(advance)
    }
}

impl Source for ItchFile {
    #[inline]
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        if self.stream.push_boundary(batch, max_messages) {
            return Ok(Filled::Events);
        }
        let mut messages = 0;
        loop {
            if self.stream.counts().has_end_of_session {
                let bytes = self.blocks.bytes().len();
                self.stream.note_after_end(bytes);
                self.blocks.consume(bytes);
            } else {
                let drained = self.stream.drain(self.blocks.bytes(), batch, max_messages - messages);
                self.blocks.consume(drained.bytes);
                messages += drained.messages;
                match drained.stop {
                    Stop::Full => return Ok(Filled::Events),
                    Stop::EndOfSession => continue,
                    Stop::Incomplete => {}
                }
            }
            match self.advance() {
                Ok(Advance::More) => {}
                Err(error) if messages > 0 => {
                    self.failure = Some(error);
                    return Ok(Filled::Events);
                }
                Err(error) => return Err(error),
                Ok(_) if messages > 0 => return Ok(Filled::Events),
                Ok(Advance::Pending) => return Ok(Filled::Pending),
                Ok(Advance::End) => return Ok(Filled::End),
            }
        }
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        while !self.stream.counts().has_end_of_session {
            match next_frame(self.blocks.bytes()) {
                Frame::Message(payload) => return Ok(Some(self.stream.time_of(payload))),
                Frame::EndOfSession => break,
                Frame::Incomplete => {}
            }
            if self.advance()? != Advance::More {
                break;
            }
        }
        Ok(None)
    }

    fn counts(&self) -> &Counts {
        self.stream.counts()
    }
}

impl fmt::Debug for ItchFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ItchFile")
            .field("format", &self.format)
            .field("progress", &self.progress)
            .field("messages", &self.stream.counts().messages)
            .finish_non_exhaustive()
    }
}
