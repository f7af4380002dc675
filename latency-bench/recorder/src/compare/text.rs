//! A comparison as a table for people.

use super::{ComparedFigure, Comparison, Verdict};
use crate::readable::{short, short_ns};
use crate::report::printable;
use core::fmt::Write as _;

/// A figure's value with its unit.
pub(crate) fn value_text(value: f64, unit: &str) -> String {
    match unit {
        "ns" => short_ns(value),
        "" => short(value),
        rate if rate.starts_with('/') => format!("{}{}", short(value), printable(rate)),
        unit => format!("{} {}", short(value), printable(unit)),
    }
}

/// A factor as a change in percent: `+5.1 %`.
pub(crate) fn percent_text(factor: f64) -> String {
    format!("{:+.1} %", (factor - 1.0) * 100.0)
}

/// The interval of a factor: `+4.3 % … +6.0 %`.
pub(crate) fn interval_text(figure: &ComparedFigure) -> String {
    match figure.worse.high {
        Some(high) => format!("{} … {}", percent_text(figure.worse.low), percent_text(high)),
        None if figure.worse.low > 0.0 => format!("{} or more", percent_text(figure.worse.low)),
        None => "unknown".to_owned(),
    }
}

pub(super) fn text(comparison: &Comparison) -> String {
    let Comparison { a, b, verdict, threshold, method, notes, figures } = comparison;
    let header = ["figure", "A", "B", "B worse by", "interval", "verdict"].map(str::to_owned);
    let row = |figure: &ComparedFigure| {
        let note = if figure.is_gating { "" } else { " (shown only)" };
        [
            printable(&figure.name),
            value_text(figure.a, &figure.unit),
            value_text(figure.b, &figure.unit),
            percent_text(figure.worse.ratio),
            interval_text(figure),
            format!("{}{note}", figure.verdict.text()),
        ]
    };
    let rows: Vec<[String; 6]> = core::iter::once(header).chain(figures.iter().map(row)).collect();
    let width_of = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = core::array::from_fn(width_of);
    let mut text = format!("A  {}\nB  {}\n\n", printable(a), printable(b));
    for row in &rows {
        let mut line = format!("{:<1$}", row[0], widths[0]);
        for column in 1..5 {
            let _ = write!(line, "  {:>1$}", row[column], widths[column]);
        }
        let _ = writeln!(text, "{line}  {}", row[5]);
    }
    let percent = threshold * 100.0;
    let meaning = match verdict {
        Verdict::Regression => format!("B is slower by more than the threshold of {percent:.1} %"),
        Verdict::Improvement => format!("B is faster by more than the threshold of {percent:.1} %"),
        Verdict::Same => format!("B is not slower by more than the threshold of {percent:.1} %"),
        Verdict::CannotTell => {
            format!(
                "noise hides whether B is slower by more than {percent:.1} %: measure more often, or on a quieter machine"
            )
        }
    };
    let _ = writeln!(text, "\n{}: {meaning}", verdict.text());
    let _ = writeln!(text, "{method}");
    notes.iter().for_each(|note| {
        let _ = writeln!(text, "note: {}", printable(note));
    });
    text
}

#[cfg(test)]
mod tests {
    use crate::compare::{Better, PairedFigure, compare_pairs};

    #[test]
    fn the_table_says_what_is_worse_and_by_how_much() {
        let figure = |name: &str, unit: &str, better, is_gating, factor: f64| PairedFigure {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            is_gating,
            a: vec![100.0; 8],
            b: vec![100.0 * factor; 8],
        };
        let figures =
            vec![figure("rate", "/s", Better::Higher, false, 0.5), figure("time", "ns", Better::Lower, true, 1.05)];
        let text = compare_pairs("old \u{7}".to_owned(), "new".to_owned(), 0.01, figures).to_text();
        let wanted = "\
A  old \\u{7}
B  new

figure       A       B  B worse by             interval  verdict
time    100 ns  105 ns      +5.0 %      +5.0 % … +5.0 %  regression
rate     100/s    50/s    +100.0 %  +100.0 % … +100.0 %  regression (shown only)

regression: B is slower by more than the threshold of 1.0 %
";
        assert!(text.starts_with(wanted), "{text}");
    }
}
