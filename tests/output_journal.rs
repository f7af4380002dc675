//! Outputs in the journal: recorded as they were sent, sent again by a replay, and neither sent nor recorded twice by a run that
//! resumes.

mod common;

use common::command::{Finish, journal};
use common::day::generated;
use common::halting::Halting;
use common::journal::recording;
use common::trader::{Gateway, Outputs, Trader};
use core::num::NonZeroU64;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;
use tickcore::book::{Bbo, Capacity, Event, InstrumentId, OrderId, Sequence, Side};
use tickcore::checkpoint::make;
use tickcore::engine::{self, Config, EngineError, Progress};
use tickcore::feed::source::{ItchBytes, ItchOptions, Source};
use tickcore::inputs::Inputs;
use tickcore::journal::{Reader, Retention, Stream, info, verify};
use tickcore::outcome::Outcome;
use tickcore::output_check::{OutputCheck, OutputCheckOutcome, OutputDifference};
use tickcore::outputs::{Intent, OutputConfig, cause_of};
use tickcore::pace::Pace;
use tickcore::pin::{Cores, allowed_cores, pin_to};
use tickcore::shards::{Shard, ShardMap};
use tickcore::strategy::{Context, NoStrategy, Strategy};
use tickcore::topology::Topology;
use tickcore::{LoadedCheckpoint, OnFailure};

/// Where the price ends in a message that adds an order.
const ADD_ORDER_PRICE_LAST: usize = 35;
/// Where in a segment its header says how many cores recorded outputs, and where its checksum stands.
const OUTPUT_CORES: usize = 1680;
const SEGMENT_CHECKSUM: usize = 4088;
const CAPACITY: Capacity = Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 };

fn config(topology: Topology, cores: u32) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: CAPACITY,
        shards: ShardMap::by_hash(cores).unwrap(),
        // No test sends as many.
        outputs: Some(OutputConfig { lines: 1 << 16, ..OutputConfig::default() }),
        ..Config::default()
    }
}

type Ended<R> = Result<Outcome<R, Vec<Trader>>, EngineError>;

fn run<R: Source + Send>(config: &Config, source: R, trader: Trader) -> Ended<R> {
    engine::run_sharded(config, source, |_| trader, |_| ControlFlow::Continue(()))
}

fn day_of(day: &[u8]) -> ItchBytes<'_> {
    ItchBytes::new(day, &ItchOptions::default())
}

/// The day, or a part of it, with what a gateway saw of it.
fn run_day<'d>(config: Config, day: &'d [u8], trader: Trader) -> (Outcome<ItchBytes<'d>, Vec<Trader>>, Vec<Outputs>) {
    let gateway = Gateway::default();
    let config = Config { outputs: config.outputs.map(|outputs| gateway.config(outputs.lines)), ..config };
    let outcome = run(&config, day_of(day), trader).unwrap();
    assert!(outcome.is_good(), "{:?} {:?}", outcome.end, outcome.journal);
    let outputs = gateway.outputs();
    (outcome, outputs)
}

/// The outputs of a core in a journal.
fn recorded(directory: &Path, core: u16) -> Outputs {
    let mut reader = Reader::open_stream(directory, Stream::outputs_of(core)).unwrap();
    let mut outputs = Vec::new();
    while let Some(records) = reader.next_batch().unwrap() {
        outputs.extend(records.iter().map(|record| (record.sequence.get(), record.event)));
    }
    outputs
}

const TOPOLOGIES: [(Topology, u32); 4] =
    [(Topology::Inline, 1), (Topology::Pipelined, 1), (Topology::Sharded, 1), (Topology::Sharded, 3)];

/// A journal of the day, as the topology records it.
fn replayed(directory: &Path, config: Config, trader: Trader) -> OutputCheckOutcome {
    let check = OutputCheck::load(directory).unwrap();
    let config = Config { output_check: Some(check), ..config };
    let inputs = Inputs::open(&[directory.to_owned()], None).unwrap();
    let outcome = run(&config, inputs, trader).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    outcome.output_check.unwrap()
}

#[test]
fn what_was_sent_is_recorded_and_a_replay_sends_the_same() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    for (topology, cores) in TOPOLOGIES {
        let directory = scratch.path().join(format!("{topology}-{cores}"));
        let (outcome, sent) = run_day(recording(config(topology, cores), &directory), &day, Trader::default());
        assert_eq!(sent.len(), cores as usize);
        for (core, sent) in (0..).zip(&sent) {
            assert!(sent.len() > 300 && recorded(&directory, core) == *sent, "{topology}, core {core}");
        }
        let last: Vec<Sequence> = sent.iter().map(|sent| Sequence(sent.len() as u64)).collect();
        assert_eq!(outcome.journal.unwrap().last_outputs, last);
        assert!(verify(&directory, |_| ()).unwrap().is_intact());
        let all = sent.iter().map(|sent| sent.len() as u64).sum();
        let same = OutputCheckOutcome::Compared { same: all, behind: 0, difference: None };
        // With one core in every topology, whether outputs go anywhere or not.
        for (other, other_cores) in TOPOLOGIES {
            for outputs in [None, Some(OutputConfig::default())] {
                let found = replayed(&directory, Config { outputs, ..config(other, other_cores) }, Trader::default());
                let expected = if other_cores == cores {
                    same
                } else {
                    OutputCheckOutcome::OtherCores { recorded: cores, cores: other_cores }
                };
                assert_eq!((found, found.is_same()), (expected, other_cores == cores), "{topology} as {other}");
            }
        }
    }
}

/// The negative controls of the comparison.
#[test]
fn a_strategy_that_differs_once_is_told() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    let directory = scratch.path().join("journal");
    let (_, sent) = run_day(recording(config(Topology::Inline, 1), &directory), &day, Trader::default());
    let sent = &sent[0];
    let all = sent.len() as u64;
    for number in [1, 2, 700, all - 1, all] {
        let other = Trader { differs_at: Some(number), ..Trader::default() };
        let found = replayed(&directory, config(Topology::Pipelined, 1), other);
        let OutputCheckOutcome::Compared { same, behind: 0, difference: Some(difference) } = found else {
            panic!("{found:?}")
        };
        let (_, recorded) = sent[number as usize - 1];
        assert_eq!((same, difference.core, difference.number), (number - 1, 0, Sequence(number)));
        assert_eq!((difference.recorded, difference.cause()), (Some(recorded), cause_of(&recorded)));
        assert_eq!(difference.sent.map(|sent| sent.price.get()), Some(recorded.price.get() + 1));
        assert!(!found.is_same());
        // One output fewer: what comes behind it has its number, and of the last there is nothing.
        let fewer = Trader { leaves_out: Some(number), ..Trader::default() };
        let found = replayed(&directory, config(Topology::Inline, 1), fewer);
        let next = sent.get(number as usize).map(|(_, next)| *next);
        let expected = OutputDifference { core: 0, number: Sequence(number), recorded: Some(recorded), sent: next };
        let OutputCheckOutcome::Compared { difference, .. } = found else { panic!("{found:?}") };
        assert_eq!(difference, Some(expected));
    }
    // More than was recorded.
    let shorter = scratch.path().join("shorter");
    let fewer = Trader { leaves_out: Some(all), ..Trader::default() };
    run_day(recording(config(Topology::Inline, 1), &shorter), &day, fewer);
    let found = replayed(&shorter, config(Topology::Inline, 1), Trader::default());
    assert_eq!(found, OutputCheckOutcome::Compared { same: all - 1, behind: 1, difference: None });
    assert!(!found.is_same());
    // Without outputs in it there is nothing to compare with.
    let plain = scratch.path().join("plain");
    let outputs = None;
    run_day(recording(Config { outputs, ..config(Topology::Inline, 1) }, &plain), &day, Trader::default());
    let found = replayed(&plain, config(Topology::Inline, 1), Trader::default());
    assert_eq!(found, OutputCheckOutcome::OtherCores { recorded: 0, cores: 1 });
}

#[test]
fn a_resumed_run_sends_and_records_nothing_twice() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    for (topology, cores) in TOPOLOGIES {
        let (_, whole) = run_day(config(topology, cores), &day, Trader::default());
        for has_checkpoint in [false, true] {
            let what = format!("{topology}-{cores}-{has_checkpoint}");
            let directory = scratch.path().join(&what);
            let at = |directory: &Path| recording(config(topology, cores), directory);
            let (first, sent_first) = run_day(at(&directory), &day[..day.len() / 3], Trader::default());
            if has_checkpoint {
                make(&directory, Trader::default(), |_, _| ()).unwrap();
            }
            let (second, sent_second) = run_day(at(&directory), &day[..day.len() / 2], Trader::default());
            let (third, sent_third) = run_day(at(&directory), &day, Trader::default());
            let journal = third.journal.as_ref().unwrap();
            // How many outputs each of several cores had sent is in no checkpoint.
            assert_eq!(journal.checkpoint_sequence.is_some(), has_checkpoint && cores == 1, "{what}");
            for core in 0..cores as usize {
                let parts = [&sent_first[core][..], &sent_second[core][..], &sent_third[core][..]];
                assert!(parts.iter().all(|part| part.len() > 50), "{what}");
                assert_eq!(parts.concat(), whole[core], "{what}, core {core}: what a gateway sees");
                assert_eq!(recorded(&directory, core as u16), whole[core], "{what}, core {core}");
                let [one, two, three] = [&first, &second, &third].map(|outcome| outcome.outputs[core].clone());
                assert_eq!((one.repeated, three.last.get()), (0, whole[core].len() as u64));
                let before =
                    if third.journal.as_ref().unwrap().checkpoint_sequence.is_some() { one.last.get() } else { 0 };
                assert_eq!(
                    (two.repeated, three.repeated),
                    (one.last.get() - before, two.last.get() - before),
                    "{what}"
                );
            }
            assert!(verify(&directory, |_| ()).unwrap().is_intact());
            assert!(replayed(&directory, config(topology, cores), Trader::default()).is_same());
            assert_eq!(third.strategy[0].last, third.outputs[0].last);
        }
    }
}

#[test]
fn a_strategy_that_sent_something_else_does_not_go_on() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    let (whole, _) = run_day(config(Topology::Inline, 1), &day, Trader::default());
    for (topology, has_checkpoint) in
        [(Topology::Inline, false), (Topology::Inline, true), (Topology::Pipelined, false), (Topology::Pipelined, true)]
    {
        let directory = scratch.path().join(format!("{topology}-{has_checkpoint}"));
        let at = || recording(config(topology, 1), &directory);
        let (first, _) = run_day(at(), &day[..day.len() / 4], Trader::default());
        if has_checkpoint {
            make(&directory, Trader::default(), |_, _| ()).unwrap();
        }
        let (second, _) = run_day(at(), &day[..day.len() / 2], Trader::default());
        let before = recorded(&directory, 0);
        let (known, last) = (first.outputs[0].last.get(), second.outputs[0].last.get());
        let others = [
            Trader { differs_at: Some(known + 5), ..Trader::default() },
            Trader { leaves_out: Some(known + 5), ..Trader::default() },
        ];
        for other in others {
            // Not the whole day: its inputs may be recorded before the strategy departs.
            let told = match run(&at(), day_of(&day[..day.len() / 2]), other) {
                Err(error) => error.to_string(),
                Ok(outcome) => {
                    assert!(!outcome.is_good() && outcome.outputs[0].last.get() < last);
                    outcome.journal.unwrap().error.unwrap()
                }
            };
            let number = format!("output {} of book core 0", known + 5);
            assert!(told.contains("does not belong to this strategy") && told.contains(&number), "{told}");
            assert_eq!(recorded(&directory, 0), before, "nothing was recorded");
        }
        // It sends less than it did, which is known long before it would send again, or before its end.
        let last_cause = cause_of(&before[last as usize - 1].1);
        let silent = Trader { stops_at: Some(last), ..Trader::default() };
        let told = match run(&at(), day_of(&day), silent) {
            Err(error) => error.to_string(),
            Ok(outcome) => {
                assert!(!outcome.is_good() && outcome.events < whole.events * 3 / 4, "{}", outcome.events);
                outcome.journal.unwrap().error.unwrap()
            }
        };
        assert!(told.contains(&format!("output {last} of book core 0, at event {last_cause}")), "{told}");
        assert_eq!(recorded(&directory, 0), before, "nothing was recorded");
        // The right one goes on.
        run_day(at(), &day, Trader::default());
    }
}

/// Sends on the first of several book cores alone.
#[derive(Clone, Copy, Debug, Default)]
struct OnFirst {
    core: u32,
    trader: Trader,
}

impl Strategy for OnFirst {
    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, event: &Event) {
        if self.core == 0 {
            self.trader.on_bbo(context, instrument, bbo, event);
        }
    }
}

/// CRC-64/NVME, bit by bit.
fn crc(start: u64, bytes: &[u8]) -> u64 {
    let fold = |state: u64, &byte: &u8| {
        let shift = |state: u64, _| (state >> 1) ^ if state & 1 == 1 { 0x9A6C_9329_AC4B_C9B5 } else { 0 };
        (0..8).fold(state ^ u64::from(byte), shift)
    };
    !bytes.iter().fold(start, fold)
}

/// How many book cores recorded outputs is in the journal, though only the first of them sent any: on another number it is not
/// resumed, and its outputs are not compared.
#[test]
fn outputs_of_another_number_of_cores_are_told_at_the_start() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let day = generated(60_000, 100, 9);
    let run_on = |cores, directory: &Path, is_checked, monitor: &mut dyn FnMut(Progress)| {
        let topology = if cores == 1 { Topology::Inline } else { Topology::Sharded };
        let make = |shard: Shard| OnFirst { core: shard.number, ..OnFirst::default() };
        let config = config(topology, cores);
        let monitor = |progress| {
            monitor(progress);
            ControlFlow::Continue(())
        };
        if is_checked {
            let config = Config { output_check: Some(OutputCheck::load(directory).unwrap()), ..config };
            let inputs = Inputs::open(&[directory.to_owned()], None).unwrap();
            return engine::run_sharded(&config, inputs, make, monitor).map(|outcome| outcome.output_check);
        }
        let half = day_of(&day[..day.len() / 2]);
        engine::run_sharded(&recording(config, directory), half, make, monitor).map(|outcome| {
            assert!(outcome.is_good(), "{:?}", outcome.journal);
            None
        })
    };
    run_on(3, &directory, false, &mut |_| ()).unwrap();
    let found = info(&directory).unwrap();
    assert_eq!((found.output_cores, found.last_outputs.len()), (Some(3), 1));
    assert_eq!(journal("info", &directory).arg("--json").succeed().json()["output_cores"], 3);
    assert!(run_on(3, &directory, true, &mut |_| ()).unwrap().unwrap().is_same());
    for cores in [1, 2, 4] {
        let error = run_on(cores, &directory, false, &mut |_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("outputs of 3 book cores and the run has {cores}")), "{error}");
        let mut told = Vec::new();
        let outcome = run_on(cores, &directory, true, &mut |progress| {
            if let Progress::Notice { text } = progress {
                told.push(text);
            }
        });
        assert_eq!(outcome.unwrap(), Some(OutputCheckOutcome::OtherCores { recorded: 3, cores }));
        assert!(told.iter().any(|text| text.contains("are of 3 book cores and the run has")), "{told:?}");
    }
    // Without outputs it goes on, and stays what it was.
    let plain = Config { outputs: None, ..config(Topology::Inline, 1) };
    run_day(recording(plain, &directory), &day[..day.len() / 2], Trader::default());
    assert_eq!(info(&directory).unwrap().output_cores, Some(3));
    run_on(3, &directory, false, &mut |_| ()).unwrap();
    // The negative control: a journal that does not say it is compared on one core, and differs.
    let unknown = scratch.path().join("unknown");
    fs::create_dir(&unknown).unwrap();
    for file in info(&directory).unwrap().segments.iter().map(|segment| &segment.file) {
        let mut bytes = fs::read(directory.join(file)).unwrap();
        bytes[OUTPUT_CORES] = 0;
        let sum = crc(crc(u64::MAX, &[&bytes[16..32], &bytes[32..48]].concat()), &bytes[..SEGMENT_CHECKSUM]);
        bytes[SEGMENT_CHECKSUM..SEGMENT_CHECKSUM + 8].copy_from_slice(&sum.to_le_bytes());
        fs::write(unknown.join(file), bytes).unwrap();
    }
    let found = run_on(1, &unknown, true, &mut |_| ()).unwrap().unwrap();
    assert!(matches!(found, OutputCheckOutcome::Compared { difference: Some(_), .. }), "{found:?}");
}

/// What an earlier run sent and did not record is recorded when the journal is resumed, and shown to nobody.
#[test]
fn outputs_that_no_journal_has_are_recorded_when_it_is_resumed() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    let (_, whole) = run_day(config(Topology::Inline, 1), &day, Trader::default());
    for topology in [Topology::Inline, Topology::Pipelined] {
        let directory = scratch.path().join(topology.to_string());
        let unrecorded = Config { outputs: None, ..config(topology, 1) };
        let (first, _) = run_day(recording(unrecorded, &directory), &day[..day.len() / 3], Trader::default());
        make(&directory, Trader::default(), |_, _| ()).unwrap();
        assert_eq!(recorded(&directory, 0), []);
        let (second, sent) = run_day(recording(config(topology, 1), &directory), &day, Trader::default());
        assert_eq!(second.journal.as_ref().unwrap().checkpoint_sequence, None, "its outputs are in no journal");
        assert_eq!(recorded(&directory, 0), whole[0]);
        assert_eq!(sent[0], whole[0][first.outputs[0].last.get() as usize..]);
    }
    // The same in the tail behind a checkpoint that was made before any output.
    let directory = scratch.path().join("tail");
    let begun = &day[..day.len() / 60];
    run_day(recording(config(Topology::Inline, 1), &directory), begun, Trader::default());
    let sent = recorded(&directory, 0).len();
    make(&directory, Trader::default(), |_, _| ()).unwrap();
    let unrecorded = Config { outputs: None, ..config(Topology::Inline, 1) };
    let (second, _) = run_day(recording(unrecorded, &directory), &day[..day.len() / 2], Trader::default());
    assert!(second.outputs[0].last.get() as usize > sent + 100 && recorded(&directory, 0).len() == sent);
    let (third, seen) = run_day(recording(config(Topology::Inline, 1), &directory), &day, Trader::default());
    assert!(third.journal.as_ref().unwrap().checkpoint_sequence.is_some());
    assert_eq!(recorded(&directory, 0), whole[0]);
    assert_eq!(seen[0], whole[0][second.outputs[0].last.get() as usize..]);
}

/// A resume with another input must leave the journal as it was: the right one goes on with it.
#[test]
fn outputs_of_another_input_are_not_recorded() {
    let scratch = tempdir().unwrap();
    let rare = Trader { is_rare: true, ..Trader::default() };
    let day = generated(60_000, 100, 9);
    let half = &day[..day.len() / 2];
    let (_, whole) = run_day(config(Topology::Inline, 1), &day, rare);
    // The prices of all orders behind this place are other ones.
    let mut other = day.clone();
    let mut position = 0;
    while position < day.len() {
        let message = position + 2;
        if position > day.len() * 2 / 5 && day[message] == b'A' {
            other[message + ADD_ORDER_PRICE_LAST] ^= 4;
        }
        position = message + usize::from(u16::from_be_bytes([day[position], day[position + 1]]));
    }
    for (topology, has_outputs) in
        [(Topology::Inline, false), (Topology::Pipelined, false), (Topology::Pipelined, true)]
    {
        let directory = scratch.path().join(format!("{topology}-{has_outputs}"));
        let begun = config(topology, 1);
        let outputs = begun.outputs.clone().filter(|_| has_outputs);
        run_day(recording(Config { outputs, ..begun }, &directory), half, rare);
        let before = recorded(&directory, 0);
        // All threads on one core, so that the book core is far ahead of the comparison.
        let ended = thread::scope(|scope| {
            let confined = scope.spawn(|| {
                pin_to(allowed_cores().unwrap()[0]).unwrap();
                run(&recording(config(topology, 1), &directory), day_of(&other), rare)
            });
            confined.join().unwrap()
        });
        let error = match ended {
            Err(error) => error.to_string(),
            Ok(outcome) => outcome.journal.unwrap().error.unwrap(),
        };
        assert!(error.contains("does not belong to this"), "{error}");
        let after = recorded(&directory, 0);
        assert!(after.len() >= before.len() && after[..] == whole[0][..after.len()], "{topology}: {}", after.len());
        run_day(recording(config(topology, 1), &directory), &day, rare);
        assert_eq!(recorded(&directory, 0), whole[0], "{topology}");
    }
}

/// Sends fifty intents in the morning and no more.
#[derive(Clone, Copy, Debug, Default)]
struct Early {
    changes: u64,
}

impl Strategy for Early {
    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, _: &Bbo, _: &Event) {
        self.changes += 1;
        let id = self.changes / 40;
        if self.changes.is_multiple_of(40) && id <= 50 {
            context.send(&Intent { instrument, id: OrderId(id), ..Intent::default() }).unwrap();
        }
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }
}

/// Outputs that were released with the journal's beginning have their numbers still.
#[test]
fn released_outputs_keep_their_numbers_in_a_comparison() {
    let scratch = tempdir().unwrap();
    let day = generated(120_000, 100, 9);
    let directory = scratch.path().join("journal");
    let run_part = |part: &[u8]| {
        let mut config = recording(config(Topology::Inline, 1), &directory);
        let options = &mut config.journal.as_mut().unwrap().options;
        (options.segment_bytes, options.frame_bytes) = (1 << 20, 64 << 10);
        options.retention = Retention { segments_max: Some(2), ..Retention::default() };
        let outcome = engine::run(&config, day_of(part), Early::default()).unwrap();
        assert!(outcome.is_good(), "{:?}", outcome.journal);
        outcome.events
    };
    run_part(&day[..day.len() / 8]);
    make(&directory, NoStrategy, |_, _| ()).unwrap();
    let events = run_part(&day);
    assert!(info(&directory).unwrap().streams.iter().all(|found| found.stream == Stream::INPUTS), "all were released");
    let check = OutputCheck::load(&directory).unwrap();
    assert_eq!((check.cores(), check.outputs()), (1, 0));
    let outcome = engine::run(
        &Config { output_check: Some(check), ..config(Topology::Inline, 1) },
        day_of(&day),
        Early::default(),
    );
    let same = OutputCheckOutcome::Compared { same: 0, behind: 0, difference: None };
    assert_eq!(outcome.unwrap().output_check, Some(same), "they lie before what is there");
    // And in a run that resumes: it has sent them all, though nothing says when it was to.
    assert_eq!(run_part(&day), events);
    assert_eq!(info(&directory).unwrap().last_outputs, [(Stream::outputs_of(0), Sequence(50))]);
}

/// A journal that failed holds up no output: a ring of few lines would be full soon.
#[test]
fn a_journal_that_fails_lets_go_of_the_output_rings() {
    let scratch = tempdir().unwrap();
    let day = generated(120_000, 100, 9);
    let (whole, sent) = run_day(config(Topology::Inline, 1), &day, Trader::default());
    let directory = scratch.path().join("journal");
    let outputs = Some(OutputConfig { lines: 1 << 10, ..OutputConfig::default() });
    let mut config = recording(config(Topology::Pipelined, 1), &directory);
    (config.outputs, config.pace) = (outputs, Pace::EventsPerSecond(100_000));
    let journal = config.journal.as_mut().unwrap();
    journal.options.segment_bytes = 1 << 20;
    journal.policy.on_failure = OnFailure::CarryOn;
    // A segment of this number has no place.
    let obstacle = directory.join("segment-000005.tcj");
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            while !directory.join("segment-000001.tcj").exists() {
                thread::sleep(Duration::from_millis(1));
            }
            fs::create_dir(&obstacle).unwrap();
        });
        run(&config, day_of(&day), Trader::default()).unwrap()
    });
    assert!(outcome.is_unjournaled, "{:?}", outcome.journal);
    let found = &outcome.outputs[0];
    assert_eq!((found.sent, found.refused), (whole.outputs[0].sent, 0));
    fs::remove_dir(&obstacle).unwrap();
    let recorded = recorded(&directory, 0);
    assert!(recorded.len() > 100 && recorded.len() + (1 << 10) < sent[0].len(), "{}", recorded.len());
    assert_eq!(recorded, sent[0][..recorded.len()], "what was recorded is a beginning");
}

/// A checkpoint that was made without the strategy says nothing of its outputs.
#[test]
fn a_checkpoint_that_does_not_know_the_outputs_is_passed_over() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    let directory = scratch.path().join("journal");
    let at = || recording(config(Topology::Inline, 1), &directory);
    run_day(at(), &day[..day.len() / 3], Trader::default());
    make(&directory, NoStrategy, |_, _| ()).unwrap();
    let (outcome, _) = run_day(at(), &day, Trader::default());
    assert_eq!(outcome.journal.unwrap().checkpoint_sequence, None);
    let notices = &outcome.machine.notices;
    assert!(
        notices.iter().any(|notice| notice.contains("how many outputs there were up to it is not known")),
        "{notices:?}"
    );
}

/// Sends what follows from one change alone, so it has nothing to save.
#[derive(Clone, Copy, Debug, Default)]
struct Stateless;

impl Strategy for Stateless {
    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, _: &Event) {
        let quantity = bbo.side(Side::Bid).map(|bid| bid.quantity).unwrap_or_default();
        if quantity.get().is_multiple_of(3) {
            context.send(&Intent { instrument, quantity, ..Intent::default() }).unwrap();
        }
    }

    fn save(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }

    fn twin(&self) -> Option<Self> {
        Some(Self)
    }
}

/// What makes checkpoints beside a run begins with one that knows the outputs, or at the start: those that it makes know them.
#[test]
fn a_checkpoint_that_does_not_know_the_outputs_is_no_base() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let day = generated(120_000, 100, 9);
    let run_on = |end: usize, every, waits: &mut (dyn FnMut(u64) -> bool + Send)| {
        let mut config = recording(config(Topology::Inline, 1), &directory);
        config.checkpoint_every = NonZeroU64::new(every);
        config.drain_deadline = Duration::from_secs(60);
        let options = &mut config.journal.as_mut().unwrap().options;
        (options.segment_bytes, options.frame_bytes) = (1 << 20, 64 << 10);
        let outcome = engine::run(&config, Halting::new(day_of(&day[..end]), waits), Stateless).unwrap();
        assert!(outcome.is_good(), "{:?}", outcome.journal);
        outcome.journal.unwrap()
    };
    run_on(day.len() / 3, 0, &mut |_| false);
    let made = make(&directory, NoStrategy, |_, _| ()).unwrap();
    assert!(made.notices.iter().any(|notice| notice.contains("is not known")), "{:?}", made.notices);
    let newest = || info(&directory).ok().and_then(|info| info.checkpoints.last().copied()).unwrap_or_default();
    let journal = run_on(day.len(), 1, &mut |messages| messages > 100_000 && newest() == made.sequence);
    assert_eq!((journal.checkpoint_sequence, journal.notices.len()), (None, 0), "{:?}", journal.notices);
    assert!(journal.checkpoints_made > 0);
    let journal = run_on(day.len(), 0, &mut |_| false);
    assert_eq!(journal.checkpoint_sequence, Some(newest()));
    assert!(newest() > made.sequence);
}

/// Where checkpoints are made beside a run that records outputs, retention goes by those that count the outputs: segments below others
/// are what the thread that makes new ones has to begin with.
#[test]
fn retention_beside_a_run_goes_by_checkpoints_that_know_the_outputs() {
    let scratch = tempdir().unwrap();
    let day = generated(120_000, 100, 9);
    for knows in [true, false] {
        let directory = scratch.path().join(knows.to_string());
        let run_on = |end: usize, every, segments_max, waits: &mut (dyn FnMut(u64) -> bool + Send)| {
            let mut config = recording(config(Topology::Inline, 1), &directory);
            config.checkpoint_every = NonZeroU64::new(every);
            config.drain_deadline = Duration::from_secs(60);
            let options = &mut config.journal.as_mut().unwrap().options;
            (options.segment_bytes, options.frame_bytes) = (1 << 20, 64 << 10);
            options.retention = Retention { segments_max, ..Retention::default() };
            let outcome = engine::run(&config, Halting::new(day_of(&day[..end]), waits), Stateless).unwrap();
            assert!(outcome.is_good(), "{:?}", outcome.journal);
            outcome.journal.unwrap()
        };
        let mut made = Vec::new();
        for third in 1..=2 {
            run_on(day.len() / 3 * third, 0, None, &mut |_| false);
            made.push(if knows {
                make(&directory, Stateless, |_, _| ())
            } else {
                make(&directory, NoStrategy, |_, _| ())
            });
        }
        let older = made.remove(0).unwrap().sequence;
        // Nothing is due, so only what is there already can let segments go: each time that another is sealed. The day stands still now
        // and then, so that the thread which says how far comes along.
        let first = || Reader::open(&directory).map_or(Sequence(1), |reader| reader.next_sequence());
        let (mut halt, mut until) = (85_000, Instant::now());
        run_on(day.len(), u64::MAX, Some(2), &mut |messages| {
            if messages >= halt {
                (halt, until) = (messages + 5_000, Instant::now() + Duration::from_millis(200));
            }
            Instant::now() < until
        });
        if knows {
            assert!(first() > Sequence(1) && first() <= older.next(), "begins at {}", first());
        } else {
            assert_eq!(first(), Sequence(1));
            let newest = || info(&directory).ok().and_then(|info| info.checkpoints.last().copied()).unwrap_or_default();
            let is_old = newest();
            let journal = run_on(day.len(), 1, Some(2), &mut |messages| messages > 110_000 && newest() == is_old);
            assert!(journal.checkpoints_made > 0, "{:?}", journal.notices);
        }
    }
}

/// Behind a checkpoint that does not know how many outputs lie before it nothing is compared, and that is said.
#[test]
fn a_replay_behind_a_checkpoint_is_compared_if_that_counts_the_outputs() {
    let scratch = tempdir().unwrap();
    let day = generated(60_000, 100, 9);
    for knows in [true, false] {
        let directory = scratch.path().join(knows.to_string());
        let record = |end: usize| {
            let config = recording(config(Topology::Inline, 1), &directory);
            engine::run(&config, day_of(&day[..end]), Stateless).unwrap().outputs[0].last.get()
        };
        let before = record(day.len() / 2);
        let made = if knows { make(&directory, Stateless, |_, _| ()) } else { make(&directory, NoStrategy, |_, _| ()) };
        let made = made.unwrap();
        let all = record(day.len());
        assert!(before > 100 && all > before + 100);
        let start = LoadedCheckpoint::oldest(&directory, CAPACITY).unwrap().0;
        let output_check = Some(OutputCheck::load(&directory).unwrap());
        let mut inputs = Inputs::open(std::slice::from_ref(&directory), None).unwrap();
        inputs.begin_behind(made.sequence).unwrap();
        let config = Config { start, output_check, ..config(Topology::Inline, 1) };
        let outcome = engine::run(&config, inputs, Stateless).unwrap();
        let expected = if knows {
            OutputCheckOutcome::Compared { same: all - before, behind: 0, difference: None }
        } else {
            OutputCheckOutcome::NotCounted { checkpoint: made.sequence }
        };
        let found = outcome.output_check.unwrap();
        assert_eq!((found, found.is_same()), (expected, knows));
        let told = outcome.machine.notices.iter().any(|notice| notice.contains("are not compared: how many outputs"));
        assert_eq!(told, !knows, "{:?}", outcome.machine.notices);
    }
}
