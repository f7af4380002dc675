//! Recording, sampling and stamping allocate nothing and free nothing. A test binary of its own, for its own allocator.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use tickcore_latency::{Clock, Recorder, stages};

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
fn measuring_does_not_touch_the_allocator() {
    let clock = Clock::calibrate();
    let (mut recorder, mut other) = (Recorder::new(), Recorder::new());
    let calls = calls_during(|| {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let start = clock.now_fenced();
                recorder.record(value);
                other.record(clock.ns_between(start, clock.now()));
            }
        }
        recorder.record_all((0..100).map(|shift| u64::MAX >> (shift % 64)));
        recorder.merge(&other);
        assert!(recorder.summary().beyond_range > 0);
        recorder.clear();
    });
    assert_eq!(calls, 0);
}

#[test]
fn recording_stages_and_handing_them_over_does_not_touch_the_allocator() {
    let clock = Clock::calibrate();
    let (mut recorder, mut collector) = stages::recorders(&["a_ns", "b_ns"], clock.now());
    for round in 0..3 {
        collector.ask();
        let calls = calls_during(|| {
            for shift in 0..64 {
                recorder.record(shift % 2, u64::MAX >> shift);
            }
            recorder.record_repeated(0, 7, 3);
            recorder.record_all(0, [8; 5]);
            assert!(recorder.is_asked() && recorder.turn(&clock));
        });
        assert_eq!(calls, 0, "round {round}");
        assert_eq!(collector.take().expect("it was handed over").stages[0].count(), 40);
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(calls_during(|| drop(std::hint::black_box(Box::new(1_u64)))), 2);
    let mut growing = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    assert!(calls_during(|| growing.record(u64::MAX / 4).unwrap()) > 0, "an auto-resizing histogram allocates");
}
