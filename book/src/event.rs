//! The event: what every source is turned into, what the ring carries, what the journal keeps and what books apply.
//!
//! One event is 56 bytes, seven 64-bit words, so that with its 8-byte sequence word it is exactly one cache line in the
//! ring and one 64-byte record in the journal. There are no padding bytes and no invalid bit patterns: an event read
//! from a damaged disk or a foreign process is at worst nonsense, never undefined behaviour. Every word that a kind
//! does not use is 0.
//!
//! | word | content |
//! |---|---|
//! | 0 | exchange time |
//! | 1 | receive time, 0 when the source has none; in outputs the input sequence that caused it |
//! | 2 | order id, or by kind |
//! | 3 | by kind: new order id, match id, MPID as ASCII |
//! | 4 | price |
//! | 5 | quantity |
//! | 6 | instrument `u32`, kind `u8`, side `u8`, flags `u16` |

use crate::units::{InstrumentId, OrderId, Price, Quantity, TimestampNs};
use core::mem::{align_of, offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What happened. The words each kind uses stand beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A new order at the tail of its level's queue: order id, MPID or 0 in word 3, price, quantity, side.
    Add = 1,
    /// Same order id, new price or quantity; the place in the queue is kept only when nothing but the quantity falls.
    Modify = 2,
    /// A resting order traded at its own price: order id, match id in word 3, quantity.
    Execute = 3,
    /// A resting order traded at another price: as [`Kind::Execute`], the print price in word 4.
    ExecuteAt = 4,
    /// Part of an order was cancelled: order id, quantity cancelled.
    Reduce = 5,
    /// An order was cancelled: order id.
    Delete = 6,
    /// An order was replaced: old order id, new order id in word 3, price and quantity of the new one.
    Replace = 7,
    /// A trade that touches no visible order: match id in word 3, price, quantity, side.
    Trade = 8,
    /// An auction's trade: type letter in word 2, match id in word 3, price, quantity.
    Cross = 9,
    /// An earlier trade was broken: match id in word 3.
    Break = 10,
    /// All orders of an instrument (or of all) are gone: word 2 is 1 if a snapshot follows.
    Clear = 11,
    /// Trading state: state letter in word 2, reason (4 ASCII) in word 3, market letter of an operational halt in word 4.
    Status = 12,
    /// The venue's day: its code in word 2.
    SessionEvent = 13,
    /// An instrument got its number: publisher and venue id in word 2, the venue's letter codes in word 3, price
    /// increment in word 4, lot in word 5. [`Kind::InstrumentName`] events follow.
    InstrumentDefined = 14,
    /// 32 bytes of the instrument's UTF-8 name in words 2 to 5, padded with 0; at most 3 of them in a row.
    InstrumentName = 15,
    /// The venue's sequences from word 2 to word 3 were lost.
    Gap = 16,
    /// A strategy wants to trade (output stream): own id in word 2, target id in word 3, price, quantity; in the flags how many
    /// intents of its core were refused since the output before, of which 0x8000 says that they were more than 0x7FFF, and the
    /// rest then how many of them its own input caused.
    OrderIntent = 17,
    /// The answer to an intent (output stream): own id in word 2, match id in word 3, price, quantity.
    OrderAnswer = 18,
    /// The top of a book (BBO ring only): bid price, bid quantity, ask price, ask quantity in words 2 to 5.
    BboUpdate = 19,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::Add,
        Self::Modify,
        Self::Execute,
        Self::ExecuteAt,
        Self::Reduce,
        Self::Delete,
        Self::Replace,
        Self::Trade,
        Self::Cross,
        Self::Break,
        Self::Clear,
        Self::Status,
        Self::SessionEvent,
        Self::InstrumentDefined,
        Self::InstrumentName,
        Self::Gap,
        Self::OrderIntent,
        Self::OrderAnswer,
        Self::BboUpdate,
    ];

    /// The kind with this number, or `None` for a number that no kind has.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number == 0 || number as usize > Self::ALL.len() { None } else { Some(Self::ALL[number as usize - 1]) }
    }

    /// The name that `export` and `journal dump` print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Modify => "modify",
            Self::Execute => "execute",
            Self::ExecuteAt => "execute_at",
            Self::Reduce => "reduce",
            Self::Delete => "delete",
            Self::Replace => "replace",
            Self::Trade => "trade",
            Self::Cross => "cross",
            Self::Break => "break",
            Self::Clear => "clear",
            Self::Status => "status",
            Self::SessionEvent => "session_event",
            Self::InstrumentDefined => "instrument_defined",
            Self::InstrumentName => "instrument_name",
            Self::Gap => "gap",
            Self::OrderIntent => "order_intent",
            Self::OrderAnswer => "order_answer",
            Self::BboUpdate => "bbo_update",
        }
    }
}

/// A side of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// Buyers.
    Bid = 1,
    /// Sellers.
    Ask = 2,
}

impl Side {
    /// Both sides, bids first.
    pub const BOTH: [Self; 2] = [Self::Bid, Self::Ask];

    /// The side with this number, or `None`: an event without a side has 0.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Bid),
            2 => Some(Self::Ask),
            _ => None,
        }
    }

    /// 0 for bids, 1 for asks.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize - 1
    }

    /// The other side.
    #[inline]
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Bid => Self::Ask,
            Self::Ask => Self::Bid,
        }
    }
}

/// Bits that qualify an event. The low byte has the bits of Databento's DBN at DBN's positions. In [`Kind::OrderIntent`] they are
/// a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Flags(pub u16);

impl Flags {
    /// No bit set.
    pub const NONE: Self = Self(0);
    /// The venue's transaction ends here for this instrument: its book is consistent.
    pub const LAST: Self = Self(0x80);
    /// Part of a snapshot.
    pub const SNAPSHOT: Self = Self(0x20);
    /// The receive time cannot be trusted.
    pub const BAD_RECEIVE_TIME: Self = Self(0x08);
    /// A gap that could not be filled stands before this event.
    pub const MAYBE_BAD_BOOK: Self = Self(0x04);
    /// An execution that is not to be printed: a later bulk print includes it.
    pub const NON_PRINTABLE: Self = Self(0x0100);
    /// A fill record beside the trade that it belongs to.
    pub const FILL_RECORD: Self = Self(0x0200);
    /// Concerns an order of our own.
    pub const OWN_ORDER: Self = Self(0x0400);
    /// The book behind this event is stale.
    pub const STALE: Self = Self(0x0800);
    /// The event behind this one may be in no journal: the engine's journal has failed, and it was told to carry on.
    pub const UNJOURNALED: Self = Self(0x1000);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of both.
    #[inline]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One thing that happened, in the vocabulary of the engine.
///
/// `kind` and `side` are kept as bytes so that every bit pattern is an event; [`Event::kind`] and [`Event::side`] turn
/// them into what the rest of the code matches on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// Word 0: exchange time.
    pub exchange_time: TimestampNs,
    /// Word 1: receive time, 0 when the source has none.
    pub receive_time: TimestampNs,
    /// Word 2: the order, or by kind.
    pub order_id: OrderId,
    /// Word 3: by kind.
    pub reference: u64,
    /// Word 4: price.
    pub price: Price,
    /// Word 5: quantity.
    pub quantity: Quantity,
    /// Word 6, low half: instrument.
    pub instrument: InstrumentId,
    /// Word 6: number of the kind.
    pub kind_number: u8,
    /// Word 6: number of the side, 0 when there is none.
    pub side_number: u8,
    /// Word 6: flags.
    pub flags: Flags,
}

const _: () = {
    assert!(size_of::<Event>() == 56 && align_of::<Event>() == 8);
    assert!(offset_of!(Event, exchange_time) == 0);
    assert!(offset_of!(Event, receive_time) == 8);
    assert!(offset_of!(Event, order_id) == 16);
    assert!(offset_of!(Event, reference) == 24);
    assert!(offset_of!(Event, price) == 32);
    assert!(offset_of!(Event, quantity) == 40);
    assert!(offset_of!(Event, instrument) == 48);
    assert!(offset_of!(Event, kind_number) == 52);
    assert!(offset_of!(Event, side_number) == 53);
    assert!(offset_of!(Event, flags) == 54);
};

/// Words of an event, for code that moves it as integers.
pub const EVENT_WORDS: usize = 7;

impl Event {
    /// An event of `kind` about `instrument` at `exchange_time`, with every other word 0.
    #[inline]
    #[must_use]
    pub const fn new(kind: Kind, instrument: InstrumentId, exchange_time: TimestampNs) -> Self {
        Self {
            exchange_time,
            receive_time: TimestampNs(0),
            order_id: OrderId(0),
            reference: 0,
            price: Price(0),
            quantity: Quantity(0),
            instrument,
            kind_number: kind as u8,
            side_number: 0,
            flags: Flags::NONE,
        }
    }

    /// The kind, or `None` for a number that this version does not know (a newer journal, nonsense).
    #[inline]
    pub const fn kind(&self) -> Option<Kind> {
        Kind::from_number(self.kind_number)
    }

    /// The side, or `None` when the event has none.
    #[inline]
    pub const fn side(&self) -> Option<Side> {
        Side::from_number(self.side_number)
    }

    /// Whether the venue's transaction ends with this event.
    #[inline]
    pub const fn is_last(&self) -> bool {
        self.flags.contains(Flags::LAST)
    }

    /// The new order id of a [`Kind::Replace`].
    #[inline]
    pub const fn new_order_id(&self) -> OrderId {
        OrderId(self.reference)
    }

    /// The event as its seven words, in native byte order.
    #[inline]
    pub const fn to_words(&self) -> [u64; EVENT_WORDS] {
        let tail = (self.instrument.0 as u64)
            | (self.kind_number as u64) << 32
            | (self.side_number as u64) << 40
            | (self.flags.0 as u64) << 48;
        [
            self.exchange_time.0,
            self.receive_time.0,
            self.order_id.0,
            self.reference,
            self.price.0.cast_unsigned(),
            self.quantity.0,
            tail,
        ]
    }

    /// The event that has these seven words.
    #[inline]
    pub const fn from_words(words: [u64; EVENT_WORDS]) -> Self {
        let tail = words[6];
        Self {
            exchange_time: TimestampNs(words[0]),
            receive_time: TimestampNs(words[1]),
            order_id: OrderId(words[2]),
            reference: words[3],
            price: Price(words[4].cast_signed()),
            quantity: Quantity(words[5]),
            instrument: InstrumentId(tail as u32),
            kind_number: (tail >> 32) as u8,
            side_number: (tail >> 40) as u8,
            flags: Flags((tail >> 48) as u16),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distinct() -> Event {
        Event {
            exchange_time: TimestampNs(1),
            receive_time: TimestampNs(2),
            order_id: OrderId(3),
            reference: 4,
            price: Price(-5),
            quantity: Quantity(6),
            instrument: InstrumentId(0x0708_090A),
            kind_number: 11,
            side_number: 12,
            flags: Flags(0x0D0E),
        }
    }

    #[test]
    fn words_and_bytes_of_an_event_are_the_same_memory() {
        let event = distinct();
        let words = event.to_words();
        assert_eq!(Event::from_words(words), event);
        if cfg!(target_endian = "little") {
            assert_eq!(words.as_bytes(), event.as_bytes());
        }
    }

    #[test]
    fn every_number_is_a_kind_or_none() {
        for (position, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position + 1);
            assert_eq!(Kind::from_number(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_number(0), None);
        assert_eq!(Kind::from_number(20), None);
        assert_eq!(Kind::from_number(255), None);
    }
}
