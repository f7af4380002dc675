//! Stamps on the journal's core: from the ring to the disk.

use super::{RingStamps, Sampling, StageName, stage};
use tickcore_book::Sequence;
use tickcore_journal::Watermarks;
use tickcore_latency::stages::StageRecorder;
use tickcore_latency::{Clock, Origin, Ticks};

/// Sampled events that may be on their way from the ring to the disk. More are not measured there, and counted.
const JOURNALED_MAX: usize = 1 << 16;
/// Stages of the journal's core.
pub(crate) const JOURNAL_STAGES: [StageName; 3] = [
    stage("appended_ns", "writing into the ring begins → appended to the journal's staging", Origin::Part),
    stage("written_ns", "appended → written: it survives the process", Origin::Part),
    stage("durable_ns", "written → durable: it survives the machine", Origin::Part),
];
const APPENDED: usize = 0;
const WRITTEN: usize = 1;
const DURABLE: usize = 2;

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
    use tickcore_latency::Distribution;
    use tickcore_latency::stages::{self, StageCollector};

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
}
