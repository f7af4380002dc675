//! The last trade of each instrument: one cache line each, written when something trades and read by nothing else.

use crate::arena::{Arena, ArenaError};
use crate::capacity::{Capacity, MemoryRow};
use crate::event::{Event, Flags, Kind, Side};
use crate::sides::row_count;
use crate::units::{InstrumentId, Price, Quantity, TimestampNs};

/// The last trade of an instrument, as the tape has it.
///
/// Counted are executions of resting orders ([`Kind::Execute`], [`Kind::ExecuteAt`]), trades that touch no visible
/// order ([`Kind::Trade`]) and auctions ([`Kind::Cross`]). Not counted is what is no print of its own or has no price:
/// what is [`Flags::NON_PRINTABLE`] (a later bulk print includes it), a [`Flags::FILL_RECORD`] (its trade is an event
/// beside it), a quantity of 0 (an auction in which nothing traded), and an execution of an order that is not live.
///
/// A [`Kind::Break`] of this trade leaves it here and sets [`LastTrade::is_broken`]: the trade before it is not kept,
/// so it cannot come back. A Break of an earlier trade changes nothing. A Clear or a Gap changes nothing either: what
/// traded, traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastTrade {
    /// What was paid: the print price of an [`Kind::ExecuteAt`], the order's own of an [`Kind::Execute`].
    pub price: Price,
    /// What traded by the venue's account, also where the order had less left than that.
    pub quantity: Quantity,
    /// When.
    pub exchange_time: TimestampNs,
    /// The venue's number of the match.
    pub match_id: u64,
    /// Which of the four kinds of events told it.
    pub kind: Kind,
    /// Side of the resting order: the other side took from it. For a [`Kind::Trade`] the side that the venue states;
    /// `None` where it states none, as for an auction.
    pub side: Option<Side>,
    /// The venue has broken this trade since.
    pub is_broken: bool,
}

/// What is no print of its own.
const NO_PRINT: u16 = Flags::NON_PRINTABLE.0 | Flags::FILL_RECORD.0;

/// Alone on its cache line, so that a note is one line to write.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Row(Option<LastTrade>);

const _: () = assert!(size_of::<Row>() == 64);

pub(crate) fn memory(capacity: Capacity) -> MemoryRow {
    MemoryRow { part: "last trades", count: row_count(capacity), bytes_each: size_of::<Row>() }
}

/// The last trades of all instruments by number.
#[derive(Debug)]
pub(crate) struct LastTrades<'a> {
    rows: &'a mut [Row],
}

impl<'a> LastTrades<'a> {
    pub(crate) fn new(arena: &'a Arena, capacity: Capacity) -> Result<Self, ArenaError> {
        Ok(Self { rows: arena.slice(row_count(capacity), Row(None))? })
    }

    #[inline]
    pub(crate) fn of(&self, instrument: InstrumentId) -> Option<&LastTrade> {
        self.rows.get(instrument.index())?.0.as_ref()
    }

    /// Takes on the last trade of a stored state.
    pub(crate) fn restore(&mut self, instrument: InstrumentId, trade: LastTrade) {
        if let Some(row) = self.rows.get_mut(instrument.index()) {
            row.0 = Some(trade);
        }
    }

    /// Takes in an event of a trade at `price`, if it counts. An instrument without a row is ignored.
    #[inline]
    pub(crate) fn note(&mut self, event: &Event, side: Option<Side>, price: Price) {
        if event.quantity.0 > 0
            && event.flags.0 & NO_PRINT == 0
            && let (Some(row), Some(kind)) = (self.rows.get_mut(event.instrument.index()), event.kind())
        {
            row.0 = Some(LastTrade {
                price,
                quantity: event.quantity,
                exchange_time: event.exchange_time,
                match_id: event.reference,
                kind,
                side,
                is_broken: false,
            });
        }
    }

    /// Takes in a [`Kind::Break`].
    #[cold]
    pub(crate) fn note_break(&mut self, event: &Event) {
        if let Some(trade) = self.rows.get_mut(event.instrument.index()).and_then(|row| row.0.as_mut()) {
            trade.is_broken |= trade.match_id == event.reference;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: Capacity = Capacity { instruments_max: 2, orders_max: 1, levels_max: 1 };
    const ONE: InstrumentId = InstrumentId(1);
    const TWO: InstrumentId = InstrumentId(2);

    fn event(kind: Kind, instrument: InstrumentId, match_id: u64) -> Event {
        Event {
            reference: match_id,
            quantity: Quantity(10),
            ..Event::new(kind, instrument, TimestampNs(match_id * 100))
        }
    }

    #[test]
    fn the_last_that_counts_stays_and_instruments_are_apart() {
        let arena = Arena::new(1 << 20).expect("small");
        let mut trades = LastTrades::new(&arena, CAPACITY).expect("fits");
        assert_eq!(trades.of(ONE), None);
        trades.note(&event(Kind::Trade, ONE, 1), Some(Side::Bid), Price(-5));
        trades.note(&event(Kind::Cross, ONE, 2), None, Price(i64::MIN));
        let expected = LastTrade {
            price: Price(i64::MIN),
            quantity: Quantity(10),
            exchange_time: TimestampNs(200),
            match_id: 2,
            kind: Kind::Cross,
            side: None,
            is_broken: false,
        };
        assert_eq!(trades.of(ONE), Some(&expected));
        let trade = event(Kind::Trade, ONE, 3);
        for flags in [Flags::NON_PRINTABLE, Flags::FILL_RECORD, Flags::NON_PRINTABLE.with(Flags::LAST)] {
            trades.note(&Event { flags, ..trade }, None, Price(1));
        }
        trades.note(&Event { quantity: Quantity(0), ..trade }, None, Price(1));
        trades.note(&Event { instrument: InstrumentId(3), ..trade }, None, Price(1));
        trades.note(&Event { instrument: InstrumentId(u32::MAX), ..trade }, None, Price(1));
        assert_eq!((trades.of(ONE), trades.of(TWO), trades.of(InstrumentId(3))), (Some(&expected), None, None));
        trades.note(&Event { flags: Flags::LAST, quantity: Quantity(u64::MAX), ..trade }, Some(Side::Ask), Price(0));
        assert_eq!(trades.of(ONE).map(|trade| (trade.match_id, trade.quantity)), Some((3, Quantity(u64::MAX))));
    }

    #[test]
    fn a_break_marks_the_trade_that_it_names_until_the_next() {
        let arena = Arena::new(1 << 20).expect("small");
        let mut trades = LastTrades::new(&arena, CAPACITY).expect("fits");
        let is_broken = |trades: &LastTrades<'_>| trades.of(ONE).map(|trade| trade.is_broken);
        trades.note_break(&event(Kind::Break, ONE, 1));
        assert_eq!(trades.of(ONE), None);
        trades.note(&event(Kind::Trade, ONE, 1), None, Price(1));
        trades.note(&event(Kind::Trade, ONE, 2), None, Price(1));
        for (instrument, match_id) in [(ONE, 1), (TWO, 2), (InstrumentId(3), 2), (InstrumentId(u32::MAX), 2)] {
            trades.note_break(&event(Kind::Break, instrument, match_id));
            assert_eq!(is_broken(&trades), Some(false));
        }
        trades.note_break(&event(Kind::Break, ONE, 2));
        trades.note_break(&event(Kind::Break, ONE, 1));
        assert_eq!(is_broken(&trades), Some(true));
        trades.note(&event(Kind::Trade, ONE, 3), None, Price(1));
        assert_eq!(is_broken(&trades), Some(false));
    }
}
