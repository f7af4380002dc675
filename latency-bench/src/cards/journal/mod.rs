//! The card `journal`: the journal against the disk that it writes to, and against usual ways to keep one.
//!
//! Everything of a round is measured one after the other on the same file system, and ratios are the medians of the
//! rounds' ratios. The disk's limit is the best in the same round of what goes past the page cache, over bytes that were written
//! before: eight threads with 256 KiB each; one thread with eight pieces of 512 KiB under way by io_uring; and fio's best
//! sequential write and read, where it is installed. All of them write the same bytes again and again. What a loop can write
//! of new ones is measured beside. What was written is read back and counted before anything is reported.

mod disk;
mod fio;
mod interrupts;
mod limit;
mod mapped;
mod ours;
mod replay;
mod restart;
mod uring;

use super::{Card, Settings};
use crate::card::{Better, Figure, Machine, Scorecard};
use crate::statistics::median;
use anyhow::{Context as _, bail, ensure};
use limit::Limit;
use replay::Recorded;
use serde_json::json;
use std::path::{Path, PathBuf};
use tickcore::pin::{allowed_cores, pin_to};

/// The card.
pub(super) const CARD: Card =
    Card { name: "journal", summary: "the journal against its disk: throughput, time to durable, reading", run, check };

/// Most records of a run: 64 bytes each, several times on the disk.
const RECORDS_MAX: u64 = 20_000_000;
/// Small synced writes of the disk per round.
const SYNCED_WRITES: usize = 2_000;
/// Most messages of the day that is replayed.
const MESSAGES_MAX: u64 = 4_000_000;
/// What a restart is measured with.
const RESTART_ORDERS: u64 = 1_000_000;
const RESTART_TAIL: u64 = 10_000_000;

struct Plan {
    records: u64,
    rounds: usize,
    synced_writes: usize,
    /// How long each paced run takes.
    paced_ms: u64,
    /// Orders in the checkpoint of a restart, and events behind it.
    restart_orders: u64,
    restart_tail: u64,
}

/// What one round found.
#[derive(Clone, Debug)]
struct Round {
    throughput_over_disk: f64,
    throughput_over_new: f64,
    sustained_over_disk: f64,
    append: ours::AppendCost,
    /// The same on the core that serves the disk's interrupts, or the only one there is.
    append_interrupted: ours::AppendCost,
    p50_over_raw: f64,
    p99_over_raw: f64,
    p50_10m_over_1m: f64,
    cold_over_disk: f64,
    warm_per_second: f64,
    space_overhead: f64,
    buffered_in_thread_over_ours: f64,
    buffered_beside_over_ours: f64,
    mapped_over_ours: f64,
    journal_over_file: f64,
    cold_over_warm: f64,
    limit: Limit,
    durable_p50_ns: f64,
    durable_p99_ns: f64,
    restart: restart::Restart,
}

fn run(settings: &Settings) -> anyhow::Result<Scorecard> {
    let records = settings.messages.min(RECORDS_MAX);
    let plan = Plan {
        records,
        rounds: settings.rounds,
        synced_writes: SYNCED_WRITES,
        paced_ms: 1_000,
        restart_orders: RESTART_ORDERS,
        restart_tail: RESTART_TAIL,
    };
    measure(&plan, |step| eprintln!("{step} …"))
}

fn check() -> anyhow::Result<()> {
    let plan = Plan {
        records: 20_000,
        rounds: 1,
        synced_writes: 20,
        paced_ms: 10,
        restart_orders: 2_000,
        restart_tail: 20_000,
    };
    let scorecard = measure(&plan, |_| {})?;
    for name in
        ["durable_throughput_over_disk", "durable_p50_over_raw", "warm_replay_events_per_second", "restart_seconds"]
    {
        let figure = scorecard.figure(name);
        ensure!(figure.is_some_and(|figure| figure.value.is_some()), "the figure {name} is missing");
    }
    Ok(())
}

/// A directory that goes when it is no longer used.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("tickcore-journal-card-{}", std::process::id()));
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
    let recorded = Recorded::new(&scratch.0, plan.records.min(MESSAGES_MAX))?;
    // Before this thread is pinned: then it may use one.
    let cores = allowed_cores()?;
    let mut machine = Machine::pin();
    let mut rounds = Vec::with_capacity(plan.rounds);
    let mut backend = String::new();
    for number in 1..=plan.rounds {
        progress(&format!("round {number} of {}", plan.rounds));
        rounds.push(round(plan, &scratch.0, &recorded, &cores, &mut backend)?);
        machine.note_huge_pages();
    }
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let limits: Vec<&Limit> = rounds.iter().map(|round| &round.limit).collect();
    let disk = format!(
        "{:.2} GB/s written ({:.2} of new data), {:.2} GB/s read",
        of(|r| r.limit.write()) / 1e9,
        of(|r| r.limit.write_new()) / 1e9,
        of(|r| r.limit.read()) / 1e9
    );
    Ok(Scorecard {
        card: CARD.name,
        machine,
        run: vec![
            ("records", json!(plan.records)),
            ("rounds", json!(plan.rounds)),
            ("journal_backend", json!(backend)),
            ("disk", json!(disk)),
        ],
        figures: figures(of),
        notes: vec![
            "The cost of an append is measured in runs of 64 appends, polls outside; an empty loop over the same events is taken off. It \
             is taken on every core: the hot thread's is the one with the fewest interrupts of devices meanwhile, `interrupted` the \
             one with the most, where the kernel's completions of writes are in it."
                .to_owned(),
            "A restart: a checkpoint of a million orders at scattered ids, ten million events about random ones of them \
             behind it, nothing cached; touching memory is apart. Its digest is that of books that never stopped."
                .to_owned(),
            "BufWriter and mmap sync each millisecond, over blocks that are there and not written yet.".to_owned(),
            limit::note(&limits),
        ],
    })
}

fn figures(of: impl Fn(fn(&Round) -> f64) -> f64) -> Vec<Figure> {
    use Better::{Higher, Lower};
    vec![
        Figure::new("durable_throughput_over_disk", of(|r| r.throughput_over_disk), "ratio", Higher).with_goal(0.95),
        Figure::new("sustained_without_recycling_over_disk", of(|r| r.sustained_over_disk), "ratio", Higher)
            .with_goal(0.45),
        Figure::new("append_cost_p50_ns", of(|r| r.append.p50_ns), "ns", Lower).with_goal(2.0),
        Figure::new("append_cost_p999_ns", of(|r| r.append.p999_ns), "ns", Lower).with_goal(5.0),
        Figure::new("durable_p50_over_raw", of(|r| r.p50_over_raw), "ratio", Lower).with_goal(1.5),
        Figure::new("durable_p99_over_raw", of(|r| r.p99_over_raw), "ratio", Lower).with_goal(3.0),
        Figure::new("durable_p50_10m_over_1m", of(|r| r.p50_10m_over_1m), "ratio", Lower).with_goal(1.5),
        Figure::new("cold_replay_over_disk", of(|r| r.cold_over_disk), "ratio", Higher).with_goal(0.95),
        Figure::new("warm_replay_events_per_second", of(|r| r.warm_per_second), "1/s", Higher).with_goal(100e6),
        Figure::new("replay_journal_over_itch", of(|r| r.journal_over_file), "ratio", Lower).with_goal(1.0),
        Figure::new("space_overhead", of(|r| r.space_overhead), "ratio", Lower).with_goal(0.02),
        Figure::new("restart_seconds", of(|r| r.restart.cold_seconds), "s", Lower).with_goal(2.0),
        Figure::new("durable_throughput_over_new_data", of(|r| r.throughput_over_new), "ratio", Higher),
        Figure::new("durable_p50_1m_ns", of(|r| r.durable_p50_ns), "ns", Lower),
        Figure::new("durable_p99_1m_ns", of(|r| r.durable_p99_ns), "ns", Lower),
        Figure::new("append_cost_interrupted_p50_ns", of(|r| r.append_interrupted.p50_ns), "ns", Lower),
        Figure::new("append_cost_interrupted_p999_ns", of(|r| r.append_interrupted.p999_ns), "ns", Lower),
        Figure::new("restart_warm_seconds", of(|r| r.restart.warm_seconds), "s", Lower),
        Figure::new("restart_checkpoint_alone_seconds", of(|r| r.restart.checkpoint_alone_seconds), "s", Lower),
        Figure::new("restart_pretouch_seconds", of(|r| r.restart.pretouch_seconds), "s", Lower),
        Figure::new("restart_checkpoint_bytes", of(|r| r.restart.checkpoint_bytes), "bytes", Lower),
        Figure::new("buffered_in_thread_over_ours", of(|r| r.buffered_in_thread_over_ours), "ratio", Lower),
        Figure::new("buffered_beside_over_ours", of(|r| r.buffered_beside_over_ours), "ratio", Lower),
        Figure::new("replay_cold_over_warm", of(|r| r.cold_over_warm), "ratio", Lower),
        Figure::new("mapped_over_ours", of(|r| r.mapped_over_ours), "ratio", Lower),
    ]
}

fn round(
    plan: &Plan,
    scratch: &Path,
    recorded: &Recorded,
    cores: &[usize],
    backend: &mut String,
) -> anyhow::Result<Round> {
    let raw = scratch.join("raw");
    let bytes = (plan.records * 64).next_multiple_of(8 << 20);
    let limit = Limit::measure(fio::PROGRAM.as_ref(), &raw, bytes)?;
    let synced = percentiles(disk::synced_writes(&raw, plan.synced_writes)?);
    std::fs::remove_file(&raw)?;

    let journal = scratch.join("journal");
    let prepared = ours::throughput(&journal, plan.records, true, backend)?;
    ours::forget(&journal)?;
    let cold = ours::read(&journal, plan.records)?;
    ours::read(&journal, plan.records)?;
    let warm = ours::read(&journal, plan.records)?;
    std::fs::remove_dir_all(&journal)?;
    let sustained = ours::throughput(&journal, plan.records, false, backend)?;
    std::fs::remove_dir_all(&journal)?;
    let (append, append_interrupted) = append_costs(&journal, plan.records.min(2_000_000), cores)?;
    let slow = ours::paced(&journal, 1_000_000, plan.paced_ms)?;
    std::fs::remove_dir_all(&journal)?;
    let fast = ours::paced(&journal, 10_000_000, plan.paced_ms)?;
    std::fs::remove_dir_all(&journal)?;
    let in_thread = disk::buffered_in_thread(&raw, plan.records.min(2_000_000))?;
    let beside = disk::buffered_beside(&raw, plan.records.min(2_000_000))?;
    let mapped = mapped::mapped(&raw, plan.records.min(2_000_000))?;
    std::fs::remove_file(&raw)?;
    let replay::Ratios { journal_over_file, cold_over_warm } = recorded.ratios()?;

    let restart = restart::measure(&journal, plan.restart_orders, plan.restart_tail)?;
    std::fs::remove_dir_all(&journal)?;

    let (slow_p50, slow_p99) = percentiles(slow.latencies_ns);
    let (fast_p50, _) = percentiles(fast.latencies_ns);
    Ok(Round {
        throughput_over_disk: prepared * 64.0 / limit.write(),
        throughput_over_new: prepared * 64.0 / limit.write_new(),
        sustained_over_disk: sustained * 64.0 / limit.write(),
        append,
        append_interrupted,
        p50_over_raw: slow_p50 / synced.0,
        p99_over_raw: slow_p99 / synced.1,
        p50_10m_over_1m: fast_p50 / slow_p50,
        cold_over_disk: cold * 64.0 / limit.read(),
        warm_per_second: warm,
        space_overhead: fast.space_overhead,
        buffered_in_thread_over_ours: in_thread / prepared,
        buffered_beside_over_ours: beside / prepared,
        mapped_over_ours: mapped / prepared,
        journal_over_file,
        cold_over_warm,
        limit,
        durable_p50_ns: slow_p50,
        durable_p99_ns: slow_p99,
        restart,
    })
}

/// What an append costs on the core that devices interrupt least, and on the one that they interrupt most.
fn append_costs(journal: &Path, records: u64, cores: &[usize]) -> anyhow::Result<(ours::AppendCost, ours::AppendCost)> {
    let on = |core: usize| -> anyhow::Result<(u64, ours::AppendCost)> {
        let before = interrupts::of_devices(core);
        let cost = std::thread::scope(|scope| {
            let measured = scope.spawn(|| {
                // The thread that started it is pinned.
                ours::floats();
                pin_to(core)?;
                ours::append_cost(journal, records)
            });
            measured.join().expect("measuring does not panic")
        })?;
        std::fs::remove_dir_all(journal)?;
        Ok((interrupts::of_devices(core) - before, cost))
    };
    let mut costs = cores.iter().copied().map(on).collect::<Result<Vec<_>, _>>()?;
    costs.sort_by_key(|&(interrupts, _)| interrupts);
    match costs[..] {
        [(_, least), .., (_, most)] => Ok((least, most)),
        [(_, only)] => Ok((only, only)),
        [] => bail!("no core to measure on"),
    }
}

/// The median and the 99th percentile.
fn percentiles(mut values: Vec<u64>) -> (f64, f64) {
    values.sort_unstable();
    let at = |part: f64| values.get((values.len() as f64 * part) as usize).copied().unwrap_or(0) as f64;
    (at(0.5), at(0.99))
}
