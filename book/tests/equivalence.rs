//! Random event sequences, sense and nonsense, through the fast books and the reference: the same after every event.

use proptest::prelude::*;
use tickcore_book::reference::ReferenceBooks;
use tickcore_book::{
    Anomaly, Arena, Books, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, StreamDigest,
    TimestampNs,
};

/// Fast and reference books side by side.
struct Pair<'a> {
    fast: Books<'a>,
    reference: ReferenceBooks,
    fast_stream: StreamDigest,
    reference_stream: StreamDigest,
}

impl<'a> Pair<'a> {
    fn new(arena: &'a Arena, capacity: Capacity) -> Self {
        Self {
            fast: Books::new(arena, capacity).expect("the arena has the size that the capacity asks for"),
            reference: ReferenceBooks::new(capacity),
            fast_stream: StreamDigest::new(capacity.instruments_max),
            reference_stream: StreamDigest::new(capacity.instruments_max),
        }
    }

    /// Applies an event to both and compares everything that is cheap to compare.
    fn step(&mut self, event: &Event) {
        let fast = self.fast.apply(event);
        let reference = self.reference.apply(event);
        assert_eq!(fast, reference, "{event:?}");
        if fast.bbo_changed {
            let changed: Vec<_> = self.fast.changed(event.instrument).collect();
            assert_eq!(changed, self.reference.changed());
            for instrument in changed {
                self.fast_stream.fold(instrument, event.exchange_time, &self.fast.bbo(instrument));
                self.reference_stream.fold(instrument, event.exchange_time, &self.reference.bbo(instrument));
            }
        }
        if fast.bbo_published {
            assert_eq!(self.fast.published(event.instrument).collect::<Vec<_>>(), self.reference.published());
        }
        assert_eq!(self.fast.bbo(event.instrument), self.reference.bbo(event.instrument));
        assert_eq!(self.fast.live_orders(), self.reference.live_orders());
        assert_eq!(self.fast.level_count(), self.reference.level_count());
    }

    /// Compares everything, order by order.
    fn finish(&self) {
        assert_eq!(self.fast.validate(), Ok(()));
        assert_eq!(self.fast.state_digest(), self.reference.state_digest());
        assert_eq!(self.fast_stream.value(), self.reference_stream.value());
        for anomaly in Anomaly::ALL {
            assert_eq!(self.fast.anomalies().of(anomaly), self.reference.anomalies(anomaly));
        }
        for row in 0..=self.fast.highest_instrument().0 {
            let instrument = InstrumentId(row);
            for anomaly in Anomaly::ALL {
                assert_eq!(
                    self.fast.anomalies_of(instrument).expect("has a row").of(anomaly),
                    self.reference.anomalies_of(instrument, anomaly)
                );
            }
            let Some(book) = self.fast.book(instrument) else { continue };
            assert_eq!(self.fast.is_stale(instrument), self.reference.is_stale(instrument));
            for side in Side::BOTH {
                let levels = self.reference.levels(instrument, side);
                assert_eq!(book.level_count(side) as usize, levels.len());
                for (fast, reference) in book.levels(side).zip(&levels) {
                    assert_eq!(fast.price, reference.price);
                    assert_eq!(fast.orders().collect::<Vec<_>>(), reference.orders);
                    assert_eq!(fast.quantity.0, reference.orders.iter().map(|(_, quantity)| quantity.0).sum::<u64>());
                    let mut ahead = 0;
                    for (position, (id, quantity)) in (0..).zip(&reference.orders) {
                        let queue = self.fast.queue_position(instrument, *id).expect("live");
                        assert_eq!((queue.orders_ahead, queue.quantity_ahead.0), (position, ahead));
                        let order = self.fast.order(instrument, *id).expect("live");
                        assert_eq!((order.side, order.price, order.quantity), (side, reference.price, *quantity));
                        ahead += quantity.0;
                    }
                }
            }
        }
    }
}

fn quantities() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 1_u64..50,
        1 => Just(0),
        1 => prop::sample::select(vec![u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX, 1 << 40]),
    ]
}

fn prices() -> impl Strategy<Value = i64> {
    prop_oneof![
        9 => -20_i64..20,
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 200_000 * Price::SCALE]),
    ]
}

/// Any event at all over few instruments, ids and prices, so that it often meets something.
fn events() -> impl Strategy<Value = Event> {
    let kinds = prop_oneof![
        6 => Just(Kind::Add as u8),
        6 => prop::sample::select(vec![Kind::Modify as u8, Kind::Execute as u8, Kind::ExecuteAt as u8, Kind::Reduce as u8]),
        4 => prop::sample::select(vec![Kind::Delete as u8, Kind::Replace as u8]),
        1 => prop_oneof![12 => any::<u8>(), 1 => Just(Kind::Clear as u8), 1 => Just(Kind::Gap as u8)],
    ];
    let side = prop_oneof![5 => 1_u8..3, 1 => Just(0_u8), 1 => any::<u8>()];
    let instrument = prop_oneof![20 => 1_u32..4, 1 => Just(0_u32), 1 => any::<u32>()];
    (kinds, side, instrument, 0_u64..30, 0_u64..30, prices(), quantities(), any::<bool>()).prop_map(
        |(kind_number, side_number, instrument, order_id, reference, price, quantity, is_last)| Event {
            exchange_time: TimestampNs(order_id + 1),
            order_id: OrderId(order_id),
            reference,
            price: Price(price),
            quantity: Quantity(quantity),
            kind_number,
            side_number,
            flags: if is_last { Flags::LAST } else { Flags::NONE },
            ..Event::new(Kind::Add, InstrumentId(instrument), TimestampNs(0))
        },
    )
}

proptest! {
    #[test]
    fn fast_and_reference_books_agree_on_anything(sequence in prop::collection::vec(events(), 1..600)) {
        let capacity = Capacity { instruments_max: 3, orders_max: 64, levels_max: 64 };
        let arena = Arena::new(capacity.arena_bytes()).expect("small");
        let mut pair = Pair::new(&arena, capacity);
        sequence.iter().for_each(|event| pair.step(event));
        pair.finish();
    }

    #[test]
    fn they_agree_at_below_and_above_the_maxima(
        sequence in prop::collection::vec(events(), 1..600),
        orders_max in 1_u32..8,
        levels_max in 1_u32..8,
    ) {
        let capacity = Capacity { instruments_max: 2, orders_max, levels_max };
        let arena = Arena::new(capacity.arena_bytes()).expect("small");
        let mut pair = Pair::new(&arena, capacity);
        sequence.iter().for_each(|event| pair.step(event));
        pair.finish();
    }
}

fn add(id: u64, price: i64, quantity: u64) -> Event {
    Event {
        order_id: OrderId(id),
        side_number: Side::Bid as u8,
        price: Price(price),
        quantity: Quantity(quantity),
        flags: Flags::LAST,
        ..Event::new(Kind::Add, InstrumentId(1), TimestampNs(id))
    }
}

#[test]
fn dropped_orders_are_remembered_up_to_their_maximum() {
    let capacity = Capacity { instruments_max: 1, orders_max: 4, levels_max: 4 };
    let arena = Arena::new(capacity.arena_bytes()).expect("small");
    let mut pair = Pair::new(&arena, capacity);
    let many = capacity.dropped_orders_max() as u64 + 4 + 10;
    for id in 0..many {
        pair.step(&add(id, 1, 1));
    }
    for id in (0..many).rev() {
        pair.step(&Event { kind_number: Kind::Delete as u8, ..add(id, 0, 0) });
    }
    assert_eq!(pair.fast.anomalies().of(Anomaly::Capacity), many - 4);
    assert_eq!(pair.fast.anomalies().of(Anomaly::UnknownOrder), 10);
    assert_eq!(pair.fast.live_orders(), 0);
    pair.finish();
}

#[test]
fn deep_books_agree_in_every_order_of_arrival() {
    let capacity = Capacity { instruments_max: 1, orders_max: 20_000, levels_max: 20_000 };
    for stride in [1_u64, 19_999, 7_919] {
        let arena = Arena::new(capacity.arena_bytes()).expect("small");
        let mut pair = Pair::new(&arena, capacity);
        for step in 0..20_000_u64 {
            pair.step(&add(step, (step * stride % 20_000) as i64, 1 + step % 7));
        }
        pair.finish();
        for step in (0..20_000_u64).rev() {
            pair.step(&Event { kind_number: Kind::Delete as u8, ..add(step * 3 % 20_000, 0, 0) });
        }
        assert_eq!(pair.fast.live_orders() + pair.fast.level_count(), 0);
        pair.finish();
    }
}

/// The comparison itself must be able to fail: a reference that saw one event fewer differs in every digest.
#[test]
fn a_missing_event_is_noticed() {
    let capacity = Capacity { instruments_max: 1, orders_max: 10, levels_max: 10 };
    let arena = Arena::new(capacity.arena_bytes()).expect("small");
    let mut pair = Pair::new(&arena, capacity);
    pair.step(&add(1, 5, 10));
    pair.fast.apply(&add(2, 5, 10));
    assert_ne!(pair.fast.state_digest(), pair.reference.state_digest());
}
