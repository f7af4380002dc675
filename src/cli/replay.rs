//! `replay`: the main job. Market data in, books and a journal out, with a summary of both and of how fast it was.

use super::args::ReplayArgs;
use super::measured::Measurement;
use super::observer::Observer;
use super::on_seal::{Helpers, Sealed};
use super::progress::{Bar, Unit};
use super::select::{self, Usage};
use super::shard_map::{self, Spread};
use super::signal::Interrupted;
use super::summary::{self, Described};
use super::table::{align_right, table};
use super::time::TimeBase;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::env;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::{self, ExitCode};
use std::time::{SystemTime, UNIX_EPOCH};
use tickcore::book::{Capacity, Event, InstrumentId, Kind, Sequence, TimestampNs};
use tickcore::engine::{self, Config, Progress};
use tickcore::feed::batch::{EventBatch, MAX_EVENTS_PER_MESSAGE};
use tickcore::feed::source::{Filled, Source};
use tickcore::inputs::Inputs;
use tickcore::journal::{Capacities, Metadata};
use tickcore::latency::{grouped, text_table, write_report};
use tickcore::outcome::{End, Outcome};
use tickcore::pace::Pace;
use tickcore::pin::{Cores, started_on};
use tickcore::topology::helper_cores;
use tickcore::{JournalConfig, LoadedCheckpoint, StrictAnomaly};

pub(crate) fn run(args: &ReplayArgs) -> Result<ExitCode> {
    if args.inputs.is_empty() {
        // Only --memory goes without.
        return print_memory(args, select::capacity(args.capacity, None, None)?);
    }
    let cores = select::cores(args.cores.as_ref());
    let helpers = helper_cores(args.topology.into(), shard_map::count(args)?, &cores, args.journal.is_some());
    // A topology that does not fit is for the run to refuse.
    let open = || select::open_inputs(&args.inputs, args.selection.date.as_deref());
    let mut inputs = started_on(helpers.as_deref().unwrap_or_default(), open)?;
    let resumed = resumed_metadata(args);
    let capacity = select::capacity(args.capacity, Some(&inputs), resumed.as_ref())?;
    if args.memory {
        return print_memory(args, capacity);
    }
    let base = select::time_base(&inputs);
    let spread = shard_map::spread(args)?;
    if args.print_shard_map {
        spread.print(&mut io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let start = start(&mut inputs, capacity)?;
    let mut config = Config { start, ..config(args, &inputs, capacity, base, &spread)? };
    let helpers = helpers.unwrap_or_default();
    let beside = started_on(&helpers, || start_helpers(args, &mut config, helpers.clone()))?;
    if config.cores == Cores::Unpinned {
        eprintln!("tickcore: threads are not pinned, as asked: times say little");
    }
    let interrupted = Interrupted::listen()?;
    let files = inputs.progress();
    let bar = Bar::new(files.iter().map(|file| file.file_size()).sum(), Unit::Bytes);
    let cores = config.shards.count();
    let mut observers = Observer::of_cores(cores, &args.selection.symbols, args.bbo_ring.as_deref())?.into_iter();
    let make = |_| observers.next().expect("one for each book core");
    let measurement = Measurement::begin(args);
    let outcome = engine::run_sharded(&config, inputs, make, |progress| {
        match progress {
            Progress::Notice { text } => eprintln!("tickcore: {text}"),
            Progress::Preparing { bytes_touched, bytes } => {
                bar.set(bytes_touched, bytes.max(1), "touching memory".to_owned());
            }
            Progress::Running { events } | Progress::Draining { events } => {
                let (done, all) =
                    files.iter().fold((0, 0), |(done, all), file| (done + file.bytes_read(), all + file.file_size()));
                bar.set(done, all.max(1), format!("{} events", grouped(events)));
            }
            Progress::Overdue { threads } => {
                let names: Vec<String> = threads.iter().map(ToString::to_string).collect();
                eprintln!(
                    "tickcore: the drain deadline passed and {} does not come to an end: leaving as after a crash; the journal is good up to its durable sequence",
                    names.join(", ")
                );
                process::exit(1);
            }
        }
        if interrupted.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish();
    let sealed = beside.and_then(Helpers::finish);
    report(args, base, &outcome, &measurement, &spread, sealed)
}

/// Starts what the flags of the journal want beside it.
fn start_helpers(args: &ReplayArgs, config: &mut Config, cores: Vec<usize>) -> Result<Option<Helpers>> {
    let Some(journal) = config.journal.as_mut().filter(|_| args.journaling.wants_helper()) else { return Ok(None) };
    let (helpers, handle) = Helpers::start(&journal.dir, args.journaling.journal_on_seal.as_deref(), cores)?;
    journal.options.helper = Some(handle);
    Ok(Some(helpers))
}

fn config(args: &ReplayArgs, inputs: &Inputs, capacity: Capacity, base: TimeBase, spread: &Spread) -> Result<Config> {
    let options = args.journaling.options(args.pace != Pace::Max)?;
    let journal = args.journal.as_ref().map(|dir| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let paths: Vec<String> = args.inputs.iter().map(|path| path.display().to_string()).collect();
        JournalConfig {
            dir: dir.clone(),
            resume: args.resume,
            options,
            policy: args.journaling.policy(),
            metadata: Metadata {
                created: TimestampNs(now.as_nanos() as u64),
                has_times_since_midnight: base == TimeBase::Midnight,
                capacities: Capacities {
                    instruments_max: capacity.instruments_max.into(),
                    orders_max: capacity.orders_max.into(),
                    levels_max: capacity.levels_max.into(),
                },
                input: shortened(&paths.join(", ")),
            },
        }
    });
    if let (Some(dir), [input]) = (&args.journal, args.inputs.as_slice())
        && inputs.metadata().is_some()
        && dir == input
    {
        return Err(Usage(format!("{}: a journal cannot be replayed into itself", dir.display())).into());
    }
    if matches!(args.pace, Pace::Times(_)) && args.inputs.len() > 1 {
        let rule =
            "a pace by exchange time is for one session: replay the inputs one by one, or give events per second";
        return Err(Usage(rule.to_owned()).into());
    }
    Ok(Config {
        topology: args.topology.into(),
        cores: select::cores(args.cores.as_ref()),
        oversubscribe: args.oversubscribe,
        capacity,
        pace: args.pace,
        from: select::parse_time(base, args.from.as_deref(), TimestampNs(0))?,
        to: select::parse_time(base, args.to.as_deref(), TimestampNs(u64::MAX))?,
        symbols: args.selection.symbols.clone(),
        is_strict: args.strict,
        keeps_digests: true,
        latency_sample_interval: args.latency_sample,
        journal,
        checkpoint_every: args.checkpoint_every(),
        shards: spread.map.clone(),
        stat_file: args.stat_file.clone(),
        description: env::args().skip(1).collect::<Vec<_>>().join(" "),
        stall_threshold_ns: u64::from(args.stall_threshold) * 1_000,
        drain_deadline: args.drain_deadline,
        ..Config::default()
    })
}

/// The checkpoint that stands for the beginning of a journal whose first segments were released: without one its books
/// cannot be built, and the run says so.
fn start(inputs: &mut Inputs, capacity: Capacity) -> Result<Option<LoadedCheckpoint>> {
    let Some(first) = inputs.journal_begins_at().filter(|&first| first > Sequence(1)) else { return Ok(None) };
    let (found, notices) = LoadedCheckpoint::oldest(inputs.current_path(), capacity)?;
    notices.iter().for_each(|notice| eprintln!("tickcore: {notice}"));
    if let Some(checkpoint) = &found {
        eprintln!(
            "tickcore: the journal begins at sequence {first}: the books begin with the checkpoint of sequence {}",
            checkpoint.sequence()
        );
        inputs.begin_behind(checkpoint.sequence())?;
    }
    Ok(found)
}

/// The end of a description that is too long for a journal's header: the file names are there.
fn shortened(text: &str) -> String {
    let mut start = text.len().saturating_sub(tickcore::journal::INPUT_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

/// The header of the journal that is to be resumed, if it is there; whether it is sound the engine will say.
fn resumed_metadata(args: &ReplayArgs) -> Option<Metadata> {
    let dir = args.journal.as_ref().filter(|_| args.resume)?;
    tickcore::journal::info(dir).ok().map(|info| info.metadata)
}

fn print_memory(args: &ReplayArgs, capacity: Capacity) -> Result<ExitCode> {
    let memory = if args.json { format!("{}\n", memory_json(capacity)) } else { memory_table(capacity) };
    write!(io::stdout(), "{memory}")?;
    Ok(ExitCode::SUCCESS)
}

fn memory_json(capacity: Capacity) -> Value {
    let rows = capacity
        .memory()
        .into_iter()
        .map(|row| json!({"part": row.part, "number": row.count, "bytes_each": row.bytes_each, "bytes": row.bytes()}));
    json!({"bytes": capacity.arena_bytes(), "parts": rows.collect::<Vec<_>>()})
}

fn memory_table(capacity: Capacity) -> String {
    let mut table = table(["part", "number", "bytes each", "bytes"]);
    for row in capacity.memory() {
        table.add_row([
            row.part.to_owned(),
            grouped(row.count as u64),
            grouped(row.bytes_each as u64),
            grouped(row.bytes() as u64),
        ]);
    }
    table.add_row(["all".to_owned(), String::new(), String::new(), grouped(capacity.arena_bytes() as u64)]);
    align_right(&mut table, 1);
    format!("{table}\n")
}

/// Prints the outcome, writes the report, and says what went wrong.
fn report(
    args: &ReplayArgs,
    base: TimeBase,
    outcome: &Outcome<Inputs, Vec<Observer>>,
    measurement: &Measurement,
    spread: &Spread,
    sealed: Option<Sealed>,
) -> Result<ExitCode> {
    let counts = outcome.source.total_counts();
    let described = Described {
        inputs: outcome.source.paths(),
        format: outcome.source.format(),
        counts: &counts,
        times_are_since_midnight: base == TimeBase::Midnight,
        spread,
        pace: args.pace,
        sample_interval: args.latency_sample,
        sealed,
    };
    if let Some(journal) = &outcome.journal {
        journal.notices.iter().for_each(|notice| eprintln!("tickcore: {notice}"));
    }
    if outcome.machine.huge_page_bytes == 0 {
        eprintln!(
            "tickcore: the machine gave no huge pages, the books are on small ones: enable transparent_hugepage=madvise"
        );
    }
    let latency = measurement.report(args, outcome, &counts);
    if args.json {
        writeln!(io::stdout(), "{}", summary::json(outcome, &described))?;
    } else {
        write!(io::stdout(), "{}\n{}", summary::text(outcome, &described), text_table(&latency.stages))?;
    }
    if let Some(dir) = &args.report {
        for path in write_report(dir, &latency)? {
            eprintln!("tickcore: wrote {}", path.display());
        }
    }
    let mut journal_error = outcome.journal.as_ref().and_then(|journal| journal.error.as_ref());
    if let Some(error) = journal_error.take_if(|_| outcome.is_unjournaled) {
        let last = outcome.journal.as_ref().map_or(Sequence(0), |journal| journal.durable_sequence);
        eprintln!(
            "tickcore: this run is UNJOURNALED behind event {last}, as --journal-failure carry-on asks: {error}; for a whole journal run it again with --resume"
        );
    }
    let path = outcome.source.current_path().display();
    match &outcome.end {
        End::Complete => {}
        End::Stopped if journal_error.is_some() => {}
        End::Stopped => {
            eprintln!("tickcore: stopped as asked after {} events; all of them were applied", grouped(outcome.events));
            return Ok(ExitCode::SUCCESS);
        }
        End::Overdue { events_left, not_durable } => bail!(
            "the drain deadline passed: {} events that were let in were not applied, {} are not durable in the journal; allow more with --drain-deadline, or go on with --resume",
            grouped(*events_left),
            grouped(*not_durable)
        ),
        End::SourceFailed(error) => bail!("{error}"),
        End::Anomaly(anomaly) => bail!("{}", located(args, anomaly)?),
        End::Skipped(skipped) => bail!(
            "strict: {path}: after event {}: {skipped}; leave --strict away to skip and count such messages",
            outcome.events
        ),
        End::Truncated { offset, bytes } => bail!(
            "strict: {path}: offset {offset}: the last message is cut, {bytes} bytes of it are there; fetch the file again, or leave --strict away"
        ),
        _ => bail!("the run ended in an unknown way"),
    }
    if let Some(error) = journal_error {
        bail!("{error}");
    }
    // A name is absent when no core has it.
    let has = |check: &Observer, name: &str| !check.absent.iter().any(|absent| absent == name);
    select::check_symbols(&args.selection.symbols, |name| outcome.strategy.iter().any(|check| has(check, name)))?;
    Ok(ExitCode::SUCCESS)
}

/// Says where in the input an event that did not fit came from, by decoding the input again up to it.
fn located(args: &ReplayArgs, anomaly: &StrictAnomaly) -> Result<String> {
    let StrictAnomaly { sequence, anomaly, event } = anomaly;
    let mut inputs = select::open_inputs(&args.inputs, args.selection.date.as_deref())?;
    let mut batch = EventBatch::new(MAX_EVENTS_PER_MESSAGE);
    let mut names: HashMap<InstrumentId, String> = HashMap::new();
    let mut seen = Sequence(0);
    loop {
        batch.clear();
        let (offset, path) = (inputs.counts().bytes, inputs.current_path().to_owned());
        match inputs.fill(&mut batch, 1).context("decoding again to find the message")? {
            Filled::End => bail!("event {sequence} did not fit ({}), and the input has changed since", anomaly.name()),
            Filled::Pending => std::thread::yield_now(),
            Filled::Events => {}
        }
        for named in batch.as_slice().iter().filter(|event| event.kind() == Some(Kind::InstrumentName)) {
            names.insert(named.instrument, name_of(named));
        }
        seen = Sequence(seen.get() + batch.len() as u64);
        if seen >= *sequence {
            let kind = event.kind().map_or("event of an unknown kind", Kind::name);
            let name = names.get(&event.instrument).map_or("unnamed", String::as_str);
            // Events of a journal stand at their sequence, not at an offset of any message.
            let place = if inputs.metadata().is_some() { String::new() } else { format!("offset {offset}, ") };
            return Ok(format!(
                "strict: {}: {place}sequence {sequence}: {} by {kind} of order {} in instrument {} ({name}); leave --strict away to count anomalies and go on",
                path.display(),
                anomaly.name(),
                event.order_id,
                event.instrument,
            ));
        }
    }
}

fn name_of(event: &Event) -> String {
    let part = event.name_part();
    let length = part.iter().position(|&byte| byte == 0).unwrap_or(part.len());
    String::from_utf8_lossy(&part[..length]).into_owned()
}
