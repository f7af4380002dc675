//! What each thread of a run does at its place, from set-up to what it hands back.

use super::Run;
use crate::arrivals::{ArrivalFaults, Arrivals};
use crate::book_core::{BookCore, BookOptions};
use crate::engine::{Config, EngineError};
use crate::feed_core::{Admission, FeedCore, FeedEnd};
use crate::journal_core::{JournalConfig, JournalRun};
use crate::loops::{Gathered, Turning};
use crate::machine;
use crate::meter::Meter;
use crate::outcome::{BooksOutcome, CoreOutcome, JournalOutcome};
use crate::output_check::Compared;
use crate::outputs::{CoreOutputs, OutputOutlet, UnfilteredReader};
use crate::pace::Pace;
use crate::pin::{is_confined_to, pin_to};
use crate::places::{PlaceReader, PlaceWriter};
use crate::probes::{BookProbe, FeedProbe, JournalProbe, RingStamps, Sampling};
use crate::stat::{BLOCK_WORDS, Counter, Slot};
use crate::strategy::Strategy;
use crate::topology::EngineThread;
use crate::warm_up::{warm_up, warm_up_publishing};
use core::array;
use core::cell::Cell;
use core::mem;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tickcore_book::{AnomalyCounts, Arena, ArenaError, Books, InstrumentId, Sequence, StreamDigest};
use tickcore_feed::ring::{Reader as RingReader, Writer as RingWriter};
use tickcore_feed::source::Source;
use tickcore_latency::Ticks;
use tickcore_latency::stages::StageRecorder;

/// What a thread that owns books hands back.
pub(super) struct BookEnd<S> {
    pub(super) strategy: S,
    pub(super) books: BooksOutcome,
    pub(super) common_anomalies: AnomalyCounts,
    pub(super) events: u64,
    pub(super) strict: Option<crate::book_core::StrictAnomaly>,
    pub(super) huge_page_bytes: u64,
    pub(super) ended_at: Ticks,
    pub(super) core: CoreOutcome,
    pub(super) outputs: CoreOutputs,
    pub(super) compared: Compared,
    pub(super) arrival_faults: ArrivalFaults,
}

/// A thread that owns books, before it starts.
pub(super) struct BookSeat<'r, S> {
    pub(super) seat: Seat<'r>,
    pub(super) strategy: S,
    /// Of the ring that it reads, if it has not the source itself.
    pub(super) reader: Option<RingReader>,
    pub(super) recorder: Option<StageRecorder>,
    /// Where its strategy's outputs go, if anywhere.
    pub(super) outlet: Option<OutputOutlet>,
}

/// What the thread that owns the source hands back.
pub(super) struct FeedResult<R> {
    pub(super) source: R,
    pub(super) end: FeedEnd,
    pub(super) ring_full_waits: u64,
    pub(super) ring_full_ns: u64,
    /// Events that were let in.
    pub(super) published: u64,
    pub(super) arrival_faults: ArrivalFaults,
    /// The thread, where it is one of its own.
    pub(super) core: Option<CoreOutcome>,
}

/// What the journal's thread hands back.
pub(super) struct JournalEnd {
    pub(super) outcome: JournalOutcome,
    pub(super) ended_at: Ticks,
    pub(super) core: CoreOutcome,
}

/// What a run is measured with.
#[derive(Clone, Copy)]
pub(super) struct Measuring<'r> {
    pub(super) sampling: Sampling,
    /// Beside the ring, if there is one and something is sampled.
    pub(super) stamps: Option<&'r RingStamps>,
}

/// The kernel's account of how long a thread has waited for its core, where it keeps one.
#[derive(Clone, Copy)]
pub(super) struct RunDelay(Option<u64>);

/// A thread at its place.
#[derive(Clone, Copy)]
pub(super) struct Seat<'r> {
    pub(super) place: usize,
    pub(super) thread: &'r EngineThread,
}

impl Run<'_> {
    fn turning(&self) -> Turning<'_> {
        Turning { control: &self.control, wait: self.plan.wait, base: self.restart().base }
    }

    fn pin(&self, seat: Seat<'_>) -> Result<(), EngineError> {
        match seat.thread.core {
            Some(core) => Ok(pin_to(core)?),
            None => {
                // Nothing is pinned, or this is a journal that sleeps: better not beside a book core's loop.
                is_confined_to(&self.plan.helpers);
                Ok(())
            }
        }
    }

    /// Last thing of a thread's set-up: tells the embedder, then waits for the word to go. Says what the kernel's account
    /// of the thread is then; `None` when it is to go home.
    fn is_ready_and_go(&self, seat: Seat<'_>, meter: &mut Meter<'_>) -> Option<RunDelay> {
        self.config.on_thread_start.call(seat.thread);
        if !self.control.is_ready_and_go() {
            return None;
        }
        let delay = RunDelay(machine::run_delay_ns());
        self.control.take_place();
        meter.begin();
        Some(delay)
    }

    fn meter(&self, seat: Seat<'_>) -> Meter<'_> {
        Meter::new(self.clock, self.board.slot(seat.place), self.config.stall_threshold_ns)
    }

    fn feed_core<R: Source>(&self, source: R) -> FeedCore<'_, R> {
        let Config { pace, from, to, is_strict, .. } = *self.config;
        let (base, known) = (self.restart().base, self.restart().through());
        let admission = Admission { pace, from, to, is_strict, wait: self.plan.wait, base, known };
        let places = self.places.get().map(PlaceWriter::new);
        FeedCore::new(source, admission, places, &self.control, self.clock)
    }

    fn feed_probe<'m>(&'m self, measuring: Measuring<'m>, recorder: Option<StageRecorder>) -> FeedProbe<'m> {
        let Measuring { sampling, stamps } = measuring;
        let known = self.restart().through();
        FeedProbe::new(self.clock, &self.control, sampling, recorder, stamps, self.config.from, known)
            .with_arrivals(self.anchorage.get().map(Arrivals::new))
    }

    fn book_probe<'m>(&'m self, measuring: Measuring<'m>, recorder: Option<StageRecorder>) -> BookProbe<'m> {
        let Measuring { sampling, stamps } = measuring;
        BookProbe::new(self.clock, sampling, recorder, stamps, self.config.pace != Pace::Max)
            .with_arrivals(self.anchorage.get().map(Arrivals::new))
    }

    fn book_options(&self, seat: Seat<'_>) -> BookOptions {
        let Config { shards, capacity, .. } = self.config;
        let has_share = shards.count() > 1;
        BookOptions {
            symbols: self.config.symbols.clone(),
            from: self.config.from,
            keeps_digests: self.config.keeps_digests,
            is_strict: self.config.is_strict,
            share: has_share.then(|| shards.share(seat.thread.shard, capacity.instruments_max)),
            is_first: seat.thread.shard == 0,
        }
    }

    fn arena(&self) -> Result<Arena, ArenaError> {
        let (control, touched) = (&self.control, Cell::new(None));
        Arena::with_progress(self.config.capacity.arena_bytes(), |done, all| {
            if touched.get().is_none() {
                control.add_bytes(all);
            }
            control.add_bytes_touched(done - touched.replace(Some(done)).unwrap_or(0));
        })
    }

    /// The last event of the ring that the books have before the word to go.
    fn known_in_ring(&self) -> Sequence {
        let restart = self.restart();
        Sequence(restart.through().get() - restart.base.get())
    }

    /// Gives a book core what the run goes on from, then the way out for what its strategy sends. What the first does to counters is
    /// no part of the run.
    fn prepare<'m, S: Strategy>(
        &'m self,
        core: &mut BookCore<'_, 'm, S>,
        outlet: Option<OutputOutlet>,
    ) -> Result<(), EngineError> {
        let words: [AtomicU64; BLOCK_WORDS] = array::from_fn(|_| AtomicU64::new(0));
        let mut meter = Meter::new(self.clock, Slot::over(&words), 0);
        // It is no part of what is measured either.
        let probe = mem::replace(&mut core.probe, BookProbe::off(self.clock));
        let start = self.clock.now();
        let (restart, number) = (self.restart(), core.number());
        if let Some(recorded) = restart.recorded.get(number as usize) {
            core.outputs.repeat(recorded.clone());
        } else if let Some(check) = &self.config.output_check
            && restart.not_counted.is_none()
            && let Some(recorded) = check.of_core(number, self.config.shards.count())
        {
            core.outputs.check(recorded);
        }
        restart.prepare(core, &mut meter, || !self.control.is_stopped())?;
        core.probe = probe;
        outlet.into_iter().for_each(|outlet| core.outputs.open(outlet));
        self.restart_ns.fetch_max(self.clock.ns_between(start, self.clock.now()), Relaxed);
        Ok(())
    }

    /// Topology `inline`: source, ring for the journal, books and strategy on one core.
    pub(super) fn inline_thread<R: Source, S: Strategy>(
        &self,
        book: BookSeat<'_, S>,
        source: R,
        mut writer: Option<RingWriter>,
        measuring: Measuring<'_>,
        feed_recorder: Option<StageRecorder>,
    ) -> Result<(FeedResult<R>, BookEnd<S>), EngineError> {
        let BookSeat { seat, strategy, recorder, outlet, .. } = book;
        self.pin(seat)?;
        let options = self.book_options(seat);
        let strategy = warm_up(self.turning(), &options, self.clock, strategy)?;
        let arena = self.arena()?;
        let books = Books::new(&arena, self.config.capacity)?;
        let probe = self.book_probe(measuring, recorder);
        let mut core = BookCore::new(books, strategy, &options, probe, &self.control, self.clock);
        self.prepare(&mut core, outlet)?;
        let mut feed = self.feed_core(source);
        let mut probe = self.feed_probe(measuring, feed_recorder);
        let mut meter = self.meter(seat);
        let mut end = FeedEnd::Stopped;
        let delay = self.is_ready_and_go(seat, &mut meter);
        if delay.is_some() {
            let turning = self.turning();
            let through = self.restart().through();
            end = match turning.forward_inline(&mut feed, &mut core, &mut writer, through, &mut probe, &mut meter) {
                Ok(last) => turning.inline(&mut feed, &mut core, writer.as_mut(), last, &mut probe, &mut meter),
                Err(end) => end,
            };
        }
        let ended_at = self.clock.now();
        let (ring_full_waits, ring_full_ns) = writer.as_ref().map_or((0, 0), full_of);
        drop(writer);
        let arrival_faults = probe.close();
        let book = book_end(core, ended_at, seat, meter, delay);
        let (source, published) = (feed.into_source(), book.events);
        let feed = FeedResult { source, end, ring_full_waits, ring_full_ns, published, arrival_faults, core: None };
        Ok((feed, book))
    }

    /// Source to ring.
    pub(super) fn feed_thread<R: Source>(
        &self,
        seat: Seat<'_>,
        source: R,
        mut writer: RingWriter,
        measuring: Measuring<'_>,
        recorder: Option<StageRecorder>,
    ) -> Result<FeedResult<R>, EngineError> {
        self.pin(seat)?;
        warm_up_publishing(self.turning(), self.clock)?;
        let mut feed = self.feed_core(source);
        let mut probe = self.feed_probe(measuring, recorder);
        let mut meter = self.meter(seat);
        let mut end = FeedEnd::Stopped;
        let delay = self.is_ready_and_go(seat, &mut meter);
        if delay.is_some() {
            end = self.turning().feed(&mut feed, &mut writer, &mut probe, &mut meter);
        }
        let (ring_full_waits, ring_full_ns) = full_of(&writer);
        let published = self.restart().base.get() + writer.last_sequence().get();
        drop(writer);
        let arrival_faults = probe.close();
        let (source, core) = (feed.into_source(), Some(core_outcome(seat, meter, delay)));
        Ok(FeedResult { source, end, ring_full_waits, ring_full_ns, published, arrival_faults, core })
    }

    /// Ring to books and strategy: all of them, or a share.
    pub(super) fn book_thread<S: Strategy>(
        &self,
        book: BookSeat<'_, S>,
        mut reader: RingReader,
        measuring: Measuring<'_>,
    ) -> Result<BookEnd<S>, EngineError> {
        let BookSeat { seat, strategy, recorder, outlet, .. } = book;
        self.pin(seat)?;
        let options = self.book_options(seat);
        let strategy = warm_up(self.turning(), &options, self.clock, strategy)?;
        let arena = self.arena()?;
        let books = Books::new(&arena, self.config.capacity)?;
        let mut gathered = Gathered::new(options.share.as_ref());
        let probe = self.book_probe(measuring, recorder);
        let mut core = BookCore::new(books, strategy, &options, probe, &self.control, self.clock);
        self.prepare(&mut core, outlet)?;
        let mut meter = self.meter(seat);
        let delay = self.is_ready_and_go(seat, &mut meter);
        if delay.is_some() {
            let turning = self.turning();
            if turning.forward_book(&mut reader, self.known_in_ring(), &mut meter) {
                turning.book(&mut core, &mut reader, &mut gathered, &mut meter);
            }
        }
        let ended_at = self.clock.now();
        drop(reader);
        Ok(book_end(core, ended_at, seat, meter, delay))
    }

    /// Ring to journal.
    pub(super) fn journal_thread(
        &self,
        seat: Seat<'_>,
        config: &JournalConfig,
        (reader, outputs): (RingReader, Vec<UnfilteredReader>),
        probe: JournalProbe<'_>,
    ) -> Result<JournalEnd, EngineError> {
        self.pin(seat)?;
        let mut config = config.clone();
        if self.config.checkpoint_every.is_some() {
            config.options.checkpoints = Some(self.mark.clone());
        }
        if !outputs.is_empty() {
            config.options.output_streams = outputs.len() as u16;
        }
        config.options.sealed_before.clone_from(&self.restart().sealed);
        let mut run = JournalRun::open(&config, (reader, outputs), self.plan, self.config.pace != Pace::Max, probe)?
            .with_places(self.places.get().map(PlaceReader::new));
        let mut meter = self.meter(seat);
        let delay = self.is_ready_and_go(seat, &mut meter);
        if delay.is_none() {
            let outcome = run.discard();
            return Ok(JournalEnd { outcome, ended_at: self.clock.now(), core: core_outcome(seat, meter, delay) });
        }
        run.carry(&self.control, &mut meter);
        let outcome = run.finish(&self.control);
        meter.set(Counter::Durable, outcome.durable_sequence.get());
        Ok(JournalEnd { outcome, ended_at: self.clock.now(), core: core_outcome(seat, meter, delay) })
    }
}

/// How often and for how many nanoseconds the ring was full.
fn full_of(writer: &RingWriter) -> (u64, u64) {
    (writer.full_waits(), u64::try_from(writer.full_time().as_nanos()).unwrap_or(u64::MAX))
}

fn core_outcome(seat: Seat<'_>, meter: Meter<'_>, before: Option<RunDelay>) -> CoreOutcome {
    let before = before.and_then(|RunDelay(before)| before);
    let run_delay_ns = before.zip(machine::run_delay_ns()).map(|(before, now)| now.saturating_sub(before));
    CoreOutcome {
        thread: seat.thread.clone(),
        events: meter.events(),
        batches: meter.batches(),
        skipped: meter.skipped(),
        longest_stalls: meter.longest_stalls(),
        stalls_idle: meter.stalls_idle,
        stalls_working: meter.stalls_working,
        run_delay_ns,
    }
}

fn book_end<S: Strategy>(
    mut core: BookCore<'_, '_, S>,
    ended_at: Ticks,
    seat: Seat<'_>,
    meter: Meter<'_>,
    delay: Option<RunDelay>,
) -> BookEnd<S> {
    core.end();
    let arrival_faults = core.probe.close();
    let books = &core.books;
    debug_assert_eq!(books.validate(), Ok(()), "the books' structure at the end of a run");
    let stale_instruments = match &core.share {
        // A gap of all marks every row up to the highest, of which some are others'.
        Some(share) => {
            let rows = (1..=books.highest_instrument().get()).map(InstrumentId);
            rows.filter(|&row| share.owns(row) && books.is_stale(row)).count() as u32
        }
        None => books.stale_count(),
    };
    let outcome = BooksOutcome {
        anomalies: *books.anomalies(),
        instruments: books.instruments().defined(),
        stale_instruments,
        live_orders: books.live_orders(),
        levels: books.level_count(),
        crossed: core.crossed,
        locked: core.locked,
        bbo_changes: core.stream.as_ref().map(StreamDigest::changes),
        stream_digest: core.stream.as_ref().map(StreamDigest::value),
        state_digest: core.stream.is_some().then(|| books.state_digest()),
    };
    BookEnd {
        books: outcome,
        common_anomalies: core.common_anomalies,
        events: core.events,
        strict: core.strict_anomaly,
        huge_page_bytes: machine::huge_page_bytes(),
        ended_at,
        core: core_outcome(seat, meter, delay),
        arrival_faults,
        compared: core.outputs.compared(Sequence(core.events)),
        outputs: core.outputs.outcome(seat.thread.shard),
        strategy: core.strategy,
    }
}
