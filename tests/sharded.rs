//! Several book cores come to what one comes to: books, digests, counts and strategies, however many there are.
//!
//! `TICKCORE_TEST_MESSAGES` sets the messages of the large day; 10,000,000 takes some minutes on two cores.

mod common;

use common::day::generated;
use common::reference::{Reference, for_each_event};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use std::ops::ControlFlow;
use tickcore::book::{
    Anomaly, Bbo, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs,
};
use tickcore::engine::{self, Config, EngineError};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::outcome::{BooksOutcome, End, Outcome};
use tickcore::pin::Cores;
use tickcore::shards::{Activity, Shard, ShardMap};
use tickcore::strategy::{Context, NoStrategy, Strategy};
use tickcore::topology::{Role, Topology};

const CAPACITY: Capacity = Capacity { instruments_max: 10_000, orders_max: 400_000, levels_max: 800_000 };

fn config(topology: Topology, shards: ShardMap) -> Config {
    Config {
        topology,
        shards,
        cores: Cores::Unpinned,
        oversubscribe: true,
        keeps_digests: true,
        capacity: CAPACITY,
        ..Config::default()
    }
}

fn run<R: Source + Send>(config: &Config, source: R) -> Outcome<R, Vec<Tally>> {
    let make = |shard| Tally { shard: Some(shard), ..Tally::default() };
    let outcome = engine::run_sharded(config, source, make, |_| ControlFlow::Continue(())).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    outcome
}

/// Counts its calls, and where they came from.
#[derive(Debug, Default)]
struct Tally {
    shard: Option<Shard>,
    events: u64,
    events_of_all: u64,
    bbos: u64,
    /// Instruments of which an event came.
    instruments: std::collections::BTreeSet<InstrumentId>,
}

impl Strategy for Tally {
    fn on_event(&mut self, _: &mut Context<'_, '_>, event: &Event) {
        if event.instrument == InstrumentId::ALL {
            self.events_of_all += 1;
        } else {
            self.events += 1;
            self.instruments.insert(event.instrument);
        }
    }

    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, _: &Event) {
        assert_eq!(context.books().bbo(instrument), *bbo);
        self.bbos += 1;
    }
}

#[test]
fn every_topology_and_number_of_shards_has_the_same_digests() {
    let wanted = std::env::var("TICKCORE_TEST_MESSAGES").ok().and_then(|text| text.parse().ok());
    let messages = wanted.unwrap_or(2_000_000);
    let day = generated(messages, 8_000, 1);
    let capacity = Capacity { orders_max: (messages / 8) as u32 + 400_000, ..CAPACITY };
    let config = |topology, shards| Config { capacity, ..config(topology, shards) };
    let source = || ItchBytes::new(&day, &ItchOptions::default());
    let mut reference = Reference::new();
    let mut activity = Activity::default();
    for_each_event(&day, None, |number, event| {
        reference.apply(event);
        if number <= 200_000 {
            activity.count(event);
        }
    });
    let inline = run(&config(Topology::Inline, ShardMap::default()), source());
    let digest = |books: &BooksOutcome| format!("{:016x}", books.state_digest.unwrap());
    assert_eq!(reference.results()["state_digest"], digest(&inline.books));
    let pipelined = run(&config(Topology::Pipelined, ShardMap::default()), source());
    assert_eq!(pipelined.books, inline.books);
    for count in 1..=4 {
        for map in [ShardMap::by_hash(count), ShardMap::by_activity(count, &activity)] {
            let map = map.unwrap();
            let sharded = run(&config(Topology::Sharded, map.clone()), source());
            assert_eq!((&sharded.books, sharded.events), (&inline.books, inline.events), "{map:?}");
            let books: Vec<_> = sharded.cores.iter().filter(|core| core.thread.role == Role::Book).collect();
            assert_eq!(books.len(), count as usize);
            assert!(
                books.iter().all(|core| core.events + core.skipped == inline.events),
                "each event is looked at once"
            );
            let sum = |value: fn(&Tally) -> u64| sharded.strategy.iter().map(value).sum::<u64>();
            let one = &inline.strategy[0];
            assert_eq!((sum(|tally| tally.events), sum(|tally| tally.bbos)), (one.events, one.bbos));
            for (number, tally) in (0..).zip(&sharded.strategy) {
                assert_eq!(tally.shard, Some(Shard { number, count }));
                assert_eq!(tally.events_of_all, one.events_of_all);
                assert!(tally.instruments.iter().all(|&instrument| map.owner(instrument) == number));
            }
        }
    }
}

/// Events from memory, some at a time.
#[derive(Debug)]
struct Events {
    events: Vec<Event>,
    next: usize,
    counts: Counts,
}

impl Events {
    fn new(events: Vec<Event>) -> Self {
        Self { events, next: 0, counts: Counts::default() }
    }
}

impl Source for Events {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        if self.next == self.events.len() {
            return Ok(Filled::End);
        }
        let count = batch.room().min(max_messages).min(self.events.len() - self.next).min(7);
        self.events[self.next..self.next + count].iter().for_each(|event| batch.push(*event));
        self.next += count;
        self.counts.messages += count as u64;
        Ok(Filled::Events)
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        Ok(self.events.get(self.next).map(|event| event.exchange_time))
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

const INSTRUMENTS: u32 = 6;

/// Every instrument is met once, as a venue's directory does it, then comes whatever there is: most of it does not fit.
fn events() -> impl proptest::strategy::Strategy<Value = Vec<Event>> {
    let kinds = prop::sample::select(vec![
        Kind::Add,
        Kind::Add,
        Kind::Add,
        Kind::Add,
        Kind::Delete,
        Kind::Execute,
        Kind::Reduce,
        Kind::Replace,
        Kind::Modify,
        Kind::Clear,
        Kind::Gap,
        Kind::Trade,
        Kind::Status,
    ]);
    let one = (kinds, 0..=INSTRUMENTS + 2, 0..12_u64, 0..4_u64, 0..5_i64, any::<[bool; 2]>());
    prop::collection::vec(one, 1..300).prop_map(|rows| {
        let known = (1..=INSTRUMENTS).map(|row| {
            let event = Event::new(Kind::InstrumentDefined, InstrumentId(row), TimestampNs(1));
            Event { flags: event.flags.with(Flags::LAST), ..event }
        });
        let any = rows.into_iter().map(|(kind, instrument, id, quantity, price, [is_bid, is_last])| {
            let event = Event::new(kind, InstrumentId(instrument), TimestampNs(id + 2));
            Event {
                order_id: OrderId(id),
                reference: id + 3,
                quantity: Quantity(quantity),
                price: Price((price + 10) * Price::SCALE),
                side_number: if is_bid { Side::Bid as u8 } else { Side::Ask as u8 },
                flags: if is_last { event.flags.with(Flags::LAST) } else { event.flags },
                ..event
            }
        });
        known.chain(any).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Gaps, clears, transactions of several events, anomalies of every kind: counted once, and on the right book.
    #[test]
    fn what_does_not_fit_is_counted_once(events in events(), shards in 2..=4_u32) {
        let capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 4_096, levels_max: 4_096 };
        let one = Config { capacity, ..config(Topology::Inline, ShardMap::default()) };
        let several = Config { capacity, ..config(Topology::Sharded, ShardMap::by_hash(shards).unwrap()) };
        let (one, several) = (run(&one, Events::new(events.clone())), run(&several, Events::new(events)));
        prop_assert_eq!(one.books, several.books);
        prop_assert_eq!(one.events, several.events);
    }
}

#[test]
fn a_strict_run_ends_at_the_first_anomaly_on_any_core() {
    let bad = |row: u32| {
        let event = Event::new(Kind::Delete, InstrumentId(row), TimestampNs(1));
        Event { order_id: OrderId(u64::from(row)), flags: event.flags.with(Flags::LAST), ..event }
    };
    let good = |row: u32| Event { kind_number: Kind::Status as u8, ..bad(row) };
    let events: Vec<Event> =
        (0..500).map(|number| good(number % 6 + 1)).chain([bad(3), bad(1), bad(2), bad(4)]).collect();
    let strict = Config { is_strict: true, ..config(Topology::Sharded, ShardMap::by_hash(3).unwrap()) };
    let make = |_| NoStrategy;
    let outcome = engine::run_sharded(&strict, Events::new(events), make, |_| ControlFlow::Continue(())).unwrap();
    let End::Anomaly(anomaly) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!((anomaly.sequence.get(), anomaly.anomaly), (501, Anomaly::UnknownOrder));
    assert_eq!((anomaly.event.instrument, outcome.events), (InstrumentId(3), 501));
}

#[test]
fn one_strategy_does_not_do_for_several_cores() {
    let config = config(Topology::Sharded, ShardMap::by_hash(2).unwrap());
    let refused = engine::run(&config, Events::new(Vec::new()), NoStrategy).unwrap_err();
    assert!(matches!(refused, EngineError::OneStrategy { shards: 2 }), "{refused}");
    let one = Config { shards: ShardMap::by_hash(1).unwrap(), ..config };
    assert!(engine::run(&one, Events::new(Vec::new()), NoStrategy).unwrap().is_good());
}
