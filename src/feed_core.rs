//! The side of the engine that takes events from a source: at full speed or paced, numbered from 1.

use crate::control::Control;
use crate::meter::Meter;
use crate::pace::{Pace, Schedule};
use crate::places::PlaceWriter;
use crate::probes::FeedProbe;
use tickcore_book::{Event, Sequence, TimestampNs};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::ring::Wait;
use tickcore_feed::source::{Filled, FirstSkipped, Source, SourceError};
use tickcore_latency::{Clock, Ticks};

/// Events taken from a source at a time: 14 KB, which stays in the first-level cache until they are applied.
pub(crate) const BATCH_EVENTS: usize = 256;

/// How long before an event is due its core looks at nothing but the time: a pause would be felt as lateness of the event.
const NEARLY_DUE_NS: u64 = 200;

/// Why a feed ended.
#[derive(Debug)]
pub(crate) enum FeedEnd {
    /// The source has no more.
    Complete,
    /// The end of the chosen time was reached.
    TimeReached,
    /// Somebody asked for it.
    Stopped,
    /// The source failed.
    Failed(SourceError),
    /// A message was skipped in a run that takes none.
    Skipped(FirstSkipped),
    /// The input ends within a message, in a run that takes none.
    Truncated {
        /// Where the cut message begins.
        offset: u64,
        /// Bytes of it.
        bytes: u64,
    },
}

/// An event that is taken up later than this after it was due was not the only one to wait: others are looked for.
const LATE_NS: u64 = 500;

/// What was taken from a source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken<'b> {
    /// Events, none when nothing was there.
    pub(crate) events: &'b [Event],
    /// The first so many are let in together; each one behind them is waited for.
    pub(crate) due_count: usize,
}

/// A source with the pace at which its events are let in.
#[derive(Debug)]
pub(crate) struct FeedCore<'c, R> {
    source: R,
    batch: EventBatch,
    control: &'c Control,
    clock: &'c Clock,
    pace: Pace,
    from: TimestampNs,
    to: TimestampNs,
    is_strict: bool,
    wait: Wait,
    is_paced: bool,
    /// Events of the batch that are due, in a paced run.
    due_count: usize,
    /// Why the feed ends, once the events before that place were taken.
    held_end: Option<FeedEnd>,
    /// Number of the event that comes next.
    next_number: u64,
    /// Events up to here are known already: nothing waits for them to be due.
    known: u64,
    /// For the journal, if there is one.
    places: Option<PlaceWriter<'c>>,
    /// Sequence before the source's first event, which is in the ring's first line.
    base: u64,
}

/// What a run lets in, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admission {
    pub(crate) pace: Pace,
    pub(crate) from: TimestampNs,
    pub(crate) to: TimestampNs,
    pub(crate) is_strict: bool,
    pub(crate) wait: Wait,
    /// Sequence before the source's first event.
    pub(crate) base: Sequence,
    /// Events up to here are known already.
    pub(crate) known: Sequence,
}

impl<'c, R: Source> FeedCore<'c, R> {
    pub(crate) fn new(
        source: R,
        admission: Admission,
        places: Option<PlaceWriter<'c>>,
        control: &'c Control,
        clock: &'c Clock,
    ) -> Self {
        let Admission { pace, from, to, is_strict, wait, base, known } = admission;
        Self {
            source,
            batch: EventBatch::new(BATCH_EVENTS),
            control,
            clock,
            pace,
            from,
            to,
            is_strict,
            wait,
            is_paced: false,
            due_count: 0,
            held_end: None,
            next_number: base.next().get(),
            known: known.get(),
            places,
            base: base.get(),
        }
    }

    pub(crate) fn into_source(self) -> R {
        self.source
    }

    /// Takes what is at hand; no events mean that nothing was, for now.
    #[inline]
    pub(crate) fn next(&mut self, probe: &mut FeedProbe<'_>, meter: &mut Meter<'_>) -> Result<Taken<'_>, FeedEnd> {
        if self.control.is_stopped() {
            return Err(FeedEnd::Stopped);
        }
        if let Some(end) = self.held_end.take() {
            return Err(end);
        }
        self.batch.clear();
        // What is paced begins when it is due.
        if !self.is_paced {
            probe.begin();
        }
        if self.is_strict {
            self.fill_message_by_message(probe, meter);
        } else if let Some(end) = self.fill(usize::MAX, probe, meter) {
            return Err(end);
        }
        probe.decoded(Sequence(self.next_number), self.batch.len());
        if let Some(places) = &mut self.places {
            places.note(self.next_number - self.base, self.batch.runs());
        }
        let events = self.batch.as_slice();
        let count = if self.to == TimestampNs(u64::MAX) {
            events.len()
        } else {
            events.iter().position(|event| event.exchange_time > self.to).unwrap_or(events.len())
        };
        if count < events.len() {
            self.held_end = Some(FeedEnd::TimeReached);
        }
        self.next_number += count as u64;
        let due_count = if self.is_paced { self.due_count.min(count) } else { count };
        Ok(Taken { events: &events[..count], due_count })
    }

    /// Takes up to `max_messages`, or one that is waited for in a paced run; says so when there are no more.
    #[inline]
    fn fill(&mut self, max_messages: usize, probe: &mut FeedProbe<'_>, meter: &mut Meter<'_>) -> Option<FeedEnd> {
        let filled = match self.pace {
            Pace::Max => self.source.fill(&mut self.batch, max_messages),
            _ if self.next_number <= self.known => self.source.fill(&mut self.batch, 1),
            _ => self.fill_when_due(probe, meter),
        };
        match filled {
            Ok(Filled::Events | Filled::Pending) => None,
            Ok(Filled::End) => {
                self.control.set_input_complete();
                Some(FeedEnd::Complete)
            }
            Err(error) => Some(FeedEnd::Failed(error)),
        }
    }

    /// In a run that takes nothing but whole messages that it knows: fills the batch up to the first other one, so that
    /// what stands before it is applied first.
    fn fill_message_by_message(&mut self, probe: &mut FeedProbe<'_>, meter: &mut Meter<'_>) {
        while self.held_end.is_none() && self.batch.has_room_for_message() {
            let messages = self.source.counts().messages;
            let end = self.fill(1, probe, meter);
            self.held_end = self.flaw().or(end);
            if self.source.counts().messages == messages || self.pace != Pace::Max {
                return;
            }
        }
    }

    /// The first message that was skipped or cut.
    fn flaw(&self) -> Option<FeedEnd> {
        let counts = self.source.counts();
        if let Some(skipped) = counts.first_skipped {
            return Some(FeedEnd::Skipped(skipped));
        }
        (counts.truncated_bytes > 0)
            .then_some(FeedEnd::Truncated { offset: counts.bytes, bytes: counts.truncated_bytes })
    }

    /// Waits until the next message is due, then takes it: its decoding is part of what is measured.
    fn fill_when_due(&mut self, probe: &mut FeedProbe<'_>, meter: &mut Meter<'_>) -> Result<Filled, SourceError> {
        let Some(time) = self.source.next_time()? else {
            return self.source.fill(&mut self.batch, 0);
        };
        if !self.is_paced && time >= self.from {
            self.is_paced = true;
            if let Some(schedule) = Schedule::new(self.pace, time, self.next_number) {
                self.control.set_schedule(self.clock.now(), schedule);
            }
        }
        let now = self.pacing().wait_until_due(time, self.next_number, meter);
        self.due_count = 1;
        let filled = self.source.fill(&mut self.batch, 1)?;
        if let Some(now) = now {
            probe.begin_at(now);
            // In a strict run nothing may come behind a message that is skipped.
            if !self.is_strict {
                self.catch_up(time, now);
            }
        }
        Ok(filled)
    }

    /// Who comes late, as after a stall, takes all that has become due meanwhile together, as one would from a socket.
    #[inline]
    fn catch_up(&mut self, time: TimestampNs, now: Ticks) {
        let Some((start, schedule)) = self.control.schedule() else { return };
        let elapsed_ns = self.clock.ns_between(*start, now);
        if elapsed_ns.saturating_sub(schedule.due_ns(time, self.next_number)) >= LATE_NS {
            self.fill_what_is_due(schedule, elapsed_ns);
        }
    }

    #[cold]
    fn fill_what_is_due(&mut self, schedule: &Schedule, elapsed_ns: u64) {
        loop {
            let numbers = self.next_number + self.due_count as u64..;
            let rest = &self.batch.as_slice()[self.due_count.min(self.batch.len())..];
            let is_due = |(number, event): &(u64, &Event)| schedule.due_ns(event.exchange_time, *number) <= elapsed_ns;
            self.due_count += numbers.zip(rest).take_while(is_due).count();
            if self.due_count < self.batch.len() || !self.batch.has_room_for_message() {
                return;
            }
            let number = self.next_number + self.batch.len() as u64;
            let filled = match self.source.next_time() {
                Ok(Some(time)) if schedule.due_ns(time, number) <= elapsed_ns => self.source.fill(&mut self.batch, 1),
                Ok(_) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = filled {
                // What came before it is let in first.
                self.held_end = Some(FeedEnd::Failed(error));
                return;
            }
        }
    }

    /// What is needed to wait for later events of a batch while the batch is out.
    pub(crate) const fn pacing(&self) -> Pacing<'c> {
        Pacing { control: self.control, clock: self.clock, wait: self.wait }
    }
}

/// Waits for the time at which an event is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacing<'c> {
    control: &'c Control,
    clock: &'c Clock,
    wait: Wait,
}

impl Pacing<'_> {
    /// Spins until the event with this time and number is due, or the run is stopped, and says when it saw that. At once
    /// when nothing is paced.
    #[inline]
    pub(crate) fn wait_until_due(self, time: TimestampNs, number: u64, meter: &mut Meter<'_>) -> Option<Ticks> {
        let (start, schedule) = self.control.schedule()?;
        let due = self.clock.after(*start, schedule.due_ns(time, number));
        let nearly_due = Ticks(due.0.saturating_sub(self.clock.after(Ticks(0), NEARLY_DUE_NS).0));
        let mut waiter = self.wait.waiter();
        let mut now = self.clock.now();
        while now < due && !self.control.is_stopped() {
            if now < nearly_due || self.wait != Wait::Spin {
                waiter.idle();
            }
            now = self.clock.now();
            // Before anybody asks whether it is due: a stall ends beyond that, and it was met while waiting.
            meter.idle_at(now);
        }
        Some(now)
    }
}
