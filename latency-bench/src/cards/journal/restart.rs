//! A restart: an engine that goes on from a checkpoint and the journal behind it.
//!
//! The orders of the checkpoint lie scattered over a space of ids that is thirty times as large as their number, as those do
//! that live long; every event behind it is about a random one of them, so nothing is in a cache that was not put there.

use super::ours::forget;
use anyhow::{Context as _, ensure};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;
use tickcore::checkpoint::make;
use tickcore::engine::{self, Config, Progress};
use tickcore::pin::Cores;
use tickcore::strategy::NoStrategy;
use tickcore::{JournalConfig, JournalPolicy};
use tickcore_book::{
    Arena, Books, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, Sequence, Side, TimestampNs,
};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::source::{Counts, Filled, Source, SourceError};
use tickcore_journal::{Capacities, Metadata, Options, Writer};

const INSTRUMENTS: u32 = 8_000;
/// Ids from one order of the checkpoint to the next, on average.
const ID_STEP: u64 = 30;
/// Price levels of a side that orders are put on.
const LEVELS: u64 = 60;

/// What a restart took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restart {
    /// With nothing of the journal in the page cache.
    pub(super) cold_seconds: f64,
    /// With all of it there, as after the death of the process alone.
    pub(super) warm_seconds: f64,
    /// Without events behind the checkpoint, warm.
    pub(super) checkpoint_alone_seconds: f64,
    /// From the call to the word to go, less that: memory, threads, the dry run.
    pub(super) pretouch_seconds: f64,
    pub(super) checkpoint_bytes: f64,
}

/// A market in which so many orders stay alive (SplitMix64 for its choices).
struct Market {
    state: u64,
    /// Live orders by place: id, quantity left.
    orders: Vec<(u64, u32)>,
    /// The place whose order has just gone.
    empty: Option<u64>,
    next_id: u64,
    time: u64,
}

impl Market {
    fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (word ^ (word >> 31)) % end
    }

    fn event(&mut self, kind: Kind, place: u64) -> Event {
        self.time += 100;
        let instrument = InstrumentId((place % u64::from(INSTRUMENTS)) as u32 + 1);
        Event { flags: Flags::LAST, ..Event::new(kind, instrument, TimestampNs(self.time)) }
    }

    /// An order at a place that has none: most are near the touch.
    fn add(&mut self, place: u64, id_step: u64) -> Event {
        self.next_id += 1 + self.below(2 * id_step - 1);
        let quantity = 1 + self.below(500) as u32;
        self.orders[place as usize] = (self.next_id, quantity);
        let distance = self.below(LEVELS).min(self.below(LEVELS)) as i64;
        let (side, tick) =
            if place.is_multiple_of(2) { (Side::Bid, 10_000 - distance) } else { (Side::Ask, 10_001 + distance) };
        Event {
            order_id: OrderId(self.next_id),
            side_number: side as u8,
            price: Price(tick * Price::SCALE / 100),
            quantity: Quantity(quantity.into()),
            ..self.event(Kind::Add, place)
        }
    }

    /// Something that happens to a random order; one that has gone is followed by another at once.
    fn next(&mut self) -> Event {
        if let Some(place) = self.empty.take() {
            return self.add(place, 2);
        }
        let place = self.below(self.orders.len() as u64);
        let (id, quantity) = self.orders[place as usize];
        let (kind, taken) = match self.below(16) {
            0..=10 => (Kind::Delete, quantity),
            11..=13 => (Kind::Execute, 1 + self.below(quantity.into()) as u32),
            _ => (Kind::Reduce, 1 + self.below(quantity.into()) as u32),
        };
        self.orders[place as usize].1 -= taken;
        self.empty = (taken == quantity).then_some(place);
        let quantity = if kind == Kind::Delete { 0 } else { taken };
        Event { order_id: OrderId(id), quantity: Quantity(quantity.into()), ..self.event(kind, place) }
    }
}

/// Never has anything, and never ends: as a feed does that stands still.
struct Silent(Counts);

impl Source for Silent {
    fn fill(&mut self, _: &mut EventBatch, _: usize) -> Result<Filled, SourceError> {
        Ok(Filled::Pending)
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        Ok(None)
    }

    fn counts(&self) -> &Counts {
        &self.0
    }
}

fn append(writer: &mut Writer, event: &Event) -> anyhow::Result<()> {
    while writer.room() == 0 {
        writer.poll()?;
    }
    writer.append(writer.next_sequence(), event)?;
    Ok(())
}

/// Makes the journal in `directory` and goes on from it: `orders` in the checkpoint, `tail` events behind it.
pub(super) fn measure(directory: &Path, orders: u64, tail: u64) -> anyhow::Result<Restart> {
    // The calling thread is pinned, and every thread that it starts would be.
    std::thread::scope(|scope| scope.spawn(|| floating(directory, orders, tail)).join())
        .map_err(|_| anyhow::anyhow!("the thread of the restart panicked"))?
}

fn floating(directory: &Path, orders: u64, tail: u64) -> anyhow::Result<Restart> {
    let mut all = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|core| all.set(core));
    rustix::thread::sched_setaffinity(None, &all).context("letting a thread float")?;
    let capacity = Capacity::default();
    let options = Options { staging_bytes: 64 << 20, ..Options::default() };
    let metadata = Metadata {
        has_times_since_midnight: true,
        capacities: Capacities {
            instruments_max: capacity.instruments_max.into(),
            orders_max: capacity.orders_max.into(),
            levels_max: capacity.levels_max.into(),
        },
        ..Metadata::default()
    };
    let mut market = Market { state: 1, orders: vec![(0, 0); orders as usize], empty: None, next_id: 0, time: 0 };
    let digest = write(directory, &mut market, tail, capacity, &options, &metadata)?;
    let config = Config {
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity,
        keeps_digests: true,
        journal: Some(JournalConfig {
            dir: directory.to_owned(),
            resume: true,
            options,
            metadata,
            policy: JournalPolicy::default(),
        }),
        ..Config::default()
    };
    forget(directory)?;
    let (cold, pretouch_seconds) = restart(&config, digest)?;
    let (warm, _) = restart(&config, digest)?;
    let made = make(directory, NoStrategy, |_, _| ())?;
    let (alone, _) = restart(&config, digest)?;
    ensure!(alone.0 == made.sequence && cold.0 < alone.0, "the restarts were not from the checkpoints that were meant");
    Ok(Restart {
        cold_seconds: cold.1,
        warm_seconds: warm.1,
        checkpoint_alone_seconds: alone.1,
        pretouch_seconds,
        checkpoint_bytes: made.bytes as f64,
    })
}

/// Writes the journal with a checkpoint where `tail` events are still to come. Gives the digest of the books at its end.
fn write(
    directory: &Path,
    market: &mut Market,
    tail: u64,
    capacity: Capacity,
    options: &Options,
    metadata: &Metadata,
) -> anyhow::Result<u64> {
    let arena = Arena::new(capacity.arena_bytes())?;
    let mut books = Books::new(&arena, capacity)?;
    let mut writer = Writer::create(directory, options.clone(), metadata.clone())?;
    for place in 0..market.orders.len() as u64 {
        let event = market.add(place, ID_STEP);
        books.apply(&event);
        append(&mut writer, &event)?;
    }
    writer.finish()?;
    make(directory, NoStrategy, |_, _| ())?;
    let (mut writer, _) = Writer::resume(directory, options.clone())?;
    for _ in 0..tail {
        let event = market.next();
        books.apply(&event);
        append(&mut writer, &event)?;
    }
    writer.finish()?;
    ensure!(u64::from(books.live_orders()) + 1 >= market.orders.len() as u64, "orders are missing");
    ensure!(books.anomalies().total() == 0, "the market's events do not fit: {:?}", books.anomalies());
    Ok(books.state_digest())
}

/// Starts an engine and stops it at the word to go: its checkpoint, the seconds for it and its tail, and all others.
fn restart(config: &Config, digest: u64) -> anyhow::Result<((Sequence, f64), f64)> {
    let start = Instant::now();
    let mut ready = None;
    let outcome = engine::run_monitored(config, Silent(Counts::default()), NoStrategy, |progress| {
        if !matches!(progress, Progress::Running { .. }) {
            return ControlFlow::Continue(());
        }
        ready.get_or_insert_with(|| start.elapsed());
        ControlFlow::Break(())
    })?;
    ensure!(outcome.is_good(), "the run ended badly: {:?} {:?}", outcome.end, outcome.journal);
    ensure!(outcome.books.state_digest == Some(digest), "the books are others than those that never stopped");
    let journal = outcome.journal.context("there is a journal")?;
    let sequence = journal.checkpoint_sequence.context("a checkpoint is there")?;
    let seconds = journal.restart_ns as f64 / 1e9;
    let all = ready.context("it was ready")?.as_secs_f64();
    Ok(((sequence, seconds), (all - seconds).max(0.0)))
}
