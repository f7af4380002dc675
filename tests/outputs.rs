//! What strategies send: numbers, causes, the same in every topology, and a ring that is full.

mod common;

use common::day::generated;
use common::trader::{Gateway, Outputs, Trader};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use tickcore::book::{Capacity, Kind};
use tickcore::engine::{self, Config};
use tickcore::feed::source::{ItchBytes, ItchOptions};
use tickcore::outcome::Outcome;
use tickcore::outputs::{CoreOutputs, Intent, OutputConfig, OutputHook, cause_of};
use tickcore::pin::Cores;
use tickcore::shards::ShardMap;
use tickcore::topology::Topology;

/// More than any test sends.
const LINES: usize = 1 << 16;
const DAY: (u64, u32, u64) = (60_000, 100, 9);

fn config(topology: Topology, cores: u32, outputs: Option<OutputConfig>) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        keeps_digests: true,
        shards: ShardMap::by_hash(cores).unwrap(),
        outputs,
        ..Config::default()
    }
}

fn run<'d>(config: &Config, day: &'d [u8]) -> Outcome<ItchBytes<'d>, Vec<Trader>> {
    let source = ItchBytes::new(day, &ItchOptions::default());
    let outcome = engine::run_sharded(config, source, |_| Trader::default(), |_| ControlFlow::Continue(())).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    outcome
}

/// A run, and what its cores sent.
fn sent(topology: Topology, cores: u32, day: &[u8]) -> (Vec<CoreOutputs>, Vec<Outputs>, String) {
    let gateway = Gateway::default();
    let outcome = run(&config(topology, cores, Some(gateway.config(LINES))), day);
    (outcome.outputs, gateway.outputs(), format!("{:?}", outcome.books))
}

#[test]
fn outputs_are_numbered_caused_and_the_same_on_one_core_of_any_topology() {
    let (messages, instruments, seed) = DAY;
    let day = generated(messages, instruments, seed);
    let (counts, outputs, books) = sent(Topology::Inline, 1, &day);
    let [outputs] = &outputs[..] else { panic!("one core") };
    assert!(outputs.len() > 1_000, "only {}", outputs.len());
    let all = outputs.len() as u64;
    assert_eq!(counts, [CoreOutputs { last: tickcore::book::Sequence(all), sent: all, ..CoreOutputs::default() }]);
    let numbers: Vec<u64> = outputs.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=all).collect::<Vec<_>>());
    assert!(outputs.is_sorted_by_key(|(_, event)| (cause_of(event), event.exchange_time)));
    for (_, event) in outputs {
        let intent = Intent::of(event).unwrap();
        assert_eq!((intent.id, intent.target.get()), (event.order_id, event.order_id.get() / 2));
        assert!(event.kind() == Some(Kind::OrderIntent) && cause_of(event).get() > 0 && intent.side.is_some());
    }
    for topology in [Topology::Pipelined, Topology::Sharded] {
        let (_, others, their_books) = sent(topology, 1, &day);
        assert_eq!((&others[0], &their_books), (outputs, &books), "{topology}");
    }
    // With nobody to read them, and without outputs: the books and the strategy are as they were.
    for outputs in [Some(OutputConfig::default()), None] {
        let outcome = run(&config(Topology::Inline, 1, outputs), &day);
        assert_eq!((&outcome.outputs, format!("{:?}", outcome.books)), (&counts, books.clone()));
        assert_eq!(outcome.strategy[0].last.get(), all);
    }
}

#[test]
fn every_core_numbers_its_own() {
    let (messages, instruments, seed) = DAY;
    let day = generated(messages, instruments, seed);
    let (counts, outputs, _) = sent(Topology::Sharded, 3, &day);
    assert_eq!(counts.iter().map(|core| core.core).collect::<Vec<_>>(), [0, 1, 2]);
    for (core, outputs) in counts.iter().zip(&outputs) {
        assert!(core.sent > 100 && core.sent == outputs.len() as u64, "{core:?}");
        assert!((1..).zip(outputs).all(|(expected, (number, _))| *number == expected));
    }
    assert_eq!(sent(Topology::Sharded, 3, &day).1, outputs, "the same again");
}

#[test]
fn a_full_ring_refuses_and_holds_up_nothing() {
    let (messages, instruments, seed) = DAY;
    let day = generated(messages, instruments, seed);
    let whole = run(&config(Topology::Inline, 1, None), &day);
    let gateway = Gateway::default();
    let outcome = run(&config(Topology::Inline, 1, Some(gateway.config(64))), &day);
    assert_eq!(format!("{:?}", outcome.books), format!("{:?}", whole.books));
    let (trader, outputs) = (outcome.strategy[0], &outcome.outputs[0]);
    assert_eq!((outputs.sent, outputs.last.get(), outputs.refused), (64, 64, trader.refused));
    assert_eq!(trader.tried, 64 + trader.refused);
    let read = &gateway.outputs()[0];
    assert_eq!((read.len(), read[63].0), (64, 64));
    // A lossy reader is waited for by nobody, and knows what it lost.
    let readers = Arc::new(Mutex::new(Vec::new()));
    let place = Arc::clone(&readers);
    let on_start = OutputHook::new(move |tap| {
        assert!(tap.reader().is_ok() && tap.capacity_lines() == 64);
        place.lock().unwrap().push(tap.lossy_reader());
    });
    let lossy = OutputConfig { lines: 64, readers_max: 1, on_start };
    let outcome = run(&config(Topology::Inline, 1, Some(lossy)), &day);
    assert_eq!((outcome.outputs[0].refused, outcome.outputs[0].sent), (0, whole.outputs[0].sent));
    let mut reader = readers.lock().unwrap().pop().unwrap();
    let (mut lost, mut numbers) = (0, Vec::new());
    while !reader.is_closed_and_drained() {
        lost += reader.poll(16, |number, _| numbers.push(number.get())).lost;
    }
    assert_eq!(lost + numbers.len() as u64, outcome.outputs[0].sent);
    assert_eq!(numbers.last(), Some(&outcome.outputs[0].sent));
}

#[test]
fn too_many_readers_and_lines_that_cannot_be_are_refused() {
    let day = generated(2_000, 20, 9);
    let hook = OutputHook::new(|tap| {
        let first = tap.reader();
        assert!(first.is_ok() && tap.reader().is_err());
    });
    run(&config(Topology::Inline, 1, Some(OutputConfig { on_start: hook, ..OutputConfig::default() })), &day);
    let source = ItchBytes::new(&day, &ItchOptions::default());
    let bad = config(Topology::Inline, 1, Some(OutputConfig { lines: 100, ..OutputConfig::default() }));
    let error = engine::run(&bad, source, Trader::default()).unwrap_err();
    assert!(error.to_string().contains("a ring of 100 lines: take a power of two"), "{error}");
}
