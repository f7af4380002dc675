//! A scorecard: figures of one run, their goals, and what they were measured on; as a table or as JSON.

use serde_json::{Map, Number, Value, json};
use std::fmt::Write as _;
use tickcore::machine::{cpu_model, huge_page_bytes};
use tickcore::pin::{allowed_cores, pin_to};

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is better: a goal is a least value.
    Higher,
    /// Less is better: a goal is a largest value.
    Lower,
}

impl Better {
    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

/// One measured number.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name, by which scripts find it.
    pub name: &'static str,
    /// Its unit: `ns`, `bytes`, `ratio` …
    pub unit: &'static str,
    /// Which way it gets better.
    pub better: Better,
    /// The number; `None` when it was not measured.
    pub value: Option<f64>,
    /// What it should reach, if that is stated.
    pub goal: Option<f64>,
    /// Why it was not measured.
    pub skipped: Option<String>,
}

impl Figure {
    /// A figure without a goal.
    #[must_use]
    pub const fn new(name: &'static str, value: f64, unit: &'static str, better: Better) -> Self {
        Self { name, unit, better, value: Some(value), goal: None, skipped: None }
    }

    /// A figure that this run cannot measure, and why.
    #[must_use]
    pub const fn skipped(name: &'static str, unit: &'static str, better: Better, reason: String) -> Self {
        Self { name, unit, better, value: None, goal: None, skipped: Some(reason) }
    }

    /// The figure with what it should reach.
    #[must_use]
    pub const fn with_goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Whether the goal is reached; `None` without a goal or a value.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        let (value, goal) = (self.value?, self.goal?);
        Some(match self.better {
            Better::Higher => value >= goal,
            Better::Lower => value <= goal,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "value": self.value.map(number),
            "unit": self.unit,
            "goal": self.goal.map(number),
            "better": self.better.name(),
            "holds": self.holds(),
            "skipped": self.skipped,
        })
    }
}

/// A number for JSON: whole numbers as such, so that counts do not end in `.0`.
fn number(value: f64) -> Value {
    const EXACT_MAX: f64 = (1_u64 << 53) as f64;
    if value.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&value) {
        return Value::from(value as u64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// What a run is measured on.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// The core that the measuring thread is bound to; `None` when it floats.
    pub pinned_core: Option<usize>,
    /// Most bytes of the process seen on huge pages.
    pub huge_pages_bytes: u64,
    /// Threads that wanted to run in the minute before, on average; `None` where the kernel does not tell. As many as
    /// cores or more mean that others disturbed the run.
    pub load_average: Option<f64>,
}

impl Machine {
    /// Binds the calling thread to the last core that the process may use (the first ones serve most interrupts). Where
    /// that fails, it says so on stderr and the machine has no `pinned_core`.
    #[must_use]
    pub fn pin() -> Self {
        let (cores, pinned_core) = match allowed_cores() {
            Ok(cores) => match cores.last().map(|&core| pin_to(core).map(|()| core)) {
                Some(Ok(core)) => (cores.len(), Some(core)),
                Some(Err(error)) => {
                    eprintln!("not pinned, every figure suffers: {error}");
                    (cores.len(), None)
                }
                None => (0, None),
            },
            Err(error) => {
                eprintln!("not pinned, every figure suffers: {error}");
                (std::thread::available_parallelism().map_or(1, usize::from), None)
            }
        };
        Self { cpu: cpu_model(), cores, pinned_core, huge_pages_bytes: 0, load_average: load_average() }
    }

    /// The machine of a card whose threads bind themselves, the first of them to `pinned_core`.
    #[must_use]
    pub fn of(pinned_core: Option<usize>) -> Self {
        let cores = allowed_cores().map_or(1, |cores| cores.len());
        Self { cpu: cpu_model(), cores, pinned_core, huge_pages_bytes: 0, load_average: load_average() }
    }

    /// Notes what stands on huge pages now; the most that was seen is kept.
    pub fn note_huge_pages(&mut self) {
        self.huge_pages_bytes = self.huge_pages_bytes.max(huge_page_bytes());
    }

    fn to_json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cores": self.cores,
            "pinned": self.pinned_core.is_some(),
            "pinned_core": self.pinned_core,
            "huge_pages": self.huge_pages_bytes,
            "load_average": self.load_average,
        })
    }
}

/// The first figure of the kernel's `/proc/loadavg`.
fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// The figures of one run of a card.
#[derive(Clone, Debug, PartialEq)]
pub struct Scorecard {
    /// Name of the card.
    pub card: &'static str,
    /// What it ran on.
    pub machine: Machine,
    /// What was run: input, digests, hashes of baselines. Key and value.
    pub run: Vec<(&'static str, Value)>,
    /// The figures, the ones with goals first.
    pub figures: Vec<Figure>,
    /// Sentences for people, printed below the table.
    pub notes: Vec<String>,
}

impl Scorecard {
    /// The figure of this name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// One JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "card": self.card,
            "machine": self.machine.to_json(),
            "run": self.run.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Map<_, _>>(),
            "figures": self.figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// A table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Machine { cpu, cores, pinned_core, huge_pages_bytes, load_average } = &self.machine;
        let pinned = pinned_core.map_or_else(|| "not pinned".to_owned(), |core| format!("pinned to core {core}"));
        let huge_pages_mib = huge_pages_bytes >> 20;
        let load = load_average.map_or_else(|| "unknown".to_owned(), |load| load.to_string());
        let mut text = format!(
            "scorecard {}\n{cpu}, {cores} cores, {pinned}, {huge_pages_mib} MiB on huge pages, load average before {load}\n",
            self.card
        );
        for (key, value) in &self.run {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let _ = writeln!(text, "{key}: {value}");
        }
        let _ = writeln!(text, "\n{:<32} {:>14} {:<6} {:>14}  holds", "figure", "value", "unit", "goal");
        for figure in &self.figures {
            let value = figure.value.map_or_else(|| "-".to_owned(), readable);
            let goal = figure.goal.map_or_else(String::new, |goal| match figure.better {
                Better::Higher => format!("≥ {}", readable(goal)),
                Better::Lower => format!("≤ {}", readable(goal)),
            });
            let verdict = match (&figure.skipped, figure.holds()) {
                (Some(reason), _) => reason,
                (None, Some(true)) => "yes",
                (None, Some(false)) => "no",
                (None, None) => "",
            };
            let line = format!("{:<32} {value:>14} {:<6} {goal:>14}  {verdict}", figure.name, figure.unit);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}");
        }
        text
    }
}

/// Whole numbers whole, others with as many decimals as say something.
fn readable(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value.abs() < 10.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scorecard() -> Scorecard {
        Scorecard {
            card: "example",
            machine: Machine {
                cpu: "a processor".to_owned(),
                cores: 2,
                pinned_core: Some(1),
                huge_pages_bytes: 2 << 20,
                load_average: Some(0.5),
            },
            run: vec![("input", json!("a day"))],
            figures: vec![
                Figure::new("ours", 2.5, "ns", Better::Lower).with_goal(3.0),
                Figure::new("count", 7.0, "", Better::Higher),
                Figure::skipped("scaling", "ratio", Better::Higher, "needs three cores".to_owned()).with_goal(2.0),
            ],
            notes: vec!["A sentence.".to_owned()],
        }
    }

    #[test]
    fn a_goal_holds_at_its_value_and_on_the_better_side() {
        let figure = |value, better| Figure::new("figure", value, "ns", better).with_goal(3.0).holds();
        assert_eq!(figure(3.0, Better::Lower), Some(true));
        assert_eq!(figure(3.1, Better::Lower), Some(false));
        assert_eq!(figure(3.0, Better::Higher), Some(true));
        assert_eq!(figure(2.9, Better::Higher), Some(false));
        assert_eq!(Figure::new("figure", 1.0, "ns", Better::Lower).holds(), None);
        assert_eq!(scorecard().figures[2].holds(), None, "not measured");
    }

    #[test]
    fn json_has_every_key_of_every_figure() {
        let json = scorecard().to_json();
        assert_eq!(json["machine"]["pinned"], json!(true));
        assert_eq!(json["machine"]["huge_pages"], json!(2 << 20));
        let expected = [
            json!({"name": "ours", "value": 2.5, "unit": "ns", "goal": 3, "better": "lower", "holds": true, "skipped": null}),
            json!({"name": "count", "value": 7, "unit": "", "goal": null, "better": "higher", "holds": null, "skipped": null}),
            json!({"name": "scaling", "value": null, "unit": "ratio", "goal": 2, "better": "higher", "holds": null,
                   "skipped": "needs three cores"}),
        ];
        assert_eq!(json["figures"], json!(expected));
    }

    #[test]
    fn the_table_has_a_line_per_figure() {
        let text = scorecard().to_text();
        let line_of = |name: &str| text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
        assert!(line_of("ours").ends_with("≤ 3  yes"));
        assert!(line_of("scaling").ends_with("needs three cores"));
        assert!(text.ends_with("\nA sentence."));
    }

    #[test]
    fn numbers_that_json_lacks_are_null() {
        assert_eq!(number(f64::NAN), Value::Null);
        assert_eq!(number(-1.5), json!(-1.5));
    }
}
