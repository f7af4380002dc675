//! The card `pipeline`: the whole path from bytes in memory to the strategy, at full speed and at a pace, with a journal and
//! without, against the plain pipeline that most people write first.
//!
//! The naive book goes through the day first; every topology must come to its digest, and every timed run to its sum of BBO
//! changes. In each round all variants take their turn, most of them several times ([`TURNS`]), and a ratio is the median of the
//! ratios of all turns: each is of runs that stood side by side. Paced runs fill the books with the first half of the day and
//! are measured behind it, as is the card `book`'s one message at a time (its single mode), which is measured here as
//! well, with its empty loop: what that has in its tail is the machine's.

mod runs;

use super::book::single::{self, SingleMode, SingleResult};
use super::{Card, Settings};
use crate::card::{Better, Figure, Machine, Scorecard};
use crate::day::Day;
use crate::source_hash::fnv1a;
use crate::statistics::median;
use crate::{naive, plain};
use anyhow::{Context as _, ensure};
use runs::{Expected, Found, Jitter, PlainFound, Run};
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

/// Turns of a round. One second of a virtual machine that others use has a pause of some milliseconds in it as often as not, and
/// with that another p99: so a second is measured in parts, of which most have none.
const TURNS: u64 = 3;

/// Messages of the paced runs of a round at most, and the share of the day that they take at most.
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

/// Runs at full speed that stood side by side.
#[derive(Debug)]
struct Full {
    off: [Found; 2],
    sampled: [Found; 2],
    every: Found,
    journaled: Found,
}

impl Full {
    /// The mean of two runs.
    fn mean_ns(both: &[Found; 2]) -> f64 {
        both.iter().map(|one| one.ns_per_event).sum::<f64>() / 2.0
    }

    fn off_ns(&self) -> f64 {
        Self::mean_ns(&self.off)
    }

    fn sampled_ns(&self) -> f64 {
        Self::mean_ns(&self.sampled)
    }
}

/// Paced runs that stood side by side.
#[derive(Debug)]
struct Paced {
    inline: Found,
    pipelined: Option<Found>,
    inline_journaled: Found,
    slow: Found,
    plain_slow: PlainFound,
    single: SingleResult,
}

/// What one round found.
#[derive(Debug)]
struct Round {
    full: Vec<Full>,
    paced: Vec<Paced>,
    pipelined: Found,
    pipelined_journaled: Option<Found>,
    plain: PlainFound,
    shaped: Option<(Found, Option<Found>)>,
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
    let paced_messages = PACED_MAX.min(day.messages / PACED_DIVISOR) / TURNS;
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
    let fulls = rounds.iter().flat_map(|round| &round.full);
    machine.huge_pages_bytes = fulls.map(|full| full.off[0].huge_page_bytes).max().unwrap_or(0);
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
    let full = |_| {
        let interval = |interval| ours(Run::at_full_speed(Inline, interval));
        // There and back: who is first and who is last has the same share in both.
        let there = [interval(0)?, interval(64)?];
        let journaled = ours(Run::at_full_speed(Inline, 64).journaled(scratch))?;
        let every = interval(1)?;
        let [sampled_back, off_back] = [interval(64)?, interval(0)?];
        let [off, sampled] = there;
        Ok::<_, anyhow::Error>(Full { off: [off, off_back], sampled: [sampled, sampled_back], journaled, every })
    };
    let paced = |_| {
        Ok::<_, anyhow::Error>(Paced {
            inline: ours(Run::paced(Inline, fast))?,
            single: single_mode(plan, cores)?,
            pipelined: pipelined(Run::paced(Pipelined, fast))?,
            inline_journaled: ours(Run::paced(Inline, fast).journaled(scratch))?,
            slow: runs::ours(&plan.day, plan.capacity, expected_slow, &slow)?,
            plain_slow: runs::plain(&plan.day, expected_slow, Some(interval_ns), cores, scratch)?,
        })
    };
    Ok(Round {
        full: (0..TURNS).map(full).collect::<Result<_, _>>()?,
        pipelined: ours(Run::at_full_speed(if has_two { Pipelined } else { Inline }, 64))?,
        pipelined_journaled: pipelined(Run::at_full_speed(Pipelined, 64).journaled(scratch))?,
        plain: runs::plain(&plan.day, expected, None, cores, scratch)?,
        paced: (0..TURNS).map(paced).collect::<Result<_, _>>()?,
        shaped: plan.shape.map(shaped).transpose()?,
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
        ("journal_backend", json!(rounds[0].full[0].journaled.journal_backend)),
        ("naive_source", hex(fnv1a(naive::SOURCE))),
        ("plain_source", hex(fnv1a(plain::SOURCE))),
    ]
}

/// The median over the turns or rounds that have a value.
fn over<T>(all: &[T], value: impl Fn(&T) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = all.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| median(values))
}

fn ns(value: Option<u64>) -> Option<f64> {
    value.map(|ns| ns as f64)
}

/// One percentile over another, a nanosecond at least below.
fn over_least(one: Option<u64>, other: Option<u64>) -> Option<f64> {
    Some(one? as f64 / other?.max(1) as f64)
}

fn figures(plan: &Plan, rounds: &[Round], cores: usize) -> Vec<Figure> {
    use Better::{Higher, Lower};
    let figure = |name, unit, better, value: Option<f64>| match value {
        Some(value) => Figure::new(name, value, unit, better),
        None if cores < 2 => Figure::skipped(name, unit, better, "needs two cores".to_owned()),
        None => Figure::skipped(name, unit, better, "the day is too short".to_owned()),
    };
    let fulls: Vec<&Full> = rounds.iter().flat_map(|round| &round.full).collect();
    let paced: Vec<&Paced> = rounds.iter().flat_map(|round| &round.paced).collect();
    let full = |name: &'static str, better, value: &dyn Fn(&Full) -> f64| {
        let unit = if name.ends_with("_ns") || name.ends_with("_per_event") { "ns" } else { "ratio" };
        figure(name, unit, better, over(&fulls, |full| Some(value(full))))
    };
    let time =
        |name, value: &dyn Fn(&Paced) -> Option<u64>| figure(name, "ns", Lower, over(&paced, |one| ns(value(one))));
    let ratio =
        |name, value: &dyn Fn(&Paced) -> Option<f64>| figure(name, "ratio", Lower, over(&paced, |one| value(one)));
    let of_round = |name, unit, better, value: &dyn Fn(&Round) -> Option<f64>| {
        figure(name, unit, better, over(rounds, |round| value(round)))
    };
    let single = |one: &Paced| one.single.ours.since_due.summary();
    let single_service = |one: &Paced| one.single.ours.service.summary();
    let empty = |one: &Paced| one.single.empty.since_due.summary();
    let pipelined = |one: &Paced| one.pipelined.as_ref().map(|found| found.tick_to_bbo);
    let journaled_ns = |round: &Round| over(&round.full, |full| Some(full.journaled.ns_per_event));
    let beside = |round: &Round| Some(round.pipelined.ns_per_event / round.pipelined_journaled.as_ref()?.ns_per_event);
    let mut figures = vec![
        full("probes_sampled_over_off", Higher, &|one| one.off_ns() / one.sampled_ns()).with_goal(0.98),
        full("probe_cost_per_stamp_ns", Lower, &|one| (one.every.ns_per_event - one.off_ns()) / STAMPS_INLINE)
            .with_goal(16.0),
        time("inline_p50_ns", &|one| one.inline.tick_to_bbo.p50).with_goal(150.0),
        ratio("inline_p99_over_single_p99", &|one| over_least(one.inline.tick_to_bbo.p99, single(one).p99))
            .with_goal(1.25),
        time("pipelined_p50_ns", &|one| pipelined(one)?.p50).with_goal(350.0),
        full("journaled_over_unjournaled", Higher, &|one| one.sampled_ns() / one.journaled.ns_per_event).with_goal(0.9),
        of_round("throughput_over_plain", "ratio", Higher, &|round| {
            Some(round.plain.ns_per_message / journaled_ns(round)?)
        })
        .with_goal(10.0),
        ratio("p99_over_plain", &|one| over_least(one.slow.tick_to_bbo.p99, one.plain_slow.since_due.p99))
            .with_goal(0.1),
        Figure::skipped("sharded_ns_per_event", "ns", Lower, sharded_reason(cores)),
        full("inline_ns_per_event", Lower, &|one| one.sampled_ns()),
        full("inline_off_ns_per_event", Lower, &|one| one.off_ns()),
        full("inline_every_ns_per_event", Lower, &|one| one.every.ns_per_event),
        full("inline_journaled_ns_per_event", Lower, &|one| one.journaled.ns_per_event),
        of_round("pipelined_ns_per_event", "ns", Lower, &|round| Some(round.pipelined.ns_per_event)),
        of_round("pipelined_journaled_over_unjournaled", "ratio", Higher, &beside),
        of_round("plain_ns_per_message", "ns", Lower, &|round| Some(round.plain.ns_per_message)),
        full("probe_cost_alone_ns", Lower, &|one| one.sampled[0].probe_cost_ns.unwrap_or(0.0)),
        time("inline_p99_ns", &|one| one.inline.tick_to_bbo.p99),
        time("single_due_p50_ns", &|one| single(one).p50),
        time("single_due_p99_ns", &|one| single(one).p99),
        time("single_empty_due_p99_ns", &|one| empty(one).p99),
        time("inline_service_p50_ns", &|one| one.inline.service.p50),
        time("single_service_p50_ns", &|one| single_service(one).p50),
        ratio("inline_service_p99_over_single", &|one| over_least(one.inline.service.p99, single_service(one).p99)),
        time("pipelined_p99_ns", &|one| pipelined(one)?.p99),
        time("inline_journaled_p50_ns", &|one| one.inline_journaled.tick_to_bbo.p50),
        time("inline_journaled_p99_ns", &|one| one.inline_journaled.tick_to_bbo.p99),
        time("slow_p50_ns", &|one| one.slow.tick_to_bbo.p50),
        time("slow_p99_ns", &|one| one.slow.tick_to_bbo.p99),
        time("plain_slow_p50_ns", &|one| one.plain_slow.since_due.p50),
        time("plain_slow_p99_ns", &|one| one.plain_slow.since_due.p99),
    ];
    if plan.shape.is_some() {
        let inline = |round: &Round| round.shaped.as_ref().map(|(inline, _)| inline.tick_to_bbo);
        let pipelined = |round: &Round| Some(round.shaped.as_ref()?.1.as_ref()?.tick_to_bbo);
        figures.extend([
            of_round("shaped_inline_p50_ns", "ns", Lower, &|round| ns(inline(round)?.p50)),
            of_round("shaped_inline_p99_ns", "ns", Lower, &|round| ns(inline(round)?.p99)),
            of_round("shaped_pipelined_p50_ns", "ns", Lower, &|round| ns(pipelined(round)?.p50)),
            of_round("shaped_pipelined_p99_ns", "ns", Lower, &|round| ns(pipelined(round)?.p99)),
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
    let fulls = || rounds.iter().flat_map(|round| &round.full);
    let spread = |values: &mut dyn Iterator<Item = f64>| {
        let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
        format!("{least:.1} to {most:.1}")
    };
    let text = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), |ns| ns.to_string());
    let percentiles =
        |summary: Summary| format!("{} / {} / {}", text(summary.p50), text(summary.p99), text(summary.p99_9));
    let around = |[p40, p60]: [Option<u64>; 2]| format!("[{} {}]", text(p40), text(p60));
    let microseconds = |ns: u64| format!("{} µs", ns / 1_000);
    let jitter = |Jitter { away_ns, idle_stall_ns }: Jitter| {
        let away = away_ns.map_or_else(|| "unknown".to_owned(), microseconds);
        format!("({away} of others, longest pause {})", microseconds(idle_stall_ns))
    };
    let mut notes = vec![format!(
        "Full speed, ns over all turns: inline {}, without probes {}, journaled {}, plain {}.",
        spread(&mut fulls().flat_map(|full| &full.sampled).map(|one| one.ns_per_event)),
        spread(&mut fulls().flat_map(|full| &full.off).map(|one| one.ns_per_event)),
        spread(&mut fulls().map(|full| full.journaled.ns_per_event)),
        spread(&mut rounds.iter().map(|round| round.plain.ns_per_message)),
    )];
    for (number, round) in (1..).zip(rounds) {
        for (turn, paced) in (1..).zip(&round.paced) {
            let pipelined = paced.pipelined.as_ref().map_or_else(|| "-".to_owned(), |one| percentiles(one.tick_to_bbo));
            notes.push(format!(
                "Round {number}, turn {turn}, ns p50 / p99 / p99.9 [p40 p60] from when due at 1 M/s: inline {} {} {}, single {} {}, the empty loop {}, pipelined {pipelined}, inline journaled {} {}; at 200 k/s journaled {} {}, plain {}.",
                percentiles(paced.inline.tick_to_bbo),
                around(paced.inline.around_p50),
                jitter(paced.inline.jitter),
                percentiles(paced.single.ours.since_due.summary()),
                around(runs::around_p50(&paced.single.ours.since_due.distribution())),
                percentiles(paced.single.empty.since_due.summary()),
                percentiles(paced.inline_journaled.tick_to_bbo),
                jitter(paced.inline_journaled.jitter),
                percentiles(paced.slow.tick_to_bbo),
                jitter(paced.slow.jitter),
                percentiles(paced.plain_slow.since_due),
            ));
        }
    }
    notes
}
