//! One book, read-only: its depth, level by level and order by order, without copying or allocating.

use crate::bbo::Bbo;
use crate::books::{BookHead, Books};
use crate::digest::StateDigest;
use crate::event::Side;
use crate::ladder::LadderLevels;
use crate::order::NONE;
use crate::units::{InstrumentId, OrderId, Price, Quantity};

/// The two sides of one instrument.
#[derive(Clone, Copy, Debug)]
pub struct Book<'b> {
    books: &'b Books<'b>,
    head: &'b BookHead,
}

/// All orders of one side at one price.
#[derive(Clone, Copy, Debug)]
pub struct LevelView<'b> {
    books: &'b Books<'b>,
    /// Its price.
    pub price: Price,
    /// Sum of the orders' quantities.
    pub quantity: Quantity,
    /// How many orders.
    pub order_count: u32,
    first: u32,
}

impl<'b> Book<'b> {
    /// Best bid and offer.
    #[inline]
    pub fn bbo(&self) -> Bbo {
        self.head.bbo()
    }

    /// Levels of a side.
    pub const fn level_count(&self, side: Side) -> u32 {
        self.head.side(side).level_count
    }

    /// Orders of a side.
    pub const fn order_count(&self, side: Side) -> u32 {
        self.head.side(side).order_count
    }

    /// Whether the book has any order.
    pub const fn is_empty(&self) -> bool {
        self.order_count(Side::Bid) == 0 && self.order_count(Side::Ask) == 0
    }

    /// The levels of a side, best first. Cost: a step a level.
    pub fn levels(&self, side: Side) -> Levels<'b> {
        Levels { books: self.books, side, slots: self.books.ladders.levels(self.head.side(side).ladder) }
    }
}

impl<'b> LevelView<'b> {
    /// The orders of the level with what is left of them, first in the queue first. Cost: a step an order.
    pub const fn orders(&self) -> Orders<'b> {
        Orders { books: self.books, slot: self.first }
    }
}

/// Iterator over the levels of a side, best first.
#[derive(Clone, Debug)]
pub struct Levels<'b> {
    books: &'b Books<'b>,
    side: Side,
    slots: LadderLevels<'b>,
}

impl<'b> Iterator for Levels<'b> {
    type Item = LevelView<'b>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let level = self.books.levels.get(self.slots.next()?);
        Some(LevelView {
            books: self.books,
            price: level.key.price(self.side),
            quantity: Quantity(level.quantity),
            order_count: level.order_count,
            first: level.first,
        })
    }
}

/// Iterator over the orders of a level in queue order.
#[derive(Clone, Debug)]
pub struct Orders<'b> {
    books: &'b Books<'b>,
    slot: u32,
}

impl Iterator for Orders<'_> {
    type Item = (OrderId, Quantity);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.slot == NONE {
            return None;
        }
        let order = self.books.orders.get(self.slot);
        let item = (self.books.orders.id(self.slot), Quantity(u64::from(order.quantity)));
        self.slot = order.behind;
        Some(item)
    }
}

impl Books<'_> {
    /// The book of an instrument, or `None` for a number that has none.
    #[inline]
    pub fn book(&self, instrument: InstrumentId) -> Option<Book<'_>> {
        if instrument == InstrumentId::ALL {
            return None;
        }
        self.heads.get(instrument.index()).map(|head| Book { books: self, head })
    }

    /// `state_digest` of all books. Cost: a pass over all orders.
    pub fn state_digest(&self) -> u64 {
        let mut digest = StateDigest::default();
        for instrument in (1..=self.highest_instrument().0).map(InstrumentId) {
            let Some(book) = self.book(instrument).filter(|book| !book.is_empty()) else { continue };
            for side in Side::BOTH {
                for level in book.levels(side) {
                    digest.level(level.price, level.order_count);
                    level.orders().for_each(|(id, quantity)| digest.order(id, quantity));
                }
                digest.end_side();
            }
            digest.end_instrument(instrument);
        }
        digest.value()
    }
}
