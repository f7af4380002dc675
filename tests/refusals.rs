//! Refused intents: what an output ring had no room for is recorded with the next output, so that a strategy that acts on it is repeated.

mod common;

use common::day::{Dice, generated};
use common::halting::Halting;
use common::journal::recording;
use common::trader::{Gateway, Outputs};
use core::num::NonZeroU64;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;
use tickcore::book::{Bbo, Capacity, Event, InstrumentId, OrderId, Price, Sequence, mix};
use tickcore::checkpoint::make;
use tickcore::engine::{self, Config, Progress};
use tickcore::feed::source::{ItchBytes, ItchOptions, Source};
use tickcore::inputs::Inputs;
use tickcore::journal::{Reader, Stream, info, verify};
use tickcore::outcome::Outcome;
use tickcore::output_check::{OutputCheck, OutputCheckOutcome};
use tickcore::outputs::{Intent, OutputConfig, OutputHook, Unsent, cause_of};
use tickcore::pace::Pace;
use tickcore::pin::Cores;
use tickcore::shards::ShardMap;
use tickcore::strategy::{Context, Strategy};
use tickcore::topology::Topology;

const CAPACITY: Capacity = Capacity { instruments_max: 128, orders_max: 1 << 14, levels_max: 1 << 14 };
/// Lines of an output ring: few.
const LINES: usize = 64;
/// Set in the flags of an output when more were refused than can be counted.
const MANY: u16 = 1 << 15;
/// Bytes that are written at once, so that a cut is between them.
const WRITE_UNIT_BYTES: usize = 4096;

/// Tries an intent up to three times in a row; what it sends later, and when, follows from what was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reactive {
    chain: u64,
    /// Of all that was sent, as it knows it.
    sent: u64,
    tried: u64,
    refused: u64,
    /// Takes no notice of refusals: the negative control.
    is_deaf: bool,
}

fn fold(chain: u64, words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(chain, |chain, word| mix(chain ^ word))
}

fn fold_sent(chain: u64, number: u64, intent: &Intent) -> u64 {
    fold(chain, [number, intent.id.get(), intent.price.get().cast_unsigned(), intent.instrument.get().into()])
}

impl Strategy for Reactive {
    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, _: &Event) {
        self.chain = fold(self.chain ^ u64::from(instrument.get()), bbo.to_words());
        if !self.chain.is_multiple_of(3) {
            return;
        }
        for _ in 0..1 + self.chain % 3 {
            self.tried += 1;
            let price = Price((self.chain >> 20).cast_signed());
            let intent = Intent { instrument, id: OrderId(self.tried), price, ..Intent::default() };
            match context.send(&intent) {
                Ok(number) => {
                    self.sent = fold_sent(self.sent, number.get(), &intent);
                    return;
                }
                Err(Unsent::Full) if self.is_deaf => self.refused += 1,
                Err(Unsent::Full) => {
                    self.refused += 1;
                    self.chain = mix(self.chain);
                }
                Err(_) => return,
            }
        }
    }

    fn save(&self) -> Option<Vec<u8>> {
        let words = [self.chain, self.sent, self.tried, self.refused];
        Some(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    fn load(&mut self, state: &[u8]) -> bool {
        let (words, rest) = state.as_chunks::<8>();
        let [chain, sent, tried, refused] = words else { return false };
        [self.chain, self.sent, self.tried, self.refused] =
            [chain, sent, tried, refused].map(|word| u64::from_le_bytes(*word));
        rest.is_empty()
    }

    fn twin(&self) -> Option<Self> {
        Some(*self)
    }
}

fn config(topology: Topology, cores: u32) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: CAPACITY,
        shards: ShardMap::by_hash(cores).unwrap(),
        pace: Pace::EventsPerSecond(1_000_000),
        ..Config::default()
    }
}

/// With a journal of small segments in `directory`, which is resumed if it is there.
fn recording_small(config: Config, directory: &Path) -> Config {
    let mut config = recording(config, directory);
    let journal = config.journal.as_mut().unwrap();
    (journal.options.segment_bytes, journal.options.frame_bytes) = (1 << 20, 16 << 10);
    config
}

type Ended<R> = Outcome<R, Vec<Reactive>>;

fn run<R: Source + Send>(config: &Config, source: R, strategy: Reactive) -> Ended<R> {
    run_told(config, source, strategy, &mut Vec::new())
}

/// With what the run told while it went on.
fn run_told<R: Source + Send>(config: &Config, source: R, strategy: Reactive, told: &mut Vec<String>) -> Ended<R> {
    let monitor = |progress| {
        if let Progress::Notice { text } = progress {
            told.push(text);
        }
        ControlFlow::Continue(())
    };
    let outcome = engine::run_sharded(config, source, |_| strategy, monitor).unwrap();
    assert!(outcome.is_good(), "{:?} {:?}", outcome.end, outcome.journal);
    outcome
}

fn day_of(day: &[u8]) -> ItchBytes<'_> {
    ItchBytes::new(day, &ItchOptions::default())
}

/// How a gateway reads: so many at most, and how long it sleeps behind that.
type Manner<'m> = &'m mut (dyn FnMut() -> (usize, Duration) + Send);

/// A run beside a gateway that stalls, with what it saw of each core.
fn run_stalled<R: Source + Send>(
    config: Config,
    source: R,
    manner: Manner<'_>,
    told: &mut Vec<String>,
) -> (Ended<R>, Vec<Outputs>) {
    let (sender, taps) = mpsc::channel();
    let sender = Arc::new(sender);
    let take = Arc::clone(&sender);
    let on_start = OutputHook::new(move |tap| take.send(tap.reader().unwrap()).unwrap());
    drop(sender);
    let outputs = Some(OutputConfig { lines: LINES, readers_max: 1, on_start });
    let config = Config { outputs, ..config };
    let count = config.shards.count();
    thread::scope(|scope| {
        let gateway = scope.spawn(move || {
            let mut readers: Vec<_> = (0..count).map(|_| (taps.recv().unwrap(), Outputs::new())).collect();
            while !readers.iter().all(|(reader, _)| reader.is_closed_and_drained()) {
                let (most, pause) = manner();
                for (reader, seen) in &mut readers {
                    reader.poll(most, |number, event| seen.push((number.get(), *event)));
                }
                thread::sleep(pause);
            }
            readers.into_iter().map(|(_, seen)| seen).collect()
        });
        let outcome = run_told(&config, source, Reactive::default(), told);
        (outcome, gateway.join().unwrap())
    })
}

fn recorded(directory: &Path, core: u32) -> Outputs {
    let mut reader = Reader::open_stream(directory, Stream::outputs_of(core as u16)).unwrap();
    let mut outputs = Vec::new();
    while let Some(records) = reader.next_batch().unwrap() {
        outputs.extend(records.iter().map(|record| (record.sequence.get(), record.event)));
    }
    outputs
}

fn replayed(directory: &Path, config: &Config, strategy: Reactive) -> (OutputCheckOutcome, Vec<Reactive>) {
    let output_check = Some(OutputCheck::load(directory).unwrap());
    let inputs = Inputs::open(&[directory.to_owned()], None).unwrap();
    let outcome = run(&Config { output_check, pace: Pace::Max, ..config.clone() }, inputs, strategy);
    (outcome.output_check.unwrap(), outcome.strategy)
}

/// The journal as after the death of its machine: cut at a random place of its last segments. Checkpoints of what is gone go with it.
fn cut(directory: &Path, dice: &mut Dice) {
    let segments = info(directory).unwrap().segments;
    let place = segments.len() - 1 - dice.below(segments.len().min(2) as u64) as usize;
    let kept = segments[..place].iter().filter_map(|segment| segment.sequences).next_back();
    let kept = kept.map_or(0, |(_, last)| last.get());
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        let of = |prefix, suffix| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse::<u64>().ok();
        if of("checkpoint-", ".tck").is_some_and(|sequence| sequence > kept) {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for gone in &segments[place + 1..] {
        fs::remove_file(directory.join(&gone.file)).unwrap();
    }
    let path = directory.join(&segments[place].file);
    let mut bytes = fs::read(&path).unwrap();
    let prepared_bytes = u64::from_le_bytes(bytes[48..56].try_into().unwrap()) as usize;
    bytes.truncate(WRITE_UNIT_BYTES * (1 + dice.below((bytes.len() / WRITE_UNIT_BYTES - 1) as u64) as usize));
    bytes.resize(prepared_bytes, 0);
    fs::write(&path, bytes).unwrap();
}

/// Days of crashes, as many with each topology.
const ROUNDS: u32 = 6;

/// A gateway that stalls, crashes anywhere, again and again: each time the strategy is repeated with all that it was refused.
#[test]
fn a_strategy_that_acts_on_refusals_is_repeated() {
    let mut dice = Dice::new();
    let day = generated(60_000, 100, 9);
    let scratch = tempdir().unwrap();
    let (mut refused, mut deaf_differs, mut from_checkpoint) = (0, 0, 0);
    for round in 0..ROUNDS {
        let (topology, cores) =
            [(Topology::Inline, 1), (Topology::Pipelined, 1), (Topology::Sharded, 2)][round as usize % 3];
        let directory = scratch.path().join(round.to_string());
        let config = config(topology, cores);
        for part in 1..=4 {
            let mut of_gateway = Dice::seeded(dice.below(u64::MAX));
            let mut manner = move || {
                let stall = if of_gateway.below(20) == 0 { of_gateway.below(4_000) } else { of_gateway.below(20) };
                (of_gateway.below(128) as usize, Duration::from_micros(stall))
            };
            // Never less than is there, or it is another input.
            let quarter = day.len() as u64 / 4;
            let end = if part == 4 { day.len() as u64 } else { quarter * part - dice.below(quarter / 2) };
            let found = directory.exists().then(|| info(&directory).unwrap());
            let known = found.iter().filter_map(|found| found.sequences).next().map_or(Sequence(0), |(_, last)| last);
            let known_outputs = found.map(|found| found.last_outputs).unwrap_or_default();
            let part_of_day = day_of(&day[..end as usize]);
            let (outcome, seen) =
                run_stalled(recording_small(config.clone(), &directory), part_of_day, &mut manner, &mut Vec::new());
            let what = format!("round {round} part {part}, {topology}");
            from_checkpoint += u32::from(outcome.journal.unwrap().checkpoint_sequence.is_some());
            for (core, seen) in (0..cores).zip(&seen) {
                let recorded = recorded(&directory, core);
                assert!((1..).zip(&recorded).all(|(expected, (number, _))| expected == *number), "{what}");
                // What it knows of is what is recorded, and the gateway saw what of it was new.
                let sent = recorded
                    .iter()
                    .fold(0, |chain, (number, event)| fold_sent(chain, *number, &Intent::of(event).unwrap()));
                assert_eq!(outcome.strategy[core as usize].sent, sent, "{what}");
                let stream = Stream::outputs_of(core as u16);
                let before = known_outputs.iter().find(|(found, _)| *found == stream).map_or(0, |(_, last)| last.get());
                let is_new = |number: u64, event: &Event| number > before && cause_of(event) > known;
                let new: Outputs = recorded.iter().copied().filter(|(number, event)| is_new(*number, event)).collect();
                assert!(new == *seen, "{what}: {} and {}, {before} before {known}", new.len(), seen.len());
                refused += recorded.iter().map(|(_, event)| u64::from(event.flags.0 & !MANY)).sum::<u64>();
            }
            let (found, strategies) = replayed(&directory, &config, Reactive::default());
            let OutputCheckOutcome::Compared { behind, difference: None, .. } = found else {
                panic!("{what}: {found:?}")
            };
            let refused_last: u64 = outcome.outputs.iter().map(|core| core.refused_last).sum();
            assert_eq!(found.is_same(), refused_last == 0 || behind == 0, "{what}");
            if found.is_same() {
                assert_eq!(strategies, outcome.strategy, "{what}");
            }
            if part == 4 {
                let deaf = Reactive { is_deaf: true, ..Reactive::default() };
                deaf_differs += u32::from(!replayed(&directory, &config, deaf).0.is_same());
            }
            assert!(verify(&directory, |_| ()).unwrap().is_intact(), "{what}");
            if dice.below(3) > 0 {
                make(&directory, Reactive::default(), |_, _| ()).unwrap();
            }
            if dice.below(2) > 0 {
                cut(&directory, &mut dice);
            }
        }
        fs::remove_dir_all(&directory).unwrap();
    }
    eprintln!(
        "{refused} refused, {deaf_differs} of {ROUNDS} differ when they are ignored, {from_checkpoint} from a checkpoint"
    );
    // Whether a checkpoint is gone on from is chance here: it has to know of all that was refused, and to outlive the cut.
    assert!(refused > 1_000 && deaf_differs > ROUNDS / 2);
}

/// Nothing says what was refused behind the last recorded output. A run that resumes takes it for sent: it might have been, and an
/// order that is sent twice is worse than one that is missed.
#[test]
fn what_was_refused_behind_the_last_output_counts_as_sent() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    for (topology, has_checkpoint) in
        [(Topology::Inline, false), (Topology::Pipelined, false), (Topology::Inline, true)]
    {
        let directory = scratch.path().join(format!("{topology}-{has_checkpoint}"));
        let config = config(topology, 1);
        let run_part = |lines, end| {
            let gateway = Gateway::default();
            let outputs = Some(gateway.config(lines));
            let config = recording_small(Config { outputs, ..config.clone() }, &directory);
            let outcome = run(&config, day_of(&day[..end]), Reactive::default());
            (outcome, gateway.outputs().remove(0))
        };
        run_part(1 << 16, day.len() / 4);
        if has_checkpoint {
            make(&directory, Reactive::default(), |_, _| ()).unwrap();
        }
        // Nobody reads, and little has room.
        let (crowded, seen) = run_part(LINES, day.len() / 2);
        let outputs = &crowded.outputs[0];
        assert!(outputs.refused == outputs.refused_last && outputs.refused > 1_000, "{outputs:?}");
        let last = outputs.last.get();
        let warnings = &crowded.journal.as_ref().unwrap().warnings;
        let expected = format!("behind output {last} of book core 0 {} intents were refused", outputs.refused);
        assert!(seen.len() == LINES && warnings.len() == 1 && warnings[0].contains(&expected), "{warnings:?}");
        let made = make(&directory, Reactive::default(), |_, _| ()).unwrap();

        let (resumed, seen) = run_part(1 << 16, day.len());
        let recorded = recorded(&directory, 0);
        let sent = recorded.iter().fold(0, |chain, (n, event)| fold_sent(chain, *n, &Intent::of(event).unwrap()));
        assert_eq!((resumed.strategy[0].refused, resumed.strategy[0].sent), (0, sent), "it knows of no refusal");
        let later = recorded.iter().copied().filter(|(_, event)| cause_of(event).get() > crowded.events);
        assert!(seen == later.collect::<Outputs>() && recorded.len() > seen.len() + last as usize);
        assert!(recorded.iter().all(|(_, event)| event.flags.0 == 0));
        let journal = resumed.journal.unwrap();
        // The checkpoint at the end of the crowded run cannot know what became of its intents.
        assert_eq!((journal.checkpoint_sequence.is_some(), journal.warnings.len()), (has_checkpoint, 0));
        assert_ne!(journal.checkpoint_sequence, Some(made.sequence));
        assert!(replayed(&directory, &config, Reactive::default()).0.is_same());
    }
}

/// Messages of a day beside which checkpoints are made.
const MESSAGES: u64 = 150_000;
const ALMOST_ALL: u64 = 149_000;

/// How many checkpoints were made beside a run. The day stands still now and then, so that
/// what makes them, which has the lowest priority, comes along.
fn run_checkpointed(
    directory: &Path,
    day: &[u8],
    manner: Manner<'_>,
    told: &mut Vec<String>,
    on_almost_all: impl Fn() + Send,
) -> u64 {
    let config = Config {
        checkpoint_every: NonZeroU64::new(1),
        drain_deadline: Duration::from_secs(60),
        ..config(Topology::Inline, 1)
    };
    let (mut halt, mut until) = (0, Instant::now());
    let source = Halting::new(day_of(day), move |messages| {
        if messages >= halt {
            (halt, until) = (messages + 10_000, Instant::now() + Duration::from_millis(150));
        }
        if messages >= ALMOST_ALL {
            on_almost_all();
        }
        Instant::now() < until
    });
    let (outcome, _) = run_stalled(recording_small(config, directory), source, manner, told);
    outcome.journal.unwrap().checkpoints_made
}

/// The twin that makes checkpoints is refused what the strategy was, or they would not fit the journal.
#[test]
fn checkpoints_beside_a_run_repeat_its_refusals() {
    let scratch = tempdir().unwrap();
    let day = generated(MESSAGES, 100, 9);
    let directory = scratch.path().join("journal");
    let mut dice = Dice::new();
    let mut manner = move || {
        let stall = if dice.below(1_000) == 0 { 20_000 } else { 50 };
        (LINES, Duration::from_micros(stall))
    };
    let mut told = Vec::new();
    let made = run_checkpointed(&directory, &day, &mut manner, &mut told, || ());
    assert!(made > 0, "{told:?}");
    let newest = *info(&directory).unwrap().checkpoints.last().unwrap();
    let before = recorded(&directory, 0).into_iter().filter(|(_, event)| cause_of(event) <= newest);
    let refused: u64 = before.map(|(_, event)| u64::from(event.flags.0)).sum();
    eprintln!("{made} checkpoints, {refused} refused before {newest}");
    assert!(refused > 100);
    let wide = Config { outputs: Some(OutputConfig::default()), pace: Pace::Max, ..config(Topology::Inline, 1) };
    let second = run(&recording_small(wide, &directory), day_of(&day), Reactive::default());
    assert_eq!(second.journal.unwrap().checkpoint_sequence, Some(newest));
    // It is what it is from the start on, all refusals included.
    let (found, strategies) = replayed(&directory, &config(Topology::Inline, 1), Reactive::default());
    assert!(found.is_same() && strategies == second.strategy, "{found:?}");
}

/// The negative control: where no record says what was refused, there is no checkpoint that would say it wrongly.
#[test]
fn no_checkpoint_is_made_of_what_is_not_known() {
    let scratch = tempdir().unwrap();
    let day = generated(MESSAGES, 100, 9);
    let directory = scratch.path().join("journal");
    let (is_over, mut told) = (AtomicBool::new(false), Vec::new());
    let mut manner = || (if is_over.load(Ordering::Relaxed) { LINES } else { 0 }, Duration::from_millis(1));
    let made = run_checkpointed(&directory, &day, &mut manner, &mut told, || is_over.store(true, Ordering::Relaxed));
    assert_eq!(made, 0);
    let told = told.iter().filter(|text| text.contains("no checkpoint is made at event")).count();
    assert_eq!(told, 1, "once, though it is tried more than once");
}
