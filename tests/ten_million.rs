//! Ten million generated messages of 8,000 instruments: books, digests and journal against the reference books.

mod common;

use common::day::generated;
use common::reference::{Reference, for_each_event};
use serde_json::{Value, json};
use std::path::Path;
use std::thread;
use tempfile::tempdir;
use tickcore::JournalConfig;
use tickcore::book::{Anomaly, InstrumentId};
use tickcore::engine::{self, Config};
use tickcore::feed::source::{ItchBytes, ItchOptions, Source};
use tickcore::journal::{Metadata, Options};
use tickcore::journal_source::JournalSource;
use tickcore::outcome::Outcome;
use tickcore::pin::Cores;
use tickcore::strategy::NoStrategy;
use tickcore::topology::Topology;

const MESSAGES: u64 = 10_000_000;
const INSTRUMENTS: u32 = 8_000;
/// Parts of the instruments that the reference takes, one on each core: it is the slow one here.
const SHARDS: u32 = 2;

/// Digests and a journal, threads left to the scheduler: nothing here is timed.
fn config(topology: Topology, journal: Option<&Path>) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        keeps_digests: true,
        journal: journal.map(|directory| JournalConfig {
            dir: directory.to_owned(),
            resume: false,
            options: Options { staging_bytes: 64 << 20, ..Options::default() },
            metadata: Metadata::default(),
        }),
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

/// What the reference books make of the instruments of one shard, under the names of [`results`]; `events` are all.
fn shard_results(day: &[u8], shard: u32) -> Value {
    let mut reference = Reference::new();
    let mut events = 0_u64;
    for_each_event(day, None, |_, event| {
        events += 1;
        if event.instrument == InstrumentId::ALL || event.instrument.get() % SHARDS == shard {
            reference.apply(event);
        }
    });
    let mut results = reference.results();
    results["events"] = events.into();
    results
}

/// What two shards come to: both digests are sums over instruments, and so are the counts.
fn sum(key: &str, left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            left.iter().map(|(key, value)| (key.clone(), sum(key, value, &right[key]))).collect()
        }
        (Value::String(left), Value::String(right)) => {
            let [left, right] = [left, right].map(|text| u64::from_str_radix(text, 16).expect("a digest"));
            format!("{:016x}", left.wrapping_add(right)).into()
        }
        _ if key == "events" => left.clone(),
        _ => (left.as_u64().expect("a count") + right.as_u64().expect("a count")).into(),
    }
}

#[test]
fn books_of_a_large_day_are_those_of_the_reference() {
    let day = generated(MESSAGES, INSTRUMENTS, 1);
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    thread::scope(|scope| {
        let day = day.as_slice();
        let shards: Vec<_> = (0..SHARDS).map(|shard| scope.spawn(move || shard_results(day, shard))).collect();
        let source = ItchBytes::new(day, &ItchOptions::default());
        let inline = engine::run(&config(Topology::Inline, Some(&directory)), source, NoStrategy).unwrap();
        assert_eq!(inline.source.counts().messages, MESSAGES);
        let counts = inline.source.counts();
        assert_eq!((counts.unknown_type, counts.malformed, counts.truncated_bytes), (0, 0, 0));
        let journal = inline.journal.as_ref().unwrap();
        assert_eq!((journal.durable_sequence.get(), journal.last_sequence.get()), (inline.events, inline.events));

        let source = JournalSource::open(&directory).unwrap();
        let again = engine::run(&config(Topology::Pipelined, None), source, NoStrategy).unwrap();
        let shards = shards.into_iter().map(|shard| shard.join().unwrap());
        let expected = shards.reduce(|left, right| sum("", &left, &right)).unwrap();
        assert_eq!(results(&inline), expected);
        assert_eq!(results(&again), expected, "the journal, pipelined");
        assert_eq!(expected["instruments"], INSTRUMENTS);
        let anomalies = expected["anomalies"].as_object().unwrap();
        assert!(anomalies.values().all(|count| count == 0), "{anomalies:?}");
        assert_eq!(inline.books.stale_instruments, 0);
    });
}
