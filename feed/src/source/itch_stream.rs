//! The loop that turns frames into events, shared by every source of ITCH bytes.

use super::counts::{Counts, FirstSkipped};
use crate::batch::{EventBatch, Place};
use crate::protocol::binary_file::{Frame, PREFIX_LENGTH, next_frame};
use crate::protocol::itch50::{Decoded, Decoder};
use crate::session::session_boundary;
use tickcore_book::{InstrumentId, TimestampNs, prefetch};

/// How far ahead of the decoding the stream is asked for: each frame's place is known from the one before it alone, so the
/// processor does not see the stream that it is.
const AHEAD_BYTES: usize = 2048;

/// What a source of ITCH messages needs to know about its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItchOptions {
    /// Midnight of the session; without it times are nanoseconds since midnight.
    pub midnight: Option<TimestampNs>,
    /// Id of the first instrument: 1, or `next_instrument()` of the source that came before.
    pub first_instrument: InstrumentId,
    /// Whether another session came before: then [`session_boundary`] stands in front of its events.
    pub is_following_session: bool,
    /// The channel that the events' places are of.
    pub channel: u32,
}

impl Default for ItchOptions {
    fn default() -> Self {
        Self { midnight: None, first_instrument: InstrumentId(1), is_following_session: false, channel: 0 }
    }
}

/// Why [`ItchStream::drain`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The batch has no room for the next message, or `max_messages` were decoded and there is another.
    Full,
    /// The bytes end, perhaps in the middle of a frame.
    Incomplete,
    /// The mark of the session's end was taken.
    EndOfSession,
}

/// What [`ItchStream::drain`] did.
pub(super) struct Drained {
    /// Bytes of whole frames taken from the front.
    pub(super) bytes: usize,
    /// Messages among them.
    pub(super) messages: usize,
    pub(super) stop: Stop,
}

/// Decoder and counts of one stream of frames.
#[derive(Debug)]
pub(super) struct ItchStream {
    decoder: Decoder,
    counts: Counts,
    channel: u32,
    /// Midnight of the boundary that still has to be put in front of everything.
    pending_boundary: Option<Option<TimestampNs>>,
    /// The last time that [`ItchStream::time_of`] could trust.
    last_time: TimestampNs,
}

impl ItchStream {
    pub(super) fn new(options: &ItchOptions) -> Self {
        Self {
            decoder: Decoder::new(options.midnight, options.first_instrument),
            counts: Counts::default(),
            channel: options.channel,
            pending_boundary: options.is_following_session.then_some(options.midnight),
            last_time: options.midnight.unwrap_or_default(),
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(super) fn next_instrument(&self) -> InstrumentId {
        self.decoder.next_instrument()
    }

    pub(super) fn set_next_instrument(&mut self, instrument: InstrumentId) {
        self.decoder.set_next_instrument(instrument);
    }

    /// Deals with the session boundary that is to stand in front of everything. While there is one, a call of `fill` does
    /// no more than this and is over when it says `true`: the boundary was pushed, or has to wait for room or a limit
    /// above 0.
    #[inline]
    pub(super) fn push_boundary(&mut self, batch: &mut EventBatch, max_messages: usize) -> bool {
        let Some(midnight) = self.pending_boundary else { return false };
        if max_messages > 0 && batch.has_room_for_message() {
            self.pending_boundary = None;
            let first = batch.len();
            for event in session_boundary(midnight) {
                batch.push(event);
            }
            batch.place_message(first, self.place(0));
        }
        true
    }

    /// The place of a message, by its number from 1: what the venue's own packets count.
    #[inline]
    const fn place(&self, message: u64) -> Place {
        Place { channel: self.channel, venue_sequence: message }
    }

    /// Decodes the frames at the front of `bytes`.
    #[inline]
    pub(super) fn drain(&mut self, bytes: &[u8], batch: &mut EventBatch, max_messages: usize) -> Drained {
        let mut position = 0;
        let mut messages = 0;
        batch.place_next(self.place(self.counts.messages + 1));
        let stop = loop {
            prefetch(bytes, position + AHEAD_BYTES);
            if messages < max_messages
                && batch.has_room_for_message()
                && let Some(frame) = bytes[position..].first_chunk()
                && let Some(length) = self.decoder.decode_order(frame, batch)
            {
                self.counts.by_type[usize::from(frame[PREFIX_LENGTH])] += 1;
                messages += 1;
                position += PREFIX_LENGTH + length;
                continue;
            }
            let payload = match next_frame(&bytes[position..]) {
                Frame::Message(payload) => payload,
                Frame::Incomplete => break Stop::Incomplete,
                Frame::EndOfSession => {
                    position += PREFIX_LENGTH;
                    self.counts.has_end_of_session = true;
                    break Stop::EndOfSession;
                }
            };
            if messages == max_messages {
                break Stop::Full;
            }
            let first = batch.len();
            match self.decoder.decode(payload, batch) {
                Decoded::Events => {}
                Decoded::NoEvent => self.counts.without_event += 1,
                Decoded::Skipped(reason) => self.counts.count_skipped(FirstSkipped {
                    offset: self.counts.bytes + position as u64,
                    message: self.counts.messages + messages as u64 + 1,
                    message_type: payload[0],
                    reason,
                }),
                Decoded::NeedRoom => break Stop::Full,
            }
            self.counts.by_type[usize::from(payload[0])] += 1;
            messages += 1;
            if batch.len() != first + 1 {
                batch.place_message(first, self.place(self.counts.messages + messages as u64));
            }
            position += PREFIX_LENGTH + payload.len();
        };
        self.counts.messages += messages as u64;
        self.counts.bytes += position as u64;
        Drained { bytes: position, messages, stop }
    }

    /// Time of a message, or that of the message asked about before when its own cannot be trusted.
    #[inline]
    pub(super) fn time_of(&mut self, payload: &[u8]) -> TimestampNs {
        self.last_time = self.decoder.time_of(payload).unwrap_or(self.last_time);
        self.last_time
    }

    /// Notes what is left when no more bytes will come: the beginning of a frame.
    pub(super) fn note_truncated(&mut self, bytes: usize) {
        self.counts.truncated_bytes = bytes as u64;
    }

    /// Notes bytes that stand after the mark of the session's end.
    pub(super) fn note_after_end(&mut self, bytes: usize) {
        self.counts.bytes_after_end += bytes as u64;
    }
}
