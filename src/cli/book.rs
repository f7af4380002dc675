//! `book`: one book at one moment, level by level.

use super::args::BookArgs;
use super::select;
use super::signal::Interrupted;
use super::table::{align_right, table};
use super::time::TimeBase;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use tickcore::book::{Price, Quantity, Sequence, Side, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::outcome::End;
use tickcore::pin::Cores;
use tickcore::strategy::{Context, Strategy};

#[derive(Clone, Copy, Debug)]
struct LevelLine {
    price: Price,
    quantity: Quantity,
    order_count: u32,
}

/// Copies the wanted book at the end.
#[derive(Debug)]
struct Picture {
    symbol: String,
    depth: usize,
    last_time: TimestampNs,
    sequence: Sequence,
    is_found: bool,
    is_stale: bool,
    level_counts: [u32; 2],
    order_counts: [u32; 2],
    sides: [Vec<LevelLine>; 2],
}

impl Strategy for Picture {
    fn on_event(&mut self, _: &mut Context<'_, '_>, event: &tickcore::book::Event) {
        self.last_time = event.exchange_time;
    }

    fn on_end(&mut self, context: &mut Context<'_, '_>) {
        let books = context.books();
        self.sequence = context.sequence();
        let Some(instrument) = books.instruments().find(&self.symbol) else { return };
        let Some(book) = books.book(instrument) else { return };
        self.is_found = true;
        self.is_stale = books.is_stale(instrument);
        for side in Side::BOTH {
            self.level_counts[side.index()] = book.level_count(side);
            self.order_counts[side.index()] = book.order_count(side);
            self.sides[side.index()] = book
                .levels(side)
                .take(self.depth)
                .map(|level| LevelLine { price: level.price, quantity: level.quantity, order_count: level.order_count })
                .collect();
        }
    }
}

pub(crate) fn run(args: &BookArgs) -> Result<ExitCode> {
    let paths = [args.input.clone()];
    let inputs = select::open_inputs(&paths, args.date.as_deref())?;
    let base = select::time_base(&inputs);
    let config = Config {
        cores: Cores::Unpinned,
        capacity: select::capacity(args.capacity, Some(&inputs), None)?,
        to: select::parse_time(base, args.at.as_deref(), TimestampNs(u64::MAX))?,
        latency_sample_interval: 0,
        ..Config::default()
    };
    let picture = Picture {
        symbol: args.symbol.clone(),
        depth: args.depth,
        last_time: TimestampNs(0),
        sequence: Sequence(0),
        is_found: false,
        is_stale: false,
        level_counts: [0; 2],
        order_counts: [0; 2],
        sides: [Vec::new(), Vec::new()],
    };
    let interrupted = Interrupted::listen()?;
    let outcome = engine::run_monitored(&config, inputs, picture, |_| {
        if interrupted.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    match outcome.end {
        End::Complete => {}
        End::SourceFailed(error) => return Err(error.into()),
        _ => bail!("stopped after event {} before the book was complete", outcome.events),
    }
    let picture = outcome.strategy;
    select::check_symbols(std::slice::from_ref(&args.symbol), |_| picture.is_found)?;
    if args.json {
        writeln!(io::stdout(), "{}", picture.json(base))?;
    } else {
        write!(io::stdout(), "{}", picture.text(base))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Picture {
    fn json(&self, base: TimeBase) -> Value {
        let side = |side: Side| {
            let levels = self.sides[side.index()].iter().map(|line| {
                json!({
                    "price": line.price.to_string(),
                    "quantity": line.quantity.get(),
                    "orders": line.order_count,
                })
            });
            json!({
                "levels": self.level_counts[side.index()],
                "orders": self.order_counts[side.index()],
                "best": levels.collect::<Vec<_>>(),
            })
        };
        json!({
            "symbol": self.symbol,
            "ts_event": base.format(self.last_time),
            "sequence": self.sequence.get(),
            "stale": self.is_stale,
            "bids": side(Side::Bid),
            "asks": side(Side::Ask),
        })
    }

    fn text(&self, base: TimeBase) -> String {
        let mut table = table(["bid orders", "bid quantity", "bid", "ask", "ask quantity", "ask orders"]);
        let cells = |side: Side, row: usize| {
            self.sides[side.index()].get(row).map_or_else(
                || [String::new(), String::new(), String::new()],
                |line| [line.order_count.to_string(), line.quantity.to_string(), line.price.to_string()],
            )
        };
        for row in 0..self.sides[0].len().max(self.sides[1].len()) {
            let [bid_orders, bid_quantity, bid] = cells(Side::Bid, row);
            let [ask_orders, ask_quantity, ask] = cells(Side::Ask, row);
            table.add_row([bid_orders, bid_quantity, bid, ask, ask_quantity, ask_orders]);
        }
        align_right(&mut table, 0);
        format!(
            "{} after event {} at {}{}\n{} bids on {} levels, {} asks on {} levels\n\n{table}\n",
            self.symbol,
            self.sequence,
            base.format(self.last_time),
            if self.is_stale { ", stale: events were lost or did not fit" } else { "" },
            self.order_counts[0],
            self.level_counts[0],
            self.order_counts[1],
            self.level_counts[1],
        )
    }
}
