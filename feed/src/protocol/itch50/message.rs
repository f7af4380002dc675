//! Byte layouts of the 23 message types of ITCH 5.0, in the order of the specification's sections.
//!
//! Every layout is the payload of one message exactly as it stands on the wire: big-endian integers, ASCII padded with
//! spaces, no alignment, no padding. A payload of the right length is viewed in place with
//! [`zerocopy::FromBytes::ref_from_bytes`]; nothing is copied and no bit pattern is invalid. Letters are kept as the
//! bytes they are: what a letter may be is the decoder's business.
//!
//! The names of types and fields are those of the Nasdaq TotalView-ITCH 5.0 specification.

use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use zerocopy::big_endian::{U16, U32, U64};

/// Bytes that every message begins with: type, locate, tracking number, timestamp.
pub const HEADER_LENGTH: usize = 11;

/// Units in one whole of a Price(4) field: 1.0 is 10,000.
pub const PRICE4_SCALE: u32 = 10_000;

/// Nanoseconds since midnight Eastern as 48 bits, big-endian.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Timestamp(pub [u8; 6]);

impl Timestamp {
    /// Greatest value: 2^48 − 1 ns, a little over 78 hours.
    pub const MAX_NS: u64 = (1 << 48) - 1;

    /// The field that holds `nanoseconds` since midnight.
    ///
    /// # Panics
    /// If `nanoseconds` is above [`Timestamp::MAX_NS`].
    #[inline]
    #[must_use]
    pub const fn new(nanoseconds: u64) -> Self {
        assert!(nanoseconds <= Self::MAX_NS, "an ITCH timestamp has 48 bits");
        let [_, _, a, b, c, d, e, f] = nanoseconds.to_be_bytes();
        Self([a, b, c, d, e, f])
    }

    /// Nanoseconds since midnight.
    #[inline]
    pub const fn get(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Timestamp({})", self.get())
    }
}

/// ASCII text of fixed width, left-justified and padded with spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Alpha<const WIDTH: usize>(pub [u8; WIDTH]);

/// A stock symbol.
pub type Stock = Alpha<8>;

/// A market participant's identifier.
pub type Mpid = Alpha<4>;

impl<const WIDTH: usize> Alpha<WIDTH> {
    /// The field that holds `text`, or `None` when it is longer than the field or not printable ASCII.
    #[must_use]
    pub const fn from_text(text: &str) -> Option<Self> {
        let letters = text.as_bytes();
        if letters.len() > WIDTH {
            return None;
        }
        let mut field = [b' '; WIDTH];
        let mut position = 0;
        while position < letters.len() {
            if !matches!(letters[position], b' '..=b'~') {
                return None;
            }
            field[position] = letters[position];
            position += 1;
        }
        Some(Self(field))
    }

    /// The field that holds `text`.
    ///
    /// # Panics
    /// If `text` is longer than the field or not printable ASCII.
    #[must_use]
    pub const fn new(text: &str) -> Self {
        Self::from_text(text).expect("an ITCH text field holds printable ASCII of at most its width")
    }

    /// The bytes without the padding. Not necessarily ASCII when they came from the wire.
    #[inline]
    pub const fn trimmed(&self) -> &[u8] {
        self.0.trim_ascii_end()
    }
}

impl<const WIDTH: usize> fmt::Debug for Alpha<WIDTH> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.trimmed().escape_ascii())
    }
}

/// What every message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// The letter that names the message's type.
    pub message_type: u8,
    /// Number of the stock for this day, from 1; 0 in messages about no stock.
    pub locate: U16,
    /// Nasdaq's internal number; means nothing to a book.
    pub tracking: U16,
    /// When Nasdaq generated the message.
    pub timestamp: Timestamp,
}

const _: () = assert!(size_of::<Header>() == HEADER_LENGTH);

impl Header {
    /// The header of a message of layout `M`, with tracking number 0.
    #[inline]
    #[must_use]
    pub fn of<M: Message>(locate: u16, timestamp: Timestamp) -> Self {
        Self { message_type: M::TYPE, locate: U16::new(locate), tracking: U16::ZERO, timestamp }
    }
}

/// A message layout: its type letter and its length.
pub trait Message: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy {
    /// The letter in the first byte.
    const TYPE: u8;

    /// The specification's name of the message.
    const NAME: &'static str;

    /// Payload bytes, without the framing.
    const LENGTH: usize = size_of::<Self>();

    /// The first 11 bytes.
    fn header(&self) -> &Header;
}

/// Declares the layouts and, from the same lines, the table of lengths.
macro_rules! messages {
    ($(
        $(#[$doc:meta])*
        $letter:literal $length:literal $title:literal $name:ident {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty, )*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
            #[repr(C)]
            pub struct $name {
                /// Type, locate, tracking number and time.
                pub header: Header,
                $( $(#[$field_doc])* pub $field: $type, )*
            }

            const _: () = assert!(size_of::<$name>() == $length && align_of::<$name>() == 1);

            impl Message for $name {
                const TYPE: u8 = $letter;
                const NAME: &'static str = $title;

                #[inline]
                fn header(&self) -> &Header {
                    &self.header
                }
            }
        )*

        /// Every message type, in the order of the specification.
        pub const TYPES: [u8; 23] = [$( $letter ),*];

        /// Payload length by type letter; 0 for a letter that is no type of ITCH 5.0.
        pub const LENGTH_BY_TYPE: [u8; 256] = {
            let mut lengths = [0; 256];
            $(
                assert!(lengths[$letter as usize] == 0, "two layouts have one type letter");
                lengths[$letter as usize] = $length;
            )*
            lengths
        };

        /// The specification's name of a message type, or `None` for a letter that is no type of ITCH 5.0.
        #[must_use]
        pub const fn type_name(message_type: u8) -> Option<&'static str> {
            match message_type {
                $( $letter => Some($title), )*
                _ => None,
            }
        }
    };
}

/// Payload length of a message type, or `None` for a letter that is no type of ITCH 5.0.
#[inline]
#[must_use]
pub const fn length_of(message_type: u8) -> Option<usize> {
    match LENGTH_BY_TYPE[message_type as usize] {
        0 => None,
        length => Some(length as usize),
    }
}

messages! {
    /// Start and end of the day's phases. Locate is 0.
    b'S' 12 "System Event" SystemEvent {
        /// O start of messages, S start of system hours, Q start of market hours, M end of market hours, E end of
        /// system hours, C end of messages.
        event_code: u8,
    }

    /// A stock of the day and its locate.
    b'R' 39 "Stock Directory" StockDirectory {
        /// Symbol.
        stock: Stock,
        /// Listing market, or its tier.
        market_category: u8,
        /// N normal; other letters name a deficiency.
        financial_status: u8,
        /// Shares in a round lot.
        round_lot_size: U32,
        /// Y when only round lots are accepted.
        round_lots_only: u8,
        /// Class of security.
        issue_classification: u8,
        /// Kind of security within its class.
        issue_subtype: Alpha<2>,
        /// P live, T test.
        authenticity: u8,
        /// Y when the stock is on the Reg SHO threshold list.
        short_sale_threshold: u8,
        /// Y when it is set up for an initial public offering.
        ipo_flag: u8,
        /// Tier of the limit-up-limit-down plan.
        luld_tier: u8,
        /// Y for an exchange-traded product.
        etp_flag: u8,
        /// Leverage of the exchange-traded product.
        etp_leverage_factor: U32,
        /// Y when the exchange-traded product is inverse.
        inverse_indicator: u8,
    }

    /// A stock's trading state.
    b'H' 25 "Stock Trading Action" StockTradingAction {
        /// Symbol.
        stock: Stock,
        /// H halted, P paused, Q quotation only, T trading.
        trading_state: u8,
        /// Not used.
        reserved: u8,
        /// Why.
        reason: Alpha<4>,
    }

    /// A stock's short-sale price test.
    b'Y' 20 "Reg SHO Restriction" RegShoRestriction {
        /// Symbol.
        stock: Stock,
        /// 0 none, 1 in effect after an intraday drop, 2 still in effect.
        action: u8,
    }

    /// State of a market participant in a stock.
    b'L' 26 "Market Participant Position" MarketParticipantPosition {
        /// Participant.
        mpid: Mpid,
        /// Symbol.
        stock: Stock,
        /// Y for a primary market maker.
        primary_market_maker: u8,
        /// Mode of the market maker.
        market_maker_mode: u8,
        /// State of the participant.
        participant_state: u8,
    }

    /// The day's market-wide circuit breaker levels. Locate is 0.
    b'V' 35 "MWCB Decline Level" MwcbDeclineLevel {
        /// Level 1, Price(8).
        level_1: U64,
        /// Level 2, Price(8).
        level_2: U64,
        /// Level 3, Price(8).
        level_3: U64,
    }

    /// A market-wide circuit breaker level was breached. Locate is 0.
    b'W' 12 "MWCB Status" MwcbStatus {
        /// 1, 2 or 3.
        breached_level: u8,
    }

    /// When quoting of an initial public offering begins. Locate is 0.
    b'K' 28 "IPO Quoting Period Update" IpoQuotingPeriod {
        /// Symbol.
        stock: Stock,
        /// Seconds since midnight; 0 when cancelled.
        release_time_seconds: U32,
        /// A anticipated, C cancelled or postponed.
        release_qualifier: u8,
        /// Price(4).
        ipo_price: U32,
    }

    /// Collars of an auction after a limit-up-limit-down pause.
    b'J' 35 "LULD Auction Collar" LuldAuctionCollar {
        /// Symbol.
        stock: Stock,
        /// Price(4).
        reference_price: U32,
        /// Price(4).
        upper_price: U32,
        /// Price(4).
        lower_price: U32,
        /// Extensions of the auction so far.
        extension: U32,
    }

    /// One market interrupted trading of a stock for operational reasons.
    b'h' 21 "Operational Halt" OperationalHalt {
        /// Symbol.
        stock: Stock,
        /// Q Nasdaq, B BX, X PSX.
        market: u8,
        /// H halted, T resumed.
        action: u8,
    }

    /// A new order without attribution.
    b'A' 36 "Add Order" AddOrder {
        /// The order's number.
        reference: U64,
        /// B buy, S sell.
        side: u8,
        /// Displayed shares.
        shares: U32,
        /// Symbol.
        stock: Stock,
        /// Price(4).
        price: U32,
    }

    /// A new order with the participant's name.
    b'F' 40 "Add Order with MPID" AddOrderMpid {
        /// The order's number.
        reference: U64,
        /// B buy, S sell.
        side: u8,
        /// Displayed shares.
        shares: U32,
        /// Symbol.
        stock: Stock,
        /// Price(4).
        price: U32,
        /// Participant.
        mpid: Mpid,
    }

    /// An order traded at its own price.
    b'E' 31 "Order Executed" OrderExecuted {
        /// The resting order.
        reference: U64,
        /// Shares that traded.
        shares: U32,
        /// Number of the trade.
        match_number: U64,
    }

    /// An order traded at another price than its own.
    b'C' 36 "Order Executed with Price" OrderExecutedWithPrice {
        /// The resting order.
        reference: U64,
        /// Shares that traded.
        shares: U32,
        /// Number of the trade.
        match_number: U64,
        /// Y, or N when a later bulk print includes the trade.
        printable: u8,
        /// Price(4) of the trade.
        price: U32,
    }

    /// Part of an order was cancelled.
    b'X' 23 "Order Cancel" OrderCancel {
        /// The order.
        reference: U64,
        /// Shares cancelled.
        shares: U32,
    }

    /// An order was cancelled as a whole.
    b'D' 19 "Order Delete" OrderDelete {
        /// The order.
        reference: U64,
    }

    /// An order was cancelled and another took its stead, on the same side of the same stock.
    b'U' 35 "Order Replace" OrderReplace {
        /// The order that is gone.
        original_reference: U64,
        /// The order that is new.
        new_reference: U64,
        /// Displayed shares of the new order.
        shares: U32,
        /// Price(4) of the new order.
        price: U32,
    }

    /// A trade with an order that was not displayed.
    b'P' 44 "Trade" Trade {
        /// 0 since December 2010.
        reference: U64,
        /// B since July 2014.
        side: u8,
        /// Shares that traded.
        shares: U32,
        /// Symbol.
        stock: Stock,
        /// Price(4).
        price: U32,
        /// Number of the trade.
        match_number: U64,
    }

    /// The bulk trade of an auction.
    b'Q' 40 "Cross Trade" CrossTrade {
        /// Shares matched; may be 0.
        shares: U64,
        /// Symbol.
        stock: Stock,
        /// Price(4).
        price: U32,
        /// Number of the trade.
        match_number: U64,
        /// O opening, C closing, H halted or initial public offering.
        cross_type: u8,
    }

    /// An earlier trade was broken.
    b'B' 19 "Broken Trade" BrokenTrade {
        /// Number of the trade.
        match_number: U64,
    }

    /// Imbalance before an auction.
    b'I' 50 "Net Order Imbalance Indicator" NetOrderImbalance {
        /// Shares that can be matched at the reference price.
        paired_shares: U64,
        /// Shares left over.
        imbalance_shares: U64,
        /// B buy, S sell, N none, O not enough orders, P paused.
        imbalance_direction: u8,
        /// Symbol.
        stock: Stock,
        /// Price(4).
        far_price: U32,
        /// Price(4).
        near_price: U32,
        /// Price(4).
        reference_price: U32,
        /// O opening, C closing, H halted or initial public offering, A extended trading close.
        cross_type: u8,
        /// How far the near price is from the reference price.
        price_variation: u8,
    }

    /// Retail interest in a stock.
    b'N' 20 "Retail Price Improvement Indicator" RetailPriceImprovement {
        /// Symbol.
        stock: Stock,
        /// B buy, S sell, A both, N none.
        interest: u8,
    }

    /// Price discovery of a direct listing with a capital raise.
    b'O' 48 "Direct Listing with Capital Raise" DirectListing {
        /// Symbol.
        stock: Stock,
        /// Y when it may open.
        open_eligibility: u8,
        /// Price(4).
        minimum_price: U32,
        /// Price(4).
        maximum_price: U32,
        /// Price(4).
        near_execution_price: U32,
        /// Nanoseconds since midnight.
        near_execution_time: U64,
        /// Price(4).
        lower_collar_price: U32,
        /// Price(4).
        upper_collar_price: U32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_keeps_48_bits() {
        for nanoseconds in [0, 1, 0x0102_0304_0506, Timestamp::MAX_NS] {
            assert_eq!(Timestamp::new(nanoseconds).get(), nanoseconds);
        }
        assert_eq!(Timestamp::new(0x0102_0304_0506).0, [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    #[should_panic(expected = "48 bits")]
    fn a_timestamp_above_48_bits_is_refused() {
        let _ = Timestamp::new(Timestamp::MAX_NS + 1);
    }

    #[test]
    fn text_is_padded_and_trimmed() {
        assert_eq!(Stock::new("AAPL").0, *b"AAPL    ");
        assert_eq!(Stock::new("AAPL").trimmed(), b"AAPL");
        assert_eq!(Stock::new("").trimmed(), b"");
        assert_eq!(Stock::new("ABCDEFGH").trimmed(), b"ABCDEFGH");
        assert_eq!(Stock::from_text("ABCDEFGHI"), None);
        assert_eq!(Stock::from_text("A\n"), None);
        assert_eq!(Stock::from_text("Ä"), None);
    }

    #[test]
    fn every_type_has_a_length_and_a_name_and_no_other_letter_has() {
        for message_type in 0..=u8::MAX {
            let is_type = TYPES.contains(&message_type);
            assert_eq!(length_of(message_type).is_some(), is_type);
            assert_eq!(type_name(message_type).is_some(), is_type);
        }
    }
}
