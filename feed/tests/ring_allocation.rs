//! After construction the ring allocates nothing and frees nothing. A test binary of its own, for its own allocator.

// loom's atomics, with which the ring is then built, work only inside a loom model.
#![cfg(not(loom))]

use tickcore_allocations::{CountingAllocator, calls_during, is_counting};
use tickcore_book::{Event, InstrumentId, Kind, TimestampNs};
use tickcore_feed::ring::Ring;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn a_running_ring_does_not_touch_the_allocator() {
    let ring = Ring::new(8, 2).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut lossy = ring.lossy_reader();
    let mut writer = ring.writer().unwrap();
    let events = [Event::new(Kind::Delete, InstrumentId(1), TimestampNs(1)); 16];
    let ((), calls) = calls_during(|| {
        for _ in 0..1_000 {
            writer.try_publish(&events[0]).unwrap();
            writer.publish_batch(&events);
            assert_eq!(writer.free(), 0);
            let mut late = ring.reader().unwrap();
            let mut copies = [Event::default(); 4];
            assert_eq!(reader.read_into(&mut copies) + reader.poll(16, |_, _| ()), 8);
            assert_eq!(late.poll(16, |_, _| ()), 0);
            assert!(lossy.poll(4, |_, _| ()).lost > 0 || lossy.read_into(&mut copies).read > 0);
            let mut claim = writer.claim(2).unwrap();
            claim.push(&events[0]);
            claim.commit();
            assert_eq!((reader.batch(4).count(), late.poll(4, |_, _| ())), (1, 1));
        }
        writer.close();
        drop(reader);
    });
    assert_eq!(calls, 0);
}

#[test]
fn the_counter_counts() {
    assert!(is_counting());
}
