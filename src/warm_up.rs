//! The dry run: before the word to go, a pinned core turns in its own loop over synthetic events.
//!
//! The code of the loop is then in the caches, its pages are mapped, its branches have been guessed at, and the core has
//! left its sleep. Books, ring, digests and counters of the dry run are scratch and thrown away; the strategy goes through
//! it untouched and is not called, so nothing of it can be found in what the run comes to.

use crate::book_core::{BookCore, BookOptions};
use crate::control::Control;
use crate::loops::{Gathered, Turning};
use crate::meter::Meter;
use crate::probes::{BookProbe, FeedProbe};
use crate::shards::ShardMap;
use crate::stat::{BLOCK_WORDS, Slot};
use crate::strategy::Strategy;
use core::array;
use std::sync::atomic::AtomicU64;
use tickcore_book::{
    Arena, ArenaError, Books, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Sequence, Side,
    TimestampNs,
};
use tickcore_feed::ring::{Ring, RingError};
use tickcore_latency::Clock;

/// Events of the dry run: some milliseconds.
const EVENTS: usize = 1 << 14;
const INSTRUMENTS: u32 = 64;
const ORDERS: u64 = 2_048;

/// Why the dry run could not be made.
#[derive(Debug)]
pub(crate) enum WarmUpError {
    Arena(ArenaError),
    Ring(RingError),
}

impl From<ArenaError> for WarmUpError {
    fn from(error: ArenaError) -> Self {
        Self::Arena(error)
    }
}

impl From<RingError> for WarmUpError {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

/// Warms the loop of a book core, and the publishing into a ring, and hands the strategy back.
pub(crate) fn warm_up<S: Strategy>(
    turning: Turning<'_>,
    options: &BookOptions,
    clock: &Clock,
    strategy: S,
) -> Result<S, WarmUpError> {
    let capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 2 * ORDERS as u32, levels_max: 4_096 };
    let arena = Arena::with_progress(capacity.arena_bytes(), |_, _| {})?;
    let books = Books::new(&arena, capacity)?;
    let control = Control::new(1);
    let words: [AtomicU64; BLOCK_WORDS] = array::from_fn(|_| AtomicU64::new(0));
    let mut meter = Meter::new(clock, Slot::over(&words), 0);
    let turning = Turning { control: &control, base: Sequence(0), ..turning };
    let share = options.share.as_ref().map(|_| ShardMap::default().share(0, INSTRUMENTS));
    let options = BookOptions {
        symbols: Vec::new(),
        // No event comes so late: the strategy is not called, and nothing is measured.
        from: TimestampNs(u64::MAX),
        is_strict: false,
        share,
        ..options.clone()
    };
    let mut gathered = Gathered::new(options.share.as_ref());
    let mut core = BookCore::new(books, strategy, &options, BookProbe::off(clock), &control, clock);
    let ring = Ring::new(EVENTS, 1)?;
    let (mut reader, mut writer) = match (ring.reader(), ring.writer()) {
        (Ok(reader), Ok(writer)) => (reader, writer),
        _ => unreachable!("a new ring has its writer and room for a reader"),
    };
    let events = events();
    turning.publish(&mut writer, &events, &FeedProbe::off(clock, &control), &mut meter);
    drop(writer);
    turning.book(&mut core, &mut reader, &mut gathered, &mut meter);
    assert_eq!(meter.events(), EVENTS as u64, "the dry run applies every event");
    Ok(core.strategy)
}

/// Warms the publishing alone, for a core that does nothing else of its own.
pub(crate) fn warm_up_publishing(turning: Turning<'_>, clock: &Clock) -> Result<(), WarmUpError> {
    let control = Control::new(1);
    let words: [AtomicU64; BLOCK_WORDS] = array::from_fn(|_| AtomicU64::new(0));
    let mut meter = Meter::new(clock, Slot::over(&words), 0);
    // Without readers a ring is never full.
    let ring = Ring::new(EVENTS, 1)?;
    let Ok(mut writer) = ring.writer() else { unreachable!("a new ring has its writer") };
    let turning = Turning { control: &control, ..turning };
    let probe = FeedProbe::off(clock, &control);
    events().chunks(256).for_each(|part| {
        turning.publish(&mut writer, part, &probe, &mut meter);
        meter.worked();
        meter.batch(part.len(), 0, writer.last_sequence());
    });
    Ok(())
}

/// A market of a few instruments: orders come, trade, shrink, move and go, about as often as on a real one.
fn events() -> Vec<Event> {
    let mut state = 0x5EED_u64;
    let mut random = move |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % end
    };
    let mut next_id = 1;
    // One order for each place; a place without one has id 0.
    let mut orders = vec![(0_u64, 0_u64); ORDERS as usize];
    let mut events = Vec::with_capacity(EVENTS);
    while events.len() < EVENTS {
        let place = random(ORDERS) as usize;
        let (id, quantity) = orders[place];
        let instrument = InstrumentId(place as u32 % INSTRUMENTS + 1);
        let side = if place.is_multiple_of(2) { Side::Bid } else { Side::Ask };
        let distance = random(40) as i64;
        let ticks = if side == Side::Bid { 10_000 - distance } else { 10_001 + distance };
        let kind = match random(16) {
            _ if id == 0 => Kind::Add,
            0..=5 => Kind::Delete,
            6..=8 => Kind::Replace,
            9..=11 => Kind::Execute,
            12 => Kind::ExecuteAt,
            13 => Kind::Trade,
            _ => Kind::Reduce,
        };
        next_id += 1;
        let mut event = Event::new(kind, instrument, TimestampNs(events.len() as u64));
        event.order_id = OrderId(id);
        event.price = Price(ticks * Price::SCALE / 100);
        event.quantity = Quantity(1 + random(100));
        event.side_number = side as u8;
        event.flags = event.flags.with(Flags::LAST);
        orders[place] = match kind {
            Kind::Add => {
                event.order_id = OrderId(next_id);
                (next_id, event.quantity.get())
            }
            Kind::Replace => {
                event.reference = next_id;
                (next_id, event.quantity.get())
            }
            Kind::Delete => (0, 0),
            Kind::Trade => (id, quantity),
            _ => {
                event.quantity = Quantity(1 + random(quantity));
                let left = quantity - event.quantity.get();
                if left == 0 { (0, 0) } else { (id, left) }
            }
        };
        events.push(event);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickcore_book::reference::ReferenceBooks;

    #[test]
    fn the_synthetic_events_fit_and_are_of_many_kinds() {
        let capacity = Capacity { instruments_max: INSTRUMENTS, orders_max: 2 * ORDERS as u32, levels_max: 4_096 };
        let mut books = ReferenceBooks::new(capacity);
        let events = events();
        events.iter().for_each(|event| {
            books.apply(event);
        });
        let anomalies: u64 = tickcore_book::Anomaly::ALL.into_iter().map(|anomaly| books.anomalies(anomaly)).sum();
        assert_eq!(anomalies, 0);
        for kind in [Kind::Add, Kind::Delete, Kind::Replace, Kind::Execute, Kind::ExecuteAt, Kind::Trade, Kind::Reduce]
        {
            let count = events.iter().filter(|event| event.kind() == Some(kind)).count();
            assert!(count > EVENTS / 40, "{count} of {}", kind.name());
        }
    }
}
