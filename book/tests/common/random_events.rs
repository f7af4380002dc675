//! Random events, mostly sensible, over few instruments and ids, that leave books of some depth behind.

use proptest::prelude::*;
use tickcore_book::{Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, TimestampNs};

/// Instruments that the events are about, from 1; a few are about all.
pub(crate) const INSTRUMENTS: u32 = 2;

/// Order ids of the events are below it: so many orders are live at most, for each instrument.
const IDS: u64 = 120;

/// Prices around zero, some of them apart, and the extremes.
pub(crate) fn prices() -> impl Strategy<Value = Price> {
    let price = prop_oneof![
        12 => -40_i64..40,
        3 => (-40_i64..40).prop_map(|penny| penny * Price::SCALE / 100),
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]),
    ];
    price.prop_map(Price)
}

/// Small quantities, the greatest that an order can have, and some that no order has.
pub(crate) fn quantities() -> impl Strategy<Value = Quantity> {
    let quantity = prop_oneof![
        12 => 1_u64..50,
        3 => u64::from(u32::MAX) - 2..=u64::from(u32::MAX),
        1 => prop::sample::select(vec![0, 1 << 40, u64::MAX]),
    ];
    quantity.prop_map(Quantity)
}

/// Any of these kinds, adds as often as all others together.
pub(crate) fn events(kinds: Vec<Kind>) -> impl Strategy<Value = Event> {
    let count = kinds.len() as u32;
    let kind = prop_oneof![1 => Just(Kind::Add), 1 => prop::sample::select(kinds)];
    let instrument = prop_oneof![60 * count => 1..INSTRUMENTS + 1, 1 => Just(0), 1 => Just(INSTRUMENTS + 1)];
    let flags = prop_oneof![
        6 => Just(Flags::LAST),
        1 => Just(Flags::NONE),
        1 => Just(Flags::LAST.with(Flags::NON_PRINTABLE)),
        1 => Just(Flags::FILL_RECORD),
    ];
    let side_number = prop_oneof![10 => 1_u8..3, 1 => Just(0_u8)];
    (kind, instrument, 0..IDS, 0..IDS, prices(), quantities(), side_number, flags, any::<u32>()).prop_map(
        |(kind, instrument, id, reference, price, quantity, side_number, flags, time)| Event {
            order_id: OrderId(id),
            reference,
            price,
            quantity,
            side_number,
            flags,
            ..Event::new(kind, InstrumentId(instrument), TimestampNs(u64::from(time)))
        },
    )
}
