//! `report`: shows the latencies of a run that `replay --report` stored, or of any HdrHistogram interval log.

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tickcore::latency::hlog::{MAX_LOG_BYTES, read_log};
use tickcore::latency::{
    Distribution, Origin, Report, Stage, load_table, percentile_plot, printable, read_report, text_table, utc_text,
    write_html,
};

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Directory that replay --report wrote, or an HdrHistogram interval log (.hlog) of any program.
    pub(crate) path: PathBuf,
    /// Print the figures as one JSON object, without histograms.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &ReportArgs) -> Result<ExitCode> {
    if args.path.is_file() {
        return show_log(args);
    }
    let report = read_report(&args.path)?;
    if args.json {
        writeln!(io::stdout(), "{}", report.summary_json())?;
    } else {
        write!(io::stdout(), "{}", text(&report))?;
    }
    let page = write_html(&args.path, &report)?;
    eprintln!("tickcore: wrote {}", page.display());
    Ok(ExitCode::SUCCESS)
}

/// What a terminal shows of a report.
fn text(report: &Report) -> String {
    let (run, machine) = (&report.run, &report.machine);
    let cores: Vec<String> = machine.cores.iter().map(ToString::to_string).collect();
    let pinned = if machine.is_pinned { format!("pinned to {}", cores.join(", ")) } else { "not pinned".to_owned() };
    let mut rows = vec![
        ("input", run.input.clone()),
        ("began", format!("{}, took {:.3} s", utc_text(run.started_unix_ns), run.elapsed_ns as f64 / 1e9)),
        ("run", format!("{}, pace {}, one event in {} sampled", run.topology, run.pace, run.sample_interval)),
        ("machine", format!("{}, {}, {pinned}", machine.cpu, machine.kernel)),
        ("stamps", run.stamps(&machine.clock)),
    ];
    if let Some(calibration) = machine.calibration {
        let drift = calibration.drift() * 100.0;
        rows.push(("calibration", format!("{:.2} ns a step, drift {drift:.1} %", calibration.step_ns())));
    }
    match &report.stalls {
        Some(stalls) => rows.push((
            "stalls",
            format!(
                "{} of {} µs or more, the longest {} µs",
                stalls.count,
                stalls.threshold_ns / 1_000,
                stalls.max_ns / 1_000
            ),
        )),
        None => rows.push(("stalls", "not watched for".to_owned())),
    }
    rows.extend(run.notes.iter().map(|note| ("note", note.clone())));
    rows.push(("again", run.command_line()));
    let mut text: String = rows.iter().map(|(name, value)| format!("{name:11}  {}\n", printable(value))).collect();
    text.push('\n');
    text.push_str(&text_table(&report.stages));
    text.push('\n');
    text.push_str(&percentile_plot(&report.stages));
    if !report.load_steps.is_empty() {
        text.push('\n');
        text.push_str(&load_table(&report.load_steps));
    }
    text
}

fn show_log(args: &ReportArgs) -> Result<ExitCode> {
    let name = args.path.display();
    let mut bytes = Vec::new();
    let read = File::open(&args.path).and_then(|file| file.take(MAX_LOG_BYTES + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read {name}; give a report's directory or an .hlog file"))?;
    anyhow::ensure!(bytes.len() as u64 <= MAX_LOG_BYTES, "{name}: more than {MAX_LOG_BYTES} bytes: cut it into parts");
    let stages = stages_of_log(&bytes, &args.path)?;
    if args.json {
        let stage = |stage: &Stage| (stage.name.clone(), json!(stage.distribution.summary()));
        let stages: serde_json::Map<_, _> = stages.iter().map(stage).collect();
        writeln!(io::stdout(), "{}", json!({ "log": name.to_string(), "stages": stages }))?;
    } else {
        write!(io::stdout(), "{}\n{}", text_table(&stages), percentile_plot(&stages))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All intervals of each tag together, in the order in which tags come first.
fn stages_of_log(bytes: &[u8], path: &Path) -> Result<Vec<Stage>> {
    let mut stages: Vec<Stage> = Vec::new();
    for interval in read_log(bytes).with_context(|| path.display().to_string())? {
        let tag = interval.tag.unwrap_or_else(|| "untagged".to_owned());
        match stages.iter_mut().find(|stage| stage.name == tag) {
            Some(stage) => stage.distribution = stage.distribution.merged(&interval.distribution),
            None => {
                let mut stage = Stage::new(tag, "", Origin::Due, Distribution::default());
                stage.distribution = interval.distribution;
                stages.push(stage);
            }
        }
    }
    Ok(stages)
}
