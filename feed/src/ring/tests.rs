//! What one thread can show: gating, batches, joining, leaving and the end. Threads are in `tests/ring_stress.rs`, every
//! interleaving of small cases in `tests/ring_loom.rs`.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use tickcore_book::{Event, InstrumentId, Kind, OrderId, Sequence, TimestampNs};

fn event(number: u64) -> Event {
    Event { order_id: OrderId(number), ..Event::new(Kind::Delete, InstrumentId(1), TimestampNs(number * 10)) }
}

fn publish(writer: &mut Writer, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        assert_eq!(writer.try_publish(&event(number)), Ok(Sequence(number)));
    }
}

fn read_all(reader: &mut Reader) -> Vec<u64> {
    let mut sequences = Vec::new();
    while reader.poll(usize::MAX, |sequence, read| {
        assert_eq!(*read, event(sequence.0));
        sequences.push(sequence.0);
    }) > 0
    {}
    sequences
}

#[test]
fn the_bounds_of_a_ring_hold() {
    for capacity_lines in [0, 1, 3, 6, CAPACITY_LINES_MAX + 1, CAPACITY_LINES_MAX * 2, usize::MAX] {
        assert_eq!(Ring::new(capacity_lines, 1).unwrap_err(), RingError::Capacity { capacity_lines });
    }
    for readers_max in [0, READERS_MAX + 1] {
        assert_eq!(Ring::new(2, readers_max).unwrap_err(), RingError::Readers { readers_max });
    }
    let ring = Ring::new(CAPACITY_LINES_MIN, READERS_MAX).unwrap();
    assert_eq!((ring.capacity_lines(), ring.readers_max()), (CAPACITY_LINES_MIN, READERS_MAX));
}

#[test]
fn there_is_one_writer() {
    let ring = Ring::new(2, 1).unwrap();
    let writer = ring.writer().unwrap();
    assert_eq!(ring.writer().unwrap_err(), WriterTaken);
    drop(writer);
    assert_eq!(ring.writer().unwrap_err(), WriterTaken);
}

#[test]
fn a_reader_that_has_not_released_stops_the_writer_and_loses_nothing() {
    let ring = Ring::new(4, 2).unwrap();
    let (mut slow, mut quick) = (ring.reader().unwrap(), ring.reader().unwrap());
    let mut writer = ring.writer().unwrap();
    publish(&mut writer, 1..=4);
    assert_eq!(read_all(&mut quick), [1, 2, 3, 4]);
    assert_eq!(writer.try_publish(&event(5)), Err(Full));
    assert_eq!(writer.try_publish(&event(5)), Err(Full));
    assert_eq!((writer.free(), writer.full_waits()), (0, 1), "retries are one wait");

    assert_eq!(slow.poll(1, |_, _| ()), 1);
    assert_eq!(writer.free(), 1);
    publish(&mut writer, [5]);
    assert_eq!((writer.free(), writer.full_waits()), (0, 2));
    assert_eq!(read_all(&mut slow), [2, 3, 4, 5]);
    assert_eq!(read_all(&mut quick), [5]);
    assert_eq!((writer.free(), writer.last_sequence()), (4, Sequence(5)));
}

#[test]
fn a_batch_is_published_as_far_as_there_is_room() {
    let ring = Ring::new(4, 1).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    let events: Vec<Event> = (1..=6).map(event).collect();
    assert_eq!(writer.publish_batch(&[]), 0);
    assert_eq!(writer.publish_batch(&events), 4);
    assert_eq!((writer.publish_batch(&events[4..]), writer.full_waits()), (0, 1));
    assert_eq!(reader.poll(1, |_, _| ()), 1);
    assert_eq!(writer.publish_batch(&events[4..]), 1);
    assert_eq!(read_all(&mut reader), [2, 3, 4, 5]);
    assert_eq!(writer.publish_batch(&events[5..]), 1);
    assert_eq!(read_all(&mut reader), [6]);
}

#[test]
fn events_are_copied_out_in_order_and_released() {
    let ring = Ring::new(4, 1).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    publish(&mut writer, 1..=3);
    let mut events = [Event::default(); 2];
    assert_eq!(reader.next_sequence(), Sequence(1));
    assert_eq!(reader.read_into(&mut events), 2);
    assert_eq!(events, [event(1), event(2)]);
    assert_eq!((reader.next_sequence(), writer.free()), (Sequence(3), 1), "the writer knows of one line");
    publish(&mut writer, 4..=6);
    assert_eq!((writer.free(), reader.read_into(&mut [])), (0, 0));
    let mut events = [Event::default(); 8];
    assert_eq!(reader.read_into(&mut events), 4);
    assert_eq!(events[..4], [event(3), event(4), event(5), event(6)]);
    assert_eq!(reader.read_into(&mut events), 0);
}

#[test]
fn a_reader_that_joins_stands_behind_the_newest_event() {
    let ring = Ring::new(4, 2).unwrap();
    let mut writer = ring.writer().unwrap();
    let mut first = ring.reader().unwrap();
    for turn in 0..10 {
        let next = turn * 3 + 1;
        publish(&mut writer, next..next + 2);
        let mut late = ring.reader().unwrap();
        assert_eq!(late.next_sequence(), Sequence(next + 2));
        publish(&mut writer, [next + 2]);
        assert_eq!(read_all(&mut late), [next + 2]);
        assert_eq!(read_all(&mut first), [next, next + 1, next + 2]);
    }
}

#[test]
fn without_readers_the_writer_runs_free_and_one_that_joins_then_gates_it() {
    let ring = Ring::new(4, 1).unwrap();
    let mut writer = ring.writer().unwrap();
    publish(&mut writer, 1..=1_000);
    assert_eq!(writer.full_waits(), 0);
    let mut reader = ring.reader().unwrap();
    publish(&mut writer, 1_001..=1_004);
    assert_eq!(writer.try_publish(&event(1_005)), Err(Full));
    assert_eq!(read_all(&mut reader), [1_001, 1_002, 1_003, 1_004]);
}

#[test]
fn a_dropped_reader_frees_its_slot_and_the_writer() {
    let ring = Ring::new(2, 1).unwrap();
    let mut writer = ring.writer().unwrap();
    let reader = ring.reader().unwrap();
    assert_eq!(ring.reader().unwrap_err(), JoinError::NoFreeSlot { readers_max: 1 });
    publish(&mut writer, 1..=2);
    assert_eq!(writer.try_publish(&event(3)), Err(Full));
    drop(reader);
    publish(&mut writer, 3..=5);
    assert_eq!(ring.reader().unwrap().next_sequence(), Sequence(6));
}

#[test]
fn readers_get_the_rest_and_then_see_the_end() {
    let ring = Ring::new(4, 2).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    assert!(!reader.is_closed_and_drained(), "empty is not the end");
    publish(&mut writer, 1..=2);
    writer.close();
    assert!(ring.is_closed() && !reader.is_closed_and_drained());
    assert_eq!(read_all(&mut reader), [1, 2]);
    assert!(reader.is_closed_and_drained());
    assert!(ring.reader().unwrap().is_closed_and_drained());
}

#[test]
fn a_panic_in_a_callback_releases_nothing_of_its_batch() {
    let ring = Ring::new(4, 1).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    publish(&mut writer, 1..=3);
    let panicking = std::panic::AssertUnwindSafe(|| reader.poll(3, |sequence, _| assert_ne!(sequence, Sequence(2))));
    assert!(std::panic::catch_unwind(panicking).is_err());
    assert_eq!(read_all(&mut reader), [1, 2, 3]);
}

#[test]
fn claimed_lines_are_there_all_at_once_or_not_at_all() {
    let ring = Ring::new(16, 1).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    let mut claim = writer.claim(100).unwrap();
    assert_eq!(claim.room(), 2, "an eighth of the ring");
    claim.push(&event(7));
    assert_eq!((read_all(&mut reader), writer.last_sequence()), (vec![], Sequence(0)), "nothing was committed");
    for turn in 0..20 {
        let mut claim = writer.claim(2).unwrap();
        claim.push(&event(2 * turn + 1));
        claim.push(&event(2 * turn + 2));
        assert_eq!(reader.poll(1, |_, _| ()), 0, "not committed yet");
        assert_eq!(claim.commit(), Sequence(2 * turn + 2));
        assert_eq!(read_all(&mut reader), [2 * turn + 1, 2 * turn + 2]);
    }
    let last = writer.last_sequence();
    assert_eq!(writer.claim(1).unwrap().commit(), last, "an empty claim publishes nothing");
    while writer.try_publish(&event(0)).is_ok() {}
    assert!(writer.claim(1).is_err());
}

#[test]
#[should_panic(expected = "all 1 claimed lines are filled")]
fn a_claim_takes_no_more_than_its_lines() {
    let ring = Ring::new(16, 1).unwrap();
    let mut writer = ring.writer().unwrap();
    let mut claim = writer.claim(0).unwrap();
    claim.push(&event(1));
    claim.push(&event(2));
}

#[test]
fn a_batch_of_a_reader_releases_what_was_taken_from_it() {
    let ring = Ring::new(4, 1).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    publish(&mut writer, 1..=4);
    let sequences: Vec<u64> = reader.batch(3).map(|(sequence, _)| sequence.0).collect();
    assert_eq!((sequences, writer.free()), (vec![1, 2, 3], 3));
    assert_eq!(reader.batch(1).count() + reader.batch(1).count(), 1);
    assert!(reader.batch(0).next().is_none());
}

#[test]
fn how_long_a_ring_was_full_is_counted() {
    const FULL_FOR: std::time::Duration = std::time::Duration::from_millis(2);
    let ring = Ring::new(2, 1).unwrap();
    let mut reader = ring.reader().unwrap();
    let mut writer = ring.writer().unwrap();
    publish(&mut writer, 1..=2);
    assert!(writer.full_time().is_zero());
    assert_eq!(writer.try_publish(&event(3)), Err(Full));
    std::thread::sleep(FULL_FOR);
    assert_eq!(reader.poll(2, |_, _| ()), 2);
    publish(&mut writer, [3]);
    assert!(writer.full_time() >= FULL_FOR && writer.full_waits() == 1);
}

/// Moved in as a whole and stored word by word are the same lines, over the wrap too.
#[test]
fn every_way_to_store_a_batch_gives_the_same_lines() {
    use super::stores::Stage;
    let events: Vec<Event> = (0..100)
        .map(|number| {
            Event::from_words([1, 2, 3, 5, 7, 11, 13].map(|factor: u64| (number + 1) * (factor << 40 | factor)))
        })
        .collect();
    for stage_lines in [0, 64, 1_000] {
        let mut stage = Stage::new(stage_lines);
        let lane = Lane::new(128).unwrap();
        for first in 1..=300 {
            for count in [0, 1, 2, 32, 33, 34, 65, 66, 100] {
                lane.write_batch(first, &events[..count], &mut stage);
                for (event, sequence) in events[..count].iter().zip(first..) {
                    assert_eq!(lane.line(sequence).read(sequence).as_ref(), Some(event), "{stage_lines}");
                }
            }
        }
    }
}

fn read_lossy(reader: &mut LossyReader) -> (Vec<u64>, u64) {
    let (mut sequences, mut lost) = (Vec::new(), 0);
    loop {
        let result = reader.poll(usize::MAX, |sequence, read| {
            assert_eq!(*read, event(sequence.0));
            sequences.push(sequence.0);
        });
        lost += result.lost;
        if result == LossyRead::default() {
            return (sequences, lost);
        }
    }
}

#[test]
fn a_lossy_reader_that_keeps_up_loses_nothing_and_holds_nobody() {
    let ring = Ring::new(16, 1).unwrap();
    let mut writer = ring.writer().unwrap();
    let mut reader = ring.lossy_reader();
    for turn in 0..100 {
        publish(&mut writer, turn * 14 + 1..=turn * 14 + 14);
        assert_eq!(read_lossy(&mut reader), ((turn * 14 + 1..=turn * 14 + 14).collect(), 0));
    }
    let mut late = ring.lossy_reader();
    assert_eq!(late.next_sequence(), Sequence(1_401), "behind the newest event");
    writer.close();
    assert!(late.is_closed_and_drained() && reader.is_closed_and_drained());
    assert_eq!(read_lossy(&mut late), (vec![], 0));
}

#[test]
fn a_lossy_reader_that_was_overrun_knows_exactly_what_it_lost() {
    for (capacity_lines, published) in [(2, 9), (4, 11), (16, 17), (16, 1_000), (64, 65), (1_024, 5_000)] {
        let ring = Ring::new(capacity_lines, 1).unwrap();
        let mut writer = ring.writer().unwrap();
        let mut reader = ring.lossy_reader();
        publish(&mut writer, 1..=published);
        let (sequences, lost) = read_lossy(&mut reader);
        assert_eq!(sequences, (lost + 1..=published).collect::<Vec<_>>());
        assert_eq!((reader.lost(), lost + sequences.len() as u64), (lost, published));
        let kept = capacity_lines as u64 / 2;
        assert!(sequences.len() as u64 <= kept + ring.region.lane().claim_lines() as u64, "about half a ring behind");
        assert!(!sequences.is_empty() || capacity_lines == 2, "{capacity_lines}");
    }
}

/// A step of one thread that plays writer and readers in turn.
#[derive(Clone, Copy, Debug)]
enum Step {
    Publish { count: usize },
    Read { reader: usize, max: usize },
    JoinOrLeave { reader: usize },
    ReadLossy,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_usize..12).prop_map(|count| Step::Publish { count }),
        3 => (0_usize..3, 0_usize..10).prop_map(|(reader, max)| Step::Read { reader, max }),
        1 => (0_usize..3).prop_map(|reader| Step::JoinOrLeave { reader }),
        1 => Just(Step::ReadLossy),
    ]
}

proptest! {
    /// The naive twin is a queue per reader; the writer has room while the longest is shorter than the ring.
    #[test]
    fn a_ring_is_a_queue_per_reader(
        capacity_exponent in 1_u32..5,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let capacity_lines = 1_usize << capacity_exponent;
        let ring = Ring::new(capacity_lines, 3).unwrap();
        let mut writer = ring.writer().unwrap();
        let mut readers: [Option<(Reader, VecDeque<u64>)>; 3] = [None, None, None];
        let mut published = 0;
        let mut lossy = ring.lossy_reader();
        let mut seen_or_lost = 0;
        for step in steps {
            match step {
                Step::Publish { count } => {
                    let longest = readers.iter().flatten().map(|(_, queue)| queue.len()).max();
                    let events: Vec<Event> = (published + 1..).take(count).map(event).collect();
                    let accepted = writer.publish_batch(&events);
                    let room = longest.map_or(count, |longest| capacity_lines - longest);
                    prop_assert_eq!(accepted, count.min(room));
                    for sequence in published + 1..=published + accepted as u64 {
                        readers.iter_mut().flatten().for_each(|(_, queue)| queue.push_back(sequence));
                    }
                    published += accepted as u64;
                    prop_assert_eq!(writer.last_sequence(), Sequence(published));
                }
                Step::ReadLossy => {
                    let (sequences, lost) = read_lossy(&mut lossy);
                    prop_assert_eq!(&sequences, &(seen_or_lost + lost + 1..=published).collect::<Vec<_>>());
                    seen_or_lost = published;
                }
                Step::Read { reader, max } => {
                    if let Some((reader, queue)) = &mut readers[reader] {
                        let wanted: Vec<u64> = queue.drain(..max.min(queue.len())).collect();
                        let mut read = Vec::new();
                        reader.poll(max, |sequence, content| {
                            assert_eq!(*content, event(sequence.0));
                            read.push(sequence.0);
                        });
                        prop_assert_eq!(read, wanted);
                    }
                }
                Step::JoinOrLeave { reader } => {
                    readers[reader] = match readers[reader].take() {
                        Some(_) => None,
                        None => Some((ring.reader().unwrap(), VecDeque::new())),
                    };
                }
            }
        }
    }
}
