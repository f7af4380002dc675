//! The pool of price levels: 32 bytes each, with the queue of their orders.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::event::Side;
use crate::order::{NONE, Order, OrderPool};
use crate::prefetch::prefetch;
use crate::units::{InstrumentId, Price};

/// A price as a number that is greater the better the price: bids as they are, asks with all bits flipped. Flipping
/// reverses the order of `i64` without the overflow that negation has at its minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Key(pub(crate) i64);

impl Key {
    #[inline]
    pub(crate) const fn new(side: Side, price: Price) -> Self {
        match side {
            Side::Bid => Self(price.0),
            Side::Ask => Self(!price.0),
        }
    }

    #[inline]
    pub(crate) const fn price(self, side: Side) -> Price {
        match side {
            Side::Bid => Price(self.0),
            Side::Ask => Price(!self.0),
        }
    }
}

/// One side of one book, as one number: twice the instrument, plus 1 for asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SideOf(u32);

impl SideOf {
    #[inline]
    pub(crate) const fn new(instrument: InstrumentId, side: Side) -> Self {
        Self(instrument.0 * 2 + side.index() as u32)
    }

    #[inline]
    pub(crate) const fn instrument(self) -> InstrumentId {
        InstrumentId(self.0 / 2)
    }

    #[inline]
    pub(crate) const fn side(self) -> Side {
        if self.0.is_multiple_of(2) { Side::Bid } else { Side::Ask }
    }
}

/// All orders of one side at one price.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
pub(crate) struct Level {
    pub(crate) key: Key,
    /// Sum of the orders' quantities: at most 2³² orders of at most 2³²−1 each, so it cannot overflow.
    pub(crate) quantity: u64,
    pub(crate) order_count: u32,
    pub(crate) side_of: SideOf,
    /// First in the queue; the next free slot in a free level.
    pub(crate) first: u32,
    /// Last in the queue.
    pub(crate) last: u32,
}

const _: () = assert!(size_of::<Level>() == 32);

const FREE: Level = Level { key: Key(0), quantity: 0, order_count: 0, side_of: SideOf(0), first: NONE, last: NONE };

pub(crate) fn memory(capacity: Capacity) -> MemoryRow {
    MemoryRow { part: "levels", count: capacity.levels_max as usize, bytes_each: size_of::<Level>() }
}

#[derive(Debug)]
pub(crate) struct LevelPool<'a> {
    levels: &'a mut [Level],
    free: u32,
    fresh: u32,
    live: u32,
}

impl<'a> LevelPool<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        Ok(Self { levels: arena.slice(capacity.levels_max as usize, FREE)?, free: NONE, fresh: 0, live: 0 })
    }

    pub(crate) const fn live(&self) -> u32 {
        self.live
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Level {
        &self.levels[slot as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Level {
        &mut self.levels[slot as usize]
    }

    /// Asks for the line of a slot, if there is such a slot.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u32) {
        prefetch(self.levels, slot as usize);
    }

    /// A slot holding an empty level, or `None` at the maximum.
    #[inline]
    pub(crate) fn take(&mut self, side_of: SideOf, key: Key) -> Option<u32> {
        let slot = if self.free != NONE {
            let slot = self.free;
            self.free = self.get(slot).first;
            slot
        } else if (self.fresh as usize) < self.levels.len() {
            self.fresh += 1;
            self.fresh - 1
        } else {
            return None;
        };
        self.live += 1;
        *self.get_mut(slot) = Level { key, side_of, ..FREE };
        Some(slot)
    }

    #[inline]
    pub(crate) fn give_back(&mut self, slot: u32) {
        *self.get_mut(slot) = Level { first: self.free, ..FREE };
        self.free = slot;
        self.live -= 1;
    }

    /// Puts the order in `slot` at the tail of its level's queue.
    #[inline]
    pub(crate) fn push_back(&mut self, orders: &mut OrderPool<'_>, slot: u32) {
        let Order { quantity, level, .. } = *orders.get(slot);
        let level = self.get_mut(level);
        level.quantity += u64::from(quantity);
        level.order_count += 1;
        let last = level.last;
        level.last = slot;
        if last == NONE {
            level.first = slot;
        } else {
            orders.get_mut(last).behind = slot;
        }
        let order = orders.get_mut(slot);
        order.ahead = last;
        order.behind = NONE;
    }

    /// Takes the order in `slot` out of its level's queue.
    #[inline]
    pub(crate) fn unlink(&mut self, orders: &mut OrderPool<'_>, slot: u32) {
        let Order { quantity, level, ahead, behind } = *orders.get(slot);
        let level = self.get_mut(level);
        level.quantity -= u64::from(quantity);
        level.order_count -= 1;
        if ahead == NONE {
            level.first = behind;
        } else {
            orders.get_mut(ahead).behind = behind;
        }
        if behind == NONE {
            level.last = ahead;
        } else {
            orders.get_mut(behind).ahead = ahead;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_price_has_a_greater_key_up_to_the_extremes() {
        let prices = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX].map(Price);
        for side in Side::BOTH {
            for pair in prices.windows(2) {
                let (low, high) = (Key::new(side, pair[0]), Key::new(side, pair[1]));
                assert_eq!(low < high, side == Side::Bid);
                assert_eq!(low.price(side), pair[0]);
            }
        }
    }
}
