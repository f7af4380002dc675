//! Whether one build is slower than another: verdicts that respect noise.
//!
//! A figure is compared as a ratio, turned so that above 1 is worse, with the interval that holds it. Against a threshold t
//! there are four verdicts: a *regression* when the whole interval lies above 1 + t, an *improvement* when it lies below
//! 1 ÷ (1 + t), the *same* when it lies between, or below 1 + t at least, and else *cannot tell*.

mod median;
mod paired;
mod stored;
mod text;

pub use median::{MedianInterval, PAIRS_MAX, median_interval, pairs_needed};
pub use paired::{ONE_SIDED_ERROR, PairedFigure, compare_pairs, shuffled_orders};
pub use stored::compare_reports;
pub(crate) use text::{interval_text, percent_text, value_text};

use crate::html;
use serde::Serialize;

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What a comparison comes to. In the order in which one outweighs another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Better by more than the threshold.
    Improvement,
    /// Not worse by more than the threshold.
    Same,
    /// The noise is larger than the difference.
    CannotTell,
    /// Worse by more than the threshold.
    Regression,
}

impl Verdict {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Improvement => "improvement",
            Self::Same => "same",
            Self::CannotTell => "cannot tell",
            Self::Regression => "regression",
        }
    }
}

/// By which factor B is worse than A: above 1 is worse, whichever way the figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Worse {
    /// The best guess.
    pub ratio: f64,
    /// The true factor is not below this, but for the stated error; 0 when nothing is known.
    pub low: f64,
    /// The true factor is not above this, but for the stated error; `None` when nothing is known.
    pub high: Option<f64>,
}

impl Worse {
    /// The verdict against a threshold, 0.01 for 1 %.
    pub fn verdict(&self, threshold: f64) -> Verdict {
        let limit = 1.0 + threshold;
        match self.high {
            _ if self.low > limit => Verdict::Regression,
            Some(high) if high < 1.0 / limit => Verdict::Improvement,
            Some(high) if high <= limit => Verdict::Same,
            _ => Verdict::CannotTell,
        }
    }
}

/// One figure of both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedFigure {
    /// Its name.
    pub name: String,
    /// Its unit, `ns` for nanoseconds.
    pub unit: String,
    /// Which way it gets better.
    pub better: Better,
    /// Whether it counts for the verdict of the whole; else it is only shown.
    pub is_gating: bool,
    /// A's figure, the median where there are several.
    pub a: f64,
    /// B's figure.
    pub b: f64,
    /// A's single runs, in order.
    pub a_runs: Vec<f64>,
    /// B's single runs, in order.
    pub b_runs: Vec<f64>,
    /// How they differ.
    pub worse: Worse,
    /// What that comes to.
    pub verdict: Verdict,
}

/// Two sides, figure by figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What A is: a command, or a report's directory.
    pub a: String,
    /// What B is.
    pub b: String,
    /// The verdict of the whole: the weightiest of the figures that count.
    pub verdict: Verdict,
    /// From which difference on it matters, 0.01 for 1 %.
    pub threshold: f64,
    /// How the intervals were found, for people.
    pub method: String,
    /// What else a reader must know.
    pub notes: Vec<String>,
    /// The figures, those that count first.
    pub figures: Vec<ComparedFigure>,
}

impl Comparison {
    fn new(a: String, b: String, threshold: f64, method: String, mut figures: Vec<ComparedFigure>) -> Self {
        figures.sort_by_key(|figure| !figure.is_gating);
        let gating = figures.iter().filter(|figure| figure.is_gating).map(|figure| figure.verdict);
        let verdict = gating.max().unwrap_or(Verdict::CannotTell);
        Self { a, b, verdict, threshold, method, notes: Vec::new(), figures }
    }

    /// As a table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::text(self)
    }

    /// As a page that needs neither network nor script.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::comparison_page(self)
    }
}

/// The middle one of some values; of an even number, the mean of the two in the middle. 0 of none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_told_by_the_interval() {
        let verdict = |low, high| Worse { ratio: 1.0, low, high }.verdict(0.02);
        assert_eq!(verdict(1.03, Some(1.08)), Verdict::Regression);
        assert_eq!(verdict(1.03, None), Verdict::Regression);
        assert_eq!(verdict(1.01, Some(1.03)), Verdict::CannotTell);
        assert_eq!(verdict(0.0, None), Verdict::CannotTell);
        assert_eq!(verdict(0.99, Some(1.01)), Verdict::Same);
        assert_eq!(verdict(0.90, Some(1.01)), Verdict::Same);
        assert_eq!(verdict(0.90, Some(0.97)), Verdict::Improvement);
    }

    #[test]
    fn the_weightiest_of_those_that_count_is_the_verdict() {
        let figure = |is_gating, verdict| ComparedFigure {
            name: "x".to_owned(),
            unit: "ns".to_owned(),
            better: Better::Lower,
            is_gating,
            a: 1.0,
            b: 1.0,
            a_runs: Vec::new(),
            b_runs: Vec::new(),
            worse: Worse { ratio: 1.0, low: 1.0, high: Some(1.0) },
            verdict,
        };
        let whole = |figures| Comparison::new(String::new(), String::new(), 0.01, String::new(), figures).verdict;
        use Verdict::{CannotTell, Improvement, Regression, Same};
        assert_eq!(whole(vec![figure(true, Same), figure(false, Regression)]), Same);
        assert_eq!(whole(vec![figure(true, Improvement), figure(true, CannotTell)]), CannotTell);
        assert_eq!(whole(vec![figure(true, CannotTell), figure(true, Regression)]), Regression);
        assert_eq!(whole(vec![]), CannotTell);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!([median(&[]), median(&[3.0]), median(&[9.0, 1.0, 2.0]), median(&[4.0, 1.0])], [0.0, 3.0, 2.0, 2.5]);
    }
}
