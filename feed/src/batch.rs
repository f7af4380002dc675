//! A batch of events: what a decoder fills and a core then applies or publishes.
//!
//! The memory is taken once; a batch never grows. Whoever fills it looks at [`EventBatch::room`] first: a decoder that
//! finds less than [`MAX_EVENTS_PER_MESSAGE`] decodes nothing and says so, so that no input can overfill a batch.
//!
//! A batch also says which places in a venue's channel its events have, for who keeps them. Nearly all messages are one event,
//! so that places go up with the events, and only where they do not (a [`Run`] begins) something is noted: an event costs nothing.

use tickcore_book::Event;

/// A place in a channel of a venue: enough to take up its feed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The channel's number; of inputs that are no feed, the number of the input, from 0.
    pub channel: u32,
    /// The venue's own number of the message, from 1; 0 stands before the first.
    pub venue_sequence: u64,
}

impl Place {
    /// The place so many messages later.
    #[inline]
    #[must_use]
    pub const fn later(self, messages: u64) -> Self {
        Self { venue_sequence: self.venue_sequence + messages, ..self }
    }
}

/// Events of a batch, each of which has the place behind that of the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The first of them, counted from 0.
    pub first: usize,
    /// Its place.
    pub place: Place,
}

/// Most events that one message may become; a batch without that much room is full to a decoder.
pub const MAX_EVENTS_PER_MESSAGE: usize = 8;

/// Events in order, in memory of fixed size.
#[derive(Clone, Debug)]
pub struct EventBatch {
    events: Box<[Event]>,
    length: usize,
    /// Each begins at another event, the last perhaps behind all of them.
    runs: Box<[Run]>,
    run_count: usize,
}

impl EventBatch {
    /// An empty batch with room for `capacity` events. The only allocations this type makes: 56 bytes an event, and 24 for its place.
    ///
    /// # Panics
    /// If `capacity` is below [`MAX_EVENTS_PER_MESSAGE`]: not one message could be decoded into it.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        assert!(
            capacity >= MAX_EVENTS_PER_MESSAGE,
            "a batch holds at least the {MAX_EVENTS_PER_MESSAGE} events of one message, not {capacity}"
        );
        Self {
            events: vec![Event::default(); capacity].into_boxed_slice(),
            length: 0,
            runs: vec![Run::default(); capacity + 1].into_boxed_slice(),
            run_count: 0,
        }
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
        self.run_count = 0;
    }

    /// Says which place the event has that is pushed next. Those behind it have the places behind it, until something else is said.
    #[inline]
    pub fn place_next(&mut self, place: Place) {
        let length = self.length;
        if let Some(run) = self.runs[..self.run_count].last_mut() {
            if run.place.later((length - run.first) as u64) == place {
                return;
            }
            if run.first == length {
                run.place = place;
                return;
            }
        }
        self.runs[self.run_count] = Run { first: length, place };
        self.run_count += 1;
    }

    /// Says that the events from `first` on are all of the message at `place`, also when there is none; what is pushed next has the
    /// place behind it. Not needed for a message that became one event, where places go up anyway.
    #[cold]
    pub fn place_message(&mut self, first: usize, place: Place) {
        let length = self.length;
        for event in first..length {
            self.length = event;
            self.place_next(place);
        }
        self.length = length;
        self.place_next(place.later(1));
    }

    /// The places of the events, run by run, as far as the source told them.
    #[inline]
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        let runs = &self.runs[..self.run_count];
        match runs.split_last() {
            Some((last, rest)) if last.first == self.length => rest,
            _ => runs,
        }
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

    /// The place of each event, from the runs.
    fn places(batch: &EventBatch) -> Vec<Option<Place>> {
        let place = |event| {
            let run = batch.runs().iter().rfind(|run| run.first <= event)?;
            Some(run.place.later((event - run.first) as u64))
        };
        (0..batch.len()).map(place).collect()
    }

    #[test]
    fn events_of_a_message_share_its_place_and_messages_without_events_leave_holes() {
        let mut random = 7_u64;
        let mut batch = EventBatch::new(64);
        let (mut venue_sequence, mut channel) = (0, 0);
        for round in 0..1_000 {
            batch.clear();
            assert!(batch.runs().is_empty());
            let mut expected = Vec::new();
            if round % 10 == 0 {
                // Nobody says where these come from.
                batch.push(event(round));
                expected.push(None);
            }
            batch.place_next(Place { channel, venue_sequence: venue_sequence + 1 });
            while batch.has_room_for_message() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                venue_sequence += 1;
                let (count, first) = ([1, 1, 1, 0, 8, 3, 1, 2][(random >> 61) as usize], batch.len());
                let place = Place { channel, venue_sequence };
                (0..count).for_each(|_| batch.push(event(round)));
                expected.extend((0..count).map(|_| Some(place)));
                if count != 1 {
                    batch.place_message(first, place);
                }
                if random >> 40 & 0xFF == 0 {
                    (channel, venue_sequence) = (channel + 1, 0);
                    batch.place_next(Place { channel, venue_sequence: 1 });
                }
            }
            assert_eq!(places(&batch), expected, "round {round}");
            assert!(batch.runs().iter().all(|run| run.first < batch.len()));
        }
        // One run for all where every message is one event.
        batch.clear();
        batch.place_next(Place { channel: 3, venue_sequence: 9 });
        (0..64).for_each(|time| batch.push(event(time)));
        assert_eq!(batch.runs(), [Run { first: 0, place: Place { channel: 3, venue_sequence: 9 } }]);
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
