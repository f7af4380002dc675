//! A strategy that embeds the engine as a library, with no command-line dependency:
//!
//! ```text
//! cargo run --release --example embed --no-default-features -- replay-data/sample/synthetic_01302020.itch.zst
//! ```
//!
//! It counts how often each side is the heavier one at the touch, and what traded.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use tickcore::book::{Bbo, Event, InstrumentId, Kind};
use tickcore::engine::{self, Config};
use tickcore::inputs::Inputs;
use tickcore::stat::StatFile;
use tickcore::strategy::{Context, Strategy};

/// Plain counters: nothing here allocates, locks or formats while events come in.
#[derive(Debug, Default)]
struct Imbalance {
    bid_heavier: u64,
    ask_heavier: u64,
    stale: u64,
    traded_quantity: u64,
    halts: u64,
    batches: u64,
}

impl Strategy for Imbalance {
    fn on_event(&mut self, context: &mut Context<'_, '_>, event: &Event) {
        if let Some(execution) = context.books().last_execution().filter(|execution| execution.is_of(event)) {
            self.traded_quantity += execution.quantity.get();
        }
    }

    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, _: &Event) {
        if context.books().is_stale(instrument) {
            self.stale += 1;
        } else if let (Some(bid), Some(ask)) = (bbo.bid, bbo.ask) {
            self.bid_heavier += u64::from(bid.quantity > ask.quantity);
            self.ask_heavier += u64::from(ask.quantity > bid.quantity);
        }
    }

    fn on_status(&mut self, _: &mut Context<'_, '_>, event: &Event) {
        self.halts += u64::from(event.kind() == Some(Kind::Status) && event.order_id.get() == u64::from(b'H'));
    }

    fn on_batch_end(&mut self, _: &mut Context<'_, '_>) {
        self.batches += 1;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let input = env::args_os().nth(1).map(PathBuf::from).ok_or("usage: embed INPUT")?;
    let inputs = Inputs::open(&[input], None)?;
    // `tickcore stat` shows what it does meanwhile.
    let config = Config { stat_file: StatFile::Automatic, description: "embed".to_owned(), ..Config::default() };
    let outcome = engine::run(&config, inputs, Imbalance::default())?;
    println!("{} events in {:.3} s", outcome.events, outcome.elapsed_ns as f64 / 1e9);
    println!("{:#?}", outcome.strategy);
    if outcome.is_good() { Ok(()) } else { Err(format!("{:?}", outcome.end).into()) }
}
