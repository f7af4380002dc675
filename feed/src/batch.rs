//! A batch of events: what a decoder fills and a core then applies or publishes.
//!
//! The memory is taken once; a batch never grows. Whoever fills it looks at [`EventBatch::room`] first: a decoder that
//! finds less than [`MAX_EVENTS_PER_MESSAGE`] decodes nothing and says so, so that no input can overfill a batch.

use tickcore_book::Event;

/// Most events that one message may become; a batch without that much room is full to a decoder.
pub const MAX_EVENTS_PER_MESSAGE: usize = 8;

/// Events in order, in memory of fixed size.
#[derive(Clone, Debug)]
pub struct EventBatch {
    events: Box<[Event]>,
    length: usize,
}

impl EventBatch {
    /// An empty batch with room for `capacity` events. The only allocation this type makes.
    ///
    /// # Panics
    /// If `capacity` is below [`MAX_EVENTS_PER_MESSAGE`]: not one message could be decoded into it.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        assert!(
            capacity >= MAX_EVENTS_PER_MESSAGE,
            "a batch holds at least the {MAX_EVENTS_PER_MESSAGE} events of one message, not {capacity}"
        );
        Self { events: vec![Event::default(); capacity].into_boxed_slice(), length: 0 }
    }

    /// Puts `event` behind the others.
    ///
    /// # Panics
    /// If the batch is full. The caller has looked at [`EventBatch::room`].
    #[inline]
    pub fn push(&mut self, event: Event) {
        self.events[self.length] = event;
        self.length += 1;
    }

    /// Forgets all events and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// The events, first in first place.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[Event] {
        &self.events[..self.length]
    }

    /// Events in it.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no event in it.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Events that can be pushed before it is full.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.events.len() - self.length
    }

    /// Whether every message fits, whatever it becomes.
    #[inline]
    #[must_use]
    pub fn has_room_for_message(&self) -> bool {
        self.room() >= MAX_EVENTS_PER_MESSAGE
    }

    /// Events it can hold.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.events.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickcore_book::{InstrumentId, Kind, TimestampNs};

    fn event(time: u64) -> Event {
        Event::new(Kind::Add, InstrumentId(1), TimestampNs(time))
    }

    #[test]
    fn events_come_out_in_order_and_memory_is_kept() {
        let mut batch = EventBatch::new(8);
        let memory = batch.as_slice().as_ptr();
        for round in 0..3 {
            assert!(batch.is_empty() && batch.has_room_for_message());
            for time in 0..8 {
                batch.push(event(round * 8 + time));
                assert_eq!(batch.room(), 7 - time as usize);
                assert!(!batch.has_room_for_message());
            }
            let times: Vec<u64> = batch.as_slice().iter().map(|event| event.exchange_time.0).collect();
            assert_eq!(times, (round * 8..round * 8 + 8).collect::<Vec<_>>());
            batch.clear();
        }
        assert_eq!((batch.as_slice().as_ptr(), batch.capacity(), batch.len()), (memory, 8, 0));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn a_full_batch_refuses_an_event() {
        let mut batch = EventBatch::new(8);
        for time in 0..9 {
            batch.push(event(time));
        }
    }

    #[test]
    #[should_panic(expected = "at least the 8 events of one message, not 7")]
    fn a_batch_too_small_for_a_message_is_refused() {
        let _ = EventBatch::new(7);
    }
}
