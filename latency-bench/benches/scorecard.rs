//! Runs a scorecard: `cargo bench -p tickcore-latency-bench --bench scorecard -- CARD [OPTIONS]`.
//!
//! Exit code 0 when it was measured, whether goals hold or not (the figures say that); 1 when something went wrong, such
//! as an answer that differs; 2 for usage.

use std::process::ExitCode;
use tickcore_allocations::CountingAllocator;
use tickcore_latency_bench::cards::CARDS;
use tickcore_latency_bench::command::{Command, UsageError, help, list};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn main() -> ExitCode {
    match Command::parse(std::env::args_os().skip(1), CARDS) {
        Err(UsageError(fault)) => {
            eprintln!("{fault}\n\n{}", help(CARDS));
            ExitCode::from(2)
        }
        Ok(command) => match run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("scorecard failed: {error:#}");
                ExitCode::FAILURE
            }
        },
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::SelfCheck => {
            for card in CARDS {
                (card.check)().map_err(|error| error.context(format!("self-check of card {}", card.name)))?;
                println!("self-check of card {} ... ok", card.name);
            }
        }
        Command::Help => println!("{}", help(CARDS)),
        Command::List => println!("{}", list(CARDS)),
        Command::Run { card, settings, json } => {
            let scorecard = (card.run)(&settings)?;
            if json {
                println!("{}", scorecard.to_json());
            } else {
                println!("{}", scorecard.to_text());
            }
        }
    }
    Ok(())
}
