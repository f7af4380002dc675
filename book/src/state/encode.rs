//! Writing a state. May allocate: not for a hot path.

use super::{BOOKS_MAGIC, CHAIN_MAGIC, HEADER_BYTES, LENGTH_OFFSET, STATE_VERSION, row};
use crate::anomaly::{Anomaly, AnomalyCounts};
use crate::books::{Books, Execution};
use crate::digest::StreamDigest;
use crate::event::Side;
use crate::instrument::Instrument;
use crate::last_trade::LastTrade;
use crate::units::InstrumentId;

impl Books<'_> {
    /// Appends the state of these books to `bytes`; [`BooksState`](crate::BooksState) reads it. Equal books append equal
    /// bytes, wherever their orders lie.
    ///
    /// Cost: a pass over all orders, 12 bytes for each, and some 4 bytes for each instrument; `bytes` grows.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        let mut dropped = self.index.dropped_ids();
        dropped.sort_unstable();
        bytes.reserve(HEADER_BYTES + self.live_orders() as usize * 12 + self.level_count() as usize * 12);
        bytes.extend_from_slice(&BOOKS_MAGIC);
        put_u32(bytes, STATE_VERSION);
        put_u32(bytes, 0);
        put_u64(bytes, 0);
        let capacity = self.capacity;
        for number in [
            capacity.instruments_max,
            capacity.orders_max,
            capacity.levels_max,
            self.highest_instrument.0,
            self.live_orders(),
            self.level_count(),
            dropped.len() as u32,
            u32::from(self.last_execution.is_some()),
        ] {
            put_u32(bytes, number);
        }
        if let Some(execution) = &self.last_execution {
            put_execution(bytes, execution);
        }
        for number in 0..=self.highest_instrument.0 {
            self.put_row(bytes, InstrumentId(number));
        }
        for (instrument, id) in dropped {
            put_u32(bytes, instrument.0);
            put_u64(bytes, id.0);
        }
        let length = (bytes.len() - start) as u64;
        bytes[start + LENGTH_OFFSET..start + LENGTH_OFFSET + 8].copy_from_slice(&length.to_le_bytes());
    }

    fn put_row(&self, bytes: &mut Vec<u8>, instrument: InstrumentId) {
        let marks = u32::from(self.marks[instrument.index()].bits());
        let definition = self.instruments.get(instrument);
        let anomalies = self.anomalies.of(instrument).filter(|counts| counts.total() > 0);
        let last_trade = self.last_trades.of(instrument);
        let book = self.book(instrument);
        let has_side = |side: Side| book.is_some_and(|book| book.order_count(side) > 0);
        let mut flags = marks;
        for (flag, is_set) in [
            (row::DEFINED, definition.is_some()),
            (row::ANOMALIES, anomalies.is_some()),
            (row::LAST_TRADE, last_trade.is_some()),
            (row::SIDES[0], has_side(Side::Bid)),
            (row::SIDES[1], has_side(Side::Ask)),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        put_u32(bytes, flags);
        if flags & row::TRANSACTION_OPEN != 0 {
            for quote in self.published[instrument.index()] {
                put_u64(bytes, quote.price.0.cast_unsigned());
                put_u64(bytes, quote.quantity.0);
            }
        }
        if let Some(definition) = definition {
            put_definition(bytes, definition);
        }
        if let Some(counts) = anomalies {
            put_counts(bytes, counts);
        }
        if let Some(trade) = last_trade {
            put_last_trade(bytes, trade);
        }
        let Some(book) = book else { return };
        for side in Side::BOTH.into_iter().filter(|&side| has_side(side)) {
            put_u32(bytes, book.level_count(side));
            for level in book.levels(side) {
                put_u64(bytes, level.price.0.cast_unsigned());
                put_u32(bytes, level.order_count);
                for (id, quantity) in level.orders() {
                    put_u64(bytes, id.0);
                    put_u32(bytes, quantity.0 as u32);
                }
            }
        }
    }
}

impl StreamDigest {
    /// Appends the chains to `bytes`; [`StreamDigest::restore`] reads them. Cost: 20 bytes for each instrument with changes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&CHAIN_MAGIC);
        put_u32(bytes, STATE_VERSION);
        put_u32(bytes, self.instruments_max());
        put_u64(bytes, self.changes());
        for (instrument, chain, changes) in self.chains() {
            put_u32(bytes, instrument.0);
            put_u64(bytes, chain);
            put_u64(bytes, changes);
        }
    }
}

fn put_u32(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_u64(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_execution(bytes: &mut Vec<u8>, execution: &Execution) {
    put_u32(bytes, execution.instrument.0);
    put_u32(bytes, u32::from(execution.side as u8));
    for word in [execution.id.0, execution.price.0.cast_unsigned(), execution.quantity.0, execution.match_id] {
        put_u64(bytes, word);
    }
}

fn put_definition(bytes: &mut Vec<u8>, definition: &Instrument) {
    put_u32(bytes, definition.publisher);
    put_u32(bytes, definition.venue_id);
    put_u64(bytes, definition.codes);
    put_u64(bytes, definition.price_increment.0.cast_unsigned());
    put_u64(bytes, definition.lot.0);
    put_u32(bytes, definition.name_parts().len() as u32);
    definition.name_parts().iter().for_each(|part| bytes.extend_from_slice(part));
}

fn put_counts(bytes: &mut Vec<u8>, counts: &AnomalyCounts) {
    Anomaly::ALL.into_iter().for_each(|anomaly| put_u64(bytes, counts.of(anomaly)));
}

fn put_last_trade(bytes: &mut Vec<u8>, trade: &LastTrade) {
    for word in [trade.price.0.cast_unsigned(), trade.quantity.0, trade.exchange_time.0, trade.match_id] {
        put_u64(bytes, word);
    }
    let side = trade.side.map_or(0, |side| side as u8);
    bytes.extend_from_slice(&[trade.kind as u8, side, u8::from(trade.is_broken), 0]);
}
