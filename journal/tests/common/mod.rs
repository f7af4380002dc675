//! What the journal's tests share: events that follow from their number, and writing and reading journals of them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::Path;
use tickcore_book::{Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Sequence, TimestampNs};
use tickcore_journal::{
    Backend, Capacities, Metadata, OUTPUT_STREAMS_MAX, Options, PortableThread, Reader, Stream, Tail, Writer,
};

/// The event with this number: every word follows from it, and any two differ.
pub(crate) fn event(number: u64) -> Event {
    let mut event =
        Event::new(Kind::Add, InstrumentId((number % 11) as u32 + 1), TimestampNs(34_200_000_000_000 + number));
    event.receive_time = TimestampNs(number * 3);
    event.order_id = OrderId(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    event.reference = !number;
    event.price = Price(1_000_000_000 - number as i64);
    event.quantity = Quantity(number % 1000 + 1);
    event.side_number = (number % 2) as u8 + 1;
    event.flags = Flags::LAST;
    event
}

/// The output of a core with this number: told from inputs, and from those of other cores.
pub(crate) fn output(core: u16, number: u64) -> Event {
    event(number + 1_000_000 * (u64::from(core) + 1))
}

/// Small segments and little memory, so that a test is quick and many segments come about.
pub(crate) fn options() -> Options {
    Options { segment_bytes: 64 << 10, frame_bytes: 16 << 10, staging_bytes: 512 << 10, ..Options::default() }
}

/// What the tests say about their journals.
pub(crate) fn metadata() -> Metadata {
    Metadata {
        created: TimestampNs(1_700_000_000_000_000_000),
        has_times_since_midnight: true,
        capacities: Capacities { instruments_max: 11, orders_max: 1 << 20, levels_max: 1 << 16 },
        input: "numbers — from 1".to_owned(),
    }
}

/// Appends the next `count` records, polling as needed.
pub(crate) fn append(writer: &mut Writer, count: u64) {
    for _ in 0..count {
        while writer.room() == 0 {
            writer.poll().unwrap();
        }
        let sequence = writer.next_sequence();
        writer.append(sequence, &event(sequence.0)).unwrap();
    }
}

/// Appends the next `count` outputs of a core, polling as needed.
pub(crate) fn append_outputs(writer: &mut Writer, core: u16, count: u64) {
    for _ in 0..count {
        while writer.output_room(core) == 0 {
            writer.poll().unwrap();
        }
        let number = writer.next_output(core);
        writer.append_output(core, number, &output(core, number.0)).unwrap();
    }
}

/// A finished journal of `count` records.
pub(crate) fn write(directory: &Path, options: Options, count: u64) {
    let mut writer = Writer::create(directory, options, metadata()).unwrap();
    append(&mut writer, count);
    writer.finish().unwrap();
}

/// A journal as a killed writer leaves it: one frame for each of `counts`, each durable before the next was begun.
pub(crate) fn write_unsealed(directory: &Path, counts: &[u64]) {
    let mut writer = Writer::create(directory, options(), metadata()).unwrap();
    for &count in counts {
        append(&mut writer, count);
        writer.flush().unwrap();
    }
}

/// Reads all records, checks each, and returns their number and how the journal ends.
pub(crate) fn read_back(directory: &Path) -> (u64, Tail) {
    let mut reader = Reader::open(directory).unwrap();
    let count = read_on(&mut reader, 1);
    (count, reader.tail().clone())
}

/// Reads on from record `next` to the end and returns the last.
pub(crate) fn read_on(reader: &mut Reader, mut next: u64) -> u64 {
    while let Some(records) = reader.next_batch().unwrap() {
        assert!(!records.is_empty());
        for record in records {
            assert_eq!((record.sequence, record.event), (Sequence(next), event(next)));
            next += 1;
        }
    }
    next - 1
}

/// Reads every stream as far as it goes, and checks each record that is given. Errors are no business of this one's.
pub(crate) fn check_streams(directory: &Path, context: &str) {
    let cores = (0..OUTPUT_STREAMS_MAX as u16).map(Stream::outputs_of);
    for stream in std::iter::once(Stream::INPUTS).chain(cores.take(3)) {
        let Ok(mut reader) = Reader::open_stream(directory, stream) else { return };
        let mut next = 1;
        while let Ok(Some(records)) = reader.next_batch() {
            for record in records {
                let expected = stream.core().map_or_else(|| event(next), |core| output(core, next));
                assert_eq!((record.sequence.0, record.event), (next, expected), "{stream}, {context}");
                next += 1;
            }
        }
    }
}

/// Copies all files of a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Names of the segment files in a directory, sorted.
pub(crate) fn segments(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".tcj")).collect();
    names.sort();
    names
}

/// A thread for the portable backend.
pub(crate) fn portable_thread() -> PortableThread {
    PortableThread::new(|disk| {
        std::thread::Builder::new().name("tickcore-disk".to_owned()).spawn(|| disk.run()).map(|_| ())
    })
}

/// The backends of this machine; says aloud which are not to be had.
pub(crate) fn backends() -> Vec<Backend> {
    let scratch = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for backend in [Backend::IoUringFixed, Backend::IoUring, Backend::Portable] {
        let directory = scratch.path().join(backend.to_string());
        let writer = Writer::create(directory, Options { backend, ..options() }, metadata()).unwrap();
        if writer.backend() == backend {
            found.push(backend);
        } else {
            eprintln!("skipped: {backend} is not to be had here: {:?}", writer.notices());
        }
        writer.finish().unwrap();
    }
    assert!(found.contains(&Backend::Portable));
    found
}
