//! Every interleaving of a writer and a reader of interval recorders, by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p tickcore-latency --release --test swap_loom`.
//!
//! loom checks each access to the two values as strictly as plain memory. The last tests are the protocol once more, with
//! one ordering weakened at a time: each must be caught, or the first ones prove nothing.

#![cfg(loom)]
// For a cell through which loom checks accesses.
#![allow(unsafe_code)]

use tickcore_latency::stages::swap::pair;

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

#[test]
fn every_number_arrives_once_and_in_order() {
    model(|| {
        let (mut writer, mut reader) = pair(Vec::new(), Vec::new());
        let thread = loom::thread::spawn(move || {
            for number in 0..3 {
                writer.with(|value| value.push(number));
                writer.turn(|_| {});
            }
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            reader.ask();
            reader.with(|value| seen.append(value));
        }
        thread.join().unwrap();
        assert!(reader.drain(|value| seen.append(value)));
        assert_eq!(seen, [0, 1, 2]);
    });
}

#[test]
fn a_reader_that_drains_early_waits_for_the_end() {
    model(|| {
        let (mut writer, mut reader) = pair(0, 0);
        reader.ask();
        let thread = loom::thread::spawn(move || {
            writer.with(|value| *value += 1);
            writer.turn(|_| {});
            writer.with(|value| *value += 1);
        });
        while !reader.is_closed() {
            loom::thread::yield_now();
        }
        let mut sum = 0;
        assert!(reader.drain(|value| sum += *value));
        assert_eq!(sum, 2);
        thread.join().unwrap();
    });
}

mod weakened {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicBool, Ordering};

    /// The four orderings of the hand-over.
    #[derive(Clone, Copy)]
    struct Orderings {
        ask: Ordering,
        look: Ordering,
        give: Ordering,
        take: Ordering,
    }

    const RIGHT: Orderings =
        Orderings { ask: Ordering::Release, look: Ordering::Acquire, give: Ordering::Release, take: Ordering::Acquire };

    struct Shared {
        values: [UnsafeCell<u32>; 2],
        is_asked: AtomicBool,
    }

    // SAFETY: that is what is being checked.
    unsafe impl Sync for Shared {}

    fn add(cell: &UnsafeCell<u32>) {
        // SAFETY: loom fails the test when two threads reach in without an order between them.
        cell.with_mut(|value| unsafe { *value += 1 });
    }

    /// The reader clears its value and asks, the writer gives, the reader takes.
    fn run(orderings: Orderings) {
        super::model(move || {
            let values = [UnsafeCell::new(0), UnsafeCell::new(0)];
            let shared = Arc::new(Shared { values, is_asked: AtomicBool::new(false) });
            let writers = Arc::clone(&shared);
            let thread = loom::thread::spawn(move || {
                add(&writers.values[0]);
                while !writers.is_asked.load(orderings.look) {
                    loom::thread::yield_now();
                }
                writers.is_asked.store(false, orderings.give);
                add(&writers.values[1]);
            });
            add(&shared.values[1]);
            shared.is_asked.store(true, orderings.ask);
            while shared.is_asked.load(orderings.take) {
                loom::thread::yield_now();
            }
            add(&shared.values[0]);
            thread.join().unwrap();
        });
    }

    #[test]
    fn the_right_orderings_pass() {
        run(RIGHT);
    }

    #[test]
    #[should_panic]
    fn a_relaxed_ask_is_caught() {
        run(Orderings { ask: Ordering::Relaxed, ..RIGHT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_look_is_caught() {
        run(Orderings { look: Ordering::Relaxed, ..RIGHT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_give_is_caught() {
        run(Orderings { give: Ordering::Relaxed, ..RIGHT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_take_is_caught() {
        run(Orderings { take: Ordering::Relaxed, ..RIGHT });
    }
}
