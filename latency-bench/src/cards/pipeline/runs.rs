//! Single runs of the product and of the plain pipeline over a day in memory, each with its answer checked.

use crate::cards::book::{BboSum, naive_words};
use crate::day::Day;
use crate::naive::NaiveBooks;
use crate::plain::{self, PlainPace};
use anyhow::{Context as _, ensure};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tickcore::JournalConfig;
use tickcore::engine::{self, Config};
use tickcore::outcome::{CoreOutcome, Outcome};
use tickcore::pace::Pace;
use tickcore::pin::pin_to;
use tickcore::shards::{Shard, ShardMap};
use tickcore::strategy::{Context, Strategy};
use tickcore::topology::{Role, Topology};
use tickcore_book::{Bbo, Capacity, Event, InstrumentId, StreamDigest, TimestampNs};
use tickcore_feed::batch::{EventBatch, MAX_EVENTS_PER_MESSAGE};
use tickcore_feed::protocol::itch50::Decoder;
use tickcore_feed::source::{ItchBytes, ItchOptions};
use tickcore_journal::{Metadata, Options};
use tickcore_latency::{Clock, Distribution, Summary};

/// A part of a day that is measured; before it the books are filled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Times of its first and of its last message.
    pub(super) from: TimestampNs,
    pub(super) to: TimestampNs,
    /// Its first message, counted from 0, and how many there are.
    pub(super) first: usize,
    pub(super) count: usize,
    /// BBO changes in it.
    sum: BboSum,
}

/// What every run has to come to, by the naive book.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) stream_digest: u64,
    pub(super) live_orders: usize,
    sum: BboSum,
    pub(super) part: Part,
}

/// Goes through the day with the naive book. The measured part begins at half of it and has about `count` messages: its ends are
/// where the time changes.
pub(super) fn expected(day: &Day, capacity: Capacity, count: usize) -> Expected {
    let (mut naive, mut decoder) = (NaiveBooks::new(), Decoder::new(None, InstrumentId(1)));
    let mut batch = EventBatch::new(MAX_EVENTS_PER_MESSAGE);
    let mut digest = StreamDigest::new(capacity.instruments_max);
    let mut sum = BboSum::default();
    let half = day.messages as usize / 2;
    let none = TimestampNs(0);
    let mut part = Part { from: none, to: TimestampNs(u64::MAX), first: usize::MAX, count: 0, sum: BboSum::default() };
    let mut last = none;
    let mut is_over = false;
    for (number, message) in day.messages().enumerate() {
        batch.clear();
        decoder.decode(message, &mut batch);
        let change = naive.on_message(message);
        let Some(event) = batch.as_slice().last() else { continue };
        let is_new_time = event.exchange_time > last;
        if part.first == usize::MAX && number >= half && is_new_time {
            (part.first, part.from) = (number, event.exchange_time);
        }
        if part.first != usize::MAX && !is_over {
            is_over = part.count >= count && is_new_time;
            if is_over {
                part.to = last;
            } else {
                part.count = number + 1 - part.first;
            }
        }
        last = event.exchange_time;
        if let Some(bbo) = change {
            let words = naive_words(&bbo);
            sum.take(words);
            if part.count > 0 && !is_over {
                part.sum.take(words);
            }
            digest.fold(event.instrument, event.exchange_time, &crate::cards::book::from_naive(&bbo));
        }
    }
    Expected { stream_digest: digest.value(), live_orders: naive.live_orders(), sum, part }
}

/// Sums up the BBOs that it is told of.
#[derive(Debug, Default)]
struct Summing(BboSum);

impl Strategy for Summing {
    #[inline]
    fn on_bbo(&mut self, _: &mut Context<'_, '_>, _: InstrumentId, bbo: &Bbo, _: &Event) {
        self.0.take_ours(bbo);
    }
}

/// How the product is run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) topology: Topology,
    pub(super) sample_interval: u32,
    pub(super) journal: Option<PathBuf>,
    /// At a pace only the part of the day is measured.
    pub(super) pace: Pace,
}

impl Run {
    pub(super) fn at_full_speed(topology: Topology, sample_interval: u32) -> Self {
        Self { topology, sample_interval, journal: None, pace: Pace::Max }
    }

    pub(super) fn paced(topology: Topology, pace: Pace) -> Self {
        Self { topology, sample_interval: 64, journal: None, pace }
    }

    pub(super) fn journaled(self, directory: &Path) -> Self {
        Self { journal: Some(directory.join("journal")), ..self }
    }
}

/// What a run of the product was like.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) ns_per_event: f64,
    pub(super) tick_to_bbo: Summary,
    /// Its 40th and 60th percentile: how far the values around the median lie apart.
    pub(super) around_p50: [Option<u64>; 2],
    pub(super) service: Summary,
    pub(super) huge_page_bytes: u64,
    pub(super) probe_cost_ns: Option<f64>,
    pub(super) jitter: Jitter,
    pub(super) journal_backend: Option<String>,
}

/// What the machine did to the core that has the books.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Jitter {
    /// How long others ran on it while it was ready, by the kernel's account.
    pub(super) away_ns: Option<u64>,
    /// Its longest stall while it waited for an event: not the program's.
    pub(super) idle_stall_ns: u64,
}

/// Runs the product and checks what it came to: the sum of the BBOs that its strategy saw, and the journal's end.
pub(super) fn ours(day: &Day, capacity: Capacity, expected: &Expected, run: &Run) -> anyhow::Result<Found> {
    let is_paced = run.pace != Pace::Max;
    let mut config = configured(run, capacity);
    if is_paced {
        (config.from, config.to) = (expected.part.from, expected.part.to);
    }
    let source = ItchBytes::new(&day.bytes, &ItchOptions::default());
    let outcome = engine::run(&config, source, Summing::default())?;
    let wanted = if is_paced { expected.part.sum } else { expected.sum };
    ensure!(outcome.is_good(), "{}: the run ended {:?}", run.topology, outcome.end);
    ensure!(outcome.strategy.0 == wanted, "{}: the strategy saw other BBO changes than the naive book", run.topology);
    if let Some(journal) = &outcome.journal {
        let durable = journal.durable_sequence.get();
        ensure!(durable == outcome.events, "{durable} of {} events are durable", outcome.events);
        std::fs::remove_dir_all(&journal.dir).with_context(|| format!("{}", journal.dir.display()))?;
    }
    Ok(found(&outcome))
}

/// The 40th and the 60th percentile.
pub(super) fn around_p50(times: &Distribution) -> [Option<u64>; 2] {
    [times.value_at(40, 100), times.value_at(60, 100)]
}

fn found<R, S>(outcome: &Outcome<R, S>) -> Found {
    Found {
        ns_per_event: outcome.elapsed_ns as f64 / outcome.events as f64,
        tick_to_bbo: outcome.tick_to_bbo().summary(),
        around_p50: around_p50(&outcome.tick_to_bbo()),
        service: outcome.service().summary(),
        huge_page_bytes: outcome.machine.huge_page_bytes,
        probe_cost_ns: outcome.probe_cost_ns,
        jitter: outcome.cores.iter().find(|core| core.thread.role == Role::Book).map(jitter).unwrap_or_default(),
        journal_backend: outcome.journal.as_ref().map(|journal| journal.backend.to_string()),
    }
}

fn jitter(core: &CoreOutcome) -> Jitter {
    Jitter { away_ns: core.run_delay_ns, idle_stall_ns: core.stalls_idle.max_ns().unwrap_or(0) }
}

/// Runs every topology with digests on, all but `inline` with as many threads as there are cores or more, and compares.
pub(super) fn check_digests(day: &Day, capacity: Capacity, expected: &Expected) -> anyhow::Result<()> {
    for topology in [Topology::Inline, Topology::Pipelined, Topology::Sharded] {
        let shards = ShardMap::by_hash(if topology == Topology::Sharded { 2 } else { 1 })?;
        let run = Run::at_full_speed(topology, 64);
        let config = Config { keeps_digests: true, oversubscribe: true, shards, ..configured(&run, capacity) };
        let source = ItchBytes::new(&day.bytes, &ItchOptions::default());
        let make = |_: Shard| Summing::default();
        let outcome = engine::run_sharded(&config, source, make, |_| ControlFlow::Continue(()))?;
        let (found, wanted) = (outcome.books.stream_digest, Some(expected.stream_digest));
        ensure!(found == wanted, "{topology}: stream digest {found:x?}, by the naive book {wanted:x?}");
        let live = outcome.books.live_orders as usize;
        ensure!(
            live == expected.live_orders,
            "{topology}: {live} live orders, in the naive book {}",
            expected.live_orders
        );
    }
    Ok(())
}

fn configured(run: &Run, capacity: Capacity) -> Config {
    let journal = run.journal.as_ref().map(|dir| JournalConfig {
        dir: dir.clone(),
        resume: false,
        options: Options::default(),
        metadata: Metadata::default(),
        policy: tickcore::JournalPolicy::default(),
    });
    let Run { topology, sample_interval, pace, .. } = *run;
    Config { topology, capacity, pace, journal, latency_sample_interval: sample_interval, ..Config::default() }
}

/// What a run of the plain pipeline was like.
#[derive(Debug)]
pub(super) struct PlainFound {
    pub(super) ns_per_message: f64,
    pub(super) since_due: Summary,
}

/// Runs the plain pipeline, at full speed over the day or at a rate over its part, and checks what it came to.
pub(super) fn plain(
    day: &Day,
    expected: &Expected,
    interval_ns: Option<u64>,
    cores: &[usize],
    directory: &Path,
) -> anyhow::Result<PlainFound> {
    let Part { first, count, .. } = expected.part;
    let pace = interval_ns.map(|interval_ns| PlainPace { first, count, interval_ns });
    let path = directory.join("plain");
    let mut sum = BboSum::default();
    let on_start = |is_feed: bool| {
        // As the product's threads; on a machine of one core both float.
        if let [feed, book, ..] = *cores {
            pin_to(if is_feed { feed } else { book }).unwrap_or_else(|error| eprintln!("not pinned: {error}"));
        }
    };
    let start = if pace.is_some() { first } else { 0 };
    let on_bbo = |number: usize, bbo| {
        if number >= start {
            sum.take_naive(&bbo);
        }
    };
    let outcome = plain::run(day.messages(), pace, &path, &Clock::calibrate(), on_start, on_bbo)?;
    std::fs::remove_file(&path)?;
    let wanted = if pace.is_some() { expected.part.sum } else { expected.sum };
    ensure!(sum == wanted, "the plain pipeline saw other BBO changes than the naive book alone");
    Ok(PlainFound {
        ns_per_message: outcome.elapsed.as_nanos() as f64 / day.messages as f64,
        since_due: outcome.since_due.summary(),
    })
}
