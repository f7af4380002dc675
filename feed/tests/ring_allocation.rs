//! After construction the ring allocates nothing and frees nothing. A test binary of its own, for its own allocator.

// loom's atomics, with which the ring is then built, work only inside a loom model.
#![cfg(not(loom))]
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tickcore_book::{Event, InstrumentId, Kind, TimestampNs};
use tickcore_feed::ring::Ring;

thread_local! {
    /// Calls to the allocator by this thread. `const` and without a destructor: reading it allocates nothing itself.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls_during(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

#[test]
fn a_running_ring_does_not_touch_the_allocator() {
    let ring = Ring::new(8, 2).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut lossy = ring.lossy_reader();
    let mut writer = ring.writer().unwrap();
    let events = [Event::new(Kind::Delete, InstrumentId(1), TimestampNs(1)); 16];
    let calls = calls_during(|| {
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
    assert_eq!(calls_during(|| drop(std::hint::black_box(Box::new(1_u64)))), 2);
}
