//! Counts: what a source has seen, by type, and what it could not use.

use crate::protocol::itch50::SkipReason;
use core::fmt;

/// Counts of one source. Every message is one of: decoded into events, `without_event`, `unknown_type`, `malformed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Messages, whatever became of them.
    pub messages: u64,
    /// Messages by type letter, whatever became of them.
    pub by_type: [u64; 256],
    /// Messages that are fine and that no event carries.
    pub without_event: u64,
    /// Messages skipped because their type is unknown; `by_type` says which.
    pub unknown_type: u64,
    /// Messages skipped because something is wrong with them.
    pub malformed: u64,
    /// The same by type letter.
    pub malformed_by_type: [u64; 256],
    /// The first message skipped for either reason.
    pub first_skipped: Option<FirstSkipped>,
    /// Bytes of whole frames so far, decompressed, and so the offset of what comes next.
    pub bytes: u64,
    /// Bytes of a last frame that the input cuts short. It begins at offset `bytes`.
    pub truncated_bytes: u64,
    /// Whether the mark of the session's end was seen. Public files usually lack it.
    pub has_end_of_session: bool,
    /// Bytes after that mark, which are not looked at.
    pub bytes_after_end: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            messages: 0,
            by_type: [0; 256],
            without_event: 0,
            unknown_type: 0,
            malformed: 0,
            malformed_by_type: [0; 256],
            first_skipped: None,
            bytes: 0,
            truncated_bytes: 0,
            has_end_of_session: false,
            bytes_after_end: 0,
        }
    }
}

impl Counts {
    /// Adds the counts of an input that was read after this one. The first message skipped stays the first.
    pub fn add(&mut self, other: &Self) {
        let add_all = |into: &mut [u64; 256], from: &[u64; 256]| {
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        };
        add_all(&mut self.by_type, &other.by_type);
        add_all(&mut self.malformed_by_type, &other.malformed_by_type);
        self.messages += other.messages;
        self.without_event += other.without_event;
        self.unknown_type += other.unknown_type;
        self.malformed += other.malformed;
        self.first_skipped = self.first_skipped.or(other.first_skipped);
        self.bytes += other.bytes;
        self.truncated_bytes += other.truncated_bytes;
        self.has_end_of_session |= other.has_end_of_session;
        self.bytes_after_end += other.bytes_after_end;
    }

    /// Counts a message that was skipped, in addition to the count by type.
    #[cold]
    pub(super) fn count_skipped(&mut self, skipped: FirstSkipped) {
        if skipped.reason.is_unknown_type() {
            self.unknown_type += 1;
        } else {
            self.malformed += 1;
            self.malformed_by_type[usize::from(skipped.message_type)] += 1;
        }
        self.first_skipped.get_or_insert(skipped);
    }
}

/// The first message that a source skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSkipped {
    /// Where its frame begins, in decompressed bytes.
    pub offset: u64,
    /// Its number in the input, from 1.
    pub message: u64,
    /// Its type letter.
    pub message_type: u8,
    /// Why.
    pub reason: SkipReason,
}

impl fmt::Display for FirstSkipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = self.message_type.escape_ascii();
        write!(formatter, "message {} of type '{letter}' at offset {}: {}", self.message, self.offset, self.reason)
    }
}
