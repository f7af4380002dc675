//! Stages as a table for people.

use super::{Stage, printable};
use crate::load::{LoadStep, knee};
use crate::readable::{short, short_ns_or_dash};
use crate::recorder::{Recorder, Summary};
use core::fmt::Write as _;

/// The stages as a table, a line each, values in nanoseconds; `-` where nothing was recorded. Stages that hide waiting are
/// followed by what they would be without hiding it. Values beyond the recorders' range are said in a line of their own.
#[must_use]
pub fn text_table(stages: &[Stage]) -> String {
    let header = ["latency, ns", "p50", "p90", "p99", "p99.9", "p99.99", "max", "count"].map(str::to_owned);
    let mut summaries: Vec<(String, Summary)> = Vec::new();
    for stage in stages {
        let name = printable(&stage.name);
        let corrected = stage.corrected().map(|corrected| (format!("{name}, corrected"), corrected.summary()));
        summaries.push((name, stage.distribution.summary()));
        summaries.extend(corrected);
    }
    let rows: Vec<[String; 8]> = core::iter::once(header).chain(summaries.iter().map(row)).collect();
    let width_of = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; 8] = core::array::from_fn(width_of);
    let mut text = String::new();
    for row in &rows {
        let _ = write!(text, "{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    for (name, summary) in summaries.iter().filter(|(_, summary)| summary.beyond_range > 0) {
        let (beyond, seconds) = (summary.beyond_range, Recorder::RANGE_MAX_NS / 1_000_000_000);
        let _ = writeln!(text, "{name}: {beyond} values above {seconds} s; percentiles among them are shown as max");
    }
    text
}

/// Steps of load as a table with the knee below; empty without steps.
#[must_use]
pub fn load_table(steps: &[LoadStep]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let mut text = format!("{:>7}  {:>8}  {:>7}\n", "offered", "achieved", "p99");
    for step in steps {
        let (offered, achieved) = (short(step.offered), short(step.achieved));
        let verdict = if step.is_carried() { "carried" } else { "too much" };
        let _ = writeln!(text, "{offered:>7}  {achieved:>8}  {:>7}  {verdict}", short_ns_or_dash(step.p99_ns));
    }
    let knee = knee(steps)
        .map_or_else(|| "below the first step".to_owned(), |rate| format!("{} events per second", short(rate)));
    let _ = writeln!(text, "knee: {knee}");
    text
}

fn row((name, summary): &(String, Summary)) -> [String; 8] {
    let Summary { count, p50, p90, p99, p99_9, p99_99, max, beyond_range: _ } = summary;
    let cell = |value: &Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    [name.to_owned(), cell(p50), cell(p90), cell(p99), cell(p99_9), cell(p99_99), cell(max), count.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::Distribution;
    use crate::report::Origin;

    #[test]
    fn the_table_lines_up_and_hides_nothing() {
        let service = Distribution::of_values((1..=1_000).chain([Recorder::RANGE_MAX_NS + 5]));
        let stages = [
            Stage::new("service_ns", "", Origin::Due, service),
            Stage::new("tick_to_bbo_ns", "", Origin::Due, Distribution::default()),
        ];
        let wanted = "\
latency, ns     p50  p90  p99  p99.9       p99.99          max  count
service_ns      501  901  991   1000  60000000005  60000000005   1001
tick_to_bbo_ns    -    -    -      -            -            -      0
service_ns: 1 values above 60 s; percentiles among them are shown as max
";
        assert_eq!(text_table(&stages), wanted);
    }

    #[test]
    fn what_hides_waiting_is_followed_by_what_does_not() {
        let stage = Stage::new("service_ns", "", Origin::Work, Distribution::of_values([100, 100, 100, 5_000]));
        let wanted = "\
latency, ns            p50   p90   p99  p99.9  p99.99   max  count
service_ns             100  5000  5000   5000    5000  5000      4
service_ns, corrected  100  5000  5000   5000    5000  5000      5
";
        assert_eq!(text_table(&[stage.expected_every(Some(2_000))]), wanted);
    }
}
