//! `compare`: two commands in turn, or two stored reports, and a verdict that respects noise.

use super::select::Usage;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tickcore::latency::compare::{
    Better, Comparison, PairedFigure, Verdict, compare_pairs, compare_reports, shuffled_orders,
};
use tickcore::latency::{quoted, read_report};

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Two directories that replay --report wrote.
    #[arg(num_args = 0..=2, value_name = "REPORT")]
    pub(crate) reports: Vec<PathBuf>,
    /// How often each command runs. Twenty pairs find 5 % in nine of ten comparisons on a noisy machine.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) repeat: u32,
    /// Runs of each command before those that count.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) warm_up: u32,
    /// From how many percent on a difference matters.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = parse_threshold)]
    pub(crate) threshold: f64,
    /// Seed of the order within pairs; from the time when absent. It is printed.
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Print the comparison as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the comparison as a page into this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Two commands, separated by another --.
    #[arg(last = true, value_name = "CMD_A -- CMD_B", conflicts_with = "reports")]
    pub(crate) commands: Vec<OsString>,
}

fn parse_threshold(text: &str) -> Result<f64, String> {
    let percent = text.trim_end_matches('%').parse().ok().filter(|percent| (0.0..=1_000.0).contains(percent));
    percent.ok_or_else(|| format!("{text:?} is no percentage from 0 to 1000"))
}

/// Most bytes of a command's standard output that are looked at.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;
/// Bytes of the end of its standard error that are shown when it fails.
const ERROR_BYTES_SHOWN: usize = 2_000;

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let (comparison, extra) = match &args.reports[..] {
        [a, b] => {
            let names = [a, b].map(|path| path.display().to_string());
            let (a, b) = (read_report(a)?, read_report(b)?);
            (compare_reports(names, [&a, &b], args.threshold / 100.0), json!({}))
        }
        [] if !args.commands.is_empty() => compare_commands(args)?,
        _ => {
            let rule = "give two reports (compare A B), or two commands (compare -- CMD_A -- CMD_B)";
            return Err(Usage(rule.to_owned()).into());
        }
    };
    if args.json {
        let mut json = json!(comparison);
        if let (Some(object), Value::Object(extra)) = (json.as_object_mut(), extra) {
            object.extend(extra);
        }
        writeln!(io::stdout(), "{json}")?;
    } else {
        write!(io::stdout(), "{}", comparison.to_text())?;
    }
    if let Some(path) = &args.html {
        fs::write(path, comparison.to_html())
            .with_context(|| format!("cannot write {}; choose another file", path.display()))?;
        eprintln!("tickcore: wrote {}", path.display());
    }
    Ok(if comparison.verdict == Verdict::Regression { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs both commands in turn. The second value is what JSON says beside the comparison.
fn compare_commands(args: &CompareArgs) -> Result<(Comparison, Value)> {
    let mut sides = args.commands.split(|word| word == "--");
    let (Some(a), Some(b), None) = (sides.next(), sides.next(), sides.next()) else {
        return Err(Usage("give two commands, each behind a --: compare -- CMD_A -- CMD_B".to_owned()).into());
    };
    if a.is_empty() || b.is_empty() {
        return Err(Usage("a command is empty: compare -- CMD_A -- CMD_B".to_owned()).into());
    }
    let seed = args.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64 % 1_000_000_007
    });
    eprintln!("tickcore: {} pairs, order by seed {seed}", args.repeat);
    for _ in 0..args.warm_up {
        run_once(a)?;
        run_once(b)?;
    }
    let orders = shuffled_orders(args.repeat as usize, seed);
    let mut runs = [Vec::new(), Vec::new()];
    for (number, b_first) in orders.iter().enumerate() {
        let first = run_once(if *b_first { b } else { a })?;
        let second = run_once(if *b_first { a } else { b })?;
        let (one, other) = if *b_first { (second, first) } else { (first, second) };
        let ratio = other.wall_ns as f64 / one.wall_ns as f64;
        let (a_s, b_s) = (one.wall_ns as f64 / 1e9, other.wall_ns as f64 / 1e9);
        eprintln!("tickcore: pair {} of {}: A {a_s:.3} s, B {b_s:.3} s, B ÷ A {ratio:.3}", number + 1, args.repeat);
        runs[0].push(one);
        runs[1].push(other);
    }
    let [a_runs, b_runs] = &runs;
    let mut comparison =
        compare_pairs(command_text(a), command_text(b), args.threshold / 100.0, paired_figures(a_runs, b_runs));
    comparison.notes.push(format!("order within pairs by seed {seed}"));
    let digests = |runs: &[Finished]| runs.last().and_then(|run| run.digest.clone());
    if let (Some(one), Some(other)) = (digests(a_runs), digests(b_runs))
        && one != other
    {
        comparison.notes.push("A and B end with different digests: they do not do the same work".to_owned());
    }
    let order: Vec<&str> = orders.iter().map(|b_first| if *b_first { "BA" } else { "AB" }).collect();
    Ok((comparison, json!({ "seed": seed, "repeat": args.repeat, "warm_up": args.warm_up, "order": order })))
}

fn command_text(words: &[OsString]) -> String {
    words.iter().map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A figure of one run.
#[derive(Clone, Debug, PartialEq)]
struct Figure {
    name: String,
    unit: String,
    better: Better,
    is_gating: bool,
    value: f64,
}

/// One run of a command.
#[derive(Clone, Debug)]
struct Finished {
    wall_ns: u64,
    figures: Vec<Figure>,
    digest: Option<String>,
}

fn run_once(words: &[OsString]) -> Result<Finished> {
    let text = command_text(words);
    let began = Instant::now();
    let mut child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!("cannot start {text}; the first word is the program, use sh -c for a shell's syntax")
        })?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let errors = thread::spawn(move || stderr.map_or_else(Vec::new, tail_of));
    let mut output = Vec::new();
    if let Some(mut stdout) = stdout {
        stdout.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut output)?;
        // The rest is no JSON of ours, but the command must be able to write it.
        io::copy(&mut stdout, &mut io::sink())?;
    }
    let status = child.wait()?;
    let wall_ns = began.elapsed().as_nanos() as u64;
    let errors = errors.join().unwrap_or_default();
    if !status.success() {
        let errors = String::from_utf8_lossy(&errors);
        bail!("{text} failed ({status}), so there is nothing to compare; it said:\n{}", errors.trim_end());
    }
    let json: Option<Value> = serde_json::from_slice(&output).ok();
    let digest = json.as_ref().and_then(|json| Some(json.get("state_digest")?.as_str()?.to_owned()));
    Ok(Finished { wall_ns, figures: json.map(|json| figures_of(&json)).unwrap_or_default(), digest })
}

/// The last bytes of a stream, which is read to its end.
fn tail_of(mut stream: impl Read) -> Vec<u8> {
    let mut tail = Vec::new();
    let mut block = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut block) {
        tail.extend_from_slice(&block[..count]);
        let surplus = tail.len().saturating_sub(ERROR_BYTES_SHOWN);
        tail.drain(..surplus);
    }
    tail
}

/// The figures of `replay --json` or of a scorecard with `--json`; none of any other JSON.
fn figures_of(json: &Value) -> Vec<Figure> {
    if let Some(figures) = json["figures"].as_array() {
        return figures.iter().filter_map(scorecard_figure).collect();
    }
    let mut figures = Vec::new();
    let Some(ns_per_message) = json["ns_per_message"].as_f64() else { return figures };
    // A paced run takes as long as its pace says, and is about its latency.
    let is_paced = json["latency_ns"].is_object();
    let mut push = |name: &str, unit: &str, better, is_gating, value| {
        figures.push(Figure { name: name.to_owned(), unit: unit.to_owned(), better, is_gating, value });
    };
    push("ns_per_message", "ns", Better::Lower, !is_paced, ns_per_message);
    if let Some(rate) = json["messages_per_second"].as_f64() {
        push("messages_per_second", "/s", Better::Higher, false, rate);
    }
    for (series, is_main) in [("latency_ns", is_paced), ("service_ns", !is_paced)] {
        for (percentile, gates) in [("p50", true), ("p90", false), ("p99", true), ("p99_9", false), ("p99_99", false)] {
            if let Some(value) = json[series][percentile].as_f64() {
                push(&format!("{series} {percentile}"), "ns", Better::Lower, is_main && gates, value);
            }
        }
    }
    figures
}

fn scorecard_figure(figure: &Value) -> Option<Figure> {
    let better = match figure["better"].as_str()? {
        "higher" => Better::Higher,
        "lower" => Better::Lower,
        _ => return None,
    };
    let unit = figure["unit"].as_str().unwrap_or_default();
    Some(Figure {
        name: figure["name"].as_str()?.to_owned(),
        unit: if unit == "ratio" { String::new() } else { unit.to_owned() },
        better,
        is_gating: true,
        value: figure["value"].as_f64()?,
    })
}

/// The figures that every run has, and the wall time, which counts where there are no others.
fn paired_figures(a: &[Finished], b: &[Finished]) -> Vec<PairedFigure> {
    let value_of =
        |run: &Finished, name: &str| run.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value);
    let values =
        |runs: &[Finished], name: &str| runs.iter().map(|run| value_of(run, name)).collect::<Option<Vec<f64>>>();
    let shared = a.first().map_or(&[][..], |run| &run.figures).iter().filter_map(|figure| {
        let Figure { name, unit, better, is_gating, .. } = figure.clone();
        Some(PairedFigure { a: values(a, &name)?, b: values(b, &name)?, name, unit, better, is_gating })
    });
    let mut figures: Vec<PairedFigure> = shared.collect();
    let wall = |runs: &[Finished]| runs.iter().map(|run| run.wall_ns as f64).collect();
    figures.push(PairedFigure {
        name: "wall time".to_owned(),
        unit: "ns".to_owned(),
        better: Better::Lower,
        is_gating: !figures.iter().any(|figure| figure.is_gating),
        a: wall(a),
        b: wall(b),
    });
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(json: &Value) -> Vec<(String, bool)> {
        figures_of(json).into_iter().map(|figure| (figure.name, figure.is_gating)).collect()
    }

    #[test]
    fn a_run_at_full_speed_is_about_its_speed_and_a_paced_one_about_its_latency() {
        let service = json!({"count": 3, "p50": 80, "p99": 100});
        let full =
            json!({"ns_per_message": 40.5, "messages_per_second": 2e7, "service_ns": service, "latency_ns": null});
        let gating = |json| names(json).into_iter().filter(|(_, is_gating)| *is_gating).map(|(name, _)| name);
        assert_eq!(gating(&full).collect::<Vec<_>>(), ["ns_per_message", "service_ns p50", "service_ns p99"]);
        let paced = json!({"ns_per_message": 1000, "service_ns": service, "latency_ns": service});
        assert_eq!(gating(&paced).collect::<Vec<_>>(), ["latency_ns p50", "latency_ns p99"]);
        assert_eq!(names(&json!({"other": 1})), []);
        assert_eq!(names(&json!([1, 2])), []);
    }

    #[test]
    fn a_scorecard_has_its_figures_but_those_it_skipped() {
        let card = json!({"figures": [
            {"name": "a", "value": 2.5, "unit": "ratio", "better": "higher"},
            {"name": "b", "value": null, "unit": "ns", "better": "lower"},
            {"name": "c", "value": 3, "unit": "ns", "better": "lower"},
        ]});
        assert_eq!(names(&card), [("a".to_owned(), true), ("c".to_owned(), true)]);
    }

    #[test]
    fn only_figures_that_every_run_has_are_paired() {
        let run = |values: &[(&str, f64)]| {
            let figure = |&(name, value): &(&str, f64)| Figure {
                name: name.to_owned(),
                unit: String::new(),
                better: Better::Lower,
                is_gating: true,
                value,
            };
            Finished { wall_ns: 5, figures: values.iter().map(figure).collect(), digest: None }
        };
        let names = |a: &[Finished], b: &[Finished]| {
            let pairs = paired_figures(a, b).into_iter().map(|figure| (figure.name, figure.is_gating));
            pairs.collect::<Vec<_>>()
        };
        let full = [run(&[("x", 1.0), ("y", 2.0)]), run(&[("y", 2.0), ("x", 1.0)])];
        let half = [run(&[("x", 1.0)]), run(&[("x", 1.0)])];
        let wall = |is_gating| ("wall time".to_owned(), is_gating);
        assert_eq!(names(&full, &half), [("x".to_owned(), true), wall(false)]);
        assert_eq!(names(&full, &[run(&[]), run(&[])]), [wall(true)]);
    }

    #[test]
    fn thresholds_are_percentages() {
        assert_eq!((parse_threshold("2.5"), parse_threshold("3%")), (Ok(2.5), Ok(3.0)));
        assert!(parse_threshold("-1").is_err() && parse_threshold("nan").is_err() && parse_threshold("x").is_err());
    }

    #[test]
    fn the_end_of_a_long_stream_is_kept() {
        let text: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
        assert_eq!(tail_of(&text[..]), text[text.len() - ERROR_BYTES_SHOWN..]);
        assert_eq!(tail_of(&b"short"[..]), b"short");
    }
}
