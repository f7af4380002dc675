//! Instruction counts of single actions on warm books, and of sending an intent: `cargo bench -p tickcore-latency-bench --bench
//! instructions`.
//!
//! The bench runs itself under `valgrind --tool=callgrind`, which counts what [`counted_by_callgrind`] and its like
//! execute, prints the counts beside those of `instructions.json`, and fails when an action takes over 2 % more than is
//! recorded there by the same compiler. `-- --record` writes the file anew. Counts are exact and repeatable; what they say
//! nothing of is memory. So "cold" means another way through the code: the first order of its id page, the first or only
//! order of its level, a level outside of the window.
//!
//! Run without `--bench`, by `cargo test --all-targets`, it only looks whether every action fits its books.

use anyhow::{Context, bail, ensure};
use std::env;
use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use tickcore::engine::{self, Config};
use tickcore::outputs::{Intent, OutputConfig, OutputHook};
use tickcore::pin::Cores;
use tickcore::strategy::{Context as StrategyContext, Strategy};
use tickcore_book::{Arena, Books, Capacity, Event, InstrumentId, Kind, Price};
use tickcore_feed::batch::EventBatch;
use tickcore_feed::source::{ItchBytes, ItchOptions, Source};
use tickcore_latency_bench::day::Day;
use tickcore_latency_bench::instructions::{Count, Record, Verdict, per_event, totals};
use tickcore_latency_bench::warm::{BATCH_EVENTS, FIRST_HASHED_ID, FIRST_ID, Warm, bid, delete, less, replace};

const DAY_MESSAGES: u64 = 400_000;
const DAY_INSTRUMENTS: u32 = 200;
const CAPACITY: Capacity = Capacity { instruments_max: 1 << 11, orders_max: 1 << 17, levels_max: 1 << 16 };

/// Messages of the day's other half that whole loops are counted on.
const LOOP_MESSAGES: u64 = 60_000;

/// Messages of a day of its own whose events have a strategy send.
const SEND_MESSAGES: u64 = 20_000;
/// Lines of an output ring for all that it sends, and for little of it.
const SEND_LINES: [usize; 2] = [1 << 16, 1 << 6];

/// Events of a warm action: with one that stays they share a page of ids.
const WARM_EVENTS: u64 = 200;
/// Events of a cold action, each to an instrument of its own.
const COLD_EVENTS: u64 = 64;
/// No two ids this far apart share a page.
const PAGE_IDS: u64 = 1 << 10;
/// Ids that an action may use.
const ACTION_IDS: u64 = 1 << 18;
/// Levels of the deep book, and where in it, counted from the best, actions begin.
const DEEP_LEVELS: u64 = 5_000;
const DEEP_LEVELS_AHEAD: u64 = 4_000;

const CENT: i64 = Price::SCALE / 100;
/// Best bid of the instruments that are not the day's.
const BEST: Price = Price(100 * Price::SCALE);
/// Far outside of any window.
const FAR_CENTS: u64 = 1_000;

/// Callgrind's patterns of the functions that are counted, and of the one whose end writes the count down. Of two patterns
/// that one function fits, callgrind would take one.
const COUNTED: &str = "*counted_by_callgrind*";
const WRITTEN: &str = "*written_by_callgrind*";

/// What is counted when there is nothing to do: part of every other count.
const NOTHING: &str = "nothing";
/// The action whose count is compared with itself plus an injected cost, which must be seen.
const CONTROLLED: &str = "add_at_touch_warm";
const CONTROL: &str = "control";
const CONTROL_EXTRA: u32 = 3;

/// An action: events that prepare it, the events that are counted, events that leave the books as they were.
struct Action {
    name: &'static str,
    before: Vec<Event>,
    counted: Vec<Event>,
    after: Vec<Event>,
}

/// The actions so far, on these books.
struct Actions<'w> {
    warm: &'w Warm<'w>,
    list: Vec<Action>,
}

impl Actions<'_> {
    /// First id of the next action's orders.
    fn first_id(&self) -> u64 {
        FIRST_ID + self.list.len() as u64 * ACTION_IDS
    }

    fn push(&mut self, name: &'static str, before: Vec<Event>, counted: Vec<Event>, after: Vec<Event>) {
        self.list.push(Action { name, before, counted, after });
    }

    /// An action on the day's busy instrument. `id_of` gives ids from numbers, of which 0 and 256 are for orders that keep
    /// their page in use.
    fn push_warm(
        &mut self,
        name: &'static str,
        is_there_before: bool,
        id_of: impl Fn(u64) -> u64,
        event: impl Fn(&Warm<'_>, u64) -> Event,
    ) {
        let warm = self.warm;
        let add = |number| bid(warm.instrument, id_of(number), warm.best_bid());
        let end = |number| delete(warm.instrument, id_of(number));
        let numbers = 1..=WARM_EVENTS;
        let counted: Vec<Event> = numbers.clone().map(|number| event(warm, number)).collect();
        let mut before = vec![add(0), add(256)];
        let mut after = vec![end(0), end(256)];
        if is_there_before {
            before.extend(numbers.clone().map(add));
        }
        match counted[0].kind() {
            Some(Kind::Execute | Kind::Delete) => {}
            Some(Kind::Replace) => after.extend(numbers.map(|number| end(256 + number))),
            _ => after.extend(numbers.map(end)),
        }
        self.push(name, before, counted, after);
    }

    /// An action on instruments of their own, with bids on ten levels a cent apart below [`BEST`] when `has_levels`. The
    /// order at hand rests at `price` beforehand unless the action adds it, alone at its level and in its page.
    fn push_cold(
        &mut self,
        name: &'static str,
        has_levels: bool,
        price: Price,
        event: impl Fn(InstrumentId, u64) -> Event,
    ) {
        const LEVELS: u64 = 10;
        let first_instrument = DAY_INSTRUMENTS + 1 + self.list.len() as u32 * COLD_EVENTS as u32;
        let first_id = self.first_id();
        let first_level_id = first_id + 2 * COLD_EVENTS * PAGE_IDS;
        let (mut before, mut counted, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..COLD_EVENTS {
            let instrument = InstrumentId(first_instrument + number as u32);
            for level in (0..LEVELS).filter(|_| has_levels) {
                let id = first_level_id + number * LEVELS + level;
                before.push(bid(instrument, id, below_best(level + 1)));
                after.push(delete(instrument, id));
            }
            let id = first_id + number * PAGE_IDS;
            let event = event(instrument, id);
            if event.kind() != Some(Kind::Add) {
                before.push(bid(instrument, id, price));
            }
            match event.kind() {
                Some(Kind::Execute | Kind::Delete) => {}
                Some(Kind::Replace) => after.push(delete(instrument, event.reference)),
                _ => after.push(delete(instrument, id)),
            }
            counted.push(event);
        }
        self.push(name, before, counted, after);
    }

    /// An action far down a book of thousands of levels.
    fn push_deep(&mut self, name: &'static str, event: impl Fn(InstrumentId, u64, u64) -> Event) {
        let instrument = InstrumentId(DAY_INSTRUMENTS + 1 + self.list.len() as u32 * COLD_EVENTS as u32);
        let first_id = self.first_id();
        let before = (0..DEEP_LEVELS).map(|level| bid(instrument, first_id + level, below_best(level))).collect();
        let step = (DEEP_LEVELS - DEEP_LEVELS_AHEAD) / COLD_EVENTS;
        let levels = (0..COLD_EVENTS).map(|number| DEEP_LEVELS_AHEAD + number * step);
        let counted: Vec<Event> = levels.map(|level| event(instrument, first_id, level)).collect();
        let is_gone =
            |id: u64| counted.iter().any(|event| event.kind() == Some(Kind::Delete) && event.order_id.0 == id);
        let mut after: Vec<Event> =
            (first_id..first_id + DEEP_LEVELS).filter(|&id| !is_gone(id)).map(|id| delete(instrument, id)).collect();
        after.extend(
            counted
                .iter()
                .filter(|event| event.kind() == Some(Kind::Add))
                .map(|event| delete(instrument, event.order_id.0)),
        );
        self.push(name, before, counted, after);
    }
}

/// A price some cents below [`BEST`].
const fn below_best(cents: u64) -> Price {
    Price(BEST.0 - cents as i64 * CENT)
}

fn actions(warm: &Warm<'_>) -> Vec<Action> {
    let mut actions = Actions { warm, list: Vec::new() };
    actions.push(NOTHING, Vec::new(), Vec::new(), Vec::new());
    let instrument = warm.instrument;

    let id_from = |first: u64| move |number| first + number;
    let id = id_from(actions.first_id());
    actions.push_warm(CONTROLLED, false, id, |warm, number| bid(instrument, id(number), warm.best_bid()));
    let id = id_from(actions.first_id());
    actions.push_warm("add_deep_warm", false, id, |warm, number| {
        bid(instrument, id(number), warm.deep_bid(number as usize))
    });
    let id = id_from(actions.first_id());
    actions.push_warm("execute_warm", true, id, |_, number| less(Kind::Execute, instrument, id(number), 100));
    let id = id_from(actions.first_id());
    actions.push_warm("reduce_warm", true, id, |_, number| less(Kind::Reduce, instrument, id(number), 40));
    let id = id_from(actions.first_id());
    actions.push_warm("delete_warm", true, id, |_, number| delete(instrument, id(number)));
    let id = id_from(actions.first_id());
    actions.push_warm("replace_warm", true, id, |warm, number| {
        replace(instrument, id(number), id(256 + number), warm.deep_bid(number as usize))
    });

    let far = below_best(FAR_CENTS);
    actions.push_cold("add_at_touch_cold", false, BEST, |instrument, id| bid(instrument, id, BEST));
    actions.push_cold("add_deep_cold", true, far, |instrument, id| bid(instrument, id, far));
    actions.push_cold("execute_cold", true, BEST, |instrument, id| less(Kind::Execute, instrument, id, 100));
    actions.push_cold("reduce_cold", true, far, |instrument, id| less(Kind::Reduce, instrument, id, 40));
    actions.push_cold("delete_cold", true, far, delete);
    actions.push_cold("replace_cold", true, far, |instrument, id| {
        replace(instrument, id, id + COLD_EVENTS * PAGE_IDS, below_best(2 * FAR_CENTS))
    });

    // Any numbers: an odd factor makes no two ids the same.
    let hashed_from =
        |first: u64| move |number: u64| FIRST_HASHED_ID | (first + number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let id = hashed_from(actions.first_id());
    actions.push_warm("add_hashed", false, id, |warm, number| bid(instrument, id(number), warm.best_bid()));
    let id = hashed_from(actions.first_id());
    actions.push_warm("execute_hashed", true, id, |_, number| less(Kind::Execute, instrument, id(number), 100));
    let id = hashed_from(actions.first_id());
    actions.push_warm("delete_hashed", true, id, |_, number| delete(instrument, id(number)));

    actions.push_deep("add_far_of_5000_levels", |instrument, first_id, level| {
        let price = Price(below_best(level).0 - CENT / 2);
        bid(instrument, first_id + 2 * DEEP_LEVELS + level, price)
    });
    actions.push_deep("delete_far_of_5000_levels", |instrument, first_id, level| delete(instrument, first_id + level));

    // Bids that rise by eight cents each: the window follows.
    let (first_id, rising) = (actions.first_id(), InstrumentId(CAPACITY.instruments_max));
    let rise = |number: u64| bid(rising, first_id + number, Price(BEST.0 + 8 * CENT * number as i64));
    let before = (1..64).map(|cents| bid(rising, first_id + PAGE_IDS + cents, below_best(cents))).collect();
    let ids = (0..WARM_EVENTS).chain(PAGE_IDS + 1..PAGE_IDS + 64);
    let after = ids.map(|number| delete(rising, first_id + number)).collect();
    actions.push("add_rising", before, (0..WARM_EVENTS).map(rise).collect(), after);
    actions.list
}

/// Applies events one by one. `extra` is an injected cost, 0 but for the control.
#[inline(never)]
fn counted_by_callgrind(books: &mut Books<'_>, events: &[Event], extra: u32) {
    for event in events {
        black_box(books.apply(black_box(event)));
        for _ in 0..extra {
            black_box(extra);
        }
    }
}

/// Applies events in batches, looking ahead, as the engine does.
#[inline(never)]
fn counted_by_callgrind_batches(books: &mut Books<'_>, events: &[Event]) {
    for batch in events.chunks(BATCH_EVENTS) {
        books.begin_look_ahead(batch);
        for (place, event) in batch.iter().enumerate() {
            books.look_ahead(&batch[place..]);
            black_box(books.apply(event));
        }
    }
}

/// Decodes messages.
#[inline(never)]
fn counted_by_callgrind_decode(source: &mut ItchBytes<'_>, batch: &mut EventBatch, messages: u64) {
    let last = source.counts().messages + messages;
    while source.counts().messages < last {
        batch.clear();
        if source.fill(batch, (last - source.counts().messages) as usize).is_err() {
            break;
        }
        black_box(batch.as_slice());
    }
}

/// Sends an intent.
#[inline(never)]
fn counted_by_callgrind_send(context: &mut StrategyContext<'_, '_>, intent: &Intent) -> bool {
    black_box(context.send(black_box(intent))).is_ok()
}

/// Sends an intent at each event; what fills the ring first is not counted.
struct Sending {
    uncounted: usize,
    counted: u64,
}

impl Strategy for Sending {
    fn on_event(&mut self, context: &mut StrategyContext<'_, '_>, event: &Event) {
        let intent = Intent { instrument: event.instrument, price: event.price, ..Intent::default() };
        if self.uncounted > 0 {
            self.uncounted -= 1;
            _ = context.send(&intent);
        } else {
            counted_by_callgrind_send(context, &intent);
            self.counted += 1;
        }
    }
}

/// Has a strategy send into a ring of so many lines that nobody reads. Says how many of its intents were refused, and how many were
/// counted.
fn send_all(lines: usize, uncounted: usize) -> anyhow::Result<(u64, u64)> {
    let day = Day::generate(SEND_MESSAGES, DAY_INSTRUMENTS, 2)?;
    let (sender, readers) = mpsc::channel();
    // As long as it is there, the ring is not written over.
    let on_start = OutputHook::new(move |tap| _ = sender.send(tap.reader()));
    let config = Config {
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: CAPACITY,
        latency_sample_interval: 0,
        outputs: Some(OutputConfig { lines, readers_max: 1, on_start }),
        ..Config::default()
    };
    let source = ItchBytes::new(&day.bytes, &ItchOptions::default());
    let strategy = Sending { uncounted, counted: 0 };
    let outcome = engine::run(&config, source, strategy)?;
    readers.try_recv().context("a ring has a reader")?.context("and room for it")?;
    Ok((outcome.outputs[0].refused, outcome.strategy.counted))
}

/// Tells callgrind to write down what was counted since the last time.
#[inline(never)]
fn written_by_callgrind() {
    black_box(());
}

/// Does everything once and says what was counted, in order: name, and events or messages.
fn count_all() -> anyhow::Result<Vec<(&'static str, u64)>> {
    let day = Day::generate(DAY_MESSAGES, DAY_INSTRUMENTS, 1)?;
    let arena = Arena::new(CAPACITY.arena_bytes())?;
    let (mut warm, mut source) = Warm::new(Books::new(&arena, CAPACITY)?, &day);
    let state_digest = warm.books.state_digest();
    let mut done = Vec::new();
    let mut run = |warm: &mut Warm<'_>, name, Action { before, counted, after, .. }: &Action, extra| {
        warm.apply_all(before);
        counted_by_callgrind(&mut warm.books, counted, extra);
        written_by_callgrind();
        warm.apply_all(after);
        done.push((name, counted.len() as u64));
        ensure!(warm.books.anomalies().total() == 0, "{name} met an anomaly");
        ensure!(warm.books.state_digest() == state_digest, "{name} left other books behind");
        Ok(())
    };
    let actions = actions(&warm);
    for action in &actions {
        run(&mut warm, action.name, action, 0)?;
    }
    let controlled = actions.iter().find(|action| action.name == CONTROLLED).context("nothing to control")?;
    run(&mut warm, CONTROL, controlled, CONTROL_EXTRA)?;

    let mut events = Vec::new();
    let mut batch = EventBatch::new(BATCH_EVENTS);
    let last = source.counts().messages + LOOP_MESSAGES;
    while source.counts().messages < last {
        batch.clear();
        source.fill(&mut batch, (last - source.counts().messages) as usize)?;
        events.extend_from_slice(batch.as_slice());
    }
    let (one_by_one, batches) = events.split_at(events.len() / 2);
    counted_by_callgrind(&mut warm.books, one_by_one, 0);
    written_by_callgrind();
    done.push(("day_one_by_one", one_by_one.len() as u64));
    counted_by_callgrind_batches(&mut warm.books, batches);
    written_by_callgrind();
    done.push(("day_batches", batches.len() as u64));
    counted_by_callgrind_decode(&mut source, &mut batch, LOOP_MESSAGES);
    written_by_callgrind();
    done.push(("day_decode", LOOP_MESSAGES));
    ensure!(warm.books.anomalies().total() == 0, "a generated day fits");

    let [wide, narrow] = SEND_LINES;
    let (refused, sent) = send_all(wide, 1)?;
    written_by_callgrind();
    ensure!(refused == 0, "{refused} of {sent} intents were refused");
    done.push(("send", sent));
    // The first that is refused is not counted.
    let (refused, tried) = send_all(narrow, narrow + 1)?;
    written_by_callgrind();
    ensure!(refused == tried + 1, "{refused} of {tried} intents were refused");
    done.push(("send_refused", tried));
    Ok(done)
}

/// A folder for callgrind's output, gone in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("tickcore-instructions-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("{}: cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Counts, and what [`CONTROL`] took; `None` without valgrind.
fn counts() -> anyhow::Result<Option<(Record, f64)>> {
    let scratch = Scratch::new()?;
    let dumps = scratch.0.join("dumps");
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(&dumps);
    let child = Command::new("valgrind")
        .args(["-q", "--tool=callgrind", "--combine-dumps=yes", "--compress-strings=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={WRITTEN}"))
        .arg(out_file)
        .arg(env::current_exe()?)
        .args(["--bench", "--count"])
        .stdout(Stdio::piped())
        .spawn();
    let child = match child {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        child => child.context("valgrind cannot be run")?,
    };
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "under valgrind: {}; it may not know all instructions of this processor: build without target-cpu",
        output.status
    );
    let totals = totals(&fs::read_to_string(&dumps).with_context(|| format!("{}: no counts", dumps.display()))?)?;
    let done = String::from_utf8(output.stdout)?;
    let done: Vec<(&str, u64)> = done
        .lines()
        .map(|line| {
            let (name, events) = line.split_once(' ').context("the counted run says something else")?;
            Ok((name, events.parse()?))
        })
        .collect::<anyhow::Result<_>>()?;
    ensure!(totals.len() == done.len(), "{} counts of {} actions", totals.len(), done.len());
    let mut nothing = 0;
    let mut control = None;
    let mut counts = Vec::new();
    for ((name, events), total) in done.into_iter().zip(totals) {
        match name {
            NOTHING => nothing = total,
            CONTROL => control = Some(per_event(total, nothing, events)?),
            _ => counts.push(Count { action: name.to_owned(), per_event: per_event(total, nothing, events)? }),
        }
    }
    let record = Record { compiler: env!("COMPILER").to_owned(), counts };
    Ok(Some((record, control.context("no control was counted")?)))
}

fn record_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

/// Counts and compares. Whether nothing is worse.
fn compare(is_to_record: bool) -> anyhow::Result<bool> {
    let Some((now, control)) = counts()? else {
        eprintln!("skipped: there is no valgrind, which counts; install it (Debian: apt-get install valgrind)");
        return Ok(true);
    };
    let mut injected = now.clone();
    injected.counts.retain(|count| count.action == CONTROLLED);
    injected.counts.iter_mut().for_each(|count| count.per_event = control);
    if now.verdicts(&injected) != [Verdict::Worse] {
        bail!("an injected cost was not seen ({control} instructions in {CONTROLLED}): do not trust the other counts");
    }
    let path = record_path();
    if is_to_record {
        fs::write(&path, now.to_json()).with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    let recorded = fs::read_to_string(&path)
        .with_context(|| format!("{}: cannot be read; -- --record writes it", path.display()))?;
    let recorded = Record::from_json(&recorded).with_context(|| format!("{}: no record", path.display()))?;
    print!("{}", recorded.table(&now));
    for gone in recorded.missing_from(&now) {
        println!("{gone:<28} is recorded, but no action any more: -- --record writes the file anew");
    }
    let is_worse = recorded.verdicts(&now).contains(&Verdict::Worse);
    if recorded.compiler != now.compiler {
        eprintln!(
            "warning: recorded with {}, counted with {}: a difference may be the compiler's, so nothing fails",
            recorded.compiler, now.compiler
        );
        return Ok(true);
    }
    if is_worse {
        eprintln!(
            "over 2 % worse than recorded: find the cause, or record the price of what was gained by -- --record"
        );
    }
    Ok(!is_worse)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    if let Some(unknown) =
        arguments.iter().find(|option| has("--bench") && !["--bench", "--record", "--count"].contains(&option.as_str()))
    {
        eprintln!("unknown option {unknown}; there is --record, which writes the counts into instructions.json");
        return ExitCode::from(2);
    }
    let done = match (has("--bench"), has("--count")) {
        (true, false) => compare(has("--record")),
        (is_bench, _) => count_all().map(|done| {
            let say = |(name, events): &(&str, u64)| {
                if is_bench {
                    println!("{name} {events}")
                }
            };
            done.iter().for_each(say);
            true
        }),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instruction counts failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
