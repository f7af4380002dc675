//! The engine: threads on their cores, from the word to go to the last durable record.

use crate::book_core::{BookCore, BookOptions};
use crate::control::{Attendance, Control, Supervision};
use crate::feed_core::{Admission, FeedCore, FeedEnd, wait_until_due};
use crate::journal_core::{JournalConfig, JournalError, JournalRun};
use crate::machine;
use crate::outcome::{BooksOutcome, End, JournalOutcome, MachineOutcome, Outcome};
use crate::pace::Pace;
use crate::pin::{Cores, PinError, pin_to};
use crate::strategy::Strategy;
use crate::topology::{Plan, Topology, TopologyError};
use std::ops::ControlFlow;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;
use tickcore_book::{Arena, ArenaError, Books, Capacity, CapacityError, Event, Sequence, StreamDigest, TimestampNs};
use tickcore_feed::ring::{self, Reader as RingReader, Ring, RingError, Wait, Waiter, Writer as RingWriter};
use tickcore_feed::source::Source;
use tickcore_latency::{Clock, Recorder, Ticks};

/// How often the thread that started a run looks at it.
const MONITOR_INTERVAL: Duration = Duration::from_millis(50);
/// Readers that a ring of the engine has at most: book core, journal.
const READERS_MAX: usize = 2;

/// Everything that a run depends on beside its source and strategy.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the work is spread over cores.
    pub topology: Topology,
    /// Which cores.
    pub cores: Cores,
    /// Allows more spinning threads than cores; they yield, and times mean nothing.
    pub oversubscribe: bool,
    /// Maxima of the books.
    pub capacity: Capacity,
    /// Lines of the ring, a power of two.
    pub ring_lines: usize,
    /// How fast events are let in.
    pub pace: Pace,
    /// Strategy, pace and measurements begin with the first event at or after this time; books are built from the
    /// first.
    pub from: TimestampNs,
    /// The run ends before the first event after this time.
    pub to: TimestampNs,
    /// Books are kept for instruments of these names only; for all when empty. The journal is always whole.
    pub symbols: Vec<String>,
    /// The first anomaly or skipped message ends the run.
    pub is_strict: bool,
    /// Whether the digests are kept: about 25 ns for each BBO change.
    pub keeps_digests: bool,
    /// Service time is measured for one event in so many; 0 for none.
    pub latency_sample_interval: u32,
    /// Where events are journaled, if they are.
    pub journal: Option<JournalConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            topology: Topology::default(),
            cores: Cores::default(),
            oversubscribe: false,
            capacity: Capacity::default(),
            ring_lines: ring::CAPACITY_LINES_DEFAULT,
            pace: Pace::Max,
            from: TimestampNs(0),
            to: TimestampNs(u64::MAX),
            symbols: Vec::new(),
            is_strict: false,
            keeps_digests: false,
            latency_sample_interval: 64,
            journal: None,
        }
    }
}

/// Why a run did not begin, or did not end in good order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The maxima of the books.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
    /// The topology does not fit the cores.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A thread could not have its core.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Memory for the books.
    #[error(transparent)]
    Arena(#[from] ArenaError),
    /// The ring.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The journal could not be begun.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A thread could not be started.
    #[error("the thread {name} could not be started: {source}; raise the limit of threads or processes")]
    Spawn {
        /// Its name.
        name: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A thread panicked. The others came to an orderly end; the journal holds what it had said to be durable.
    #[error("the thread {name} panicked: {message}; this is a bug, the journal up to its durable sequence is good")]
    Panicked {
        /// Its name.
        name: &'static str,
        /// What it said.
        message: String,
    },
}

/// How far a run is, for whoever waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Memory is being taken and touched.
    Preparing {
        /// Bytes of the books' memory touched.
        bytes_touched: u64,
        /// Bytes of it in all.
        bytes: u64,
    },
    /// Events are being applied.
    Running {
        /// Events applied.
        events: u64,
    },
}

const FEED: &str = "tickcore-feed";
const BOOK: &str = "tickcore-book";
const JOURNAL: &str = "tickcore-jrnl";

/// What the thread that owns the books hands back.
struct BookEnd<S> {
    strategy: S,
    books: BooksOutcome,
    events: u64,
    service: Recorder,
    tick_to_bbo: Option<Recorder>,
    strict: Option<End>,
    huge_page_bytes: u64,
    ended_at: Ticks,
}

/// What the thread that owns the source hands back.
struct FeedResult<R> {
    source: R,
    end: FeedEnd,
    ring_full_waits: u64,
}

/// Runs events of `source` through books and `strategy`, and into a journal if there is one, until the source ends.
///
/// # Errors
/// When the run cannot begin or a thread panics. A source or journal that fails on the way ends the run in good order,
/// and its outcome says so.
pub fn run<R: Source + Send, S: Strategy>(
    config: &Config,
    source: R,
    strategy: S,
) -> Result<Outcome<R, S>, EngineError> {
    run_monitored(config, source, strategy, |_| ControlFlow::Continue(()))
}

/// As [`run`]; `monitor` is called about twenty times a second on the calling thread and ends the run with `Break`: what
/// was let in before is still applied and journaled.
///
/// # Errors
/// As [`run`].
pub fn run_monitored<R: Source + Send, S: Strategy>(
    config: &Config,
    source: R,
    strategy: S,
    monitor: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<Outcome<R, S>, EngineError> {
    config.capacity.check()?;
    let plan = Plan::new(config.topology, &config.cores, config.journal.is_some(), config.oversubscribe)?;
    let clock = Clock::calibrate();
    let threads = usize::from(config.topology == Topology::Pipelined) + 1 + usize::from(config.journal.is_some());
    let control = Control::new(threads);
    let run = Run { config, plan: &plan, control: &control, clock: &clock };
    run.start(source, strategy, monitor)
}

/// What the threads of a run refer to.
#[derive(Clone, Copy)]
struct Run<'r> {
    config: &'r Config,
    plan: &'r Plan,
    control: &'r Control,
    clock: &'r Clock,
}

type Joined<'scope, T> = ScopedJoinHandle<'scope, Result<T, EngineError>>;

impl<'r> Run<'r> {
    fn start<R: Source + Send, S: Strategy>(
        self,
        source: R,
        strategy: S,
        monitor: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Outcome<R, S>, EngineError> {
        let Config { topology, journal, .. } = self.config;
        let ring = Ring::new(self.config.ring_lines, READERS_MAX)?;
        let readers = || ring.reader().expect("the ring was made for as many readers as join");
        let journal_reader = journal.as_ref().map(|_| readers());
        let book_reader = (*topology == Topology::Pipelined).then(readers);
        let writer =
            (book_reader.is_some() || journal.is_some()).then(|| ring.writer().expect("a new ring has its writer"));
        thread::scope(|scope| {
            let spawn = Spawner { scope, control: self.control };
            let journal_thread = match (journal, journal_reader) {
                (Some(config), Some(reader)) => {
                    Some(spawn.thread(JOURNAL, move || self.journal_thread(config, reader))?)
                }
                _ => None,
            };
            let (feed_thread, book_thread, inline_thread) = match (book_reader, writer) {
                (Some(reader), Some(writer)) => (
                    Some(spawn.thread(FEED, move || self.feed_thread(source, writer))?),
                    Some(spawn.thread(BOOK, move || self.book_thread(strategy, reader))?),
                    None,
                ),
                (_, writer) => {
                    (None, None, Some(spawn.thread(BOOK, move || self.inline_thread(source, strategy, writer))?))
                }
            };
            let started_at = self.attend(monitor);
            let journal = journal_thread.map(|thread| join(thread, JOURNAL));
            let feed = feed_thread.map(|thread| join(thread, FEED));
            let book = book_thread.map(|thread| join(thread, BOOK));
            let inline = inline_thread.map(|thread| join(thread, BOOK));
            // A failure to begin or a panic is worth more than what the others made of it.
            let journal = journal.transpose()?;
            let (feed, book) = match (inline, feed, book) {
                (Some(inline), ..) => inline?,
                (None, Some(feed), Some(book)) => (feed?, book?),
                _ => unreachable!("a topology has one thread with both or two with one each"),
            };
            Ok(self.outcome(started_at, feed, book, journal))
        })
    }

    /// Waits until the threads are ready, gives the word to go, and waits until they end.
    fn attend(self, mut monitor: impl FnMut(Progress) -> ControlFlow<()>) -> Ticks {
        let _supervision = Supervision(self.control);
        let mut go = true;
        while go && !self.control.are_all_ready() {
            thread::park_timeout(MONITOR_INTERVAL);
            let (bytes_touched, bytes) = self.control.bytes_touched();
            go = monitor(Progress::Preparing { bytes_touched, bytes }).is_continue() && !self.control.has_one_ended();
        }
        let started_at = self.clock.now();
        self.control.open_gate(go);
        while self.control.running() > 0 {
            if monitor(Progress::Running { events: self.control.events_applied() }).is_break() {
                self.control.stop();
            }
            thread::park_timeout(MONITOR_INTERVAL);
        }
        started_at
    }

    fn pin(self, core: Option<usize>) -> Result<(), PinError> {
        core.map_or(Ok(()), pin_to)
    }

    fn feed_core<R: Source>(self, source: R) -> FeedCore<'r, R> {
        let Config { pace, from, to, is_strict, .. } = *self.config;
        let admission = Admission { pace, from, to, is_strict, wait: self.plan.wait };
        FeedCore::new(source, admission, self.control, self.clock)
    }

    fn book_options(self) -> BookOptions {
        BookOptions {
            symbols: self.config.symbols.clone(),
            from: self.config.from,
            keeps_digests: self.config.keeps_digests,
            is_strict: self.config.is_strict,
            sample_interval: self.config.latency_sample_interval,
            is_paced: self.config.pace != Pace::Max,
        }
    }

    fn arena(self) -> Result<Arena, ArenaError> {
        let control = self.control;
        Arena::with_progress(self.config.capacity.arena_bytes(), |done, all| control.set_bytes_touched(done, all))
    }

    /// Topology `inline`: source, ring for the journal, books and strategy on one core.
    fn inline_thread<R: Source, S: Strategy>(
        self,
        source: R,
        strategy: S,
        mut writer: Option<RingWriter>,
    ) -> Result<(FeedResult<R>, BookEnd<S>), EngineError> {
        self.pin(self.plan.book)?;
        let arena = self.arena()?;
        let books = Books::new(&arena, self.config.capacity)?;
        let mut core = BookCore::new(books, strategy, &self.book_options(), self.control, self.clock);
        let mut feed = self.feed_core(source);
        let is_paced = self.config.pace != Pace::Max;
        let mut waiter = self.plan.wait.waiter();
        let mut next = Sequence(1);
        let end = if self.control.is_ready_and_go() {
            loop {
                let events = match feed.next() {
                    Ok([]) => {
                        waiter.idle();
                        continue;
                    }
                    Ok(events) => events,
                    Err(end) => break end,
                };
                waiter.reset();
                // Paced events are let in one by one; else the journal may have the whole batch at once.
                let mut rest = events;
                let mut goes_on = true;
                while goes_on && !rest.is_empty() {
                    let count = if is_paced { 1 } else { rest.len() };
                    let (now, later) = rest.split_at(count);
                    if is_paced {
                        wait_until_due(self.control, self.clock, self.plan.wait, now[0].exchange_time, next.get());
                    }
                    if let Some(writer) = &mut writer {
                        publish(writer, now, self.plan.wait);
                    }
                    goes_on = core.take(next, now);
                    next = Sequence(next.get() + count as u64);
                    rest = later;
                }
                if !goes_on {
                    self.control.stop();
                    break FeedEnd::Stopped;
                }
            }
        } else {
            FeedEnd::Stopped
        };
        let ended_at = self.clock.now();
        let ring_full_waits = writer.as_ref().map_or(0, RingWriter::full_waits);
        drop(writer);
        let feed = FeedResult { source: feed.into_source(), end, ring_full_waits };
        Ok((feed, book_end(core, ended_at)))
    }

    /// Topology `pipelined`, first half: source to ring.
    fn feed_thread<R: Source>(self, source: R, mut writer: RingWriter) -> Result<FeedResult<R>, EngineError> {
        self.pin(self.plan.feed)?;
        let mut feed = self.feed_core(source);
        let is_paced = self.config.pace != Pace::Max;
        let mut waiter = self.plan.wait.waiter();
        let end = if self.control.is_ready_and_go() {
            loop {
                match feed.next() {
                    Ok([]) => waiter.idle(),
                    Ok(events) if is_paced => {
                        for event in events {
                            let number = writer.last_sequence().next().get();
                            wait_until_due(self.control, self.clock, self.plan.wait, event.exchange_time, number);
                            publish(&mut writer, core::slice::from_ref(event), self.plan.wait);
                        }
                    }
                    Ok(events) => {
                        waiter.reset();
                        publish(&mut writer, events, self.plan.wait);
                    }
                    Err(end) => break end,
                }
            }
        } else {
            FeedEnd::Stopped
        };
        Ok(FeedResult { source: feed.into_source(), end, ring_full_waits: writer.full_waits() })
    }

    /// Topology `pipelined`, second half: ring to books and strategy.
    fn book_thread<S: Strategy>(self, strategy: S, mut reader: RingReader) -> Result<BookEnd<S>, EngineError> {
        self.pin(self.plan.book)?;
        let arena = self.arena()?;
        let books = Books::new(&arena, self.config.capacity)?;
        let mut core = BookCore::new(books, strategy, &self.book_options(), self.control, self.clock);
        let mut batch = vec![Event::default(); crate::feed_core::BATCH_EVENTS];
        let mut waiter = self.plan.wait.waiter();
        if self.control.is_ready_and_go() {
            loop {
                let first = reader.next_sequence();
                let count = reader.read_into(&mut batch);
                if count == 0 {
                    if reader.is_closed_and_drained() {
                        break;
                    }
                    waiter.idle();
                    continue;
                }
                waiter.reset();
                if !core.take(first, &batch[..count]) {
                    self.control.stop();
                    break;
                }
            }
        }
        let ended_at = self.clock.now();
        drop(reader);
        Ok(book_end(core, ended_at))
    }

    fn journal_thread(
        self,
        config: &JournalConfig,
        reader: RingReader,
    ) -> Result<(JournalOutcome, Ticks), EngineError> {
        self.pin(self.plan.journal)?;
        let mut run = JournalRun::open(config, reader, self.plan)?;
        if !self.control.is_ready_and_go() {
            return Ok((run.discard(), self.clock.now()));
        }
        run.carry(self.control);
        let outcome = run.finish();
        Ok((outcome, self.clock.now()))
    }

    fn outcome<R, S>(
        self,
        started_at: Ticks,
        feed: FeedResult<R>,
        book: BookEnd<S>,
        journal: Option<(JournalOutcome, Ticks)>,
    ) -> Outcome<R, S> {
        let end = match (book.strict, feed.end) {
            (Some(strict), _) => strict,
            (None, FeedEnd::Complete | FeedEnd::TimeReached) => End::Complete,
            (None, FeedEnd::Stopped) => End::Stopped,
            (None, FeedEnd::Failed(error)) => End::SourceFailed(error),
            (None, FeedEnd::Skipped(skipped)) => End::Skipped(skipped),
            (None, FeedEnd::Truncated { offset, bytes }) => End::Truncated { offset, bytes },
        };
        let elapsed_ns = |ended_at: Ticks| self.clock.ns_between(started_at, ended_at);
        let journal_ns = journal.as_ref().map_or(0, |(_, ended_at)| elapsed_ns(*ended_at));
        Outcome {
            end,
            source: feed.source,
            strategy: book.strategy,
            events: book.events,
            elapsed_ns: elapsed_ns(book.ended_at).max(journal_ns),
            books: book.books,
            service: book.service,
            tick_to_bbo: book.tick_to_bbo,
            ring_full_waits: feed.ring_full_waits,
            journal: journal.map(|(outcome, _)| outcome.describe()),
            machine: MachineOutcome {
                cpu: machine::cpu_model(),
                topology: self.config.topology,
                cores: self.plan.cores(),
                is_pinned: self.config.cores != Cores::Unpinned,
                journal_spins: self.plan.journal_spins,
                huge_page_bytes: book.huge_page_bytes,
                clock: self.clock.description(),
            },
        }
    }
}

/// Starts named threads that the run waits for.
struct Spawner<'scope, 'env, 'c> {
    scope: &'scope thread::Scope<'scope, 'env>,
    control: &'c Control,
}

impl<'scope, 'c: 'scope> Spawner<'scope, '_, 'c> {
    fn thread<T: Send + 'scope>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'scope,
    ) -> Result<Joined<'scope, T>, EngineError> {
        let control = self.control;
        thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(self.scope, move || {
                let _attendance = Attendance(control);
                work()
            })
            .map_err(|source| {
                // Those that were started go home; the scope waits for them.
                control.open_gate(false);
                EngineError::Spawn { name, source }
            })
    }
}

fn join<T>(thread: Joined<'_, T>, name: &'static str) -> Result<T, EngineError> {
    thread.join().unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".to_owned());
        Err(EngineError::Panicked { name, message })
    })
}

/// Publishes every event, waiting for slow readers. A reader that dies no longer holds the ring, so this ends.
#[inline]
fn publish(writer: &mut RingWriter, events: &[Event], wait: Wait) {
    let mut rest = events;
    let mut waiter: Waiter = wait.waiter();
    loop {
        let count = writer.publish_batch(rest);
        rest = &rest[count..];
        if rest.is_empty() {
            return;
        }
        if count == 0 {
            waiter.idle();
        } else {
            waiter.reset();
        }
    }
}

fn book_end<S: Strategy>(mut core: BookCore<'_, '_, S>, ended_at: Ticks) -> BookEnd<S> {
    core.end();
    let books = &core.books;
    debug_assert_eq!(books.validate(), Ok(()), "the books' structure at the end of a run");
    let outcome = BooksOutcome {
        anomalies: *books.anomalies(),
        instruments: books.instruments().defined(),
        stale_instruments: books.stale_count(),
        live_orders: books.live_orders(),
        levels: books.level_count(),
        crossed: core.crossed,
        locked: core.locked,
        bbo_changes: core.stream.as_ref().map(StreamDigest::changes),
        stream_digest: core.stream.as_ref().map(StreamDigest::value),
        state_digest: core.stream.is_some().then(|| books.state_digest()),
    };
    BookEnd {
        strategy: core.strategy,
        books: outcome,
        events: core.events,
        service: core.service,
        tick_to_bbo: core.tick_to_bbo,
        strict: core.strict_anomaly.map(End::Anomaly),
        huge_page_bytes: machine::huge_page_bytes(),
        ended_at,
    }
}
