//! The card `ring`: one way latency and throughput of the ring against what the machine can do and against other rings.
//!
//! 1. [`limit`]: what the machine can do, by the simplest code: a line one way, and a stream of lines.
//! 2. [`one_way`]: one event each microsecond, by stamps of one counter on two cores.
//! 3. [`throughput`]: single and batched; free, near-empty and saturated.
//!
//! The ring in shared memory is read through a second mapping of the same file, without write access, by a thread of the same
//! process: caches go by physical address, so a line travels as it does to another process.
//!
//! Everything takes turns within a round, and a figure is the median of the rounds' ratios. A virtual machine's cores move:
//! a line one way may take 25 ns in one second and 200 in the next, so the limit is measured right before and after what is
//! held against it. Each run has its memory at another place.

mod contenders;
mod limit;
mod one_way;
mod throughput;

use super::{Card, Settings};
use crate::card::{Better, Figure, Machine, Scorecard};
use crate::statistics::median;
use anyhow::ensure;
use one_way::{OneWay, Ruler};
use serde_json::{Value, json};
use std::hint::black_box;
use throughput::{Mode, Regime, Run};
use tickcore::pin::allowed_cores;
use tickcore_feed::ring::{CAPACITY_LINES_DEFAULT, Ring};

/// The card.
pub(super) const CARD: Card = Card {
    name: "ring",
    summary: "the ring: one way latency and throughput, against the machine's limit and other rings",
    run,
    check,
};

/// Names that scripts rely on.
const NAMES: [&str; 9] = [
    "one_way_p50_over_limit",
    "one_way_p90_over_limit",
    "batched_over_limit",
    "batched_over_rtrb",
    "single_over_rtrb",
    "two_readers_over_one",
    "two_readers_one_thread_over_one",
    "worst_over_best_regime",
    "shared_memory_over_in_process",
];

/// Round trips of which the time of a line one way is taken.
const ROUND_TRIPS: u64 = 100_000;

/// Events of a run one each microsecond.
const ONE_WAY_EVENTS: usize = 200_000;

/// Counters that are further apart make a one way time meaningless.
const OFFSET_NS_MAX: f64 = 25.0;

/// Most memory that is taken before a run, so that it finds its own at another place.
const BALLAST_BYTES_MAX: u64 = 4 << 20;

/// The cores of the threads that receive; this thread, which sends, has another one.
#[derive(Clone, Copy, Debug)]
struct Cores {
    reader: usize,
    /// Where there is a third core.
    second_reader: Option<usize>,
}

impl Cores {
    /// Binds the calling thread, which is to receive.
    fn pin_reader(self) {
        pin_reader(self.reader);
    }
}

/// Binds the calling thread, which is to receive. A failure shows in every figure and is said.
fn pin_reader(core: usize) {
    if let Err(error) = pin(core) {
        eprintln!("the receiving thread is not pinned, every figure suffers: {error}");
    }
}

/// A thread inherits the mask of the one that started it; a core beyond it is asked of the kernel itself.
fn pin(core: usize) -> std::io::Result<()> {
    let mut mask = rustix::thread::CpuSet::new();
    mask.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &mask)?)
}

/// What a run consists of.
#[derive(Clone, Copy, Debug)]
struct Plan {
    capacity: usize,
    events: u64,
    one_way_events: usize,
    round_trips: u64,
    rounds: usize,
}

fn run(settings: &Settings) -> anyhow::Result<Scorecard> {
    let plan = Plan {
        capacity: CAPACITY_LINES_DEFAULT,
        events: settings.messages.next_multiple_of(contenders::BATCH_EVENTS as u64),
        one_way_events: ONE_WAY_EVENTS,
        round_trips: ROUND_TRIPS,
        rounds: settings.rounds,
    };
    measure(&plan, |step| eprintln!("{step} …"))
}

fn check() -> anyhow::Result<()> {
    let plan = Plan { capacity: 1 << 10, events: 1 << 14, one_way_events: 100, round_trips: 100, rounds: 1 };
    let scorecard = measure(&plan, |_| {})?;
    for name in NAMES {
        let figure = scorecard.figure(name);
        ensure!(figure.is_some_and(|figure| figure.goal.is_some()), "the figure {name} is missing");
    }
    // Two readers on one core are slow, and have to be as right.
    if let Some(&core) = allowed_cores()?.first() {
        readers_apart([core; 2], plan.capacity, plan.events)?;
    }
    Ok(())
}

fn measure(plan: &Plan, progress: impl Fn(&str)) -> anyhow::Result<Scorecard> {
    let allowed = allowed_cores()?;
    let mut machine = Machine::pin();
    let (Some(&reader), true) = (allowed.first(), allowed.len() > 1 && machine.pinned_core.is_some()) else {
        return Ok(without_cores(machine));
    };
    // The writer has the last one.
    let cores = Cores { reader, second_reader: allowed.get(1).filter(|_| allowed.len() > 2).copied() };
    // Proves that the cores can be had before anything is measured on them.
    for core in [Some(reader), cores.second_reader].into_iter().flatten() {
        std::thread::spawn(move || pin(core)).join().expect("pinning does not panic")?;
    }
    let ruler = Ruler::new(cores);
    let mut places = Places::new(ruler.stamps_ns);
    let mut rounds = Vec::with_capacity(plan.rounds);
    for number in 1..=plan.rounds {
        progress(&format!("round {number} of {}", plan.rounds));
        rounds.push(Round::measure(plan, cores, &ruler, &mut places, &mut machine)?);
    }
    Ok(Scorecard {
        card: CARD.name,
        machine,
        run: description(plan, &ruler),
        figures: figures(&rounds, &ruler),
        notes: notes(plan, &rounds, &ruler),
    })
}

/// On one core there is nothing to measure.
fn without_cores(machine: Machine) -> Scorecard {
    let reason = || "needs two cores to pin threads to".to_owned();
    let figures = NAMES.map(|name| Figure::skipped(name, "ratio", better(name), reason()).with_goal(goal(name)));
    Scorecard { card: CARD.name, machine, run: Vec::new(), figures: figures.to_vec(), notes: Vec::new() }
}

/// Where memory lies in each run.
#[derive(Debug)]
struct Places {
    state: u64,
}

impl Places {
    fn new(seed: f64) -> Self {
        Self { state: seed.to_bits() ^ u64::from(std::process::id()) }
    }

    fn next(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Memory that pushes what is taken after it to another place while it lives.
    fn ballast(&mut self) -> Vec<u8> {
        black_box(vec![1; self.next(BALLAST_BYTES_MAX) as usize])
    }
}

/// One way times of one ring, and those of the limit around them.
#[derive(Clone, Copy, Debug)]
struct OneWayOverLimit {
    limit_ns: f64,
    found: OneWay,
}

impl OneWayOverLimit {
    fn p50(&self) -> f64 {
        self.found.p50_ns / self.limit_ns
    }

    fn p90(&self) -> f64 {
        self.found.p90_ns / self.limit_ns
    }
}

/// Throughput in both modes.
#[derive(Clone, Copy, Debug)]
struct Rates {
    single: Run,
    batched: Run,
}

/// Everything once.
#[derive(Clone, Copy, Debug)]
struct Round {
    ours: OneWayOverLimit,
    shared: OneWayOverLimit,
    rtrb: OneWayOverLimit,
    disruptor: OneWayOverLimit,
    array_queue: OneWayOverLimit,
    bare_line: OneWayOverLimit,
    stream_rate: f64,
    our_rates: Rates,
    rtrb_rates: Rates,
    disruptor_rates: Rates,
    array_queue_single: Run,
    two_readers: Rates,
    /// `None` without a third core.
    readers_apart: Option<Rates>,
    near_empty: Rates,
    saturated: Rates,
}

impl Round {
    fn measure(
        plan: &Plan,
        cores: Cores,
        ruler: &Ruler,
        places: &mut Places,
        machine: &mut Machine,
    ) -> anyhow::Result<Self> {
        let Plan { capacity, events, one_way_events, round_trips, .. } = *plan;
        macro_rules! one_way {
            ($ends:expr) => {{
                let _ballast = places.ballast();
                let limit_before = limit::one_way_ns(cores, round_trips)?;
                let found = ruler.measure(cores, one_way_events, $ends)?;
                let limit_after = limit::one_way_ns(cores, round_trips)?;
                OneWayOverLimit { limit_ns: f64::midpoint(limit_before, limit_after), found }
            }};
        }
        macro_rules! run {
            ($ends:expr, $mode:ident, $regime:ident, $copies:expr) => {{
                let _ballast = places.ballast();
                throughput::run(cores, Mode::$mode, Regime::$regime, $copies, events, $ends)?
            }};
            ($ends:expr, $regime:ident, $copies:expr) => {
                Rates { single: run!($ends, Single, $regime, $copies), batched: run!($ends, Batched, $regime, $copies) }
            };
        }
        let ours = one_way!(contenders::ours(capacity)?);
        let shared = one_way!(contenders::shared(capacity)?);
        let rtrb = one_way!(contenders::rtrb_single(capacity));
        let bare_line = one_way!(contenders::bare_line());
        let disruptor = one_way!(contenders::disruptor(capacity));
        let array_queue = one_way!(contenders::array_queue(capacity));
        let rtrb_rates = Rates {
            single: run!(contenders::rtrb_single(capacity), Single, Free, 1),
            batched: run!(contenders::rtrb(capacity), Batched, Free, 1),
        };
        let our_rates = run!(contenders::ours(capacity)?, Free, 1);
        let stream_rate = limit::stream(cores, capacity, places.next(capacity as u64) as usize, events)?;
        let two_readers = run!(contenders::two_readers(capacity)?, Free, 2);
        let readers_apart = match cores.second_reader {
            Some(second) => Some(readers_apart([cores.reader, second], capacity, events)?),
            None => None,
        };
        // The rings of the runs are gone: one more like them shows what they lay in.
        let ring = Ring::new(capacity, 1)?;
        machine.note_huge_pages();
        drop(ring);
        Ok(Self {
            ours,
            shared,
            rtrb,
            disruptor,
            array_queue,
            bare_line,
            stream_rate,
            our_rates,
            rtrb_rates,
            disruptor_rates: run!(contenders::disruptor(capacity), Free, 1),
            array_queue_single: run!(contenders::array_queue(capacity), Single, Free, 1),
            two_readers,
            readers_apart,
            near_empty: run!(contenders::ours(capacity)?, NearEmpty, 1),
            saturated: run!(contenders::ours(capacity)?, Saturated, 1),
        })
    }

    /// The slower over the faster regime, in the mode where they are further apart.
    fn worst_over_best_regime(&self) -> f64 {
        let apart = |one: Run, other: Run| one.rate.min(other.rate) / one.rate.max(other.rate);
        apart(self.near_empty.single, self.saturated.single).min(apart(self.near_empty.batched, self.saturated.batched))
    }
}

/// Two gating readers, each polled on a core of its own.
fn readers_apart(reader_cores: [usize; 2], capacity: usize, events: u64) -> anyhow::Result<Rates> {
    let run =
        |mode| throughput::run_each(&reader_cores, mode, Regime::Free, 1, events, contenders::readers_apart(capacity)?);
    Ok(Rates { single: run(Mode::Single)?, batched: run(Mode::Batched)? })
}

fn goal(name: &str) -> f64 {
    match name {
        "one_way_p50_over_limit" => 1.3,
        "one_way_p90_over_limit" => 1.6,
        "batched_over_limit" => 0.92,
        "batched_over_rtrb" => 1.0,
        "single_over_rtrb" => 0.95,
        "worst_over_best_regime" => 0.5,
        "shared_memory_over_in_process" => 1.05,
        _ => 0.9,
    }
}

fn better(name: &str) -> Better {
    if name.starts_with("one_way") || name.starts_with("shared_memory") { Better::Lower } else { Better::Higher }
}

fn description(plan: &Plan, ruler: &Ruler) -> Vec<(&'static str, Value)> {
    vec![
        ("capacity_lines", json!(plan.capacity)),
        ("batch_events", json!(contenders::BATCH_EVENTS)),
        ("events_each_run", json!(plan.events)),
        ("one_way_events_each_run", json!(plan.one_way_events)),
        ("one_way_interval_ns", json!(one_way::INTERVAL_NS)),
        ("rounds", json!(plan.rounds)),
        ("stamps_ns", json!(ruler.stamps_ns)),
        ("counter_step_ns", json!(ruler.step_ns())),
        ("counter_offset_ns", json!(ruler.offset_ns)),
    ]
}

fn figures(rounds: &[Round], ruler: &Ruler) -> Vec<Figure> {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let held = |name: &'static str, value: f64| Figure::new(name, value, "ratio", better(name)).with_goal(goal(name));
    let skipped = |name: &'static str, reason: &str| {
        Figure::skipped(name, "ratio", better(name), reason.to_owned()).with_goal(goal(name))
    };
    let one_way = |name: &'static str, value: fn(&Round) -> f64| {
        if ruler.offset_ns.abs() <= OFFSET_NS_MAX {
            held(name, of(value))
        } else {
            skipped(name, "the counters of the two cores are too far apart")
        }
    };
    let apart = |rates: fn(&Rates) -> Run| {
        let ratio = |round: &Round| Some(rates(&round.readers_apart?).rate / rates(&round.our_rates).rate);
        rounds.iter().map(ratio).collect::<Option<Vec<f64>>>().map(median)
    };
    let two_readers_over_one = match apart(|rates| rates.single) {
        Some(value) => held("two_readers_over_one", value),
        None => skipped("two_readers_over_one", "needs three cores, one for the writer and one for each reader"),
    };
    let mut figures = vec![
        one_way("one_way_p50_over_limit", |round| round.ours.p50()),
        one_way("one_way_p90_over_limit", |round| round.ours.p90()),
        held("batched_over_limit", of(|round| round.our_rates.batched.rate / round.stream_rate)),
        held("batched_over_rtrb", of(|round| round.our_rates.batched.rate / round.rtrb_rates.batched.rate)),
        held("single_over_rtrb", of(|round| round.our_rates.single.rate / round.rtrb_rates.single.rate)),
        two_readers_over_one,
        held(
            "two_readers_one_thread_over_one",
            of(|round| round.two_readers.single.rate / round.our_rates.single.rate),
        ),
        held("worst_over_best_regime", of(Round::worst_over_best_regime)),
        one_way("shared_memory_over_in_process", |round| round.shared.p50() / round.ours.p50()),
    ];
    let extra = |name, unit, better, value: fn(&Round) -> f64| Figure::new(name, of(value), unit, better);
    let ns = |name, value| extra(name, "ns", Better::Lower, value);
    let rate = |name, value| extra(name, "M/s", Better::Higher, value);
    figures.extend([
        ns("limit_one_way_ns", |round| round.ours.limit_ns),
        ns("one_way_p50_ns", |round| round.ours.found.p50_ns),
        ns("one_way_p90_ns", |round| round.ours.found.p90_ns),
        ns("one_way_p99_ns", |round| round.ours.found.p99_ns),
        ns("shared_memory_one_way_p50_ns", |round| round.shared.found.p50_ns),
        ns("rtrb_one_way_p50_ns", |round| round.rtrb.found.p50_ns),
        ns("rtrb_one_way_p90_ns", |round| round.rtrb.found.p90_ns),
        ns("disruptor_one_way_p50_ns", |round| round.disruptor.found.p50_ns),
        ns("array_queue_one_way_p50_ns", |round| round.array_queue.found.p50_ns),
        ns("bare_line_one_way_p50_ns", |round| round.bare_line.found.p50_ns),
        extra("rtrb_one_way_p50_over_limit", "ratio", Better::Lower, |round| round.rtrb.p50()),
        extra("rtrb_one_way_p90_over_limit", "ratio", Better::Lower, |round| round.rtrb.p90()),
        extra("bare_line_one_way_p50_over_limit", "ratio", Better::Lower, |round| round.bare_line.p50()),
        extra("one_way_p50_over_bare_line", "ratio", Better::Lower, |round| round.ours.p50() / round.bare_line.p50()),
        extra("one_way_p50_over_rtrb", "ratio", Better::Lower, |round| round.ours.p50() / round.rtrb.p50()),
        rate("limit_stream_rate", |round| round.stream_rate),
        rate("batched_rate", |round| round.our_rates.batched.rate),
        rate("rtrb_batched_rate", |round| round.rtrb_rates.batched.rate),
        rate("disruptor_batched_rate", |round| round.disruptor_rates.batched.rate),
        rate("single_rate", |round| round.our_rates.single.rate),
        rate("rtrb_single_rate", |round| round.rtrb_rates.single.rate),
        rate("disruptor_single_rate", |round| round.disruptor_rates.single.rate),
        rate("array_queue_single_rate", |round| round.array_queue_single.rate),
        rate("near_empty_single_rate", |round| round.near_empty.single.rate),
        rate("near_empty_batched_rate", |round| round.near_empty.batched.rate),
        rate("saturated_single_rate", |round| round.saturated.single.rate),
        rate("saturated_batched_rate", |round| round.saturated.batched.rate),
        extra("two_readers_one_thread_batched_over_one", "ratio", Better::Higher, |round| {
            round.two_readers.batched.rate / round.our_rates.batched.rate
        }),
    ]);
    if let Some(value) = apart(|rates| rates.batched) {
        figures.push(Figure::new("two_readers_batched_over_one", value, "ratio", Better::Higher));
    }
    figures
}

fn notes(plan: &Plan, rounds: &[Round], ruler: &Ruler) -> Vec<String> {
    let spread = |value: fn(&Round) -> f64| {
        let values = || rounds.iter().map(value);
        format!("{:.1} to {:.1}", values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
    };
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    const RUNS_EACH_ROUND: u64 = 14;
    const RUNS_WITH_A_THIRD_CORE: u64 = 2;
    let with_third = rounds.iter().filter(|round| round.readers_apart.is_some()).count() as u64;
    vec![
        format!(
            "The limit over the rounds: {} ns a line one way, {} million lines a second.",
            spread(|round| round.ours.limit_ns),
            spread(|round| round.stream_rate),
        ),
        format!(
            "One way times include two stamps, {:.0} ns on their own; the counter steps by {:.1} ns and is {:+.1} ns apart \
             between the cores. The limit's round trip has no stamps.",
            ruler.stamps_ns,
            ruler.step_ns(),
            ruler.offset_ns,
        ),
        format!(
            "Near-empty: {:.1} empty polls for 1,000 events; saturated: {:.1} refusals. The side that works does so for \
             about 4 ns an event.",
            of(|round| round.near_empty.single.empty_polls as f64) / plan.events as f64 * 1e3,
            of(|round| round.saturated.single.refusals as f64) / plan.events as f64 * 1e3,
        ),
        format!(
            "{} events went through, each run checked for loss, order and content.",
            plan.events * (RUNS_EACH_ROUND * plan.rounds as u64 + RUNS_WITH_A_THIRD_CORE * with_third),
        ),
    ]
}
