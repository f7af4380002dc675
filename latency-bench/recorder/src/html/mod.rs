//! A report as one page that needs nothing else: no network, no script, no fonts. Light or dark as the reader's system is,
//! readable on a narrow screen, printable. Every text that comes from outside is escaped.

mod chart;
mod comparison;
mod sections;

pub(crate) use comparison::comparison_page;

use crate::report::Report;
use core::fmt::Write as _;

const STYLE: &str = include_str!("style.css");

/// The page of one run.
pub(crate) fn page(report: &Report) -> String {
    let title = format!("tickcore latency: {}", report.run.input);
    let mut body = String::new();
    sections::heading(&mut body, report);
    sections::percentiles(&mut body, report);
    sections::load(&mut body, report);
    sections::over_time(&mut body, report);
    sections::stalls(&mut body, report);
    sections::descriptions(&mut body, report);
    framed(&title, &body)
}

/// A whole document around `body`, which is HTML already.
fn framed(title: &str, body: &str) -> String {
    let mut text = String::with_capacity(body.len() + STYLE.len() + 1_000);
    let _ = write!(
        text,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escaped(title)
    );
    text
}

/// A text for the content of an element or for an attribute in double quotes. Control characters, which HTML has no form
/// for, are shown as an escape.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ if character.is_control() && character != '\n' && character != '\t' => {
                let _ = write!(html, "{}", character.escape_default());
            }
            _ => html.push(character),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;
    use crate::{Distribution, Gauge, Origin, Stage};

    #[test]
    fn nothing_from_outside_is_markup() {
        assert_eq!(escaped("<a href=\"x\">&'\u{1b}"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\\u{1b}");
        let evil = "\"><script>alert(1)</script>";
        let mut report = example();
        report.run.command = vec![evil.to_owned()];
        report.run.working_directory = evil.to_owned();
        report.run.version = evil.to_owned();
        report.run.input = evil.to_owned();
        report.run.topology = evil.to_owned();
        report.run.pace = evil.to_owned();
        report.run.notes = vec![evil.to_owned()];
        report.machine.cpu = evil.to_owned();
        report.machine.kernel = evil.to_owned();
        report.counters[0].name = evil.to_owned();
        report.gauges[0].name = evil.to_owned();
        report.gauges[0].unit = evil.to_owned();
        report.stages[0].name = evil.to_owned();
        report.stages[0].between = evil.to_owned();
        let html = page(&report);
        assert!(!html.contains("<script"), "escaped everywhere");
        assert!(html.matches("&lt;script&gt;").count() >= 14);
    }

    #[test]
    fn the_page_needs_nothing_else_and_says_everything() {
        let html = page(&example());
        for word in ["http:", "https:", "<script", "<link", "@import", "url(", "src=", "NaN", "inf"] {
            assert!(!html.contains(word), "{word}");
        }
        for word in [
            "prefers-color-scheme:dark",
            "@media print",
            "tick_to_bbo_ns",
            "corrected",
            "99.9999 %",
            "ring occupancy",
            "Stalls of the machine",
            "Steps of load",
            "some &lt;processor&gt;",
            "a &quot;note&quot; &amp; more",
            "tickcore replay &#39;a &lt;day&gt;.itch&#39; --pace 1000000",
            "1,234,567",
        ] {
            assert!(html.contains(word), "{word}");
        }
        for tag in ["div", "table", "tr", "td", "svg", "dl", "dd", "section", "p", "h2", "ul", "li", "small"] {
            let count = |text: &str| html.matches(text).count();
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
        }
    }

    #[test]
    fn parts_of_the_way_have_a_chart_of_their_own() {
        let mut report = example();
        let charts = |report: &crate::Report| page(report).matches("by percentile").count();
        let before = charts(&report);
        let values = Distribution::of_values(1..1_000);
        report.stages.push(Stage::new("decoded_ns", "taken up → decoded", Origin::Part, values));
        let html = page(&report);
        assert!(html.contains("Parts of an event&#39;s way") && html.contains("are parts of an event"), "{html}");
        assert!(charts(&report) > before);
    }

    #[test]
    fn a_run_of_nothing_is_a_page_as_well() {
        let mut report = example();
        report.stages = vec![Stage::new("empty_ns", "", Origin::Work, Distribution::default())];
        report.gauges = vec![Gauge { name: "x".to_owned(), unit: String::new(), limit: None, points: Vec::new() }];
        report.counters.clear();
        report.stalls = None;
        report.load_steps.clear();
        report.machine.calibration = None;
        report.run.elapsed_ns = 0;
        let html = page(&report);
        assert!(html.contains("Nothing was recorded") && !html.contains("NaN"), "{html}");
        report.stages.clear();
        assert!(page(&report).contains("Nothing was recorded"));
    }
}
