//! How a run ends when it is told to, when a core panics, and when time runs out: real processes, real signals.

mod common;

use common::command::{Finish, Finished, Running, identity, journal, replay_json, wait_until};
use common::day::{generated, put};
use common::journal::{journal_in, written};
use rustix::process::Signal;
use std::env;
use std::ops::ControlFlow;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::tempdir;
use tickcore::ThreadHook;
use tickcore::book::{Capacity, Event, Sequence, TimestampNs};
use tickcore::engine::{self, Config, EngineError, Progress};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::outcome::End;
use tickcore::pin::Cores;
use tickcore::shards::ShardMap;
use tickcore::strategy::{Context, Strategy};
use tickcore::topology::{Role, Topology};
use tickcore_replay_data::sample;

/// Which core panics in a child process of these tests, and where its journal is.
const CORE: &str = "TICKCORE_TEST_PANIC_ON";
const DIRECTORY: &str = "TICKCORE_TEST_JOURNAL";
/// Events before the panic.
const EVENTS: u64 = 50_000;

fn started(arguments: &[&str], journal: &Path) -> Running {
    replay_json(&sample::path()).args(arguments).arg("--journal").arg(journal).start()
}

#[test]
fn a_termination_drains_like_an_interrupt() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    // How soon is not what this is about.
    let mut run = started(&["--pace", "20000", "--drain-deadline", "60"], &directory);
    wait_until("a thousand events to be written", || written(&directory) > 1_000);
    run.signal(Signal::TERM);
    let json = run.finish().expect_code(0).json();
    assert_eq!(json["end"], "stopped");
    assert_eq!(json["journal"]["durable_sequence"], json["events"]);
    assert_eq!(identity(&replay_json(&directory).succeed().json()), identity(&json));
}

/// The ring is full of events that were let in when no time is given for them.
#[test]
fn a_deadline_that_passes_says_what_is_left() {
    let scratch = tempdir().unwrap();
    let day = put(scratch.path(), "01302020.itch", &generated(6_000_000, 2_000, 5));
    let directory = scratch.path().join("journal");
    let mut command = replay_json(&day);
    command.args(["--topology", "pipelined", "--oversubscribe", "--drain-deadline", "0", "--journal"]).arg(&directory);
    let mut run = command.start();
    wait_until("a thousand events to be written", || written(&directory) > 1_000);
    run.signal(Signal::INT);
    let finished = run.finish().expect_code(1);
    assert!(
        finished.stderr.contains("drain deadline passed") && finished.stderr.contains("--resume"),
        "{}",
        finished.stderr
    );
    let json = finished.json();
    assert_eq!(json["end"], "overdue");
    // What is durable is a good journal, and the run can go on from it.
    journal("verify", &directory).succeed();
    let count = replay_json(&directory).succeed().json()["events"].as_u64().unwrap();
    assert!(count >= json["journal"]["written_sequence"].as_u64().unwrap());
    let resumed = replay_json(&day).args(["--resume", "--journal"]).arg(&directory).succeed().json();
    assert_eq!(resumed["end"], "complete");
    assert_eq!(identity(&resumed), identity(&replay_json(&day).succeed().json()));
}

/// The first signal is heard and draining would take a minute; the second one ends it.
#[test]
fn a_second_signal_ends_at_once() {
    let scratch = tempdir().unwrap();
    let directory = scratch.path().join("journal");
    let mut run = started(&["--pace", "20000"], &directory);
    wait_until("a thousand events to be written", || written(&directory) > 1_000);
    // Stopped, it takes both when it goes on, and cannot drain in between.
    run.signal(Signal::STOP);
    run.signal(Signal::INT);
    run.signal(Signal::TERM);
    let start = Instant::now();
    run.signal(Signal::CONT);
    let status = run.wait();
    assert!(status.code() == Some(130) || status.signal().is_some(), "{status:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
    journal("verify", &directory).succeed();
}

/// A strategy or a source that panics after some events.
struct Panicking<R> {
    inner: R,
    is_armed: bool,
}

impl Strategy for Panicking<()> {
    fn on_event(&mut self, context: &mut Context<'_, '_>, _: &Event) {
        assert!(!self.is_armed || context.sequence() < Sequence(EVENTS), "the strategy has had enough");
    }
}

impl<R: Source> Source for Panicking<R> {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        assert!(!self.is_armed || self.counts().messages < EVENTS, "the source has had enough");
        self.inner.fill(batch, max_messages)
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        self.inner.next_time()
    }

    fn counts(&self) -> &Counts {
        self.inner.counts()
    }
}

fn config(topology: Topology, directory: Option<PathBuf>) -> Config {
    Config {
        topology,
        cores: Cores::Unpinned,
        oversubscribe: true,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        journal: directory.as_deref().map(journal_in),
        ..Config::default()
    }
}

/// The child process of the test below: an engine one core of which panics. Exits as a program should that embeds one.
#[test]
fn child_whose_core_panics() {
    let (Ok(core), Ok(directory)) = (env::var(CORE), env::var(DIRECTORY)) else { return };
    let day = generated(300_000, 500, 2);
    let source = Panicking { inner: ItchBytes::new(&day, &ItchOptions::default()), is_armed: core == "feed" };
    let on_thread_start = ThreadHook::new(move |thread| {
        assert!(core != "journal" || thread.role != Role::Journal, "the hook has had enough");
    });
    let core = env::var(CORE).unwrap_or_default();
    // The disk of a busy machine may take long.
    let drain_deadline = Duration::from_secs(120);
    let mut config = Config { on_thread_start, drain_deadline, ..config(Topology::Pipelined, Some(directory.into())) };
    if core == "shard" {
        (config.topology, config.shards) = (Topology::Sharded, ShardMap::by_hash(3).unwrap());
    } else if core == "inline" {
        config.topology = Topology::Inline;
    }
    let is_armed = |shard: u32| match core.as_str() {
        "book" | "inline" => true,
        "shard" => shard == 1,
        _ => false,
    };
    let make = |shard: tickcore::shards::Shard| Panicking { inner: (), is_armed: is_armed(shard.number) };
    match engine::run_sharded(&config, source, make, |_| ControlFlow::Continue(())) {
        Ok(_) => exit(0),
        Err(error @ EngineError::Panicked { .. }) => {
            eprintln!("engine: {error}");
            exit(1);
        }
        Err(error) => {
            eprintln!("engine: {error}");
            exit(3);
        }
    }
}

#[test]
fn a_panic_on_any_core_ends_all_of_them_and_keeps_the_journal() {
    let scratch = tempdir().unwrap();
    for (core, name) in [
        ("feed", "tickcore-feed"),
        ("book", "tickcore-book"),
        ("inline", "tickcore-book"),
        ("shard", "tickcore-book1"),
        ("journal", "tickcore-jrnl"),
    ] {
        let directory = scratch.path().join(core);
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "child_whose_core_panics", "--nocapture", "--test-threads", "1"]);
        let start = Instant::now();
        let finished =
            Finished::of(command.env(CORE, core).env(DIRECTORY, &directory).output().unwrap()).expect_code(1);
        let said = format!("engine: {name} (not pinned) panicked: ");
        assert!(finished.stderr.contains(&said) && finished.stderr.contains("has had enough"), "{}", finished.stderr);
        assert!(start.elapsed() < Duration::from_secs(100));
        if core == "journal" {
            continue;
        }
        // The others came to an orderly end: all that was let in is in the journal.
        journal("verify", &directory).succeed();
        let count = replay_json(&directory).succeed().json()["events"].as_u64().unwrap();
        assert!(count >= EVENTS * 9 / 10, "{core}: {count} events");
    }
}

/// Sleeps in each call: a ring full of events takes it minutes.
struct Slow {
    pause: Duration,
}

impl Strategy for Slow {
    fn on_event(&mut self, _: &mut Context<'_, '_>, _: &Event) {
        thread::sleep(self.pause);
    }
}

#[test]
fn a_core_that_is_too_slow_is_left_where_it_is() {
    let day = generated(200_000, 500, 2);
    let source = ItchBytes::new(&day, &ItchOptions::default());
    let config =
        Config { drain_deadline: Duration::from_millis(100), ring_lines: 1 << 10, ..config(Topology::Pipelined, None) };
    let start = Instant::now();
    let mut was_draining = false;
    let outcome = engine::run_monitored(&config, source, Slow { pause: Duration::from_micros(500) }, |progress| {
        was_draining |= matches!(progress, Progress::Draining { .. });
        match progress {
            Progress::Running { events } if events > 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    })
    .unwrap();
    let End::Overdue { events_left, not_durable: 0 } = outcome.end else { panic!("{:?}", outcome.end) };
    assert!((100..=1_024).contains(&events_left) && was_draining, "{events_left}");
    assert!(!outcome.is_good() && outcome.events > 0);
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// A call that does not return: nobody can end its thread, but whoever runs the engine hears which one it is.
#[test]
fn a_core_that_is_stuck_is_named() {
    let day = generated(20_000, 50, 2);
    let source = ItchBytes::new(&day, &ItchOptions::default());
    let config = Config { drain_deadline: Duration::from_millis(50), ..config(Topology::Inline, None) };
    let (release, held) = std::sync::mpsc::channel::<()>();
    let mut release = Some(release);
    static IS_STUCK: AtomicBool = AtomicBool::new(false);
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl Strategy for Stuck {
        fn on_event(&mut self, _: &mut Context<'_, '_>, _: &Event) {
            IS_STUCK.store(true, Ordering::Relaxed);
            let _ = self.0.recv();
        }
    }
    let mut named = Vec::new();
    let outcome = engine::run_monitored(&config, source, Stuck(held), |progress| match progress {
        Progress::Overdue { threads } => {
            named = threads;
            release.take();
            ControlFlow::Break(())
        }
        _ if IS_STUCK.load(Ordering::Relaxed) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(outcome.is_ok());
    let names: Vec<&str> = named.iter().map(|thread| thread.name.as_str()).collect();
    assert_eq!(names, ["tickcore-book"]);
}

/// Nothing of the dry run is left: an engine without events has seen none.
#[test]
fn the_dry_run_leaves_no_trace() {
    struct Silent;
    impl Strategy for Silent {
        fn on_event(&mut self, _: &mut Context<'_, '_>, _: &Event) {
            panic!("no event was let in");
        }
    }
    let scratch = tempdir().unwrap();
    for topology in [Topology::Inline, Topology::Pipelined] {
        let directory = scratch.path().join(topology.name());
        let config = Config { keeps_digests: true, ..config(topology, Some(directory.clone())) };
        let outcome = engine::run(&config, ItchBytes::new(&[], &ItchOptions::default()), Silent).unwrap();
        assert!(outcome.is_good());
        let books = &outcome.books;
        assert_eq!(
            (outcome.events, books.bbo_changes, books.stream_digest, books.state_digest),
            (0, Some(0), Some(0), Some(0))
        );
        assert_eq!((books.live_orders, books.levels, books.instruments, books.anomalies.total()), (0, 0, 0, 0));
        assert!(outcome.cores.iter().all(|core| core.events == 0 && core.batches == 0));
        assert_eq!((outcome.service().count(), outcome.journal.unwrap().last_sequence), (0, Sequence(0)));
    }
}
