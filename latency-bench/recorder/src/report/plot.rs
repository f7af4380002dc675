//! Percentile curves drawn with characters, for a terminal.

use super::{Stage, printable};
use crate::distribution::Distribution;
use crate::readable::{decade_ns, short_ns};

/// Columns and rows of the plot itself.
const WIDTH: usize = 61;
const HEIGHT: usize = 13;
/// Columns to a nine: the axis ends at 99.9999 %.
const COLUMNS_PER_NINE: usize = 10;
/// One for each curve; more curves begin again.
const MARKS: [char; 6] = ['●', '○', '◆', '◇', '▲', '△'];
const TICKS: [&str; 7] = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999 %"];

/// The percentile curves of all stages with values, on logarithmic axes; empty when there are none.
#[must_use]
pub fn percentile_plot(stages: &[Stage]) -> String {
    let stages: Vec<&Stage> = stages.iter().filter(|stage| !stage.distribution.is_empty()).collect();
    let ends = stages.iter().filter_map(|stage| Some((stage.distribution.min_ns()?, stage.distribution.max_ns()?)));
    let Some((low, high)) = ends.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))) else {
        return String::new();
    };
    // Whole decades, so that a line of the grid is a power of ten.
    let (bottom, top) = (decade_ns(low), decade_ns(high.saturating_add(1)) + 1);
    let decades = f64::from((top - bottom).max(1));
    let mut grid = [[' '; WIDTH]; HEIGHT];
    for (number, stage) in stages.iter().enumerate().rev() {
        let place = |column| {
            let value = value_at_column(&stage.distribution, column)?;
            let share = ((value.max(1) as f64).log10() - f64::from(bottom)) / decades;
            let row = (share * (HEIGHT - 1) as f64).round().clamp(0.0, (HEIGHT - 1) as f64) as usize;
            Some((HEIGHT - 1 - row, column))
        };
        for (row, column) in (0..columns_of(&stage.distribution)).filter_map(place) {
            grid[row][column] = MARKS[number % MARKS.len()];
        }
    }
    let mut labels = vec![String::new(); HEIGHT];
    for decade in bottom..=top {
        let share = f64::from(decade - bottom) / decades;
        let row = HEIGHT - 1 - (share * (HEIGHT - 1) as f64).round() as usize;
        labels[row] = short_ns(10_f64.powi(decade).round());
    }
    let mut text = String::new();
    for (label, cells) in labels.iter().zip(&grid) {
        let line: String = cells.iter().collect();
        let tick = if label.is_empty() { '│' } else { '┤' };
        text.push_str(&format!("{label:>8} {tick}{}", line.trim_end()));
        text.push('\n');
    }
    let mut axis = String::new();
    for column in 0..WIDTH {
        axis.push(if column % COLUMNS_PER_NINE == 0 { '┴' } else { '─' });
    }
    text.push_str(&format!("{:>8} └{axis}\n{:>10}", "", ""));
    for tick in TICKS {
        text.push_str(&format!("{tick:<COLUMNS_PER_NINE$}"));
    }
    let legend: Vec<String> = stages
        .iter()
        .zip(MARKS.iter().cycle())
        .map(|(stage, mark)| format!("{mark} {}", printable(&stage.name)))
        .collect();
    format!("{}\n{:>10}{}\n", text.trim_end(), "", legend.join("   "))
}

/// Columns up to the last percentile that the values can tell: a thousand of them know no p99.99.
fn columns_of(distribution: &Distribution) -> usize {
    let nines = (distribution.count() as f64).log10();
    ((nines * COLUMNS_PER_NINE as f64).floor() as usize + 1).min(WIDTH)
}

fn value_at_column(distribution: &Distribution, column: usize) -> Option<u64> {
    let left = 10_f64.powf(-(column as f64) / COLUMNS_PER_NINE as f64);
    let rank = ((1.0 - left) * distribution.count() as f64).ceil() as u64;
    distribution.value_at_rank(rank.clamp(1, distribution.count()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Origin, example};

    #[test]
    fn a_plot_of_two_stages_names_axes_and_curves() {
        let text = percentile_plot(&example().stages);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), HEIGHT + 3, "{text}");
        assert!(lines[0].starts_with("  100 µs ┤"), "{text}");
        assert!(lines[HEIGHT - 1].starts_with("   10 ns ┤"), "{text}");
        assert!(lines[HEIGHT + 1].ends_with("99.9999 %"), "{text}");
        assert!(lines[HEIGHT + 2].contains("● tick_to_bbo_ns   ○ service_ns"), "{text}");
        assert!(text.matches('●').count() > 30 && text.matches('○').count() > 20, "{text}");
        // Five thousand values know nothing beyond 99.98 %.
        let longest = lines[..HEIGHT].iter().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= 10 + 38, "{text}");
    }

    #[test]
    fn nothing_recorded_has_no_plot_and_one_value_has() {
        let stage = |values: &[u64]| Stage::new("a", "", Origin::Work, Distribution::of_values(values.iter().copied()));
        assert_eq!(percentile_plot(&[stage(&[])]), "");
        for value in [0, 1, 9, 10, u64::MAX] {
            assert_eq!(percentile_plot(&[stage(&[value])]).matches('●').count(), 2, "{value}");
        }
    }
}
