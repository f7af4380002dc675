//! The fast books and the reference, driven together: whatever a test reads from them, both have said.

use tickcore_book::reference::ReferenceBooks;
use tickcore_book::{Anomaly, Applied, Arena, Books, Capacity, Event, InstrumentId, OrderId, Price, Quantity, Side};

/// A level with its orders in queue order.
pub(crate) type Queue = (Price, Vec<(OrderId, Quantity)>);

/// Fast and reference books that have seen the same events.
pub(crate) struct BothBooks<'a> {
    /// The books under test.
    pub(crate) fast: Books<'a>,
    /// What they are held against.
    pub(crate) reference: ReferenceBooks,
}

impl<'a> BothBooks<'a> {
    /// Empty books in memory of an arena that has [`Capacity::arena_bytes`].
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Self {
        let fast = Books::new(arena, capacity).expect("the arena has the size that the capacity asks for");
        Self { fast, reference: ReferenceBooks::new(capacity) }
    }

    /// Applies an event to both.
    ///
    /// # Panics
    /// When they do not say the same about what it did.
    pub(crate) fn apply(&mut self, event: &Event) -> Applied {
        let applied = self.fast.apply(event);
        assert_eq!(applied, self.reference.apply(event), "{event:?}");
        assert_eq!(self.fast.bbo(event.instrument), self.reference.bbo(event.instrument), "{event:?}");
        assert_eq!(self.fast.live_orders(), self.reference.live_orders(), "{event:?}");
        assert_eq!(self.fast.level_count(), self.reference.level_count(), "{event:?}");
        if applied.bbo_changed {
            assert_eq!(self.fast.changed(event.instrument).collect::<Vec<_>>(), self.reference.changed(), "{event:?}");
        }
        if applied.bbo_published {
            let published: Vec<_> = self.fast.published(event.instrument).collect();
            assert_eq!(published, self.reference.published(), "{event:?}");
        }
        applied
    }

    /// One side of a book, best level first, order by order.
    ///
    /// # Panics
    /// When the two do not hold the same orders in the same queues, or a level's total or count is another.
    pub(crate) fn queues(&self, instrument: InstrumentId, side: Side) -> Vec<Queue> {
        let book = self.fast.book(instrument).expect("the instrument has a book");
        let mut queues = Vec::new();
        for level in book.levels(side) {
            let orders: Vec<_> = level.orders().collect();
            assert_eq!(level.order_count as usize, orders.len());
            assert_eq!(level.quantity.0, orders.iter().map(|(_, quantity)| quantity.0).sum::<u64>());
            queues.push((level.price, orders));
        }
        let reference = self.reference.levels(instrument, side);
        assert_eq!(queues, reference.into_iter().map(|level| (level.price, level.orders)).collect::<Vec<_>>());
        queues
    }

    /// How many anomalies of a kind there were.
    ///
    /// # Panics
    /// When the two do not agree.
    pub(crate) fn anomalies(&self, anomaly: Anomaly) -> u64 {
        let count = self.fast.anomalies().of(anomaly);
        assert_eq!(count, self.reference.anomalies(anomaly));
        count
    }

    /// Asserts that the structure of the fast books is sound and that both have the same state digest.
    pub(crate) fn check(&self) {
        assert_eq!(self.fast.validate(), Ok(()));
        assert_eq!(self.fast.state_digest(), self.reference.state_digest());
    }
}
