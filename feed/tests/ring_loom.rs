//! Every interleaving of small cases of the ring, by loom:
//! `RUSTFLAGS="--cfg loom" cargo test -p tickcore-feed --release --test ring_loom`.
//!
//! The first half drives the ring itself. The second half is its protocol once more, small enough to weaken one ordering
//! at a time: with every ordering in place it passes, and each weakening must be caught, or the first half proves
//! nothing. Each model is bounded to the number of preemptions that it names.

#![cfg(loom)]
// For a cell through which loom checks accesses as strictly as plain memory.
#![allow(unsafe_code)]

use tickcore_book::{Event, InstrumentId, Kind, OrderId, Sequence, TimestampNs};
use tickcore_feed::ring::{LossyReader, Reader, Ring, Wait, Writer};

fn event(number: u64) -> Event {
    Event {
        order_id: OrderId(number),
        reference: !number,
        ..Event::new(Kind::Add, InstrumentId(1), TimestampNs(number))
    }
}

fn model(preemptions_max: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.max_branches = 20_000;
    builder.check(run);
}

fn publish(writer: &mut Writer, count: u64) {
    let mut waiter = Wait::Spin.waiter();
    for number in 1..=count {
        while writer.try_publish(&event(number)).is_err() {
            waiter.idle();
        }
    }
}

/// Reads up to the end of the ring and returns what came; each event must be the one of its sequence.
fn read_to_end(reader: &mut Reader, max: usize) -> Vec<u64> {
    let mut waiter = Wait::Spin.waiter();
    let mut sequences = Vec::new();
    while !reader.is_closed_and_drained() {
        let read = reader.poll(max, |sequence, content| {
            assert_eq!(*content, event(sequence.0));
            sequences.push(sequence.0);
        });
        if read == 0 {
            waiter.idle();
        }
    }
    sequences
}

/// Looks `times` times; each event must be the one of its sequence, and read or lost. Returns the last sequence of these.
fn read_lossy(reader: &mut LossyReader, times: usize) -> u64 {
    for _ in 0..times {
        let mut next = reader.next_sequence().0;
        let result = reader.poll(2, |sequence, content| {
            assert_eq!((sequence, *content), (Sequence(next), event(next)));
            next += 1;
        });
        assert_eq!(reader.next_sequence(), Sequence(next + result.lost));
    }
    reader.next_sequence().0 - 1
}

mod the_ring {
    use super::*;

    #[test]
    fn one_reader_over_the_wrap_and_to_the_end() {
        model(4, || {
            let ring = Ring::new(2, 1).unwrap();
            let mut reader = ring.reader().unwrap();
            let mut writer = ring.writer().unwrap();
            let thread = loom::thread::spawn(move || publish(&mut writer, 3));
            assert_eq!(read_to_end(&mut reader, 1), [1, 2, 3]);
            thread.join().unwrap();
        });
    }

    #[test]
    fn batches_on_both_sides() {
        model(4, || {
            let ring = Ring::new(2, 1).unwrap();
            let mut reader = ring.reader().unwrap();
            let mut writer = ring.writer().unwrap();
            let thread = loom::thread::spawn(move || {
                let mut events = &[event(1), event(2), event(3), event(4)][..];
                while !events.is_empty() {
                    events = &events[writer.publish_batch(events)..];
                    loom::thread::yield_now();
                }
            });
            assert_eq!(read_to_end(&mut reader, 2), [1, 2, 3, 4]);
            thread.join().unwrap();
        });
    }

    /// Four lines are claimed and committed by two.
    #[test]
    fn a_claim_is_seen_whole() {
        model(3, || {
            let ring = Ring::new(4, 1).unwrap();
            let mut reader = ring.reader().unwrap();
            let mut writer = ring.writer().unwrap();
            let thread = loom::thread::spawn(move || {
                let mut claim = writer.claim(2).unwrap();
                claim.push(&event(1));
                claim.push(&event(2));
                claim.commit();
                assert_eq!(writer.publish_batch(&[event(3), event(4)]), 2);
            });
            let first = reader.poll(2, |sequence, content| assert_eq!(*content, event(sequence.0)));
            assert!(first == 0 || first == 2, "half a batch");
            assert_eq!(read_to_end(&mut reader, 2), (first as u64 + 1..=4).collect::<Vec<_>>());
            thread.join().unwrap();
        });
    }

    #[test]
    fn a_lossy_reader_never_sees_half_an_event_and_counts_what_it_lost() {
        model(3, || {
            let ring = Ring::new(4, 1).unwrap();
            let mut writer = ring.writer().unwrap();
            let mut reader = ring.lossy_reader();
            let thread = loom::thread::spawn(move || {
                assert_eq!(writer.publish_batch(&[event(1), event(2), event(3), event(4), event(5)]), 5);
            });
            assert!(read_lossy(&mut reader, 3) <= 5);
            thread.join().unwrap();
            assert_eq!(read_lossy(&mut reader, 10), 5);
            assert!(reader.is_closed_and_drained());
        });
    }

    #[test]
    fn a_lossy_reader_joins_while_it_runs() {
        model(2, || {
            let ring = Ring::new(2, 1).unwrap();
            let mut writer = ring.writer().unwrap();
            let thread = loom::thread::spawn(move || publish(&mut writer, 3));
            let mut reader = ring.lossy_reader();
            read_lossy(&mut reader, 1);
            thread.join().unwrap();
            assert_eq!(read_lossy(&mut reader, 4), 3);
        });
    }

    /// Only the writer waits here: loom lets two waiting threads take turns for ever without running the third.
    #[test]
    fn two_readers_hold_the_writer_until_they_are_done() {
        model(2, || {
            let ring = Ring::new(2, 2).unwrap();
            let mut writer = ring.writer().unwrap();
            let readers = [(); 2].map(|()| {
                let mut reader = ring.reader().unwrap();
                loom::thread::spawn(move || {
                    let mut expected = 1;
                    for _ in 0..2 {
                        reader.poll(2, |sequence, content| {
                            assert_eq!((sequence, *content), (Sequence(expected), event(expected)));
                            expected += 1;
                        });
                    }
                })
            });
            publish(&mut writer, 3);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }

    #[test]
    fn the_writer_does_not_wait_for_a_reader_that_left() {
        model(4, || {
            let ring = Ring::new(2, 1).unwrap();
            let mut reader = ring.reader().unwrap();
            let mut writer = ring.writer().unwrap();
            let thread = loom::thread::spawn(move || publish(&mut writer, 4));
            reader.poll(1, |sequence, content| assert_eq!((sequence, *content), (Sequence(1), event(1))));
            drop(reader);
            thread.join().unwrap();
        });
    }

    #[test]
    fn a_reader_that_joins_while_it_runs_misses_nothing_from_there_on() {
        model(3, || {
            let ring = Ring::new(2, 1).unwrap();
            let mut writer = ring.writer().unwrap();
            let thread = loom::thread::spawn(move || publish(&mut writer, 5));
            let mut reader = ring.reader().unwrap();
            let first = reader.next_sequence().0;
            assert_eq!(read_to_end(&mut reader, 2), (first..=5).collect::<Vec<_>>());
            thread.join().unwrap();
        });
    }

    #[test]
    fn a_slot_passes_from_one_reader_to_the_next() {
        model(3, || {
            let ring = Ring::new(2, 1).unwrap();
            let mut reader = ring.reader().unwrap();
            let mut writer = ring.writer().unwrap();
            let thread = loom::thread::spawn(move || publish(&mut writer, 4));
            reader.poll(1, |sequence, content| assert_eq!((sequence, *content), (Sequence(1), event(1))));
            drop(reader);
            let mut reader = ring.reader().unwrap();
            let first = reader.next_sequence().0;
            assert_eq!(read_to_end(&mut reader, 2), (first..=4).collect::<Vec<_>>());
            thread.join().unwrap();
        });
    }
}

mod weakened {
    use super::model;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, Ordering, fence};

    /// Cursor of a reader that has not joined.
    const VACANT: u64 = u64::MAX;

    /// The orderings that the ring's protocol rests on.
    #[derive(Clone, Copy)]
    struct Orderings {
        /// The writer stores a line's sequence.
        publish: Ordering,
        /// A reader finds it.
        observe: Ordering,
        /// A reader stores its cursor.
        release: Ordering,
        /// The writer loads it.
        gate: Ordering,
        /// The writer stores the sequence of a batch's first line, the last of its stores.
        commit: Ordering,
        /// The writer announces a limit, and a reader that joins loads it.
        announce: Ordering,
        learn: Ordering,
        /// The writer's fence between its claim and the stores that it claims for, and the lossy reader's between its loads
        /// and looking at the claim.
        is_claim_fenced: bool,
        is_check_fenced: bool,
        /// Fences between announcing a limit, or registering a cursor, and looking at the other.
        are_joins_fenced: bool,
    }

    /// As `feed/src/ring/lane.rs` and `feed/src/ring/region.rs` have them.
    const AS_BUILT: Orderings = Orderings {
        publish: Ordering::Release,
        observe: Ordering::Acquire,
        release: Ordering::Release,
        gate: Ordering::Acquire,
        commit: Ordering::Release,
        announce: Ordering::Release,
        learn: Ordering::Acquire,
        is_claim_fenced: true,
        is_check_fenced: true,
        are_joins_fenced: true,
    };

    /// What a line carries besides its sequence.
    trait Payload: Default {
        fn set(&self, value: u64);
        fn get(&self) -> u64;
    }

    /// As the product has it: loom reports a stale value, but lets no load see a store that runs later.
    #[derive(Default)]
    struct Words(AtomicU64);

    impl Payload for Words {
        fn set(&self, value: u64) {
            self.0.store(value, Ordering::Relaxed);
        }

        fn get(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// Plain memory: loom reports every pair of accesses that nothing orders.
    #[derive(Default)]
    struct Plain(UnsafeCell<u64>);

    // SAFETY: loom checks each access through `with` and `with_mut` and fails the model on a data race.
    unsafe impl Sync for Plain {}

    impl Payload for Plain {
        fn set(&self, value: u64) {
            // SAFETY: loom has just checked that nothing else accesses the cell.
            self.0.with_mut(|cell| unsafe { *cell = value });
        }

        fn get(&self) -> u64 {
            // SAFETY: loom has just checked that nothing writes the cell.
            self.0.with(|cell| unsafe { *cell })
        }
    }

    /// A ring of one line and one reader.
    struct OneLine<P> {
        orderings: Orderings,
        sequence: AtomicU64,
        payload: P,
        cursor: AtomicU64,
        announced_limit: AtomicU64,
    }

    impl<P: Payload + Send + Sync + 'static> OneLine<P> {
        fn new(orderings: Orderings, cursor: u64) -> Arc<Self> {
            Arc::new(Self {
                orderings,
                sequence: AtomicU64::new(0),
                payload: P::default(),
                cursor: AtomicU64::new(cursor),
                announced_limit: AtomicU64::new(1),
            })
        }

        fn limit_after(&self, head: u64) -> u64 {
            self.cursor.load(self.orderings.gate).min(head) + 1
        }

        fn publish(&self, count: u64) {
            let mut limit = 1;
            for sequence in 1..=count {
                while limit < sequence {
                    let found = self.limit_after(sequence - 1);
                    if found > self.announced_limit.load(Ordering::Relaxed) {
                        self.announced_limit.store(found, Ordering::Relaxed);
                        self.join_fence();
                    }
                    limit = limit.max(found.min(self.limit_after(sequence - 1)));
                    if limit < sequence {
                        loom::thread::yield_now();
                    }
                }
                self.payload.set(sequence);
                self.sequence.store(sequence, self.orderings.publish);
            }
        }

        fn join(&self) -> u64 {
            let mut limit = self.announced_limit.load(Ordering::Relaxed);
            loop {
                self.cursor.store(limit - 1, Ordering::Release);
                self.join_fence();
                let announced = self.announced_limit.load(Ordering::Relaxed);
                if announced == limit {
                    return limit - 1;
                }
                limit = announced;
            }
        }

        fn join_fence(&self) {
            if self.orderings.are_joins_fenced {
                fence(Ordering::SeqCst);
            }
        }

        /// Reads the events behind `position` up to `last`.
        fn read(&self, position: u64, last: u64) {
            for sequence in position + 1..=last {
                loop {
                    let found = self.sequence.load(self.orderings.observe);
                    assert!(found <= sequence, "event {sequence} was overwritten by {found}");
                    if found == sequence {
                        break;
                    }
                    loom::thread::yield_now();
                }
                assert_eq!(self.payload.get(), sequence);
                self.cursor.store(sequence, self.orderings.release);
            }
        }
    }

    /// A reader that was there from the start. Nobody joins, so the fences for that, which order more than they are there
    /// for, are left out.
    fn publish_and_read<P: Payload + Send + Sync + 'static>(orderings: Orderings) {
        let orderings = Orderings { are_joins_fenced: false, ..orderings };
        model(4, move || {
            let line = OneLine::<P>::new(orderings, 0);
            let writer = Arc::clone(&line);
            let thread = loom::thread::spawn(move || writer.publish(2));
            line.read(0, 2);
            thread.join().unwrap();
        });
    }

    /// A reader that joins while the writer runs.
    fn publish_and_join(orderings: Orderings) {
        model(4, move || {
            let line = OneLine::<Words>::new(orderings, VACANT);
            let writer = Arc::clone(&line);
            let thread = loom::thread::spawn(move || writer.publish(3));
            let position = line.join();
            line.read(position, 3);
            thread.join().unwrap();
        });
    }

    /// Two lines that are written as one batch: in no order but that the first's sequence comes last.
    struct Batch {
        sequences: [AtomicU64; 2],
        payloads: [Plain; 2],
        committed: AtomicU64,
    }

    impl Batch {
        fn new() -> Arc<Self> {
            Arc::new(Self { sequences: Default::default(), payloads: Default::default(), committed: AtomicU64::new(0) })
        }

        fn write(&self, orderings: Orderings) {
            self.payloads[0].set(1);
            self.sequences[1].store(2, Ordering::Relaxed);
            self.payloads[1].set(2);
            self.sequences[0].store(1, orderings.commit);
            // What a limit says to a reader that joins, and the mark to a lossy one.
            self.committed.store(1, orderings.announce);
        }

        fn read_from(&self, first: usize, orderings: Orderings) {
            for place in first..2 {
                if self.sequences[place].load(orderings.observe) != place as u64 + 1 {
                    return;
                }
                assert_eq!(self.payloads[place].get(), place as u64 + 1);
            }
        }
    }

    /// A reader that comes to the first line of a batch.
    fn commit_and_read(orderings: Orderings) {
        model(4, move || {
            let batch = Batch::new();
            let writer = Arc::clone(&batch);
            let thread = loom::thread::spawn(move || writer.write(orderings));
            batch.read_from(0, orderings);
            thread.join().unwrap();
        });
    }

    /// A reader that joins in the middle of a batch that was committed.
    fn commit_and_join(orderings: Orderings) {
        model(4, move || {
            let batch = Batch::new();
            let writer = Arc::clone(&batch);
            let thread = loom::thread::spawn(move || writer.write(orderings));
            if batch.committed.load(orderings.learn) == 1 {
                batch.read_from(1, orderings);
            }
            thread.join().unwrap();
        });
    }

    /// A line that is overwritten while a reader for which nobody waits copies it. In a file it is the same: it is the same
    /// words, and the reader stores none.
    fn overrun(orderings: Orderings) {
        model(4, move || {
            let line = Arc::new((AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)));
            let writer = Arc::clone(&line);
            let thread = loom::thread::spawn(move || {
                let (sequence, payload, claimed) = &*writer;
                for next in 1..=2 {
                    claimed.store(next, Ordering::Relaxed);
                    if orderings.is_claim_fenced {
                        fence(Ordering::Release);
                    }
                    payload.store(next, Ordering::Relaxed);
                    sequence.store(next, orderings.publish);
                }
            });
            let (sequence, payload, claimed) = &*line;
            if sequence.load(orderings.observe) == 1 {
                let copy = payload.load(Ordering::Relaxed);
                if orderings.is_check_fenced {
                    fence(Ordering::Acquire);
                }
                // One line: event 1 is intact while nothing beyond it is claimed.
                if claimed.load(Ordering::Relaxed) <= 1 {
                    assert_eq!(copy, 1);
                }
            }
            thread.join().unwrap();
        });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_commit_is_caught() {
        commit_and_read(Orderings { commit: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_announcement_is_caught() {
        commit_and_join(Orderings { announce: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_look_at_an_announcement_is_caught() {
        commit_and_join(Orderings { learn: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_claim_without_its_fence_is_caught() {
        overrun(Orderings { is_claim_fenced: false, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_check_without_its_fence_is_caught() {
        overrun(Orderings { is_check_fenced: false, ..AS_BUILT });
    }

    #[test]
    fn nothing_weakened_passes() {
        publish_and_read::<Words>(AS_BUILT);
        publish_and_read::<Plain>(AS_BUILT);
        publish_and_join(AS_BUILT);
        commit_and_read(AS_BUILT);
        commit_and_join(AS_BUILT);
        overrun(AS_BUILT);
    }

    #[test]
    #[should_panic]
    fn a_relaxed_publish_is_caught_with_atomic_words() {
        publish_and_read::<Words>(Orderings { publish: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_observe_is_caught_with_atomic_words() {
        publish_and_read::<Words>(Orderings { observe: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_publish_is_caught_with_plain_memory() {
        publish_and_read::<Plain>(Orderings { publish: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_release_is_caught_with_plain_memory() {
        publish_and_read::<Plain>(Orderings { release: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_relaxed_gate_is_caught_with_plain_memory() {
        publish_and_read::<Plain>(Orderings { gate: Ordering::Relaxed, ..AS_BUILT });
    }

    #[test]
    #[should_panic]
    fn a_join_without_fences_is_caught() {
        publish_and_join(Orderings { are_joins_fenced: false, ..AS_BUILT });
    }
}
