//! Real Nasdaq messages of 21 June 2012 and the visible book after each (LOBSTER sample files): from each printed book
//! the next message must lead to the next printed book.
//!
//! The files start in the middle of the day and list only what touches the levels that they print, so that orders are
//! cancelled that were never added and levels come into view that nothing announced. Hence a fresh book for every
//! message, not one that goes on: the books are cleared, each level of the printed row becomes an order made up for
//! it, the message is applied (what it takes off an order takes it off the order of its level), and every price that
//! was in view before is compared with the next row. A price is in view when it is no worse than the worst level
//! printed, or when the side prints fewer levels than it could. Only what lies beyond is free: it is revealed.

#[path = "common/both_books.rs"]
mod both_books;
#[path = "common/market_data.rs"]
mod market_data;

use both_books::BothBooks;
use market_data::{market_data, number};
use tickcore_book::{
    Anomaly, Arena, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs,
};

const INSTRUMENT: InstrumentId = InstrumentId(1);
const CAPACITY: Capacity = Capacity { instruments_max: 1, orders_max: 64, levels_max: 64 };
/// Prices are printed in 1e-4.
const PRICE_UNIT: i64 = Price::SCALE / 10_000;

/// One row of a message file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Message {
    kind: u8,
    order_id: OrderId,
    quantity: Quantity,
    price: Price,
    side: Side,
}

/// Price and total quantity of the levels of a side, best first.
type Levels = Vec<(Price, Quantity)>;

/// One row of a book file: bids, asks.
type Row = [Levels; 2];

/// A message file and the books after each of its rows.
struct Recording {
    messages: Vec<Message>,
    rows: Vec<Row>,
    /// Levels that a side prints at most.
    levels_max: usize,
}

/// A transition that does not lead to the next printed row.
#[derive(Debug, PartialEq, Eq)]
struct Mismatch {
    /// Number of the message, from 0.
    row: usize,
    message: Message,
    side: Side,
    book: Levels,
    printed: Levels,
}

/// What a pass over all transitions found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    transitions: usize,
    levels_compared: usize,
    mismatches: usize,
    first_mismatch: Option<Mismatch>,
    anomalies: u64,
}

impl Recording {
    fn open(name: &str, levels_max: usize) -> Option<Self> {
        let messages = market_data(&format!("lobster/{}", name.replace("{}", "message")))?;
        let rows = market_data(&format!("lobster/{}", name.replace("{}", "orderbook")))?;
        let messages: Vec<_> = messages.lines().map(message).collect();
        let rows: Vec<_> = rows.lines().map(|line| row(line, levels_max)).collect();
        assert_eq!(messages.len(), rows.len(), "a book after every message");
        Some(Self { messages, rows, levels_max })
    }

    /// How many messages there are of a type, beside the first: it leads to the first printed row, not from one.
    fn count(&self, kind: u8) -> usize {
        self.messages[1..].iter().filter(|message| message.kind == kind).count()
    }

    /// Runs every transition, with `to_event` saying what a message does, given the order of its level.
    fn run(&self, to_event: impl Fn(&Message, OrderId) -> Event) -> Outcome {
        let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
        let mut books = BothBooks::new(&arena, CAPACITY);
        let mut outcome = Outcome::default();
        for (number, message) in self.messages.iter().enumerate().skip(1) {
            let before = &self.rows[number - 1];
            seed(&mut books, before);
            books.apply(&to_event(message, order_of_level(message.side, message.price)));
            let mut first = None;
            for side in Side::BOTH {
                let (book, printed) = self.in_view(&books, number, side);
                outcome.levels_compared += printed.len();
                if book != printed && first.is_none() {
                    first = Some(Mismatch { row: number, message: *message, side, book, printed });
                }
            }
            outcome.transitions += 1;
            outcome.mismatches += usize::from(first.is_some());
            outcome.first_mismatch = outcome.first_mismatch.or(first);
        }
        books.check();
        outcome.anomalies = Anomaly::ALL.into_iter().map(|anomaly| books.anomalies(anomaly)).sum();
        outcome
    }

    /// The levels of a side that were in view before message `number`, as built and as printed.
    fn in_view(&self, books: &BothBooks<'_>, number: usize, side: Side) -> (Levels, Levels) {
        let before = &self.rows[number - 1][side.index()];
        let worst = before.last().filter(|_| before.len() == self.levels_max).map(|(price, _)| *price);
        let is_known = |(price, _): &(Price, Quantity)| match (worst, side) {
            (None, _) => true,
            (Some(worst), Side::Bid) => *price >= worst,
            (Some(worst), Side::Ask) => *price <= worst,
        };
        let total = |orders: &[(OrderId, Quantity)]| Quantity(orders.iter().map(|(_, quantity)| quantity.0).sum());
        let built = books.queues(INSTRUMENT, side).into_iter().map(|(price, orders)| (price, total(&orders)));
        let printed = self.rows[number][side.index()].iter().copied();
        (built.filter(is_known).take(self.levels_max).collect(), printed.filter(is_known).collect())
    }
}

/// `time, type, order id, size, price, direction`; the direction is that of the resting order.
fn message(line: &str) -> Message {
    let fields: Vec<&str> = line.split(',').collect();
    Message {
        kind: number(fields[1]),
        order_id: OrderId(number(fields[2])),
        quantity: Quantity(number(fields[3])),
        price: Price(number::<i64>(fields[4]) * PRICE_UNIT),
        side: if fields[5] == "1" { Side::Bid } else { Side::Ask },
    }
}

/// `ask price, ask size, bid price, bid size` for each level; size 0 where there is none.
fn row(line: &str, levels_max: usize) -> Row {
    let fields: Vec<i64> = line.split(',').map(number).collect();
    assert_eq!(fields.len(), 4 * levels_max, "{line:?}");
    let side = |offset: usize| {
        let level = |fields: &[i64]| (Price(fields[offset] * PRICE_UNIT), Quantity(fields[offset + 1].unsigned_abs()));
        fields.chunks(4).filter(|fields| fields[offset + 1] > 0).map(level).collect()
    };
    [side(2), side(0)]
}

/// The id of the order that is made up for a level: no venue's number is as high.
fn order_of_level(side: Side, price: Price) -> OrderId {
    OrderId(1 << 63 | (side as u64) << 60 | price.0.unsigned_abs())
}

fn add(id: OrderId, side: Side, price: Price, quantity: Quantity) -> Event {
    Event {
        order_id: id,
        side_number: side as u8,
        price,
        quantity,
        flags: Flags::LAST,
        ..Event::new(Kind::Add, INSTRUMENT, TimestampNs(0))
    }
}

/// Empties the book and fills it with one order for each level of `row`.
fn seed(books: &mut BothBooks<'_>, row: &Row) {
    books.apply(&Event {
        order_id: OrderId(1),
        flags: Flags::LAST,
        ..Event::new(Kind::Clear, INSTRUMENT, TimestampNs(0))
    });
    for side in Side::BOTH {
        for &(price, quantity) in &row[side.index()] {
            books.apply(&add(order_of_level(side, price), side, price, quantity));
        }
    }
}

/// Type 1 adds. 2, 3 and 4 (cancelled in part, deleted, executed) take their size off the level, which holds more
/// orders than theirs. 5 and 6 trade elsewhere, 7 is a halt.
fn by_the_book(message: &Message, of_level: OrderId) -> Event {
    let event = |kind| Event { flags: Flags::LAST, ..Event::new(kind, INSTRUMENT, TimestampNs(0)) };
    let taking = |kind| Event { order_id: of_level, quantity: message.quantity, ..event(kind) };
    match message.kind {
        1 => add(message.order_id, message.side, message.price, message.quantity),
        2 | 3 => taking(Kind::Reduce),
        4 => taking(Kind::Execute),
        5 => Event { price: message.price, quantity: message.quantity, ..event(Kind::Trade) },
        6 => Event { price: message.price, quantity: message.quantity, ..event(Kind::Cross) },
        7 => event(Kind::Status),
        other => panic!("LOBSTER has no type {other}"),
    }
}

fn amazon() -> Option<Recording> {
    Recording::open("AMZN_2012-06-21_{}_1.csv", 1)
}

fn apple() -> Option<Recording> {
    Recording::open("AAPL_2012-06-21_{}_10_first998.csv", 10)
}

fn without_mismatch(transitions: usize, levels_compared: usize) -> Outcome {
    Outcome { transitions, levels_compared, ..Outcome::default() }
}

#[test]
fn the_best_levels_of_a_whole_day_of_amazon_follow_from_each_other() {
    let Some(recording) = amazon() else { return };
    assert_eq!([1, 2, 3, 4, 5].map(|kind| recording.count(kind)), [27_845, 16, 18_235, 8_974, 2_444]);
    assert_eq!(recording.run(by_the_book), without_mismatch(57_514, 101_075));
}

#[test]
fn ten_levels_of_apple_follow_from_each_other() {
    let Some(recording) = apple() else { return };
    assert_eq!([1, 2, 3, 4, 5].map(|kind| recording.count(kind)), [470, 0, 369, 98, 61]);
    assert_eq!(recording.run(by_the_book), without_mismatch(998, 19_642));
}

/// The comparison must be able to fail: a partial cancel that takes all is seen, each of the 16 times.
#[test]
fn a_partial_cancel_that_deletes_is_noticed() {
    let Some(recording) = amazon() else { return };
    let outcome = recording.run(|message, of_level| {
        let event = by_the_book(message, of_level);
        if message.kind == 2 { Event { kind_number: Kind::Delete as u8, ..event } } else { event }
    });
    assert_eq!((outcome.transitions, outcome.mismatches, outcome.anomalies), (57_514, recording.count(2), 0));
    assert_eq!(outcome.first_mismatch.map(|mismatch| mismatch.message.kind), Some(2));
}

/// The comparison must be able to fail: executions that touch no order are seen, each of the 98 times.
#[test]
fn an_execution_without_effect_is_noticed() {
    let Some(recording) = apple() else { return };
    let outcome = recording.run(|message, of_level| {
        let event = by_the_book(message, of_level);
        if message.kind == 4 { Event { kind_number: Kind::Trade as u8, ..event } } else { event }
    });
    assert_eq!((outcome.transitions, outcome.mismatches), (998, recording.count(4)));
    assert_eq!(outcome.first_mismatch.map(|mismatch| mismatch.message.kind), Some(4));
}

/// The comparison must be able to fail: adds on the wrong side are seen.
#[test]
fn an_add_on_the_wrong_side_is_noticed() {
    let Some(recording) = apple() else { return };
    let outcome = recording.run(|message, of_level| {
        let event = by_the_book(message, of_level);
        if message.kind == 1 { Event { side_number: message.side.opposite() as u8, ..event } } else { event }
    });
    assert_eq!((outcome.transitions, outcome.mismatches), (998, recording.count(1)));
}
