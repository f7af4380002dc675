//! The core that owns the books: applies events one by one, calls the strategy, and measures what it is told to.
//!
//! Between start-up and the end it allocates nothing, takes no lock and makes no system call.

use crate::control::Control;
use crate::filter::Filter;
use crate::meter::{Meter, SLICE_EVENTS};
use crate::output_port::OutputPort;
use crate::probes::BookProbe;
use crate::shards::Share;
use crate::strategy::{Context, Strategy};
use tickcore_book::{
    Anomaly, AnomalyCounts, Applied, Books, Event, InstrumentId, Kind, Sequence, Standing, StreamDigest, TimestampNs,
};
use tickcore_latency::Clock;

/// The first event that did not fit, in a run that takes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictAnomaly {
    /// Its sequence.
    pub sequence: Sequence,
    /// What did not fit.
    pub anomaly: Anomaly,
    /// The event.
    pub event: Event,
}

/// Sequences of the events of a batch.
pub(crate) trait Numbering {
    /// Sequence of the event at a place.
    fn at(&self, place: usize) -> Sequence;
}

/// Events without holes between them, by the sequence of the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Consecutive(pub(crate) Sequence);

impl Numbering for Consecutive {
    #[inline]
    fn at(&self, place: usize) -> Sequence {
        Sequence(self.0.get() + place as u64)
    }
}

/// Events picked from others, each with its sequence.
impl Numbering for [Sequence] {
    #[inline]
    fn at(&self, place: usize) -> Sequence {
        self[place]
    }
}

/// Whether a sampled event came without others.
#[derive(Clone, Copy, Debug)]
struct IsAlone(bool);

/// What a book core is to do beside applying events.
#[derive(Clone, Debug)]
pub(crate) struct BookOptions {
    pub(crate) symbols: Vec<String>,
    pub(crate) from: TimestampNs,
    pub(crate) keeps_digests: bool,
    pub(crate) is_strict: bool,
    /// Which instruments are this core's, when others have the rest.
    pub(crate) share: Option<Share>,
    /// Whether this is the only book core, or the first: events for all instruments are counted there.
    pub(crate) is_first: bool,
}

/// Books, their strategy, and what is measured of them.
#[derive(Debug)]
pub(crate) struct BookCore<'a, 'c, S> {
    pub(crate) books: Books<'a>,
    pub(crate) strategy: S,
    filter: Filter,
    pub(crate) stream: Option<StreamDigest>,
    pub(crate) crossed: u64,
    pub(crate) locked: u64,
    pub(crate) events: u64,
    pub(crate) probe: BookProbe<'c>,
    /// What the strategy sends.
    pub(crate) outputs: OutputPort,
    pub(crate) strict_anomaly: Option<StrictAnomaly>,
    /// Anomalies by events for all instruments, which every core counts.
    pub(crate) common_anomalies: AnomalyCounts,
    pub(crate) share: Option<Share>,
    pub(crate) is_first: bool,
    clock: &'c Clock,
    control: &'c Control,
    pub(crate) from: TimestampNs,
    /// Whether `from` was reached.
    pub(crate) is_live: bool,
    is_strict: bool,
    /// The last event applied left a transaction of the venue open.
    pub(crate) is_within_transaction: bool,
}

impl<'a, 'c, S: Strategy> BookCore<'a, 'c, S> {
    pub(crate) fn new(
        books: Books<'a>,
        strategy: S,
        options: &BookOptions,
        probe: BookProbe<'c>,
        control: &'c Control,
        clock: &'c Clock,
    ) -> Self {
        let instruments_max = books.capacity().instruments_max;
        Self {
            filter: Filter::new(&options.symbols, instruments_max),
            stream: options.keeps_digests.then(|| StreamDigest::new(instruments_max)),
            crossed: 0,
            locked: 0,
            events: 0,
            probe,
            outputs: OutputPort::nowhere(*clock),
            strict_anomaly: None,
            common_anomalies: AnomalyCounts::default(),
            share: options.share.clone(),
            is_first: options.is_first,
            clock,
            control,
            from: options.from,
            is_live: options.from == TimestampNs(0),
            is_strict: options.is_strict,
            is_within_transaction: false,
            books,
            strategy,
        }
    }

    /// Applies a batch of events that ends with the stream at `through`. False when a strict run met an anomaly, and nothing
    /// after it was applied, or when the strategy sent something else, or less, than in an earlier run of the session.
    ///
    /// Never inlined: the dry run at start warms the very code that the run then uses.
    #[inline(never)]
    pub(crate) fn take(
        &mut self,
        numbering: &(impl Numbering + ?Sized),
        events: &[Event],
        skipped: usize,
        through: Sequence,
        meter: &mut Meter<'_>,
    ) -> bool {
        if self.control.is_unjournaled() {
            self.books.set_unjournaled();
        }
        // Events that come alone have nothing to look ahead to.
        let looks_ahead = events.len() > 1;
        if looks_ahead {
            self.books.begin_look_ahead(events);
        }
        let mut place = 0;
        while place < events.len() {
            let mut end = events.len().min(place + SLICE_EVENTS);
            let mut is_stamped = false;
            while place < end {
                if looks_ahead {
                    self.books.look_ahead(&events[place..]);
                }
                let sequence = numbering.at(place);
                self.events = sequence.get();
                let is_sampled = self.is_sampled(sequence, &events[place]);
                let sampled = is_sampled.then_some(IsAlone(!looks_ahead));
                if !self.take_one(sequence, &events[place], sampled, meter) {
                    return false;
                }
                place += 1;
                if is_sampled {
                    // The stamps of a sampled event are the meter's as well.
                    end = events.len().min(place + SLICE_EVENTS);
                    is_stamped = place == end;
                }
            }
            if !is_stamped {
                meter.worked();
            }
        }
        self.events = through.get();
        meter.batch(events.len(), skipped, through);
        meter.anomalies(self.books.anomalies());
        if self.is_first {
            self.control.set_events_applied(self.events);
        }
        self.probe.turn();
        if self.outputs.departs_at(through).is_some() {
            return false;
        }
        if !events.is_empty() && self.is_live && !self.is_within_transaction {
            self.strategy.on_batch_end(&mut Context::between(&mut self.books, Sequence(self.events)));
        }
        true
    }

    /// Whether this event is measured stage by stage.
    #[inline]
    fn is_sampled(&mut self, sequence: Sequence, event: &Event) -> bool {
        self.is_live |= event.exchange_time >= self.from;
        self.is_live && self.probe.takes(sequence) && self.filter.admits(event)
    }

    #[inline]
    fn take_one(&mut self, sequence: Sequence, event: &Event, sampled: Option<IsAlone>, meter: &mut Meter<'_>) -> bool {
        if !self.filter.admits(event) {
            return true;
        }
        let begun = sampled.map(|IsAlone(is_alone)| (self.probe.begin(is_alone), is_alone));
        // One call for all: a second copy for sampled events alone would be measured cold.
        let applied = self.books.apply(event);
        let visible = begun.map(|(begun, is_alone)| self.probe.applied(sequence, begun, is_alone));
        if self.is_live && self.probe.takes_all() && (self.is_first || event.instrument != InstrumentId::ALL) {
            let at = || visible.map_or_else(|| self.clock.now(), |visible| visible.at);
            if let Some((start, schedule)) = self.control.schedule() {
                let due_ns = schedule.due_ns(event.exchange_time, sequence.get());
                self.probe.came_through(self.clock.ns_between(*start, at()).saturating_sub(due_ns));
            } else if self.probe.is_live() {
                self.probe.came_through_live(event, at());
            }
        }
        self.filter.learn(&self.books, event);
        self.observe(event, applied);
        if let Some(anomaly) = applied.anomaly
            && self.has_failed(event, anomaly)
        {
            self.strict_anomaly = Some(StrictAnomaly { sequence, anomaly, event: *event });
            return false;
        }
        self.is_within_transaction = !event.is_last();
        if visible.is_some() {
            self.outputs.watch();
        }
        if self.is_live {
            self.call_strategy(sequence, event, applied);
        }
        if let Some(visible) = visible {
            meter.worked_at(self.probe.called(visible, self.outputs.watched()));
        }
        true
    }

    /// Whether an anomaly ends the run. Those of events for all instruments are counted apart.
    #[cold]
    fn has_failed(&mut self, event: &Event, anomaly: Anomaly) -> bool {
        if event.instrument == InstrumentId::ALL {
            self.common_anomalies.add(anomaly, 1);
        }
        self.is_strict
    }

    /// Keeps the digest and counts locked and crossed books.
    #[inline]
    fn observe(&mut self, event: &Event, applied: Applied) {
        if applied.bbo_changed
            && let Some(stream) = &mut self.stream
        {
            for instrument in self.books.changed(event.instrument) {
                stream.fold(instrument, event.exchange_time, &self.books.bbo(instrument));
            }
        }
        if applied.bbo_published {
            for instrument in self.books.published(event.instrument) {
                match self.books.bbo(instrument).standing() {
                    Standing::Normal => {}
                    Standing::Locked => self.locked += 1,
                    Standing::Crossed => self.crossed += 1,
                }
            }
        }
    }

    #[inline]
    fn call_strategy(&mut self, sequence: Sequence, event: &Event, applied: Applied) {
        let mut context = Context::new(&mut self.books, sequence, event, &mut self.outputs);
        self.strategy.on_event(&mut context, event);
        if let Some(Kind::Status | Kind::SessionEvent | Kind::Gap | Kind::Clear) = event.kind() {
            self.strategy.on_status(&mut context, event);
        }
        if !applied.bbo_published {
            return;
        }
        if event.instrument != InstrumentId::ALL {
            let bbo = context.books().bbo(event.instrument);
            self.strategy.on_bbo(&mut context, event.instrument, &bbo, event);
            return;
        }
        for row in 1..=context.books().highest_instrument().get() {
            let instrument = InstrumentId(row);
            if context.books().was_published(instrument) {
                let bbo = context.books().bbo(instrument);
                self.strategy.on_bbo(&mut context, instrument, &bbo, event);
            }
        }
    }

    /// Its number among the book cores, from 0.
    pub(crate) fn number(&self) -> u32 {
        self.share.as_ref().map_or(0, Share::number)
    }

    /// Tells the strategy that nothing more comes.
    pub(crate) fn end(&mut self) {
        self.outputs.close();
        self.strategy.on_end(&mut Context::between(&mut self.books, Sequence(self.events)));
    }
}
