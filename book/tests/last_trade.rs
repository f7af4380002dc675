//! The last trade of each instrument, against a model that reads the orders of the reference before each event.

#[path = "common/both_books.rs"]
mod both_books;
#[path = "common/random_events.rs"]
mod random_events;

use both_books::{BothBooks, Queue};
use proptest::prelude::*;
use random_events::{INSTRUMENTS, events};
use std::collections::BTreeMap;
use tickcore_book::{
    Anomaly, Arena, Capacity, Event, Flags, InstrumentId, Kind, LastTrade, OrderId, Price, Quantity, Side, TimestampNs,
};

const CAPACITY: Capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 64, levels_max: 64 };

const KINDS: [Kind; 10] = [
    Kind::Execute,
    Kind::Execute,
    Kind::ExecuteAt,
    Kind::Trade,
    Kind::Cross,
    Kind::Break,
    Kind::Reduce,
    Kind::Delete,
    Kind::Replace,
    Kind::Clear,
];

/// Side and price of a live order.
fn resting(books: &BothBooks<'_>, event: &Event) -> Option<(Side, Price)> {
    books.fast.book(event.instrument)?;
    Side::BOTH.into_iter().find_map(|side| {
        let queues = books.queues(event.instrument, side);
        let is_there = |(_, orders): &Queue| orders.iter().any(|(id, _)| *id == event.order_id);
        queues.into_iter().find(is_there).map(|(price, _)| (side, price))
    })
}

/// The trade that an event is before the books have seen it, as the documentation of [`LastTrade`] says it.
fn trade(books: &BothBooks<'_>, event: &Event) -> Option<LastTrade> {
    let kind = event.kind()?;
    let (side, price) = match kind {
        Kind::Execute => resting(books, event).map(|(side, price)| (Some(side), price))?,
        Kind::ExecuteAt => resting(books, event).map(|(side, _)| (Some(side), event.price))?,
        Kind::Trade | Kind::Cross => (event.side(), event.price),
        _ => return None,
    };
    let is_print = ![Flags::NON_PRINTABLE, Flags::FILL_RECORD].iter().any(|&flag| event.flags.contains(flag));
    let has_row = (1..=INSTRUMENTS).contains(&event.instrument.0);
    (is_print && has_row && event.quantity.0 > 0).then_some(LastTrade {
        price,
        quantity: event.quantity,
        exchange_time: event.exchange_time,
        match_id: event.reference,
        kind,
        side,
        is_broken: false,
    })
}

proptest! {
    #[test]
    fn it_is_what_the_events_say(sequence in prop::collection::vec(events(KINDS.to_vec()), 1..400)) {
        let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
        let mut books = BothBooks::new(&arena, CAPACITY);
        let mut model: BTreeMap<InstrumentId, LastTrade> = BTreeMap::new();
        for event in &sequence {
            if let Some(trade) = trade(&books, event) {
                model.insert(event.instrument, trade);
            }
            if event.kind() == Some(Kind::Break)
                && let Some(trade) = model.get_mut(&event.instrument).filter(|trade| trade.match_id == event.reference)
            {
                trade.is_broken = true;
            }
            books.apply(event);
            for instrument in (0..=INSTRUMENTS + 1).map(InstrumentId) {
                prop_assert_eq!(books.fast.last_trade(instrument), model.get(&instrument), "after {:?}", event);
            }
        }
        books.check();
    }
}

#[test]
fn executions_prints_auctions_and_breaks_one_after_the_other() {
    const ONE: InstrumentId = InstrumentId(1);
    let arena = Arena::new(CAPACITY.arena_bytes()).expect("small");
    let mut books = BothBooks::new(&arena, CAPACITY);
    let event = |kind, id, match_id, price, quantity| Event {
        order_id: OrderId(id),
        reference: match_id,
        price: Price(price),
        quantity: Quantity(quantity),
        side_number: if matches!(kind, Kind::Add | Kind::Trade) { Side::Ask as u8 } else { 0 },
        flags: Flags::LAST,
        ..Event::new(kind, ONE, TimestampNs(match_id))
    };
    let unprinted = |event: Event| Event { flags: event.flags.with(Flags::NON_PRINTABLE), ..event };
    // Each event with (match, price, quantity, side, broken) of the last trade after it.
    let steps = [
        (event(Kind::Add, 7, 0, 100, 50), None),
        (event(Kind::Execute, 8, 1, 0, 5), None),
        (event(Kind::Execute, 7, 2, 0, 5), Some((2, 100, 5, Some(Side::Ask), false))),
        (event(Kind::ExecuteAt, 7, 3, 98, 5), Some((3, 98, 5, Some(Side::Ask), false))),
        (unprinted(event(Kind::ExecuteAt, 7, 4, 97, 5)), Some((3, 98, 5, Some(Side::Ask), false))),
        (event(Kind::Execute, 7, 5, 0, 0), Some((3, 98, 5, Some(Side::Ask), false))),
        (event(Kind::Break, 0, 2, 0, 0), Some((3, 98, 5, Some(Side::Ask), false))),
        (event(Kind::Break, 0, 3, 0, 0), Some((3, 98, 5, Some(Side::Ask), true))),
        (event(Kind::Trade, 0, 6, 99, 1), Some((6, 99, 1, Some(Side::Ask), false))),
        (event(Kind::Cross, u64::from(b'O'), 7, 0, 0), Some((6, 99, 1, Some(Side::Ask), false))),
        (event(Kind::Cross, u64::from(b'O'), 8, 101, 1 << 40), Some((8, 101, 1 << 40, None, false))),
        (event(Kind::Clear, 0, 0, 0, 0), Some((8, 101, 1 << 40, None, false))),
        (event(Kind::Execute, 7, 9, 0, 5), Some((8, 101, 1 << 40, None, false))),
    ];
    for (event, expected) in steps {
        books.apply(&event);
        let found = books.fast.last_trade(ONE);
        let found = found.map(|last| (last.match_id, last.price.0, last.quantity.0, last.side, last.is_broken));
        assert_eq!(found, expected, "after {event:?}");
    }
    assert_eq!(books.anomalies(Anomaly::UnknownOrder), 2);
}
