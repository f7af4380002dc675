//! Events as a test writes them: of instrument 1, each a transaction of its own.

use tickcore_book::{Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Quote, Side, TimestampNs};

pub(crate) fn event(kind: Kind, id: u64) -> Event {
    Event { order_id: OrderId(id), flags: Flags::LAST, ..Event::new(kind, InstrumentId(1), TimestampNs(0)) }
}

pub(crate) fn add(id: u64, side: Side, price: i64, quantity: u64) -> Event {
    Event { side_number: side as u8, ..priced(Kind::Add, id, price, quantity) }
}

pub(crate) fn modify(id: u64, side: Side, price: i64, quantity: u64) -> Event {
    Event { kind_number: Kind::Modify as u8, ..add(id, side, price, quantity) }
}

pub(crate) fn replace(id: u64, new_id: u64, price: i64, quantity: u64) -> Event {
    Event { reference: new_id, ..priced(Kind::Replace, id, price, quantity) }
}

/// Execute and Reduce, which carry no price.
pub(crate) fn sized(kind: Kind, id: u64, quantity: u64) -> Event {
    Event { quantity: Quantity(quantity), ..event(kind, id) }
}

/// ExecuteAt carries the price of the print.
pub(crate) fn priced(kind: Kind, id: u64, price: i64, quantity: u64) -> Event {
    Event { price: Price(price), ..sized(kind, id, quantity) }
}

pub(crate) fn clear(snapshot_follows: bool) -> Event {
    event(Kind::Clear, u64::from(snapshot_follows))
}

pub(crate) fn gap() -> Event {
    Event { reference: 9, ..event(Kind::Gap, 5) }
}

pub(crate) fn under(instrument: InstrumentId, event: Event) -> Event {
    Event { instrument, ..event }
}

pub(crate) fn without_last(event: Event) -> Event {
    Event { flags: Flags::NONE, ..event }
}

pub(crate) fn quote(price: i64, quantity: u64) -> Option<Quote> {
    Some(Quote { price: Price(price), quantity: Quantity(quantity) })
}
