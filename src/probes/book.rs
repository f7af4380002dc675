//! Stamps on a core that keeps books.

use super::{RingStamps, SERVICE, Samples, Sampling, StageName, TICK_TO_BBO, stage};
use crate::arrivals::{ArrivalFaults, Arrivals};
use tickcore_book::{Event, Sequence};
use tickcore_latency::stages::StageRecorder;
use tickcore_latency::{Clock, Origin, Ticks};

/// Stages of a core that keeps books.
pub(crate) const BOOK_STAGES: [StageName; 5] = [
    stage(TICK_TO_BBO, "event due, or received in a live run → BBO visible", Origin::Due),
    stage("taken_ns", "decoded, writing into the ring begins → apply begins", Origin::Part),
    stage(SERVICE, "apply begins → BBO visible", Origin::Work),
    stage("intent_ns", "BBO visible → the event's first intent stands in the output ring", Origin::Part),
    stage("strategy_ns", "BBO visible, or the intent in its ring → strategy has returned", Origin::Part),
];
const DUE_TO_BBO: usize = 0;
const TAKEN: usize = 1;
const APPLIED: usize = 2;
const SENT: usize = 3;
const CALLED: usize = 4;

/// A sampled event from the ring on.
#[derive(Clone, Copy, Debug, Default)]
struct Applied {
    came: Ticks,
    begun: Ticks,
    visible: Ticks,
    /// `None` when it sent nothing.
    sent: Option<Ticks>,
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
    /// In a live run, of which every event has a time at which it was received.
    arrivals: Option<Arrivals<'r>>,
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
        let (samples, decoded, arrivals) = (Samples::new(Applied::default()), Ticks::default(), None);
        Self { clock, sampling, recorder, stamps, samples, is_paced, arrivals, decoded, shares_stamp }
    }

    /// Measures every event from when it was received, in a live run.
    pub(crate) fn with_arrivals(self, arrivals: Option<Arrivals<'r>>) -> Self {
        Self { arrivals, ..self }
    }

    /// For a dry run: stamps nothing.
    pub(crate) fn off(clock: &'r Clock) -> Self {
        Self::new(clock, Sampling::one_in(0), None, None, false)
    }

    /// Whether every event is measured from when it was due or received.
    #[inline]
    pub(crate) const fn takes_all(&self) -> bool {
        self.is_paced || self.arrivals.is_some()
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

    /// The strategy has returned from a sampled event, whose first intent was `sent` then: the stamp.
    #[inline]
    pub(crate) fn called(&mut self, Visible { came, begun, at: visible }: Visible, sent: Option<Ticks>) -> Ticks {
        let called = self.clock.now();
        self.samples.add(Applied { came, begun, visible, sent, called });
        called
    }

    #[inline(never)]
    fn record_samples(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        let (samples, clock) = (self.samples.take(), self.clock);
        let came = samples.iter().filter(|one| one.came != Applied::AT_ONCE);
        recorder.record_all(TAKEN, came.map(|one| clock.ns_between(one.came, one.begun)));
        recorder.record_all(APPLIED, samples.iter().map(|one| clock.ns_between(one.begun, one.visible)));
        let sent = samples.iter().filter_map(|one| Some((one.visible, one.sent?)));
        recorder.record_all(SENT, sent.map(|(visible, sent)| clock.ns_between(visible, sent)));
        let last = |one: &Applied| one.sent.unwrap_or(one.visible);
        recorder.record_all(CALLED, samples.iter().map(|one| clock.ns_between(last(one), one.called)));
    }

    /// The BBO of an event of a paced run became visible so long after the event was due.
    #[inline]
    pub(crate) fn came_through(&mut self, latency_ns: u64) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(DUE_TO_BBO, latency_ns);
        }
    }

    /// Whether every event is measured from when it was received.
    #[inline]
    pub(crate) const fn is_live(&self) -> bool {
        self.arrivals.is_some()
    }

    /// The BBO of an event of a live run was visible then.
    #[inline]
    pub(crate) fn came_through_live(&mut self, event: &Event, visible: Ticks) {
        if let Some(arrivals) = &mut self.arrivals
            && let Some(received) = arrivals.of(event)
            && let Some(latency_ns) = arrivals.ns_until(received, visible)
        {
            self.came_through(latency_ns);
        }
    }

    /// A batch is done, or there was none: what was recorded can be collected.
    #[inline]
    pub(crate) fn turn(&mut self) {
        self.arrivals.iter_mut().for_each(Arrivals::refresh);
        let is_asked = self.recorder.as_ref().is_some_and(StageRecorder::is_asked);
        if is_asked || self.samples.are_many() {
            self.record_samples();
        }
        if is_asked && let Some(recorder) = &mut self.recorder {
            recorder.turn(self.clock);
        }
    }

    /// Leaves what was recorded to the collector, and says what it could not count from.
    pub(crate) fn close(mut self) -> ArrivalFaults {
        self.record_samples();
        self.recorder.into_iter().for_each(|recorder| recorder.close(self.clock));
        self.arrivals.map(|arrivals| arrivals.faults).unwrap_or_default()
    }
}
