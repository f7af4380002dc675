//! Stamps on the core that takes events from the source.

use super::{RingStamps, Samples, Sampling, StageName, stage};
use crate::arrivals::{ArrivalFaults, Arrivals};
use crate::control::Control;
use tickcore_book::{Event, Sequence, TimestampNs};
use tickcore_latency::stages::StageRecorder;
use tickcore_latency::{Clock, Origin, Ticks};

/// Stages of the core that takes events from the source.
pub(crate) const FEED_STAGES: [StageName; 4] = [
    stage("received_ns", "received, by the source's clock → taken up by the core that decodes", Origin::Part),
    stage("taken_up_ns", "event due → taken up by the core that decodes", Origin::Part),
    stage("decoded_ns", "taken up → decoded, with what was decoded together", Origin::Part),
    stage("published_ns", "decoded → room in the ring, writing begins", Origin::Part),
];
const RECEIVED: usize = 0;
const TAKEN_UP: usize = 1;
const DECODED: usize = 2;
const PUBLISHED: usize = 3;

/// Sampled events up to the ring whose stamps are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Fed {
    due: Option<Ticks>,
    /// Of the machine's clock, in a live run.
    received: Option<u64>,
    begun: Ticks,
    decoded: Ticks,
    /// `None` without a ring.
    entered: Option<Ticks>,
}

/// On the core that takes events from the source.
#[derive(Debug)]
pub(crate) struct FeedProbe<'r> {
    clock: &'r Clock,
    control: &'r Control,
    sampling: Sampling,
    recorder: Option<StageRecorder>,
    stamps: Option<&'r RingStamps>,
    /// In a live run.
    arrivals: Option<Arrivals<'r>>,
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
        let arrivals = None;
        Self { clock, control, sampling, recorder, stamps, arrivals, samples, from, known, is_live, begun, decoded }
    }

    /// Counts from when events were received as well, in a live run.
    pub(crate) fn with_arrivals(self, arrivals: Option<Arrivals<'r>>) -> Self {
        Self { arrivals, ..self }
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
        let Self { clock, samples, stamps, arrivals, from, known, begun, decoded, is_live, .. } = self;
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
                let received = arrivals.as_mut().and_then(|arrivals| arrivals.of(event_of(sequence)));
                samples.add((Fed { due: Some(due), received, begun, decoded, entered: entered(sequence) }, 1));
            }
        } else if let Some(arrivals) = arrivals {
            for sequence in sampled {
                let received = arrivals.of(event_of(sequence));
                samples.add((Fed { due: None, received, begun, decoded, entered: entered(sequence) }, 1));
            }
        } else {
            // Unless the ring was full meanwhile, all of them went into it at once.
            let mut together = (Fed { due: None, received: None, begun, decoded, entered: None }, 0);
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
        self.arrivals.iter_mut().for_each(Arrivals::refresh);
        for &(Fed { due, received, mut begun, mut decoded, entered }, count) in self.samples.take() {
            if count == 0 {
                continue;
            }
            if let Some(due) = due {
                recorder.record_repeated(TAKEN_UP, self.clock.ns_between(due, begun), count);
                // Of several events of a message the later ones are waited for when they have been decoded.
                begun = begun.max(due);
                decoded = decoded.max(begun);
            }
            let mut decoded_ns = self.clock.ns_between(begun, decoded);
            if let (Some(received), Some(arrivals)) = (received, &mut self.arrivals)
                && let Some(taken) = arrivals.ns_until_either(received, begun, decoded)
            {
                recorder.record(RECEIVED, taken.waited_ns);
                decoded_ns = taken.decoded_ns.unwrap_or(decoded_ns);
            }
            recorder.record_repeated(DECODED, decoded_ns, count);
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

    /// Leaves what was recorded to the collector, and says what it could not count from.
    pub(crate) fn close(mut self) -> ArrivalFaults {
        self.record();
        self.recorder.into_iter().for_each(|recorder| recorder.close(self.clock));
        self.arrivals.map(|arrivals| arrivals.faults).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickcore_book::{InstrumentId, Kind};
    use tickcore_latency::Distribution;
    use tickcore_latency::stages;

    #[test]
    fn samples_are_recorded_together_and_none_is_lost() {
        let (clock, control) = (Clock::monotonic(), Control::new(0));
        let events = [Event::new(Kind::Delete, InstrumentId(1), TimestampNs(1)); 150];
        let (recorder, collector) = stages::recorders(&FEED_STAGES.map(|stage| stage.name), clock.now());
        let mut probe =
            FeedProbe::new(&clock, &control, Sampling::one_in(1), Some(recorder), None, TimestampNs(0), Sequence(40));
        probe.begin();
        probe.decoded(Sequence(1), events.len());
        probe.entered(Sequence(1), &events);
        probe.close();
        let stages = collector.drain().pop().map(|interval| interval.stages).unwrap_or_default();
        let counts: Vec<u64> = stages.iter().map(Distribution::count).collect();
        assert_eq!(counts, [0, 0, 110, 0], "neither live nor paced nor through a ring, the first 40 known before");
    }
}
