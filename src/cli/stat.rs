//! `stat`: the counters of a running engine, core by core.

use super::args::StatArgs;
use super::select::Usage;
use super::table::{align_right, table};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tickcore::latency::grouped;
use tickcore::stat::{CoreCounters, Counter, Engine, Snapshot, State, engines};
use tickcore::topology::Role;

/// How often an engine is asked whether it is still there while a long interval passes.
const LIFE_INTERVAL: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &StatArgs) -> Result<ExitCode> {
    let engine = match &args.engine {
        Some(name) => named(name)?,
        None => only_one()?,
    };
    let count = args.count.unwrap_or(if args.json { 1 } else { u64::MAX });
    let mut before = engine.read()?;
    let mut looked_at = Instant::now();
    for look in 0..count {
        // What an engine that is gone left behind does not change any more: one look is enough.
        let was_alive = pause(&engine, args.interval);
        let elapsed = looked_at.elapsed();
        looked_at = Instant::now();
        let now = engine.read()?;
        let rates = Look { before: &before, now: &now, seconds: elapsed.as_secs_f64(), is_alive: was_alive };
        if args.json {
            writeln!(io::stdout(), "{}", rates.json(engine.path()))?;
        } else {
            write!(io::stdout(), "{}{}", if look == 0 { "" } else { "\n" }, rates.text())?;
        }
        if !was_alive {
            return told_end(&engine, &now);
        }
        before = now;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the next look. False when the engine is gone, at once.
fn pause(engine: &Engine, interval: Duration) -> bool {
    let start = Instant::now();
    while let Some(left) = interval.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        if !engine.is_alive() {
            return false;
        }
        thread::sleep(left.min(LIFE_INTERVAL));
    }
    engine.is_alive()
}

fn told_end(engine: &Engine, last: &Snapshot) -> Result<ExitCode> {
    match last.state {
        Some(State::Ended) => {
            eprintln!("tickcore: engine {} ended in good order", last.process_id);
            Ok(ExitCode::SUCCESS)
        }
        Some(State::Failed) => {
            bail!("engine {} ended with a failure; its own output says which", last.process_id)
        }
        _ => bail!(
            "engine {} died without a word: it was killed, or crashed; the numbers are its last. The next engine that starts here removes {}",
            last.process_id,
            engine.path().display()
        ),
    }
}

/// The engine with this process id, or file.
fn named(name: &str) -> Result<Engine> {
    let Ok(process_id) = name.parse::<u64>() else { return Ok(Engine::open(Path::new(name))?) };
    let known = known();
    let mut found = known.into_iter().filter(|(_, _, seen)| seen.process_id == process_id);
    match (found.next(), found.next()) {
        (Some((_, engine, _)), None) => Ok(engine),
        (Some((path, ..)), Some((other, ..))) => Err(Usage(format!(
            "process {process_id} has several engines: name the file, such as {} or {}",
            path.display(),
            other.display()
        ))
        .into()),
        (None, _) => bail!(
            "no engine of process {process_id} is to be seen; it may have ended, run with --stat-file elsewhere, or belong to another user or container. `tickcore stat` lists those that are"
        ),
    }
}

/// The engine that runs, if it is one.
fn only_one() -> Result<Engine> {
    let (mut alive, dead): (Vec<_>, Vec<_>) = known().into_iter().partition(|(_, engine, _)| engine.is_alive());
    match alive.len() {
        1 => Ok(alive.remove(0).1),
        0 => {
            let left: Vec<String> = dead.iter().map(|(.., seen)| seen.process_id.to_string()).collect();
            let left = match left.len() {
                0 => String::new(),
                _ => format!("; killed ones left their last numbers: tickcore stat {}", left.join(" or ")),
            };
            bail!(
                "no engine runs here that can be looked at; one is started by tickcore replay, or by a program with stat_file in its engine's configuration{left}"
            )
        }
        _ => {
            Err(Usage(format!("{} engines run here: name one by its process id\n{}", alive.len(), listed(&alive)))
                .into())
        }
    }
}

type Known = (PathBuf, Engine, Snapshot);

/// Every engine that has left a file which can be read.
fn known() -> Vec<Known> {
    let known = engines().into_iter().filter_map(|path| {
        let engine = Engine::open(&path).ok()?;
        let seen = engine.read().ok()?;
        Some((path, engine, seen))
    });
    known.collect()
}

fn listed(engines: &[Known]) -> String {
    let mut table = table(["process", "state", "topology", "up", "what"]);
    for (_, _, seen) in engines {
        table.add_row([
            seen.process_id.to_string(),
            state_name(seen).to_owned(),
            topology_name(seen).to_owned(),
            up(seen),
            seen.description.clone(),
        ]);
    }
    table.to_string()
}

fn state_name(seen: &Snapshot) -> &'static str {
    seen.state.map_or("unknown", State::name)
}

fn topology_name(seen: &Snapshot) -> &'static str {
    seen.topology.map_or("unknown", tickcore::topology::Topology::name)
}

/// Time since the start.
fn up(seen: &Snapshot) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let seconds = now.saturating_sub(seen.start_ns) / 1_000_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

/// A line of the table: what it has for the core at a place.
type CellOf<'c> = Box<dyn Fn(usize) -> Option<String> + 'c>;

/// Two readings of an engine, and the time between them.
struct Look<'l> {
    before: &'l Snapshot,
    now: &'l Snapshot,
    seconds: f64,
    is_alive: bool,
}

impl Look<'_> {
    /// How much a counter grew in a second. What shrank is not believed.
    fn rate(&self, place: usize, counter: Counter) -> f64 {
        let before = self.before.cores.get(place).map_or(0, |core| core.of(counter));
        let grown = self.now.cores[place].of(counter).saturating_sub(before);
        if self.seconds > 0.0 { grown as f64 / self.seconds } else { 0.0 }
    }

    fn does_loop(&self, place: usize) -> bool {
        let before = self.before.cores.get(place).map(|core| core.of(Counter::Heartbeat));
        before != Some(self.now.cores[place].of(Counter::Heartbeat))
    }

    /// Events in the ring that a core has yet to take; `None` for a core that takes none from it.
    fn behind(&self, core: &CoreCounters) -> Option<u64> {
        let feed = self.now.cores.iter().find(|core| core.role == Some(Role::Feed));
        let book = self.now.cores.iter().find(|core| core.role == Some(Role::Book));
        match core.role {
            Some(Role::Book) => feed,
            Some(Role::Journal) => feed.or(book),
            _ => None,
        }
        .map(|writer| writer.of(Counter::Sequence).saturating_sub(core.of(Counter::Sequence)))
    }

    fn text(&self) -> String {
        let Self { now, is_alive, .. } = self;
        let gone = if *is_alive { "" } else { ", gone" };
        let title = |core: &CoreCounters| match core.core {
            Some(number) => format!("{} core {number}", core.name),
            None => format!("{} unpinned", core.name),
        };
        let header = std::iter::once(String::new()).chain(now.cores.iter().map(title));
        let mut table = table(header);
        for (name, value) in self.rows() {
            let cells = (0..now.cores.len()).map(|place| value(place).unwrap_or_else(|| "-".to_owned()));
            table.add_row(std::iter::once(name.to_owned()).chain(cells));
        }
        align_right(&mut table, 1);
        format!(
            "engine {}, {}{gone}, {}, up {}: {}\n{table}\n",
            now.process_id,
            state_name(now),
            topology_name(now),
            up(now),
            now.description
        )
    }

    /// The lines of the table: a name, and the value for each core that has one.
    fn rows(&self) -> Vec<(&'static str, CellOf<'_>)> {
        let cores = &self.now.cores;
        let rate =
            |counter| Box::new(move |place: usize| Some(grouped(self.rate(place, counter) as u64))) as CellOf<'_>;
        let of = |roles: &'static [Role], value: fn(&CoreCounters) -> u64| {
            let is_of = move |core: &CoreCounters| core.role.is_some_and(|role| roles.contains(&role));
            Box::new(move |place: usize| {
                let core = &cores[place];
                is_of(core).then(|| grouped(value(core)))
            }) as CellOf<'_>
        };
        let mut rows = vec![
            ("events/s", rate(Counter::Events)),
            ("batches/s", rate(Counter::Batches)),
            ("behind", Box::new(|place: usize| self.behind(&cores[place]).map(grouped)) as Box<_>),
            ("full/s", rate(Counter::FullWaits)),
            ("stalls/s idle", rate(Counter::StallsIdle)),
            ("stalls/s working", rate(Counter::StallsWorking)),
            (
                "longest stall, us",
                Box::new(|place: usize| Some(format!("{:.1}", cores[place].of(Counter::LongestStallNs) as f64 / 1e3)))
                    as Box<_>,
            ),
            ("anomalies", of(&[Role::Book], |core| core.of(Counter::Anomalies))),
            ("gaps", of(&[Role::Book], |core| core.of(Counter::Gaps))),
            (
                "loops",
                Box::new(|place: usize| {
                    let loops = if self.does_loop(place) { "yes" } else { "no" };
                    self.is_alive.then(|| loops.to_owned())
                }) as Box<_>,
            ),
        ];
        if cores.iter().any(|core| core.of(Counter::Skipped) > 0) {
            rows.insert(1, ("passed over/s", rate(Counter::Skipped)));
        }
        if cores.iter().any(|core| core.role == Some(Role::Journal)) {
            rows.push((
                "to write",
                of(&[Role::Journal], |core| core.of(Counter::Sequence).saturating_sub(core.of(Counter::Written))),
            ));
            rows.push((
                "to sync",
                of(&[Role::Journal], |core| core.of(Counter::Sequence).saturating_sub(core.of(Counter::Durable))),
            ));
        }
        rows
    }

    fn json(&self, path: &Path) -> Value {
        let now = self.now;
        let core = |(place, core): (usize, &CoreCounters)| {
            let is_journal = core.role == Some(Role::Journal);
            json!({
                "name": core.name,
                "role": core.role.map(Role::name),
                "shard": core.shard,
                "core": core.core,
                "loops": self.does_loop(place),
                "events": core.of(Counter::Events),
                "events_per_second": self.rate(place, Counter::Events),
                "sequence": core.of(Counter::Sequence),
                "behind_events": self.behind(core),
                "batches": core.of(Counter::Batches),
                "batches_per_second": self.rate(place, Counter::Batches),
                "skipped": core.of(Counter::Skipped),
                "full_waits": core.of(Counter::FullWaits),
                "gaps": core.of(Counter::Gaps),
                "anomalies": core.of(Counter::Anomalies),
                "stalls_idle": core.of(Counter::StallsIdle),
                "stalls_working": core.of(Counter::StallsWorking),
                "stalled_ns": core.of(Counter::StalledNs),
                "longest_stall_ns": core.of(Counter::LongestStallNs),
                "written_sequence": is_journal.then(|| core.of(Counter::Written)),
                "durable_sequence": is_journal.then(|| core.of(Counter::Durable)),
            })
        };
        json!({
            "pid": now.process_id,
            "file": path.display().to_string(),
            "is_alive": self.is_alive,
            "state": state_name(now),
            "topology": topology_name(now),
            "ring_lines": now.ring_lines,
            "start_ns": now.start_ns,
            "seconds": self.seconds,
            "description": now.description,
            "cores": (0..).zip(&now.cores).map(core).collect::<Vec<_>>(),
        })
    }
}
