//! What an embedder plugs in: called on the book core, strictly one event after the other.
//!
//! With several book cores each has a strategy of its own, which sees the books and events of that core's instruments, and the
//! events for all instruments: sequences then have holes, and names of other cores' instruments are not known.
//!
//! A strategy is a type parameter of the engine, never a trait object, so its calls are inlined into the loop of the
//! core and calls that it does not implement cost nothing. It must keep the rules of that core: no allocation, no lock,
//! no system call, or the latency of everything behind it suffers.

use crate::output_port::OutputPort;
use crate::outputs::{Intent, Unsent};
use tickcore_book::{Bbo, Books, Event, InstrumentId, Sequence, TimestampNs};

/// The engine's side of a call.
#[derive(Debug)]
pub struct Context<'c, 'a> {
    books: &'c mut Books<'a>,
    sequence: Sequence,
    /// Exchange time of the event that is handled.
    time: TimestampNs,
    /// Where outputs go, while an event is handled.
    outputs: Option<&'c mut OutputPort>,
}

impl<'c, 'a> Context<'c, 'a> {
    /// For a call about one event.
    #[inline]
    pub(crate) const fn new(
        books: &'c mut Books<'a>,
        sequence: Sequence,
        event: &Event,
        outputs: &'c mut OutputPort,
    ) -> Self {
        Self { books, sequence, time: event.exchange_time, outputs: Some(outputs) }
    }

    /// For a call between two events.
    #[inline]
    pub(crate) const fn between(books: &'c mut Books<'a>, sequence: Sequence) -> Self {
        Self { books, sequence, time: TimestampNs(0), outputs: None }
    }

    /// The books, with the event of this call applied.
    #[inline]
    pub const fn books(&self) -> &Books<'a> {
        self.books
    }

    /// Sequence of the event that was applied last.
    #[inline]
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Sends an intent to whoever reads the outputs of this core, with the sequence and exchange time of the event that is handled,
    /// and says its number: outputs of a core are numbered from 1. See [`outputs`](crate::outputs) for where they go.
    ///
    /// Costs the store of a line, about 4 ns, and its way to a reader. Never waits, allocates or makes a system call. Where no outputs are
    /// configured it is numbered, counted and goes nowhere.
    ///
    /// # Errors
    /// [`Unsent::Full`] when a reader for which the ring has to wait is behind; the outcome counts that. [`Unsent::BetweenEvents`]
    /// in `on_batch_end` and `on_end`.
    #[inline]
    pub fn send(&mut self, intent: &Intent) -> Result<Sequence, Unsent> {
        let Some(outputs) = &mut self.outputs else { return Err(Unsent::BetweenEvents) };
        outputs.send(&intent.to_event(self.time, self.sequence))
    }

    /// Ends the staleness of a book: for a strategy that knows better.
    pub fn trust(&mut self, instrument: InstrumentId) {
        self.books.trust(instrument);
    }
}

/// Something that acts on events and books. Every call has a default that does nothing.
pub trait Strategy: Send {
    /// After each event, also in the midst of a venue's transaction.
    #[inline]
    fn on_event(&mut self, context: &mut Context<'_, '_>, event: &Event) {
        let _ = (context, event);
    }

    /// When the BBO of an instrument differs from the one at the end of the venue's last transaction. Whether it can be
    /// believed is in [`Books::is_stale`].
    #[inline]
    fn on_bbo(&mut self, context: &mut Context<'_, '_>, instrument: InstrumentId, bbo: &Bbo, event: &Event) {
        let _ = (context, instrument, bbo, event);
    }

    /// After a Status, SessionEvent, Gap or Clear event; [`InstrumentId::ALL`] where it concerns all.
    #[inline]
    fn on_status(&mut self, context: &mut Context<'_, '_>, event: &Event) {
        let _ = (context, event);
    }

    /// When the core has applied all that was at hand, and the venue's transaction is complete. What is at hand together is a matter
    /// of chance, so nothing can be sent here.
    #[inline]
    fn on_batch_end(&mut self, context: &mut Context<'_, '_>) {
        let _ = context;
    }

    /// The state of the strategy, for a checkpoint; called away from the hot core, between two events. May allocate.
    ///
    /// `None` (the default): it has none to give, and is replayed from the session's start by a run that resumes, which
    /// says so. Empty: it needs none, and goes on from any checkpoint. Asked of a new strategy, to know which it is.
    fn save(&self) -> Option<Vec<u8>> {
        None
    }

    /// Takes on a state that another of its kind has saved. False when it cannot: then it must be as it was.
    fn load(&mut self, state: &[u8]) -> bool {
        let _ = state;
        false
    }

    /// Another one that is as this one is, before its first event: it will see the same events on the thread that makes
    /// checkpoints, so that the hot core need not be asked for its state. It must do nothing outside of itself. `None` (the
    /// default): checkpoints made beside the run are without the state of the strategy.
    fn twin(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Once, after the last event, before the books are given up. May allocate; nothing can be sent any more.
    fn on_end(&mut self, context: &mut Context<'_, '_>) {
        let _ = context;
    }
}

/// Does nothing: for runs that only build books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoStrategy;

impl Strategy for NoStrategy {
    fn save(&self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }

    fn load(&mut self, state: &[u8]) -> bool {
        state.is_empty()
    }

    fn twin(&self) -> Option<Self> {
        Some(Self)
    }
}
