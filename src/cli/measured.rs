//! What a replay measured, as a latency report: the run and the machine described, stages, throughput, ring and journal over time.

use super::args::ReplayArgs;
use std::cmp::Reverse;
use std::env;
use std::time::{SystemTime, UNIX_EPOCH};
use tickcore::book::{Anomaly, LOOKAHEAD_EVENTS};
use tickcore::feed::source::Counts;
use tickcore::inputs::Inputs;
use tickcore::latency::stages::Measured;
use tickcore::latency::{
    Calibration, CalibrationFigure, Clock, Counter, Gauge, LoadStep, MachineDescription, Origin, Report,
    RunDescription, Stage, Stall, Stalls, events_at,
};
use tickcore::outcome::{CoreOutcome, Outcome, StageOutcome, StallOutcome};
use tickcore::pace::RateStep;
use tickcore::timeline::Moment;

/// What was looked at before a run.
#[derive(Debug)]
pub(crate) struct Measurement {
    started_unix_ns: u64,
    /// Speed of the machine before the run; `None` when no report was asked for.
    before: Option<CalibrationFigure>,
}

impl Measurement {
    /// To be made just before the run. Times the machine when a report is wanted: about 40 ms.
    pub(crate) fn begin(args: &ReplayArgs) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = args.report.is_some().then(|| CalibrationFigure::measure(&Clock::calibrate()));
        Self { started_unix_ns: now.as_nanos() as u64, before }
    }

    /// The report of the run that has ended.
    pub(crate) fn report<S>(&self, args: &ReplayArgs, outcome: &Outcome<Inputs, S>, counts: &Counts) -> Report {
        let machine = &outcome.machine;
        let clock = self.before.map(|before| (before, CalibrationFigure::measure(&Clock::calibrate())));
        let working_directory = env::current_dir().unwrap_or_default();
        let inputs: Vec<String> = outcome.source.paths().iter().map(|path| path.display().to_string()).collect();
        let mut report = Report {
            run: RunDescription {
                command: env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
                working_directory: working_directory.display().to_string(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_unix_ns: self.started_unix_ns,
                elapsed_ns: outcome.elapsed_ns,
                input: inputs.join(", "),
                topology: machine.topology.name().to_owned(),
                pace: args.pace.to_string(),
                expected_interval_ns: args.pace.interval_ns(),
                lookahead_depth: LOOKAHEAD_EVENTS,
                sample_interval: args.latency_sample,
                probe_cost_ns: outcome.probe_cost_ns,
                notes: notes(outcome),
            },
            machine: MachineDescription {
                cpu: machine.cpu.clone(),
                cores: machine.cores.clone(),
                is_pinned: machine.is_pinned,
                huge_page_bytes: machine.huge_page_bytes,
                calibration: clock.map(|(before, after)| Calibration { before, after }),
                ..MachineDescription::here(machine.clock)
            },
            stages: stages(args, outcome),
            gauges: gauges(outcome),
            counters: counters(outcome, counts),
            stalls: stalls(outcome),
            load_steps: load_steps(args, outcome),
        };
        report.fill_step_percentiles();
        report
    }
}

/// What became of the steps of a pace of steps, as far as the run came.
fn load_steps<S>(args: &ReplayArgs, outcome: &Outcome<Inputs, S>) -> Vec<LoadStep> {
    let samples: Vec<(u64, u64)> = outcome.timeline.iter().map(|moment| (moment.at_ns, moment.events)).collect();
    let end_ns = samples.last().map_or(outcome.elapsed_ns, |last| last.0);
    let steps = args.pace.steps();
    let ends = steps.iter().skip(1).map(|step| step.start_ns).chain([u64::MAX]);
    let achieved = |(step, next_ns): (&RateStep, u64)| {
        let length_ns = next_ns.min(end_ns).checked_sub(step.start_ns)?;
        // A tenth at each end is left out: the samples do not stand at the edges.
        let (from_ns, to_ns) = (step.start_ns + length_ns / 10, step.start_ns + length_ns / 10 * 9);
        let events = events_at(&samples, to_ns)? - events_at(&samples, from_ns)?;
        let achieved = events * 1e9 / to_ns.saturating_sub(from_ns).max(1) as f64;
        let offered = step.events_per_second as f64;
        Some(LoadStep { start_ns: step.start_ns, length_ns, offered, achieved, p99_ns: None })
    };
    steps.iter().zip(ends).map_while(achieved).collect()
}

fn gauges<S>(outcome: &Outcome<Inputs, S>) -> Vec<Gauge> {
    let mut moments = outcome.timeline.clone();
    if moments.len() < 3 && moments.last().is_some_and(|last| last.at_ns < outcome.elapsed_ns) {
        // A run of a moment has its end for a second one.
        moments.push(Moment { at_ns: outcome.elapsed_ns, events: outcome.events, ring_lines: None, durable: None });
    }
    let rate = |pair: &[Moment]| {
        let elapsed_ns = pair[1].at_ns.saturating_sub(pair[0].at_ns).max(1);
        (pair[1].at_ns, pair[1].events.saturating_sub(pair[0].events) as f64 * 1e9 / elapsed_ns as f64)
    };
    let gauge =
        |name: &str, unit: &str, limit, points| Gauge { name: name.to_owned(), unit: unit.to_owned(), limit, points };
    let mut gauges = vec![gauge("throughput", "events per second", None, moments.windows(2).map(rate).collect())];
    if outcome.journal.is_some() {
        let lag = |moment: &Moment| Some((moment.at_ns, moment.events.saturating_sub(moment.durable?.get()) as f64));
        let points = moments.iter().filter_map(lag).collect();
        gauges.push(gauge("journal lag", "events applied and not yet durable", None, points));
    }
    if outcome.timeline.iter().any(|moment| moment.ring_lines.is_some()) {
        let lines = |moment: &Moment| Some((moment.at_ns, moment.ring_lines? as f64));
        let limit = Some(outcome.machine.ring_lines as f64);
        let points = moments.iter().filter_map(lines).collect();
        gauges.push(gauge("ring occupancy", "lines that the slowest reader was not done with", limit, points));
    }
    gauges
}

/// What the run is about comes first, the others in the order of an event's way.
fn stages<S>(args: &ReplayArgs, outcome: &Outcome<Inputs, S>) -> Vec<Stage> {
    let apart_ns = args.pace.interval_ns().map(|interval_ns| interval_ns * u64::from(args.latency_sample));
    let stage = |stage: &StageOutcome| {
        let (distribution, intervals) = (stage.distribution.clone(), stage.intervals.clone());
        let measured = Measured { name: stage.name.to_owned(), distribution, intervals };
        let described = Stage::measured(measured, stage.between, stage.origin, stage.core);
        // Only what an event's whole time on a core is can hide others that waited behind it.
        if stage.name == "service_ns" { described.expected_every(apart_ns) } else { described }
    };
    let mut stages: Vec<Stage> = outcome.stages.iter().map(stage).collect();
    stages.sort_by_key(|stage| (stage.name != "tick_to_bbo_ns", stage.name != "service_ns"));
    if stages.is_empty() && args.latency_sample > 0 {
        let between = "apply begins → BBO visible";
        stages.push(Stage::new("service_ns", between, Origin::Work, outcome.service()));
    }
    let stalls = [
        ("stalls_idle_ns", "a core with nothing to do did not loop", outcome.stalls_idle()),
        ("stalls_working_ns", "a core took longer than the threshold over a slice of events", outcome.stalls_working()),
    ];
    let seen = stalls.into_iter().filter(|(_, _, recorder)| recorder.count() > 0);
    stages.extend(seen.map(|(name, what, recorder)| Stage::new(name, what, Origin::Stall, recorder.distribution())));
    stages
}

/// Most stalls that a report shows one by one.
const STALLS_SHOWN: usize = 12;

/// When the machine kept a core with nothing to do from looping, the longest one by one.
fn stalls<S>(outcome: &Outcome<Inputs, S>) -> Option<Stalls> {
    let lengths = outcome.stalls_idle().distribution();
    let mean_ns = lengths.mean_and_deviation().map_or(0.0, |(mean_ns, _)| mean_ns);
    let of_core = |core: &CoreOutcome| {
        let number = core.thread.core;
        let stall = move |stall: &StallOutcome| Stall { at_ns: stall.at_ns, length_ns: stall.length_ns, core: number };
        core.longest_stalls.iter().map(stall).collect::<Vec<_>>()
    };
    let mut kept: Vec<Stall> = outcome.cores.iter().flat_map(of_core).collect();
    kept.sort_by_key(|stall| Reverse(stall.length_ns));
    kept.truncate(STALLS_SHOWN);
    kept.sort_by_key(|stall| stall.at_ns);
    (outcome.stall_threshold_ns > 0).then(|| Stalls {
        threshold_ns: outcome.stall_threshold_ns,
        count: lengths.count(),
        total_ns: (mean_ns * lengths.count() as f64) as u64,
        max_ns: lengths.max_ns().unwrap_or(0),
        kept,
    })
}

fn counters<S>(outcome: &Outcome<Inputs, S>, counts: &Counts) -> Vec<Counter> {
    let books = &outcome.books;
    let mut all = vec![
        ("messages", counts.messages),
        ("events", outcome.events),
        ("BBO changes", books.bbo_changes.unwrap_or(0)),
        ("instruments", books.instruments.into()),
        ("live orders at the end", books.live_orders.into()),
        ("levels at the end", books.levels.into()),
        ("times the ring was full", outcome.ring_full_waits),
        ("messages skipped", counts.unknown_type + counts.malformed),
    ];
    all.extend(Anomaly::ALL.map(|anomaly| (anomaly.name(), books.anomalies.of(anomaly))));
    if let Some(journal) = &outcome.journal {
        all.push(("journal bytes", journal.bytes));
        all.push(("journal segments", journal.segments));
        all.push(("sampled events not measured to the disk", journal.unmeasured_events));
    }
    let counter = |(name, value): (&str, u64)| Counter { name: name.to_owned(), value };
    all.into_iter().map(counter).collect()
}

/// What the run had to do without.
fn notes<S>(outcome: &Outcome<Inputs, S>) -> Vec<String> {
    let mut notes = Vec::new();
    if !outcome.machine.is_pinned {
        notes.push("threads were not pinned: times say little".to_owned());
    }
    if outcome.machine.huge_page_bytes == 0 {
        notes.push("the machine gave no huge pages".to_owned());
    }
    if let Some(journal) = &outcome.journal {
        if !outcome.machine.journal_spins {
            notes.push("the journal's thread slept between writes".to_owned());
        }
        notes.extend(journal.notices.iter().cloned());
    }
    notes
}
