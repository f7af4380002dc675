//! The loops that pinned cores turn in, from the word to go to the end of the events.
//!
//! Nothing here allocates, locks or makes a system call, unless threads were asked to share cores: then they yield.

use crate::book_core::{BookCore, Consecutive};
use crate::control::Control;
use crate::feed_core::{BATCH_EVENTS, FeedCore, FeedEnd, Taken};
use crate::meter::Meter;
use crate::probes::FeedProbe;
use crate::shards::Share;
use crate::stat::Counter;
use crate::strategy::Strategy;
use tickcore_book::{Event, Sequence};
use tickcore_feed::ring::{Reader as RingReader, Wait, Writer as RingWriter};
use tickcore_feed::source::Source;

/// Lines that a book core with a share of the instruments looks at before it applies what is its own: with four cores
/// about as many events of its own as a batch has.
pub(crate) const SHARED_LINES: usize = 4 * BATCH_EVENTS;

/// What every loop refers to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turning<'r> {
    pub(crate) control: &'r Control,
    pub(crate) wait: Wait,
    /// Sequence before the source's first event.
    pub(crate) base: Sequence,
}

impl Turning<'_> {
    /// Source, ring for the journal, books and strategy on one core, from the event behind `last` on.
    pub(crate) fn inline<R: Source, S: Strategy>(
        self,
        feed: &mut FeedCore<'_, R>,
        core: &mut BookCore<'_, '_, S>,
        mut writer: Option<&mut RingWriter>,
        mut last: Sequence,
        probe: &mut FeedProbe<'_>,
        meter: &mut Meter<'_>,
    ) -> FeedEnd {
        let pacing = feed.pacing();
        let mut waiter = self.wait.waiter();
        loop {
            let Taken { events, due_count } = match feed.next(probe, meter) {
                Ok(Taken { events: [], .. }) => {
                    meter.idle();
                    waiter.idle();
                    probe.idle();
                    core.probe.turn();
                    continue;
                }
                Ok(taken) => taken,
                Err(end) => return end,
            };
            waiter.reset();
            core.probe.came_at(probe.decoded);
            // What is due goes together, also to the journal; what is not is waited for one by one.
            let mut rest = events;
            let mut count = due_count;
            while !rest.is_empty() {
                let (now, later) = rest.split_at(count);
                let first = last.next();
                // The first were waited for before they were decoded.
                if rest.len() < events.len() {
                    let due = pacing.wait_until_due(now[0].exchange_time, first.get(), meter);
                    due.into_iter().for_each(|due| core.probe.came_at(due));
                }
                if let Some(writer) = &mut writer
                    && !self.publish(writer, now, probe, meter)
                {
                    return FeedEnd::Stopped;
                }
                probe.entered(first, now);
                last = Sequence(last.get() + count as u64);
                count = 1;
                if !core.take(&Consecutive(first), now, 0, last, meter) {
                    self.control.stop();
                    return FeedEnd::Stopped;
                }
                rest = later;
            }
        }
    }

    /// Source to ring.
    pub(crate) fn feed<R: Source>(
        self,
        feed: &mut FeedCore<'_, R>,
        writer: &mut RingWriter,
        probe: &mut FeedProbe<'_>,
        meter: &mut Meter<'_>,
    ) -> FeedEnd {
        let pacing = feed.pacing();
        let mut waiter = self.wait.waiter();
        loop {
            let Taken { events, due_count } = match feed.next(probe, meter) {
                Ok(Taken { events: [], .. }) => {
                    meter.idle();
                    waiter.idle();
                    probe.idle();
                    continue;
                }
                Ok(taken) => taken,
                Err(end) => return end,
            };
            waiter.reset();
            let mut rest = events;
            let mut count = due_count;
            while !rest.is_empty() {
                let (part, later) = rest.split_at(count);
                let first = self.behind(writer);
                // The first were waited for before they were decoded.
                if rest.len() < events.len() {
                    pacing.wait_until_due(part[0].exchange_time, first.get(), meter);
                }
                (rest, count) = (later, 1);
                if !self.publish(writer, part, probe, meter) {
                    return FeedEnd::Stopped;
                }
                probe.entered(first, part);
                meter.worked();
                meter.batch(part.len(), 0, Sequence(self.behind(writer).get() - 1));
            }
        }
    }

    /// Ring to books and strategy, until the ring is closed and empty.
    pub(crate) fn book<S: Strategy>(
        self,
        core: &mut BookCore<'_, '_, S>,
        reader: &mut RingReader,
        gathered: &mut Gathered,
        meter: &mut Meter<'_>,
    ) {
        let mut waiter = self.wait.waiter();
        while !self.control.is_abandoned() {
            let first = Sequence(self.base.get() + reader.next_sequence().get());
            let lines = gathered.take_from(reader, core.share.as_ref(), self.base);
            if lines == 0 {
                if reader.is_closed_and_drained() {
                    return;
                }
                meter.idle();
                waiter.idle();
                core.probe.turn();
                continue;
            }
            waiter.reset();
            let through = Sequence(first.get() + lines as u64 - 1);
            let events = &gathered.events[..gathered.count];
            let skipped = lines - events.len();
            let goes_on = if core.share.is_some() {
                core.take(&gathered.sequences[..], events, skipped, through, meter)
            } else {
                core.take(&Consecutive(first), events, skipped, through, meter)
            };
            if !goes_on {
                self.control.stop();
                return;
            }
        }
    }

    /// The engine's sequence of the event that is published next.
    #[inline]
    fn behind(self, writer: &RingWriter) -> Sequence {
        Sequence(self.base.get() + writer.last_sequence().get()).next()
    }

    /// Publishes every event, waiting for slow readers. False when the run was abandoned before that. A reader that dies no
    /// longer holds the ring.
    #[inline]
    pub(crate) fn publish(
        self,
        writer: &mut RingWriter,
        events: &[Event],
        probe: &FeedProbe<'_>,
        meter: &mut Meter<'_>,
    ) -> bool {
        probe.enter(self.behind(writer), events.len());
        let mut rest = &events[writer.publish_batch(events)..];
        if rest.is_empty() {
            return true;
        }
        meter.set(Counter::FullWaits, writer.full_waits());
        meter.set(Counter::Sequence, self.behind(writer).get() - 1);
        let mut waiter = self.wait.waiter();
        while !rest.is_empty() {
            probe.enter(self.behind(writer), rest.len());
            let count = writer.publish_batch(rest);
            rest = &rest[count..];
            if count > 0 {
                meter.worked();
                waiter.reset();
            } else if self.control.is_abandoned() {
                return false;
            } else {
                meter.idle();
                waiter.idle();
            }
        }
        true
    }
}

/// Events taken from the ring to be applied together.
#[derive(Debug)]
pub(crate) struct Gathered {
    events: Box<[Event]>,
    /// Sequences of the events, where others stood between them.
    sequences: Box<[Sequence]>,
    count: usize,
}

impl Gathered {
    /// Room for what one turn takes.
    pub(crate) fn new(share: Option<&Share>) -> Self {
        let (events, sequences) = if share.is_some() { (SHARED_LINES, SHARED_LINES) } else { (BATCH_EVENTS, 0) };
        Self {
            events: vec![Event::default(); events].into_boxed_slice(),
            sequences: vec![Sequence(0); sequences].into_boxed_slice(),
            count: 0,
        }
    }

    /// Takes what is at hand, of a share what is in it. Says how many lines that were.
    #[inline]
    fn take_from(&mut self, reader: &mut RingReader, share: Option<&Share>, base: Sequence) -> usize {
        let Some(share) = share else {
            self.count = reader.read_into(&mut self.events);
            return self.count;
        };
        let mut count = 0;
        let (events, sequences) = (&mut self.events, &mut self.sequences);
        let lines = reader.poll(SHARED_LINES, |sequence, event| {
            // Written whether it is ours or not, and overwritten by the next if not: no branch to be guessed.
            events[count] = *event;
            sequences[count] = Sequence(base.get() + sequence.get());
            count += usize::from(share.takes(event));
        });
        self.count = count;
        lines
    }
}
