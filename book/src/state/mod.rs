//! The state of books as bytes: what a checkpoint keeps, and what books go on from as if they had never stopped.
//!
//! Kept is what later events and queries can meet: orders in queue order, levels, stale marks, ids that were dropped,
//! definitions, anomaly counts, last trades, and the tops that the end of an open transaction is compared with. Where
//! orders lie in memory is not kept: books that went on from a state answer alike, and encode to the same bytes.
//!
//! Reading never panics and allocates nothing, whatever the bytes are: every length is held against what is there, every
//! number against its bound. Checksums are for who stores the bytes. All integers are little-endian.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | `TCKBOOKS` |
//! | 8, 12 | 4 each | version 1, reserved 0 |
//! | 16 | 8 | length of the whole |
//! | 24, 28, 32 | 4 each | most instruments, orders, levels |
//! | 36 | 4 | highest instrument met |
//! | 40, 44, 48 | 4 each | live orders, levels, dropped ids |
//! | 52 | 4 | 1 if a last execution follows, else 0 |
//! | 56 | 40 | last execution: instrument u32, side u32, id, price, quantity, match, 8 each |
//! | then | | a row for each instrument from 0 to the highest |
//! | then | 12 each | dropped ids, ascending: instrument u32, id u64 |
//!
//! A row: flags u32 (1 stale, 2 transaction open, 4 and 8 changed and published by the last event for all, 16 defined,
//! 32 anomalies, 64 last trade, 128 bids, 256 asks), and for each flag from 2 on what it announces:
//! tops before the open transaction (bid price, quantity, ask price, quantity, 8 each); definition (publisher, venue id,
//! 4 each, codes, increment, lot, 8 each, parts of the name u32, 32 bytes for each); counts of anomalies by kind, 8 each;
//! last trade (price, quantity, time, match, 8 each, kind, side, broken, 0, 1 each); levels of a side, best first: how
//! many u32, then for each its price i64, its orders u32, and for each order in queue order id u64 and quantity u32.
//!
//! The chains of a [`StreamDigest`](crate::StreamDigest): `TCKCHAIN`, version u32, most instruments u32, changes u64, then
//! for each instrument with changes, ascending, its number u32, chain u64 and changes u64, up to the end.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub use decode::BooksState;

use crate::capacity::Capacity;

const BOOKS_MAGIC: [u8; 8] = *b"TCKBOOKS";
const CHAIN_MAGIC: [u8; 8] = *b"TCKCHAIN";
/// The version that is written, and the only one so far.
const STATE_VERSION: u32 = 1;
const HEADER_BYTES: usize = 56;
/// Where the length of the whole stands.
const LENGTH_OFFSET: usize = 16;

/// Flags of a row. The lowest four are the marks of [`Marks`](crate::books::Marks).
mod row {
    pub(super) const MARKS: u32 = 15;
    pub(super) const TRANSACTION_OPEN: u32 = 2;
    pub(super) const DEFINED: u32 = 16;
    pub(super) const ANOMALIES: u32 = 32;
    pub(super) const LAST_TRADE: u32 = 64;
    pub(super) const SIDES: [u32; 2] = [128, 256];
    pub(super) const ALL: u32 = 511;
}

/// Why bytes are not the state of books, or not one that these books can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes begin like no state.
    #[error("byte {offset}: this is no state of books: it begins with {found:02x?}")]
    Magic {
        /// Where they stand.
        offset: usize,
        /// The first bytes, 0 where there are none.
        found: [u8; 8],
    },
    /// Written by another version.
    #[error(
        "byte {offset}: version {found} of the state of books, {STATE_VERSION} is known: read it with the tickcore that wrote it"
    )]
    Version {
        /// Where it stands.
        offset: usize,
        /// The version that is stated.
        found: u32,
    },
    /// The bytes end too early.
    #[error("byte {offset}: {wanted} bytes are wanted, {found} are there")]
    CutShort {
        /// Where they are wanted.
        offset: usize,
        /// How many.
        wanted: usize,
        /// How many are there.
        found: usize,
    },
    /// The bytes go on behind the end.
    #[error("byte {offset}: the state ends here, {found} more bytes follow")]
    TrailingBytes {
        /// Where the state ends.
        offset: usize,
        /// How many follow.
        found: usize,
    },
    /// A number that cannot stand where it does.
    #[error("byte {offset}: {found} is no {what} that can stand here")]
    Invalid {
        /// Where it stands.
        offset: usize,
        /// What it was read as.
        what: &'static str,
        /// The number.
        found: u64,
    },
    /// The books have other maxima.
    #[error("the state is of books for {state:?}, these are for {books:?}: make books with the maxima of the state")]
    Capacity {
        /// Maxima in the state.
        state: Capacity,
        /// Maxima of the books.
        books: Capacity,
    },
    /// The books have seen events.
    #[error("the books are not new: a state is restored into books that have seen no event")]
    NotNew,
}

impl StateError {
    /// The same of bytes that begin at `start` of something larger, such as a file: what was counted from their start is
    /// counted from its.
    #[must_use]
    pub fn moved_by(mut self, start: usize) -> Self {
        match &mut self {
            Self::Magic { offset, .. }
            | Self::Version { offset, .. }
            | Self::CutShort { offset, .. }
            | Self::TrailingBytes { offset, .. }
            | Self::Invalid { offset, .. } => *offset += start,
            Self::Capacity { .. } | Self::NotNew => {}
        }
        self
    }
}
