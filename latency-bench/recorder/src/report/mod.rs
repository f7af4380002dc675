//! The latencies of one run, with all that is needed to read them: shown as a table, stored as a directory, set beside
//! another run's.

mod directory;
mod plot;
mod table;

pub use directory::{MAX_REPORT_BYTES, ReportError, SCHEMA, SCHEMA_VERSION, read_report, write_html, write_report};
pub use plot::percentile_plot;
pub use table::{load_table, text_table};

use crate::description::{MachineDescription, RunDescription};
use crate::distribution::Distribution;
use crate::load::{LoadStep, knee};
use crate::recorder::Summary;
use crate::stages::Measured;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// From when a value was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From when the work on the event began. Events that waited behind it are not in it: see [`Stage::corrected`].
    Work,
    /// From when the event was due, whether the program was ready for it or not. Waiting is part of it.
    Due,
    /// From the stamp before: a part of an event's way. It says where time went; what counts is the whole, so two reports'
    /// parts are shown side by side and decide nothing.
    Part,
    /// Not an event's: how long a thread did not come round. What the machine does to a run is no property of the program, so
    /// it is shown and not compared.
    Stall,
}

/// One interval of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageInterval {
    /// From the beginning of the run.
    pub start_ns: u64,
    /// Its length.
    pub length_ns: u64,
    /// Its percentiles.
    #[serde(flatten)]
    pub summary: Summary,
    /// All its values; only there while the run is being reported, and afterwards in the interval log.
    #[serde(skip)]
    pub distribution: Option<Distribution>,
}

/// What one stage of an event's way took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The name, a file name too: ASCII letters, digits, `_` and `-`. Values are nanoseconds, which a good name says.
    pub name: String,
    /// Between which two points, for people.
    pub between: String,
    /// The core that recorded it, if it was one.
    pub core: Option<usize>,
    /// From when.
    pub origin: Origin,
    /// Distance at which the measured events were meant to come: the run's, times the sampling. `None` when that was not
    /// always the same.
    pub expected_interval_ns: Option<u64>,
    /// The values.
    pub distribution: Distribution,
    /// The values over time. Empty when nobody collected them by interval.
    pub intervals: Vec<StageInterval>,
}

/// A quantity over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gauge {
    /// Its name, for people.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// What it cannot exceed, such as the lines of a ring.
    pub limit: Option<f64>,
    /// Nanoseconds from the beginning of the run, and the value then; ascending.
    pub points: Vec<(u64, f64)>,
}

/// A number of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// What was counted.
    pub name: String,
    /// How many.
    pub value: u64,
}

/// A time in which the machine did not let a thread run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// From the beginning of the run.
    pub at_ns: u64,
    /// How long.
    pub length_ns: u64,
    /// On which core, if that is known.
    pub core: Option<usize>,
}

/// What a stall detector saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalls {
    /// Shorter ones were not noted.
    pub threshold_ns: u64,
    /// How many there were.
    pub count: u64,
    /// All of them together.
    pub total_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// The single ones, as many as were kept.
    pub kept: Vec<Stall>,
}

/// The latencies of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What ran.
    pub run: RunDescription,
    /// On what.
    pub machine: MachineDescription,
    /// What was measured, in the order in which it is shown; the first is what the run is about.
    pub stages: Vec<Stage>,
    /// Throughput, fill levels and lags over time.
    pub gauges: Vec<Gauge>,
    /// Other numbers.
    pub counters: Vec<Counter>,
    /// The machine's own interruptions; `None` when nobody looked for them.
    pub stalls: Option<Stalls>,
    /// Rates that were offered one after the other, when the pace was steps.
    #[serde(default)]
    pub load_steps: Vec<LoadStep>,
}

impl Stage {
    /// A stage of which only the values are known.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        between: impl Into<String>,
        origin: Origin,
        distribution: Distribution,
    ) -> Self {
        Self {
            name: name.into(),
            between: between.into(),
            core: None,
            origin,
            expected_interval_ns: None,
            distribution,
            intervals: Vec::new(),
        }
    }

    /// What a [`History`](crate::stages::History) brought, recorded on `core`.
    #[must_use]
    pub fn measured(measured: Measured, between: impl Into<String>, origin: Origin, core: Option<usize>) -> Self {
        let intervals = measured.intervals.into_iter().map(|interval| StageInterval {
            start_ns: interval.start_ns,
            length_ns: interval.length_ns,
            summary: interval.distribution.summary(),
            distribution: Some(interval.distribution),
        });
        let intervals = intervals.collect();
        Self { core, intervals, ..Self::new(measured.name, between, origin, measured.distribution) }
    }

    /// The same with the distance at which measured events were meant to come.
    #[must_use]
    pub fn expected_every(mut self, interval_ns: Option<u64>) -> Self {
        self.expected_interval_ns = interval_ns;
        self
    }

    /// The values with those that coordinated omission hid, where they are hidden and the distance of events is known.
    pub fn corrected(&self) -> Option<Distribution> {
        match (self.origin, self.expected_interval_ns) {
            (Origin::Work, Some(interval_ns)) => Some(self.distribution.corrected(interval_ns)),
            _ => None,
        }
    }
}

impl Report {
    /// The report without its histograms, for scripts: `schema`, `version`, `run`, `machine`, `stages` (each with `count`,
    /// `p50` … `max`, `beyond_range` and `corrected`, nanoseconds or null), `gauges`, `counters`, `stalls`,
    /// `load_steps`, `knee_events_per_second`.
    #[must_use]
    pub fn summary_json(&self) -> Value {
        let stage = |stage: &Stage| {
            let mut json = json!(stage.distribution.summary());
            json["name"] = json!(stage.name);
            json["between"] = json!(stage.between);
            json["core"] = json!(stage.core);
            json["origin"] = json!(stage.origin);
            json["expected_interval_ns"] = json!(stage.expected_interval_ns);
            json["corrected"] = json!(stage.corrected().map(|corrected| corrected.summary()));
            json["intervals"] = json!(stage.intervals);
            json
        };
        json!({
            "schema": SCHEMA,
            "version": SCHEMA_VERSION,
            "run": self.run,
            "machine": self.machine,
            "stages": self.stages.iter().map(stage).collect::<Vec<_>>(),
            "gauges": self.gauges,
            "counters": self.counters,
            "stalls": self.stalls,
            "load_steps": self.load_steps,
            "knee_events_per_second": knee(&self.load_steps),
        })
    }

    /// Gives each step of load the 99th percentile of the first stage in it: of the intervals that lie within the step as a
    /// whole, while their values are there.
    pub fn fill_step_percentiles(&mut self) {
        let Some(stage) = self.stages.first() else { return };
        for step in &mut self.load_steps {
            let end_ns = step.start_ns.saturating_add(step.length_ns);
            let is_within = |interval: &&StageInterval| {
                interval.start_ns >= step.start_ns && interval.start_ns.saturating_add(interval.length_ns) <= end_ns
            };
            let values = stage.intervals.iter().filter(is_within).filter_map(|interval| interval.distribution.as_ref());
            let merged = values.fold(Distribution::default(), |sum, one| sum.merged(one));
            step.p99_ns = merged.summary().p99;
        }
    }

    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

/// A text for a terminal: what a terminal would act upon is written as an escape.
pub fn printable(text: &str) -> String {
    let escaped = |character: char| {
        if character.is_control() { character.escape_default().to_string() } else { character.to_string() }
    };
    text.chars().map(escaped).collect()
}

/// A report for the tests of this package, with a value of every kind in it.
#[cfg(test)]
pub(crate) fn example() -> Report {
    use crate::calibration::{Calibration, CalibrationFigure};
    use crate::clock::{ClockDescription, ClockSource};

    let figure = |step_ns| CalibrationFigure { step_ns, low_ns: step_ns - 0.25, high_ns: step_ns + 0.25 };
    let clock = ClockDescription { source: ClockSource::CycleCounter, stamp_cost_ns: 13.5 };
    let values =
        |factor: u64| (0..5_000_u64).map(move |n| factor * (80 + n * n % 97) + if n % 500 == 0 { n * 9 } else { 0 });
    let interval = |start_ns: u64, distribution: Distribution| StageInterval {
        start_ns,
        length_ns: 100_000_000,
        summary: distribution.summary(),
        distribution: Some(distribution),
    };
    let intervals =
        (0..20).map(|n| interval(n * 100_000_000, Distribution::of_values((0..100).map(|v| 100 + v * (n + 1)))));
    let due = Stage {
        core: Some(3),
        intervals: intervals.collect(),
        ..Stage::new("tick_to_bbo_ns", "due → BBO visible", Origin::Due, Distribution::of_values(values(3)))
    };
    let work = Stage::new("service_ns", "apply begins → BBO visible", Origin::Work, Distribution::of_values(values(1)))
        .expected_every(Some(1_000));
    Report {
        run: RunDescription {
            command: ["tickcore", "replay", "a <day>.itch", "--pace", "1000000"].map(str::to_owned).to_vec(),
            working_directory: "/data".to_owned(),
            version: "0.1.0".to_owned(),
            started_unix_ns: 1_764_083_312_000_000_000,
            elapsed_ns: 2_000_000_000,
            input: "a <day>.itch".to_owned(),
            topology: "inline".to_owned(),
            pace: "1000000".to_owned(),
            expected_interval_ns: Some(1_000),
            lookahead_depth: 32,
            sample_interval: 1,
            probe_cost_ns: Some(17.5),
            notes: vec!["a \"note\" & more".to_owned()],
        },
        machine: MachineDescription {
            cpu: "some <processor>".to_owned(),
            kernel: "linux 6.18".to_owned(),
            cores_available: 4,
            cores: vec![2, 3],
            is_pinned: true,
            huge_page_bytes: 6 << 20,
            load_average: Some(0.25),
            clock,
            calibration: Some(Calibration { before: figure(9.0), after: figure(9.25) }),
        },
        stages: vec![due, work],
        gauges: vec![Gauge {
            name: "ring occupancy".to_owned(),
            unit: "lines".to_owned(),
            limit: Some(16_384.0),
            points: (0..20).map(|n| (n * 100_000_000, (n * n) as f64)).collect(),
        }],
        counters: vec![Counter { name: "events".to_owned(), value: 1_234_567 }],
        stalls: Some(Stalls {
            threshold_ns: 10_000,
            count: 2,
            total_ns: 2_100_000,
            max_ns: 2_000_000,
            kept: vec![
                Stall { at_ns: 500_000_000, length_ns: 2_000_000, core: Some(3) },
                Stall { at_ns: 1_500_000_000, length_ns: 100_000, core: None },
            ],
        }),
        load_steps: vec![
            LoadStep { start_ns: 0, length_ns: 1_000_000_000, offered: 1e6, achieved: 1e6, p99_ns: Some(5_000) },
            LoadStep { start_ns: 1_000_000_000, length_ns: 1_000_000_000, offered: 4e6, achieved: 3e6, p99_ns: None },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_hide_waiting_are_corrected() {
        let report = example();
        let service = report.stage("service_ns").unwrap();
        let corrected = service.corrected().unwrap();
        assert!(corrected.count() > service.distribution.count());
        assert!(corrected.summary().p99_9 >= service.distribution.summary().p99_9);
        assert_eq!(report.stage("tick_to_bbo_ns").unwrap().clone().expected_every(Some(1_000)).corrected(), None);
        assert_eq!(service.clone().expected_every(None).corrected(), None);
    }

    #[test]
    fn the_summary_has_figures_and_no_histograms() {
        let json = example().summary_json();
        assert_eq!((&json["schema"], &json["version"]), (&json!(SCHEMA), &json!(SCHEMA_VERSION)));
        let service = &json["stages"][1];
        assert_eq!(service["count"], 5_000);
        assert!(service["corrected"]["count"].as_u64() > Some(5_000));
        assert_eq!(json["stages"][0]["corrected"], Value::Null);
        assert_eq!(json["stages"][0]["intervals"][3]["start_ns"], 300_000_000);
        assert!(!json.to_string().contains("buckets"));
    }

    #[test]
    fn steps_have_the_percentiles_of_their_time() {
        let mut report = example();
        report.load_steps[0].start_ns = 50_000_000;
        report.fill_step_percentiles();
        // Intervals 1 to 9, the slowest of which has values up to 100 + 99 × 10, and 10 to 19.
        let p99 = |intervals: core::ops::Range<u64>| {
            let values = intervals.flat_map(|n| (0..100).map(move |value| 100 + value * (n + 1)));
            Distribution::of_values(values).summary().p99
        };
        assert_eq!((report.load_steps[0].p99_ns, report.load_steps[1].p99_ns), (p99(1..10), p99(10..20)));
        report.stages[0].intervals.clear();
        report.fill_step_percentiles();
        assert_eq!(report.load_steps[0].p99_ns, None);
    }

    #[test]
    fn the_knee_stands_beside_its_steps() {
        let report = example();
        assert_eq!(report.summary_json()["knee_events_per_second"], 1e6);
        let text = load_table(&report.load_steps);
        let wanted = "\
offered  achieved      p99
    1 M       1 M     5 µs  carried
    4 M       3 M        –  too much
knee: 1 M events per second
";
        assert_eq!(text, wanted);
        assert_eq!(load_table(&[]), "");
    }

    #[test]
    fn nothing_that_a_terminal_acts_upon_is_printed() {
        assert_eq!(printable("µ \u{1b}[31mred\u{7}\n"), "µ \\u{1b}[31mred\\u{7}\\n");
    }
}
