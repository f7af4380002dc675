//! FROZEN. The walk: one pass over length and type of every message, to be compared with. Not to be improved.
//!
//! It is what any reader of the file has to do at least. Bytes are prefetched ahead (x86-64 only; elsewhere the
//! processor is left to itself).
//!
//! Scorecards print the hash of this file ([`SOURCE`]): figures are comparable only between runs that print the same.

#![allow(unsafe_code)]

/// The text of this file.
pub const SOURCE: &str = include_str!("walk.rs");

/// How far ahead of the message bytes are prefetched.
const PREFETCH_BYTES: usize = 2048;

/// What a pass saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Whole messages.
    pub messages: u64,
    /// Whole messages by type letter.
    pub by_type: [u64; 256],
}

/// Walks over a file of messages, each behind its length (two bytes, big-endian), to the mark of the session's end or
/// the end of the last whole message.
#[must_use]
pub fn walk(file: &[u8]) -> Walked {
    let mut walked = Walked { messages: 0, by_type: [0; 256] };
    let mut offset = 0;
    while let Some(&[high, low, message_type]) = file.get(offset..offset + 3) {
        prefetch(file.as_ptr().wrapping_add(offset + PREFETCH_BYTES));
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || file.len() - offset < length + 2 {
            break;
        }
        walked.messages += 1;
        walked.by_type[usize::from(message_type)] += 1;
        offset += length + 2;
    }
    walked
}

#[inline]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint: it never faults, whatever the address, and reads nothing into the program.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
