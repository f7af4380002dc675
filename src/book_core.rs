//! The core that owns the books: applies events one by one, calls the strategy, and measures what it is told to.
//!
//! Between start-up and the end it allocates nothing, takes no lock and makes no system call.

use crate::control::Control;
use crate::filter::Filter;
use crate::strategy::{Context, Strategy};
use tickcore_book::{
    Anomaly, Applied, Books, Event, InstrumentId, Kind, Sequence, Standing, StreamDigest, TimestampNs,
};
use tickcore_latency::{Clock, Recorder, Sampler};

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

/// What a book core is to do beside applying events.
#[derive(Clone, Debug)]
pub(crate) struct BookOptions {
    pub(crate) symbols: Vec<String>,
    pub(crate) from: TimestampNs,
    pub(crate) keeps_digests: bool,
    pub(crate) is_strict: bool,
    /// Service time is measured for one event in so many; 0 for none.
    pub(crate) sample_interval: u32,
    pub(crate) is_paced: bool,
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
    pub(crate) service: Recorder,
    pub(crate) tick_to_bbo: Option<Recorder>,
    pub(crate) strict_anomaly: Option<StrictAnomaly>,
    sampler: Sampler,
    clock: &'c Clock,
    control: &'c Control,
    from: TimestampNs,
    /// Whether `from` was reached.
    is_live: bool,
    is_strict: bool,
    /// The last event applied left a transaction of the venue open.
    is_within_transaction: bool,
}

impl<'a, 'c, S: Strategy> BookCore<'a, 'c, S> {
    pub(crate) fn new(
        books: Books<'a>,
        strategy: S,
        options: &BookOptions,
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
            service: Recorder::new(),
            tick_to_bbo: options.is_paced.then(Recorder::new),
            strict_anomaly: None,
            sampler: Sampler::new(options.sample_interval),
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

    /// Applies events whose first has sequence `first`. False when a strict run met an anomaly: nothing after it was
    /// applied.
    #[inline]
    pub(crate) fn take(&mut self, first: Sequence, events: &[Event]) -> bool {
        let mut sequence = first;
        // Events that come alone have nothing to look ahead to.
        let looks_ahead = events.len() > 1;
        if looks_ahead {
            self.books.begin_look_ahead(events);
        }
        for (place, event) in events.iter().enumerate() {
            if looks_ahead {
                self.books.look_ahead(&events[place..]);
            }
            self.events = sequence.get();
            if !self.take_one(sequence, event) {
                return false;
            }
            sequence = sequence.next();
        }
        self.control.set_events_applied(self.events);
        if !events.is_empty() && self.is_live && !self.is_within_transaction {
            self.strategy.on_batch_end(&mut Context::new(&mut self.books, Sequence(self.events)));
        }
        true
    }

    #[inline]
    fn take_one(&mut self, sequence: Sequence, event: &Event) -> bool {
        self.is_live |= event.exchange_time >= self.from;
        if !self.filter.admits(event) {
            return true;
        }
        let applied = if self.is_live && self.sampler.is_due() {
            let start = self.clock.now_fenced();
            let applied = self.books.apply(event);
            self.service.record(self.clock.ns_between(start, self.clock.now()));
            applied
        } else {
            self.books.apply(event)
        };
        if self.is_live
            && let Some(recorder) = &mut self.tick_to_bbo
            && let Some((start, schedule)) = self.control.schedule()
        {
            let elapsed_ns = self.clock.ns_between(*start, self.clock.now());
            recorder.record(elapsed_ns.saturating_sub(schedule.due_ns(event.exchange_time, sequence.get())));
        }
        self.filter.learn(&self.books, event);
        self.observe(event, applied);
        if let Some(anomaly) = applied.anomaly
            && self.is_strict
        {
            self.strict_anomaly = Some(StrictAnomaly { sequence, anomaly, event: *event });
            return false;
        }
        self.is_within_transaction = !event.is_last();
        if self.is_live {
            self.call_strategy(sequence, event, applied);
        }
        true
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
        let mut context = Context::new(&mut self.books, sequence);
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

    /// Tells the strategy that nothing more comes.
    pub(crate) fn end(&mut self) {
        self.strategy.on_end(&mut Context::new(&mut self.books, Sequence(self.events)));
    }
}
