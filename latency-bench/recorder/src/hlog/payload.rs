//! One histogram in HdrHistogram's V2 form: a header, and the counts as variable-length numbers with runs of zeros.
//!
//! | bytes | content, big-endian |
//! |---|---|
//! | 0 | cookie |
//! | 4 | bytes of the counts |
//! | 8 | normalising offset, 0 |
//! | 12 | significant digits |
//! | 16 | lowest value told from 0 |
//! | 24 | highest value kept |
//! | 32 | ratio of integers to values, 1.0 |
//! | 40 | counts: n > 0 is the count of the next bucket, n < 0 passes over −n empty ones |
//!
//! In a log these bytes are compressed by zlib, behind a cookie and a length of their own.

use crate::distribution::{Bucket, Distribution};
use crate::geometry::Geometry;
use crate::recorder::Recorder;
use flate2::Compression;
use flate2::read::{ZlibDecoder, ZlibEncoder};
use std::io::Read;

const COOKIE: u32 = 0x1c84_9313;
const COOKIE_COMPRESSED: u32 = 0x1c84_9314;
/// The low half of a cookie's last byte tells the version, the high half the width of its words.
const VERSION_MASK: u32 = 0xffff_ff0f;
const VERSIONS_BEFORE: [u32; 4] = [0x1c84_9308, 0x1c84_9309, 0x1c84_9301, 0x1c84_9302];

const HEADER_BYTES: usize = 40;
const COMPRESSED_HEADER_BYTES: usize = 8;

/// Most bytes of an uncompressed histogram that are taken: five digits over the whole of 64 bits have 6.4 million buckets.
const INNER_BYTES_MAX: u64 = 64 << 20;

/// The compressed form of the values within a recorder's range.
pub(super) fn encode(distribution: &Distribution) -> Vec<u8> {
    let mut counts = Vec::new();
    let mut next = 0;
    for bucket in distribution.buckets() {
        let index = Geometry::NANOSECONDS.index_of(bucket.value_ns);
        if index > next {
            write_number(&mut counts, -((index - next) as i64));
        }
        // A count of more than 63 bits would be 292 years of events at 1 GHz.
        write_number(&mut counts, i64::try_from(bucket.count).unwrap_or(i64::MAX));
        next = index + 1;
    }
    let mut inner = Vec::with_capacity(HEADER_BYTES + counts.len());
    inner.extend_from_slice(&COOKIE.to_be_bytes());
    inner.extend_from_slice(&(counts.len() as u32).to_be_bytes());
    inner.extend_from_slice(&0_u32.to_be_bytes());
    inner.extend_from_slice(&u32::from(Recorder::SIGNIFICANT_DIGITS).to_be_bytes());
    inner.extend_from_slice(&1_u64.to_be_bytes());
    inner.extend_from_slice(&Recorder::RANGE_MAX_NS.to_be_bytes());
    inner.extend_from_slice(&1.0_f64.to_be_bytes());
    inner.extend_from_slice(&counts);

    let mut bytes = vec![0; COMPRESSED_HEADER_BYTES];
    ZlibEncoder::new(inner.as_slice(), Compression::default())
        .read_to_end(&mut bytes)
        .expect("compressing from memory to memory does not fail");
    let length = (bytes.len() - COMPRESSED_HEADER_BYTES) as u32;
    bytes[..4].copy_from_slice(&COOKIE_COMPRESSED.to_be_bytes());
    bytes[4..COMPRESSED_HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// The buckets of a histogram in compressed form, each by its largest value, or what is wrong with it.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Bucket>, String> {
    let (cookie, rest) = take_u32(bytes).ok_or("the histogram ends within its cookie")?;
    check_cookie(cookie, COOKIE_COMPRESSED)?;
    let (length, rest) = take_u32(rest).ok_or("the histogram ends within its length")?;
    let compressed = rest.get(..length as usize).ok_or_else(|| {
        format!("the histogram says {length} compressed bytes and has {}: the line is cut", rest.len())
    })?;
    let mut inner = Vec::new();
    ZlibDecoder::new(compressed)
        .take(INNER_BYTES_MAX + 1)
        .read_to_end(&mut inner)
        .map_err(|error| format!("the compressed histogram is damaged: {error}"))?;
    if inner.len() as u64 > INNER_BYTES_MAX {
        return Err(format!("the histogram has more than {INNER_BYTES_MAX} bytes, which none needs"));
    }
    decode_inner(&inner)
}

fn decode_inner(inner: &[u8]) -> Result<Vec<Bucket>, String> {
    if inner.len() < HEADER_BYTES {
        return Err(format!("the histogram has {} bytes, its header alone takes {HEADER_BYTES}", inner.len()));
    }
    let word = |offset: usize| u32::from_be_bytes(inner[offset..offset + 4].try_into().expect("four bytes"));
    let long = |offset: usize| u64::from_be_bytes(inner[offset..offset + 8].try_into().expect("eight bytes"));
    check_cookie(word(0), COOKIE)?;
    let counts_bytes = word(4) as usize;
    let counts = inner[HEADER_BYTES..].get(..counts_bytes).ok_or_else(|| {
        format!("the histogram says {counts_bytes} bytes of counts and has {}", inner.len() - HEADER_BYTES)
    })?;
    if word(8) != 0 {
        return Err("the histogram is shifted (normalising offset), which is not read".to_owned());
    }
    let (digits, lowest) = (word(12), long(16));
    let geometry =
        Geometry::new(lowest, digits).ok_or_else(|| format!("no histogram has {digits} digits from {lowest} up"))?;
    let mut buckets = Vec::new();
    let mut index = 0_usize;
    let mut rest = counts;
    while !rest.is_empty() {
        let (number, after) = read_number(rest).ok_or("the histogram ends within a count")?;
        rest = after;
        // A count of 0 is one empty bucket, whichever way it is written.
        let step = if number < 0 { usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX) } else { 1 };
        if number > 0 {
            let (_, value_ns) = geometry.range_of(index).ok_or("the histogram has counts beyond 64 bits")?;
            buckets.push(Bucket { value_ns, count: number.unsigned_abs() });
        }
        index = index.checked_add(step).ok_or("the histogram passes over more buckets than there are")?;
    }
    Ok(buckets)
}

fn check_cookie(found: u32, wanted: u32) -> Result<(), String> {
    if found & VERSION_MASK == wanted & VERSION_MASK {
        return Ok(());
    }
    if VERSIONS_BEFORE.contains(&(found & VERSION_MASK)) {
        return Err(
            "the histogram is of version 0 or 1; only version 2 is read: write the log again with a newer tool"
                .to_owned(),
        );
    }
    Err(format!("0x{found:08x} is no cookie of a histogram"))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

/// Seven bits to a byte, lowest first, the sign folded into the lowest bit; a ninth byte has eight bits.
fn write_number(out: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    for _ in 0..8 {
        if rest < 0x80 {
            out.push(rest as u8);
            return;
        }
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn read_number(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut folded = 0_u64;
    for place in 0..9 {
        let byte = *bytes.get(place)?;
        let is_ninth = place == 8;
        let bits = if is_ninth { byte } else { byte & 0x7f };
        folded |= u64::from(bits) << (7 * place);
        if is_ninth || byte < 0x80 {
            return Some(((folded >> 1) as i64 ^ -((folded & 1) as i64), &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (0_u32..35, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1));
        prop::collection::vec(value, 0..300)
    }

    fn theirs_of(values: &[u64]) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, Recorder::RANGE_MAX_NS, 3).unwrap();
        values.iter().for_each(|&value| histogram.record(value).unwrap());
        histogram
    }

    proptest! {
        #[test]
        fn the_hdrhistogram_crate_reads_what_is_written(values in values()) {
            let bytes = encode(&Distribution::of_values(values.iter().copied()));
            let theirs: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
            prop_assert_eq!(theirs, theirs_of(&values));
        }

        #[test]
        fn what_the_hdrhistogram_crate_writes_is_read(values in values()) {
            let mut bytes = Vec::new();
            V2DeflateSerializer::new().serialize(&theirs_of(&values), &mut bytes).unwrap();
            let buckets = decode(&bytes).unwrap();
            let expected: Vec<Bucket> = theirs_of(&values)
                .iter_recorded()
                .map(|bucket| Bucket { value_ns: bucket.value_iterated_to(), count: bucket.count_at_value() })
                .collect();
            prop_assert_eq!(buckets, expected);
        }

        #[test]
        fn numbers_come_back(number in any::<i64>(), bits in 0_u32..64) {
            for number in [number >> bits, -(number >> bits).saturating_abs(), i64::MIN, i64::MAX, 0] {
                let mut bytes = Vec::new();
                write_number(&mut bytes, number);
                bytes.push(7);
                prop_assert_eq!(read_number(&bytes), Some((number, &[7_u8][..])));
            }
        }

        #[test]
        fn damage_is_an_error_or_another_histogram_and_never_a_panic(
            values in values(), place in 0_usize..200, byte in any::<u8>(), cut in 0_usize..300,
        ) {
            let mut inner = Vec::new();
            V2Serializer::new().serialize(&theirs_of(&values), &mut inner).unwrap();
            if let Some(target) = inner.get_mut(place) {
                *target = byte;
            }
            let _ = decode_inner(&inner);
            let _ = decode_inner(&inner[..cut.min(inner.len())]);
            let _ = decode(&inner);
            let mut bytes = encode(&Distribution::of_values(values));
            if let Some(target) = bytes.get_mut(place) {
                *target = byte;
            }
            let _ = decode(&bytes);
            let _ = decode(&bytes[..cut.min(bytes.len())]);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let good = encode(&Distribution::of_values([5]));
        let with_word = |word: u32, bytes: &[u8]| [&word.to_be_bytes(), &bytes[4..]].concat();
        for (bytes, words) in [
            (Vec::new(), "ends within its cookie"),
            (with_word(0x1c84_9302 | 0x10, &good), "version 0 or 1"),
            (with_word(7, &good), "no cookie"),
            (good[..good.len() - 1].to_vec(), "the line is cut"),
            ([&good[..8], b"nonsense, and more of it than the length that was said"].concat(), "damaged"),
        ] {
            let error = decode(&bytes).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    /// Sixty-four mebibytes of zeros compress to a thousandth.
    #[test]
    fn a_histogram_that_unpacks_without_end_is_refused() {
        let mut bytes = vec![0; COMPRESSED_HEADER_BYTES];
        let zeros = std::io::repeat(0).take(INNER_BYTES_MAX + 10);
        ZlibEncoder::new(zeros, Compression::best()).read_to_end(&mut bytes).unwrap();
        let length = (bytes.len() - COMPRESSED_HEADER_BYTES) as u32;
        bytes[..4].copy_from_slice(&COOKIE_COMPRESSED.to_be_bytes());
        bytes[4..8].copy_from_slice(&length.to_be_bytes());
        assert!(decode(&bytes).unwrap_err().contains("which none needs"));
    }
}
