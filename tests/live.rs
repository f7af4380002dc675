//! Sources whose events carry the time at which this machine saw them: what is measured from there, and receive times that cannot be.

mod common;

use common::day::generated;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tickcore::ArrivalFaults;
use tickcore::book::{Capacity, Flags, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::latency::Summary;
use tickcore::outcome::Outcome;
use tickcore::pin::{Cores, allowed_cores};
use tickcore::strategy::NoStrategy;
use tickcore::topology::Topology;

/// Tries of which the best counts: a machine that others use is late now and then.
const TRIES: usize = 5;

/// What a source says of when its events were received.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    /// That long before it hands them out.
    Ago(Duration),
    /// That long after.
    Ahead(Duration),
    /// In microseconds.
    InMicroseconds,
    Untrusted,
    None,
}

/// Messages that come one by one, 20 us apart, as from a socket.
struct Socket<'d> {
    messages: ItchBytes<'d>,
    batch: EventBatch,
    stamp: Stamp,
    due: Instant,
    is_live: bool,
}

impl<'d> Socket<'d> {
    fn new(day: &'d [u8], stamp: Stamp) -> Self {
        let messages = ItchBytes::new(day, &ItchOptions::default());
        Self { messages, batch: EventBatch::new(8), stamp, due: Instant::now(), is_live: true }
    }
}

impl Source for Socket<'_> {
    fn fill(&mut self, batch: &mut EventBatch, _: usize) -> Result<Filled, SourceError> {
        if Instant::now() < self.due {
            return Ok(Filled::Pending);
        }
        self.due = Instant::now() + Duration::from_micros(20);
        self.batch.clear();
        let filled = self.messages.fill(&mut self.batch, 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let received = match self.stamp {
            Stamp::Ago(delay) => now - delay,
            Stamp::Ahead(delay) => now + delay,
            Stamp::InMicroseconds => now / 1_000,
            Stamp::Untrusted => now,
            Stamp::None => Duration::ZERO,
        };
        for mut event in self.batch.as_slice().iter().copied() {
            event.receive_time = TimestampNs(received.as_nanos() as u64);
            if matches!(self.stamp, Stamp::Untrusted) {
                event.flags = event.flags.with(Flags::BAD_RECEIVE_TIME);
            }
            batch.push(event);
        }
        filled
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        self.messages.next_time()
    }

    fn counts(&self) -> &Counts {
        self.messages.counts()
    }

    fn is_live(&self) -> bool {
        self.is_live
    }
}

fn config(topology: Topology, sample_interval: u32) -> Config {
    let cores = allowed_cores().unwrap().len();
    let is_enough = cores >= if topology == Topology::Inline { 1 } else { 2 };
    Config {
        topology,
        cores: if is_enough { Cores::Automatic } else { Cores::Unpinned },
        oversubscribe: !is_enough,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        latency_sample_interval: sample_interval,
        ..Config::default()
    }
}

fn run<'d>(config: &Config, source: Socket<'d>) -> Outcome<Socket<'d>, NoStrategy> {
    let outcome = engine::run(config, source, NoStrategy).unwrap();
    assert!(outcome.is_good(), "{:?}", outcome.end);
    outcome
}

fn summary<R, S>(outcome: &Outcome<R, S>, name: &str) -> Summary {
    outcome.stage(name).map(|stage| stage.distribution.summary()).unwrap_or_default()
}

/// The least median of some tries.
fn least_p50(config: &Config, day: &[u8], stamp: Stamp, name: &str) -> u64 {
    let one_try = |_| summary(&run(config, Socket::new(day, stamp)), name).p50.unwrap_or(u64::MAX);
    (0..TRIES).map(one_try).min().unwrap()
}

#[test]
fn time_since_events_arrived_is_in_its_stage_and_in_tick_to_bbo() {
    const AGO: Duration = Duration::from_micros(500);
    let day = generated(3_000, 50, 5);
    for topology in [Topology::Inline, Topology::Pipelined] {
        let config = config(topology, 1);
        let outcome = run(&config, Socket::new(&day, Stamp::Ago(AGO)));
        assert_eq!(summary(&outcome, "received_ns").count, outcome.events);
        assert_eq!(outcome.tick_to_bbo().count(), outcome.events, "every event");
        assert_eq!(outcome.live.map(|live| (live.received, live.tick_to_bbo)), Some(Default::default()));
        let names: Vec<&str> = outcome.stages.iter().map(|stage| stage.name).collect();
        assert_eq!((names[0], names.contains(&"taken_up_ns")), ("received_ns", false), "{names:?}");
        let [late, prompt] = [Stamp::Ago(AGO), Stamp::Ago(Duration::ZERO)];
        let received_ns = least_p50(&config, &day, late, "received_ns");
        // Less what stamping and decoding took before the source looked at its clock.
        assert!((480_000..510_000).contains(&received_ns), "{topology}: received {received_ns} ns ago, not 500 us");
        // What arrives while its core looks is taken up at once.
        assert_eq!(least_p50(&config, &day, prompt, "received_ns"), 0, "{topology}");
        for (name, wanted) in [("tick_to_bbo_ns", 450_000..520_000), ("decoded_ns", 0..0), ("service_ns", 0..0)] {
            let [late, prompt] = [late, prompt].map(|stamp| least_p50(&config, &day, stamp, name));
            let longer_ns = late.cast_signed() - prompt.cast_signed();
            let is_fit = if wanted.is_empty() { longer_ns.abs() < 5_000 } else { wanted.contains(&longer_ns) };
            assert!(is_fit, "{topology}: {name} is {longer_ns} ns longer");
        }
    }
}

#[test]
fn receive_times_that_cannot_be_are_counted_and_not_recorded() {
    let day = generated(2_000, 20, 5);
    let config = config(Topology::Inline, 4);
    let ahead = Stamp::Ahead(Duration::from_millis(5));
    for stamp in [ahead, Stamp::InMicroseconds, Stamp::Untrusted, Stamp::None] {
        let outcome = run(&config, Socket::new(&day, stamp));
        let faults = |count| match stamp {
            Stamp::Ahead(_) | Stamp::Ago(_) => ArrivalFaults { ahead: count, ..ArrivalFaults::default() },
            Stamp::InMicroseconds => ArrivalFaults { absurd: count, ..ArrivalFaults::default() },
            Stamp::Untrusted => ArrivalFaults { untrusted: count, ..ArrivalFaults::default() },
            Stamp::None => ArrivalFaults { missing: count, ..ArrivalFaults::default() },
        };
        let live = outcome.live.unwrap();
        assert_eq!(
            (live.tick_to_bbo, live.received),
            (faults(outcome.events), faults(outcome.events / 4)),
            "{stamp:?}"
        );
        assert_eq!((outcome.stage("received_ns"), outcome.tick_to_bbo().count()), (None, 0), "{stamp:?}");
        assert_eq!(summary(&outcome, "service_ns").count, outcome.events / 4, "the other stages go on");
    }
}

/// The same events from a source that does not say that their times are of now: nothing is counted from them.
#[test]
fn a_source_that_is_not_live_is_not_measured_from_its_receive_times() {
    let day = generated(2_000, 20, 5);
    let source = Socket { is_live: false, ..Socket::new(&day, Stamp::Ago(Duration::ZERO)) };
    let outcome = run(&config(Topology::Inline, 1), source);
    assert_eq!((outcome.live, outcome.stage("received_ns"), outcome.tick_to_bbo().count()), (None, None, 0));
}

/// The clocks drift apart, and the mapping between them follows.
#[test]
fn a_run_of_some_seconds_measures_at_its_end_as_at_its_beginning() {
    struct Slowly<'d>(Socket<'d>);
    impl Source for Slowly<'_> {
        fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
            let filled = self.0.fill(batch, max_messages);
            if !batch.is_empty() {
                self.0.due = Instant::now() + Duration::from_micros(1_500);
            } else {
                thread::sleep(Duration::from_micros(200));
            }
            filled
        }

        fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
            self.0.next_time()
        }

        fn counts(&self) -> &Counts {
            self.0.counts()
        }

        fn is_live(&self) -> bool {
            true
        }
    }
    let day = generated(2_000, 20, 5);
    let source = Slowly(Socket::new(&day, Stamp::Ago(Duration::from_micros(500))));
    let outcome = engine::run(&config(Topology::Inline, 1), source, NoStrategy).unwrap();
    let received = outcome.stage("received_ns").unwrap();
    let medians: Vec<u64> = received.intervals.iter().filter_map(|one| one.distribution.summary().p50).collect();
    assert!(medians.len() > 5, "{medians:?}");
    let late = &medians[medians.len() / 2..];
    let median = late.iter().copied().min().unwrap();
    assert!((480_000..510_000).contains(&median), "{medians:?}");
}
