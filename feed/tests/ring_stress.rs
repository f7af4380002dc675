//! The ring under threads: tiny rings, one to three readers, full and near-empty, a slow reader, joining and leaving.
//!
//! Every word of every event is a function of its sequence, so a torn, stale, lost or repeated event shows.

// loom's atomics, with which the ring is then built, work only inside a loom model.
#![cfg(not(loom))]

use std::thread;
use std::time::Duration;
use tickcore_book::{EVENT_WORDS, Event};
use tickcore_feed::ring::{Reader, Ring, Wait, Writer};

fn event(sequence: u64) -> Event {
    Event::from_words([1, 2, 3, 5, 7, 11, 13].map(|factor: u64| sequence.wrapping_mul(factor << 40 | factor)))
}

fn publish(writer: &mut Writer, count: u64, batch: usize) {
    let mut waiter = Wait::SpinThenYield.waiter();
    let mut events = vec![Event::default(); batch];
    let mut published = 0;
    while published < count {
        let wanted = batch.min((count - published) as usize);
        for (place, sequence) in events[..wanted].iter_mut().zip(published + 1..) {
            *place = event(sequence);
        }
        let accepted = if batch == 1 {
            usize::from(writer.try_publish(&events[0]).is_ok())
        } else {
            writer.publish_batch(&events[..wanted])
        };
        published += accepted as u64;
        if accepted == 0 { waiter.idle() } else { waiter.reset() }
    }
}

/// Reads to the end, checks every event, and returns how many there were.
fn read_to_end(reader: &mut Reader, max: usize) -> u64 {
    let mut waiter = Wait::SpinThenYield.waiter();
    let mut expected = reader.next_sequence().0;
    let first = expected;
    while !reader.is_closed_and_drained() {
        let read = reader.poll(max, |sequence, content| {
            assert_eq!(sequence.0, expected);
            assert_eq!(content.to_words(), event(expected).to_words());
            expected += 1;
        });
        if read == 0 { waiter.idle() } else { waiter.reset() }
    }
    expected - first
}

#[test]
fn tiny_rings_lose_nothing() {
    const COUNT: u64 = 200_000;
    for capacity_lines in [2, 4, 8] {
        for readers in 1..=3 {
            for (batch, max) in [(1, 1), (5, 64)] {
                let ring = Ring::new(capacity_lines, readers).unwrap();
                let mut writer = ring.writer().unwrap();
                thread::scope(|scope| {
                    for _ in 0..readers {
                        let mut reader = ring.reader().unwrap();
                        scope.spawn(move || assert_eq!(read_to_end(&mut reader, max), COUNT));
                    }
                    publish(&mut writer, COUNT, batch);
                    writer.close();
                });
            }
        }
    }
}

#[test]
fn a_near_empty_ring_delivers_each_event_on_its_own() {
    const COUNT: u64 = 100_000;
    let ring = Ring::new(1 << 10, 1).unwrap();
    let answers = Ring::new(2, 1).unwrap();
    let (mut reader, mut writer) = (ring.reader().unwrap(), ring.writer().unwrap());
    let (mut answer_reader, mut answer_writer) = (answers.reader().unwrap(), answers.writer().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut waiter = Wait::SpinThenYield.waiter();
            while !reader.is_closed_and_drained() {
                // One at a time: the next event may come while the answer to this one is on its way.
                let read = reader.poll(1, |sequence, content| {
                    assert_eq!(*content, event(sequence.0));
                    answer_writer.try_publish(content).expect("one event is under way at a time");
                });
                if read == 0 { waiter.idle() } else { waiter.reset() }
            }
        });
        let mut waiter = Wait::SpinThenYield.waiter();
        for sequence in 1..=COUNT {
            writer.try_publish(&event(sequence)).expect("the ring is near-empty");
            while answer_reader.poll(1, |_, content| assert_eq!(*content, event(sequence))) == 0 {
                assert!(!answer_reader.is_closed_and_drained(), "the other thread died");
                waiter.idle();
            }
            waiter.reset();
        }
        assert_eq!(writer.full_waits(), 0);
        writer.close();
    });
}

#[test]
fn a_slow_reader_holds_the_writer_and_nothing_is_lost() {
    const COUNT: u64 = 2_000;
    let ring = Ring::new(64, 2).unwrap();
    let (mut slow, mut quick) = (ring.reader().unwrap(), ring.reader().unwrap());
    let mut writer = ring.writer().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut expected = 1;
            while !slow.is_closed_and_drained() {
                slow.poll(50, |sequence, content| {
                    assert_eq!((sequence.0, *content), (expected, event(expected)));
                    expected += 1;
                });
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(expected - 1, COUNT);
        });
        scope.spawn(move || assert_eq!(read_to_end(&mut quick, 64), COUNT));
        publish(&mut writer, COUNT, 1);
        assert!(writer.full_waits() > 0, "the writer never found the ring full");
        writer.close();
    });
}

#[test]
fn a_slow_lossy_reader_holds_nobody_and_counts_exactly() {
    const COUNT: u64 = 2_000_000;
    for (capacity_lines, batch) in [(2, 1), (4, 3), (64, 1), (64, 40), (1 << 12, 256)] {
        let ring = Ring::new(capacity_lines, 1).unwrap();
        let mut reader = ring.lossy_reader();
        let mut writer = ring.writer().unwrap();
        thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let (mut read, mut polls) = (0, 0_u64);
                while !reader.is_closed_and_drained() {
                    let mut next = reader.next_sequence().0;
                    let result = reader.poll(usize::MAX, |sequence, content| {
                        assert_eq!(sequence.0, next);
                        assert_eq!(content.to_words(), event(next).to_words());
                        next += 1;
                    });
                    assert_eq!(reader.next_sequence().0, next + result.lost);
                    read += result.read as u64;
                    polls += 1;
                    if polls.is_multiple_of(64) {
                        thread::yield_now();
                    }
                }
                (read, reader.lost())
            });
            publish(&mut writer, COUNT, batch);
            assert_eq!(writer.full_waits(), 0, "a lossy reader held the writer");
            writer.close();
            let (read, lost) = reading.join().unwrap();
            assert_eq!(read + lost, COUNT, "{capacity_lines} lines, batches of {batch}");
        });
    }
}

#[test]
fn claims_under_threads_lose_nothing() {
    const COUNT: u64 = 200_000;
    for capacity_lines in [2, 16, 1 << 10] {
        let ring = Ring::new(capacity_lines, 1).unwrap();
        let mut reader = ring.reader().unwrap();
        let mut writer = ring.writer().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || assert_eq!(read_to_end(&mut reader, 7), COUNT));
            let mut waiter = Wait::SpinThenPark.waiter();
            let mut sequence = 0;
            while sequence < COUNT {
                let Ok(mut claim) = writer.claim(9) else {
                    waiter.idle();
                    continue;
                };
                waiter.reset();
                // Every third one is thought better of, after one line was filled.
                if sequence % 3 == 2 {
                    claim.push(&Event::default());
                    writer.try_publish(&event(sequence + 1)).expect("a line was just free");
                    sequence += 1;
                    continue;
                }
                while claim.room() > 0 && sequence < COUNT {
                    sequence += 1;
                    claim.push(&event(sequence));
                }
                assert_eq!(claim.commit().0, sequence);
            }
            writer.close();
        });
    }
}

#[test]
fn readers_join_and_leave_while_it_runs() {
    const COUNT: u64 = 300_000;
    for capacity_lines in [2, 8] {
        let ring = Ring::new(capacity_lines, 3).unwrap();
        let mut writer = ring.writer().unwrap();
        thread::scope(|scope| {
            let mut steady = ring.reader().unwrap();
            scope.spawn(move || assert_eq!(read_to_end(&mut steady, 4), COUNT));
            for stay in [1_u64, 7] {
                let ring = ring.clone();
                scope.spawn(move || {
                    while !ring.is_closed() {
                        let mut reader = ring.reader().unwrap();
                        let mut waiter = Wait::SpinThenYield.waiter();
                        let first = reader.next_sequence().0;
                        let mut expected = first;
                        while expected < first + stay && !reader.is_closed_and_drained() {
                            let read = reader.poll(2, |sequence, content| {
                                assert_eq!((sequence.0, *content), (expected, event(expected)));
                                expected += 1;
                            });
                            if read == 0 { waiter.idle() } else { waiter.reset() }
                        }
                    }
                });
            }
            publish(&mut writer, COUNT, 3);
            writer.close();
        });
    }
}

#[test]
fn a_reader_that_panics_frees_the_writer() {
    let ring = Ring::new(4, 1).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    thread::scope(|scope| {
        let reading = scope.spawn(move || {
            loop {
                reader.poll(1, |sequence, _| assert!(sequence.0 < 10, "the reader's own fault"));
                thread::yield_now();
            }
        });
        publish(&mut writer, 1_000, 1);
        assert!(reading.join().is_err());
    });
    assert_eq!(writer.last_sequence().0, 1_000);
}

#[test]
fn the_check_of_contents_tells_events_apart() {
    let [first, second] = [event(1), event(2)].map(|event| event.to_words());
    assert_eq!(first.iter().zip(second).filter(|&(one, other)| *one != other).count(), EVENT_WORDS);
}
