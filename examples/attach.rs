//! Attaches to a ring of BBO updates in another process and prints them as they come.
//!
//! `cargo run --release --example attach -- PATH`, where PATH is what the engine was told to write to (`/dev/shm/…`). It ends
//! when the engine says that nothing more comes, or within 0.6 s after the engine's process was killed.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::time::Duration;
use tickcore_book::Quote;
use tickcore_feed::ring::bbo::BboUpdate;
use tickcore_feed::ring::shared::{Attached, Content, Life};

/// Between two looks into an empty ring. A strategy would spin instead, on a core of its own.
const IDLE: Duration = Duration::from_micros(200);

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: attach PATH, where PATH is a ring of BBO updates, such as /dev/shm/bbo.ring");
        return ExitCode::from(2);
    };
    match Attached::open_with(path, Content::BboUpdates).map_err(Box::from).and_then(|ring| print_updates(&ring)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads the output has enough of it.
        Err(error)
            if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn print_updates(ring: &Attached) -> Result<(), Box<dyn std::error::Error>> {
    let (mut reader, mut watch) = (ring.reader(), ring.watch());
    let mut output = BufWriter::new(io::stdout().lock());
    let mut updates: u64 = 0;
    writeln!(output, "exchange_time,cause,instrument,bid_px,bid_sz,ask_px,ask_sz,stale,unjournaled")?;
    while !reader.is_closed_and_drained() {
        let mut written = Ok(());
        let result = reader.poll(usize::MAX, |_, event| {
            if let (Ok(()), Some(update)) = (&written, BboUpdate::from_event(event)) {
                written = write_update(&mut output, &update);
                updates += 1;
            }
        });
        written?;
        if result.lost > 0 {
            output.flush()?;
            eprintln!("{} updates went by too fast and are lost", result.lost);
        }
        if result.read > 0 || result.lost > 0 {
            continue;
        }
        output.flush()?;
        match watch.look() {
            // A writer that closed after the poll may have left something.
            Life::Running | Life::Closed => std::thread::sleep(IDLE),
            Life::Gone => return Err(format!("process {} ended without a word", watch.creator_pid()).into()),
            Life::Silent => return Err(format!("process {} is there and does nothing", watch.creator_pid()).into()),
        }
    }
    output.flush()?;
    eprintln!("{updates} updates, {} lost", reader.lost());
    Ok(())
}

fn write_update(output: &mut impl Write, update: &BboUpdate) -> io::Result<()> {
    let BboUpdate { exchange_time, cause, instrument, bbo, is_stale, is_unjournaled } = update;
    write!(output, "{},{},{}", exchange_time.0, cause.0, instrument.0)?;
    for Quote { price, quantity } in [bbo.bid, bbo.ask].into_iter().map(|quote| quote.unwrap_or(NONE)) {
        write!(output, ",{price},{}", quantity.0)?;
    }
    writeln!(output, ",{},{}", u8::from(*is_stale), u8::from(*is_unjournaled))
}

/// What an empty side is printed as.
const NONE: Quote = Quote { price: tickcore_book::Price(0), quantity: tickcore_book::Quantity(0) };
