//! Criterion benches of single actions and queries: on warm books, which hold the first half of a generated day, on books
//! of up to 50,000 levels, and on a queue of 100,000 orders.
//!
//! An action is measured in chunks: an untimed preparation, the timed events, an untimed restoration that leaves the
//! books as they were, so that every chunk meets the same books. No event may be an anomaly. Actions of one chunk go to
//! one busy instrument, so these are the costs in cache; the scorecard measures whole days.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use tickcore_book::{Arena, Books, Capacity, Event, InstrumentId, Kind, OrderId, Price, Quantity, Side};
use tickcore_latency_bench::day::Day;
use tickcore_latency_bench::warm::{
    DEPTH_LEVELS, FIRST_HASHED_ID, FIRST_ID, Warm, bid, clear, delete, less, modify, replace,
};

const DAY_MESSAGES: u64 = 400_000;
const DAY_INSTRUMENTS: u32 = 200;
const CAPACITY: Capacity = Capacity { instruments_max: 256, orders_max: 1 << 17, levels_max: 1 << 16 };

/// Events between two looks at the clock.
const CHUNK_EVENTS: usize = 512;

fn warm(arena: &Arena) -> Warm<'_> {
    let day = Day::generate(DAY_MESSAGES, DAY_INSTRUMENTS, 1).expect("possible parameters");
    Warm::new(Books::new(arena, CAPACITY).expect("the arena is made for it"), &day).0
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

/// The chunks of all actions on the busy instrument; orders have the ids from `first_id` on.
fn chunks(warm: &Warm<'_>, first_id: u64) -> [(&'static str, Chunk); 8] {
    let instrument = warm.instrument;
    let id = |number: usize| first_id + number as u64;
    let nothing = |_| None;
    let add_best = |number| Some(bid(instrument, id(number), warm.best_bid()));
    let end = |number| Some(delete(instrument, id(number)));
    [
        ("add_at_touch", Chunk::new(nothing, |number| bid(instrument, id(number), warm.best_bid()), end)),
        ("add_deep", Chunk::new(nothing, |number| bid(instrument, id(number), warm.deep_bid(number)), end)),
        ("execute", Chunk::new(add_best, |number| less(Kind::Execute, instrument, id(number), 100), nothing)),
        ("reduce", Chunk::new(add_best, |number| less(Kind::Reduce, instrument, id(number), 40), end)),
        ("delete", Chunk::new(add_best, |number| delete(instrument, id(number)), nothing)),
        (
            "replace",
            Chunk::new(
                add_best,
                |number| replace(instrument, id(number), id(CHUNK_EVENTS + number), warm.deep_bid(number)),
                |number| end(CHUNK_EVENTS + number),
            ),
        ),
        (
            "modify_quantity",
            Chunk::new(
                |number| Some(Event { quantity: Quantity(200), ..bid(instrument, id(number), warm.best_bid()) }),
                |number| modify(instrument, id(number), warm.best_bid()),
                end,
            ),
        ),
        ("modify_price", Chunk::new(add_best, |number| modify(instrument, id(number), warm.deep_bid(number)), end)),
    ]
}

/// Measures chunks that leave the books as they were.
fn measure(criterion: &mut Criterion, group: &str, books: &mut Books<'_>, chunks: &[(&str, Chunk)]) {
    let state_digest = books.state_digest();
    let mut group = criterion.benchmark_group(group);
    for (name, chunk) in chunks {
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|iterations| chunk.measure(books, iterations));
        });
        assert_eq!(books.anomalies().total(), 0, "{name} met an anomaly");
        assert_eq!(books.state_digest(), state_digest, "{name} left other books behind");
    }
    group.finish();
}

/// With ids that stand in pages, as a venue numbers them, and with arbitrary ones, which a hash table finds.
fn actions(criterion: &mut Criterion) {
    let arena = Arena::new(CAPACITY.arena_bytes()).expect("memory");
    let mut warm = warm(&arena);
    let (paged, hashed) = (chunks(&warm, FIRST_ID), chunks(&warm, FIRST_HASHED_ID));
    measure(criterion, "book_action", &mut warm.books, &paged);
    measure(criterion, "book_action_arbitrary_id", &mut warm.books, &hashed);
}

const ONE: InstrumentId = InstrumentId(1);
const CENT: i64 = Price::SCALE / 100;
const BEST: i64 = 1_000 * Price::SCALE;

/// Bids a cent apart below [`BEST`], one order each, which came in no order.
fn deep_books(arena: &Arena, capacity: Capacity) -> Books<'_> {
    // Divides no number of levels below, so every level comes once.
    const STRIDE: i64 = 7_919;
    let mut books = Books::new(arena, capacity).expect("the arena is made for it");
    let levels = i64::from(capacity.levels_max) - CHUNK_EVENTS as i64;
    for number in 0..levels {
        let level = number * STRIDE % levels;
        books.apply(&bid(ONE, 1 + level as u64, Price(BEST - level * CENT)));
    }
    assert_eq!(i64::from(books.level_count()), levels);
    books
}

const LEVEL_COUNTS: [u32; 5] = [1, 20, 300, 5_000, 50_000];

/// New levels at the top, in the middle and in the last tenth of books from one level to 50,000.
fn deep_actions(criterion: &mut Criterion) {
    for levels in LEVEL_COUNTS {
        let levels_max = levels + CHUNK_EVENTS as u32;
        let capacity = Capacity { instruments_max: 1, orders_max: 2 * levels_max, levels_max };
        let arena = Arena::new(capacity.arena_bytes()).expect("memory");
        let mut books = deep_books(&arena, capacity);
        let tenth = i64::from(levels / 10).max(1);
        // Between two levels, so that each is one more; the same one again for books with few.
        let below = |ahead: i64, number: usize| Price(BEST - (ahead + number as i64 * 37 % tenth) * CENT - CENT / 2);
        let id = |number: usize| 1 + u64::from(levels) + number as u64;
        let end = |number| Some(delete(ONE, id(number)));
        let mut chunks = Vec::new();
        for (adds, deletes, ahead) in [
            ("add_middle", "delete_middle", i64::from(levels / 2)),
            ("add_far", "delete_far", i64::from(levels) - tenth),
        ] {
            let add = move |number| bid(ONE, id(number), below(ahead, number));
            chunks.push((adds, Chunk::new(|_| None, add, end)));
            chunks.push((
                deletes,
                Chunk::new(move |number| Some(add(number)), |number| delete(ONE, id(number)), |_| None),
            ));
        }
        let best = |number: usize| bid(ONE, id(number), Price(BEST + (1 + number as i64 % 8) * CENT));
        chunks.push(("add_top", Chunk::new(|_| None, best, end)));
        chunks
            .push(("delete_top", Chunk::new(|number| Some(best(number)), |number| delete(ONE, id(number)), |_| None)));
        measure(criterion, &format!("book_of_{levels}_levels"), &mut books, &chunks);
    }
}

/// Queries whose cost grows with the levels, on books from one level to 50,000.
fn deep_queries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deep_query");
    for levels in LEVEL_COUNTS {
        let levels_max = levels + CHUNK_EVENTS as u32;
        let capacity = Capacity { instruments_max: 1, orders_max: 2 * levels_max, levels_max };
        let arena = Arena::new(capacity.arena_bytes()).expect("memory");
        let books = deep_books(&arena, capacity);
        let book = || books.book(black_box(ONE)).expect("it has a book");
        let (last, all) =
            (Price(BEST - i64::from(levels - 1) * CENT), book().quantity_within(Side::Bid, Price(i64::MIN)));
        group.bench_function(BenchmarkId::new("bbo", levels), |bencher| bencher.iter(|| books.bbo(black_box(ONE))));
        group.bench_function(BenchmarkId::new("level_at_last", levels), |bencher| {
            bencher.iter(|| book().level_at(Side::Bid, black_box(last)).expect("a level").quantity);
        });
        group.bench_function(BenchmarkId::new("nth_level_last", levels), |bencher| {
            bencher.iter(|| book().nth_level(Side::Bid, black_box(levels - 1)).expect("deep enough").price);
        });
        group.bench_function(BenchmarkId::new("levels_all", levels), |bencher| {
            bencher.iter(|| book().levels(Side::Bid).map(|level| level.quantity.get()).sum::<u64>());
        });
        group.bench_function(BenchmarkId::new("quantity_within_all", levels), |bencher| {
            bencher.iter(|| book().quantity_within(Side::Bid, black_box(last)));
        });
        group.bench_function(BenchmarkId::new("sweep_average_all", levels), |bencher| {
            bencher.iter(|| book().sweep(Side::Bid, black_box(all)).average_price().expect("some quantity"));
        });
        group.bench_function(BenchmarkId::new("imbalance_all", levels), |bencher| {
            bencher.iter(|| book().imbalance(black_box(levels)).ratio().expect("some quantity"));
        });
    }
    group.finish();
}

/// One level with 100,000 orders: what a long queue costs, and what it must not.
fn long_queue(criterion: &mut Criterion) {
    const ORDERS: u64 = 100_000;
    let capacity = Capacity { instruments_max: 1, orders_max: 2 * ORDERS as u32, levels_max: 16 };
    let arena = Arena::new(capacity.arena_bytes()).expect("memory");
    let mut books = Books::new(&arena, capacity).expect("the arena is made for it");
    let price = Price(BEST);
    (1..=ORDERS).for_each(|id| _ = books.apply(&bid(ONE, id, price)));

    let id = |number: usize| 1 + ORDERS + number as u64;
    // One order in 97: each on lines of its own, anywhere in the queue.
    let amid = |number: usize| 1 + number as u64 * 97 % ORDERS;
    let add = |number: usize| bid(ONE, id(number), price);
    let chunks = [
        ("add", Chunk::new(|_| None, add, |number| Some(delete(ONE, id(number))))),
        (
            "delete_last",
            Chunk::new(|number| Some(add(number)), |number| delete(ONE, id(CHUNK_EVENTS - 1 - number)), |_| None),
        ),
    ];
    measure(criterion, "long_queue", &mut books, &chunks);

    let mut group = criterion.benchmark_group("long_queue_query");
    let mut numbers = (0..CHUNK_EVENTS).cycle();
    let mut next_order = || OrderId(amid(numbers.next().expect("a cycle does not end")));
    group.bench_function("order", |bencher| {
        bencher.iter(|| books.order(ONE, next_order()).expect("a live order"));
    });
    group.bench_function("queue_position_last", |bencher| {
        bencher.iter(|| books.queue_position(ONE, black_box(OrderId(ORDERS))).expect("a live order"));
    });
    group.bench_function("level_orders", |bencher| {
        bencher.iter(|| {
            let level = books.book(ONE).and_then(|book| book.level_at(Side::Bid, black_box(price))).expect("a level");
            level.orders().map(|(_, quantity)| quantity.get()).sum::<u64>()
        });
    });
    group.finish();
}

/// The end of all orders of an instrument, ten to a level: what a session's end or a snapshot costs.
fn clears(criterion: &mut Criterion) {
    const ORDERS_PER_LEVEL: u64 = 10;
    let mut group = criterion.benchmark_group("clear");
    // So many instruments in turn that the clock is not what is measured.
    for (orders, instruments) in [(1, 512), (100, 64), (10_000, 4)] {
        let orders_max = instruments * orders as u32;
        let capacity = Capacity { instruments_max: instruments, orders_max, levels_max: orders_max };
        let arena = Arena::new(capacity.arena_bytes()).expect("memory");
        let mut books = Books::new(&arena, capacity).expect("the arena is made for it");
        let each = (1..=instruments).map(InstrumentId);
        let adds: Vec<Event> = each
            .clone()
            .flat_map(|instrument| {
                let price = |number: u64| Price(BEST - (number / ORDERS_PER_LEVEL) as i64 * CENT);
                let first_id = u64::from(instrument.0) * orders;
                (0..orders).map(move |number| bid(instrument, first_id + number, price(number)))
            })
            .collect();
        let timed: Vec<Event> = each.map(clear).collect();
        group.bench_function(BenchmarkId::new("orders", orders), |bencher| {
            bencher.iter_custom(|iterations| {
                let turns = iterations.div_ceil(u64::from(instruments));
                let mut elapsed = Duration::ZERO;
                for _ in 0..turns {
                    adds.iter().for_each(|event| _ = books.apply(event));
                    let start = Instant::now();
                    for event in &timed {
                        black_box(books.apply(black_box(event)));
                    }
                    elapsed += start.elapsed();
                }
                elapsed.mul_f64(iterations as f64 / (turns * u64::from(instruments)) as f64)
            });
        });
        assert_eq!((books.live_orders(), books.anomalies().total()), (0, 0));
    }
    group.finish();
}

fn queries(criterion: &mut Criterion) {
    let arena = Arena::new(CAPACITY.arena_bytes()).expect("memory");
    let Warm { books, instrument, .. } = warm(&arena);
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
    let Warm { books, instrument, bid_prices } = warm(&arena);
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
    targets = actions, deep_actions, long_queue, clears, queries, depth_queries, deep_queries
}
criterion_main!(benches);
