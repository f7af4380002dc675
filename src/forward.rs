//! Passing by what the books know already: the events of an input up to the end of the journal that is resumed.
//!
//! They go through the ring to the journal's thread, which compares them; the books have them from checkpoint and journal.

use crate::book_core::{BookCore, Consecutive};
use crate::feed_core::{BATCH_EVENTS, FeedCore, FeedEnd};
use crate::loops::Turning;
use crate::meter::Meter;
use crate::probes::FeedProbe;
use crate::stat::Counter;
use crate::strategy::Strategy;
use tickcore_book::Sequence;
use tickcore_feed::ring::{Reader as RingReader, Writer as RingWriter};
use tickcore_feed::source::Source;

impl Turning<'_> {
    /// Source to ring, up to `through`, past the books of the same core. Says how far it came: what a batch had behind
    /// `through` was applied.
    pub(crate) fn forward_inline<R: Source, S: Strategy>(
        self,
        feed: &mut FeedCore<'_, R>,
        core: &mut BookCore<'_, '_, S>,
        writer: &mut Option<RingWriter>,
        through: Sequence,
        probe: &mut FeedProbe<'_>,
        meter: &mut Meter<'_>,
    ) -> Result<Sequence, FeedEnd> {
        let mut waiter = self.wait.waiter();
        let mut last = self.base;
        while last < through {
            let events = feed.next(probe, meter)?.events;
            if events.is_empty() {
                meter.idle();
                waiter.idle();
                continue;
            }
            waiter.reset();
            core.probe.came_at(probe.decoded);
            if let Some(writer) = writer
                && !self.publish(writer, events, probe, meter)
            {
                return Err(FeedEnd::Stopped);
            }
            probe.entered(last.next(), events);
            let known = events.len().min((through.get() - last.get()) as usize);
            last = Sequence(last.get() + events.len() as u64);
            let new = &events[known..];
            if !new.is_empty() && !core.take(&Consecutive(through.next()), new, known, last, meter) {
                self.control.stop();
                return Err(FeedEnd::Stopped);
            }
            meter.worked();
        }
        Ok(last)
    }

    /// Past the books, up to `through`. False when there is nothing to go on with.
    pub(crate) fn forward_book(self, reader: &mut RingReader, through: Sequence, meter: &mut Meter<'_>) -> bool {
        let mut waiter = self.wait.waiter();
        while reader.next_sequence() <= through {
            let left = through.get() - reader.next_sequence().get() + 1;
            let count = reader.poll(BATCH_EVENTS.min(left as usize), |_, _| {});
            if count > 0 {
                waiter.reset();
                meter.set(Counter::Sequence, self.base.get() + reader.next_sequence().get() - 1);
                meter.worked();
            } else if reader.is_closed_and_drained() || self.control.is_abandoned() {
                return false;
            } else {
                meter.idle();
                waiter.idle();
            }
        }
        true
    }
}
