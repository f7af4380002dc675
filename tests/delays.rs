//! Delays of known length, put into one stage, appear there with that length and nowhere else. Medians of several runs, each
//! against a run without the delay: a machine that others use moves tails and not these.

mod common;

use common::day::generated;
use common::journal::journaled;
use std::fs;
use std::hint::black_box;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;
use tickcore::book::{Capacity, Event, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::journal::{Backend, PortableDisk, PortableThread, SyncPolicy};
use tickcore::latency::Bucket;
use tickcore::outcome::Outcome;
use tickcore::outputs::{Intent, OutputConfig};
use tickcore::pace::Pace;
use tickcore::pin::{Cores, allowed_cores};
use tickcore::strategy::{Context, Strategy};
use tickcore::topology::Topology;

/// Tries of which the median counts, each with and without the delay.
const TRIES: usize = 5;
const SHORT_NS: u64 = 500;
/// Half of it, and half of it more, still is that delay; the rest of a stage moves by less.
const TOLERANCE_NS: i64 = 250;

/// One engine at a time: each has the machine's cores for itself.
static ENGINE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ENGINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works for so long.
fn busy_wait(ns: u64) {
    let start = Instant::now();
    while start.elapsed().as_nanos() < u128::from(ns) {
        black_box(());
    }
}

/// When a strategy sends an intent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Sends {
    #[default]
    Never,
    /// Before it takes its time.
    First,
    /// When it has taken it.
    Last,
}

/// Takes time over some of its events.
#[derive(Clone, Copy, Debug, Default)]
struct Slow {
    ns: u64,
    /// One event in so many; 0 for none.
    interval: u64,
    seen: u64,
    sends: Sends,
}

impl Slow {
    fn always(ns: u64) -> Self {
        Self { ns, interval: 1, ..Self::default() }
    }

    fn take_its_time(&mut self) {
        self.seen += 1;
        if self.interval > 0 && self.seen.is_multiple_of(self.interval) {
            busy_wait(self.ns);
        }
    }
}

impl Strategy for Slow {
    fn on_event(&mut self, context: &mut Context<'_, '_>, event: &Event) {
        let intent = Intent { instrument: event.instrument, ..Intent::default() };
        if self.sends == Sends::First {
            context.send(&intent).unwrap();
        }
        self.take_its_time();
        if self.sends == Sends::Last {
            context.send(&intent).unwrap();
        }
    }
}

/// A source whose decoding takes time.
struct SlowSource<R> {
    source: R,
    slow: Slow,
}

impl<R: Source> Source for SlowSource<R> {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        let filled = self.source.fill(batch, max_messages);
        if !batch.is_empty() {
            self.slow.take_its_time();
        }
        filled
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        self.source.next_time()
    }

    fn counts(&self) -> &Counts {
        self.source.counts()
    }
}

fn config(topology: Topology) -> Config {
    let cores = allowed_cores().unwrap().len();
    let is_enough = cores >= if topology == Topology::Inline { 1 } else { 2 };
    Config {
        topology,
        cores: if is_enough { Cores::Automatic } else { Cores::Unpinned },
        oversubscribe: !is_enough,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        latency_sample_interval: 1,
        pace: Pace::EventsPerSecond(100_000),
        outputs: Some(OutputConfig::default()),
        ..Config::default()
    }
}

fn run<'d>(config: &Config, day: &'d [u8], source: Slow, strategy: Slow) -> Outcome<SlowSource<ItchBytes<'d>>, Slow> {
    let source = SlowSource { source: ItchBytes::new(day, &ItchOptions::default()), slow: source };
    let outcome = engine::run(config, source, strategy).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    outcome
}

const STAGES: [&str; 7] =
    ["taken_up_ns", "decoded_ns", "published_ns", "taken_ns", "service_ns", "intent_ns", "strategy_ns"];

fn medians<R, S>(outcome: &Outcome<R, S>) -> [i64; STAGES.len()] {
    let sampled = outcome.service().count();
    STAGES.map(|name| {
        let summary = outcome.stage(name).map(|stage| stage.distribution.summary());
        // A stage of few events only is no stage of the usual way: in topology inline, those that come late and together.
        let usual = summary.filter(|summary| summary.count > sampled / 2);
        usual.and_then(|summary| summary.p50).unwrap_or(0) as i64
    })
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// By how much each stage's median is longer with the delays than without.
fn longer_by(config: &Config, day: &[u8], source: Slow, strategy: Slow) -> [i64; STAGES.len()] {
    let none = |slow: Slow| Slow { ns: 0, interval: 0, ..slow };
    let one_try = |_| {
        let with = medians(&run(config, day, source, strategy));
        let without = medians(&run(config, day, none(source), none(strategy)));
        core::array::from_fn(|stage| with[stage] - without[stage])
    };
    let tries: Vec<[i64; STAGES.len()]> = (0..TRIES).map(one_try).collect();
    core::array::from_fn(|stage| median(tries.iter().map(|one| one[stage]).collect()))
}

/// Asserts that only the stage of this name, if any, is longer, and by the short delay.
fn assert_only(longer: [i64; STAGES.len()], wanted: Option<&str>, what: &str) {
    for (name, ns) in STAGES.into_iter().zip(longer) {
        let expected = if Some(name) == wanted { SHORT_NS as i64 } else { 0 };
        assert!((ns - expected).abs() < TOLERANCE_NS, "{what}: {name} is {ns} ns longer, not {expected}: {longer:?}");
    }
}

#[test]
fn a_busy_wait_appears_in_its_stage_and_only_there() {
    let _alone = alone();
    let day = generated(12_000, 200, 5);
    let none = Slow::default();
    for topology in [Topology::Inline, Topology::Pipelined] {
        let config = config(topology);
        let slow = Slow::always(SHORT_NS);
        assert_only(longer_by(&config, &day, none, slow), Some("strategy_ns"), &format!("strategy, {topology}"));
        assert_only(longer_by(&config, &day, slow, none), Some("decoded_ns"), &format!("source, {topology}"));
        for (sends, stage) in [(Sends::Last, "intent_ns"), (Sends::First, "strategy_ns")] {
            let strategy = Slow { sends, ..slow };
            assert_only(longer_by(&config, &day, none, strategy), Some(stage), &format!("{sends:?}, {topology}"));
        }
        // The negative control: no delay is none.
        assert_only(longer_by(&config, &day, none, none), None, &format!("nothing, {topology}"));
    }
}

/// Values of a stage that are as long as the stall.
fn stalled<R, S>(outcome: &Outcome<R, S>, name: &str) -> u64 {
    let Some(stage) = outcome.stage(name) else { return 0 };
    let is_stall = |value_ns: u64| value_ns >= 2_000_000;
    stage.distribution.buckets().iter().filter(|bucket| is_stall(bucket.value_ns)).map(|bucket| bucket.count).sum()
}

#[test]
fn a_stall_appears_in_its_stage_and_delays_what_waits_behind_it() {
    let _alone = alone();
    const STALLS: u64 = 6;
    let day = generated(12_000, 200, 5);
    let none = Slow::default();
    for topology in [Topology::Inline, Topology::Pipelined] {
        let config = config(topology);
        // A machine that others use has stalls of its own, in any stage: the least of some tries.
        let tries = |source, strategy| (0..TRIES).map(|_| run(&config, &day, source, strategy)).collect::<Vec<_>>();
        let least = |tries: &[Outcome<_, _>], name: &str| tries.iter().map(|one| stalled(one, name)).min().unwrap_or(0);
        let quiet = tries(none, none);
        // 200 events become due in a stall, and wait for half of it on average: a closed loop would not know of them.
        let waited = |bucket: &&Bucket| bucket.value_ns >= 500_000;
        let waiting = |tries: &[Outcome<_, _>]| {
            let of = |one: &Outcome<_, _>| {
                one.tick_to_bbo().buckets().iter().filter(waited).map(|bucket| bucket.count).sum()
            };
            tries.iter().map(of).min().unwrap_or(0_u64)
        };
        assert!(waiting(&quiet) < STALLS * 50, "{topology}: {} events waited without stalls", waiting(&quiet));
        let stall = Slow { ns: 2_000_000, interval: quiet[0].events / STALLS, ..none };
        let before_sending = Slow { sends: Sends::Last, ..stall };
        let stalls = [(none, stall, "strategy_ns"), (stall, none, "decoded_ns"), (none, before_sending, "intent_ns")];
        for (source, strategy, stage) in stalls {
            let stalling = tries(source, strategy);
            for name in ["decoded_ns", "published_ns", "service_ns", "intent_ns", "strategy_ns"] {
                let found = least(&stalling, name);
                let wanted = if name == stage { STALLS - 1..=STALLS + 2 } else { 0..=0 };
                assert!(wanted.contains(&found), "{topology}, stalls in {stage}: {found} in {name}");
            }
            let waiting = waiting(&stalling);
            assert!(waiting > STALLS * 100, "{topology}, stalls in {stage}: only {waiting} events waited behind them");
        }
    }
}

/// A disk that rests between its operations, and how long each turn of it took.
fn slow_disk(rest: Duration) -> (PortableThread, Arc<Mutex<Vec<i64>>>) {
    let turns = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&turns);
    let start = move |mut disk: PortableDisk| {
        let noted = Arc::clone(&noted);
        let work = move || {
            let mut start = Instant::now();
            while disk.step() {
                thread::sleep(rest);
                noted.lock().unwrap().push(start.elapsed().as_nanos() as i64);
                start = Instant::now();
            }
        };
        thread::Builder::new().name("tickcore-disk".to_owned()).spawn(work).map(drop)
    };
    (PortableThread::new(start), turns)
}

/// Medians of a run with a journal.
struct Journaled {
    turn_ns: i64,
    appended_ns: i64,
    written_ns: i64,
    durable_ns: i64,
    before: [i64; STAGES.len()],
}

/// A disk does one thing at a time here, each in one turn. With a sync for each frame it writes and syncs in turn: a frame is
/// handed over when the one before is written, behind a sync; so it is written two turns later, its records came in the
/// two turns before, and its own sync ends behind another sync and another write. Without syncs a frame takes one turn, and
/// its records came in the one before. Less than 12 KiB comes in two turns: of more, a part of a write unit would wait for the
/// next frame.
#[test]
fn a_slow_disk_appears_in_the_journals_stages_and_nowhere_before() {
    let _alone = alone();
    const REST: Duration = Duration::from_millis(10);
    const EVENTS_PER_SECOND: u64 = 8_000;
    let scratch = tempdir().unwrap();
    let day = generated(4_000, 200, 5);
    let one = |sync: SyncPolicy, rest: Duration| -> Journaled {
        let directory = scratch.path().join("journal");
        let mut config = journaled(config(Topology::Inline), &directory);
        config.pace = Pace::EventsPerSecond(EVENTS_PER_SECOND);
        let (thread, turns) = slow_disk(rest);
        let options = &mut config.journal.as_mut().unwrap().options;
        (options.backend, options.portable_thread) = (Backend::Portable, Some(thread));
        // Nothing else is to write there.
        (options.sync, options.segment_bytes, options.is_prewritten) = (sync, 64 << 20, false);
        let outcome = run(&config, &day, Slow::default(), Slow::default());
        assert_eq!(outcome.journal.as_ref().map(|journal| journal.backend), Some(Backend::Portable));
        fs::remove_dir_all(directory).unwrap();
        let p50 = |name: &str| outcome.stage(name).and_then(|one| one.distribution.summary().p50).unwrap_or(0) as i64;
        let [appended_ns, written_ns, durable_ns] = ["appended_ns", "written_ns", "durable_ns"].map(p50);
        let turn_ns = median(turns.lock().unwrap().clone());
        Journaled { turn_ns, appended_ns, written_ns, durable_ns, before: medians(&outcome) }
    };
    for (sync, written_turns, durable_turns) in
        [(SyncPolicy::EveryGroup, 3.0, Some(3.0)), (SyncPolicy::None, 1.5, None)]
    {
        let tries: Vec<[Journaled; 2]> = (0..TRIES).map(|_| [one(sync, REST), one(sync, Duration::ZERO)]).collect();
        let of = |which: usize, value: &dyn Fn(&Journaled) -> i64| {
            median(tries.iter().map(|pair| value(&pair[which])).collect())
        };
        let longer = |value: &dyn Fn(&Journaled) -> i64| of(0, value) - of(1, value);
        let turn_ns = of(0, &|one| one.turn_ns);
        assert!(turn_ns >= REST.as_nanos() as i64, "a turn of {turn_ns} ns");
        let is_so_many_turns = |ns: i64, turns: f64, what: &str| {
            let found = ns as f64 / turn_ns as f64;
            assert!((found - turns).abs() < 0.3, "{sync:?}: {what} is {found:.2} turns longer, not {turns}");
        };
        is_so_many_turns(longer(&|one| one.written_ns), written_turns, "written_ns");
        // Without syncs nothing is durable before the end, with either disk.
        if let Some(turns) = durable_turns {
            is_so_many_turns(longer(&|one| one.durable_ns), turns, "durable_ns");
            // The negative control: the same thread without its rests.
            is_so_many_turns(of(1, &|one| one.durable_ns), 0.0, "durable_ns of the quick disk");
        }
        is_so_many_turns(of(1, &|one| one.written_ns), 0.0, "written_ns of the quick disk");
        // Its own core sleeps up to a tenth of a millisecond where nothing comes.
        let appended_ns = longer(&|one| one.appended_ns);
        assert!(appended_ns.abs() < 500_000, "{sync:?}: appended_ns is {appended_ns} ns longer");
        for (stage, name) in (0..).zip(STAGES) {
            let ns = longer(&|one| one.before[stage]);
            assert!(ns.abs() < TOLERANCE_NS, "{sync:?}: {name} is {ns} ns longer with a slow disk");
        }
    }
}
