//! Line charts as inline SVG. Callers bring values in the coordinates of the axes, logarithms included.
//!
//! Each chart is drawn twice, for wide and for narrow pages, and the style shows one of them: so that its letters keep their
//! size, which a scaled picture's do not.

use super::escaped;
use crate::readable::{short, short_ns, without_zeros};
use core::fmt::Write as _;

/// A scale with labelled places.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

/// One curve.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Number of its colour.
    pub(super) colour: usize,
    pub(super) is_dashed: bool,
    pub(super) points: Vec<(f64, f64)>,
    /// Places that are shown as dots, and what they say when pointed at.
    pub(super) dots: Vec<(f64, f64, String)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub(super) struct Chart<'c> {
    /// What it shows, for those who hear it.
    pub(super) title: &'c str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Upright lines, such as stalls.
    pub(super) marks: Vec<f64>,
    /// A level line, such as the lines of a ring.
    pub(super) limit: Option<f64>,
}

/// Width and height of a drawing, and how many labels its upright lines have room for.
#[derive(Clone, Copy, Debug)]
struct Size {
    width: f64,
    height: f64,
    labels_max: usize,
    class: &'static str,
}

/// Room for the labels of the axes.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// Colours that the style has; more lines begin again.
pub(super) const COLOURS: usize = 8;

impl Axis {
    /// Shares of all values, from none to 99.9999 %: each nine as wide as the one before.
    pub(super) fn percentiles() -> Self {
        let names = ["0", "90", "99", "99.9", "99.99", "99.999", "99.9999 %"];
        let ticks = (0..).map(f64::from).zip(names.map(str::to_owned)).collect();
        Self { low: 0.0, high: 6.0, ticks }
    }

    /// Logarithms of nanoseconds, from the value below `low_ns` to that above `high_ns` that the axis can name.
    pub(super) fn log_ns(low_ns: f64, high_ns: f64) -> Self {
        let (low, high) = (low_ns.max(1.0).log10(), high_ns.max(1.0).log10());
        // Little difference is shown by parts of a decade, much by whole ones.
        let steps: &[f64] = if high - low < 2.2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let places: Vec<f64> =
            (0..=20).flat_map(|decade| steps.iter().map(move |step| step.log10() + f64::from(decade))).collect();
        let bottom = places.iter().rev().copied().find(|place| *place <= low + 1e-9).unwrap_or(0.0);
        let top = places.iter().copied().find(|place| *place >= high - 1e-9 && *place > bottom).unwrap_or(20.0);
        let within = places.into_iter().filter(|place| (bottom..=top).contains(place));
        Self {
            low: bottom,
            high: top,
            ticks: within.map(|place| (place, short_ns(10_f64.powf(place).round()))).collect(),
        }
    }

    /// Seconds from the beginning of a run to `end_ns`.
    pub(super) fn time(end_ns: u64) -> Self {
        let end = end_ns.max(1) as f64 / 1e9;
        Self::linear_to(end, end, |value| if value == 0.0 { "0".to_owned() } else { short_ns(value * 1e9) })
    }

    /// From 0 to a round number above `high`.
    pub(super) fn linear(high: f64) -> Self {
        let high = if high > 0.0 { high } else { 1.0 };
        let step = round_step(high / 5.0);
        Self::linear_to(high, (high / step).ceil() * step, short)
    }

    fn linear_to(high: f64, end: f64, name: impl Fn(f64) -> String) -> Self {
        let step = round_step(high / 5.0);
        let count = (end / step + 1e-9).floor() as usize;
        let ticks =
            (0..=count).map(|number| number as f64 * step).map(|value| (value, without_zeros(&name(value)))).collect();
        Self { low: 0.0, high: end, ticks }
    }

    /// Share of the axis at which `value` stands.
    fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// The least of 1, 2 and 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * decade >= step * 0.999).unwrap_or(10.0);
    factor * decade
}

impl Chart<'_> {
    /// A large drawing, for a chart that stands alone.
    pub(super) fn large(&self) -> String {
        let wide = Size { width: 1_100.0, height: 400.0, labels_max: 12, class: "wide" };
        let narrow = Size { width: 352.0, height: 300.0, labels_max: 4, class: "narrow" };
        self.drawn(wide) + &self.drawn(narrow)
    }

    /// A small drawing, for a chart that stands beside another.
    pub(super) fn small(&self) -> String {
        let wide = Size { width: 520.0, height: 210.0, labels_max: 7, class: "wide" };
        let narrow = Size { width: 352.0, height: 200.0, labels_max: 4, class: "narrow" };
        self.drawn(wide) + &self.drawn(narrow)
    }

    fn drawn(&self, size: Size) -> String {
        let Size { width, height, labels_max, class } = size;
        let (right, bottom) = (width - RIGHT, height - BOTTOM);
        let x = |value: f64| LEFT + self.x.place(value) * (right - LEFT);
        let y = |value: f64| bottom - self.y.place(value) * (bottom - TOP);
        let mut svg = format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            escaped(self.title)
        );
        for (value, name) in &self.y.ticks {
            let level = y(*value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{level:.1}\" y2=\"{level:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                level + 4.0,
                escaped(name)
            );
        }
        // With too many labels for the room every second, third … is left out.
        let every = self.x.ticks.len().div_ceil(labels_max).max(1);
        for (number, (value, name)) in self.x.ticks.iter().enumerate() {
            let place = x(*value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>"
            );
            if number % every == 0 {
                let anchor = if place > right - 24.0 { "end" } else { "middle" };
                let edge = if anchor == "end" { right + RIGHT - 2.0 } else { place };
                let _ = write!(
                    svg,
                    "<text x=\"{edge:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                    height - 8.0,
                    escaped(name)
                );
            }
        }
        let _ =
            write!(svg, "<line class=\"base\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>");
        for mark in &self.marks {
            let place = x(*mark);
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{place:.1}\" x2=\"{place:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>"
            );
        }
        if let Some(limit) = self.limit.filter(|limit| (self.y.low..=self.y.high).contains(limit)) {
            let level = y(limit);
            let _ =
                write!(svg, "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{level:.1}\" y2=\"{level:.1}\"/>");
        }
        // The first line is what the chart is about: it is drawn last, above the others.
        for line in self.lines.iter().rev() {
            let colour = line.colour % COLOURS;
            let dashed = if line.is_dashed { " dash" } else { "" };
            let _ = write!(svg, "<path class=\"c{colour}{dashed}\" d=\"");
            for (number, (place, value)) in line.points.iter().enumerate() {
                let letter = if number == 0 { 'M' } else { 'L' };
                let _ = write!(svg, "{letter}{:.1} {:.1}", x(*place), y(*value));
            }
            svg.push_str("\"/>");
            for (place, value, text) in &line.dots {
                let _ = write!(
                    svg,
                    "<circle class=\"dot c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.2\"><title>{}</title></circle>",
                    x(*place),
                    y(*value),
                    escaped(text)
                );
            }
        }
        svg.push_str("</svg>");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn axes_name_round_values_around_what_they_show() {
        assert_eq!(labels(&Axis::log_ns(87.0, 940.0)), ["50 ns", "100 ns", "200 ns", "500 ns", "1 µs"]);
        assert_eq!(labels(&Axis::log_ns(87.0, 90_000.0)), ["10 ns", "100 ns", "1 µs", "10 µs", "100 µs"]);
        assert_eq!(labels(&Axis::log_ns(100.0, 100.0)), ["100 ns", "200 ns"]);
        assert_eq!(labels(&Axis::log_ns(0.0, 0.0)), ["1 ns", "2 ns"]);
        assert_eq!(labels(&Axis::time(2_000_000_000)), ["0", "500 ms", "1 s", "1.5 s", "2 s"]);
        assert_eq!(labels(&Axis::linear(9_300_000.0)), ["0", "2 M", "4 M", "6 M", "8 M", "10 M"]);
        assert_eq!(labels(&Axis::linear(0.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(Axis::time(0).ticks[0], (0.0, "0".to_owned()));
        let whole = Axis::log_ns(1.0, u64::MAX as f64);
        assert_eq!(whole.ticks.len(), 21);
    }

    #[test]
    fn drawings_stay_within_their_box_and_escape_their_words() {
        let line = Line {
            colour: 9,
            is_dashed: true,
            points: vec![(-5.0, 1e9), (2.0, 0.5), (1e9, -3.0)],
            dots: vec![(1.0, 1.0, "a<b".to_owned())],
        };
        let chart = Chart {
            title: "x \"y\" <z>",
            x: Axis::percentiles(),
            y: Axis::linear(10.0),
            lines: vec![line],
            marks: vec![3.0],
            limit: Some(5.0),
        };
        let svg = chart.large();
        assert_eq!(svg.matches("<svg").count(), 2);
        assert!(svg.contains("aria-label=\"x &quot;y&quot; &lt;z&gt;\"") && svg.contains("<title>a&lt;b</title>"));
        assert!(svg.contains("class=\"c1 dash\"") && svg.contains("class=\"mark\"") && svg.contains("class=\"limit\""));
        assert!(svg.contains("M60.0 10.0L") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(chart.small().contains("viewBox=\"0 0 520 210\""));
    }
}
