//! Stamps on a core that keeps books.

use super::{RingStamps, SERVICE, Samples, Sampling, StageName, TICK_TO_BBO, stage};
use tickcore_book::Sequence;
use tickcore_latency::stages::StageRecorder;
use tickcore_latency::{Clock, Origin, Ticks};

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
