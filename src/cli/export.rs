//! `export`: book data out, as CSV or JSON lines. Rows are written at the end of each of the venue's transactions.

use super::args::{ExportArgs, ExportFormat};
use super::rows::{Cell, RowWriter};
use super::select::{self, Usage};
use super::signal::Interrupted;
use super::time::TimeBase;
use anyhow::{Context as _, Result, bail};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tickcore::book::{Books, Event, Flags, InstrumentId, Kind, Price, Quantity, Sequence, Side};
use tickcore::engine::{self, Config};
use tickcore::outcome::End;
use tickcore::pin::Cores;
use tickcore::strategy::{Context, Strategy};

/// Most levels of an mbp schema.
const DEPTH_MAX: usize = 1_000;

/// What rows are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schema {
    /// Rows of the best `depth` levels whenever one differs; `counts` says whether its order count is looked at.
    Depth {
        depth: usize,
        counts: bool,
    },
    Trades,
    Orders,
}

impl Schema {
    fn parse(text: &str) -> Result<Self, Usage> {
        match text {
            "bbo" => return Ok(Self::Depth { depth: 1, counts: false }),
            "trades" => return Ok(Self::Trades),
            "mbo" => return Ok(Self::Orders),
            _ => {}
        }
        let depth = text.strip_prefix("mbp-").and_then(|depth| depth.parse().ok());
        match depth {
            Some(depth @ 1..=DEPTH_MAX) => Ok(Self::Depth { depth, counts: true }),
            _ => Err(Usage(format!("schema {text:?}: write bbo, mbp-N with N from 1 to {DEPTH_MAX}, trades or mbo"))),
        }
    }

    fn columns(self) -> Vec<String> {
        let names = |names: &str| names.split(',').map(str::to_owned).collect();
        match self {
            Self::Trades => names("ts_event,sequence,symbol,side,price,size,match_id,kind,printable"),
            Self::Orders => names("ts_event,ts_recv,sequence,symbol,kind,side,price,size,order_id,new_order_id,flags"),
            Self::Depth { depth, .. } => {
                let mut columns: Vec<String> = names("ts_event,sequence,symbol");
                for level in 0..depth {
                    for column in ["bid_px", "bid_sz", "bid_ct", "ask_px", "ask_sz", "ask_ct"] {
                        columns.push(format!("{column}_{level:02}"));
                    }
                }
                columns
            }
        }
    }
}

/// Price, total and order count of a level, of both sides.
type Row = [Option<(Price, Quantity, u32)>; 2];

/// Writes rows from the book core.
struct Exporter<W: Write> {
    schema: Schema,
    base: TimeBase,
    rows: RowWriter<W>,
    /// Depth at the end of the last transaction of each instrument.
    depths: HashMap<InstrumentId, Vec<Row>>,
    current: Vec<Row>,
    wanted: Vec<String>,
    absent: Vec<String>,
    error: Option<io::Error>,
    /// Set with the error, so that the run ends.
    has_failed: Arc<AtomicBool>,
}

pub(crate) fn run(args: &ExportArgs) -> Result<ExitCode> {
    let schema = Schema::parse(&args.schema)?;
    let paths = [args.input.clone()];
    let inputs = select::open_inputs(&paths, args.selection.date.as_deref())?;
    let base = select::time_base(&inputs);
    let config = Config {
        cores: Cores::Unpinned,
        capacity: select::capacity(args.capacity, Some(&inputs), None)?,
        symbols: args.selection.symbols.clone(),
        latency_sample_interval: 0,
        ..Config::default()
    };
    let output: Box<dyn Write + Send> = match &args.output {
        Some(path) => Box::new(
            File::create(path)
                .with_context(|| format!("{}: cannot create it; check the path and permissions", path.display()))?,
        ),
        None => Box::new(io::stdout()),
    };
    let mut rows =
        RowWriter::new(BufWriter::with_capacity(1 << 20, output), args.format == ExportFormat::Jsonl, schema.columns());
    rows.header()?;
    let has_failed = Arc::new(AtomicBool::new(false));
    let exporter = Exporter {
        schema,
        base,
        rows,
        depths: HashMap::new(),
        current: Vec::new(),
        wanted: args.selection.symbols.clone(),
        absent: Vec::new(),
        error: None,
        has_failed: Arc::clone(&has_failed),
    };
    let interrupted = Interrupted::listen()?;
    let outcome = engine::run_monitored(&config, inputs, exporter, |_| {
        let ends = interrupted.is_set() || has_failed.load(Ordering::Relaxed);
        if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let mut exporter = outcome.strategy;
    if let Some(error) = exporter.error {
        return Err(error).context("writing rows");
    }
    exporter.rows.flush().context("writing rows")?;
    match outcome.end {
        End::Complete => {
            select::check_symbols(&exporter.wanted, |name| !exporter.absent.iter().any(|absent| absent == name))?;
            Ok(ExitCode::SUCCESS)
        }
        End::Stopped => bail!("stopped as asked after event {}; the output ends there", outcome.events),
        End::SourceFailed(error) => Err(error.into()),
        _ => bail!("the run ended in an unknown way"),
    }
}

impl<W: Write + Send> Strategy for Exporter<W> {
    fn on_event(&mut self, context: &mut Context<'_, '_>, event: &Event) {
        if self.error.is_some() {
            return;
        }
        let (books, sequence) = (context.books(), context.sequence());
        let written = match self.schema {
            Schema::Depth { depth, counts } => self.write_depths(books, sequence, event, depth, counts),
            Schema::Trades => self.write_trade(books, sequence, event),
            Schema::Orders => self.write_event(books, sequence, event),
        };
        self.error = written.err();
        if self.error.is_some() {
            self.has_failed.store(true, Ordering::Relaxed);
        }
    }

    fn on_end(&mut self, context: &mut Context<'_, '_>) {
        let instruments = context.books().instruments();
        self.absent = self.wanted.iter().filter(|name| instruments.find(name).is_none()).cloned().collect();
    }
}

impl<W: Write> Exporter<W> {
    /// A row for each instrument whose best levels differ from those after its last transaction.
    fn write_depths(
        &mut self,
        books: &Books<'_>,
        sequence: Sequence,
        event: &Event,
        depth: usize,
        counts: bool,
    ) -> io::Result<()> {
        if !event.is_last() {
            return Ok(());
        }
        if event.instrument != InstrumentId::ALL {
            return self.write_depth(books, sequence, event, event.instrument, depth, counts);
        }
        if event.kind() == Some(Kind::Clear) {
            for row in 1..=books.highest_instrument().get() {
                self.write_depth(books, sequence, event, InstrumentId(row), depth, counts)?;
            }
        }
        Ok(())
    }

    fn write_depth(
        &mut self,
        books: &Books<'_>,
        sequence: Sequence,
        event: &Event,
        instrument: InstrumentId,
        depth: usize,
        counts: bool,
    ) -> io::Result<()> {
        let Some(book) = books.book(instrument) else { return Ok(()) };
        self.current.clear();
        self.current.resize(depth, [None; 2]);
        for side in Side::BOTH {
            for (row, level) in self.current.iter_mut().zip(book.levels(side)) {
                row[side.index()] = Some((level.price, level.quantity, level.order_count));
            }
        }
        let seen = |row: &Row| {
            row.map(|level| level.map(|(price, quantity, count)| (price, quantity, if counts { count } else { 0 })))
        };
        let last = self.depths.entry(instrument).or_insert_with(|| vec![[None; 2]; depth]);
        if last.iter().map(seen).eq(self.current.iter().map(seen)) {
            return Ok(());
        }
        std::mem::swap(last, &mut self.current);
        let mut row = self.rows.row();
        row.put(Cell::Time(self.base, event.exchange_time))?;
        row.put(Cell::Number(sequence.get()))?;
        row.put(Cell::Text(symbol(books, instrument)))?;
        for level in last.iter().flatten() {
            let (price, quantity, count) = match level {
                Some((price, quantity, count)) => (Some(*price), quantity.get(), *count),
                None => (None, 0, 0),
            };
            row.put(Cell::Price(price))?;
            row.put(Cell::Number(quantity))?;
            row.put(Cell::Number(count.into()))?;
        }
        row.end()
    }

    /// A row for each trade. Side is that of the resting order, price what was paid.
    fn write_trade(&mut self, books: &Books<'_>, sequence: Sequence, event: &Event) -> io::Result<()> {
        let (kind, side, price) = match event.kind() {
            Some(kind @ (Kind::Execute | Kind::ExecuteAt)) => {
                // An execution that found no order has no price that anybody knows.
                let Some(execution) = books.last_execution().filter(|execution| execution.is_of(event)) else {
                    return Ok(());
                };
                let price = if kind == Kind::ExecuteAt { event.price } else { execution.price };
                (kind, Some(execution.side), Some(price))
            }
            Some(kind @ (Kind::Trade | Kind::Cross)) => (kind, event.side(), Some(event.price)),
            Some(kind @ Kind::Break) => (kind, None, None),
            _ => return Ok(()),
        };
        let printable = if event.flags.contains(Flags::NON_PRINTABLE) { "N" } else { "Y" };
        let mut row = self.rows.row();
        row.put(Cell::Time(self.base, event.exchange_time))?;
        row.put(Cell::Number(sequence.get()))?;
        row.put(Cell::Text(symbol(books, event.instrument)))?;
        row.put(Cell::Text(letter(side)))?;
        row.put(Cell::Price(price))?;
        row.put(Cell::Number(event.quantity.get()))?;
        row.put(Cell::Number(event.reference))?;
        row.put(Cell::Text(kind.name()))?;
        row.put(Cell::Text(printable))?;
        row.end()
    }

    /// A row for each event, as it is in the ring and the journal.
    fn write_event(&mut self, books: &Books<'_>, sequence: Sequence, event: &Event) -> io::Result<()> {
        let kind = event.kind();
        let price = match kind {
            Some(Kind::Add | Kind::Modify | Kind::ExecuteAt | Kind::Replace | Kind::Trade | Kind::Cross) => {
                Some(event.price)
            }
            _ => None,
        };
        let (size, new_order_id) = match kind {
            Some(Kind::InstrumentDefined | Kind::InstrumentName) => return Ok(()),
            Some(Kind::Replace) => (event.quantity.get(), Some(event.reference)),
            _ => (event.quantity.get(), None),
        };
        let mut row = self.rows.row();
        row.put(Cell::Time(self.base, event.exchange_time))?;
        row.put(Cell::OptionalTime(self.base, event.receive_time))?;
        row.put(Cell::Number(sequence.get()))?;
        row.put(Cell::Text(symbol(books, event.instrument)))?;
        row.put(Cell::Text(kind.map_or("unknown", Kind::name)))?;
        row.put(Cell::Text(letter(event.side())))?;
        row.put(Cell::Price(price))?;
        row.put(Cell::Number(size))?;
        row.put(Cell::Number(event.order_id.get()))?;
        row.put(Cell::Optional(new_order_id))?;
        row.put(Cell::Number(event.flags.0.into()))?;
        row.end()
    }
}

fn symbol<'b>(books: &'b Books<'_>, instrument: InstrumentId) -> &'b str {
    books.instruments().get(instrument).map_or("", |row| row.name())
}

const fn letter(side: Option<Side>) -> &'static str {
    match side {
        Some(Side::Bid) => "B",
        Some(Side::Ask) => "A",
        None => "",
    }
}
