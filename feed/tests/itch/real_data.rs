//! Real files of Nasdaq, which are not part of the project: counts that are known from elsewhere.

use crate::naive::NaiveDecoder;
use crate::{Words, read_all};
use std::path::PathBuf;
use tickcore_book::{InstrumentId, Kind};
use tickcore_feed::session::SessionDate;
use tickcore_feed::source::{Counts, Format, ItchFile, ItchOptions, detect};

/// The file below the folder of market data, if that is there.
fn market_data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("TICKCORE_MARKET_DATA")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/market-data"), PathBuf::from);
    let path = folder.join("itch").join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there; set TICKCORE_MARKET_DATA to the folder of market data", path.display());
    None
}

/// Decodes a real file, checks it against the obvious decoder, and gives its events, counts and number of instruments.
fn decode(path: &PathBuf) -> (Vec<Words>, Counts, u32) {
    assert_eq!(detect(path).unwrap(), Format::ItchPlain);
    let midnight = SessionDate::from_file_name(path).map(SessionDate::midnight);
    let options = ItchOptions { midnight, ..ItchOptions::default() };
    let mut file = ItchFile::open(path, &options).unwrap();
    let (events, counts) = read_all(&mut file, 256, usize::MAX);
    let expected = NaiveDecoder::new(midnight.map_or(0, |time| time.0), 1).decode_stream(&std::fs::read(path).unwrap());
    assert_eq!(events, expected.events);
    assert_eq!(counts.messages, expected.messages);
    assert_eq!((counts.unknown_type, counts.malformed, counts.first_skipped), (0, 0, None));
    (events, counts, file.next_instrument().0 - InstrumentId(1).0)
}

fn is_kind(words: &Words, kind: Kind) -> bool {
    words[6] >> 32 & 0xFF == kind as u64
}

#[test]
fn one_instrument_of_30_january_2020() {
    let Some(path) = market_data("runk_AAPL_20200130_first6000.itch") else { return };
    let (events, counts, instruments) = decode(&path);
    assert_eq!((counts.messages, counts.truncated_bytes, instruments), (6_000, 0, 1));
    for letter in 0..=u8::MAX {
        assert_eq!(counts.by_type[usize::from(letter)] > 0, b"ADEPXLRHY".contains(&letter), "{letter}");
    }
    // AAPL, in a session of that day: 03:00 to 20:00 in New York.
    assert_eq!(events[1][2], u64::from_le_bytes(*b"AAPL\0\0\0\0"));
    let midnight = SessionDate::new(2020, 1, 30).unwrap().midnight().0;
    let hour = 3_600_000_000_000;
    assert!(events.iter().all(|words| (midnight + 3 * hour..midnight + 20 * hour).contains(&words[0])));
    assert!(events.is_sorted_by_key(|words| words[0]));
}

#[test]
fn the_head_of_30_december_2019() {
    let Some(path) = market_data("bbekele_20191230_head40k.itch") else { return };
    let (events, counts, instruments) = decode(&path);
    assert_eq!((counts.messages, counts.truncated_bytes, instruments), (1_000, 0, 993));
    assert_eq!(events.iter().filter(|words| is_kind(words, Kind::InstrumentDefined)).count(), 993);
    assert_eq!(events.iter().filter(|words| is_kind(words, Kind::InstrumentName)).count(), 993);
    assert!(is_kind(&events[0], Kind::SessionEvent) && events[0][2] == u64::from(b'O'));
}

#[test]
fn a_head_cut_in_the_middle_of_a_record() {
    let Some(path) = market_data("lukefasanello_head4k.itch") else { return };
    let (_, counts, _) = decode(&path);
    assert_eq!((counts.messages, counts.truncated_bytes), (101, 15));
    assert_eq!(counts.bytes, 4_096 - 15);
}
