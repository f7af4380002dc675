//! The engine as a library: what it drags in, and when a strategy is called.

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use tickcore::book::{Bbo, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, Source, SourceError};
use tickcore::pin::Cores;
use tickcore::strategy::{Context, Strategy};
use tickcore::topology::Topology;

/// Names of the packages that `arguments` make cargo build, without this workspace's.
fn third_party_packages(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-e", "normal", "--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let names: BTreeSet<String> = text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name.starts_with("tickcore")), "{text}");
    names.into_iter().filter(|name| !name.is_empty() && !name.starts_with("tickcore")).collect()
}

#[test]
fn an_embedder_gets_no_command_line() {
    let of_command_line = ["anyhow", "clap", "clap_complete", "clap_mangen", "comfy-table", "indicatif", "signal-hook"];
    let library = third_party_packages(&["-p", "tickcore", "--no-default-features"]);
    let command = third_party_packages(&["-p", "tickcore"]);
    for name in of_command_line {
        assert!(!library.contains(name), "{name} is in {library:?}");
        assert!(command.contains(name), "{name} is not even in the command: {command:?}");
    }
}

#[test]
fn the_lower_floors_stay_small() {
    for (package, most) in [("tickcore-book", 16), ("tickcore-journal", 22)] {
        let packages = third_party_packages(&["-p", package]);
        assert!(packages.len() <= most, "{package} has {}: {packages:?}", packages.len());
    }
}

/// Batches of events, handed out one by one.
#[derive(Debug)]
struct VecSource {
    batches: Vec<Vec<Event>>,
    next: usize,
    counts: Counts,
}

impl VecSource {
    fn new(batches: Vec<Vec<Event>>) -> Self {
        Self { batches, next: 0, counts: Counts::default() }
    }
}

impl Source for VecSource {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        let Some(events) = self.batches.get(self.next) else { return Ok(Filled::End) };
        if max_messages == 0 {
            return Ok(Filled::Events);
        }
        events.iter().for_each(|event| batch.push(*event));
        self.next += 1;
        self.counts.messages += events.len() as u64;
        Ok(Filled::Events)
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        Ok(self.batches.get(self.next).and_then(|events| events.first()).map(|event| event.exchange_time))
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// Writes down every call.
#[derive(Debug, Default)]
struct Diary(Vec<String>);

fn shown(bbo: &Bbo) -> String {
    let [bid, ask] = Side::BOTH.map(|side| {
        bbo.side(side).map_or_else(|| "none".to_owned(), |quote| format!("{}x{}", quote.price, quote.quantity))
    });
    format!("{bid} {ask}")
}

impl Strategy for Diary {
    fn on_event(&mut self, context: &mut Context<'_, '_>, event: &Event) {
        let name = event.kind().map_or("unknown", Kind::name);
        self.0.push(format!("event {} {name}, {} live", context.sequence(), context.books().live_orders()));
    }

    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, _: &Event) {
        assert_eq!(context.books().bbo(instrument), *bbo);
        let stale = if context.books().is_stale(instrument) { ", stale" } else { "" };
        self.0.push(format!("bbo {} {instrument}: {}{stale}", context.sequence(), shown(bbo)));
    }

    fn on_status(&mut self, context: &mut Context<'_, '_>, event: &Event) {
        self.0.push(format!("status {} {}", context.sequence(), event.kind().map_or("unknown", Kind::name)));
    }

    fn on_batch_end(&mut self, context: &mut Context<'_, '_>) {
        self.0.push(format!("batch end {}", context.sequence()));
    }

    fn on_end(&mut self, context: &mut Context<'_, '_>) {
        self.0.push(format!("end {}", context.sequence()));
    }
}

const ONE: InstrumentId = InstrumentId(1);
const TWO: InstrumentId = InstrumentId(2);

fn add(instrument: InstrumentId, id: u64, side: Side, price: i64, quantity: u64) -> Event {
    Event {
        order_id: OrderId(id),
        price: Price(price * Price::SCALE),
        quantity: Quantity(quantity),
        side_number: side as u8,
        ..Event::new(Kind::Add, instrument, TimestampNs(id))
    }
}

fn delete(instrument: InstrumentId, id: u64) -> Event {
    Event { order_id: OrderId(id), ..Event::new(Kind::Delete, instrument, TimestampNs(id)) }
}

fn last(event: Event) -> Event {
    Event { flags: event.flags.with(Flags::LAST), ..event }
}

/// Two transactions of several events, one of them across two batches, then events for all.
fn batches() -> Vec<Vec<Event>> {
    let clear = Event::new(Kind::Clear, InstrumentId::ALL, TimestampNs(9));
    vec![
        vec![add(ONE, 1, Side::Bid, 10, 5), last(add(ONE, 2, Side::Ask, 11, 7))],
        // Crossed for a moment, and back where it was: no BBO to speak of.
        vec![add(ONE, 3, Side::Bid, 12, 1)],
        vec![last(delete(ONE, 3)), last(add(TWO, 4, Side::Ask, 20, 2))],
        vec![last(delete(ONE, 77))],
        vec![last(Event::new(Kind::Status, TWO, TimestampNs(8))), last(clear)],
    ]
}

const CALLS: [&str; 18] = [
    "event 1 add, 1 live",
    "event 2 add, 2 live",
    "bbo 2 1: 10x5 11x7",
    "batch end 2",
    "event 3 add, 3 live",
    "event 4 delete, 2 live",
    "event 5 add, 3 live",
    "bbo 5 2: none 20x2",
    "batch end 5",
    "event 6 delete, 3 live",
    "batch end 6",
    "event 7 status, 3 live",
    "status 7 status",
    "event 8 clear, 0 live",
    "status 8 clear",
    "bbo 8 1: none none, stale",
    "bbo 8 2: none none",
    "batch end 8",
];

fn config(topology: Topology) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: Capacity { instruments_max: 8, orders_max: 64, levels_max: 64 },
        ..Config::default()
    }
}

#[test]
fn a_strategy_is_called_in_the_order_of_things() {
    let outcome = engine::run(&config(Topology::Inline), VecSource::new(batches()), Diary::default()).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    let expected: Vec<&str> = CALLS.into_iter().chain(["end 8"]).collect();
    assert_eq!(outcome.strategy.0, expected);
    assert_eq!((outcome.events, outcome.books.anomalies.of(tickcore::book::Anomaly::UnknownOrder)), (8, 1));
}

/// How events fall into batches is a matter of chance behind a ring; nothing else is.
#[test]
fn another_topology_calls_alike() {
    let is_batch_end = |call: &String| call.starts_with("batch end");
    for _ in 0..20 {
        let outcome = engine::run(&config(Topology::Pipelined), VecSource::new(batches()), Diary::default()).unwrap();
        let calls = outcome.strategy.0;
        let others: Vec<&String> = calls.iter().filter(|call| !is_batch_end(call)).collect();
        let expected: Vec<&str> =
            CALLS.into_iter().filter(|call| !call.starts_with("batch end")).chain(["end 8"]).collect();
        assert_eq!(others, expected);
        assert!(calls.contains(&"batch end 8".to_owned()), "the last batch ends: {calls:?}");
        for within in ["batch end 1", "batch end 3"] {
            assert!(!calls.contains(&within.to_owned()), "{within} is within a transaction: {calls:?}");
        }
    }
}

/// An unknown kind and an instrument beyond the maxima do no more than be counted.
#[test]
fn nonsense_from_a_source_is_survived() {
    let nonsense = vec![
        Event { kind_number: 200, ..last(Event::new(Kind::Add, ONE, TimestampNs(1))) },
        last(add(InstrumentId(u32::MAX), 1, Side::Bid, 1, 1)),
        last(add(ONE, 1, Side::Bid, i64::MAX / Price::SCALE, u64::MAX)),
        last(add(ONE, 2, Side::Bid, 1, 1)),
    ];
    let outcome = engine::run(&config(Topology::Inline), VecSource::new(vec![nonsense]), Diary::default()).unwrap();
    assert_eq!((outcome.events, outcome.books.live_orders), (4, 1));
}
