//! The messages of the synthetic day, written with the encoder of `tickcore-feed`.
//!
//! One method per message type; each appends exactly one framed message.

use super::instrument::Instrument;
use super::market::{NewOrder, Order};
use tickcore_book::Side;
use tickcore_feed::protocol::itch50::{
    AddOrder, AddOrderMpid, Alpha, BrokenTrade, CrossTrade, DirectListing, Header, IpoQuotingPeriod, LuldAuctionCollar,
    MarketParticipantPosition, Message, Mpid, MwcbDeclineLevel, MwcbStatus, NetOrderImbalance, OperationalHalt,
    OrderCancel, OrderDelete, OrderExecuted, OrderExecutedWithPrice, OrderReplace, RegShoRestriction,
    RetailPriceImprovement, StockDirectory, StockTradingAction, SystemEvent, Timestamp, Trade, U32, U64,
    append_message,
};

/// An imbalance as an `I` message tells it.
pub(crate) struct Imbalance {
    pub(crate) paired_shares: u64,
    pub(crate) imbalance_shares: u64,
    pub(crate) direction: u8,
    pub(crate) price: u32,
    pub(crate) cross_type: u8,
}

/// How an execution away from the order's own price is printed.
pub(crate) struct Print {
    pub(crate) price: u32,
    /// False when a cross prints it in bulk.
    pub(crate) is_printable: bool,
}

/// A file in the making, at one moment of the day.
pub(crate) struct Tape<'a> {
    file: &'a mut Vec<u8>,
    time: Timestamp,
}

impl<'a> Tape<'a> {
    /// Appends to `file` at `time_ns` nanoseconds since midnight.
    #[inline]
    pub(crate) fn new(file: &'a mut Vec<u8>, time_ns: u64) -> Self {
        Self { file, time: Timestamp::new(time_ns) }
    }

    #[inline]
    fn header<M: Message>(&self, locate: u16) -> Header {
        Header::of::<M>(locate, self.time)
    }

    pub(crate) fn system_event(&mut self, event_code: u8) {
        let header = self.header::<SystemEvent>(0);
        append_message(self.file, &SystemEvent { header, event_code });
    }

    pub(crate) fn directory(&mut self, instrument: &Instrument) {
        let header = self.header::<StockDirectory>(instrument.locate);
        let letter = |letters: &[u8]| letters[usize::from(instrument.locate) % letters.len()];
        append_message(
            self.file,
            &StockDirectory {
                header,
                stock: instrument.stock,
                market_category: letter(b"QGSNAPZQNP"),
                financial_status: b'N',
                round_lot_size: U32::new(instrument.round_lot),
                round_lots_only: b'N',
                issue_classification: if instrument.is_fund { b'Q' } else { b'C' },
                issue_subtype: Alpha(if instrument.is_fund { *b"E " } else { *b"Z " }),
                authenticity: b'P',
                short_sale_threshold: b'N',
                ipo_flag: b'N',
                luld_tier: letter(b"122"),
                etp_flag: if instrument.is_fund { b'Y' } else { b'N' },
                etp_leverage_factor: U32::new(u32::from(instrument.is_fund)),
                inverse_indicator: b'N',
            },
        );
    }

    pub(crate) fn trading_action(&mut self, instrument: &Instrument, trading_state: u8, reason: &str) {
        let header = self.header::<StockTradingAction>(instrument.locate);
        let reason = Alpha::new(reason);
        append_message(
            self.file,
            &StockTradingAction { header, stock: instrument.stock, trading_state, reserved: b' ', reason },
        );
    }

    pub(crate) fn reg_sho(&mut self, instrument: &Instrument, action: u8) {
        let header = self.header::<RegShoRestriction>(instrument.locate);
        append_message(self.file, &RegShoRestriction { header, stock: instrument.stock, action });
    }

    pub(crate) fn participant_position(&mut self, instrument: &Instrument, mpid: Mpid) {
        let header = self.header::<MarketParticipantPosition>(instrument.locate);
        append_message(
            self.file,
            &MarketParticipantPosition {
                header,
                mpid,
                stock: instrument.stock,
                primary_market_maker: b'Y',
                market_maker_mode: b'N',
                participant_state: b'A',
            },
        );
    }

    /// `reference` is the index that the levels are 7, 13 and 20 % below, in Price(8) units.
    pub(crate) fn decline_levels(&mut self, reference: u64) {
        let header = self.header::<MwcbDeclineLevel>(0);
        let below = |percent: u64| U64::new(reference / 100 * (100 - percent));
        append_message(
            self.file,
            &MwcbDeclineLevel { header, level_1: below(7), level_2: below(13), level_3: below(20) },
        );
    }

    pub(crate) fn breached_level(&mut self, breached_level: u8) {
        let header = self.header::<MwcbStatus>(0);
        append_message(self.file, &MwcbStatus { header, breached_level });
    }

    pub(crate) fn ipo_quoting_period(&mut self, instrument: &Instrument, release_time_seconds: u32) {
        let header = self.header::<IpoQuotingPeriod>(0);
        append_message(
            self.file,
            &IpoQuotingPeriod {
                header,
                stock: instrument.stock,
                release_time_seconds: U32::new(release_time_seconds),
                release_qualifier: b'A',
                ipo_price: U32::new(instrument.open_price),
            },
        );
    }

    pub(crate) fn auction_collar(&mut self, instrument: &Instrument) {
        let header = self.header::<LuldAuctionCollar>(instrument.locate);
        let reference = instrument.last_price;
        append_message(
            self.file,
            &LuldAuctionCollar {
                header,
                stock: instrument.stock,
                reference_price: U32::new(reference),
                upper_price: U32::new(reference + reference / 20),
                lower_price: U32::new(reference - reference / 20),
                extension: U32::new(0),
            },
        );
    }

    pub(crate) fn operational_halt(&mut self, instrument: &Instrument, action: u8) {
        let header = self.header::<OperationalHalt>(instrument.locate);
        append_message(self.file, &OperationalHalt { header, stock: instrument.stock, market: b'Q', action });
    }

    /// `F` with a participant, `A` without.
    #[inline]
    pub(crate) fn add(&mut self, instrument: &Instrument, order: &NewOrder, participant: Option<Mpid>) {
        let reference = U64::new(order.reference);
        let side = match order.side {
            Side::Bid => b'B',
            Side::Ask => b'S',
        };
        let (shares, stock, price) = (U32::new(order.shares), instrument.stock, U32::new(order.price));
        match participant {
            None => {
                let header = self.header::<AddOrder>(instrument.locate);
                append_message(self.file, &AddOrder { header, reference, side, shares, stock, price });
            }
            Some(mpid) => {
                let header = self.header::<AddOrderMpid>(instrument.locate);
                append_message(self.file, &AddOrderMpid { header, reference, side, shares, stock, price, mpid });
            }
        }
    }

    #[inline]
    pub(crate) fn executed(&mut self, locate: u16, reference: u64, shares: u32, match_number: u64) {
        let header = self.header::<OrderExecuted>(locate);
        append_message(
            self.file,
            &OrderExecuted {
                header,
                reference: U64::new(reference),
                shares: U32::new(shares),
                match_number: U64::new(match_number),
            },
        );
    }

    pub(crate) fn executed_with_price(
        &mut self,
        locate: u16,
        executed: &Order,
        shares: u32,
        match_number: u64,
        print: Print,
    ) {
        let header = self.header::<OrderExecutedWithPrice>(locate);
        append_message(
            self.file,
            &OrderExecutedWithPrice {
                header,
                reference: U64::new(executed.reference),
                shares: U32::new(shares),
                match_number: U64::new(match_number),
                printable: if print.is_printable { b'Y' } else { b'N' },
                price: U32::new(print.price),
            },
        );
    }

    #[inline]
    pub(crate) fn cancelled(&mut self, locate: u16, reference: u64, shares: u32) {
        let header = self.header::<OrderCancel>(locate);
        append_message(self.file, &OrderCancel { header, reference: U64::new(reference), shares: U32::new(shares) });
    }

    #[inline]
    pub(crate) fn deleted(&mut self, locate: u16, reference: u64) {
        let header = self.header::<OrderDelete>(locate);
        append_message(self.file, &OrderDelete { header, reference: U64::new(reference) });
    }

    #[inline]
    pub(crate) fn replaced(&mut self, locate: u16, original_reference: u64, new: &NewOrder) {
        let header = self.header::<OrderReplace>(locate);
        append_message(
            self.file,
            &OrderReplace {
                header,
                original_reference: U64::new(original_reference),
                new_reference: U64::new(new.reference),
                shares: U32::new(new.shares),
                price: U32::new(new.price),
            },
        );
    }

    pub(crate) fn trade(&mut self, instrument: &Instrument, shares: u32, price: u32, match_number: u64) {
        let header = self.header::<Trade>(instrument.locate);
        append_message(
            self.file,
            &Trade {
                header,
                reference: U64::new(0),
                side: b'B',
                shares: U32::new(shares),
                stock: instrument.stock,
                price: U32::new(price),
                match_number: U64::new(match_number),
            },
        );
    }

    pub(crate) fn cross_trade(&mut self, instrument: &Instrument, shares: u64, match_number: u64, cross_type: u8) {
        let header = self.header::<CrossTrade>(instrument.locate);
        append_message(
            self.file,
            &CrossTrade {
                header,
                shares: U64::new(shares),
                stock: instrument.stock,
                price: U32::new(instrument.last_price),
                match_number: U64::new(match_number),
                cross_type,
            },
        );
    }

    pub(crate) fn broken_trade(&mut self, locate: u16, match_number: u64) {
        let header = self.header::<BrokenTrade>(locate);
        append_message(self.file, &BrokenTrade { header, match_number: U64::new(match_number) });
    }

    pub(crate) fn imbalance(&mut self, instrument: &Instrument, imbalance: &Imbalance) {
        let header = self.header::<NetOrderImbalance>(instrument.locate);
        let price = U32::new(imbalance.price);
        append_message(
            self.file,
            &NetOrderImbalance {
                header,
                paired_shares: U64::new(imbalance.paired_shares),
                imbalance_shares: U64::new(imbalance.imbalance_shares),
                imbalance_direction: imbalance.direction,
                stock: instrument.stock,
                far_price: price,
                near_price: price,
                reference_price: price,
                cross_type: imbalance.cross_type,
                price_variation: b'L',
            },
        );
    }

    pub(crate) fn retail_interest(&mut self, instrument: &Instrument, interest: u8) {
        let header = self.header::<RetailPriceImprovement>(instrument.locate);
        append_message(self.file, &RetailPriceImprovement { header, stock: instrument.stock, interest });
    }

    pub(crate) fn direct_listing(&mut self, instrument: &Instrument) {
        let header = self.header::<DirectListing>(instrument.locate);
        let price = instrument.last_price;
        append_message(
            self.file,
            &DirectListing {
                header,
                stock: instrument.stock,
                open_eligibility: b'N',
                minimum_price: U32::new(price - price / 5),
                maximum_price: U32::new(price + price / 5),
                near_execution_price: U32::new(price),
                near_execution_time: U64::new(self.time.get()),
                lower_collar_price: U32::new(price - price / 10),
                upper_collar_price: U32::new(price + price / 10),
            },
        );
    }
}
