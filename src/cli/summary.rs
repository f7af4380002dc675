//! The result of a replay: one JSON object, or a table for people.

use super::on_seal::Sealed;
use super::shard_map::Spread;
use serde_json::{Value, json};
use std::path::PathBuf;
use tickcore::book::{Anomaly, LOOKAHEAD_EVENTS};
use tickcore::feed::source::{Counts, Format};
use tickcore::latency::{Recorder, Summary, grouped};
use tickcore::outcome::{BooksOutcome, CoreOutcome, End, JournalOutcome, MachineOutcome, Outcome, StageOutcome};
use tickcore::pace::Pace;
use tickcore::topology::Role;

/// What stands in a summary beside the outcome itself.
#[derive(Debug)]
pub(crate) struct Described<'d> {
    pub(crate) inputs: &'d [PathBuf],
    pub(crate) format: Format,
    pub(crate) counts: &'d Counts,
    pub(crate) times_are_since_midnight: bool,
    pub(crate) spread: &'d Spread,
    pub(crate) pace: Pace,
    pub(crate) sample_interval: u32,
    /// Commands run for sealed segments.
    pub(crate) sealed: Option<Sealed>,
}

/// The JSON object of `replay --json`: its keys are a contract.
pub(crate) fn json<R, S>(outcome: &Outcome<R, S>, described: &Described<'_>) -> Value {
    let (books, counts) = (&outcome.books, described.counts);
    let digest = |digest: Option<u64>| digest.map(|digest| format!("{digest:016x}"));
    json!({
        "input": described.inputs.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "format": described.format.name(),
        "times_since_midnight": described.times_are_since_midnight,
        "messages": counts.messages,
        "messages_by_type": by_type(counts),
        "events": outcome.events,
        "end": end_name(&outcome.end),
        "skipped": {
            "unknown_type": counts.unknown_type,
            "malformed": counts.malformed + books.anomalies.of(Anomaly::Malformed),
            "truncated_bytes": counts.truncated_bytes,
        },
        "anomalies": anomalies(books),
        "crossed": books.crossed,
        "locked": books.locked,
        "instruments": books.instruments,
        "stale_instruments": books.stale_instruments,
        "live_orders": books.live_orders,
        "levels": books.levels,
        "bbo_changes": books.bbo_changes,
        "state_digest": digest(books.state_digest),
        "stream_digest": digest(books.stream_digest),
        "pace": described.pace.to_string(),
        "elapsed_ns": outcome.elapsed_ns,
        "ns_per_message": per_message(outcome.elapsed_ns, counts.messages),
        "messages_per_second": per_second(outcome.elapsed_ns, counts.messages),
        "lookahead_events": LOOKAHEAD_EVENTS,
        "service_ns": latency(&outcome.service().summary()),
        "latency_ns": (described.pace != Pace::Max).then(|| latency(&outcome.tick_to_bbo().summary())),
        "stages_ns": stages(&outcome.stages),
        "probe_cost_ns": outcome.probe_cost_ns,
        "ring_full_waits": outcome.ring_full_waits,
        "ring_full_ns": outcome.ring_full_ns,
        "unjournaled": outcome.is_unjournaled,
        "stalls": stalls(outcome),
        "threads": outcome.cores.iter().map(thread).collect::<Vec<_>>(),
        "journal": outcome.journal.as_ref().map(|outcome| journal(outcome, described.sealed)),
        "machine": machine(outcome, described),
    })
}

fn thread(core: &CoreOutcome) -> Value {
    json!({
        "name": core.thread.name,
        "role": core.thread.role.name(),
        "shard": core.thread.shard,
        "core": core.thread.core,
        "events": core.events,
        "batches": core.batches,
        "skipped": core.skipped,
        "stalls_idle_ns": latency(&core.stalls_idle.summary()),
        "stalls_working_ns": latency(&core.stalls_working.summary()),
        "run_delay_ns": core.run_delay_ns,
    })
}

const fn end_name(end: &End) -> &'static str {
    match end {
        End::Complete => "complete",
        End::Stopped => "stopped",
        End::Overdue { .. } => "overdue",
        End::Anomaly(_) => "anomaly",
        End::Skipped(_) => "skipped",
        End::Truncated { .. } => "truncated",
        _ => "failed",
    }
}

fn by_type(counts: &Counts) -> Value {
    let letters = (0_u8..=255).zip(counts.by_type).filter(|(_, count)| *count > 0);
    Value::Object(letters.map(|(letter, count)| (letter.escape_ascii().to_string(), count.into())).collect())
}

fn per_message(elapsed_ns: u64, messages: u64) -> f64 {
    if messages == 0 { 0.0 } else { elapsed_ns as f64 / messages as f64 }
}

fn per_second(elapsed_ns: u64, messages: u64) -> f64 {
    if elapsed_ns == 0 { 0.0 } else { messages as f64 * 1e9 / elapsed_ns as f64 }
}

/// By name.
fn stages(stages: &[StageOutcome]) -> Value {
    Value::Object(stages.iter().map(|stage| (stage.name.to_owned(), latency(&stage.distribution.summary()))).collect())
}

fn latency(summary: &Summary) -> Value {
    let Summary { count, p50, p90, p99, p99_9, p99_99, max, beyond_range } = summary;
    json!({
        "count": count, "p50": p50, "p90": p90, "p99": p99, "p99_9": p99_9, "p99_99": p99_99, "max": max,
        "beyond_range": beyond_range,
    })
}

fn journal(journal: &JournalOutcome, sealed: Option<Sealed>) -> Value {
    json!({
        "dir": journal.dir.display().to_string(),
        "first_sequence": journal.first_sequence.map(|sequence| sequence.get()),
        "last_sequence": journal.last_sequence.get(),
        "written_sequence": journal.written_sequence.get(),
        "durable_sequence": journal.durable_sequence.get(),
        "checkpoint_sequence": journal.checkpoint_sequence.map(|sequence| sequence.get()),
        "restart_ns": journal.restart_ns,
        "checkpoints_made": journal.checkpoints_made,
        "compared_events": journal.compared_events,
        "bytes": journal.bytes,
        "segments": journal.segments,
        "failed": journal.error.is_some(),
        "errors": journal.error.iter().collect::<Vec<_>>(),
        "warnings": journal.warnings,
        "full_waits": journal.full_waits,
        "full_ns": journal.full_wait_ns,
        "on_seal": sealed.map(|Sealed { commands, failed }| json!({ "commands": commands, "failed": failed })),
    })
}

/// The same for people.
pub(crate) fn text<R, S>(outcome: &Outcome<R, S>, described: &Described<'_>) -> String {
    let (books, machine, counts) = (&outcome.books, &outcome.machine, described.counts);
    let mut rows: Vec<(&str, String)> = Vec::new();
    let inputs: Vec<String> = described.inputs.iter().map(|path| path.display().to_string()).collect();
    rows.push(("input", format!("{} ({})", inputs.join(", "), described.format.name())));
    if described.times_are_since_midnight {
        rows.push((
            "times",
            "nanoseconds since midnight: no session date in the file's name, none given by --date".into(),
        ));
    }
    if !matches!(outcome.end, End::Complete) {
        rows.push(("end", format!("{}: what follows is as of event {}", end_name(&outcome.end), outcome.events)));
    }
    rows.push(("messages", format!("{} became {} events", grouped(counts.messages), grouped(outcome.events))));
    let skipped = counts.unknown_type + counts.malformed;
    if skipped + counts.truncated_bytes > 0 {
        let first = counts.first_skipped.map_or_else(String::new, |first| format!("; first: {first}"));
        rows.push((
            "skipped",
            format!(
                "{} of unknown type, {} malformed, {} bytes of a cut message at the end{first}",
                counts.unknown_type, counts.malformed, counts.truncated_bytes
            ),
        ));
    }
    rows.push((
        "books",
        format!(
            "{} instruments, {} live orders on {} levels, {} stale",
            grouped(books.instruments.into()),
            grouped(books.live_orders.into()),
            grouped(books.levels.into()),
            books.stale_instruments
        ),
    ));
    let anomalies: Vec<String> = Anomaly::ALL
        .into_iter()
        .filter(|&anomaly| books.anomalies.of(anomaly) > 0)
        .map(|anomaly| format!("{} {}", grouped(books.anomalies.of(anomaly)), anomaly.name()))
        .collect();
    rows.push(("anomalies", if anomalies.is_empty() { "none".to_owned() } else { anomalies.join(", ") }));
    if books.crossed + books.locked > 0 {
        rows.push(("standing", format!("{} crossed and {} locked BBOs", books.crossed, books.locked)));
    }
    if let (Some(changes), Some(state), Some(stream)) = (books.bbo_changes, books.state_digest, books.stream_digest) {
        rows.push(("BBO changes", grouped(changes)));
        rows.push(("digests", format!("state {state:016x}, stream {stream:016x}")));
    }
    if described.pace != Pace::Max {
        rows.push(("pace", described.pace.to_string()));
    }
    rows.push((
        "time",
        format!(
            "{:.3} s, {:.1} ns a message, {} messages a second",
            outcome.elapsed_ns as f64 / 1e9,
            per_message(outcome.elapsed_ns, counts.messages),
            grouped(per_second(outcome.elapsed_ns, counts.messages) as u64)
        ),
    ));
    if let Some(journal) = &outcome.journal {
        rows.push((
            "journal",
            format!(
                "{}: events {} to {}, durable to {}, {} bytes in {} segments by {}",
                journal.dir.display(),
                journal.first_sequence.map_or(0, |sequence| sequence.get()),
                journal.last_sequence,
                journal.durable_sequence,
                grouped(journal.bytes),
                journal.segments,
                journal.backend
            ),
        ));
        if journal.full_waits > 0 {
            rows.push(("journal full", full_line(outcome, journal)));
        }
        if let Some(sequence) = journal.checkpoint_sequence {
            let seconds = journal.restart_ns as f64 / 1e9;
            let told =
                format!("from the checkpoint of sequence {sequence} and the journal behind it, in {seconds:.3} s");
            rows.push(("resumed", told));
        }
        if journal.checkpoints_made > 0 {
            rows.push(("checkpoints", format!("{} made beside the run", journal.checkpoints_made)));
        }
        if let Some(error) = &journal.error {
            rows.push(("journal error", error.clone()));
        }
        if outcome.is_unjournaled {
            let what = format!("what comes behind event {} may be in no journal", journal.durable_sequence);
            rows.push(("UNJOURNALED", what));
        }
        if let Some(Sealed { commands, failed }) = described.sealed {
            rows.push(("on seal", format!("{commands} commands were run, {failed} failed")));
        }
    }
    rows.push(("machine", machine_line(machine)));
    if described.spread.map.count() > 1 {
        rows.extend(shard_rows(&outcome.cores, described.spread));
    }
    if outcome.stall_threshold_ns > 0 {
        rows.push(("stalls", stall_line(outcome)));
    }
    rows.push(("measured", measured_line(outcome, described)));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// What did not fit the books, but for what is malformed, which counts as skipped.
fn anomalies(books: &BooksOutcome) -> Value {
    let of = |anomaly| books.anomalies.of(anomaly);
    json!({
        "unknown_order": of(Anomaly::UnknownOrder),
        "duplicate_order": of(Anomaly::DuplicateOrder),
        "overfill": of(Anomaly::Overfill),
        "capacity": of(Anomaly::Capacity),
        "gap": of(Anomaly::Gap),
    })
}

/// What it ran on, and how it was spread there.
fn machine<R, S>(outcome: &Outcome<R, S>, described: &Described<'_>) -> Value {
    let machine = &outcome.machine;
    json!({
        "cpu": machine.cpu,
        "topology": machine.topology.name(),
        "cores": machine.cores,
        "pinned": machine.is_pinned,
        "huge_pages": machine.huge_page_bytes,
        "journal_backend": outcome.journal.as_ref().map(|journal| journal.backend.to_string()),
        "journal_spins": machine.journal_spins,
        "shards": described.spread.map.count(),
        "notices": machine.notices,
    })
}

/// What interrupted the threads.
fn stalls<R, S>(outcome: &Outcome<R, S>) -> Value {
    json!({
        "threshold_ns": outcome.stall_threshold_ns,
        "idle_ns": latency(&outcome.stalls_idle().summary()),
        "working_ns": latency(&outcome.stalls_working().summary()),
    })
}

/// What was stamped, and what that cost.
fn measured_line<R, S>(outcome: &Outcome<R, S>, described: &Described<'_>) -> String {
    let sampled = match (described.sample_interval, outcome.probe_cost_ns) {
        (interval @ 1.., Some(cost_ns)) => format!(
            "stages of one event in {interval} with {LOOKAHEAD_EVENTS} events of lookahead; a stamp and its record cost {cost_ns:.1} ns, the stamp alone {:.1}",
            outcome.machine.clock.stamp_cost_ns
        ),
        _ => "no stages".to_owned(),
    };
    let paced = if described.pace == Pace::Max { "" } else { "tick-to-BBO of every event from when it was due; " };
    format!("{paced}{sampled}")
}

/// How long the journal had no room, and what that cost the feed.
fn full_line<R, S>(outcome: &Outcome<R, S>, journal: &JournalOutcome) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    let (waits, full) = (grouped(journal.full_waits), ms(journal.full_wait_ns));
    format!(
        "its buffer {waits} times, {full:.1} ms; the feed waited {:.1} ms for a full ring",
        ms(outcome.ring_full_ns)
    )
}

/// What each book core had of the events.
fn shard_rows<'r>(cores: &[CoreOutcome], spread: &Spread) -> Vec<(&'r str, String)> {
    let books: Vec<&CoreOutcome> = cores.iter().filter(|core| core.thread.role == Role::Book).collect();
    let all: u64 = books.iter().map(|core| core.events).sum();
    let share = |core: &CoreOutcome| {
        let part = if all == 0 { 0.0 } else { core.events as f64 * 100.0 / all as f64 };
        (
            "shard",
            format!(
                "{}: {} events ({part:.1} %), passed over {}",
                core.thread,
                grouped(core.events),
                grouped(core.skipped)
            ),
        )
    };
    let mut rows = vec![("shards", spread.told())];
    rows.extend(books.into_iter().map(share));
    rows
}

/// What kept the threads from looping: the machine's part apart from what may be the program's.
fn stall_line<R, S>(outcome: &Outcome<R, S>) -> String {
    let told = |recorder: &Recorder| match recorder.max_ns() {
        Some(longest) => format!("{}, longest {:.1} us", grouped(recorder.count()), longest as f64 / 1e3),
        None => "none".to_owned(),
    };
    let delays: Vec<u64> = outcome.cores.iter().filter_map(|core| core.run_delay_ns).collect();
    let delay = match delays.len() {
        0 => String::new(),
        _ => format!("; other threads ran on their cores for {:.1} us", delays.iter().sum::<u64>() as f64 / 1e3),
    };
    format!(
        "above {:.0} us, the machine's (idle): {}; the machine's or the program's (working): {}{delay}",
        outcome.stall_threshold_ns as f64 / 1e3,
        told(&outcome.stalls_idle()),
        told(&outcome.stalls_working()),
    )
}

fn machine_line(machine: &MachineOutcome) -> String {
    let cores = if machine.is_pinned {
        let numbers: Vec<String> = machine.cores.iter().map(ToString::to_string).collect();
        format!("pinned to {} {}", if numbers.len() == 1 { "core" } else { "cores" }, numbers.join(", "))
    } else {
        "not pinned".to_owned()
    };
    format!("{}, {} {cores}, {} MiB on huge pages", machine.cpu, machine.topology, machine.huge_page_bytes >> 20)
}
