//! Every message type, its bytes put together by hand from the protocol's table, and the words that must come out.

use crate::{Words, tail};
use tickcore_book::{InstrumentId, Kind, TimestampNs};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::protocol::itch50::{Decoded, Decoder, SkipReason};

const LAST: u16 = 0x80;
const NON_PRINTABLE: u16 = 0x100;

/// 09:30:00.000000001 as nanoseconds since midnight: 0x1F1A_CED9_F001 in 48 bits.
const TIME: u64 = 34_200_000_000_001;
const TIME_BYTES: [u8; 6] = [0x1F, 0x1A, 0xCE, 0xD9, 0xF0, 0x01];

/// "AAPL" with the first letter in the lowest byte.
const AAPL: u64 = 0x4C50_4141;

/// A payload: type, locate 258, tracking number 0x0304, time, then the parts.
fn payload(message_type: u8, parts: &[&[u8]]) -> Vec<u8> {
    payload_at(message_type, [0x01, 0x02], parts)
}

fn payload_at(message_type: u8, locate: [u8; 2], parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![message_type, locate[0], locate[1], 0x03, 0x04];
    bytes.extend(TIME_BYTES);
    bytes.extend(parts.concat());
    bytes
}

fn directory() -> Vec<u8> {
    payload(
        b'R',
        &[
            b"AAPL    ",
            b"Q",
            b"N",
            &[0, 0, 0, 100],
            b"N",
            b"C",
            b"Z ",
            b"P",
            b"Y",
            b"N",
            b"1",
            b"Y",
            &[0, 0, 0, 3],
            b"N",
        ],
    )
}

/// Decodes messages one after the other with one decoder and gives the events of the last.
fn decode_last(messages: &[Vec<u8>]) -> (Decoded, Vec<Words>) {
    let mut decoder = Decoder::new(None, InstrumentId(1));
    let mut batch = EventBatch::new(8);
    let mut decoded = Decoded::NeedRoom;
    for message in messages {
        batch.clear();
        decoded = decoder.decode(message, &mut batch);
    }
    (decoded, batch.as_slice().iter().map(|event| event.to_words()).collect())
}

/// Events of a message about an instrument that its R has defined.
fn decode_defined(message: Vec<u8>) -> Vec<Words> {
    let (decoded, events) = decode_last(&[directory(), message]);
    assert_eq!(decoded, Decoded::Events);
    events
}

fn skip_reason(message: Vec<u8>) -> SkipReason {
    match decode_last(&[message]) {
        (Decoded::Skipped(reason), events) if events.is_empty() => reason,
        other => panic!("not skipped: {other:?}"),
    }
}

const REFERENCE: [u8; 8] = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
const REFERENCE_WORD: u64 = 0x1112_1314_1516_1718;
const MATCH: [u8; 8] = [0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28];
const MATCH_WORD: u64 = 0x2122_2324_2526_2728;
const SHARES: [u8; 4] = [0, 1, 0, 2];
const SHARES_WORD: u64 = 65_538;
/// 321.4501
const PRICE: [u8; 4] = [0x00, 0x31, 0x0C, 0xA5];
const PRICE_WORD: u64 = 321_450_100_000;

#[test]
fn add_without_and_with_mpid() {
    let add = payload(b'A', &[&REFERENCE, b"B", &SHARES, b"AAPL    ", &PRICE]);
    let words = [TIME, 0, REFERENCE_WORD, 0, PRICE_WORD, SHARES_WORD, tail(1, 1, 1, LAST)];
    assert_eq!(decode_defined(add), [words]);

    let add = payload(b'F', &[&REFERENCE, b"S", &SHARES, b"AAPL    ", &PRICE, b"NSDQ"]);
    let mpid = u64::from_le_bytes(*b"NSDQ\0\0\0\0");
    let words = [TIME, 0, REFERENCE_WORD, mpid, PRICE_WORD, SHARES_WORD, tail(1, 1, 2, LAST)];
    assert_eq!(decode_defined(add), [words]);
}

#[test]
fn add_at_the_extremes() {
    let add = payload(b'A', &[&[0xFF; 8], b"S", &[0xFF; 4], b"ABCDEFGH", &[0x77, 0x35, 0x94, 0x00]]);
    let words = [TIME, 0, u64::MAX, 0, 200_000_000_000_000, 0xFFFF_FFFF, tail(1, 1, 2, LAST)];
    assert_eq!(decode_defined(add), [words]);

    let add = payload(b'A', &[&[0; 8], b"B", &[0; 4], b"        ", &[0xFF; 4]]);
    let words = [TIME, 0, 0, 0, 4_294_967_295 * 100_000, 0, tail(1, 1, 1, LAST)];
    assert_eq!(decode_defined(add), [words]);
}

#[test]
fn executions() {
    let execute = payload(b'E', &[&REFERENCE, &SHARES, &MATCH]);
    let words = [TIME, 0, REFERENCE_WORD, MATCH_WORD, 0, SHARES_WORD, tail(1, 3, 0, LAST)];
    assert_eq!(decode_defined(execute), [words]);

    for (printable, flags) in [(b"Y", LAST), (b"N", LAST | NON_PRINTABLE)] {
        let execute = payload(b'C', &[&REFERENCE, &SHARES, &MATCH, printable, &PRICE]);
        let words = [TIME, 0, REFERENCE_WORD, MATCH_WORD, PRICE_WORD, SHARES_WORD, tail(1, 4, 0, flags)];
        assert_eq!(decode_defined(execute), [words]);
    }
}

#[test]
fn reduce_delete_replace() {
    let reduce = payload(b'X', &[&REFERENCE, &SHARES]);
    assert_eq!(decode_defined(reduce), [[TIME, 0, REFERENCE_WORD, 0, 0, SHARES_WORD, tail(1, 5, 0, LAST)]]);

    let delete = payload(b'D', &[&REFERENCE]);
    assert_eq!(decode_defined(delete), [[TIME, 0, REFERENCE_WORD, 0, 0, 0, tail(1, 6, 0, LAST)]]);

    let replace = payload(b'U', &[&REFERENCE, &MATCH, &SHARES, &PRICE]);
    let words = [TIME, 0, REFERENCE_WORD, MATCH_WORD, PRICE_WORD, SHARES_WORD, tail(1, 7, 0, LAST)];
    assert_eq!(decode_defined(replace), [words]);
}

#[test]
fn trades() {
    let trade = payload(b'P', &[&REFERENCE, b"B", &SHARES, b"AAPL    ", &PRICE, &MATCH]);
    let words = [TIME, 0, 0, MATCH_WORD, PRICE_WORD, SHARES_WORD, tail(1, 8, 1, LAST)];
    assert_eq!(decode_defined(trade), [words]);

    // A cross has its shares in 8 bytes.
    let cross = payload(b'Q', &[&REFERENCE, b"AAPL    ", &PRICE, &MATCH, b"O"]);
    let words = [TIME, 0, u64::from(b'O'), MATCH_WORD, PRICE_WORD, REFERENCE_WORD, tail(1, 9, 0, LAST)];
    assert_eq!(decode_defined(cross), [words]);

    let broken = payload(b'B', &[&MATCH]);
    assert_eq!(decode_defined(broken), [[TIME, 0, 0, MATCH_WORD, 0, 0, tail(1, 10, 0, LAST)]]);
}

#[test]
fn states() {
    let halt = payload(b'H', &[b"AAPL    ", b"P", b" ", b"LUDP"]);
    let reason = u64::from_le_bytes(*b"LUDP\0\0\0\0");
    assert_eq!(decode_defined(halt), [[TIME, 0, u64::from(b'P'), reason, 0, 0, tail(1, 12, 0, LAST)]]);

    let halt = payload(b'h', &[b"AAPL    ", b"X", b"H"]);
    assert_eq!(decode_defined(halt), [[TIME, 0, u64::from(b'H'), 0, u64::from(b'X'), 0, tail(1, 12, 0, LAST)]]);

    let (decoded, events) = decode_last(&[payload_at(b'S', [0, 0], &[b"Q"])]);
    assert_eq!(decoded, Decoded::Events);
    assert_eq!(events, [[TIME, 0, u64::from(b'Q'), 0, 0, 0, tail(0, 13, 0, LAST)]]);
}

#[test]
fn a_directory_defines_and_names_and_defines_again() {
    let codes = u64::from_le_bytes(*b"QNNCZ PY");
    let expected =
        [[TIME, 0, 2 << 32 | 258, codes, 0, 100, tail(1, 14, 0, LAST)], [TIME, 0, AAPL, 0, 0, 0, tail(1, 15, 0, LAST)]];
    assert_eq!(decode_last(&[directory()]), (Decoded::Events, expected.to_vec()));
    assert_eq!(decode_last(&[directory(), directory()]), (Decoded::Events, expected.to_vec()));
}

#[test]
fn messages_without_an_event() {
    let stock = b"AAPL    ";
    for message in [
        payload(b'Y', &[stock, b"1"]),
        payload(b'L', &[b"NSDQ", stock, b"Y", b"N", b"A"]),
        payload_at(b'V', [0, 0], &[&MATCH, &MATCH, &MATCH]),
        payload_at(b'W', [0, 0], &[b"1"]),
        payload_at(b'K', [0, 0], &[stock, &SHARES, b"A", &PRICE]),
        payload(b'J', &[stock, &PRICE, &PRICE, &PRICE, &SHARES]),
        payload(b'I', &[&MATCH, &MATCH, b"B", stock, &PRICE, &PRICE, &PRICE, b"O", b"L"]),
        payload(b'N', &[stock, b"A"]),
        payload(b'O', &[stock, b"Y", &PRICE, &PRICE, &PRICE, &MATCH, &PRICE, &PRICE]),
    ] {
        let letter = message[0].escape_ascii().to_string();
        // Neither an event nor a definition, although the locate is new.
        assert_eq!(decode_last(&[message]), (Decoded::NoEvent, vec![]), "{letter}");
    }
}

#[test]
fn an_instrument_without_a_directory_is_defined_before_its_first_event() {
    let delete = payload(b'D', &[&REFERENCE]);
    let (_, events) = decode_last(std::slice::from_ref(&delete));
    let definition = [TIME, 0, 2 << 32 | 258, 0, 0, 0, tail(1, 14, 0, LAST)];
    let deletion = [TIME, 0, REFERENCE_WORD, 0, 0, 0, tail(1, 6, 0, LAST)];
    assert_eq!(events, [definition, deletion]);

    let name = [TIME, 0, AAPL, 0, 0, 0, tail(1, 15, 0, LAST)];
    for message in [
        payload(b'A', &[&REFERENCE, b"B", &SHARES, b"AAPL    ", &PRICE]),
        payload(b'F', &[&REFERENCE, b"B", &SHARES, b"AAPL    ", &PRICE, b"NSDQ"]),
        payload(b'P', &[&REFERENCE, b"B", &SHARES, b"AAPL    ", &PRICE, &MATCH]),
        payload(b'Q', &[&REFERENCE, b"AAPL    ", &PRICE, &MATCH, b"O"]),
        payload(b'H', &[b"AAPL    ", b"T", b" ", b"    "]),
        payload(b'h', &[b"AAPL    ", b"Q", b"T"]),
    ] {
        let (_, events) = decode_last(&[message]);
        assert_eq!(events.len(), 3);
        assert_eq!(events[..2], [definition, name]);
    }

    // Once only, and a later directory keeps the id.
    assert_eq!(decode_last(&[delete.clone(), delete.clone()]).1, [deletion]);
    assert_eq!(decode_last(&[delete, directory()]).1[0][6], tail(1, 14, 0, LAST));
}

#[test]
fn ids_are_dense_and_go_on_in_the_next_session() {
    let delete = |locate| payload_at(b'D', locate, &[&REFERENCE]);
    let mut decoder = Decoder::new(None, InstrumentId(1));
    let mut batch = EventBatch::new(100);
    for locate in [[0xFF, 0xFF], [0, 1], [0xFF, 0xFF], [0, 2], [0, 1]] {
        assert_eq!(decoder.decode(&delete(locate), &mut batch), Decoded::Events);
    }
    let ids: Vec<u32> = batch.as_slice().iter().map(|event| event.instrument.0).collect();
    assert_eq!(ids, [1, 1, 2, 2, 1, 3, 3, 2]);
    assert_eq!(decoder.next_instrument(), InstrumentId(4));

    let mut decoder = Decoder::new(Some(TimestampNs(1_000)), decoder.next_instrument());
    batch.clear();
    decoder.decode(&delete([0, 1]), &mut batch);
    assert_eq!(batch.as_slice()[1].instrument, InstrumentId(4));
    assert_eq!(batch.as_slice()[1].exchange_time, TimestampNs(TIME + 1_000));
}

#[test]
fn what_is_wrong_is_named() {
    let add = payload(b'A', &[&REFERENCE, b"B", &SHARES, b"AAPL    ", &PRICE]);
    let with = |offset: usize, byte: u8| {
        let mut add = add.clone();
        add[offset] = byte;
        add
    };
    assert_eq!(skip_reason(with(0, b'z')), SkipReason::UnknownType);
    assert_eq!(skip_reason(with(19, b'b')), SkipReason::SideLetter(b'b'));
    assert_eq!(skip_reason(add[..35].to_vec()), SkipReason::WrongLength { found: 35, expected: 36 });
    assert_eq!(skip_reason([&add[..], b"x"].concat()), SkipReason::WrongLength { found: 37, expected: 36 });
    assert_eq!(skip_reason(vec![]), SkipReason::WrongLength { found: 0, expected: 1 });
    assert_eq!(skip_reason(payload(b'Y', &[])), SkipReason::WrongLength { found: 11, expected: 20 });
    let execute = payload(b'C', &[&REFERENCE, &SHARES, &MATCH, b"?", &PRICE]);
    assert_eq!(skip_reason(execute), SkipReason::PrintableLetter(b'?'));
    for (letter, length) in crate::naive::LENGTHS {
        let mut message = vec![b'B'; length];
        message[0] = letter;
        message[1..3].fill(0);
        if letter == b'C' {
            message[31] = b'Y';
        }
        if b"AFECXDUPQBHhR".contains(&letter) {
            assert_eq!(skip_reason(message), SkipReason::NoInstrument, "{}", letter.escape_ascii());
        } else {
            assert!(!matches!(decode_last(&[message]).0, Decoded::Skipped(_)), "{}", letter.escape_ascii());
        }
    }
    assert_eq!(
        SkipReason::WrongLength { found: 35, expected: 36 }.to_string(),
        "the length is 35 bytes where the type has 36"
    );
}

#[test]
fn a_batch_without_room_leaves_the_decoder_as_it_was() {
    let mut decoder = Decoder::new(None, InstrumentId(1));
    let mut batch = EventBatch::new(8);
    assert_eq!(decoder.decode(&directory(), &mut batch), Decoded::Events);
    assert_eq!(batch.len(), 2);
    let other = payload_at(b'D', [9, 9], &[&REFERENCE]);
    assert_eq!(decoder.decode(&other, &mut batch), Decoded::NeedRoom);
    assert_eq!((batch.len(), decoder.next_instrument()), (2, InstrumentId(2)));
    batch.clear();
    assert_eq!(decoder.decode(&other, &mut batch), Decoded::Events);
    assert_eq!(batch.len(), 2);
}

#[test]
fn an_instrument_first_met_without_a_name_gets_it_once_from_the_first_message_that_has_it() {
    let add = || payload(b'A', &[&REFERENCE, b"B", &SHARES, b"AAPL    ", &PRICE]);
    let delete = || payload(b'D', &[&REFERENCE]);
    let mut decoder = Decoder::new(None, InstrumentId(1));
    let mut batch = EventBatch::new(8);
    let mut kinds = |message: Vec<u8>| {
        batch.clear();
        assert_eq!(decoder.decode(&message, &mut batch), Decoded::Events);
        assert!(batch.as_slice().iter().all(|event| event.instrument == InstrumentId(1)));
        batch.as_slice().iter().map(|event| event.kind().expect("known")).collect::<Vec<_>>()
    };
    assert_eq!(kinds(delete()), [Kind::InstrumentDefined, Kind::Delete]);
    assert_eq!(kinds(delete()), [Kind::Delete]);
    assert_eq!(kinds(add()), [Kind::InstrumentName, Kind::Add]);
    assert_eq!(kinds(add()), [Kind::Add]);
    assert_eq!(kinds(directory()), [Kind::InstrumentDefined, Kind::InstrumentName]);
    assert_eq!(kinds(add()), [Kind::Add]);
}
