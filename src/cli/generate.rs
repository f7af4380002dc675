//! `generate`: a synthetic day into a file.

use super::args::GenerateArgs;
use super::progress::{Bar, Unit};
use super::select::Usage;
use super::signal::Interrupted;
use anyhow::{Context as _, Result, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::process::ExitCode;
use tickcore::latency::grouped;
use tickcore_replay_data::generate::{Generator, Parameters};

pub(crate) fn run(args: &GenerateArgs) -> Result<ExitCode> {
    let parameters = Parameters::new(args.messages, args.instruments, args.seed);
    let mut generator = Generator::new(parameters).map_err(|error| Usage(error.to_string()))?;
    let path = &args.output;
    let file = create(args)?;
    let written = write_day(&mut generator, file, path);
    match written {
        Ok(bytes) => {
            eprintln!(
                "tickcore: wrote {} messages, {} bytes, to {}",
                grouped(args.messages),
                grouped(bytes),
                path.display()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            // Half a day would pass for a whole one.
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

fn create(args: &GenerateArgs) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(&args.output).with_context(|| {
        format!("{}: cannot create it; choose another name, or pass --force to replace a file", args.output.display())
    })
}

fn write_day(generator: &mut Generator, file: File, path: &std::path::Path) -> Result<u64> {
    let interrupted = Interrupted::listen()?;
    let bar = Bar::new(generator.messages(), Unit::Messages);
    let mut output = BufWriter::with_capacity(1 << 20, file);
    let mut chunk = Vec::new();
    let mut bytes = 0;
    let failed = || format!("{}: writing failed; the file was removed", path.display());
    while generator.next_chunk(&mut chunk) {
        output.write_all(&chunk).with_context(failed)?;
        bytes += chunk.len() as u64;
        chunk.clear();
        bar.set(generator.messages_made(), generator.messages(), "generating".to_owned());
        if interrupted.is_set() {
            bail!("stopped as asked; {} was removed", path.display());
        }
    }
    output.flush().with_context(failed)?;
    bar.finish();
    Ok(bytes)
}
