//! Delays of known length, put into one stage, appear there with that length and nowhere else. Medians of several runs, each
//! against a run without the delay: a machine that others use moves tails and not these.

mod common;

use common::day::generated;
use common::journal::journaled;
use std::fs;
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::tempdir;
use tickcore::book::{Capacity, Event, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::journal::SyncPolicy;
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

/// A journal whose writes or syncs come late: it holds them back, until 4096 bytes are together or for some time.
#[test]
fn a_slow_disk_appears_in_the_journals_stage_and_nowhere_before() {
    let _alone = alone();
    const LATE: Duration = Duration::from_millis(30);
    /// So many records are together by then.
    const WRITE_RECORDS: i64 = 4_096 / 64;
    const EVENTS_PER_SECOND: i64 = 20_000;
    const WRITE_NS: i64 = WRITE_RECORDS * 1_000_000_000 / EVENTS_PER_SECOND;
    let scratch = tempdir().unwrap();
    let day = generated(12_000, 200, 5);
    /// Medians of written and durable, and those of the stages before.
    type Medians = ([i64; 2], [i64; STAGES.len()]);
    let with = |sync: SyncPolicy, linger: Duration, name: String| -> Medians {
        let directory = scratch.path().join(name);
        let mut config = journaled(config(Topology::Inline), &directory);
        config.pace = Pace::EventsPerSecond(EVENTS_PER_SECOND as u64);
        config.journal.iter_mut().for_each(|journal| (journal.options.sync, journal.options.linger) = (sync, linger));
        let outcome = run(&config, &day, Slow::default(), Slow::default());
        fs::remove_dir_all(directory).unwrap();
        let p50 = |name: &str| outcome.stage(name).and_then(|one| one.distribution.summary().p50).unwrap_or(0) as i64;
        (["written_ns", "durable_ns"].map(p50), medians(&outcome))
    };
    let tries = |sync: SyncPolicy, linger: Duration, name: &str| -> Vec<Medians> {
        (0..TRIES).map(|number| with(sync, linger, format!("{name}-{number}"))).collect()
    };
    let quick = tries(SyncPolicy::EveryGroup, Duration::ZERO, "quick");
    let slow_syncs = tries(SyncPolicy::Every(LATE), Duration::ZERO, "slow-syncs");
    let slow_writes = tries(SyncPolicy::EveryGroup, LATE, "slow-writes");
    let longer = |slow: &[Medians], of: &dyn Fn(&Medians) -> i64| {
        median(slow.iter().map(of).collect()) - median(quick.iter().map(of).collect())
    };
    // Half of it on average, less what a sync took anyway.
    let durable_ns = longer(&slow_syncs, &|one| one.0[1]);
    assert!((5_000_000..45_000_000).contains(&durable_ns), "slow syncs: {durable_ns} ns more until durable");
    let written_ns = longer(&slow_syncs, &|one| one.0[0]);
    assert!(written_ns.abs() < 2_000_000, "slow syncs: {written_ns} ns more until written");
    // Half of it on average as well.
    let written_ns = longer(&slow_writes, &|one| one.0[0]);
    assert!((WRITE_NS / 4..WRITE_NS).contains(&written_ns), "slow writes: {written_ns} ns more until written");
    let durable_ns = longer(&slow_writes, &|one| one.0[1]);
    assert!(durable_ns.abs() < WRITE_NS / 4, "slow writes: {durable_ns} ns more from written until durable");
    for (slow, what) in [(&slow_syncs, "syncs"), (&slow_writes, "writes")] {
        for (stage, name) in (0..).zip(STAGES) {
            let ns = longer(slow, &|one| one.1[stage]);
            assert!(ns.abs() < TOLERANCE_NS, "{name} is {ns} ns longer with slow {what}");
        }
    }
}
