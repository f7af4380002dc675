//! The card `book`: full-depth books against the naive book and against the walk over the bytes.
//!
//! 1. [`verify`]: product, reference book and naive book go through the day together; the first message after which
//!    they differ ends the run. Nothing is timed.
//! 2. [`batch`]: the day from memory as fast as it goes, everything at hand from the start.
//! 3. [`single`]: one message each microsecond, nothing known beyond it.
//!
//! Product and baselines take turns within each round, and a ratio is the median of the rounds' ratios, so that a
//! machine that drifts does not favour one. In every timed pass each side sums up the BBO changes that it sees, and the
//! sums must be equal.

mod batch;
pub(super) mod single;
mod verify;

use super::{Card, Settings};
use crate::card::{Better, Figure, Machine, Scorecard};
use crate::day::Day;
use crate::source_hash::fnv1a;
use crate::statistics::median;
use crate::{naive, walk};
use anyhow::ensure;
use batch::BatchRound;
use serde_json::{Value, json};
use single::{RoundRatios, SingleMode, SingleResult};
use tickcore_book::{Bbo, Capacity, Price};
use tickcore_latency::{Recorder, Summary};
use verify::Verified;

pub(super) use verify::from_naive;

/// The card.
pub(super) const CARD: Card = Card {
    name: "book",
    summary: "full-depth books: batch and one at a time, against the naive book and a walk over the bytes",
    run,
    check,
};

/// Instruments and seed of the generated day.
const DAY_INSTRUMENTS: u32 = 8_000;
const DAY_SEED: u64 = 1;

/// Least factor between the naive book's time and ours that any version must have.
const NAIVE_OVER_OURS_FLOOR: f64 = 2.0;

/// Live orders for which memory is stated.
const MEMORY_ORDERS: u32 = 1_000_000;

/// Units of [`Price`] in one unit of the price in an ITCH message.
const PRICE_UNITS_PER_PRICE4: i64 = Price::SCALE / 10_000;

/// What a run consists of.
#[derive(Debug)]
struct Plan {
    day: Day,
    capacity: Capacity,
    rounds: usize,
    single: SingleMode,
}

fn run(settings: &Settings) -> anyhow::Result<Scorecard> {
    let day = match &settings.input {
        Some(path) => {
            eprintln!("reading {} …", path.display());
            Day::read(path)?
        }
        None => {
            eprintln!("generating {} messages …", settings.messages);
            Day::generate(settings.messages, DAY_INSTRUMENTS, DAY_SEED)?
        }
    };
    let single = SingleMode::for_day(day.messages, settings.rounds);
    measure(&Plan { day, capacity: Capacity::default(), rounds: settings.rounds, single }, |step| eprintln!("{step} …"))
}

fn check() -> anyhow::Result<()> {
    let day = Day::generate(20_000, 100, DAY_SEED)?;
    let single = SingleMode { warm_up_messages: 10_000, round_messages: 1_000, interval_ns: 1_000 };
    let capacity = Capacity { instruments_max: 128, orders_max: 1 << 14, levels_max: 1 << 14 };
    let scorecard = measure(&Plan { day, capacity, rounds: 1, single }, |_| {})?;
    for name in [
        "batch_naive_over_ours",
        "batch_ours_over_walk",
        "batch_ns_per_message",
        "single_p50_over_naive",
        "single_p99_over_naive",
        "memory_bytes",
        "allocations",
    ] {
        let figure = scorecard.figure(name);
        ensure!(figure.is_some_and(|figure| figure.value.is_some()), "the figure {name} is missing");
    }
    ensure!(scorecard.figure("allocations").and_then(|figure| figure.value) == Some(0.0), "books allocated");
    Ok(())
}

fn measure(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<Scorecard> {
    ensure!(tickcore_allocations::is_counting(), "the allocator that counts is not this program's");
    let mut machine = Machine::pin();
    progress("comparing ours, the reference book and the naive book message by message");
    let verified = verify::verify(&plan.day, plan.capacity)?;
    let mut batch = Vec::with_capacity(plan.rounds);
    for round in 1..=plan.rounds {
        progress(&format!("batch, round {round} of {}", plan.rounds));
        batch.push(batch::round(&plan.day, plan.capacity, &verified, &mut machine)?);
    }
    progress(&format!("single, {} rounds of {} messages", plan.rounds, plan.single.round_messages));
    let single = single::measure(&plan.day, plan.capacity, &plan.single, plan.rounds)?;
    Ok(Scorecard {
        card: CARD.name,
        machine,
        run: description(plan, &verified),
        figures: figures(plan.capacity, &batch, &single),
        notes: notes(&batch, &single),
    })
}

fn description(plan: &Plan, verified: &Verified) -> Vec<(&'static str, Value)> {
    let hex = |word: u64| json!(format!("{word:016x}"));
    vec![
        ("input", json!(plan.day.origin)),
        ("messages", json!(plan.day.messages)),
        ("live_orders_peak", json!(verified.live_orders_peak)),
        ("bbo_changes", json!(verified.bbo_changes)),
        ("stream_digest", hex(verified.stream_digest)),
        ("state_digest", hex(verified.state_digest)),
        ("rounds", json!(plan.rounds)),
        ("single_messages", json!(plan.single.round_messages * plan.rounds)),
        ("naive_source", hex(fnv1a(naive::SOURCE))),
        ("walk_source", hex(fnv1a(walk::SOURCE))),
    ]
}

fn figures(capacity: Capacity, batch: &[BatchRound], single: &SingleResult) -> Vec<Figure> {
    use Better::{Higher, Lower};
    let of_batch = |value: fn(&BatchRound) -> f64| median(batch.iter().map(value).collect());
    let memory = Capacity { orders_max: MEMORY_ORDERS, ..capacity }.arena_bytes();
    let allocations: u64 = batch.iter().map(|round| round.allocations).sum();
    let mut figures = vec![
        Figure::new("batch_naive_over_ours", of_batch(|round| round.naive_ns / round.ours_ns), "ratio", Higher)
            .with_goal(13.0),
        Figure::new("batch_ours_over_walk", of_batch(|round| round.ours_ns / round.walk_ns), "ratio", Lower)
            .with_goal(11.0),
        Figure::new("batch_ns_per_message", of_batch(|round| round.ours_ns), "ns", Lower).with_goal(30.0),
        ratio("single_p50_over_naive", single, |round| round.service_p50).with_goal(0.18),
        ratio("single_p99_over_naive", single, |round| round.service_p99).with_goal(0.4),
        Figure::new("memory_bytes", memory as f64, "bytes", Lower).with_goal(1.5e9),
        Figure::new("allocations", allocations as f64, "calls", Lower).with_goal(0.0),
        Figure::new("naive_ns_per_message", of_batch(|round| round.naive_ns), "ns", Lower),
        Figure::new("walk_ns_per_message", of_batch(|round| round.walk_ns), "ns", Lower),
        Figure::new("decode_ns_per_message", of_batch(|round| round.decode_ns), "ns", Lower),
        ratio("single_due_p50_over_naive", single, |round| round.since_due_p50),
        ratio("single_due_p99_over_naive", single, |round| round.since_due_p99),
        Figure::new("run_memory_bytes", capacity.arena_bytes() as f64, "bytes", Lower),
    ];
    for (names, recorder) in [
        (["single_p50_ns", "single_p99_ns", "single_p999_ns"], &single.ours.service),
        (["single_naive_p50_ns", "single_naive_p99_ns", "single_naive_p999_ns"], &single.naive.service),
        (["single_empty_p50_ns", "single_empty_p99_ns", "single_empty_p999_ns"], &single.empty.service),
        (["single_due_p50_ns", "single_due_p99_ns", "single_due_p999_ns"], &single.ours.since_due),
        (["single_due_naive_p50_ns", "single_due_naive_p99_ns", "single_due_naive_p999_ns"], &single.naive.since_due),
    ] {
        let Summary { p50, p99, p99_9, .. } = recorder.summary();
        for (name, value) in names.into_iter().zip([p50, p99, p99_9]) {
            figures.push(match value {
                Some(ns) => Figure::new(name, ns as f64, "ns", Lower),
                None => Figure::skipped(name, "ns", Lower, "the day is too short".to_owned()),
            });
        }
    }
    figures
}

/// The median of the rounds' ratios, or why there is none.
fn ratio(name: &'static str, single: &SingleResult, value: fn(&RoundRatios) -> f64) -> Figure {
    if single.ratios.is_empty() {
        return Figure::skipped(name, "ratio", Better::Lower, "the day is too short".to_owned());
    }
    Figure::new(name, median(single.ratios.iter().map(value).collect()), "ratio", Better::Lower)
}

fn notes(batch: &[BatchRound], single: &SingleResult) -> Vec<String> {
    let naive_over_ours = median(batch.iter().map(|round| round.naive_ns / round.ours_ns).collect());
    let verdict = if naive_over_ours >= NAIVE_OVER_OURS_FLOOR { "reached" } else { "NOT reached" };
    let spread = |value: fn(&BatchRound) -> f64| {
        let values = || batch.iter().map(value);
        format!("{:.1} to {:.1}", values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
    };
    let percentiles = |recorder: &Recorder| {
        let Summary { p50, p99, p99_9, .. } = recorder.summary();
        let text = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| ns.to_string());
        format!("{} / {} / {}", text(p50), text(p99), text(p99_9))
    };
    vec![
        format!("Floor for every version, naive ÷ ours ≥ {NAIVE_OVER_OURS_FLOOR}: {verdict} ({naive_over_ours:.2})."),
        format!(
            "Batch, ns/message over the rounds: ours {}, naive {}, walk {}.",
            spread(|round| round.ours_ns),
            spread(|round| round.naive_ns),
            spread(|round| round.walk_ns),
        ),
        format!(
            "Single, ns p50 / p99 / p99.9 from when a message was taken up: ours {}, naive {}, the empty loop {}.",
            percentiles(&single.ours.service),
            percentiles(&single.naive.service),
            percentiles(&single.empty.service),
        ),
        format!(
            "The same from when it was due, interruptions of the machine included: ours {}, naive {}, the empty loop {}.",
            percentiles(&single.ours.since_due),
            percentiles(&single.naive.since_due),
            percentiles(&single.empty.since_due),
        ),
    ]
}

/// BBO changes as a consumer sees them: counted, and folded into a word that depends on their order. Cheap, and the same
/// work for product and baselines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cards) struct BboSum {
    changes: u64,
    folded: u64,
}

impl BboSum {
    #[inline]
    pub(in crate::cards) fn take(&mut self, [bid_price, bid_quantity, ask_price, ask_quantity]: [u64; 4]) {
        self.changes += 1;
        self.folded = self.folded.rotate_left(1)
            ^ bid_price
            ^ bid_quantity.rotate_left(16)
            ^ ask_price.rotate_left(32)
            ^ ask_quantity.rotate_left(48);
    }

    #[inline]
    pub(in crate::cards) fn take_ours(&mut self, bbo: &Bbo) {
        self.take(bbo.to_words());
    }

    #[inline]
    pub(in crate::cards) fn take_naive(&mut self, bbo: &naive::NaiveBbo) {
        self.take(naive_words(bbo));
    }
}

/// The words of [`Bbo::to_words`] for a BBO of the naive book.
#[inline]
pub(in crate::cards) fn naive_words(bbo: &naive::NaiveBbo) -> [u64; 4] {
    let price = |price4: u32| u64::from(price4) * PRICE_UNITS_PER_PRICE4.cast_unsigned();
    [price(bbo.bid_price), bbo.bid_shares, price(bbo.ask_price), bbo.ask_shares]
}
