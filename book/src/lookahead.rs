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

/// What is known of the events ahead, each at the number of events that are left when it comes: first the slot where its
/// order is or would be, then the node whose line comes last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookAhead {
    slots: [u32; LOOKAHEAD_EVENTS],
}

impl Default for LookAhead {
    fn default() -> Self {
        Self { slots: [NONE; LOOKAHEAD_EVENTS] }
    }
}

impl Books<'_> {
    /// Looks ahead: asks the processor for what applying `events` will need, and changes no book. To be called once
    /// before a batch, and then with the rest of it before each event.
    ///
    /// What an event needs hangs in a chain: the top of its book and its order, or the level where a new one would rest;
    /// the order's level; the neighbours in the queue. Each call asks for one link of one event, far enough ahead that the
    /// link before has arrived.
    #[inline]
    pub fn look_ahead(&mut self, rest: &[Event]) {
        if let Some(event) = rest.get(AHEAD_OF_ENTRY) {
            self.prefetch_entry(event, rest.len() - AHEAD_OF_ENTRY);
        }
        if let Some(event) = rest.get(AHEAD_OF_NODE) {
            self.prefetch_node(event, rest.len() - AHEAD_OF_NODE);
        }
        self.prefetch_queue(rest.len().wrapping_sub(AHEAD_OF_QUEUE));
    }

    /// The first [`LOOKAHEAD_EVENTS`] of a batch have nobody who looked ahead for them: all at once, link by link.
    #[inline]
    pub fn begin_look_ahead(&mut self, batch: &[Event]) {
        let left = |place| batch.len() - place;
        for (place, event) in batch.iter().take(AHEAD_OF_ENTRY).enumerate() {
            self.prefetch_entry(event, left(place));
        }
        for (place, event) in batch.iter().take(AHEAD_OF_NODE).enumerate() {
            self.prefetch_node(event, left(place));
        }
        (0..AHEAD_OF_QUEUE.min(batch.len())).for_each(|place| self.prefetch_queue(left(place)));
    }

    /// The line of an event's order, or of its entry in the hash table, and the top of its book.
    #[inline]
    fn prefetch_entry(&mut self, event: &Event, left: usize) {
        self.ahead.slots[left % LOOKAHEAD_EVENTS] = self.index.prefetch(&self.queues, event.instrument, event.order_id);
        self.sides.prefetch(event.instrument.index());
    }

    /// Of an order that rests its level and the order behind it; of a new one the level where it would rest. Without a look
    /// at the kind: a branch would cost more.
    #[inline]
    fn prefetch_node(&mut self, event: &Event, left: usize) {
        let slot = &mut self.ahead.slots[left % LOOKAHEAD_EVENTS];
        if *slot == NONE {
            *slot = self.index.guess_hashed(event.instrument, event.order_id);
        }
        let side_of = SideOf::guess(event);
        let new_level = self.sides.guess(side_of, event.price, event.side_number);
        let Some(order) = self.queues.peek(*slot) else { return };
        let rests = order.quantity != 0;
        self.queues.prefetch(select_unpredictable(rests, order.level, new_level));
        self.queues.prefetch(select_unpredictable(rests, order.behind, new_level));
        *slot = select_unpredictable(rests, *slot, new_level);
    }

    /// Of an order the one ahead of it, of a level its last order: the links are the same.
    #[inline]
    fn prefetch_queue(&mut self, left: usize) {
        if let Some(node) = self.queues.peek(self.ahead.slots[left % LOOKAHEAD_EVENTS]) {
            self.queues.prefetch(node.ahead);
        }
    }
}
