//! Warm books to measure single actions on: the middle of a generated day, and a busy instrument in it.

use crate::day::Day;
use tickcore_book::{Applied, Books, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::source::{Filled, ItchBytes, ItchOptions, Source};

/// Events decoded before they are applied, as many as the engine takes.
pub const BATCH_EVENTS: usize = 256;

/// Levels that an add "deep" stays away from the best, and that queries of depth reach down.
pub const DEPTH_LEVELS: usize = 10;

/// First id of the orders that benches add: a venue's number, above all of the day.
pub const FIRST_ID: u64 = 1 << 28;

/// First id of orders whose venue has arbitrary numbers: such are found by a hash table.
pub const FIRST_HASHED_ID: u64 = 1 << 48;

/// Books in the middle of a day, and an instrument with deep bids.
#[derive(Debug)]
pub struct Warm<'a> {
    /// The books.
    pub books: Books<'a>,
    /// The instrument with the most bid levels.
    pub instrument: InstrumentId,
    /// Prices of its bid levels, best first.
    pub bid_prices: Vec<Price>,
}

impl<'a> Warm<'a> {
    /// Applies the first half of a day to empty books, and gives the source of the other half.
    ///
    /// # Panics
    /// If an event does not fit, or the deepest bids have few levels.
    pub fn new<'d>(mut books: Books<'a>, day: &'d Day) -> (Self, ItchBytes<'d>) {
        let mut source = ItchBytes::new(&day.bytes, &ItchOptions::default());
        let mut batch = EventBatch::new(BATCH_EVENTS);
        while source.counts().messages < day.messages / 2 {
            batch.clear();
            let filled = source.fill(&mut batch, usize::MAX).expect("memory can be read");
            assert!(filled != Filled::End, "half a day ended early");
            batch.as_slice().iter().for_each(|event| _ = books.apply(event));
        }
        assert_eq!(books.anomalies().total(), 0, "a generated day fits");
        let bid_levels = |instrument| books.book(instrument).map_or(0, |book| book.level_count(Side::Bid));
        let instruments = (1..=books.highest_instrument().0).map(InstrumentId);
        let instrument = instruments.max_by_key(|&instrument| bid_levels(instrument)).expect("the day has instruments");
        let book = books.book(instrument).expect("it has a book");
        let bid_prices: Vec<Price> = book.levels(Side::Bid).map(|level| level.price).collect();
        assert!(bid_prices.len() > 2 * DEPTH_LEVELS, "only {} bid levels", bid_prices.len());
        (Self { books, instrument, bid_prices }, source)
    }

    /// The best bid of the busy instrument.
    pub fn best_bid(&self) -> Price {
        self.bid_prices[0]
    }

    /// Prices of levels that are there, none of them near the best.
    pub fn deep_bid(&self, number: usize) -> Price {
        self.bid_prices[DEPTH_LEVELS + number % (self.bid_prices.len() - DEPTH_LEVELS)]
    }

    /// Applies events that fit.
    ///
    /// # Panics
    /// If one does not.
    pub fn apply_all(&mut self, events: &[Event]) {
        for event in events {
            let Applied { anomaly, .. } = self.books.apply(event);
            assert_eq!(anomaly, None, "{event:?}");
        }
    }
}

/// A bid of 100.
pub fn bid(instrument: InstrumentId, id: u64, price: Price) -> Event {
    Event { side_number: Side::Bid as u8, price, quantity: Quantity(100), ..of_order(Kind::Add, instrument, id) }
}

/// An execution or a reduction.
pub fn less(kind: Kind, instrument: InstrumentId, id: u64, quantity: u64) -> Event {
    Event { quantity: Quantity(quantity), ..of_order(kind, instrument, id) }
}

/// An order's end.
pub fn delete(instrument: InstrumentId, id: u64) -> Event {
    of_order(Kind::Delete, instrument, id)
}

/// An order's successor, of 100.
pub fn replace(instrument: InstrumentId, id: u64, new_id: u64, price: Price) -> Event {
    Event { reference: new_id, price, quantity: Quantity(100), ..of_order(Kind::Replace, instrument, id) }
}

/// Another price for an order, of 100.
pub fn modify(instrument: InstrumentId, id: u64, price: Price) -> Event {
    Event { price, quantity: Quantity(100), ..of_order(Kind::Modify, instrument, id) }
}

/// The end of all orders.
pub fn clear(instrument: InstrumentId) -> Event {
    of_order(Kind::Clear, instrument, 0)
}

fn of_order(kind: Kind, instrument: InstrumentId, id: u64) -> Event {
    Event { order_id: OrderId(id), flags: Flags::LAST, ..Event::new(kind, instrument, TimestampNs(0)) }
}
