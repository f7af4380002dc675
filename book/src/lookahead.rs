//! Looking ahead: while one event is applied, the memory that later ones will need is already on its way.
//!
//! It reads and asks, and changes nothing; a wrong guess costs a cache line. Events are still applied one by one.

use crate::books::{BookHead, Books};
use crate::event::{Event, Side};
use crate::prefetch::prefetch;

/// How many events ahead of the one applied the first link of the chain is asked for.
pub const LOOKAHEAD_EVENTS: usize = 32;
const AHEAD_OF_ENTRY: usize = LOOKAHEAD_EVENTS;
const AHEAD_OF_ORDER: usize = LOOKAHEAD_EVENTS / 2;
const AHEAD_OF_QUEUE: usize = LOOKAHEAD_EVENTS / 4;

impl Books<'_> {
    /// Looks ahead: asks the processor for what applying `events` will need, and changes nothing. To be called once before
    /// a batch, and then with the rest of it before each event.
    ///
    /// What an event needs hangs in a chain: its place in the index, the order there, the order's level and neighbours.
    /// Each call asks for one link of one event, far enough ahead that the link before has arrived.
    #[inline]
    pub fn look_ahead(&self, rest: &[Event]) {
        if let Some(event) = rest.get(AHEAD_OF_ENTRY) {
            self.prefetch_entry(event);
        }
        if let Some(event) = rest.get(AHEAD_OF_ORDER) {
            self.prefetch_order(event);
        }
        if let Some(event) = rest.get(AHEAD_OF_QUEUE) {
            self.prefetch_queue(event);
        }
    }

    /// The first [`LOOKAHEAD_EVENTS`] of a batch have nobody who looked ahead for them: all at once, link by link.
    #[inline]
    pub fn begin_look_ahead(&self, batch: &[Event]) {
        batch.iter().take(AHEAD_OF_ENTRY).for_each(|event| self.prefetch_entry(event));
        batch.iter().take(AHEAD_OF_ORDER).for_each(|event| self.prefetch_order(event));
        batch.iter().take(AHEAD_OF_QUEUE).for_each(|event| self.prefetch_queue(event));
    }

    /// The lines where an event's order is looked up, and the top of its book.
    #[inline]
    fn prefetch_entry(&self, event: &Event) {
        self.index.prefetch(event.instrument, event.order_id);
        prefetch(self.heads, event.instrument.index());
    }

    /// The order itself, and the best levels of its side. Without a look at the kind: a branch would cost more.
    #[inline]
    fn prefetch_order(&self, event: &Event) {
        self.orders.prefetch(self.index.guess(event.instrument, event.order_id));
        if let Some(BookHead(sides)) = self.heads.get(event.instrument.index()) {
            let side = &sides[usize::from(event.side_number == Side::Ask as u8)];
            self.ladders.prefetch(side.ladder);
            self.levels.prefetch(side.best_level);
        }
    }

    /// The order's level and its neighbours in the queue.
    #[inline]
    fn prefetch_queue(&self, event: &Event) {
        if let Some(order) = self.orders.peek(self.index.guess(event.instrument, event.order_id)) {
            self.levels.prefetch(order.level);
            self.orders.prefetch(order.ahead);
            self.orders.prefetch(order.behind);
        }
    }
}
