//! A percentile distribution in HdrHistogram's text form (`.hgrm`), which its plotters read.
//!
//! Columns: value in nanoseconds, percentile as a fraction, values up to there, and 1 / (1 − percentile). Percentiles
//! come five to each halving of what is left to 1, and at the end 1 itself, whose fourth column is empty. Values beyond
//! a recorder's range are part of the counts, their value is the largest one; the footer's mean and deviation are of the
//! values within the range, and one more comment line says how many were beyond.

use crate::distribution::Distribution;
use crate::geometry::Geometry;
use crate::recorder::{Cumulated, Recorder};
use core::fmt::{self, Write};

/// Lines to each halving of the distance to 1.
const LINES_PER_HALVING: i32 = 5;

/// Writes `distribution`.
pub(crate) fn write(out: &mut impl Write, distribution: &Distribution) -> fmt::Result {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    write_lines(out, distribution)?;
    let (mean, deviation) = distribution.mean_and_deviation().unwrap_or((0.0, 0.0));
    let max = distribution.max_ns().unwrap_or(0) as f64;
    let doublings = Geometry::NANOSECONDS.doublings_to(Recorder::RANGE_MAX_NS);
    writeln!(out, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    writeln!(out, "#[Max     = {max:>12.3}, Total count    = {:>12}]", distribution.count())?;
    writeln!(out, "#[Buckets = {doublings:>12}, SubBuckets     = {:>12}]", Geometry::NANOSECONDS.sub_buckets())?;
    if distribution.beyond_range() > 0 {
        writeln!(out, "#[Beyond range of {} ns = {}]", Recorder::RANGE_MAX_NS, distribution.beyond_range())?;
    }
    Ok(())
}

fn write_lines(out: &mut impl Write, distribution: &Distribution) -> fmt::Result {
    let total = distribution.count();
    let mut values = distribution.cumulated();
    let Some(mut reached) = values.next() else { return Ok(()) };
    let mut percentile = 0.0_f64;
    loop {
        let rank = (percentile * total as f64).ceil() as u64;
        while reached.count < rank {
            let Some(next) = values.next() else { break };
            reached = next;
        }
        let Cumulated { value_ns, count } = reached;
        let odds = 1.0 / (1.0 - percentile);
        writeln!(out, "{:>12.3} {percentile:.12} {count:>10} {odds:>14.2}", value_ns as f64)?;
        if count == total {
            return writeln!(out, "{:>12.3} {:.12} {count:>10}", value_ns as f64, 1.0);
        }
        // 1 − percentile lies in (2⁻ʰ⁻¹, 2⁻ʰ]: the next line is a fifth of the way to its half.
        let halvings = (1.0 - percentile).log2().abs().floor() as i32;
        percentile += 0.5_f64.powi(halvings + 1) / f64::from(LINES_PER_HALVING);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value, percentile and count of each line, and the footer's total: a reader that shares nothing with the writer.
    fn parse(text: &str) -> (Vec<(f64, f64, u64)>, u64) {
        let mut lines = Vec::new();
        let mut total = None;
        for line in text.lines().skip(2) {
            if let Some(comment) = line.strip_prefix("#[") {
                if let Some((_, count)) = comment.split_once("Total count") {
                    total = Some(count.trim_matches([' ', '=', ']']).parse().unwrap());
                }
                continue;
            }
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [value, percentile, count] = columns[..3] else { panic!("three columns at least: {line}") };
            lines.push((value.parse().unwrap(), percentile.parse().unwrap(), count.parse().unwrap()));
            if let Some(odds) = columns.get(3) {
                let odds: f64 = odds.parse().unwrap();
                let percentile: f64 = percentile.parse().unwrap();
                assert!((odds * (1.0 - percentile) - 1.0).abs() < 0.01, "{line}");
            } else {
                assert_eq!(percentile, "1.000000000000");
            }
        }
        (lines, total.expect("a footer with the total"))
    }

    fn text_of(values: impl IntoIterator<Item = u64>) -> String {
        let mut text = String::new();
        write(&mut text, &Distribution::of_values(values)).unwrap();
        text
    }

    #[test]
    fn it_reads_back_to_the_counts_of_a_sorted_list() {
        // A spread over seven magnitudes, in no order.
        let mut values: Vec<u64> = (0..100_000_u64).map(|n| 10 + (n * 7_919 % 100_003).pow(2) % 9_999_991).collect();
        let text = text_of(values.iter().copied().chain([Recorder::RANGE_MAX_NS * 2]));
        values.push(Recorder::RANGE_MAX_NS * 2);
        values.sort_unstable();
        let (lines, total) = parse(&text);
        assert_eq!(total, values.len() as u64);
        assert!(lines.len() > 50, "{} lines", lines.len());
        assert!(lines.is_sorted_by(|one, next| one.0 <= next.0 && one.1 < next.1 && one.2 <= next.2));
        for &(value, percentile, count) in &lines {
            let exact_count = values.partition_point(|&exact| exact as f64 <= value) as u64;
            assert_eq!(count, exact_count, "values up to {value}");
            assert!(count as f64 >= percentile * total as f64, "{percentile} at {count}");
        }
        assert_eq!(lines.last(), Some(&((Recorder::RANGE_MAX_NS * 2) as f64, 1.0, total)));
        assert!(text.ends_with("#[Beyond range of 60000000000 ns = 1]\n"));
    }

    #[test]
    fn the_form_is_that_of_the_public_tools() {
        let wanted = "       Value     Percentile TotalCount 1/(1-Percentile)

       1.000 0.000000000000          1           1.00
       1.000 0.100000000000          1           1.11
       1.000 0.200000000000          1           1.25
       1.000 0.300000000000          1           1.43
       1.000 0.400000000000          1           1.67
       1.000 0.500000000000          1           2.00
       3.000 0.550000000000          2           2.22
       3.000 1.000000000000          2
#[Mean    =        2.000, StdDeviation   =        1.000]
#[Max     =        3.000, Total count    =            2]
#[Buckets =           26, SubBuckets     =         2048]
";
        assert_eq!(text_of([1, 3]), wanted);
    }

    #[test]
    fn an_empty_recorder_has_no_lines() {
        let (lines, total) = parse(&text_of([]));
        assert_eq!((lines.len(), total), (0, 0));
    }
}
