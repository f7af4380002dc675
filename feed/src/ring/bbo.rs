//! A ring in shared memory that carries BBO updates out of a book core.
//!
//! Nobody is waited for: the writer costs the book core one line for each update, whoever reads or does not. Readers of other
//! processes attach with [`Attached::open_with`](super::shared::Attached::open_with) and
//! [`Content::BboUpdates`].

use super::shared::{Content, CreateError, SharedRing};
use super::{CAPACITY_LINES_DEFAULT, Writer};
use std::path::Path;
use tickcore_book::{Bbo, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Quote, Sequence, TimestampNs};

/// The ring and its writer. Dropping it closes the ring and removes the file.
#[derive(Debug)]
pub struct BboRing {
    // Before the ring: readers see the end before the file goes.
    writer: Writer,
    shared: SharedRing,
}

/// The top of a book, as another process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BboUpdate {
    /// Exchange time of the event that caused it.
    pub exchange_time: TimestampNs,
    /// Sequence of the event that caused it, in the engine's input.
    pub cause: Sequence,
    /// Whose book.
    pub instrument: InstrumentId,
    /// The best prices.
    pub bbo: Bbo,
    /// Whether the book missed something.
    pub is_stale: bool,
    /// Whether the engine's journal has failed, so that what the book is made of may be in no journal.
    pub is_unjournaled: bool,
}

impl BboRing {
    /// Makes a ring of [`CAPACITY_LINES_DEFAULT`] lines at `path`, on tmpfs or hugetlbfs.
    ///
    /// # Errors
    /// As [`SharedRing::create`].
    pub fn create(path: impl AsRef<Path>) -> Result<Self, CreateError> {
        let shared = SharedRing::create(path, Content::BboUpdates, CAPACITY_LINES_DEFAULT, 1)?;
        let writer = shared.ring().writer().expect("a new ring has its writer");
        Ok(Self { writer, shared })
    }

    /// Publishes an update. Never waits, allocates or makes a system call.
    #[inline]
    pub fn publish(&mut self, update: &BboUpdate) {
        // The ring has no gating reader and hands none out, so there is always room.
        let published = self.writer.try_publish(&update.to_event());
        debug_assert!(published.is_ok(), "a ring without gating readers is never full");
    }

    /// Where others find it.
    pub fn path(&self) -> &Path {
        self.shared.path()
    }

    /// Sequence of the last update, 0 before the first.
    pub fn last_sequence(&self) -> Sequence {
        self.writer.last_sequence()
    }
}

impl BboUpdate {
    /// The update as an event: the cause in the receive time's word, bid and ask in words 2 to 5.
    #[inline]
    #[must_use]
    pub fn to_event(&self) -> Event {
        let [bid_price, bid_quantity, ask_price, ask_quantity] = self.bbo.to_words();
        let flag = |is_set, flag| if is_set { flag } else { Flags::NONE };
        Event {
            receive_time: TimestampNs(self.cause.0),
            order_id: OrderId(bid_price),
            reference: bid_quantity,
            price: Price(ask_price.cast_signed()),
            quantity: Quantity(ask_quantity),
            flags: Flags::LAST
                .with(flag(self.is_stale, Flags::STALE))
                .with(flag(self.is_unjournaled, Flags::UNJOURNALED)),
            ..Event::new(Kind::BboUpdate, self.instrument, self.exchange_time)
        }
    }

    /// The update in an event, or `None` when it is of another kind. A side with no quantity is absent.
    #[inline]
    #[must_use]
    pub fn from_event(event: &Event) -> Option<Self> {
        if event.kind() != Some(Kind::BboUpdate) {
            return None;
        }
        let quote = |price, quantity: Quantity| (quantity.0 > 0).then_some(Quote { price, quantity });
        let bid = quote(Price(event.order_id.0.cast_signed()), Quantity(event.reference));
        Some(Self {
            exchange_time: event.exchange_time,
            cause: Sequence(event.receive_time.0),
            instrument: event.instrument,
            bbo: Bbo { bid, ask: quote(event.price, event.quantity) },
            is_stale: event.flags.contains(Flags::STALE),
            is_unjournaled: event.flags.contains(Flags::UNJOURNALED),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_comes_back_from_its_event() {
        let quote = |price, quantity| Some(Quote { price: Price(price), quantity: Quantity(quantity) });
        for (bid, ask, is_stale) in
            [(quote(-5, 7), quote(6, 8), false), (None, quote(1, 1), true), (quote(i64::MIN, u64::MAX), None, false)]
        {
            let update = BboUpdate {
                exchange_time: TimestampNs(11),
                cause: Sequence(12),
                instrument: InstrumentId(13),
                bbo: Bbo { bid, ask },
                is_stale,
                is_unjournaled: bid.is_none(),
            };
            assert_eq!(BboUpdate::from_event(&update.to_event()), Some(update));
        }
        assert_eq!(BboUpdate::from_event(&Event::default()), None);
    }
}
