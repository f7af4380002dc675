//! What the reference books make of a stream of events.

use serde_json::{Value, json};
use tickcore::book::reference::ReferenceBooks;
use tickcore::book::{Anomaly, Capacity, Event, Kind, StreamDigest, TimestampNs};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Filled, ItchBytes, ItchOptions, Source};

/// Midnight in New York before 30 January 2020, the date in the sample's name.
pub(crate) const MIDNIGHT: TimestampNs = TimestampNs(1_580_360_400_000_000_000);

/// Reference books with the digest of their BBO changes.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) books: ReferenceBooks,
    stream: StreamDigest,
    instruments: u32,
    events: u64,
}

impl Reference {
    pub(crate) fn new() -> Self {
        let capacity = Capacity::default();
        Self {
            books: ReferenceBooks::new(capacity),
            stream: StreamDigest::new(capacity.instruments_max),
            instruments: 0,
            events: 0,
        }
    }

    pub(crate) fn apply(&mut self, event: &Event) {
        self.events += 1;
        self.instruments += u32::from(event.kind() == Some(Kind::InstrumentDefined));
        self.books.apply(event);
        for &instrument in self.books.changed() {
            self.stream.fold(instrument, event.exchange_time, &self.books.bbo(instrument));
        }
    }

    /// The results under the names that `replay --json` has for them.
    pub(crate) fn results(&self) -> Value {
        let of = |anomaly| self.books.anomalies(anomaly);
        json!({
            "events": self.events,
            "state_digest": format!("{:016x}", self.books.state_digest()),
            "stream_digest": format!("{:016x}", self.stream.value()),
            "bbo_changes": self.stream.changes(),
            "instruments": self.instruments,
            "live_orders": self.books.live_orders(),
            "levels": self.books.level_count(),
            "anomalies": {
                "unknown_order": of(Anomaly::UnknownOrder),
                "duplicate_order": of(Anomaly::DuplicateOrder),
                "overfill": of(Anomaly::Overfill),
                "capacity": of(Anomaly::Capacity),
                "gap": of(Anomaly::Gap),
            },
        })
    }
}

/// Calls `act` with each event of an uncompressed ITCH file and the number of the message it is from, from 1.
pub(crate) fn for_each_event(file: &[u8], midnight: Option<TimestampNs>, mut act: impl FnMut(u64, &Event)) {
    let mut source = ItchBytes::new(file, &ItchOptions { midnight, ..ItchOptions::default() });
    let mut batch = EventBatch::new(64);
    loop {
        batch.clear();
        match source.fill(&mut batch, 1).expect("memory can be read") {
            Filled::End => return,
            Filled::Pending => unreachable!("memory is always at hand"),
            Filled::Events => batch.as_slice().iter().for_each(|event| act(source.counts().messages, event)),
        }
    }
}

/// The events of an uncompressed ITCH file.
pub(crate) fn events_of(file: &[u8], midnight: Option<TimestampNs>) -> Vec<Event> {
    let mut events = Vec::new();
    for_each_event(file, midnight, |_, event| events.push(*event));
    events
}

/// What the reference books make of events.
pub(crate) fn results_of(events: &[Event]) -> Value {
    let mut reference = Reference::new();
    events.iter().for_each(|event| reference.apply(event));
    reference.results()
}
