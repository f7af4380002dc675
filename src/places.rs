//! Venue places on their way from the source to the journal, beside the ring.
//!
//! Places go up with the events as long as every message is one event, so only where they do not is something passed on: the feed
//! core adds an entry (from this line on the places are those), the journal's core goes on to it when it comes to that line. For
//! all other events neither does anything.
//!
//! There is an entry for every line of the ring and for what either core has at hand beside it, so that one is never overwritten
//! before its line was read. An entry is stored before its line is published, whose sequence carries it over.

use crate::feed_core::BATCH_EVENTS;
use crate::journal_core;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use tickcore_feed::batch::{Place, Run};

/// In the place of a channel's number: nobody said where these events come from.
const NOWHERE: u64 = u64::MAX;

/// From a line on, places go up with the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    line: u64,
    place: Option<Place>,
}

impl Entry {
    fn place_of(&self, line: u64) -> Option<Place> {
        self.place.map(|place| place.later(line - self.line))
    }
}

/// The entries, which one core adds and one takes.
#[derive(Debug)]
pub(crate) struct Places {
    /// Line, channel, venue's sequence.
    entries: Box<[[AtomicU64; 3]]>,
    /// Entries added.
    end: CachePadded<AtomicU64>,
}

impl Places {
    /// For a ring of so many lines.
    pub(crate) fn new(ring_lines: usize) -> Self {
        let count = (ring_lines + BATCH_EVENTS + 2 * journal_core::BATCH_EVENTS).next_power_of_two();
        // Not zeros: memory of zeros is only promised, and would be had page by page in the run.
        let entry = |_| [const { AtomicU64::new(u64::MAX) }; 3];
        Self { entries: (0..count).map(entry).collect(), end: CachePadded::new(AtomicU64::new(0)) }
    }

    fn entry(&self, number: u64) -> &[AtomicU64; 3] {
        &self.entries[number as usize & (self.entries.len() - 1)]
    }
}

/// The end of the feed core.
#[derive(Debug)]
pub(crate) struct PlaceWriter<'r> {
    places: &'r Places,
    end: u64,
    last: Entry,
}

impl<'r> PlaceWriter<'r> {
    pub(crate) fn new(places: &'r Places) -> Self {
        Self { places, end: 0, last: Entry { line: 1, place: None } }
    }

    /// Notes the places of events that are going to be published from the line `first` on.
    #[inline]
    pub(crate) fn note(&mut self, first: u64, runs: &[Run]) {
        if runs.first().is_none_or(|run| run.first > 0) && self.last.place.is_some() {
            self.add(Entry { line: first, place: None });
        }
        for run in runs {
            let line = first + run.first as u64;
            if self.last.place_of(line) != Some(run.place) {
                self.add(Entry { line, place: Some(run.place) });
            }
        }
    }

    fn add(&mut self, entry: Entry) {
        let words = match entry.place {
            Some(place) => [entry.line, place.channel.into(), place.venue_sequence],
            None => [entry.line, NOWHERE, 0],
        };
        self.places.entry(self.end).iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        self.end += 1;
        self.places.end.store(self.end, Ordering::Release);
        self.last = entry;
    }
}

/// The end of the journal's core.
#[derive(Debug)]
pub(crate) struct PlaceReader<'r> {
    places: &'r Places,
    /// Number of the entry that comes next.
    next: u64,
    current: Entry,
}

impl<'r> PlaceReader<'r> {
    pub(crate) fn new(places: &'r Places) -> Self {
        Self { places, next: 0, current: Entry { line: 1, place: None } }
    }

    /// The place of the event in a line that was read, if its source told it. Lines have to ascend.
    #[inline]
    pub(crate) fn of(&mut self, line: u64) -> Option<Place> {
        let end = self.places.end.load(Ordering::Acquire);
        while self.next < end {
            let [first, channel, venue_sequence] =
                self.places.entry(self.next).each_ref().map(|word| word.load(Ordering::Relaxed));
            if first > line {
                break;
            }
            let place = (channel != NOWHERE).then_some(Place { channel: channel as u32, venue_sequence });
            self.current = Entry { line: first, place };
            self.next += 1;
        }
        self.current.place_of(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use tickcore_book::{Event, InstrumentId, Kind, TimestampNs};
    use tickcore_feed::ring::Ring;

    fn place(venue_sequence: u64) -> Place {
        Place { channel: 2, venue_sequence }
    }

    #[test]
    fn places_go_up_with_the_lines_until_something_else_is_said() {
        let places = Places::new(64);
        let (mut writer, mut reader) = (PlaceWriter::new(&places), PlaceReader::new(&places));
        assert_eq!(reader.of(1), None);
        writer.note(1, &[Run { first: 0, place: place(10) }]);
        writer.note(5, &[Run { first: 0, place: place(14) }]);
        assert_eq!(writer.end, 1, "they are those behind the ones before");
        writer.note(9, &[Run { first: 0, place: place(18) }, Run { first: 2, place: place(19) }]);
        writer.note(12, &[]);
        writer.note(13, &[Run { first: 1, place: place(40) }]);
        let found = [1, 4, 8, 9, 10, 11, 12, 13, 14, 20].map(|line| reader.of(line).map(|place| place.venue_sequence));
        let expected = [10, 13, 17, 18, 19, 19].map(Some);
        assert_eq!(found, [&expected[..], &[None, None, Some(40), Some(46)]].concat()[..]);
    }

    /// Every event has a run of its own, both cores are as far apart as they can be, and the journal's looks at the first of a batch alone.
    #[test]
    fn no_place_is_overwritten_before_its_line_was_read() {
        const LINES: u64 = 200_000;
        let (ring, places) = (Ring::new(64, 1).unwrap(), Places::new(64));
        let (mut ring_writer, mut ring_reader) = (ring.writer().unwrap(), ring.reader().unwrap());
        thread::scope(|scope| {
            let (places, of_line) = (&places, |line: u64| place(line * 3));
            scope.spawn(move || {
                let mut writer = PlaceWriter::new(places);
                let events = [Event::new(Kind::Delete, InstrumentId(1), TimestampNs(1)); BATCH_EVENTS];
                let mut next = 1;
                while next <= LINES {
                    let run = |event| Run { first: event, place: of_line(next + event as u64) };
                    let runs: Vec<Run> = (0..BATCH_EVENTS).map(run).collect();
                    writer.note(next, &runs);
                    let mut rest = &events[..];
                    while !rest.is_empty() {
                        rest = &rest[ring_writer.publish_batch(rest)..];
                        thread::yield_now();
                    }
                    next += BATCH_EVENTS as u64;
                }
            });
            let mut reader = PlaceReader::new(places);
            while !ring_reader.is_closed_and_drained() {
                let mut is_first = true;
                ring_reader.poll(journal_core::BATCH_EVENTS, |sequence, _| {
                    if core::mem::take(&mut is_first) {
                        assert_eq!(reader.of(sequence.get()), Some(of_line(sequence.get())));
                    }
                });
                thread::yield_now();
            }
        });
    }
}
