//! Decoder: the payload of one message into events. No I/O, no clock, no allocation after construction.
//!
//! | message | events |
//! |---|---|
//! | A, F | Add; F with the MPID in word 3 |
//! | E | Execute |
//! | C | ExecuteAt, flagged non-printable when the message says N |
//! | X | Reduce |
//! | D | Delete |
//! | U | Replace |
//! | P | Trade |
//! | Q | Cross |
//! | B | Break |
//! | S | SessionEvent |
//! | H, h | Status; h with the market's letter in word 4 |
//! | R | InstrumentDefined, InstrumentName |
//! | L, V, W, K, J, Y, I, N, O | none |
//!
//! Every event has [`Flags::LAST`]: ITCH has no transactions of several messages. Letters in a word are packed with the
//! first in the lowest byte, so that the word's little-endian bytes read as text.
//!
//! Instruments get dense ids in order of first appearance of their locate. When that is not in an R, the definition
//! that comes before the event has word 3 = 0, and a name only if the message carries one; else the first message that
//! does gives it, and a later R defines the same id again. So no id is ever used before it is defined, even when the input begins in the middle of a day.
//!
//! What is wrong with a message is its length, a locate of 0 where a stock is needed, a side other than B and S, or a
//! printable letter other than Y and N. It is then skipped as a whole. Everything else is taken as it stands, and whether
//! it makes sense is for the books to say. Names are passed on as they came: they need not be UTF-8 when the input is
//! damaged.
//!
//! Worst case: the first message of a locate, three events. The table of locates is 256 KB, of which a day touches
//! 4 bytes per stock.

use super::message::{
    AddOrder, AddOrderMpid, BrokenTrade, CrossTrade, Header, Message, OperationalHalt, OrderCancel, OrderDelete,
    OrderExecuted, OrderExecutedWithPrice, OrderReplace, PRICE4_SCALE, Stock, StockDirectory, StockTradingAction,
    SystemEvent, Trade, U16, U32, length_of,
};
use super::order_shape::{self, FRAME_BYTES};
use crate::batch::EventBatch;
use core::fmt;
use tickcore_book::{Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Side, TimestampNs};
use zerocopy::FromBytes;

/// Number of Nasdaq TotalView-ITCH in the upper half of word 2 of an InstrumentDefined (the number Databento gives it).
pub const PUBLISHER: u32 = 2;

/// Units of [`Price`] in one unit of a Price(4) field.
pub(super) const PRICE_UNITS_PER_PRICE4: i64 = Price::SCALE / PRICE4_SCALE as i64;

/// Set in an id whose instrument has no name yet: it was first met in a message that carries none.
const UNNAMED: u32 = 1 << 31;

/// Locates that a session can have, 0 included.
const LOCATES: usize = 1 << 16;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// One or more events were pushed.
    Events,
    /// The message is fine and no event carries what it says.
    NoEvent,
    /// The message was skipped; nothing was pushed.
    Skipped(SkipReason),
    /// The batch has too little room; nothing was looked at. Empty the batch and call again with the same payload.
    NeedRoom,
}

/// Why a message was skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// No message type of ITCH 5.0 has this letter.
    UnknownType,
    /// The payload's length is not that of its type.
    WrongLength {
        /// Length of the payload.
        found: usize,
        /// Length of the type; 1 for an empty payload, which has no type.
        expected: usize,
    },
    /// Locate 0 in a message about a stock.
    NoInstrument,
    /// A side other than B and S.
    SideLetter(u8),
    /// A printable letter other than Y and N.
    PrintableLetter(u8),
}

impl SkipReason {
    /// Whether the type is unknown, in contrast to a malformed message of a known type.
    #[must_use]
    pub const fn is_unknown_type(self) -> bool {
        matches!(self, Self::UnknownType)
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownType => write!(formatter, "the type is not one of ITCH 5.0"),
            Self::WrongLength { found, expected } => {
                write!(formatter, "the length is {found} bytes where the type has {expected}")
            }
            Self::NoInstrument => write!(formatter, "the stock locate is 0"),
            Self::SideLetter(letter) => write!(formatter, "the side is '{}', not B or S", letter.escape_ascii()),
            Self::PrintableLetter(letter) => {
                write!(formatter, "printable is '{}', not Y or N", letter.escape_ascii())
            }
        }
    }
}

/// Decoder of one session's messages.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Midnight of the session, 0 without a session date.
    midnight: TimestampNs,
    /// Dense id by locate, 0 = not seen, with [`UNNAMED`] until its name was given. Row 0 stays 0.
    instruments: Box<[InstrumentId; LOCATES]>,
    next_instrument: InstrumentId,
}

impl Decoder {
    /// A decoder at the start of a session. `midnight` is added to every message's time; without it times are
    /// nanoseconds since midnight. The first instrument gets the id `first_instrument`: `InstrumentId(1)`, or what
    /// [`Decoder::next_instrument`] said at the end of the session before.
    ///
    /// Allocates 256 KB, and nothing later.
    ///
    /// # Panics
    /// If `first_instrument` is 0, which stands for all, or leaves fewer than 65,536 ids below 2³¹.
    #[must_use]
    pub fn new(midnight: Option<TimestampNs>, first_instrument: InstrumentId) -> Self {
        let instruments = vec![InstrumentId::ALL; LOCATES].into_boxed_slice();
        let mut decoder = Self {
            midnight: midnight.unwrap_or_default(),
            instruments: instruments.try_into().expect("the slice has one row per locate"),
            next_instrument: first_instrument,
        };
        decoder.set_next_instrument(first_instrument);
        decoder
    }

    /// Lets the next new instrument get the id `instrument`: for a decoder that was made before the session ahead of its
    /// own had ended.
    ///
    /// # Panics
    /// As [`Decoder::new`].
    pub fn set_next_instrument(&mut self, instrument: InstrumentId) {
        assert!(instrument != InstrumentId::ALL, "instrument 0 stands for all; ids begin with 1");
        assert!(
            instrument.0 <= UNNAMED - LOCATES as u32,
            "a session may need {LOCATES} instrument ids, and from {instrument} on there are not as many"
        );
        self.next_instrument = instrument;
    }

    /// The id that the next new instrument gets.
    #[must_use]
    pub const fn next_instrument(&self) -> InstrumentId {
        self.next_instrument
    }

    /// The exchange time of a message, or `None` when its type is unknown or its length wrong, so that the bytes where
    /// the time would stand cannot be trusted.
    #[inline]
    #[must_use]
    pub fn time_of(&self, payload: &[u8]) -> Option<TimestampNs> {
        let (header, _) = Header::ref_from_prefix(payload).ok()?;
        (length_of(header.message_type) == Some(payload.len())).then(|| self.time(header))
    }

    /// Turns one message into events, pushed to `batch` in order.
    ///
    /// The batch must have room for [`MAX_EVENTS_PER_MESSAGE`](crate::batch::MAX_EVENTS_PER_MESSAGE) events, else
    /// nothing happens and the answer is [`Decoded::NeedRoom`]. Never panics, whatever the bytes.
    #[inline]
    pub fn decode(&mut self, payload: &[u8], batch: &mut EventBatch) -> Decoded {
        if !batch.has_room_for_message() {
            return Decoded::NeedRoom;
        }
        match self.decode_type(payload, batch) {
            Ok(true) => Decoded::Events,
            Ok(false) => Decoded::NoEvent,
            Err(reason) => Decoded::Skipped(reason),
        }
    }

    /// Pushes the event of the frame at the front of `frame`, when it is one of the usual order messages with nothing
    /// unusual about it, and answers with the bytes of its payload. `None` says nothing, and nothing happened:
    /// [`Decoder::decode`] gives the same event. The batch has room.
    #[inline]
    pub(crate) fn decode_order(&self, frame: &[u8; FRAME_BYTES], batch: &mut EventBatch) -> Option<usize> {
        let instrument_of = |locate| {
            let known = self.instruments[usize::from(locate)];
            (known, is_named(known))
        };
        order_shape::decode(frame, self.midnight, instrument_of, batch)
    }

    /// Whether the message became an event.
    #[inline]
    fn decode_type(&mut self, payload: &[u8], batch: &mut EventBatch) -> Result<bool, SkipReason> {
        let Some(&message_type) = payload.first() else {
            return Err(SkipReason::WrongLength { found: 0, expected: 1 });
        };
        match message_type {
            AddOrder::TYPE => self.add(layout(payload)?, 0, batch),
            AddOrderMpid::TYPE => self.add_with_mpid(layout(payload)?, batch),
            OrderExecuted::TYPE => self.execute(layout(payload)?, batch),
            OrderExecutedWithPrice::TYPE => self.execute_at(layout(payload)?, batch),
            OrderCancel::TYPE => self.reduce(layout(payload)?, batch),
            OrderDelete::TYPE => self.delete(layout(payload)?, batch),
            OrderReplace::TYPE => self.replace(layout(payload)?, batch),
            Trade::TYPE => self.trade(layout(payload)?, batch),
            CrossTrade::TYPE => self.cross(layout(payload)?, batch),
            BrokenTrade::TYPE => self.broken_trade(layout(payload)?, batch),
            SystemEvent::TYPE => self.session_event(layout(payload)?, batch),
            StockTradingAction::TYPE => self.status(layout(payload)?, batch),
            OperationalHalt::TYPE => self.operational_halt(layout(payload)?, batch),
            StockDirectory::TYPE => self.directory(layout(payload)?, batch),
            other => {
                return match length_of(other) {
                    None => Err(SkipReason::UnknownType),
                    Some(expected) if expected != payload.len() => {
                        Err(SkipReason::WrongLength { found: payload.len(), expected })
                    }
                    Some(_) => Ok(false),
                };
            }
        }?;
        Ok(true)
    }

    #[inline]
    fn add(&mut self, message: &AddOrder, mpid: u64, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let side = side(message.side)?;
        let event = self.event(Kind::Add, &message.header, Some(&message.stock), batch)?;
        batch.push(Event {
            order_id: OrderId(message.reference.get()),
            reference: mpid,
            price: price(message.price),
            quantity: quantity(message.shares),
            side_number: side as u8,
            ..event
        });
        Ok(())
    }

    #[inline]
    fn add_with_mpid(&mut self, message: &AddOrderMpid, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let AddOrderMpid { header, reference, side, shares, stock, price, mpid } = *message;
        self.add(&AddOrder { header, reference, side, shares, stock, price }, letters(mpid.0), batch)
    }

    #[inline]
    fn execute(&mut self, message: &OrderExecuted, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Execute, &message.header, None, batch)?;
        batch.push(Event {
            order_id: OrderId(message.reference.get()),
            reference: message.match_number.get(),
            quantity: quantity(message.shares),
            ..event
        });
        Ok(())
    }

    #[inline]
    fn execute_at(&mut self, message: &OrderExecutedWithPrice, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let flags = match message.printable {
            b'Y' => Flags::LAST,
            b'N' => Flags::LAST.with(Flags::NON_PRINTABLE),
            other => return Err(SkipReason::PrintableLetter(other)),
        };
        let event = self.event(Kind::ExecuteAt, &message.header, None, batch)?;
        batch.push(Event {
            order_id: OrderId(message.reference.get()),
            reference: message.match_number.get(),
            price: price(message.price),
            quantity: quantity(message.shares),
            flags,
            ..event
        });
        Ok(())
    }

    #[inline]
    fn reduce(&mut self, message: &OrderCancel, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Reduce, &message.header, None, batch)?;
        batch.push(Event { order_id: OrderId(message.reference.get()), quantity: quantity(message.shares), ..event });
        Ok(())
    }

    #[inline]
    fn delete(&mut self, message: &OrderDelete, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Delete, &message.header, None, batch)?;
        batch.push(Event { order_id: OrderId(message.reference.get()), ..event });
        Ok(())
    }

    #[inline]
    fn replace(&mut self, message: &OrderReplace, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Replace, &message.header, None, batch)?;
        batch.push(Event {
            order_id: OrderId(message.original_reference.get()),
            reference: message.new_reference.get(),
            price: price(message.price),
            quantity: quantity(message.shares),
            ..event
        });
        Ok(())
    }

    #[inline]
    fn trade(&mut self, message: &Trade, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let side = side(message.side)?;
        let event = self.event(Kind::Trade, &message.header, Some(&message.stock), batch)?;
        batch.push(Event {
            reference: message.match_number.get(),
            price: price(message.price),
            quantity: quantity(message.shares),
            side_number: side as u8,
            ..event
        });
        Ok(())
    }

    fn cross(&mut self, message: &CrossTrade, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Cross, &message.header, Some(&message.stock), batch)?;
        batch.push(Event {
            order_id: OrderId(u64::from(message.cross_type)),
            reference: message.match_number.get(),
            price: price(message.price),
            quantity: Quantity(message.shares.get()),
            ..event
        });
        Ok(())
    }

    fn broken_trade(&mut self, message: &BrokenTrade, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Break, &message.header, None, batch)?;
        batch.push(Event { reference: message.match_number.get(), ..event });
        Ok(())
    }

    fn session_event(&mut self, message: &SystemEvent, batch: &mut EventBatch) -> Result<(), SkipReason> {
        batch.push(Event {
            order_id: OrderId(u64::from(message.event_code)),
            flags: Flags::LAST,
            ..Event::new(Kind::SessionEvent, InstrumentId::ALL, self.time(&message.header))
        });
        Ok(())
    }

    fn status(&mut self, message: &StockTradingAction, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Status, &message.header, Some(&message.stock), batch)?;
        batch.push(Event {
            order_id: OrderId(u64::from(message.trading_state)),
            reference: letters(message.reason.0),
            ..event
        });
        Ok(())
    }

    fn operational_halt(&mut self, message: &OperationalHalt, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let event = self.event(Kind::Status, &message.header, Some(&message.stock), batch)?;
        batch.push(Event {
            order_id: OrderId(u64::from(message.action)),
            price: Price(i64::from(message.market)),
            ..event
        });
        Ok(())
    }

    /// Defines the instrument, or defines it again under the id that it has.
    fn directory(&mut self, message: &StockDirectory, batch: &mut EventBatch) -> Result<(), SkipReason> {
        let locate = message.header.locate;
        if locate.get() == 0 {
            return Err(SkipReason::NoInstrument);
        }
        let instrument = match self.instruments[usize::from(locate.get())].0 & !UNNAMED {
            0 => self.number(locate),
            known => InstrumentId(known),
        };
        self.instruments[usize::from(locate.get())] = instrument;
        let [first_subtype, second_subtype] = message.issue_subtype.0;
        let codes = u64::from_le_bytes([
            message.market_category,
            message.financial_status,
            message.round_lots_only,
            message.issue_classification,
            first_subtype,
            second_subtype,
            message.authenticity,
            message.short_sale_threshold,
        ]);
        let time = self.time(&message.header);
        batch.push(Event {
            reference: codes,
            quantity: quantity(message.round_lot_size),
            ..definition(instrument, locate, time)
        });
        batch.push(name(instrument, &message.stock, time));
        Ok(())
    }

    /// An event of `kind` about the message's stock, with every word that depends on the kind still 0. Defines the
    /// instrument first when it is new, so the message must be known to be well formed.
    #[inline]
    fn event(
        &mut self,
        kind: Kind,
        header: &Header,
        stock: Option<&Stock>,
        batch: &mut EventBatch,
    ) -> Result<Event, SkipReason> {
        let time = self.time(header);
        let known = self.instruments[usize::from(header.locate.get())];
        let instrument = if is_named(known) { known } else { self.introduce(header.locate, stock, time, batch)? };
        Ok(Event { flags: Flags::LAST, ..Event::new(kind, instrument, time) })
    }

    /// Numbers and defines an instrument that no R has defined, and gives its name as soon as a message carries it.
    #[cold]
    #[inline(never)]
    fn introduce(
        &mut self,
        locate: U16,
        stock: Option<&Stock>,
        time: TimestampNs,
        batch: &mut EventBatch,
    ) -> Result<InstrumentId, SkipReason> {
        if locate.get() == 0 {
            return Err(SkipReason::NoInstrument);
        }
        let row = usize::from(locate.get());
        let instrument = match self.instruments[row].0 & !UNNAMED {
            0 => {
                let instrument = self.number(locate);
                batch.push(definition(instrument, locate, time));
                instrument
            }
            known => InstrumentId(known),
        };
        self.instruments[row] = match stock {
            Some(stock) => {
                batch.push(name(instrument, stock, time));
                instrument
            }
            None => InstrumentId(instrument.0 | UNNAMED),
        };
        Ok(instrument)
    }

    /// Gives the next id to a locate that has none. The constructor made sure that there are enough.
    fn number(&mut self, locate: U16) -> InstrumentId {
        let instrument = self.next_instrument;
        self.instruments[usize::from(locate.get())] = instrument;
        self.next_instrument = InstrumentId(instrument.0 + 1);
        instrument
    }

    #[inline]
    fn time(&self, header: &Header) -> TimestampNs {
        TimestampNs(self.midnight.0.wrapping_add(header.timestamp.get()))
    }
}

/// Whether a row of the table of locates has an instrument with a name.
#[inline]
const fn is_named(row: InstrumentId) -> bool {
    row.0.wrapping_sub(1) < UNNAMED - 1
}

/// The payload seen as a message of layout `M`.
#[inline]
fn layout<M: Message>(payload: &[u8]) -> Result<&M, SkipReason> {
    M::ref_from_bytes(payload).map_err(|_| SkipReason::WrongLength { found: payload.len(), expected: M::LENGTH })
}

#[inline]
fn side(letter: u8) -> Result<Side, SkipReason> {
    match letter {
        b'B' => Ok(Side::Bid),
        b'S' => Ok(Side::Ask),
        other => Err(SkipReason::SideLetter(other)),
    }
}

#[inline]
fn price(price4: U32) -> Price {
    Price(i64::from(price4.get()) * PRICE_UNITS_PER_PRICE4)
}

#[inline]
fn quantity(shares: U32) -> Quantity {
    Quantity(u64::from(shares.get()))
}

/// Four letters as a word, the first in the lowest byte.
#[inline]
fn letters(letters: [u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(letters))
}

/// An InstrumentDefined that says no more than the venue's number.
fn definition(instrument: InstrumentId, locate: U16, time: TimestampNs) -> Event {
    Event {
        order_id: OrderId(u64::from(PUBLISHER) << 32 | u64::from(locate.get())),
        flags: Flags::LAST,
        ..Event::new(Kind::InstrumentDefined, instrument, time)
    }
}

/// The InstrumentName of a stock: at most 8 letters, so words 3 to 5 are 0.
fn name(instrument: InstrumentId, stock: &Stock, time: TimestampNs) -> Event {
    let trimmed = stock.trimmed();
    let mut first_word = [0; 8];
    first_word[..trimmed.len()].copy_from_slice(trimmed);
    Event {
        order_id: OrderId(u64::from_le_bytes(first_word)),
        flags: Flags::LAST,
        ..Event::new(Kind::InstrumentName, instrument, time)
    }
}
