//! The `tickcore` command: verbs over the library, one file each.

mod args;
mod book;
mod checkpoint;
mod compare;
mod export;
mod generate;
mod journal;
mod journal_args;
mod measured;
mod observer;
mod on_seal;
mod progress;
mod replay;
mod report;
mod rows;
mod select;
mod shard_map;
mod signal;
mod stat;
mod summary;
mod table;
mod time;

use args::{Cli, Verb};
use clap::{CommandFactory, Parser};
use std::io::{self, Write};
use std::process::ExitCode;
use tickcore::engine::EngineError;
use tickcore::inputs::InputsError;
use tickcore::shards::ShardError;

/// Runs the command line: exit status 0 when done, 1 when the run failed, 2 on wrong usage.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = signal::survive_file_limits().and_then(|()| match cli.verb {
        Verb::Replay(args) => replay::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Book(args) => book::run(&args),
        Verb::Journal { verb } => journal::run(&verb),
        Verb::Checkpoint(args) => checkpoint::run(&args),
        Verb::Generate(args) => generate::run(&args),
        Verb::Stat(args) => stat::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Compare(args) => compare::run(&args),
        Verb::Completions { shell } => completions(shell),
        Verb::Man => man(),
    });
    result.unwrap_or_else(|error| {
        // Whoever reads standard output may go away first (`| head`): that is no failure.
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("tickcore: {}", told(&error));
        if is_usage(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// Whether the arguments are at fault: also where only the library can tell.
fn is_usage(error: &anyhow::Error) -> bool {
    let engine = error.downcast_ref::<EngineError>();
    let inputs = error.downcast_ref::<InputsError>();
    error.is::<select::Usage>()
        || matches!(engine, Some(EngineError::Topology(_) | EngineError::Capacity(_) | EngineError::Ring(_)))
        || error.is::<ShardError>()
        || matches!(
            inputs,
            Some(
                InputsError::Empty
                    | InputsError::JournalAmongOthers { .. }
                    | InputsError::MixedDates { .. }
                    | InputsError::OneDateForSeveral
            )
        )
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tickcore", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn man() -> anyhow::Result<ExitCode> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    io::stdout().write_all(&page)?;
    Ok(ExitCode::SUCCESS)
}

/// An error with its causes, without those that its text names already.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| {
        let cause = cause.to_string();
        match text.is_empty() {
            true => cause,
            false if text.contains(&cause) => text,
            false => format!("{text}: {cause}"),
        }
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}
