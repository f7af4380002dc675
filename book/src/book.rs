//! One book, read-only: its depth, level by level and order by order, without copying or allocating.

use crate::bbo::Bbo;
use crate::books::Books;
use crate::digest::StateDigest;
use crate::event::Side;
use crate::level::{Key, Level, SideOf};
use crate::order::NONE;
use crate::sides::{SideHead, SideLevels};
use crate::units::{InstrumentId, OrderId, Price, Quantity};

/// The two sides of one instrument.
#[derive(Clone, Copy, Debug)]
pub struct Book<'b> {
    books: &'b Books<'b>,
    instrument: InstrumentId,
    sides: &'b [SideHead; 2],
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
    level: u32,
}

#[inline]
fn bbo_of(sides: &[SideHead; 2]) -> Bbo {
    let quote = |side: &SideHead| (side.best_level != NONE).then_some(side.top());
    Bbo { bid: quote(&sides[0]), ask: quote(&sides[1]) }
}

impl<'b> Book<'b> {
    /// Best bid and offer.
    #[inline]
    pub fn bbo(&self) -> Bbo {
        bbo_of(self.sides)
    }

    /// Levels of a side. Cost: two cache lines.
    pub fn level_count(&self, side: Side) -> u32 {
        self.books.sides.level_count(SideOf::new(self.instrument, side))
    }

    /// Orders of a side. Cost: a step a level.
    pub fn order_count(&self, side: Side) -> u32 {
        self.levels(side).map(|level| level.order_count).sum()
    }

    /// Whether the book has any order.
    pub const fn is_empty(&self) -> bool {
        self.sides[0].best_level == NONE && self.sides[1].best_level == NONE
    }

    /// The levels of a side, best first. Cost: a step a level.
    #[inline]
    pub fn levels(&self, side: Side) -> Levels<'b> {
        let levels = self.books.sides.levels(SideOf::new(self.instrument, side));
        Levels { books: self.books, side, levels }
    }

    /// The level with `levels_ahead` better ones before it: 0 is the best. `None` where the side has no more than
    /// those. Cost: a step for each 64 prices of the window or each 7 to 20 levels outside of it; where levels lie between the
    /// window's ticks or at better prices than it has, a short step for each level ahead.
    #[inline]
    pub fn nth_level(&self, side: Side, levels_ahead: u32) -> Option<LevelView<'b>> {
        if levels_ahead >= self.level_count(side) {
            return None;
        }
        self.levels(side).nth(levels_ahead as usize)
    }

    /// The level at exactly this price, and with it its orders in queue order. Cost: some arithmetic near the touch; a
    /// search among the levels far from it.
    #[inline]
    pub fn level_at(&self, side: Side, price: Price) -> Option<LevelView<'b>> {
        let key = Key::new(side, price);
        let level = self.books.sides.find(SideOf::new(self.instrument, side), key)?;
        Some(LevelView::new(self.books, side, (key, level)))
    }
}

impl<'b> LevelView<'b> {
    #[inline]
    fn new(books: &'b Books<'b>, side: Side, (key, level): (Key, u32)) -> Self {
        let Level { quantity, order_count, .. } = *books.queues.level(level);
        Self { books, price: key.price(side), quantity: Quantity(quantity.into()), order_count, level }
    }

    /// The orders of the level with what is left of them, first in the queue first. Cost: a step an order.
    pub fn orders(&self) -> Orders<'b> {
        Orders { books: self.books, level: self.level, slot: self.books.queues.level(self.level).first }
    }
}

/// Iterator over the levels of a side, best first. Passing over levels with `nth` is cheaper than looking at them.
#[derive(Clone, Debug)]
pub struct Levels<'b> {
    books: &'b Books<'b>,
    side: Side,
    levels: SideLevels<'b>,
}

impl<'b> Iterator for Levels<'b> {
    type Item = LevelView<'b>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.levels.next().map(|level| LevelView::new(self.books, self.side, level))
    }

    #[inline]
    fn nth(&mut self, count: usize) -> Option<Self::Item> {
        self.levels.nth(count).map(|level| LevelView::new(self.books, self.side, level))
    }
}

/// Iterator over the orders of a level in queue order.
#[derive(Clone, Debug)]
pub struct Orders<'b> {
    books: &'b Books<'b>,
    level: u32,
    slot: u32,
}

impl Iterator for Orders<'_> {
    type Item = (OrderId, Quantity);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.slot == self.level {
            return None;
        }
        let order = self.books.queues.order(self.slot);
        let item = (self.books.id(self.slot), Quantity(u64::from(order.quantity)));
        self.slot = order.behind;
        Some(item)
    }
}

impl Books<'_> {
    /// The BBO of an instrument. Cost: two neighbouring cache lines. Empty for an instrument without a book.
    #[inline]
    pub fn bbo(&self, instrument: InstrumentId) -> Bbo {
        self.sides.heads().get(instrument.index()).map_or_else(Bbo::default, bbo_of)
    }

    /// The book of an instrument, or `None` for a number that has none.
    #[inline]
    pub fn book(&self, instrument: InstrumentId) -> Option<Book<'_>> {
        if instrument == InstrumentId::ALL {
            return None;
        }
        self.sides.heads().get(instrument.index()).map(|sides| Book { books: self, instrument, sides })
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
