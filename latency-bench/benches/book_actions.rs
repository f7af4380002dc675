//! Criterion benches of single actions and queries on warm books, which hold the first half of a generated day.
//!
//! An action is measured in chunks: an untimed preparation, the timed events, an untimed restoration that leaves the
//! books as they were, so that every chunk meets the same books. No event may be an anomaly. Actions of one chunk go to
//! one busy instrument, so these are the costs in cache; the scorecard measures whole days.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tickcore_book::{Arena, Books, Capacity, Event, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs};
use tickcore_feed::batch::{EventBatch, MAX_EVENTS_PER_MESSAGE};
use tickcore_feed::protocol::itch50::Decoder;
use tickcore_latency_bench::day::Day;

const DAY_MESSAGES: u64 = 400_000;
const DAY_INSTRUMENTS: u32 = 200;
const CAPACITY: Capacity = Capacity { instruments_max: 256, orders_max: 1 << 17, levels_max: 1 << 16 };

/// Events between two looks at the clock.
const CHUNK_EVENTS: usize = 512;

/// Levels that an add "deep" stays away from the best, and that the depth query walks.
const DEPTH_LEVELS: usize = 10;

/// First id of the orders that benches add: above all of the day.
const FIRST_ID: u64 = 1 << 48;

/// The books in the middle of the day, and an instrument with deep bids.
struct Warm<'a> {
    books: Books<'a>,
    instrument: InstrumentId,
    /// Prices of its bid levels, best first.
    bid_prices: Vec<Price>,
}

impl<'a> Warm<'a> {
    fn new(arena: &'a Arena) -> Self {
        let day = Day::generate(DAY_MESSAGES, DAY_INSTRUMENTS, 1).expect("possible parameters");
        let mut books = Books::new(arena, CAPACITY).expect("the arena is made for it");
        let mut decoder = Decoder::new(None, InstrumentId(1));
        let mut batch = EventBatch::new(MAX_EVENTS_PER_MESSAGE);
        for message in day.messages().take(DAY_MESSAGES as usize / 2) {
            batch.clear();
            decoder.decode(message, &mut batch);
            for event in batch.as_slice() {
                books.apply(event);
            }
        }
        assert_eq!(books.anomalies().total(), 0, "a generated day fits");
        let bid_levels = |instrument| books.book(instrument).map_or(0, |book| book.level_count(Side::Bid));
        let instrument = (1..=DAY_INSTRUMENTS).map(InstrumentId).max_by_key(|&instrument| bid_levels(instrument));
        let instrument = instrument.expect("the day has instruments");
        let book = books.book(instrument).expect("it has a book");
        let bid_prices: Vec<Price> = book.levels(Side::Bid).map(|level| level.price).collect();
        assert!(bid_prices.len() > 2 * DEPTH_LEVELS, "only {} bid levels", bid_prices.len());
        Self { books, instrument, bid_prices }
    }

    fn event(&self, kind: Kind, number: usize) -> Event {
        Event { order_id: OrderId(FIRST_ID + number as u64), ..Event::new(kind, self.instrument, TimestampNs(0)) }
    }

    fn add(&self, number: usize, price: Price) -> Event {
        Event { side_number: Side::Bid as u8, price, quantity: Quantity(100), ..self.event(Kind::Add, number) }
    }

    fn reduce(&self, kind: Kind, number: usize, quantity: u64) -> Event {
        Event { quantity: Quantity(quantity), ..self.event(kind, number) }
    }

    fn replace(&self, number: usize, new_number: usize, price: Price) -> Event {
        let reference = FIRST_ID + new_number as u64;
        Event { reference, price, quantity: Quantity(100), ..self.event(Kind::Replace, number) }
    }

    fn best_bid(&self) -> Price {
        self.bid_prices[0]
    }

    /// Prices of levels that are there, none of them near the best.
    fn deep_bid(&self, number: usize) -> Price {
        self.bid_prices[DEPTH_LEVELS + number % (self.bid_prices.len() - DEPTH_LEVELS)]
    }
}

/// Events of one chunk.
struct Chunk {
    before: Vec<Event>,
    timed: Vec<Event>,
    after: Vec<Event>,
}

impl Chunk {
    /// Chunk of one timed event for each number.
    fn new(
        before: impl Fn(usize) -> Option<Event>,
        timed: impl Fn(usize) -> Event,
        after: impl Fn(usize) -> Option<Event>,
    ) -> Self {
        Self {
            before: (0..CHUNK_EVENTS).filter_map(before).collect(),
            timed: (0..CHUNK_EVENTS).map(timed).collect(),
            after: (0..CHUNK_EVENTS).filter_map(after).collect(),
        }
    }

    /// Time of `iterations` timed events: whole chunks are measured, and the time is scaled.
    fn measure(&self, books: &mut Books<'_>, iterations: u64) -> Duration {
        let chunks = iterations.div_ceil(CHUNK_EVENTS as u64);
        let mut elapsed = Duration::ZERO;
        for _ in 0..chunks {
            self.before.iter().for_each(|event| _ = books.apply(event));
            let start = Instant::now();
            for event in &self.timed {
                black_box(books.apply(black_box(event)));
            }
            elapsed += start.elapsed();
            self.after.iter().for_each(|event| _ = books.apply(event));
        }
        elapsed.mul_f64(iterations as f64 / (chunks * CHUNK_EVENTS as u64) as f64)
    }
}

fn actions(criterion: &mut Criterion) {
    let arena = Arena::new(CAPACITY.arena_bytes()).expect("memory");
    let mut warm = Warm::new(&arena);
    let state_digest = warm.books.state_digest();
    let best = warm.best_bid();
    let nothing = |_| None;
    let chunks = {
        let add_best = |number| Some(warm.add(number, best));
        let delete = |number| Some(warm.event(Kind::Delete, number));
        [
            ("add_at_touch", Chunk::new(nothing, |number| warm.add(number, best), delete)),
            ("add_deep", Chunk::new(nothing, |number| warm.add(number, warm.deep_bid(number)), delete)),
            ("execute", Chunk::new(add_best, |number| warm.reduce(Kind::Execute, number, 100), nothing)),
            ("reduce", Chunk::new(add_best, |number| warm.reduce(Kind::Reduce, number, 40), delete)),
            ("delete", Chunk::new(add_best, |number| warm.event(Kind::Delete, number), nothing)),
            (
                "replace",
                Chunk::new(
                    add_best,
                    |number| warm.replace(number, CHUNK_EVENTS + number, warm.deep_bid(number)),
                    |number| Some(warm.event(Kind::Delete, CHUNK_EVENTS + number)),
                ),
            ),
        ]
    };
    let mut group = criterion.benchmark_group("book_action");
    for (name, chunk) in &chunks {
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|iterations| chunk.measure(&mut warm.books, iterations));
        });
        assert_eq!(warm.books.anomalies().total(), 0, "{name} met an anomaly");
        assert_eq!(warm.books.state_digest(), state_digest, "{name} left other books behind");
    }
    group.finish();
}

fn queries(criterion: &mut Criterion) {
    let arena = Arena::new(CAPACITY.arena_bytes()).expect("memory");
    let Warm { books, instrument, .. } = Warm::new(&arena);
    let book = books.book(instrument).expect("it has a book");
    let orders: Vec<OrderId> =
        book.levels(Side::Bid).flat_map(|level| level.orders().map(|(id, _)| id).collect::<Vec<_>>()).collect();
    let mut numbers = (0..orders.len()).cycle();
    let mut next_order = || orders[numbers.next().expect("a cycle does not end")];

    let mut group = criterion.benchmark_group("book_query");
    group.bench_function("bbo", |bencher| bencher.iter(|| books.bbo(black_box(instrument))));
    group.bench_function("levels_10", |bencher| {
        bencher.iter(|| {
            let book = books.book(black_box(instrument)).expect("it has a book");
            book.levels(Side::Bid).take(DEPTH_LEVELS).map(|level| level.quantity.get()).sum::<u64>()
        });
    });
    group.bench_function("queue_position", |bencher| {
        bencher.iter(|| books.queue_position(instrument, next_order()).expect("a live order"));
    });
    group.bench_function("order", |bencher| {
        bencher.iter(|| books.order(instrument, next_order()).expect("a live order"));
    });
    group.bench_function("last_trade", |bencher| {
        assert!(books.last_trade(instrument).is_some(), "nothing traded in half a day");
        bencher.iter(|| books.last_trade(black_box(instrument)).copied());
    });
    group.bench_function("micro_price", |bencher| {
        bencher.iter(|| books.bbo(black_box(instrument)).micro_price().expect("both sides"));
    });
    group.finish();
}

/// What is asked of more than the best level. Each answer but those of
/// [`Book::level_at`](tickcore_book::Book::level_at) reaches down [`DEPTH_LEVELS`] levels.
fn depth_queries(criterion: &mut Criterion) {
    let arena = Arena::new(CAPACITY.arena_bytes()).expect("memory");
    let Warm { books, instrument, bid_prices } = Warm::new(&arena);
    let book = || books.book(black_box(instrument)).expect("it has a book");
    let levels_max = DEPTH_LEVELS as u32;
    let limit = bid_prices[DEPTH_LEVELS - 1];
    let quantity = book().quantity_within(Side::Bid, limit);
    let sweep = book().sweep(Side::Bid, quantity);
    assert_eq!((sweep.level_count, sweep.quantity, sweep.worst_price), (levels_max, quantity, Some(limit)));
    assert_eq!(book().imbalance(levels_max).bid_quantity, quantity);
    let mut numbers = (0..bid_prices.len()).cycle();
    let mut next_price = || bid_prices[numbers.next().expect("a cycle does not end")];

    let mut group = criterion.benchmark_group("depth_query");
    group.bench_function("nth_level_10", |bencher| {
        bencher.iter(|| book().nth_level(Side::Bid, black_box(levels_max)).expect("deep enough").quantity);
    });
    group.bench_function("level_at_best", |bencher| {
        bencher.iter(|| book().level_at(Side::Bid, black_box(bid_prices[0])).expect("a level").quantity);
    });
    group.bench_function("level_at_any", |bencher| {
        bencher.iter(|| book().level_at(Side::Bid, next_price()).expect("a level").quantity);
    });
    group.bench_function("level_orders", |bencher| {
        bencher.iter(|| {
            let level = book().level_at(Side::Bid, next_price()).expect("a level");
            level.orders().map(|(_, quantity)| quantity.get()).sum::<u64>()
        });
    });
    group.bench_function("quantity_within_10", |bencher| {
        bencher.iter(|| book().quantity_within(Side::Bid, black_box(limit)));
    });
    group.bench_function("sweep_10", |bencher| {
        bencher.iter(|| book().sweep(Side::Bid, black_box(quantity)));
    });
    group.bench_function("sweep_average_10", |bencher| {
        bencher.iter(|| book().sweep(Side::Bid, black_box(quantity)).average_price().expect("some quantity"));
    });
    group.bench_function("imbalance_10", |bencher| {
        bencher.iter(|| book().imbalance(black_box(levels_max)).ratio().expect("some quantity"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20);
    targets = actions, queries, depth_queries
}
criterion_main!(benches);
