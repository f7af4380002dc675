//! A price level: what is kept of it beside its orders.

use crate::event::{Event, Side};
use crate::units::{InstrumentId, Price};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A price as a number that is greater the better the price: bids as they are, asks with all bits flipped. Flipping
/// reverses the order of `i64` without the overflow that negation has at its minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub(crate) struct Key(pub(crate) i64);

impl Side {
    /// All bits for asks: which side it is cannot be foreseen, so no branch may depend on it.
    #[inline]
    const fn flip(self) -> i64 {
        -(self.index() as i64)
    }
}

impl Key {
    #[inline]
    pub(crate) const fn new(side: Side, price: Price) -> Self {
        Self(price.0 ^ side.flip())
    }

    #[inline]
    pub(crate) const fn price(self, side: Side) -> Price {
        Price(self.0 ^ side.flip())
    }
}

/// One side of one book, as one number: twice the instrument, plus 1 for asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub(crate) struct SideOf(u32);

impl SideOf {
    #[inline]
    pub(crate) const fn new(instrument: InstrumentId, side: Side) -> Self {
        Self(instrument.0 * 2 + side.index() as u32)
    }

    /// The side that an event names, `None` when it names none. Without a branch on which.
    #[inline]
    pub(crate) const fn of_event(event: &Event) -> Option<Self> {
        let number = event.side_number.wrapping_sub(Side::Bid as u8);
        if number < Side::BOTH.len() as u8 {
            Some(Self(event.instrument.0.wrapping_mul(2) + number as u32))
        } else {
            None
        }
    }

    /// The side that an event names; its bids when it names none.
    #[inline]
    pub(crate) const fn guess(event: &Event) -> Self {
        Self(event.instrument.0.wrapping_mul(2) + (event.side_number == Side::Ask as u8) as u32)
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    #[inline]
    pub(crate) const fn instrument(self) -> InstrumentId {
        InstrumentId(self.0 / 2)
    }

    /// The key of a price on this side.
    #[inline]
    pub(crate) const fn key(self, price: Price) -> Key {
        Key(price.0 ^ -((self.0 % 2) as i64))
    }

    #[inline]
    pub(crate) const fn side(self) -> Side {
        Side::BOTH[self.0 as usize % 2]
    }
}

/// A level: laid out as an order, so that it closes the circle of its orders. Where it stands says its side and its price.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
pub(crate) struct Level {
    /// Sum of the orders' quantities: what would take it beyond 2³²−1 is beyond the capacity.
    pub(crate) quantity: u32,
    pub(crate) order_count: u32,
    /// Last in the queue, the level itself when it is empty.
    pub(crate) last: u32,
    /// First in the queue, the level itself when it is empty; the next free slot in a free level.
    pub(crate) first: u32,
}

/// Side and price of a level that stands in no window.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(16))]
pub(crate) struct Standing {
    pub(crate) key: Key,
    pub(crate) side_of: SideOf,
    /// The ladder's leaf where it was put, where it mostly still is.
    pub(crate) leaf: u32,
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
