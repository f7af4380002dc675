//! Probes: the stamps that sampled events get on their way, and what is recorded of them.
//!
//! One event in N is sampled, by its sequence, so that every core picks the same ones and nobody has to tell another. A stage is
//! the time between two stamps, and is recorded by the core that takes the later one; stages with nothing between them share
//! a stamp. One stamp travels: when an event went into the ring. It stands in an array beside the ring ([`RingStamps`]), never
//! in the event or the journal.
//!
//! Everything is allocated before the run. For an event that is not sampled a probe costs one comparison; with sampling off the
//! same. For a sampled one the stamps (two for books, one more for strategy, decoding, ring and journal each, those of the
//! feed once a batch) and some nanoseconds for each stage.

mod book;
mod feed;
mod journal;

pub(crate) use book::{BOOK_STAGES, BookProbe};
pub(crate) use feed::{FEED_STAGES, FeedProbe};
pub(crate) use journal::{JOURNAL_STAGES, JournalProbe};

use crate::feed_core::BATCH_EVENTS;
use crate::loops::SHARED_LINES;
use std::sync::atomic::{AtomicU64, Ordering};
use tickcore_book::Sequence;
use tickcore_latency::stages;
use tickcore_latency::{Clock, Origin, Ticks};

/// Stamps in a row whose cost is measured together, and how often that is tried.
const COST_PROBES: u32 = 256;
const COST_TRIES: u32 = 32;

/// What a stage is called and means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StageName {
    pub(crate) name: &'static str,
    /// Between which two stamps.
    pub(crate) between: &'static str,
    pub(crate) origin: Origin,
}

const fn stage(name: &'static str, between: &'static str, origin: Origin) -> StageName {
    StageName { name, between, origin }
}

/// Name of the stage that a paced run is about.
pub(crate) const TICK_TO_BBO: &str = "tick_to_bbo_ns";
/// Name of the stage that every measured run has.
pub(crate) const SERVICE: &str = "service_ns";

/// What a stamp, the difference to another one and its record cost on the calling thread's core: the least of some tries.
pub(crate) fn cost_ns(clock: &Clock) -> f64 {
    let (mut recorder, _collector) = stages::recorders(&["cost_ns"], clock.now());
    let mut one_try = || {
        let start = clock.now();
        let mut last = start;
        for _ in 0..COST_PROBES {
            let now = clock.now();
            recorder.record(0, clock.ns_between(last, now));
            last = now;
        }
        clock.ns_between(start, last)
    };
    let least_ns = (0..COST_TRIES).map(|_| one_try()).min().unwrap_or(0);
    least_ns as f64 / f64::from(COST_PROBES)
}

/// One event in so many, by sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampling {
    interval: u64,
    /// The next one that is sampled; beyond all sequences when none is.
    next: u64,
}

impl Sampling {
    /// Events whose sequence is a multiple of `interval`; none for 0.
    pub(crate) const fn one_in(interval: u32) -> Self {
        let interval = if interval == 0 { u64::MAX } else { interval as u64 };
        Self { interval, next: interval }
    }

    pub(crate) const fn is_off(&self) -> bool {
        self.interval == u64::MAX
    }

    /// Whether this one is sampled. Sequences have to ascend.
    #[inline]
    pub(crate) fn takes(&mut self, sequence: Sequence) -> bool {
        sequence.get() >= self.next && self.reach(sequence.get())
    }

    #[inline]
    fn reach(&mut self, sequence: u64) -> bool {
        if sequence == self.next {
            self.next += self.interval;
            return true;
        }
        // Others than this core's stood between.
        let past = sequence % self.interval;
        self.next = sequence - past + if past == 0 { 0 } else { self.interval };
        past == 0 && self.reach(sequence)
    }

    /// The sampled ones from `first` on among `count`.
    fn among(self, first: Sequence, count: usize) -> impl Iterator<Item = u64> + use<> {
        let end = first.get() + count as u64;
        let first = first.get();
        let start = if self.next >= first { self.next } else { first.next_multiple_of(self.interval) };
        (start..end).step_by(usize::try_from(self.interval).unwrap_or(usize::MAX)).take_while(move |_| start < end)
    }
}

/// When sampled events went into the ring, by the line that each has there.
///
/// There is a place for each line and as many more as a reader takes at a time: it has given the lines of its batch back when it
/// looks. A stamp is stored before the line, whose sequence carries it over to who reads the line.
#[derive(Debug)]
pub(crate) struct RingStamps {
    places: Box<[AtomicU64]>,
}

impl RingStamps {
    pub(crate) fn new(ring_lines: usize) -> Self {
        let count = (ring_lines + BATCH_EVENTS + SHARED_LINES).next_power_of_two();
        // Not zeros: memory of zeros is only promised, and would be had page by page in the run.
        Self { places: (0..count).map(|_| AtomicU64::new(u64::MAX)).collect() }
    }

    #[inline]
    fn place(&self, sequence: u64) -> &AtomicU64 {
        &self.places[sequence as usize & (self.places.len() - 1)]
    }

    #[inline]
    fn set(&self, sequence: u64, at: Ticks) {
        self.place(sequence).store(at.0, Ordering::Relaxed);
    }

    #[inline]
    fn get(&self, sequence: u64) -> Ticks {
        Ticks(self.place(sequence).load(Ordering::Relaxed))
    }
}

/// Samples on their way into the histograms: stamps as they were taken. At full speed the histograms' lines leave the cache from
/// one sample to the next, so that they are fetched once for many, between two batches.
#[derive(Debug)]
struct Samples<T> {
    all: Box<[T]>,
    count: usize,
}

/// From how many samples on they are recorded, and how many there can be before a batch ends.
const SAMPLES: usize = 256;
const SAMPLES_MAX: usize = SAMPLES + SHARED_LINES;

impl<T: Copy> Samples<T> {
    /// Room for all that come between two looks at [`Samples::are_many`]. `sample` is any.
    fn new(sample: T) -> Self {
        Self { all: vec![sample; SAMPLES_MAX].into_boxed_slice(), count: 0 }
    }

    /// Keeps a sample.
    #[inline]
    fn add(&mut self, sample: T) {
        debug_assert!(self.count < self.all.len(), "more than {SHARED_LINES} samples since the last look");
        if let Some(place) = self.all.get_mut(self.count) {
            *place = sample;
            self.count += 1;
        }
    }

    /// Whether it is time to record them.
    #[inline]
    const fn are_many(&self) -> bool {
        self.count >= SAMPLES
    }

    /// All samples, which are then forgotten.
    fn take(&mut self) -> &[T] {
        let count = core::mem::take(&mut self.count);
        &self.all[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(sampling: &mut Sampling, sequences: impl IntoIterator<Item = u64>) -> Vec<u64> {
        sequences.into_iter().filter(|&sequence| sampling.takes(Sequence(sequence))).collect()
    }

    #[test]
    fn every_core_samples_the_same_events_whatever_it_sees_of_them() {
        assert_eq!(sampled(&mut Sampling::one_in(3), 1..=10), [3, 6, 9]);
        assert_eq!(sampled(&mut Sampling::one_in(1), 1..=4), [1, 2, 3, 4]);
        assert!(sampled(&mut Sampling::one_in(0), 1..=1_000).is_empty());
        // With holes, as on a core with a share of the instruments; from a resumed place.
        assert_eq!(sampled(&mut Sampling::one_in(3), [1, 4, 5, 6, 9, 11, 30, 31, 33]), [6, 9, 30, 33]);
        assert_eq!(sampled(&mut Sampling::one_in(64), 1_000_000..1_000_100), [1_000_000, 1_000_064]);
        let mut sampling = Sampling::one_in(4);
        assert_eq!(sampling.among(Sequence(1), 9).collect::<Vec<_>>(), [4, 8]);
        assert_eq!(sampling.among(Sequence(10), 7).collect::<Vec<_>>(), [12, 16], "from beyond the next one on");
        assert_eq!(Sampling::one_in(0).among(Sequence(10), 1_000).next(), None);
        assert!(!sampling.takes(Sequence(9)));
        assert_eq!(sampling.among(Sequence(10), 2).next(), None);
        assert_eq!(sampling.among(Sequence(10), 3).collect::<Vec<_>>(), [12]);
    }

    #[test]
    fn a_stamp_stays_while_a_reader_may_still_look() {
        for lines in [2, 64, 4_096, 16_384] {
            let stamps = RingStamps::new(lines);
            let last = lines as u64 + 1_000_000;
            // A reader that has given back a batch, and a writer that has filled the ring since and enters a batch.
            let oldest = last - (lines + BATCH_EVENTS + SHARED_LINES) as u64 + 1;
            (oldest..=last).for_each(|sequence| stamps.set(sequence, Ticks(sequence)));
            assert!((oldest..=last).all(|sequence| stamps.get(sequence) == Ticks(sequence)), "{lines} lines");
        }
    }
}
