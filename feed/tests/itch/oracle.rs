//! The product against the obvious decoder, over random streams, damaged streams and streams cut at every byte.

use crate::naive::{LENGTHS, NaiveDecoder, StreamResult};
use crate::{Words, read_all};
use proptest::prelude::*;
use tickcore_book::{InstrumentId, TimestampNs};
use tickcore_feed::protocol::binary_file::{append_end_of_session, append_frame};
use tickcore_feed::protocol::itch50::{self, Message, append_message, length_of};
use tickcore_feed::source::{Counts, ItchBytes, ItchOptions};

const MIDNIGHT: u64 = 1_580_360_400_000_000_000;

pub(crate) fn options() -> ItchOptions {
    ItchOptions { midnight: Some(TimestampNs(MIDNIGHT)), first_instrument: InstrumentId(5), ..ItchOptions::default() }
}

pub(crate) fn naive(bytes: &[u8]) -> StreamResult {
    NaiveDecoder::new(MIDNIGHT, 5).decode_stream(bytes)
}

/// Whether events and counts are those of the obvious decoder.
pub(crate) fn assert_same(bytes: &[u8], events: &[Words], counts: &Counts) {
    let expected = naive(bytes);
    assert_eq!(events, expected.events);
    assert_eq!(counts.messages, expected.messages);
    assert_eq!(counts.by_type.iter().sum::<u64>(), counts.messages);
    assert_eq!(counts.without_event, expected.without_event);
    assert_eq!(counts.unknown_type, expected.unknown);
    assert_eq!(counts.malformed, expected.malformed);
    assert_eq!(counts.malformed_by_type.iter().sum::<u64>(), counts.malformed);
    assert_eq!(counts.first_skipped.map(|skipped| (skipped.offset, skipped.message)), expected.first_skipped);
    let unknown: u64 =
        (0..=u8::MAX).filter(|&letter| length_of(letter).is_none()).map(|letter| counts.by_type[letter as usize]).sum();
    assert_eq!(counts.unknown_type, unknown);
    assert_eq!(counts.bytes, expected.frame_bytes);
    assert_eq!(counts.truncated_bytes, expected.truncated_bytes);
    assert_eq!(counts.has_end_of_session, expected.has_end);
    assert_eq!(counts.bytes_after_end, expected.bytes_after_end);
    assert_eq!(counts.bytes + counts.truncated_bytes + counts.bytes_after_end, bytes.len() as u64);
}

/// SplitMix64: the same numbers for the same seed, everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}

/// A frame of a random type with random content: mostly well formed, few locates, so that they meet again.
fn append_random_frame(file: &mut Vec<u8>, random: &mut Random) {
    let (letter, length) = LENGTHS[random.below(LENGTHS.len())];
    let mut payload: Vec<u8> = (0..length).map(|_| random.byte()).collect();
    payload[0] = letter;
    let locate = if random.below(20) == 0 { random.below(1 << 16) } else { random.below(6) };
    payload[1..3].copy_from_slice(&(locate as u16).to_be_bytes());
    if random.below(10) > 0 {
        match letter {
            b'A' | b'F' | b'P' => payload[19] = b"BS"[random.below(2)],
            b'C' => payload[31] = b"YN"[random.below(2)],
            _ => {}
        }
    }
    match random.below(20) {
        0 => payload.truncate(1 + random.below(length)),
        1 => payload.push(random.byte()),
        2 => payload[0] = random.byte(),
        _ => {}
    }
    append_frame(file, &payload);
}

/// A stream of random frames.
pub(crate) fn random_stream(seed: u64, frames: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut file = Vec::new();
    for _ in 0..frames {
        append_random_frame(&mut file, &mut random);
    }
    file
}

proptest! {
    #[test]
    fn random_streams_decode_as_the_obvious_decoder_does(
        seed: u64,
        frames in 0_usize..300,
        capacity in 8_usize..40,
        max_messages in 1_usize..50,
        has_end: bool,
        after_end in 0_usize..5,
    ) {
        let mut file = random_stream(seed, frames);
        if has_end {
            append_end_of_session(&mut file);
            file.extend(vec![1; after_end]);
        }
        let (events, counts) = read_all(&mut ItchBytes::new(&file, &options()), capacity, max_messages);
        assert_same(&file, &events, &counts);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let (events, counts) = read_all(&mut ItchBytes::new(&bytes, &options()), 8, usize::MAX);
        assert_same(&bytes, &events, &counts);
    }
}

/// Prints the seed when the round that it stands for fails.
struct SeedOfFailure(u64);

impl Drop for SeedOfFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat: TICKCORE_SEED={}", self.0);
        }
    }
}

/// Damage of every sort, many times, from a seed that `TICKCORE_SEED` sets and a failure prints.
#[test]
fn damaged_streams_decode_as_the_obvious_decoder_does() {
    let seed = std::env::var("TICKCORE_SEED").map_or(1, |text| text.parse().expect("TICKCORE_SEED is a number"));
    let rounds = 20_000;
    let mut skipped = 0;
    for round in seed..seed + rounds {
        let mut random = Random(round);
        let mut file = random_stream(round, 12);
        for _ in 0..random.below(6) {
            let position = random.below(file.len());
            match random.below(4) {
                0 => file[position] = random.byte(),
                1 => file[position] ^= 1 << random.below(8),
                2 => file.insert(position, random.byte()),
                _ => drop(file.remove(position)),
            }
        }
        let _printed_on_failure = SeedOfFailure(round);
        let (events, counts) = read_all(&mut ItchBytes::new(&file, &options()), 8, usize::MAX);
        assert_same(&file, &events, &counts);
        skipped += counts.malformed + counts.unknown_type;
    }
    assert!(skipped > rounds, "the damage is real: {skipped} messages skipped");
}

#[test]
fn a_stream_cut_at_any_byte_gives_the_whole_frames_before_the_cut() {
    let file = random_stream(7, 40);
    for cut in 0..=file.len() {
        let (events, counts) = read_all(&mut ItchBytes::new(&file[..cut], &options()), 8, usize::MAX);
        assert_same(&file[..cut], &events, &counts);
    }
}

#[test]
fn the_oracle_notices_a_difference() {
    let mut file = random_stream(7, 40);
    let (events, counts) = read_all(&mut ItchBytes::new(&file, &options()), 8, usize::MAX);
    // A byte of the first frame's time.
    file[9] ^= 1;
    let noticed = std::panic::catch_unwind(|| assert_same(&file, &events, &counts)).is_err();
    assert!(noticed);
}

/// A layout takes any bytes of its length, and the encoder gives the same bytes back with their frame.
fn assert_round_trip<M: Message>(random: &mut Random) {
    for _ in 0..100 {
        let mut payload: Vec<u8> = (0..M::LENGTH).map(|_| random.byte()).collect();
        payload[0] = M::TYPE;
        let message = M::read_from_bytes(&payload).expect("the length is right");
        let mut file = Vec::new();
        append_message(&mut file, &message);
        let mut expected = (M::LENGTH as u16).to_be_bytes().to_vec();
        expected.extend(&payload);
        assert_eq!(file, expected, "{}", M::NAME);
    }
    assert!(LENGTHS.contains(&(M::TYPE, M::LENGTH)), "{} has the length of the table", M::NAME);
}

#[test]
fn every_layout_encodes_to_the_bytes_it_was_read_from() {
    let mut random = Random(3);
    macro_rules! round_trips {
        ($( $layout:ident )*) => {{
            $( assert_round_trip::<itch50::$layout>(&mut random); )*
            [$( itch50::$layout::TYPE ),*]
        }};
    }
    let types = round_trips! {
        SystemEvent StockDirectory StockTradingAction RegShoRestriction MarketParticipantPosition MwcbDeclineLevel
        MwcbStatus IpoQuotingPeriod LuldAuctionCollar OperationalHalt AddOrder AddOrderMpid OrderExecuted
        OrderExecutedWithPrice OrderCancel OrderDelete OrderReplace Trade CrossTrade BrokenTrade NetOrderImbalance
        RetailPriceImprovement DirectListing
    };
    assert_eq!(types, itch50::TYPES);
}
