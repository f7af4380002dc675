//! Instruction counts as they are recorded and compared: a change that costs 2 % is seen here, although the clock's noise is
//! several times that.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Instructions for each event (or message) of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The action.
    pub action: String,
    /// Mean over its events, to a tenth.
    pub per_event: f64,
}

/// Counts of all actions, and what made the code that was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Compiler, target and target features.
    pub compiler: String,
    /// By action.
    pub counts: Vec<Count>,
}

/// More than this share above the recorded count is worse.
pub const WORSE_SHARE: f64 = 0.02;

/// How an action stands against what is recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within [`WORSE_SHARE`] of it.
    Same,
    /// More than that below.
    Better,
    /// More than that above.
    Worse,
    /// Nothing is recorded.
    New,
}

/// Holds a count against the recorded one.
#[must_use]
pub fn verdict(recorded: Option<f64>, now: f64) -> Verdict {
    match recorded {
        None => Verdict::New,
        Some(recorded) if now > recorded * (1.0 + WORSE_SHARE) => Verdict::Worse,
        Some(recorded) if now < recorded * (1.0 - WORSE_SHARE) => Verdict::Better,
        Some(_) => Verdict::Same,
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_json(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let compiler = value["compiler"].as_str().context("no compiler is named")?.to_owned();
        let counts = value["instructions"].as_object().context("there are no instructions")?;
        let counts = counts.iter().map(|(action, count)| {
            let per_event = count.as_f64().with_context(|| format!("{action}: {count} is no count"))?;
            Ok(Count { action: action.clone(), per_event })
        });
        Ok(Self { compiler, counts: counts.collect::<anyhow::Result<_>>()? })
    }

    /// The record as it is kept.
    #[must_use]
    pub fn to_json(&self) -> String {
        let counts = self.counts.iter().map(|count| (count.action.clone(), json!(count.per_event)));
        let value = json!({ "compiler": self.compiler, "instructions": counts.collect::<serde_json::Map<_, _>>() });
        format!("{value:#}\n")
    }

    /// What is recorded of an action.
    #[must_use]
    pub fn of(&self, action: &str) -> Option<f64> {
        self.counts.iter().find(|count| count.action == action).map(|count| count.per_event)
    }

    /// How each action of `now` stands against this record.
    #[must_use]
    pub fn verdicts(&self, now: &Self) -> Vec<Verdict> {
        now.counts.iter().map(|count| verdict(self.of(&count.action), count.per_event)).collect()
    }

    /// Actions of this record that `now` has not.
    #[must_use]
    pub fn missing_from(&self, now: &Self) -> Vec<&str> {
        self.counts.iter().map(|count| &*count.action).filter(|action| now.of(action).is_none()).collect()
    }

    /// A table of each action's count: recorded, now, difference.
    #[must_use]
    pub fn table(&self, now: &Self) -> String {
        let mut table = format!("{:<28} {:>9} {:>9} {:>8}\n", "instructions an event", "recorded", "now", "differ");
        for (count, verdict) in now.counts.iter().zip(self.verdicts(now)) {
            let (recorded, differ) = match self.of(&count.action) {
                Some(recorded) => {
                    (format!("{recorded:.1}"), format!("{:+.1} %", (count.per_event / recorded - 1.0) * 100.0))
                }
                None => ("-".to_owned(), "-".to_owned()),
            };
            let word = match verdict {
                Verdict::Same => "",
                Verdict::Better => "  better",
                Verdict::Worse => "  WORSE",
                Verdict::New => "  new",
            };
            let _ = writeln!(table, "{:<28} {recorded:>9} {:>9.1} {differ:>8}{word}", count.action, count.per_event);
        }
        table
    }
}

/// The totals of callgrind's dumps, in order of the dumps that a function's end made.
///
/// # Errors
/// If a total is no number.
pub fn totals(dumps: &str) -> anyhow::Result<Vec<u64>> {
    let mut totals = Vec::new();
    let mut is_wanted = false;
    for line in dumps.lines() {
        if let Some(trigger) = line.strip_prefix("desc: Trigger: ") {
            is_wanted = trigger.starts_with("--dump-after");
        } else if let Some(total) = line.strip_prefix("totals: ").filter(|_| is_wanted) {
            totals.push(total.trim().parse().with_context(|| format!("{line:?}: not a total"))?);
        }
    }
    Ok(totals)
}

/// The mean of an action's events: its total less what an action of no events takes.
///
/// # Errors
/// If the total is less than that.
pub fn per_event(total: u64, total_of_nothing: u64, events: u64) -> anyhow::Result<f64> {
    ensure!(
        total > total_of_nothing && events > 0,
        "{total} instructions for {events} events, {total_of_nothing} for none"
    );
    Ok(((total - total_of_nothing) as f64 / events as f64 * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundredths_more_are_still_the_same() {
        for (recorded, now, expected) in [
            (Some(100.0), 97.9, Verdict::Better),
            (Some(100.0), 98.0, Verdict::Same),
            (Some(100.0), 102.0, Verdict::Same),
            (Some(100.0), 102.1, Verdict::Worse),
            (None, 1.0, Verdict::New),
        ] {
            assert_eq!(verdict(recorded, now), expected, "{recorded:?} and {now}");
        }
    }

    fn record(counts: &[(&str, f64)]) -> Record {
        let counts = counts.iter().map(|&(action, per_event)| Count { action: action.to_owned(), per_event });
        Record { compiler: "rustc".to_owned(), counts: counts.collect() }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let written = record(&[("add", 90.5), ("delete", 61.0)]);
        assert_eq!(Record::from_json(&written.to_json()).expect("a record"), written);
        for bad in ["", "{}", r#"{"compiler": "rustc", "instructions": {"add": "many"}}"#] {
            assert!(Record::from_json(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_table_names_what_is_worse_new_and_gone() {
        let recorded = record(&[("add", 100.0), ("delete", 50.0)]);
        let now = record(&[("add", 103.0), ("execute", 70.0)]);
        assert_eq!(recorded.verdicts(&now), [Verdict::Worse, Verdict::New]);
        assert_eq!(recorded.missing_from(&now), ["delete"]);
        let table = recorded.table(&now);
        assert!(table.contains("+3.0 %  WORSE") && table.contains("execute"), "{table}");
    }

    #[test]
    fn only_dumps_of_the_function_count() {
        let dumps = "part: 1\ndesc: Trigger: --dump-after=written\ntotals: 120\n\
                     part: 2\ndesc: Trigger: --dump-after=written\ntotals: 20\n\
                     part: 3\ndesc: Trigger: Program termination\ntotals: 7\n";
        assert_eq!(totals(dumps).expect("numbers"), [120, 20]);
        assert!(totals("desc: Trigger: --dump-after=written\ntotals: many").is_err());
        assert_eq!(per_event(120, 20, 8).expect("more than nothing"), 12.5);
        assert!(per_event(20, 20, 1).is_err());
    }
}
