//! Ten million generated messages of 8,000 instruments: books, digests and journal against the reference books.
//!
//! The environment variable `TICKCORE_TEST_MESSAGES` has another number of them. Forty million take 4 GB of memory, 3 GB in the
//! folder for temporary files, and a minute or two:
//!
//! ```text
//! TICKCORE_TEST_MESSAGES=40000000 cargo test --test ten_million
//! ```

mod common;

use common::day::generated;
use common::journal::journal_in;
use common::reference::{Reference, for_each_event};
use serde_json::{Value, json};
use std::path::Path;
use std::thread;
use tempfile::tempdir;
use tickcore::book::Anomaly;
use tickcore::engine::{self, Config};
use tickcore::feed::source::{ItchBytes, ItchOptions, Source};
use tickcore::journal_source::JournalSource;
use tickcore::outcome::Outcome;
use tickcore::pin::Cores;
use tickcore::strategy::NoStrategy;
use tickcore::topology::Topology;

const MESSAGES_DEFAULT: u64 = 10_000_000;
const INSTRUMENTS: u32 = 8_000;

fn messages() -> u64 {
    let wanted = std::env::var("TICKCORE_TEST_MESSAGES").ok();
    wanted.map_or(MESSAGES_DEFAULT, |text| text.parse().expect("TICKCORE_TEST_MESSAGES is a number of messages"))
}

/// Digests and a journal, threads left to the scheduler: nothing here is timed.
fn config(topology: Topology, journal: Option<&Path>) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        keeps_digests: true,
        journal: journal.map(journal_in),
        ..Config::default()
    }
}

fn results<R>(outcome: &Outcome<R, NoStrategy>) -> Value {
    assert!(outcome.is_good(), "{:?}", outcome.end);
    let books = &outcome.books;
    let of = |anomaly| books.anomalies.of(anomaly);
    json!({
        "events": outcome.events,
        "state_digest": format!("{:016x}", books.state_digest.unwrap()),
        "stream_digest": format!("{:016x}", books.stream_digest.unwrap()),
        "bbo_changes": books.bbo_changes,
        "instruments": books.instruments,
        "live_orders": books.live_orders,
        "levels": books.levels,
        "anomalies": {
            "unknown_order": of(Anomaly::UnknownOrder),
            "duplicate_order": of(Anomaly::DuplicateOrder),
            "overfill": of(Anomaly::Overfill),
            "capacity": of(Anomaly::Capacity),
            "gap": of(Anomaly::Gap),
        },
    })
}

/// What the reference books make of the day, under the names of [`results`].
fn reference_results(day: &[u8]) -> Value {
    let mut reference = Reference::new();
    let mut events = 0_u64;
    for_each_event(day, None, |_, event| {
        events += 1;
        reference.apply(event);
    });
    let mut results = reference.results();
    results["events"] = events.into();
    results
}

#[test]
fn books_of_a_large_day_are_those_of_the_reference() {
    let messages = messages();
    let day = generated(messages, INSTRUMENTS, 1);
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    thread::scope(|scope| {
        let day = day.as_slice();
        let reference = scope.spawn(move || reference_results(day));
        let source = ItchBytes::new(day, &ItchOptions::default());
        let inline = engine::run(&config(Topology::Inline, Some(&directory)), source, NoStrategy).unwrap();
        assert_eq!(inline.source.counts().messages, messages);
        let counts = inline.source.counts();
        assert_eq!((counts.unknown_type, counts.malformed, counts.truncated_bytes), (0, 0, 0));
        let journal = inline.journal.as_ref().unwrap();
        assert_eq!((journal.durable_sequence.get(), journal.last_sequence.get()), (inline.events, inline.events));

        let source = JournalSource::open(&directory).unwrap();
        let again = engine::run(&config(Topology::Pipelined, None), source, NoStrategy).unwrap();
        let expected = reference.join().unwrap();
        assert_eq!(results(&inline), expected);
        assert_eq!(results(&again), expected, "the journal, pipelined");
        assert_eq!(expected["instruments"], INSTRUMENTS);
        let anomalies = expected["anomalies"].as_object().unwrap();
        assert!(anomalies.values().all(|count| count == 0), "{anomalies:?}");
        assert_eq!(inline.books.stale_instruments, 0);
    });
}
