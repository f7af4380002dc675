//! What can be asked of all books: tops, orders, counts. None of it copies or allocates.

use crate::anomaly::AnomalyCounts;
use crate::books::{Books, Execution, Marks};
use crate::capacity::Capacity;
use crate::event::Side;
use crate::index::Found;
use crate::instrument::Instruments;
use crate::last_trade::LastTrade;
use crate::order::Order;
use crate::units::{InstrumentId, OrderId, Price, Quantity};

/// An order as it rests in its book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestingOrder {
    /// The venue's id.
    pub id: OrderId,
    /// Its side.
    pub side: Side,
    /// Its price.
    pub price: Price,
    /// What is left of it.
    pub quantity: Quantity,
}

/// Who is served before an order at its price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePosition {
    /// Orders ahead.
    pub orders_ahead: u32,
    /// Their quantity.
    pub quantity_ahead: Quantity,
}

impl<'a> Books<'a> {
    /// Whether an anomaly was seen since the last snapshot of the instrument.
    #[inline]
    pub fn is_stale(&self, instrument: InstrumentId) -> bool {
        self.marks.get(instrument.index()).is_some_and(|marks| marks.has(Marks::STALE))
    }

    /// Ends the staleness of an instrument: for a strategy that knows better.
    pub fn trust(&mut self, instrument: InstrumentId) {
        if let Some(marks) = self.marks.get_mut(instrument.index()) {
            marks.set(Marks::STALE, false);
        }
    }

    /// Whether the books hold events that may be in no journal: the engine's journal has failed, and it was told to carry
    /// on. They are right, and a journal's replay will not come to them.
    #[inline]
    pub const fn is_unjournaled(&self) -> bool {
        self.is_unjournaled
    }

    /// Flags every book as [`Books::is_unjournaled`]. Nothing takes that back.
    pub const fn set_unjournaled(&mut self) {
        self.is_unjournaled = true;
    }

    /// A live order. Cost: one look-up, its order, id and level.
    pub fn order(&self, instrument: InstrumentId, id: OrderId) -> Option<RestingOrder> {
        let Some((_, Found::Live(slot))) = self.find(instrument, id) else { return None };
        let Order { quantity, level, .. } = *self.queues.order(slot);
        let side_of = self.queues.side_of_level(level);
        let side = side_of.side();
        Some(RestingOrder {
            id,
            side,
            price: self.sides.key(&self.queues, side_of, level).price(side),
            quantity: Quantity(u64::from(quantity)),
        })
    }

    /// Orders and quantity ahead of a live order at its price. Cost: as many steps as there are orders ahead.
    pub fn queue_position(&self, instrument: InstrumentId, id: OrderId) -> Option<QueuePosition> {
        let Some((_, Found::Live(slot))) = self.find(instrument, id) else { return None };
        let mut position = QueuePosition { orders_ahead: 0, quantity_ahead: Quantity(0) };
        let Order { level, mut ahead, .. } = *self.queues.order(slot);
        while ahead != level {
            let order = self.queues.order(ahead);
            position.orders_ahead += 1;
            position.quantity_ahead.0 += u64::from(order.quantity);
            ahead = order.ahead;
        }
        Some(position)
    }

    /// The last execution of a resting order, of any instrument.
    #[inline]
    pub const fn last_execution(&self) -> Option<&Execution> {
        self.last_execution.as_ref()
    }

    /// The last trade of an instrument; [`LastTrade`] says what counts as one. Cost: one cache line.
    #[inline]
    pub fn last_trade(&self, instrument: InstrumentId) -> Option<&LastTrade> {
        self.last_trades.of(instrument)
    }

    /// What is known of the instruments.
    pub const fn instruments(&self) -> &Instruments<'a> {
        &self.instruments
    }

    /// The highest instrument number met so far, [`InstrumentId::ALL`] before the first.
    pub const fn highest_instrument(&self) -> InstrumentId {
        self.highest_instrument
    }

    /// Anomalies of all instruments.
    pub const fn anomalies(&self) -> &AnomalyCounts {
        self.anomalies.total()
    }

    /// Anomalies of one instrument; [`InstrumentId::ALL`] has those that no book could be blamed for.
    pub fn anomalies_of(&self, instrument: InstrumentId) -> Option<&AnomalyCounts> {
        self.anomalies.of(instrument)
    }

    /// Books that are stale. Cost: a pass over all instruments.
    pub fn stale_count(&self) -> u32 {
        self.marks.iter().filter(|marks| marks.has(Marks::STALE)).count() as u32
    }

    /// Live orders over all books.
    pub const fn live_orders(&self) -> u32 {
        self.queues.live_orders()
    }

    /// Price levels over all books.
    pub const fn level_count(&self) -> u32 {
        self.queues.live_levels()
    }

    /// The maxima.
    pub const fn capacity(&self) -> Capacity {
        self.capacity
    }
}
