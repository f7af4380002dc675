//! Golden results: what the reference books make of an ITCH file, for holding every other way of building books against.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;
use tickcore_book::reference::ReferenceBooks;
use tickcore_book::{Anomaly, Bbo, Capacity, InstrumentId, Kind, Quote, StreamDigest, TimestampNs};
use tickcore_feed::batch::{EventBatch, MAX_EVENTS_PER_MESSAGE};
use tickcore_feed::protocol::binary_file::{Frame, PREFIX_LENGTH, next_frame};
use tickcore_feed::protocol::itch50::{Decoded, Decoder, SkipReason};

/// What the reference books make of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// Messages of the file.
    pub messages: u64,
    /// Messages by type letter.
    pub messages_by_type: BTreeMap<char, u64>,
    /// Events that the messages became.
    pub events: u64,
    /// Instruments that were defined.
    pub instruments: u32,
    /// Events after which the BBO differed.
    pub bbo_changes: u64,
    /// Anomalies of all kinds.
    pub anomalies: u64,
    /// Orders that are live at the end.
    pub live_orders: u32,
    /// Price levels at the end.
    pub levels: u32,
    /// Digest of the books at the end, 16 hex digits.
    pub state_digest: String,
    /// Digest of all BBO changes, 16 hex digits.
    pub stream_digest: String,
    /// The best prices at the end, by instrument.
    pub final_bbos: Vec<FinalBbo>,
}

/// The best prices of one instrument at the end of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalBbo {
    /// The engine's number of the instrument, from 1.
    pub instrument: u32,
    /// Its name.
    pub symbol: String,
    /// Best bid, `None` when there is no bid.
    pub bid: Option<FinalQuote>,
    /// Best ask, `None` when there is no ask.
    pub ask: Option<FinalQuote>,
}

/// A best price and what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinalQuote {
    /// Price in units of 1e-9.
    pub price: i64,
    /// Total quantity of all orders at it.
    pub quantity: u64,
}

/// Why a file has no golden results: they are taken of whole and well-formed files only.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum GoldenError {
    /// A message was skipped by the decoder.
    #[error("message {message} at offset {offset}: {reason}; golden results are for files without such messages")]
    Skipped {
        /// Number of the message, from 1.
        message: u64,
        /// Where its length stands in the file.
        offset: usize,
        /// What is wrong with it.
        reason: SkipReason,
    },
    /// The file ends within a message.
    #[error("the file is cut at offset {offset}, within message {message}; golden results are for whole files")]
    Truncated {
        /// Number of the message, from 1.
        message: u64,
        /// Where its length stands in the file.
        offset: usize,
    },
}

impl From<Quote> for FinalQuote {
    fn from(quote: Quote) -> Self {
        Self { price: quote.price.get(), quantity: quote.quantity.get() }
    }
}

impl Golden {
    /// The results of an uncompressed ITCH file whose session begins at `midnight` (`None`: times since midnight).
    ///
    /// Cost: that of the reference books, some microseconds a message.
    ///
    /// # Errors
    /// If the file is cut or the decoder skips a message.
    pub fn of_itch(file: &[u8], midnight: Option<TimestampNs>) -> Result<Self, GoldenError> {
        let capacity = Capacity::default();
        let mut books = ReferenceBooks::new(capacity);
        let mut stream_digest = StreamDigest::new(capacity.instruments_max);
        let mut decoder = Decoder::new(midnight, InstrumentId(1));
        let mut batch = EventBatch::new(MAX_EVENTS_PER_MESSAGE);
        let mut messages_by_type = BTreeMap::new();
        let mut symbols = BTreeMap::new();
        let (mut messages, mut events, mut offset) = (0, 0, 0);
        loop {
            let payload = match next_frame(&file[offset..]) {
                Frame::Message(payload) => payload,
                Frame::Incomplete if offset < file.len() => {
                    return Err(GoldenError::Truncated { message: messages + 1, offset });
                }
                Frame::EndOfSession | Frame::Incomplete => break,
            };
            if let Decoded::Skipped(reason) = decoder.decode(payload, &mut batch) {
                return Err(GoldenError::Skipped { message: messages + 1, offset, reason });
            }
            messages += 1;
            offset += PREFIX_LENGTH + payload.len();
            *messages_by_type.entry(char::from(payload[0])).or_default() += 1;
            for event in batch.as_slice() {
                events += 1;
                if event.kind() == Some(Kind::InstrumentName) {
                    let symbol: &mut String = symbols.entry(event.instrument).or_default();
                    symbol.push_str(String::from_utf8_lossy(&event.name_part()).trim_end_matches(['\0', ' ']));
                }
                books.apply(event);
                for &instrument in books.changed() {
                    stream_digest.fold(instrument, event.exchange_time, &books.bbo(instrument));
                }
            }
            batch.clear();
        }
        let final_bbo = |(instrument, symbol): (InstrumentId, String)| {
            let Bbo { bid, ask } = books.bbo(instrument);
            FinalBbo { instrument: instrument.0, symbol, bid: bid.map(Into::into), ask: ask.map(Into::into) }
        };
        Ok(Self {
            messages,
            messages_by_type,
            events,
            instruments: decoder.next_instrument().0 - 1,
            bbo_changes: stream_digest.changes(),
            anomalies: Anomaly::ALL.into_iter().map(|anomaly| books.anomalies(anomaly)).sum(),
            live_orders: books.live_orders(),
            levels: books.level_count(),
            state_digest: format!("{:016x}", books.state_digest()),
            stream_digest: format!("{:016x}", stream_digest.value()),
            final_bbos: symbols.into_iter().map(final_bbo).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Parameters, generate_to_vec};

    #[test]
    fn a_generated_day_has_no_anomaly_and_a_cut_one_no_results() {
        let file = generate_to_vec(Parameters::new(20_000, 10, 4)).expect("good parameters");
        let golden = Golden::of_itch(&file, None).expect("a whole file");
        assert_eq!((golden.messages, golden.instruments, golden.anomalies), (20_000, 10, 0));
        assert_eq!(golden.messages_by_type.values().sum::<u64>(), 20_000);
        assert_eq!(golden.final_bbos[1].symbol, "SAAAB");
        assert!(golden.bbo_changes > 1_000 && golden.live_orders > 0);

        let error = Golden::of_itch(&file[..file.len() - 1], None).expect_err("a cut file");
        assert_eq!(error, GoldenError::Truncated { message: 20_000, offset: file.len() - 14 });
    }

    #[test]
    fn a_damaged_message_is_named() {
        let mut file = generate_to_vec(Parameters::new(2_000, 10, 4)).expect("good parameters");
        file[2] = b'?';
        let error = Golden::of_itch(&file, None).expect_err("an unknown type");
        assert_eq!(error, GoldenError::Skipped { message: 1, offset: 0, reason: SkipReason::UnknownType });
        assert!(error.to_string().contains("message 1 at offset 0"));
    }
}
