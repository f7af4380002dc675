//! One run of an engine: its threads from set-up to outcome.

mod seats;

use crate::arrivals::{Anchorage, Pilot, anchorage};
use crate::checkpoint::{Account, Beside};
use crate::control::{Control, Supervision};
use crate::engine::{Config, EngineError, Progress};
use crate::feed_core::FeedEnd;
use crate::machine;
use crate::outcome::{BooksOutcome, CoreOutcome, End, LiveOutcome, MachineOutcome, Outcome};
use crate::output_check::{Compared, OutputCheckOutcome, recorded_output};
use crate::outputs::{CoreOutputs, OutputRings, cause_of};
use crate::pace::Pace;
use crate::pin::{Cores, started_on};
use crate::places::Places;
use crate::probes::{BOOK_STAGES, FEED_STAGES, JOURNAL_STAGES, JournalProbe, RingStamps, Sampling, StageName, cost_ns};
use crate::recordings::Recordings;
use crate::restart::{LoadedCheckpoint, Restart, are_stateless, departed};
use crate::shards::Shard;
use crate::stat::{Board, Counter, State};
use crate::strategy::{NoStrategy, Strategy};
use crate::threads::{Joined, Spawner};
use crate::timeline::{Moment, Timeline};
use crate::topology::{Plan, Role};
use crate::warm_up::WarmUpError;
use seats::{BookEnd, BookSeat, FeedResult, JournalEnd, Measuring, Seat};
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use tickcore_book::Sequence;
use tickcore_feed::ring::Ring;
use tickcore_feed::source::Source;
use tickcore_journal::CheckpointMark;
use tickcore_latency::stages::StageRecorder;
use tickcore_latency::{Clock, Ticks};

/// How often the thread that started a run looks at it.
const MONITOR_INTERVAL: Duration = Duration::from_millis(50);
/// Turns of it between two intervals of the stages: taking one costs some tenths of a millisecond, on a core that spins where
/// there is no other.
const TURNS_PER_INTERVAL: u32 = 4;
/// Time for threads that were told to end where they are, before the monitor hears of it.
const OVERDUE_AFTER: Duration = Duration::from_secs(1);

impl From<WarmUpError> for EngineError {
    fn from(error: WarmUpError) -> Self {
        match error {
            WarmUpError::Arena(error) => error.into(),
            WarmUpError::Ring(error) => error.into(),
        }
    }
}

/// What the threads of a run refer to.
pub(crate) struct Run<'r> {
    config: &'r Config,
    plan: &'r Plan,
    board: &'r Board,
    clock: &'r Clock,
    control: Control,
    /// Where the books begin.
    restart: OnceLock<Restart>,
    /// Where events come from, for the journal, if there is one.
    places: OnceLock<Places>,
    /// What tells how long ago events arrived, in a live run.
    anchorage: OnceLock<Anchorage>,
    /// How far checkpoints reach that are made beside the run.
    mark: CheckpointMark,
    /// How long the slowest book core took to go on from a checkpoint.
    restart_ns: AtomicU64,
    /// What is known of the thread that makes them.
    account: Account,
}

/// Says that a run has ended once nobody attends to it any more, also when that panicked: the thread that makes checkpoints
/// waits for it.
struct Ending<'r>(&'r AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What was seen of a run while it went on.
struct Watched {
    started_at: Ticks,
    recordings: Recordings,
    timeline: Timeline,
}

impl<'r> Run<'r> {
    pub(crate) fn new(config: &'r Config, plan: &'r Plan, board: &'r Board, clock: &'r Clock) -> Self {
        let control = Control::new(plan.threads.len());
        let (restart, mark, account) = (OnceLock::new(), CheckpointMark::default(), Account::default());
        let (places, anchorage, restart_ns) = (OnceLock::new(), OnceLock::new(), AtomicU64::new(0));
        Self { config, plan, board, clock, control, restart, places, anchorage, mark, restart_ns, account }
    }

    pub(crate) fn start<R: Source + Send, S: Strategy>(
        &self,
        source: R,
        mut make: impl FnMut(Shard) -> S,
        monitor: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Outcome<R, Vec<S>>, EngineError> {
        let count = self.config.shards.count();
        let has_feed = self.config.topology.has_feed_thread();
        let ring = Ring::new(self.config.ring_lines, count as usize + 1)?;
        let reader = || ring.reader().expect("the ring was made for as many readers as join");
        let journal = self.config.journal.as_ref().map(|config| (config, reader()));
        let writer = (has_feed || journal.is_some()).then(|| ring.writer().expect("a new ring has its writer"));
        let sampling = Sampling::one_in(self.config.latency_sample_interval);
        let stamps = (writer.is_some() && !sampling.is_off()).then(|| RingStamps::new(self.config.ring_lines));
        if journal.is_some() {
            self.places.get_or_init(|| Places::new(self.config.ring_lines));
        }
        let measuring = Measuring { sampling, stamps: stamps.as_ref() };
        let is_live = source.is_live();
        if is_live {
            self.anchorage.get_or_init(|| anchorage(self.clock));
        }
        let mut recordings = Recordings::new(self.clock.now());
        let feed_recorder = self.recorder(&mut recordings, self.seats(Role::Feed).next(), &FEED_STAGES, false);
        // In topology inline the core that has the books takes the events from the source.
        let inline_seat = self.seats(Role::Book).next().filter(|_| !has_feed);
        let inline_recorder = self.recorder(&mut recordings, inline_seat, &FEED_STAGES, false);
        let mut books: Vec<BookSeat<'_, S>> = self
            .seats(Role::Book)
            .map(|seat| {
                let strategy = make(Shard { number: seat.thread.shard, count });
                let takes_all = is_live || self.config.pace != Pace::Max;
                let recorder = self.recorder(&mut recordings, Some(seat), &BOOK_STAGES, takes_all);
                BookSeat { seat, strategy, reader: has_feed.then(reader), recorder, outlet: None }
            })
            .collect();
        let journal_recorder = self.recorder(&mut recordings, self.seats(Role::Journal).next(), &JOURNAL_STAGES, false);
        let probe_cost_ns = (!sampling.is_off()).then(|| cost_ns(self.clock));
        let twin = if let [book] = &books[..] { book.strategy.twin() } else { None };
        let mut strategies: Vec<&mut S> = books.iter_mut().map(|book| &mut book.strategy).collect();
        let start = self.clock.now();
        let mut restart = Restart::of(self.config, &mut strategies)?;
        let found_ns = self.clock.ns_between(start, self.clock.now());
        if self.beside(false).is_some() && twin.is_none() && !are_stateless(&strategies) {
            restart.notices.push(
                "checkpoints beside this run are without the state of its strategy: one that resumes it replays the session"
                    .to_owned(),
            );
        }
        let mut output_readers = Vec::new();
        if let Some(config) = &self.config.outputs {
            let rings = OutputRings::new(config, count, journal.is_some(), restart.seen)?;
            books.iter_mut().for_each(|book| book.outlet = Some(rings.outlet(book.seat.thread.shard)));
            if journal.is_some() {
                output_readers = rings.journal_readers();
            }
            rings.hand_out(config);
        }
        self.restart.get_or_init(|| restart);
        thread::scope(|scope| {
            let spawn = Spawner { scope, control: &self.control };
            let journal_thread = match (journal, self.seats(Role::Journal).next()) {
                (Some((config, reader)), Some(seat)) => {
                    let probe = JournalProbe::new(self.clock, sampling, journal_recorder, measuring.stamps);
                    let work = move || self.journal_thread(seat, config, (reader, output_readers), probe);
                    Some(spawn.thread(seat.place, seat.thread, work)?)
                }
                _ => None,
            };
            let mut book_threads: Vec<Joined<'_, BookEnd<S>>> = Vec::new();
            let mut feed_thread = None;
            let mut inline_thread = None;
            let (mut source, mut writer) = (Some(source), writer);
            let mut inline_recorder = inline_recorder;
            for mut book in books {
                let seat = book.seat;
                match (book.reader.take(), source.take()) {
                    (Some(reader), unused) => {
                        source = unused;
                        let work = move || self.book_thread(book, reader, measuring);
                        book_threads.push(spawn.thread(seat.place, seat.thread, work)?);
                    }
                    (None, Some(source)) => {
                        let writer = writer.take();
                        let feed_recorder = inline_recorder.take();
                        let work = move || self.inline_thread(book, source, writer, measuring, feed_recorder);
                        inline_thread = Some(spawn.thread(seat.place, seat.thread, work)?);
                    }
                    (None, None) => unreachable!("a topology without a feed thread has one book core"),
                }
            }
            if let (Some(seat), Some(source), Some(writer)) = (self.seats(Role::Feed).next(), source, writer) {
                let work = move || self.feed_thread(seat, source, writer, measuring, feed_recorder);
                feed_thread = Some(spawn.thread(seat.place, seat.thread, work)?);
            }
            let beside = self.beside(twin.is_some()).map(|beside| {
                let thread = thread::Builder::new().name("tickcore-check".to_owned());
                thread.spawn_scoped(scope, move || match twin {
                    Some(twin) => beside.run(twin),
                    None => beside.run(NoStrategy),
                })
            });
            let ending = Ending(&self.account.is_ended);
            // Not on a core that keeps books, if there is another: what it collects takes it some time.
            let watched = started_on(&self.plan.helpers, || self.attend(recordings, monitor));
            drop(ending);
            match beside.map(|thread| thread.map(thread::ScopedJoinHandle::join)) {
                None | Some(Ok(Ok(()))) => {}
                Some(Ok(Err(_))) => self.account.note(["the thread that makes checkpoints panicked".to_owned()]),
                Some(Err(error)) => {
                    self.account.note([format!("the thread that makes checkpoints could not be started: {error}")]);
                }
            }
            let journal = journal_thread.map(Joined::join);
            let feed = feed_thread.map(Joined::join);
            let books: Vec<_> = book_threads.into_iter().map(Joined::join).collect();
            let inline = inline_thread.map(Joined::join);
            // A failure to begin or a panic is worth more than what the others made of it.
            let journal = journal.transpose()?;
            let (feed, books) = match (inline, feed) {
                (Some(inline), _) => {
                    let (feed, book) = inline?;
                    (feed, vec![book])
                }
                (None, Some(feed)) => (feed?, books.into_iter().collect::<Result<_, _>>()?),
                (None, None) => unreachable!("a topology has one thread that feeds"),
            };
            let mut outcome = self.outcome(watched, probe_cost_ns, feed, books, journal)?;
            if let Some(journal) = &mut outcome.journal {
                journal.checkpoint_sequence = self.restart().checkpoint.as_ref().map(LoadedCheckpoint::sequence);
                let is_restarted = journal.checkpoint_sequence.is_some();
                journal.restart_ns = if is_restarted { found_ns + self.restart_ns.load(Relaxed) } else { 0 };
                journal.checkpoints_made = self.account.made.load(Relaxed);
                journal.notices.extend(self.account.take_notices());
            }
            Ok(outcome)
        })
    }

    fn seats(&self, role: Role) -> impl Iterator<Item = Seat<'r>> {
        let threads = &self.plan.threads;
        (0..).zip(threads).filter(move |(_, thread)| thread.role == role).map(|(place, thread)| Seat { place, thread })
    }

    /// A recorder for the stages of the thread at `seat`, if there is one and something is to be recorded.
    fn recorder(
        &self,
        recordings: &mut Recordings,
        seat: Option<Seat<'_>>,
        stages: &'static [StageName],
        is_wanted: bool,
    ) -> Option<StageRecorder> {
        let is_wanted = is_wanted || self.config.latency_sample_interval > 0;
        let seat = seat.filter(|_| is_wanted)?;
        Some(recordings.recorder(seat.thread.core, stages))
    }

    /// How far the run is.
    fn moment(&self, started_at: Ticks) -> Moment {
        let counter = |seat: Seat<'_>, counter| self.board.slot(seat.place).get(counter);
        let sequence = |seat| counter(seat, Counter::Sequence);
        // Readers first: they never overtake the writer, so they must not look as if they did.
        // A journal that was given up reads no more, and nobody waits for it.
        let journal = self.seats(Role::Journal).next();
        let reading = journal.filter(|_| !self.control.is_unjournaled());
        let read_by_books = self.seats(Role::Book).map(sequence).min().unwrap_or(0);
        let read = reading.map_or(read_by_books, |journal| sequence(journal).min(read_by_books));
        let written = self.seats(Role::Feed).next().map_or(read_by_books, sequence);
        let has_ring = self.config.topology.has_feed_thread() || journal.is_some();
        Moment {
            at_ns: self.clock.ns_between(started_at, self.clock.now()),
            events: self.control.events_applied(),
            ring_lines: has_ring.then(|| written.saturating_sub(read)),
            durable: journal.map(|journal| Sequence(counter(journal, Counter::Durable))),
        }
    }

    /// Waits until the threads are ready, gives the word to go, and waits until they end.
    fn attend(&self, mut recordings: Recordings, mut monitor: impl FnMut(Progress) -> ControlFlow<()>) -> Watched {
        let mut timeline = Timeline::new();
        let mut pilot = self.anchorage.get().map(|anchorage| Pilot::new(self.clock, anchorage));
        let control = &self.control;
        let _supervision = Supervision(control);
        let mut go = true;
        for text in self.notices() {
            go &= monitor(Progress::Notice { text }).is_continue();
        }
        while go && !control.are_all_ready() {
            thread::park_timeout(MONITOR_INTERVAL);
            pilot.iter_mut().for_each(Pilot::follow);
            let (bytes_touched, bytes) = control.bytes_touched();
            go = monitor(Progress::Preparing { bytes_touched, bytes }).is_continue() && !control.has_one_ended();
        }
        let started_at = self.clock.now();
        self.board.set_state(State::Running);
        control.open_gate(go);
        if !go {
            // What is still being made ready is given up, or the deadline passes.
            control.stop();
        }
        let mut stopped_at = None;
        let mut turns = 0_u32;
        loop {
            let threads: Vec<_> = control.running().map(|place| self.plan.threads[place].clone()).collect();
            for text in control.take_told() {
                let _ = monitor(Progress::Notice { text });
            }
            if threads.is_empty() {
                return Watched { started_at, recordings, timeline };
            }
            pilot.iter_mut().for_each(Pilot::follow);
            timeline.add(self.moment(started_at));
            turns += 1;
            if turns.is_multiple_of(TURNS_PER_INTERVAL) {
                recordings.collect();
            }
            let mut pause = MONITOR_INTERVAL;
            let events = control.events_applied();
            let mut progress = Progress::Running { events };
            if control.is_stopped() {
                self.board.set_state(State::Draining);
                let since = stopped_at.get_or_insert_with(Instant::now).elapsed();
                let deadline = self.config.drain_deadline;
                if since >= deadline {
                    control.abandon();
                } else {
                    pause = pause.min(deadline - since);
                }
                progress = match since.checked_sub(deadline) {
                    Some(late) if late >= OVERDUE_AFTER => Progress::Overdue { threads },
                    _ => Progress::Draining { events },
                };
            }
            let mut wants_end = false;
            for text in self.account.take_notices() {
                wants_end |= monitor(Progress::Notice { text }).is_break();
            }
            if (monitor(progress).is_break() | wants_end) && !control.is_stopped() {
                control.stop();
                continue;
            }
            thread::park_timeout(pause);
        }
    }

    fn restart(&self) -> &Restart {
        self.restart.get_or_init(Restart::default)
    }

    /// The thread that makes checkpoints, if one is to.
    fn beside(&self, has_strategy: bool) -> Option<Beside<'_>> {
        let (journal, every) = self.config.journal.as_ref().zip(self.config.checkpoint_every)?;
        Some(Beside {
            dir: &journal.dir,
            capacity: self.config.capacity,
            every,
            is_sharded: self.seats(Role::Book).count() > 1,
            has_strategy,
            records_outputs: self.config.outputs.is_some(),
            mark: &self.mark,
            clock: self.clock,
            helpers: &self.plan.helpers,
            account: &self.account,
            control: &self.control,
        })
    }

    fn outcome<R, S>(
        &self,
        watched: Watched,
        probe_cost_ns: Option<f64>,
        feed: FeedResult<R>,
        books: Vec<BookEnd<S>>,
        journal: Option<JournalEnd>,
    ) -> Result<Outcome<R, Vec<S>>, EngineError> {
        let Watched { started_at, recordings, timeline } = watched;
        // The first anomaly ends a strict run, on whichever core it was met.
        let strict = books.iter().filter_map(|book| book.strict).min_by_key(|strict| strict.sequence);
        let events = match strict {
            Some(strict) => strict.sequence.get(),
            None => books.iter().map(|book| book.events).min().unwrap_or(0),
        };
        let durable = journal.as_ref().map(|journal| journal.outcome.durable_sequence.get());
        let events_left = feed.published.saturating_sub(events);
        let not_durable = durable.map_or(0, |durable| feed.published.saturating_sub(durable));
        let end = match (strict, feed.end) {
            (Some(strict), _) => End::Anomaly(strict),
            (None, FeedEnd::Failed(error)) => End::SourceFailed(error),
            (None, FeedEnd::Skipped(skipped)) => End::Skipped(skipped),
            (None, FeedEnd::Truncated { offset, bytes }) => End::Truncated { offset, bytes },
            _ if self.control.is_abandoned() && events_left + not_durable > 0 => {
                End::Overdue { events_left, not_durable }
            }
            (None, FeedEnd::Complete | FeedEnd::TimeReached) => End::Complete,
            (None, FeedEnd::Stopped) => End::Stopped,
        };
        let elapsed_ns = |ended_at: Ticks| self.clock.ns_between(started_at, ended_at);
        let ends = books.iter().map(|book| book.ended_at).chain(journal.iter().map(|journal| journal.ended_at));
        let elapsed_ns = ends.map(elapsed_ns).max().unwrap_or(0);
        let huge_page_bytes = books.iter().map(|book| book.huge_page_bytes).max().unwrap_or(0);
        let mut cores: Vec<CoreOutcome> = feed.core.into_iter().collect();
        let mut strategies = Vec::with_capacity(books.len());
        let mut outputs = Vec::with_capacity(books.len());
        let compared: Vec<Compared> = books.iter().map(|book| book.compared).collect();
        let check = self.config.output_check.as_ref().filter(|_| self.restart().recorded.is_empty());
        let output_check = match (check, self.restart().not_counted) {
            (Some(_), Some(checkpoint)) => Some(OutputCheckOutcome::NotCounted { checkpoint }),
            (check, _) => check.map(|check| check.conclude(&compared)).transpose()?,
        };
        let departed = self.departed(&compared)?;
        let mut live = LiveOutcome { received: feed.arrival_faults, ..LiveOutcome::default() };
        let mut all: Option<BooksOutcome> = None;
        for book in books {
            strategies.push(book.strategy);
            outputs.push(book.outputs);
            live.tick_to_bbo.add(&book.arrival_faults);
            cores.push(book.core);
            match &mut all {
                None => all = Some(book.books),
                Some(books) => books.merge(&book.books, &book.common_anomalies),
            }
        }
        let books = all.expect("every topology has a book core");
        let journal = journal.map(|journal| {
            cores.push(journal.core);
            let mut outcome = journal.outcome.describe();
            outcome.error = outcome.error.or(departed);
            outcome.warnings.extend(unrecorded_refusals(&outputs));
            outcome
        });
        Ok(Outcome {
            end,
            source: feed.source,
            strategy: strategies,
            events,
            elapsed_ns,
            books,
            outputs,
            output_check,
            live: self.anchorage.get().map(|_| live),
            stages: recordings.finish(started_at, self.clock),
            probe_cost_ns,
            timeline: timeline.into_moments(),
            ring_full_waits: feed.ring_full_waits,
            ring_full_ns: feed.ring_full_ns,
            is_unjournaled: self.control.is_unjournaled(),
            cores,
            stall_threshold_ns: self.config.stall_threshold_ns,
            journal,
            machine: self.machine(huge_page_bytes),
        })
    }

    /// Why the strategies of a run that resumed are not those that sent the recorded outputs, or the input is another one.
    fn departed(&self, cores: &[Compared]) -> Result<Option<String>, EngineError> {
        let Some((dir, recorded)) =
            self.config.journal.as_ref().map(|journal| (&journal.dir, &self.restart().recorded))
        else {
            return Ok(None);
        };
        for (core, (compared, recorded)) in (0..).zip(cores.iter().zip(recorded)) {
            let difference = match compared.difference {
                Some((number, sent)) => Some((number, cause_of(&sent))),
                // It sends less than it did.
                None if compared.last.get() < recorded.last() => {
                    let number = compared.last.next();
                    let recorded = recorded_output(dir, core, number)?;
                    recorded
                        .map(|recorded| (number, cause_of(&recorded)))
                        .filter(|(_, cause)| *cause <= compared.through)
                }
                None => None,
            };
            if let Some((number, cause)) = difference {
                return Ok(Some(departed(core, number, cause)));
            }
        }
        Ok(None)
    }

    fn notices(&self) -> impl Iterator<Item = String> {
        let restart = self.restart().notices.iter().map(String::as_str);
        self.plan.notices.iter().map(String::as_str).chain(self.board.notice()).chain(restart).map(str::to_owned)
    }

    fn machine(&self, huge_page_bytes: u64) -> MachineOutcome {
        MachineOutcome {
            cpu: machine::cpu_model(),
            topology: self.config.topology,
            cores: self.plan.cores(),
            is_pinned: self.config.cores != Cores::Unpinned,
            journal_spins: self.plan.journal_spins,
            huge_page_bytes,
            ring_lines: self.config.ring_lines,
            clock: self.clock.description(),
            notices: self.notices().collect(),
        }
    }
}

/// What a run does not know that resumes a journal: which intents were refused behind the last recorded output of a core.
fn unrecorded_refusals(outputs: &[CoreOutputs]) -> impl Iterator<Item = String> + '_ {
    outputs.iter().filter(|core| core.refused_last > 0).map(|CoreOutputs { core, last, refused_last, .. }| {
        format!(
            "behind output {last} of book core {core} {refused_last} intents were refused, as the output ring was full, and no record says it: a run that resumes this journal takes them for sent, records them and shows them to nobody; give the ring more lines or a faster reader"
        )
    })
}
