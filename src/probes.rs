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

use crate::control::Control;
use crate::feed_core::BATCH_EVENTS;
use crate::loops::SHARED_LINES;
use std::sync::atomic::{AtomicU64, Ordering};
use tickcore_book::{Event, Sequence, TimestampNs};
use tickcore_journal::Watermarks;
use tickcore_latency::stages::{self, StageRecorder};
use tickcore_latency::{Clock, Origin, Ticks};

/// Sampled events that may be on their way from the ring to the disk. More are not measured there, and counted.
const JOURNALED_MAX: usize = 1 << 16;

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

/// Stages of the core that takes events from the source.
pub(crate) const FEED_STAGES: [StageName; 3] = [
    stage("taken_up_ns", "event due → taken up by the core that decodes", Origin::Part),
    stage("decoded_ns", "taken up → decoded, with what was decoded together", Origin::Part),
    stage("published_ns", "decoded → room in the ring, writing begins", Origin::Part),
];
const TAKEN_UP: usize = 0;
const DECODED: usize = 1;
const PUBLISHED: usize = 2;

/// Stages of a core that keeps books.
pub(crate) const BOOK_STAGES: [StageName; 4] = [
    stage(TICK_TO_BBO, "event due → BBO visible", Origin::Due),
    stage("taken_ns", "decoded, writing into the ring begins → apply begins", Origin::Part),
    stage(SERVICE, "apply begins → BBO visible", Origin::Work),
    stage("strategy_ns", "BBO visible → strategy has returned, digests kept", Origin::Part),
];
const DUE_TO_BBO: usize = 0;
const TAKEN: usize = 1;
const APPLIED: usize = 2;
const CALLED: usize = 3;

/// Stages of the journal's core.
pub(crate) const JOURNAL_STAGES: [StageName; 3] = [
    stage("appended_ns", "writing into the ring begins → appended to the journal's staging", Origin::Part),
    stage("written_ns", "appended → written: it survives the process", Origin::Part),
    stage("durable_ns", "written → durable: it survives the machine", Origin::Part),
];
const APPENDED: usize = 0;
const WRITTEN: usize = 1;
const DURABLE: usize = 2;

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

/// Sampled events up to the ring whose stamps are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Fed {
    due: Option<Ticks>,
    begun: Ticks,
    decoded: Ticks,
    /// `None` without a ring.
    entered: Option<Ticks>,
}

/// A sampled event from the ring on.
#[derive(Clone, Copy, Debug, Default)]
struct Applied {
    came: Ticks,
    begun: Ticks,
    visible: Ticks,
    called: Ticks,
}

impl Applied {
    /// In the place of when an event came, where nothing stood between decoding and applying it: the stamp is one.
    const AT_ONCE: Ticks = Ticks(u64::MAX);
}

/// A sampled event whose BBO is visible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visible {
    came: Ticks,
    begun: Ticks,
    /// When that was.
    pub(crate) at: Ticks,
}

/// On the core that takes events from the source.
#[derive(Debug)]
pub(crate) struct FeedProbe<'r> {
    clock: &'r Clock,
    control: &'r Control,
    sampling: Sampling,
    recorder: Option<StageRecorder>,
    stamps: Option<&'r RingStamps>,
    /// Stamps, and how many events have them.
    samples: Samples<(Fed, u64)>,
    from: TimestampNs,
    /// Events up to here are known already: a resumed run only passes them on.
    known: Sequence,
    is_live: bool,
    begun: Ticks,
    /// When the events at hand were decoded.
    pub(crate) decoded: Ticks,
}

impl<'r> FeedProbe<'r> {
    /// Records into `recorder`, and leaves stamps for who reads the ring, if there is one.
    pub(crate) fn new(
        clock: &'r Clock,
        control: &'r Control,
        sampling: Sampling,
        recorder: Option<StageRecorder>,
        stamps: Option<&'r RingStamps>,
        from: TimestampNs,
        known: Sequence,
    ) -> Self {
        let (begun, decoded, is_live) = (Ticks::default(), Ticks::default(), false);
        let samples = Samples::new((Fed::default(), 0));
        Self { clock, control, sampling, recorder, stamps, samples, from, known, is_live, begun, decoded }
    }

    /// For a dry run: stamps nothing.
    pub(crate) fn off(clock: &'r Clock, control: &'r Control) -> Self {
        Self::new(clock, control, Sampling::one_in(0), None, None, TimestampNs(0), Sequence(0))
    }

    /// Decoding begins.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if !self.sampling.is_off() {
            self.begun = self.clock.now();
        }
    }

    /// Decoding begins, and somebody has the time already.
    #[inline]
    pub(crate) fn begin_at(&mut self, now: Ticks) {
        self.begun = now;
    }

    /// `count` events from `first` on are decoded.
    #[inline]
    pub(crate) fn decoded(&mut self, first: Sequence, count: usize) {
        if first.get() + count as u64 > self.sampling.next {
            self.decoded = self.clock.now();
        }
    }

    /// `count` events from `first` on are about to go into the ring. To be said again when there was no room for some.
    #[inline]
    pub(crate) fn enter(&self, first: Sequence, count: usize) {
        if first.get() + count as u64 > self.sampling.next
            && let Some(stamps) = self.stamps
        {
            let now = self.clock.now();
            self.sampling.among(first, count).for_each(|sequence| stamps.set(sequence, now));
        }
    }

    /// These events, from `first` on, are in the ring, or on their way to books without one.
    #[inline]
    pub(crate) fn entered(&mut self, first: Sequence, events: &[Event]) {
        if first.get() + events.len() as u64 > self.sampling.next {
            self.keep(first, events);
        }
        self.turn();
    }

    /// Records what is there when it is much, or when it was asked for, which then is handed over.
    #[inline]
    fn turn(&mut self) {
        let is_asked = self.recorder.as_ref().is_some_and(StageRecorder::is_asked);
        if is_asked || self.samples.are_many() {
            self.record();
        }
        if is_asked && let Some(recorder) = &mut self.recorder {
            recorder.turn(self.clock);
        }
    }

    fn keep(&mut self, first: Sequence, events: &[Event]) {
        let Self { clock, samples, stamps, from, known, begun, decoded, is_live, .. } = self;
        let (begun, decoded) = (*begun, *decoded);
        let event_of = |sequence: u64| &events[(sequence - first.get()) as usize];
        let entered = |sequence: u64| stamps.map(|stamps| stamps.get(sequence));
        let sampled = self.sampling.among(first, events.len()).skip_while(|&sequence| {
            *is_live |= sequence > known.get() && event_of(sequence).exchange_time >= *from;
            !*is_live
        });
        if let Some((start, schedule)) = self.control.schedule() {
            for sequence in sampled {
                let due = clock.after(*start, schedule.due_ns(event_of(sequence).exchange_time, sequence));
                samples.add((Fed { due: Some(due), begun, decoded, entered: entered(sequence) }, 1));
            }
        } else {
            // Unless the ring was full meanwhile, all of them went into it at once.
            let mut together = (Fed { due: None, begun, decoded, entered: None }, 0);
            for sequence in sampled {
                let entered = entered(sequence);
                if entered != together.0.entered {
                    samples.add(together);
                    together = (Fed { entered, ..together.0 }, 0);
                }
                together.1 += 1;
            }
            samples.add(together);
        }
        self.sampling.takes(Sequence(first.get() + events.len() as u64 - 1));
    }

    #[inline(never)]
    fn record(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        for &(Fed { due, mut begun, mut decoded, entered }, count) in self.samples.take() {
            if count == 0 {
                continue;
            }
            if let Some(due) = due {
                recorder.record_repeated(TAKEN_UP, self.clock.ns_between(due, begun), count);
                // Of several events of a message the later ones are waited for when they have been decoded.
                begun = begun.max(due);
                decoded = decoded.max(begun);
            }
            recorder.record_repeated(DECODED, self.clock.ns_between(begun, decoded), count);
            if let Some(entered) = entered {
                recorder.record_repeated(PUBLISHED, self.clock.ns_between(decoded, entered), count);
            }
        }
    }

    /// Nothing came: what was recorded can be collected all the same.
    #[inline]
    pub(crate) fn idle(&mut self) {
        self.turn();
    }

    /// Leaves what was recorded to the collector.
    pub(crate) fn close(mut self) {
        self.record();
        self.recorder.into_iter().for_each(|recorder| recorder.close(self.clock));
    }
}

/// On a core that keeps books.
#[derive(Debug)]
pub(crate) struct BookProbe<'r> {
    clock: &'r Clock,
    sampling: Sampling,
    recorder: Option<StageRecorder>,
    stamps: Option<&'r RingStamps>,
    samples: Samples<Applied>,
    /// Whether every event has a time at which it is due.
    is_paced: bool,
    /// When the events at hand were decoded on this core, if they came without a ring.
    decoded: Ticks,
    /// Whether nothing stands between decoding an event that comes alone and applying it.
    shares_stamp: bool,
}

impl<'r> BookProbe<'r> {
    /// Records into `recorder`; `stamps` are those of the ring, if events come through one.
    pub(crate) fn new(
        clock: &'r Clock,
        sampling: Sampling,
        recorder: Option<StageRecorder>,
        stamps: Option<&'r RingStamps>,
        is_paced: bool,
    ) -> Self {
        let shares_stamp = is_paced && stamps.is_none();
        let (samples, decoded) = (Samples::new(Applied::default()), Ticks::default());
        Self { clock, sampling, recorder, stamps, samples, is_paced, decoded, shares_stamp }
    }

    /// For a dry run: stamps nothing.
    pub(crate) fn off(clock: &'r Clock) -> Self {
        Self::new(clock, Sampling::one_in(0), None, None, false)
    }

    /// Whether every event is measured from when it was due.
    #[inline]
    pub(crate) const fn is_paced(&self) -> bool {
        self.is_paced
    }

    /// The events that are applied next were decoded on this core then.
    #[inline]
    pub(crate) fn came_at(&mut self, decoded: Ticks) {
        self.decoded = decoded;
    }

    /// Whether this event is sampled.
    #[inline]
    pub(crate) fn takes(&mut self, sequence: Sequence) -> bool {
        self.sampling.takes(sequence)
    }

    /// A sampled event is about to be applied, alone or with others before it: from when its service counts.
    #[inline]
    pub(crate) fn begin(&self, is_alone: bool) -> Ticks {
        if self.shares_stamp && is_alone { self.decoded } else { self.clock.now() }
    }

    /// The BBO of a sampled event is visible.
    #[inline]
    pub(crate) fn applied(&self, sequence: Sequence, begun: Ticks, is_alone: bool) -> Visible {
        let at = self.clock.now();
        let came = match self.stamps {
            Some(stamps) => stamps.get(sequence.get()),
            None if self.shares_stamp && is_alone => Applied::AT_ONCE,
            None => self.decoded,
        };
        Visible { came, begun, at }
    }

    /// The strategy has returned from a sampled event: the stamp.
    #[inline]
    pub(crate) fn called(&mut self, Visible { came, begun, at: visible }: Visible) -> Ticks {
        let called = self.clock.now();
        self.samples.add(Applied { came, begun, visible, called });
        called
    }

    #[inline(never)]
    fn record_samples(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        let (samples, clock) = (self.samples.take(), self.clock);
        let came = samples.iter().filter(|one| one.came != Applied::AT_ONCE);
        recorder.record_all(TAKEN, came.map(|one| clock.ns_between(one.came, one.begun)));
        recorder.record_all(APPLIED, samples.iter().map(|one| clock.ns_between(one.begun, one.visible)));
        recorder.record_all(CALLED, samples.iter().map(|one| clock.ns_between(one.visible, one.called)));
    }

    /// The BBO of an event of a paced run became visible so long after the event was due.
    #[inline]
    pub(crate) fn came_through(&mut self, latency_ns: u64) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(DUE_TO_BBO, latency_ns);
        }
    }

    /// A batch is done, or there was none: what was recorded can be collected.
    #[inline]
    pub(crate) fn turn(&mut self) {
        let is_asked = self.recorder.as_ref().is_some_and(StageRecorder::is_asked);
        if is_asked || self.samples.are_many() {
            self.record_samples();
        }
        if is_asked && let Some(recorder) = &mut self.recorder {
            recorder.turn(self.clock);
        }
    }

    /// Leaves what was recorded to the collector.
    pub(crate) fn close(mut self) {
        self.record_samples();
        self.recorder.into_iter().for_each(|recorder| recorder.close(self.clock));
    }
}

/// A sampled event between ring and disk.
#[derive(Clone, Copy, Debug, Default)]
struct Journaled {
    sequence: u64,
    /// When it was appended; later, when it was written.
    at: Ticks,
}

/// On the journal's core.
#[derive(Debug)]
pub(crate) struct JournalProbe<'r> {
    clock: &'r Clock,
    sampling: Sampling,
    recorder: Option<StageRecorder>,
    stamps: Option<&'r RingStamps>,
    /// A ring of the sampled events that are not durable yet.
    on_the_way: Box<[Journaled]>,
    /// Running numbers in it: the first that is not durable, the first that is not written, the end.
    durable: usize,
    written: usize,
    end: usize,
    /// Sampled events for which there was no place.
    left_out: u64,
    watermarks: Watermarks,
}

impl<'r> JournalProbe<'r> {
    /// Records into `recorder`; `stamps` are those of the ring.
    pub(crate) fn new(
        clock: &'r Clock,
        sampling: Sampling,
        recorder: Option<StageRecorder>,
        stamps: Option<&'r RingStamps>,
    ) -> Self {
        let places = if recorder.is_some() { JOURNALED_MAX } else { 0 };
        // Not zeros, as with `RingStamps`.
        let on_the_way = vec![Journaled { sequence: u64::MAX, at: Ticks(u64::MAX) }; places].into_boxed_slice();
        let watermarks = Watermarks { written: Sequence(0), durable: Sequence(0) };
        let (durable, written, end, left_out) = (0, 0, 0, 0);
        Self { clock, sampling, recorder, stamps, on_the_way, durable, written, end, left_out, watermarks }
    }

    /// An event was appended.
    #[inline]
    pub(crate) fn appended(&mut self, sequence: Sequence) {
        if self.sampling.takes(sequence) {
            self.note(sequence.get());
        }
    }

    fn note(&mut self, sequence: u64) {
        let (Some(recorder), Some(stamps)) = (&mut self.recorder, self.stamps) else { return };
        let at = self.clock.now();
        recorder.record(APPENDED, self.clock.ns_between(stamps.get(sequence), at));
        if self.end - self.durable == self.on_the_way.len() {
            self.left_out += 1;
            return;
        }
        let place = self.end % self.on_the_way.len();
        self.on_the_way[place] = Journaled { sequence, at };
        self.end += 1;
    }

    /// The journal is so far.
    #[inline]
    pub(crate) fn reached(&mut self, watermarks: Watermarks) {
        if watermarks != self.watermarks {
            self.watermarks = watermarks;
            self.record(watermarks);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.turn(self.clock);
        }
    }

    fn record(&mut self, watermarks: Watermarks) {
        let Some(recorder) = &mut self.recorder else { return };
        let now = self.clock.now();
        let places = self.on_the_way.len();
        while self.written < self.end {
            let one = &mut self.on_the_way[self.written % places];
            if one.sequence > watermarks.written.get() {
                break;
            }
            recorder.record(WRITTEN, self.clock.ns_between(one.at, now));
            one.at = now;
            self.written += 1;
        }
        while self.durable < self.written {
            let one = self.on_the_way[self.durable % places];
            if one.sequence > watermarks.durable.get() {
                break;
            }
            recorder.record(DURABLE, self.clock.ns_between(one.at, now));
            self.durable += 1;
        }
    }

    /// Whether a sampled event is on its way.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.durable < self.end
    }

    /// Leaves what was recorded to the collector. Says for how many sampled events there was no place.
    pub(crate) fn close(self) -> u64 {
        self.recorder.into_iter().for_each(|recorder| recorder.close(self.clock));
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Duration;
    use tickcore_book::{InstrumentId, Kind};
    use tickcore_latency::Distribution;
    use tickcore_latency::stages::StageCollector;

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

    fn values(collector: StageCollector) -> Vec<Distribution> {
        collector.drain().pop().map(|interval| interval.stages).unwrap_or_default()
    }

    /// A disk that writes late and syncs later, and a journal with more sampled events on the way than there are places.
    #[test]
    fn a_slow_disk_is_late_in_the_stage_in_which_it_is_slow() {
        let (clock, stamps) = (Clock::monotonic(), RingStamps::new(1_024));
        let names: Vec<&str> = JOURNAL_STAGES.iter().map(|stage| stage.name).collect();
        let (recorder, collector) = stages::recorders(&names, clock.now());
        let mut probe = JournalProbe::new(&clock, Sampling::one_in(2), Some(recorder), Some(&stamps));
        let reached = |written, durable| Watermarks { written: Sequence(written), durable: Sequence(durable) };
        for sequence in 1..=10 {
            stamps.set(sequence, clock.now());
            probe.appended(Sequence(sequence));
        }
        thread::sleep(Duration::from_millis(3));
        probe.reached(reached(9, 0));
        probe.reached(reached(9, 0));
        thread::sleep(Duration::from_millis(20));
        probe.reached(reached(10, 7));
        assert!(probe.is_waiting());
        probe.reached(reached(10, 10));
        assert!(!probe.is_waiting());
        assert_eq!(probe.close(), 0);
        let stages = values(collector);
        assert_eq!(stages.iter().map(Distribution::count).collect::<Vec<_>>(), [5; 3]);
        let between = |stage: &Distribution| (stage.min_ns().unwrap_or(0), stage.max_ns().unwrap_or(0));
        assert!(between(&stages[APPENDED]).1 < 3_000_000, "{:?}", stages[APPENDED]);
        let (first, last) = between(&stages[WRITTEN]);
        assert!((3_000_000..18_000_000).contains(&first) && last >= 23_000_000, "{first} to {last}");
        let (first, last) = between(&stages[DURABLE]);
        assert!(first < 3_000_000 && (20_000_000..60_000_000).contains(&last), "{first} to {last}");
    }

    #[test]
    fn what_has_no_place_is_counted() {
        let (clock, stamps) = (Clock::monotonic(), RingStamps::new(64));
        let (recorder, collector) = stages::recorders(&["a_ns", "b_ns", "c_ns"], clock.now());
        let mut probe = JournalProbe::new(&clock, Sampling::one_in(1), Some(recorder), Some(&stamps));
        let count = JOURNALED_MAX as u64 + 5;
        (1..=count).for_each(|sequence| probe.appended(Sequence(sequence)));
        probe.reached(Watermarks { written: Sequence(count), durable: Sequence(count) });
        assert_eq!(probe.close(), 5);
        let counts: Vec<u64> = values(collector).iter().map(Distribution::count).collect();
        assert_eq!(counts, [count, JOURNALED_MAX as u64, JOURNALED_MAX as u64]);
    }

    #[test]
    fn samples_are_recorded_together_and_none_is_lost() {
        let (clock, control) = (Clock::monotonic(), Control::new(0));
        let events = [Event::new(Kind::Delete, InstrumentId(1), TimestampNs(1)); 150];
        let (recorder, collector) = stages::recorders(&["a_ns", "b_ns", "c_ns"], clock.now());
        let mut probe =
            FeedProbe::new(&clock, &control, Sampling::one_in(1), Some(recorder), None, TimestampNs(0), Sequence(40));
        probe.begin();
        probe.decoded(Sequence(1), events.len());
        probe.entered(Sequence(1), &events);
        probe.close();
        let counts: Vec<u64> = values(collector).iter().map(Distribution::count).collect();
        assert_eq!(counts, [0, 110, 0], "neither paced nor through a ring, the first 40 known before");
    }
}
