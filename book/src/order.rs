//! An order as it rests: 16 bytes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// No slot: the end of a free list, an empty side.
pub(crate) const NONE: u32 = u32::MAX;

/// An order in its level's queue. Instrument, side and price are the level's.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
pub(crate) struct Order {
    /// What is left; 0 in a free slot.
    pub(crate) quantity: u32,
    /// Slot of the level.
    pub(crate) level: u32,
    /// The order ahead in the queue, the level itself for the first one.
    pub(crate) ahead: u32,
    /// The order behind in the queue, the level itself for the last one; the next free slot in a free one.
    pub(crate) behind: u32,
}

const _: () = assert!(size_of::<Order>() == 16);
