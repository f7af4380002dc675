//! Two stored reports side by side.
//!
//! Their times were taken at different moments, perhaps on different machines, so every time is first scaled by the
//! calibration work that each report carries. What is left unsure is how far each machine's speed changed during its run, how
//! far the two speeds lie apart (the scaling is only as good as the work is like the program's), and how few values stand
//! behind a percentile. The interval of each ratio holds all three; a difference within it cannot be told.

use super::{Better, ComparedFigure, Comparison, Worse};
use crate::distribution::Distribution;
use crate::report::{Origin, Report, Stage};

/// Percentiles that are compared, in parts of ten thousand, and whether they count for the verdict.
const PERCENTILES: [(&str, u64, bool); 5] = [
    ("p50", 5_000, true),
    ("p90", 9_000, false),
    ("p99", 9_900, true),
    ("p99.9", 9_990, false),
    ("p99.99", 9_999, false),
];

/// Standard deviations of a count to each side that a percentile may be off: 95 %.
const DEVIATIONS: f64 = 1.96;

/// Share of the difference between two machines that scaling is trusted to be wrong by.
const SCALING_ERROR: f64 = 0.5;

/// Compares two reports: throughput of runs at full speed, and the percentiles of stages that both have.
#[must_use]
pub fn compare_reports(names: [String; 2], reports: [&Report; 2], threshold: f64) -> Comparison {
    let [a, b] = reports;
    let (scale, drift, mut notes) = scaling(a, b);
    let mut figures = Vec::new();
    if let (Some(one), Some(other)) = (ns_per_event(a), ns_per_event(b)) {
        let interval = (other / one, other / one);
        figures.push(figure("ns_per_event", true, one, other, interval, scale, drift, threshold));
    }
    for stage in a.stages.iter().filter(|stage| stage.origin != Origin::Stall) {
        let Some(other) = b.stage(&stage.name) else { continue };
        figures.extend(percentiles(stage, other, scale, drift, threshold));
    }
    let differing: Vec<&str> = [
        ("input", a.run.input != b.run.input),
        ("topology", a.run.topology != b.run.topology),
        ("pace", a.run.pace != b.run.pace),
        ("sampling", a.run.sample_interval != b.run.sample_interval),
        ("processor", a.machine.cpu != b.machine.cpu),
        ("pinning", a.machine.is_pinned != b.machine.is_pinned),
        ("clock", a.machine.clock.source != b.machine.clock.source),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    if !differing.is_empty() {
        notes.push(format!("the runs differ in {}: a difference may come from there", differing.join(", ")));
    }
    let method = if drift.is_finite() {
        let percent = drift * 100.0;
        format!(
            "B's times are multiplied by {scale:.3}, the ratio of the calibration work; ±{percent:.1} % are the machines' own"
        )
    } else {
        "times are as they were measured".to_owned()
    };
    let [name_a, name_b] = names;
    let mut comparison = Comparison::new(name_a, name_b, threshold, method, figures);
    comparison.notes = notes;
    comparison
}

/// By what B's times are multiplied to be those of A's machine, and how far that may be wrong.
fn scaling(a: &Report, b: &Report) -> (f64, f64, Vec<String>) {
    let (Some(one), Some(other)) = (a.machine.calibration, b.machine.calibration) else {
        let note = "a report without calibration cannot be scaled: nothing can be told between two machines or moments";
        return (1.0, f64::INFINITY, vec![note.to_owned()]);
    };
    let scale = one.step_ns() / other.step_ns();
    let apart = scale.max(1.0 / scale) - 1.0;
    (scale, one.drift().max(other.drift()).max(apart * SCALING_ERROR), Vec::new())
}

/// Time per event of a run that nothing held back.
fn ns_per_event(report: &Report) -> Option<f64> {
    let events = report.counters.iter().find(|counter| counter.name == "events")?.value;
    (report.run.pace == "max" && events > 0).then(|| report.run.elapsed_ns as f64 / events as f64)
}

fn percentiles(a: &Stage, b: &Stage, scale: f64, drift: f64, threshold: f64) -> Vec<ComparedFigure> {
    let compared = |(percentile, parts, is_gating): (&str, u64, bool)| {
        let (one, one_low, one_high) = percentile_with_bounds(&a.distribution, parts)?;
        let (other, other_low, other_high) = percentile_with_bounds(&b.distribution, parts)?;
        let name = format!("{} {percentile}", a.name);
        let interval = (other_low / one_high, other_high / one_low);
        let is_gating = is_gating && a.origin != Origin::Part;
        Some(figure(&name, is_gating, one, other, interval, scale, drift, threshold))
    };
    PERCENTILES.into_iter().filter_map(compared).collect()
}

/// A percentile, and the values of the ranks between which it lies but for 5 %; `None` when there are too few values.
fn percentile_with_bounds(distribution: &Distribution, parts: u64) -> Option<(f64, f64, f64)> {
    let count = distribution.count();
    let (share, total) = (parts as f64 / 10_000.0, count as f64);
    let deviation = DEVIATIONS * (total * share * (1.0 - share)).sqrt();
    let (low, high) = ((total * share - deviation).floor(), (total * share + deviation).ceil() + 1.0);
    if low < 1.0 || high > total {
        return None;
    }
    let value = |rank: f64| distribution.value_at_rank(rank as u64).map(|value| value.max(1) as f64);
    Some((distribution.value_at(parts, 10_000)?.max(1) as f64, value(low)?, value(high)?))
}

#[expect(clippy::too_many_arguments, reason = "one place, called twice, each argument named at the call")]
fn figure(
    name: &str,
    is_gating: bool,
    a: f64,
    b: f64,
    (low, high): (f64, f64),
    scale: f64,
    drift: f64,
    threshold: f64,
) -> ComparedFigure {
    let high = high * scale * (1.0 + drift);
    let worse =
        Worse { ratio: b / a * scale, low: low * scale / (1.0 + drift), high: high.is_finite().then_some(high) };
    ComparedFigure {
        name: name.to_owned(),
        unit: "ns".to_owned(),
        better: Better::Lower,
        is_gating,
        a,
        b,
        a_runs: Vec::new(),
        b_runs: Vec::new(),
        worse,
        verdict: worse.verdict(threshold),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{Calibration, CalibrationFigure};
    use crate::compare::Verdict;
    use crate::report::example;

    /// A report whose machine takes `step_ns` a step, a little more after than before, and whose stage takes `factor`.
    fn report(step_ns: f64, drift: f64, factor: f64) -> Report {
        let figure = |step_ns: f64| CalibrationFigure { step_ns, low_ns: step_ns, high_ns: step_ns };
        let values = (0..200_000_u64).map(|n| ((1_000 + n * n % 997) as f64 * factor) as u64);
        let mut report = example();
        report.machine.calibration = Some(Calibration {
            before: figure(step_ns * (1.0 - drift / 2.0)),
            after: figure(step_ns * (1.0 + drift / 2.0)),
        });
        report.stages = vec![Stage::new("service_ns", "", Origin::Work, Distribution::of_values(values))];
        report
    }

    fn verdict(a: &Report, b: &Report) -> Verdict {
        compare_reports(["a".to_owned(), "b".to_owned()], [a, b], 0.02).verdict
    }

    #[test]
    fn a_difference_counts_when_it_is_larger_than_the_drift() {
        let before = report(10.0, 0.005, 1.0);
        assert_eq!(verdict(&before, &report(10.0, 0.005, 1.0)), Verdict::Same);
        assert_eq!(verdict(&before, &report(10.0, 0.005, 1.05)), Verdict::Regression);
        assert_eq!(verdict(&before, &report(10.0, 0.005, 0.9)), Verdict::Improvement);
        assert_eq!(verdict(&before, &report(10.0, 0.10, 1.05)), Verdict::CannotTell);
        assert_eq!(verdict(&before, &report(10.0, 0.10, 1.30)), Verdict::Regression, "larger than the drift");
    }

    #[test]
    fn a_slower_machine_is_no_slower_program_and_hides_none() {
        let before = report(10.0, 0.005, 1.0);
        // All of it is a fifth slower: the scaled times are equal, but the scaling itself is not known that well.
        assert_eq!(verdict(&before, &report(12.0, 0.005, 1.2)), Verdict::CannotTell);
        assert_eq!(verdict(&before, &report(12.0, 0.005, 1.6)), Verdict::Regression);
        assert_eq!(verdict(&before, &report(10.1, 0.005, 1.01)), Verdict::Same);
    }

    #[test]
    fn without_calibration_or_common_figures_nothing_can_be_told() {
        let (before, mut after) = (report(10.0, 0.0, 1.0), report(10.0, 0.0, 2.0));
        after.machine.calibration = None;
        let comparison = compare_reports(["a".to_owned(), "b".to_owned()], [&before, &after], 0.02);
        assert_eq!(comparison.verdict, Verdict::CannotTell);
        assert!(comparison.notes[0].contains("calibration"));
        assert!(!serde_json::to_string(&comparison).unwrap().contains("inf"));
        after.stages.clear();
        assert_eq!(verdict(&before, &after), Verdict::CannotTell);
    }

    #[test]
    fn few_values_have_no_far_percentiles_and_runs_that_differ_are_named() {
        let (before, mut after) = (report(10.0, 0.0, 1.0), report(10.0, 0.0, 1.0));
        after.stages[0].distribution = Distribution::of_values(1_000..1_200);
        after.run.pace = "max".to_owned();
        let comparison = compare_reports(["a".to_owned(), "b".to_owned()], [&before, &after], 0.02);
        let names: Vec<&str> = comparison.figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["service_ns p50", "service_ns p90"]);
        assert!(comparison.notes.iter().any(|note| note.contains("pace")), "{:?}", comparison.notes);
    }

    #[test]
    fn parts_of_the_way_are_shown_and_do_not_decide() {
        let (mut a, mut b) = (report(10.0, 0.0, 1.0), report(10.0, 0.0, 1.5));
        assert_eq!(verdict(&a, &b), Verdict::Regression);
        for report in [&mut a, &mut b] {
            report.stages[0].origin = Origin::Part;
            // Something has to decide.
            report.stages.push(Stage::new("whole_ns", "", Origin::Due, Distribution::of_values(1_000..9_000)));
        }
        assert_ne!(verdict(&a, &b), Verdict::Regression);
        let comparison = compare_reports(["a".to_owned(), "b".to_owned()], [&a, &b], 0.02);
        assert!(comparison.figures.iter().any(|figure| figure.name == "service_ns p50" && !figure.is_gating));
    }

    #[test]
    fn full_speed_runs_are_compared_by_their_throughput() {
        let (mut before, mut after) = (report(10.0, 0.0, 1.0), report(10.0, 0.0, 1.0));
        before.run.pace = "max".to_owned();
        after.run.pace = "max".to_owned();
        after.run.elapsed_ns = before.run.elapsed_ns * 2;
        let comparison = compare_reports(["a".to_owned(), "b".to_owned()], [&before, &after], 0.02);
        assert_eq!(comparison.figures[0].name, "ns_per_event");
        assert_eq!((comparison.figures[0].worse.ratio, comparison.verdict), (2.0, Verdict::Regression));
    }
}
