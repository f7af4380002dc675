//! No query allocates or frees. A test binary of its own, for its own allocator.

use std::hint::black_box;
use tickcore_allocations::{CountingAllocator, calls_during, is_counting};
use tickcore_book::{
    Arena, Books, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs,
};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ONE: InstrumentId = InstrumentId(1);
const LEVELS: i64 = 200;
const ORDERS: u64 = 2_000;

fn event(kind: Kind, id: u64) -> Event {
    Event { order_id: OrderId(id), flags: Flags::LAST, ..Event::new(kind, ONE, TimestampNs(id)) }
}

fn add(id: u64) -> Event {
    let (side, sign) = if id.is_multiple_of(2) { (Side::Bid, -1) } else { (Side::Ask, 1) };
    let price = Price(sign * (1 + id as i64 % LEVELS));
    Event { side_number: side as u8, price, quantity: Quantity(1 + id % 9), ..event(Kind::Add, id) }
}

fn ask_everything(books: &Books<'_>) {
    let book = books.book(ONE).expect("it has a book");
    for number in 0..LEVELS + 2 {
        for side in Side::BOTH {
            let (price, quantity) = (Price(-number), Quantity(number as u64 * 50));
            black_box(book.nth_level(side, number as u32));
            black_box(book.level_at(side, price).map(|level| level.orders().count()));
            black_box(book.quantity_within(side, price));
            black_box(book.sweep(side, quantity).average_price());
            black_box(book.levels(side).map(|level| level.orders().count()).sum::<usize>());
        }
        black_box(book.imbalance(number as u32).ratio());
    }
    let bbo = books.bbo(ONE);
    black_box((bbo.spread(), bbo.mid_price(), bbo.micro_price(), bbo.standing()));
    for id in (0..ORDERS + 10).map(OrderId) {
        black_box((books.order(ONE, id), books.queue_position(ONE, id)));
    }
    black_box((books.last_trade(ONE), books.last_execution(), books.is_stale(ONE), books.stale_count()));
    black_box((book.bbo(), book.is_empty(), books.live_orders(), books.level_count(), books.state_digest()));
}

#[test]
fn no_query_touches_the_allocator() {
    let capacity = Capacity { instruments_max: 2, orders_max: 4_000, levels_max: 1_000 };
    let arena = Arena::new(capacity.arena_bytes()).expect("small");
    let mut books = Books::new(&arena, capacity).expect("the arena has the size that the capacity asks for");
    assert_eq!(calls_during(|| ask_everything(&books)).1, 0, "of empty books");
    (0..ORDERS).for_each(|id| _ = books.apply(&add(id)));
    let trades = [Kind::Execute, Kind::Trade, Kind::Cross, Kind::Break];
    let ((), noted) = calls_during(|| {
        for (id, kind) in (0..).zip(trades) {
            books.apply(&Event { quantity: Quantity(1), ..event(kind, id) });
        }
    });
    assert_eq!(noted, 0, "of taking trades in");
    assert!(books.last_trade(ONE).is_some() && books.live_orders() > 1_900);
    assert_eq!(calls_during(|| ask_everything(&books)).1, 0, "of full books");
}

#[test]
fn the_counter_counts() {
    assert!(is_counting());
}
