//! The untimed pass before everything: ours, the reference book and the naive book must agree after every message.

use super::{BboSum, naive_words};
use crate::day::Day;
use crate::naive::{NaiveBbo, NaiveBooks};
use anyhow::{Context, bail, ensure};
use tickcore_book::reference::ReferenceBooks;
use tickcore_book::{Arena, Bbo, Books, Capacity, Event, InstrumentId, Quote, StreamDigest};
use tickcore_book::{Price, Quantity};
use tickcore_feed::batch::{EventBatch, MAX_EVENTS_PER_MESSAGE};
use tickcore_feed::protocol::itch50::Decoder;

/// What all three agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) messages: u64,
    pub(super) bbo_changes: u64,
    pub(super) stream_digest: u64,
    pub(super) state_digest: u64,
    pub(super) live_orders_peak: u32,
    /// What every timed pass over the day has to sum up.
    pub(super) bbo_sum: BboSum,
}

/// Takes all three through the day. Cost: that of the reference book, some microseconds a message.
pub(super) fn verify(day: &Day, capacity: Capacity) -> anyhow::Result<Verified> {
    let arena = Arena::new(capacity.arena_bytes())?;
    let mut books = Books::new(&arena, capacity)?;
    let mut reference = ReferenceBooks::new(capacity);
    let mut naive = NaiveBooks::new();
    let mut digests = [(); 3].map(|()| StreamDigest::new(capacity.instruments_max));
    let mut decoder = Decoder::new(None, InstrumentId(1));
    let mut batch = EventBatch::new(MAX_EVENTS_PER_MESSAGE);
    let mut bbo_sum = BboSum::default();
    let (mut messages, mut live_orders_peak) = (0, 0);
    for message in day.messages() {
        messages += 1;
        batch.clear();
        decoder.decode(message, &mut batch);
        let naive_change = naive.on_message(message);
        let mut our_change = None;
        for event in batch.as_slice() {
            let applied = books.apply(event);
            let expected = reference.apply(event);
            let place = || format!("message {messages}, {event:?}");
            ensure!(applied == expected, "{}: ours did {applied:?}, the reference {expected:?}", place());
            if let Some(anomaly) = applied.anomaly {
                bail!("{}: is a {} anomaly; measure on a whole, well-formed day", place(), anomaly.name());
            }
            if applied.bbo_changed {
                let (bbo, expected) = (books.bbo(event.instrument), reference.bbo(event.instrument));
                ensure!(bbo == expected, "{}: our BBO is {bbo:?}, the reference's {expected:?}", place());
                our_change = Some((event, bbo));
            }
        }
        compare_with_naive(our_change, naive_change).with_context(|| format!("message {messages}"))?;
        if let (Some((event, bbo)), Some(naive_bbo)) = (our_change, naive_change) {
            let expected = reference.bbo(event.instrument);
            for (digest, bbo) in digests.iter_mut().zip([bbo, expected, from_naive(&naive_bbo)]) {
                digest.fold(event.instrument, event.exchange_time, &bbo);
            }
            bbo_sum.take_ours(&bbo);
        }
        live_orders_peak = live_orders_peak.max(books.live_orders());
    }
    let [ours, expected, naive_digest] = digests.map(|digest| digest.value());
    ensure!(
        ours == expected && ours == naive_digest,
        "stream digests differ: ours {ours:016x}, reference {expected:016x}, naive {naive_digest:016x}"
    );
    let (state_digest, expected) = (books.state_digest(), reference.state_digest());
    ensure!(state_digest == expected, "state digests differ: ours {state_digest:016x}, reference {expected:016x}");
    let (live, naive_live) = (books.live_orders() as usize, naive.live_orders());
    ensure!(live == naive_live, "live orders at the end differ: ours {live}, naive {naive_live}");
    Ok(Verified {
        messages,
        bbo_changes: bbo_sum.changes,
        stream_digest: ours,
        state_digest,
        live_orders_peak,
        bbo_sum,
    })
}

fn compare_with_naive(ours: Option<(&Event, Bbo)>, naive: Option<NaiveBbo>) -> anyhow::Result<()> {
    let ours = ours.map(|(_, bbo)| bbo.to_words());
    let words = naive.map(|bbo| naive_words(&bbo));
    ensure!(ours == words, "BBO change of ours {ours:?}, of the naive book {words:?} (bid, quantity, ask, quantity)");
    Ok(())
}

/// A side without shares is empty: no order has none.
pub(in crate::cards) fn from_naive(bbo: &NaiveBbo) -> Bbo {
    let [bid_price, bid_quantity, ask_price, ask_quantity] = naive_words(bbo);
    let quote = |price: u64, quantity: u64| {
        (quantity > 0).then_some(Quote { price: Price(price.cast_signed()), quantity: Quantity(quantity) })
    };
    Bbo { bid: quote(bid_price, bid_quantity), ask: quote(ask_price, ask_quantity) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity { instruments_max: 64, orders_max: 1 << 14, levels_max: 1 << 14 };

    #[test]
    fn all_three_agree_on_a_day() {
        let day = Day::generate(50_000, 50, 3).expect("possible");
        let verified = verify(&day, CAPACITY).expect("no difference");
        assert_eq!(verified.messages, 50_000);
        assert!(verified.bbo_changes > 5_000 && verified.live_orders_peak > 1_000, "{verified:?}");
    }

    #[test]
    fn what_the_books_cannot_hold_ends_the_run() {
        let day = Day::generate(50_000, 50, 3).expect("possible");
        let error = verify(&day, Capacity { orders_max: 1_000, ..CAPACITY }).expect_err("too small");
        assert!(error.to_string().contains("capacity"), "{error}");
    }

    /// Negative control: one share more or less at the top, a change that only one side saw.
    #[test]
    fn a_naive_book_that_differs_is_found() {
        let naive = NaiveBbo { bid_price: 10_000, bid_shares: 5, ask_price: 0, ask_shares: 0 };
        let event = Event::default();
        let ours = from_naive(&naive);
        assert!(compare_with_naive(Some((&event, ours)), Some(naive)).is_ok());
        assert!(compare_with_naive(Some((&event, ours)), Some(NaiveBbo { bid_shares: 6, ..naive })).is_err());
        assert!(compare_with_naive(Some((&event, ours)), None).is_err());
        assert!(compare_with_naive(None, Some(naive)).is_err());
        assert!(compare_with_naive(None, None).is_ok());
    }
}
