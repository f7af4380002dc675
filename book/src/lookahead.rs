//! Looking ahead: while one event is applied, the memory that later ones will need is already on its way.
//!
//! It reads and asks, and changes no book; a wrong guess costs a cache line. Events are still applied one by one.

use crate::books::Books;
use crate::event::Event;
use crate::level::SideOf;
use crate::order::NONE;
use core::hint::select_unpredictable;

/// How many events ahead of the one applied the first link of the chain is asked for.
pub const LOOKAHEAD_EVENTS: usize = 32;
const AHEAD_OF_ENTRY: usize = LOOKAHEAD_EVENTS;
const AHEAD_OF_NODE: usize = LOOKAHEAD_EVENTS / 2;
const AHEAD_OF_QUEUE: usize = LOOKAHEAD_EVENTS / 4;

/// The nodes asked for last, by the number of events that were left then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookAhead {
    nodes: [u32; AHEAD_OF_NODE],
}

impl Default for LookAhead {
    fn default() -> Self {
        Self { nodes: [NONE; AHEAD_OF_NODE] }
    }
}

impl Books<'_> {
    /// Looks ahead: asks the processor for what applying `events` will need, and changes no book. To be called once
    /// before a batch, and then with the rest of it before each event.
    ///
    /// What an event needs hangs in a chain: its place in the index and the top of its book, its order or level there, the
    /// neighbours in the queue. Each call asks for one link of one event, far enough ahead that the link before has
    /// arrived.
    #[inline]
    pub fn look_ahead(&mut self, rest: &[Event]) {
        if let Some(event) = rest.get(AHEAD_OF_ENTRY) {
            self.prefetch_entry(event);
        }
        if let Some(event) = rest.get(AHEAD_OF_NODE) {
            self.ahead.nodes[rest.len() % AHEAD_OF_NODE] = self.prefetch_node(event);
        }
        let node = self.ahead.nodes[(rest.len() + AHEAD_OF_NODE - AHEAD_OF_QUEUE) % AHEAD_OF_NODE];
        self.prefetch_queue(node);
    }

    /// The first [`LOOKAHEAD_EVENTS`] of a batch have nobody who looked ahead for them: all at once, link by link.
    #[inline]
    pub fn begin_look_ahead(&mut self, batch: &[Event]) {
        self.ahead = LookAhead::default();
        batch.iter().take(AHEAD_OF_ENTRY).for_each(|event| self.prefetch_entry(event));
        for (place, event) in batch.iter().take(AHEAD_OF_NODE).enumerate() {
            self.ahead.nodes[(batch.len() - place) % AHEAD_OF_NODE] = self.prefetch_node(event);
        }
        for place in 0..AHEAD_OF_QUEUE.min(batch.len()) {
            self.prefetch_queue(self.ahead.nodes[(batch.len() - place) % AHEAD_OF_NODE]);
        }
    }

    /// The line of an event's order, or of its entry in the hash table, and the top of its book.
    #[inline]
    fn prefetch_entry(&self, event: &Event) {
        self.index.prefetch(&self.queues, event.instrument, event.order_id);
        self.sides.prefetch(event.instrument.index());
    }

    /// Of an order that rests its level and the order behind it; of a new one the level where it would rest. Without a look
    /// at the kind: a branch would cost more. Answers with the node whose line comes last.
    #[inline]
    fn prefetch_node(&self, event: &Event) -> u32 {
        let slot = self.index.guess(&self.queues, event.instrument, event.order_id);
        let side_of = SideOf::of_number(event.instrument, event.side_number);
        let new_level = self.sides.guess(side_of, event.price, event.side_number != 0);
        let Some(order) = self.queues.peek(slot) else { return NONE };
        let rests = order.quantity != 0;
        self.queues.prefetch(select_unpredictable(rests, order.level, new_level));
        self.queues.prefetch(select_unpredictable(rests, order.behind, new_level));
        select_unpredictable(rests, slot, new_level)
    }

    /// Of an order the one ahead of it, of a level its last order: the links are the same.
    #[inline]
    fn prefetch_queue(&self, node: u32) {
        if let Some(node) = self.queues.peek(node) {
            self.queues.prefetch(node.ahead);
        }
    }
}
