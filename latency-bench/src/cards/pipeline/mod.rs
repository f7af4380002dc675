//! The card `pipeline`: the whole path from bytes in memory to the strategy, at full speed and at a pace, with a journal and
//! without, against the plain pipeline that most people write first.
//!
//! The naive book goes through the day first; every topology must come to its digest, and every timed run to its sum of BBO
//! changes. In each round all variants take their turn, and a ratio is the median of the rounds' ratios. Paced runs fill the books
//! with the first half of the day and are measured behind it, as is the card `book`'s one message at a time (its single mode),
//! which is measured here as well, with its empty loop: what that has in its tail is the machine's.

mod runs;

use super::book::single::{self, SingleMode, SingleResult};
use super::{Card, Settings};
use crate::card::{Better, Figure, Machine, Scorecard};
use crate::day::Day;
use crate::source_hash::fnv1a;
use crate::statistics::median;
use crate::{naive, plain};
use anyhow::{Context as _, ensure};
use runs::{Expected, Found, PlainFound, Run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tickcore::pace::Pace;
use tickcore::pin::{allowed_cores, pin_to};
use tickcore::topology::Topology;
use tickcore_book::Capacity;
use tickcore_latency::Summary;

/// The card.
pub(super) const CARD: Card = Card {
    name: "pipeline",
    summary: "bytes to strategy: inline, pipelined, journaled, at full speed and at a pace, against a plain pipeline",
    run,
    check,
};

/// Instruments and seed of the generated day.
const DAY_INSTRUMENTS: u32 = 8_000;
const DAY_SEED: u64 = 1;

/// Messages of a paced run at most, and the share of the day that they take at most.
const PACED_MAX: u64 = 1_000_000;
const PACED_DIVISOR: u64 = 4;

/// Paces of the runs whose figures have goals.
const FAST_PER_SECOND: u64 = 1_000_000;
const SLOW_PER_SECOND: u64 = 200_000;
/// At the slow pace a fifth of the messages is measured: as many seconds.
const SLOW_DIVISOR: u64 = 5;

/// Stamps of an event in topology inline at full speed that is sampled: apply begins, BBO visible, strategy returned. Those of
/// decoding are one for each batch.
const STAMPS_INLINE: f64 = 3.0;

/// What a run of the card consists of.
#[derive(Debug)]
struct Plan {
    day: Day,
    capacity: Capacity,
    rounds: usize,
    paced_messages: u64,
    /// A shape of load beside the ones of the figures with goals.
    shape: Option<Pace>,
}

/// What one round found.
#[derive(Debug)]
struct Round {
    off: Found,
    sampled: Found,
    every: Found,
    pipelined: Found,
    journaled: Found,
    pipelined_journaled: Option<Found>,
    plain: PlainFound,
    inline_paced: Found,
    pipelined_paced: Option<Found>,
    inline_journaled_paced: Found,
    slow: Found,
    plain_slow: PlainFound,
    shaped: Option<(Found, Option<Found>)>,
    single: SingleResult,
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
    let paced_messages = PACED_MAX.min(day.messages / PACED_DIVISOR);
    let (rounds, shape) = (settings.rounds, settings.pace);
    measure(&Plan { day, capacity: Capacity::default(), rounds, paced_messages, shape }, |step| eprintln!("{step} …"))
}

fn check() -> anyhow::Result<()> {
    let day = Day::generate(20_000, 100, DAY_SEED)?;
    let capacity = Capacity { instruments_max: 128, orders_max: 1 << 14, levels_max: 1 << 14 };
    let shape = Some(Pace::Poisson { events_per_second: 1_000_000, seed: 1 });
    let scorecard = measure(&Plan { day, capacity, rounds: 1, paced_messages: 4_000, shape }, |_| {})?;
    for name in [
        "probes_sampled_over_off",
        "probe_cost_per_stamp_ns",
        "inline_p50_ns",
        "inline_p99_over_single_p99",
        "pipelined_p50_ns",
        "journaled_over_unjournaled",
        "throughput_over_plain",
        "p99_over_plain",
        "shaped_inline_p99_ns",
    ] {
        let figure = scorecard.figure(name);
        let is_there = figure.is_some_and(|figure| figure.value.is_some() || figure.skipped.is_some());
        ensure!(is_there, "the figure {name} is missing");
    }
    Ok(())
}

/// A directory that goes when it is no longer used.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("tickcore-pipeline-card-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("{}: cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn measure(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<Scorecard> {
    let scratch = Scratch::new()?;
    let cores = allowed_cores()?;
    progress("the naive book goes through the day");
    let slow_messages = plan.paced_messages / SLOW_DIVISOR;
    let expected = runs::expected(&plan.day, plan.capacity, plan.paced_messages as usize);
    let expected_slow = runs::expected(&plan.day, plan.capacity, slow_messages as usize);
    progress("comparing the digests of every topology");
    runs::check_digests(&plan.day, plan.capacity, &expected)?;
    let mut machine = Machine::of(cores.first().copied());
    let mut rounds = Vec::with_capacity(plan.rounds);
    for number in 1..=plan.rounds {
        progress(&format!("round {number} of {}", plan.rounds));
        rounds.push(round(plan, &expected, &expected_slow, &cores, &scratch.0)?);
    }
    machine.huge_pages_bytes = rounds.iter().map(|round| round.off.huge_page_bytes).max().unwrap_or(0);
    Ok(Scorecard {
        card: CARD.name,
        machine,
        run: description(plan, &expected, &rounds),
        figures: figures(plan, &rounds, cores.len()),
        notes: notes(&rounds),
    })
}

fn round(
    plan: &Plan,
    expected: &Expected,
    expected_slow: &Expected,
    cores: &[usize],
    scratch: &Path,
) -> anyhow::Result<Round> {
    use Topology::{Inline, Pipelined};
    let ours = |run: Run| runs::ours(&plan.day, plan.capacity, expected, &run);
    let has_two = cores.len() >= 2;
    let pipelined = |run: Run| if has_two { ours(run).map(Some) } else { Ok(None) };
    let fast = Pace::EventsPerSecond(FAST_PER_SECOND);
    let slow = Run::paced(Inline, Pace::EventsPerSecond(SLOW_PER_SECOND)).journaled(scratch);
    let shaped =
        |pace| Ok::<_, anyhow::Error>((ours(Run::paced(Inline, pace))?, pipelined(Run::paced(Pipelined, pace))?));
    let interval_ns = 1_000_000_000 / SLOW_PER_SECOND;
    Ok(Round {
        off: ours(Run::at_full_speed(Inline, 0))?,
        sampled: ours(Run::at_full_speed(Inline, 64))?,
        every: ours(Run::at_full_speed(Inline, 1))?,
        pipelined: ours(Run::at_full_speed(if has_two { Pipelined } else { Inline }, 64))?,
        journaled: ours(Run::at_full_speed(Inline, 64).journaled(scratch))?,
        pipelined_journaled: pipelined(Run::at_full_speed(Pipelined, 64).journaled(scratch))?,
        plain: runs::plain(&plan.day, expected, None, cores, scratch)?,
        inline_paced: ours(Run::paced(Inline, fast))?,
        pipelined_paced: pipelined(Run::paced(Pipelined, fast))?,
        inline_journaled_paced: ours(Run::paced(Inline, fast).journaled(scratch))?,
        slow: runs::ours(&plan.day, plan.capacity, expected_slow, &slow)?,
        plain_slow: runs::plain(&plan.day, expected_slow, Some(interval_ns), cores, scratch)?,
        shaped: plan.shape.map(shaped).transpose()?,
        single: single_mode(plan, cores)?,
    })
}

/// The card `book`'s one message at a time, on the core that has the books in topology inline.
fn single_mode(plan: &Plan, cores: &[usize]) -> anyhow::Result<SingleResult> {
    let mode = SingleMode {
        warm_up_messages: plan.day.messages as usize / 2,
        round_messages: plan.paced_messages as usize,
        interval_ns: 1_000_000_000 / FAST_PER_SECOND,
    };
    std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            if let Some(&core) = cores.first() {
                pin_to(core)?;
            }
            single::measure(&plan.day, plan.capacity, &mode, 1)
        });
        measured.join().expect("measuring does not panic")
    })
}

fn description(plan: &Plan, expected: &Expected, rounds: &[Round]) -> Vec<(&'static str, Value)> {
    let hex = |word: u64| json!(format!("{word:016x}"));
    vec![
        ("input", json!(plan.day.origin)),
        ("messages", json!(plan.day.messages)),
        ("paced_messages", json!(expected.part.count)),
        ("stream_digest", hex(expected.stream_digest)),
        ("rounds", json!(plan.rounds)),
        ("pace", json!(plan.shape.map(|pace| pace.to_string()))),
        ("journal_backend", json!(rounds.first().and_then(|round| round.journaled.journal_backend.clone()))),
        ("naive_source", hex(fnv1a(naive::SOURCE))),
        ("plain_source", hex(fnv1a(plain::SOURCE))),
    ]
}

/// The median over the rounds that have a value.
fn over(rounds: &[Round], value: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = rounds.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| median(values))
}

fn ns(value: Option<u64>) -> Option<f64> {
    value.map(|ns| ns as f64)
}

/// One percentile over another, a nanosecond at least below.
fn ratio(one: Option<u64>, other: Option<u64>) -> Option<f64> {
    Some(one? as f64 / other?.max(1) as f64)
}

fn figures(plan: &Plan, rounds: &[Round], cores: usize) -> Vec<Figure> {
    use Better::{Higher, Lower};
    let figure = |name, unit, better, goal: Option<f64>, value: &dyn Fn(&Round) -> Option<f64>| {
        let figure = match over(rounds, value) {
            Some(value) => Figure::new(name, value, unit, better),
            None if cores < 2 => Figure::skipped(name, unit, better, "needs two cores".to_owned()),
            None => Figure::skipped(name, unit, better, "the day is too short".to_owned()),
        };
        goal.map_or(figure.clone(), |goal| figure.with_goal(goal))
    };
    let single = |round: &Round| round.single.ours.since_due.summary();
    let empty = |round: &Round| round.single.empty.since_due.summary();
    let due_ratio = |round: &Round| ratio(round.inline_paced.tick_to_bbo.p99, single(round).p99);
    let service_ratio = |round: &Round| ratio(round.inline_paced.service.p99, round.single.ours.service.summary().p99);
    let stamp_ns = |round: &Round| Some((round.every.ns_per_event - round.off.ns_per_event) / STAMPS_INLINE);
    let pipelined = |round: &Round| round.pipelined_paced.as_ref().map(|found| found.tick_to_bbo);
    let beside = |round: &Round| Some(round.pipelined.ns_per_event / round.pipelined_journaled.as_ref()?.ns_per_event);
    let mut figures = vec![
        figure("probes_sampled_over_off", "ratio", Higher, Some(0.98), &|round| {
            Some(round.off.ns_per_event / round.sampled.ns_per_event)
        }),
        figure("probe_cost_per_stamp_ns", "ns", Lower, Some(16.0), &stamp_ns),
        figure("inline_p50_ns", "ns", Lower, Some(150.0), &|round| ns(round.inline_paced.tick_to_bbo.p50)),
        figure("inline_p99_over_single_p99", "ratio", Lower, Some(1.25), &due_ratio),
        figure("pipelined_p50_ns", "ns", Lower, Some(350.0), &|round| ns(pipelined(round)?.p50)),
        figure("journaled_over_unjournaled", "ratio", Higher, Some(0.9), &|round| {
            Some(round.sampled.ns_per_event / round.journaled.ns_per_event)
        }),
        figure("throughput_over_plain", "ratio", Higher, Some(10.0), &|round| {
            Some(round.plain.ns_per_message / round.journaled.ns_per_event)
        }),
        figure("p99_over_plain", "ratio", Lower, Some(0.1), &|round| {
            ratio(round.slow.tick_to_bbo.p99, round.plain_slow.since_due.p99)
        }),
        Figure::skipped("sharded_ns_per_event", "ns", Lower, sharded_reason(cores)),
        figure("inline_ns_per_event", "ns", Lower, None, &|round| Some(round.sampled.ns_per_event)),
        figure("inline_off_ns_per_event", "ns", Lower, None, &|round| Some(round.off.ns_per_event)),
        figure("inline_every_ns_per_event", "ns", Lower, None, &|round| Some(round.every.ns_per_event)),
        figure("inline_journaled_ns_per_event", "ns", Lower, None, &|round| Some(round.journaled.ns_per_event)),
        figure("pipelined_ns_per_event", "ns", Lower, None, &|round| Some(round.pipelined.ns_per_event)),
        figure("pipelined_journaled_over_unjournaled", "ratio", Higher, None, &beside),
        figure("plain_ns_per_message", "ns", Lower, None, &|round| Some(round.plain.ns_per_message)),
        figure("probe_cost_alone_ns", "ns", Lower, None, &|round| round.sampled.probe_cost_ns),
        figure("inline_p99_ns", "ns", Lower, None, &|round| ns(round.inline_paced.tick_to_bbo.p99)),
        figure("single_due_p50_ns", "ns", Lower, None, &|round| ns(single(round).p50)),
        figure("single_due_p99_ns", "ns", Lower, None, &|round| ns(single(round).p99)),
        figure("single_empty_due_p99_ns", "ns", Lower, None, &|round| ns(empty(round).p99)),
        figure("inline_service_p50_ns", "ns", Lower, None, &|round| ns(round.inline_paced.service.p50)),
        figure("single_service_p50_ns", "ns", Lower, None, &|round| ns(round.single.ours.service.summary().p50)),
        figure("inline_service_p99_over_single", "ratio", Lower, None, &service_ratio),
        figure("pipelined_p99_ns", "ns", Lower, None, &|round| ns(pipelined(round)?.p99)),
        figure("inline_journaled_p50_ns", "ns", Lower, None, &|round| ns(round.inline_journaled_paced.tick_to_bbo.p50)),
        figure("inline_journaled_p99_ns", "ns", Lower, None, &|round| ns(round.inline_journaled_paced.tick_to_bbo.p99)),
        figure("slow_p50_ns", "ns", Lower, None, &|round| ns(round.slow.tick_to_bbo.p50)),
        figure("slow_p99_ns", "ns", Lower, None, &|round| ns(round.slow.tick_to_bbo.p99)),
        figure("plain_slow_p50_ns", "ns", Lower, None, &|round| ns(round.plain_slow.since_due.p50)),
        figure("plain_slow_p99_ns", "ns", Lower, None, &|round| ns(round.plain_slow.since_due.p99)),
    ];
    if plan.shape.is_some() {
        let inline = |round: &Round| round.shaped.as_ref().map(|(inline, _)| inline.tick_to_bbo);
        let pipelined = |round: &Round| Some(round.shaped.as_ref()?.1.as_ref()?.tick_to_bbo);
        figures.extend([
            figure("shaped_inline_p50_ns", "ns", Lower, None, &|round| ns(inline(round)?.p50)),
            figure("shaped_inline_p99_ns", "ns", Lower, None, &|round| ns(inline(round)?.p99)),
            figure("shaped_pipelined_p50_ns", "ns", Lower, None, &|round| ns(pipelined(round)?.p50)),
            figure("shaped_pipelined_p99_ns", "ns", Lower, None, &|round| ns(pipelined(round)?.p99)),
        ]);
    }
    figures
}

fn sharded_reason(cores: usize) -> String {
    if cores < 3 {
        format!("two book cores and a feed core need three cores, there are {cores}; its digests were checked")
    } else {
        "not timed by this card yet; its digests were checked".to_owned()
    }
}

fn notes(rounds: &[Round]) -> Vec<String> {
    let spread = |value: &dyn Fn(&Round) -> f64| {
        let values = || rounds.iter().map(value);
        format!("{:.1} to {:.1}", values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
    };
    let percentiles = |summary: Summary| {
        let text = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| ns.to_string());
        format!("{} / {} / {}", text(summary.p50), text(summary.p99), text(summary.p99_9))
    };
    let mut notes = vec![format!(
        "Full speed, ns over the rounds: inline {}, without probes {}, journaled {}, plain {}.",
        spread(&|round| round.sampled.ns_per_event),
        spread(&|round| round.off.ns_per_event),
        spread(&|round| round.journaled.ns_per_event),
        spread(&|round| round.plain.ns_per_message),
    )];
    for (number, round) in (1..).zip(rounds) {
        let pipelined =
            round.pipelined_paced.as_ref().map_or_else(|| "-".to_owned(), |one| percentiles(one.tick_to_bbo));
        notes.push(format!(
            "Round {number}, ns p50 / p99 / p99.9 from when due at 1 M/s: inline {}, pipelined {pipelined}, single {}, the empty loop {}.",
            percentiles(round.inline_paced.tick_to_bbo),
            percentiles(round.single.ours.since_due.summary()),
            percentiles(round.single.empty.since_due.summary()),
        ));
    }
    notes
}
