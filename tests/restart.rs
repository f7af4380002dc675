//! Going on from checkpoints as a library does: strategies with a state, checkpoints made beside a run, and journals whose
//! beginning retention has let go.

mod common;

use common::command::{Finish, identity, replay_json, tickcore};
use common::day::{generated, put};
use common::halting::Halting;
use core::num::NonZeroU64;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use tempfile::tempdir;
use tickcore::book::{
    Anomaly, Bbo, Capacity, Event, Flags, InstrumentId, Kind, OrderId, Price, Quantity, TimestampNs, mix,
};
use tickcore::checkpoint::make;
use tickcore::engine::{self, Config};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::inputs::Inputs;
use tickcore::journal::{Capacities, Checkpoints, Metadata, Options, Reader, Retention, info, verify};
use tickcore::outcome::Outcome;
use tickcore::pin::Cores;
use tickcore::shards::ShardMap;
use tickcore::strategy::{Context, NoStrategy, Strategy};
use tickcore::topology::Topology;
use tickcore::{JournalConfig, JournalPolicy, LoadedCheckpoint};

const CAPACITY: Capacity = Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 };

fn config(directory: &Path, resume: bool, options: Options) -> Config {
    let [instruments_max, orders_max, levels_max] =
        [CAPACITY.instruments_max, CAPACITY.orders_max, CAPACITY.levels_max].map(u64::from);
    Config {
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: CAPACITY,
        keeps_digests: true,
        journal: Some(JournalConfig {
            dir: directory.to_owned(),
            resume,
            policy: JournalPolicy::default(),
            options: Options { staging_bytes: 32 << 20, ..options },
            metadata: Metadata {
                has_times_since_midnight: true,
                capacities: Capacities { instruments_max, orders_max, levels_max },
                ..Metadata::default()
            },
        }),
        ..Config::default()
    }
}

/// Folds every BBO that it is told of into one number, and gives that number away if it `saves`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Folding {
    chain: u64,
    events: u64,
    saves: bool,
}

impl Strategy for Folding {
    fn on_event(&mut self, _: &mut Context<'_, '_>, _: &Event) {
        self.events += 1;
    }

    fn on_bbo(&mut self, _: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, _: &Event) {
        self.chain =
            bbo.to_words().into_iter().fold(self.chain ^ u64::from(instrument.get()), |chain, word| mix(chain ^ word));
    }

    fn save(&self) -> Option<Vec<u8>> {
        self.saves.then(|| [self.chain, self.events].iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    fn load(&mut self, state: &[u8]) -> bool {
        let (words, rest) = state.as_chunks::<8>();
        let [chain, events] = words else { return false };
        (self.chain, self.events) = (u64::from_le_bytes(*chain), u64::from_le_bytes(*events));
        rest.is_empty()
    }

    fn twin(&self) -> Option<Self> {
        self.saves.then_some(*self)
    }
}

fn results<R, S>(outcome: &Outcome<R, S>) -> (u64, String) {
    assert!(outcome.is_good(), "{:?} {:?}", outcome.end, outcome.journal);
    (outcome.events, format!("{:?}", outcome.books))
}

const MESSAGES: u64 = 600_000;

#[test]
fn a_strategy_goes_on_from_its_state_or_from_the_start() {
    let day = generated(200_000, 200, 3);
    let source = || ItchBytes::new(&day, &ItchOptions::default());
    let scratch = tempdir().unwrap();
    for saves in [true, false] {
        let strategy = Folding { saves, ..Folding::default() };
        let directory = scratch.path().join(saves.to_string());
        let whole =
            engine::run(&Config { journal: None, ..config(&directory, false, Options::default()) }, source(), strategy);
        let whole = whole.unwrap();
        // Half a day, a checkpoint of it, a bit more without one, and the rest.
        let middle = TimestampNs(12 * 3_600 * 1_000_000_000);
        let first = Config { to: middle, ..config(&directory, false, Options::default()) };
        let first = engine::run(&first, source(), strategy).unwrap();
        let made = make(&directory, strategy, |_, _| ()).unwrap();
        assert_eq!(made.sequence.get(), first.events);
        let later = TimestampNs(middle.get() / 12 * 13);
        let second =
            engine::run(&Config { to: later, ..config(&directory, true, Options::default()) }, source(), strategy);
        assert!(second.unwrap().events > first.events);

        let run = engine::run(&config(&directory, true, Options::default()), source(), strategy).unwrap();
        assert_eq!(results(&run), results(&whole));
        assert_eq!(run.strategy, whole.strategy, "saves: {saves}");
        assert_eq!(run.strategy.events, run.events);
        let from = run.journal.as_ref().unwrap().checkpoint_sequence;
        assert_eq!(from, saves.then_some(made.sequence));
        let told = run.machine.notices.iter().any(|notice| notice.contains("is replayed from the session's start"));
        assert_eq!(told, !saves, "{:?}", run.machine.notices);
        // One that needs nothing takes any checkpoint.
        let run = engine::run(&config(&directory, true, Options::default()), source(), NoStrategy).unwrap();
        assert_eq!(run.journal.as_ref().unwrap().checkpoint_sequence, Some(made.sequence));
        assert_eq!(results(&run), results(&whole));
    }
}

#[test]
fn checkpoints_are_made_beside_a_run_and_retention_lets_go_below_them() {
    let scratch = tempdir().unwrap();
    let day = generated(MESSAGES, 300, 4);
    let input = put(scratch.path(), "day.itch", &day);
    let directory = scratch.path().join("journal");
    let small = Options {
        segment_bytes: 1 << 20,
        frame_bytes: 64 << 10,
        retention: Retention { segments_max: Some(2), ..Retention::default() },
        ..Options::default()
    };
    let strategy = Folding { saves: true, ..Folding::default() };
    let whole =
        engine::run(&Config { journal: None, ..config(&directory, false, small.clone()) }, source(&input), strategy);
    let whole = whole.unwrap();
    let checkpointed = Config {
        checkpoint_every: NonZeroU64::new(3),
        drain_deadline: Duration::from_secs(60),
        ..config(&directory, false, small.clone())
    };
    // The first checkpoint is waited for at a third of the messages, and the second at two thirds.
    let mut seen = BTreeSet::new();
    let waits = |messages| {
        if messages < MESSAGES / 3 * (seen.len() as u64 + 1) || seen.len() == 2 {
            return false;
        }
        let files = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        seen.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "tck")));
        true
    };
    let run = engine::run(&checkpointed, Halting::new(source(&input), waits), strategy).unwrap();
    assert_eq!(results(&run), results(&whole));
    let journal = run.journal.as_ref().unwrap();
    eprintln!("{} checkpoints were made beside the run", journal.checkpoints_made);
    assert!(journal.checkpoints_made >= 2, "{journal:?}");
    assert!(verify(&directory, |_| ()).unwrap().is_intact());
    let first = Reader::open(&directory).unwrap().next_sequence();
    let oldest = info(&directory).unwrap().checkpoints[0];
    assert!(first.get() > 1 && first <= oldest.next(), "begins at {first}, the older checkpoint is of {oldest}");

    // The journal alone, from the older of the two checkpoints.
    let metadata = Reader::open(&directory).unwrap().metadata().clone();
    assert_eq!(metadata.capacities.orders_max, u64::from(CAPACITY.orders_max));
    let (checkpoint, notices) = LoadedCheckpoint::oldest(&directory, CAPACITY).unwrap();
    let checkpoint = checkpoint.expect("the older of two");
    assert_eq!((checkpoint.sequence(), notices.len()), (oldest, 0));
    let mut inputs = Inputs::open(std::slice::from_ref(&directory), None).unwrap();
    assert_eq!(inputs.journal_begins_at(), Some(first));
    inputs.begin_behind(oldest).unwrap();
    let start = Config { journal: None, start: Some(checkpoint), ..config(&directory, false, small.clone()) };
    let alone = engine::run(&start, inputs, strategy).unwrap();
    assert_eq!(results(&alone), results(&whole));
    assert_eq!(alone.strategy, whole.strategy, "its state was in the checkpoint");
    let expected = replay_json(&input).succeed().json();
    for topology in [&[][..], &["--topology", "pipelined", "--oversubscribe"]] {
        let mut command = tickcore();
        let run = command.arg("replay").arg(&directory).args(["--json"]).args(topology).succeed();
        assert!(run.stderr.contains("the books begin with the checkpoint"), "{}", run.stderr);
        assert_eq!(identity(&run.json()), identity(&expected), "{topology:?}");
    }
    tickcore().arg("replay").arg(&directory).arg("--strict").fail(1, &["a strict run needs all of it"]);

    // And the input again, from the newest.
    let resumed = engine::run(&config(&directory, true, small), source(&input), strategy).unwrap();
    assert_eq!((results(&resumed), resumed.strategy), (results(&whole), whole.strategy));
    let journal = resumed.journal.as_ref().unwrap();
    assert_eq!(journal.checkpoint_sequence, info(&directory).unwrap().checkpoints.last().copied());
    assert_eq!(journal.compared_events, whole.events + 1 - first.get(), "what is there of it");
    assert!(Checkpoints::open(&directory).unwrap().take_newest().is_some());
    // Without its checkpoints nobody can build the books of such a journal.
    for file in std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|extension| extension == "tck") {
            std::fs::remove_file(file).unwrap();
        }
    }
    tickcore().arg("replay").arg(&directory).fail(1, &["its books cannot be built without the events before"]);
    tickcore().arg("checkpoint").arg(&directory).fail(1, &["no checkpoint stands for the events before"]);
}

fn source(input: &Path) -> Inputs {
    Inputs::open(&[input.to_owned()], None).unwrap()
}

/// Events as they stand, with gaps of all, of none and beyond the maxima among them.
struct Given {
    events: Vec<Event>,
    position: usize,
    counts: Counts,
}

impl Given {
    fn new(count: u64) -> Self {
        let mut dice = 7_u64;
        let mut below = move |end: u64| {
            dice = mix(dice);
            dice % end
        };
        let event = |number: u64| {
            let (kind, instrument) = match below(100) {
                0 => (Kind::Gap, 0),
                1 => (Kind::Add, 0),
                2 => (Kind::Add, CAPACITY.instruments_max + 1),
                3..60 => (Kind::Add, 1 + below(20) as u32),
                60..80 => (Kind::Delete, 1 + below(20) as u32),
                80..90 => (Kind::Execute, 1 + below(20) as u32),
                _ => (Kind::Replace, 1 + below(20) as u32),
            };
            // The last of a transaction, or not.
            let flags = if below(4) > 0 { Flags::LAST } else { Flags::NONE };
            Event {
                order_id: OrderId(below(3_000)),
                reference: below(3_000),
                price: Price(below(50) as i64),
                quantity: Quantity(1 + below(9)),
                side_number: 1 + below(2) as u8,
                flags,
                ..Event::new(kind, InstrumentId(instrument), TimestampNs(number))
            }
        };
        Self { events: (1..=count).map(event).collect(), position: 0, counts: Counts::default() }
    }
}

impl Source for Given {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        let count = (self.events.len() - self.position).min(batch.room()).min(max_messages);
        self.events[self.position..self.position + count].iter().for_each(|event| batch.push(*event));
        self.position += count;
        self.counts.messages += count as u64;
        Ok(if count == 0 && max_messages > 0 { Filled::End } else { Filled::Events })
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        Ok(self.events.get(self.position).map(|event| event.exchange_time))
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// Anomalies that every core counts, crossed books and open transactions: a checkpoint of one core's books is shared out.
#[test]
fn anomalies_of_all_add_up_when_a_checkpoint_is_shared_out() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let plain = config(&directory, false, Options::default());
    let whole = engine::run(&Config { journal: None, ..plain.clone() }, Given::new(40_000), NoStrategy).unwrap();
    assert!(whole.books.anomalies.of(Anomaly::Gap) > 100 && whole.books.anomalies.of(Anomaly::Capacity) > 100);
    assert!(whole.books.crossed > 0 && whole.books.stale_instruments == 20, "{:?}", whole.books);
    // A part, its checkpoint, a further part behind it, and all.
    engine::run(&Config { to: TimestampNs(15_000), ..plain }, Given::new(40_000), NoStrategy).unwrap();
    let made = make(&directory, NoStrategy, |_, _| ()).unwrap();
    assert_eq!(made.sequence.get(), 15_000);
    let resuming = config(&directory, true, Options::default());
    engine::run(&Config { to: TimestampNs(20_000), ..resuming.clone() }, Given::new(40_000), NoStrategy).unwrap();
    for shards in [3, 2, 1] {
        let resuming = Config {
            topology: if shards > 1 { Topology::Sharded } else { Topology::Pipelined },
            shards: ShardMap::by_hash(shards).unwrap(),
            ..resuming.clone()
        };
        let run = engine::run_sharded(&resuming, Given::new(40_000), |_| NoStrategy, |_| ControlFlow::Continue(()));
        let run = run.unwrap();
        assert_eq!(results(&run), results(&whole), "{shards} shards");
        assert_eq!(run.journal.unwrap().checkpoint_sequence, Some(made.sequence));
    }
}
