//! Decoding touches the allocator at no time after construction. A test binary of its own, for its own allocator.

use tickcore_allocations::{CountingAllocator, calls_during};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::protocol::itch50::{
    AddOrder, AddOrderMpid, Header, OrderDelete, OrderReplace, Stock, StockDirectory, Timestamp, U32, U64,
    append_message,
};
use tickcore_feed::source::{BlockSizes, Filled, ItchBytes, ItchFile, ItchOptions, Source};
use zerocopy::FromZeros;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Messages of several types, a new instrument now and then, and some that are skipped.
fn stream() -> Vec<u8> {
    let mut file = Vec::new();
    for number in 0..20_000_u64 {
        let locate = (number / 50 + 1) as u16;
        let time = Timestamp::new(number);
        let (reference, shares, stock, price) = (U64::new(number), U32::new(100), Stock::new("ABC"), U32::new(10_000));
        let header = Header::of::<StockDirectory>(locate, time);
        append_message(&mut file, &StockDirectory { header, stock, ..StockDirectory::new_zeroed() });
        let header = Header::of::<AddOrder>(locate + 1, time);
        append_message(&mut file, &AddOrder { header, reference, side: b'B', shares, stock, price });
        let header = Header::of::<AddOrderMpid>(locate, time);
        // No side: skipped.
        append_message(&mut file, &AddOrderMpid { header, reference, shares, ..AddOrderMpid::new_zeroed() });
        let header = Header::of::<OrderReplace>(locate, time);
        let (original_reference, new_reference) = (reference, U64::new(number + 1_000_000));
        append_message(&mut file, &OrderReplace { header, original_reference, new_reference, shares, price });
        append_message(&mut file, &OrderDelete { header: Header::of::<OrderDelete>(locate, time), reference });
    }
    file
}

/// Allocator calls from the first to the last message.
fn calls_of(source: &mut impl Source, batch: &mut EventBatch) -> u64 {
    let ((), calls) = calls_during(|| {
        loop {
            let _ = source.next_time();
            batch.clear();
            match source.fill(batch, 1_000) {
                Ok(Filled::Events) => {}
                Ok(Filled::Pending) => std::thread::yield_now(),
                Ok(Filled::End) => return,
                Err(error) => panic!("{error}"),
            }
        }
    });
    assert_eq!((source.counts().messages, source.counts().malformed), (100_000, 20_000));
    calls
}

#[test]
fn decoding_does_not_touch_the_allocator() {
    let bytes = stream();
    let mut batch = EventBatch::new(256);
    assert_eq!(calls_of(&mut ItchBytes::new(&bytes, &ItchOptions::default()), &mut batch), 0);

    let directory = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in
        [("plain", bytes.clone()), ("zstd", zstd::encode_all(&bytes[..], 1).expect("compression works"))]
    {
        let path = directory.path().join(name);
        std::fs::write(&path, content).expect("the file can be written");
        let sizes = BlockSizes { count: 3, bytes: 10_000 };
        let mut file = ItchFile::open_in_blocks(&path, &ItchOptions::default(), sizes).expect("it is ITCH");
        assert_eq!(calls_of(&mut file, &mut batch), 0, "{name}");
    }

    // The counter counts: to make a batch allocates for events and for their places.
    assert_eq!(calls_during(|| std::mem::forget(EventBatch::new(8))).1, 2);
}
