//! The parts of a report's page, from top to bottom.

use super::chart::{Axis, Chart, Line};
use super::escaped;
use crate::description::utc_text;
use crate::distribution::Distribution;
use crate::load::{KNEE_P99_NS, knee};
use crate::readable::{grouped, short, short_ns, short_ns_or_dash};
use crate::report::{Origin, Report, Stage};
use core::fmt::Write as _;

/// Columns of the table of percentiles: name, and parts of ten million.
const PERCENTILES: [(&str, u64); 7] = [
    ("p50", 5_000_000),
    ("p90", 9_000_000),
    ("p99", 9_900_000),
    ("p99.9", 9_990_000),
    ("p99.99", 9_999_000),
    ("p99.999", 9_999_900),
    ("p99.9999", 9_999_990),
];
const WHOLE: u64 = 10_000_000;

/// Points of a curve to each nine.
const POINTS_PER_NINE: u32 = 40;
const NINES: u32 = 6;

/// Most stalls in the table; the page says how many there were.
const STALLS_SHOWN: usize = 12;

/// Title, what ran, and the figures that one looks for first.
pub(super) fn heading(out: &mut String, report: &Report) {
    let run = &report.run;
    let _ = writeln!(
        out,
        "<h1>Latency of {}</h1>\n<p class=\"sub\">{} · {} · {} · pace {}</p>",
        escaped(&run.input),
        utc_text(run.started_unix_ns).replace('T', " ").replace('Z', " UTC"),
        escaped(&report.machine.cpu),
        escaped(&run.topology),
        escaped(&run.pace)
    );
    let Some(stage) = report.stages.iter().find(|stage| !stage.distribution.is_empty()) else {
        out.push_str("<p>Nothing was recorded in this run.</p>\n");
        return;
    };
    let summary = stage.distribution.summary();
    let tiles = [
        ("p50", short_ns_or_dash(summary.p50)),
        ("p99", short_ns_or_dash(summary.p99)),
        ("p99.9", short_ns_or_dash(summary.p99_9)),
        ("p99.99", short_ns_or_dash(summary.p99_99)),
        ("largest", short_ns_or_dash(summary.max)),
        ("values", short(summary.count as f64)),
    ];
    out.push_str("<div class=\"tiles\">");
    for (name, value) in tiles {
        let _ = write!(out, "<div class=\"tile\"><b>{value}</b><span>{name}</span></div>");
    }
    let _ =
        writeln!(out, "</div>\n<p class=\"note\">These are of <b>{}</b>{}.</p>", escaped(&stage.name), between(stage));
}

/// Curves and table of all stages.
pub(super) fn percentiles(out: &mut String, report: &Report) {
    let recorded: Vec<&Stage> = report.stages.iter().filter(|stage| !stage.distribution.is_empty()).collect();
    if recorded.is_empty() {
        return;
    }
    // Parts of the way have a chart of their own: a dozen curves in one would be a knot.
    let (parts, wholes): (Vec<&Stage>, Vec<&Stage>) = recorded.iter().partition(|stage| stage.origin == Origin::Part);
    out.push_str("<section>\n<h2>Percentiles</h2>\n");
    curves(out, "latency by percentile, logarithmic on both axes", "", &wholes);
    curves(out, "parts of the way by percentile", "Parts of an event's way", &parts);
    out.push_str("<div class=\"card scroll\">\n<table>\n<tr><th>stage</th>");
    for (name, _) in PERCENTILES {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("<th>largest</th><th>values</th></tr>\n");
    for stage in &report.stages {
        let between = if stage.between.is_empty() {
            String::new()
        } else {
            format!("<small>{}</small>", escaped(&stage.between))
        };
        row(out, "", &format!("{}{between}", escaped(&stage.name)), &stage.distribution);
        if let (Some(corrected), Some(interval_ns)) = (stage.corrected(), stage.expected_interval_ns) {
            let name = format!("corrected<small>for one every {}</small>", short_ns(interval_ns as f64));
            row(out, " class=\"corrected\"", &name, &corrected);
        }
    }
    out.push_str("</table>\n</div>\n");
    remarks(out, report);
    out.push_str("</section>\n");
}

/// A chart of these stages with its legend; nothing without stages.
fn curves(out: &mut String, title: &str, heading: &str, recorded: &[&Stage]) {
    if recorded.is_empty() {
        return;
    }
    out.push_str("<div class=\"card\">\n");
    if !heading.is_empty() {
        let _ = writeln!(out, "<h3>{}</h3>", escaped(heading));
    }
    out.push_str("<ul class=\"legend\">");
    let mut lines = Vec::new();
    for (colour, stage) in recorded.iter().enumerate() {
        legend_entry(out, colour, false, &stage.name);
        lines.push(curve(colour, false, &stage.name, &stage.distribution));
        if let Some(corrected) = stage.corrected() {
            legend_entry(out, colour, true, &format!("{}, corrected", stage.name));
            lines.push(curve(colour, true, &format!("{}, corrected", stage.name), &corrected));
        }
    }
    out.push_str("</ul>\n");
    let low = recorded.iter().filter_map(|stage| stage.distribution.min_ns()).min().unwrap_or(0);
    let high = recorded.iter().filter_map(|stage| stage.distribution.max_ns()).max().unwrap_or(0);
    let chart = Chart {
        title,
        x: Axis::percentiles(),
        y: Axis::log_ns(low as f64, high as f64),
        lines,
        marks: Vec::new(),
        limit: None,
    };
    out.push_str(&chart.large());
    out.push_str("\n</div>\n");
}

fn legend_entry(out: &mut String, colour: usize, is_dashed: bool, name: &str) {
    let dash = if is_dashed { " dash" } else { "" };
    let _ = write!(out, "<li><i class=\"c{}{dash}\"></i>{}</li>", colour % super::chart::COLOURS, escaped(name));
}

fn row(out: &mut String, class: &str, name: &str, distribution: &Distribution) {
    let _ = write!(out, "<tr{class}><td>{name}</td>");
    for (_, parts) in PERCENTILES {
        // A percentile that so few values do not know would be the largest value under another name.
        let is_known = distribution.count() >= WHOLE / (WHOLE - parts);
        let value = distribution.value_at(parts, WHOLE).filter(|_| is_known);
        let _ = write!(out, "<td>{}</td>", short_ns_or_dash(value));
    }
    let _ = writeln!(
        out,
        "<td>{}</td><td>{}</td></tr>",
        short_ns_or_dash(distribution.max_ns()),
        grouped(distribution.count())
    );
}

/// How the table is to be read, and what it hides.
fn remarks(out: &mut String, report: &Report) {
    out.push_str("<p class=\"note\">Values are kept to three significant digits. “–” stands where there were too few values for a percentile.");
    if report.stages.iter().any(|stage| stage.origin == Origin::Due) {
        out.push_str(" What is measured from when an event was due has waiting in it and needs no correction.");
    }
    if report.stages.iter().any(|stage| stage.corrected().is_some()) {
        out.push_str(" “Corrected” adds, for each value longer than the distance of events, the events that would have waited behind it.");
    } else if report.stages.iter().any(|stage| stage.origin == Origin::Work) {
        out.push_str(" What is measured from when the work began hides the events that waited behind a slow one.");
    }
    if report.stages.iter().any(|stage| stage.origin == Origin::Part) {
        out.push_str(" Other stages are parts of an event's way, from one stamp to the next.");
    }
    out.push_str("</p>\n");
    for stage in report.stages.iter().filter(|stage| stage.distribution.beyond_range() > 0) {
        let _ = writeln!(
            out,
            "<p class=\"note bad\">{}: {} values were beyond a minute; percentiles among them are shown as the largest value.</p>",
            escaped(&stage.name),
            grouped(stage.distribution.beyond_range())
        );
    }
}

fn curve(colour: usize, is_dashed: bool, name: &str, distribution: &Distribution) -> Line {
    let count = distribution.count();
    let end = (count as f64).log10().min(f64::from(NINES));
    let mut points = Vec::new();
    let mut buckets = distribution.cumulated().peekable();
    for step in 0..=NINES * POINTS_PER_NINE {
        let nines = f64::from(step) / f64::from(POINTS_PER_NINE);
        if nines > end {
            break;
        }
        let rank = ((1.0 - 10_f64.powf(-nines)) * count as f64).ceil() as u64;
        while buckets.peek().is_some_and(|bucket| bucket.count < rank.max(1)) {
            buckets.next();
        }
        let Some(bucket) = buckets.peek() else { break };
        points.push((nines, log_ns(bucket.value_ns)));
    }
    let known = PERCENTILES.iter().filter(|(_, parts)| !is_dashed && count >= WHOLE / (WHOLE - parts));
    let dots = known.filter_map(|&(percentile, parts)| {
        let value = distribution.value_at(parts, WHOLE)?;
        let nines = -((WHOLE - parts) as f64 / WHOLE as f64).log10();
        Some((nines, log_ns(value), format!("{name} {percentile}: {}", short_ns(value as f64))))
    });
    Line { colour, is_dashed, dots: dots.collect(), points }
}

fn log_ns(value_ns: u64) -> f64 {
    (value_ns.max(1) as f64).log10()
}

fn between(stage: &Stage) -> String {
    if stage.between.is_empty() { String::new() } else { format!(" ({})", escaped(&stage.between)) }
}

/// What became of each rate that was offered.
pub(super) fn load(out: &mut String, report: &Report) {
    if report.load_steps.is_empty() {
        return;
    }
    out.push_str(
        "<section>\n<h2>Steps of load</h2>\n<div class=\"card scroll\"><table>\n\
         <tr><th>offered, events per second</th><th>achieved</th><th>p99</th><th></th></tr>\n",
    );
    for step in &report.load_steps {
        let (class, verdict) = if step.is_carried() { ("good", "carried") } else { ("bad", "too much") };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{verdict}</td></tr>",
            short(step.offered),
            short(step.achieved),
            short_ns_or_dash(step.p99_ns)
        );
    }
    let knee = knee(&report.load_steps);
    let knee =
        knee.map_or_else(|| "below the first step".to_owned(), |rate| format!("{} events per second", short(rate)));
    let _ = writeln!(
        out,
        "</table></div>\n<p class=\"note\">The knee is {knee}: the highest rate that was carried, which is that 99 % came \
         through in time and p99, where it was measured, stayed within {}.</p>\n</section>",
        short_ns(KNEE_P99_NS as f64)
    );
}

/// Stages and gauges over the time of the run, stalls marked.
pub(super) fn over_time(out: &mut String, report: &Report) {
    let marks: Vec<f64> =
        report.stalls.iter().flat_map(|stalls| &stalls.kept).map(|stall| seconds(stall.at_ns)).collect();
    let mut cards = Vec::new();
    for stage in
        report.stages.iter().filter(|stage| stage.intervals.iter().filter(|one| one.summary.count > 0).count() > 1)
    {
        cards.push(stage_over_time(stage, report.run.elapsed_ns, &marks));
    }
    for gauge in report.gauges.iter().filter(|gauge| gauge.points.len() > 1) {
        let high = gauge.points.iter().map(|point| point.1).fold(0.0, f64::max);
        let end = gauge.points.iter().map(|point| point.0).max().unwrap_or(0).max(report.run.elapsed_ns);
        // A limit far above is not worth the room that it would take.
        let limit = gauge.limit.filter(|limit| *limit <= high * 4.0);
        let points = gauge.points.iter().map(|&(at_ns, value)| (seconds(at_ns), value)).collect();
        let chart = Chart {
            title: &gauge.name,
            x: Axis::time(end),
            y: Axis::linear(limit.unwrap_or(0.0).max(high)),
            lines: vec![Line { colour: 2, is_dashed: false, points, dots: Vec::new() }],
            marks: marks.clone(),
            limit,
        };
        let limit = gauge.limit.map_or_else(String::new, |limit| format!(", at most {}", short(limit)));
        let note = format!("{}{limit}; highest {}", escaped(&gauge.unit), short(high));
        cards.push(card(&gauge.name, &note, "", &chart.small()));
    }
    if cards.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>Over time</h2>\n<div class=\"pair\">\n");
    cards.iter().for_each(|card| out.push_str(card));
    out.push_str("</div>\n");
    if !marks.is_empty() {
        out.push_str("<p class=\"note\">Upright red lines: the machine did not let a thread run.</p>\n");
    }
    out.push_str("</section>\n");
}

fn stage_over_time(stage: &Stage, elapsed_ns: u64, marks: &[f64]) -> String {
    let recorded = || stage.intervals.iter().filter(|interval| interval.summary.count > 0);
    let line = |colour, value: fn(&crate::recorder::Summary) -> Option<u64>| {
        let point = |interval: &crate::report::StageInterval| {
            let middle = seconds(interval.start_ns.saturating_add(interval.length_ns / 2));
            Some((middle, log_ns(value(&interval.summary)?)))
        };
        Line { colour, is_dashed: false, points: recorded().filter_map(point).collect(), dots: Vec::new() }
    };
    let low = recorded().filter_map(|interval| interval.summary.p50).min().unwrap_or(1);
    let high = recorded().filter_map(|interval| interval.summary.max).max().unwrap_or(1);
    let last = stage.intervals.last().map_or(0, |last| last.start_ns.saturating_add(last.length_ns));
    let chart = Chart {
        title: &format!("{} over time", stage.name),
        x: Axis::time(last.max(elapsed_ns)),
        y: Axis::log_ns(low as f64, high as f64),
        lines: vec![line(0, |summary| summary.p50), line(1, |summary| summary.p99), line(7, |summary| summary.max)],
        marks: marks.to_vec(),
        limit: None,
    };
    let mut legend = "<ul class=\"legend\">".to_owned();
    for (colour, name) in [(0, "p50"), (1, "p99"), (7, "largest")] {
        legend_entry(&mut legend, colour, false, name);
    }
    legend.push_str("</ul>");
    card(&stage.name, "", &legend, &chart.small())
}

/// A chart with its name; `note`, `legend` and `drawing` are HTML already.
fn card(name: &str, note: &str, legend: &str, drawing: &str) -> String {
    let note = if note.is_empty() { String::new() } else { format!("<p class=\"note\">{note}</p>") };
    format!("<div class=\"card\"><h3>{}</h3>{note}{legend}{drawing}</div>\n", escaped(name))
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// What the machine did to the run.
pub(super) fn stalls(out: &mut String, report: &Report) {
    let Some(stalls) = &report.stalls else { return };
    let share = if report.run.elapsed_ns == 0 { 0.0 } else { stalls.total_ns as f64 / report.run.elapsed_ns as f64 };
    let _ = writeln!(
        out,
        "<section>\n<h2>Stalls of the machine</h2>\n<p>{} times the machine did not let a watched thread run for {} or longer: \
         {} together ({:.3} % of the run), the longest {}. What they cost is in the figures above and is not the program’s.</p>",
        grouped(stalls.count),
        short_ns(stalls.threshold_ns as f64),
        short_ns(stalls.total_ns as f64),
        share * 100.0,
        short_ns(stalls.max_ns as f64)
    );
    if !stalls.kept.is_empty() {
        let mut longest = stalls.kept.clone();
        longest.sort_by_key(|stall| core::cmp::Reverse(stall.length_ns));
        out.push_str("<div class=\"card scroll\"><table>\n<tr><th>at</th><th>core</th><th>length</th></tr>\n");
        for stall in longest.iter().take(STALLS_SHOWN) {
            let core = stall.core.map_or_else(|| "–".to_owned(), |core| core.to_string());
            let _ = writeln!(
                out,
                "<tr><td>{:.6} s</td><td>{core}</td><td>{}</td></tr>",
                seconds(stall.at_ns),
                short_ns(stall.length_ns as f64)
            );
        }
        out.push_str("</table></div>\n");
        if longest.len() > STALLS_SHOWN {
            let _ = writeln!(out, "<p class=\"note\">The {STALLS_SHOWN} longest of them.</p>");
        }
    }
    out.push_str("</section>\n");
}

/// Run, machine, counters, and how to do it again.
pub(super) fn descriptions(out: &mut String, report: &Report) {
    let (run, machine) = (&report.run, &report.machine);
    let mut rows = vec![
        ("input", run.input.clone()),
        ("program", format!("tickcore {}", run.version)),
        ("began", utc_text(run.started_unix_ns)),
        ("took", short_ns(run.elapsed_ns as f64)),
        ("topology", run.topology.clone()),
        ("pace", run.pace.clone()),
        ("lookahead", format!("{} events", run.lookahead_depth)),
        (
            "sampling",
            if run.sample_interval == 0 { "none".to_owned() } else { format!("one event in {}", run.sample_interval) },
        ),
    ];
    rows.extend(run.notes.iter().map(|note| ("note", note.clone())));
    out.push_str("<section class=\"pair\">\n<div><h2>Run</h2>\n");
    definitions(out, &rows);
    let cores: Vec<String> = machine.cores.iter().map(ToString::to_string).collect();
    let pinned = if machine.is_pinned { "pinned" } else { "not pinned" };
    let mut rows = vec![
        ("processor", machine.cpu.clone()),
        ("kernel", machine.kernel.clone()),
        ("cores", format!("{pinned} to {} of {}", cores.join(", "), machine.cores_available)),
        ("huge pages", format!("{} MiB", machine.huge_page_bytes >> 20)),
        ("stamps", run.stamps(&machine.clock)),
    ];
    if !machine.is_pinned {
        rows[2].1 = format!("not pinned, {} there", machine.cores_available);
    }
    if let Some(load) = machine.load_average {
        rows.push(("load before", format!("{load:.2}")));
    }
    if let Some(calibration) = machine.calibration {
        rows.push((
            "calibration",
            format!(
                "{:.2} ns a step before, {:.2} after; drift {:.1} %",
                calibration.before.step_ns,
                calibration.after.step_ns,
                calibration.drift() * 100.0
            ),
        ));
    }
    out.push_str("</div>\n<div><h2>Machine</h2>\n");
    definitions(out, &rows);
    out.push_str("</div>\n</section>\n");
    if !report.counters.is_empty() {
        out.push_str("<section>\n<h2>Counters</h2>\n");
        let rows: Vec<(&str, String)> =
            report.counters.iter().map(|counter| (counter.name.as_str(), grouped(counter.value))).collect();
        definitions(out, &rows);
        out.push_str("</section>\n");
    }
    let _ = writeln!(
        out,
        "<section>\n<h2>Do it again</h2>\n<div class=\"card\"><pre>cd {}\n{}</pre></div>\n</section>",
        escaped(&crate::description::quoted(&run.working_directory)),
        escaped(&run.command_line())
    );
}

fn definitions(out: &mut String, rows: &[(&str, String)]) {
    // Many short rows stand side by side where there is room.
    let class = if rows.len() > 12 { " class=\"two\"" } else { "" };
    let _ = writeln!(out, "<div class=\"card\"><dl{class}>");
    for (name, value) in rows {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    out.push_str("</dl></div>\n");
}
