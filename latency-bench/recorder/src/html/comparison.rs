//! A comparison as a page.

use super::{escaped, framed};
use crate::compare::{ComparedFigure, Comparison, Verdict};
use crate::compare::{interval_text, percent_text, value_text};
use core::fmt::Write as _;

/// Size of the drawing beside each figure.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 26.0;

/// The page of a comparison.
pub(crate) fn comparison_page(comparison: &Comparison) -> String {
    let Comparison { a, b, verdict, threshold, method, notes, figures } = comparison;
    let class = match verdict {
        Verdict::Regression => " class=\"bad\"",
        Verdict::Improvement => " class=\"good\"",
        Verdict::Same | Verdict::CannotTell => "",
    };
    let mut body = format!(
        "<h1>Comparison: <span{class}>{}</span></h1>\n<p class=\"sub\">threshold {:.1} %</p>\n\
         <div class=\"card\"><dl><dt>A</dt><dd><code>{}</code></dd><dt>B</dt><dd><code>{}</code></dd></dl></div>\n\
         <section>\n<h2>Figures</h2>\n<div class=\"card scroll\">\n<table>\n\
         <tr><th>figure</th><th>A</th><th>B</th><th>B worse by</th><th>interval</th><th></th><th>verdict</th></tr>\n",
        verdict.text(),
        threshold * 100.0,
        escaped(a),
        escaped(b)
    );
    let span = span(figures, *threshold);
    for figure in figures {
        row(&mut body, figure, *threshold, span);
    }
    let _ = write!(
        body,
        "</table>\n</div>\n<p class=\"note\">The line is where the true difference lies, the dot the best guess; upright lines are no \
         difference and the threshold. Right of them B is worse.</p>\n<p class=\"note\">{}.</p>\n",
        escaped(method)
    );
    for note in notes {
        let _ = writeln!(body, "<p class=\"note\">{}.</p>", escaped(note));
    }
    body.push_str("</section>\n");
    framed("tickcore comparison", &body)
}

/// Half of the change that the drawings have room for.
fn span(figures: &[ComparedFigure], threshold: f64) -> f64 {
    let reach = |figure: &ComparedFigure| {
        let ends = [figure.worse.ratio, figure.worse.low, figure.worse.high.unwrap_or(1.0)];
        ends.into_iter().map(|end| (end - 1.0).abs()).fold(0.0, f64::max)
    };
    figures.iter().map(reach).fold(threshold * 2.0, f64::max).clamp(0.01, 1.0)
}

fn row(out: &mut String, figure: &ComparedFigure, threshold: f64, span: f64) {
    let x = |factor: f64| (WIDTH / 2.0) * (1.0 + ((factor - 1.0) / span).clamp(-1.0, 1.0) * 0.96);
    let (low, high) = (x(figure.worse.low), x(figure.worse.high.unwrap_or(f64::INFINITY)));
    let (class, colour) = match figure.verdict {
        Verdict::Regression => (" class=\"bad\"", 1),
        Verdict::Improvement => (" class=\"good\"", 6),
        Verdict::Same | Verdict::CannotTell => ("", 7),
    };
    let (none, limit, middle) = (x(1.0), x(1.0 + threshold), HEIGHT / 2.0);
    let shown = if figure.is_gating { "" } else { "<small>shown only</small>" };
    let _ = writeln!(
        out,
        "<tr><td>{}{shown}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>\
         <svg style=\"width:{WIDTH}px\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
         <line class=\"base\" x1=\"{none:.1}\" x2=\"{none:.1}\" y1=\"0\" y2=\"{HEIGHT}\"/>\
         <line class=\"limit\" x1=\"{limit:.1}\" x2=\"{limit:.1}\" y1=\"0\" y2=\"{HEIGHT}\"/>\
         <line class=\"whisker c{colour}\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
         <circle class=\"dot c{colour}\" cx=\"{:.1}\" cy=\"{middle}\" r=\"4\"/></svg></td><td{class}>{}</td></tr>",
        escaped(&figure.name),
        escaped(&value_text(figure.a, &figure.unit)),
        escaped(&value_text(figure.b, &figure.unit)),
        percent_text(figure.worse.ratio),
        interval_text(figure),
        interval_text(figure),
        x(figure.worse.ratio),
        figure.verdict.text()
    );
}

#[cfg(test)]
mod tests {
    use crate::compare::{Better, PairedFigure, compare_pairs};

    #[test]
    fn the_page_shows_every_figure_and_escapes() {
        let figure = |name: &str, pairs, is_gating| PairedFigure {
            name: name.to_owned(),
            unit: "<u>".to_owned(),
            better: Better::Lower,
            is_gating,
            a: vec![100.0; pairs],
            b: vec![110.0; pairs],
        };
        let figures = vec![figure("time", 9, true), figure("<script>", 2, false)];
        let html = compare_pairs("a <b>".to_owned(), "c & d".to_owned(), 0.01, figures).to_html();
        for word in [
            "a &lt;b&gt;",
            "c &amp; d",
            "&lt;script&gt;",
            "&lt;u&gt;",
            "class=\"bad\">regression",
            "shown only",
            "unknown",
        ] {
            assert!(html.contains(word), "{word}: {html}");
        }
        for word in ["<script", "http:", "https:", "NaN", "inf"] {
            assert!(!html.contains(word), "{word}");
        }
    }
}
