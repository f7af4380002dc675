//! Files of every kind give what their bytes in memory give, and say what is wrong with them.

use crate::oracle::{assert_same, options, random_stream};
use crate::{Words, read_all, read_until_error};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tickcore_book::{InstrumentId, Kind, TimestampNs};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::protocol::binary_file::{append_end_of_session, append_frame};
use tickcore_feed::protocol::itch50::{Header, SystemEvent, Timestamp, append_message};
use tickcore_feed::source::{
    BlockSizes, DetectError, Filled, Format, ItchBytes, ItchFile, ItchOptions, Source, SourceError, detect,
};

/// A stream that begins like a day does, so that detection accepts it.
fn stream(seed: u64, frames: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let header = Header::of::<SystemEvent>(0, Timestamp::new(1));
    append_message(&mut file, &SystemEvent { header, event_code: b'O' });
    file.extend(random_stream(seed, frames));
    file
}

fn write(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The stream in three compressed pieces, cut where no frame ends.
fn in_pieces(bytes: &[u8], compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (first, second) = (bytes.len() / 3 + 1, bytes.len() / 2 + 1);
    [&bytes[..first], &bytes[first..second], &[], &bytes[second..]].map(compress).concat()
}

fn open(path: &Path) -> ItchFile {
    ItchFile::open(path, &options()).unwrap()
}

fn events_in_memory(bytes: &[u8]) -> Vec<Words> {
    read_all(&mut ItchBytes::new(bytes, &options()), 64, usize::MAX).0
}

#[test]
fn plain_gzip_and_zstd_give_the_same() {
    let directory = TempDir::new().unwrap();
    let bytes = stream(1, 60_000);
    for (name, content, format) in [
        ("plain", bytes.clone(), Format::ItchPlain),
        ("one.gz", gzip(&bytes), Format::ItchGzip),
        ("members.gz", in_pieces(&bytes, gzip), Format::ItchGzip),
        ("one.zst", zstandard(&bytes), Format::ItchZstd),
        ("frames.zst", in_pieces(&bytes, zstandard), Format::ItchZstd),
        // A frame to be skipped in front, as pzstd writes.
        (
            "skippable.zst",
            [&[0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4], &zstandard(&bytes)[..]].concat(),
            Format::ItchZstd,
        ),
    ] {
        let path = write(&directory, name, &content);
        assert_eq!(detect(&path).unwrap(), format, "{name}");
        let mut file = open(&path);
        assert_eq!(file.format(), format);
        let progress = file.progress();
        assert_eq!(progress.file_size(), content.len() as u64);
        let (events, counts) = read_all(&mut file, 1024, usize::MAX);
        assert_same(&bytes, &events, &counts);
        assert_eq!(progress.bytes_read(), content.len() as u64, "{name}");
    }
}

#[test]
fn frames_are_whole_across_blocks_of_any_size() {
    let directory = TempDir::new().unwrap();
    let mut bytes = stream(2, 300);
    // Frames longer than a block, up to the longest.
    for length in [1_000, 65_534, 65_535] {
        append_frame(&mut bytes, &vec![b'z'; length]);
        bytes.extend(random_stream(length as u64, 3));
    }
    for (cut, name) in [(0, "whole"), (5, "cut")] {
        let bytes = &bytes[..bytes.len() - cut];
        let path = write(&directory, name, bytes);
        for block_bytes in [1, 2, 3, 7, 37, 38, 64, 1_000, 4_096, 65_536, 1 << 20] {
            let sizes = BlockSizes { count: 2 + block_bytes % 3, bytes: block_bytes };
            // Blocks of a few bytes only up to the long frames: each block copies what is there of a frame.
            let (path, bytes) = if block_bytes < 64 {
                let short = &bytes[..bytes.len().min(2_000)];
                (write(&directory, "short", short), short)
            } else {
                (path.clone(), bytes)
            };
            let mut file = ItchFile::open_in_blocks(&path, &options(), sizes).unwrap();
            let (events, counts) = read_all(&mut file, 16, 10);
            assert_same(bytes, &events, &counts);
        }
    }
}

#[test]
fn an_end_of_session_ends_the_source_and_what_follows_is_counted() {
    let directory = TempDir::new().unwrap();
    let mut bytes = stream(3, 50);
    append_end_of_session(&mut bytes);
    for after_end in [0, 3, 100_000] {
        let bytes = [&bytes[..], &vec![7; after_end]].concat();
        let path = write(&directory, "ended", &bytes);
        for block_bytes in [50, 1 << 20] {
            let sizes = BlockSizes { count: 2, bytes: block_bytes };
            let mut file = ItchFile::open_in_blocks(&path, &options(), sizes).unwrap();
            let (events, counts) = read_all(&mut file, 16, usize::MAX);
            assert_same(&bytes, &events, &counts);
            assert_eq!(counts.bytes_after_end, after_end as u64);
        }
    }
}

#[test]
fn a_cut_file_reports_its_tail() {
    let directory = TempDir::new().unwrap();
    let whole = stream(4, 30);
    for cut in 0..=whole.len() {
        let path = write(&directory, "cut", &whole[..cut]);
        assert_eq!(detect(&path).unwrap(), Format::ItchPlain, "{cut} bytes");
        // Every opened file has a thread and blocks of its own: small ones do.
        let sizes = BlockSizes { count: 2, bytes: 100 };
        let mut file = ItchFile::open_in_blocks(&path, &options(), sizes).unwrap();
        let (events, counts) = read_all(&mut file, 16, usize::MAX);
        assert_same(&whole[..cut], &events, &counts);
    }
}

#[test]
fn an_empty_file_is_no_error_in_any_form() {
    let directory = TempDir::new().unwrap();
    for (name, content) in [("plain", vec![]), ("gz", gzip(&[])), ("zst", zstandard(&[]))] {
        let path = write(&directory, name, &content);
        detect(&path).unwrap();
        let (events, counts) = read_all(&mut open(&path), 8, usize::MAX);
        assert_same(&[], &events, &counts);
    }
}

#[test]
fn damaged_compression_is_an_error_with_the_place_after_all_events_before_it() {
    let directory = TempDir::new().unwrap();
    let bytes = stream(5, 100_000);
    let expected = events_in_memory(&bytes);
    for (name, content, compression) in [("d.gz", gzip(&bytes), "gzip"), ("d.zst", zstandard(&bytes), "zstd")] {
        for is_cut in [true, false] {
            let mut content = content.clone();
            let middle = content.len() / 2;
            if is_cut {
                content.truncate(middle);
            } else {
                content[middle..middle + 64].fill(0xFF);
            }
            let path = write(&directory, name, &content);
            let (events, error) = read_until_error(&mut open(&path), 1024, usize::MAX);
            let error = error.expect("the damage is noticed");
            let text = error.to_string();
            assert!(
                text.contains(name) && text.contains(compression) && text.contains("fetch the file again"),
                "{text}"
            );
            let SourceError::Decompress { path: named, file_offset, stream_offset, .. } = error else {
                panic!("{error:?}")
            };
            assert_eq!(named, path);
            assert!(file_offset <= content.len() as u64);
            assert!(file_offset + (1 << 20) > middle as u64, "{file_offset} of {middle}");
            assert!(stream_offset > 0 && stream_offset <= bytes.len() as u64);
            // Damaged bytes may decompress to anything before a checksum tells, but not those far in front.
            assert!(events.len() > expected.len() / 4);
            let sound = if is_cut { events.len() } else { events.len() / 2 };
            assert_eq!(events[..sound], expected[..sound]);
        }
    }
}

#[test]
fn detection_says_what_it_found() {
    let directory = TempDir::new().unwrap();
    assert_eq!(detect(directory.path()).unwrap(), Format::JournalDirectory);
    let names = [Format::ItchPlain, Format::ItchGzip, Format::ItchZstd, Format::JournalDirectory].map(Format::name);
    assert_eq!(names, ["itch50", "itch50+gzip", "itch50+zstd", "journal"]);

    let error = detect(&directory.path().join("absent")).unwrap_err();
    assert!(
        matches!(error, DetectError::Open { .. }) && error.to_string().contains("absent: cannot open it"),
        "{error}"
    );
    let error = ItchFile::open(directory.path(), &options()).unwrap_err();
    assert!(matches!(error, SourceError::Detect(DetectError::NotAFile { .. })), "{error}");

    let page = b"<!doctype html>";
    for (name, content, compression) in
        [("page", page.to_vec(), "plain"), ("page.gz", gzip(page), "gzip"), ("page.zst", zstandard(page), "zstd")]
    {
        let path = write(&directory, name, &content);
        let error = detect(&path).unwrap_err();
        assert!(matches!(error, DetectError::NotItch { .. }), "{error:?}");
        let text = error.to_string();
        for part in [name, "offset 0", compression, "3c 21 64", "<!doctype", "expected", "check"] {
            assert!(text.contains(part), "{part} in: {text}");
        }
        assert!(ItchFile::open(&path, &options()).is_err());
    }

    // A gzip head with nothing sound behind it.
    let path = write(&directory, "broken.gz", &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    let error = detect(&path).unwrap_err();
    assert!(
        matches!(error, DetectError::Unreadable(_)) && error.to_string().contains("gzip data is damaged"),
        "{error}"
    );
}

#[test]
fn a_source_dropped_in_the_middle_stops_its_thread() {
    let directory = TempDir::new().unwrap();
    let path = write(&directory, "large.gz", &gzip(&stream(6, 200_000)));
    for messages in [0, 1, 5_000] {
        let mut file = ItchFile::open_in_blocks(&path, &options(), BlockSizes { count: 2, bytes: 1_000 }).unwrap();
        let mut batch = EventBatch::new(100_000);
        while file.counts().messages < messages {
            let limit = (messages - file.counts().messages) as usize;
            assert_ne!(file.fill(&mut batch, limit).unwrap(), Filled::End);
        }
        let progress = file.progress();
        drop(file);
        // The thread is gone: the reading stands still.
        let bytes_read = progress.bytes_read();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert_eq!(progress.bytes_read(), bytes_read);
        assert!(bytes_read < progress.file_size());
    }
}

/// Reads one message at a time, asking for its time first, as a paced replay does.
fn assert_paced(source: &mut impl Source, bytes: &[u8]) {
    let expected = events_in_memory(bytes);
    let mut batch = EventBatch::new(8);
    let mut events = Vec::new();
    let mut trusted = 0;
    loop {
        let time = source.next_time().unwrap();
        if time.is_some() {
            assert_eq!(source.next_time().unwrap(), time, "asking changes nothing");
            assert_eq!(source.fill(&mut batch, 0).unwrap(), Filled::Events);
            assert!(batch.is_empty(), "a limit of 0 decodes nothing");
        }
        match source.fill(&mut batch, usize::from(time.is_some())).unwrap() {
            Filled::Events => {
                if let (Some(time), Some(event)) = (time, batch.as_slice().last()) {
                    assert_eq!(event.exchange_time, time);
                    trusted += 1;
                }
                events.extend(batch.as_slice().iter().map(|event| event.to_words()));
                batch.clear();
            }
            Filled::Pending => std::thread::yield_now(),
            Filled::End => break,
        }
    }
    assert_eq!(events, expected);
    assert!(trusted > 1_000);
}

#[test]
fn the_time_of_the_next_message_is_that_of_its_events() {
    let directory = TempDir::new().unwrap();
    let mut bytes = stream(8, 5_000);
    append_end_of_session(&mut bytes);
    bytes.extend([0, 12, b'S']);
    assert_paced(&mut ItchBytes::new(&bytes, &options()), &bytes);
    let path = write(&directory, "paced.zst", &zstandard(&bytes));
    let sizes = BlockSizes { count: 3, bytes: 333 };
    assert_paced(&mut ItchFile::open_in_blocks(&path, &options(), sizes).unwrap(), &bytes);
}

#[test]
fn a_following_session_begins_with_its_boundary_and_goes_on_with_the_ids() {
    let directory = TempDir::new().unwrap();
    let bytes = stream(9, 500);
    let path = write(&directory, "day", &bytes);
    let mut first = ItchBytes::new(&bytes, &options());
    let plain = read_all(&mut first, 64, usize::MAX).0;
    let following = ItchOptions {
        midnight: Some(TimestampNs(77)),
        first_instrument: first.next_instrument(),
        is_following_session: true,
        ..ItchOptions::default()
    };
    let instruments = first.next_instrument().0 - 5;
    for (events, next) in [
        {
            let mut source = ItchBytes::new(&bytes, &following);
            (read_all(&mut source, 8, usize::MAX).0, source.next_instrument())
        },
        {
            let mut source = ItchFile::open(&path, &following).unwrap();
            (read_all(&mut source, 8, usize::MAX).0, source.next_instrument())
        },
    ] {
        assert_eq!(events.len(), plain.len() + 2);
        assert_eq!(events[0], [77, 0, u64::from(b'N'), 0, 0, 0, crate::tail(0, Kind::SessionEvent as u8, 0, 0x80)]);
        assert_eq!(events[1], [77, 0, 0, 0, 0, 0, crate::tail(0, Kind::Clear as u8, 0, 0x80)]);
        assert_eq!(next, InstrumentId(first.next_instrument().0 + instruments));
    }

    // It waits for room and for a limit above 0, and comes even when the session is empty.
    let mut source = ItchBytes::new(&[], &following);
    let mut batch = EventBatch::new(8);
    assert_eq!(source.fill(&mut batch, 0).unwrap(), Filled::Events);
    assert!(batch.is_empty());
    batch.push(tickcore_book::Event::default());
    assert_eq!(source.fill(&mut batch, 1).unwrap(), Filled::Events);
    assert_eq!(batch.len(), 1);
    batch.clear();
    assert_eq!(source.fill(&mut batch, 1).unwrap(), Filled::Events);
    assert_eq!(batch.len(), 2);
    assert_eq!(source.fill(&mut batch, 1).unwrap(), Filled::End);
}
