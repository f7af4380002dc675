//! `checkpoint`: a checkpoint at the end of a journal that nobody writes.

use super::args::CheckpointArgs;
use super::progress::{Bar, Unit};
use anyhow::Result;
use serde_json::json;
use std::io::{self, Write};
use std::process::ExitCode;
use tickcore::checkpoint::make;
use tickcore::latency::grouped;
use tickcore::strategy::NoStrategy;

/// Bytes of a record: the bar counts bytes.
const RECORD_BYTES: u64 = 64;

pub(crate) fn run(args: &CheckpointArgs) -> Result<ExitCode> {
    let bar = Bar::new(0, Unit::Bytes);
    let made = make(&args.dir, NoStrategy, |done, all| {
        bar.set(done * RECORD_BYTES, (all * RECORD_BYTES).max(1), format!("{} events", grouped(done)));
    })?;
    bar.finish();
    made.notices.iter().for_each(|notice| eprintln!("tickcore: {notice}"));
    if args.json {
        let json = json!({
            "dir": args.dir.display().to_string(),
            "file": made.file.display().to_string(),
            "sequence": made.sequence.get(),
            "from_sequence": made.from.map(|sequence| sequence.get()),
            "live_orders": made.live_orders,
            "bytes": made.bytes,
        });
        writeln!(io::stdout(), "{json}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (file, orders) = (made.file.display(), grouped(made.live_orders.into()));
    match made.from {
        Some(from) if from == made.sequence => {
            writeln!(
                io::stdout(),
                "{file} is there already: {orders} live orders at sequence {from}, the journal's end"
            )?;
        }
        from => writeln!(
            io::stdout(),
            "{file}: {orders} live orders at sequence {}, {} bytes, made from {}",
            made.sequence,
            grouped(made.bytes),
            from.map_or("the journal's beginning".to_owned(), |from| format!("the checkpoint of sequence {from}"))
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
