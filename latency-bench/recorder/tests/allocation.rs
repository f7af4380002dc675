//! Recording, sampling and stamping allocate nothing and free nothing. A test binary of its own, for its own allocator.

use tickcore_allocations::{CountingAllocator, calls_during, is_counting};
use tickcore_latency::{Clock, Recorder, stages};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn measuring_does_not_touch_the_allocator() {
    let clock = Clock::calibrate();
    let (mut recorder, mut other) = (Recorder::new(), Recorder::new());
    let ((), calls) = calls_during(|| {
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
        let ((), calls) = calls_during(|| {
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
    assert!(is_counting());
    let mut growing = hdrhistogram::Histogram::<u64>::new(3).unwrap();
    assert!(calls_during(|| growing.record(u64::MAX / 4).unwrap()).1 > 0, "an auto-resizing histogram allocates");
}
