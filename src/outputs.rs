//! What strategies send: order intents on their way from a book core to whoever acts on them.
//!
//! Each book core numbers its outputs from 1, in the order in which its strategy sent them, and puts them into a ring of its
//! own. They are read by a gateway, a simulator or a monitor of the embedder's, handed a [`OutputTap`] before the first event:
//!
//! ```
//! use std::sync::mpsc;
//! use tickcore::engine::Config;
//! use tickcore::outputs::{Intent, OutputConfig, OutputHook};
//!
//! let (sender, readers) = mpsc::channel();
//! let on_start = OutputHook::new(move |tap| {
//!     let _ = sender.send(tap.reader());
//! });
//! let config = Config { outputs: Some(OutputConfig { on_start, ..OutputConfig::default() }), ..Config::default() };
//! // The gateway, on a thread of its own beside `engine::run(&config, ...)`:
//! let gateway = move || {
//!     let mut reader = readers.recv().expect("the run begins").expect("one reader has a place");
//!     while !reader.is_closed_and_drained() {
//!         reader.poll(64, |number, event| println!("{number}: {:?}", Intent::of(event)));
//!     }
//! };
//! # drop((config, gateway));
//! ```
//!
//! # Guarantees
//! - An output is an event of kind [`Kind::OrderIntent`]; the engine sets the input sequence that caused it (word 1) and the
//!   exchange time of that input (word 0).
//! - The core never waits for a reader, allocates nothing and takes no lock. A ring that is full refuses, the strategy is told
//!   at once, and the outcome counts it ([`CoreOutputs::refused`]). The next output says in its flags how many were refused.
//! - Outputs are made by inputs alone: the same strategy on the same inputs sends the same ones, on one core in every topology
//!   and in a replay. So a strategy cannot send where only chance calls it (batches end by chance), see [`Unsent`]. A refusal is
//!   chance as well, but a recorded one: who compares with recorded outputs, or goes on behind them, refuses the same intents again,
//!   so that a strategy may act on it. Without a journal of the outputs nothing can repeat it.
//! - A run that goes on where an earlier one stopped calls the strategy for events that the earlier one has seen. What it sends
//!   then was sent before, as far as anybody can know; no [`OutputReader`] shows it again. That holds behind the last recorded output, too:
//!   whether an intent there was sent or refused is in no record. The strategy is told that it was sent, it is recorded so, and what
//!   the venue has of it is the gateway's to ask. The other way round an order could be sent twice.
//!
//! # Costs
//! Sending is the store of a line: on a 2-core virtual server 4 ns where nobody reads, 1 where there is no ring; beside a reader that
//! takes every line as it comes 6 to 34, of which most is the line's way between the cores. Without
//! [`Config::outputs`](crate::engine::Config::outputs) there is no ring; what is sent is counted and goes nowhere, so that a strategy
//! behaves alike in a replay.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tickcore_book::{Event, InstrumentId, Kind, OrderId, Price, Quantity, Sequence, Side, TimestampNs};
use tickcore_feed::ring::{JoinError, LossyRead, LossyReader, Reader, Ring, RingError, Writer};

/// Lines of an output ring unless another number is named: 256 KiB.
pub const LINES_DEFAULT: usize = 1 << 12;

/// What a strategy wants of the venue. What each field means is between the strategy and whoever reads its outputs; the usual
/// meaning stands beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Intent {
    /// Whose book.
    pub instrument: InstrumentId,
    /// The side, if the intent has one.
    pub side: Option<Side>,
    /// The strategy's own id of the order.
    pub id: OrderId,
    /// The own id of the order that is to be replaced or, with quantity 0, cancelled; 0 for a new one.
    pub target: OrderId,
    /// Limit price.
    pub price: Price,
    /// Quantity.
    pub quantity: Quantity,
}

impl Intent {
    /// The intent in an output, or `None` when it is an event of another kind.
    #[inline]
    #[must_use]
    pub fn of(output: &Event) -> Option<Self> {
        (output.kind() == Some(Kind::OrderIntent)).then_some(Self {
            instrument: output.instrument,
            side: output.side(),
            id: output.order_id,
            target: OrderId(output.reference),
            price: output.price,
            quantity: output.quantity,
        })
    }

    /// As an event: the cause in the receive time's word.
    #[inline]
    pub(crate) fn to_event(self, exchange_time: TimestampNs, cause: Sequence) -> Event {
        Event {
            receive_time: TimestampNs(cause.0),
            order_id: self.id,
            reference: self.target.0,
            price: self.price,
            quantity: self.quantity,
            side_number: self.side.map_or(0, |side| side as u8),
            ..Event::new(Kind::OrderIntent, self.instrument, exchange_time)
        }
    }
}

/// The input sequence that caused an output.
#[inline]
#[must_use]
pub const fn cause_of(output: &Event) -> Sequence {
    Sequence(output.receive_time.0)
}

/// Why an intent was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsent {
    /// A gating reader has not taken what was sent before, or had not when the outputs were recorded that are repeated. Nothing was
    /// sent, and no number was used; try again at a later event, or do without.
    #[error("the output ring is full: whoever reads it is behind; give it more lines or a faster reader")]
    Full,
    /// No event is being handled: [`on_batch_end`](crate::strategy::Strategy::on_batch_end) and
    /// [`on_end`](crate::strategy::Strategy::on_end) come when chance has it, so that a replay could not repeat what is sent there.
    #[error("outputs are sent while an event is handled: a batch ends by chance, which no replay repeats")]
    BetweenEvents,
    /// The strategy has sent something else than it did in an earlier run of the same session, and the run is about to stop.
    #[error("this is not what an earlier run of the session sent: the run stops")]
    Departed,
}

/// How the outputs of the book cores leave them.
#[derive(Clone, Debug)]
pub struct OutputConfig {
    /// Lines of each core's ring, a power of two: so many outputs can be on their way to the slowest gating reader. What is sent
    /// beyond them is refused. The next output records that; behind the last one it is in no record, and a journaled run says so at its
    /// end ([`JournalOutcome::warnings`](crate::outcome::JournalOutcome::warnings)).
    pub lines: usize,
    /// Gating readers of each ring that the embedder can have at a time, beside the journal's.
    pub readers_max: usize,
    /// Gets the rings.
    pub on_start: OutputHook,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self { lines: LINES_DEFAULT, readers_max: 1, on_start: OutputHook::default() }
    }
}

/// A function that is handed the output ring of each book core, core after core, on the thread that starts the run, before the first
/// event: the place to take readers, so that they see every output.
#[derive(Clone, Default)]
pub struct OutputHook(Option<Arc<Hook>>);

type Hook = dyn Fn(OutputTap) + Send + Sync;

impl OutputHook {
    /// Calls `hook` with each ring.
    pub fn new(hook: impl Fn(OutputTap) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    fn call(&self, tap: OutputTap) {
        if let Some(hook) = &self.0 {
            hook(tap);
        }
    }
}

impl fmt::Debug for OutputHook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "OutputHook(set)" } else { "OutputHook(none)" })
    }
}

/// What is known of the numbers in a ring.
#[derive(Debug, Default)]
struct Numbering {
    /// Outputs before the first one of the ring. Set before that one is published, so that who reads a line sees it.
    before: AtomicU64,
    /// Inputs up to here were seen by an earlier run, which may have sent what they caused.
    seen: Sequence,
    /// Outputs behind the recorded ones that the journal's tail caused: for the journal, before what comes through the ring.
    unrecorded: Mutex<Vec<Event>>,
}

/// The output ring of one book core, from which readers are had. Clones lead to the same ring.
#[derive(Clone, Debug)]
pub struct OutputTap {
    core: u32,
    ring: Ring,
    numbering: Arc<Numbering>,
}

impl OutputTap {
    /// Number of the book core, from 0, as a [`Shard`](crate::shards::Shard) has it.
    pub const fn core(&self) -> u32 {
        self.core
    }

    /// Lines of the ring.
    pub fn capacity_lines(&self) -> usize {
        self.ring.capacity_lines()
    }

    /// A reader that gets every output from now on: while the ring is full for it, the strategy is refused.
    ///
    /// # Errors
    /// When as many are in the ring as [`OutputConfig::readers_max`] says.
    pub fn reader(&self) -> Result<OutputReader, JoinError> {
        Ok(OutputReader { reader: self.ring.reader()?, numbering: Arc::clone(&self.numbering) })
    }

    /// A reader that gets what it can, and knows how much it missed. It holds up nobody.
    pub fn lossy_reader(&self) -> LossyOutputReader {
        LossyOutputReader { reader: self.ring.lossy_reader(), numbering: Arc::clone(&self.numbering) }
    }
}

impl Numbering {
    /// Calls `on_output` with the number of a line's output, unless an earlier run may have sent it. Says whether it did.
    #[inline]
    fn pass_on(&self, line: Sequence, output: &Event, mut on_output: impl FnMut(Sequence, &Event)) -> bool {
        let is_new = cause_of(output) > self.seen;
        if is_new {
            on_output(Sequence(self.before.load(Ordering::Relaxed) + line.get()), output);
        }
        is_new
    }
}

/// Reads the outputs of one core in order and misses none.
#[derive(Debug)]
pub struct OutputReader {
    reader: Reader,
    numbering: Arc<Numbering>,
}

impl OutputReader {
    /// Calls `on_output` with number and event of each output that is there, after at most `max` lines, and says how many it was
    /// called with. Their lines are given back when it returns. Never waits, allocates or makes a system call.
    #[inline]
    pub fn poll(&mut self, max: usize, mut on_output: impl FnMut(Sequence, &Event)) -> usize {
        let mut count = 0;
        let Self { reader, numbering } = self;
        reader.poll(max, |line, output| count += usize::from(numbering.pass_on(line, output, &mut on_output)));
        count
    }

    /// Whether the core is done and all of its outputs have been read.
    #[inline]
    pub fn is_closed_and_drained(&self) -> bool {
        self.reader.is_closed_and_drained()
    }
}

/// Reads the outputs of one core for which nobody waits.
#[derive(Debug)]
pub struct LossyOutputReader {
    reader: LossyReader,
    numbering: Arc<Numbering>,
}

impl LossyOutputReader {
    /// As [`OutputReader::poll`]; where outputs were lost it says how many, and calls nothing.
    #[inline]
    pub fn poll(&mut self, max: usize, mut on_output: impl FnMut(Sequence, &Event)) -> LossyRead {
        let mut count = 0;
        let Self { reader, numbering } = self;
        let read =
            reader.poll(max, |line, output| count += usize::from(numbering.pass_on(line, output, &mut on_output)));
        LossyRead { read: count, ..read }
    }

    /// Whether the core is done and all of its outputs have been read or lost.
    #[inline]
    pub fn is_closed_and_drained(&self) -> bool {
        self.reader.is_closed_and_drained()
    }
}

/// What became of the outputs of one book core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreOutputs {
    /// Number of the book core, from 0.
    pub core: u32,
    /// Number of its last output, counted from the session's start; 0 when there was none.
    pub last: Sequence,
    /// Outputs of this run, those that an earlier run may have sent included.
    pub sent: u64,
    /// Those of them that an earlier run has recorded: they were found equal, and nobody saw them again.
    pub repeated: u64,
    /// Intents that were not sent: the ring was full, or it was when the recorded outputs were sent, and that was repeated.
    pub refused: u64,
    /// Those of them behind the last output, of which no output tells.
    pub refused_last: u64,
}

/// The rings of a run, one for each book core.
#[derive(Debug)]
pub(crate) struct OutputRings {
    taps: Vec<OutputTap>,
}

impl OutputRings {
    /// Makes the rings. Inputs up to `seen` were seen by an earlier run.
    pub(crate) fn new(
        config: &OutputConfig,
        cores: u32,
        is_journaled: bool,
        seen: Sequence,
    ) -> Result<Self, RingError> {
        let readers_max = config.readers_max + usize::from(is_journaled);
        let tap = |core| {
            let ring = Ring::new(config.lines, readers_max.max(1))?;
            let numbering = Arc::new(Numbering { seen, ..Numbering::default() });
            Ok(OutputTap { core, ring, numbering })
        };
        Ok(Self { taps: (0..cores).map(tap).collect::<Result<_, _>>()? })
    }

    /// Hands them to the embedder.
    pub(crate) fn hand_out(&self, config: &OutputConfig) {
        self.taps.iter().for_each(|tap| config.on_start.call(tap.clone()));
    }

    /// The readers of a journal's thread, core by core.
    pub(crate) fn journal_readers(&self) -> Vec<UnfilteredReader> {
        let reader = |tap: &OutputTap| {
            let reader = tap.ring.reader().expect("the journal has a place in each ring");
            UnfilteredReader { reader, numbering: Arc::clone(&tap.numbering) }
        };
        self.taps.iter().map(reader).collect()
    }

    /// The writing end of one core.
    pub(crate) fn outlet(&self, core: u32) -> OutputOutlet {
        let tap = &self.taps[core as usize];
        let writer = tap.ring.writer().expect("each core takes the writer of its ring once");
        OutputOutlet { writer, numbering: Arc::clone(&tap.numbering) }
    }
}

/// Reads what a core puts into its ring, whoever may have sent it before.
#[derive(Debug)]
pub(crate) struct UnfilteredReader {
    pub(crate) reader: Reader,
    numbering: Arc<Numbering>,
}

impl UnfilteredReader {
    /// Outputs that come before the first of the ring. To be asked once the core has begun.
    pub(crate) fn take_unrecorded(&self) -> Vec<Event> {
        core::mem::take(&mut *self.numbering.unrecorded.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The writing end of an output ring.
#[derive(Debug)]
pub(crate) struct OutputOutlet {
    pub(crate) writer: Writer,
    numbering: Arc<Numbering>,
}

impl OutputOutlet {
    /// Says how many outputs there were before the first that goes into the ring, and which of them are in no journal.
    pub(crate) fn begin_behind(&self, number: Sequence, unrecorded: Vec<Event>) {
        self.numbering.before.store(number.get(), Ordering::Relaxed);
        *self.numbering.unrecorded.lock().unwrap_or_else(PoisonError::into_inner) = unrecorded;
    }
}
