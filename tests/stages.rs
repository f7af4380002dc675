//! The stages of an event's way, as an embedder gets them: which events are measured, where a delay shows, and that percentiles
//! are those of the values.

mod common;

use common::day::generated;
use common::journal::journaled;
use std::ops::ControlFlow;
use tempfile::tempdir;
use tickcore::book::Capacity;
use tickcore::checkpoint::make;
use tickcore::engine::{self, Config};
use tickcore::feed::source::{ItchBytes, ItchOptions};
use tickcore::journal::Capacities;
use tickcore::outcome::{Outcome, StageOutcome};
use tickcore::pace::Pace;
use tickcore::pin::Cores;
use tickcore::shards::ShardMap;
use tickcore::strategy::NoStrategy;
use tickcore::topology::Topology;

fn config(topology: Topology, sample_interval: u32) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        keeps_digests: true,
        latency_sample_interval: sample_interval,
        shards: ShardMap::by_hash(if topology == Topology::Sharded { 3 } else { 1 }).unwrap(),
        ..Config::default()
    }
}

fn run<'d>(config: &Config, day: &'d [u8]) -> Outcome<ItchBytes<'d>, Vec<NoStrategy>> {
    let source = ItchBytes::new(day, &ItchOptions::default());
    let outcome = engine::run_sharded(config, source, |_| NoStrategy, |_| ControlFlow::Continue(())).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    outcome
}

fn counts<R, S>(outcome: &Outcome<R, S>) -> Vec<(&'static str, u64)> {
    outcome.stages.iter().map(|stage| (stage.name, stage.distribution.count())).collect()
}

const TOPOLOGIES: [Topology; 3] = [Topology::Inline, Topology::Pipelined, Topology::Sharded];

#[test]
fn every_core_measures_the_same_sampled_events() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 200, 5);
    let plain = run(&config(Topology::Inline, 0), &day);
    assert_eq!((&plain.stages[..], plain.probe_cost_ns), (&[][..], None), "off");
    for topology in TOPOLOGIES {
        for interval in [1, 7, 64] {
            let directory = scratch.path().join(format!("{topology}-{interval}"));
            let outcome = run(&journaled(config(topology, interval), &directory), &day);
            let digests = |books: &tickcore::outcome::BooksOutcome| (books.state_digest, books.stream_digest);
            assert_eq!(digests(&outcome.books), digests(&plain.books), "{topology}");
            let sampled = outcome.events / u64::from(interval);
            let stages =
                ["decoded_ns", "published_ns", "taken_ns", "service_ns", "strategy_ns", "appended_ns", "written_ns"];
            let mut wanted: Vec<_> = stages.iter().map(|name| (*name, sampled)).collect();
            wanted.push(("durable_ns", sampled));
            // Events for all instruments are applied, and so measured, by every core.
            let mut found = counts(&outcome);
            if topology == Topology::Sharded {
                let by_books =
                    |(name, _): &&mut (&str, u64)| matches!(*name, "taken_ns" | "service_ns" | "strategy_ns");
                found.iter_mut().filter(by_books).for_each(|(_, count)| {
                    assert!((sampled..sampled + 40).contains(count), "{count} of {sampled}");
                    *count = sampled;
                });
            }
            assert_eq!(found, wanted, "{topology}, one in {interval}");
            assert_eq!(outcome.journal.as_ref().map(|journal| journal.unmeasured_events), Some(0));
            assert!(outcome.probe_cost_ns.is_some_and(|cost_ns| (1.0..10_000.0).contains(&cost_ns)));
        }
    }
}

#[test]
fn a_paced_run_measures_every_event_from_when_it_was_due() {
    let day = generated(30_000, 200, 5);
    for topology in TOPOLOGIES {
        for interval in [0, 16] {
            let paced = Config { pace: Pace::EventsPerSecond(60_000), ..config(topology, interval) };
            let outcome = run(&paced, &day);
            assert_eq!(outcome.tick_to_bbo().count(), outcome.events, "{topology}");
            let has = |name: &str| outcome.stage(name).is_some();
            let of_samples = ["taken_up_ns", "decoded_ns", "service_ns", "strategy_ns"];
            assert!(of_samples.iter().all(|name| has(name) == (interval > 0)), "{:?}", counts(&outcome));
            // On one core nothing stands between decoding an event that comes alone and applying it: the stamp is one.
            let count = |name: &str| outcome.stage(name).map_or(0, |stage| stage.distribution.count());
            let is_shared = count("taken_ns") < count("service_ns");
            assert_eq!(is_shared, interval > 0 && topology == Topology::Inline, "{:?}", counts(&outcome));
            let intervals = &outcome.stage("tick_to_bbo_ns").unwrap().intervals;
            let values: u64 = intervals.iter().map(|one| one.distribution.count()).sum();
            assert_eq!(values, outcome.events, "every value is in one interval");
            assert!(intervals.len() > 1, "a run of half a second has more than one");
            assert!(outcome.timeline.is_sorted_by_key(|moment| (moment.at_ns, moment.events)));
        }
    }
}

/// The stages between two stamps add up to the time between the first and the last, as medians do about.
#[test]
fn stages_add_up_to_the_whole() {
    let day = generated(60_000, 200, 5);
    let median = |stage: Option<&StageOutcome>| stage.and_then(|stage| stage.distribution.summary().p50).unwrap_or(0);
    let paced = Config { pace: Pace::EventsPerSecond(200_000), ..config(Topology::Inline, 1) };
    // A machine that others use: the best of some tries.
    let off_by = |_| {
        let outcome = run(&paced, &day);
        let parts = ["taken_up_ns", "decoded_ns", "service_ns"].map(|name| median(outcome.stage(name)));
        let whole = median(outcome.stage("tick_to_bbo_ns"));
        assert!(parts.iter().all(|part| *part > 0), "{parts:?}");
        (parts.iter().sum::<u64>() as f64 / whole as f64 - 1.0).abs()
    };
    let least = (0..5).map(off_by).fold(f64::MAX, f64::min);
    assert!(least < 0.25, "the parts differ from the whole by {:.0} %", least * 100.0);
}

#[test]
fn a_resumed_run_measures_what_is_new() {
    let scratch = tempdir().unwrap();
    let day = generated(30_000, 200, 5);
    for topology in [Topology::Inline, Topology::Pipelined] {
        let mut config = journaled(config(topology, 7), &scratch.path().join(topology.to_string()));
        // For digests all of the day would have to go through the books again.
        config.keeps_digests = false;
        let Capacity { instruments_max, orders_max, levels_max } = config.capacity;
        let [instruments_max, orders_max, levels_max] = [instruments_max, orders_max, levels_max].map(u64::from);
        let capacities = Capacities { instruments_max, orders_max, levels_max };
        config.journal.iter_mut().for_each(|journal| journal.metadata.capacities = capacities);
        // The beginning of the day, cut within a message, is what is there when the day is taken up again.
        let known = run(&config, &day[..day.len() / 3]).events;
        let journal = config.journal.as_mut().unwrap();
        make(&journal.dir, NoStrategy, |_, _| {}).unwrap();
        journal.resume = true;
        let outcome = run(&config, &day);
        assert!((1..outcome.events).contains(&known), "{known} of {}", outcome.events);
        let new = outcome.events / 7 - known / 7;
        let stages = counts(&outcome);
        assert_eq!(stages.len(), 8, "{topology}: {stages:?}");
        assert!(stages.iter().all(|(_, count)| *count == new), "{topology}: {stages:?}, {new} are new");
    }
}
