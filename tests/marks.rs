//! Where events come from, in the journal: every mark is the number of its record's message in its input, which is counted here by
//! taking messages one by one.

mod common;

use common::day::{generated, put};
use common::journal::journaled;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tempfile::tempdir;
use tickcore::book::{Capacity, Event, Flags, InstrumentId, Kind, OrderId, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::feed::batch::{EventBatch, Place};
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::inputs::Inputs;
use tickcore::journal::{Mark, Reader, info};
use tickcore::pace::Pace;
use tickcore::pin::Cores;
use tickcore::strategy::NoStrategy;
use tickcore::topology::Topology;

fn config(topology: Topology) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        ..Config::default()
    }
}

/// A day with messages in it that become no event, of a type that is known and of one that is not.
fn with_holes(seed: u64) -> Vec<u8> {
    let day = generated(30_000, 50, seed);
    let (mut rest, mut bytes, mut number) = (&day[..], Vec::new(), 0_u64);
    while let Some(length) = rest.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length))) {
        number += 1;
        if number.is_multiple_of(7) || number.is_multiple_of(100) {
            let mut imbalance = [0; 52];
            imbalance[..3].copy_from_slice(&[0, 50, if number.is_multiple_of(14) { b'I' } else { b'!' }]);
            bytes.extend(imbalance);
        }
        bytes.extend(&rest[..length + 2]);
        rest = &rest[length + 2..];
    }
    bytes
}

/// The place of each event of some inputs, in order.
fn places(days: &[Vec<u8>]) -> Vec<Place> {
    let mut places = Vec::new();
    for (channel, day) in (0..).zip(days) {
        let options = ItchOptions { is_following_session: channel > 0, ..ItchOptions::default() };
        let mut source = ItchBytes::new(day, &options);
        let mut batch = EventBatch::new(8);
        while source.fill(&mut batch, 1).unwrap() != Filled::End {
            let place = Place { channel, venue_sequence: source.counts().messages };
            places.extend(batch.as_slice().iter().map(|_| place));
            batch.clear();
        }
    }
    places
}

/// Marks of all frames of a journal, and how many frames there are without. What a frame leaves for the next one, less than a write
/// unit, has none if nothing comes behind it.
fn marks(directory: &Path) -> (Vec<Mark>, u64) {
    let (mut marks, mut bare) = (Vec::new(), 0);
    let mut reader = Reader::open(directory).unwrap();
    while let Some(records) = reader.next_batch().unwrap() {
        let (count, is_rest) = (marks.len(), records.len() < 64);
        marks.extend(reader.marks());
        bare += u64::from(marks.len() == count && !is_rest);
    }
    (marks, bare)
}

fn assert_are_places(directory: &Path, places: &[Place], what: &str) {
    let (marks, bare) = marks(directory);
    assert!(marks.len() > 5 && bare == 0, "{what}: {} marks, {bare} frames without", marks.len());
    for Mark { channel, sequence, venue_sequence } in &marks {
        let place = Place { channel: *channel, venue_sequence: *venue_sequence };
        assert_eq!(place, places[sequence.get() as usize - 1], "{what}, record {sequence}");
    }
    let channels: BTreeSet<u32> = marks.iter().map(|mark| mark.channel).collect();
    let last = info(directory).unwrap().last_marks;
    assert_eq!(last.iter().map(|mark| mark.channel).collect::<BTreeSet<_>>(), channels, "{what}");
    let all: BTreeSet<u32> = places.iter().map(|place| place.channel).collect();
    assert_eq!(channels, all, "{what}");
}

#[test]
fn every_frame_says_where_its_records_come_from() {
    let scratch = tempdir().unwrap();
    let days = [with_holes(3), with_holes(4)];
    let inputs: Vec<PathBuf> =
        (0..).zip(&days).map(|(number, day)| put(scratch.path(), &format!("{number}.itch"), day)).collect();
    let places = places(&days);
    let holes = places.windows(2).filter(|pair| pair[1].venue_sequence > pair[0].venue_sequence + 1).count();
    assert!(holes > 5_000, "only {holes}");
    for topology in [Topology::Inline, Topology::Pipelined] {
        for pace in [Pace::Max, Pace::EventsPerSecond(200_000)] {
            let what = format!("{topology}-{pace}");
            let directory = scratch.path().join(&what);
            let mut config = journaled(Config { pace, ..config(topology) }, &directory);
            config.journal.as_mut().unwrap().options.frame_bytes = 64 << 10;
            let outcome = engine::run(&config, Inputs::open(&inputs, None).unwrap(), NoStrategy).unwrap();
            assert!(outcome.is_good() && outcome.events == places.len() as u64, "{:?}", outcome.end);
            assert_are_places(&directory, &places, &what);
        }
    }
    // A journal as the source: its records' numbers. And a run that goes on where it stopped.
    let (first, copy) = (scratch.path().join("inline-max"), scratch.path().join("copy"));
    let source = || Inputs::open(std::slice::from_ref(&first), None).unwrap();
    let mut resumed = journaled(config(Topology::Pipelined), &copy);
    let third = TimestampNs(11 * 3_600 * 1_000_000_000);
    let begun = engine::run(&Config { to: third, ..resumed.clone() }, source(), NoStrategy).unwrap();
    assert!((10_000..50_000).contains(&begun.events), "{}", begun.events);
    resumed.journal.as_mut().unwrap().resume = true;
    assert!(engine::run(&resumed, source(), NoStrategy).unwrap().is_good());
    let records: Vec<Place> =
        (1..=places.len() as u64).map(|venue_sequence| Place { channel: 0, venue_sequence }).collect();
    assert_are_places(&copy, &records, "from a journal");
    let goes_on = |mark: &Mark| mark.sequence.get() > begun.events;
    assert!(marks(&copy).0.iter().filter(|mark| goes_on(mark)).count() > 3, "behind what was there");
}

/// A feed of three channels whose packets are mixed, with a gap now and then.
struct Channels {
    next: [u64; 3],
    sent: u64,
    gap_every: u64,
    counts: Counts,
}

impl Channels {
    fn with_gap_every(gap_every: u64) -> Self {
        Self { next: [1; 3], sent: 0, gap_every, counts: Counts::default() }
    }
}

/// More often than a frame has room for, and so seldom that the journal is polled between two: at least every 1,024 events.
const GAP_EVERY: u64 = 1_201;
const MESSAGES: u64 = 40_000;

impl Source for Channels {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        let mut messages = 0;
        while messages < max_messages && batch.room() > 0 && self.sent < MESSAGES {
            let channel = self.sent / 100 % 3;
            let next = &mut self.next[channel as usize];
            self.sent += 1;
            messages += 1;
            let kind = if self.sent.is_multiple_of(self.gap_every) { Kind::Gap } else { Kind::Delete };
            if kind == Kind::Gap {
                *next += 50;
            }
            batch.place_next(Place { channel: channel as u32 + 10, venue_sequence: *next });
            // The test knows the place by the event.
            let event = Event::new(kind, InstrumentId(u32::from(kind != Kind::Gap)), TimestampNs(self.sent));
            batch.push(Event { order_id: OrderId(*next), reference: channel + 10, flags: Flags::LAST, ..event });
            *next += 1;
        }
        self.counts.messages += messages as u64;
        Ok(if messages > 0 { Filled::Events } else { Filled::End })
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        Ok((self.sent < MESSAGES).then_some(TimestampNs(self.sent + 1)))
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[test]
fn channels_are_told_apart_and_every_gap_has_its_mark() {
    let scratch = tempdir().unwrap();
    for topology in [Topology::Inline, Topology::Pipelined] {
        let directory = scratch.path().join(topology.name());
        let config = journaled(config(topology), &directory);
        let source = Channels::with_gap_every(GAP_EVERY);
        let outcome = engine::run(&config, source, NoStrategy).unwrap();
        assert!(outcome.is_good() && outcome.events == MESSAGES, "{:?}", outcome.end);
        let mut reader = Reader::open(&directory).unwrap();
        let (mut gaps, mut marked) = (BTreeSet::new(), BTreeSet::new());
        let mut places = Vec::new();
        while let Some(records) = reader.next_batch().unwrap() {
            for record in records {
                let (channel, venue_sequence) = (record.event.reference as u32, record.event.order_id.get());
                places.push(Place { channel, venue_sequence });
                if record.event.kind() == Some(Kind::Gap) {
                    gaps.insert(record.sequence);
                }
            }
            marked.extend(reader.marks().map(|mark| mark.sequence));
        }
        assert_eq!(gaps.len() as u64, MESSAGES / GAP_EVERY);
        assert!(gaps.is_subset(&marked), "{topology}: {:?}", gaps.difference(&marked).collect::<Vec<_>>());
        assert_are_places(&directory, &places, topology.name());
    }
}

/// More gaps in a batch than frames of a small buffer have room for marks: no record may be refused for them.
#[test]
fn a_storm_of_gaps_leaves_room_for_its_records() {
    let scratch = tempdir().unwrap();
    for topology in [Topology::Inline, Topology::Pipelined] {
        let directory = scratch.path().join(topology.name());
        let mut config = journaled(config(topology), &directory);
        let options = &mut config.journal.as_mut().unwrap().options;
        (options.frame_bytes, options.staging_bytes) = (64 << 10, 1 << 20);
        let outcome = engine::run(&config, Channels::with_gap_every(3), NoStrategy).unwrap();
        assert!(outcome.is_good() && outcome.events == MESSAGES, "{:?} {:?}", outcome.end, outcome.journal);
        let (marks, bare) = marks(&directory);
        assert!(marks.len() > 100 && bare == 0, "{} marks, {bare} frames without", marks.len());
    }
}

/// A source that says nothing of places has no marks.
#[test]
fn a_source_without_places_leaves_no_marks() {
    struct Silent<'d>(ItchBytes<'d>, EventBatch);
    impl Source for Silent<'_> {
        fn fill(&mut self, batch: &mut EventBatch, _: usize) -> Result<Filled, SourceError> {
            self.1.clear();
            let filled = self.0.fill(&mut self.1, 1);
            self.1.as_slice().iter().for_each(|event| batch.push(*event));
            filled
        }

        fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
            self.0.next_time()
        }

        fn counts(&self) -> &Counts {
            self.0.counts()
        }
    }
    let scratch = tempdir().unwrap();
    let day = generated(5_000, 50, 3);
    let directory = scratch.path().join("journal");
    let source = Silent(ItchBytes::new(&day, &ItchOptions::default()), EventBatch::new(8));
    assert!(engine::run(&journaled(config(Topology::Inline), &directory), source, NoStrategy).unwrap().is_good());
    assert_eq!(marks(&directory).0, []);
}
