//! Between warm-up and end the book core and the feed core touch the allocator at no time: a test binary of its own, for
//! its own allocator, that holds in release builds as well.

mod common;

use common::day::{generated, put, sample_bytes};
use common::journal::journal_in;
use common::trader::Gateway;
use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::tempdir;
use tickcore::book::{Bbo, Capacity, Event, InstrumentId, Sequence, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::inputs::Inputs;
use tickcore::outputs::{Intent, OutputConfig};
use tickcore::pace::Pace;
use tickcore::pin::Cores;
use tickcore::shards::ShardMap;
use tickcore::strategy::{Context, Strategy};
use tickcore::topology::Topology;
use tickcore_allocations::{CountingAllocator, calls as calls_so_far};
use tickcore_replay_data::sample;

/// Events before the count begins: the instruments' definitions are among those that are counted.
const WARM_UP_EVENTS: u64 = 256;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Counts the calls of the book core's thread from the end of the warm-up to the end of the events.
#[derive(Debug, Default)]
struct Watch {
    calls_before: Option<u64>,
    calls: Option<u64>,
    events: u64,
    bbos: u64,
    /// Intents that were sent, and that were refused by a full ring.
    intents: [u64; 2],
    /// The event at which this strategy breaks the rule of its core.
    allocates_at: Option<Sequence>,
}

impl Strategy for Watch {
    fn on_event(&mut self, context: &mut Context<'_, '_>, _: &Event) {
        self.events += 1;
        if self.events == WARM_UP_EVENTS {
            self.calls_before = Some(calls_so_far());
        }
        if Some(context.sequence()) == self.allocates_at {
            drop(black_box(Box::new(self.events)));
        }
    }

    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, _: &Bbo, _: &Event) {
        self.bbos += 1;
        let sent = context.send(&Intent { instrument, ..Intent::default() });
        self.intents[usize::from(sent.is_err())] += 1;
    }

    /// The last of these calls is the end: behind it the engine may tidy up.
    fn on_batch_end(&mut self, _: &mut Context<'_, '_>) {
        self.calls = self.calls_before.map(|before| calls_so_far() - before);
    }
}

/// Counts the calls of the thread that polls a source, in the same way.
struct WatchedSource<R> {
    source: R,
    messages: u64,
    calls_before: Option<u64>,
    calls: Option<u64>,
}

impl<R: Source> Source for WatchedSource<R> {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        if self.calls_before.is_none() && self.source.counts().messages >= WARM_UP_EVENTS {
            self.calls_before = Some(calls_so_far());
        }
        let filled = self.source.fill(batch, max_messages);
        if matches!(filled, Ok(Filled::End)) {
            self.calls = self.calls_before.map(|before| calls_so_far() - before);
            self.messages = self.source.counts().messages;
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

fn config(topology: Topology, journal: Option<PathBuf>) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        keeps_digests: true,
        // Every stage of every event is stamped.
        latency_sample_interval: 1,
        journal: journal.as_deref().map(journal_in),
        ..Config::default()
    }
}

/// Calls of the book core and of the feed core.
fn calls(config: &Config, source: impl Source + Send, allocates_at: Option<Sequence>) -> (u64, u64) {
    let source = WatchedSource { source, messages: 0, calls_before: None, calls: None };
    // A reader that reads nothing: most intents are refused.
    let gateway = Gateway::default();
    let config = &Config { outputs: Some(gateway.config(4_096)), ..config.clone() };
    let outcome = engine::run(config, source, Watch { allocates_at, ..Watch::default() }).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    let Watch { calls, events, bbos, intents, .. } = outcome.strategy;
    assert_eq!(intents, [4_096, bbos - 4_096]);
    assert!(events > 100_000 && bbos > 10_000, "{events} events and {bbos} BBOs are too few to say anything");
    assert!(config.pace != Pace::Max || events == outcome.events);
    (calls.expect("the warm-up ended"), outcome.source.calls.expect("the source ended"))
}

/// Calls of each book core and of the feed core of a sharded engine.
fn calls_of_shards(config: &Config, source: impl Source + Send) -> (Vec<u64>, u64) {
    let source = WatchedSource { source, messages: 0, calls_before: None, calls: None };
    let make = |_| Watch::default();
    let config = &Config { outputs: Some(OutputConfig::default()), ..config.clone() };
    let outcome = engine::run_sharded(config, source, make, |_| ControlFlow::Continue(())).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    assert!(outcome.strategy.iter().all(|watch| watch.events > 20_000), "too few events to say anything");
    assert!(outcome.strategy.iter().all(|watch| watch.intents == [watch.bbos, 0] && watch.bbos > 1_000));
    let calls = outcome.strategy.iter().map(|watch| watch.calls.expect("the warm-up ended")).collect();
    (calls, outcome.source.calls.expect("the source ended"))
}

#[test]
fn no_core_of_a_sharded_engine_touches_the_allocator() {
    let scratch = tempdir().unwrap();
    let day = generated(400_000, 500, 2);
    for journal in [None, journaled(scratch.path(), "sharded")] {
        let config = Config { shards: ShardMap::by_hash(3).unwrap(), ..config(Topology::Sharded, journal) };
        let source = ItchBytes::new(&day, &ItchOptions::default());
        assert_eq!(calls_of_shards(&config, source), (vec![0; 3], 0));
    }
}

fn journaled(scratch: &Path, name: &str) -> Option<PathBuf> {
    Some(scratch.join(name))
}

#[test]
fn the_cores_do_not_touch_the_allocator() {
    let scratch = tempdir().unwrap();
    let day = generated(400_000, 500, 2);
    let files = [sample::path(), put(scratch.path(), "plain_01302020.itch", &sample_bytes())];
    for topology in [Topology::Inline, Topology::Pipelined] {
        for (journal, name) in [(None, ""), (journaled(scratch.path(), topology.name()), ", journaled")] {
            let config = config(topology, journal);
            let source = ItchBytes::new(&day, &ItchOptions::default());
            assert_eq!(calls(&config, source, None), (0, 0), "memory, {topology}{name}");
        }
        for (number, file) in files.iter().enumerate() {
            let source = Inputs::open(std::slice::from_ref(file), None).unwrap();
            let config = config(topology, journaled(scratch.path(), &format!("{number}-{topology}")));
            assert_eq!(calls(&config, source, None), (0, 0), "{}, {topology}, journaled", file.display());
        }
        let source = Inputs::open(&[scratch.path().join(topology.name())], None).unwrap();
        assert_eq!(calls(&config(topology, None), source, None), (0, 0), "from a journal, {topology}");
        let source = Inputs::open(&[sample::path()], None).unwrap();
        let paced = Config { pace: Pace::EventsPerSecond(1_000_000), ..config(topology, None) };
        assert_eq!(calls(&paced, source, None), (0, 0), "paced, {topology}");
    }
}

#[test]
fn a_strategy_that_allocates_is_caught() {
    for topology in [Topology::Inline, Topology::Pipelined] {
        let source = Inputs::open(&[sample::path()], None).unwrap();
        let (book_calls, feed_calls) = calls(&config(topology, None), source, Some(Sequence(50_000)));
        assert_eq!(book_calls, 2, "one allocation and its release, {topology}");
        assert_eq!(feed_calls, if topology == Topology::Inline { 2 } else { 0 });
    }
}
