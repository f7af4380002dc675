//! ITCH messages that are already in memory.

use super::itch_stream::{ItchOptions, ItchStream, Stop};
use super::{Counts, Filled, Source, SourceError};
use crate::batch::EventBatch;
use crate::protocol::binary_file::{Frame, next_frame};
use tickcore_book::{InstrumentId, TimestampNs};

/// A source over the bytes of a file: frames one after the other. Never pending, never fails.
///
/// Allocates a table of 256 KB when it is made, and nothing later.
#[derive(Debug)]
pub struct ItchBytes<'a> {
    /// What has not been decoded.
    rest: &'a [u8],
    stream: ItchStream,
}

impl<'a> ItchBytes<'a> {
    /// A source at the beginning of `bytes`.
    ///
    /// # Panics
    /// If `options.first_instrument` is 0 or too large, see [`Decoder::new`](crate::protocol::itch50::Decoder::new).
    #[must_use]
    pub fn new(bytes: &'a [u8], options: &ItchOptions) -> Self {
        Self { rest: bytes, stream: ItchStream::new(options) }
    }

    /// Id that the first instrument of a following session gets.
    #[must_use]
    pub fn next_instrument(&self) -> InstrumentId {
        self.stream.next_instrument()
    }
}

impl Source for ItchBytes<'_> {
    #[inline]
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        if self.stream.push_boundary(batch, max_messages) {
            return Ok(Filled::Events);
        }
        let drained = self.stream.drain(self.rest, batch, max_messages);
        self.rest = &self.rest[drained.bytes..];
        match drained.stop {
            Stop::Full => return Ok(Filled::Events),
            Stop::Incomplete => self.stream.note_truncated(self.rest.len()),
            Stop::EndOfSession => {
                self.stream.note_after_end(self.rest.len());
                self.rest = &[];
            }
        }
        Ok(if drained.messages > 0 { Filled::Events } else { Filled::End })
    }

    #[inline]
    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        Ok(match next_frame(self.rest) {
            Frame::Message(payload) => Some(self.stream.time_of(payload)),
            Frame::EndOfSession | Frame::Incomplete => None,
        })
    }

    fn counts(&self) -> &Counts {
        self.stream.counts()
    }
}
