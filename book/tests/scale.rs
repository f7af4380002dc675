//! The books at every scale against the reference: from one level to 50,000 on each of 64 instruments, a million orders in one
//! queue, every kind of price and of order id.

#[path = "common/both_books.rs"]
mod both_books;

use both_books::BothBooks;
use tickcore_book::{
    Anomaly, Applied, Arena, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs,
    mix,
};

const ONE: InstrumentId = InstrumentId(1);
const CENT: i64 = Price::SCALE / 100;

/// Numbers as if drawn at random, the same in each run.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.word() % end
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            items.swap(end - 1, self.below(end as u64) as usize);
        }
    }
}

fn event(kind: Kind, instrument: InstrumentId, id: u64) -> Event {
    Event { order_id: OrderId(id), flags: Flags::LAST, ..Event::new(kind, instrument, TimestampNs(id)) }
}

fn add(instrument: InstrumentId, id: u64, side: Side, price: i64, quantity: u64) -> Event {
    let event = event(Kind::Add, instrument, id);
    Event { side_number: side as u8, price: Price(price), quantity: Quantity(quantity), ..event }
}

fn delete(instrument: InstrumentId, id: u64) -> Event {
    event(Kind::Delete, instrument, id)
}

fn with_books(capacity: Capacity, test: impl FnOnce(&mut BothBooks<'_>)) {
    let arena = Arena::new(capacity.arena_bytes()).expect("memory for the books");
    let mut books = BothBooks::new(&arena, capacity);
    test(&mut books);
    for anomaly in Anomaly::ALL {
        assert_eq!(books.anomalies(anomaly), 0, "{anomaly:?}: every event fits");
    }
}

/// All of 0 to `count` in an order that the number says: upwards, downwards, at random.
fn ordered(count: u64, order: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    match order % 3 {
        0 => {}
        1 => numbers.reverse(),
        _ => Random(count + order).shuffle(&mut numbers),
    }
    numbers
}

/// Levels a cent apart on both sides of a mid price, added in some order, taken away in another: half, and then all.
#[test]
fn sixty_four_books_of_50_000_levels() {
    const INSTRUMENTS: u32 = 64;
    const LEVELS: u64 = 50_000;
    const ALL: u32 = INSTRUMENTS * LEVELS as u32;
    let capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: ALL, levels_max: ALL };
    // Levels from the mid outwards, the odd ones bids.
    let order_of = |instrument: u32, level: u64| {
        let (side, way) = if level % 2 == 1 { (Side::Bid, -1) } else { (Side::Ask, 1) };
        let price = 10_000 * Price::SCALE + way * (1 + level as i64 / 2) * CENT;
        add(InstrumentId(instrument), u64::from(instrument) * LEVELS + level, side, price, 1 + level % 1_000)
    };
    // The instruments take turns, each with its own order of levels.
    let in_turn = |number_of: fn(u64) -> u64| -> Vec<(u32, u64)> {
        let orders: Vec<Vec<u64>> =
            (0..INSTRUMENTS).map(|instrument| ordered(LEVELS, number_of(instrument.into()))).collect();
        let step = |step: usize| orders.iter().zip(1..).map(move |(order, instrument)| (instrument, order[step]));
        (0..LEVELS as usize).flat_map(step).collect()
    };
    with_books(capacity, |books| {
        for (instrument, level) in in_turn(|instrument| instrument) {
            books.apply(&order_of(instrument, level));
        }
        assert_eq!(books.fast.level_count(), ALL);
        books.check();
        for (step, (instrument, level)) in (0..).zip(in_turn(|instrument| instrument / 3)) {
            if step == ALL / 2 {
                books.check();
            }
            books.apply(&delete(InstrumentId(instrument), u64::from(instrument) * LEVELS + level));
        }
        assert_eq!(books.fast.level_count(), 0);
        books.check();
    });
}

/// A million orders at one price, cancelled from the front, from the back and at random; then again with other ids in the
/// same memory.
#[test]
fn a_million_orders_in_one_queue() {
    const ORDERS: u64 = 1_000_000;
    let capacity = Capacity { instruments_max: 1, orders_max: ORDERS as u32, levels_max: 16 };
    with_books(capacity, |books| {
        for (round, first_id) in (0..3).zip([1, 1 << 40, 600_000_000]) {
            for number in 0..ORDERS {
                books.apply(&add(ONE, first_id + number, Side::Ask, CENT, 1 + number % 100));
            }
            let position =
                books.fast.queue_position(ONE, OrderId(first_id + ORDERS - 1)).expect("the last in the queue");
            assert_eq!(u64::from(position.orders_ahead), ORDERS - 1);
            assert_eq!(books.fast.level_count(), 1);
            books.check();
            for (step, number) in (0..).zip(ordered(ORDERS, round)) {
                books.apply(&delete(ONE, first_id + number));
                if step == ORDERS / 2 {
                    books.check();
                }
            }
            assert_eq!(books.fast.live_orders(), 0);
            books.check();
        }
    });
}

#[test]
fn books_of_one_level() {
    let capacity = Capacity { instruments_max: 1, orders_max: 1, levels_max: 1 };
    with_books(capacity, |books| {
        let mut random = Random(1);
        for id in 1..20_000 {
            let side = Side::BOTH[random.below(2) as usize];
            // Anywhere at all, so that nothing that was learnt of the last price holds for the next.
            books.apply(&add(ONE, id, side, random.word() as i64 >> random.below(64), 1 + random.below(1 << 32 >> 1)));
            books.apply(&delete(ONE, id));
        }
        books.check();
    });
}

/// How the prices of an instrument are.
#[derive(Clone, Copy, Debug)]
struct PriceShape {
    name: &'static str,
    mid: i64,
    tick: i64,
    /// Ticks between the sides.
    spread: i64,
    /// Levels of a side that orders are usually added to.
    depth: u64,
}

const PRICE_SHAPES: [PriceShape; 6] = [
    PriceShape { name: "one tick apart", mid: 50 * Price::SCALE, tick: CENT, spread: 1, depth: 40 },
    PriceShape { name: "a thousand ticks apart", mid: 900 * Price::SCALE, tick: CENT, spread: 1_000, depth: 2_000 },
    PriceShape { name: "below a dollar", mid: Price::SCALE / 3, tick: CENT / 100, spread: 3, depth: 300 },
    PriceShape { name: "200,000 dollars", mid: 200_000 * Price::SCALE, tick: CENT, spread: 50_000, depth: 100_000 },
    PriceShape { name: "below zero", mid: -37 * Price::SCALE, tick: CENT, spread: 2, depth: 60 },
    PriceShape { name: "of no tick", mid: 7, tick: 1, spread: 1, depth: 1 << 40 },
];

/// How a venue numbers its orders: from how many there were, and something random.
type IdOf = fn(u64, u64) -> u64;

const ID_SHAPES: [(&str, IdOf); 6] = [
    ("without gaps", |number, _| 1 + number),
    ("around 600 million, with gaps", |number, random| 600_000_000 + number * 37 + random % 37),
    ("any 64 bits", |number, random| mix(number) ^ random << 63),
    ("the first is 2^63", |number, _| if number == 0 { 1 << 63 } else { number }),
    ("downwards from the greatest", |number, _| u64::MAX - number),
    ("a page each", |number, _| number << 9),
];

/// What happens to a busy instrument: mostly adds at first, so that its book grows, then as many orders go as come.
fn trade(books: &mut BothBooks<'_>, instrument: InstrumentId, shape: PriceShape, id_of: IdOf, events: u64) {
    const ORDERS_USUAL: usize = 1_500;
    let mut random = Random(u64::from(instrument.0));
    let mut mid = shape.mid;
    let mut live: Vec<(u64, u64)> = Vec::new();
    let mut ids = 0;
    for number in 0..events {
        mid += (random.below(3) as i64 - 1) * shape.tick;
        let side = Side::BOTH[random.below(2) as usize];
        let way = if side == Side::Bid { -1 } else { 1 };
        let depth = random.below(1 + random.clone().below(shape.depth)) as i64;
        let price = mid + way * (shape.spread / 2 + depth) * shape.tick;
        let quantity = 1 + random.below(500);
        let mut next_id = || {
            ids += 1;
            id_of(ids - 1, random.0)
        };
        let place = (number * 0x9E37_79B9) as usize % live.len().max(1);
        let step = if live.len() < ORDERS_USUAL { mix(number) % 8 } else { 3 + mix(number) % 5 };
        let applied = match (live.get(place).copied(), step) {
            (None, _) | (_, 0..4) => {
                let id = next_id();
                live.push((id, quantity));
                books.apply(&add(instrument, id, side, price, quantity))
            }
            (Some((id, _)), 4) => {
                live.swap_remove(place);
                books.apply(&delete(instrument, id))
            }
            (Some((id, left)), 5) => {
                let executed = quantity.min(left);
                live[place].1 -= executed;
                if executed == left {
                    live.swap_remove(place);
                }
                books.apply(&Event { quantity: Quantity(executed), ..event(Kind::Execute, instrument, id) })
            }
            (Some((id, left)), 6) => {
                live[place].1 = left.div_ceil(2);
                books.apply(&Event { quantity: Quantity(left / 2), ..event(Kind::Reduce, instrument, id) })
            }
            (Some((id, _)), _) => {
                let reference = next_id();
                live[place] = (reference, quantity);
                let replace = event(Kind::Replace, instrument, id);
                books.apply(&Event { reference, price: Price(price), quantity: Quantity(quantity), ..replace })
            }
        };
        assert_eq!(applied.anomaly, None, "{} at event {number}", shape.name);
        assert!(applied == Applied { bbo_published: applied.bbo_changed, ..applied });
    }
}

/// Each kind of price with each kind of id, one instrument each in the same books.
#[test]
fn every_kind_of_price_with_every_kind_of_id() {
    const EVENTS: u64 = 12_000;
    let instruments = (PRICE_SHAPES.len() * ID_SHAPES.len()) as u32;
    let capacity = Capacity { instruments_max: instruments, orders_max: 1 << 17, levels_max: 1 << 16 };
    with_books(capacity, |books| {
        let shapes = PRICE_SHAPES.into_iter().flat_map(|prices| ID_SHAPES.map(|(_, ids)| (prices, ids)));
        for (instrument, (prices, ids)) in (1..).zip(shapes) {
            trade(books, InstrumentId(instrument), prices, ids, EVENTS);
            books.check();
        }
        for instrument in (1..=instruments).map(InstrumentId) {
            let [bids, asks] = Side::BOTH.map(|side| books.queues(instrument, side));
            assert!(bids.len() + asks.len() > 1);
        }
    });
}

/// Arbitrary ids for all orders, as some venues have, up to the maximum of orders: nothing depends on pages of ids.
#[test]
fn the_maximum_of_orders_with_arbitrary_ids() {
    const ORDERS: u64 = 200_000;
    let capacity = Capacity { instruments_max: 8, orders_max: ORDERS as u32, levels_max: 1 << 14 };
    with_books(capacity, |books| {
        let instrument = |number: u64| InstrumentId(1 + (number % 8) as u32);
        let id = |number: u64| mix(number) | 1 << 63;
        for number in 0..ORDERS {
            let price = (mix(number) % 1_000) as i64 * CENT;
            books.apply(&add(instrument(number), id(number), Side::Bid, price, 1));
        }
        assert_eq!(u64::from(books.fast.live_orders()), ORDERS);
        books.check();
        for number in ordered(ORDERS, 2) {
            books.apply(&delete(instrument(number), id(number)));
        }
        assert_eq!(books.fast.live_orders(), 0);
        books.check();
    });
}

/// Orders that live long amid many that do not: few of each page of ids stay, and pages run out.
#[test]
fn numbers_around_600_million_with_few_that_stay() {
    const ORDERS_MAX: u64 = 4_096;
    let capacity = Capacity { instruments_max: 4, orders_max: ORDERS_MAX as u32, levels_max: 1 << 11 };
    with_books(capacity, |books| {
        let mut stay = Vec::new();
        let mut random = Random(3);
        for number in 0..600_000_u64 {
            let id = 600_000_000 + number * 7 + random.below(7);
            let instrument = InstrumentId(1 + (number % 4) as u32);
            let price = (40_000 + random.below(200) as i64) * CENT;
            books.apply(&add(instrument, id, Side::BOTH[random.below(2) as usize], price, 100));
            if number % 160 == 0 {
                stay.push((instrument, id));
            } else {
                books.apply(&delete(instrument, id));
            }
            if number % 100_000 == 0 {
                books.check();
            }
        }
        books.check();
        random.shuffle(&mut stay);
        for (instrument, id) in stay {
            books.apply(&delete(instrument, id));
        }
        books.check();
    });
}

/// A level whose orders are too many to move keeps its slot when the window leaves it behind: the price whose place has the
/// same slot, a window's width above, is another level.
#[test]
fn a_long_queue_keeps_its_slot_beside_the_window() {
    const LONG: u64 = 300;
    const WINDOW: i64 = 256;
    let capacity = Capacity { instruments_max: 1, orders_max: 1_024, levels_max: 1_024 };
    for (side, way) in [(Side::Bid, 1), (Side::Ask, -1)] {
        with_books(capacity, |books| {
            let mut id = 0;
            let mut put = |books: &mut BothBooks<'_>, ticks: i64| {
                id += 1;
                books.apply(&add(ONE, id, side, 5_000 + way * ticks, 1));
                id
            };
            (996..=1_000).rev().for_each(|ticks| _ = put(books, ticks));
            let long: Vec<u64> = (0..LONG).map(|_| put(books, 990)).collect();
            let mut higher: Vec<u64> = (1_190..1_206).map(|ticks| put(books, ticks)).collect();
            for _ in 0..2 {
                higher.push(put(books, 990 + WINDOW));
                books.check();
                put(books, 990);
                books.check();
            }
            assert_eq!(books.queues(ONE, side).len(), 5 + 1 + 16 + 1);
            let last = OrderId(long[LONG as usize - 1]);
            assert_eq!(books.fast.queue_position(ONE, last).map(|place| place.orders_ahead), Some(LONG as u32 - 1));
            // Back to where the long level's place is its own slot.
            higher.into_iter().for_each(|id| _ = books.apply(&delete(ONE, id)));
            (861..=900).rev().for_each(|ticks| _ = put(books, ticks));
            books.check();
            long.into_iter().for_each(|id| _ = books.apply(&delete(ONE, id)));
            books.check();
            put(books, 990 + WINDOW);
            put(books, 990);
            books.check();
        });
    }
}

/// A window at one end of the range of keys, and a level at the other.
#[test]
fn a_ladder_that_reaches_from_end_to_end() {
    let capacity = Capacity { instruments_max: 1, orders_max: 64, levels_max: 64 };
    for (side, worst, far, way) in [(Side::Bid, i64::MIN, i64::MAX, 1), (Side::Ask, i64::MAX, i64::MIN, -1)] {
        with_books(capacity, |books| {
            for number in 0..10 {
                books.apply(&add(ONE, 1 + number, side, worst + way * (192 - number as i64), 1));
            }
            books.apply(&add(ONE, 100, side, far, 1));
            books.apply(&add(ONE, 101, side, far - way, 1));
            books.check();
            books.apply(&delete(ONE, 100));
            books.check();
        });
    }
}

/// Thousands of levels between the ticks of a market that steps up and down, so that its window is centred again and again
/// over more levels than it has places.
#[test]
fn thousands_of_levels_between_two_ticks() {
    const LEVELS: u64 = 20_000;
    let best = 1_000 * Price::SCALE;
    let capacity = Capacity { instruments_max: 1, orders_max: 1 << 16, levels_max: 1 << 15 };
    with_books(capacity, |books| {
        for level in 0..40 {
            books.apply(&add(ONE, 1 + level, Side::Bid, best - level as i64 * CENT, 1));
        }
        for level in 0..LEVELS {
            let below = 50 * CENT + 1 + level as i64 * 7_919 % (40 * CENT);
            books.apply(&add(ONE, 100 + level, Side::Bid, best - below, 1));
        }
        let mut random = Random(5);
        let mut id = 1 << 20;
        for round in 0..100 {
            let mut live = Vec::new();
            let shapes: [(u64, &dyn Fn(i64) -> i64); 3] = [
                (40, &|number| best + (1 + number + 40 * (round % 2)) * CENT),
                (20, &|number| best - number * CENT - 3_333),
                (20, &|number| best - (40 + number * 4) * CENT),
            ];
            for (count, price_of) in shapes {
                for number in 0..count {
                    id += 1;
                    live.push(id);
                    books.apply(&add(ONE, id, Side::Bid, price_of(number as i64), 1));
                }
            }
            random.shuffle(&mut live);
            for id in live {
                books.apply(&delete(ONE, id));
            }
            if round % 10 == 0 {
                books.check();
            }
        }
        books.check();
    });
}
